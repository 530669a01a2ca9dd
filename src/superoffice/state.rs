//! The tenant state endpoint: where a tenant's web API lives now. Protocol §6.5.

use http::Request;
use http::header::ACCEPT;
use serde::Deserialize;

use super::ContextId;
use super::http::{CallError, Caller};
use super::origin::BaseUrl;
use crate::body::empty;

/// What the state endpoint says of a tenant. Members that were not always there are optional.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TenantState {
    /// `Running`, `Suspended` …
    #[serde(default)]
    pub state: Option<String>,
    /// True for `Running` and `OnlineMaintenance`.
    #[serde(default)]
    pub is_running: Option<bool>,
    /// The web API's base, without a trailing slash.
    #[serde(default)]
    pub api: Option<String>,
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

/// Asks for a tenant's state. The endpoint needs no credential.
pub async fn fetch(caller: &Caller, login: &BaseUrl, context: &ContextId) -> Result<TenantState, StateError> {
    let request = Request::get(login.join(&format!("/api/state/{context}"))).header(ACCEPT, "application/json").body(empty());
    let request = request.map_err(|error| StateError::Malformed(error.to_string()))?;
    let answer = caller.call(request).await?;
    if !answer.status.is_success() {
        return Err(StateError::Status(answer.status.as_u16()));
    }
    parse(&answer.body)
}

/// Reads the endpoint's JSON.
pub fn parse(body: &[u8]) -> Result<TenantState, StateError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).map_err(|error| StateError::Malformed(error.to_string()))
}

impl TenantState {
    /// The web API's base.
    pub fn api_base(&self) -> Result<BaseUrl, StateError> {
        let state = || self.state.clone().unwrap_or_else(|| "not told".to_owned());
        let api = self.api.as_deref().filter(|api| !api.trim().is_empty()).ok_or_else(|| StateError::NoApi(state()))?;
        api.parse().map_err(|error| StateError::Malformed(format!("Api: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_states() {
        let new = r#"{"ContextIdentifier":"Cust12345","Endpoint":"https://online2.superoffice.com/Cust12345","State":"Running","IsRunning":true,
            "ValidUntil":"2026-02-23T09:52:01.9342965Z","Api":"https://online2.superoffice.com/Cust12345/api","Version":"Release_11.10"}"#;
        let state = parse(format!("\u{feff}{new}").as_bytes()).unwrap();
        assert_eq!(state.is_running, Some(true));
        assert_eq!(state.api_base().unwrap().to_string(), "https://online2.superoffice.com/Cust12345/api");
    }

    #[test]
    fn states_without_an_address() {
        let state = parse(br#"{"State":"Unknown","IsRunning":false,"Api":null}"#).unwrap();
        assert_eq!(state.api_base(), Err(StateError::NoApi("Unknown".into())));
        assert!(matches!(parse(b"<html>"), Err(StateError::Malformed(_))));
        assert!(matches!(parse(br#"{"Api":"nonsense"}"#).unwrap().api_base(), Err(StateError::Malformed(_))));
    }
}
