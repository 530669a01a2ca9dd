//! What the proxy answers for itself: every code, its status, its body; and what fails upstream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use soproxy::proxy::error::ProxyError;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::bench::{Bench, Setup, TENANT};
use crate::login::{Login, Token, state};
use crate::peer::Peer;
use crate::wire::{Message, OK, Wire, ask, assert_no_secret, recorder};

fn get(path: &str) -> String {
    format!("GET /{TENANT}/api{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A peer that answers each request only when told to.
async fn held() -> (Peer, Arc<Notify>) {
    Peer::gated("", OK).await
}

/// One answer of each code, by whatever brings it about.
async fn one_of_each() -> BTreeMap<String, Message> {
    let mut answers = Vec::new();
    let (peer, go_on) = held().await;
    let bench = Setup::new()
        .api_at(peer.address)
        .fault("login_of.Cust54321=down")
        .set("tenants.Cust54321.api_url", &format!("http://{}/b", peer.address))
        .set("listen.max_body", "10")
        .set("upstream.response_timeout", "300ms")
        .start()
        .await;
    for request in [
        "GET /nobody/api/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /Cust12345/api/../x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /Cust12345/api/v1 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        &format!("GET /Cust12345/api/v1 HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(100)),
        "TRACE /Cust12345/api/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /Cust12345/api/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n",
        "GET /Cust12345/api/v1 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
        "POST /Cust12345/Remote/Services88/Contact.svc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n<a/>",
        "GET /Cust54321/api/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /Cust12345/api/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        answers.push(ask(bench.proxy, request).await);
    }
    drop(bench);
    go_on.notify_waiters();
    let bench = Setup::new().api_at(Peer::answering("").await.address).start().await;
    answers.push(ask(bench.proxy, get("/v1")).await);
    answers.push(overloaded().await);
    answers.push(too_many_connections().await);
    answers.push(uri_too_long().await);
    let gzipped = format!("POST /{TENANT}/api/v1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    answers.push(ask(bench.proxy, gzipped).await);
    answers.push(body_timeout().await);
    answers.push(body_incomplete().await);
    for fault in ["state.Cust12345=Suspended", "state.Cust12345=Deleted"] {
        let bench = Setup::new().fault(fault).start().await;
        answers.push(ask(bench.proxy, get("/v1")).await);
    }
    let login = Login::start(Token::good().of("webapi_url", "nonsense").reply()).await;
    login.on_state(state("https://elsewhere.example/Cust12345/api"));
    let bench = Setup::new().login_at(login.address()).start().await;
    answers.push(ask(bench.proxy, get("/v1")).await);
    answers.push(shutting_down(&bench).await);
    for (key, value) in [("clients.erp.uids", "4294967295"), ("anonymous.tenants", ""), ("anonymous.rate", "0.001")] {
        let (peer, _) = recorder(OK).await;
        let bench = Setup::new().api_at(peer.address).set(key, value).start().await;
        let mut answer = ask(bench.proxy, get("/v1")).await;
        if answer.status() == 200 {
            answer = ask(bench.proxy, get("/v1")).await;
        }
        answers.push(answer);
    }
    answers.into_iter().map(|answer| (answer.error().expect("an answer of the proxy's own").to_owned(), answer)).collect()
}

/// The caller says that it sends ten bytes, sends three, and nothing more.
async fn body_incomplete() -> Message {
    let (peer, _go_on) = held().await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(format!("POST /{TENANT}/api/v1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n"))
        .await;
    wire.answer().await
}

async fn too_many_connections() -> Message {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_connections", "1").start().await;
    let mut first = Wire::to(bench.proxy).await;
    assert_eq!(first.get("/v1", "").await.status(), 200);
    let answer = ask(bench.proxy, get("/v1")).await;
    assert_eq!(answer.one("connection"), Some("close"));
    drop(first);
    bench.until("there is room again", async || ask(bench.proxy, get("/v1")).await.status() == 200).await;
    answer
}

async fn uri_too_long() -> Message {
    let (peer, _) = recorder(OK).await;
    let longest = format!("/{TENANT}/api/v1/x");
    let bench = Setup::new().api_at(peer.address).set("listen.max_uri", &longest.len().to_string()).start().await;
    assert_eq!(ask(bench.proxy, get("/v1/x")).await.status(), 200);
    ask(bench.proxy, get("/v1/x?")).await
}

async fn body_timeout() -> Message {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.body_timeout", "100ms").start().await;
    ask(bench.proxy, format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")).await
}

async fn overloaded() -> Message {
    let (peer, go_on) = held().await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_requests", "1").start().await;
    let mut first = Wire::to(bench.proxy).await;
    first.say(get("/v1")).await;
    bench.until("the first is upstream", async || peer.connections() == 1).await;
    let answer = ask(bench.proxy, get("/v1")).await;
    go_on.notify_one();
    assert_eq!(first.answer().await.status(), 200);
    go_on.notify_one();
    assert_eq!(ask(bench.proxy, get("/v1")).await.status(), 200, "there is room again");
    answer
}

/// The head of a request for a tunnel is on its way when the drain begins.
async fn shutting_down(bench: &Bench) -> Message {
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(get("/v1").trim_end()).await;
    wire.say("\r\nConnection: Upgrade\r\nUpgrade: websocket").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.stop.drain.cancel();
    wire.say("\r\n\r\n").await;
    wire.answer().await
}

#[tokio::test]
async fn every_code_of_the_table_comes_with_its_status_and_a_problem_of_both_kinds() {
    let answers = one_of_each().await;
    let seen: Vec<(&str, u16)> = answers.iter().map(|(code, answer)| (code.as_str(), answer.status())).collect();
    // A mistake of ours cannot be had for the asking.
    let mut table: Vec<_> = ProxyError::TABLE.into_iter().filter(|row| row.0 != "internal_error").collect();
    table.sort();
    assert_eq!(seen, table);
    // As the issue lists them.
    for row in [
        ("unknown_tenant", 404),
        ("bad_target", 400),
        ("body_too_large", 413),
        ("ticket_unavailable", 503),
        ("upstream_unreachable", 502),
        ("upstream_timeout", 504),
        ("forbidden_origin", 403),
        ("shutting_down", 503),
        ("overloaded", 503),
    ] {
        assert!(seen.contains(&row), "{row:?}");
    }
    for (code, answer) in &answers {
        assert_eq!(answer.one("content-type"), Some("application/problem+json"), "{code}");
        assert_eq!(answer.one("cache-control"), Some("no-store"), "{code}");
        assert_eq!(answer.one("retry-after").is_some(), matches!(answer.status(), 429 | 503), "{code}");
        let body = answer.json();
        assert_eq!(body["status"], answer.status(), "{code}");
        assert_eq!(body["code"], code.as_str());
        assert_eq!(body["request_id"], answer.one("x-request-id").unwrap(), "{code}");
        for text in ["type", "title", "detail"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{code}: {body}");
        }
        // SuperOffice's own members, for a legacy client.
        assert_eq!(body["Error"], true, "{code}");
        assert_eq!(body["ErrorType"], code.as_str());
        assert_eq!(body["ErrorMessage"], body["detail"], "{code}");
        let whole = format!("{answer:?} {}", answer.text());
        assert_no_secret(&whole);
        for trace in ["panicked", "src/", ".rs:", "stack", "hyper", "os error", "127.0.0.1:"] {
            assert!(!whole.contains(trace), "{code}: {trace:?} in {whole}");
        }
    }
}

#[tokio::test]
async fn an_error_for_head_has_the_headers_and_no_body() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say("HEAD /nobody/api/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = wire.head().await.to_lowercase();
    assert!(head.starts_with("http/1.1 404 ") && head.contains("\r\nx-soproxy-error: unknown_tenant\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"), "{head}");
    let next = wire.get("/v1/_sandbox/echo", "").await;
    assert_eq!(next.status(), 200, "the next answer begins right after the head: {next:?}");
}

#[tokio::test]
async fn no_ticket_is_a_503_with_a_reason_and_when_to_come_back() {
    let bench = Setup::new().fault("login.refuse.code=Revoked").start().await;
    let answer = ask(bench.proxy, get("/v1/x")).await;
    assert_eq!((answer.status(), answer.error()), (503, Some("ticket_unavailable")));
    assert!(answer.one("retry-after").and_then(|wait| wait.parse::<u64>().ok()).is_some_and(|wait| (1..=60).contains(&wait)), "{answer:?}");
    assert!(answer.json()["ErrorMessage"].as_str().unwrap().contains("evoked"), "{}", answer.text());
    assert_no_secret(&answer.text());
    assert_eq!(bench.sandbox.control().counters().api_calls, 0);
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_a_502() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bench = Setup::new().api_at(closed).start().await;
    let answer = ask(bench.proxy, get("/v1/x")).await;
    assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")));
}

#[tokio::test]
async fn an_upstream_that_resets_the_connection_is_a_502() {
    // Dropped with the request unread, a socket is reset.
    let peer = Peer::start(|_, mut stream| async move {
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer = ask(bench.proxy, get("/v1/x")).await;
    assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")));
}

#[tokio::test]
async fn garbage_from_upstream_is_a_502() {
    let long_line = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(1_000_000));
    for garbage in [
        "",
        "garbage\r\n\r\n",
        "<html>504</html>",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
        // Nobody asked for another protocol.
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        long_line.as_str(),
    ] {
        let peer = Peer::answering(garbage).await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let answer = ask(bench.proxy, get("/v1/x")).await;
        assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")), "{garbage:.80}");
        assert!(!answer.text().contains("garbage") && !answer.text().contains("html"));
    }
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_a_504() {
    let (peer, _go_on) = held().await;
    let bench = Setup::new().api_at(peer.address).set("upstream.response_timeout", "200ms").start().await;
    let started = Instant::now();
    let answer = ask(bench.proxy, get("/v1/x")).await;
    assert_eq!((answer.status(), answer.error()), (504, Some("upstream_timeout")));
    assert!((Duration::from_millis(190)..Duration::from_secs(3)).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_long_upload_is_no_timeout_while_it_moves_and_is_one_when_it_stops() {
    let peer = Peer::start(|_, stream| async move {
        let mut wire = Wire::of(stream);
        if wire.message().await.is_some_and(|message| message.complete) {
            wire.say(OK).await;
        }
    })
    .await;
    let bench = Setup::new().api_at(peer.address).set("upstream.response_timeout", "300ms").start().await;
    let head = format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(&head).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        wire.say("3\r\nabc\r\n").await;
    }
    wire.say("0\r\n\r\n").await;
    assert_eq!(wire.answer().await.status(), 200);
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(head + "3\r\nabc\r\n").await;
    assert_eq!(wire.answer().await.error(), Some("upstream_timeout"));
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_anything_is_sent() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_body", "1KiB").start().await;
    let post = |length: usize| format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    let answer = ask(bench.proxy, post(1025)).await;
    assert_eq!((answer.status(), answer.error()), (413, Some("body_too_large")));
    assert_eq!((seen.count(), peer.connections()), (0, 0));
    let answer = ask(bench.proxy, post(1024) + &"x".repeat(1024)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(seen.last().body.len(), 1024);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused_and_never_taken_for_the_whole() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_body", "1KiB").start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    for _ in 0..3 {
        wire.say(format!("190\r\n{}\r\n", "x".repeat(0x190))).await;
    }
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.error()), (413, Some("body_too_large")));
    assert!(seen.all().iter().all(|request| !request.complete), "{:?}", seen.all());
}

#[tokio::test]
async fn by_default_no_body_is_too_large_and_a_download_holds_its_place_until_it_ends() {
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let peer = Peer::start(move |_, stream| {
        let gate = gate.clone();
        async move {
            let mut wire = Wire::of(stream);
            let request = wire.message().await.unwrap();
            wire.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{:08}", request.body.len())).await;
            gate.notified().await;
            wire.say("the rest").await;
        }
    })
    .await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_requests", "1").start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let body = "x".repeat(5_000_000);
    wire.say(format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    wire.until("05000000").await;
    let answer = ask(bench.proxy, get("/v1/x")).await;
    assert_eq!((answer.status(), answer.error(), answer.one("retry-after")), (503, Some("overloaded"), Some("1")));
    go_on.notify_one();
    assert_eq!(wire.until("the rest").await, "the rest");
    go_on.notify_one();
    bench.until("there is room again", async || ask(bench.proxy, get("/v1/x")).await.status() == 200).await;
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let bench = Setup::new().set("listen.header_read_timeout", "200ms").start().await;
    for beginning in ["", "G", "GET /Cust12345/api/v1/x HTTP/1.1\r\nHost: loc", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(beginning).await;
        let started = Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(3), wire.rest()).await;
        let answer = answer.unwrap_or_else(|_| panic!("still open after {beginning:?}"));
        assert!(!answer.contains(" 200 "), "{answer}");
        assert!(started.elapsed() >= Duration::from_millis(150));
    }
}
