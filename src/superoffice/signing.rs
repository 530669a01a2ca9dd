//! The application's private key, the signature it makes over the system user token (protocol §2), and keys derived from it.
//!
//! The `rsa` crate signs because SuperOffice's own sample keys are RSA-1024, which others refuse; it blinds the private
//! operation, which leaves the signature itself deterministic.

mod assemble;
mod derive;
mod key_file;
mod key_value;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use pkcs8::{EncodePublicKey, LineEnding};
use rsa::PrivateKey;
use rsa::traits::PublicKeyParts;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::SystemUserToken;

/// Smallest modulus that signs, bits: that of SuperOffice's own samples. Protocol §2.4.
pub const MIN_BITS: usize = 1024;

/// Largest modulus that is accepted, bits; larger ones only make signing slow.
pub const MAX_BITS: usize = 8192;

/// The application's private key.
#[derive(PartialEq, Eq)]
pub struct SigningKey(PrivateKey);

impl SigningKey {
    /// Reads a key file: `<RSAKeyValue>` XML, PKCS#1 or PKCS#8 (PEM or DER), or PKCS#8 encrypted with `passphrase`, which
    /// is ignored for the others. Checks that the numbers of the key fit together.
    pub fn parse(bytes: &[u8], passphrase: Option<&SecretString>) -> Result<SigningKey, KeyError> {
        key_file::read(bytes, passphrase).map(SigningKey)
    }

    /// The length of the modulus, bits.
    pub fn bits(&self) -> usize {
        self.0.n().bit_width_vartime() as usize
    }

    /// Whether it is shorter than the 2048 bits of today.
    pub fn is_weak(&self) -> bool {
        self.bits() < 2048
    }

    /// The public half, as SubjectPublicKeyInfo PEM.
    pub fn public_key_pem(&self) -> Result<String, KeyError> {
        self.0.as_public_key().to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Operation)
    }

    /// Signs `token.yyyyMMddHHmm` (UTC) with RSASSA-PKCS1-v1_5 and SHA-256. Protocol §2.1.
    pub fn sign(&self, token: &SystemUserToken, at: Timestamp) -> Result<SignedSystemToken, KeyError> {
        let timestamp = at.strftime("%Y%m%d%H%M").to_string();
        let mut text = format!("{}.{timestamp}", token.expose());
        let signature = self.0.pkcs1v15_sign_with_rng::<Sha256, _>(&mut rand::rng(), text.as_bytes());
        let signature = STANDARD.encode(signature.map_err(|_| KeyError::Operation)?);
        text.push('.');
        text.push_str(&signature);
        Ok(SignedSystemToken(text.into()))
    }

    /// A key of 256 bits for another `purpose` than signing, by HKDF-SHA256. It is the same for whatever file format the
    /// private key came in, and another one for every other `salt`, purpose and private key; it tells nothing of the latter.
    pub fn derive(&self, salt: &[u8], purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        derive::derive(&self.0, salt, purpose)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(RSA-{}, [redacted])", self.bits())
    }
}

/// `token.timestamp.signature`: good for one exchange, and a credential while its timestamp is fresh.
#[derive(Clone)]
pub struct SignedSystemToken(SecretString);

impl SignedSystemToken {
    /// The whole.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// `yyyyMMddHHmm`, UTC.
    pub fn timestamp(&self) -> &str {
        self.part_from_end(1)
    }

    /// Base64 of the signature alone.
    pub fn signature(&self) -> &str {
        self.part_from_end(0)
    }

    // The token may hold dots, the other two parts never do. Protocol §1.1.
    fn part_from_end(&self, n: usize) -> &str {
        self.expose().rsplit('.').nth(n).unwrap_or_default()
    }
}

impl fmt::Debug for SignedSystemToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedSystemToken({}, [redacted])", self.timestamp())
    }
}

/// What is needed instead, for the end of a sentence.
const NEEDED: &str = "needed is the application's private RSA key: the <RSAKeyValue> XML from the Developer Portal, \
    or the same key as PEM (BEGIN RSA PRIVATE KEY or BEGIN PRIVATE KEY)";

