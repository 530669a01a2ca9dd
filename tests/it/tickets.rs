//! Keeping tickets and renewing them: who waits for whom, when there is an exchange, and when there is none.

mod bases;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use soproxy::sandbox::{LoginFault, TenantState, Unauthorized, demo};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bench::{Answer, Bench, Setup, TENANT};
use crate::login::{Act, Login, Token, any_api, get_of, granted, no_secrets, retry_after, soap, unavailable};
use crate::logs::Logs;

const WHO: &str = "/api/v1/User/currentPrincipal";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// So many requests at once.
async fn at_once(bench: &Arc<Bench>, number: usize) -> Vec<Answer> {
    let mut calls = JoinSet::new();
    for _ in 0..number {
        let bench = bench.clone();
        calls.spawn(async move { bench.get(WHO).await });
    }
    calls.join_all().await
}

/// Long enough for an exchange that should not be to show.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(40)).await;
}

async fn served(bench: &Bench) {
    let answer = bench.get(WHO).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn exchanged(bench: &Bench, times: u64) {
    bench.until(&format!("{times} exchanges"), async || bench.exchanges() >= times).await;
    bench.generation(times).await;
    assert_eq!(bench.exchanges(), times);
}

#[tokio::test]
async fn fifty_requests_to_a_cold_tenant_share_one_exchange() {
    let bench = Arc::new(Setup::new().set("renewal.prefetch", "false").fault("login.slow.delay=100ms").start().await);
    assert!(at_once(&bench, 50).await.iter().all(|answer| answer.status == 200));
    assert_eq!(bench.exchanges(), 1);
}

#[tokio::test]
async fn fifty_requests_to_a_cold_tenant_share_one_failure() {
    let bench = Arc::new(Setup::new().set("renewal.prefetch", "false").fault("login.refuse.code=Denied").start().await);
    at_once(&bench, 50).await.iter().for_each(|answer| unavailable(answer, "Denied"));
    assert_eq!(bench.exchanges(), 1);
}

#[tokio::test]
async fn callers_that_go_away_cancel_nothing() {
    let bench = Arc::new(Setup::new().set("renewal.prefetch", "false").fault("login.slow.delay=200ms").start().await);
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let bench = bench.clone();
        calls.spawn(async move { bench.get(WHO).await });
    }
    bench.until("the exchange is on", async || bench.exchanges() == 1).await;
    let patient = tokio::spawn({
        let bench = bench.clone();
        async move { bench.get(WHO).await }
    });
    calls.shutdown().await;
    assert_eq!(patient.await.unwrap().status, 200);
    served(&bench).await;
    assert_eq!(bench.exchanges(), 1);
}

/// All callers are gone before the exchange is done: the ticket comes all the same.
#[tokio::test]
async fn an_exchange_that_nobody_waits_for_any_more_is_finished() {
    let bench = Setup::new().set("renewal.prefetch", "false").fault("login.slow.delay=100ms").start().await;
    assert!(timeout(Duration::from_millis(60), bench.get(WHO)).await.is_err());
    bench.generation(1).await;
    served(&bench).await;
    assert_eq!(bench.exchanges(), 1);
}

/// Twelve tenants of a scripted service that is slow.
async fn crowd(login: &Login, concurrency: Option<&str>) -> Bench {
    login.on_exchange(Act::Late(Duration::from_millis(50), soap(&granted(&Token::good().sign())).into()));
    let api = any_api().await;
    let mut setup = login.with_api(&api).set("renewal.prefetch", "true");
    for n in 0..12 {
        setup = setup
            .set(&format!("tenants.t{n}.system_user_token"), "App-x")
            .set(&format!("tenants.t{n}.context"), TENANT)
            .set(&format!("tenants.t{n}.api_url"), &format!("http://{}/x", api.address));
    }
    if let Some(concurrency) = concurrency {
        setup = setup.set("renewal.concurrency", concurrency);
    }
    let bench = setup.start().await;
    bench.until("all have been asked for", async || login.exchanges() >= 14).await;
    bench
}

#[tokio::test]
async fn exchanges_over_all_tenants_are_bounded() {
    for (concurrency, most) in [(None, 4), (Some("1"), 1), (Some("3"), 3)] {
        let login = Login::start(Act::Stall).await;
        let _bench = crowd(&login, concurrency).await;
        assert_eq!(login.seen().at_once, most, "{concurrency:?}");
    }
}

