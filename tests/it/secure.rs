//! TLS towards upstream: sessions are resumed, and HTTP/2 is spoken when upstream offers it and nobody forbids it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use crate::bench::{Bench, Setup, TENANT};
use crate::h2::{self, Feed};
use crate::peer::{Peer, Stage, settled};
use crate::tls::acceptor;
use crate::wire::{OK, Wire, begin, request};

const BOTH: [&str; 2] = ["h2", "http/1.1"];

async fn secured(stage: &Stage, http2: &str) -> (Bench, Wire) {
    let setup = Setup::new().api_over_tls_at(stage.address).set("upstream.http2", http2).set("listen.workers", "1");
    let bench = setup.start().await;
    let wire = Wire::to(bench.proxy).await;
    (bench, wire)
}

/// The next connection, once its handshake is done.
async fn shaken(stage: &Stage, acceptor: &tokio_rustls::TlsAcceptor) -> (Wire<TlsStream<TcpStream>>, HandshakeKind, Option<Vec<u8>>) {
    let stream = acceptor.accept(stage.accept().await).await.unwrap();
    let session = stream.get_ref().1;
    let (kind, protocol) = (session.handshake_kind().unwrap(), session.alpn_protocol().map(<[u8]>::to_vec));
    (Wire::over(stream), kind, protocol)
}

#[tokio::test]
async fn the_second_connection_resumes_the_session_of_the_first() {
    for versions in [[&rustls::version::TLS13], [&rustls::version::TLS12]] {
        let stage = Stage::new().await;
        let acceptor = acceptor(&[], &versions);
        let (_bench, mut wire) = secured(&stage, "auto").await;
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            wire.say(request("GET", "/v1/x", "")).await;
            let (mut up, kind, _) = shaken(&stage, &acceptor).await;
            assert!(up.message().await.is_some());
            assert_eq!(kind, expected, "{versions:?}");
            up.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
            assert_eq!(wire.answer().await.text(), "ok");
            up.finish().await;
        }
    }
}

#[tokio::test]
async fn a_secured_connection_is_kept_and_left_when_upstream_has_closed_it() {
    let stage = Stage::new().await;
    let acceptor = acceptor(&["http/1.1"], rustls::DEFAULT_VERSIONS);
    let (_bench, mut wire) = secured(&stage, "auto").await;
    for _ in 0..5 {
        wire.say(begin("POST", "/v1/x", "Content-Length: 4\r\n\r\nbody")).await;
        let (mut up, ..) = shaken(&stage, &acceptor).await;
        for round in 0..3 {
            if round > 0 {
                wire.say(begin("POST", "/v1/x", "Content-Length: 4\r\n\r\nbody")).await;
            }
            assert_eq!(up.message().await.unwrap().text(), "body");
            up.say(OK).await;
            assert_eq!(wire.answer().await.text(), "ok");
        }
        // In good order: `close_notify`, then the end.
        up.finish().await;
        settled().await;
    }
}

#[tokio::test]
async fn an_answer_without_length_needs_the_goodbye_of_tls() {
    let stage = Stage::new().await;
    let acceptor = acceptor(&["http/1.1"], rustls::DEFAULT_VERSIONS);
    let (_bench, mut wire) = secured(&stage, "auto").await;
    for cut in [false, true] {
        wire.say(request("GET", "/v1/x", "")).await;
        let (mut up, ..) = shaken(&stage, &acceptor).await;
        up.message().await.unwrap();
        up.say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it").await;
        wire.until("all of it").await;
        if cut {
            // Anybody on the way can end a connection; only upstream can say goodbye.
            drop(up.stream.into_inner().0);
            assert!(!wire.rest().await.contains("0\r\n\r\n"), "the last chunk would say that the body is whole");
        } else {
            up.finish().await;
            assert!(wire.until("0\r\n\r\n").await.ends_with("0\r\n\r\n"));
        }
    }
}

#[tokio::test]
async fn http_2_is_not_spoken_when_it_is_forbidden_or_not_offered() {
    for (http2, offered) in [("never", &BOTH[..]), ("auto", &BOTH[1..]), ("auto", &[][..])] {
        let stage = Stage::new().await;
        let acceptor = acceptor(offered, rustls::DEFAULT_VERSIONS);
        let (_bench, mut wire) = secured(&stage, http2).await;
        wire.say(request("GET", "/v1/x", "")).await;
        let (mut up, _, protocol) = shaken(&stage, &acceptor).await;
        assert!(protocol.is_none_or(|protocol| protocol == b"http/1.1"), "{http2}");
        assert!(up.message().await.is_some_and(|request| request.first.ends_with(" HTTP/1.1")));
        up.say(OK).await;
        assert_eq!(wire.answer().await.text(), "ok");
    }
}

/// What an upstream of HTTP/2 was sent: heads and bodies.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>);

