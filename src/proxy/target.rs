//! The upstream URI: which targets are carried, and how the tenant's base and the caller's path become one.

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};

use super::error::ProxyError;
use crate::superoffice::origin::BaseUrl;

/// Refuses a path that upstream could read as another path than the one we matched: dot segments, encoded slashes or dots,
/// backslashes (which IIS takes for slashes), NUL, and what only some decoders take for one of these: overlong UTF-8
/// (`%c0%ae`), `%u002e`, dots with blanks or parameters behind them. The query is not looked at: nothing is decided by it.
pub fn check(path: &str) -> Result<(), ProxyError> {
    // One scan for the rare bytes; nearly every path holds none of them. To its end in any case: that way many bytes are
    // looked at in one step.
    let holds = |rare: fn(u8) -> bool| path.bytes().fold(false, |found, byte| found | rare(byte));
    if !holds(|byte| matches!(byte, b'.' | b'%' | b'\\' | 0)) {
        return Ok(());
    }
    if holds(|byte| matches!(byte, b'\\' | 0)) {
        return Err(ProxyError::BadTarget("a backslash or NUL in the path"));
    }
    if path.split('/').any(is_dot_segment) {
        return Err(ProxyError::BadTarget("a dot segment in the path"));
    }
    let encoded = |at: usize| path.as_bytes().get(at + 1..at + 3).unwrap_or_default();
    for (at, _) in path.match_indices('%') {
        match encoded(at) {
            b"2f" | b"2F" | b"5c" | b"5C" => return Err(ProxyError::BadTarget("an encoded slash or backslash in the path")),
            b"2e" | b"2E" => return Err(ProxyError::BadTarget("an encoded dot in the path")),
            b"00" => return Err(ProxyError::BadTarget("an encoded NUL in the path")),
            [b'c' | b'C', b'0' | b'1'] => return Err(ProxyError::BadTarget("bytes in the path that are never UTF-8")),
            [b'u' | b'U', _] => return Err(ProxyError::BadTarget("%u in the path, which is no percent-encoding")),
            _ => {}
        }
    }
    Ok(())
}

/// `.` and `..`, and the same with what Windows ignores at the end of a name (dots, blanks) or others cut off (`;…`).
fn is_dot_segment(segment: &str) -> bool {
    if !segment.starts_with('.') {
        return false;
    }
    let name = segment.split(';').next().unwrap_or_default();
    let bare = name.trim_end_matches(['.', ' ']).trim_end_matches("%20");
    bare.trim_end_matches(['.', ' ']).is_empty()
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
        for good in ["/Cust1/api/v1/a.b/..c/x..", "/Cust1/api/%20%41", "/x%2", "/x%", "/%252e", "/a;b=.", "/%c3%a5", "/.x;y"] {
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
            "/a/..;/b",
            "/a/.;x=1",
            "/%u002e%U002e/",
            "/%c0%ae%C0%AE/",
            "/%c1%9c",
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
