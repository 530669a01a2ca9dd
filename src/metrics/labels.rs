//! What labels may say: each a short list that nobody can make longer.

use http::{Method, StatusCode};

/// Why a request was sent again, as README's table lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A pooled connection had died before upstream could read anything, or (HTTP/2) upstream said that it did not.
    ConnectionLost,
    /// 401.
    TicketRefused,
    /// 421.
    TenantMoved,
    /// 429, or 503 with `Retry-After`, to a call that only reads.
    Throttled,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Cause; 4] = [Cause::ConnectionLost, Cause::TicketRefused, Cause::TenantMoved, Cause::Throttled];

    /// In words, for the log and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Cause::ConnectionLost => "connection lost",
            Cause::TicketRefused => "ticket refused",
            Cause::TenantMoved => "tenant moved",
            Cause::Throttled => "throttled",
        }
    }
}

/// What became of a notification that a tenant's state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Its tenant's state is fetched.
    Accepted,
    /// Its token does not verify.
    Refused,
    /// No notification at all.
    Malformed,
    /// A genuine one, of a tenant that is not configured.
    UnknownTenant,
}

impl Push {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Push; 4] = [Push::Accepted, Push::Refused, Push::Malformed, Push::UnknownTenant];

    pub(super) fn name(self) -> &'static str {
        match self {
            Push::Accepted => "accepted",
            Push::Refused => "refused",
            Push::Malformed => "malformed",
            Push::UnknownTenant => "unknown tenant",
        }
    }
}

/// What the list cache had for a request that a rule let it look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The answer.
    Hit,
    /// Nothing that could be used; the answer may be kept.
    Miss,
    /// Nothing, and the answer is not kept: the caller did not want it, or somebody else fetched in vain.
    Pass,
}

impl Lookup {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Lookup; 3] = [Lookup::Hit, Lookup::Miss, Lookup::Pass];

    pub(super) fn name(self) -> &'static str {
        match self {
            Lookup::Hit => "hit",
            Lookup::Miss => "miss",
            Lookup::Pass => "pass",
        }
    }
}

/// Where a request's time went.
pub(super) const PHASES: [&str; 5] = ["queue", "ticket", "connect", "first_byte", "total"];

/// What became of a write to the store.
pub(super) const STORED: [&str; 2] = ["ok", "failed"];

/// Of an answer's status.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn class(status: Option<StatusCode>) -> usize {
    status.map_or(0, |status| usize::from(status.as_u16() / 100)).min(CLASSES.len() - 1)
}

/// Anybody can make methods up.
pub(super) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

pub(super) fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_status_has_its_label() {
        for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            assert_eq!(METHODS[method(&name.parse().unwrap())], name);
        }
        for name in ["MERGE", "TRACE", "get", "X"] {
            assert_eq!(METHODS[method(&name.parse().unwrap())], "other", "{name}");
        }
        let class = |code| CLASSES[class(Some(StatusCode::from_u16(code).unwrap()))];
        assert_eq!([101, 204, 302, 404, 503, 999].map(class), ["1xx", "2xx", "3xx", "4xx", "5xx", "5xx"]);
        assert_eq!(CLASSES[super::class(None)], "none");
    }
}
