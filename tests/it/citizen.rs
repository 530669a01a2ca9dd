//! A good citizen: nobody makes a tenant call SuperOffice more than it should, and callers share what there is.
//!
//! Callers are told apart by their addresses: 127.0.0.1 and 127.0.0.2. Where time matters, proxy and sandbox share a clock that
//! only the test moves.

pub mod calls;
mod figures;

use http::{Method, StatusCode};
use soproxy::sandbox::demo::SECOND_TENANT;

use self::calls::{Calls, GREEDY, MODEST, SECOND, WHO, get, open_now, pause};
use crate::bench::{Setup, TENANT};
use crate::login::retry_after;
use crate::peer::Stage;
use crate::wire::{OK, Wire, request};

// What SuperOffice says

#[tokio::test]
async fn a_429_and_a_503_with_retry_after_slow_the_tenant_down_for_all_its_callers() {
    for status in ["429", "503"] {
        for date in ["false", "true"] {
            let (setup, hand) = Setup::new().manual_clock();
            let fault = format!(r#"throttle.Cust12345={{"rate": 0, "status": {status}, "retry_after": "5s", "date": {date}}}"#);
            let bench = setup.fault(&fault).start().await;
            let mut calls = Calls::of(&bench, hand);
            let refused = calls.post(GREEDY).await;
            assert_eq!((refused.status.as_str(), refused.error()), (status, None), "POST gets what SuperOffice said");
            assert!(refused.headers.contains_key("retry-after"));
            calls.heal();
            let other = calls.begin(Method::POST, MODEST);
            pause().await;
            assert_eq!((calls.seen(), other.is_finished()), (1, false), "{status}: another caller's POST waits");
            for _ in 0..3 {
                assert_eq!(get(bench.proxy, MODEST, SECOND_TENANT).await.status, 200, "other tenants do not");
            }
            assert_eq!(calls.ended(other).await.status, 200);
            let counters = bench.sandbox.control().counters();
            assert_eq!((calls.seen(), counters.throttled, counters.too_early), (2, 1, 0), "{status}");
        }
    }
}

#[tokio::test]
async fn a_503_that_does_not_say_when_slows_nobody_down() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.fault(r#"throttle.Cust12345={"rate": 0, "status": 503, "retry_after": null}"#).start().await;
    let mut calls = Calls::of(&bench, hand);
    for number in 1..=5 {
        assert_eq!((bench.get(WHO).await.status, calls.seen()), (StatusCode::SERVICE_UNAVAILABLE, number));
    }
    calls.heal();
    assert_eq!(calls.post(GREEDY).await.status, 200);
}

#[tokio::test]
async fn get_and_head_wait_it_out_and_nothing_else_is_sent_again() {
    for (method, waits) in [("GET", true), ("HEAD", true), ("POST", false), ("PUT", false), ("DELETE", false), ("OPTIONS", false)] {
        let (setup, hand) = Setup::new().manual_clock();
        let bench = setup.fault(r#"throttle.Cust12345={"rate": 0, "retry_after": "2s"}"#).start().await;
        let calls = Calls::of(&bench, hand);
        let call = calls.begin(method.parse().unwrap(), GREEDY);
        bench.until("it came", async || calls.seen() == 1).await;
        if waits {
            pause().await;
            assert!(!call.is_finished(), "{method}");
        } else {
            bench.until("it is answered", async || call.is_finished()).await;
        }
        calls.heal();
        let answer = calls.ended(call).await;
        assert_eq!(answer.status, if waits { 200 } else { 429 }, "{method}");
        assert_eq!(calls.seen(), if waits { 2 } else { 1 }, "{method}");
        assert_eq!(bench.sandbox.control().counters().too_early, 0, "{method}");
        let metrics = bench.admin("/metrics").await;
        let line = format!("soproxy_sent_twice_total{{cause=\"throttled\"}} {}", u8::from(waits));
        assert!(metrics.text().contains(&line), "{method}: {}", metrics.text());
    }
}

#[tokio::test]
async fn a_get_is_sent_as_often_as_queue_timeout_allows_and_then_gets_the_refusal() {
    let (setup, hand) = Setup::new().set("upstream.queue_timeout", "10s").manual_clock();
    let bench = setup.fault(r#"throttle.Cust12345={"rate": 0, "retry_after": "3s"}"#).start().await;
    let calls = Calls::of(&bench, hand);
    let call = calls.begin(Method::GET, GREEDY);
    let answer = calls.ended(call).await;
    assert_eq!((answer.status, answer.error(), retry_after(&answer)), (StatusCode::TOO_MANY_REQUESTS, None, 3));
    assert!((3..=4).contains(&calls.seen()), "after 0, 3, 6 and 9 seconds: {}", calls.seen());
    assert_eq!(bench.sandbox.control().counters().too_early, 0);
}

#[tokio::test]
async fn who_would_wait_too_long_is_told_at_once_and_when_to_come_back() {
    let (setup, hand) = Setup::new().set("upstream.queue_timeout", "10s").manual_clock();
    let bench = setup.fault(r#"throttle.Cust12345={"rate": 0, "retry_after": "60s"}"#).start().await;
    let mut calls = Calls::of(&bench, hand);
    let first = get(bench.proxy, GREEDY, TENANT).await;
    assert_eq!((first.status, retry_after(&first)), (StatusCode::TOO_MANY_REQUESTS, 60), "no use in waiting");
    calls.heal();
    for from in [GREEDY, MODEST] {
        let second = get(bench.proxy, from, TENANT).await;
        assert_eq!((second.status, second.error()), (StatusCode::SERVICE_UNAVAILABLE, Some("overloaded")));
        assert!((55..=60).contains(&retry_after(&second)), "{}", retry_after(&second));
    }
    assert_eq!(calls.seen(), 1, "SuperOffice was not asked");
    calls.hand.advance(60 * SECOND);
    assert_eq!(calls.post(MODEST).await.status, 200);
}

#[tokio::test]
async fn who_waited_while_the_tenant_stopped_is_told_so() {
    let (setup, hand) = Setup::new().set("state.min_interval", "1s").manual_clock();
    let bench = setup.fault(r#"throttle.Cust12345={"rate": 0, "status": 503, "retry_after": "5s"}"#).start().await;
    let calls = Calls::of(&bench, hand);
    let call = calls.begin(Method::GET, GREEDY);
    bench.until("it came", async || calls.seen() == 1).await;
    calls.heal();
    bench.fault("state.Cust12345=Suspended");
    assert_eq!(calls.ended(call).await.error(), Some("tenant_not_running"));
    assert_eq!(bench.sandbox.control().counters().not_running, 0, "SuperOffice was not asked again");
}

#[tokio::test]
async fn the_pace_grows_back_step_by_step_until_nothing_is_left_of_it() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.fault("throttle.Cust12345.rate=0").set("upstream.queue_timeout", "100s").start().await;
    let mut calls = Calls::of(&bench, hand);
    assert_eq!(calls.post(GREEDY).await.status, 429);
    calls.heal();
    // Every ten seconds ten more calls: how many of them go at once?
    calls.hand.advance(2 * SECOND);
    let waiting: Vec<_> = (0..10).map(|_| calls.begin(Method::GET, GREEDY)).collect();
    pause().await;
    let early = calls.seen();
    assert!(early <= 3, "{early}");
    for call in waiting {
        assert_eq!(calls.ended(call).await.status, 200);
    }
    calls.hand.advance(100 * SECOND);
    // Nothing moves the clock now.
    for answer in open_now(&bench, GREEDY, 50).await {
        assert_eq!(answer.status, 200);
    }
}

// What is configured

#[tokio::test]
async fn one_tenants_bounds_are_not_anothers() {
    let (setup, hand) = Setup::new().manual_clock();
    let setup = setup.set("tenants.Cust12345.rate", "1").set("tenants.Cust12345.max_concurrent", "1");
    let bench = setup.start().await;
    let mut calls = Calls::of(&bench, hand);
    assert_eq!(calls.post(GREEDY).await.status, 200);
    let waiting = calls.begin(Method::GET, GREEDY);
    pause().await;
    for _ in 0..20 {
        assert_eq!(get(bench.proxy, GREEDY, SECOND_TENANT).await.status, 200);
    }
    assert_eq!((calls.seen(), waiting.is_finished()), (1, false));
    assert_eq!(calls.ended(waiting).await.status, 200);
}

#[tokio::test]
async fn a_line_that_is_too_long_refuses_who_comes_last() {
    let (setup, hand) = Setup::new().set("upstream.rate", "1").set("upstream.queue_timeout", "2500ms").manual_clock();
    let bench = setup.start().await;
    let calls = Calls::of(&bench, hand);
    assert_eq!(bench.get(WHO).await.status, 200);
    // Turns come after one second and after two; a third would come too late.
    let mut all: Vec<_> = (0..10).map(|_| calls.begin(Method::GET, GREEDY)).collect();
    bench.until("eight are refused", async || all.iter().filter(|call| call.is_finished()).count() == 8).await;
    assert_eq!(calls.seen(), 1);
    all.sort_by_key(|call| !call.is_finished());
    for (number, call) in all.into_iter().enumerate() {
        let answer = calls.ended(call).await;
        if number < 8 {
            assert_eq!((answer.status, answer.error()), (StatusCode::SERVICE_UNAVAILABLE, Some("overloaded")));
            assert!((1..=4).contains(&retry_after(&answer)), "{}", retry_after(&answer));
        } else {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    assert_eq!(calls.seen(), 3);
}

#[tokio::test]
async fn a_request_that_takes_long_to_arrive_counts_when_it_goes_and_has_not_waited_yet() {
    let (setup, hand) = Setup::new().set("upstream.rate", "1").set("upstream.queue_timeout", "5s").manual_clock();
    let bench = setup.start().await;
    let calls = Calls::of(&bench, hand);
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::to(bench.proxy).await;
        let start = format!("POST /{TENANT}/Remote/Services88/Contact.svc HTTP/1.1\r\nHost: {}\r\n", bench.proxy);
        wire.say(start + "Content-Type: text/xml\r\nContent-Length: 130\r\n\r\n<s:Envelope").await;
        slow.push(wire);
    }
    pause().await;
    calls.hand.advance(60 * SECOND);
    let rest = r#" xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><a/></s:Body></s:Envelope>"#;
    for wire in &mut slow {
        wire.say(format!("{rest:<119}")).await;
    }
    bench.until("one goes", async || calls.seen() == 1).await;
    pause().await;
    assert_eq!(calls.seen(), 1, "the other one waits");
    let third = calls.begin(Method::GET, GREEDY);
    assert_eq!(calls.ended(third).await.status, 200);
    for wire in &mut slow {
        assert_eq!(wire.answer().await.error(), None);
    }
    assert_eq!(calls.seen(), 3);
}

/// An answer in two pieces, after which the connection closes: each call comes on one of its own.
const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nha";
const REST: &str = "lf";

#[tokio::test]
async fn no_more_than_max_concurrent_are_under_way_until_an_answers_last_byte() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("upstream.max_concurrent", "3").start().await;
    let mut callers = Vec::new();
    for number in 0..9 {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(request("GET", &format!("/v1/{number}"), "")).await;
        callers.push(wire);
    }
    let mut under_way = Vec::new();
    for _ in 0..3 {
        under_way.push(stage.request().await.0);
    }
    for served in 0..6 {
        if served < 2 {
            assert!(stage.is_quiet().await);
            under_way[0].say(HEAD).await;
            assert!(stage.is_quiet().await, "half an answer is still under way");
            under_way[0].say(REST).await;
        } else {
            under_way[0].say([HEAD, REST].concat()).await;
        }
        drop(under_way.remove(0));
        under_way.push(stage.request().await.0);
    }
    for mut up in under_way {
        up.say([HEAD, REST].concat()).await;
    }
    for mut wire in callers {
        assert_eq!(wire.answer().await.text(), "half");
    }
}

#[tokio::test]
async fn who_waits_in_vain_is_sent_home() {
    let stage = Stage::new().await;
    let setup = Setup::new().api_at(stage.address).set("upstream.max_concurrent", "1").set("upstream.queue_timeout", "100ms");
    let bench = setup.start().await;
    let mut first = Wire::to(bench.proxy).await;
    first.say(request("GET", "/v1/first", "")).await;
    let (mut up, _) = stage.request().await;
    // Nobody can tell how long the first will take.
    for method in ["GET", "POST"] {
        let mut second = Wire::to(bench.proxy).await;
        second.say(request(method, "/v1/second", "")).await;
        let answer = second.answer().await;
        assert_eq!((answer.status(), answer.error()), (503, Some("overloaded")));
        assert!(answer.one("retry-after").is_some());
    }
    assert!(stage.is_quiet().await);
    up.say(OK).await;
    assert_eq!(first.answer().await.status(), 200);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_line_and_frees_what_it_held() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).set("upstream.max_concurrent", "1").start().await;
    let mut holder = Wire::to(bench.proxy).await;
    holder.say(request("GET", "/v1/holder", "")).await;
    let (mut up, _) = stage.request().await;
    let mut gone = Wire::to(bench.proxy).await;
    gone.say(request("GET", "/v1/gone", "")).await;
    pause().await;
    let mut patient = Wire::to(bench.proxy).await;
    patient.say(request("GET", "/v1/patient", "")).await;
    pause().await;
    gone.reset();
    pause().await;
    // The one that holds the turn goes away, too: nobody answers it.
    assert!(stage.is_quiet().await);
    holder.reset();
    assert_eq!(up.message().await.map(|message| message.first), None, "its connection is closed");
    let (mut up, next) = stage.request().await;
    assert!(next.first.contains("/patient"), "{}", next.first);
    up.say([HEAD, REST].concat()).await;
    assert_eq!(patient.answer().await.status(), 200);
    assert!(stage.is_quiet().await, "nobody else is left");
}

#[tokio::test]
async fn a_reload_changes_the_bounds_and_loses_nobody_who_waits() {
    // A call in a thousand seconds; the clock stands still.
    let (setup, hand) = Setup::new().set("upstream.rate", "0.001").set("upstream.queue_timeout", "2h").manual_clock();
    let bench = setup.start().await;
    let calls = Calls::of(&bench, hand);
    assert_eq!(bench.get(WHO).await.status, 200);
    let waiting: Vec<_> = (0..5).map(|_| calls.begin(Method::POST, GREEDY)).collect();
    pause().await;
    bench.live.apply(bench.config_with(&[("upstream.rate", "0.002")])).unwrap();
    pause().await;
    assert!(calls.seen() == 1 && waiting.iter().all(|call| !call.is_finished()));
    bench.live.apply(bench.config_with(&[("upstream.rate", "off")])).unwrap();
    for call in waiting {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(calls.seen(), 6);
}
