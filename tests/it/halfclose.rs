//! How a caller leaves: a FIN says that it has nothing more to say, a reset or a failed write that it is gone.

use tokio::io::AsyncWriteExt;
use tokio::time::{Duration, timeout};

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::{Stage, settled};
use crate::wire::{End, OK, Wire, begin, request};

#[tokio::test]
async fn a_caller_that_has_nothing_more_to_say_gets_its_answer() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for version in ["1.1", "1.0"] {
        for (first, rest) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst ", "rest!"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n", "5\r\nrest!\r\n0\r\n\r\n"),
        ] {
            let mut wire = Wire::to(bench.proxy).await;
            wire.say(format!("POST /{TENANT}/api/v1/x HTTP/{version}\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")).await;
            wire.finish().await;
            let (mut up, request) = stage.request().await;
            assert_eq!(request.text(), "body");
            // Upstream thinks; nobody takes the silence for the end.
            assert!(wire.is_quiet().await);
            up.say(first).await;
            wire.until("first ").await;
            up.say(rest).await;
            let rest = wire.rest().await;
            assert!(rest.contains("rest!") && (version == "1.0" || !first.contains("chunked") || rest.ends_with("0\r\n\r\n")), "{rest:?}");
            assert_eq!(wire.end().await, End::Closed, "there is nobody to wait for");
            drop(up);
            settled().await;
        }
    }
}

#[tokio::test]
async fn all_that_was_asked_before_the_fin_is_answered() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say((0..4).map(|number| request("GET", &format!("/v1/_sandbox/echo?n={number}"), "")).collect::<String>()).await;
    wire.finish().await;
    for number in 0..4 {
        assert_eq!(wire.answer().await.json()["Target"], format!("/{TENANT}/api/v1/_sandbox/echo?n={number}"));
    }
    assert_eq!(wire.end().await, End::Closed);
}

#[tokio::test]
async fn a_fin_between_requests_ends_the_connection() {
    let bench = Bench::start().await;
    let mut fresh = Wire::to(bench.proxy).await;
    let mut used = Wire::to(bench.proxy).await;
    assert_eq!(used.get("/v1/_sandbox/echo", "").await.status(), 200);
    for wire in [&mut fresh, &mut used] {
        wire.finish().await;
        assert_eq!((wire.rest().await, wire.end().await), (String::new(), End::Closed));
    }
}

#[tokio::test]
async fn a_fin_in_the_middle_of_a_body_is_no_end_of_it() {
    for framing in ["Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n", "Content-Length: 100\r\n\r\npartial"] {
        let stage = Stage::new().await;
        let bench = Setup::new().api_at(stage.address).start().await;
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(begin("POST", "/v1/x", framing)).await;
        let mut up = stage.next().await;
        up.until("partial").await;
        wire.finish().await;
        let rest = up.rest().await;
        assert!(!rest.contains("0\r\n\r\n"), "upstream must not take a part for the whole: {rest:?}");
        if let Some(answer) = wire.message().await {
            assert_eq!((answer.status(), answer.error()), (400, Some("body_incomplete")));
        }
        wire.end().await;
        assert!(stage.is_quiet().await, "and nothing is sent again");
    }
}

#[tokio::test]
async fn a_fin_in_the_middle_of_a_head_is_the_end() {
    let bench = Bench::start().await;
    for beginning in ["G", "GET /Cust12345/api/v1/_sandbox/echo HTTP/1.1\r\nHost: localhost\r\n", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(beginning).await;
        wire.finish().await;
        let rest = wire.rest().await;
        assert!(!rest.contains(" 200 "), "{rest}");
    }
    assert_eq!(bench.sandbox.control().counters().api_calls, 0);
}

#[tokio::test]
async fn a_reset_while_upstream_thinks_cancels_the_request() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for body in ["\r\n", "Content-Length: 4\r\n\r\nbody"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(begin("POST", "/v1/x", body)).await;
        let (mut up, _) = stage.request().await;
        wire.reset();
        up.end().await;
    }
    assert!(stage.is_quiet().await, "and nothing is sent again");
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_cancels_the_request() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for framing in ["Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n", "Content-Length: 100\r\n\r\npartial"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(begin("POST", "/v1/x", framing)).await;
        let mut up = stage.next().await;
        up.until("partial").await;
        wire.reset();
        let rest = up.rest().await;
        assert!(!rest.contains("0\r\n\r\n"), "upstream must not take a part for the whole: {rest:?}");
    }
}

#[tokio::test]
async fn a_caller_that_is_gone_in_the_middle_of_its_answer_cancels_the_rest() {
    for (version, resets) in [("1.1", false), ("1.1", true), ("1.0", false)] {
        for framing in ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"] {
            let stage = Stage::new().await;
            let bench = Setup::new().api_at(stage.address).start().await;
            let mut wire = Wire::to(bench.proxy).await;
            wire.say(format!("GET /{TENANT}/api/v1/x HTTP/{version}\r\nHost: localhost\r\n\r\n")).await;
            let (mut up, _) = stage.request().await;
            up.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
            let endless = async { while up.stream.write_all(chunk.as_bytes()).await.is_ok() {} };
            let leave = async {
                wire.until("xxx").await;
                if resets { wire.reset() } else { drop(wire) }
            };
            timeout(Duration::from_secs(10), async { tokio::join!(endless, leave) }).await.expect("upstream is not kept sending for ever");
        }
    }
}

#[tokio::test]
async fn a_caller_that_is_gone_frees_its_place() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.max_requests", "1").start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    wire.reset();
    up.end().await;
    let mut next = Wire::to(bench.proxy).await;
    bench
        .until("there is room again", async || {
            next.say(request("GET", "/v1/x", "")).await;
            tokio::select! {
                refused = next.answer() => refused.error() != Some("overloaded"),
                (mut up, _) = stage.request() => {
                    up.say(OK).await;
                    true
                }
            }
        })
        .await;
}
