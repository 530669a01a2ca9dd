//! What a caller may do: which tenants, which methods, which paths. Pure: who the caller is, is known before.

mod questions;
mod rule;

use http::{HeaderMap, Method};

pub use self::rule::{Rule, RuleError};

/// What one caller, or whoever has no name, may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    tenants: Option<Vec<String>>,
    read_only: bool,
    allow: Option<Vec<Rule>>,
    deny: Vec<Rule>,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// The request's method.
    pub method: &'a Method,
    /// The request's headers, for those that claim another method or path.
    pub headers: &'a HeaderMap,
    /// The path behind the tenant: `/api/v1/…`, `/Remote/…`.
    pub path: &'a str,
}

/// Which rule refuses a request; its text is for the log, not for the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The tenant is not among the caller's.
    #[error("tenants")]
    Tenants,
    /// The method may change something.
    #[error("read_only")]
    ReadOnly,
    /// A rule of `deny` matches.
    #[error("deny \"{0}\"")]
    Deny(Rule),
    /// No rule of `allow` matches.
    #[error("allow")]
    Allow,
    /// It cannot be said for certain what SuperOffice would take this for.
    #[error("ambiguous ({0})")]
    Ambiguous(&'static str),
}

impl Rules {
    /// `None` is no restriction; an empty list allows nothing.
    pub fn new(tenants: Option<Vec<String>>, read_only: bool, allow: Option<Vec<Rule>>, deny: Vec<Rule>) -> Rules {
        Rules { tenants, read_only, allow, deny }
    }

    /// Whether nothing is restricted.
    pub fn is_open(&self) -> bool {
        self.tenants.is_none() && !self.read_only && self.allow.is_none() && self.deny.is_empty()
    }

    /// Whether the tenant of this name may be addressed.
    pub fn may_address(&self, tenant: &str) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.iter().any(|name| name.eq_ignore_ascii_case(tenant)))
    }

    /// Whether a request may pass; if not, because of which rule.
    pub fn judge(&self, asked: &Asked<'_>) -> Result<(), Refusal> {
        if !self.may_address(asked.tenant) {
            return Err(Refusal::Tenants);
        }
        Ok(())
    }
}