#[tokio::test]
async fn after_a_failure_the_next_attempt_comes_after_1_2_4_and_so_on_to_60_s() {
    let (setup, hand) = Setup::new().fault("login=down").manual_clock();
    let bench = setup.start().await;
    for (failures, seconds) in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0].into_iter().enumerate() {
        let attempts = failures as u64 + 1;
        let answer = bench.get(WHO).await;
        unavailable(&answer, "cannot be reached");
        let told = retry_after(&answer) as f64;
        assert!((0.85 * seconds..=1.15 * seconds + 1.0).contains(&told), "{told} s after failure {attempts}");
        assert_eq!(bench.exchanges(), attempts);
        // It really sleeps, and cold callers are answered at once, with what remains.
        hand.advance(Duration::from_secs_f64(0.8 * seconds));
        pause().await;
        let again = timeout(Duration::from_secs(1), bench.get(WHO)).await.expect("a cold caller is not held");
        unavailable(&again, "cannot be reached");
        let remains = retry_after(&again) as f64;
        assert!(remains <= (0.35 * seconds).ceil(), "{remains} s of {told} remain after {}", 0.8 * seconds);
        assert_eq!(bench.exchanges(), attempts, "an attempt before its time");
        hand.advance(Duration::from_secs_f64(0.4 * seconds));
        bench.until("the next attempt", async || bench.exchanges() == attempts + 1).await;
    }
    // A success makes the next failure the first again.
    bench.sandbox.control().change_faults(|faults| faults.login = LoginFault::Ok);
    bench.until("failed for the last time", async || bench.admin("/readyz").await.json()["tenants"][TENANT]["state"] == "failing").await;
    hand.advance(2 * MINUTE);
    bench.generation(1).await;
    hand.advance(Duration::from_secs(3));
    bench.sandbox.control().change_faults(|faults| faults.login = LoginFault::Down);
    bench.sandbox.control().revoke_tickets(None);
    let answer = bench.get(WHO).await;
    unavailable(&answer, "cannot be reached");
    assert!(retry_after(&answer) <= 2);
}

/// The classes that would be permanent elsewhere: they are tried again like any other.
#[tokio::test]
async fn permanent_failures_are_tried_again_and_no_faster() {
    for fault in ["login.refuse.code=Revoked", "login.refuse.code=InvalidSignature", "jwt=no_ticket", "jwt=wrong_audience"] {
        let (setup, hand) = Setup::new().fault(fault).manual_clock();
        let bench = setup.start().await;
        for seconds in [1, 2, 4] {
            assert_eq!(bench.get(WHO).await.status, 503);
            let before = bench.exchanges();
            pause().await;
            assert_eq!(bench.exchanges(), before, "{fault}");
            hand.advance(Duration::from_secs_f64(1.2 * f64::from(seconds)));
            bench.until("the next attempt", async || bench.exchanges() > before).await;
        }
    }
}

#[tokio::test]
async fn requests_do_not_wait_for_a_renewal() {
    let api = any_api().await;
    let login = Login::start(Token::good().reply()).await;
    let (setup, hand) = login.with_api(&api).manual_clock();
    let bench = setup.start().await;
    served_by(&bench).await;
    login.on_exchange(Act::Stall);
    hand.advance(64 * MINUTE);
    bench.until("a renewal is on", async || login.exchanges() == 2).await;
    for _ in 0..20 {
        timeout(Duration::from_secs(1), served_by(&bench)).await.expect("a live ticket serves at once");
    }
    assert_eq!(login.exchanges(), 2);
}

/// As [`served`], for a scripted web API.
async fn served_by(bench: &Bench) {
    assert_eq!(bench.get("/api/x").await.status, 200);
}

#[tokio::test]
async fn nothing_is_renewed_per_call() {
    let bench = Bench::start().await;
    for _ in 0..100 {
        served(&bench).await;
    }
    assert_eq!(bench.exchanges(), 1);
}

