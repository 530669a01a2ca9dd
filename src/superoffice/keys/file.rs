//! A file of certificates or public keys, PEM or DER.

use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rsa::pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::{KeysError, Unusable, VerificationKey, thumbprint, usable};
use crate::superoffice::pem::{self, Block, Damage};
use crate::superoffice::text;

const MAX_LENGTH: usize = 1024 * 1024;
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

pub(super) fn read(bytes: &[u8]) -> Result<Vec<VerificationKey>, KeysError> {
    if bytes.len() > MAX_LENGTH {
        return Err(KeysError::TooLarge(bytes.len()));
    }
    // In text the byte after a '0' is never this large.
    if matches!(bytes, [0x30, second, ..] if *second >= 0x80) {
        return der(bytes);
    }
    let text = text::decode(bytes).map_err(|_| KeysError::Other("neither text nor DER".to_owned()))?;
    if text.is_empty() {
        return Err(KeysError::Empty);
    }
    let blocks = pem::blocks(&text);
    if blocks.iter().any(|block| block.label.contains("PRIVATE KEY")) || text.contains("<D>") {
        return Err(KeysError::PrivateKey);
    }
    if blocks.is_empty() {
        return Err(KeysError::Other(other_text(&text).to_owned()));
    }
    let keys = blocks.iter().map(pem_block).collect::<Result<Vec<_>, _>>()?;
    usable(keys.into_iter())
}

fn other_text(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "JSON",
        Some(b'<') => "XML",
        _ => "not a certificate in any known format",
    }
}

fn pem_block(block: &Block<'_>) -> Result<Result<VerificationKey, Unusable>, KeysError> {
    let read = match block.label {
        "CERTIFICATE" | "X509 CERTIFICATE" => certificate,
        "PUBLIC KEY" => subject_public_key,
        "RSA PUBLIC KEY" => pkcs1,
        "?" => return Err(KeysError::Damaged("the BEGIN line is cut off".to_owned())),
        other => return Err(KeysError::Other(format!("PEM of another kind ({other})"))),
    };
    match &block.der {
        Ok(der) => Ok(read(der).map(pinned)),
        Err(Damage::Truncated) => Err(KeysError::Damaged(format!("BEGIN {} without its END", block.label))),
        Err(Damage::NotBase64) => Err(KeysError::Damaged(format!("what follows BEGIN {} is not base64", block.label))),
    }
}

fn der(bytes: &[u8]) -> Result<Vec<VerificationKey>, KeysError> {
    let private = RsaPrivateKeyRef::from_der(bytes).is_ok()
        || PrivateKeyInfoRef::from_der(bytes).is_ok()
        || EncryptedPrivateKeyInfoRef::from_der(bytes).is_ok();
    if private {
        return Err(KeysError::PrivateKey);
    }
    let readers = [certificate, subject_public_key, pkcs1];
    let mut results = readers.map(|read| read(bytes)).into_iter();
    match results.find(|result| !matches!(result, Err(Unusable::Broken(_)))) {
        Some(result) => usable(std::iter::once(result.map(pinned))),
        None => Err(KeysError::Damaged("DER that is neither a certificate nor a public key".to_owned())),
    }
}

fn pinned(key: VerificationKey) -> VerificationKey {
    VerificationKey { pinned: true, ..key }
}

fn certificate(der: &[u8]) -> Result<VerificationKey, Unusable> {
    let mut key = certificate_key(der)?;
    key.thumbprints = vec![thumbprint(der)];
    Ok(key)
}

/// The key of a certificate, whatever its version, signature and dates say.
pub(super) fn certificate_key(der: &[u8]) -> Result<VerificationKey, Unusable> {
    let broken = |_| Unusable::Broken("it is no readable certificate");
    let certificate = Certificate::from_der(der).map_err(broken)?;
    subject_public_key(&certificate.tbs_certificate().subject_public_key_info().to_der().map_err(broken)?)
}

fn subject_public_key(der: &[u8]) -> Result<VerificationKey, Unusable> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| Unusable::Broken("it is no readable public key"))?;
    if info.algorithm.oid != RSA {
        return Err(Unusable::Algorithm(match info.algorithm.oid.to_string().as_str() {
            "1.2.840.10045.2.1" => "elliptic curves".to_owned(),
            oid => format!("the algorithm {oid}"),
        }));
    }
    pkcs1(info.subject_public_key.as_bytes().unwrap_or_default())
}

fn pkcs1(der: &[u8]) -> Result<VerificationKey, Unusable> {
    let key = RsaPublicKeyRef::from_der(der).map_err(|_| Unusable::Broken("it is no readable RSA public key"))?;
    VerificationKey::new(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}
