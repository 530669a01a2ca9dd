//! What a request asks the cache for: its key, and what its caller says of caches. No text of a key is a secret: who asks is told
//! by a number.

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, COOKIE, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
};
use http::request::Parts;

use super::policy::directives;

/// All that an answer depends on, of which its `Vary` need not tell.
pub(super) type Key = Arc<[u8]>;

/// Headers that are part of the key. Protocol §7.3, RFC 9110 §12.5.
const KEYED: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_CHARSET,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    HeaderName::from_static("prefer"),
    HeaderName::from_static("so-culture"),
    HeaderName::from_static("so-language"),
    HeaderName::from_static("so-timezone"),
];

/// Headers of requests that are none of the cache's business: parts of an answer, conditions of a write, sessions, other methods.
const PASSES: [HeaderName; 8] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    COOKIE,
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

/// Whether a header's values are part of the key, so that `Vary` need not be asked for it.
pub(super) fn is_keyed(name: &str) -> bool {
    KEYED.iter().any(|keyed| name.eq_ignore_ascii_case(keyed.as_str()))
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The tenant, in the same spelling always.
    pub tenant: &'a Arc<str>,
    /// The credential with which SuperOffice is asked, as [`super::Cache::identity`] tells it.
    pub identity: u64,
    /// The path behind the tenant, with the query, as the caller wrote it.
    pub target: &'a str,
    /// The method, and the headers as they will go upstream, before credentials are injected.
    pub parts: &'a Parts,
}

/// What the caller says of caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing, or what the stored answer's policy judges.
    Any,
    /// No answer that SuperOffice has not confirmed.
    Reload,
    /// Nothing stored, and nothing to be stored.
    NoStore,
    /// It is none of the cache's business.
    Pass,
}

impl Asked<'_> {
    /// Has no secrets, and is the same for requests that get the same answer.
    pub(super) fn key(&self) -> Key {
        let mut key = Vec::with_capacity(256);
        key.extend(self.identity.to_le_bytes());
        key.extend(self.tenant.as_bytes());
        key.push(0);
        key.extend(self.target.as_bytes());
        for (at, keyed) in KEYED.iter().enumerate() {
            // No header's value has these bytes.
            key.push(0);
            let mut values = self.parts.headers.get_all(keyed).iter().peekable();
            if *keyed == ACCEPT_ENCODING {
                key.extend(codings(values).into_bytes());
            } else {
                while let Some(value) = values.next() {
                    key.extend(value.as_bytes());
                    key.extend(values.peek().map(|_| b','));
                }
            }
            // IIS folds `_` and `-`: upstream may read `SO_Language`, too.
            for (name, value) in self.parts.headers.iter().filter(|(name, _)| name.as_str().contains('_')) {
                if name.as_str().replace('_', "-") == keyed.as_str() {
                    key.push(1 + at as u8);
                    key.extend(value.as_bytes());
                }
            }
        }
        key.into()
    }

    pub(super) fn wish(&self) -> Wish {
        let headers = &self.parts.headers;
        if PASSES.iter().any(|name| headers.contains_key(name)) {
            return Wish::Pass;
        }
        if !headers.contains_key(CACHE_CONTROL) {
            let pragma =
                headers.get_all(PRAGMA).iter().any(|value| value.as_bytes().to_ascii_lowercase().windows(8).any(|w| w == b"no-cache"));
            return if pragma { Wish::Reload } else { Wish::Any };
        }
        directives(headers).into_iter().fold(Wish::Any, |wish, (name, value)| match name.as_str() {
            "no-store" => Wish::NoStore,
            "no-cache" if wish == Wish::Any => Wish::Reload,
            "max-age" if wish == Wish::Any && value.as_deref().is_some_and(|age| age.parse() == Ok(0)) => Wish::Reload,
            _ => wish,
        })
    }
}

/// `Accept-Encoding` in one spelling: order, case and blanks mean nothing, and neither does a weight of one.
fn codings<'h>(values: impl Iterator<Item = &'h HeaderValue>) -> String {
    let mut codings: Vec<String> = Vec::new();
    for value in values {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        codings.extend(text.split(',').map(|coding| coding.split_ascii_whitespace().collect::<String>()));
    }
    let one = [";q=1", ";q=1.0", ";q=1.00", ";q=1.000"];
    for coding in &mut codings {
        if let Some(bare) = one.iter().find_map(|one| coding.strip_suffix(one)) {
            *coding = bare.to_owned();
        }
    }
    codings.retain(|coding| !coding.is_empty());
    codings.sort_unstable();
    codings.dedup();
    codings.join(",")
}

/// The conditions of a caller that has an answer already.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    none_match: Vec<HeaderValue>,
    modified_since: Option<HeaderValue>,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Conditions {
        let none_match = headers.get_all(IF_NONE_MATCH).iter().cloned().collect();
        Conditions { none_match, modified_since: headers.get(IF_MODIFIED_SINCE).cloned() }
    }

    /// Whether an answer with these headers is the one that the caller has. RFC 9110 §13.2.2.
    pub(super) fn met_by(&self, stored: &HeaderMap) -> bool {
        let text = |value: &HeaderValue| value.to_str().ok().map(|text| text.trim().to_owned());
        if !self.none_match.is_empty() {
            let Some(etag) = stored.get(http::header::ETAG).and_then(text) else { return false };
            let lists: Vec<String> = self.none_match.iter().filter_map(text).collect();
            return lists.iter().flat_map(|list| tags(list)).any(|tag| tag == "*" || same_tag(tag, &etag));
        }
        let date = |value: Option<&HeaderValue>| httpdate::parse_http_date(value?.to_str().ok()?.trim()).ok();
        match (date(self.modified_since.as_ref()), date(stored.get(http::header::LAST_MODIFIED))) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    }
}

