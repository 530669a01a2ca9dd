//! The tenant state endpoint: where a tenant's web API lives now, and whether it runs. Protocol §6.5.

pub mod keeper;
mod memo;

use std::str::FromStr;
use std::time::Duration;

use http::Request;
use http::header::ACCEPT;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

pub use self::memo::Memo;
use super::http::{CallError, Caller};
use super::origin::BaseUrl;
use super::{ContextId, Outage, text};
use crate::body::empty;

/// A tenant's condition: SuperOffice's names, with the numbers that its documentation gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // SuperOffice's own names
pub enum Condition {
    Unknown,
    Provisioning,
    Running,
    Deleted,
    Suspended,
    OnlineMaintenance,
    OfflineMaintenance,
    ProvisioningFailed,
    Deleting,
    DeleteFailed,
    MigrationPending,
    /// A name that is not documented.
    Other,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// Name, number, and for those that do not run: what to tell callers, and the seconds after which to ask again.
const CONDITIONS: [(Condition, &str, u8, &str, u64); 11] = [
    (Condition::Unknown, "Unknown", 0, "SuperOffice does not know this tenant", 0),
    (Condition::Provisioning, "Provisioning", 1, "the tenant is being set up", 5 * MINUTE),
    (Condition::Running, "Running", 2, "the tenant does not run", MINUTE),
    (Condition::Deleted, "Deleted", 3, "the tenant has been deleted", 0),
    (Condition::Suspended, "Suspended", 4, "the tenant is suspended, and its web API is not available", HOUR),
    (Condition::OnlineMaintenance, "OnlineMaintenance", 5, "the tenant is under maintenance", MINUTE),
    (
        Condition::OfflineMaintenance,
        "OfflineMaintenance",
        6,
        "the tenant is down for maintenance, such as an upgrade, which usually takes minutes",
        2 * MINUTE,
    ),
    (Condition::ProvisioningFailed, "ProvisioningFailed", 8, "setting the tenant up has failed", HOUR),
    (Condition::Deleting, "Deleting", 10, "the tenant is being deleted", HOUR),
    (Condition::DeleteFailed, "DeleteFailed", 11, "deleting the tenant has failed", HOUR),
    (Condition::MigrationPending, "MigrationPending", 12, "the tenant is about to be moved", 5 * MINUTE),
];

impl Condition {
    /// SuperOffice's name for it; `other` for those that it does not document.
    pub fn name(self) -> &'static str {
        CONDITIONS.iter().find(|(condition, ..)| *condition == self).map_or("other", |(_, name, ..)| name)
    }
}

/// What the state endpoint says of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantState {
    /// `State`.
    pub condition: Condition,
    /// `State` as it was told, shortened.
    pub name: String,
    /// `IsRunning`; without it, what the condition means.
    pub is_running: bool,
    /// `ValidUntil`, when it can be read.
    pub valid_until: Option<Timestamp>,
    /// `Api`: the web API's base, without a trailing slash.
    pub api: Result<BaseUrl, StateError>,
    /// `Endpoint`: what is before `/api` and `/Remote`.
    pub endpoint: Option<BaseUrl>,
    /// Every member as it was told.
    pub document: Map<String, Value>,
}

/// The state could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// No answer.
    #[error("the tenant state endpoint {0}")]
    Call(#[from] CallError),
    /// An error status; which one an unknown tenant gets is not documented.
    #[error("the tenant state endpoint answered HTTP {0}")]
    Status(u16),
    /// Not the documented JSON.
    #[error("the tenant state endpoint's answer cannot be read: {0}")]
    Malformed(String),
    /// Readable, but without an address.
    #[error("the tenant state endpoint tells no web API address (state: {0})")]
    NoApi(String),
}

impl StateError {
    /// For counting, as README lists it.
    pub fn code(&self) -> &'static str {
        match self {
            StateError::Call(CallError::Timeout(_)) => "timeout",
            StateError::Call(_) => "unreachable",
            StateError::Status(_) => "status",
            StateError::Malformed(_) => "malformed",
            StateError::NoApi(_) => "no_address",
        }
    }
}

