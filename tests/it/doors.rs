//! Listeners of each kind: TLS, callers' certificates, Unix sockets, and what a connection proves about its caller.

mod proof;
mod swap;
mod tls;
mod unix;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bench::Setup;
use crate::tls::vectors;
use crate::wire::Wire;

/// A caller that trusts both of the listener's certificates.
struct Caller {
    versions: &'static [&'static SupportedProtocolVersion],
    protocols: &'static [&'static str],
    shows: Option<&'static str>,
}

const CALLER: Caller = Caller { versions: rustls::DEFAULT_VERSIONS, protocols: &[], shows: None };

const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl Caller {
    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for name in ["ca.pem", "renewed.pem"] {
            roots.add(CertificateDer::from_pem_file(vectors(name)).unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(self.versions).unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = match self.shows {
            None => config.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(vectors(&format!("{name}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(vectors(&format!("{name}.key"))).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    async fn shake(&self, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        TlsConnector::from(Arc::new(self.config())).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    async fn wire(&self, to: SocketAddr) -> Wire<TlsStream<TcpStream>> {
        Wire::over(self.shake(to).await.unwrap())
    }
}

/// The subject of the listener's certificate tells which one it is: that of `localhost.pem` has an issuer.
fn is_renewed(stream: &TlsStream<TcpStream>) -> bool {
    let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let renewed = CertificateDer::from_pem_file(vectors("renewed.pem")).unwrap();
    *shown == renewed
}

/// A bench with a further listener, `bench.doors[0]`, that speaks TLS.
fn speaking(setup: Setup, more: &str) -> Setup {
    with_door(setup, &vectors("localhost.pem"), &vectors("localhost.key"), more)
}

fn with_door(mut setup: Setup, certificate: &str, key: &str, more: &str) -> Setup {
    setup.more += "[[listeners]]\naddress = \"127.0.0.1:0\"\n";
    setup.more += &format!("tls_certificate = \"{certificate}\"\ntls_key = {{ file = \"{key}\" }}\n{more}\n");
    setup
}
