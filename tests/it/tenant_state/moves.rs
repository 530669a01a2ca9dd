//! Tenants that move: the new place is found by the 421 of the old one, and nothing is lost on the way.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::login::{Login, Token, state};
use crate::peer::{Stage, settled};
use crate::wire::{OK, Wire, begin, recorder, request};

/// Lets a test see several fetches in a short time.
fn quick() -> Setup {
    Setup::new().may_move().set("state.min_interval", "50ms")
}

fn misdirected(bench: &Bench) -> u64 {
    bench.sandbox.control().counters().misdirected
}

#[tokio::test]
async fn a_move_is_followed_there_and_back() {
    let bench = quick().start().await;
    served(&bench).await;
    for (nth, place) in ["null", "home", "null", "home"].iter().enumerate() {
        bench.fault(&format!("moved.Cust12345={place}"));
        for _ in 0..3 {
            served(&bench).await;
        }
        assert_eq!(misdirected(&bench), nth as u64 + 1, "one 421 tells all that follow");
    }
    assert_eq!(bench.exchanges(), 1, "the ticket moves with its tenant");
    let metrics = bench.admin("/metrics").await;
    assert!(metrics.text().contains("soproxy_sent_twice_total{cause=\"tenant moved\"} 4"), "{}", metrics.text());
}

