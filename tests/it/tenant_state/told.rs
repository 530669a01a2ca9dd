//! `GET /api/state/{ctx}`, answered by the proxy: the cached state, with an address by which the caller stays here.

use http::Request;
use serde_json::{Value, json};

use super::*;
use crate::wire::{Message, OK, ask, recorder};

const PATH: &str = "/api/state/Cust12345";

/// The answer to a caller that names this host.
async fn told(bench: &Bench, host: &str, headers: &str) -> Message {
    ask(bench.proxy, format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")).await
}

fn api(answer: &Message) -> String {
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()["Api"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_state_is_superoffices_but_for_the_address() {
    let bench = Bench::start().await;
    let own = format!("http://{}/{TENANT}", bench.proxy);
    let theirs =
        ask(bench.sandbox.base().trim_start_matches("http://").parse().unwrap(), format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let mut expected = theirs.await.json();
    let answer = told(&bench, &bench.proxy.to_string(), "").await;
    assert_eq!(answer.one("content-type"), Some("application/json; charset=utf-8"));
    let mut answer = answer.json();
    assert_eq!((answer["Endpoint"].take(), answer["Api"].take()), (json!(own), json!(format!("{own}/api"))));
    for member in ["Endpoint", "Api"] {
        expected[member] = Value::Null;
    }
    assert!(answer["ValidUntil"].is_string());
    expected["ValidUntil"] = answer["ValidUntil"].clone();
    assert_eq!(answer, expected);
}

/// SuperOffice's best practice: ask, then call what it says.
#[tokio::test]
async fn a_caller_that_follows_it_is_served_by_the_proxy() {
    let bench = Setup::new().may_move().set("state.min_interval", "50ms").start().await;
    for place in ["home", "null"] {
        bench.fault(&format!("moved.Cust12345={place}"));
        for host in [bench.proxy.to_string(), format!("localhost:{}", bench.proxy.port())] {
            let api = api(&told(&bench, &host, "").await);
            let (authority, path) = api.strip_prefix("http://").unwrap().split_once('/').unwrap();
            assert_eq!(authority, host, "the address the caller used");
            let answer = ask(bench.proxy, format!("GET /{path}{} HTTP/1.1\r\nHost: {host}\r\n\r\n", &WHO["/api".len()..])).await;
            assert_eq!(answer.status(), 200, "{api}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_caller_at_a_listener_of_one_tenant_stays_at_it() {
    let bench = Setup::new().listener(TENANT).start().await;
    let [door] = bench.doors[..] else { panic!("{:?}", bench.doors) };
    let answer = ask(door, format!("GET {PATH} HTTP/1.1\r\nHost: {door}\r\n\r\n")).await;
    let api = api(&answer);
    let path = api.strip_prefix(&format!("http://{door}")).unwrap_or_else(|| panic!("{api} is not at {door}"));
    let answer = ask(door, format!("GET {path}{} HTTP/1.1\r\nHost: {door}\r\n\r\n", &WHO["/api".len()..])).await;
    assert_eq!(answer.status(), 200, "{api}: {answer:?}");
}

#[tokio::test]
async fn the_address_is_public_url_or_what_a_trusted_proxy_says() {
    let forwarded = "X-Forwarded-Host: crm.example\r\nX-Forwarded-Proto: https\r\n";
    let bench = Bench::start().await;
    let host = bench.proxy.to_string();
    assert_eq!(api(&told(&bench, &host, forwarded).await), format!("http://{host}/{TENANT}/api"), "nobody is trusted by default");
    let bench = Setup::new().set("listen.trusted_proxies", "127.0.0.1").start().await;
    assert_eq!(api(&told(&bench, &bench.proxy.to_string(), forwarded).await), format!("https://crm.example/{TENANT}/api"));
    let setup = Setup::new().set("listen.trusted_proxies", "127.0.0.1").set("listen.public_url", "https://public.example/so");
    let bench = setup.start().await;
    assert_eq!(api(&told(&bench, &bench.proxy.to_string(), forwarded).await), format!("https://public.example/so/{TENANT}/api"));
}

#[tokio::test]
async fn it_is_the_cached_state() {
    let bench = Bench::start().await;
    let host = bench.proxy.to_string();
    for path in [PATH, "/API/State/cust12345", PATH] {
        let answer = ask(bench.proxy, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!((answer.status(), &answer.json()["ContextIdentifier"]), (200, &json!(TENANT)), "{path}");
    }
    served(&bench).await;
    assert_eq!(bench.states(), 1);
}

#[tokio::test]
async fn it_is_told_while_the_tenant_does_not_run_and_without_a_ticket() {
    let bench = Setup::new().fault("state.Cust12345=Suspended").fault("login=down").start().await;
    let state = told(&bench, &bench.proxy.to_string(), "").await.json();
    assert_eq!((&state["State"], &state["IsRunning"]), (&json!("Suspended"), &json!(false)));
    assert_eq!(api_calls(&bench), 0);
}

#[tokio::test]
async fn a_state_that_cannot_be_had_is_503_and_other_methods_are_405() {
    for fault in ["state_down=true", "state_garbled=true"] {
        let bench = Setup::new().fault(fault).start().await;
        let answer = told(&bench, &bench.proxy.to_string(), "").await;
        assert_eq!((answer.status(), answer.error()), (503, Some("tenant_address_unknown")), "{fault}");
        assert!(answer.one("retry-after").is_some());
    }
    let bench = Bench::start().await;
    let request = |method: &str| Request::builder().method(method).uri(PATH).header("host", bench.proxy.to_string());
    let posted = bench.send(request("POST").body("{}".into()).unwrap()).await;
    assert_eq!((posted.status.as_u16(), posted.error()), (405, Some("method_not_allowed")));
    assert!(posted.headers["allow"].to_str().unwrap().contains("GET"));
    let head = bench.send(request("HEAD").body("".into()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn of_a_tenant_whose_address_is_configured_it_is_asked_for_by_name_alone() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    assert_eq!((bench.get("/api/v1/x").await.status.as_u16(), bench.states()), (200, 0));
    bench.fault("state.Cust12345=Suspended");
    let host = bench.proxy.to_string();
    let state = told(&bench, &host, "").await.json();
    assert_eq!((&state["State"], &state["Api"]), (&json!("Suspended"), &json!(format!("http://{host}/{TENANT}/api"))));
    assert_eq!(bench.get("/api/v1/x").await.status, 200, "and decides nothing");
    assert_eq!((bench.states(), seen.count()), (1, 2));
}
