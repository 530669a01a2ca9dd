//! Trailers: what a message says behind its body, both ways, without the lines that have no business there.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::BodyExt;

use crate::bench::{Setup, TENANT};
use crate::h2;
use crate::peer::Stage;
use crate::wire::{Message, OK, Wire, begin, recorder, request};

/// Who sends them behind a body means what only a head may say.
const FORBIDDEN: &str = "Authorization: Basic dHJhaWxlcg==\r\nSO-AppToken: theirs\r\nSO_AppToken: theirs\r\nConnection: X-Check\r\nX-Forwarded-For: 1.2.3.4\r\n\
                         Proxy-Authorization: Basic eA==\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: websocket\r\nCookie: SOOnline=x\r\n\
                         Set-Cookie: SOOnline=x\r\nX-Soproxy-Error: unknown_tenant\r\n";

/// Their names, for `Trailer`.
fn declared() -> String {
    FORBIDDEN.lines().map(|line| format!(", {}", line.split(':').next().unwrap())).collect()
}

/// The trailers, names in lower case, sorted.
fn trailers(message: &Message) -> Vec<(String, String)> {
    let mut found: Vec<_> = message.trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const CHECKED: &[(&str, &str)] = &[("x-check", "abc"), ("x-more", "1"), ("x-more", "2")];
const BODY: &str =
    "Transfer-Encoding: chunked\r\nTrailer: X-Check, X-More\r\n\r\n4\r\nbody\r\n0\r\nX-Check: abc\r\nx-more: 1\r\nX-More: 2\r\n\r\n";

#[tokio::test]
async fn trailers_of_a_request_arrive() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for _ in 0..2 {
        wire.say(begin("POST", "/v1/x", BODY)).await;
        assert_eq!(wire.answer().await.status(), 200);
        assert_eq!((seen.last().text().as_str(), trailers(&seen.last())), ("body", pairs(CHECKED)));
    }
}

#[tokio::test]
async fn trailers_of_an_answer_arrive_when_the_caller_takes_trailers() {
    let (peer, seen) = recorder(&format!("HTTP/1.1 200 OK\r\n{BODY}")).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for te in ["TE: trailers\r\nConnection: TE\r\n", "TE: gzip;q=0.5, Trailers\r\n"] {
        let answer = wire.get("/v1/x", te).await;
        assert_eq!((answer.text().as_str(), trailers(&answer)), ("body", pairs(CHECKED)));
        assert_eq!(seen.last().one("te"), Some("trailers"));
    }
    // To others they may be lost, but nothing else is.
    let answer = wire.get("/v1/x", "").await;
    assert_eq!((answer.text().as_str(), answer.complete), ("body", true));
    let mut old = Wire::to(bench.proxy).await;
    old.say(format!("GET /{TENANT}/api/v1/x HTTP/1.0\r\nTE: trailers\r\n\r\n")).await;
    assert!(old.rest().await.ends_with("\r\n\r\nbody"));
}

/// Framing, which no caller has a reason to say there; what upstream says is only stripped.
const FRAMING: &str = "Host: evil.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n";

#[tokio::test]
async fn framing_in_a_requests_trailers_is_refused() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    for line in FRAMING.lines() {
        let mut wire = Wire::to(bench.proxy).await;
        let head = request("POST", "/v1/x", "Transfer-Encoding: chunked\r\n");
        wire.say(format!("{head}4\r\nbody\r\n0\r\nX-Check: abc\r\n{line}\r\n\r\n{}", request("GET", "/v1/next", ""))).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.error(), wire.rest().await.as_str()), (400, Some("body_incomplete"), ""), "{line}");
    }
    assert!(seen.all().iter().all(|request| !request.complete), "{:?}", seen.all());
}

