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
//!   "unauthorized": "off",    // "always", or {"next": 3}: that many API calls are answered 401
//!   "latency": "0s",          // before each API call is looked at
//!   "moved": {},              // {"Cust12345": null}: 421 here, and the state tells this machine's other loopback name;
//!                             // or the new place: {"Cust12345": "http://127.0.0.1:9000"}
//!   "state": {},              // {"Cust12345": "OfflineMaintenance"}: any state name of the protocol page §6.5
//!   "clock_skew": "0s",       // the sandbox's clock minus the machine's: "20m", "-90s"
//!   "jwt": "ok"               // "wrong_issuer", "wrong_audience", "wrong_context", "expired", "bad_signature", "no_ticket",
//!                             // "rotate_key": sign with a new key, which the JWKS publishes from now on
//! }
//! ```
//!
//! Durations are a number of seconds or text with `ms`, `s`, `m` or `h`.

mod span;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::login::Refusal;

/// Everything that can be made to go wrong. The default is that nothing does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// API calls that are answered 401 whatever they carry.
    pub unauthorized: Unauthorized,
    /// How long each API call waits.
    #[serde(with = "span::unsigned")]
    pub latency: Duration,
    /// Tenants that have moved, and where to (an origin); `None` is this machine's other loopback name.
    pub moved: BTreeMap<String, Option<String>>,
    /// Tenants that are in another state than `Running`.
    pub state: BTreeMap<String, TenantState>,
    /// The sandbox's clock minus the machine's, on top of [`super::Options::clock_skew`].
    #[serde(with = "span::signed")]
    pub clock_skew: SignedDuration,
    /// What is wrong with the tokens.
    pub jwt: JwtFault,
}

/// What the login service does with an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LoginFault {
    /// Its work.
    #[default]
    Ok,
    /// Closes the connection without an answer.
    Down,
    /// Answers after a while.
    Slow {
        /// The while.
        #[serde(with = "span::unsigned")]
        delay: Duration,
    },
    /// 200, and an HTML page.
    Garbled,
    /// 500, and an HTML page.
    #[serde(rename = "html_500")]
    Html500,
    /// 500, and a SOAP fault (the REST twin: ASP.NET's `Message`).
    SoapFault,
    /// 200, and nothing.
    Empty,
    /// A good reply that ends half-way.
    Truncated,
    /// 302 to a login page.
    Redirect,
    /// 200, and `IsSuccessful` false.
    Refuse {
        /// SuperID's name for the reason.
        code: Refusal,
    },
}

/// API calls that are answered 401 whatever they carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Unauthorized {
    /// None.
    #[default]
    Off,
    /// All.
    Always,
    /// So many more.
    Next(u32),
}

/// What is wrong with the tokens of good exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JwtFault {
    /// Nothing.
    #[default]
    Ok,
    /// `iss` is somebody else.
    WrongIssuer,
    /// `aud` is another serial.
    WrongAudience,
    /// `ctx` is another tenant.
    WrongContext,
    /// Its times are an hour back.
    Expired,
    /// The signature is of other bytes.
    BadSignature,
    /// There is no ticket claim.
    NoTicket,
    /// Signed with a new key, which the JWKS publishes from now on.
    RotateKey,
}

/// A tenant's state. Protocol §6.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // SuperOffice's own names
pub enum TenantState {
    Unknown,
    Provisioning,
    #[default]
    Running,
    Deleted,
    Suspended,
    OnlineMaintenance,
    OfflineMaintenance,
    ProvisioningFailed,
    Deleting,
    DeleteFailed,
    MigrationPending,
}