/// Why a file is not a usable private key: what it is and what is needed. Never holds key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing but white space.
    #[error("the key is empty; {needed}", needed = NEEDED)]
    Empty,
    /// Far larger than a key.
    #[error("this is {0} bytes long, which no key is; {needed}", needed = NEEDED)]
    FileTooLarge(usize),
    /// A public key, in the form named.
    #[error("this is a public key ({0}), which cannot sign; {needed}", needed = NEEDED)]
    PublicKey(&'static str),
    /// An X.509 certificate.
    #[error("this is a certificate, which holds only a public key; {needed}", needed = NEEDED)]
    Certificate,
    /// A PKCS#10 request.
    #[error("this is a certificate request, which holds only a public key; {needed}", needed = NEEDED)]
    CertificateRequest,
    /// OpenSSH's own container.
    #[error("this is a private key in OpenSSH's own format; convert a copy of it with `ssh-keygen -p -m PEM -f COPY`")]
    OpenSsh,
    /// PuTTY's own container.
    #[error("this is a private key in PuTTY's own format; export it from PuTTYgen, then `ssh-keygen -p -m PEM -f COPY`")]
    Putty,
    /// A PKCS#12 container.
    #[error("this is a PKCS#12 (PFX) file; take the key out of it with `openssl pkcs12 -in FILE.pfx -nocerts -out privatekey.pem`")]
    Pkcs12,
    /// A private key for something else than RSA.
    #[error("this is a private key for {0}, not for RSA; {needed}", needed = NEEDED)]
    OtherAlgorithm(&'static str),
    /// A PEM block of another kind.
    #[error("this is PEM of another kind ({0}); {needed}", needed = NEEDED)]
    OtherPem(String),
    /// XML of another kind.
    #[error("this is XML without an <RSAKeyValue>; {needed}", needed = NEEDED)]
    OtherXml,
    /// Nothing that is recognised.
    #[error("this is not a key in any known format; {needed}", needed = NEEDED)]
    Unknown,
    /// RFC 1421's encryption.
    #[error(
        "this key is encrypted in the old way of OpenSSL (Proc-Type: 4,ENCRYPTED); convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.pem -out NEW.pem`"
    )]
    LegacyEncryption,
    /// PKCS#8 encryption with an algorithm that is not read.
    #[error(
        "this key is encrypted with an algorithm that is not supported ({0}); convert it with `openssl pkcs8 -in OLD.pem | openssl pkcs8 -topk8 -v2 aes-256-cbc -out NEW.pem`"
    )]
    UnsupportedEncryption(String),
    /// Encrypted, and no passphrase given.
    #[error("this key is encrypted: set private_key_passphrase")]
    PassphraseMissing,
    /// Encrypted with another passphrase.
    #[error("the passphrase does not open this key: check private_key_passphrase")]
    WrongPassphrase,
    /// It ends too early.
    #[error("{0} that ends too early: the file is cut off, copy it again in full")]
    Truncated(String),
    /// It cannot be read.
    #[error("{0} that cannot be read: {1}; copy the original file again")]
    Damaged(String, String),
    /// The numbers belong to different keys, or were altered.
    #[error("the numbers in this key do not fit together ({0}): it is damaged or mixed from two keys; copy the original file again")]
    Inconsistent(&'static str),
    /// P and Q are missing, and cannot be computed with an exponent this small.
    #[error("this <RSAKeyValue> lacks P and Q, and its exponent is too small to compute them; take the file that has them")]
    PrimesMissing,
    /// Less than [`MIN_BITS`].
    #[error("this RSA key has only {0} bits; at least 1024 are needed (better 2048)")]
    TooShort(usize),
    /// More than [`MAX_BITS`].
    #[error("this RSA key has {0} bits; at most 8192 are accepted")]
    TooLong(usize),
    /// The private operation itself failed.
    #[error("the RSA operation failed")]
    Operation,
}

#[cfg(test)]
mod tests;
