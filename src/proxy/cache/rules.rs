//! Which paths are cached, and which writes make what is cached worthless.
//!
//! A pattern is a path behind the tenant, `/api/v1/List/*`. Case does not matter, nor do escapes of characters that need none. In
//! the middle `*` is one segment; at the end it is the rest, one segment or more. The first pattern that fits counts.
//!
//! The *collection* of a pattern is the last name before its first `*`, `List`. A write drops all that is cached of a collection
//! whose name is a segment of the write's path, wherever it stands there: `/api/v1/List/…`, `/api/v1/Agents/List/…` and
//! `/Remote/Services88/List.svc` all write to `List`. SuperOffice shows the same lists as `List` and as `MDOList` (its agent is
//! called `MDO`), so that a write to one drops the others. Agents are called by POST whatever they do: those whose method's name
//! begins with `Get` read.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

/// The same lists by other names.
const LISTS: [&str; 3] = ["list", "mdolist", "mdo"];

/// What is cached, in the order in which it is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// In lower case; `None` is `*`.
    segments: Vec<Option<String>>,
    pub(super) collection: Arc<str>,
    pub(super) ttl: Duration,
}

/// A pattern that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It must be a path.
    #[error("a pattern is a path behind the tenant that begins with /, such as /api/v1/List/*")]
    NoPath,
    /// `*` for a part of a segment.
    #[error("* stands for a whole segment, or at the end for the rest of the path: /api/v1/List/*")]
    Part,
    /// There is nothing before `*`.
    #[error("a pattern has a name before its first *, such as List in /api/v1/List/*")]
    NoName,
    /// Answers have ages in whole seconds.
    #[error("the time is at least a second")]
    TooShort,
}

impl Rules {
    /// Patterns, each with how long what it covers is fresh.
    pub fn new<'a>(patterns: impl IntoIterator<Item = (&'a str, Duration)>) -> Result<Rules, BadPattern> {
        patterns.into_iter().map(|(pattern, ttl)| Rule::new(pattern, ttl)).collect::<Result<Vec<Rule>, BadPattern>>().map(Rules)
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule for a path behind the tenant, `/api/v1/List/Category/Items`.
    pub fn find(&self, path: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.covers(path))
    }
}

impl Rule {
    /// Of one pattern.
    pub fn new(pattern: &str, ttl: Duration) -> Result<Rule, BadPattern> {
        let path = pattern.strip_prefix('/').ok_or(BadPattern::NoPath)?;
        let segment = |text: &str| match text {
            "*" => Ok(None),
            "" => Err(BadPattern::NoPath),
            _ if text.contains('*') => Err(BadPattern::Part),
            _ if text.contains(['?', '#']) => Err(BadPattern::NoPath),
            _ => Ok(Some(plain(text))),
        };
        let segments = path.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        let collection = segments.iter().map_while(Option::as_deref).last().ok_or(BadPattern::NoName)?.into();
        if ttl < Duration::from_secs(1) {
            return Err(BadPattern::TooShort);
        }
        Ok(Rule { segments, collection, ttl })
    }

    fn covers(&self, path: &str) -> bool {
        let mut path = path.strip_prefix('/').unwrap_or(path).split('/');
        let last = self.segments.len() - 1;
        for (at, pattern) in self.segments.iter().enumerate() {
            let Some(segment) = path.next() else { return false };
            match pattern {
                None if at == last => return !segment.is_empty(),
                None => {}
                Some(name) if is(segment, name) => {}
                Some(_) => return false,
            }
        }
        path.next().is_none()
    }
}

/// What a write may have changed.
#[derive(Debug)]
pub(super) struct Touched(Vec<String>);

impl Touched {
    /// `None` when it is no write. `action`: of a SOAP call.
    pub(super) fn by(method: &Method, path: &str, action: Option<&str>) -> Option<Touched> {
        if method.is_safe() {
            return None;
        }
        let segments: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(plain).collect();
        let reads = |name: Option<&str>| name.is_some_and(|name| name.get(..3).is_some_and(|get| get.eq_ignore_ascii_case("get")));
        let soap = segments.last().is_some_and(|last| last.ends_with(".svc"));
        let agent = segments.iter().rev().nth(2).is_some_and(|agents| agents == "agents");
        let only_reads = match (soap, agent) {
            (true, _) => reads(action.and_then(|action| action.trim().trim_matches('"').rsplit('/').next())),
            (false, true) => reads(segments.last().map(String::as_str)),
            (false, false) => false,
        };
        let name = |segment: String| segment.strip_suffix(".svc").map(str::to_owned).unwrap_or(segment);
        (!only_reads).then(|| Touched(segments.into_iter().map(name).collect()))
    }

