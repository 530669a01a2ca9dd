//! What was asked and what came of it, and whether that was right at its moment.
//!
//! What a caller may be told because the tenant just moved or stopped is judged by what the proxy knew, not by a watch: once one
//! caller was told the news, nobody who asks after that may be told what was true before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is asked for, as it stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Entity,
    Page,
    Head,
    Listing,
    Create,
    Replace,
    Patch,
    Outdated,
    Upload,
    SmallUpload,
    OwnDownload,
    Download,
    State,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Entity => "GET an entity",
            Kind::Page => "GET a page, by odata.nextLink",
            Kind::Head => "HEAD",
            Kind::Listing => "GET the API's listing",
            Kind::Create => "POST, creates",
            Kind::Replace => "PUT with If-Match",
            Kind::Patch => "PATCH with If-Match",
            Kind::Outdated => "PUT with an outdated If-Match",
            Kind::Upload => "upload, chunked, > replay_limit",
            Kind::SmallUpload => "upload, < replay_limit",
            Kind::OwnDownload => "download of what was uploaded",
            Kind::Download => "download of up to 1 MB",
            Kind::State => "GET /api/state",
        }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer.
    Right,
    /// 503 `tenant_not_running`.
    NotRunning,
    /// The right answer to the question for the state: that it does not run.
    SaysNotRunning,
    /// SuperOffice's own 503.
    Unavailable,
    /// SuperOffice's own 421.
    Misdirected,
    /// Anything else; `Ledger::wrong` says what.
    Wrong,
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub kind: Kind,
    pub sent: Instant,
    pub answered: Instant,
    pub outcome: Outcome,
}

/// A change at SuperOffice: somewhere between the two instants.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub before: Instant,
    pub after: Instant,
}

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Move(Change),
    Outage { begin: Change, end: Change },
}

/// Shared by all callers.
#[derive(Default)]
pub struct Ledger {
    answered: AtomicUsize,
    /// By caller: since when its request is on.
    on: Mutex<HashMap<usize, Instant>>,
    entries: Mutex<Vec<Entry>>,
    wrong: Mutex<Vec<String>>,
}

/// How many requests of a kind came to what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    pub all: u64,
    pub right: u64,
    pub not_running: u64,
    pub unavailable: u64,
    pub misdirected: u64,
    pub wrong: u64,
}

impl Ledger {
    /// A caller begins a request.
    pub fn begin(&self, caller: usize) -> Instant {
        let mut on = self.on.lock().unwrap();
        *on.entry(caller).insert_entry(Instant::now()).get()
    }

    /// Whether all requests that were on then have been answered.
    pub fn is_past(&self, then: Instant) -> bool {
        self.on.lock().unwrap().values().all(|since| *since > then)
    }

    pub fn enter(&self, caller: usize, entry: Entry) {
        self.on.lock().unwrap().remove(&caller);
        self.entries.lock().unwrap().push(entry);
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    pub fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    pub fn count(&self, counts: impl Fn(&Entry) -> bool) -> usize {
        self.entries.lock().unwrap().iter().filter(|entry| counts(entry)).count()
    }

    /// Everything that was wrong.
    pub fn all_wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    pub fn rows(&self) -> BTreeMap<Kind, Row> {
        let mut rows = BTreeMap::<Kind, Row>::new();
        for entry in self.entries() {
            let row = rows.entry(entry.kind).or_default();
            row.all += 1;
            *match entry.outcome {
                Outcome::Right | Outcome::SaysNotRunning => &mut row.right,
                Outcome::NotRunning => &mut row.not_running,
                Outcome::Unavailable => &mut row.unavailable,
                Outcome::Misdirected => &mut row.misdirected,
                Outcome::Wrong => &mut row.wrong,
            } += 1;
        }
        rows
    }

    /// Holds every answer that is only right at certain moments against what happened then. A state is believed for `validity`.
    pub fn judge(&self, events: &[Event], validity: Duration) {
        let entries = self.entries();
        for entry in &entries {
            let is_right = match entry.outcome {
                Outcome::NotRunning | Outcome::SaysNotRunning => {
                    outages(events).any(|(begin, end)| entry.answered >= begin.before && entry.sent <= forgotten(&entries, end, validity))
                }
                Outcome::Unavailable => outages(events)
                    .any(|(begin, end)| entry.answered >= begin.before && entry.sent <= known(&entries, begin).min(end.after)),
                Outcome::Misdirected => entry.kind == Kind::Upload && entry.sent <= told(&entries, events, entry),
                Outcome::Right if entry.kind == Kind::State => {
                    !outages(events).any(|(begin, end)| entry.sent > known(&entries, begin) && entry.answered < end.before)
                }
                Outcome::Right | Outcome::Wrong => true,
            };
            if !is_right {
                self.wrong(format!("{}: {:?}, and it was not the moment for it", entry.kind.name(), entry.outcome));
            }
        }
    }
}

fn outages(events: &[Event]) -> impl Iterator<Item = (Change, Change)> {
    events.iter().filter_map(|event| match *event {
        Event::Outage { begin, end } => Some((begin, end)),
        Event::Move(_) => None,
    })
}

/// When the first caller was told that the tenant does not run.
fn known(entries: &[Entry], begin: Change) -> Instant {
    let told = |entry: &&Entry| entry.outcome == Outcome::NotRunning && entry.answered >= begin.before;
    entries.iter().filter(told).map(|entry| entry.answered).min().unwrap_or(begin.after)
}

/// When it was certain that the proxy knows that it runs again: the first caller who asked after that was served, or the state
/// that the proxy knew was out of date.
fn forgotten(entries: &[Entry], end: Change, validity: Duration) -> Instant {
    let served = |entry: &&Entry| entry.outcome == Outcome::Right && entry.kind != Kind::State && entry.sent >= end.after;
    let first = entries.iter().filter(served).map(|entry| entry.answered).min();
    first.unwrap_or(end.after + validity).min(end.after + validity)
}

/// When the first caller got the 421 of the same move.
fn told(entries: &[Entry], events: &[Event], of: &Entry) -> Instant {
    let mut moves = events.iter().rev().filter_map(|event| if let Event::Move(change) = event { Some(change) } else { None });
    let Some(change) = moves.find(|change| change.before <= of.answered) else { return of.sent - Duration::from_nanos(1) };
    let same = |entry: &&Entry| entry.outcome == Outcome::Misdirected && entry.answered >= change.before;
    entries.iter().filter(same).map(|entry| entry.answered).min().unwrap_or(of.answered)
}
