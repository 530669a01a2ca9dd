//! What a connection proves about its caller: certificates, and the users of processes.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use soproxy::body::Body;
use soproxy::peer::Process;
use soproxy::server::tls::{Files, Key, Tls};
use soproxy::server::unix::Place;
use soproxy::server::{self, Ends, Handler, Inbound, Limits, Listener, Stop};
use tokio::net::UnixStream;
use tokio_util::sync::DropGuard;

use super::{CALLER, Caller, TLS12, TLS13, speaking};
use crate::bench::{Bench, Setup};
use crate::tls::vectors;
use crate::wire::{Wire, request};

/// Says what its callers prove.
#[derive(Clone)]
struct Mirror;

impl Handler for Mirror {
    type Body = Body;

    async fn handle(&self, _: Box<Request<Inbound>>, ends: Ends) -> Response<Body> {
        let names = ends.proof.certificate().map(|certificate| certificate.names.join(" | "));
        let text = format!("{:?} {:?} {} {:?}", names, ends.proof.process(), ends.tls, ends.peer.is_some());
        Response::new(Body::Full(Bytes::from(text)))
    }
}

fn serve(listener: Listener) -> DropGuard {
    let limits = Limits {
        header_read: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        body: Duration::from_secs(5),
        max_header_size: 1 << 16,
        max_headers: 100,
        max_connections: 100,
    };
    let stop = Stop::default();
    tokio::spawn(server::serve(vec![listener], limits, None, Mirror, stop.clone()));
    stop.drain.drop_guard()
}

async fn tcp(address: &str) -> Option<Listener> {
    server::bind(&[address.parse().unwrap()]).await.ok()?.pop()
}

fn me() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[tokio::test]
async fn on_a_unix_socket_the_kernel_tells_user_and_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _stop = serve(server::bind_unix(&Place { path: path.clone(), mode: 0o600, owner: (None, None) }).unwrap());
    let mut wire = Wire::over(UnixStream::connect(&path).await.unwrap());
    let gid = std::fs::metadata("/proc/self").unwrap().gid();
    let expected = Process { uid: me(), gid: Some(gid) };
    assert_eq!(wire.get("", "").await.text(), format!("None {:?} false false", Some(expected)));
}

#[tokio::test]
async fn on_loopback_the_kernel_tells_the_user_where_it_may() {
    let mut told = 0;
    for (address, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
        let Some(listener) = tcp(address).await else { continue };
        let port = listener.local_addr().unwrap().port();
        let _stop = serve(listener);
        let mut wire = Wire::to((to.parse::<std::net::IpAddr>().unwrap(), port).into()).await;
        let text = wire.get("", "").await.text();
        if text == "None None false true" {
            eprintln!("this machine does not permit sock_diag: {address} was not tested");
            continue;
        }
        assert_eq!(text, format!("None {:?} false true", Some(Process { uid: me(), gid: None })), "{address}");
        told += 1;
    }
    eprintln!("{told} kinds of addresses were tested");
}

#[tokio::test]
async fn a_certificates_names_arrive() {
    let files = |require| Files {
        certificate: vectors("localhost.pem").into(),
        key: Key::File(vectors("localhost.key").into()),
        client_ca: Some(vectors("client-ca.pem").into()),
        require,
    };
    for require in [false, true] {
        let listener = tcp("127.0.0.1:0").await.unwrap().speaking(Some(Tls::new(files(require)).unwrap()));
        let address = listener.local_addr().unwrap();
        let _stop = serve(listener);
        for versions in [TLS12, TLS13] {
            let caller = Caller { versions, shows: Some("client"), ..CALLER };
            // Twice with one address: a second connection shows as much.
            for _ in 0..2 {
                let text = caller.wire(address).await.get("", "").await.text();
                let names = "subject:CN=erp,OU=Back \\\\+ Office\\\\, 2,O=Example | cn:erp | dns:erp.example.com | email:erp@example.com | \
                             uri:spiffe://example/ERP | ip:10.0.0.1 | ip:fd00::1";
                assert!(text.starts_with(&format!("Some(\"{names}\")")) && text.ends_with("true true"), "{text}");
            }
        }
        if !require {
            let text = CALLER.wire(address).await.get("", "").await.text();
            assert!(text.starts_with("None "), "{text}");
        }
    }
}

/// Whether a caller gets as far as to an answer. With TLS 1.3 it learns after its handshake that it is refused.
async fn is_answered(bench: &Bench, caller: &Caller) -> bool {
    let Ok(stream) = caller.shake(bench.doors[0]).await else { return false };
    let mut wire = Wire::over(stream);
    if tokio::io::AsyncWriteExt::write_all(&mut wire.stream, request("GET", "/v1/_sandbox/echo", "").as_bytes()).await.is_err() {
        return false;
    }
    wire.message().await.is_some_and(|answer| answer.status() == 200)
}

#[tokio::test]
async fn a_foreign_certificate_is_refused_and_none_only_where_one_is_required() {
    let ca = format!("client_ca = \"{}\"\n", vectors("client-ca.pem"));
    let wishes = speaking(Setup::new(), &ca).start().await;
    let requires = speaking(Setup::new(), &(ca + "require_client_certificate = true")).start().await;
    for versions in [TLS12, TLS13] {
        let shows = |shows| Caller { versions, shows, ..CALLER };
        for (bench, without) in [(&wishes, true), (&requires, false)] {
            assert!(is_answered(bench, &shows(Some("client"))).await);
            assert!(!is_answered(bench, &shows(Some("foreign"))).await, "an authority of the same name is another one");
            assert_eq!(is_answered(bench, &shows(None)).await, without);
        }
    }
}
