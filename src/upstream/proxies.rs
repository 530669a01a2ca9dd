//! Which origins are reached through a proxy, and which are not.
//!
//! Only https goes through one: plain text goes to this machine alone, and the proxy would read it. What is on this machine is
//! reached directly, unless the configured proxy is on it, too: another machine's `localhost` is another.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::proxy::{Proxy, bare};
use crate::proxy::address::Network;
use crate::superoffice::origin::BaseUrl;

/// The way out: direct, or through one proxy with exemptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Option<Through>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Through {
    proxy: Proxy,
    exempt: Vec<Exempt>,
    /// Named by the configuration, not by the environment.
    configured: bool,
}

impl Proxies {
    /// The proxy that the configuration names.
    pub fn configured(proxy: Proxy, exempt: Vec<Exempt>) -> Proxies {
        Proxies(Some(Through { proxy, exempt, configured: true }))
    }

    /// The proxy that the environment names.
    pub fn of_environment(proxy: Proxy, exempt: Vec<Exempt>) -> Proxies {
        Proxies(Some(Through { proxy, exempt, configured: false }))
    }

    /// Whether there is none.
    pub fn is_direct(&self) -> bool {
        self.0.is_none()
    }

    /// The proxy that leads to `origin`; `None` is directly.
    pub fn to(&self, origin: &BaseUrl) -> Option<&Proxy> {
        let Through { proxy, exempt, configured } = self.0.as_ref()?;
        let local = origin.is_loopback() && !(*configured && proxy.is_loopback());
        if !origin.is_https() || local || exempt.iter().any(|exempt| exempt.fits(origin.host(), origin.port())) {
            return None;
        }
        Some(proxy)
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Through { proxy, exempt, .. }) = &self.0 else { return write!(f, "no proxy") };
        write!(f, "{proxy}")?;
        let exempt: Vec<String> = exempt.iter().map(ToString::to_string).collect();
        if exempt.is_empty() { Ok(()) } else { write!(f, ", but not to {}", exempt.join(", ")) }
    }
}

/// Hosts that are reached directly: one entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exempt {
    hosts: Hosts,
    /// `None` is any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// `*`
    All,
    /// `example.com` or `.example.com`: the name and all below it, as for curl.
    Domain(String),
    /// `*.example.com`: what is below it.
    Below(String),
    /// An address or a network.
    Network(Network, String),
}

impl Exempt {
    /// Names are compared as they are written; none is looked up.
    fn fits(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'));
        match (&self.hosts, host.parse::<IpAddr>()) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, _), Ok(address)) => network.contains(address),
            (Hosts::Domain(domain), Err(_)) => host == *domain || below(domain),
            (Hosts::Below(domain), Err(_)) => below(domain),
            (Hosts::Network(..), Err(_)) | (Hosts::Domain(_) | Hosts::Below(_), Ok(_)) => false,
        }
    }
}

/// The text is no entry of `NO_PROXY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host, domain, address or network")]
pub struct InvalidExempt;

impl FromStr for Exempt {
    type Err = InvalidExempt;

    fn from_str(text: &str) -> Result<Exempt, InvalidExempt> {
        let text = text.trim();
        let network = |text: &str| text.parse().ok().map(|network| Hosts::Network(network, text.to_owned()));
        // An IPv6 address has colons, and none of them is before a port.
        let alone = network(text).is_some() || text.ends_with(']');
        let (host, port) = match text.rsplit_once(':').filter(|_| !alone) {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or(InvalidExempt)?)),
            None => (text, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let hosts = match (bracketed, network(bracketed.unwrap_or(host))) {
            (Some(inner), Some(hosts)) if inner.contains(':') => hosts,
            (None, Some(hosts)) if alone || !host.contains(':') => hosts,
            (Some(_), _) | (None, Some(_)) => return Err(InvalidExempt),
            (None, None) if host == "*" => Hosts::All,
            (None, None) => domain(host)?,
        };
        Ok(Exempt { hosts, port })
    }
}