#[tokio::test]
async fn credentials_do_not_hide_in_a_requests_trailers() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let head = request("POST", "/v1/x", &format!("Transfer-Encoding: chunked\r\nTrailer: X-Check{}\r\n", declared()));
    wire.say(format!("{head}4\r\nbody\r\n0\r\n{FORBIDDEN}X-Check: abc\r\n\r\n")).await;
    assert_eq!(wire.answer().await.status(), 200);
    let request = seen.last();
    let came = trailers(&request);
    assert!(request.text() == "body" && came.contains(&("x-check".into(), "abc".into())), "{request:?}");
    for line in FORBIDDEN.lines().filter(|line| !line.starts_with("Set-Cookie") && !line.starts_with("X-Soproxy")) {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        assert!(came.iter().all(|(have, _)| *have != name), "{name}: {came:?}");
    }
    assert!(request.one("authorization").is_some_and(|ticket| ticket.starts_with("SOTicket ")));
    assert_eq!(wire.get("/v1/x", "").await.status(), 200, "and the next request begins where this one ended");
}

#[tokio::test]
async fn what_only_a_head_may_say_does_not_come_in_an_answers_trailers() {
    let declared = declared();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check{declared}\r\n\r\n4\r\nbody\r\n0\r\n{FORBIDDEN}{FRAMING}X-Check: abc\r\n\r\n"
    );
    let (peer, _) = recorder(&answer).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let answer = wire.get("/v1/x", "TE: trailers\r\n").await;
    let came = trailers(&answer);
    assert!(came.contains(&("x-check".into(), "abc".into())), "{came:?}");
    for name in ["set-cookie", "x-soproxy-error", "content-length", "transfer-encoding", "connection", "trailer", "te", "upgrade"] {
        assert!(came.iter().all(|(have, _)| have != name), "{name}: {came:?}");
    }
    assert_eq!(wire.get("/v1/x", "").await.status(), 200);
}

#[tokio::test]
async fn trailers_go_with_a_body_that_is_sent_again() {
    let (setup, hand) = Setup::new().manual_clock();
    let stage = Stage::new().await;
    let bench = setup.api_at(stage.address).start().await;
    bench.generation(1).await;
    hand.advance(std::time::Duration::from_secs(3));
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("POST", "/v1/x", BODY)).await;
    let (mut up, first) = stage.request().await;
    up.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    // On the same connection or on another.
    let second = tokio::select! {
        again = up.message() => again.expect("the request comes again"),
        (mut other, again) = stage.request() => {
            std::mem::swap(&mut up, &mut other);
            again
        }
    };
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
    for request in [first, second] {
        assert_eq!((request.text().as_str(), trailers(&request)), ("body", pairs(CHECKED)));
    }
}

#[tokio::test]
async fn an_http_2_caller_gives_and_gets_trailers_as_grpc_does() {
    for declared in [true, false] {
        let line = if declared { "Trailer: grpc-status, grpc-message\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n{line}\r\n\
             5\r\n\0\0\0\0\0\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\nContent-Length: 5\r\n\r\n"
        );
        let (peer, seen) = recorder(&answer).await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let mut caller = h2::caller(bench.proxy).await;
        let (feed, body) = h2::feed();
        feed.send(Frame::data(Bytes::from_static(b"\0\0\0\0\x01a"))).unwrap();
        feed.send(Frame::trailers(HeaderMap::from_iter([("x-check".parse().unwrap(), "abc".parse().unwrap())]))).unwrap();
        drop(feed);
        let request = Request::post(h2::uri(bench.proxy, "/v1/x")).header("te", "trailers").header("content-type", "application/grpc");
        let answer = caller.send_request(request.header("trailer", "x-check").body(body).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, "application/grpc"));
        let body = answer.into_body().collect().await.unwrap();
        let trailers = body.trailers().expect("trailers came").clone();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "fine");
        assert!(!trailers.contains_key("content-length"));
        assert_eq!(body.to_bytes().as_ref(), b"\0\0\0\0\0");
        let request = seen.last();
        assert_eq!((request.body.as_slice(), request.one("te")), (&b"\0\0\0\0\x01a"[..], Some("trailers")));
        assert_eq!(self::trailers(&request), pairs(&[("x-check", "abc")]));
    }
}
