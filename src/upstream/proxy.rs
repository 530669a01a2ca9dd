//! A proxy on the way out, as its URL names it: where it is, how it is spoken to, with which credentials.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::header::HeaderValue;
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::superoffice::origin::is_loopback_host;

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `http://`: CONNECT in plain text.
    Http,
    /// `https://`: CONNECT inside of TLS.
    Https,
    /// `socks5://`, `socks5h://`: the proxy looks names up.
    Socks,
}

/// The proxy. Neither `Display` nor `Debug` shows its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    /// IPv6 addresses in brackets.
    host: String,
    port: u16,
    login: Option<Login>,
}

/// Who we are to the proxy.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// May be empty.
    pub password: SecretString,
}

impl PartialEq for Login {
    fn eq(&self, other: &Login) -> bool {
        self.user == other.user && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl Eq for Login {}

/// The text names no proxy. The message repeats nothing of it: a password may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProxy(&'static str);

impl Proxy {
    /// How it is spoken to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The host alone, IPv6 addresses without brackets.
    pub fn host(&self) -> &str {
        bare(&self.host)
    }

    /// Whether it runs on this machine, so that `localhost` is the same for both.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }

    /// Who we are to it.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The same with credentials.
    pub fn with_login(mut self, user: String, password: SecretString) -> Result<Proxy, InvalidProxy> {
        let secret = password.expose_secret();
        if user.is_empty() {
            return Err(InvalidProxy("the user's name is empty"));
        }
        if user.chars().chain(secret.chars()).any(char::is_control) {
            return Err(InvalidProxy("the credentials hold a control character"));
        }
        // RFC 7617 §2 and RFC 1929 §2.
        if self.kind != Kind::Socks && user.contains(':') {
            return Err(InvalidProxy("the user's name holds a colon, which ends it"));
        }
        if self.kind == Kind::Socks && user.len().max(secret.len()) > 255 {
            return Err(InvalidProxy("the credentials are longer than the 255 bytes that SOCKS has room for"));
        }
        self.login = Some(Login { user, password });
        Ok(self)
    }

    /// Where to connect.
    pub fn uri(&self) -> Result<Uri, http::Error> {
        Uri::builder().scheme("http").authority(format!("{}:{}", self.host, self.port)).path_and_query("/").build()
    }

    /// The value of `Proxy-Authorization`.
    pub fn authorization(&self) -> Option<HeaderValue> {
        let Login { user, password } = self.login.as_ref()?;
        let both = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(both.as_bytes())));
        let mut value = HeaderValue::from_str(&basic).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// A host without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Proxy, InvalidProxy> {
        let uri: Uri = text.trim().parse().map_err(|_| InvalidProxy("is no URL"))?;
        let (kind, own_port) = match uri.scheme_str() {
            Some("http") => (Kind::Http, 80),
            Some("https") => (Kind::Https, 443),
            Some("socks5" | "socks5h") => (Kind::Socks, 1080),
            Some(_) => return Err(InvalidProxy("is no URL of a kind of proxy that is known")),
            None => return Err(InvalidProxy("does not say how the proxy is spoken to")),
        };
        if uri.path_and_query().is_some_and(|rest| rest != "/" && !rest.as_str().is_empty()) {
            return Err(InvalidProxy("has something behind the host, and a proxy has no path"));
        }
        let authority = uri.authority().ok_or(InvalidProxy("has no host"))?.as_str();
        let (login, place) = authority.rsplit_once('@').map_or((None, authority), |(login, place)| (Some(login), place));
        let host = uri.host().unwrap_or_default();
        let port = match place.get(host.len()..).unwrap_or_default() {
            "" => own_port,
            port => {
                port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port > 0).ok_or(InvalidProxy("has no port"))?
            }
        };
        // An address or a name; what TLS could not verify is neither.
        if ServerName::try_from(bare(host)).is_err() {
            return Err(InvalidProxy("has no host"));
        }
        let proxy = Proxy { kind, host: host.to_ascii_lowercase(), port, login: None };
        let Some(login) = login else { return Ok(proxy) };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| InvalidProxy("is no UTF-8"));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        proxy.with_login(decoded(user)?, SecretString::from(decoded(password)?))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks => "socks5h",
        };
        write!(f, "{scheme}://")?;
        if let Some(login) = &self.login {
            write!(f, "{}:***@", login.user)?;
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Proxy {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn urls_name_proxies() {
        for (text, shown, local) in [
            ("http://proxy.example:3128", "http://proxy.example:3128", false),
            ("HTTP://Proxy.example/", "http://proxy.example:80", false),
            ("https://proxy.example", "https://proxy.example:443", false),
            ("socks5://127.0.0.1", "socks5h://127.0.0.1:1080", true),
            ("socks5h://[::1]:9", "socks5h://[::1]:9", true),
            (" http://localhost:1 ", "http://localhost:1", true),
            ("http://al%3Fice:p%40ss%25@proxy:3128", "http://al?ice:***@proxy:3128", false),
            ("http://alice@proxy:3128", "http://alice:***@proxy:3128", false),
        ] {
            let proxy = proxy(text);
            assert_eq!((proxy.to_string().as_str(), proxy.is_loopback()), (shown, local), "{text}");
        }
    }

    #[test]
    fn what_names_no_proxy() {
        for bad in [
            "",
            "proxy",
            "proxy:3128",
            "ftp://proxy",
            "socks4://proxy",
            "http://",
            "http://proxy:0",
            "http://proxy:",
            "http://proxy:99999",
            "http://proxy:3128/x",
            "http://proxy:3128?x",
            "http://a b@proxy",
            "http://a%0ab:c@proxy",
            "http://a:b%0d%0aX-Evil: 1@proxy",
            "http://a:b%00@proxy",
            "http://a%3ab:c@proxy",
            "http://a:%ff@proxy",
            "http://:secret@proxy",
        ] {
            let error = bad.parse::<Proxy>().expect_err(bad).to_string();
            assert!(!error.contains("secret") && !error.is_empty(), "{bad}: {error}");
        }
        let long = SecretString::from("x".repeat(256));
        assert!(proxy("socks5h://proxy").with_login("a".into(), long.clone()).is_err());
        assert!(proxy("http://proxy").with_login("a".into(), long).is_ok());
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let proxy = proxy("http://Aladdin:open%20sesame@proxy:3128");
        assert_eq!(proxy.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(proxy.authorization().unwrap().is_sensitive());
        for shown in [proxy.to_string(), format!("{proxy:?}"), format!("{:?}", proxy.authorization())] {
            assert!(!shown.contains("sesame") && !shown.contains("QWxh"), "{shown}");
        }
    }
}
