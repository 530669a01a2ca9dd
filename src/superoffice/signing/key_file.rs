//! What a key file is: XML, PEM or DER, and which kind of each. Every kind that people confuse with a private RSA key has
//! an answer of its own.

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode, Reader, SliceReader};
use pkcs8::pkcs5;
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};
use rsa::PrivateKey;
use rsa::pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef};
use secrecy::{ExposeSecret, SecretString};
use x509_cert::Certificate;
use x509_cert::request::CertReq;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::KeyError;
use super::assemble::{Numbers, assemble};
use super::key_value;
use crate::superoffice::pem::{self, Block, Damage};
use crate::superoffice::text;

/// A 8192-bit key in its longest form, and much text around it.
const MAX_FILE: usize = 256 * 1024;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Reads a key file.
pub(super) fn read(bytes: &[u8], passphrase: Option<&SecretString>) -> Result<PrivateKey, KeyError> {
    if bytes.len() > MAX_FILE {
        return Err(KeyError::FileTooLarge(bytes.len()));
    }
    // In text the byte after a '0' is never this large.
    if matches!(bytes, [0x30, second, ..] if *second >= 0x80) {
        return der(bytes, passphrase, "this is DER");
    }
    let text = text::decode(bytes).map_err(|_| KeyError::Unknown)?;
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    if text.starts_with('<') {
        return key_value::read(&text);
    }
    let blocks = pem::blocks(&text);
    // A file may have the certificate first and the key after it.
    let private = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY"));
    match private.or(blocks.first()) {
        Some(block) => pem_block(block, passphrase),
        None => Err(other_text(&text)),
    }
}

fn other_text(text: &str) -> KeyError {
    match text {
        _ if text.starts_with("PuTTY-User-Key-File") => KeyError::Putty,
        _ if text.starts_with("ssh-") || text.starts_with("ecdsa-") => KeyError::PublicKey("OpenSSH"),
        _ if text.contains("-----BEGIN") => KeyError::Truncated("this is PEM".to_owned()),
        _ => KeyError::Unknown,
    }
}

fn pem_block(block: &Block<'_>, passphrase: Option<&SecretString>) -> Result<PrivateKey, KeyError> {
    let what = format!("this is PEM (BEGIN {})", block.label);
    match block.label {
        "OPENSSH PRIVATE KEY" => return Err(KeyError::OpenSsh),
        "EC PRIVATE KEY" => return Err(KeyError::OtherAlgorithm("elliptic curves")),
        "DSA PRIVATE KEY" => return Err(KeyError::OtherAlgorithm("DSA")),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => return Err(KeyError::PublicKey("PEM")),
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => return Err(KeyError::Certificate),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => return Err(KeyError::CertificateRequest),
        "RSA PRIVATE KEY" if block.encrypted => return Err(KeyError::LegacyEncryption),
        "RSA PRIVATE KEY" | "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => {}
        "?" => return Err(KeyError::Truncated("this is PEM".to_owned())),
        other => return Err(KeyError::OtherPem(other.to_owned())),
    }
    match &block.der {
        Ok(bytes) => der(bytes, passphrase, &what),
        Err(Damage::Truncated) => Err(KeyError::Truncated(what)),
        Err(Damage::NotBase64) => Err(KeyError::Damaged(what, "the text in it is not base64".to_owned())),
    }
}

/// The kind is found by reading, not by a label: labels are mixed up in the wild.
fn der(bytes: &[u8], passphrase: Option<&SecretString>, what: &str) -> Result<PrivateKey, KeyError> {
    if let Ok(key) = RsaPrivateKeyRef::from_der(bytes) {
        return pkcs1(&key);
    }
    if let Ok(info) = PrivateKeyInfoRef::from_der(bytes) {
        return pkcs8(&info, what);
    }
    if let Ok(info) = EncryptedPrivateKeyInfoRef::from_der(bytes) {
        return encrypted(&info, passphrase.ok_or(KeyError::PassphraseMissing)?);
    }
    if let Some(algorithm) = unknown_encryption(bytes) {
        return Err(KeyError::UnsupportedEncryption(algorithm.to_string()));
    }
    if SubjectPublicKeyInfoRef::from_der(bytes).is_ok() || RsaPublicKeyRef::from_der(bytes).is_ok() {
        return Err(KeyError::PublicKey("DER"));
    }
    if Certificate::from_der(bytes).is_ok() {
        return Err(KeyError::Certificate);
    }
    if CertReq::from_der(bytes).is_ok() {
        return Err(KeyError::CertificateRequest);
    }
    Err(match (content(bytes), bytes.len()) {
        // PFX ::= SEQUENCE { version INTEGER (3), authSafe ContentInfo … } (RFC 7292).
        (Some((start, _)), _) if bytes[start..].starts_with(&[2, 1, 3, 0x30]) => KeyError::Pkcs12,
        (Some((_, end)), length) if end > length => KeyError::Truncated(what.to_owned()),
        _ => KeyError::Damaged(what.to_owned(), "what is in it is no RSA key".to_owned()),
    })
}

