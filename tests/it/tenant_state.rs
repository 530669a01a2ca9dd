//! A tenant's state: how long it is believed, how often it is fetched, and what callers get while the tenant does not run.

mod moves;
mod told;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use soproxy::sandbox::demo;
use tokio::task::JoinSet;

use crate::bench::{Answer, Bench, Setup, TENANT};
use crate::login::{get_of, no_secrets, retry_after};

const WHO: &str = "/api/v1/User/currentPrincipal";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn served(bench: &Bench) {
    let answer = bench.get(WHO).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// So many requests at once.
async fn at_once(bench: &Arc<Bench>, number: usize) -> Vec<Answer> {
    let mut calls = JoinSet::new();
    for _ in 0..number {
        let bench = bench.clone();
        calls.spawn(async move { bench.get(WHO).await });
    }
    calls.join_all().await
}

/// Long enough for a fetch that should not be to show.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(40)).await;
}

async fn fetched(bench: &Bench, times: u64) {
    bench.until(&format!("{times} fetches"), async || bench.states() >= times).await;
    pause().await;
    assert_eq!(bench.states(), times);
}

fn api_calls(bench: &Bench) -> u64 {
    bench.sandbox.control().counters().api_calls
}

// How often

#[tokio::test]
async fn a_state_is_kept_until_it_is_out_of_date_and_then_renewed_in_the_background() {
    let (setup, hand) = Setup::new().fault("valid_for=20m").manual_clock();
    let bench = setup.start().await;
    for _ in 0..20 {
        served(&bench).await;
    }
    hand.advance(19 * MINUTE);
    served(&bench).await;
    fetched(&bench, 1).await;
    // A tenant in use is asked about in good time: no request has to wait for it.
    hand.advance(MINUTE - SECOND);
    fetched(&bench, 2).await;
    served(&bench).await;
}

#[tokio::test]
async fn an_idle_tenants_state_is_not_fetched_before_somebody_wants_it() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.set("renewal.prefetch", "false").start().await;
    hand.advance(HOUR);
    pause().await;
    assert_eq!(bench.states(), 0);
    served(&bench).await;
    // The first fetch was for the request above; this one for nobody.
    for _ in 0..5 {
        hand.advance(HOUR);
        pause().await;
    }
    assert!(bench.states() <= 2, "{}", bench.states());
    let before = bench.states();
    served(&bench).await;
    fetched(&bench, before + 1).await;
}

#[tokio::test]
async fn it_is_fetched_no_more_often_than_min_interval_says() {
    // 10 s by default; SuperOffice says that what it tells is out of date already.
    let (setup, hand) = Setup::new().fault("valid_for=-1m").manual_clock();
    let bench = Arc::new(setup.start().await);
    served(&bench).await;
    for _ in 0..9 {
        assert!(at_once(&bench, 5).await.iter().all(|answer| answer.status == 200));
        hand.advance(SECOND);
    }
    fetched(&bench, 1).await;
    hand.advance(2 * SECOND);
    served(&bench).await;
    fetched(&bench, 2).await;
}

#[tokio::test]
async fn of_a_tenant_in_use_it_is_fetched_as_often_as_max_interval_says() {
    for (set, interval) in [(None, HOUR), (Some("20m"), 20 * MINUTE)] {
        let (mut setup, hand) = Setup::new().fault("valid_for=240h").manual_clock();
        if let Some(set) = set {
            setup = setup.set("state.max_interval", set);
        }
        let bench = setup.start().await;
        served(&bench).await;
        hand.advance(interval - 2 * MINUTE);
        served(&bench).await;
        fetched(&bench, 1).await;
        hand.advance(2 * MINUTE);
        fetched(&bench, 2).await;
    }
}

#[tokio::test]
async fn a_hundred_requests_to_a_cold_tenant_share_one_fetch() {
    let bench = Arc::new(Setup::new().set("renewal.prefetch", "false").fault("state_slow=100ms").start().await);
    assert!(at_once(&bench, 100).await.iter().all(|answer| answer.status == 200));
    assert_eq!((bench.states(), bench.exchanges()), (1, 1));
}

// While the endpoint is down

#[tokio::test]
async fn while_the_state_endpoint_is_down_the_last_running_state_goes_on_serving() {
    for fault in ["state_down=true", "state_garbled=true"] {
        let (setup, hand) = Setup::new().manual_clock();
        let bench = setup.start().await;
        served(&bench).await;
        bench.fault(fault);
        for _ in 0..12 {
            hand.advance(10 * MINUTE);
            served(&bench).await;
        }
        let asked = bench.states();
        assert!((4..100).contains(&asked), "{fault}: it is asked again, and not without end: {asked}");
        bench.fault("state_down=false");
        bench.fault("state_garbled=false");
        hand.advance(2 * MINUTE);
        served(&bench).await;
        bench.until("it is known again", async || bench.states() > asked).await;
        served(&bench).await;
    }
}

#[tokio::test]
async fn a_state_that_does_not_run_blocks_nobody_beyond_its_end() {
    let (setup, hand) = Setup::new().fault("valid_for=2m").fault("state.Cust12345=OfflineMaintenance").manual_clock();
    let bench = setup.start().await;
    assert_eq!(bench.get(WHO).await.error(), Some("tenant_not_running"));
    bench.fault("state_down=true");
    bench.fault("state.Cust12345=Running");
    hand.advance(2 * MINUTE - SECOND);
    assert_eq!(bench.get(WHO).await.error(), Some("tenant_not_running"), "it is believed as long as it said");
    hand.advance(2 * SECOND);
    served(&bench).await;
}

