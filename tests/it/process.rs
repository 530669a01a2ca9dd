//! The program as a process among others: how it stops, what it ends with, what a service manager hands it and hears of it.

mod handed;
mod notify;

use std::time::Duration;

use soproxy::cli::EXIT_CODES;

use crate::bench::{Setup, TENANT};
use crate::binary::{Home, get};
use crate::peer::Peer;
use crate::wire::{End, OK, Wire, request};

// Exit codes

/// A code, and by which arguments and variables it is had.
type Case<'a> = (u8, &'a [&'a str], &'a [(&'a str, &'a str)]);

#[tokio::test]
async fn the_program_ends_with_the_documented_codes_and_no_other() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("| exit code |").nth(1).expect("README has a table of exit codes").split("\n\n").next().unwrap();
    let rows: Vec<(u8, &str)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .filter_map(|(code, meaning)| Some((code.parse().ok()?, meaning)))
        .collect();
    assert_eq!(rows, EXIT_CODES.map(|(code, meaning)| (code, meaning)), "README's table of exit codes");

    let home = Home::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let cases: [Case; 9] = [
        (0, &["check"], &[]),
        (0, &["--version"], &[]),
        (1, &["healthcheck", "--address", "127.0.0.1:1"], &[]),
        (1, &["run"], &[("SOPROXY_LISTEN__ADDRESS", &taken)]),
        (2, &["run", "--no-such-option"], &[]),
        (2, &["sign", "nobody"], &[]),
        (78, &["check", "--config", "gone.toml"], &[]),
        (78, &["run"], &[("SOPROXY_LISTEN__GRACE", "soon")]),
        (78, &["run"], &[("SOPROXY_LOG__LEVEL", "soproxy=loud")]),
    ];
    let mut seen = Vec::new();
    for (code, arguments, variables) in cases {
        let output = home.run_with(arguments, variables).await;
        assert_eq!(output.code, i32::from(code), "{arguments:?} {variables:?}: {output:?}");
        seen.push(code);
    }
    seen.dedup();
    assert_eq!(seen, EXIT_CODES.map(|(code, _)| code), "each of them was seen");
}

// The two phases of a stop

#[tokio::test]
async fn a_leaving_proxy_serves_as_ever_but_is_not_ready_and_keeps_no_connection() {
    let home = Home::new().await.variable("SOPROXY_LISTEN__SHUTDOWN_DELAY", "1h");
    let mut program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    let mut kept = Wire::to(proxy).await;
    let answer = kept.get("/v1/_sandbox/echo", "").await;
    assert_eq!((answer.status(), answer.one("connection")), (200, None));
    program.signal("TERM");
    program.logged("leaving", 1).await;
    let readiness = get(admin, "/readyz").await;
    assert_eq!((readiness.status.as_u16(), &readiness.json()["draining"]), (503, &true.into()));
    assert_eq!(get(admin, "/livez").await.status, 200);
    // An old connection and a new one.
    for mut wire in [kept, Wire::to(proxy).await] {
        let answer = wire.get("/v1/_sandbox/echo", "").await;
        assert_eq!((answer.status(), answer.one("connection")), (200, Some("close")));
        assert_eq!(wire.end().await, End::Closed);
    }
    assert!(program.is_running() && !program.stderr().contains("draining"), "{}", program.stderr());
    program.signal("TERM");
    let output = program.ended().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("SIGTERM again: stopping at once"), "{}", output.stderr);
}

#[tokio::test]
async fn the_drain_follows_the_delay() {
    let home = Home::new().await.variable("SOPROXY_LISTEN__SHUTDOWN_DELAY", "50ms");
    let program = home.spawn(&["run"]);
    program.addresses().await;
    program.signal("INT");
    let output = program.ended().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let at = |what: &str| output.stderr.find(what).unwrap_or_else(|| panic!("{what}: {}", output.stderr));
    assert!(at("SIGINT: stopping") < at("leaving") && at("leaving") < at("draining") && at("draining") < at("stopped"));
}

#[tokio::test]
async fn a_drain_answers_all_that_came_before_it() {
    let (peer, go_on) = Peer::gated("", OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    // One that waits for its answer and has sent another request behind it; one that has sent half of its second request; one that
    // has only connected.
    let (mut busy, mut half, mut fresh) = (Wire::to(bench.proxy).await, Wire::to(bench.proxy).await, Wire::to(bench.proxy).await);
    half.say(request("GET", "/v1/1", "")).await;
    bench.until("it is upstream", async || peer.connections() == 1).await;
    go_on.notify_one();
    assert_eq!(half.answer().await.status(), 200);
    half.say(format!("GET /{TENANT}/api/v1/2 HTTP/1.1\r\nHost: local")).await;
    busy.say(request("GET", "/v1/3", "")).await;
    bench.until("it is upstream, too", async || peer.connections() == 2).await;
    bench.stop.drain.cancel();
    bench.until("no more is accepted", async || tokio::net::TcpStream::connect(bench.proxy).await.is_err()).await;
    half.say("host\r\n\r\n").await;
    fresh.say(request("GET", "/v1/4", "")).await;
    let answering = tokio::spawn(async move {
        loop {
            go_on.notify_one();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for mut wire in [busy, half, fresh] {
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.one("connection")), (200, Some("close")));
        assert_eq!(wire.end().await, End::Closed);
    }
    answering.abort();
}

#[tokio::test]
async fn a_drain_waits_for_nobody_who_says_nothing() {
    let bench = Setup::new().set("listen.grace", "1h").start().await;
    let mut rests = Wire::to(bench.proxy).await;
    assert_eq!(rests.get("/v1/_sandbox/echo", "").await.status(), 200);
    let (mut silent, mut half) = (Wire::to(bench.proxy).await, Wire::to(bench.proxy).await);
    half.say("GET /").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    bench.stop.drain.cancel();
    assert_eq!(rests.end().await, End::Closed);
    assert_eq!(silent.end().await, End::Closed);
    assert!(half.rest().await.starts_with("HTTP/1.1 408 "));
}
