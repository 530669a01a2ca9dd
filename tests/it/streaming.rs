//! Bodies, both ways: they stream, they are cut off where they break, they keep the connection's other end informed.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::bench::{Setup, TENANT};
use crate::peer::{Peer, read_request};
use crate::wire::{OK, Wire, recorder};

fn get(version: &str) -> String {
    format!("GET /{TENANT}/api/v1/x HTTP/{version}\r\nHost: localhost\r\n\r\n")
}

#[tokio::test]
async fn the_first_bytes_of_an_answer_arrive_before_the_rest_exists() {
    for (first, rest) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n", "5\r\nrest!\r\n0\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst ", "rest!"),
    ] {
        let (peer, go_on) = Peer::gated(first, rest).await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(get("1.1")).await;
        let head = wire.until("first ").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("first "), "{head}");
        go_on.notify_one();
        assert!(wire.until("rest!").await.ends_with("rest!"));
    }
}

#[tokio::test]
async fn the_first_bytes_of_a_request_arrive_before_the_rest_exists() {
    for framing in ["Transfer-Encoding: chunked\r\n", "Content-Length: 11\r\n"] {
        let (told, mut arrived) = mpsc::channel(1);
        let peer = Peer::start(move |_, stream| {
            let told = told.clone();
            async move {
                let mut wire = Wire::of(stream);
                wire.until("first ").await;
                told.send(()).await.unwrap();
                wire.until("rest!").await;
                wire.say(OK).await;
            }
        })
        .await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let mut wire = Wire::to(bench.proxy).await;
        let chunked = framing.contains("chunked");
        let (first, second) = if chunked { ("6\r\nfirst \r\n", "5\r\nrest!\r\n0\r\n\r\n") } else { ("first ", "rest!") };
        wire.say(format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n{first}")).await;
        tokio::time::timeout(Duration::from_secs(5), arrived.recv()).await.expect("upstream has the beginning").unwrap();
        wire.say(second).await;
        assert_eq!(wire.answer().await.text(), "ok");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_has_ended() {
    let peer = Peer::start(|_, stream| async move {
        let mut wire = Wire::of(stream);
        wire.until("first ").await;
        wire.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nearly \r\n").await;
        wire.until("rest!").await;
        wire.say("4\r\nlate\r\n0\r\n\r\n").await;
    })
    .await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nfirst ")).await;
    assert!(wire.until("early ").await.ends_with("early "));
    wire.say("rest!").await;
    assert!(wire.until("late").await.ends_with("late"));
}

#[tokio::test]
async fn continue_is_said_once_the_body_is_wanted() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.max_body", "100").start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let head = |length: u32| {
        format!("PUT /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    wire.say(head(4)).await;
    assert_eq!(wire.answer().await.status(), 100);
    wire.say("body").await;
    assert_eq!(wire.answer().await.status(), 200);
    assert_eq!(seen.last().text(), "body");
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(head(101)).await;
    assert_eq!(wire.answer().await.status(), 413, "without asking for a body that is refused");
}

#[tokio::test]
async fn an_answer_that_upstream_breaks_off_is_broken_off_here_too() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\nnonsense\r\n",
    ] {
        let peer = Peer::answering(answer).await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(get("1.1")).await;
        match wire.message().await {
            // Nothing but a connection that ends: as good a sign.
            None => {}
            Some(cut) => assert!(!cut.complete && cut.status() == 200, "{answer:?} became {cut:?}"),
        }
        assert_eq!(wire.rest().await, "", "and the connection ends");
    }
}

#[tokio::test]
async fn an_upload_that_the_caller_breaks_off_is_broken_off_upstream_too() {
    for framing in ["Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n", "Content-Length: 100\r\n\r\npartial"] {
        let (told, mut arrived) = mpsc::channel(1);
        let peer = Peer::start(move |_, stream| {
            let told = told.clone();
            async move {
                let message = Wire::of(stream).message().await;
                told.send(message).await.unwrap();
            }
        })
        .await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\n{framing}")).await;
        bench.until("upstream is connected", async || peer.connections() > 0).await;
        drop(wire);
        let message = tokio::time::timeout(Duration::from_secs(5), arrived.recv()).await.expect("upstream's connection ends").unwrap();
        assert!(message.is_none_or(|message| !message.complete), "upstream must not take a part for the whole");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_request_upstream() {
    for answered in ["", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning"] {
        let (told, mut events) = mpsc::channel(2);
        let peer = Peer::start(move |_, mut stream| {
            let told = told.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(answered.as_bytes()).await.unwrap();
                told.send("asked").await.unwrap();
                // Ends when the proxy closes the connection; nothing more is sent on it.
                let mut byte = [0];
                assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
                told.send("closed").await.unwrap();
            }
        })
        .await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(get("1.1")).await;
        assert_eq!(events.recv().await, Some("asked"));
        if !answered.is_empty() {
            wire.until("beginning").await;
        }
        // A FIN alone could come from one that still listens.
        wire.reset();
        let closed = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
        assert_eq!(closed.expect("within 5 s"), Some("closed"), "after {answered:?}");
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_upstream_down_instead_of_filling_memory() {
    let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = sent.clone();
    let peer = Peer::start(move |_, mut stream| {
        let sent = counted.clone();
        async move {
            read_request(&mut stream).await;
            let chunk = vec![b'x'; 64 * 1024];
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
            while stream.write_all(&chunk).await.is_ok() {
                sent.fetch_add(chunk.len() as u64, std::sync::atomic::Ordering::Relaxed);
            }
        }
    })
    .await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(get("1.1")).await;
    wire.until("\r\n\r\n").await;
    // Nobody reads on: what upstream can get rid of are the sockets' buffers, and that comes to an end.
    let mut before = u64::MAX;
    bench
        .until("upstream is held up", async || {
            tokio::time::sleep(Duration::from_millis(90)).await;
            let now = sent.load(std::sync::atomic::Ordering::Relaxed);
            std::mem::replace(&mut before, now) == now && now > 0
        })
        .await;
    assert!(before < 64 * 1024 * 1024, "{before} bytes went on to nobody");
}

/// The end of an answer may wait in our buffers for a caller that takes its time; the connection is not at rest then.
#[tokio::test]
async fn a_caller_that_pauses_before_the_end_of_its_answer_gets_all_of_it() {
    let pauses = [300_000, 600_000, 1_000_000, 3_000_000, 6_000_000].map(|size: usize| async move {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
        let peer = Peer::answering(answer).await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut wire = Wire::of(socket.connect(bench.proxy).await.unwrap());
        wire.say(get("1.1")).await;
        // Longer than an idle connection keeps its buffers.
        tokio::time::sleep(Duration::from_millis(900)).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.body.len(), answer.complete), (200, size, true));
    });
    together(pauses).await;
}

/// All of them at once.
async fn together<F: Future<Output = ()> + Send + 'static>(all: impl IntoIterator<Item = F>) {
    let all: Vec<_> = all.into_iter().map(tokio::spawn).collect();
    for one in all {
        one.await.unwrap();
    }
}
