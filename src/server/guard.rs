//! Keeps browsers out: a page that a user visits can send requests to `127.0.0.1`, and a name of an attacker's can be made
//! to resolve to it. Programs send neither `Origin` nor a foreign `Host`.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};

use crate::superoffice::origin::is_loopback_host;

/// The names a listener goes by.
#[derive(Clone, Debug, Default)]
pub struct HostGuard {
    names: Vec<String>,
}

/// Why a request is not from a program that means us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The request names another host: DNS rebinding, or a name that the configuration does not list.
    #[error("the request's Host is none of this listener's names; add it to `hosts` in the listener's section if it is meant")]
    Host,
    /// No `Host`, which HTTP/1.1 requires.
    #[error("an HTTP/1.1 request without Host")]
    NoHost,
    /// A browser sent it on behalf of some page.
    #[error("requests from web pages (with Origin, or Sec-Fetch-Site other than none) are refused")]
    Browser,
}

impl HostGuard {
    /// `names`: further hosts, without port.
    pub fn new(names: &[String]) -> HostGuard {
        HostGuard { names: names.iter().map(|name| bare(name).to_ascii_lowercase()).collect() }
    }

    /// Looks at `Host`, at an absolute-form target's authority, at `Origin` and `Sec-Fetch-Site`. `local` is the address
    /// that the connection was made to.
    pub fn check(&self, parts: &Parts, local: IpAddr) -> Result<(), Forbidden> {
        if parts.headers.contains_key(ORIGIN) || by_a_page(&parts.headers) {
            return Err(Forbidden::Browser);
        }
        let mut named = false;
        for host in parts.headers.get_all(HOST) {
            named = true;
            if !host.to_str().is_ok_and(|host| self.knows(host_of(host), local)) {
                return Err(Forbidden::Host);
            }
        }
        if let Some(authority) = parts.uri.authority() {
            named = true;
            if !self.knows(authority.host(), local) {
                return Err(Forbidden::Host);
            }
        }
        // A legacy client may speak HTTP/1.0 without Host; no browser does.
        if named || parts.version < Version::HTTP_11 { Ok(()) } else { Err(Forbidden::NoHost) }
    }

    fn knows(&self, host: &str, local: IpAddr) -> bool {
        let host = bare(host);
        is_loopback_host(host)
            || host.parse::<IpAddr>().is_ok_and(|ip| ip == local.to_canonical())
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Whether a page caused the request. `same-origin`, too: the only pages of our own origin are documents out of the CRM,
/// whose scripts would read all of it. `none` is a person who typed the address.
fn by_a_page(headers: &HeaderMap) -> bool {
    headers.get_all("sec-fetch-site").iter().any(|value: &HeaderValue| value != "none")
}

/// A `Host` value without its port.
fn host_of(value: &str) -> &str {
    match value.rfind(':') {
        Some(colon) if !value.ends_with(']') => &value[..colon],
        _ => value,
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(version: Version, uri: &str, headers: &[(&str, &str)]) -> Result<(), Forbidden> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = HostGuard::new(&["soproxy".to_owned(), "Crm.Example".to_owned()]);
        guard.check(&request.body(()).unwrap().into_parts().0, "10.1.2.3".parse().unwrap())
    }

    #[test]
    fn hosts() {
        for good in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "10.1.2.3:8080", "soproxy:8080", "crm.example"]
        {
            assert_eq!(check(Version::HTTP_11, "/x", &[("host", good)]), Ok(()), "{good}");
        }
        for bad in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "10.1.2.4", "", "127.0.0.1.evil.example", "[::1", "a@localhost"]
        {
            assert_eq!(check(Version::HTTP_11, "/x", &[("host", bad)]), Err(Forbidden::Host), "{bad}");
        }
        assert_eq!(check(Version::HTTP_11, "/x", &[("host", "localhost"), ("host", "evil.example")]), Err(Forbidden::Host));
        assert_eq!(check(Version::HTTP_11, "http://evil.example/x", &[("host", "localhost")]), Err(Forbidden::Host));
        assert_eq!(check(Version::HTTP_11, "/x", &[]), Err(Forbidden::NoHost));
        assert_eq!(check(Version::HTTP_10, "/x", &[]), Ok(()));
        assert_eq!(check(Version::HTTP_2, "http://localhost:8080/x", &[]), Ok(()));
    }

    #[test]
    fn browsers() {
        let with = |name, value| check(Version::HTTP_11, "/x", &[("host", "localhost"), (name, value)]);
        assert_eq!(with("origin", "http://localhost:3000"), Err(Forbidden::Browser));
        assert_eq!(with("origin", "null"), Err(Forbidden::Browser));
        assert_eq!(with("sec-fetch-site", "cross-site"), Err(Forbidden::Browser));
        assert_eq!(with("sec-fetch-site", "same-site"), Err(Forbidden::Browser));
        assert_eq!(with("sec-fetch-site", "same-origin"), Err(Forbidden::Browser));
        assert_eq!(with("sec-fetch-site", "none"), Ok(()), "typed into the address bar by the user");
        assert_eq!(with("referer", "http://x/"), Ok(()));
    }
}
