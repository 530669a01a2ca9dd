//! Time limits, each one hit by a short setting, and what is slow but moves not hit by it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use crate::bench::{Bench, Setup, TENANT};
use crate::binary::Home;
use crate::peer::{Deaf, Stage};
use crate::wire::{End, Message, OK, Wire, begin, recorder, request};

/// A limit that is hit in a moment, and a pause well within it.
const LIMIT: &str = "400ms";
const PAUSE: Duration = Duration::from_millis(80);

async fn staged(settings: &[(&str, &str)]) -> (Bench, Stage) {
    let stage = Stage::new().await;
    let mut setup = Setup::new().api_at(stage.address);
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    (setup.start().await, stage)
}

/// What a test waited for must have come long before the defaults of the other limits.
fn assert_soon(started: Instant) {
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&started.elapsed()), "{:?}", started.elapsed());
}

/// A body without its last chunk.
fn assert_broken_off(wire_rest: &str) {
    assert!(!wire_rest.contains("0\r\n\r\n"), "{wire_rest:?}");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_when_idle() {
    let (bench, stage) = staged(&[("listen.idle_timeout", LIMIT), ("listen.header_read_timeout", "30s")]).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    // An answer that takes long is no idleness, and each request begins a new time.
    sleep(PAUSE * 7).await;
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
    for _ in 0..5 {
        sleep(PAUSE).await;
        wire.say(request("GET", "/v1/x", "")).await;
        up.message().await.unwrap();
        up.say(OK).await;
        assert_eq!(wire.answer().await.status(), 200);
    }
    let started = Instant::now();
    assert_eq!((wire.rest().await, wire.end().await), (String::new(), End::Closed), "without a word");
    assert_soon(started);
}

#[tokio::test]
async fn the_time_for_a_head_is_not_the_time_between_requests() {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.header_read_timeout", LIMIT).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    assert_eq!(wire.get("/v1/x", "").await.status(), 200);
    sleep(PAUSE * 7).await;
    assert_eq!(wire.get("/v1/x", "").await.status(), 200);
    // A head that has begun is not waited for, on an old connection either.
    wire.say("GET /Cust12345/api").await;
    let started = Instant::now();
    let rest = wire.rest().await;
    assert!(!rest.contains(" 200 "), "{rest}");
    assert_soon(started);
}

#[tokio::test]
async fn a_request_body_that_stands_still_is_a_408() {
    for framing in ["Content-Length: 100\r\n\r\npartial", "Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n"] {
        let (bench, stage) = staged(&[("listen.body_timeout", LIMIT)]).await;
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(begin("POST", "/v1/x", framing)).await;
        let mut up = stage.next().await;
        up.until("partial").await;
        let started = Instant::now();
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.error()), (408, Some("body_timeout")));
        assert_soon(started);
        assert_broken_off(&up.rest().await);
        wire.end().await;
    }
}

#[tokio::test]
async fn a_request_body_that_stands_still_behind_its_answers_beginning_breaks_that_off() {
    let (bench, stage) = staged(&[("listen.body_timeout", LIMIT)]).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/v1/x", "Content-Length: 100\r\n\r\npartial")).await;
    let mut up = stage.next().await;
    up.until("partial").await;
    up.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n").await;
    wire.until("early").await;
    let started = Instant::now();
    up.end().await;
    assert_broken_off(&wire.rest().await);
    assert_soon(started);
}

#[tokio::test]
async fn a_request_body_that_is_slow_but_moves_is_no_408() {
    let (bench, stage) =
        staged(&[("listen.body_timeout", LIMIT), ("listen.header_read_timeout", LIMIT), ("listen.idle_timeout", LIMIT)]).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/v1/x", "Content-Length: 8\r\n\r\n")).await;
    for _ in 0..8 {
        sleep(PAUSE).await;
        wire.say("x").await;
    }
    let (mut up, request) = stage.request().await;
    assert_eq!(request.text(), "xxxxxxxx");
    // Now it is upstream's turn, and it is no business of this limit's.
    sleep(PAUSE * 7).await;
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
}

/// A caller whose kernel takes little, so that it is seen early when nobody reads.
async fn tight(bench: &Bench) -> Wire {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(256 << 10).unwrap();
    let mut wire = Wire::of(socket.connect(bench.proxy).await.unwrap());
    wire.say(request("GET", "/v1/x", "")).await;
    wire
}

const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";

