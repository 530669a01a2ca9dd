//! Which web API a ticket goes to, and which never.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{MINUTE, WHO, exchanged, served};
use crate::bench::{Bench, Setup, TENANT};
use crate::login::{Act, Login, Token, any_api, get_of, http, no_secrets, refused, state};
use crate::logs::Logs;
use crate::peer::Peer;

/// A login service whose token names `webapi`, and a proxy that may send tickets to `hosts`.
async fn scripted(login: &Login, hosts: &[&Peer]) -> Bench {
    let hosts: Vec<String> = hosts.iter().map(|peer| peer.address.to_string()).collect();
    let setup = Setup::new().login_at(login.address()).set("renewal.prefetch", "false").set("superoffice.login_timeout", "700ms");
    setup.set("superoffice.upstream_hosts", &hosts.join(",")).start().await
}

fn base(peer: &Peer) -> String {
    format!("http://{}/{TENANT}/api", peer.address)
}

fn naming(webapi: &str) -> Act {
    Token::good().of("webapi_url", webapi).reply()
}

#[tokio::test]
async fn api_url_goes_first_and_then_nobody_is_asked() {
    let (api, other) = (any_api().await, any_api().await);
    let login = Login::start(naming(&base(&other))).await;
    login.on_state(state(&base(&other)));
    let setup = login.with_api(&api).set("superoffice.upstream_hosts", &format!("{},{}", api.address, other.address));
    let bench = setup.start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    assert_eq!((api.connections(), other.connections(), login.seen().state), (1, 0, 0));

    // With the sandbox: only the tenant without one asks.
    let bench = Setup::new().api_at(api.address).start().await;
    bench.generation(1).await;
    assert_eq!(get_of(&bench, soproxy::sandbox::demo::SECOND_TENANT, WHO).await.status, 200);
    assert_eq!(bench.sandbox.control().counters().state, 1);
}

