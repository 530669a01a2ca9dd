//! `/metrics`: what it tells, in which format, and that nobody can make it longer than it should be.

mod format;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use soproxy::metrics::table::ALL;

use self::format::Samples;
use crate::bench::{Answer, Bench, Setup, TENANT, collect, open};
use crate::binary::Home;
use crate::peer::Stage;
use crate::wire::{OK, Wire, assert_no_secret, request};

const HOUR: Duration = Duration::from_secs(3600);

async fn page(bench: &Bench, accept: &str) -> Answer {
    let admin = bench.admin.unwrap();
    let request = Request::get("/metrics").header("host", admin.to_string()).header("accept", accept);
    collect(open(admin, request.body(Full::new(Bytes::new())).unwrap()).await).await
}

async fn samples(bench: &Bench) -> Samples {
    Samples::prometheus(page(bench, "*/*").await.text())
}

/// Waits until a sample has a value: a request is counted when its answer has gone out.
async fn counted(bench: &Bench, sample: &str, value: f64) {
    bench.until(&format!("{sample} {value}"), async || samples(bench).await.get(sample) == value).await;
}

fn of_tenant(name: &str) -> String {
    format!("{name}{{tenant=\"{TENANT}\"}}")
}

/// All that can happen, once.
async fn busy() -> Bench {
    let mut setup = Setup::new();
    setup.more += "[[cache]]\npaths = [\"/api/v1/MDOList/*\"]\nttl = \"10m\"\n";
    let bench = setup.start().await;
    bench.generation(1).await;
    for path in ["/api/v1/Contact/1", "/api/v1/Contact/99999999", "/api/v1/MDOList/category", "/api/v1/MDOList/category"] {
        bench.get(path).await;
    }
    bench.call(Method::POST, "/api/v1/_sandbox/echo", "twelve bytes").await;
    bench.call("BREW".parse().unwrap(), "/api/v1/_sandbox/echo", "").await;
    bench.call(Method::TRACE, "/api/v1/_sandbox/echo", "").await;
    bench.send(Request::get("/Nobody\"here/api/v1/x").header("host", bench.proxy.to_string()).body(Bytes::new()).unwrap()).await;
    bench.raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n").await;
    bench
}

