//! SuperOffice's side of a tenant: where it lives and has lived, and how its addresses are recognised in a text.

use super::find::{Start, Starts, Step, Text};
use crate::superoffice::origin::{BaseUrl, UpstreamHosts};

/// Where a tenant lives at SuperOffice, and where it lived before. Made once per known state.
#[derive(Debug)]
pub struct Homes {
    /// The current one is the first.
    homes: Box<[Home]>,
}

#[derive(Debug)]
struct Home {
    https: bool,
    /// Without the scheme's own port.
    authority: Box<str>,
    /// Which may or may not be written.
    own_port: Option<&'static str>,
    path: Box<str>,
    /// As SuperOffice writes it, and the same with escaped slashes.
    canonical: [Box<str>; 2],
}

impl Home {
    fn new(base: &BaseUrl) -> Home {
        let (host, port) = (base.host(), base.port());
        let own_port = if base.is_https() { 443 } else { 80 };
        let authority = if port == own_port { host.to_owned() } else { format!("{host}:{port}") };
        let own_port = (port == own_port).then_some(if base.is_https() { ":443" } else { ":80" });
        let canonical = base.to_string();
        let escaped = escape(&canonical);
        Home {
            https: base.is_https(),
            authority: authority.into(),
            own_port,
            path: base.path().into(),
            canonical: [canonical.into(), escaped.into()],
        }
    }

    /// The place behind this address, when it is the one whose authority begins at `at`.
    fn after(&self, text: Text<'_>, at: usize, escaped: bool) -> Step<usize> {
        let port = |at| match (text.bytes.get(at), self.own_port) {
            (Some(b':'), Some(port)) => text.eat(at, port, escaped),
            _ => Step::Yes(at),
        };
        text.eat(at, &self.authority, escaped).then(port).then(|at| text.eat(at, &self.path, escaped)).then(|at| text.boundary(at))
    }
}

impl Homes {
    /// `current` and `previous` are endpoints, `https://online2.superoffice.com/Cust12345`: what the web API's base is
    /// without its `/api`.
    pub fn new<'a>(current: &BaseUrl, previous: impl IntoIterator<Item = &'a BaseUrl>) -> Homes {
        let mut homes = vec![Home::new(current)];
        for home in previous.into_iter().map(Home::new) {
            let same = |known: &Home| {
                known.https == home.https
                    && known.authority.eq_ignore_ascii_case(&home.authority)
                    && known.path.eq_ignore_ascii_case(&home.path)
            };
            if !homes.iter().any(same) {
                homes.push(home);
            }
        }
        Homes { homes: homes.into() }
    }

    /// Any of them, in any spelling.
    pub(super) fn any(&self, text: Text<'_>, start: Start) -> Step<usize> {
        first(self.homes.iter().filter(|home| home.https == start.https), |home| home.after(text, start.authority, start.escaped))
    }

    /// One of them whose spelling can be told from all others without its scheme: what `all` rewrites.
    pub(super) fn reversible(&self, text: Text<'_>, start: Start) -> Step<usize> {
        if start.https != self.current().https || !text.bytes[start.at..].starts_with(self.scheme().as_bytes()) {
            return Step::No;
        }
        let alike = self.homes.iter().filter(|home| home.https == start.https && home.path.eq_ignore_ascii_case(self.path()));
        first(alike, |home| home.after(text, start.authority, start.escaped))
    }

    /// `authority` + path as `all` wrote them behind a marker: the place behind them.
    pub(super) fn marked(&self, text: Text<'_>, at: usize, escaped: bool, hosts: &UpstreamHosts) -> Step<usize> {
        let length = authority_length(&text.bytes[at..]);
        if length > LONGEST {
            return Step::No;
        }
        if at + length == text.bytes.len() && !text.last {
            return Step::More;
        }
        text.eat(at + length, self.path(), escaped)
            .then(|end| text.boundary(end))
            .then(|end| if self.may_be_marked(&text.bytes[at..], hosts) { Step::Yes(end) } else { Step::No })
    }

    /// Whether the authority that a text begins with is one that requests of this tenant may go to.
    pub(super) fn may_be_marked(&self, text: &[u8], hosts: &UpstreamHosts) -> bool {
        let authority = std::str::from_utf8(&text[..authority_length(text)]).unwrap_or_default();
        let base = format!("{}://{authority}", self.scheme()).parse::<BaseUrl>();
        base.is_ok_and(|base| hosts.check(&base).is_ok())
    }

    /// Whether any of them stands in the text, in any spelling.
    pub(super) fn occur(&self, text: &[u8]) -> bool {
        let (mut starts, text) = (Starts::new(text), Text { bytes: text, last: true });
        while let Some(start) = starts.next(0) {
            if matches!(self.any(text, start), Step::Yes(_)) {
                return true;
            }
        }
        false
    }

    /// The current one as SuperOffice writes it.
    pub(super) fn canonical(&self, escaped: bool) -> &str {
        &self.current().canonical[usize::from(escaped)]
    }

    /// The same without scheme and slashes.
    pub(super) fn address(&self) -> &str {
        &self.canonical(false)[self.scheme().len() + 3..]
    }

    /// Its path.
    pub(super) fn path(&self) -> &str {
        &self.current().path
    }

    /// Its scheme.
    pub(super) fn scheme(&self) -> &'static str {
        if self.current().https { "https" } else { "http" }
    }

    fn current(&self) -> &Home {
        &self.homes[0]
    }
}

/// The first that does not say no. One that needs more text is waited for: the order decides, wherever a chunk ends.
pub(super) fn first<I, T>(all: impl IntoIterator<Item = I>, at: impl FnMut(I) -> Step<T>) -> Step<T> {
    all.into_iter().map(at).find(|step| !matches!(step, Step::No)).unwrap_or(Step::No)
}

/// The longest authority that a marker may hold: a host name and a port.
const LONGEST: usize = 260;

fn authority_length(text: &[u8]) -> usize {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']' | b'_');
    text.iter().take(LONGEST + 1).position(|byte| !part(byte)).unwrap_or(text.len().min(LONGEST + 1))
}

/// The same with each slash as `\/`.
pub(super) fn escape(url: &str) -> String {
    url.replace('/', r"\/")
}
