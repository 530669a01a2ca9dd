//! HTTP over TLS: what works over TCP works here, and what is no TLS is told so.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CALLER, Caller, TLS12, TLS13, speaking};
use crate::bench::{Bench, Setup, TENANT};
use crate::peer::{Stage, settled};
use crate::wire::{End, Wire, begin, request};

#[tokio::test]
async fn http_1_1_works_with_each_version_of_tls_and_rests_between_requests() {
    let bench = speaking(Setup::new(), "").start().await;
    for versions in [TLS12, TLS13] {
        for protocols in [&[][..], &["http/1.1"]] {
            let mut wire = Caller { versions, protocols, ..CALLER }.wire(bench.doors[0]).await;
            for _ in 0..2 {
                assert_eq!(wire.get("/v1/_sandbox/echo", "").await.json()["Target"], format!("/{TENANT}/api/v1/_sandbox/echo"));
                // Longer than a connection keeps its buffers.
                tokio::time::sleep(Duration::from_millis(120)).await;
            }
            wire.say(request("GET", "/v1/_sandbox/echo", "Connection: close\r\n")).await;
            assert_eq!(wire.answer().await.status(), 200);
            assert_eq!(wire.end().await, End::Closed, "with a farewell");
        }
    }
}

#[tokio::test]
async fn http_2_is_agreed_on() {
    let bench = speaking(Setup::new(), "").start().await;
    let stream = Caller { protocols: &["h2", "http/1.1"], ..CALLER }.shake(bench.doors[0]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let uri = format!("https://localhost/{TENANT}/api/v1/_sandbox/echo");
        let answer = sender.send_request(Request::get(uri).body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
        answer.into_body().collect().await.unwrap();
    }
    bench.stop.drain.cancel();
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn links_begin_with_https() {
    let bench = speaking(Setup::new(), "").start().await;
    let host = format!("localhost:{}", bench.doors[0].port());
    let mut wire = CALLER.wire(bench.doors[0]).await;
    wire.say(begin("GET", "/v1/Contact/1", "").replace("Host: localhost", &format!("Host: {host}")) + "\r\n").await;
    let text = wire.answer().await.text();
    assert!(text.contains(&format!("\"https://{host}/{TENANT}/api/v1/")), "{text}");
    assert!(!text.contains(&format!("http://{host}")), "{text}");
}

#[tokio::test]
async fn a_body_larger_than_any_buffer_passes_both_ways() {
    let stage = Stage::new().await;
    let bench = speaking(Setup::new().api_at(stage.address), "").start().await;
    let (mut reader, mut writer) = tokio::io::split(CALLER.shake(bench.doors[0]).await.unwrap());
    let many = "x".repeat(3 << 20);
    let sending = async {
        let head = begin("POST", "/v1/x", &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", many.len()));
        writer.write_all(head.as_bytes()).await.unwrap();
        writer.write_all(many.as_bytes()).await.unwrap();
        writer.flush().await.unwrap();
    };
    let answering = async {
        let (mut up, request) = stage.request().await;
        assert!(request.complete && request.text() == many);
        up.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{many}", many.len())).await;
    };
    let reading = async {
        let mut answer = String::new();
        reader.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with(&many));
    };
    tokio::join!(sending, answering, reading);
}

#[tokio::test]
async fn a_caller_that_has_nothing_more_to_say_gets_its_answer() {
    let stage = Stage::new().await;
    let bench = speaking(Setup::new().api_at(stage.address), "").start().await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    wire.say(begin("POST", "/v1/x", "Content-Length: 4\r\n\r\nbody")).await;
    wire.finish().await;
    let (mut up, request) = stage.request().await;
    assert_eq!(request.text(), "body");
    assert!(wire.is_quiet().await);
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    assert!(wire.rest().await.ends_with("hello"));
    assert_eq!(wire.end().await, End::Closed);
}

#[tokio::test]
async fn a_caller_that_resets_frees_its_request() {
    let stage = Stage::new().await;
    let bench = speaking(Setup::new().api_at(stage.address), "").start().await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    wire.stream.get_ref().0.set_zero_linger().unwrap();
    drop(wire);
    // The connection to SuperOffice is the request's.
    up.end().await;
}

#[tokio::test]
async fn an_early_answer_arrives_whole_although_the_caller_goes_on() {
    let stage = Stage::new().await;
    let bench = speaking(Setup::new().api_at(stage.address).set("listen.workers", "1"), "").start().await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    wire.say(begin("POST", "/v1/x", "Content-Length: 8388608\r\n\r\n")).await;
    wire.say([b'x'; 1 << 16]).await;
    let mut up = stage.next().await;
    up.until("xxx").await;
    let long = "y".repeat(100_000);
    up.say(format!("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{long}", long.len())).await;
    up.finish().await;
    settled().await;
    wire.say([b'x'; 1 << 16]).await;
    let answer = wire.answer().await;
    assert!(answer.status() == 413 && answer.complete && answer.text() == long);
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_either_end_may_stop_talking() {
    let stage = Stage::new().await;
    let bench = speaking(Setup::new().api_at(stage.address), "").start().await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    wire.say(request("GET", "/hub", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
    assert_eq!(wire.answer().await.status(), 101);
    for _ in 0..3 {
        wire.say("ping").await;
        assert_eq!(up.until("ping").await, "ping");
        up.say("pong").await;
        assert_eq!(wire.until("pong").await, "pong");
    }
    wire.finish().await;
    assert_eq!(up.end().await, End::Closed);
    up.say("last words").await;
    assert_eq!(wire.until("last words").await, "last words");
    drop(up);
    assert_eq!(wire.end().await, End::Closed, "with a farewell");
}

#[tokio::test]
async fn an_answer_without_length_that_is_cut_ends_without_farewell() {
    let stage = Stage::new().await;
    let bench = speaking(Setup::new().api_at(stage.address), "").start().await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    wire.say(format!("GET /{TENANT}/api/v1/x HTTP/1.0\r\nHost: localhost\r\n\r\n")).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    wire.until("first").await;
    up.reset();
    assert_eq!(wire.end().await, End::Reset);
}

#[tokio::test]
async fn plain_http_is_told_to_speak_tls() {
    let bench = speaking(Setup::new(), "").start().await;
    let mut wire = Wire::to(bench.doors[0]).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (400, "this port speaks TLS: use https:// here\n"));
    assert_eq!((answer.complete, wire.end().await), (true, End::Closed));
    let mut other = Wire::to(bench.doors[0]).await;
    other.say("\u{1}?").await;
    assert_eq!(other.rest().await, "", "what is neither gets nothing");
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let bench = speaking(Setup::new(), "").start().await;
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    // No session; one cipher suite and one signature (RSA, SHA-256) that TLS 1.2 would take; no compression.
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0, 0, 16, 0, 13, 0, 4, 0, 2, 4, 1, 0, 10, 0, 4, 0, 2, 0, 23]);
    let mut bytes = vec![0x16, 0x03, 0x01, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    bytes.extend(hello);
    let mut stream = TcpStream::connect(bench.doors[0]).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    // A fatal alert: protocol_version.
    assert_eq!((answer[0], &answer[5..]), (0x15, &[2, 70][..]), "{answer:x?}");
}

#[tokio::test]
async fn a_handshake_has_as_much_time_as_a_head_and_counts_as_a_connection() {
    let bench = speaking(Setup::new().set("listen.header_read_timeout", "300ms").set("listen.max_connections", "1"), "").start().await;
    let mut silent = Wire::to(bench.doors[0]).await;
    let refused = async || bench.get("/api/v1/_sandbox/echo").await.error() == Some("too_many_connections");
    bench.until("the silent one takes the only place", refused).await;
    assert_eq!((silent.rest().await, silent.end().await), (String::new(), End::Closed));
    bench.until("its place is free again", async || bench.get("/api/v1/_sandbox/echo").await.status == 200).await;
    // Nor does one that begins and stops.
    let mut slow = Wire::to(bench.doors[0]).await;
    slow.say([0x16, 3, 1, 2, 0]).await;
    slow.end().await;
}

#[tokio::test]
async fn a_head_that_begins_after_a_rest_has_no_more_time_than_others() {
    let bench = speaking(Setup::new().set("listen.header_read_timeout", "300ms"), "").start().await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    assert_eq!(wire.get("/v1/_sandbox/echo", "").await.status(), 200);
    // Longer than a connection keeps its buffers.
    tokio::time::sleep(Duration::from_millis(120)).await;
    wire.say("G").await;
    assert_eq!(wire.answer().await.status(), 408);
    assert_eq!(wire.end().await, End::Closed);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_over_tls() {
    let bench: Bench = speaking(Setup::new().set("listen.max_connections", "1"), "").start().await;
    let mut first = CALLER.wire(bench.doors[0]).await;
    assert_eq!(first.get("/v1/_sandbox/echo", "").await.status(), 200);
    let mut second = CALLER.wire(bench.doors[0]).await;
    assert_eq!(second.get("/v1/_sandbox/echo", "").await.error(), Some("too_many_connections"));
    assert_eq!(second.end().await, End::Closed);
}

#[tokio::test]
async fn an_idle_connection_ends_with_a_farewell_also_if_tls_talks_to_itself() {
    let bench = speaking(Setup::new().set("listen.idle_timeout", "400ms"), "").start().await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    assert_eq!(wire.get("/v1/_sandbox/echo", "").await.status(), 200);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // A record of TLS that is no byte of HTTP.
        wire.stream.get_mut().1.refresh_traffic_keys().unwrap();
        wire.stream.flush().await.unwrap();
    }
    assert_eq!(wire.end().await, End::Closed);
}

#[tokio::test]
async fn a_drain_ends_handshakes_and_finishes_requests() {
    let stage = Stage::new().await;
    let bench = speaking(Setup::new().api_at(stage.address), "").start().await;
    let mut silent = Wire::to(bench.doors[0]).await;
    let mut wire = CALLER.wire(bench.doors[0]).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    bench.stop.drain.cancel();
    assert_eq!(silent.rest().await, "");
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(wire.answer().await.text(), "ok");
    assert_eq!(wire.end().await, End::Closed);
}
