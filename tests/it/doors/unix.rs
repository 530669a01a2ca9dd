//! The proxy on a Unix socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use soproxy::app::App;
use soproxy::clock::Clock;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use super::CALLER;
use crate::bench::{Bench, Setup, TENANT};
use crate::peer::Stage;
use crate::tls::vectors;
use crate::wire::{End, Wire, begin, request};

/// A bench that listens there, too.
async fn bench(setup: Setup, path: &Path, more: &str) -> Bench {
    let mut setup = setup;
    setup.more += &format!("[[listeners]]\naddress = \"unix:{}\"\n{more}\n", path.display());
    setup.start().await
}

async fn connect(path: &Path) -> Wire<UnixStream> {
    Wire::over(UnixStream::connect(path).await.unwrap())
}

#[tokio::test]
async fn requests_are_answered_and_links_name_the_host_that_was_called() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let bench = bench(Setup::new(), &path, "").await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let mut wire = connect(&path).await;
    for _ in 0..2 {
        let answer = wire.get("/v1/Contact/1", "").await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().contains(&format!("\"http://localhost/{TENANT}/api/v1/")), "{}", answer.text());
        // Longer than a connection keeps its buffers.
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    }
    bench.stop.drain.cancel();
    assert_eq!(wire.end().await, End::Closed);
    bench.until("the socket goes with the proxy", async || !path.exists()).await;
}

#[tokio::test]
async fn half_closes_and_tunnels_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let stage = Stage::new().await;
    let _bench = bench(Setup::new().api_at(stage.address), &path, "socket_mode = \"0660\"").await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    let mut wire = connect(&path).await;
    wire.say(begin("POST", "/v1/x", "Content-Length: 4\r\n\r\nbody")).await;
    wire.finish().await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(wire.rest().await.ends_with("ok"));
    let mut wire = connect(&path).await;
    wire.say(request("GET", "/hub", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
    assert_eq!(wire.answer().await.status(), 101);
    wire.say("ping").await;
    assert_eq!(up.until("ping").await, "ping");
    drop(up);
    wire.end().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_frees_its_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let stage = Stage::new().await;
    let _bench = bench(Setup::new().api_at(stage.address), &path, "").await;
    let mut wire = connect(&path).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    drop(wire);
    // A Unix socket has no half-close that looks like this one, but no reset either: the answer finds nobody.
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    let _ = tokio::io::AsyncWriteExt::write_all(&mut up.stream, &vec![b'x'; 1_000_000]).await;
    up.end().await;
}

#[tokio::test]
async fn tls_may_be_spoken_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (certificate, key) = (vectors("localhost.pem"), vectors("localhost.key"));
    let more = format!("tls_certificate = \"{certificate}\"\ntls_key = {{ file = \"{key}\" }}");
    let _bench = bench(Setup::new(), &path, &more).await;
    let connector = TlsConnector::from(Arc::new(CALLER.config()));
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut wire = Wire::over(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap());
    assert_eq!(wire.get("/v1/_sandbox/echo", "").await.status(), 200);
    let mut plain = connect(&path).await;
    plain.say(request("GET", "/v1/x", "")).await;
    assert_eq!(plain.answer().await.status(), 400);
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_what_is_alive_or_no_socket_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, live, file) = (dir.path().join("dead"), dir.path().join("live"), dir.path().join("file"));
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let _first = bench(Setup::new(), &dead, "").await;
    let second = Bench::start().await;
    assert_eq!(connect(&dead).await.get("/v1/_sandbox/echo", "").await.status(), 200);
    let _other = std::os::unix::net::UnixListener::bind(&live).unwrap();
    fs::write(&file, "precious").unwrap();
    for (path, what) in [(&live, "somebody answers there"), (&dead, "somebody answers there"), (&file, "no socket")] {
        let address = format!("unix:{}", path.display());
        let error = App::build(second.config_with(&[("listen.address", &address)]), Clock::system(), None).await.err().unwrap().to_string();
        assert!(error.contains(&address) && error.contains(what), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert_eq!(connect(&dead).await.get("/v1/_sandbox/echo", "").await.status(), 200);
}
