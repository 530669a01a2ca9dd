//! Web pages that may call: those of the listed origins, by the protocol that browsers ask for (Fetch standard, §3.2).
//!
//! Nothing is said about other origins; their requests are refused (`crate::server::guard`), and a browser tells its page so.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;

const ASKS_FOR_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The origins whose pages may call.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// As browsers write them.
    origins: Vec<HeaderValue>,
}

impl Cors {
    /// Origins as browsers write them; what no header can carry is no origin.
    pub fn new(origins: &[String]) -> Cors {
        Cors { origins: origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect() }
    }

    /// The request's origin, if it is one, and listed.
    pub fn page(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let mut lines = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (lines.next(), lines.next()) else { return None };
        self.origins.contains(origin).then(|| origin.clone())
    }
}

/// The answer to a browser that asks before it lets a listed page send a request; `None` when this is another question. It gives
/// nothing away, and lets the page send no more than any program may.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| *method == Method::OPTIONS)?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
    if let Some(names) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if headers.contains_key(ASKS_FOR_PRIVATE_NETWORK) {
        answer.insert(ALLOWS_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(response)
}

/// Lets a listed page read an answer. What upstream says of origins is about its own pages.
pub fn mark(headers: &mut HeaderMap, origin: HeaderValue) {
    let theirs = [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS];
    for name in theirs {
        headers.remove(name);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_a_listed_origin_is_a_page() {
        let cors = Cors::new(&["https://app.example".to_owned(), "http://localhost:3000".to_owned()]);
        let page = |lines: &[_]| cors.page(&map(lines)).map(|origin| origin.to_str().unwrap().to_owned());
        assert_eq!(page(&[("origin", "https://app.example")]).as_deref(), Some("https://app.example"));
        assert_eq!(page(&[("origin", "http://localhost:3000")]).as_deref(), Some("http://localhost:3000"));
        let others =
            ["https://app.example.evil", "http://app.example", "null", "", "https://app.example/", "https://app.example https://x"];
        for other in others {
            assert_eq!(page(&[("origin", other)]), None, "{other}");
        }
        assert_eq!(page(&[("origin", "https://app.example"), ("origin", "https://app.example")]), None);
        assert_eq!(page(&[]), None);
        assert_eq!(Cors::default().page(&map(&[("origin", "https://app.example")])), None);
    }

    #[test]
    fn a_browser_that_asks_is_told_what_it_asked_for() {
        let asked = map(&[
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "x-api-key,content-type"),
            ("access-control-request-private-network", "true"),
        ]);
        let response = preflight(&Method::OPTIONS, &asked).unwrap();
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_METHODS], "PATCH");
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "x-api-key,content-type");
        assert_eq!(response.headers()[ALLOWS_PRIVATE_NETWORK], "true");
        assert!(!response.headers().contains_key("access-control-allow-credentials"));
        assert!(preflight(&Method::GET, &asked).is_none());
        assert!(preflight(&Method::OPTIONS, &map(&[])).is_none(), "an OPTIONS that is meant for upstream");
    }

    #[test]
    fn what_upstream_says_of_origins_is_replaced() {
        let mut headers = map(&[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x"),
            ("vary", "Accept"),
        ]);
        mark(&mut headers, HeaderValue::from_static("https://app.example"));
        let mut found: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        found.sort();
        let expected = [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-expose-headers", "*"),
            ("vary", "Accept"),
            ("vary", "Origin"),
        ];
        assert_eq!(found, expected);
    }
}
