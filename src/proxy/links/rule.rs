//! What is rewritten to what: answers in both modes, and requests the other way round.

use std::sync::Arc;

use super::find::{Start, Step, Text};
use super::homes::{Homes, escape, first};
use crate::superoffice::origin::UpstreamHosts;

/// Behind ours in `all` mode: what follows is SuperOffice's address as it was spelled, without its scheme. No path of
/// SuperOffice's begins like that.
pub(super) const MARKER: &str = "/~";

/// One direction of one request's rewriting. It owns what it needs: a body that streams outlives its request.
pub(super) struct Rule {
    homes: Arc<Homes>,
    direction: Direction,
    /// What has to follow an address of ours that is shared.
    behind: Box<[Box<str>]>,
}

/// An address of ours.
pub(super) struct Place {
    pub(super) url: String,
    /// Whether it is the tenant's only before `/api` and the like.
    pub(super) shared: bool,
}

enum Direction {
    /// Any spelling of theirs to ours.
    Known { ours: String },
    /// Theirs to ours, so that `Back` gives the very same again: only what is spelled as the current home spells it becomes
    /// ours alone. All others keep their spelling behind a marker.
    All { ours: Place, longer: Vec<String>, hosts: UpstreamHosts },
    /// Ours, by any name, to theirs.
    Back { ours: Vec<Ours>, hosts: UpstreamHosts },
}

struct Ours {
    https: bool,
    /// Authority and path.
    rest: String,
    shared: bool,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: Start,
    pub(super) end: usize,
    /// Where its spelling stands that goes on as it is.
    kept: Option<usize>,
}

impl Rule {
    pub(super) fn known(homes: Arc<Homes>, ours: String) -> Rule {
        Rule { homes, direction: Direction::Known { ours }, behind: Box::default() }
    }

    pub(super) fn all(homes: Arc<Homes>, ours: Place, aliases: &[Place], hosts: UpstreamHosts, routes: &[Box<str>]) -> Rule {
        let url = &ours.url;
        let longer = |alias: &Place| {
            let longer = alias.url.get(url.len()..).filter(|longer| longer.starts_with('/'))?;
            alias.url.as_bytes()[..url.len()].eq_ignore_ascii_case(url.as_bytes()).then(|| longer.to_owned())
        };
        let longer = aliases.iter().filter_map(longer).collect();
        Rule { homes, direction: Direction::All { ours, longer, hosts }, behind: behind(routes) }
    }

    pub(super) fn back(homes: Arc<Homes>, ours: Place, aliases: Vec<Place>, hosts: UpstreamHosts, routes: &[Box<str>]) -> Rule {
        let read = |place: Place| {
            let (scheme, rest) = place.url.split_once("://")?;
            Some(Ours { https: scheme.eq_ignore_ascii_case("https"), rest: rest.to_owned(), shared: place.shared })
        };
        let mut ours: Vec<Ours> = std::iter::once(ours).chain(aliases).filter_map(read).collect();
        // The longest that fits is meant.
        ours.sort_by_key(|ours| std::cmp::Reverse(ours.rest.len()));
        Rule { homes, direction: Direction::Back { ours, hosts }, behind: behind(routes) }
    }

    /// The same place, if what follows there makes the address before it the tenant's. On both ways: what is not written as
    /// ours is not read as ours either.
    fn leads(&self, shared: bool, text: Text<'_>, end: usize, escaped: bool) -> Step<usize> {
        if !shared {
            return Step::Yes(end);
        }
        let follows = |path: &str| {
            let there = text.eat(end, path, escaped);
            if path == MARKER { there } else { there.then(|at| text.boundary(at)) }
        };
        first(self.behind.iter(), |path| follows(path)).then(|_| Step::Yes(end))
    }

    /// Whether what begins there is to be rewritten.
    pub(super) fn at(&self, text: Text<'_>, start: Start) -> Step<Hit> {
        let hit = |end, kept| Step::Yes(Hit { start, end, kept });
        let escaped = start.escaped;
        match &self.direction {
            Direction::Known { .. } => self.homes.any(text, start).then(|end| hit(end, None)),
            Direction::All { ours, longer, hosts } => {
                self.homes.reversible(text, start).then(|end| self.leads(ours.shared, text, end, escaped)).then(|end| {
                    let canonical = &text.bytes[start.at..end] == self.homes.canonical(escaped).as_bytes();
                    // What follows must not make another address of ours on the way back.
                    let follows =
                        || first(std::iter::once(MARKER).chain(longer.iter().map(String::as_str)), |path| text.eat(end, path, escaped));
                    match if canonical { follows() } else { Step::Yes(end) } {
                        Step::More => Step::More,
                        Step::No => hit(end, None),
                        Step::Yes(_) if self.homes.may_be_marked(&text.bytes[start.authority..], hosts) => hit(end, Some(start.authority)),
                        Step::Yes(_) => Step::No,
                    }
                })
            }
            Direction::Back { ours, hosts } => {
                let ours = ours.iter().filter(|ours| ours.https == start.https);
                let end = first(ours, |ours| {
                    let end = text.eat(start.authority, &ours.rest, escaped).then(|end| text.boundary(end));
                    end.then(|end| self.leads(ours.shared, text, end, escaped))
                });
                end.then(|end| {
                    let marked = |at| self.homes.marked(text, at, escaped, hosts).then(|end| Step::Yes((end, at)));
                    match text.eat(end, MARKER, escaped).then(marked) {
                        Step::Yes((end, kept)) => hit(end, Some(kept)),
                        Step::No => hit(end, None),
                        Step::More => Step::More,
                    }
                })
            }
        }
    }

    /// What takes its place.
    pub(super) fn write(&self, text: &[u8], hit: Hit, out: &mut Vec<u8>) {
        let escaped = hit.start.escaped;
        let mut put =
            |url: &str| if escaped { out.extend_from_slice(escape(url).as_bytes()) } else { out.extend_from_slice(url.as_bytes()) };
        match &self.direction {
            Direction::Known { ours } | Direction::All { ours: Place { url: ours, .. }, .. } => {
                put(ours);
                if hit.kept.is_some() {
                    put(MARKER);
                }
            }
            Direction::Back { .. } => {
                put(self.homes.scheme());
                put("://");
                if hit.kept.is_none() {
                    put(self.homes.address());
                }
            }
        }
        if let Some(kept) = hit.kept {
            out.extend_from_slice(&text[kept..hit.end]);
        }
    }
}

/// What may follow an address of ours that is the tenant's only there.
fn behind(routes: &[Box<str>]) -> Box<[Box<str>]> {
    let listed = routes.iter().map(|route| format!("/{route}").into());
    [MARKER.into(), "/api".into(), "/Remote".into()].into_iter().chain(listed).collect()
}
