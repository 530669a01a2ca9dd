//! Pinned keys (RFC 7469 §2): besides being trusted as usual, a certificate chain must hold a key that the operator named.
//!
//! Only the server's own certificate and those that really vouch for it count. A chain may carry any certificate besides, and
//! certificates are public: whoever has got any trusted certificate for the name could add the pinned one to it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The SHA-256 of a certificate's SubjectPublicKeyInfo, written `sha256/BASE64`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Of a certificate in DER; `None` when it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Pin> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        Some(Pin(Sha256::digest(certificate.subject_public_key_info()).into()))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is no pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no sha256/ and 32 bytes of Base64")]
pub struct InvalidPin;

impl FromStr for Pin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Pin, InvalidPin> {
        let digest = text.trim().strip_prefix("sha256/").ok_or(InvalidPin)?;
        let digest = STANDARD.decode(digest).map_err(|_| InvalidPin)?;
        digest.try_into().map(Pin).map_err(|_| InvalidPin)
    }
}

/// None of the keys is pinned.
pub struct NotPinned(Vec<Pin>);

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "the server is trusted, but none of its keys is pinned; it showed {}", seen.join(", "))
    }
}

/// rustls shows what it does not know by `Debug`.
impl fmt::Debug for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for NotPinned {}

/// Verifies as another does, then looks for the pins.
#[derive(Debug)]
pub struct Pinned {
    inner: Arc<dyn ServerCertVerifier>,
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    /// `inner` decides first.
    pub fn new(inner: Arc<dyn ServerCertVerifier>, pins: Vec<Pin>, algorithms: WebPkiSupportedAlgorithms) -> Pinned {
        Pinned { inner, pins, algorithms }
    }

    fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        Pin::of(certificate).is_some_and(|pin| self.pins.contains(&pin))
    }

    /// Whether the server's certificate is pinned, or leads to one that is by valid signatures.
    fn is_pinned(&self, server: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> bool {
        if self.has(server) {
            return true;
        }
        let Ok(certificate) = EndEntityCert::try_from(server) else { return false };
        others.iter().filter(|other| self.has(other)).any(|pinned| {
            let Ok(anchor) = anchor_from_trusted_cert(pinned) else { return false };
            let usage = KeyUsage::server_auth();
            certificate.verify_for_usage(self.algorithms.all, &[anchor], others, now, usage, None, None).is_ok()
        })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(server, others, name, ocsp, now)?;
        if self.is_pinned(server, others, now) {
            return Ok(verified);
        }
        let seen = std::iter::once(server).chain(others).filter_map(Pin::of).collect();
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NotPinned(seen))))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What is wrong with a handshake that failed, in our own words where they are ours.
pub fn failure(error: &std::io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error else { return None };
    other.downcast_ref::<NotPinned>().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn a_pin_is_what_openssl_computes() {
        // openssl x509 -pubkey -noout -in localhost.pem | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
        let pem = include_bytes!("../../tests/vectors/tls/localhost.pem");
        let pin = Pin::of(&CertificateDer::from_pem_slice(pem).unwrap()).unwrap().to_string();
        assert_eq!(pin, "sha256/8/Q4zeeZ5vmKcHZWzXQas/fS4Y325iRx9gzcGJ6Osy0=");
        assert_eq!(pin.parse::<Pin>().unwrap().to_string(), pin);
        assert_eq!(Pin::of(&CertificateDer::from_slice(b"no certificate")), None);
    }

    #[test]
    fn what_is_no_pin() {
        let short = format!("sha256/{}", STANDARD.encode([0; 31]));
        let sha1 = format!("sha1/{}", STANDARD.encode([0; 20]));
        let bare = STANDARD.encode([0; 32]);
        for bad in ["", "sha256/", "sha256/!", &short, &sha1, &bare] {
            assert_eq!(bad.parse::<Pin>(), Err(InvalidPin), "{bad:?}");
        }
    }
}
