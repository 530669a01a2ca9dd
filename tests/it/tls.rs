//! TLS towards SuperOffice: the sandbox behind a TLS front with a certificate of a private CA.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use soproxy::sandbox::{Options, Sandbox};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bench::{Bench, Setup};
use crate::peer::Peer;

pub fn vectors(name: &str) -> String {
    format!("{}/tests/vectors/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `https://localhost`, speaking these protocols (none: it does not say) and versions of TLS.
pub fn acceptor(protocols: &[&str], versions: &[&'static SupportedProtocolVersion]) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(vectors("localhost.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(vectors("localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Takes TLS off and passes everything on to `to`.
pub async fn front(to: SocketAddr, acceptor: TlsAcceptor) -> Peer {
    Peer::start(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut inner = TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
        }
    })
    .await
}

/// A proxy whose SuperOffice is behind `https://localhost`.
async fn behind_tls(settings: &[(&str, &str)]) -> (Bench, Peer, DropGuard) {
    // The front has to know the sandbox's address, and the sandbox the front's: its URLs are what the proxy follows.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = front(address, acceptor(&[], rustls::DEFAULT_VERSIONS)).await;
    let origin = format!("https://localhost:{}", front.address.port());
    let stop = CancellationToken::new();
    let options = Options { public_url: Some(origin.clone()), ..Options::default() };
    tokio::spawn(Sandbox::new(options, address).serve(listener, stop.clone()));
    let mut setup = Setup::new();
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    setup.login_url = Some(origin);
    (setup.start().await, front, stop.drop_guard())
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_it_is_named() {
    let (bench, front, _stop) = behind_tls(&[("superoffice.ca_file", &vectors("ca.pem"))]).await;
    let answer = bench.get("/api/v1/User/currentPrincipal").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(front.connections() > 0);
}

#[tokio::test]
async fn a_ca_that_is_named_later_heals_the_tenants_that_fail() {
    let (bench, _front, _stop) = behind_tls(&[]).await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.error(), Some("ticket_unavailable"));
    bench.live.apply(bench.config_with(&[("superoffice.ca_file", &vectors("ca.pem"))])).unwrap();
    bench.generation(1).await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200);
}

#[tokio::test]
async fn an_unknown_ca_is_not_trusted() {
    let (bench, _front, _stop) = behind_tls(&[]).await;
    let answer = bench.get("/api/v1/User/currentPrincipal").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, Some("ticket_unavailable")));
    assert!(answer.json()["detail"].as_str().unwrap().contains("cannot be reached"), "{answer:?}");
}
