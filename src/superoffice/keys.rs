//! Verification keys: from the login service's JWKS, or from a file with certificates or public keys. Protocol §5.4, §5.5.
//!
//! SuperOffice's certificates are X.509 v1, signed with SHA-1 by a private CA: the public key in them is pinned, nothing
//! else of them is judged.

mod file;
mod jwks;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Sizes that the verifying library takes, bits.
const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A set of public keys, at least one. Two sets are equal when they verify the same tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct VerificationKeys(Vec<VerificationKey>);

impl VerificationKeys {
    /// Reads a JWKS document (RFC 7517). Keys that cannot verify RS256 are skipped.
    pub fn from_jwks(bytes: &[u8]) -> Result<VerificationKeys, KeysError> {
        jwks::read(bytes).map(VerificationKeys)
    }

    /// Reads X.509 certificates (v1 or v3; PEM, several allowed, or DER) or public keys (SubjectPublicKeyInfo or PKCS#1).
    pub fn from_file(bytes: &[u8]) -> Result<VerificationKeys, KeysError> {
        file::read(bytes).map(VerificationKeys)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never, since a set without a key cannot be made.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &VerificationKey> {
        self.0.iter()
    }

    /// The keys that may have signed a token with these header fields: all but those whose own identifier differs.
    pub fn candidates<'a>(&'a self, kid: Option<&str>, x5t: Option<&str>) -> impl Iterator<Item = &'a VerificationKey> + use<'a> {
        let (kid, x5t) = (kid.map(normal), x5t.map(normal));
        self.0.iter().filter(move |key| key.may_be(kid.as_deref(), x5t.as_deref()))
    }
}

impl fmt::Debug for VerificationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

/// One RSA public key and what identifies it.
#[derive(Clone)]
pub struct VerificationKey {
    decoding: DecodingKey,
    /// SHA-256 over modulus and exponent: the library's form cannot be compared.
    digest: [u8; 32],
    bits: usize,
    kid: Option<String>,
    /// SHA-1 thumbprints of its certificate, base64url: as said by `x5t`, as computed from `x5c`.
    thumbprints: Vec<String>,
    /// From a file: whoever put it there means it, whatever a token's header says.
    pinned: bool,
}

impl PartialEq for VerificationKey {
    fn eq(&self, other: &VerificationKey) -> bool {
        (self.digest, &self.kid, &self.thumbprints, self.pinned) == (other.digest, &other.kid, &other.thumbprints, other.pinned)
    }
}

impl Eq for VerificationKey {}

impl VerificationKey {
    /// Modulus and exponent are big-endian.
    fn new(n: &[u8], e: &[u8]) -> Result<VerificationKey, Unusable> {
        let [n, e] = [n, e].map(|number| &number[number.iter().take_while(|byte| **byte == 0).count()..]);
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !BITS.contains(&bits) {
            return Err(Unusable::Size(bits));
        }
        // RFC 8017: an odd exponent of at least 3; verifiers take at most 33 bits.
        if e.len() > 5 || e == [1] || [n, e].iter().any(|number| number.last().is_none_or(|last| last % 2 == 0)) {
            return Err(Unusable::Numbers);
        }
        let decoding = DecodingKey::from_rsa_raw_components(n, e);
        let digest = Sha256::new().chain_update(n).chain_update([0]).chain_update(e).finalize().into();
        Ok(VerificationKey { decoding, digest, bits, kid: None, thumbprints: Vec::new(), pinned: false })
    }

    /// The key in the verifying library's form.
    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// The length of the modulus, bits.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Its key identifier, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The SHA-1 thumbprint of its certificate, base64url, if it came with one. RFC 7517 §4.8.
    pub fn x5t(&self) -> Option<&str> {
        self.thumbprints.first().map(String::as_str)
    }

    /// Both arguments normalised. Only identifiers of the same kind can rule a key out; any equality rules it in.
    fn may_be(&self, kid: Option<&str>, x5t: Option<&str>) -> bool {
        let own_kid = self.kid.as_deref().map(normal);
        let has = |id: &str| own_kid.as_deref() == Some(id) || self.thumbprints.iter().any(|own| own == id);
        if self.pinned || [kid, x5t].into_iter().flatten().any(has) {
            return true;
        }
        let kids_differ = kid.is_some() && own_kid.is_some();
        let thumbprints_differ = x5t.is_some() && !self.thumbprints.is_empty();
        !kids_differ && !thumbprints_differ
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kid, x5t) = (self.kid().unwrap_or("-"), self.x5t().unwrap_or("-"));
        write!(f, "VerificationKey(RSA-{}, kid {kid}, x5t {x5t})", self.bits)
    }
}

/// The thumbprint of a certificate, as `x5t` has it.
fn thumbprint(certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha1::digest(certificate))
}

/// Identifiers are compared as thumbprints if they are one, in whichever of the usual spellings: base64url, base64 with
/// padding, or the hexadecimal digits that .NET shows and uses as `kid`.
fn normal(id: &str) -> String {
    if id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let bytes: Vec<u8> = (0..40).step_by(2).filter_map(|at| u8::from_str_radix(&id[at..at + 2], 16).ok()).collect();
        return URL_SAFE_NO_PAD.encode(bytes);
    }
    let bare = id.trim_end_matches('=');
    match STANDARD_NO_PAD.decode(bare) {
        Ok(bytes) if bytes.len() == 20 => URL_SAFE_NO_PAD.encode(bytes),
        _ if bare.len() == 27 => bare.to_owned(),
        _ => id.to_owned(),
    }
}

/// Why one key of several cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it has {0} bits; 2048 to 8192 are needed")]
    Size(usize),
    #[error("its numbers are not those of an RSA key")]
    Numbers,
    #[error("it is for {0}, not for RSA")]
    Algorithm(String),
    #[error("it is meant for {0}, not for verifying RS256")]
    Purpose(String),
    #[error("{0}")]
    Broken(&'static str),
}

/// Why there are no verification keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Nothing but white space.
    #[error("it is empty; {needed}", needed = NEEDED)]
    Empty,
    /// Far larger than any set of keys.
    #[error("it is {0} bytes long, more than any set of keys")]
    TooLarge(usize),
    /// Not JSON, or not of a JWKS' shape.
    #[error("it is no JWKS document: {0}")]
    NotJwks(String),
    /// A private key, of all things.
    #[error("it holds a private key, which does not belong there; {needed}", needed = NEEDED)]
    PrivateKey,
    /// Something else.
    #[error("it is {0}; {needed}", needed = NEEDED)]
    Other(String),
    /// It ends too early or is not what it says it is.
    #[error("it is damaged or cut off ({0}): copy it again in full")]
    Damaged(String),
    /// There are keys, but none that verifies RS256; each with its reason.
    #[error("none of its keys can be used: {0}")]
    NoneUsable(String),
}

const NEEDED: &str = "needed is SuperOffice's certificate for the environment (SuperOfficeFederatedLogin.crt), or a public key as PEM";

/// The keys that can be used, or the reasons why none can.
fn usable(keys: impl Iterator<Item = Result<VerificationKey, Unusable>>) -> Result<Vec<VerificationKey>, KeysError> {
    let mut good = Vec::new();
    let mut reasons = Vec::new();
    for (index, key) in keys.enumerate() {
        match key {
            Ok(key) => good.push(key),
            Err(why) => reasons.push(format!("key {}: {why}", index + 1)),
        }
    }
    if !good.is_empty() {
        return Ok(good);
    }
    let shown = reasons.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    Err(KeysError::NoneUsable(if shown.is_empty() { "there are none".to_owned() } else { shown }))
}

#[cfg(test)]
mod tests;
