//! What a caller may do: which tenants, which methods, which paths. Pure: who the caller is, is known before.
//!
//! Every restriction applies, in this order: `tenants`, `deny`, `read_only`, `allow`. Only `deny` and `allow` look at the path, in
//! its [normal form](normal), and refuse what has none. A request that claims another method than it has must be allowed by both.

pub mod learn;
mod method;
pub mod normal;
mod questions;
mod rule;

use http::{HeaderMap, Method};

use self::normal::Normal;
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
    /// The request's headers, for those that claim another method. (Those that claim another path never go upstream.)
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
        self.tenants.is_none() && self.asks_nothing()
    }

    /// Whether any request to the tenants may pass.
    fn asks_nothing(&self) -> bool {
        !self.read_only && !self.look_at_paths()
    }

    fn look_at_paths(&self) -> bool {
        self.allow.is_some() || !self.deny.is_empty()
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
        if self.asks_nothing() {
            return Ok(());
        }
        let claimed = method::claimed(asked.headers).map_err(Refusal::Ambiguous)?;
        let path = self.look_at_paths().then(|| Normal::of(asked.path)).transpose().map_err(Refusal::Ambiguous)?;
        self.judge_as(asked.method.as_str(), path.as_ref())?;
        claimed.map_or(Ok(()), |claimed| self.judge_as(claimed, path.as_ref()))
    }

    fn judge_as(&self, method: &str, path: Option<&Normal>) -> Result<(), Refusal> {
        let method = &*method::in_capitals(method);
        // Whichever way the path is read: one match is enough to deny it, one way without a match not to allow it.
        if let Some(path) = path
            && let Some(rule) = self.deny.iter().find(|rule| rule.is_for(method) && path.readings().any(|reading| rule.covers(reading)))
        {
            return Err(Refusal::Deny(rule.clone()));
        }
        if self.read_only && !method::is_safe(method) {
            return Err(Refusal::ReadOnly);
        }
        if let (Some(allow), Some(path)) = (&self.allow, path)
            && !path.readings().all(|reading| allow.iter().any(|rule| rule.is_for(method) && rule.covers(reading)))
        {
            return Err(Refusal::Allow);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
