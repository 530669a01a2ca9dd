//! What SuperOffice's answer says of the load: refused or not, and when to come back.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;

/// A 429 that does not say for how long is worth this pause.
pub const UNSAID: Duration = Duration::from_secs(1);

/// Nobody pauses longer than this without another look.
pub const LONGEST: Duration = Duration::from_secs(300);

/// How long the tenant has to pause, if an answer is a refusal for too many calls: 429, or 503 with `Retry-After`.
pub fn pause(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let after = || headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(after().unwrap_or(UNSAID)),
        StatusCode::SERVICE_UNAVAILABLE => after(),
        _ => None,
    }
}

/// Whether a call that was refused is sent again when its turn has come, as far as its method is concerned.
pub fn waits_it_out(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// RFC 9110 §10.2.3: seconds, or a date; at most [`LONGEST`].
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number are too many seconds in any case.
        return Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    // A date that is over says: now.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, value: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        pause(StatusCode::from_u16(status).unwrap(), &headers, "2026-02-23T09:52:01.5Z".parse().unwrap())
    }

    #[test]
    fn seconds_and_dates_and_what_is_neither() {
        let s = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(of(429, Some("7")), s(7.0));
        assert_eq!(of(429, Some(" 0 ")), s(0.0));
        assert_eq!(of(429, Some("Mon, 23 Feb 2026 09:52:04 GMT")), s(2.5));
        assert_eq!(of(503, Some("Monday, 23-Feb-26 09:52:04 GMT")), s(2.5));
        assert_eq!(of(503, Some("Mon, 23 Feb 2026 09:51:04 GMT")), s(0.0));
        assert_eq!(of(429, Some("Mon, 23 Feb 2099 09:52:04 GMT")), Some(LONGEST));
        assert_eq!((of(429, Some("86400")), of(503, Some("99999999999999999999999"))), (Some(LONGEST), Some(LONGEST)));
        for nonsense in ["", "-1", "1.5", "soon", "1, 2"] {
            assert_eq!((of(429, Some(nonsense)), of(503, Some(nonsense))), (Some(UNSAID), None), "{nonsense}");
        }
    }

    #[test]
    fn a_503_counts_only_when_it_says_when() {
        assert_eq!((of(429, None), of(503, None), of(500, Some("1")), of(200, Some("1"))), (Some(UNSAID), None, None, None));
    }
}
