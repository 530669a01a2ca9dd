//! A record's sealed form. Pure, but for the random numbers.
//!
//! ```text
//! soproxy-store  version  salt      nonce     AES-256-GCM of the record, and its tag
//! 13 bytes       1 byte   32 bytes  12 bytes
//! ```
//!
//! The key is derived from the application's private key with a salt of its own for each writing, so that no key ever meets a
//! nonce twice. What stands before the ciphertext, and whose record it is, is authenticated with it: a record that was copied
//! to another tenant's name or from another environment does not open.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::record::{self, Damage, Record};
use crate::superoffice::origin::BaseUrl;
use crate::superoffice::signing::{KeyError, SigningKey};
use crate::superoffice::{ContextId, InvalidContextId};

const MAGIC: &[u8; 13] = b"soproxy-store";

/// The version of the layout, and of how the key is derived.
const VERSION: u8 = 1;

const PURPOSE: &[u8] = b"soproxy-store record v1";

const SALT: usize = MAGIC.len() + 1;
const NONCE: usize = SALT + 32;
const HEADER: usize = NONCE + NONCE_LEN;
const TAG: usize = 16;

/// The largest sealed record, bytes.
pub const MAX_BYTES: usize = HEADER + record::MAX_BYTES + TAG;

/// Whose record it is: the name it is kept under, and what else must be the same when it is read again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    tenant: String,
    context: String,
    login: String,
}

impl Identity {
    /// A tenant by its name in the configuration, which obeys the rules of context identifiers because it becomes a file's
    /// name; its context identifier; and its login service, which tells the environment.
    pub fn new(tenant: &str, context: &ContextId, login: &BaseUrl) -> Result<Identity, InvalidContextId> {
        let tenant: ContextId = tenant.parse()?;
        let lower = |text: &str| text.to_ascii_lowercase();
        Ok(Identity { tenant: lower(tenant.as_str()), context: lower(context.as_str()), login: lower(&login.join("")) })
    }

    /// The tenant's name in lower case.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What is authenticated: the header, and each name behind its length, so that no two identities look alike.
    fn bound(&self, header: &[u8]) -> Vec<u8> {
        let mut bound = header.to_vec();
        for name in [&self.tenant, &self.context, &self.login] {
            bound.extend_from_slice(&(name.len() as u32).to_be_bytes());
            bound.extend_from_slice(name.as_bytes());
        }
        bound
    }
}

/// Seals a record's plain text. Fails only when the machine has no random numbers.
pub fn seal(key: &SigningKey, identity: &Identity, mut plain: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, KeyError> {
    let mut sealed = Vec::with_capacity(HEADER + plain.len() + TAG);
    sealed.extend_from_slice(MAGIC);
    sealed.push(VERSION);
    sealed.resize(HEADER, 0);
    rand::fill(&mut sealed[SALT..]).map_err(|_| KeyError::Operation)?;
    let (cipher, nonce) = cipher(key, &sealed)?;
    let bound = Aad::from(identity.bound(&sealed));
    let tag = cipher.seal_in_place_separate_tag(nonce, bound, &mut plain).map_err(|_| KeyError::Operation)?;
    sealed.extend_from_slice(&plain);
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens a sealed record with the first of the keys that fits: while a key is being replaced there are two.
pub fn open(keys: &[Arc<SigningKey>], identity: &Identity, sealed: &[u8]) -> Result<Record, Damage> {
    if !sealed.starts_with(MAGIC) {
        return Err(Damage::Corrupt("it does not begin as a record does"));
    }
    match sealed.get(MAGIC.len()) {
        Some(&VERSION) => {}
        Some(&other) => return Err(Damage::Version(other.into())),
        None => return Err(SHORT),
    }
    let (header, ciphertext) = sealed.split_at_checked(HEADER).ok_or(SHORT)?;
    if ciphertext.len() < TAG {
        return Err(SHORT);
    }
    for key in keys {
        let Ok((cipher, nonce)) = cipher(key, header) else { continue };
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        if let Ok(plain) = cipher.open_in_place(nonce, Aad::from(identity.bound(header)), &mut buffer) {
            return Record::decode(plain);
        }
    }
    Err(Damage::Foreign)
}

const SHORT: Damage = Damage::Corrupt("it ends too early");

fn cipher(key: &SigningKey, header: &[u8]) -> Result<(LessSafeKey, Nonce), KeyError> {
    let derived = key.derive(&header[SALT..NONCE], PURPOSE)?;
    let cipher = UnboundKey::new(&AES_256_GCM, &*derived).map_err(|_| KeyError::Operation)?;
    let nonce = Nonce::try_assume_unique_for_key(&header[NONCE..HEADER]).map_err(|_| KeyError::Operation)?;
    Ok((LessSafeKey::new(cipher), nonce))
}

#[cfg(test)]
mod tests;