/// Whether two entity tags are the same, weak or not. RFC 9110 §8.8.3.2.
pub(super) fn same_tag(a: &str, b: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    opaque(a) == opaque(b)
}

/// A list of entity tags, which may have commas in them.
fn tags(list: &str) -> Vec<&str> {
    let (mut quoted, mut start, mut tags) = (false, 0, Vec::new());
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                tags.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    tags.push(list[start..].trim());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        request.into_parts().0
    }

    fn key(headers: &[(&str, &str)]) -> Key {
        Asked { tenant: &"cust1".into(), identity: 7, target: "/api/v1/List/x?a", parts: &parts(headers) }.key()
    }

    #[test]
    fn the_key_tells_apart_what_answers_depend_on() {
        let tenants: [Arc<str>; 2] = ["cust1".into(), "cust2".into()];
        let none = parts(&[]);
        let base = Asked { tenant: &tenants[0], identity: 7, target: "/api/v1/List/x?a", parts: &none };
        let mut keys = vec![
            base.key(),
            Asked { tenant: &tenants[1], ..base }.key(),
            Asked { identity: 8, ..base }.key(),
            Asked { target: "/api/v1/List/x?b", ..base }.key(),
            Asked { target: "/api/v1/List/X?a", ..base }.key(),
        ];
        for name in
            ["accept", "accept-language", "so-language", "SO-Culture", "so-timezone", "accept-encoding", "SO_Language", "so_timezone"]
        {
            keys.push(key(&[(name, "de")]));
        }
        keys.push(key(&[("accept", "de"), ("accept-language", "de")]));
        let distinct: std::collections::HashSet<&Key> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(key(&[("user-agent", "x"), ("x-request-id", "1")]), base.key());
        assert_eq!(key(&[("accept", "a"), ("accept", "b")]), key(&[("accept", "a,b")]));
    }

    #[test]
    fn codings_in_any_spelling_are_the_same() {
        let same = ["gzip, br", "br,gzip", "GZIP;q=1.0,  br ; q=1", "br, gzip, br", "br,,gzip"];
        for spelling in same {
            assert_eq!(key(&[("accept-encoding", spelling)]), key(&[("accept-encoding", same[0])]), "{spelling}");
        }
        assert_eq!(key(&[("accept-encoding", "gzip"), ("accept-encoding", "br")]), key(&[("accept-encoding", same[0])]));
        for other in ["gzip", "gzip;q=0, br", "gzip;q=0.5, br", "gzip, br, *"] {
            assert_ne!(key(&[("accept-encoding", other)]), key(&[("accept-encoding", same[0])]), "{other}");
        }
    }

    #[test]
    fn what_callers_say_of_caches() {
        let wish = |headers: &[(&str, &str)]| Asked { tenant: &"c".into(), identity: 0, target: "/", parts: &parts(headers) }.wish();
        for (name, value, expected) in [
            ("cache-control", "no-cache", Wish::Reload),
            ("cache-control", "No-Cache", Wish::Reload),
            ("cache-control", "max-age=0", Wish::Reload),
            ("cache-control", "foo, MAX-AGE = \"0\"", Wish::Reload),
            ("cache-control", "no-cache, no-store", Wish::NoStore),
            ("cache-control", "no-store, no-cache", Wish::NoStore),
            ("cache-control", "max-age=60", Wish::Any),
            ("cache-control", "foo=\"no-cache\"", Wish::Any),
            ("pragma", "foo, No-Cache", Wish::Reload),
            ("pragma", "foo", Wish::Any),
            ("range", "bytes=0-1", Wish::Pass),
            ("if-match", "*", Wish::Pass),
            ("if-unmodified-since", "Mon, 23 Feb 2026 09:52:04 GMT", Wish::Pass),
            ("cookie", "a=b", Wish::Pass),
            ("x-http-method-override", "DELETE", Wish::Pass),
            ("if-none-match", "\"a\"", Wish::Any),
        ] {
            assert_eq!(wish(&[(name, value)]), expected, "{name}: {value}");
        }
        assert_eq!(wish(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]), Wish::Any, "RFC 9111 §5.4");
    }

    #[test]
    fn conditions_by_tag_and_by_date() {
        let met = |asked: &[(&str, &str)], stored: &[(&str, &str)]| Conditions::of(&parts(asked).headers).met_by(&parts(stored).headers);
        let stored = [("etag", "W/\"a,b\""), ("last-modified", "Mon, 23 Feb 2026 09:52:04 GMT")];
        assert!(met(&[("if-none-match", "\"x\", \"a,b\"")], &stored));
        assert!(met(&[("if-none-match", "\"x\""), ("if-none-match", "*")], &stored));
        assert!(!met(&[("if-none-match", "\"a\"")], &stored));
        assert!(!met(&[("if-none-match", "\"x\""), ("if-modified-since", "Mon, 23 Feb 2026 09:52:04 GMT")], &stored), "tags go first");
        assert!(met(&[("if-modified-since", "Mon, 23 Feb 2026 09:52:04 GMT")], &stored));
        assert!(!met(&[("if-modified-since", "Mon, 23 Feb 2026 09:52:03 GMT")], &stored));
        assert!(!met(&[("if-modified-since", "yesterday")], &stored));
        assert!(!met(&[], &stored));
    }
}
