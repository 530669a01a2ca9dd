//! Callers that speak HTTP/1.0: no `Host`, no keep-alive unless asked for, and never a chunk.

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::Stage;
use crate::wire::{End, OK, Wire, recorder};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

fn old(method: &str, headers: &str) -> String {
    format!("{method} /{TENANT}/api/v1/x HTTP/1.0\r\n{headers}\r\n")
}

#[tokio::test]
async fn without_keep_alive_the_connection_ends_with_its_answer() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(old("GET", "")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.text().as_str(), answer.one("content-length")), (200, "ok", Some("2")));
    assert!(answer.one("connection").is_none_or(|value| value.eq_ignore_ascii_case("close")), "{answer:?}");
    assert_eq!((wire.rest().await, wire.end().await), (String::new(), End::Closed));
    let request = seen.last();
    assert_eq!(request.first, format!("GET /{TENANT}/api/v1/x HTTP/1.1"));
    assert_eq!(request.one("host"), Some(peer.address.to_string().as_str()));
}

#[tokio::test]
async fn keep_alive_is_honoured_when_it_is_asked_for() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for _ in 0..3 {
        wire.say(old("GET", "Connection: Keep-Alive\r\n")).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        assert!(answer.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")), "or it would not wait: {answer:?}");
    }
    wire.say(old("GET", "")).await;
    assert_eq!(wire.answer().await.status(), 200);
    assert_eq!(wire.end().await, End::Closed);
    assert_eq!(seen.count(), 4);
    assert!(seen.all().iter().all(|request| request.all("connection").is_empty() && request.all("keep-alive").is_empty()));
}

#[tokio::test]
async fn no_chunk_is_ever_sent_to_an_old_caller() {
    let (peer, _) = recorder(CHUNKED).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    for headers in ["", "Connection: keep-alive\r\n", "TE: trailers, chunked\r\n"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(old("GET", headers)).await;
        let answer = wire.rest().await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 ") && !head.to_lowercase().contains("transfer-encoding"), "{head}");
        assert!(!head.to_lowercase().contains("keep-alive"), "the end of the connection is the end of the body: {head}");
        assert_eq!((body, wire.end().await), ("hello", End::Closed), "{headers}");
    }
}

#[tokio::test]
async fn an_answer_without_length_that_breaks_off_ends_in_a_reset() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for reset in [false, true] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(old("GET", "")).await;
        let (mut up, _) = stage.request().await;
        up.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n").await;
        assert!(wire.until("partial").await.ends_with("\r\n\r\npartial"));
        if reset {
            up.reset();
        } else {
            drop(up);
        }
        // The end of the connection would say that the body is whole.
        assert_eq!(wire.end().await, End::Reset);
    }
}

#[tokio::test]
async fn an_answer_with_a_length_that_breaks_off_is_short() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(old("GET", "Connection: keep-alive\r\n")).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
    let head = wire.until("partial").await;
    assert!(head.to_lowercase().contains("content-length: 100"), "{head}");
    drop(up);
    wire.end().await;
}

#[tokio::test]
async fn an_old_callers_body_goes_through() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(old("POST", "Content-Length: 5\r\nConnection: keep-alive\r\n") + "12345").await;
    assert_eq!(wire.answer().await.status(), 200);
    assert_eq!((seen.last().text().as_str(), seen.last().one("content-length")), ("12345", Some("5")));
    // HTTP/1.0 knows no chunks: whoever sends them may have meant something else.
    wire.say(old("POST", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n").await;
    let answer = wire.rest().await;
    assert!(answer.is_empty() || answer.contains(" 400 "), "{answer}");
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn the_proxys_own_answers_suit_an_old_caller() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say("GET /nobody/api/v1/x HTTP/1.0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.error(), answer.one("transfer-encoding")), (Some("unknown_tenant"), None));
    assert_eq!(answer.one("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(wire.end().await, End::Closed);
}

#[tokio::test]
async fn upgrades_and_interim_answers_are_not_for_old_callers() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(old("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).await;
    let (mut up, request) = stage.request().await;
    assert_eq!((request.one("upgrade"), request.one("connection")), (None, None));
    up.say(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{OK}")).await;
    let answer = wire.rest().await;
    assert!(answer.contains(" 200 ") && !answer.contains(" 100 ") && !answer.contains(" 103 "), "{answer}");
}

#[tokio::test]
async fn an_upstream_that_speaks_http_1_0_is_translated() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    // Without a length the end of its connection is the end of the body, which HTTP/1.1 callers see as the last chunk.
    let mut wire = Wire::to(bench.proxy).await;
    for body in ["first", ""] {
        wire.say(crate::wire::request("GET", "/v1/x", "")).await;
        let (mut up, _) = stage.request().await;
        up.say(format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}")).await;
        drop(up);
        let answer = wire.answer().await;
        assert!(answer.first.starts_with("HTTP/1.1 200") && answer.complete, "{answer:?}");
        assert_eq!((answer.text().as_str(), answer.one("content-length")), (body, None));
        assert_eq!(answer.one("transfer-encoding"), Some("chunked"));
    }
    // A reset is no end.
    wire.say(crate::wire::request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.0 200 OK\r\n\r\npartial").await;
    wire.until("partial").await;
    up.reset();
    assert!(!wire.rest().await.contains("0\r\n\r\n"), "the last chunk would say that the body is whole");
    // Its connection is kept when it says so.
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(crate::wire::request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(wire.answer().await.text(), "ok");
}