#[tokio::test]
async fn a_caller_that_takes_nothing_of_its_answer_is_dropped_and_a_slow_one_is_not() {
    let (bench, stage) = staged(&[("listen.body_timeout", LIMIT)]).await;
    let mut flows = Vec::new();
    let mut wires = Vec::new();
    for _ in 0..2 {
        wires.push(tight(&bench).await);
        let (mut up, _) = stage.request().await;
        flows.push(tokio::spawn(async move {
            up.say(ENDLESS).await;
            while up.stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
        }));
    }
    let mut slow = wires.pop().unwrap();
    let stuck = flows.remove(0);
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..10 {
        sleep(PAUSE).await;
        // As much as its kernel holds: reading a little opens no window.
        for _ in 0..8 {
            assert_ne!(slow.stream.read(&mut buffer).await.unwrap(), 0, "it takes what comes");
        }
    }
    assert!(!flows[0].is_finished());
    timeout(Duration::from_secs(5), stuck).await.expect("upstream's part ends with the caller's").unwrap();
    wires[0].end().await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_connected_to_in_time_is_a_502() {
    let deaf = Deaf::at("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let bench = Setup::new().api_at(deaf.address).set("upstream.connect_timeout", LIMIT).start().await;
    bench.generation(1).await;
    let started = Instant::now();
    let answer = Wire::to(bench.proxy).await.get("/v1/x", "").await;
    assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")));
    assert_soon(started);
}

#[tokio::test]
async fn an_upstream_whose_tls_does_not_come_in_time_is_a_502() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_over_tls_at(stage.address).set("upstream.tls_timeout", LIMIT).start().await;
    bench.generation(1).await;
    let started = Instant::now();
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let mut up = stage.accept().await;
    assert!(up.read(&mut [0; 16]).await.unwrap() > 0, "the client's hello");
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")));
    assert_soon(started);
}

#[tokio::test]
async fn an_answer_that_stands_still_is_broken_off_and_a_slow_one_is_not() {
    let (bench, stage) = staged(&[("upstream.body_timeout", LIMIT), ("upstream.response_timeout", "2m")]).await;
    for framing in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(request("GET", "/v1/x", "")).await;
        let (mut up, _) = stage.request().await;
        if framing.contains("chunked") {
            // Until the answer begins, another limit counts.
            sleep(PAUSE * 7).await;
        }
        up.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
        for _ in 0..6 {
            sleep(PAUSE).await;
            up.say(if framing.contains("chunked") { "1\r\nx\r\n" } else { "x" }).await;
        }
        let mut seen = String::new();
        for _ in 0..6 {
            seen += &wire.until("x").await;
        }
        assert!(seen.contains(" 200 "));
        let started = Instant::now();
        up.end().await;
        assert_broken_off(&wire.rest().await);
        assert_soon(started);
    }
}

#[tokio::test]
async fn a_caller_that_is_slow_is_no_fault_of_upstreams() {
    const SIZE: usize = 24 << 20;
    let (bench, stage) = staged(&[("upstream.body_timeout", LIMIT)]).await;
    let mut wire = tight(&bench).await;
    let (mut up, _) = stage.request().await;
    let sending = tokio::spawn(async move {
        up.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
        up.say(vec![b'x'; SIZE]).await;
        up
    });
    sleep(PAUSE * 8).await;
    assert!(!sending.is_finished(), "the rest waits for the caller");
    let answer = wire.answer().await;
    assert_eq!((answer.complete, answer.body.len()), (true, SIZE));
    sending.await.unwrap();
}

#[tokio::test]
async fn the_whole_of_a_request_may_have_a_limit() {
    let (bench, stage) = staged(&[("upstream.total_timeout", LIMIT)]).await;
    // Before the head.
    let mut wire = Wire::to(bench.proxy).await;
    let started = Instant::now();
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.error()), (504, Some("upstream_timeout")));
    assert_soon(started);
    up.end().await;
    // While the request's body comes.
    wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/v1/x", "Transfer-Encoding: chunked\r\n\r\n")).await;
    let mut up = stage.next().await;
    while timeout(PAUSE, up.end()).await.is_err() {
        _ = wire.stream.write_all(b"1\r\nx\r\n").await;
    }
    assert_eq!(wire.message().await.as_ref().and_then(Message::error), Some("upstream_timeout"));
    // While the answer's body comes, however it moves.
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    let started = Instant::now();
    up.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    while timeout(PAUSE / 2, up.end()).await.is_err() {
        _ = up.stream.write_all(b"1\r\nx\r\n").await;
    }
    assert_broken_off(&wire.rest().await);
    assert_soon(started);
    // What is done in time is done, and each request has its own.
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
    sleep(PAUSE * 5).await;
    wire.say(request("GET", "/v1/x", "")).await;
    assert!(up.message().await.is_some());
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
}

#[tokio::test]
async fn the_access_log_tells_what_broke_an_answer_off() {
    let stage = Stage::new().await;
    let home =
        Home::new().await.api_at(stage.address).variable("SOPROXY_LOG__FORMAT", "json").variable("SOPROXY_UPSTREAM__BODY_TIMEOUT", LIMIT);
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut wire = Wire::to(proxy).await;
    wire.say(format!("GET /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: still-1\r\n\r\n")).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
    wire.end().await;
    program.logged("\"still-1\"", 1).await;
    let log = program.stderr();
    let record: Value = serde_json::from_str(log.lines().find(|line| line.contains("\"still-1\"")).unwrap()).unwrap();
    assert_eq!((&record["status"], &record["broken_off"], &record["bytes"]), (&200.into(), &true.into(), &7.into()), "{record}");
    assert!(record["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{record}");
}
