//! Hostile input: what could be read in two ways, what floods, what is slow on purpose. Raw bytes, over real sockets, against the
//! real proxy, in front of an upstream that records what it gets.

mod floods;
mod slow;

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::{Peer, Stage};
use crate::wire::{End, Message, OK, Seen, Wire, begin, recorder, request};

async fn recorded() -> (Bench, Peer, Seen) {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    (bench, peer, seen)
}

/// What must not be carried, should it be found behind what is refused.
fn smuggled() -> String {
    request("GET", "/v1/smuggled", "")
}

/// Sends bytes, and whatever may be smuggled behind them. One answer comes, says why, and is the last: the connection ends in good
/// order, with everything that was sent taken.
async fn refused(bench: &Bench, bytes: impl AsRef<[u8]>) -> Message {
    let bytes = bytes.as_ref();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let mut wire = Wire::to(bench.proxy).await;
    wire.say([bytes, smuggled().as_bytes()].concat()).await;
    let answer = wire.message().await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert_eq!((wire.rest().await, wire.end().await), (String::new(), End::Closed), "{shown:?}: {answer:?}");
    assert!(answer.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")), "{shown:?}: {answer:?}");
    assert_eq!(answer.one("content-type"), Some("application/problem+json"), "{shown:?}: {answer:?}");
    answer
}

async fn assert_refused(bench: &Bench, bytes: impl AsRef<[u8]>, expected: (u16, &str)) {
    let answer = refused(bench, &bytes).await;
    let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    assert_eq!((answer.status(), answer.error()), (expected.0, Some(expected.1)), "{shown:?}");
}

const MALFORMED: (u16, &str) = (400, "malformed_request");

#[tokio::test]
async fn several_or_malformed_lengths_are_refused() {
    let (bench, _peer, seen) = recorded().await;
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: \u{665}\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 1000000000000000000\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content_Length: 5\r\n",
    ] {
        assert_refused(&bench, begin("POST", "/v1/x", lines) + "\r\nhello", MALFORMED).await;
    }
    assert_eq!(seen.count(), 0);
}

