//! API keys: how they are made, recognised in a request, and compared.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// What every key begins with, so that people and scanners know what it is, and no other credential is taken for one.
const PREFIX: &str = "soproxy_";

/// 256 bits in base64url.
const DIGITS: usize = 43;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A key, `soproxy_` and 43 characters.
pub struct ApiKey(SecretString);

/// What a key hashes to by SHA-256, written `sha256:…` in hexadecimal. A key cannot be guessed from it: it has 256 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

/// No hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyHash {
    /// It is a key itself.
    #[error("is an API key itself, and only its hash belongs here")]
    Key,
    /// Something else.
    #[error("is no hash of an API key")]
    Other,
}

impl ApiKey {
    /// A new one, from the system's random numbers.
    pub fn random() -> ApiKey {
        let mut bits: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        let mut text = String::with_capacity(PREFIX.len() + DIGITS);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(*bits, &mut text);
        bits.zeroize();
        ApiKey(text.into())
    }

    /// The text, for the one time that it is shown.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is configured of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.expose())
    }
}

impl KeyHash {
    fn of(key: &str) -> KeyHash {
        KeyHash(Sha256::digest(key.as_bytes()).into())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KeyHash {
    type Err = BadKeyHash;

    fn from_str(text: &str) -> Result<KeyHash, BadKeyHash> {
        let text = text.trim();
        if is_key(text) {
            return Err(BadKeyHash::Key);
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BadKeyHash::Other);
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| BadKeyHash::Other)?;
        }
        Ok(KeyHash(hash))
    }
}

/// The clients' keys. How long a search takes says at most which eight bytes the hash of what was offered begins with.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<(KeyHash, usize)>);

impl Keys {
    pub(super) fn add(&mut self, key: &KeyHash, client: usize) {
        let at = self.0.partition_point(|(other, _)| start(other) < start(key));
        self.0.insert(at, (*key, client));
    }

    /// Whose key it is.
    pub(super) fn find(&self, key: &KeyHash) -> Option<usize> {
        let first = self.0.partition_point(|(other, _)| start(other) < start(key));
        let alike = self.0[first..].iter().take_while(|(other, _)| start(other) == start(key));
        alike.filter(|(other, _)| bool::from(other.0.ct_eq(&key.0))).map(|(_, client)| *client).next()
    }
}

fn start(hash: &KeyHash) -> &[u8] {
    &hash.0[..8]
}

/// What a request offers.
pub(super) enum Offered {
    /// No key.
    Nothing,
    /// A key, hashed.
    Key(KeyHash),
    /// Different ones.
    Several,
}

/// Looks for a key: `Authorization: Bearer`, the password of `Basic` (RFC 7617), `X-Api-Key`. What is not made like a key is none.
pub(super) fn offered(headers: &HeaderMap) -> Offered {
    let mut found = None;
    let authorization = headers.get_all(AUTHORIZATION).iter().filter_map(|value| of_authorization(value.as_bytes()));
    let own = headers.get_all(X_API_KEY).iter().filter_map(|value| text(value.as_bytes().trim_ascii()));
    for key in authorization.chain(own) {
        match found.replace(key) {
            Some(before) if Some(before) != found => return Offered::Several,
            _ => {}
        }
    }
    found.map_or(Offered::Nothing, Offered::Key)
}

fn of_authorization(value: &[u8]) -> Option<KeyHash> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return text(rest);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest).or_else(|_| STANDARD_NO_PAD.decode(rest)).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    text(&decoded[colon + 1..])
}

fn text(key: &[u8]) -> Option<KeyHash> {
    std::str::from_utf8(key).ok().filter(|key| is_key(key)).map(KeyHash::of)
}

fn is_key(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.strip_prefix(PREFIX).is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(digit))
}
