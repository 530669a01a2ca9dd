//! Upgrades: a tunnel after upstream's 101, on a connection of its own, and nothing of the kind before.

use std::time::Duration;

use soproxy::sandbox::demo;

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::{Stage, settled};
use crate::wire::{End, Message, OK, Wire, begin, recorder, request};

const WISH: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, superchat\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9k\r\n\
                      Sec-WebSocket-Protocol: chat\r\nSet-Cookie: SOOnline=x\r\n\r\n";

fn wish() -> String {
    request("GET", "/hub", WISH)
}

async fn staged(settings: &[(&str, &str)]) -> (Bench, Stage) {
    let stage = Stage::new().await;
    let mut setup = Setup::new().api_at(stage.address);
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    (setup.start().await, stage)
}

/// A tunnel that stands: the caller's end and upstream's.
async fn tunnel(bench: &Bench, stage: &Stage) -> (Wire, Wire) {
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(wish()).await;
    let (mut up, request) = stage.request().await;
    assert_wish(&request);
    up.say(SWITCH).await;
    assert_eq!(wire.answer().await.status(), 101);
    (wire, up)
}

/// Whether an upgrade came as it was wished, and with a ticket.
fn assert_wish(request: &Message) {
    assert_eq!(request.first, format!("GET /{TENANT}/api/hub HTTP/1.1"));
    assert!(request.one("connection").is_some_and(|value| value.to_lowercase().contains("upgrade")), "{request:?}");
    for line in WISH.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(request.one(name), Some(value));
    }
    assert!(request.one("authorization").is_some_and(|ticket| ticket.starts_with("SOTicket 7T:")));
    assert_eq!((request.one("so-apptoken"), request.one("via")), (Some(demo::CLIENT_SECRET), Some("1.1 soproxy")));
}

async fn assert_carries(from: &mut Wire, to: &mut Wire, bytes: &str) {
    from.say(bytes).await;
    assert_eq!(to.until(bytes).await, bytes);
}

#[tokio::test]
async fn bytes_pass_both_ways_after_the_101() {
    let (bench, stage) = staged(&[]).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(wish()).await;
    let (mut up, request) = stage.request().await;
    assert_wish(&request);
    up.say(SWITCH).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.one("upgrade")), (101, Some("websocket")));
    assert!(answer.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{answer:?}");
    assert_eq!((answer.one("sec-websocket-accept"), answer.one("sec-websocket-protocol")), (Some("s3pPLMBiTxaQ9k"), Some("chat")));
    assert!(answer.all("set-cookie").is_empty() && answer.all("content-length").is_empty(), "{answer:?}");
    for _ in 0..3 {
        assert_carries(&mut wire, &mut up, "\u{81}ping GET / HTTP/1.1\r\n\r\n").await;
        assert_carries(&mut up, &mut wire, "\u{81}pong HTTP/1.1 200 OK\r\n\r\n").await;
    }
    // More than any buffer, both ways at once.
    let many = "x".repeat(3 << 20) + "end";
    tokio::join!(wire_through(&mut wire, &many), wire_through(&mut up, &many));
}

/// Says it all and reads as much.
async fn wire_through(wire: &mut Wire, bytes: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut reader, mut writer) = wire.stream.split();
    let read = async {
        let mut read = vec![0; bytes.len()];
        reader.read_exact(&mut read).await.unwrap();
        assert!(read == bytes.as_bytes());
    };
    tokio::join!(read, async { writer.write_all(bytes.as_bytes()).await.unwrap() });
}

