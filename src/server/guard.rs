//! Keeps browsers out: a page that a user visits can send requests to `127.0.0.1`, and a name of an attacker's can be made
//! to resolve to it. Programs send neither `Origin` nor a foreign `Host`.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Version};

use crate::superoffice::origin::is_loopback_host;

/// The names a listener goes by.
#[derive(Clone, Debug, Default)]
pub struct HostGuard {
    names: Vec<String>,
}

/// Whom a host names.
#[derive(Clone, Copy, PartialEq)]
enum Name<'h> {
    Ours,
    Tenant(&'h str),
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
    /// that the connection was made to, if it has one. A tenant's name may stand before `localhost` and the further hosts, with a dot
    /// between: which one it was. No other sub-domain is ours. `page`: it is from a page that may call.
    pub fn check<'r>(
        &self,
        parts: &'r Parts,
        local: Option<IpAddr>,
        page: bool,
        is_tenant: impl Fn(&str) -> bool,
    ) -> Result<Option<&'r str>, Forbidden> {
        if !page && (parts.headers.contains_key(ORIGIN) || by_a_page(&parts.headers)) {
            return Err(Forbidden::Browser);
        }
        let lines = parts.headers.get_all(HOST).iter().map(|host| host.to_str().map(host_of).unwrap_or_default());
        let mut named = None;
        for host in lines.chain(parts.uri.authority().map(Authority::host)) {
            let name = self.name(host, local, &is_tenant).ok_or(Forbidden::Host)?;
            // Nobody means two of them.
            if named.is_some_and(|before| before != name) {
                return Err(Forbidden::Host);
            }
            named = Some(name);
        }
        match named {
            Some(Name::Tenant(name)) => Ok(Some(name)),
            Some(Name::Ours) => Ok(None),
            // A legacy client may speak HTTP/1.0 without Host; no browser does.
            None if parts.version < Version::HTTP_11 => Ok(None),
            None => Err(Forbidden::NoHost),
        }
    }

    fn name<'h>(&self, host: &'h str, local: Option<IpAddr>, is_tenant: impl Fn(&str) -> bool) -> Option<Name<'h>> {
        let host = bare(host);
        if is_loopback_host(host) || host.parse::<IpAddr>().is_ok_and(|ip| local.is_some_and(|local| ip == local.to_canonical())) {
            return Some(Name::Ours);
        }
        let listed = |host: &str| self.names.iter().any(|name| name.eq_ignore_ascii_case(host));
        if let Some((first, rest)) = host.split_once('.')
            && (rest.eq_ignore_ascii_case("localhost") || listed(rest))
            && is_tenant(first)
        {
            return Some(Name::Tenant(first));
        }
        listed(host).then_some(Name::Ours)
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
        named(version, uri, headers).map(|tenant| assert_eq!(tenant, None))
    }

    fn named(version: Version, uri: &str, headers: &[(&str, &str)]) -> Result<Option<String>, Forbidden> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = HostGuard::new(&["soproxy".to_owned(), "Crm.Example".to_owned()]);
        let parts = request.body(()).unwrap().into_parts().0;
        let is_tenant = |name: &str| ["cust1", "cust2"].iter().any(|tenant| tenant.eq_ignore_ascii_case(name));
        guard.check(&parts, "10.1.2.3".parse().ok(), false, is_tenant).map(|tenant| tenant.map(str::to_owned))
    }

    #[test]
    fn a_tenants_name_may_stand_before_ours_and_nothing_else_may() {
        let by_host = |host| named(Version::HTTP_11, "/x", &[("host", host)]);
        for (host, tenant) in
            [("cust1.localhost", "cust1"), ("CUST1.LocalHost:8080", "CUST1"), ("cust2.soproxy", "cust2"), ("cust2.crm.example:80", "cust2")]
        {
            assert_eq!(by_host(host), Ok(Some(tenant.to_owned())), "{host}");
        }
        for bad in [
            "x.localhost",
            "cust1.evil.example",
            "cust1.localhost.evil.example",
            "x.cust1.localhost",
            "cust1.cust2.localhost",
            "x.soproxy",
            "cust1.example",
            "cust1..localhost",
            ".localhost",
            "cust1.127.0.0.1",
            "cust1.10.1.2.3",
            "cust1",
        ] {
            assert_eq!(by_host(bad), Err(Forbidden::Host), "{bad}");
        }
        let absolute = "http://cust1.localhost:8080/x";
        assert_eq!(named(Version::HTTP_11, absolute, &[("host", "cust1.localhost:8080")]), Ok(Some("cust1".to_owned())));
        assert_eq!(named(Version::HTTP_2, absolute, &[]), Ok(Some("cust1".to_owned())));
        for other in ["cust2.localhost", "localhost"] {
            assert_eq!(named(Version::HTTP_11, absolute, &[("host", other)]), Err(Forbidden::Host), "{other}");
            assert_eq!(named(Version::HTTP_11, "/x", &[("host", other), ("host", "cust1.localhost")]), Err(Forbidden::Host), "{other}");
        }
        assert_eq!(named(Version::HTTP_11, "/x", &[("host", "cust1.localhost"), ("origin", "null")]), Err(Forbidden::Browser));
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
