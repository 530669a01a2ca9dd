//! The certificate that is shown to upstream when it asks for one, and its key.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

/// The chain, our own certificate first, and the key. `Debug` does not show the key.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What is wrong with a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// The chain cannot be read.
    #[error("holds no PEM certificate that can be read")]
    Certificate,
    /// The key cannot be read.
    #[error("holds no private key that can be read")]
    Key,
    /// The key is encrypted.
    #[error("holds an encrypted key")]
    Encrypted,
    /// The key is another one's.
    #[error("is not the key of the certificate")]
    Mismatch,
}

impl Identity {
    /// Reads both from PEM; the key is PKCS#8, PKCS#1 or SEC 1, and not encrypted.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Identity, InvalidIdentity> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(|_| InvalidIdentity::Certificate)?;
        if chain.is_empty() {
            return Err(InvalidIdentity::Certificate);
        }
        let encrypted = key.windows(9).any(|window| window == b"ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|_| if encrypted { InvalidIdentity::Encrypted } else { InvalidIdentity::Key })?;
        let identity = Identity { chain, key };
        match identity.certified(&default_provider()) {
            Ok(_) => Ok(identity),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(InvalidIdentity::Mismatch),
            Err(Error::InvalidCertificate(_)) => Err(InvalidIdentity::Certificate),
            Err(_) => Err(if encrypted { InvalidIdentity::Encrypted } else { InvalidIdentity::Key }),
        }
    }

    /// The form that rustls signs with.
    pub fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), provider)
    }
}
