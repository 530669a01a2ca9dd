//! What is done, and what `/status` tells of it.

use serde_json::{Value, json};

use super::{ask, post};
use crate::bench::{Bench, Setup, TENANT};
use crate::logs::Logs;
use crate::wire::assert_no_secret;

#[tokio::test]
async fn a_renewal_on_demand_is_answered_when_it_is_done() {
    let logs = Logs::capture();
    let bench = Bench::start().await;
    bench.generation(1).await;
    bench.fault("latency=50ms");
    let all = tokio::join!(
        post(&bench, "/tenants/Cust12345/renew"),
        post(&bench, "/tenants/cust12345/renew"),
        post(&bench, "/tenants/CUST12345/renew")
    );
    for answer in [all.0, all.1, all.2] {
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "tenant": TENANT, "generation": 2 })));
    }
    assert_eq!(bench.exchanges(), 2, "all of them share one exchange");
    assert!(logs.text().contains("a renewal was asked for") && logs.text().contains("at 127.0.0.1:"), "{}", logs.text());
    bench.fault("login=down");
    let refused = post(&bench, "/tenants/Cust12345/renew").await;
    assert_eq!(refused.status, 502);
    let told = refused.json();
    assert!(told["error"].as_str().unwrap().contains("login service") && told["retry_seconds"].is_u64(), "{told}");
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 200, "the ticket in use goes on serving");
    bench.sandbox.control().reset();
    // At once, although the pause after the failure is not over.
    assert_eq!(post(&bench, "/tenants/Cust12345/renew").await.json()["generation"], 3);
}

#[tokio::test]
async fn what_is_forgotten_is_fetched_again_by_the_next_request() {
    let bench = Bench::start().await;
    bench.generation(1).await;
    assert_eq!(post(&bench, "/tenants/Cust12345/forget").await.json(), json!({ "tenant": TENANT, "forgotten": 1 }));
    assert_eq!(post(&bench, "/tenants/Cust12345/forget").await.json()["forgotten"], Value::Null);
    let ready = bench.admin("/readyz/Cust12345").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["state"]), (200, &json!("idle")));
    assert_eq!(bench.exchanges(), 1);
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 200);
    assert_eq!(bench.exchanges(), 2);
    assert_eq!(bench.admin("/readyz/Cust12345").await.json()["generation"], 2);
}

#[tokio::test]
async fn draining_is_what_sigterm_does() {
    let bench = Bench::start().await;
    let answer = post(&bench, "/drain").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["draining"]), (202, &json!(true)));
    assert!(bench.stop.leaving.is_cancelled());
    bench.until("nobody listens", async || tokio::net::TcpStream::connect(bench.proxy).await.is_err()).await;
}

#[tokio::test]
async fn a_proxy_without_a_file_says_that_there_is_nothing_to_reload() {
    let bench = Bench::start().await;
    let answer = post(&bench, "/reload").await;
    assert!(answer.status == 409 && answer.text().contains("no configuration file"), "{answer:?}");
}

#[tokio::test]
async fn the_log_level_is_refused_when_it_is_none() {
    let bench = Bench::start().await;
    let admin = bench.admin.unwrap();
    for level in ["loud", "info,%3D", "%ff", "soproxy=loud"] {
        let refused = ask(admin, "PUT", &format!("/log-level?level={level}"), &[]).await;
        assert_eq!(refused.status, 400, "{level}");
        assert!(!refused.json()["error"].as_str().unwrap().is_empty(), "{level}");
    }
    assert_eq!(bench.admin("/log-level").await.json()["configured"], "info");
}

