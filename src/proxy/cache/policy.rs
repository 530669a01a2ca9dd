//! What may be stored, and for how long it is fresh. `http-cache-semantics` judges by RFC 9111; this page tells it what the
//! operator's `ttl` overrides: of a successful answer `no-cache`, `Pragma: no-cache` and an `Expires` that is over, and nothing
//! else. An answer that says itself for how long it is fresh is believed, but never for longer than the `ttl`.
//!
//! Three habits of the library are evened out here: it reads directives in lower case only, knows one line of a repeated header,
//! and writes dates that are none in HTTP. So it gets what it reads in a plain form, and heads are kept and updated by us.

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue,
    LAST_MODIFIED, PRAGMA, SET_COOKIE, VARY,
};
use http::{Method, Response, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};

use super::question::{Asked, is_keyed};

/// Freshness that is guessed from dates is no freshness.
const OPTIONS: CacheOptions =
    CacheOptions { shared: true, cache_heuristic: 0.0, immutable_min_time_to_live: Duration::ZERO, ignore_cargo_cult: false };

/// The library counts from here: it is told ages, which suspended machines and changed clocks do not spoil.
fn after(age: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(86_400) + age
}

/// What the library makes of one stored answer.
#[derive(Debug)]
pub(super) struct Policy(CachePolicy);

/// What a stored answer is worth to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It answers.
    Fresh,
    /// It answers when SuperOffice confirms it.
    Stale,
    /// It is the answer to another question, as its `Vary` says.
    Other,
}

impl Policy {
    /// `None` when the answer must not be stored, or there is no use in it.
    pub(super) fn of(asked: &Asked<'_>, status: StatusCode, headers: &HeaderMap, ttl: Duration) -> Option<Policy> {
        let vary = names(headers, VARY);
        // The library would take POST, too, with a lifetime of its own.
        if asked.parts.method != Method::GET {
            return None;
        }
        if headers.contains_key(SET_COOKIE) || headers.contains_key(CONTENT_RANGE) || vary.iter().any(|name| name == "*") {
            return None;
        }
        let overrides = status.is_success();
        let mut said = directives(headers);
        let uncached = |(name, value): &(String, Option<String>)| name == "no-cache" && value.is_none();
        if overrides {
            said.retain(|directive| !uncached(directive));
        }
        let fresh = lifetime(&said, headers).or(overrides.then_some(ttl))?.min(ttl);
        let has_validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        if (fresh.is_zero() || said.iter().any(|(name, _)| name == "no-cache")) && !has_validator {
            return None;
        }
        said.retain(|(name, _)| name != "s-maxage" && name != "max-age");
        said.push(("s-maxage".to_owned(), Some(fresh.as_secs().to_string())));

        let mut plain = HeaderMap::new();
        plain.insert(CACHE_CONTROL, HeaderValue::from_str(&written(&said)).ok()?);
        for name in [ETAG, LAST_MODIFIED, AGE] {
            plain.extend(headers.get(&name).map(|value| (name, value.clone())));
        }
        let mut request = http::Request::new(());
        for name in vary.iter().filter(|name| !is_keyed(name)) {
            plain.append(VARY, HeaderValue::from_str(name).ok()?);
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            // The library compares one line; several of them are compared with none, and fit nobody.
            let mut values = asked.parts.headers.get_all(&name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => _ = request.headers_mut().insert(name, value.clone()),
                (None, _) => {}
                (Some(_), Some(_)) => return None,
            }
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = plain;
        let policy = CachePolicy::new_options(&request, &response, after(Duration::ZERO), OPTIONS);
        policy.is_storable().then_some(Policy(policy))
    }

    /// `age`: how long ago it was asked for.
    pub(super) fn worth(&self, asked: &Asked<'_>, age: Duration) -> Worth {
        // To the library every request is a GET for the same address: the key tells addresses apart, and HEAD has GET's head.
        let mut request = http::Request::new(());
        *request.headers_mut() = asked.parts.headers.clone();
        let said = directives(&asked.parts.headers);
        if !said.is_empty() {
            let plain = HeaderValue::from_str(&written(&said)).unwrap_or(HeaderValue::from_static("no-cache"));
            request.headers_mut().insert(CACHE_CONTROL, plain);
            request.headers_mut().remove(PRAGMA);
        }
        match self.0.before_request(&request, after(age)) {
            BeforeRequest::Fresh(_) => Worth::Fresh,
            BeforeRequest::Stale { matches: true, .. } => Worth::Stale,
            BeforeRequest::Stale { matches: false, .. } => Worth::Other,
        }
    }

    /// The value of `Age`, and how long it is still fresh.
    pub(super) fn age(&self, age: Duration) -> (Duration, Duration) {
        (self.0.age(after(age)), self.0.time_to_live(after(age)))
    }
}

/// For how long an answer says that it is fresh; `Expires` only when that is not over.
fn lifetime(said: &[(String, Option<String>)], headers: &HeaderMap) -> Option<Duration> {
    let value = |wanted: &str| said.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_deref().unwrap_or_default());
    if let Some(seconds) = value("s-maxage").or_else(|| value("max-age")) {
        // What is no number is no promise.
        return Some(Duration::from_secs(seconds.parse().unwrap_or(0)));
    }
    let date = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok();
    date(EXPIRES)?.duration_since(date(DATE)?).ok().filter(|left| !left.is_zero())
}

