//! Verification of the token that an exchange returns, and the claims in it. Protocol §5.
//!
//! The signature is the library's work; everything else is judged here, because the library reads a clock of its own and
//! gives up on numbers that come as strings. The only algorithm is RS256, whatever the token's header asks for.

mod claims;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::aws_lc;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use self::claims::SystemUserClaims;
use super::keys::{VerificationKey, VerificationKeys};
use super::{ContextId, ISSUER, text};

/// What a token must fit besides its signature.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The tenant asked for.
    pub context: &'a ContextId,
    /// The time, corrected for skew.
    pub now: Timestamp,
    /// How far off the times may be, either way.
    pub leeway: Duration,
}

/// Verifies a token and reads its claims; white space and byte order marks around it do not matter.
///
/// The signature comes first, so that every other error speaks of what the login service really said.
pub fn verify(token: &str, keys: &VerificationKeys, expected: &Expected<'_>) -> Result<SystemUserClaims, JwtError> {
    let payload = verify_signature(text::trim(token), keys)?;
    let claims = claims::Claims::parse(&payload)?;
    check_names(&claims, expected.context)?;
    check_times(&claims, expected)?;
    claims.into_system_user()
}

/// What a state-change notification's token must fit besides its signature. Protocol §6.6.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedNotice<'a> {
    /// The login service's URL, which SuperOffice's own sample expects as the issuer.
    pub login: &'a str,
    /// The time, corrected for skew.
    pub now: Timestamp,
    /// How far off the times may be, either way.
    pub leeway: Duration,
}

/// Verifies a state-change notification's token: which tenant it names, if any.
///
/// Assumptions, because no such token was found: its issuer is the login service's URL, as in SuperOffice's sample, or the
/// one of system user tokens; its times are judged if it has any; its audience is not. What passes is only a hint.
pub fn verify_notice(token: &str, keys: &VerificationKeys, expected: &ExpectedNotice<'_>) -> Result<Option<String>, JwtError> {
    let payload = verify_signature(text::trim(token), keys)?;
    let claims = claims::Claims::parse(&payload)?;
    let issuer = claims.text("iss").unwrap_or_default();
    let login = expected.login.trim_end_matches('/');
    if issuer.as_str() != ISSUER && !issuer.trim_end_matches('/').eq_ignore_ascii_case(login) {
        return Err(JwtError::Issuer { expected: login.to_owned(), seen: seen(&issuer) });
    }
    if let Some(expires) = claims.time("exp")? {
        check_expiry(expires, expected.now, expected.leeway)?;
    }
    check_not_before(&claims, expected.now, expected.leeway)?;
    Ok(claims.text("ctx").map(|ctx| ctx.as_str().to_owned()))
}

/// The payload's bytes, once one of the keys has verified them.
fn verify_signature(token: &str, keys: &VerificationKeys) -> Result<Zeroizing<Vec<u8>>, JwtError> {
    // Base64 of `<?xml `, protocol §5.6.
    if token.starts_with("PD94bWwg") {
        return Err(JwtError::NotAToken("it is a SAML token, which was not asked for"));
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwtError::NotAToken("it has no three parts"))?;
    let (header, payload) = message.split_once('.').ok_or(JwtError::NotAToken("it has no three parts"))?;
    if payload.contains('.') {
        return Err(JwtError::NotAToken("it has more than three parts"));
    }
    let header = decode(header).ok_or(JwtError::NotAToken("its header is not base64url"))?;
    let payload = decode(payload).ok_or(JwtError::NotAToken("its payload is not base64url"))?;
    let signature = decode(signature).ok_or(JwtError::NotAToken("its signature is not base64url"))?;
    let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| JwtError::NotAToken("its header is not a JSON object"))?;
    let field = |name: &str| header.get(name).and_then(Value::as_str);
    let alg = field("alg").unwrap_or("none");
    if alg != "RS256" {
        return Err(JwtError::Algorithm(text::shorten(alg, 20)));
    }
    // RFC 7515 §4.1.11: what is critical and not understood must be refused; nothing is understood here.
    if header.contains_key("crit") {
        return Err(JwtError::NotAToken("its header demands an extension (crit)"));
    }
    let (kid, x5t) = (field("kid"), field("x5t"));
    let mut tried = 0;
    for key in keys.candidates(kid, x5t) {
        tried += 1;
        if verifies(key, message.as_bytes(), &signature) {
            return Ok(payload);
        }
    }
    let name = |id: Option<&str>| id.map_or("none".to_owned(), |id| text::shorten(id, 60));
    Err(JwtError::NoKey { tried, known: keys.len(), kid: name(kid), x5t: name(x5t) })
}

fn decode(part: &str) -> Option<Zeroizing<Vec<u8>>> {
    URL_SAFE_NO_PAD.decode(part).ok().map(Zeroizing::new)
}

/// The provider is named rather than taken from the process, so that no other crate's choice can change it.
fn verifies(key: &VerificationKey, message: &[u8], signature: &Vec<u8>) -> bool {
    let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&Algorithm::RS256, key.decoding());
    verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
}