#[tokio::test]
async fn a_small_post_is_sent_once_more_and_done_once() {
    let bench = quick().start().await;
    served(&bench).await;
    bench.fault("moved.Cust12345=null");
    let made = bench.call(Method::POST, "/api/v1/Contact", r#"{"Name":"Moving AS"}"#).await;
    assert_eq!((made.status.as_u16(), &made.json()["Name"]), (200, &json!("Moving AS")));
    let stored = |id| bench.sandbox.control().stored(TENANT, "Contact", id);
    assert_eq!((stored(61).unwrap()["Name"].as_str(), stored(62)), (Some("Moving AS"), None));
    assert_eq!(misdirected(&bench), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_again_gets_the_421_and_the_next_request_is_right() {
    let bench = quick().start().await;
    served(&bench).await;
    bench.fault("moved.Cust12345=null");
    let upload = || bench.call(Method::PUT, "/api/v1/Document/1/Content", vec![7; 300_000]);
    let answer = upload().await;
    assert_eq!((answer.status.as_u16(), answer.error()), (421, None), "{answer:?}");
    assert!(answer.text().contains("Wrong subdomain"), "it is SuperOffice's own");
    assert_eq!(upload().await.status, 204);
    assert_eq!(misdirected(&bench), 1);
}

#[tokio::test]
async fn a_move_under_load_costs_no_request_and_hardly_a_fetch() {
    let bench = Arc::new(quick().fault("state_slow=30ms").start().await);
    served(&bench).await;
    let before = bench.states();
    bench.fault("moved.Cust12345=null");
    let answers = at_once(&bench, 50).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    // One, and one more for a 421 that may have come while the first was on.
    pause().await;
    assert!((1..=2).contains(&(bench.states() - before)), "{} fetches", bench.states() - before);
}

#[tokio::test]
async fn a_tenant_may_move_and_its_ticket_end_at_the_same_time() {
    let (setup, hand) = quick().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    // A ticket younger than two seconds is not doubted.
    hand.advance(3 * SECOND);
    bench.fault("moved.Cust12345=null");
    bench.sandbox.control().revoke_tickets(Some(TENANT));
    served(&bench).await;
    let counters = bench.sandbox.control().counters();
    assert_eq!((counters.misdirected, counters.unauthorized, bench.exchanges()), (1, 1, 2));
}

#[tokio::test]
async fn a_move_that_ends_in_an_outage_is_answered_with_the_outage() {
    let bench = quick().start().await;
    served(&bench).await;
    bench.sandbox.control().change_faults(|faults| {
        faults.set("moved.Cust12345=null").unwrap();
        faults.set("state.Cust12345=OfflineMaintenance").unwrap();
    });
    assert_eq!(bench.get(WHO).await.error(), Some("tenant_not_running"));
}

#[tokio::test]
async fn a_tenant_is_not_followed_to_a_host_that_is_not_listed() {
    let (foreign, seen) = recorder(OK).await;
    let bench = quick().fault("valid_for=1s").start().await;
    served(&bench).await;
    let (began, before) = (Instant::now(), bench.states());
    bench.fault(&format!("moved.Cust12345=http://{}", foreign.address));
    for _ in 0..20 {
        let answer = bench.get(WHO).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (421, None), "{answer:?}");
    }
    let allowed = began.elapsed().as_millis() as u64 / 50 + 2;
    assert!((1..=allowed).contains(&(bench.states() - before)), "{} of {allowed} fetches", bench.states() - before);
    assert_eq!((seen.count(), foreign.connections()), (0, 0));
    let stands = bench.admin("/readyz").await.json()["tenants"][TENANT].clone();
    let told = stands["move_refused"].as_str().unwrap_or_default();
    assert!(told.contains(&foreign.address.to_string()) && told.contains("upstream_hosts"), "{stands}");
    assert_eq!(get_of(&bench, demo::SECOND_TENANT, WHO).await.status, 200);

    bench.fault("moved.Cust12345=home");
    served(&bench).await;
    let refused = async || bench.admin("/readyz").await.json()["tenants"][TENANT].get("move_refused").is_some();
    bench.until("it is no longer refused", async || bench.get(WHO).await.status == 200 && !refused().await).await;
}

#[tokio::test]
async fn a_421_while_the_state_endpoint_is_down_is_the_answer_and_the_move_is_found_later() {
    let bench = quick().start().await;
    served(&bench).await;
    bench.fault("state_down=true");
    bench.fault("moved.Cust12345=null");
    let answer = bench.get(WHO).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (421, None));
    bench.fault("state_down=false");
    bench.until("served at the new place", async || bench.get(WHO).await.status == 200).await;
}

#[tokio::test]
async fn pooled_connections_to_the_old_host_are_let_go() {
    let (old, new) = (Stage::new().await, Stage::new().await);
    let api = |stage: &Stage| format!("http://{}/{TENANT}/api", stage.address);
    let login = Login::start(Token::good().reply()).await;
    login.on_state(state(&api(&old)));
    let hosts = format!("{},{}", old.address, new.address);
    let setup = Setup::new().login_at(login.address()).set("superoffice.upstream_hosts", &hosts).set("listen.workers", "1");
    let bench = setup.set("state.min_interval", "50ms").start().await;
    let call = async || crate::wire::ask(bench.proxy, request("GET", "/v1/x", "")).await.status();

    // Two requests at once, so that two connections lie in the pool.
    let play = async {
        let (mut first, mut second) = (old.request().await.0, old.request().await.0);
        first.say(OK).await;
        second.say(OK).await;
        (first, second)
    };
    let (one, two, (mut first, mut second)) = tokio::join!(call(), call(), play);
    assert_eq!((one, two), (200, 200));
    settled().await;

    login.on_state(state(&api(&new)));
    let play = async {
        let (moved, kept) = tokio::select! {
            Some(_) = first.message() => (&mut first, &mut second),
            Some(_) = second.message() => (&mut second, &mut first),
        };
        moved.say("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 2\r\n\r\nno").await;
        let (mut at_new, request) = new.request().await;
        assert!(request.first.starts_with(&format!("GET /{TENANT}/api/v1/x ")), "{request:?}");
        at_new.say(OK).await;
        moved.end().await;
        kept.end().await;
        at_new
    };
    let (status, mut at_new) = tokio::join!(call(), play);
    assert_eq!(status, 200);
    assert!(at_new.is_quiet().await, "the new place's connection is kept");
}

#[tokio::test]
async fn an_upload_that_turns_out_too_large_to_be_sent_again_gets_the_whole_421() {
    let (old, new) = (Stage::new().await, Stage::new().await);
    let api = |stage: &Stage| format!("http://{}/{TENANT}/api", stage.address);
    let login = Login::start(Token::good().reply()).await;
    login.on_state(state(&api(&old)));
    let hosts = format!("{},{}", old.address, new.address);
    let setup = Setup::new().login_at(login.address()).set("superoffice.upstream_hosts", &hosts).set("state.min_interval", "50ms");
    let bench = setup.start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(begin("PUT", "/v1/x", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")).await;
    let mut up = old.next().await;
    up.until("first").await;
    let before = login.seen().state;
    login.on_state(state(&api(&new)));
    // So far it is small enough, and the answer has only begun.
    up.say("HTTP/1.1 421 Misdirected Request\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwrong\r\n").await;
    bench.until("it is asked where the tenant lives", async || login.seen().state > before).await;
    settled().await;
    wire.say(format!("11170\r\n{}\r\n", "x".repeat(70_000))).await;
    settled().await;
    up.say("6\r\n place\r\n0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.text().as_str(), answer.complete), (421, "wrong place", true));
    up.end().await;
    assert!(new.is_quiet().await, "half a body goes nowhere");
}