#[tokio::test]
async fn a_transfer_coding_that_is_not_a_single_chunked_is_refused() {
    let (bench, _peer, seen) = recorded().await;
    for coding in ["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity", "xchunked", "\"chunked\"", "chunked;a=b", ""] {
        let head = begin("POST", "/v1/x", &format!("Transfer-Encoding: {coding}\r\n"));
        assert_refused(&bench, head + "\r\n0\r\n\r\n", (501, "unsupported_coding")).await;
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    assert_refused(&bench, begin("POST", "/v1/x", twice) + "\r\n0\r\n\r\n", (501, "unsupported_coding")).await;
    for head in [
        begin("POST", "/v1/x", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        begin("POST", "/v1/x", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        begin("POST", "/v1/x", "Transfer-Encoding: \x0bchunked\r\n"),
        begin("POST", "/v1/x", "Transfer_Encoding: chunked\r\n"),
        format!("POST /{TENANT}/api/v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        assert_refused(&bench, head + "\r\n0\r\n\r\n", MALFORMED).await;
    }
    assert_eq!(seen.count(), 0);
}

#[tokio::test]
async fn heads_that_two_readers_could_read_in_two_ways_are_refused() {
    let (bench, _peer, seen) = recorded().await;
    let target = format!("/{TENANT}/api/v1/x");
    for head in [
        // CR or LF alone, NUL and other controls.
        begin("GET", "/v1/x", "X: a\rY: b\r\n\r\n"),
        begin("GET", "/v1/x", "X: a\nY: b\r\n\r\n"),
        begin("GET", "/v1/x", "X: a\r\r\n\r\n"),
        begin("GET", "/v1/x", "X: a\r\n\n"),
        format!("GET {target} HTTP/1.1\nHost: localhost\n\n"),
        begin("GET", "/v1/x", "X: a\0\r\n\r\n"),
        begin("GET", "/v1/x", "X: a\x1b\r\n\r\n"),
        begin("GET", "/v1/x", "X: a\x7f\r\n\r\n"),
        format!("GET {target}\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        // Lines that go on, names that are none.
        begin("GET", "/v1/x", "X: a\r\n b\r\n\r\n"),
        begin("GET", "/v1/x", "X: a\r\n\tContent-Length: 5\r\n\r\n"),
        begin("GET", "/v1/x", "X : a\r\n\r\n"),
        begin("GET", "/v1/x", "X\t: a\r\n\r\n"),
        begin("GET", "/v1/x", ": a\r\n\r\n"),
        begin("GET", "/v1/x", "X\r\n\r\n"),
        begin("GET", "/v1/x", "X(y): a\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\n Host: localhost\r\n\r\n"),
        // Request lines.
        format!("GET  {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {target}  HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/1.1 \r\nHost: localhost\r\n\r\n"),
        format!("GET\t{target}\tHTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!(" GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/1.2\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/0.9\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/2.0\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/01.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {target}\r\n"),
        format!("\r\n\r\n\r\nGET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        // Whom it is for.
        format!("GET {target} HTTP/1.1\r\n\r\n"),
        begin("GET", "/v1/x", "Host: localhost\r\n\r\n"),
        begin("GET", "/v1/x", "host: 127.0.0.1\r\n\r\n"),
        format!("GET http://127.0.0.1{target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET http://localhost:1{target} HTTP/1.1\r\nHost: localhost:2\r\n\r\n"),
        format!("GET http://evil.example@localhost{target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET file://localhost{target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", &target[1..]),
        // No HTTP at all: TLS.
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(),
    ] {
        assert_refused(&bench, head, MALFORMED).await;
    }
    assert_eq!(seen.count(), 0);
    let metrics = bench.admin("/metrics").await;
    assert!(metrics.text().contains("soproxy_errors_total{tenant=\"\",code=\"malformed_request\"} 37"), "{}", metrics.text());
}

#[tokio::test]
async fn bad_chunks_end_the_request_and_the_connection() {
    for chunks in [
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5 ;a\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: localhost\r\n\r\n",
    ] {
        let (bench, _peer, seen) = recorded().await;
        let head = request("POST", "/v1/x", "Transfer-Encoding: chunked\r\n");
        assert_refused(&bench, head + chunks, (400, "body_incomplete")).await;
        assert!(seen.all().iter().all(|request| !request.complete && !request.first.contains("smuggled")), "{chunks:?} {:?}", seen.all());
    }
}

#[tokio::test]
async fn heads_over_their_bounds_are_refused() {
    let (bench, _peer, seen) = recorded().await;
    let line = format!("X: {}\r\n", "x".repeat(1000));
    assert_refused(&bench, begin("GET", "/v1/x", &line.repeat(66)), (431, "header_too_large")).await;
    assert_refused(&bench, request("GET", "/v1/x", &"X: y\r\n".repeat(100)), (431, "header_too_large")).await;
    // Also one that never comes to its end, and one without any.
    assert_refused(&bench, begin("GET", "/v1/x", &"x".repeat(70_000)), (431, "header_too_large")).await;
    assert_refused(&bench, format!("GET /{}", "x".repeat(70_000)), (414, "uri_too_long")).await;
    assert_refused(&bench, "x".repeat(70_000), (414, "uri_too_long")).await;
    assert_eq!(seen.count(), 0);
}

#[tokio::test]
async fn connect_and_trace_end_the_connection() {
    let (bench, _peer, seen) = recorded().await;
    for request in [
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n".to_owned(),
        request("TRACE", "/v1/x", ""),
        request("TRACE", "/v1/x", "Content-Length: 5\r\n") + "hello",
    ] {
        assert_refused(&bench, request, (405, "method_not_allowed")).await;
    }
    assert_eq!(seen.count(), 0);
}

#[tokio::test]
async fn what_stands_before_a_refused_request_is_answered() {
    let (bench, _peer, seen) = recorded().await;
    let good = request("GET", "/v1/1", "") + &request("POST", "/v1/2", "Content-Length: 5\r\n") + "hello";
    let bad = request("GET", "/v1/3", "X : y\r\n") + &smuggled();
    // In one piece, and byte by byte.
    for piece in [usize::MAX, 1] {
        let before = seen.count();
        let mut wire = Wire::to(bench.proxy).await;
        let bytes = good.clone() + &bad;
        let refused_at = bytes.find("X :").unwrap() + "X : y\r\n".len();
        for piece in bytes.as_bytes()[..if piece == 1 { refused_at } else { bytes.len() }].chunks(piece.min(bytes.len())) {
            wire.say(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!((wire.answer().await.text(), wire.answer().await.text()), ("ok".into(), "ok".into()));
        assert_eq!(wire.answer().await.error(), Some("malformed_request"));
        assert_eq!((wire.rest().await, wire.end().await, seen.count()), (String::new(), End::Closed, before + 2));
    }
}

#[tokio::test]
async fn what_follows_a_refused_upgrade_is_read_as_strictly() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let wish = request("GET", "/v1/hub", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(wish + "\u{81}\0\n\n" + &smuggled()).await;
    let (mut up, _) = stage.request().await;
    assert!(wire.is_quiet().await, "it may still be a tunnel");
    up.say(OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
    assert_eq!(wire.answer().await.error(), Some("malformed_request"));
    assert_eq!((wire.rest().await, wire.end().await), (String::new(), End::Closed));
    assert!(stage.is_quiet().await);
}

#[tokio::test]
async fn a_bad_chunk_behind_a_100_continue_is_refused_too() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("POST", "/v1/x", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n")).await;
    let mut up = stage.next().await;
    up.until("\r\n\r\n").await;
    up.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(wire.answer().await.status(), 100);
    wire.say("5\nhello\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.error()), (400, Some("body_incomplete")));
    assert_eq!(wire.rest().await, "");
    assert!(!up.rest().await.contains("0\r\n\r\n"), "upstream has no whole request");
}

/// Nothing of the caller's framing is seen upstream: neither how long its chunks were nor what they said besides, nor how a length
/// was written, nor how the lines looked.
#[tokio::test]
async fn what_reaches_upstream_is_framed_anew() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.workers", "1").start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let target = format!("http://LOCALHOST/{TENANT}/api/v1/x");
    wire.say(format!(
        "\r\nPOST {target} HTTP/1.1\r\nhOST:localhost\r\nTRANSFER-encoding: \t CHUNKED\t\r\nTE: x\r\nConnection: close, TE, Content-Length\r\n\
         X: \t y \t\r\n\r\n0001;secret=\"a;b\"\r\nh\r\n2\r\nel\r\n02;\r\nlo\r\n000;last\r\nX-Check: \t1 \r\n\r\n"
    ))
    .await;
    let mut up = stage.next().await;
    let head = up.until("\r\n\r\n").await;
    let body = up.until("\r\n\r\n").await;
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(wire.answer().await.status(), 200);
    let lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines[0], format!("POST /{TENANT}/api/v1/x HTTP/1.1"));
    let framing: Vec<String> = lines
        .iter()
        .map(|line| line.to_ascii_lowercase())
        .filter(|line| ["transfer-encoding", "content-length", "te:", "connection", "host"].iter().any(|name| line.starts_with(name)))
        .collect();
    assert_eq!(framing.len(), 2, "{framing:?}");
    assert!(framing.contains(&"transfer-encoding: chunked".to_owned()), "{framing:?}");
    assert!(framing.contains(&format!("host: {}", stage.address)), "{framing:?}");
    assert!(lines.contains(&"X: y"), "{lines:?}");
    assert!(!body.contains("secret") && !body.contains("last") && !body.contains("0001") && !body.contains("000"), "{body:?}");
    assert!(body.ends_with("0\r\n\r\n") || body.contains("0\r\nX-Check: 1\r\n\r\n"), "{body:?}");
    // A length is ours, too.
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/v1/x", "content-length:\t5 \r\n\r\nhello")).await;
    let request = up.message().await.unwrap();
    up.say(OK).await;
    assert_eq!((request.one("content-length"), request.text().as_str()), (Some("5"), "hello"));
    assert_eq!(wire.answer().await.status(), 200);
}

/// What good callers do, and strict readers must not break.
#[tokio::test]
async fn what_good_callers_do_is_served() {
    let (bench, _peer, seen) = recorded().await;
    let target = format!("/{TENANT}/api/v1/x");
    let all = [
        begin("GET", "/v1/x", "X: caf\u{e9}\r\nEmpty:\r\n\r\n"),
        begin("POST", "/v1/x", "Content-Length: 4\r\n\r\n\0\r\n\n"),
        // Behind a POST, from clients of long ago.
        "\r\n".to_owned() + &request("GET", "/v1/x", ""),
        format!("GET http://localhost:80{target} HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n"),
        request("GET", "/v1/x", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        begin("POST", "/v1/x", "Transfer-Encoding: chunked\r\n\r\n") + "a;sig=0123\r\n0123456789\r\n0\r\n\r\n",
        format!("GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        request("GET", "/v1/x", ""),
    ];
    for piece in [usize::MAX, 7, 1] {
        let before = seen.count();
        let mut wire = Wire::to(bench.proxy).await;
        let bytes = all.concat();
        for piece in bytes.as_bytes().chunks(piece.min(bytes.len())) {
            wire.say(piece).await;
        }
        for number in 0..all.len() {
            assert_eq!(wire.answer().await.text(), "ok", "{number}");
        }
        assert_eq!(seen.count(), before + all.len());
        assert!(wire.is_quiet().await, "and the connection stays");
    }
}