#[tokio::test]
async fn the_status_tells_how_everything_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new().set("store.path", dir.path().join("store").to_str().unwrap());
    setup.more += &format!("[[listeners]]\naddress = \"unix:{}\"\ntenant = \"{TENANT}\"\n", dir.path().join("s").display());
    let bench = setup.start().await;
    bench.generation(1).await;
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 200);
    let answer = bench.admin("/status").await;
    assert_no_secret(answer.text());
    let status = answer.json();
    assert_eq!((&status["version"], &status["pid"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(std::process::id())));
    let begun: jiff::Timestamp = status["started"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(begun).as_secs() < 60 && status["uptime_seconds"].is_u64());
    let mut listeners: Vec<(&str, String)> = Vec::new();
    for listener in status["listeners"].as_array().unwrap() {
        assert_eq!(listener["tls"], false);
        listeners.push((listener["serves"].as_str().unwrap(), listener["address"].as_str().unwrap().to_owned()));
    }
    let socket = format!("unix:{}", dir.path().join("s").display());
    assert_eq!(listeners, [("proxy", bench.proxy.to_string()), ("proxy", socket), ("admin", bench.admin.unwrap().to_string())]);
    assert_eq!(status["listeners"][1]["tenant"], TENANT);
    assert_eq!((&status["ready"], &status["ready_when"], &status["draining"]), (&json!(true), &json!("any"), &json!(false)));
    assert_eq!((&status["requests_in_flight"], &status["confinement"]), (&json!(0), &Value::Null));
    assert_eq!((&status["store"]["open"], &status["store"]["set_aside"]), (&json!(true), &json!(0)));
    assert_eq!((&status["reloads"]["applied"], &status["reloads"]["failure"]), (&json!(0), &Value::Null));
    assert_eq!(status["clock_skew_seconds"][bench.sandbox.base()], 0.0);
    assert!(!status["warnings"].as_array().unwrap().is_empty(), "the demo's key is a weak one: {status}");
    let tenant = &status["tenants"][TENANT];
    assert_eq!((&tenant["state"], &tenant["can_serve"], &tenant["tenant_state"]), (&json!("ready"), &json!(true), &json!("Running")));
    assert!(tenant["upstream"].as_str().unwrap().ends_with("/Cust12345/api") && tenant["state_age_seconds"].is_u64(), "{tenant}");
    let ticket = &tenant["ticket"];
    assert_eq!((&ticket["generation"], &ticket["accepted"], &ticket["exchanges_succeeded"]), (&json!(1), &json!(true), &json!(1)));
    assert!(ticket["expires_in_seconds"].as_u64().is_some_and(|left| (21_500..=21_600).contains(&left)), "{ticket}");
    assert_eq!((&ticket["exchanges_failed"], &ticket["last_failure"]), (&json!(0), &Value::Null));
    assert!(ticket["last_success"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let pair = json!({ "private_key": 1, "private_keys": 1, "client_secret": 1, "client_secrets": 1 });
    assert_eq!(tenant["credentials"], pair);
    assert!(tenant["serial"]["pinned"].is_string() && tenant["serial"]["configured"].is_null(), "{tenant}");
    assert_eq!(tenant["calls"], json!({ "rate": null, "paused_seconds": 0.0, "waiting": 0, "cuts": 0 }));
    assert_eq!(bench.admin("/tenants/cust12345").await.json()["serial"], tenant["serial"]);

    bench.fault("login=down");
    assert_eq!(post(&bench, "/tenants/Cust12345/renew").await.status, 502);
    let failed = bench.admin("/tenants/Cust12345").await.json();
    let ticket = &failed["ticket"];
    assert_eq!((&failed["state"], &ticket["exchanges_failed"], &ticket["generation"]), (&json!("failing"), &json!(1), &json!(1)));
    assert!(ticket["last_failure"]["reason"].as_str().unwrap().contains("login service"), "{ticket}");
    assert!(ticket["next_attempt_seconds"].is_u64(), "{ticket}");

    bench.sandbox.control().reset();
    bench.live.apply(bench.config_with(&[("tenants.Cust12345.rate", "7")])).unwrap();
    let governed = bench.admin("/tenants/Cust12345").await.json();
    assert_eq!(governed["calls"]["rate"], 7.0);
    // The connections of a worker are counted a moment later than they end.
    let idle = async || bench.admin("/status").await.json()["connections"] == 0;
    bench.until("all connections are gone", idle).await;
}
