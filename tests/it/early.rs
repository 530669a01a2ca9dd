//! Answers that come before the request has ended: they arrive whole, and that upstream connection is not used again.

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::{Stage, settled};
use crate::wire::{OK, Wire, begin, request};

/// More than `upstream.replay_limit`, and more than sockets hold.
const SIZE: usize = 8 << 20;

fn framing(chunked: bool) -> String {
    if chunked { "Transfer-Encoding: chunked\r\n\r\n".to_owned() } else { format!("Content-Length: {SIZE}\r\n\r\n") }
}

/// Sends a body as a client does that looks for no answer before it is through. False when it cannot be sent.
async fn upload(wire: &mut Wire, chunked: bool, size: usize) -> bool {
    use tokio::io::AsyncWriteExt;
    let piece = [b'x'; 1 << 16];
    for _ in 0..size / piece.len() {
        let (head, tail) = if chunked { ("10000\r\n", "\r\n") } else { ("", "") };
        for bytes in [head.as_bytes(), &piece, tail.as_bytes()] {
            if wire.stream.write_all(bytes).await.is_err() {
                return false;
            }
        }
        // For the sockets' buffers alone would take it all, without anybody having a say.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    true
}

#[tokio::test]
async fn an_early_answer_arrives_whole_although_the_caller_goes_on_for_a_while() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.workers", "1").start().await;
    let long = "y".repeat(100_000);
    for (status, closes) in
        [("413 Content Too Large", true), ("413 Content Too Large", false), ("401 Unauthorized", false), ("200 OK", false)]
    {
        for chunked in [false, true] {
            let mut wire = Wire::to(bench.proxy).await;
            wire.say(begin("POST", "/v1/x", &framing(chunked))).await;
            assert!(upload(&mut wire, chunked, 1 << 18).await);
            let mut up = stage.next().await;
            up.until("xxx").await;
            let connection = if closes { "Connection: close\r\n" } else { "" };
            up.say(format!("HTTP/1.1 {status}\r\n{connection}Content-Length: {}\r\n\r\n{long}", long.len())).await;
            if closes {
                up.finish().await;
            }
            // Upstream reads no more. The caller does not look before a megabyte later.
            let what = format!("{status}, closes: {closes}, chunked: {chunked}");
            assert!(upload(&mut wire, chunked, 1 << 20).await, "{what}");
            let answer = wire.answer().await;
            assert_eq!((answer.status().to_string().as_str(), answer.error()), (&status[..3], None), "{what}");
            assert!(answer.complete && answer.text() == long, "{what}");
            drop(wire);
            // Half a request stands on that connection.
            let mut next = Wire::to(bench.proxy).await;
            next.say(request("GET", "/v1/y", "")).await;
            let (mut second, _) = stage.request().await;
            second.say(OK).await;
            assert_eq!(next.answer().await.status(), 200, "{what}");
            drop(second);
            settled().await;
        }
    }
}

#[tokio::test]
async fn an_early_answer_of_an_upstream_that_resets_arrives_too() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/v1/x", &framing(false))).await;
    assert!(upload(&mut wire, false, 1 << 18).await);
    let mut up = stage.next().await;
    up.until("xxx").await;
    up.say("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much").await;
    // With unread bytes a socket that is closed is reset.
    drop(up);
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.text().as_str(), answer.error()), (413, "too much", None));
}

#[tokio::test]
async fn the_body_may_go_on_after_an_answer_has_begun() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/v1/x", "Content-Length: 11\r\n\r\nfirst ")).await;
    let mut up = stage.next().await;
    up.until("first ").await;
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nearly").await;
    assert!(wire.until("early").await.ends_with("early"));
    wire.say("rest!").await;
    assert_eq!(up.until("rest!").await, "rest!");
    up.say("end").await;
    assert_eq!(wire.until("end").await, "end");
    // Then both messages are whole, and both connections are as good as before.
    wire.say(request("GET", "/v1/y", "")).await;
    assert!(up.message().await.is_some());
    up.say(OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
}

#[tokio::test]
async fn answers_of_the_proxys_own_arrive_although_the_caller_goes_on() {
    let bench = Setup::new().set("listen.max_body", "64KiB").start().await;
    for chunked in [false, true] {
        for (path, code) in
            [(format!("/{TENANT}/api/v1/_sandbox/echo"), "body_too_large"), ("/nobody/api/v1/x".to_owned(), "unknown_tenant")]
        {
            let mut wire = Wire::to(bench.proxy).await;
            wire.say(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{}", framing(chunked))).await;
            assert!(upload(&mut wire, chunked, 1 << 20).await, "{code}, chunked: {chunked}");
            assert_eq!(wire.answer().await.error(), Some(code), "chunked: {chunked}");
        }
    }
}

#[tokio::test]
async fn what_follows_a_body_that_was_not_read_is_no_request() {
    let bench = Bench::start().await;
    let inner = request("GET", "/v1/_sandbox/echo", "");
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(format!("POST /nobody/api/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}", inner.len())).await;
    assert_eq!(wire.answer().await.error(), Some("unknown_tenant"));
    // The body looks like a request, and was none.
    wire.say(request("GET", "/v1/_sandbox/echo?mine", "Connection: close\r\n")).await;
    let rest = wire.rest().await;
    assert!(rest.is_empty() || rest.matches("HTTP/1.1 200").count() == 1 && rest.contains("mine"), "{rest}");
}
