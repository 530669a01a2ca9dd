//! What TLS towards SuperOffice trusts: the platform's roots, those of `ca_file`, and of these only pinned keys if there are
//! any; and who we are to a server that asks.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use rustls_platform_verifier::Verifier;

pub use super::identity::{Identity, InvalidIdentity};
use super::pins::Pinned;
pub use super::pins::{InvalidPin, Pin};

/// No TLS client can be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsError {
    /// `ca_file` cannot be read as certificates.
    #[error("ca_file: {0}")]
    CaFile(String),
    /// The platform has no usable roots.
    #[error(
        "the machine's trusted roots cannot be read ({0}); install them (Debian: ca-certificates), or name a file in SSL_CERT_FILE or in ca_file"
    )]
    Roots(String),
    /// The certificate of our own cannot be used.
    #[error("client_certificate: {0}")]
    Identity(String),
}

/// TLS to origins, and to a proxy on the way: of the same roots, without pins, and without a certificate of our own.
pub struct Tls {
    /// To SuperOffice.
    pub origin: ClientConfig,
    /// To a proxy.
    pub proxy: ClientConfig,
}

/// TLS 1.2 and up, one crypto back end, roots as above.
pub fn client_config(ca_pem: Option<&[u8]>, pins: &[Pin], identity: Option<&Identity>) -> Result<Tls, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let extra = match ca_pem {
        Some(pem) => {
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| TlsError::CaFile(error.to_string()))?
        }
        None => Vec::new(),
    };
    let roots = Verifier::new_with_extra_roots(extra, provider.clone()).map_err(|error| TlsError::Roots(error.to_string()))?;
    let roots: Arc<dyn ServerCertVerifier> = Arc::new(roots);
    let proxy = verifying(&provider, roots.clone())?.with_no_client_auth();
    let verifier: Arc<dyn ServerCertVerifier> = match pins {
        [] => roots,
        pins => Arc::new(Pinned::new(roots, pins.to_vec(), provider.signature_verification_algorithms)),
    };
    let origin = verifying(&provider, verifier)?;
    let origin = match identity {
        None => origin.with_no_client_auth(),
        Some(identity) => {
            let key = identity.certified(&provider).map_err(|error| TlsError::Identity(error.to_string()))?;
            origin.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    };
    Ok(Tls { origin, proxy })
}

/// A configuration that trusts nobody: for machines without roots whose configuration needs no TLS.
pub fn no_roots() -> Result<Tls, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = builder(&provider)?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    Ok(Tls { origin: config.clone(), proxy: config })
}

fn builder(provider: &Arc<CryptoProvider>) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    builder.map_err(|error| TlsError::Roots(error.to_string()))
}

fn verifying(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    // `dangerous` is rustls' word for any verifier but its own.
    Ok(builder(provider)?.dangerous().with_custom_certificate_verifier(verifier))
}