#[tokio::test]
async fn a_tenant_in_use_is_renewed_when_its_ticket_is_max_age_old() {
    for (max_age, due) in [(None, HOUR), (Some("10m"), 10 * MINUTE), (Some("3h"), 3 * HOUR)] {
        let (mut setup, hand) = Setup::new().manual_clock();
        if let Some(max_age) = max_age {
            setup = setup.set("renewal.max_age", max_age);
        }
        let bench = setup.start().await;
        for times in 1..=3 {
            exchanged(&bench, times).await;
            served(&bench).await;
            for _ in 0..5 {
                hand.advance(due / 6);
                served(&bench).await;
            }
            pause().await;
            assert_eq!(bench.exchanges(), times, "{due:?}: before its time");
            // Jitter makes it up to 5 % later.
            hand.advance(due / 6 + due / 20);
        }
        exchanged(&bench, 4).await;
        assert_eq!(bench.sandbox.control().counters().unauthorized, 0);
    }
}

/// The same in real time: a ticket a second, without a hitch for those who use it.
#[tokio::test]
async fn renewals_do_not_disturb_requests() {
    let bench = Setup::new().set("renewal.max_age", "1s").start().await;
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        served(&bench).await;
    }
    assert!((2..=3).contains(&bench.exchanges()), "{} exchanges in 2.5 s", bench.exchanges());
    assert_eq!(bench.sandbox.control().counters().unauthorized, 0);
}

#[tokio::test]
async fn an_idle_tenant_is_renewed_once_per_lifetime_and_lapses_after_keep_warm() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    exchanged(&bench, 1).await;
    served(&bench).await;
    // It served a request since it was renewed: once more after an hour.
    hand.advance(64 * MINUTE);
    exchanged(&bench, 2).await;
    // 1:04 → 7:04 → 13:04 → 19:04; the next would be at about 25:00, after keep_warm.
    for times in 2..=4 {
        hand.advance(5 * HOUR + 45 * MINUTE);
        pause().await;
        assert_eq!(bench.exchanges(), times, "idle: not before the six hours run out");
        hand.advance(14 * MINUTE);
        exchanged(&bench, times + 1).await;
    }
    for _ in 0..6 {
        hand.advance(4 * HOUR);
        pause().await;
    }
    assert_eq!(bench.exchanges(), 5, "left to lapse");
    let ready = bench.admin("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()["tenants"][TENANT]["state"].as_str()), (200, Some("idle")));
    served(&bench).await;
    assert_eq!(bench.exchanges(), 6);
    assert_eq!(bench.sandbox.control().counters().unauthorized, 0, "no ticket was used after its end");
}

#[tokio::test]
async fn keep_warm_is_a_setting_and_a_tenant_never_used_is_not_kept_warm() {
    let (setup, hand) = Setup::new().set("renewal.keep_warm", "8h").manual_clock();
    let bench = setup.start().await;
    exchanged(&bench, 1).await;
    served(&bench).await;
    for times in [2, 3] {
        hand.advance(5 * HOUR + 59 * MINUTE);
        if times == 2 {
            exchanged(&bench, times).await;
        }
    }
    pause().await;
    assert_eq!(bench.exchanges(), 2, "at 12 h the last use is older than 8 h");
    // The other tenant was fetched at start, and nobody ever asked for it.
    let control = bench.sandbox.control();
    assert_eq!(control.counters().exchanges_of(demo::SECOND_TENANT), 1);
    assert_eq!(get_of(&bench, demo::SECOND_TENANT, WHO).await.status, 200);
    assert_eq!((control.counters().exchanges_of(demo::SECOND_TENANT), control.counters().unauthorized), (2, 0));
}

#[tokio::test]
async fn max_age_never_relies_on_sliding() {
    let (setup, hand) = Setup::new().set("renewal.max_age", "never").manual_clock();
    let bench = setup.start().await;
    for _ in 0..8 {
        served(&bench).await;
        hand.advance(5 * HOUR);
        pause().await;
    }
    assert_eq!(bench.exchanges(), 1, "each use reset the window");
    // Without use it is renewed shortly before the six hours run out.
    hand.advance(59 * MINUTE);
    exchanged(&bench, 2).await;
    served(&bench).await;
    assert_eq!(bench.sandbox.control().counters().unauthorized, 0);
}

#[tokio::test]
async fn only_a_use_that_upstream_accepted_resets_the_window() {
    let (setup, hand) = Setup::new().set("renewal.max_age", "never").manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    bench.sandbox.control().change_faults(|faults| _ = faults.state.insert(TENANT.to_owned(), TenantState::OfflineMaintenance));
    for _ in 0..5 {
        hand.advance(HOUR);
        assert_eq!(bench.get(WHO).await.status, 503);
    }
    assert_eq!(bench.exchanges(), 1);
    hand.advance(59 * MINUTE);
    exchanged(&bench, 2).await;
}

