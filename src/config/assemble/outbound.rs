//! The way out: which proxy there is and who we are to it, the certificate that is shown to upstream, and its key.

use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use super::Assembly;
use crate::config::file::{Choice, Field, OutboundSettings, PROXY_FORM};
use crate::config::secret::SecretRef;
use crate::config::{Outbound, Problem};
use crate::upstream::proxies::{Exempt, Proxies};
use crate::upstream::proxy::Proxy;
use crate::upstream::tls::{Identity, InvalidIdentity};

/// Only https leaves this machine, so that `http_proxy` does not matter. Upper case first, as for Go.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const EXEMPT_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

impl Assembly<'_> {
    pub(super) fn outbound(&mut self, settings: &OutboundSettings) -> Option<Outbound> {
        let (proxies, proxy_from) = self.proxies(settings).unzip();
        let identity = self.identity(&settings.client_certificate, &settings.client_key);
        Some(Outbound { proxies: proxies?, proxy_from: proxy_from?, identity: identity?, pins: settings.pins.clone()? })
    }

    /// The proxies, and who named them.
    fn proxies(&mut self, settings: &OutboundSettings) -> Option<(Proxies, String)> {
        let login = self.login(settings);
        let exempt = match &settings.no_proxy {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(exempt) => Some(Some(exempt.clone())),
        };
        let (proxy, from, configured) = match settings.proxy.as_ref()? {
            Choice::Off => (None, "upstream.proxy".to_owned(), true),
            Choice::Is(proxy) => {
                // Read by others, the file would give its password away.
                self.literals.extend(self.sources.exposed("upstream.proxy").filter(|_| proxy.login().is_some()));
                (Some(proxy.clone()), "upstream.proxy".to_owned(), true)
            }
            Choice::Environment => match self.variable(PROXY_VARIABLES) {
                None => (None, "the environment".to_owned(), false),
                Some((name, url)) => (Some(self.proxy_variable(name, &url)?), name.to_owned(), false),
            },
        };
        let (login, exempt) = (login?, exempt?);
        let Some(proxy) = proxy else { return Some((Proxies::default(), from)) };
        let proxy = match login {
            None => proxy,
            Some(_) if proxy.login().is_some() => {
                let hint = "remove the credentials from the URL of the proxy, or proxy_user and proxy_password";
                self.problem("upstream.proxy_user", format!("is set, and {from} holds credentials, too"), hint);
                return None;
            }
            Some((user, password)) => match proxy.with_login(user, password) {
                Ok(proxy) => proxy,
                Err(error) => {
                    self.problem("upstream.proxy_user", format!("cannot be used: {error}"), "write the name that the proxy knows");
                    return None;
                }
            },
        };
        let proxies = match (exempt, configured) {
            (exempt, true) => Proxies::configured(proxy, exempt.unwrap_or_default()),
            (Some(exempt), false) => Proxies::of_environment(proxy, exempt),
            (None, false) => Proxies::of_environment(proxy, self.exempt_variable()),
        };
        Some((proxies, from))
    }

    fn proxy_variable(&mut self, name: &str, url: &str) -> Option<Proxy> {
        // Without a scheme it is an HTTP proxy: so say curl and Go.
        let parsed = if url.contains("://") { url.parse() } else { format!("http://{url}").parse() };
        let problem = |error| Problem {
            key: "upstream.proxy".to_owned(),
            source: name.to_owned(),
            what: format!("names a proxy that cannot be used: it {error}"),
            hint: format!("correct the variable, or set upstream.proxy, to \"off\" for none; {PROXY_FORM}"),
        };
        parsed.map_err(|error: crate::upstream::proxy::InvalidProxy| self.problems.push(problem(error))).ok()
    }

    /// Other programs read it as well, and some know what we do not: that is worth a warning.
    fn exempt_variable(&mut self) -> Vec<Exempt> {
        let Some((name, list)) = self.variable(EXEMPT_VARIABLES) else { return Vec::new() };
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        let mut exempt = Vec::new();
        for entry in entries {
            match entry.parse() {
                Ok(entry) => exempt.push(entry),
                Err(error) => self.warnings.push(Problem {
                    key: String::new(),
                    source: name.to_owned(),
                    what: format!("{entry:?} is {error}, and is left out"),
                    hint: "set upstream.no_proxy instead, or correct the variable".to_owned(),
                }),
            }
        }
        exempt
    }

    /// The first of these that is set and not empty.
    fn variable<const N: usize>(&self, names: [&'static str; N]) -> Option<(&'static str, String)> {
        let value = |name: &'static str| Some((name, self.secrets.variable(name)?.trim().to_owned()));
        names.into_iter().filter_map(value).find(|(_, value)| !value.is_empty())
    }

    /// The outer `None` had a problem.
    fn login(&mut self, settings: &OutboundSettings) -> Option<Option<(String, SecretString)>> {
        let password = match &settings.proxy_password {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(reference) => self.secret("upstream.proxy_password", reference).map(Some),
        };
        match (&settings.proxy_user, password?) {
            (Field::Absent, None) => Some(None),
            (Field::Is(user), password) => Some(Some((user.clone(), password.unwrap_or_default()))),
            (Field::Wrong, _) => None,
            (Field::Absent, Some(_)) => {
                self.problem("upstream.proxy_password", "is set without proxy_user", "set proxy_user to the name that belongs to it");
                None
            }
        }
    }

    /// The outer `None` had a problem.
    fn identity(&mut self, certificate: &Field<std::path::PathBuf>, key: &Field<SecretRef>) -> Option<Option<Arc<Identity>>> {
        match (certificate, key) {
            (Field::Absent, Field::Absent) => Some(None),
            (Field::Is(certificate), Field::Is(key)) => self.read_identity(certificate, key).map(|identity| Some(Arc::new(identity))),
            (Field::Is(_), Field::Absent) => {
                self.problem("upstream.client_certificate", "is set without client_key", "set client_key to the certificate's private key");
                None
            }
            (Field::Absent, Field::Is(_)) => {
                let hint = "set client_certificate to the file of the key's certificate";
                self.problem("upstream.client_key", "is set without client_certificate", hint);
                None
            }
            _ => None,
        }
    }

    fn read_identity(&mut self, path: &Path, reference: &SecretRef) -> Option<Identity> {
        const CERTIFICATE: &str = "upstream.client_certificate";
        const KEY: &str = "upstream.client_key";
        // It is renewed together with its key.
        self.secrets.follow(self.secrets.path(path));
        let chain = self.secrets.file(path).map_err(|error| self.problem(CERTIFICATE, error.to_string(), error.hint())).ok();
        self.look_at(KEY, reference);
        let key = self.secrets.bytes(reference).map_err(|error| self.problem(KEY, error.to_string(), error.hint())).ok();
        let error = match Identity::read(&chain?, &key?) {
            Ok(identity) => return Some(identity),
            Err(error) => error,
        };
        let (key, what, hint) = match error {
            InvalidIdentity::Certificate => {
                (CERTIFICATE, format!("{} {error}", path.display()), "name a PEM file: the certificate first, then those that vouch for it")
            }
            InvalidIdentity::Key => {
                (KEY, error.to_string(), "a PEM key begins with -----BEGIN PRIVATE KEY-----; RSA from 2048 bits, or ECDSA")
            }
            InvalidIdentity::Encrypted => {
                (KEY, error.to_string(), "`openssl pkey -in FILE` decrypts it; keep it readable by soproxy's user alone")
            }
            InvalidIdentity::Mismatch => {
                (KEY, error.to_string(), "name the key for which the first certificate of client_certificate was made")
            }
        };
        self.problem(key, what, hint);
        None
    }
}
