//! What TLS towards SuperOffice trusts: the platform's roots, and those of `ca_file`.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

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
}

/// A client configuration: TLS 1.2 and up, one crypto back end, roots as above.
pub fn client_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let extra = match ca_pem {
        Some(pem) => {
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| TlsError::CaFile(error.to_string()))?
        }
        None => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(extra, provider.clone()).map_err(|error| TlsError::Roots(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Roots(error.to_string()))?
        .dangerous() // rustls' word for any verifier but its own; this one is the platform's
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// A configuration that trusts nobody: for machines without roots whose configuration needs no TLS.
pub fn no_roots() -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Roots(error.to_string()))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}
