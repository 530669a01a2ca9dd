//! Faults on demand, and their JSON.
//!
//! `GET /_sandbox/faults` shows this document, `PUT` replaces it (members left out are well again), `POST` changes the
//! members it is sent and leaves the others, `DELETE` makes everything well. A member or value that does not exist is
//! refused. With nothing wrong it reads:
//!
//! ```json
//! {
//!   "login": "ok",            // "down" (closes the connection), {"slow": {"delay": "5s"}}, "garbled" (200 and HTML), "html_500",
//!                             // "soap_fault", "empty", "truncated", "redirect", {"refuse": {"code": "Revoked"}}
//!   "login_of": {},           // the same for one tenant: {"Cust12345": "down"}
//!   "jwks_down": false,       // closes the connection
//!   "state_down": false,      // closes the connection
//!   "state_slow": "0s",       // before the tenant state endpoint answers
//!   "state_garbled": false,   // the tenant state endpoint answers 200 and HTML
//!   "valid_for": "600s",      // how far ahead a state's ValidUntil is; "-1m" is past
//!   "unauthorized": "off",    // "always", or {"next": 3}: that many API calls are answered 401
//!   "throttle": {},           // {"Cust12345": {"rate": 5, "status": 429, "retry_after": "2s", "date": false}}: API calls above
//!                             // the rate, per second, are refused; status 429 or 503, retry_after null for none, date for a
//!                             // Retry-After that is a date. What is left out is 10, 429, "1s" and false
//!   "latency": "0s",          // before each API call is looked at
//!   "moved": {},              // {"Cust12345": null}: 421 here, and the state tells this machine's other loopback name;
//!                             // "home": 421 anywhere but at the sandbox's own address; or a new place:
//!                             // {"Cust12345": "http://127.0.0.1:9000"}
//!   "old_links": {},          // {"Cust12345": "http://127.0.0.1:9000"}: links in answers name this, as it is written,
//!                             // and not the place where the tenant is
//!   "state": {},              // {"Cust12345": "OfflineMaintenance"}: any state name of the protocol page §6.5
//!   "clock_skew": "0s",       // the sandbox's clock minus the machine's: "20m", "-90s"
//!   "jwt": "ok",              // "wrong_issuer", "wrong_audience", "other_serial" (of another database, and consistent), "wrong_context",
//!                             // "expired", "bad_signature", "no_ticket", "rotate_key": sign with a new key, which the JWKS publishes from now on
//!   "coding": "asked",        // "identity", "gzip", "br", "deflate" (zlib), "raw_deflate" (as old IIS sent it): how the API's
//!                             // answers are compressed, whatever Accept-Encoding says
//!   "escaped_slashes": false, // the API's JSON writes \/ for /
//!   "soap_ticket": "SuperOffice.Exceptions.SoSessionException",
//!                             // the ExceptionType by which SOAP services refuse a ticket or an application token; or
//!                             // "http_401"
//!   "soap_exception": null    // an ExceptionType: SOAP services do what they are asked, and say that they failed
//! }
//! ```
//!
//! In `login_of`, `throttle`, `moved`, `old_links` and `state`, `POST` changes the tenants it names; one is taken out by `PUT` or `DELETE`.
//!
//! Durations are a number of seconds or text with `ms`, `s`, `m` or `h`.

mod kinds;
pub(super) mod span;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::throttle::Throttle;
pub use kinds::{Coding, JwtFault, LoginFault, TenantState, Unauthorized};

/// Everything that can be made to go wrong. The default is that nothing does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// What the login service does with an exchange.
    pub login: LoginFault,
    /// The same for single tenants, by context identifier; goes before `login`.
    pub login_of: BTreeMap<String, LoginFault>,
    /// The JWKS and discovery endpoints close the connection.
    pub jwks_down: bool,
    /// The tenant state endpoint closes the connection.
    pub state_down: bool,
    /// How long the tenant state endpoint waits before it answers.
    #[serde(with = "span::unsigned")]
    pub state_slow: Duration,
    /// The tenant state endpoint answers 200 and an HTML page.
    pub state_garbled: bool,
    /// How far ahead a state's `ValidUntil` is.
    #[serde(with = "span::signed")]
    pub valid_for: SignedDuration,
    /// API calls that are answered 401 whatever they carry.
    pub unauthorized: Unauthorized,
    /// Tenants with a limit of calls per second.
    pub throttle: BTreeMap<String, Throttle>,
    /// How long each API call waits.
    #[serde(with = "span::unsigned")]
    pub latency: Duration,
    /// Tenants that have moved, and where to (an origin); `None` is this machine's other loopback name, `home` the sandbox's
    /// own address.
    pub moved: BTreeMap<String, Option<String>>,
    /// Tenants whose links name something else than the place where they are: any text, in place of the origin.
    pub old_links: BTreeMap<String, String>,
    /// Tenants that are in another state than `Running`.
    pub state: BTreeMap<String, TenantState>,
    /// The sandbox's clock minus the machine's, on top of [`super::Options::clock_skew`].
    #[serde(with = "span::signed")]
    pub clock_skew: SignedDuration,
    /// What is wrong with the tokens.
    pub jwt: JwtFault,
    /// How the API's answers are compressed.
    pub coding: Coding,
    /// The API's JSON writes `\/` for `/`.
    pub escaped_slashes: bool,
    /// The type of exception by which SOAP services refuse credentials; or `http_401`.
    pub soap_ticket: String,
    /// The type of exception that SOAP services tell of after they did what they were asked.
    pub soap_exception: Option<String>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            login: LoginFault::Ok,
            login_of: BTreeMap::new(),
            jwks_down: false,
            state_down: false,
            state_slow: Duration::ZERO,
            state_garbled: false,
            valid_for: SignedDuration::from_mins(10),
            unauthorized: Unauthorized::Off,
            throttle: BTreeMap::new(),
            latency: Duration::ZERO,
            moved: BTreeMap::new(),
            old_links: BTreeMap::new(),
            state: BTreeMap::new(),
            clock_skew: SignedDuration::ZERO,
            jwt: JwtFault::Ok,
            coding: Coding::Asked,
            escaped_slashes: false,
            soap_ticket: "SuperOffice.Exceptions.SoSessionException".to_owned(),
            soap_exception: None,
        }
    }
}

