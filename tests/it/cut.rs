//! Upstream breaks off in the middle of an answer: the caller's answer breaks off too, and never looks whole.

use http::Request;
use http_body_util::BodyExt;

use crate::bench::{Setup, TENANT, collect};
use crate::h2;
use crate::peer::Stage;
use crate::wire::{End, OK, Wire, request};

/// The beginnings of answers, and what they are broken off by: what upstream still says, and whether it resets.
const CUTS: [(&str, &str, bool); 9] = [
    ("Content-Length: 100\r\n\r\npartial", "", false),
    ("Content-Length: 100\r\n\r\npartial", "", true),
    ("Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n", "", false),
    ("Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n", "", true),
    ("Transfer-Encoding: chunked\r\n\r\n64\r\npartial", "", false),
    ("Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n", "0\r\n", false),
    ("Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n", "nonsense\r\n\r\n", false),
    ("Transfer-Encoding: chunked\r\n\r\n7\r\npartial", "more than was said\r\n0\r\n\r\n", false),
    // Its end would be the end of the connection, but a reset is no end.
    ("Connection: close\r\n\r\npartial", "", true),
];

/// Plays one of them behind the request that has come.
async fn play(up: Wire, cut: (&str, &str, bool), began: impl Future<Output = ()>) {
    let mut up = up;
    up.say(format!("HTTP/1.1 200 OK\r\n{}", cut.0)).await;
    began.await;
    up.say(cut.1).await;
    if cut.2 { up.reset() } else { drop(up) }
}

#[tokio::test]
async fn a_caller_of_http_1_1_sees_that_its_answer_is_not_whole() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for cut in CUTS {
        for connection in ["", "Connection: close\r\n"] {
            let mut wire = Wire::to(bench.proxy).await;
            wire.say(request("GET", "/v1/x", connection)).await;
            let (up, _) = stage.request().await;
            let mut head = String::new();
            play(up, cut, async { head = wire.until("partial").await }).await;
            let rest = wire.rest().await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let lower = head.to_lowercase();
            assert!(lower.contains("\r\ncontent-length: 100\r\n") || lower.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
            assert!(!rest.contains("0\r\n\r\n"), "{cut:?}: the last chunk would say that the body is whole: {rest:?}");
        }
    }
}

#[tokio::test]
async fn what_came_before_the_break_arrives_although_both_came_at_once() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for cut in CUTS.into_iter().filter(|(_, _, reset)| !reset) {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(request("GET", "/v1/x", "")).await;
        let (up, _) = stage.request().await;
        play(up, (&format!("{}{}", cut.0, cut.1), "", false), async {}).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.complete), (200, false), "{cut:?}");
        assert!(answer.text().starts_with("partial"), "{cut:?}");
    }
}

#[tokio::test]
async fn a_caller_of_http_1_0_gets_a_reset_where_the_end_would_say_that_all_is_well() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for cut in CUTS {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(format!("GET /{TENANT}/api/v1/x HTTP/1.0\r\n\r\n")).await;
        let (up, _) = stage.request().await;
        let mut head = String::new();
        play(up, cut, async { head = wire.until("partial").await }).await;
        let end = wire.end().await;
        assert!(end == End::Reset || head.to_lowercase().contains("\r\ncontent-length: 100\r\n"), "{cut:?}");
    }
}

#[tokio::test]
async fn a_caller_of_http_2_gets_its_stream_reset_and_keeps_the_others() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut caller = h2::caller(bench.proxy).await;
    let get = || Request::get(h2::uri(bench.proxy, "/v1/x")).body(h2::whole("")).unwrap();
    let other = tokio::spawn(caller.send_request(get()));
    let (mut other_up, _) = stage.request().await;
    for cut in CUTS {
        let answer = tokio::spawn(caller.send_request(get()));
        let (up, _) = stage.request().await;
        let mut body = None;
        play(up, cut, async {
            let mut answer = answer.await.unwrap().unwrap().into_body();
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "partial");
            body = Some(answer);
        })
        .await;
        assert!(body.unwrap().collect().await.is_err(), "{cut:?}");
    }
    other_up.say(OK).await;
    assert_eq!(collect(other.await.unwrap().unwrap()).await.text(), "ok");
}

#[tokio::test]
async fn a_head_that_breaks_off_is_a_502_and_is_not_asked_for_again() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for head in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        for resets in [false, true] {
            let mut wire = Wire::to(bench.proxy).await;
            let path = format!("/v1/{}-{resets}", head.len());
            wire.say(request("GET", &path, "")).await;
            let (mut up, request) = stage.request().await;
            assert!(request.first.contains(&path), "another one was sent again: {request:?}");
            up.say(head).await;
            if resets {
                up.reset()
            } else {
                drop(up)
            }
            let answer = wire.answer().await;
            assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")), "{head:?}");
        }
    }
    assert!(stage.is_quiet().await, "they may have been done");
}