/// Asks for a tenant's state. The endpoint needs no credential.
pub async fn fetch(caller: &Caller, login: &BaseUrl, context: &ContextId) -> Result<TenantState, StateError> {
    let request = Request::get(login.join(&format!("/api/state/{context}"))).header(ACCEPT, "application/json").body(empty());
    let request = request.map_err(|error| StateError::Malformed(error.to_string()))?;
    let answer = caller.call(request).await?;
    if !answer.status.is_success() {
        return Err(StateError::Status(answer.status.as_u16()));
    }
    if answer.cut_off {
        return Err(StateError::Malformed(format!("it is cut off after {} bytes", answer.body.len())));
    }
    let state = TenantState::parse(&answer.body)?;
    match state.names_another(context) {
        Some(other) => Err(StateError::Malformed(format!("it speaks of {other} instead of {context}"))),
        None => Ok(state),
    }
}

impl TenantState {
    /// Reads the endpoint's JSON. Assumptions: names of members are taken without regard to case; a state may be told by
    /// its number; a time without zone is UTC; what else there is does not matter, but is kept.
    pub fn parse(body: &[u8]) -> Result<TenantState, StateError> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let document: Map<String, Value> = serde_json::from_slice(body).map_err(|error| StateError::Malformed(unread(&error)))?;
        let member = |name: &str| document.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let words = |name: &str| match member(name) {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let (told, running) = (words("State"), member("IsRunning").and_then(Value::as_bool));
        if told.is_empty() && running.is_none() {
            return Err(StateError::Malformed("it tells no state".to_owned()));
        }
        let row = CONDITIONS.iter().find(|row| row.1.eq_ignore_ascii_case(&told) || row.2.to_string() == told);
        let condition = row.map_or(Condition::Other, |row| row.0);
        let name =
            row.map_or_else(|| if told.is_empty() { "not told".to_owned() } else { text::shorten(&told, 40) }, |row| row.1.to_owned());
        let is_running = running.unwrap_or(matches!(condition, Condition::Running | Condition::OnlineMaintenance | Condition::Other));
        let api = match words("Api") {
            api if api.is_empty() => Err(StateError::NoApi(name.clone())),
            api => api.parse().map_err(|error| StateError::Malformed(format!("Api: {error}"))),
        };
        let endpoint = words("Endpoint").parse().ok();
        Ok(TenantState { condition, name, is_running, valid_until: time(&words("ValidUntil")), api, endpoint, document })
    }

    /// The tenant named, when it is not the one asked for.
    fn names_another(&self, context: &ContextId) -> Option<String> {
        let named = self.document.iter().find(|(key, _)| key.eq_ignore_ascii_case("ContextIdentifier"))?.1.as_str()?;
        (!named.is_empty() && !context.matches(named)).then(|| text::shorten(named, 40))
    }

    /// Why this tenant is not served. `Unknown` is no outage: upstream shall say what it thinks.
    pub fn outage(&self) -> Option<Outage> {
        if self.is_running || self.condition == Condition::Unknown {
            return None;
        }
        let row = CONDITIONS.iter().find(|row| row.0 == self.condition);
        let (meaning, retry) = row.map_or(("the tenant does not run", 5 * MINUTE), |row| (row.3, row.4));
        let deleted = self.condition == Condition::Deleted;
        Some(Outage { name: self.name.clone(), meaning, deleted, retry_after: Duration::from_secs(retry) })
    }
}

/// Not the error's own words: they repeat a text of any length that stands where the object should.
fn unread(error: &serde_json::Error) -> String {
    let why = if error.is_data() { "a JSON object was expected" } else { "JSON that is not well formed" };
    format!("{why} at line {}, column {}", error.line(), error.column())
}

