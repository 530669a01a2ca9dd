//! Proxies on the way out: what they are told, what they answer, and what goes without them.

mod forwarder;
mod socks;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use soproxy::sandbox::{Options, Sandbox};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::forwarder::{Forwarder, OK, Script};
use crate::bench::{Bench, Setup};
use crate::binary::Home;
use crate::logs::{Logs, Records};
use crate::peer::{Peer, Stage};
use crate::tls;
use crate::wire::{Wire, assert_no_secret, request};

/// A name that nobody can look up: what reaches it went through a proxy.
const HOST: &str = "sod2.superoffice.test";
const BASIC: &str = "Basic YWxpY2U6aHVzaCBodXNo";

pub fn vector(name: &str) -> String {
    format!("{}/tests/vectors/outbound/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A server that shows these certificates, and asks for one of the root if it is to.
pub fn server(chain: &[&str], asks: bool) -> TlsAcceptor {
    let chain = chain.iter().map(|name| CertificateDer::from_pem_file(vector(name)).unwrap()).collect();
    let key = PrivateKeyDer::from_pem_file(vector("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = match asks {
        false => config.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(vector("root.pem")).unwrap()).unwrap();
            config.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap())
        }
    };
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
}

const CHAIN: [&str; 2] = ["server.pem", "intermediate.pem"];

/// SuperOffice behind TLS: the sandbox's login service, states, keys and web API at one origin.
pub struct Online {
    pub front: Peer,
    origin: String,
    _stop: DropGuard,
}

impl Online {
    /// At `https://{host}`, or, without one, at `https://localhost` and the front's port.
    pub async fn start(host: Option<&str>, acceptor: TlsAcceptor) -> Online {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let front = tls::front(address, acceptor).await;
        let origin = host.map_or_else(|| format!("https://localhost:{}", front.address.port()), |host| format!("https://{host}"));
        let stop = CancellationToken::new();
        let options = Options { public_url: Some(origin.clone()), ..Options::default() };
        tokio::spawn(Sandbox::new(options, address).serve(listener, stop.clone()));
        Online { front, origin, _stop: stop.drop_guard() }
    }

    pub fn setup(&self) -> Setup {
        let mut setup = Setup::new().set("superoffice.ca_file", &vector("root.pem")).set("listen.workers", "1");
        setup.login_url = Some(self.origin.clone());
        setup
    }
}

/// The way to the sandbox is plain, the one to the web API is TLS through the proxy, to a stage.
async fn api_through(script: Script, settings: &[(&str, &str)]) -> (Bench, Stage, Forwarder, Records) {
    let stage = Stage::new().await;
    let forwarder = Forwarder::start(stage.address, script).await;
    let mut setup = Setup::new().api_over_tls_at(stage.address).set("listen.workers", "1");
    setup = setup.set("upstream.proxy", &through(forwarder.peer.address));
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    let records = Records::of(&mut setup);
    let bench = setup.start().await;
    bench.generation(1).await;
    (bench, stage, forwarder, records)
}

fn through(proxy: SocketAddr) -> String {
    format!("http://{proxy}")
}

