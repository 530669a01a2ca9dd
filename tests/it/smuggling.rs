//! Requests that two readers could read as two different ones: refused, or made into one that nobody can misread.

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::Peer;
use crate::wire::{Message, OK, Seen, Wire, recorder, request};

const TARGET: &str = "/Cust12345/api/v1/x";

async fn recorded() -> (Bench, Peer, Seen) {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    (bench, peer, seen)
}

/// Sends bytes, then nothing more, and gives the answers to the end of the connection.
async fn answers(bench: &Bench, bytes: impl AsRef<[u8]>) -> Vec<Message> {
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(bytes).await;
    wire.finish().await;
    let mut answers = Vec::new();
    while let Some(answer) = wire.message().await {
        answers.push(answer);
    }
    answers
}

/// Whether upstream can only read it one way.
fn assert_plain(request: &Message) {
    let (lengths, codings) = (request.all("content-length"), request.all("transfer-encoding"));
    assert!(lengths.len() + codings.len() < 2, "{request:?}");
    assert!(codings.iter().all(|coding| *coding == "chunked"), "{request:?}");
    assert!(lengths.iter().all(|length| length.bytes().all(|digit| digit.is_ascii_digit())), "{request:?}");
    for (name, value) in &request.headers {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)), "{request:?}");
        assert!(!value.contains(['\r', '\n', '\0']), "{request:?}");
    }
}