impl TenantState {
    /// `IsRunning`, which also says whether the API can be called.
    pub fn is_running(self) -> bool {
        matches!(self, TenantState::Running | TenantState::OnlineMaintenance)
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

impl Faults {
    /// Changes the members that `changes`, a JSON object, has. Those of `login_of`, `moved` and `state` join what is there.
    pub fn merge(&mut self, changes: Value) -> Result<(), InvalidFault> {
        let Value::Object(changes) = changes else { return Err(InvalidFault("not a JSON object".into())) };
        let mut all = self.to_object();
        for (key, value) in changes {
            match (all.get_mut(&key), value) {
                (Some(Value::Object(old)), Value::Object(new)) if matches!(key.as_str(), "login_of" | "moved" | "state") => old.extend(new),
                (_, value) => _ = all.insert(key, value),
            }
        }
        *self = serde_json::from_value(Value::Object(all)).map_err(|error| InvalidFault(error.to_string()))?;
        Ok(())
    }

    /// One change as it is written on a command line: `login=down`, `login.slow.delay=5s`, `login.refuse.code=Revoked`,
    /// `unauthorized.next=3`, `state.Cust12345=Suspended`, `moved.Cust12345=null`, `latency=200ms`.
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

    pub(super) fn state_of(&self, tenant: &str) -> TenantState {
        by_name(&self.state, tenant).copied().unwrap_or_default()
    }

    /// `None`: has not moved. `Some(None)`: to the other loopback name.
    pub(super) fn moved_to(&self, tenant: &str) -> Option<Option<&str>> {
        by_name(&self.moved, tenant).map(|to| to.as_deref())
    }

    /// All tenants that are named anywhere.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &str> {
        self.login_of.keys().chain(self.moved.keys()).chain(self.state.keys()).map(String::as_str)
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
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_default_is_the_document_of_the_module_page() {
        let expected = json!({
            "login": "ok", "login_of": {}, "jwks_down": false, "state_down": false, "unauthorized": "off", "latency": "0s",
            "moved": {}, "state": {}, "clock_skew": "0s", "jwt": "ok",
        });
        assert_eq!(serde_json::to_value(Faults::default()).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Faults>(expected).unwrap(), Faults::default());
    }

    #[test]
    fn every_fault_can_be_set_as_on_a_command_line() {
        let mut faults = Faults::default();
        for text in [
            "login.slow.delay=1500ms",
            "login_of.Cust1=down",
            "login_of.Cust2.refuse.code=Revoked",
            "jwks_down=true",
            "unauthorized.next=3",
            "latency=0.2",
            "moved.Cust1=null",
            "moved.Cust2=http://localhost:1",
            "state.Cust1=OfflineMaintenance",
            "clock_skew=-20m",
            "jwt=rotate_key",
        ] {
            faults.set(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        assert_eq!(faults.login, LoginFault::Slow { delay: Duration::from_millis(1500) });
        assert_eq!(faults.login_for("cust1"), &LoginFault::Down);
        assert_eq!(faults.login_for("Cust2"), &LoginFault::Refuse { code: Refusal::Revoked });
        assert_eq!(faults.login_for("Cust3"), &faults.login);
        assert_eq!(faults.unauthorized, Unauthorized::Next(3));
        assert_eq!(faults.latency, Duration::from_millis(200));
        assert_eq!(faults.moved_to("CUST1"), Some(None));
        assert_eq!(faults.moved_to("Cust2"), Some(Some("http://localhost:1")));
        assert!(!faults.state_of("Cust1").is_running());
        assert_eq!(faults.clock_skew, SignedDuration::from_mins(-20));
        let again: Faults = serde_json::from_value(serde_json::to_value(&faults).unwrap()).unwrap();
        assert_eq!(again, faults);
    }

    #[test]
    fn what_does_not_exist_is_refused_and_changes_nothing() {
        let mut faults = Faults::default();
        for text in [
            "login",
            "login=broken",
            "logn=down",
            "latency=-5s",
            "latency=soon",
            "state.Cust1=Asleep",
            "login.refuse.code=Tired",
            "unauthorized=3",
            "clock_skew=1e300",
            "login.slow.dly=1s",
        ] {
            assert!(faults.set(text).is_err(), "{text}");
        }
        assert_eq!(faults, Faults::default());
    }
}