#[tokio::test]
async fn both_formats_are_well_formed_and_tell_the_same() {
    let bench = busy().await;
    let all = r#"soproxy_requests_total{tenant="",method="other",status="4xx"}"#;
    counted(&bench, all, 2.0).await;
    let (plain, open) = (page(&bench, "text/plain").await, page(&bench, "application/openmetrics-text;version=1.0.0").await);
    assert_eq!(plain.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_no_secret(plain.text());
    assert_no_secret(open.text());
    let (plain, open) = (Samples::prometheus(plain.text()), Samples::openmetrics(open.text()));
    assert!(plain.names().eq(open.names()), "the same samples in both");
    // What is of other systems, or of what has not happened here.
    let absent = ["soproxy_tenant_calls_per_second_limit", "soproxy_certificate_expires_timestamp_seconds"];
    for family in ALL.iter().filter(|family| !absent.contains(&family.name)) {
        let there = cfg!(target_os = "linux") || !family.name.starts_with("process_");
        assert_eq!(plain.families().contains(family.name), there, "{}", family.name);
        assert_eq!(open.families().contains(family.name), there, "{}", family.name);
    }
}

#[tokio::test]
async fn requests_are_counted_by_tenant_method_class_and_code() {
    let bench = busy().await;
    counted(&bench, r#"soproxy_errors_total{tenant="",code="malformed_request"}"#, 1.0).await;
    let now = samples(&bench).await;
    let requests = |tenant: &str, method: &str, status: &str| {
        now.get(&format!("soproxy_requests_total{{tenant=\"{tenant}\",method=\"{method}\",status=\"{status}\"}}"))
    };
    assert_eq!([requests(TENANT, "GET", "2xx"), requests(TENANT, "GET", "4xx")], [3.0, 1.0]);
    assert_eq!([requests(TENANT, "POST", "2xx"), requests(TENANT, "other", "2xx")], [1.0, 1.0], "nobody can make a method up");
    assert_eq!([requests("", "GET", "4xx"), requests("", "other", "4xx")], [1.0, 2.0], "nor a tenant");
    let errors = |code: &str| now.get(&format!("soproxy_errors_total{{tenant=\"\",code=\"{code}\"}}"));
    assert_eq!(["unknown_tenant", "method_not_allowed", "malformed_request", "overloaded"].map(errors), [1.0, 1.0, 1.0, 0.0]);
    assert_eq!(now.get(&of_tenant("soproxy_request_bytes_total")), 12.0);
    assert!(now.get(&of_tenant("soproxy_response_bytes_total")) > 100.0);
    assert_eq!(now.get(&of_tenant("soproxy_request_duration_seconds_count")), 6.0);
    let looked = |result: &str| now.get(&format!("soproxy_cache_requests_total{{result=\"{result}\"}}"));
    assert_eq!([looked("hit"), looked("miss"), looked("pass"), now.get("soproxy_cache_entries")], [1.0, 1.0, 0.0, 1.0]);
    assert_eq!(now.get("soproxy_requests_in_flight"), 0.0);
    // One request was answered out of the cache, and three were refused.
    assert_eq!(now.get("soproxy_phase_duration_seconds_count{phase=\"first_byte\"}"), 5.0);
    assert_eq!(now.get("soproxy_phase_duration_seconds_count{phase=\"queue\"}"), 5.0);
    assert!(
        now.get("soproxy_phase_duration_seconds_sum{phase=\"first_byte\"}")
            <= now.get("soproxy_phase_duration_seconds_sum{phase=\"total\"}")
    );
}

#[tokio::test]
async fn tenants_tell_how_they_stand() {
    let bench = Setup::new().fault("login_of.Cust54321.refuse.code=Revoked").start().await;
    bench.generation(1).await;
    let refused = r#"soproxy_exchanges_total{tenant="Cust54321",result="failed",code="refused_revoked"}"#;
    bench.until("it was refused", async || samples(&bench).await.get(refused) >= 1.0).await;
    bench.get("/api/v1/Contact/1").await;
    let now = samples(&bench).await;
    assert_eq!(now.get(r#"soproxy_exchanges_total{tenant="Cust12345",result="success",code=""}"#), 1.0);
    assert_eq!(now.get(r#"soproxy_exchanges_total{tenant="Cust54321",result="success",code=""}"#), 0.0);
    assert!(now.get("soproxy_exchange_duration_seconds_count") >= 2.0);
    let left = now.get(&of_tenant("soproxy_ticket_expires_in_seconds"));
    assert!((21_590.0..=21_600.0).contains(&left), "{left}");
    assert_eq!(now.get(&of_tenant("soproxy_ticket_generation")), 1.0);
    let got = now.get(&of_tenant("soproxy_ticket_last_success_timestamp_seconds"));
    assert!((got - jiff::Timestamp::now().as_second() as f64).abs() < 60.0, "{got}");
    assert!(!now.has(r#"soproxy_ticket_expires_in_seconds{tenant="Cust54321"}"#), "there is none");
    assert_eq!(now.get(&of_tenant("soproxy_tenant_ready")), 1.0);
    assert!(now.has(r#"soproxy_tenant_ready{tenant="Cust54321"}"#) && now.get(r#"soproxy_tenant_ready{tenant="Cust54321"}"#) == 0.0);
    assert_eq!(now.get(r#"soproxy_tenant_standing{tenant="Cust12345",standing="ready"}"#), 1.0);
    assert_eq!(now.get(r#"soproxy_tenant_standing{tenant="Cust54321",standing="failing"}"#), 1.0);
    assert_eq!(now.get(r#"soproxy_tenant_state{tenant="Cust12345",state="Running"}"#), 1.0);
    assert_eq!([now.get(r#"soproxy_tenants{standing="ready"}"#), now.get(r#"soproxy_tenants{standing="failing"}"#)], [1.0, 1.0]);
    assert_eq!(now.get("soproxy_ready"), 1.0);
    assert!(now.get(r#"soproxy_state_fetches_total{result="ok"}"#) >= 1.0);
}

#[tokio::test]
async fn the_skew_of_clocks_is_told_by_login_service() {
    let bench = Setup::new().fault("clock_skew=\"90s\"").start().await;
    bench.generation(1).await;
    let skew = format!("soproxy_clock_skew_seconds{{login=\"{}\"}}", bench.login_url);
    let told = samples(&bench).await.get(&skew);
    assert!((85.0..=95.0).contains(&told), "{told}");
}

#[tokio::test]
async fn counters_never_go_back_when_a_reload_replaces_a_tenant() {
    let bench = Bench::start().await;
    bench.get("/api/v1/Contact/1").await;
    let (requests, exchanges) = (
        format!("soproxy_requests_total{{tenant=\"{TENANT}\",method=\"GET\",status=\"2xx\"}}"),
        format!("soproxy_exchanges_total{{tenant=\"{TENANT}\",result=\"success\",code=\"\"}}"),
    );
    counted(&bench, &requests, 1.0).await;
    let connections =
        |now: &Samples| now.names().filter(|name| name.contains("connections_opened_total")).map(|name| now.get(name)).sum::<f64>();
    let before = samples(&bench).await;
    // Another connection pool, and tenants whose tickets are dropped.
    let address = bench.sandbox.base().trim_start_matches("http://").to_owned();
    let api = format!("{}/{TENANT}/api", bench.sandbox.base());
    let changes =
        [("upstream.max_connection_age", "9m"), ("superoffice.upstream_hosts", address.as_str()), ("tenants.Cust12345.api_url", &api)];
    bench.live.apply(bench.config_with(&changes)).unwrap();
    bench.get("/api/v1/Contact/1").await;
    counted(&bench, &requests, 2.0).await;
    let after = samples(&bench).await;
    assert_eq!(after.get(&exchanges), before.get(&exchanges) + 1.0);
    assert!(connections(&after) > connections(&before) && connections(&before) > 0.0);
}

#[tokio::test]
async fn renewals_that_sliding_spared_are_counted() {
    let (setup, hand) = Setup::new().set("renewal.max_age", "never").manual_clock();
    let bench = setup.start().await;
    let spared = of_tenant("soproxy_renewals_avoided_total");
    for _ in 0..4 {
        assert_eq!(bench.get("/api/v1/Contact/1").await.status, 200);
        hand.advance(5 * HOUR);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Uses at 0, 5, 10 and 15 hours: twice it would have been too late.
    counted(&bench, &spared, 2.0).await;
    assert_eq!(bench.exchanges(), 1);
}

#[tokio::test]
async fn connections_tunnels_and_requests_in_flight_are_told() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    bench.generation(1).await;
    let upstream = |name: &str, label: &str| format!("soproxy_upstream_connections{name}{{upstream=\"{}\"{label}}}", stage.address);
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("GET", "/v1/x", "")).await;
    let (mut up, _) = stage.request().await;
    let now = samples(&bench).await;
    assert_eq!([now.get("soproxy_requests_in_flight"), now.get("soproxy_downstream_connections")], [1.0, 1.0]);
    assert_eq!([now.get(&upstream("", ",state=\"busy\"")), now.get(&upstream("", ",state=\"idle\""))], [1.0, 0.0]);
    up.say(OK).await;
    assert_eq!(wire.answer().await.status(), 200);
    counted(&bench, &upstream("", ",state=\"idle\""), 1.0).await;
    assert_eq!(samples(&bench).await.get(&upstream("", ",state=\"busy\"")), 0.0);
    // Another one becomes a tunnel.
    wire.say(request("GET", "/hub", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).await;
    let (mut far, _) = stage.request().await;
    far.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
    assert_eq!(wire.answer().await.status(), 101);
    counted(&bench, "soproxy_tunnels", 1.0).await;
    wire.say("up").await;
    assert_eq!(far.until("up").await, "up");
    far.say("down!").await;
    assert_eq!(wire.until("down!").await, "down!");
    drop((wire, far));
    counted(&bench, "soproxy_tunnels", 0.0).await;
    counted(&bench, &upstream("_closed_total", ""), 1.0).await;
    let now = samples(&bench).await;
    assert_eq!(now.get(&upstream("_opened_total", ",protocol=\"http/1.1\"")), 2.0);
    assert_eq!([now.get(&of_tenant("soproxy_request_bytes_total")), now.get(&of_tenant("soproxy_response_bytes_total"))], [2.0, 7.0]);
    assert!(now.get("soproxy_phase_duration_seconds_sum{phase=\"connect\"}") > 0.0);
    // Nobody is there any more.
    drop((stage, up));
    bench.get("/v1/x").await;
    bench
        .until("connecting fails", async || {
            bench.get("/v1/x").await;
            samples(&bench).await.names().any(|name| name.contains("connect_failures_total"))
        })
        .await;
}

#[tokio::test]
async fn refusals_and_waits_for_a_turn_are_told() {
    let bench = Setup::new().fault(r#"throttle.Cust12345={"rate": 0, "retry_after": "20s"}"#).start().await;
    bench.generation(1).await;
    assert_eq!(bench.call(Method::POST, "/api/v1/_sandbox/echo", "x").await.status, 429);
    counted(&bench, &of_tenant("soproxy_upstream_refusals_total"), 1.0).await;
    let now = samples(&bench).await;
    let paused = now.get(&of_tenant("soproxy_tenant_paused_seconds"));
    assert!((15.0..=20.0).contains(&paused), "{paused}");
    assert!(now.get(&of_tenant("soproxy_tenant_calls_per_second_limit")) > 0.0);
}

#[tokio::test]
async fn certificates_tell_when_they_run_out_and_the_store_what_it_writes() {
    let store = tempfile::tempdir().unwrap();
    let (certificate, key) = (crate::tls::vectors("renewed.pem"), crate::tls::vectors("renewed.key"));
    let mut setup = Setup::new().set("store.path", store.path().to_str().unwrap());
    setup.more +=
        &format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntls_certificate = \"{certificate}\"\ntls_key = {{ file = \"{key}\" }}\n");
    let bench = setup.start().await;
    let now = samples(&bench).await;
    let expires = now.get(&format!("soproxy_certificate_expires_timestamp_seconds{{file=\"{certificate}\"}}"));
    assert!(expires > 1.7e9, "{expires}");
    bench.until("it is stored", async || samples(&bench).await.get("soproxy_store_writes_total{result=\"ok\"}") >= 2.0).await;
    assert_eq!(samples(&bench).await.get("soproxy_store_writes_total{result=\"failed\"}"), 0.0);
}

#[tokio::test]
async fn a_confined_program_tells_of_its_process_and_of_its_reloads() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    let (_, admin) = program.addresses().await;
    let samples = async || Samples::prometheus(crate::binary::get(admin, "/metrics").await.text());
    let now = samples().await;
    if cfg!(target_os = "linux") {
        for name in ["cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds", "threads"] {
            assert!(now.has(&format!("process_{name}")), "{name}");
        }
        assert!(now.get("process_resident_memory_bytes") > 1e6 && now.get("process_open_fds") > 5.0 && now.get("process_max_fds") > 5.0);
    }
    assert!((now.get("soproxy_start_time_seconds") - jiff::Timestamp::now().as_second() as f64).abs() < 60.0);
    assert_eq!(now.names().filter(|name| name.starts_with("soproxy_build_info{version=\"")).count(), 1);
    let reloads = |now: &Samples| ["applied", "failed"].map(|result| now.get(&format!("soproxy_reloads_total{{result=\"{result}\"}}")));
    assert_eq!((reloads(&now), now.get("soproxy_reload_last_successful")), ([0.0, 0.0], 1.0));
    home.edit("proxy.toml", "[tenants.", "[nonsense]\n[tenants.");
    program.signal("HUP");
    let until = async |what: &str, holds: &dyn Fn(&Samples) -> bool| {
        for _ in 0..500 {
            let now = samples().await;
            if holds(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 5 s: {what}");
    };
    let failed = until("it failed", &|now| reloads(now) == [0.0, 1.0]).await;
    assert_eq!(failed.get("soproxy_reload_last_successful"), 0.0);
    assert_eq!(failed.get("soproxy_reload_last_success_timestamp_seconds"), now.get("soproxy_reload_last_success_timestamp_seconds"));
}