/// The fault that was asked for does not exist; the message says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFault(String);

impl InvalidFault {
    pub(super) fn unknown_tenant(name: &str, known: &[String]) -> InvalidFault {
        InvalidFault(format!("unknown tenant {name:?}; there are {}", known.join(", ")))
    }
}

/// The members that are told by tenant.
const BY_TENANT: [&str; 5] = ["login_of", "throttle", "moved", "old_links", "state"];

impl Faults {
    /// Changes the members that `changes`, a JSON object, has. Those that are told by tenant join what is
    /// there.
    pub fn merge(&mut self, changes: Value) -> Result<(), InvalidFault> {
        let Value::Object(changes) = changes else { return Err(InvalidFault("not a JSON object".into())) };
        let mut all = self.to_object();
        for (key, value) in changes {
            match (all.get_mut(&key), value) {
                (Some(Value::Object(old)), Value::Object(new)) if BY_TENANT.contains(&key.as_str()) => old.extend(new),
                (_, value) => _ = all.insert(key, value),
            }
        }
        let changed: Faults = serde_json::from_value(Value::Object(all)).map_err(|error| InvalidFault(error.to_string()))?;
        if let Some(problem) = changed.throttle.values().find_map(Throttle::problem) {
            return Err(InvalidFault(problem));
        }
        *self = changed;
        Ok(())
    }

    /// One change as it is written on a command line: `login=down`, `login.slow.delay=5s`, `login.refuse.code=Revoked`,
    /// `unauthorized.next=3`, `state.Cust12345=Suspended`, `throttle.Cust12345.rate=5`, `moved.Cust12345=null`, `valid_for=2s`, `coding=gzip`.
    pub fn set(&mut self, assignment: &str) -> Result<(), InvalidFault> {
        let (path, text) = assignment
            .split_once('=')
            .ok_or_else(|| InvalidFault(format!("{assignment:?}: a fault is written as name=value, such as login=down")))?;
        let text = text.trim();
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        let nest = |value, key: &str| Value::Object(Map::from_iter([(key.trim().to_owned(), value)]));
        self.merge(path.rsplit('.').fold(value, nest))
    }

    /// The fault of `tenant`'s exchanges.
    pub(super) fn login_for(&self, tenant: &str) -> &LoginFault {
        by_name(&self.login_of, tenant).unwrap_or(&self.login)
    }

    pub(super) fn throttle_of(&self, tenant: &str) -> Option<&Throttle> {
        by_name(&self.throttle, tenant)
    }

    pub(super) fn state_of(&self, tenant: &str) -> TenantState {
        by_name(&self.state, tenant).copied().unwrap_or_default()
    }

    /// `None`: has not moved. `Some(None)`: to the other loopback name. `Some(Some("home"))`: to the sandbox's own address.
    pub(super) fn moved_to(&self, tenant: &str) -> Option<Option<&str>> {
        by_name(&self.moved, tenant).map(|to| to.as_deref())
    }

    /// What a tenant's links name instead of its place.
    pub(super) fn old_links_of(&self, tenant: &str) -> Option<&str> {
        by_name(&self.old_links, tenant).map(String::as_str)
    }

    /// All tenants that are named anywhere.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &str> {
        self.login_of
            .keys()
            .chain(self.throttle.keys())
            .chain(self.moved.keys())
            .chain(self.old_links.keys())
            .chain(self.state.keys())
            .map(String::as_str)
    }

    fn to_object(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            _ => Map::new(),
        }
    }
}

fn by_name<'a, T>(map: &'a BTreeMap<String, T>, tenant: &str) -> Option<&'a T> {
    map.iter().find(|(name, _)| name.eq_ignore_ascii_case(tenant)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