/// EncryptedPrivateKeyInfo ::= SEQUENCE { AlgorithmIdentifier, OCTET STRING }, whatever the algorithm (RFC 5958).
fn unknown_encryption(bytes: &[u8]) -> Option<ObjectIdentifier> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let read = reader.sequence(|inner| -> pkcs8::der::Result<ObjectIdentifier> {
        let algorithm = AlgorithmIdentifierRef::decode(inner)?;
        <&OctetStringRef>::decode(inner)?;
        Ok(algorithm.oid)
    });
    read.ok()
}

/// Where the content of the outermost SEQUENCE starts and ends.
fn content(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&first, rest) = bytes.strip_prefix(&[0x30])?.split_first()?;
    if first < 0x80 {
        return Some((2, 2 + usize::from(first)));
    }
    let length = rest.get(..usize::from(first & 0x7f)).filter(|length| length.len() <= 4)?;
    let start = 2 + length.len();
    let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    (start < bytes.len()).then_some((start, start.saturating_add(length)))
}

fn pkcs1(key: &RsaPrivateKeyRef<'_>) -> Result<PrivateKey, KeyError> {
    if key.other_prime_infos.is_some() {
        return Err(KeyError::OtherAlgorithm("RSA with more than two primes"));
    }
    assemble(Numbers {
        n: key.modulus.as_bytes(),
        e: key.public_exponent.as_bytes(),
        d: key.private_exponent.as_bytes(),
        p: Some(key.prime1.as_bytes()),
        q: Some(key.prime2.as_bytes()),
        dp: Some(key.exponent1.as_bytes()),
        dq: Some(key.exponent2.as_bytes()),
        q_inverse: Some(key.coefficient.as_bytes()),
    })
}

fn pkcs8(info: &PrivateKeyInfoRef<'_>, what: &str) -> Result<PrivateKey, KeyError> {
    if info.algorithm.oid != RSA {
        return Err(KeyError::OtherAlgorithm(match info.algorithm.oid.to_string().as_str() {
            "1.2.840.10045.2.1" => "elliptic curves",
            "1.3.101.112" => "Ed25519",
            "1.3.101.113" => "Ed448",
            "1.3.101.110" | "1.3.101.111" => "X25519 or X448",
            "1.2.840.10040.4.1" => "DSA",
            "1.2.840.113549.1.1.10" => "RSA-PSS",
            _ => "an unknown algorithm",
        }));
    }
    let key = RsaPrivateKeyRef::from_der(info.private_key.as_bytes());
    pkcs1(&key.map_err(|_| KeyError::Damaged(what.to_owned(), "what is in it is no RSA key".to_owned()))?)
}

fn encrypted(info: &EncryptedPrivateKeyInfoRef<'_>, passphrase: &SecretString) -> Result<PrivateKey, KeyError> {
    use pkcs5::Error::{AlgorithmParametersInvalid, NoPbes1CryptSupport, UnsupportedAlgorithm};

    let unsupported = |name: String| KeyError::UnsupportedEncryption(name);
    let open = info.decrypt(passphrase.expose_secret()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(NoPbes1CryptSupport) => unsupported("PBES1".to_owned()),
        pkcs8::Error::EncryptedPrivateKey(UnsupportedAlgorithm { oid } | AlgorithmParametersInvalid { oid }) => {
            unsupported(oid.to_string())
        }
        _ => KeyError::WrongPassphrase,
    })?;
    // The padding of a wrong passphrase's result is right once in 256 times: what comes out then is no key.
    let info = PrivateKeyInfoRef::from_der(open.as_bytes()).map_err(|_| KeyError::WrongPassphrase)?;
    pkcs8(&info, "this is an encrypted key")
}
