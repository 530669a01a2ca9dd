//! Origins and bases: where a ticket may be sent, and where a tenant's web API lives.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::uri::{Authority, Scheme, Uri};

/// An absolute `http` or `https` URL without query, as an origin and a path that does not end in `/`.
///
/// `https://online2.superoffice.com/Cust12345/api/` and the same without the last `/` are one base (the claim
/// `webapi_url` ends in a slash, the state's `Api` does not; protocol §6.5).
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    path: Box<str>,
}

impl BaseUrl {
    /// `http` or `https`.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and port as they were written.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The host alone, IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port written, else the scheme's.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// The path without its last slash; empty for an origin alone.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// For a web API's base that ends in `/api`: the path of the tenant's endpoint, what is before that. Protocol §6.5.
    pub fn endpoint_path(&self) -> Option<&str> {
        let (endpoint, api) = self.path.rsplit_once('/')?;
        api.eq_ignore_ascii_case("api").then_some(endpoint)
    }

    /// The tenant's endpoint, if this is a web API's base that tells it.
    pub fn endpoint(&self) -> Option<BaseUrl> {
        let path = self.endpoint_path()?.into();
        Some(BaseUrl { scheme: self.scheme.clone(), authority: self.authority.clone(), path })
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether the host is this machine: a loopback address or `localhost`.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(self.host())
    }

    /// `base` + `suffix`, where the suffix starts with `/`.
    pub fn join(&self, suffix: &str) -> String {
        format!("{}://{}{}{suffix}", self.scheme, self.authority, self.path)
    }
}

/// Whether `host` (IPv6 with or without brackets) is `localhost` or a loopback address.
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is no base URL; the message says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidBaseUrl(&'static str);

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<BaseUrl, InvalidBaseUrl> {
        let uri: Uri = text.trim().parse().map_err(|_| InvalidBaseUrl("not a URL"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or(InvalidBaseUrl("not an absolute URL: it must start with https://"))?;
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err(InvalidBaseUrl("only https:// (or http:// for this machine) can be used"));
        }
        let authority = parts.authority.ok_or(InvalidBaseUrl("the URL has no host"))?;
        if authority.as_str().contains('@') {
            return Err(InvalidBaseUrl("a URL with a user name or password in it is not used"));
        }
        let path = parts.path_and_query.as_ref();
        if path.is_some_and(|path| path.query().is_some()) {
            return Err(InvalidBaseUrl("a base URL has no query"));
        }
        let path = path.map_or("", |path| path.path()).trim_end_matches('/').into();
        Ok(BaseUrl { scheme, authority, path })
    }
}

/// The hosts a ticket may be sent to; every tenant holds them, so copies share the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamHosts(Arc<Vec<HostPattern>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct HostPattern {
    /// Lower case; starts with `.` when any sub-domain fits.
    host: Box<str>,
    port: Option<u16>,
}

impl UpstreamHosts {
    /// Reads patterns: `host`, `host:port`, or `*.domain` (any depth of sub-domain, not the domain itself).
    /// On failure, the pattern that cannot be read.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<UpstreamHosts, String> {
        patterns
            .into_iter()
            .map(|text| HostPattern::parse(text).ok_or_else(|| text.to_owned()))
            .collect::<Result<_, _>>()
            .map(|patterns| UpstreamHosts(Arc::new(patterns)))
    }

    /// Adds one origin, host and port, unless it is there already.
    pub fn also(&mut self, origin: &BaseUrl) {
        let pattern = HostPattern { host: origin.host().to_ascii_lowercase().into(), port: Some(origin.port()) };
        if !self.0.contains(&pattern) {
            Arc::make_mut(&mut self.0).push(pattern);
        }
    }

    /// Whether a ticket may be sent to `base`: its host is listed, and the connection is https unless the host is this
    /// machine. A pattern without port means the scheme's own port.
    pub fn check(&self, base: &BaseUrl) -> Result<(), OriginRefused> {
        if !base.is_https() && !base.is_loopback() {
            return Err(OriginRefused::Plaintext(base.authority.to_string()));
        }
        let host = base.host().to_ascii_lowercase();
        let listed = self.0.iter().any(|pattern| pattern.fits(&host, base));
        if listed { Ok(()) } else { Err(OriginRefused::NotListed(base.authority.to_string())) }
    }

    /// The same, as a proof that a [`crate::ticket::Ticket`] asks for.
    pub fn allow(&self, base: BaseUrl) -> Result<AllowedBase, OriginRefused> {
        self.check(&base).map(|()| AllowedBase(Arc::new(base)))
    }
}

