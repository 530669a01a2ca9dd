//! 401: one renewal, one replay, and never a storm.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame};
use sha2::{Digest, Sha256};
use soproxy::sandbox::{LoginFault, Unauthorized, demo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{HOUR, MINUTE, WHO, at_once, exchanged, pause, served};
use crate::bench::{Answer, Bench, Setup, TENANT, collect, open};
use crate::login::{Login, Token, http, no_secrets, unavailable};
use crate::logs::Logs;
use crate::peer::{Peer, read_request};

const ECHO: &str = "/api/v1/_sandbox/echo";
/// Old enough to be doubted.
const OLD: Duration = Duration::from_secs(3);

/// A body of unknown length, hence sent in chunks.
struct Chunks(VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }
}

async fn post(bench: &Bench, body: &Bytes, chunked: bool) -> Answer {
    if !chunked {
        return bench.call(Method::POST, ECHO, body.clone()).await;
    }
    let chunks = body.chunks(1000).map(|chunk| body.slice_ref(chunk)).collect();
    let request = Request::post(format!("/{TENANT}{ECHO}")).header("host", bench.proxy.to_string());
    collect(open(bench.proxy, request.body(Chunks(chunks)).unwrap()).await).await
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_revoked_ticket_is_renewed_and_the_request_replayed() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    for times in 2..=4 {
        hand.advance(OLD);
        bench.sandbox.control().revoke_tickets(Some(TENANT));
        served(&bench).await;
        exchanged(&bench, times).await;
        let counters = bench.sandbox.control().counters();
        assert_eq!(counters.unauthorized, times - 1);
        assert_eq!(counters.exchanges_of(demo::SECOND_TENANT), 1, "the other tenant's ticket is its own");
    }
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_replayed_byte_for_byte_and_a_larger_one_not_at_all() {
    for (limit, setting) in [(65536, None), (10, Some("10")), (0, Some("0"))] {
        let (setup, hand) = Setup::new().manual_clock();
        let mut setup = setup.set("renewal.max_age", "never");
        if let Some(setting) = setting {
            setup = setup.set("upstream.replay_limit", setting);
        }
        let bench = setup.start().await;
        served(&bench).await;
        for size in [0, 1, limit / 2, limit, limit + 1, limit * 3 + 5000] {
            for chunked in [false, true] {
                let what = format!("{size} bytes of {limit}, chunked: {chunked}");
                let body: Bytes = (0..size).map(|at| (at * 31 % 251) as u8).collect();
                // Long enough without a 401 that none of the earlier ones counts.
                hand.advance(16 * MINUTE);
                let before = bench.exchanges();
                bench.sandbox.control().revoke_tickets(Some(TENANT));
                let answer = post(&bench, &body, chunked).await;
                if size <= limit {
                    assert_eq!(answer.status, 200, "{what}: {answer:?}");
                    let echo = answer.json();
                    assert_eq!(
                        (echo["BodyLength"].as_u64(), echo["BodySha256"].as_str()),
                        (Some(size as u64), Some(&*sha256(&body))),
                        "{what}"
                    );
                } else {
                    assert_eq!((answer.status.as_u16(), answer.error()), (401, None), "{what}: SuperOffice's own 401 goes through");
                    assert_eq!(answer.json()["ErrorType"], "SoSessionException", "{what}");
                    served(&bench).await;
                }
                assert_eq!(bench.exchanges(), before + 1, "{what}");
            }
        }
    }
}

/// Answers the first connection's request 401 before its body is all there, and echoes the bodies of the others.
async fn impatient(said: Arc<Notify>, answer: Vec<u8>, closes: bool) -> Peer {
    Peer::start(move |number, mut stream: TcpStream| {
        let (said, answer) = (said.clone(), answer.clone());
        async move {
            if number > 0 {
                let request = read_request(&mut stream).await;
                let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                _ = stream.write_all(&http("200 OK", "", body)).await;
                return;
            }
            let mut seen = Vec::new();
            while !seen.windows(5).any(|part| part == b"FIRST") {
                if stream.read_buf(&mut seen).await.unwrap() == 0 {
                    return;
                }
            }
            _ = stream.write_all(&answer).await;
            said.notify_one();
            if !closes {
                // Goes on reading, as a server does that wants to keep the connection.
                while stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_401_that_comes_while_the_body_still_flows_is_replayed_with_the_whole_body() {
    for chunked in [false, true] {
        for closes in [false, true] {
            let said = Arc::new(Notify::new());
            let connection = if closes { "connection: close\r\n" } else { "" };
            let refusal = format!("HTTP/1.1 401 Unauthorized\r\n{connection}content-length: 0\r\n\r\n");
            let api = impatient(said.clone(), refusal.into(), closes).await;
            let login = Login::start(Token::good().reply()).await;
            let (setup, hand) = login.with_api(&api).set("renewal.prefetch", "true").manual_clock();
            let bench = setup.start().await;
            bench.generation(1).await;
            hand.advance(OLD);
            let mut stream = TcpStream::connect(bench.proxy).await.unwrap();
            let length = if chunked { "transfer-encoding: chunked" } else { "content-length: 11" };
            let head = format!("POST /{TENANT}/api/x HTTP/1.1\r\nhost: {}\r\n{length}\r\nconnection: close\r\n\r\n", bench.proxy);
            let (first, second) = if chunked { ("6\r\nFIRST-\r\n", "5\r\nOTHER\r\n0\r\n\r\n") } else { ("FIRST-", "OTHER") };
            stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
            timeout(Duration::from_secs(5), said.notified()).await.expect("the body streams");
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.write_all(second.as_bytes()).await.unwrap();
            let mut answer = String::new();
            timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("FIRST-OTHER"), "chunked {chunked}, closes {closes}: {answer}");
            assert_eq!((login.exchanges() >= 2, api.connections()), (true, 2));
        }
    }
}

#[tokio::test]
async fn a_401_that_comes_while_a_large_body_still_flows_goes_through_at_once() {
    let said = Arc::new(Notify::new());
    let api = impatient(said.clone(), http("401 Unauthorized", "", "no"), false).await;
    let login = Login::start(Token::good().reply()).await;
    let (setup, hand) = login.with_api(&api).manual_clock();
    let bench = setup.set("renewal.prefetch", "true").start().await;
    bench.generation(1).await;
    hand.advance(OLD);
    let mut stream = TcpStream::connect(bench.proxy).await.unwrap();
    let head = format!("POST /{TENANT}/api/x HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\r\nFIRST", bench.proxy);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.expect("the answer does not wait for the body").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    bench.generation(2).await;
    assert_eq!(bench.get("/api/x").await.status, 200);
}

#[tokio::test]
async fn a_hundred_requests_with_a_revoked_ticket_cause_one_exchange() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = Arc::new(setup.start().await);
    served(&bench).await;
    hand.advance(OLD);
    bench.sandbox.control().revoke_tickets(Some(TENANT));
    let answers = at_once(&bench, 100).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(bench.exchanges(), 2);
    assert!(bench.sandbox.control().counters().unauthorized >= 2, "more than one was refused");
}

#[tokio::test]
async fn a_young_ticket_is_not_doubted() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    exchanged(&bench, 1).await;
    for (older, age, doubted) in [(0, 0, false), (1900, 1900, false), (200, 2100, true)] {
        hand.advance(Duration::from_millis(older));
        bench.sandbox.control().change_faults(|faults| faults.unauthorized = Unauthorized::Next(1));
        let answer = bench.get(WHO).await;
        assert_eq!(answer.status.as_u16(), if doubted { 200 } else { 401 }, "{age} ms");
        pause().await;
        assert_eq!(bench.exchanges(), if doubted { 2 } else { 1 }, "{age} ms");
    }
}

#[tokio::test]
async fn when_fresh_tickets_are_refused_too_the_401_goes_through_and_exchanges_are_few() {
    let logs = Logs::capture();
    let (setup, hand) = Setup::new().fault("unauthorized=always").manual_clock();
    let bench = setup.start().await;
    exchanged(&bench, 1).await;
    hand.advance(OLD);
    let control = bench.sandbox.control();
    let answer = bench.get(WHO).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (401, None));
    assert_eq!(answer.json()["ErrorType"], "SoSessionException");
    assert_eq!(answer.headers["www-authenticate"], "SOTicket");
    assert_eq!((bench.exchanges(), control.counters().api_calls), (2, 2), "one renewal, one replay");

    let ready = bench.admin("/readyz").await.json();
    let tenant = &ready["tenants"][TENANT];
    assert_eq!((tenant["state"].as_str(), tenant["can_serve"].as_bool()), (Some("refused"), Some(false)), "{ready}");
    assert!(tenant["reason"].as_str().unwrap().contains("client_secret"), "{ready}");
    assert!(tenant["retry_seconds"].as_u64().is_some_and(|seconds| (1..=30).contains(&seconds)), "{ready}");

    // The first pause is of 30 s, the second twice as long.
    for (seconds, exchanges) in [(29, 2), (2, 3), (30, 3), (28, 3), (3, 4)] {
        hand.advance(Duration::from_secs(seconds));
        for _ in 0..5 {
            assert_eq!(bench.get(WHO).await.status, 401);
        }
        assert_eq!(bench.exchanges(), exchanges, "{seconds} s later");
    }
    // Hours of a call every half minute: no more than one exchange in 15 minutes in the end.
    for _ in 0..(3 * 120) {
        hand.advance(Duration::from_secs(30));
        assert_eq!(bench.get(WHO).await.status, 401);
    }
    let exchanges = bench.exchanges();
    assert!((10..=20).contains(&exchanges), "{exchanges} exchanges in three hours of 401s");

    // When the cause is mended the ticket that is there serves, and readiness says so.
    control.change_faults(|faults| faults.unauthorized = Unauthorized::Off);
    served(&bench).await;
    assert_eq!(bench.admin("/readyz").await.json()["tenants"][TENANT]["state"], "ready");
    assert_eq!(bench.exchanges(), exchanges);
    assert!(logs.warnings().iter().any(|line| line.contains("upstream answers 401 to a fresh ticket too")));
    no_secrets(&logs.text());
}

/// A wrong client secret: every exchange of the scripted service succeeds, and every call fails.
#[tokio::test]
async fn a_wrong_client_secret_is_no_storm() {
    let login = Login::start(Token::good().reply()).await;
    let api = Peer::answering(http("401 Unauthorized", "www-authenticate: SOTicket\r\n", "wrong application")).await;
    let (setup, hand) = login.with_api(&api).manual_clock();
    let bench = Arc::new(setup.start().await);
    for _ in 0..60 {
        let answers = at_once(&bench, 3).await;
        assert!(answers.iter().all(|answer| answer.status == 401 && answer.text() == "wrong application"));
        hand.advance(Duration::from_secs(1));
    }
    assert!((2..=4).contains(&login.exchanges()), "{} exchanges in a minute", login.exchanges());
    let ready = bench.admin("/readyz").await.json();
    assert_eq!(ready["tenants"][TENANT]["state"], "refused", "{ready}");
}

/// One part of the web API that this application may not use does not take the others along.
#[tokio::test]
async fn a_401_of_one_path_leaves_the_others_served() {
    let login = Login::start(Token::good().reply()).await;
    let api = Peer::start(|_, mut stream| async move {
        let request = read_request(&mut stream).await;
        let status = if request.contains("/forbidden") { "401 Unauthorized" } else { "200 OK" };
        _ = stream.write_all(&http(status, "", "")).await;
    })
    .await;
    let (setup, hand) = login.with_api(&api).manual_clock();
    let bench = setup.start().await;
    for _ in 0..54 {
        assert_eq!(bench.get("/api/v1/forbidden").await.status, 401);
        assert_eq!(bench.get("/api/v1/allowed").await.status, 200);
        hand.advance(Duration::from_secs(10));
    }
    assert!(login.exchanges() <= 8, "{} exchanges in 9 minutes", login.exchanges());
    assert_eq!(bench.admin("/readyz").await.json()["tenants"][TENANT]["state"], "ready");
}

#[tokio::test]
async fn a_ticket_revoked_while_login_is_down_is_a_503() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    hand.advance(OLD);
    let control = bench.sandbox.control();
    control.change_faults(|faults| faults.login = LoginFault::Down);
    control.revoke_tickets(Some(TENANT));
    for _ in 0..3 {
        unavailable(&bench.get(WHO).await, "cannot be reached");
    }
    assert_eq!(bench.exchanges(), 2);
    let ready = bench.admin("/readyz").await.json();
    assert_eq!(ready["tenants"][TENANT]["state"], "failing", "{ready}");
    control.change_faults(|faults| faults.login = LoginFault::Ok);
    hand.advance(Duration::from_secs(2));
    bench.until("served again", async || bench.get(WHO).await.status == 200).await;
}

/// Should the 401 not have been about the ticket, the tenant goes on being served although login is down.
#[tokio::test]
async fn a_doubted_ticket_is_better_than_none() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    hand.advance(OLD);
    bench.sandbox.control().change_faults(|faults| {
        faults.login = LoginFault::Down;
        faults.unauthorized = Unauthorized::Next(1);
    });
    unavailable(&bench.get(WHO).await, "cannot be reached");
    served(&bench).await;
    assert_eq!(bench.exchanges(), 2);
}

/// 401s between hours of ordinary use are each believed.
#[tokio::test]
async fn a_renewal_that_was_the_cure_leaves_no_pause() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    for times in 2..=4 {
        hand.advance(OLD);
        bench.sandbox.control().revoke_tickets(None);
        served(&bench).await;
        assert_eq!(bench.exchanges(), times);
    }
    // A fourth so soon after the others is no cure that lasts.
    for (pause, status) in [(OLD, 200), (OLD, 401), (5 * MINUTE, 200)] {
        hand.advance(pause);
        bench.sandbox.control().revoke_tickets(None);
        assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, status);
    }
    hand.advance(HOUR);
    assert_eq!(bench.admin("/readyz").await.status, 200);
}
