//! `[upstream]`, the part about the way out: a proxy, who we are, and whose keys are pinned.

use std::path::PathBuf;

use figment::value::Value;

use super::Field;
use super::kinds::{self, Wrong};
use super::reader::Table;
use super::shape::Shape;
use crate::config::secret::SecretRef;
use crate::upstream::proxies::Exempt;
use crate::upstream::proxy::Proxy;
use crate::upstream::tls::Pin;

/// What is set of it. A `None` had a problem that is recorded.
pub struct OutboundSettings {
    /// `proxy`
    pub proxy: Option<Choice>,
    /// `proxy_user`
    pub proxy_user: Field<String>,
    /// `proxy_password`
    pub proxy_password: Field<SecretRef>,
    /// `no_proxy`
    pub no_proxy: Field<Vec<Exempt>>,
    /// `client_certificate`
    pub client_certificate: Field<PathBuf>,
    /// `client_key`
    pub client_key: Field<SecretRef>,
    /// `pins`
    pub pins: Option<Vec<Pin>>,
}

/// Where the proxy is named.
#[derive(Clone, Debug)]
pub enum Choice {
    /// In the environment, if anywhere.
    Environment,
    /// Nowhere.
    Off,
    /// Here.
    Is(Proxy),
}

/// Asks for all of it.
pub fn outbound(table: &mut Table<'_, '_>) -> OutboundSettings {
    OutboundSettings {
        proxy: table.need("proxy", proxy),
        proxy_user: table.read("proxy_user", kinds::text),
        proxy_password: table.read("proxy_password", kinds::secret),
        no_proxy: table.read("no_proxy", no_proxy),
        client_certificate: table.read("client_certificate", kinds::path),
        client_key: table.read("client_key", kinds::secret),
        pins: table.need("pins", pins),
    }
}

/// How a proxy's URL is written, for hints.
pub const PROXY_FORM: &str = "write http://, https:// or socks5h:// with host and port, such as \"http://proxy.example.com:3128\"; what is \
                              no letter or digit in a password is %-encoded, or stands in proxy_password";

/// Messages do not repeat it: a password may stand in it.
fn proxy(value: &Value) -> Result<Choice, Wrong> {
    let wrong = |what: String| Wrong::new(what, format!("{PROXY_FORM}; or \"env\", or \"off\""));
    match value.as_str().map(str::trim) {
        Some(word) if word.eq_ignore_ascii_case("env") => Ok(Choice::Environment),
        Some(word) if word.eq_ignore_ascii_case("off") => Ok(Choice::Off),
        Some(url) => url.parse().map(Choice::Is).map_err(|error| wrong(format!("{error}"))),
        None => Err(wrong("must be a string".to_owned()).taking(Shape::Url)),
    }
}

fn no_proxy(value: &Value) -> Result<Vec<Exempt>, Wrong> {
    const HINT: &str =
        "write hosts, domains, addresses and networks, such as [\"intranet.example.com\", \"*.example.com\", \"10.0.0.0/8\"]";
    let exempt = |text: &str| {
        let wrong = |error| Wrong::new(format!("{} is {error}", kinds::quoted(text)), HINT);
        text.parse().map_err(|error: crate::upstream::proxies::InvalidExempt| wrong(error))
    };
    kinds::list(exempt)(value)
}

fn pins(value: &Value) -> Result<Vec<Pin>, Wrong> {
    const HINT: &str = "write [\"sha256/…\"], each 44 characters of Base64; proxy.toml.example says how openssl computes one";
    let pin = |text: &str| {
        let wrong = |error| Wrong::new(format!("{} is {error}", kinds::quoted(text)), HINT);
        text.parse().map_err(|error: crate::upstream::tls::InvalidPin| wrong(error))
    };
    kinds::list(pin)(value)
}