#[tokio::test]
async fn a_short_lifetime_is_believed() {
    let (mut setup, hand) = Setup::new().set("renewal.lifetime", "100s").manual_clock();
    setup.options.ticket_lifetime = Duration::from_secs(100);
    let bench = setup.start().await;
    served(&bench).await;
    for times in 1..=3 {
        exchanged(&bench, times).await;
        hand.advance(Duration::from_secs(99));
    }
    exchanged(&bench, 4).await;
    served(&bench).await;
    assert_eq!(bench.sandbox.control().counters().unauthorized, 0);
}

#[tokio::test]
async fn prefetch() {
    for (prefetch, further, fetched) in
        [(None, 0, true), (Some("auto"), 98, true), (Some("auto"), 99, false), (Some("true"), 99, true), (Some("false"), 0, false)]
    {
        // Two tenants, and further ones that nobody knows.
        let mut setup = Setup::new().fault("login.refuse.code=Denied").set("renewal.concurrency", "100");
        for n in 0..further {
            setup = setup.set(&format!("tenants.Cust{}.system_user_token", 1000 + n), "App-x");
        }
        if let Some(prefetch) = prefetch {
            setup = setup.set("renewal.prefetch", prefetch);
        }
        let bench = setup.start().await;
        let exchanges = || bench.sandbox.control().counters().exchanges.values().sum::<u64>();
        if fetched {
            bench.until("all are fetched", async || exchanges() >= 2 + further).await;
        } else {
            pause().await;
            assert_eq!(exchanges(), 0, "{prefetch:?} {further}");
            unavailable(&bench.get(WHO).await, "Denied");
            assert_eq!(exchanges(), 1, "{prefetch:?} {further}");
        }
    }
}

#[tokio::test]
async fn the_proxy_starts_while_the_login_service_is_down_and_says_so() {
    let logs = Logs::capture();
    let (setup, hand) = Setup::new().fault("login=down").manual_clock();
    let bench = setup.start().await;
    assert_eq!(bench.admin("/livez").await.status, 200);
    let tenant = |ready: &Answer| ready.json()["tenants"][TENANT].clone();
    bench.until("it has failed", async || tenant(&bench.admin("/readyz").await)["state"] == "failing").await;
    let ready = bench.admin("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()["ready"].as_bool()), (503, Some(false)));
    assert_eq!(tenant(&ready)["reason"], "the login service cannot be reached");
    assert_eq!(tenant(&ready)["can_serve"], false);
    assert!(tenant(&ready)["retry_seconds"].as_u64().is_some_and(|seconds| (1..=2).contains(&seconds)));
    bench.sandbox.control().change_faults(|faults| faults.login = LoginFault::Ok);
    hand.advance(Duration::from_secs(2));
    bench.until("it is ready by itself", async || bench.admin("/readyz").await.status == 200).await;
    bench.generation(1).await;
    served(&bench).await;
    no_secrets(&logs.text());
    no_secrets(ready.text());
}

#[tokio::test]
async fn a_live_ticket_serves_while_login_is_down_until_it_has_truly_expired() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    let control = bench.sandbox.control();
    control.change_faults(|faults| faults.login = LoginFault::Down);
    for _ in 0..8 {
        hand.advance(HOUR);
        served(&bench).await;
    }
    bench.until("renewals were tried", async || bench.exchanges() >= 3).await;
    let ready = bench.admin("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(ready.json()["tenants"][TENANT]["can_serve"], true);
    hand.advance(5 * HOUR + 59 * MINUTE);
    served(&bench).await;
    hand.advance(6 * HOUR + Duration::from_secs(1));
    let calls = control.counters().api_calls;
    unavailable(&bench.get(WHO).await, "cannot be reached");
    unavailable(&bench.call(Method::POST, "/api/v1/Contact", "{}").await, "cannot be reached");
    assert_eq!((control.counters().api_calls, control.counters().unauthorized), (calls, 0), "an expired ticket was used");
    let ready = bench.admin("/readyz").await.json();
    assert_eq!(ready["tenants"][TENANT]["can_serve"], false, "{ready}");
    control.change_faults(|faults| faults.login = LoginFault::Ok);
    hand.advance(2 * MINUTE);
    bench.until("served again", async || bench.get(WHO).await.status == 200).await;
    assert_eq!(control.faults().unauthorized, Unauthorized::Off);
}