#[tokio::test]
async fn all_goes_through_the_proxy_and_it_learns_no_secret() {
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    let forwarder = Forwarder::start(online.front.address, Script::Tunnel(OK.to_owned())).await;
    let bench = online.setup().set("upstream.proxy", &through(forwarder.peer.address)).start().await;
    for _ in 0..5 {
        let answer = bench.get("/api/v1/User/currentPrincipal").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let heads = forwarder.heads();
    for head in &heads {
        assert_eq!(*head, format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n"));
    }
    assert_eq!(heads.len(), online.front.connections(), "nobody came by another way");
    // Login service, state and keys are called by a runtime of their own, the web API by one worker.
    assert!(heads.len() <= 5, "connections are kept: {heads:?}");
    assert!(!forwarder.carried().is_empty());
    assert_no_secret(&forwarder.carried());
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used() {
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    let forwarder = Forwarder::start(online.front.address, Script::Wants(BASIC)).await;
    let mut setup = online.setup();
    setup.settings.push(("https_proxy".to_owned(), format!("http://alice:hush%20hush@{}", forwarder.peer.address)));
    let bench = setup.start().await;
    let answer = bench.get("/api/v1/User/currentPrincipal").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(forwarder.heads().len(), online.front.connections());
}

#[tokio::test]
async fn this_machine_and_exempt_hosts_are_reached_directly() {
    let online = Online::start(None, server(&CHAIN, false)).await;
    let forwarder = Forwarder::start(online.front.address, Script::Tunnel(OK.to_owned())).await;
    let proxy = through(forwarder.peer.address);
    let port = online.front.address.port();
    let mut of_environment = online.setup();
    of_environment.settings.push(("HTTPS_PROXY".to_owned(), proxy.clone()));
    let exempt = online.setup().set("upstream.proxy", &proxy).set("upstream.no_proxy", &format!("localhost:{port}"));
    let elsewhere = online.setup().set("upstream.proxy", "http://proxy.invalid:1");
    for setup in [of_environment, exempt, elsewhere] {
        let bench = setup.start().await;
        assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200);
    }
    assert_eq!(forwarder.peer.connections(), 0);
    let bench = online.setup().set("upstream.proxy", &proxy).start().await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200);
    assert!(forwarder.peer.connections() > 0, "what runs on this machine itself knows the same localhost");
}

#[tokio::test]
async fn credentials_are_sent_to_the_proxy_and_nowhere_else() {
    let login = [("upstream.proxy_user", "alice"), ("upstream.proxy_password", "hush hush")];
    let logs = Logs::capture();
    let (bench, stage, forwarder, _) = api_through(Script::Wants(BASIC), &login).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let acceptor = tls::acceptor(&["http/1.1"], rustls::DEFAULT_VERSIONS);
    let mut up = Wire::over(acceptor.accept(stage.accept().await).await.unwrap());
    let sent = up.message().await.unwrap();
    assert!(
        sent.one("authorization").is_some_and(|ticket| ticket.starts_with("SOTicket 7T:")) && sent.one("proxy-authorization").is_none()
    );
    up.say(crate::wire::OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
    let authority = format!("localhost:{}", stage.address.port());
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {BASIC}\r\n\r\n");
    assert_eq!(forwarder.heads(), [head]);
    let text = logs.text();
    assert!(!text.contains("hush") && !text.contains("YWxpY2U6"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_gives_no_tunnel_is_a_502_that_the_log_explains() {
    let says = |answer: &str| Script::Says(answer.to_owned());
    let wrong = [("upstream.proxy_user", "alice"), ("upstream.proxy_password", "hush no")];
    #[allow(clippy::type_complexity)]
    let cases: Vec<(Script, &[(&str, &str)], &str)> = vec![
        (Script::Wants(BASIC), &[], "the proxy wants credentials (407)"),
        (Script::Wants(BASIC), &wrong, "the proxy does not accept these credentials (407)"),
        (says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nnever"), &[], "answered CONNECT with 502 Bad Gateway"),
        (says("HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\n\r\n"), &[], "answered CONNECT with 302 Found"),
        (says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), &[], "answered CONNECT with 101"),
        (says("HTTP/1.1 204 No Content\r\n\r\n"), &[], "answered CONNECT with 204 No Content"),
        (says("SSH-2.0-OpenSSH_9.2\r\n\r\n"), &[], "no usable answer to CONNECT"),
        (says("HTTP/1.1 2000 OK\r\n\r\n"), &[], "no usable answer to CONNECT"),
        (says("HTTP/1.1 200 OK\r\nX y: z\r\n\r\n"), &[], "no usable answer to CONNECT"),
        (says("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), &[], "sent 19 bytes of its own"),
        (Script::Endless("X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"), &[], "no usable answer to CONNECT"),
        (Script::Endless("x"), &[], "no usable answer to CONNECT"),
        (Script::Hangs, &[], "no usable answer to CONNECT"),
        (says(""), &[("upstream.connect_timeout", "300ms")], "no tunnel within 300ms"),
        (says("HTTP/1.1 100 Continue\r\n\r\n"), &[("upstream.connect_timeout", "300ms")], "no tunnel within 300ms"),
    ];
    for (script, settings, expected) in cases {
        let logs = Logs::capture();
        let (bench, stage, forwarder, records) = api_through(script, settings).await;
        let answer = bench.get("/api/v1/x").await;
        assert_eq!((answer.status.as_u16(), answer.error()), (502, Some("upstream_unreachable")), "{expected}");
        let record = records.with(expected).await;
        assert!(record.contains(expected), "{expected:?} is not in {record}");
        assert!(record.contains(&forwarder.peer.address.to_string()), "{record}");
        assert!(!(record + &logs.text()).contains("hush"), "{expected}");
        assert!(!answer.text().contains(&forwarder.peer.address.to_string()), "callers do not learn of it: {answer:?}");
        assert!(stage.is_quiet().await, "{expected}");
        assert_no_secret(&forwarder.heads().concat());
    }
}

#[tokio::test]
async fn a_tunnel_may_be_announced_in_any_way_that_is_right() {
    let answers = [
        Script::Bytewise(OK.to_owned()),
        Script::Tunnel("HTTP/1.0 200 OK\r\nProxy-agent: x\r\n\r\n".to_owned()),
        Script::Tunnel("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned()),
        Script::Tunnel("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
        Script::Tunnel("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned()),
    ];
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    for script in answers {
        let forwarder = Forwarder::start(online.front.address, script).await;
        let bench = online.setup().set("upstream.proxy", &through(forwarder.peer.address)).start().await;
        assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200, "{:?}", forwarder.heads());
    }
}

#[tokio::test]
async fn a_proxy_may_be_spoken_to_by_tls() {
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    let tls = Some(server(&CHAIN, false));
    let forwarder = Forwarder::behind(tls, online.front.address, Script::Wants(BASIC)).await;
    let proxy = format!("https://alice:hush%20hush@localhost:{}", forwarder.peer.address.port());
    let bench = online.setup().set("upstream.proxy", &proxy).start().await;
    let body: Vec<u8> = (0..300_000u32).map(|at| (at * 31 % 251) as u8).collect();
    for _ in 0..3 {
        let answer = bench.call(Method::PUT, "/api/v1/_sandbox/echo", body.clone()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["BodyLength"], body.len(), "{}", answer.text());
    }
    assert!(forwarder.carried().len() > body.len() / 2);
    assert_no_secret(&forwarder.carried());
}

#[tokio::test]
async fn a_proxy_whose_certificate_is_not_trusted_is_told_nothing() {
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    let unknown = tls::acceptor(&[], rustls::DEFAULT_VERSIONS);
    let forwarder = Forwarder::behind(Some(unknown), online.front.address, Script::Tunnel(OK.to_owned())).await;
    let proxy = format!("https://alice:hush@localhost:{}", forwarder.peer.address.port());
    let logs = Logs::capture();
    let bench = online.setup().set("upstream.proxy", &proxy).start().await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.error(), Some("ticket_unavailable"));
    assert_eq!((forwarder.heads().len(), online.front.connections()), (0, 0));
    assert!(logs.text().contains(&format!("proxy https://alice:***@localhost:{}: TLS: ", forwarder.peer.address.port())));
}

#[tokio::test]
async fn an_upgrade_goes_through_the_proxy() {
    let (bench, stage, forwarder, _) = api_through(Script::Tunnel(OK.to_owned()), &[]).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/hub", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).await;
    let acceptor = tls::acceptor(&["http/1.1"], rustls::DEFAULT_VERSIONS);
    let mut up = Wire::over(acceptor.accept(stage.accept().await).await.unwrap());
    up.message().await.unwrap();
    up.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly").await;
    assert!(wire.until("early").await.starts_with("HTTP/1.1 101 "));
    wire.say("and back").await;
    assert_eq!(up.until("and back").await, "and back");
    assert_eq!(forwarder.heads().len(), 1);
}

#[tokio::test]
async fn a_reload_changes_the_proxy() {
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    let first = Forwarder::start(online.front.address, Script::Tunnel(OK.to_owned())).await;
    let second = Forwarder::start(online.front.address, Script::Wants(BASIC)).await;
    let bench = online.setup().set("upstream.proxy", &through(first.peer.address)).start().await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200);
    let before = first.peer.connections();
    let changes =
        [("upstream.proxy", &*through(second.peer.address)), ("upstream.proxy_user", "alice"), ("upstream.proxy_password", "hush hush")];
    bench.live.apply(bench.config_with(&changes)).unwrap();
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200);
    assert!(second.peer.connections() > 0);
    assert_eq!(first.peer.connections(), before);
}

#[tokio::test]
async fn check_tells_which_proxy_there_is() {
    let home = Home::new().await;
    let none = home.run_with(&["check"], &[("HTTP_PROXY", "http://p:1")]).await;
    assert!(none.code == 0 && !none.stdout.contains("out through"), "{none:?}");
    let variables = [("HTTPS_PROXY", "http://alice:hush@proxy.invalid:3128"), ("NO_PROXY", "a.example")];
    let told = home.run_with(&["check", "--online"], &variables).await;
    assert_eq!(told.code, 0, "the sandbox is on this machine: {told:?}");
    let line = "out through http://alice:***@proxy.invalid:3128, but not to a.example (as HTTPS_PROXY says)\n";
    assert!(told.stdout.contains(line) && !told.stderr.contains("proxy.invalid"), "{told:?}");
    assert!(!(told.stdout + &told.stderr).contains("hush"));
}
