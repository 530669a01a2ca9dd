//! Connections to upstream: kept, used again, the warmest first, and left alone once anything about them is odd.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::bench::{Bench, Setup, TENANT};
use crate::binary::Home;
use crate::peer::{Deaf, Stage, settled};
use crate::wire::{End, Message, OK, Wire, begin, request};

/// A proxy with one pool, and a caller.
async fn staged(settings: &[(&str, &str)]) -> (Bench, Stage, Wire) {
    let stage = Stage::new().await;
    let mut setup = Setup::new().api_at(stage.address).set("listen.workers", "1");
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    let bench = setup.start().await;
    let wire = Wire::to(bench.proxy).await;
    (bench, stage, wire)
}

fn get() -> String {
    request("GET", "/v1/x", "")
}

/// One exchange over an upstream connection that is there already.
async fn reused(wire: &mut Wire, up: &mut Wire) {
    wire.say(get()).await;
    assert!(up.message().await.is_some(), "the request comes on this connection");
    up.say(OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
}

/// One exchange over a new upstream connection.
async fn fresh(wire: &mut Wire, stage: &Stage) -> Wire {
    wire.say(get()).await;
    let (mut up, _) = stage.request().await;
    up.say(OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
    up
}

#[tokio::test]
async fn a_connection_is_used_again_whoever_asks() {
    let (bench, stage, mut wire) = staged(&[]).await;
    let mut up = fresh(&mut wire, &stage).await;
    let mut other = Wire::to(bench.proxy).await;
    for _ in 0..20 {
        reused(&mut wire, &mut up).await;
        reused(&mut other, &mut up).await;
    }
    // Whatever the answer is made of.
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
        ("POST", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    ] {
        wire.say(request(method, "/v1/x", "")).await;
        assert!(up.message().await.is_some(), "{method}");
        up.say(answer).await;
        wire.only_head().await.unwrap();
        if answer.contains("chunked") {
            wire.until("0\r\n\r\n").await;
        }
    }
    assert!(stage.is_quiet().await);
}

#[tokio::test]
async fn the_connection_used_last_is_used_first() {
    let (bench, stage, mut wire) = staged(&[]).await;
    let mut other = Wire::to(bench.proxy).await;
    for first_to_end in [0, 1] {
        wire.say(get()).await;
        let (a, _) = stage.request().await;
        other.say(get()).await;
        let (b, _) = stage.request().await;
        let mut ups = [(a, &mut wire), (b, &mut other)];
        ups.rotate_left(first_to_end);
        let [(older, first), (newer, second)] = &mut ups;
        older.say(OK).await;
        first.answer().await;
        settled().await;
        newer.say(OK).await;
        second.answer().await;
        settled().await;
        for _ in 0..3 {
            reused(first, newer).await;
            settled().await;
        }
        // And the other is still there, when one is not enough.
        first.say(get()).await;
        assert!(newer.message().await.is_some());
        reused(second, older).await;
        newer.say(OK).await;
        first.answer().await;
        // Upstream ends them, for the next round.
        settled().await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let (_bench, stage, mut wire) = staged(&[("upstream.idle_timeout", "400ms")]).await;
    let mut up = fresh(&mut wire, &stage).await;
    for _ in 0..6 {
        sleep(Duration::from_millis(100)).await;
        reused(&mut wire, &mut up).await;
    }
    let started = Instant::now();
    assert_eq!(up.end().await, End::Closed, "without waiting for the next request");
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&started.elapsed()), "{:?}", started.elapsed());
    fresh(&mut wire, &stage).await;
}

#[tokio::test]
async fn an_old_connection_is_not_used_again() {
    let (_bench, stage, mut wire) = staged(&[("upstream.max_connection_age", "500ms")]).await;
    let mut up = fresh(&mut wire, &stage).await;
    let born = Instant::now();
    // However much it is used: at some time, not too early, a request comes on another.
    loop {
        wire.say(get()).await;
        let mut other = tokio::select! {
            (other, _) = stage.request() => other,
            request = up.message() => {
                if request.is_some() {
                    up.say(OK).await;
                    assert_eq!(wire.answer().await.text(), "ok");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                // It was closed while it rested.
                stage.request().await.0
            }
        };
        assert!((Duration::from_millis(400)..Duration::from_secs(8)).contains(&born.elapsed()), "{:?}", born.elapsed());
        other.say(OK).await;
        assert_eq!(wire.answer().await.text(), "ok");
        break;
    }
    assert_eq!(up.rest().await, "", "and this one is closed");
}

#[tokio::test]
async fn a_connection_that_upstream_closed_meanwhile_is_left_without_a_word() {
    let (bench, stage, mut wire) = staged(&[]).await;
    let mut up = fresh(&mut wire, &stage).await;
    for round in 0..10 {
        if round % 2 == 0 {
            drop(up)
        } else {
            up.reset()
        }
        // Without a pause the end may still be on its way, and what is then sent may have been read.
        settled().await;
        wire.say(begin("POST", "/v1/x", "Content-Length: 4\r\n\r\nbody")).await;
        let (mut next, request) = tokio::select! {
            next = stage.request() => next,
            answer = wire.answer() => panic!("somebody noticed: {answer:?}"),
        };
        assert_eq!(request.text(), "body");
        next.say(OK).await;
        assert_eq!(wire.answer().await.status(), 200);
        up = next;
    }
    assert!(stage.is_quiet().await, "each came once");
    assert_eq!(bench.exchanges(), 1);
}

#[tokio::test]
async fn what_upstream_says_unasked_is_nobodys_answer() {
    let (_bench, stage, mut wire) = staged(&[]).await;
    for said in ["HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 3\r\n\r\nlate", "x", "\r\n", OK] {
        for closes in [true, false] {
            let mut up = fresh(&mut wire, &stage).await;
            up.say(said).await;
            if closes {
                up.finish().await;
            }
            settled().await;
            drop(fresh(&mut wire, &stage).await);
            assert_eq!(up.rest().await, "", "{said:?}");
            settled().await;
        }
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_end_its_connection() {
    let (_bench, stage, mut wire) = staged(&[]).await;
    for answer in [
        format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil!"),
        format!("HTTP/1.1 204 No Content\r\n\r\n{OK}"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx".to_owned(),
    ] {
        wire.say(get()).await;
        let (mut up, _) = stage.request().await;
        up.say(&answer).await;
        assert!(wire.answer().await.status() < 300);
        settled().await;
        drop(fresh(&mut wire, &stage).await);
        assert_eq!(up.rest().await, "", "{answer:?}");
        settled().await;
    }
}

#[tokio::test]
async fn a_connection_that_upstream_announces_the_end_of_is_not_used_again() {
    let (_bench, stage, mut wire) = staged(&[]).await;
    for announcement in ["Connection: close", "Connection: Keep-Alive, Close", "connection: CLOSE"] {
        wire.say(get()).await;
        let (mut up, _) = stage.request().await;
        up.say(format!("HTTP/1.1 200 OK\r\n{announcement}\r\nContent-Length: 2\r\n\r\nok")).await;
        let answer = wire.answer().await;
        assert!(answer.complete && answer.one("connection").is_none(), "the caller's connection is another one: {answer:?}");
        drop(fresh(&mut wire, &stage).await);
        assert_eq!(up.rest().await, "");
        settled().await;
    }
}

#[tokio::test]
async fn each_upstream_has_connections_of_its_own() {
    let (a, b) = (Stage::new().await, Stage::new().await);
    let setup = Setup::new().api_at(a.address).set("listen.workers", "1");
    let setup = setup.set("superoffice.upstream_hosts", &format!("{},{}", a.address, b.address));
    let bench = setup.set("tenants.Cust54321.api_url", &format!("http://{}/Cust54321/api", b.address)).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let mut up = fresh(&mut wire, &a).await;
    wire.say("GET /Cust54321/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (mut second, request): (Wire, Message) = b.request().await;
    assert_eq!(request.one("host"), Some(b.address.to_string().as_str()));
    second.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
    reused(&mut wire, &mut up).await;
    assert!(a.is_quiet().await && b.is_quiet().await);
}

#[tokio::test]
async fn a_host_with_two_addresses_is_reached_by_the_one_that_answers() {
    // The program sees a `localhost` of both families, whatever this machine's is; where that cannot be had, there is nothing to try.
    let Some(home) = Home::new().await.with_two_localhosts() else { return };
    for deaf in ["[::1]", "127.0.0.1"] {
        let stage = Stage::at(if deaf == "[::1]" { "127.0.0.1:0" } else { "[::1]:0" }).await;
        let port = stage.address.port();
        // Nobody there, or somebody who never answers.
        for hangs in [false, true] {
            let _deaf = if hangs { Deaf::at(format!("{deaf}:{port}").parse().unwrap()).await.ok() } else { None };
            let host = format!("localhost:{port}");
            let api = format!("http://{host}/{TENANT}/api");
            let program =
                home.spawn_with(&["run"], &[("SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS", &host), ("SOPROXY_TENANTS__CUST12345__API_URL", &api)]);
            let (proxy, _) = program.addresses().await;
            let started = Instant::now();
            let mut wire = Wire::to(proxy).await;
            wire.say(get()).await;
            let (mut up, request) = stage.request().await;
            assert_eq!(request.one("host"), Some(host.as_str()));
            up.say(OK).await;
            assert_eq!(wire.answer().await.status(), 200, "{deaf}, hangs: {hangs}");
            assert!(started.elapsed() < Duration::from_secs(5), "long before connect_timeout: {:?}", started.elapsed());
        }
    }
}
