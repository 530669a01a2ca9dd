//! What is sent twice: a request that upstream could not have read, and one whose ticket was refused. Nothing else, ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::bench::{Setup, TENANT};
use crate::binary::Home;
use crate::peer::{Peer, Stage};
use crate::wire::{OK, Wire, begin, request};

/// One exchange, so that the next request finds a connection in the pool.
async fn warm(wire: &mut Wire, stage: &Stage) -> Wire {
    wire.say(request("GET", "/v1/warm", "")).await;
    let (mut up, request) = stage.request().await;
    assert!(request.first.contains("/warm"), "{request:?}");
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
    up
}

#[tokio::test]
async fn what_upstream_may_have_read_is_not_sent_again() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.workers", "1").start().await;
    for (method, body) in [("GET", "\r\n"), ("HEAD", "\r\n"), ("POST", "Content-Length: 4\r\n\r\nbody"), ("DELETE", "\r\n")] {
        for (pooled, resets) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut wire = Wire::to(bench.proxy).await;
            let mut up = if pooled { Some(warm(&mut wire, &stage).await) } else { None };
            let what = format!("{method}, pooled: {pooled}, reset: {resets}");
            let path = format!("/v1/{method}-{pooled}-{resets}");
            wire.say(begin(method, &path, body)).await;
            let mut up = match up.take() {
                Some(up) => up,
                None => stage.next().await,
            };
            // One that was sent again would come here instead.
            assert!(up.message().await.is_some_and(|request| request.first.contains(&path)), "{what}");
            if resets {
                up.reset()
            } else {
                drop(up)
            }
            let answer = wire.only_head().await.unwrap();
            assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")), "{what}");
        }
    }
    assert!(stage.is_quiet().await, "they may have been done");
}

#[tokio::test]
async fn half_a_body_is_not_sent_again() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("listen.workers", "1").start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let mut up = warm(&mut wire, &stage).await;
    wire.say(begin("POST", "/v1/x", "Content-Length: 8\r\n\r\nhalf")).await;
    up.until("half").await;
    up.reset();
    wire.say("rest").await;
    assert_eq!(wire.answer().await.error(), Some("upstream_unreachable"));
    assert!(stage.is_quiet().await);
}

/// Answers, and closes at any moment behind that: sometimes before the next request, sometimes upon it, sometimes not at all.
async fn fickle(seen: Arc<Mutex<BTreeMap<String, usize>>>) -> Peer {
    Peer::start(move |number, stream| {
        let seen = seen.clone();
        async move {
            let mut wire = Wire::of(stream);
            let mut left = number % 4;
            while let Some(request) = wire.message().await {
                if !request.complete {
                    return;
                }
                *seen.lock().unwrap().entry(request.text()).or_default() += 1;
                wire.say(OK).await;
                if left == 0 {
                    let moment = Duration::from_micros(number as u64 * 37 % 400);
                    tokio::time::sleep(moment).await;
                    if number % 3 == 0 {
                        wire.reset();
                    }
                    return;
                }
                left -= 1;
            }
        }
    })
    .await
}

#[tokio::test]
async fn no_post_arrives_twice_at_an_upstream_that_closes_at_any_moment() {
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let peer = fickle(seen.clone()).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut served = 0;
    let mut wires = Vec::new();
    for _ in 0..4 {
        wires.push(Wire::to(bench.proxy).await);
    }
    for round in 0..100 {
        for (caller, wire) in wires.iter_mut().enumerate() {
            let body = format!("{round:04}-{caller}");
            wire.say(begin("POST", "/v1/x", &format!("Content-Length: {}\r\n\r\n{body}", body.len()))).await;
        }
        for (caller, wire) in wires.iter_mut().enumerate() {
            let answer = wire.answer().await;
            let times = seen.lock().unwrap().get(&format!("{round:04}-{caller}")).copied().unwrap_or_default();
            match answer.status() {
                200 => assert_eq!(times, 1),
                502 => assert!(times < 2),
                other => panic!("{other}"),
            }
            served += usize::from(answer.status() == 200);
        }
    }
    // How many are lost depends on the moments; that most are not shows that the pool works.
    assert!(served > 200, "only {served} of 400 were served");
    assert!(seen.lock().unwrap().values().all(|&times| times == 1));
}

#[tokio::test]
async fn a_request_whose_ticket_was_refused_is_sent_twice_at_most_and_logged_as_such() {
    let stage = Stage::new().await;
    let home = Home::new().await.api_at(stage.address).variable("SOPROXY_LOG__FORMAT", "json").variable("SOPROXY_LISTEN__WORKERS", "1");
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut wire = Wire::to(proxy).await;
    let mut up = warm(&mut wire, &stage).await;
    // A ticket is doubted when it is two seconds old.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    wire.say(begin("POST", "/v1/x", "X-Request-Id: twice-1\r\nContent-Length: 4\r\n\r\nbody")).await;
    let first = up.message().await.unwrap();
    up.say(refusal).await;
    let second = up.message().await.expect("the same connection serves again");
    assert_eq!((first.text().as_str(), second.text().as_str()), ("body", "body"));
    assert_ne!(first.one("authorization"), second.one("authorization"));
    up.say(refusal).await;
    assert_eq!(wire.answer().await.status(), 401, "and not a third time");
    // One that was not.
    wire.say(begin("GET", "/v1/x", "X-Request-Id: once-1\r\n\r\n")).await;
    assert_eq!(up.message().await.unwrap().one("x-request-id"), Some("once-1"));
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
    let record = |id: &str| -> Value {
        let log = program.stderr();
        serde_json::from_str(log.lines().find(|line| line.contains(id)).unwrap()).unwrap()
    };
    program.logged("\"once-1\"", 1).await;
    let (twice, once) = (record("\"twice-1\""), record("\"once-1\""));
    assert_eq!((&twice["sent_twice"], &twice["status"]), (&"ticket refused".into(), &401.into()), "{twice}");
    assert!(once.get("sent_twice").is_none() && twice.get("replayed").is_none(), "{once}");
    assert_eq!(program.stderr().matches("\"twice-1\"").count(), 1, "one request, one line");
    assert!(once["tenant"] == TENANT);
}