    pub(super) fn is(&self, collection: &str) -> bool {
        let same = |name: &String| name == collection || (LISTS.contains(&name.as_str()) && LISTS.contains(&collection));
        self.0.iter().any(same)
    }
}

/// Whether a segment says a name in lower case.
fn is(segment: &str, name: &str) -> bool {
    decoded(segment).eq(name.bytes())
}

/// A segment without escapes, in lower case.
fn plain(segment: &str) -> String {
    String::from_utf8_lossy(&decoded(segment).collect::<Vec<u8>>()).into_owned()
}

fn decoded(segment: &str) -> impl Iterator<Item = u8> {
    let mut bytes = segment.bytes();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        let mut ahead = bytes.clone();
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes = ahead;
                high << 4 | low
            }
            _ => byte,
        };
        Some(byte.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(600);

    #[test]
    fn a_star_is_one_segment_and_at_the_end_the_rest() {
        let rules = Rules::new([("/api/v1/MDOList/*", TTL), ("/api/v1/*/Lists/x", TTL), ("/api/v1/Exact", TTL)]).unwrap();
        for good in [
            "/api/v1/MDOList/category",
            "/API/V1/mdolist/Category/3/x",
            "/api/v1/MDO%4cist/a%2Fb",
            "/api/v1/anything/lists/X",
            "/api/v1/exact",
        ] {
            assert!(rules.find(good).is_some(), "{good}");
        }
        for bad in [
            "/api/v1/MDOList",
            "/api/v1/MDOList/",
            "/api/v1//MDOList/x",
            "/api/v1/MDOListx/y",
            "/api/v1/a/b/lists/x",
            "/api/v1/a/lists/x/y",
            "/api/v1/exact/more",
            "/v1/MDOList/x",
            "/api/v1/MDOList%/x",
        ] {
            assert!(rules.find(bad).is_none(), "{bad}");
        }
        let rules = Rules::new([("/api/v1/List/Category/*", Duration::from_secs(5)), ("/api/v1/List/*", TTL)]).unwrap();
        assert_eq!(rules.find("/api/v1/list/category/x").map(|rule| rule.ttl), Some(Duration::from_secs(5)), "the first counts");
    }

    #[test]
    fn patterns_that_are_none() {
        for (pattern, expected) in [
            ("api/v1/List/*", BadPattern::NoPath),
            ("/", BadPattern::NoPath),
            ("/api//List", BadPattern::NoPath),
            ("/api/v1/List?x=*", BadPattern::Part),
            ("/api/v1/List?x", BadPattern::NoPath),
            ("/api/v1/List/**", BadPattern::Part),
            ("/api/v1/List*", BadPattern::Part),
            ("/*", BadPattern::NoName),
        ] {
            assert_eq!(Rule::new(pattern, TTL).map(|_| ()), Err(expected), "{pattern}");
        }
        assert_eq!(Rule::new("/a", Duration::from_millis(999)).map(|_| ()), Err(BadPattern::TooShort));
    }

    #[test]
    fn a_write_touches_every_collection_that_its_path_names() {
        let touches = |method: Method, path: &str, action: Option<&str>, collection: &str| {
            Touched::by(&method, path, action).is_some_and(|touched| touched.is(collection))
        };
        let post = Method::POST;
        for path in [
            "/api/v1/List/Category/Items",
            "/api/v1/list",
            "/api/v1/L%69st/7",
            "/api/v1/MDOList/x",
            "/api/v1/Agents/List/SaveCategory",
            "/api/v1/Agents/List/Delete",
            "/api/v1/Agents/MDO/SetHistory",
            "/Remote/Services88/List.svc",
        ] {
            for collection in ["list", "mdolist"] {
                assert!(touches(post.clone(), path, None, collection), "{path} {collection}");
            }
        }
        for method in ["PUT", "PATCH", "DELETE", "MERGE"] {
            assert!(touches(method.parse().unwrap(), "/api/v1/List/Category/Items/3", None, "list"), "{method}");
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(Touched::by(&method, "/api/v1/List/Category", None).is_none());
        }
        assert!(!touches(post.clone(), "/api/v1/Contact/3", None, "list"));
        assert!(!touches(post.clone(), "/api/v1/Agents/List/GetCategories", None, "list"), "it only reads");
        assert!(touches(post.clone(), "/api/v1/List/GetStarted", None, "list"), "that is no agent");
        let action = Some("\"http://www.superoffice.net/ws/crm/NetServer/Services88/List/GetCategories\"");
        assert!(!touches(post.clone(), "/Remote/Services88/List.svc", action, "list"));
        let action = Some("http://www.superoffice.net/ws/crm/NetServer/Services88/List/SaveCategory");
        assert!(touches(post.clone(), "/Remote/Services88/List.svc", action, "list"));
        assert!(touches(post, "/api/v1/anything", None, "v1"), "a pattern as wide as the API loses everything with each write");
    }
}