const SMUGGLED: &str = "GET /Cust54321/api/v1/secret HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_body_with_two_lengths_has_one_or_none() {
    let (bench, _peer, seen) = recorded().await;
    let inner = SMUGGLED.len();
    for framing in [
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n{SMUGGLED}", inner + 5),
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}", inner + 5),
        format!("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX{SMUGGLED}"),
    ] {
        let answers = answers(&bench, format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{framing}")).await;
        // Whoever sent this may have meant the rest as a body: nothing on this connection can be trusted any more.
        assert!(answers.len() < 2 && answers.iter().all(|answer| matches!(answer.status(), 200 | 400)), "{framing}: {answers:?}");
    }
    for request in seen.all() {
        assert_plain(&request);
        assert!(request.first.contains(TARGET) && request.body.is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn a_length_that_can_be_read_in_two_ways_is_refused() {
    let (bench, _peer, seen) = recorded().await;
    for framing in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5a\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        " Content-Length: 5\r\n",
        "Content-Length: 5\r\n 6\r\n",
        "X: y\r\n\tContent-Length: 5\r\n",
    ] {
        let answers = answers(&bench, format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\nhello{SMUGGLED}")).await;
        assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [400], "{framing:?}");
    }
    assert_eq!(seen.count(), 0);
    // The same twice says one thing.
    for framing in
        ["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 005\r\n", "Content-Length: \t5 \r\n"]
    {
        let answers = answers(&bench, format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\nhello")).await;
        assert!(answers.len() == 1 && matches!(answers[0].status(), 200 | 400), "{framing}: {answers:?}");
    }
    for request in seen.all() {
        assert_plain(&request);
        assert_eq!((request.text().as_str(), request.complete), ("hello", true));
    }
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_refused() {
    let (bench, _peer, seen) = recorded().await;
    for coding in [
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer\x00-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\rTransfer-Encoding: chunked",
    ] {
        let answers = answers(&bench, format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{coding}\r\n\r\n0\r\n\r\n{SMUGGLED}")).await;
        assert!(answers.len() == 1 && matches!(answers[0].status(), 400 | 501), "{coding:?}: {answers:?}");
    }
    assert_eq!(seen.count(), 0, "{:?}", seen.all());
    for coding in ["Transfer-Encoding: Chunked", "transfer-encoding:chunked", "Transfer-Encoding: \t chunked \t"] {
        let answers =
            answers(&bench, format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n")).await;
        assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [200], "{coding:?}");
        assert_plain(&seen.last());
        assert_eq!(seen.last().text(), "hello");
    }
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways_are_no_body() {
    let (bench, _peer, seen) = recorded().await;
    for chunks in [
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5g\r\nhello\r\n0\r\n\r\n",
        "5\rX\nhello\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n\n0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
    ] {
        let text = format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}");
        let answers = answers(&bench, text).await;
        assert!(answers.len() < 2 && answers.iter().all(|answer| answer.status() == 400), "{chunks:?}: {answers:?}");
    }
    assert!(seen.all().iter().all(|request| !request.complete && request.first.contains(TARGET)), "{:?}", seen.all());
    for chunks in
        ["5;name=\"value\"\r\nhello\r\n0;last\r\n\r\n", "0005\r\nhello\r\n000\r\n\r\n", "1\r\nh\r\n4\r\nello\r\n0\r\nX: y\r\n\r\n"]
    {
        let answers =
            answers(&bench, format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")).await;
        assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [200], "{chunks:?}");
        assert_plain(&seen.last());
        assert_eq!((seen.last().text().as_str(), seen.last().complete), ("hello", true));
    }
}

#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_refused() {
    let (bench, _peer, seen) = recorded().await;
    for head in [
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\n: no name\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nX\u{e9}: a\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nX(Y): a\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\n Host: localhost\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1 \r\nHost: localhost\r\n\r\n"),
        format!("GET  {TARGET} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.2\r\nHost: localhost\r\n\r\n"),
        format!("GET {TARGET} HTTP/2.0\r\nHost: localhost\r\n\r\n"),
        format!("GET {TARGET}\r\nHost: localhost\r\n\r\n"),
        format!("G\0ET {TARGET} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        let answers = answers(&bench, &head).await;
        assert!(answers.len() == 1 && matches!(answers[0].status(), 400 | 505), "{head:?}: {answers:?}");
    }
    assert_eq!(seen.count(), 0, "{:?}", seen.all());
}

#[tokio::test]
async fn bare_line_feeds_are_refused_or_written_properly() {
    let (bench, _peer, seen) = recorded().await;
    for text in [
        format!("GET {TARGET} HTTP/1.1\nHost: localhost\n\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n"),
        format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n"),
    ] {
        let answers = answers(&bench, &text).await;
        assert!(answers.len() < 2 && answers.iter().all(|answer| matches!(answer.status(), 200 | 400)), "{text:?}: {answers:?}");
    }
    for request in seen.all() {
        assert_plain(&request);
        assert!(request.body.is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn pipelined_requests_of_all_sorts_are_answered_in_order() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let echo = |number: u32| format!("/v1/_sandbox/echo?n={number}");
    let post = |number: u32, framing: &str| crate::wire::begin("POST", &echo(number), framing);
    wire.say(
        request("GET", &echo(0), "")
            + &post(1, "Content-Length: 4\r\n\r\nbody")
            + "GET /nobody/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + &post(3, "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
            + &request("HEAD", &echo(4), "")
            + "\r\n"
            + &request("DELETE", &echo(5), ""),
    )
    .await;
    for number in [0, 1, 2, 3, 4, 5] {
        match number {
            2 => assert_eq!(wire.answer().await.error(), Some("unknown_tenant")),
            4 => assert_eq!(wire.only_head().await.unwrap().status(), 200),
            _ => {
                let echo = wire.answer().await.json();
                assert_eq!(echo["Target"], format!("/{TENANT}/api/v1/_sandbox/echo?n={number}"));
                assert_eq!(echo["BodyLength"], if number == 1 || number == 3 { 4 } else { 0 });
            }
        }
    }
    // What follows a body is the next request, or nothing that is carried.
    wire.say(post(6, "Content-Length: 4\r\n\r\nbody") + "GARBAGE\r\n\r\n").await;
    assert_eq!(wire.answer().await.status(), 200);
    let rest = wire.rest().await;
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{rest}");
}
