//! Who upstream is, and who we are to it: pinned keys, trusted roots, the certificate of our own.

use soproxy::sandbox::demo;

use super::forwarder::{Forwarder, OK, Script};
use super::{CHAIN, Online, server, vector};
use crate::bench::{Bench, Setup};
use crate::logs::{Logs, Records};
use crate::peer::Stage;
use crate::wire::{self, Wire, request};

/// By `openssl`, see README.
const SERVER: &str = "sha256/PVgXtyPXdW5VYRaFiN9Mm4Lzd+jST4xqKLLovprbs2o=";
const INTERMEDIATE: &str = "sha256/pWssXrlWJ/x1uDsXg2rgqk9BGN8wwLD3bGEuzuKbYhI=";
const OTHER: &str = "sha256/UoZxGQpea8yyklZ/ETP6MvdAUNOXU1qh2pLNUV+Fh0o=";

/// The web API is a stage behind TLS, the rest is the sandbox.
async fn staged(settings: &[(&str, &str)]) -> (Bench, Stage, Records) {
    let stage = Stage::new().await;
    let mut setup = Setup::new().api_over_tls_at(stage.address).set("superoffice.ca_file", &vector("root.pem")).set("listen.workers", "1");
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    let records = Records::of(&mut setup);
    let bench = setup.start().await;
    bench.generation(1).await;
    (bench, stage, records)
}

/// One request whose connection upstream takes with `chain`: whether it was carried.
async fn carried(bench: &Bench, stage: &Stage, chain: &[&str]) -> bool {
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let stream = stage.accept().await;
    if let Ok(stream) = server(chain, false).accept(stream).await {
        let mut up = Wire::over(stream);
        if up.message().await.is_some() {
            up.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
            assert_eq!(wire.answer().await.text(), "ok");
            return true;
        }
    }
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")));
    false
}

#[tokio::test]
async fn a_pin_holds_for_the_server_and_for_those_who_vouch_for_it() {
    for pins in [SERVER, INTERMEDIATE, &format!("{OTHER},{SERVER}")] {
        let (bench, stage, _) = staged(&[("upstream.pins", pins)]).await;
        assert!(carried(&bench, &stage, &CHAIN).await, "{pins}");
    }
}

#[tokio::test]
async fn a_server_without_a_pinned_key_gets_no_request_and_the_log_tells_its_keys() {
    let (bench, stage, records) = staged(&[("upstream.pins", OTHER)]).await;
    assert!(!carried(&bench, &stage, &CHAIN).await);
    let cause = format!("TLS: the server is trusted, but none of its keys is pinned; it showed {SERVER}, {INTERMEDIATE}");
    let record = records.with(&cause).await;
    assert!(record.contains(&cause), "{record}");
}

#[tokio::test]
async fn a_certificate_that_is_only_sent_along_is_not_believed() {
    // Certificates are public: anybody can add the pinned one to a chain.
    for chain in [["server.pem", "intermediate.pem", "other.pem"], ["server.pem", "other.pem", "intermediate.pem"]] {
        let (bench, stage, _) = staged(&[("upstream.pins", OTHER)]).await;
        assert!(!carried(&bench, &stage, &chain).await, "{chain:?}");
    }
}

#[tokio::test]
async fn a_pin_makes_nobody_trusted() {
    let (bench, stage, _) = staged(&[("upstream.pins", SERVER), ("superoffice.ca_file", &vector("other.pem"))]).await;
    assert!(!carried(&bench, &stage, &CHAIN).await);
}