/// The directives of `Cache-Control`, names in lower case, values without quotes.
pub(super) fn directives(headers: &HeaderMap) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for line in headers.get_all(CACHE_CONTROL) {
        let text = String::from_utf8_lossy(line.as_bytes());
        let mut quoted = false;
        let parts = text.split(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
            found.push((name.trim().to_ascii_lowercase(), value.map(|value| value.trim().trim_matches('"').to_owned())));
        }
    }
    found
}

fn written(directives: &[(String, Option<String>)]) -> String {
    let one = |(name, value): &(String, Option<String>)| match value {
        // The library splits at every comma.
        Some(value) => format!("{name}={}", value.replace(',', " ")),
        None => name.clone(),
    };
    directives.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn names(headers: &HeaderMap, list: HeaderName) -> Vec<String> {
    let lines = headers.get_all(list).iter().map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase());
    lines.flat_map(|line| line.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()).filter(|name| !name.is_empty()).collect()
}

/// A stored head with what a 304 says. RFC 9111 §3.2.
pub(super) fn updated(stored: &HeaderMap, confirmed: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    // It begins anew.
    headers.remove(AGE);
    for name in confirmed.keys() {
        if [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name) {
            continue;
        }
        headers.remove(name);
        for value in confirmed.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).fold(
            HeaderMap::new(),
            |mut map, (name, value): (HeaderName, HeaderValue)| {
                map.append(name, value);
                map
            },
        )
    }

    fn asks<T>(method: &str, headers: &[(&str, &str)], with: impl FnOnce(&Asked<'_>) -> T) -> T {
        let mut request = http::Request::new(());
        *request.headers_mut() = map(headers);
        *request.method_mut() = method.parse().unwrap();
        let parts = request.into_parts().0;
        with(&Asked { tenant: &"c".into(), identity: 1, target: "/", parts: &parts })
    }

    const TTL: Duration = Duration::from_secs(600);

    fn of(status: u16, headers: &[(&str, &str)]) -> Option<Policy> {
        asks("GET", &[], |asked| Policy::of(asked, StatusCode::from_u16(status).unwrap(), &map(headers), TTL))
    }

    /// For how many seconds it is fresh; `None`: it is not stored.
    fn fresh(status: u16, headers: &[(&str, &str)]) -> Option<u64> {
        of(status, headers).map(|policy| policy.age(Duration::ZERO).1.as_secs())
    }

    const SUPEROFFICE: [(&str, &str); 3] = [("cache-control", "no-cache"), ("pragma", "no-cache"), ("expires", "-1")];

    #[test]
    fn the_ttl_overrides_what_superoffice_says_and_nothing_else() {
        assert_eq!(fresh(200, &SUPEROFFICE), Some(600));
        assert_eq!(fresh(200, &[]), Some(600));
        assert_eq!(fresh(204, &SUPEROFFICE), Some(600));
        assert_eq!(fresh(200, &[("expires", "0")]), Some(600));
        assert_eq!(fresh(200, &[("cache-control", "No-Cache")]), Some(600));
        for kept in ["no-store", "no-cache, No-Store", "private", "Private", "private=\"x\"", "max-age=0", "no-cache=\"set-cookie\""] {
            assert_eq!(fresh(200, &[("cache-control", kept)]), None, "{kept}");
        }
        assert_eq!(fresh(200, &[("set-cookie", "a=b")]), None);
        assert_eq!(fresh(200, &[("set-cookie", "a=b"), ("cache-control", "public")]), None);
        assert_eq!(fresh(200, &[("vary", "Accept, *")]), None);
        assert_eq!(fresh(206, &[("content-range", "bytes 0-1/2")]), None);
        assert_eq!(fresh(206, &[]), None);
    }

    #[test]
    fn an_answer_that_says_how_long_it_is_fresh_is_believed_up_to_the_ttl() {
        assert_eq!(fresh(200, &[("cache-control", "max-age=60")]), Some(60));
        assert_eq!(fresh(200, &[("cache-control", "max-age=60, s-maxage=30")]), Some(30));
        assert_eq!(fresh(200, &[("cache-control", "max-age=\"60\"")]), Some(60));
        assert_eq!(fresh(200, &[("cache-control", "max-age=6000")]), Some(600));
        assert_eq!(fresh(200, &[("cache-control", "max-age=60"), ("age", "50")]), Some(10));
        let date = ("date", "Mon, 23 Feb 2026 09:52:00 GMT");
        assert_eq!(fresh(200, &[date, ("expires", "Mon, 23 Feb 2026 09:53:00 GMT")]), Some(60));
        assert_eq!(fresh(200, &[date, ("expires", "Mon, 23 Feb 2026 09:51:00 GMT")]), Some(600), "that is over");
        // It must be asked for each time, which is of use only with a validator.
        assert_eq!(fresh(200, &[("cache-control", "max-age=0"), ("etag", "\"a\"")]), Some(0));
        assert_eq!(fresh(200, &[("cache-control", "max-age=soon"), ("etag", "\"a\"")]), Some(0));
    }

    #[test]
    fn other_statuses_are_stored_only_as_they_say_themselves() {
        for status in [300, 301, 302, 304, 400, 401, 403, 404, 410, 412, 429, 500, 503] {
            assert_eq!(fresh(status, &SUPEROFFICE), None, "{status}");
            assert_eq!(fresh(status, &[]), None, "{status}");
        }
        assert_eq!(fresh(404, &[("cache-control", "max-age=60")]), Some(60));
        assert_eq!(fresh(410, &[("cache-control", "max-age=60")]), Some(60));
        assert_eq!(fresh(404, &[("cache-control", "max-age=60, no-cache")]), None);
        for status in [304, 400, 401, 403, 500, 503] {
            assert_eq!(fresh(status, &[("cache-control", "max-age=60")]), None, "{status}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert!(asks(method, &[], |asked| Policy::of(asked, StatusCode::OK, &map(&[]), TTL)).is_none(), "{method}");
        }
    }

    #[test]
    fn what_vary_names_has_to_be_the_same() {
        let stored = |asked: &[(&str, &str)], vary: &str| {
            asks("GET", asked, |asked| Policy::of(asked, StatusCode::OK, &map(&[("vary", vary)]), TTL))
        };
        let worth = |policy: &Policy, headers: &[(&str, &str)]| asks("GET", headers, |asked| policy.worth(asked, Duration::ZERO));
        let policy = stored(&[("x-user", "a"), ("accept-encoding", "gzip")], "Accept-Encoding, X-User").unwrap();
        assert_eq!(worth(&policy, &[("x-user", "a"), ("accept-encoding", "br")]), Worth::Fresh, "codings are the key's business");
        assert_eq!(worth(&policy, &[("x-user", "b")]), Worth::Other);
        assert_eq!(worth(&policy, &[]), Worth::Other);
        let policy = stored(&[], "X-User").unwrap();
        assert_eq!((worth(&policy, &[]), worth(&policy, &[("x-user", "")])), (Worth::Fresh, Worth::Other));
        assert!(stored(&[("x-user", "a"), ("x-user", "b")], "X-User").is_none());
    }

    #[test]
    fn callers_narrow_what_they_take() {
        let policy = of(200, &SUPEROFFICE).unwrap();
        let worth = |said: &str, age: u64| asks("GET", &[("cache-control", said)], |asked| policy.worth(asked, Duration::from_secs(age)));
        assert_eq!((worth("", 599), worth("", 600)), (Worth::Fresh, Worth::Stale));
        assert_eq!((worth("max-age=60", 60), worth("Max-Age=60", 61)), (Worth::Fresh, Worth::Stale));
        assert_eq!((worth("min-fresh=100", 500), worth("min-fresh=100", 501)), (Worth::Fresh, Worth::Stale));
        assert_eq!((worth("max-stale=60", 659), worth("max-stale=60", 661)), (Worth::Fresh, Worth::Stale));
        assert_eq!(worth("no-cache", 1), Worth::Stale);
        let strict = of(200, &[("cache-control", "no-cache, must-revalidate")]).unwrap();
        let late = asks("GET", &[("cache-control", "max-stale")], |asked| strict.worth(asked, Duration::from_secs(601)));
        assert_eq!(late, Worth::Stale);
    }

    #[test]
    fn a_304_updates_the_head_but_not_what_tells_of_the_body() {
        let stored = map(&[
            ("etag", "\"a\""),
            ("x", "1"),
            ("x", "2"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("y", "1"),
            ("age", "9"),
        ]);
        let headers = updated(&stored, &map(&[("x", "3"), ("x", "4"), ("content-length", "0"), ("content-encoding", "br"), ("z", "1")]));
        let expected =
            [("etag", "\"a\""), ("x", "3"), ("x", "4"), ("content-length", "5"), ("content-encoding", "gzip"), ("y", "1"), ("z", "1")];
        assert_eq!(headers, map(&expected));
    }

    proptest::proptest! {
        /// Whatever an answer says, the library does not fall over, and nothing is fresh for longer than the operator allows.
        #[test]
        fn nothing_is_fresh_for_longer_than_the_ttl(
            status in 200u16..600,
            said in "[a-z0-9=\", -]{0,40}",
            expires in "[ -~]{0,30}",
            vary in "[A-Za-z*, -]{0,20}",
            etag in "[!-~]{0,8}",
            age in 0u64..2000,
        ) {
            let headers = [("cache-control", said.as_str()), ("expires", &expires), ("vary", &vary), ("etag", &etag)];
            if let Some(policy) = of(status, &headers) {
                proptest::prop_assert!(policy.age(Duration::ZERO).1 <= TTL);
                let worth = asks("GET", &[("cache-control", &said), ("if-none-match", &etag)], |asked| policy.worth(asked, Duration::from_secs(age)));
                let lenient = said.contains("max-stale");
                proptest::prop_assert!(worth != Worth::Fresh || age < 600 || lenient);
            }
        }
    }
}
