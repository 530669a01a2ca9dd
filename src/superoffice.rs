//! The vocabulary of SuperOffice CRM Online: context identifiers, environments, claim names, system user tokens.
//!
//! Facts here are those of the protocol page; a comment names the section. What that page marks as not found is an
//! assumption, and is written down where it is made.

pub mod application;
mod document;
pub mod http;
pub mod jwt;
pub mod keys;
pub mod login;
pub mod origin;
mod pem;
mod redact;
pub mod reply;
pub mod rest;
pub mod serial;
pub mod signing;
pub mod soap;
pub mod state;
pub mod tenant;
mod text;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

/// A SuperOffice customer's context identifier, `Cust12345`.
///
/// SuperOffice treats paths without regard to case, so two identifiers that differ only in case are equal for it; the
/// spelling given is kept for what is sent. Protocol §1.1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContextId(Box<str>);

impl ContextId {
    /// The identifier as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` names the same customer.
    pub fn matches(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for ContextId {
    type Err = InvalidContextId;

    /// Assumption: letters, digits, `-` and `_`, at most 64 of them. Published identifiers are `Cust` and digits; a
    /// documented character set was not found. The set keeps an identifier safe as a path segment.
    fn from_str(text: &str) -> Result<ContextId, InvalidContextId> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
            return Err(InvalidContextId);
        }
        Ok(ContextId(text.into()))
    }
}

/// The text is no context identifier.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a context identifier is 1 to 64 letters, digits, '-' or '_', such as Cust12345")]
pub struct InvalidContextId;

/// One of SuperOffice Online's three environments. Protocol §1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Development.
    Sod,
    /// Stage.
    QaOnline,
    /// Production.
    Online,
}

impl Environment {
    /// All of them, as they are written in the configuration.
    pub const NAMES: [&'static str; 3] = ["sod", "qaonline", "online"];

    /// The origin of the login service and of the tenant state endpoint, without a trailing slash.
    pub fn login_url(self) -> &'static str {
        match self {
            Environment::Sod => "https://sod.superoffice.com",
            Environment::QaOnline => "https://qaonline.superoffice.com",
            Environment::Online => "https://online.superoffice.com",
        }
    }
}

impl FromStr for Environment {
    type Err = ();

    fn from_str(text: &str) -> Result<Environment, ()> {
        match text.to_ascii_lowercase().as_str() {
            "sod" => Ok(Environment::Sod),
            "qaonline" => Ok(Environment::QaOnline),
            "online" => Ok(Environment::Online),
            _ => Err(()),
        }
    }
}

/// Which of the two twins of the exchange is used. Protocol §3, §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// `PartnerSystemUserService.svc`, SOAP 1.1.
    Soap,
    /// `PartnerSystemUser/Authenticate`, JSON.
    Rest,
}

/// The long-lived per-tenant string from consent, `Application Name-pzqc70604i`. Protocol §1.1.
#[derive(Clone)]
pub struct SystemUserToken(SecretString);

impl SystemUserToken {
    /// Wraps the text; any characters of an application's name may occur in it.
    pub fn new(text: SecretString) -> SystemUserToken {
        SystemUserToken(text)
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SystemUserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemUserToken([redacted])")
    }
}

/// The prefix of SuperOffice's claim names. Protocol §1.6.
pub const CLAIM_PREFIX: &str = "http://schemes.superoffice.net/identity/";

/// The issuer of a system user JWT, the same text in all environments. Protocol §5.1.
pub const ISSUER: &str = "SuperOffice AS";

/// What one exchange sends, whichever twin carries it. Protocol §3.2, §4.
#[derive(Clone, Copy)]
pub struct ExchangeRequest<'a> {
    /// The client secret.
    pub application_token: &'a str,
    /// The tenant asked for.
    pub context: &'a ContextId,
    /// `token.timestamp.signature`.
    pub signed_system_token: &'a str,
}

/// What the login service's answer said, once it could be read. Protocol §3.3, §4.
pub enum ExchangeReply {
    /// `IsSuccessful` was true, and this is the JWT, not yet verified.
    Token(SecretString),
    /// `IsSuccessful` was false (or no token came with a true one), with the service's own words, possibly empty.
    Refused(String),
}

/// An answer that is no exchange reply: the typed error for each way it can be wrong.
///
/// `Display` is the log's text; it holds the service's own words (shortened), never anything that was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A SOAP fault, with its code and text.
    #[error("SOAP fault {code}: {text}")]
    Fault {
        /// `faultcode`, such as `s:Client`.
        code: String,
        /// `faultstring`.
        text: String,
    },
    /// A redirect; it is not followed, because a signed token is a credential.
    #[error("HTTP {status}: redirected to {location}; redirects are not followed. Is the login URL right?")]
    Redirect {
        /// The status code.
        status: u16,
        /// Where to, origin and path only.
        location: String,
    },
    /// An HTML page: an error page of a server or of a proxy in between.
    #[error("HTTP {status}: an HTML page instead of a reply: {title}")]
    Html {
        /// The status code.
        status: u16,
        /// The page's title or its first words.
        title: String,
    },
    /// Nothing at all.
    #[error("HTTP {status} with an empty body")]
    Empty {
        /// The status code.
        status: u16,
    },
    /// The body ends before the document does.
    #[error("HTTP {status}: the reply is cut off after {length} bytes")]
    Truncated {
        /// The status code.
        status: u16,
        /// How many bytes came.
        length: usize,
    },
    /// Readable, but not what the contract says.
    #[error("HTTP {status}: not an exchange reply: {what}")]
    Malformed {
        /// The status code.
        status: u16,
        /// What was wrong.
        what: String,
    },
    /// Larger or deeper than any genuine reply.
    #[error("HTTP {status}: the reply exceeds a limit: {what}")]
    TooLarge {
        /// The status code.
        status: u16,
        /// Which limit.
        what: String,
    },
    /// An HTTP error status whose body explains nothing more.
    #[error("HTTP {status}: {words}")]
    Status {
        /// The status code.
        status: u16,
        /// The body's first words.
        words: String,
    },
}

