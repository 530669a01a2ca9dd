//! `Expect: 100-continue`: the body is asked for when upstream wants it, and not at all when upstream does not.

use std::time::{Duration, Instant};

use crate::bench::{Setup, TENANT};
use crate::peer::{Stage, settled};
use crate::wire::{Message, OK, Wire, recorder, request};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn put(framing: &str) -> String {
    request("PUT", "/v1/x", &format!("Expect: 100-continue\r\n{framing}\r\n"))
}

/// The body that a head without one is followed by.
async fn body_of(up: &mut Wire, head: &Message) -> String {
    match head.one("content-length") {
        Some(_) => up.until("body").await,
        None => up.until("0\r\n\r\n").await,
    }
}

#[tokio::test]
async fn the_caller_is_told_to_go_on_when_upstream_says_so() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for (framing, body, sent) in
        [("Content-Length: 4", "body", "body"), ("Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n", "4\r\nbody\r\n0\r\n\r\n")]
    {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(put(framing)).await;
        let mut up = stage.next().await;
        let head = up.only_head().await.unwrap();
        assert_eq!(head.one("expect"), Some("100-continue"));
        assert!(wire.is_quiet().await, "nobody but upstream knows whether it wants the body");
        up.say(CONTINUE).await;
        assert_eq!(wire.answer().await.status(), 100);
        wire.say(body).await;
        assert_eq!(body_of(&mut up, &head).await, sent);
        up.say(OK).await;
        assert_eq!(wire.answer().await.text(), "ok");
        // Both connections are as good as before.
        wire.say(request("GET", "/v1/y", "")).await;
        assert!(up.message().await.is_some_and(|request| request.first.contains("/v1/y")));
        up.say(OK).await;
        assert_eq!(wire.answer().await.status(), 200);
        drop(up);
        settled().await;
    }
}

#[tokio::test]
async fn a_final_answer_comes_instead_and_the_body_is_never_asked_for() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.workers", "1").start().await;
    for status in ["401 Unauthorized", "413 Content Too Large", "417 Expectation Failed", "200 OK"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(put("Content-Length: 4")).await;
        let mut up = stage.next().await;
        up.only_head().await.unwrap();
        up.say(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nfinal")).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status().to_string().as_str(), answer.text().as_str(), answer.error()), (&status[..3], "final", None));
        drop(wire);
        // What comes next on the other connection would be taken for the body.
        let mut next = Wire::to(bench.proxy).await;
        next.say(request("GET", "/v1/y", "")).await;
        let (mut second, _) = stage.request().await;
        second.say(OK).await;
        assert_eq!(next.answer().await.status(), 200, "{status}");
        assert_eq!(up.rest().await, "", "{status}: no byte of a body was sent, nor another request");
        drop(second);
        settled().await;
    }
}

#[tokio::test]
async fn an_upstream_that_never_says_so_gets_the_body_all_the_same() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(put("Content-Length: 4")).await;
    let mut up = stage.next().await;
    up.only_head().await.unwrap();
    // A caller that waits for ever is told after a while.
    let started = Instant::now();
    assert_eq!(wire.answer().await.status(), 100);
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&started.elapsed()), "{:?}", started.elapsed());
    wire.say("body").await;
    assert_eq!(up.until("body").await, "body");
    up.say(OK).await;
    assert_eq!(wire.answer().await.text(), "ok");
}

#[tokio::test]
async fn a_caller_that_does_not_wait_is_not_held_up_for_ever() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(put("Content-Length: 4") + "body").await;
    let (mut up, request) = stage.request().await;
    assert_eq!((request.text().as_str(), request.complete), ("body", true));
    up.say(OK).await;
    let mut answer = wire.answer().await;
    if answer.status() == 100 {
        answer = wire.answer().await;
    }
    assert_eq!(answer.text(), "ok");
    // Upstream's 100 may come when nobody waits for it any more, and more than once.
    wire.say(put("Content-Length: 4") + "body").await;
    up.only_head().await.unwrap();
    up.say(format!("{CONTINUE}{CONTINUE}")).await;
    assert_eq!(up.until("body").await, "body");
    up.say(format!("{CONTINUE}{OK}")).await;
    let mut answer = wire.answer().await;
    while answer.status() == 100 {
        answer = wire.answer().await;
    }
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn an_old_caller_is_never_told_to_go_on() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(format!("PUT /{TENANT}/api/v1/x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")).await;
    let mut up = stage.next().await;
    assert_eq!(up.only_head().await.unwrap().one("expect"), None, "it cannot wait for what it does not know");
    assert_eq!(up.until("body").await, "body");
    up.say(format!("{CONTINUE}{OK}")).await;
    let answer = wire.rest().await;
    assert!(answer.contains(" 200 ") && !answer.contains(" 100 "), "{answer}");
}

#[tokio::test]
async fn without_a_body_there_is_nothing_to_wait_for() {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let started = Instant::now();
    for headers in ["Expect: 100-continue\r\n", "Expect: 100-continue\r\nContent-Length: 0\r\n"] {
        wire.say(request("POST", "/v1/x", headers)).await;
        let mut answer = wire.answer().await;
        if answer.status() == 100 {
            answer = wire.answer().await;
        }
        assert_eq!(answer.text(), "ok", "{headers}");
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_the_proxy_itself_refuses_is_refused_before_the_body() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    for (path, status) in [("/nobody/api/v1/x", 404), ("/Cust12345/api/../x", 400)] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")).await;
        assert_eq!(wire.answer().await.status(), status);
    }
    assert_eq!(seen.count(), 0);
}

#[tokio::test]
async fn other_interim_answers_do_not_stand_for_the_final_one() {
    let (peer, _) = recorder(&format!("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{CONTINUE}{OK}")).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for _ in 0..2 {
        let mut answer = wire.get("/v1/x", "").await;
        // They may pass, but for the 100 that nobody waits for.
        while answer.status() < 200 {
            assert_ne!(answer.status(), 100);
            answer = wire.answer().await;
        }
        assert_eq!(answer.text(), "ok");
    }
}