#[tokio::test]
async fn what_is_said_before_the_101_waits_for_it_and_is_not_lost() {
    let (bench, stage) = staged(&[]).await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(wish() + "early").await;
    let (mut up, request) = stage.request().await;
    assert_wish(&request);
    assert!(up.is_quiet().await, "there is no tunnel yet");
    up.say(format!("{SWITCH}hello")).await;
    assert_eq!(wire.answer().await.status(), 101);
    assert_eq!(wire.until("hello").await, "hello");
    assert_eq!(up.until("early").await, "early");
    assert_carries(&mut wire, &mut up, "later").await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let (bench, stage) = staged(&[]).await;
    for status in ["200 OK", "400 Bad Request", "403 Forbidden", "426 Upgrade Required"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(wish() + &request("GET", "/v1/next", "")).await;
        let (mut up, _) = stage.request().await;
        up.say(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nplain")).await;
        let answer = wire.answer().await;
        assert_eq!((answer.first[9..].trim(), answer.text().as_str(), answer.error()), (status, "plain", None));
        // What stood behind the request was the next one; it does not go where the upgrade went.
        let (mut other, next) = stage.request().await;
        assert_eq!(next.first, format!("GET /{TENANT}/api/v1/next HTTP/1.1"), "{status}");
        other.say(OK).await;
        assert_eq!(wire.answer().await.text(), "ok");
        assert_eq!(up.rest().await, "");
        drop(other);
        settled().await;
    }
}

#[tokio::test]
async fn a_tunnel_has_a_connection_of_its_own() {
    let (bench, stage) = staged(&[("listen.workers", "1")]).await;
    let mut other = Wire::to(bench.proxy).await;
    other.say(request("GET", "/v1/x", "")).await;
    let (mut pooled, _) = stage.request().await;
    pooled.say(OK).await;
    assert_eq!(other.answer().await.status(), 200);
    // There is a connection to be had, and it is not taken.
    let (wire, mut up) = tunnel(&bench, &stage).await;
    drop(wire);
    up.end().await;
    other.say(request("GET", "/v1/y", "")).await;
    assert!(pooled.message().await.is_some_and(|request| request.first.contains("/v1/y")));
    pooled.say(OK).await;
    assert_eq!(other.answer().await.status(), 200);
    assert!(stage.is_quiet().await);
}

#[tokio::test]
async fn either_end_may_stop_talking_and_still_listens() {
    let (bench, stage) = staged(&[]).await;
    for caller_first in [true, false] {
        let (mut first, mut second) = tunnel(&bench, &stage).await;
        if !caller_first {
            std::mem::swap(&mut first, &mut second);
        }
        first.say("last words").await;
        first.finish().await;
        assert_eq!((second.rest().await.as_str(), second.end().await), ("last words", End::Closed));
        assert_carries(&mut second, &mut first, "an answer to that").await;
        second.finish().await;
        assert_eq!(first.end().await, End::Closed);
    }
}

#[tokio::test]
async fn a_reset_of_one_end_ends_the_other() {
    let (bench, stage) = staged(&[]).await;
    for caller_first in [true, false] {
        let (mut first, mut second) = tunnel(&bench, &stage).await;
        if !caller_first {
            std::mem::swap(&mut first, &mut second);
        }
        assert_carries(&mut first, &mut second, "x").await;
        first.reset();
        second.end().await;
    }
}

#[tokio::test]
async fn an_idle_tunnel_is_closed_and_a_busy_one_is_not() {
    let (bench, stage) =
        staged(&[("upstream.tunnel_timeout", "400ms"), ("listen.idle_timeout", "100ms"), ("upstream.idle_timeout", "100ms")]).await;
    let (mut idle, mut idle_up) = tunnel(&bench, &stage).await;
    let (mut busy, mut busy_up) = tunnel(&bench, &stage).await;
    // One direction is enough.
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_carries(&mut busy_up, &mut busy, "x").await;
    }
    tokio::join!(idle.end(), idle_up.end());
    assert_carries(&mut busy, &mut busy_up, "still there").await;
    tokio::join!(busy.end(), busy_up.end());
}

#[tokio::test]
async fn an_upgrade_to_http_2_is_not_passed_on() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for wish in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: H2C\r\n",
        // Said without `Connection`, it is not said at all.
        "Upgrade: websocket\r\n",
    ] {
        assert_eq!(wire.get("/v1/x", wish).await.text(), "ok", "{wish}");
        assert_eq!(seen.last().names(), ["authorization", "host", "so-apptoken", "via"], "{wish}");
    }
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_502() {
    let switch = |to: &str| format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {to}\r\nConnection: Upgrade\r\n\r\n");
    for (wish, answer) in [
        ("", switch("websocket")),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", switch("h2c")),
        ("Upgrade: websocket\r\n", switch("websocket")),
    ] {
        let (bench, stage) = staged(&[]).await;
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(begin("GET", "/v1/x", wish) + "\r\nbytes for a tunnel\r\n\r\n").await;
        let (mut up, _) = stage.request().await;
        up.say(answer + "more of them").await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")), "{wish}");
        let rest = wire.rest().await;
        assert!(!rest.contains("more of them"), "{rest}");
        let up = up.rest().await;
        assert!(!up.contains("bytes for a tunnel"), "{up}");
    }
}

#[tokio::test]
async fn an_upgrade_whose_ticket_is_refused_is_wished_once_more_with_a_new_one() {
    let (setup, hand) = Setup::new().manual_clock();
    let stage = Stage::new().await;
    let bench = setup.api_at(stage.address).start().await;
    bench.generation(1).await;
    hand.advance(Duration::from_secs(3));
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(wish() + "early").await;
    let (mut up, first) = stage.request().await;
    up.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    let (mut second_up, second) = stage.request().await;
    assert_wish(&second);
    assert_ne!(first.one("authorization"), second.one("authorization"));
    second_up.say(SWITCH).await;
    assert_eq!(wire.answer().await.status(), 101);
    assert_eq!(second_up.until("early").await, "early");
    assert_carries(&mut second_up, &mut wire, "hello").await;
    assert_eq!(bench.exchanges(), 2);
    // Once: the next 401 passes.
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(wish()).await;
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nyoung").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "young"));
}

#[tokio::test]
async fn a_tunnel_holds_its_place_and_ends_with_the_proxy() {
    let (bench, stage) = staged(&[("listen.max_requests", "1"), ("listen.shutdown_delay", "1h")]).await;
    let (mut wire, mut up) = tunnel(&bench, &stage).await;
    assert_eq!(Wire::to(bench.proxy).await.get("/v1/x", "").await.error(), Some("overloaded"));
    bench.stop.leaving.cancel();
    // Long enough for the connection to hear of it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_carries(&mut wire, &mut up, "still served").await;
    bench.stop.drain.cancel();
    tokio::join!(wire.end(), up.end());
}
