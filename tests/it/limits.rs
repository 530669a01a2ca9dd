//! Limits of a caller's connection: heads, targets, connections. Each one hit, and its neighbour not.

use http::Request;
use http_body_util::BodyExt;

use crate::bench::{Setup, TENANT, collect};
use crate::h2;
use crate::wire::{End, Message, OK, Wire, ask, recorder, request};

/// The head of a request that is this long.
fn head_of(size: usize) -> String {
    let shortest = request("GET", "/v1/x", "X-Fill: \r\n").len();
    // In lines of 1000 bytes at most, as cookies and tokens come.
    let (lines, rest) = ((size - shortest) / 1000, (size - shortest) % 1000);
    let line = format!("X-Line: {}\r\n", "x".repeat(990));
    request("GET", "/v1/x", &format!("{}X-Fill: {}\r\n", line.repeat(lines), "x".repeat(rest)))
}

/// An answer that may be bare, and ends the connection.
async fn refused(to: std::net::SocketAddr, request: String) -> Message {
    let mut wire = Wire::to(to).await;
    wire.say(request).await;
    let answer = wire.answer().await;
    assert_eq!(wire.rest().await, "");
    answer
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_431() {
    for (setting, fits, too_large) in [("8KiB", 7 << 10, 9 << 10), ("20KiB", 19 << 10, 21 << 10), ("64KiB", 63 << 10, 66 << 10)] {
        let (peer, seen) = recorder(OK).await;
        let bench = Setup::new().api_at(peer.address).set("listen.max_header_size", setting).start().await;
        assert_eq!(ask(bench.proxy, head_of(fits)).await.status(), 200, "{setting}");
        assert_eq!(refused(bench.proxy, head_of(too_large)).await.status(), 431, "{setting}");
        assert_eq!(seen.count(), 1);
    }
}

#[tokio::test]
async fn a_head_of_64_kib_is_taken_and_no_larger_one() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for _ in 0..2 {
        wire.say(head_of(60 << 10)).await;
        assert_eq!(wire.answer().await.status(), 200);
    }
    assert_eq!(refused(bench.proxy, head_of(70 << 10)).await.status(), 431);
    assert_eq!(seen.count(), 2);
}

#[tokio::test]
async fn too_many_headers_are_a_431() {
    // `Host` is one of them.
    let with = |count: usize| request("GET", "/v1/x", &(1..count).map(|number| format!("X-{number}: {number}\r\n")).collect::<String>());
    for (setting, limit) in [(None, 100), (Some("12"), 12)] {
        let (peer, seen) = recorder(OK).await;
        let mut setup = Setup::new().api_at(peer.address);
        if let Some(setting) = setting {
            setup = setup.set("listen.max_headers", setting);
        }
        let bench = setup.start().await;
        assert_eq!(ask(bench.proxy, with(limit)).await.status(), 200, "{limit}");
        assert_eq!(refused(bench.proxy, with(limit + 1)).await.status(), 431, "{limit}");
        assert_eq!(seen.count(), 1);
        assert_eq!(seen.last().one(&format!("x-{}", limit - 1)), Some((limit - 1).to_string().as_str()));
    }
}

#[tokio::test]
async fn a_target_that_is_too_long_is_a_414() {
    for (setting, limit) in [(None, 16 << 10), (Some("1KiB"), 1 << 10)] {
        let (peer, seen) = recorder(OK).await;
        let mut setup = Setup::new().api_at(peer.address);
        if let Some(setting) = setting {
            setup = setup.set("listen.max_uri", setting);
        }
        let bench = setup.start().await;
        let target = |length: usize| {
            let start = format!("/{TENANT}/api/v1/x?$filter=");
            let fill = "x".repeat(length - start.len());
            start + &fill
        };
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", target(limit))).await;
        assert_eq!(wire.answer().await.status(), 200);
        wire.say(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", target(limit + 1))).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.error()), (414, Some("uri_too_long")), "{limit}");
        let mut caller = h2::caller(bench.proxy).await;
        for (length, status) in [(limit, 200), (limit + 1, 414)] {
            let request = Request::get(format!("http://localhost{}", target(length))).body(h2::whole("")).unwrap();
            let answer = collect(caller.send_request(request).await.unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.error()), (status, (status == 414).then_some("uri_too_long")));
        }
        assert_eq!(seen.count(), 2);
    }
}

#[tokio::test]
async fn an_http_2_callers_head_is_limited_too() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_header_size", "16KiB").start().await;
    let mut caller = h2::caller(bench.proxy).await;
    let with = |size: usize| {
        let lines = (0..size / 1000).map(|number| (format!("x-{number}"), "x".repeat(960)));
        lines
            .fold(Request::get(h2::uri(bench.proxy, "/v1/x")), |request, (name, value)| request.header(name, value))
            .body(h2::whole(""))
            .unwrap()
    };
    assert_eq!(caller.send_request(with(12_000)).await.unwrap().status(), 200);
    // Refused by a status or by an end of the stream.
    if let Ok(answer) = caller.send_request(with(20_000)).await {
        assert_eq!(answer.status(), 431);
        _ = answer.into_body().collect().await;
    }
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_connections", "2").start().await;
    let mut first = Wire::to(bench.proxy).await;
    let mut second = Wire::to(bench.proxy).await;
    for wire in [&mut first, &mut second] {
        assert_eq!(wire.get("/v1/x", "").await.status(), 200);
    }
    for _ in 0..3 {
        let mut third = Wire::to(bench.proxy).await;
        third.say(request("GET", "/v1/x", "")).await;
        let answer = third.answer().await;
        assert_eq!((answer.status(), answer.error()), (503, Some("too_many_connections")));
        assert!(answer.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")), "{answer:?}");
        assert!(answer.one("retry-after").is_some());
        assert_eq!((third.rest().await, third.end().await), (String::new(), End::Closed));
    }
    assert_eq!(seen.count(), 2);
    assert_eq!(bench.admin("/livez").await.status, 200, "the admin listener has its own");
    for wire in [&mut first, &mut second] {
        assert_eq!(wire.get("/v1/x", "").await.status(), 200, "and those that are there stay");
    }
    // An idle one that ends makes room, and so does one that is reset.
    for leaving in [true, false] {
        if leaving {
            drop(first)
        } else {
            first.reset()
        }
        let mut next = Wire::to(bench.proxy).await;
        bench
            .until("there is room again", async || {
                next = Wire::to(bench.proxy).await;
                next.say(request("GET", "/v1/x", "")).await;
                next.answer().await.status() == 200
            })
            .await;
        first = next;
    }
}

#[tokio::test]
async fn one_worker_or_many_serve_alike() {
    for workers in ["1", "2", "auto"] {
        let (peer, seen) = recorder(OK).await;
        let bench = Setup::new().api_at(peer.address).set("listen.workers", workers).start().await;
        let mut wires = Vec::new();
        for _ in 0..12 {
            wires.push(Wire::to(bench.proxy).await);
        }
        for _ in 0..3 {
            for wire in &mut wires {
                wire.say(request("GET", "/v1/x", "")).await;
            }
            for wire in &mut wires {
                assert_eq!(wire.answer().await.text(), "ok");
            }
        }
        assert_eq!(seen.count(), 36);
    }
}