#[tokio::test]
async fn pins_count_from_the_reload_on_also_for_sessions_and_connections_that_are_there() {
    let (bench, stage, _) = staged(&[]).await;
    let acceptor = server(&CHAIN, false);
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let mut up = Wire::over(acceptor.accept(stage.accept().await).await.unwrap());
    up.message().await.unwrap();
    up.say(wire::OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
    // The connection rests, and the server would resume the session.
    bench.live.apply(bench.config_with(&[("upstream.pins", OTHER)])).unwrap();
    wire.say(request("GET", "/v1/x", "")).await;
    assert!(acceptor.accept(stage.accept().await).await.is_err());
    assert_eq!(wire.answer().await.error(), Some("upstream_unreachable"));
    bench.live.apply(bench.config_with(&[("upstream.pins", INTERMEDIATE)])).unwrap();
    wire.say(request("GET", "/v1/x", "")).await;
    let mut up = Wire::over(acceptor.accept(stage.accept().await).await.unwrap());
    up.message().await.unwrap();
    up.say(wire::OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
}

#[tokio::test]
async fn pins_and_roots_hold_for_the_login_service_too() {
    let online = Online::start(None, server(&CHAIN, false)).await;
    let root = ("superoffice.ca_file", vector("root.pem"));
    for (changes, works) in [
        (vec![root.clone()], true),
        (vec![root.clone(), ("upstream.pins", SERVER.to_owned())], true),
        (vec![root, ("upstream.pins", OTHER.to_owned())], false),
        (vec![("superoffice.ca_file", vector("other.pem"))], false),
    ] {
        let mut setup = online.setup();
        for (key, value) in &changes {
            setup = setup.set(key, value);
        }
        let bench = setup.start().await;
        let answer = bench.get("/api/v1/User/currentPrincipal").await;
        let expected = if works { (200, None) } else { (503, Some("ticket_unavailable")) };
        assert_eq!((answer.status.as_u16(), answer.error()), expected, "{changes:?}");
    }
}

#[tokio::test]
async fn a_proxy_needs_no_pinned_key_and_sees_no_certificate_of_ours() {
    let online = Online::start(None, server(&CHAIN, false)).await;
    let dir = tempfile::tempdir().unwrap();
    let both = ["outbound/root.pem", "tls/ca.pem"]
        .map(|name| std::fs::read_to_string(format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap());
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, both.concat()).unwrap();
    let tls = crate::tls::acceptor(&[], rustls::DEFAULT_VERSIONS);
    let forwarder = Forwarder::behind(Some(tls), online.front.address, Script::Tunnel(OK.to_owned())).await;
    let setup = online.setup().set("superoffice.ca_file", roots.to_str().unwrap()).set("upstream.pins", SERVER);
    let bench = setup.set("upstream.proxy", &format!("https://localhost:{}", forwarder.peer.address.port())).start().await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200);
    assert!(!forwarder.heads().is_empty());
}

#[tokio::test]
async fn who_asks_for_a_certificate_is_shown_the_configured_one() {
    let online = Online::start(None, server(&CHAIN, true)).await;
    let bench = online.setup().start().await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.error(), Some("ticket_unavailable"), "it is asked for");
    let changes = [("upstream.client_certificate", &*vector("client.pem")), ("upstream.client_key__file", &*vector("client.key"))];
    bench.live.apply(bench.config_with(&changes)).unwrap();
    bench.generation(1).await;
    let answer = bench.get("/api/v1/User/currentPrincipal").await;
    assert_eq!(answer.status, 200, "login service and web API have seen it: {answer:?}");
}

#[tokio::test]
async fn a_certificate_is_shown_as_it_is_and_its_key_is_not_logged() {
    let logs = Logs::capture();
    let settings = [("upstream.client_certificate", &*vector("client.pem")), ("upstream.client_key__file", &*vector("client.key"))];
    let (bench, stage, _) = staged(&settings).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let stream = server(&CHAIN, true).accept(stage.accept().await).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap().to_vec();
    let pem = std::fs::read(vector("client.pem")).unwrap();
    let own: Vec<_> = rustls::pki_types::pem::PemObject::pem_slice_iter(&pem).map(Result::unwrap).collect();
    assert_eq!(shown, own);
    let mut up = Wire::over(stream);
    assert_eq!(up.message().await.unwrap().one("so-apptoken"), Some(demo::CLIENT_SECRET));
    up.say(wire::OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
    let key = std::fs::read_to_string(vector("client.key")).unwrap();
    assert!(key.lines().skip(1).take(1).all(|line| !logs.text().contains(line)));
}