fn time(told: &str) -> Option<Timestamp> {
    let local = || TimeZone::UTC.to_timestamp(DateTime::from_str(told).ok()?).ok();
    told.parse().ok().or_else(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> TenantState {
        TenantState::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn documented_states() {
        let new = r#"{"ContextIdentifier":"Cust12345","Endpoint":"https://online2.superoffice.com/Cust12345","State":"Running","IsRunning":true,
            "ValidUntil":"2026-02-23T09:52:01.9342965Z","Api":"https://online2.superoffice.com/Cust12345/api","Version":"Release_11.10"}"#;
        let state = parse(&format!("\u{feff}{new}"));
        assert_eq!((state.condition, state.is_running, state.outage()), (Condition::Running, true, None));
        assert_eq!(state.api.unwrap().to_string(), "https://online2.superoffice.com/Cust12345/api");
        assert_eq!(state.endpoint.unwrap().to_string(), "https://online2.superoffice.com/Cust12345");
        assert_eq!(state.valid_until, Some("2026-02-23T09:52:01.9342965Z".parse().unwrap()));
        assert_eq!(state.document["Version"], "Release_11.10");
    }

    #[test]
    fn states_without_an_address() {
        let state = parse(r#"{"State":"Unknown","IsRunning":false,"Api":null}"#);
        assert_eq!(state.outage(), None);
        assert_eq!(state.api, Err(StateError::NoApi("Unknown".into())));
        assert!(matches!(parse(r#"{"State":"Running","Api":"nonsense"}"#).api, Err(StateError::Malformed(_))));
        for bad in ["<html>", "[]", "null", "{}", r#"{"State":null}"#] {
            assert!(matches!(TenantState::parse(bad.as_bytes()), Err(StateError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn every_state_that_does_not_run_says_what_it_means_and_when_to_ask_again() {
        for (condition, name, number, ..) in CONDITIONS {
            for told in [format!("{name:?}"), format!("{:?}", name.to_lowercase()), number.to_string(), format!("\"{number}\"")] {
                assert_eq!(parse(&format!(r#"{{"State":{told}}}"#)).condition, condition, "{told}");
            }
        }
        let outage = |json: &str| parse(json).outage().unwrap();
        assert_eq!(outage(r#"{"State":"Suspended","IsRunning":false}"#).retry_after.as_secs(), 3600);
        assert!((60..=600).contains(&outage(r#"{"State":"OfflineMaintenance","IsRunning":false}"#).retry_after.as_secs()));
        assert!(outage(r#"{"State":"Deleted","IsRunning":false}"#).deleted);
        assert_eq!(outage(r#"{"State":"Frozen","IsRunning":false}"#).to_string(), "the tenant does not run (Frozen)");
        // `IsRunning` decides; what it does not say, the name does.
        assert_eq!(parse(r#"{"State":"Suspended","IsRunning":true}"#).outage(), None);
        assert!(!outage(r#"{"State":"Running","IsRunning":false}"#).deleted);
        assert_eq!(parse(r#"{"state":"Frozen"}"#).outage(), None);
        assert!(parse(r#"{"State":"Suspended"}"#).outage().is_some());
    }

    #[test]
    fn times() {
        let at = |told: &str| parse(&format!(r#"{{"State":"Running","ValidUntil":{told:?}}}"#)).valid_until;
        assert_eq!(at("2026-02-23T09:52:01.9342965"), at("2026-02-23T09:52:01.9342965Z"));
        assert_eq!(at("2026-02-23T10:52:01+01:00"), at("2026-02-23T09:52:01Z"));
        assert_eq!(at("soon"), None);
    }

    #[test]
    fn another_tenants_state_is_not_ours() {
        let context: ContextId = "Cust12345".parse().unwrap();
        let other = |json: &str| parse(json).names_another(&context);
        assert_eq!(other(r#"{"State":"Running","ContextIdentifier":"Cust9"}"#).as_deref(), Some("Cust9"));
        assert_eq!(other(r#"{"State":"Running","ContextIdentifier":"cust12345"}"#), None);
        assert_eq!(other(r#"{"State":"Running"}"#), None);
    }
}