/// An upstream that speaks HTTP/2: echoes the body with trailers of its own, breaks off on `/cut` when told, never answers on
/// `/wait` and tells when nobody waits any more.
async fn second_version(event: Arc<Notify>) -> (Peer, Sent) {
    let (sent, acceptor) = (Sent::default(), acceptor(&BOTH, rustls::DEFAULT_VERSIONS));
    let shared = sent.clone();
    let peer = Peer::start(move |_, stream| {
        let (sent, acceptor, event) = (shared.clone(), acceptor.clone(), event.clone());
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let service = service_fn(move |request: Request<Incoming>| answer(request, sent.clone(), event.clone()));
            _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (peer, sent)
}

/// Tells when a request that waits is given up.
struct Waiting(Arc<Notify>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn answer(request: Request<Incoming>, sent: Sent, event: Arc<Notify>) -> Result<Response<Feed>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path.ends_with("/wait") {
        let _waiting = Waiting(event.clone());
        std::future::pending::<()>().await;
    }
    let bytes = body.collect().await.unwrap().to_bytes();
    sent.0.lock().unwrap().push((parts, bytes.clone()));
    let (feed, echo) = h2::feed();
    feed.send(Frame::data(bytes)).unwrap();
    if path.ends_with("/cut") {
        tokio::spawn(async move {
            event.notified().await;
            feed.send(h2::broken_off()).unwrap();
        });
    } else {
        feed.send(Frame::trailers(HeaderMap::from_iter([("x-check".parse().unwrap(), "abc".parse().unwrap())]))).unwrap();
    }
    let answer = Response::builder().header("x-odd", "1").header("x-odd", "2").header("trailer", "x-check");
    let answer = answer.header("set-cookie", "SOOnline=x").header("set-cookie", "a=1");
    Ok(answer.body(echo).unwrap())
}

async fn over_http_2(event: &Arc<Notify>) -> (Bench, Peer, Sent) {
    let (peer, sent) = second_version(event.clone()).await;
    let bench = Setup::new().api_over_tls_at(peer.address).set("upstream.http2", "auto").set("listen.workers", "1").start().await;
    (bench, peer, sent)
}

#[tokio::test]
async fn http_2_is_spoken_when_upstream_offers_it() {
    let (bench, peer, sent) = over_http_2(&Arc::default()).await;
    let mut wire = Wire::to(bench.proxy).await;
    let lines =
        "Cookie: a=1; SOOnline=x\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-FooBar: 1\r\nX-foobar: 2\r\nTE: trailers\r\n";
    wire.say(begin("MERGE", "/v1/x?y=1", lines) + "Content-Length: 4\r\n\r\nbody").await;
    let answer = wire.answer().await;
    assert!(answer.first.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert_eq!(
        (answer.text().as_str(), answer.complete, answer.all("x-odd"), answer.one("set-cookie")),
        ("body", true, vec!["1", "2"], Some("a=1"))
    );
    assert!(matches!(&answer.trailers[..], [(name, value)] if name.eq_ignore_ascii_case("x-check") && value == "abc"), "{answer:?}");
    let (parts, body) = sent.0.lock().unwrap().pop().unwrap();
    assert_eq!((parts.version, parts.method.as_str(), body.as_ref()), (Version::HTTP_2, "MERGE", &b"body"[..]));
    assert_eq!(parts.uri.to_string(), format!("https://localhost:{}/{TENANT}/api/v1/x?y=1", peer.address.port()));
    assert!(parts.headers["authorization"].to_str().unwrap().starts_with("SOTicket 7T:"));
    assert_eq!(parts.headers.get_all("x-foobar").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(parts.headers["cookie"], "a=1");
    for hop in ["connection", "keep-alive", "x-hop", "host", "transfer-encoding", "upgrade"] {
        assert!(!parts.headers.contains_key(hop), "{hop}");
    }
    assert_eq!(parts.headers["te"], "trailers");
}

#[tokio::test]
async fn many_requests_share_one_connection_of_http_2() {
    let (bench, peer, _) = over_http_2(&Arc::default()).await;
    let mut first = Wire::to(bench.proxy).await;
    assert_eq!(first.get("/v1/x", "").await.status(), 200);
    let mut callers = JoinSet::new();
    for number in 0..20usize {
        let proxy = bench.proxy;
        callers.spawn(async move {
            let body: Vec<u8> = (0..number * 9_000).map(|at| ((at + number) * 31 % 251) as u8).collect();
            let request =
                Request::post(format!("/{TENANT}/api/v1/x")).header("host", "localhost").body(Full::new(Bytes::from(body.clone())));
            let answer = crate::bench::collect(crate::bench::open(proxy, request.unwrap()).await).await;
            assert!(answer.status == 200 && answer.body == body, "{number}");
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn an_answer_of_http_2_that_breaks_off_is_broken_off_here_too() {
    let go_on = Arc::new(Notify::new());
    let (bench, _peer, _) = over_http_2(&go_on).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/cut", "Content-Length: 7\r\n\r\npartial")).await;
    assert!(wire.until("partial").await.starts_with("HTTP/1.1 200 "));
    go_on.notify_one();
    let rest = wire.rest().await;
    assert!(!rest.contains("0\r\n\r\n"), "{rest}");
    let mut next = Wire::to(bench.proxy).await;
    assert_eq!(next.get("/v1/x", "").await.status(), 200, "the other streams go on");
}

#[tokio::test]
async fn a_caller_that_is_gone_cancels_its_stream_upstream() {
    let gone = Arc::new(Notify::new());
    let (bench, peer, _) = over_http_2(&gone).await;
    assert_eq!(Wire::to(bench.proxy).await.get("/v1/x", "").await.status(), 200);
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/wait", "")).await;
    assert!(wire.is_quiet().await);
    wire.reset();
    tokio::time::timeout(Duration::from_secs(5), gone.notified()).await.expect("the stream is reset");
    assert_eq!(Wire::to(bench.proxy).await.get("/v1/x", "").await.status(), 200);
    assert_eq!(peer.connections(), 1, "and the connection is kept");
}
