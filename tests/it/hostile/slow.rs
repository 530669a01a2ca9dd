//! Callers that are slow on purpose, and callers that are many.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::bench::Setup;
use crate::binary::Home;
use crate::wire::{End, OK, Wire, begin, recorder, request};

#[tokio::test]
async fn heads_that_come_drop_by_drop_are_closed_and_others_are_served_meanwhile() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.header_read_timeout", "400ms").start().await;
    let mut drips = Vec::new();
    for _ in 0..50 {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(begin("GET", "/v1/slow", "")).await;
        drips.push(wire);
    }
    let mut good = Wire::to(bench.proxy).await;
    // Something comes all the time, and it does not help.
    let mut closed = 0;
    for drop in 0..200 {
        for wire in &mut drips {
            use tokio::io::AsyncWriteExt;
            let _ = wire.stream.write_all(format!("X-{drop}: y\r\n").as_bytes()).await;
        }
        assert_eq!(good.get("/v1/good", "").await.status(), 200);
        sleep(Duration::from_millis(20)).await;
        if drips[0].is_quiet().await {
            continue;
        }
        closed = drop;
        break;
    }
    assert!(closed > 0, "they are still there");
    for mut wire in drips {
        let said = wire.rest().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    assert!(seen.all().iter().all(|request| request.first.contains("/v1/good")));
    assert_eq!(good.get("/v1/good", "").await.status(), 200);
}

#[tokio::test]
async fn half_an_empty_line_or_half_a_preface_is_no_request() {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.header_read_timeout", "300ms").start().await;
    for bytes in ["", "\r", "\r\n", "\r\n\r\n", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(bytes).await;
        let said = wire.rest().await;
        assert!(!said.contains(" 200 "), "{bytes:?}: {said:?}");
        assert_eq!(wire.end().await, End::Closed, "{bytes:?}");
    }
}

/// A hundred connections at a program that may open far fewer files: each one waits, in the kernel's queue, and is served.
#[tokio::test]
async fn a_program_out_of_file_descriptors_drops_nobody_and_does_not_fill_the_log() {
    let home = Home::new().await.limited("ulimit -n 48");
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(TcpStream::connect(proxy).await.unwrap());
    }
    program.logged("cannot accept connections", 1).await;
    let used = cpu(program.pid());
    sleep(Duration::from_millis(700)).await;
    assert!(cpu(program.pid()) - used < 20, "it has nothing to do but to wait");
    let told = program.stderr().matches("cannot accept connections").count();
    for (number, stream) in streams.into_iter().enumerate() {
        let mut wire = Wire::of(stream);
        wire.say("GET /nobody HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        assert_eq!(wire.answer().await.error(), Some("unknown_tenant"), "{number}");
    }
    assert_eq!(told, 1, "{}", program.stderr());
    let mut wire = Wire::to(proxy).await;
    wire.say(request("GET", "/v1/User/currentPrincipal", "")).await;
    assert_eq!(wire.answer().await.status(), 200, "and all is as before");
}

/// Processor time of a process so far, hundredths of a second.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind_the_name = stat.rsplit_once(") ").unwrap().1;
    behind_the_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