impl HostPattern {
    fn parse(text: &str) -> Option<HostPattern> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(domain) = text.strip_prefix("*.") {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            let fits = !domain.is_empty() && domain.chars().all(plain) && !domain.starts_with('.');
            return fits.then(|| HostPattern { host: format!(".{domain}").into(), port: None });
        }
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        if host.is_empty() || host.contains('*') || authority.as_str().contains('@') {
            return None;
        }
        Some(HostPattern { host: host.into(), port: authority.port_u16() })
    }

    fn fits(&self, host: &str, base: &BaseUrl) -> bool {
        let name_fits = match self.host.starts_with('.') {
            true => host.len() > self.host.len() && host.ends_with(&*self.host),
            false => host == &*self.host,
        };
        let own_port = if base.is_https() { 443 } else { 80 };
        name_fits && base.port() == self.port.unwrap_or(own_port)
    }
}

/// A base that passed [`UpstreamHosts::check`]: a ticket may be sent there. Only [`UpstreamHosts::allow`] makes one. Copies
/// share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedBase(Arc<BaseUrl>);

impl AllowedBase {
    /// The tenant's endpoint, if this is a web API's base that tells it: the same host.
    pub fn endpoint(&self) -> Option<AllowedBase> {
        self.0.endpoint().map(|endpoint| AllowedBase(Arc::new(endpoint)))
    }
}

impl std::ops::Deref for AllowedBase {
    type Target = BaseUrl;

    fn deref(&self) -> &BaseUrl {
        &self.0
    }
}

impl fmt::Display for AllowedBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a ticket is not sent to an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginRefused {
    /// The host is in no pattern.
    #[error("{0} is not in upstream_hosts")]
    NotListed(String),
    /// No TLS, and not this machine.
    #[error("{0} is not https, and a ticket is never sent in plain text to another machine")]
    Plaintext(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_base_is_the_same_with_and_without_its_last_slash() {
        assert_eq!(base("https://a.superoffice.com/Cust1/api/"), base("https://a.superoffice.com/Cust1/api"));
        assert_eq!(base("https://a.superoffice.com").path(), "");
        assert_eq!(base("https://a:444/x").join("/y"), "https://a:444/x/y");
        assert_eq!((base("https://a").port(), base("http://a").port()), (443, 80));
    }

    #[test]
    fn an_endpoint_is_what_is_before_api() {
        let endpoint = |text| base(text).endpoint().map(|endpoint| endpoint.to_string());
        assert_eq!(endpoint("https://a/Cust1/API/").as_deref(), Some("https://a/Cust1"));
        assert_eq!(endpoint("https://a/api").as_deref(), Some("https://a"));
        for other in ["https://a", "https://a/Cust1", "https://a/Cust1/webapi", "https://a/Cust1/api/v1"] {
            assert_eq!(endpoint(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_base() {
        for bad in ["", "a.superoffice.com", "/x", "ftp://a/", "https://u:p@a/", "https://a/?q=1", "https:///x"] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_ticket_goes_only_where_it_belongs() {
        let mut hosts = UpstreamHosts::parse(["*.superoffice.com", "app.example.org:8443"]).unwrap();
        hosts.also(&base("http://127.0.0.1:8090"));
        for good in [
            "https://sod2.superoffice.com/Cust1/api",
            "https://SOD2.SuperOffice.com:443/Cust1/api",
            "https://a.b.superoffice.com/",
            "https://app.example.org:8443/",
            "http://127.0.0.1:8090/Cust1/api",
        ] {
            assert_eq!(hosts.check(&base(good)), Ok(()), "{good}");
        }
        for bad in [
            "http://sod2.superoffice.com/Cust1/api",
            "https://superoffice.com/",
            "https://evilsuperoffice.com/",
            "https://sod2.superoffice.com.evil.org/",
            "https://sod2.superoffice.com:8443/",
            "https://app.example.org/",
            "http://127.0.0.1:8091/",
            "http://[::1]:8090/",
        ] {
            assert!(hosts.check(&base(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_origin_is_listed_once() {
        let mut hosts = UpstreamHosts::parse(["a.example"]).unwrap();
        for text in ["https://a.example", "https://b.example", "https://B.example:443/x"] {
            hosts.also(&base(text));
        }
        assert_eq!(hosts.0.len(), 3, "a.example on any scheme's own port, a.example:443, b.example:443");
    }

    #[test]
    fn unreadable_patterns_are_named() {
        for bad in ["*", "*.", "a*b", "", "*.a/b", "u@h"] {
            assert_eq!(UpstreamHosts::parse(["ok.example", bad]), Err(bad.to_owned()));
        }
    }
}
