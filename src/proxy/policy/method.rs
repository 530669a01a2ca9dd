//! Which method a request has, and which one its headers claim. HTTP tells `get` from `GET`, a server may not: it counts as both.

use std::borrow::Cow;

use http::HeaderMap;

/// Headers by which frameworks let a request be taken for one of another method.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// The method that a header claims. On failure, what is odd about it.
pub(super) fn claimed(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut found = None;
    for (name, value) in headers {
        if !OVERRIDES.iter().any(|other| is_spelled(name.as_str(), other)) {
            continue;
        }
        if found.is_some() {
            return Err("more than one header claims a method");
        }
        let method = value.to_str().unwrap_or_default().trim();
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err("a header claims what is no method");
        }
        found = Some(method);
    }
    Ok(found)
}

/// Servers that hand headers on as variables cannot tell `_` from `-`. Names in a map are in small letters.
fn is_spelled(name: &str, as_in: &str) -> bool {
    let same = |(byte, other): (u8, u8)| byte == other || (byte == b'_' && other == b'-');
    name.len() == as_in.len() && name.bytes().zip(as_in.bytes()).all(same)
}

/// The method as rules write it.
pub(super) fn in_capitals(method: &str) -> Cow<'_, str> {
    match method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        true => Cow::Owned(method.to_ascii_uppercase()),
        false => Cow::Borrowed(method),
    }
}

/// Whether a method changes nothing. What nobody knows may.
pub(super) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_claimed_method_is_found_however_its_header_is_spelled() {
        for name in ["x-http-method-override", "x_http_method_override", "x-http_method-override", "x-http-method", "x_method_override"] {
            assert_eq!(claimed(&headers(&[("accept", "*/*"), (name, " DELETE ")])), Ok(Some("DELETE")), "{name}");
        }
        assert_eq!(claimed(&headers(&[("x-http-methods", "DELETE"), ("x-http", "GET")])), Ok(None));
    }

    #[test]
    fn what_claims_oddly_is_refused() {
        for pairs in [
            &[("x-http-method", "GET"), ("x-http-method", "GET")][..],
            &[("x-http-method", "GET"), ("x_http_method_override", "PUT")],
            &[("x-http-method", "GET, PUT")],
            &[("x-http-method", "")],
            &[("x-http-method", "GET PUT")],
        ] {
            assert!(claimed(&headers(pairs)).is_err(), "{pairs:?}");
        }
        let odd = HeaderValue::from_bytes(b"D\xc9LETE").unwrap();
        assert!(claimed(&HeaderMap::from_iter([(HeaderName::from_static("x-http-method"), odd)])).is_err());
    }

    #[test]
    fn only_what_is_known_as_safe_is_safe() {
        assert!(["get", "Get", "GET", "head", "OPTIONS"].iter().all(|method| is_safe(&in_capitals(method))));
        assert!(!["POST", "SEARCH", "PROPFIND", "TRACE", "GETS", ""].iter().any(|method| is_safe(&in_capitals(method))));
    }
}
