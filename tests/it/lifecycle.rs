//! A proxy's life: readiness, reload, drain, and what the log tells.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use soproxy::app::App;
use soproxy::clock::Clock;
use soproxy::config::Config;
use soproxy::sandbox::demo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::bench::{Bench, Setup, TENANT};
use crate::binary::{Home, get};
use crate::peer::Peer;
use crate::wire::{OK, Wire, ask, assert_no_secret, recorder};

/// A peer whose answers stop in the middle until told to go on.
async fn slow_download() -> (Peer, Arc<Notify>) {
    Peer::gated("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst", " rest").await
}

/// A download that has begun.
async fn begun(proxy: SocketAddr) -> Wire {
    let mut wire = Wire::to(proxy).await;
    wire.say(format!("GET /{TENANT}/api/v1/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    assert!(wire.until("first").await.starts_with("HTTP/1.1 200 "));
    wire
}

async fn status(proxy: SocketAddr, path: &str) -> u16 {
    ask(proxy, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.status()
}

/// Waits until every listed tenant has a ticket.
async fn ready(admin: SocketAddr, tenants: &[&str]) -> Value {
    let started = Instant::now();
    loop {
        let readiness = get(admin, "/readyz").await.json();
        if tenants.iter().all(|tenant| readiness["tenants"][tenant]["state"] == "ready") {
            return readiness;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{readiness}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// Readiness

#[tokio::test]
async fn a_proxy_is_ready_when_any_tenant_can_be_served() {
    let bench = Setup::new().fault("login_of.Cust54321.refuse.code=Revoked").start().await;
    bench.generation(1).await;
    let path = "/tenants/Cust54321/state";
    bench.until("the other has failed", async || bench.admin("/readyz").await.json().pointer(path) == Some(&"failing".into())).await;
    let answer = bench.admin("/readyz").await;
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["ready"]), (200, &true.into()));
    assert_eq!(body["tenants"][TENANT]["state"], "ready");
    assert_eq!(body["tenants"]["Cust54321"]["can_serve"], false);
    assert!(body["tenants"]["Cust54321"]["reason"].as_str().unwrap().contains("evoked"), "{body}");
    assert_no_secret(answer.text());
}

#[tokio::test]
async fn a_proxy_whose_login_service_is_down_at_start_starts_and_says_so() {
    let bench = Setup::new().fault("login=down").start().await;
    bench.until("both have failed", async || bench.admin("/readyz").await.text().matches("\"failing\"").count() == 2).await;
    let answer = bench.admin("/readyz").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["ready"]), (503, &false.into()));
    assert_eq!(bench.admin("/livez").await.status, 200, "it lives");
    assert_eq!(bench.get("/api/v1/x").await.error(), Some("ticket_unavailable"));
    bench.sandbox.control().change_faults(|faults| faults.login = Default::default());
    bench.until("it is ready by itself", async || bench.admin("/readyz").await.status == 200).await;
    bench.until("it serves", async || bench.get("/api/v1/_sandbox/echo").await.status == 200).await;
}

#[tokio::test]
async fn the_admin_listener_has_two_pages_to_read() {
    let bench = Bench::start().await;
    let admin = bench.admin.unwrap();
    assert_eq!(status(admin, "/nothing").await, 404);
    assert_eq!(status(admin, &format!("/{TENANT}/api/v1/x")).await, 404);
    assert_eq!(ask(admin, "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await.status(), 405);
    assert_eq!(status(bench.proxy, "/livez").await, 404, "and callers of the proxy have none of them");
}

// Reload

#[tokio::test]
async fn a_reload_keeps_unaffected_tickets_and_takes_new_settings() {
    let (peer, seen) = recorder(OK).await;
    let bench = Bench::start().await;
    bench.generation(1).await;
    bench.until("both are fetched", async || bench.sandbox.control().counters().exchanges_of("Cust54321") == 1).await;
    let host = |name: &str| format!("GET /{TENANT}/api/v1/_sandbox/echo HTTP/1.1\r\nHost: {name}\r\n\r\n");
    assert_eq!(ask(bench.proxy, host("soproxy")).await.status(), 403);
    bench.live.apply(bench.config_with(&[("listen.hosts", "soproxy"), ("listen.max_body", "1"), ("upstream.forwarded", "true")])).unwrap();
    let echo = ask(bench.proxy, host("soproxy")).await;
    assert_eq!(echo.status(), 200);
    assert!(echo.text().contains("x-forwarded-for"));
    assert_eq!(bench.call(http::Method::POST, "/api/v1/x", "ab").await.error(), Some("body_too_large"));
    // The first tenant's web API moves by configuration: a new ticket, for it alone.
    let api =
        [("superoffice.upstream_hosts", peer.address.to_string()), ("tenants.Cust12345.api_url", format!("http://{}/x", peer.address))];
    let changes: Vec<(&str, &str)> = api.iter().map(|(key, value)| (*key, value.as_str())).collect();
    assert_eq!(bench.exchanges(), 1);
    bench.live.apply(bench.config_with(&changes)).unwrap();
    assert_eq!(bench.get("/api/v1/y").await.status, 200);
    assert_eq!(seen.last().first, "GET /x/v1/y HTTP/1.1");
    assert_eq!(bench.exchanges(), 2);
}

#[tokio::test]
async fn a_request_in_flight_finishes_with_what_it_started_with() {
    let (peer, go_on) = slow_download().await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = begun(bench.proxy).await;
    let gone = [("superoffice.upstream_hosts", "*.superoffice.com"), ("tenants.Cust12345.api_url", "https://sod2.superoffice.com/x/api")];
    bench.live.apply(bench.config_with(&gone)).unwrap();
    go_on.notify_one();
    assert_eq!(wire.until(" rest").await, " rest");
}

#[tokio::test]
async fn hangup_reloads_tenants_come_and_go_and_secrets_change() {
    let (peer, go_on) = slow_download().await;
    let home = Home::new().await.api_at(peer.address);
    let program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    let before = ready(admin, &[TENANT, "Cust54321"]).await;
    assert_eq!(before["tenants"][TENANT]["generation"], 1);
    let mut download = begun(proxy).await;
    assert_eq!(status(proxy, "/Cust54321/api/v1/_sandbox/echo").await, 200);

    // One tenant goes; another comes, whose name is but a label.
    home.edit("proxy.toml", "[tenants.Cust54321]", "[tenants.Fjord]\ncontext = \"Cust54321\"");
    program.signal("HUP");
    program.logged("configuration reloaded", 1).await;
    assert_eq!(status(proxy, "/Cust54321/api/v1/_sandbox/echo").await, 404);
    assert_eq!(status(proxy, "/fjord/api/v1/_sandbox/echo").await, 200);
    let after = ready(admin, &[TENANT, "Fjord"]).await;
    assert_eq!(after["tenants"][TENANT]["generation"], 1);
    assert!(after["tenants"].get("Cust54321").is_none(), "{after}");
    assert_eq!(home.sandbox.control().counters().exchanges_of(TENANT), 1, "the ticket of a tenant that did not change is kept");

    // A secret changes, in a file of its own.
    let secret = home.read("secrets/Cust54321.client_secret");
    home.write("secrets/Cust54321.client_secret", "not-the-secret-any-more");
    program.signal("HUP");
    program.logged("configuration reloaded", 2).await;
    assert_eq!(status(proxy, "/fjord/api/v1/_sandbox/echo").await, 503);
    home.write("secrets/Cust54321.client_secret", secret);
    program.signal("HUP");
    program.logged("configuration reloaded", 3).await;
    assert_eq!(status(proxy, "/fjord/api/v1/_sandbox/echo").await, 200);
    assert_eq!(home.sandbox.control().counters().exchanges_of(TENANT), 1);

    // Through all of it, the download went on.
    go_on.notify_one();
    assert_eq!(download.until(" rest").await, " rest");
    assert_no_secret(&program.stderr());
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_says_why() {
    let home = Home::new().await;
    let mut program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    ready(admin, &[TENANT, "Cust54321"]).await;
    let good = home.read("proxy.toml");
    let key = home.read("privatekey.xml");
    let stays = "the configuration stays as it was";
    for (index, (text, why)) in [
        ("not toml at all [".to_owned(), "is not valid TOML"),
        (good.replace("client_secret", "client_secert"), "client_secert"),
        (good.replace("[tenants.Cust54321]", "[tenants.\"no such name!\"]"), "cannot be the name of a tenant"),
        ("".to_owned(), "there is no tenant"),
    ]
    .into_iter()
    .enumerate()
    {
        home.write("proxy.toml", &text);
        program.signal("HUP");
        program.logged(stays, index + 1).await;
        assert!(program.stderr().contains(why), "{why}: {}", program.stderr());
    }
    home.write("proxy.toml", &good);
    home.write("privatekey.xml", &key[..key.len() / 2]);
    program.signal("HUP");
    program.logged(stays, 5).await;
    std::fs::remove_file(home.path("proxy.toml")).unwrap();
    program.signal("HUP");
    program.logged(stays, 6).await;
    for tenant in [TENANT, "Cust54321"] {
        assert_eq!(status(proxy, &format!("/{tenant}/api/v1/_sandbox/echo")).await, 200);
    }
    let readiness = get(admin, "/readyz").await.json();
    assert_eq!((&readiness["tenants"][TENANT]["generation"], readiness["tenants"].as_object().unwrap().len()), (&1.into(), 2));
    assert_eq!(home.sandbox.control().counters().exchanges_of(TENANT), 1);
    assert!(program.is_running() && !program.stderr().contains("configuration reloaded"));
    assert_no_secret(&program.stderr());
}

// Drain

#[tokio::test]
async fn terminate_drains_and_exits_with_0() {
    let (peer, go_on) = slow_download().await;
    let home = Home::new().await.api_at(peer.address);
    let mut program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    ready(admin, &[TENANT]).await;
    let mut download = begun(proxy).await;
    let mut late = Wire::to(proxy).await;
    late.say("GET /Cust54321/api/v1/_sandbox/echo HTTP/1.1\r\nHost: loc").await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    program.signal("TERM");
    program.logged("draining", 1).await;
    let started = Instant::now();
    while TcpStream::connect(proxy).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(5), "new connections are still accepted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    late.say("alhost\r\n\r\n").await;
    let answer = late.answer().await;
    assert_eq!((answer.status(), answer.one("connection")), (200, Some("close")), "it came before the drain");
    let readiness = get(admin, "/readyz").await;
    assert_eq!((readiness.status.as_u16(), &readiness.json()["draining"]), (503, &true.into()));
    assert_eq!(get(admin, "/livez").await.status, 200);
    assert!(program.is_running(), "a download is in flight");
    go_on.notify_one();
    assert_eq!(download.until(" rest").await, " rest");
    let output = program.ended().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("RSA key of only 1024 bits"), "there was a warning, which changes nothing: {}", output.stderr);
}

#[tokio::test]
async fn an_idle_proxy_ends_at_once_and_its_idle_connections_with_it() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut idle = Wire::to(proxy).await;
    assert_eq!(idle.get("/v1/_sandbox/echo", "").await.status(), 200);
    let mut silent = Wire::to(proxy).await;
    let started = Instant::now();
    program.signal("INT");
    assert_eq!((idle.rest().await, silent.rest().await), (String::new(), String::new()));
    assert_eq!(program.ended().await.code, 0);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let (peer, _never) = slow_download().await;
    let home = Home::new().await.api_at(peer.address);
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut download = begun(proxy).await;
    program.signal("TERM");
    program.logged("draining", 1).await;
    let started = Instant::now();
    program.signal("TERM");
    assert_eq!(download.rest().await, "", "broken off");
    assert_eq!(program.ended().await.code, 0);
    assert!(started.elapsed() < Duration::from_secs(5), "long before the grace of 30 s: {:?}", started.elapsed());
}

#[tokio::test]
async fn what_exceeds_the_grace_is_dropped() {
    let (peer, _never) = slow_download().await;
    let home = Home::new().await.api_at(peer.address).variable("SOPROXY_LISTEN__GRACE", "300ms");
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut download = begun(proxy).await;
    let started = Instant::now();
    program.signal("TERM");
    assert_eq!(download.rest().await, "", "broken off");
    assert!(started.elapsed() >= Duration::from_millis(290), "not before the grace: {:?}", started.elapsed());
    let output = program.ended().await;
    assert_eq!(output.code, 0);
    assert!(output.stderr.contains("still in flight after the grace period"), "{}", output.stderr);
}

// The log

#[tokio::test]
async fn the_log_line_of_a_request_id_tells_what_became_of_the_request() {
    let home = Home::new().await.variable("SOPROXY_LOG__FORMAT", "json");
    let program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    ready(admin, &[TENANT]).await;
    let ask_as = async |id: &str, request: &str| {
        let mut wire = Wire::to(proxy).await;
        wire.say(format!("{request} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
            .await;
        assert!(wire.rest().await.contains(id));
        program.logged(&format!("\"{id}\""), 1).await;
        let log = program.stderr();
        let line = log.lines().find(|line| line.contains(&format!("\"{id}\""))).unwrap();
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let record = ask_as("good-1", "GET /cust12345/api/v1/Contact?$filter=name%20eq%20'Private'&$top=1").await;
    assert_eq!((&record["tenant"], &record["generation"], &record["status"]), (&TENANT.into(), &1.into(), &200.into()));
    assert_eq!(format!("http://{}", record["upstream"].as_str().unwrap()), home.sandbox.base());
    for time in ["ticket_ms", "first_byte_ms", "total_ms"] {
        assert!(record[time].as_f64().is_some_and(|millis| millis >= 0.0), "{time}: {record}");
    }
    assert!(record["total_ms"].as_f64() >= record["first_byte_ms"].as_f64());
    assert!(record["bytes"].as_u64() > Some(0));
    assert!(record["message"].as_str().unwrap().contains("GET /cust12345/api/v1/Contact"), "{record}");
    assert!(!record.to_string().contains("Private"), "a query may hold personal data: {record}");
    assert!(record.get("error").is_none() && record.get("broken_off").is_none(), "{record}");

    let record = ask_as("head-1", "HEAD /Cust12345/api/v1/Document/1/Content").await;
    assert_eq!((&record["status"], record.get("broken_off")), (&200.into(), None), "{record}");
    let record = ask_as("deleted-1", "DELETE /Cust12345/api/v1/Contact/5").await;
    assert_eq!((&record["status"], record.get("broken_off")), (&204.into(), None), "{record}");
    let record = ask_as("unknown-1", "GET /nobody/api/v1/x").await;
    assert_eq!((&record["status"], &record["error"], record.get("tenant")), (&404.into(), &"unknown_tenant".into(), None), "{record}");
    let record = ask_as("unknown-2", "HEAD /nobody/api/v1/x").await;
    assert_eq!((&record["status"], record.get("broken_off")), (&404.into(), None), "{record}");
    assert_no_secret(&program.stderr());
}

#[tokio::test]
async fn a_broken_off_download_is_logged_as_such() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
    let home = Home::new().await.api_at(peer.address).variable("SOPROXY_LOG__FORMAT", "json");
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut wire = Wire::to(proxy).await;
    wire.say(format!("GET /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: broken-1\r\n\r\n")).await;
    // When the body fails before the head is out, hyper sends neither.
    assert!(wire.message().await.is_none_or(|message| !message.complete));
    program.logged("\"broken-1\"", 1).await;
    let log = program.stderr();
    let record: Value = serde_json::from_str(log.lines().find(|line| line.contains("\"broken-1\"")).unwrap()).unwrap();
    assert_eq!((&record["broken_off"], &record["bytes"]), (&true.into(), &7.into()), "{record}");
    assert!(record["cause"].is_string(), "{record}");
}

// Listeners

#[tokio::test]
async fn every_listed_address_is_served_and_both_loopbacks_are_the_default() {
    let settings = |listen: Option<&str>| {
        let text = demo::proxy_toml("http://127.0.0.1:9", "127.0.0.1:0", "127.0.0.1:0");
        let text = if listen.is_none() { text.replace("[listen]\naddress = \"127.0.0.1:0\"\n", "") } else { text };
        let settings = listen.map(|listen| ("SOPROXY_LISTEN__ADDRESS".to_owned(), listen.to_owned()));
        Config::parse(&text, std::path::Path::new("proxy.toml"), settings).unwrap()
    };
    let default: Vec<String> = settings(None).listen.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(default, ["127.0.0.1:8080", "[::1]:8080"]);
    let app = App::build(settings(Some("127.0.0.1:0,[::1]:0")), Clock::system(), None).await.unwrap();
    let (addresses, stop) = (app.addresses(), app.stop());
    // A machine without IPv6 has the first alone.
    assert!(addresses.len() == 2 || TcpListener::bind("[::1]:0").await.is_err(), "{addresses:?}");
    let running = tokio::spawn(app.run());
    for address in addresses {
        let answer = ask(address, format!("GET /nobody/api HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
        assert_eq!(answer.error(), Some("unknown_tenant"), "{address}");
    }
    stop.drain.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("drained").unwrap();
}