fn domain(text: &str) -> Result<Hosts, InvalidExempt> {
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text.strip_prefix('.').unwrap_or(text)),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.split('.').any(|label| label.is_empty() || !label.chars().all(plain)) {
        return Err(InvalidExempt);
    }
    Ok(if below { Hosts::Below(name) } else { Hosts::Domain(name) })
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.hosts, self.port) {
            (Hosts::All, _) => write!(f, "*"),
            (Hosts::Domain(name), _) => write!(f, "{name}"),
            (Hosts::Below(name), _) => write!(f, "*.{name}"),
            (Hosts::Network(_, text), Some(_)) if text.contains(':') => write!(f, "[{text}]"),
            (Hosts::Network(_, text), _) => write!(f, "{text}"),
        }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exempt(texts: &str) -> Vec<Exempt> {
        let one = |text: &str| text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        texts.split(',').filter(|text| !text.is_empty()).map(one).collect()
    }

    fn proxied(proxies: &Proxies, origin: &str) -> bool {
        proxies.to(&origin.parse().unwrap()).is_some()
    }

    #[test]
    fn exemptions_are_those_of_curl_and_go() {
        for (no_proxy, origin, direct) in [
            ("", "https://sod2.superoffice.com", false),
            ("*", "https://sod2.superoffice.com", true),
            ("superoffice.com", "https://sod2.superoffice.com", true),
            ("superoffice.com", "https://superoffice.com", true),
            ("superoffice.com", "https://SOD2.SuperOffice.COM", true),
            ("superoffice.com", "https://sod2.superoffice.com.", true),
            ("SuperOffice.com.", "https://sod2.superoffice.com", true),
            ("superoffice.com", "https://evilsuperoffice.com", false),
            ("superoffice.com", "https://superoffice.com.evil.example", false),
            ("sod2.superoffice.com", "https://sod3.superoffice.com", false),
            (".superoffice.com", "https://sod2.superoffice.com", true),
            (".superoffice.com", "https://superoffice.com", true),
            ("*.superoffice.com", "https://a.sod2.superoffice.com", true),
            ("*.superoffice.com", "https://superoffice.com", false),
            ("*.superoffice.com", "https://evilsuperoffice.com", false),
            ("com", "https://sod2.superoffice.com", true),
            ("superoffice.com:443", "https://sod2.superoffice.com", true),
            ("superoffice.com:8443", "https://sod2.superoffice.com", false),
            ("superoffice.com:8443", "https://sod2.superoffice.com:8443", true),
            ("*:8443", "https://sod2.superoffice.com:8443", true),
            ("*:8443", "https://sod2.superoffice.com", false),
            ("10.1.2.3", "https://10.1.2.3", true),
            ("10.1.2.3", "https://10.1.2.4", false),
            ("10.1.2.3:443", "https://10.1.2.3", true),
            ("10.1.2.3:80", "https://10.1.2.3", false),
            ("10.0.0.0/8", "https://10.1.2.3:8443", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.0.0.0/8", "https://10.example", false),
            ("2.3", "https://10.1.2.3", false),
            ("fd00::1", "https://[fd00::1]", true),
            ("[fd00::1]", "https://[fd00:0::1]", true),
            ("[fd00::1]:443", "https://[fd00::1]", true),
            ("[fd00::1]:80", "https://[fd00::1]", false),
            ("fd00::/8", "https://[fdab::1]", true),
            ("::ffff:10.1.2.3", "https://10.1.2.3", true),
            ("a.example,b.example", "https://b.example", true),
        ] {
            let proxies = Proxies::configured("http://proxy:3128".parse().unwrap(), exempt(no_proxy));
            assert_eq!(!proxied(&proxies, origin), direct, "{no_proxy:?} {origin}");
        }
    }

    #[test]
    fn entries_are_shown_as_they_are_understood() {
        for (text, shown) in [
            ("*", "*"),
            ("A.example", "a.example"),
            (".a.example:1", "a.example:1"),
            ("*.a.example", "*.a.example"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("[fd00::1]:443", "[fd00::1]:443"),
        ] {
            assert_eq!(exempt(text)[0].to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_entry() {
        for bad in [
            "",
            ".",
            "*.",
            "**",
            "a*b",
            "a..b",
            "https://a.example",
            "a.example/x",
            "a b",
            "a:b",
            "a:0",
            "a:99999",
            "[a]",
            "[::1",
            "10.0.0.0/33",
        ] {
            assert_eq!(bad.parse::<Exempt>(), Err(InvalidExempt), "{bad:?}");
        }
    }

    #[test]
    fn plain_text_and_this_machine_do_not_go_through_another() {
        let [far, near] = ["http://proxy:3128", "http://127.0.0.1:3128"].map(|url| url.parse::<Proxy>().unwrap());
        let local = ["https://localhost", "https://127.1.2.3:8443", "https://[::1]"];
        for origin in local {
            assert!(!proxied(&Proxies::of_environment(far.clone(), Vec::new()), origin), "{origin}");
            assert!(!proxied(&Proxies::of_environment(near.clone(), Vec::new()), origin), "{origin}");
            assert!(!proxied(&Proxies::configured(far.clone(), Vec::new()), origin), "{origin}");
            assert!(proxied(&Proxies::configured(near.clone(), Vec::new()), origin), "{origin}");
        }
        for proxies in [Proxies::of_environment(near.clone(), Vec::new()), Proxies::configured(near, Vec::new())] {
            assert!(!proxied(&proxies, "http://127.0.0.1:8090") && !proxied(&proxies, "http://sod2.superoffice.com"));
            assert!(proxied(&proxies, "https://sod2.superoffice.com"));
        }
        assert!(!proxied(&Proxies::default(), "https://sod2.superoffice.com"));
    }
}
