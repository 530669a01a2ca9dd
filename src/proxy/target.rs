//! The upstream URI: which targets are carried, and how the tenant's base and the caller's path become one.

use std::borrow::Cow;

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};

use super::error::ProxyError;
use crate::superoffice::origin::BaseUrl;

/// Refuses a path that upstream could read as another path than the one we matched: dot segments, encoded slashes or dots,
/// backslashes (which IIS takes for slashes), semicolons (behind which some servers see parameters), control characters, what is
/// encoded twice, what ASP.NET cuts out, and what only some decoders take for one of these: incomplete escapes, overlong UTF-8
/// (`%c0%ae`), `%u002e`, dots with blanks behind them. The query is not looked at: nothing is decided by it.
pub fn check(path: &str) -> Result<(), ProxyError> {
    // One scan for the rare bytes; nearly every path holds none of them. To its end in any case: that way many bytes are
    // looked at in one step.
    let rare = |byte: u8| matches!(byte, b'.' | b'%' | b'\\' | b';' | b'(' | 0..=0x1f | 0x7f);
    match path.bytes().fold(false, |found, byte| found | rare(byte)) {
        true => doubt(path).map_or(Ok(()), |reason| Err(ProxyError::BadTarget(reason))),
        false => Ok(()),
    }
}

#[cold]
fn doubt(path: &str) -> Option<&'static str> {
    if path.contains('\\') {
        return Some("a backslash in the path: write / between segments");
    }
    if path.contains(';') {
        return Some(SEMICOLON);
    }
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Some(CONTROL);
    }
    let decoded = match decode(path) {
        Ok(decoded) => decoded,
        Err(reason) => return Some(reason),
    };
    if is_encoded_again(&decoded) {
        return Some(DECODED_TWICE);
    }
    if is_overlong(&decoded) {
        return Some("bytes in the path that are never UTF-8: encode each character as UTF-8, once");
    }
    if decoded.split(|byte| *byte == b'/').any(is_dot_segment) {
        return Some("a dot segment in the path: write the path without . and ..");
    }
    holds_a_session(&decoded).then_some("what ASP.NET takes for a session, (S(…)), in the path: leave it out")
}

/// Why a path is refused in which an escape was escaped.
pub(super) const DECODED_TWICE: &str = "an escape in the path that is encoded a second time (%252e): encode each character once";
const SEMICOLON: &str = "a semicolon in the path, behind which some servers see parameters: leave it out";
const CONTROL: &str = "a control character in the path: leave it out";

/// Percent-decodes once. Refuses what is no escape, and what must not be written as one.
pub(super) fn decode(path: &str) -> Result<Cow<'_, [u8]>, &'static str> {
    let mut parts = path.split('%');
    let before = parts.next().unwrap_or_default();
    if before.len() == path.len() {
        return Ok(Cow::Borrowed(path.as_bytes()));
    }
    let mut decoded = Vec::with_capacity(path.len());
    decoded.extend_from_slice(before.as_bytes());
    for part in parts {
        let (byte, rest) = match part.as_bytes() {
            [b'u' | b'U', ..] => return Err("%u in the path, which is no percent-encoding: encode the character's UTF-8 bytes"),
            [high, low, rest @ ..] => (hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low), rest),
            _ => (None, &[][..]),
        };
        match byte {
            None => return Err("a % in the path that two hexadecimal digits do not follow: write %25 for the character itself"),
            Some(b'/' | b'\\') => return Err("an encoded slash or backslash in the path: it can only be sent in a query or a body"),
            Some(b'.') => return Err("an encoded dot in the path: write it as it is"),
            Some(b';') => return Err(SEMICOLON),
            Some(0..=0x1f | 0x7f) => return Err(CONTROL),
            Some(byte) => decoded.push(byte),
        }
        decoded.extend_from_slice(rest);
    }
    Ok(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Whether a decoded path could be decoded once more. Its percent signs were escapes themselves.
pub(super) fn is_encoded_again(decoded: &[u8]) -> bool {
    decoded.windows(3).any(|bytes| match bytes {
        [b'%', b'u' | b'U', digit] => digit.is_ascii_hexdigit(),
        [b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    })
}

/// ASCII characters in more bytes than one: no UTF-8, but some decoders take them.
fn is_overlong(decoded: &[u8]) -> bool {
    decoded.iter().any(|byte| matches!(byte, 0xc0 | 0xc1))
        || decoded.windows(2).any(|bytes| matches!(bytes, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f] | [0xf8..=0xff, _]))
}

/// `.` and `..`, and the same with what Windows ignores at the end of a name: dots and blanks, and a stream (`..::$DATA`).
pub(super) fn is_dot_segment(segment: &[u8]) -> bool {
    let segment = segment.split(|byte| *byte == b':').next().unwrap_or_default();
    segment.contains(&b'.') && segment.iter().all(|byte| matches!(byte, b'.' | b' '))
}

/// `(S(…))`: ASP.NET cuts that out of a path, wherever it stands, before it looks at the rest.
pub(super) fn holds_a_session(decoded: &[u8]) -> bool {
    decoded.windows(3).any(|bytes| matches!(bytes, [b'(', kind, b'('] if kind.is_ascii_alphabetic()))
}

/// The tenant's base, then what followed `/{tenant}/api` and the query, byte for byte.
pub fn upstream_uri(base: &BaseUrl, rest: &str, query: Option<&str>) -> Result<Uri, ProxyError> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(base.scheme().clone());
    parts.authority = Some(base.authority().clone());
    parts.path_and_query = Some(path_and_query(base, rest, query)?);
    Uri::from_parts(parts).map_err(|_| NOT_A_TARGET)
}

