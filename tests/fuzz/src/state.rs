//! The tenant state document, and what a refusal says of the pause to make.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use soproxy::proxy::governor::{LONGEST, pause};
use soproxy::superoffice::origin::UpstreamHosts;
use soproxy::superoffice::state::TenantState;

/// The document, and the same bytes as a `Retry-After`.
pub fn check(data: &[u8]) {
    document(data);
    retry_after(data);
}

fn document(data: &[u8]) {
    let hosts = UpstreamHosts::parse(["*.superoffice.com"]).expect("a pattern");
    let state = match TenantState::parse(data) {
        Ok(state) => state,
        Err(error) => return assert!(error.to_string().len() < 400, "a text that grows with the document: {error}"),
    };
    assert!(state.name.chars().count() <= 60, "{:?}", state.name);
    assert!(!state.name.chars().any(char::is_control), "control characters in a log line: {:?}", state.name);
    let told = serde_json::from_slice::<Value>(data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data)).expect("JSON");
    if told.get("IsRunning") == Some(&Value::Bool(true)) && !told.as_object().expect("an object").keys().any(|key| key != "IsRunning" && key.eq_ignore_ascii_case("IsRunning")) {
        assert!(state.outage().is_none(), "an outage of a tenant that runs");
    }
    if let Some(outage) = state.outage() {
        assert!(!state.is_running && outage.retry_after <= Duration::from_secs(3600));
    }
    for base in state.api.iter().chain(&state.endpoint) {
        let url = base.to_string();
        assert_eq!(url.parse().as_ref(), Ok(base), "an address that is not read again as the same");
        assert!(!url.contains(['?', '#', ' ', '\r', '\n']) && !base.authority().as_str().contains('@'), "{url}");
        let host = base.host().to_ascii_lowercase();
        if hosts.check(base).is_ok() {
            assert!(host.ends_with(".superoffice.com"), "a ticket would go to {host}");
        }
    }
}

fn retry_after(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK] {
        let pause = pause(status, &headers, Timestamp::from_second(1_700_000_000).expect("a time"));
        assert!(pause.is_none_or(|pause| pause <= LONGEST), "{pause:?}");
        assert!(pause.is_some() || status != StatusCode::TOO_MANY_REQUESTS);
        assert!(pause.is_none() || status != StatusCode::OK);
    }
}