/// Issuer, audience and tenant. Protocol §5.1.
fn check_names(claims: &claims::Claims, context: &ContextId) -> Result<(), JwtError> {
    let issuer = claims.text("iss").unwrap_or_default();
    if issuer.as_str() != ISSUER {
        return Err(JwtError::Issuer { expected: ISSUER.to_owned(), seen: seen(&issuer) });
    }
    let serial = claims.text("serial").ok_or(JwtError::Missing("serial"))?;
    let expected = format!("spn:{}", serial.as_str());
    let audience = claims.texts("aud");
    if !audience.iter().any(|audience| audience.as_str() == expected) {
        let audience: Vec<&str> = audience.iter().map(|audience| audience.as_str()).collect();
        return Err(JwtError::Audience { expected: seen(&expected), seen: seen(&audience.join(", ")) });
    }
    let ctx = claims.text("ctx").unwrap_or_default();
    if !context.matches(&ctx) {
        return Err(JwtError::Context { expected: context.to_string(), seen: seen(&ctx) });
    }
    Ok(())
}

fn check_times(claims: &claims::Claims, expected: &Expected<'_>) -> Result<(), JwtError> {
    let expires = claims.time("exp")?.ok_or(JwtError::Missing("exp"))?;
    check_expiry(expires, expected.now, expected.leeway)?;
    check_not_before(claims, expected.now, expected.leeway)
}

fn check_expiry(expires: Timestamp, now: Timestamp, leeway: Duration) -> Result<(), JwtError> {
    if now.as_nanosecond() - nanoseconds(leeway) >= expires.as_nanosecond() {
        return Err(JwtError::Expired { expires, now, leeway });
    }
    Ok(())
}

fn check_not_before(claims: &claims::Claims, now: Timestamp, leeway: Duration) -> Result<(), JwtError> {
    match claims.time("nbf")? {
        Some(not_before) if now.as_nanosecond() + nanoseconds(leeway) < not_before.as_nanosecond() => {
            Err(JwtError::NotYetValid { not_before, now, leeway })
        }
        _ => Ok(()),
    }
}

/// 128 bits of them hold every Timestamp and every Duration, and their sums.
fn nanoseconds(leeway: Duration) -> i128 {
    i128::try_from(leeway.as_nanos()).unwrap_or(i128::MAX / 2)
}

/// A claim for an error's text.
fn seen(claim: &str) -> String {
    let claim = text::shorten(claim, 80);
    if claim.is_empty() { "nothing".to_owned() } else { claim }
}

/// Which check a token failed. Nothing secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not a signed JWT at all.
    #[error("the token cannot be read: {0}")]
    NotAToken(&'static str),
    /// Signed with something else than RS256, or not at all.
    #[error("the token's algorithm is {0}; only RS256 is accepted")]
    Algorithm(String),
    /// No key verifies the signature.
    #[error(
        "the token's signature is not verified by any of the {known} verification keys ({tried} of them came into question; the token names kid {kid}, x5t {x5t}): is this the right environment?"
    )]
    NoKey {
        /// How many keys were tried.
        tried: usize,
        /// How many there are.
        known: usize,
        /// The header's `kid`, or "none".
        kid: String,
        /// The header's `x5t`, or "none".
        x5t: String,
    },
    /// `iss` is not SuperOffice's.
    #[error("the token's issuer (iss) is {seen}; expected {expected}")]
    Issuer {
        /// [`ISSUER`], or a notification's.
        expected: String,
        /// The claim.
        seen: String,
    },
    /// `aud` is not `spn:{serial}`.
    #[error("the token's audience (aud) is {seen}; expected {expected}")]
    Audience {
        /// From the token's own serial.
        expected: String,
        /// The claim.
        seen: String,
    },
    /// `ctx` is another tenant.
    #[error("the token is for the tenant {seen} (ctx); {expected} was asked for")]
    Context {
        /// The tenant asked for.
        expected: String,
        /// The claim.
        seen: String,
    },
    /// `exp` has passed.
    #[error("the token expired at {expires} (exp), and it is {now}; {leeway:?} of leeway: check this machine's clock")]
    Expired {
        /// The claim.
        expires: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
        /// The leeway it was judged with.
        leeway: Duration,
    },
    /// `nbf` is still to come.
    #[error("the token is not valid before {not_before} (nbf), and it is {now}; {leeway:?} of leeway: check this machine's clock")]
    NotYetValid {
        /// The claim.
        not_before: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
        /// The leeway it was judged with.
        leeway: Duration,
    },
    /// A claim that is needed is not there, or empty.
    #[error("the token has no claim {0}")]
    Missing(&'static str),
    /// A claim of another kind than it has to be.
    #[error("the token's claim {name} is not a {kind}")]
    Malformed {
        /// The claim.
        name: &'static str,
        /// What it should be.
        kind: &'static str,
    },
    /// The ticket claim is missing or empty: the exchange succeeded, but gave nothing to use.
    #[error("the token brings no ticket; is the application a server-to-server one?")]
    NoTicket,
}

impl JwtError {
    /// Whether other keys could change the outcome, so that it is worth fetching them again.
    pub fn wants_fresh_keys(&self) -> bool {
        matches!(self, JwtError::NoKey { .. })
    }
}

#[cfg(test)]
mod tests;
