//! Claims: read liberally (numbers may be strings, one value may be a list), kept under their short names. Protocol §5.2.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::JwtError;
use crate::superoffice::{CLAIM_PREFIX, SystemUserToken};

/// What a verified token told.
#[derive(Clone)]
pub struct SystemUserClaims {
    /// The value of `Authorization: SOTicket …`, never empty.
    pub ticket: SecretString,
    /// `ctx`, as the token spells it.
    pub context: String,
    /// `serial`, of the tenant's database.
    pub serial: String,
    /// `exp`: when the *token* expires; the ticket lives longer. Protocol §5.3.
    pub expires: Timestamp,
    /// `nbf`
    pub not_before: Option<Timestamp>,
    /// `sub`, the application's name.
    pub subject: Option<String>,
    /// `associateid`
    pub associate_id: Option<String>,
    /// `identityprovider`
    pub identity_provider: Option<String>,
    /// `email`
    pub email: Option<String>,
    /// `upn`
    pub upn: Option<String>,
    /// `company_name`
    pub company_name: Option<String>,
    /// `netserver_url`
    pub netserver_url: Option<String>,
    /// `webapi_url`; may be outdated, the tenant state endpoint knows better. Protocol §5.2.
    pub webapi_url: Option<String>,
    /// `system_token`, one or several.
    pub system_tokens: Vec<SystemUserToken>,
}

impl fmt::Debug for SystemUserClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemUserClaims")
            .field("context", &self.context)
            .field("serial", &self.serial)
            .field("expires", &self.expires)
            .field("ticket", &format_args!("[redacted, {} characters]", self.ticket.expose_secret().len()))
            .finish_non_exhaustive()
    }
}

/// A payload's claims. Wiped when dropped, as far as they are text.
pub(super) struct Claims(Map<String, Value>);

impl Drop for Claims {
    fn drop(&mut self) {
        for (_, value) in self.0.iter_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl Claims {
    pub(super) fn parse(payload: &[u8]) -> Result<Claims, JwtError> {
        serde_json::from_slice(payload).map(Claims).map_err(|_| JwtError::NotAToken("its payload is not a JSON object"))
    }

    /// SuperOffice's own claims have a URI as their name. Assumption: the bare name means the same, when only that is there.
    fn value(&self, name: &str) -> Option<&Value> {
        let value = self.0.get(&format!("{CLAIM_PREFIX}{name}")).or_else(|| self.0.get(name));
        value.filter(|value| !value.is_null())
    }

    /// One value as text, trimmed, unless that is empty; the first of a list.
    pub(super) fn text(&self, name: &str) -> Option<Zeroizing<String>> {
        self.texts(name).into_iter().next()
    }

    /// All values as text, trimmed, without empty ones.
    pub(super) fn texts(&self, name: &str) -> Vec<Zeroizing<String>> {
        let texts = match self.value(name) {
            Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
            Some(value) => Vec::from_iter(text(value)),
            None => Vec::new(),
        };
        texts.into_iter().filter(|text: &Zeroizing<String>| !text.is_empty()).collect()
    }

    /// Seconds since 1970, a number or its text; fractions are cut off (RFC 7519 §2 allows them).
    pub(super) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, JwtError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let malformed = JwtError::Malformed { name, kind: "time in seconds since 1970" };
        let seconds = match text.parse::<i64>() {
            Ok(seconds) => seconds,
            Err(_) => match text.parse::<f64>() {
                // Far beyond any Timestamp, so the cast below cannot wrap.
                Ok(seconds) if seconds.abs() < 1e15 => seconds.floor() as i64,
                _ => return Err(malformed),
            },
        };
        Timestamp::from_second(seconds).map(Some).map_err(|_| malformed)
    }

    /// The claims of a token that has passed every other check.
    pub(super) fn into_system_user(self) -> Result<SystemUserClaims, JwtError> {
        let owned = |name: &str| self.text(name).map(|text| text.as_str().to_owned());
        let ticket = self.text("ticket").ok_or(JwtError::NoTicket)?;
        Ok(SystemUserClaims {
            ticket: SecretString::from(ticket.as_str()),
            context: owned("ctx").ok_or(JwtError::Missing("ctx"))?,
            serial: owned("serial").ok_or(JwtError::Missing("serial"))?,
            expires: self.time("exp")?.ok_or(JwtError::Missing("exp"))?,
            not_before: self.time("nbf")?,
            subject: owned("sub"),
            associate_id: owned("associateid"),
            identity_provider: owned("identityprovider"),
            email: owned("email"),
            upn: owned("upn"),
            company_name: owned("company_name"),
            netserver_url: owned("netserver_url"),
            webapi_url: owned("webapi_url"),
            system_tokens: self.texts("system_token").iter().map(|token| SystemUserToken::new(token.as_str().into())).collect(),
        })
    }
}

fn text(value: &Value) -> Option<Zeroizing<String>> {
    match value {
        Value::String(text) => Some(Zeroizing::new(text.trim().to_owned())),
        Value::Number(number) => Some(Zeroizing::new(number.to_string())),
        Value::Bool(truth) => Some(Zeroizing::new(truth.to_string())),
        _ => None,
    }
}