#[tokio::test]
async fn links_go_back_out_as_superoffices_own_even_if_only_the_token_tells_where_that_is() {
    let setup = Setup::new().fault("state_down=true").set("renewal.prefetch", "false").set("upstream.rewrite_links", "all");
    let bench = setup.start().await;
    let link = format!("http://{}/{TENANT}/api/v1/Contact/1", bench.proxy);
    let made = Request::post(format!("/{TENANT}/api/v1/Contact"))
        .header("host", bench.proxy.to_string())
        .header("content-type", "application/json");
    let made = bench.send(made.body(format!(r#"{{"Name":"{link}"}}"#).into()).unwrap()).await;
    assert_eq!((made.status.as_u16(), made.json()["Name"].as_str()), (200, Some(&*link)));
    let stored = bench.sandbox.control().stored(TENANT, "Contact", 61).unwrap();
    assert_eq!(stored["Name"].as_str(), Some(&*format!("{}/{TENANT}/api/v1/Contact/1", bench.sandbox.base())));
}

// While the tenant does not run

#[tokio::test]
async fn every_state_has_its_answer_and_upstream_is_not_asked() {
    for (state, status, code, words, retry) in [
        ("Unknown", 200, None, "", 0..=0),
        ("Running", 200, None, "", 0..=0),
        ("OnlineMaintenance", 200, None, "", 0..=0),
        ("Provisioning", 503, Some("tenant_not_running"), "set up", 1..=3600),
        ("Deleted", 410, Some("tenant_deleted"), "deleted", 0..=0),
        ("Suspended", 503, Some("tenant_not_running"), "suspended", 3600..=3600),
        ("OfflineMaintenance", 503, Some("tenant_not_running"), "maintenance", 60..=600),
        ("ProvisioningFailed", 503, Some("tenant_not_running"), "failed", 1..=86_400),
        ("Deleting", 503, Some("tenant_not_running"), "deleted", 1..=86_400),
        ("DeleteFailed", 503, Some("tenant_not_running"), "failed", 1..=86_400),
        ("MigrationPending", 503, Some("tenant_not_running"), "moved", 1..=86_400),
    ] {
        let bench = Setup::new().fault(&format!("state.Cust12345={state}")).start().await;
        let answer = bench.get(WHO).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, code), "{state}: {answer:?}");
        let Some(code) = code else { continue };
        let body = answer.json();
        assert_eq!((&body["code"], body["status"].as_u64()), (&code.into(), Some(status.into())), "{state}");
        for member in ["detail", "ErrorMessage"] {
            let text = body[member].as_str().unwrap();
            assert!(text.contains(state) && text.to_lowercase().contains(words), "{state}: {text}");
        }
        if retry != (0..=0) {
            assert!(retry.contains(&retry_after(&answer)), "{state}: {}", retry_after(&answer));
        }
        no_secrets(answer.text());
        let upload = bench.call(Method::PUT, "/api/v1/Document/1/Content", vec![1; 300_000]).await;
        assert_eq!(upload.error(), Some(code), "{state}");
        assert_eq!(api_calls(&bench), 0, "{state}");

        let stands = bench.admin("/readyz").await.json()["tenants"][TENANT].clone();
        assert_eq!((&stands["can_serve"], &stands["tenant_state"]), (&false.into(), &state.into()), "{stands}");
        assert_eq!(get_of(&bench, demo::SECOND_TENANT, WHO).await.status, 200, "the other tenant runs");
    }
}

#[tokio::test]
async fn an_outage_begins_and_ends_when_the_state_says_so() {
    let (setup, hand) = Setup::new().fault("valid_for=1m").manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    for state in ["OfflineMaintenance", "Suspended", "Deleted"] {
        bench.fault(&format!("state.Cust12345={state}"));
        hand.advance(MINUTE + SECOND);
        let before = api_calls(&bench);
        assert_ne!(bench.get(WHO).await.error(), None, "{state}");
        assert_eq!(api_calls(&bench), before, "{state}");
        bench.fault("state.Cust12345=Running");
        hand.advance(MINUTE + SECOND);
        served(&bench).await;
    }
}

#[tokio::test]
async fn superoffices_own_503_makes_the_proxy_ask_at_once() {
    let bench = Setup::new().set("state.min_interval", "20ms").fault("valid_for=10m").start().await;
    served(&bench).await;
    pause().await;
    bench.sandbox.control().change_faults(|faults| faults.set("state.Cust12345=OfflineMaintenance").unwrap());
    let first = bench.get(WHO).await;
    assert_eq!((first.status.as_u16(), first.error()), (503, None), "nobody has told the proxy");
    bench.until("it knows", async || bench.get(WHO).await.error() == Some("tenant_not_running")).await;
}

#[tokio::test]
async fn a_deleted_tenant_that_is_set_up_again_needs_no_restart() {
    let (setup, hand) = Setup::new().fault("state.Cust12345=Deleted").fault("login_of.Cust12345.refuse.code=Denied").manual_clock();
    let bench = setup.start().await;
    assert_eq!(bench.get(WHO).await.status, 410);
    bench.fault("state.Cust12345=Running");
    bench.fault("login_of.Cust12345=ok");
    hand.advance(15 * MINUTE);
    bench
        .until("served", async || {
            hand.advance(10 * SECOND);
            bench.get(WHO).await.status == 200
        })
        .await;
}
