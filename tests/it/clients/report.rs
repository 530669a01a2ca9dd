//! `listen.policy = "report"`: everything passes, and the log says what would not.

use std::time::Duration;

use super::{Door, FINE, OTHER, client, line, outcome, recorded};
use crate::bench::Setup;
use crate::wire::{ask, request};
use soproxy::proxy::clients::ApiKey;

fn reporting() -> Setup {
    Setup::new().set("listen.policy", "report")
}

#[tokio::test]
async fn what_would_be_refused_passes_and_the_first_rule_is_told() {
    let (erp, first) = client("erp", "tenants = [\"Cust54321\"]\nread_only = true\nallow = [\"GET /api/v1/x\"]\nrate = 0.001");
    let (ci, second) = client("ci", "read_only = true\nallow = [\"GET /api/v1/x\"]\ndeny = [\"* /api/v1/secret\"]");
    let door = Door::of(reporting(), &(first + &second)).await;
    let wrong = line(&ApiKey::random());
    let cases = [
        ("GET", "/v1/x", line(&erp), "erp", "tenants"),
        ("POST", "/v1/secret", line(&erp), "erp", "tenants"),
        ("GET", "/v1/x", line(&ci), "ci", ""),
        ("POST", "/v1/x", line(&ci), "ci", "read_only"),
        ("POST", "/v1/secret", line(&ci), "ci", "deny \"* /api/v1/secret\""),
        ("GET", "/v1/other", line(&ci), "ci", "allow"),
        ("GET", "/v1/x", String::new(), "", "client"),
        ("DELETE", "/v1/x", wrong, "", "client"),
    ];
    for (number, (method, rest, key, name, rule)) in cases.into_iter().enumerate() {
        let answer = door.send(request(method, rest, &format!("{key}Content-Length: 0\r\n"))).await;
        assert_eq!(outcome(&answer), FINE, "{method} {rest}");
        assert_eq!(door.seen.count(), number + 1);
        assert!(!format!("{:?}", door.seen.last()).contains("soproxy_"), "a key is nobody else's business all the same");
        let record = door.records.nth(number + 1).await;
        let text = |key: &str| record.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        assert_eq!((text("client").as_str(), text("would_refuse").as_str(), text("refused_by").as_str()), (name, rule, ""), "{record}");
    }
}

#[tokio::test]
async fn a_rate_is_only_reported_too() {
    let (key, table) = client("erp", "rate = 1");
    let (setup, hand) = reporting().manual_clock();
    let door = Door::of(setup, &table).await;
    for rule in [None, Some("rate"), Some("rate")] {
        assert_eq!(outcome(&door.get("/v1/x", &line(&key)).await), FINE);
        let record = door.records.nth(door.seen.count()).await;
        assert_eq!(record.get("would_refuse").and_then(|rule| rule.as_str()), rule);
    }
    hand.advance(Duration::from_secs(1));
    assert_eq!(outcome(&door.get("/v1/x", &line(&key)).await), FINE);
    assert!(door.records.nth(4).await.get("would_refuse").is_none());
}

#[tokio::test]
async fn other_tenants_are_served_by_path_and_by_host_and_a_tenant_that_is_none_is_unknown() {
    let (key, table) = client("erp", "tenants = [\"Cust12345\"]");
    let (bench, records) = recorded(reporting(), &table).await;
    let get = async |path: &str, host: &str| ask(bench.proxy, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", line(&key))).await;
    assert_eq!(get("/Cust54321/api/v1/_sandbox/echo", "localhost").await.json()["Tenant"], OTHER);
    assert_eq!(get("/api/v1/_sandbox/echo", "cust54321.localhost").await.json()["Tenant"], OTHER);
    assert_eq!(get("/api/state/Cust54321", "localhost").await.status(), 200);
    let unknown = get("/nobody/api/v1/x", "localhost").await;
    assert_eq!(outcome(&unknown), (404, "unknown_tenant"), "as it was before there were rules");
    assert_eq!(outcome(&get("/Cust54321/secret", "localhost").await), (400, "bad_target"));
    for record in records.first(4).await {
        assert_eq!(record["would_refuse"], "tenants", "{record}");
    }
}

#[tokio::test]
async fn browsers_and_doubtful_targets_are_refused_as_ever() {
    let (_, table) = client("erp", "");
    let door = Door::of(reporting(), &table).await;
    assert_eq!(outcome(&door.get("/v1/x", "Origin: https://a.example\r\n").await), (403, "forbidden_origin"));
    assert_eq!(outcome(&door.get("/v1/../x", "").await), (400, "bad_target"));
    assert_eq!(door.seen.count(), 0);
}
