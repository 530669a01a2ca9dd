//! Certificates that are renewed while the proxy runs.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{CALLER, Caller, is_renewed, with_door};
use crate::bench::{Bench, Setup};
use crate::tls::vectors;

fn put(dir: &Path, name: &str) {
    fs::copy(vectors(&format!("{name}.pem")), dir.join("tls.crt")).unwrap();
    fs::copy(vectors(&format!("{name}.key")), dir.join("tls.key")).unwrap();
}

/// A bench whose door has the pair `localhost`, and the directory where another may be put.
async fn bench(more: &str) -> (Bench, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "localhost");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let bench = with_door(Setup::new(), &path("tls.crt"), &path("tls.key"), more).start().await;
    (bench, dir)
}

#[tokio::test]
async fn a_renewed_certificate_is_served_to_new_connections_and_open_ones_stay() {
    let (bench, dir) = bench("").await;
    let mut open = CALLER.wire(bench.doors[0]).await;
    assert!(!is_renewed(&open.stream));
    put(dir.path(), "renewed");
    bench.until("the new one is served", async || is_renewed(&CALLER.shake(bench.doors[0]).await.unwrap())).await;
    assert_eq!(open.get("/v1/_sandbox/echo", "").await.status(), 200);
}

#[tokio::test]
async fn a_reload_reads_the_files_at_once_and_a_broken_one_keeps_the_old() {
    let (bench, dir) = bench("").await;
    put(dir.path(), "renewed");
    bench.live.apply(bench.config_with(&[])).unwrap();
    assert!(is_renewed(&CALLER.shake(bench.doors[0]).await.unwrap()));
    // The configuration as it was, because one with these files could not be read.
    let config = bench.config_with(&[]);
    fs::write(dir.path().join("tls.crt"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    bench.live.apply(config).unwrap();
    let mut wire = CALLER.wire(bench.doors[0]).await;
    assert!(is_renewed(&wire.stream));
    assert_eq!(wire.get("/v1/_sandbox/echo", "").await.status(), 200);
}

#[tokio::test]
async fn a_caller_that_was_verified_by_another_authority_is_verified_anew() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    fs::copy(vectors("client-ca.pem"), &ca).unwrap();
    let (bench, _files) = bench(&format!("client_ca = \"{}\"\nrequire_client_certificate = true", ca.display())).await;
    // One configuration: its sessions would be resumed.
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(Caller { shows: Some("client"), ..CALLER }.config()));
    let get = async || {
        let stream = tokio::net::TcpStream::connect(bench.doors[0]).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream).await.ok()?;
        let mut wire = crate::wire::Wire::over(stream);
        tokio::io::AsyncWriteExt::write_all(&mut wire.stream, crate::wire::request("GET", "/v1/_sandbox/echo", "").as_bytes())
            .await
            .ok()?;
        Some(wire.message().await?.status())
    };
    for _ in 0..2 {
        assert_eq!(get().await, Some(200));
    }
    fs::copy(vectors("ca.pem"), &ca).unwrap();
    bench.live.apply(bench.config_with(&[])).unwrap();
    assert_eq!(get().await, None, "its authority is trusted no more");
}