/// What stands in the request line for what is beside the web API, below the tenant's endpoint.
pub fn beside_api(endpoint: &BaseUrl, route: &str, rest: &str, query: Option<&str>) -> Result<PathAndQuery, ProxyError> {
    joined(&[endpoint.path(), "/", route, rest], query)
}

/// Nobody has told the tenant's endpoint.
pub const NO_ENDPOINT: ProxyError =
    ProxyError::BadTarget("this tenant's web API does not end in /api, so it is not known what is beside it: use its own address");

/// The same without scheme and host: what stands in the request line. `whole` is the caller's, of which `rest` is the end.
pub fn upstream_target(base: &BaseUrl, whole: &PathAndQuery, rest: &str) -> Result<PathAndQuery, ProxyError> {
    // A tenant's base is nearly always `/{contextId}/api`, and so is what its callers write: there is nothing to be made.
    if whole.path().strip_suffix(rest) == Some(base.path()) {
        return Ok(whole.clone());
    }
    path_and_query(base, rest, whole.query())
}

fn path_and_query(base: &BaseUrl, rest: &str, query: Option<&str>) -> Result<PathAndQuery, ProxyError> {
    let path = if base.path().is_empty() && rest.is_empty() { "/" } else { base.path() };
    joined(&[path, rest], query)
}

fn joined(path: &[&str], query: Option<&str>) -> Result<PathAndQuery, ProxyError> {
    // Not a byte more than needed: `Bytes` then takes the text over as it is.
    let length: usize = path.iter().map(|part| part.len()).sum();
    let mut target = String::with_capacity(length + query.map_or(0, |query| query.len() + 1));
    for part in path {
        target.push_str(part);
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| NOT_A_TARGET)
}