/// Why requests to a tenant are answered without asking upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The state's name, as it was told.
    pub name: String,
    /// What it means, in words.
    pub meaning: &'static str,
    /// Whether the tenant is gone for good.
    pub deleted: bool,
    /// When to ask again.
    pub retry_after: Duration,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.meaning, self.name)
    }
}

/// SuperID's own error codes. Protocol §8.1. Whether an exchange's `ErrorMessage` carries their names, numbers or texts
/// was not found, so all three are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuperIdCode {
    /// 1
    Revoked,
    /// 2
    InvalidRedirectUrl,
    /// 3
    Expired,
    /// 4
    Denied,
    /// 5
    NeedsReapproval,
    /// 6
    InvalidTimestamp,
    /// 7
    InvalidSignature,
}

const CODES: [(SuperIdCode, u8, &str, &str); 7] = [
    (SuperIdCode::Revoked, 1, "Revoked", "access to the tenant has been revoked"),
    (SuperIdCode::InvalidRedirectUrl, 2, "InvalidRedirectUrl", "redirect url you used is not registered"),
    (SuperIdCode::Expired, 3, "Expired", "application authorization on this tenant has expired"),
    (SuperIdCode::Denied, 4, "Denied", "access to this tenant has been denied"),
    (SuperIdCode::NeedsReapproval, 5, "NeedsReapproval", "authorization needs to be re-approved"),
    (SuperIdCode::InvalidTimestamp, 6, "InvalidTimestamp", "supplied timestamp is invalid"),
    (SuperIdCode::InvalidSignature, 7, "InvalidSignature", "calculated signature is invalid"),
];

impl SuperIdCode {
    /// Finds a code in an `ErrorMessage`: by its published text, by its name as a whole word, or by its number alone or
    /// in parentheses, `InvalidTimestamp (6)`.
    pub fn find(message: &str) -> Option<SuperIdCode> {
        let lower = message.to_ascii_lowercase();
        if let Some(found) = CODES.iter().find(|(.., text)| lower.contains(text)) {
            return Some(found.0);
        }
        let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        if let Some(found) = words.find_map(|word| CODES.iter().find(|(_, _, name, _)| name.eq_ignore_ascii_case(word))) {
            return Some(found.0);
        }
        let number = |n: u8| lower.trim() == n.to_string() || lower.contains(&format!("({n})"));
        CODES.iter().find(|&&(_, n, ..)| number(n)).map(|found| found.0)
    }

    /// The name SuperOffice's documentation gives it.
    pub fn name(self) -> &'static str {
        CODES.iter().find(|code| code.0 == self).map_or("", |code| code.2)
    }

    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            SuperIdCode::Revoked => {
                "the application's access to this tenant was revoked: an administrator of the tenant must approve the application again"
            }
            SuperIdCode::InvalidRedirectUrl => "the application's redirect URL is not registered: correct it in the Developer Portal",
            SuperIdCode::Expired => {
                "the approval of the application on this tenant has expired: an administrator of the tenant must approve it again"
            }
            SuperIdCode::Denied => {
                "the tenant denies the application access: check that client_secret is this application's, system_user_token this tenant's, and that the application is approved for this tenant and environment"
            }
            SuperIdCode::NeedsReapproval => {
                "the application changed since it was approved: an administrator of the tenant must approve it again"
            }
            SuperIdCode::InvalidTimestamp => {
                "the signature's time was refused: check this machine's clock (UTC), for instance with `timedatectl`"
            }
            SuperIdCode::InvalidSignature => {
                "the signature does not fit: check that private_key belongs to this application and environment, and that system_user_token is this tenant's"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_identifiers() {
        assert!("Cust12345".parse::<ContextId>().is_ok());
        for bad in ["", "a/b", "..", "Cust 1", "é", &"x".repeat(65)] {
            assert_eq!(bad.parse::<ContextId>(), Err(InvalidContextId), "{bad:?}");
        }
        assert!("Cust1".parse::<ContextId>().unwrap().matches("cUST1"));
    }

    #[test]
    fn codes_are_found_by_text_name_and_number() {
        let cases = [
            ("The supplied timestamp is invalid", Some(SuperIdCode::InvalidTimestamp)),
            ("Error: InvalidTimestamp (6)", Some(SuperIdCode::InvalidTimestamp)),
            ("6", Some(SuperIdCode::InvalidTimestamp)),
            ("Authorization error (7)", Some(SuperIdCode::InvalidSignature)),
            ("Application's access to the tenant has been revoked", Some(SuperIdCode::Revoked)),
            ("expired", Some(SuperIdCode::Expired)),
            ("Unexpired thing", None),
            ("error at line 6", None),
            ("", None),
        ];
        for (message, code) in cases {
            assert_eq!(SuperIdCode::find(message), code, "{message:?}");
        }
    }

    #[test]
    fn a_system_user_token_does_not_show_itself() {
        let token = SystemUserToken::new("App-secret1234".to_owned().into());
        assert!(!format!("{token:?}").contains("secret1234"));
    }
}