#[tokio::test]
async fn then_the_state_endpoint_and_then_the_token() {
    let (by_state, by_token) = (any_api().await, any_api().await);
    let answer = |status: &str, body: &str| Act::send(http(status, "content-type: application/json\r\n", body));
    let good = base(&by_state);
    let running = |api: &str| json!({ "State": "Running", "IsRunning": true, "Api": api }).to_string();
    for (what, act, state_counts) in [
        ("told", state(&good), true),
        ("with a slash", state(&format!("{good}/")), true),
        ("with a BOM", answer("200 OK", &format!("\u{feff}{}", running(&good))), true),
        ("404", answer("404 Not Found", ""), false),
        ("500 although there is a body", answer("500 Oops", &running(&good)), false),
        ("an unknown tenant", answer("200 OK", r#"{"State":"Unknown","IsRunning":false,"Api":""}"#), false),
        ("an address that is none", answer("200 OK", &running("nonsense")), false),
        ("HTML", answer("200 OK", "<html>Down</html>"), false),
        ("a redirect", Act::send(http("302 Found", &format!("location: {good}\r\n"), "")), false),
        ("a stall", Act::Stall, false),
        ("a reset", Act::Reset, false),
    ] {
        let login = Login::start(naming(&format!("{}/", base(&by_token)))).await;
        login.on_state(act);
        let bench = scripted(&login, &[&by_state, &by_token]).await;
        let before = (by_state.connections(), by_token.connections());
        assert_eq!(bench.get(WHO).await.status, 200, "{what}");
        let after = (by_state.connections() - before.0, by_token.connections() - before.1);
        assert_eq!(after, if state_counts { (1, 0) } else { (0, 1) }, "{what}");
        assert_eq!((login.seen().state, login.seen().others.len()), (1, 0), "{what}");
    }
}

#[tokio::test]
async fn the_sandboxs_state_endpoint_may_be_down() {
    let bench = Setup::new().fault("state_down=true").start().await;
    served(&bench).await;
    assert!(bench.sandbox.control().counters().state >= 1);
}

#[tokio::test]
async fn the_state_is_read_at_start_and_when_a_421_tells_of_a_move() {
    let api = any_api().await;
    let (setup, hand) = Setup::new().set("superoffice.upstream_hosts", &api.address.to_string()).manual_clock();
    let bench = setup.start().await;
    exchanged(&bench, 1).await;
    let control = bench.sandbox.control();
    bench.until("both tenants' states", async || control.counters().state == 2).await;
    for _ in 0..10 {
        served(&bench).await;
    }
    assert_eq!(control.counters().state, 2, "not per call");
    let to = Some(format!("http://{}", api.address));
    control.change_faults(|faults| _ = faults.moved.insert(TENANT.to_owned(), to));
    // Longer ago than state.min_interval: nobody has to wait for the next fetch.
    hand.advance(MINUTE);
    assert_eq!(bench.get(WHO).await.status, 200);
    assert_eq!((control.counters().state, api.connections()), (3, 1));

    // The address known so far is better than none.
    control.change_faults(|faults| faults.state_down = true);
    hand.advance(64 * MINUTE);
    exchanged(&bench, 2).await;
    assert_eq!(bench.get(WHO).await.status, 200);
    assert_eq!(api.connections(), 2);
}

#[tokio::test]
async fn a_ticket_goes_to_no_host_that_is_not_listed() {
    let (evil, good) = (any_api().await, any_api().await);
    let logs = Logs::capture();
    // The state endpoint names it: the token's address is used.
    let login = Login::start(naming(&base(&good))).await;
    for api in [
        base(&evil),
        base(&evil).replace("127.0.0.1", "localhost"),
        // Plain text to another machine, and a domain that only looks like SuperOffice's.
        format!("http://sod2.superoffice.com/{TENANT}/api"),
        format!("https://evilsuperoffice.com/{TENANT}/api"),
        format!("http://{}@{}/{TENANT}/api", good.address, evil.address),
    ] {
        login.on_state(state(&api));
        let bench = scripted(&login, &[&good]).await;
        let before = good.connections();
        assert_eq!(bench.get(WHO).await.status, 200, "{api}");
        assert_eq!((evil.connections(), good.connections() - before), (0, 1), "{api}");
    }
    // The token names it: there is no other.
    for webapi in [base(&evil), "nonsense".to_owned(), String::new()] {
        let login = Login::start(naming(&webapi)).await;
        login.on_state(state(&base(&evil)));
        let bench = scripted(&login, &[&good]).await;
        refused(&bench.get(WHO).await, "tenant_address_unknown", "address of this tenant's web API is not known");
    }
    assert_eq!(evil.connections(), 0);
    assert!(logs.warnings().iter().any(|line| line.contains("is not in upstream_hosts")));
    no_secrets(&logs.text());
}

/// Moved to a host that is not listed, at a renewal: the ticket stays where it is.
#[tokio::test]
async fn a_tenant_that_moves_to_a_host_not_listed_is_not_followed() {
    let evil = any_api().await;
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    let to = Some(format!("http://{}", evil.address));
    bench.sandbox.control().change_faults(|faults| _ = faults.moved.insert(TENANT.to_owned(), to));
    hand.advance(64 * MINUTE);
    exchanged(&bench, 2).await;
    // The state that was fetched meanwhile may be fetched again.
    hand.advance(MINUTE);
    assert_eq!(bench.get(WHO).await.status, 421);
    assert_eq!(evil.connections(), 0);
}

/// The default: `*.superoffice.com`, and the login URL's own host with its port.
#[tokio::test]
async fn hosts_by_default() {
    let other = any_api().await;
    let login = Login::start(naming(&base(&other))).await;
    let bench = Setup::new().login_at(login.address()).set("renewal.prefetch", "false").start().await;
    refused(&bench.get(WHO).await, "tenant_address_unknown", "address of this tenant's web API is not known");
    assert_eq!(other.connections(), 0, "the same address, but another port");
    let login = Login::start(Act::Reset).await;
    login.on_exchange(naming(&format!("http://{}/{TENANT}/api", login.address())));
    let bench = Setup::new().login_at(login.address()).set("renewal.prefetch", "false").start().await;
    assert_eq!(bench.get(WHO).await.status, 404, "the scripted service's own answer");
    let asked = login.seen().others;
    assert!(asked.len() == 1 && asked[0].starts_with(&format!("GET /{TENANT}{WHO} ")), "{asked:?}");
}

#[tokio::test]
async fn redirects_of_the_web_api_are_passed_on_and_not_followed() {
    let target = any_api().await;
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let to = format!("http://{}/{TENANT}/api/v1/x", target.address);
        let api = Peer::answering(http(status, &format!("location: {to}\r\n"), "elsewhere")).await;
        let login = Login::start(Token::good().reply()).await;
        // Even if the target were a host that may have tickets.
        let hosts = format!("{},{}", api.address, target.address);
        let bench = login.with_api(&api).set("superoffice.upstream_hosts", &hosts).start().await;
        for method in [Method::GET, Method::POST] {
            let answer = bench.call(method, "/api/v1/x", "").await;
            assert_eq!(answer.status.as_str(), &status[..3]);
            assert_eq!((answer.headers["location"].to_str().unwrap(), answer.text()), (to.as_str(), "elsewhere"));
        }
        assert_eq!((api.connections(), target.connections()), (2, 0), "{status}");
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(target.connections(), 0);
}