const NOT_A_TARGET: ProxyError = ProxyError::BadTarget("the path cannot be sent to upstream as it is");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_paths_are_refused() {
        for good in [
            "/Cust1/api/v1/a.b/..c/x..",
            "/Cust1/api/%20%41",
            "/100%25",
            "/100%25/de",
            "/100%25%20off",
            "/%c3%a5/å",
            "/.x/x./..x",
            "/a//$metadata/",
            "/Contact(5)/f((x))",
            "/Services88/Contact.svc",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "/a/../b",
            "/a/.",
            "/..",
            "/a/%2e%2e/b",
            "/a%2Fb",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a/%2E",
            "/a%2e",
            "/a/...",
            "/a/..%20/b",
            "/a/.%20./b",
            "/a/%20./b",
            "/a/..;/b",
            "/a/.;x=1",
            "/a;b=.",
            "/a;b",
            "/a%3bb",
            "/a%3B",
            "/x%",
            "/x%2",
            "/x%/2f",
            "/%zz",
            "/%2g",
            "/%å",
            "/a%0d%0aX:1",
            "/a%1F",
            "/a%7f",
            "/a\x7f",
            "/%252e",
            "/%252E%252e/",
            "/%25%32%65",
            "/%25%35c",
            "/a%253bx",
            "/%25252e",
            "/%25u002e",
            "/%25%75002e",
            "/%u002e%U002e/",
            "/%u",
            "/%c0%ae%C0%AE/",
            "/%c1%9c",
            "/%e0%80%ae",
            "/%F0%80%80%af",
            "/%f8%80%80%80%af",
            "/(S(x))/b",
            "/.(S(x))./b",
            "/%28A%28x))/b",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_rest_and_the_query_stay_byte_for_byte() {
        let base: BaseUrl = "https://sod2.superoffice.com/Cust1/api".parse().unwrap();
        let uri = |rest, query| upstream_uri(&base, rest, query).unwrap().to_string();
        assert_eq!(uri("/v1/x", None), "https://sod2.superoffice.com/Cust1/api/v1/x");
        assert_eq!(uri("", None), "https://sod2.superoffice.com/Cust1/api");
        assert_eq!(
            uri("/v1//%24x|", Some("%24select=a%2Fb&x='1+2'")),
            "https://sod2.superoffice.com/Cust1/api/v1//%24x|?%24select=a%2Fb&x='1+2'"
        );
        assert_eq!(uri("/v1/x", Some("")), "https://sod2.superoffice.com/Cust1/api/v1/x?");
        assert_eq!(upstream_uri(&"http://localhost".parse().unwrap(), "", None).unwrap().to_string(), "http://localhost/");
    }

    #[test]
    fn the_target_is_the_callers_own_when_the_paths_agree() {
        let target = |base: &str, asked: &str, rest: &str| {
            let asked: Uri = asked.parse().unwrap();
            upstream_target(&base.parse().unwrap(), asked.path_and_query().unwrap(), rest).unwrap().to_string()
        };
        assert_eq!(target("https://a/Cust1/api", "/Cust1/api/v1/x?y=1", "/v1/x"), "/Cust1/api/v1/x?y=1");
        assert_eq!(target("https://a/Cust1/api", "/cust1/API/v1/x?", "/v1/x"), "/Cust1/api/v1/x?");
        assert_eq!(target("https://a/Cust1/api", "/label/api/v1/x", "/v1/x"), "/Cust1/api/v1/x");
        assert_eq!(target("https://a", "/label/api?q", ""), "/?q");
        assert_eq!(target("https://a/Cust1/api", "http://localhost:8080/Cust1/api/v1", "/v1"), "/Cust1/api/v1");
    }

    #[test]
    fn what_is_beside_the_web_api() {
        let beside = |base: &str, rest, query| beside_api(&base.parse().unwrap(), "CS", rest, query).map(|target| target.to_string());
        assert_eq!(beside("https://a/Cust1", "/scripts/x", Some("a=%2F")), Ok("/Cust1/CS/scripts/x?a=%2F".to_owned()));
        assert_eq!(beside("https://a/Cust1/", "", None), Ok("/Cust1/CS".to_owned()));
        assert_eq!(beside("https://a", "/", Some("")), Ok("/CS/?".to_owned()));
    }

    proptest::proptest! {
        /// Split first and decoded then, or decoded first and split then: the same segments, and none that means something.
        #[test]
        fn what_is_carried_has_the_same_segments_before_and_after_decoding(
            path in "/([a./;\\\\(S)]|%(2[05eEfF]|25|3[0-9bB]|5[cC]|6[1-9]|c[013]|e0|[89a][0-9a]|0[0d]|u0|.)?){0,12}"
        ) {
            if check(&path).is_ok() {
                let whole = decode(&path).unwrap().into_owned();
                let parts: Vec<Vec<u8>> = path.split('/').map(|part| decode(part).unwrap().into_owned()).collect();
                proptest::prop_assert!(whole.split(|byte| *byte == b'/').eq(parts.iter().map(Vec::as_slice)));
                for part in &parts {
                    let kept = part.iter().rev().skip_while(|byte| matches!(byte, b'.' | b' ')).count();
                    proptest::prop_assert!(kept > 0 || !part.contains(&b'.'), "a dot segment");
                    proptest::prop_assert!(!part.iter().any(|byte| matches!(byte, b'\\' | b';' | 0..=31 | 127)));
                    let escape = |bytes: &[u8]| bytes[0] == b'%' && bytes[1].is_ascii_hexdigit() && bytes[2].is_ascii_hexdigit();
                    proptest::prop_assert!(!part.windows(3).any(escape), "encoded twice");
                }
            }
        }

        #[test]
        fn whatever_a_uri_may_hold_survives(rest in "(/[!$-;=@-\\[\\]_a-z|~]{0,8}){0,4}", query in proptest::option::of("[!$-;=?-_a-z|~]{0,12}")) {
            let base: BaseUrl = "https://a.superoffice.com/Cust1/api/".parse().unwrap();
            let uri = upstream_uri(&base, &rest, query.as_deref()).unwrap();
            proptest::prop_assert_eq!(uri.path(), format!("/Cust1/api{rest}"));
            proptest::prop_assert_eq!(uri.query(), query.as_deref());
            // The same way in the request line, whether the caller's path can be taken over or not.
            for prefix in ["/Cust1/api", "/cust1/API", "/other/api"] {
                let whole = query.iter().fold(format!("{prefix}{rest}"), |path, query| format!("{path}?{query}"));
                let target = upstream_target(&base, &whole.parse().unwrap(), &rest).unwrap();
                proptest::prop_assert_eq!(Some(&target), uri.path_and_query());
            }
        }
    }
}
