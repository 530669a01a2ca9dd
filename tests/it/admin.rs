//! The admin listener: who may ask, what is told, and what is done.

mod actions;
mod program;

use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use soproxy::app::StartError;

use crate::bench::{Answer, Bench, Setup, TENANT, collect, open};

const TOKEN: &str = "0123456789abcdef-token";

/// One request on a connection of its own.
async fn ask(to: SocketAddr, method: &str, path: &str, lines: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path).header("host", to.to_string());
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    collect(open(to, request.body(Full::new(Bytes::new())).unwrap()).await).await
}

async fn post(bench: &Bench, path: &str) -> Answer {
    ask(bench.admin.unwrap(), "POST", path, &[]).await
}

fn allowed(answer: &Answer) -> Vec<&str> {
    answer.headers.get("allow").map(|allow| allow.to_str().unwrap().split(", ").collect()).unwrap_or_default()
}

#[tokio::test]
async fn everything_that_is_listed_is_there_and_takes_what_it_says() {
    let bench = Bench::start().await;
    bench.generation(1).await;
    let admin = bench.admin.unwrap();
    let list = bench.admin("/").await;
    for (method, path, _) in soproxy::admin::ENDPOINTS {
        assert!(list.text().lines().any(|line| line.starts_with(method) && line.contains(path)), "{path}: {}", list.text());
        let path = path.replace("TENANT", "cust12345");
        if method == "GET" {
            let got = ask(admin, "GET", &path, &[]).await;
            assert_eq!((got.status.as_u16(), got.body.is_empty()), (200, false), "{path}");
            let head = ask(admin, "HEAD", &path, &[]).await;
            assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{path}");
            assert_eq!(got.headers["cache-control"], "no-store", "{path}");
        } else if path != "/log-level" {
            let refused = ask(admin, "GET", &path, &[]).await;
            assert_eq!((refused.status.as_u16(), allowed(&refused)), (405, vec![method]), "{path}");
        }
        for other in ["OPTIONS", "PATCH"] {
            let refused = ask(admin, other, &path, &[]).await;
            assert_eq!(refused.status.as_u16(), 405, "{other} {path}");
            assert!(allowed(&refused).contains(&method), "{other} {path}");
        }
    }
    let nothing = bench.admin("/nothing").await;
    assert!(nothing.status == 404 && nothing.text().contains("/readyz"), "{}", nothing.text());
    for path in ["/readyz/nobody", "/tenants/nobody", "/tenants/../status", "/tenants/nobody/x"] {
        assert_eq!(bench.admin(path).await.status, 404, "{path}");
    }
    assert_eq!(post(&bench, "/tenants/nobody/renew").await.status, 404);
    assert_eq!(post(&bench, "/tenants/nobody/forget").await.status, 404);
}

// Readiness

#[tokio::test]
async fn ready_is_what_the_configuration_says() {
    // (ready_when, whether it is ready while the second tenant cannot be served, what is missing)
    let cases = [
        ("any", 200, ""),
        ("all", 503, "Cust54321 is failing"),
        ("cust12345", 200, ""),
        ("Cust54321,Cust12345", 503, "Cust54321 is failing"),
    ];
    let bench = Setup::new().fault("login_of.Cust54321.refuse.code=Revoked").start().await;
    bench.generation(1).await;
    let failing = async || bench.admin("/readyz/Cust54321").await.json()["state"] == "failing";
    bench.until("the second tenant fails", failing).await;
    for (when, status, missing) in cases {
        bench.live.apply(bench.config_with(&[("admin.ready_when", when)])).unwrap();
        bench.until("the reload's attempt has failed", failing).await;
        let answer = bench.admin("/readyz").await;
        let told = answer.json();
        assert_eq!((answer.status.as_u16(), told["ready"].as_bool()), (status, Some(status == 200)), "{when}");
        let reasons = told.get("reasons").map(ToString::to_string).unwrap_or_default();
        assert!(reasons.contains(missing) && reasons.is_empty() == missing.is_empty(), "{when}: {reasons}");
        if let "any" | "all" = when {
            assert_eq!(told["ready_when"], when);
        }
    }
    assert_eq!(bench.admin("/readyz").await.json()["ready_when"], serde_json::json!(["Cust54321", TENANT]));
    let one = bench.admin("/readyz/CUST12345").await;
    assert_eq!((one.status.as_u16(), one.json()["ready"].as_bool()), (200, Some(true)));
    let other = bench.admin("/readyz/Cust54321").await;
    assert_eq!((other.status.as_u16(), other.json()["ready"].as_bool()), (503, Some(false)));
    assert!(other.json()["reason"].as_str().unwrap().contains("evoked"));
    bench.stop.leaving.cancel();
    let leaving = bench.admin("/readyz").await;
    assert_eq!((leaving.status.as_u16(), leaving.json()["draining"].as_bool()), (503, Some(true)));
    assert_eq!(bench.admin("/readyz/Cust12345").await.status, 503);
    assert_eq!(bench.admin("/livez").await.status, 200);
}

// Access

#[tokio::test]
async fn with_a_token_only_health_is_told_to_those_who_do_not_show_it() {
    let bench = Setup::new().set("admin.token", TOKEN).start().await;
    let admin = bench.admin.unwrap();
    let good = format!("Bearer {TOKEN}");
    let good = [("authorization", good.as_str())];
    bench.until("it is ready", async || bench.admin("/readyz").await.status == 200).await;
    let short = bench.admin("/readyz").await.json();
    assert_eq!(short, serde_json::json!({ "ready": true }), "no names");
    assert_eq!((bench.admin("/livez").await.status.as_u16(), bench.admin("/").await.status.as_u16()), (200, 200));
    assert_eq!(ask(admin, "GET", "/livez", &[("authorization", "Bearer wrong")]).await.status, 200, "a probe does not fail for that");
    for (method, path, _) in soproxy::admin::ENDPOINTS {
        let path = path.replace("TENANT", TENANT);
        if let "/" | "/livez" | "/readyz" = &*path {
            continue;
        }
        let refused = ask(admin, method, &path, &[]).await;
        assert_eq!(refused.status, 401, "{method} {path}");
        assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"soproxy\"");
        let wrong = ask(admin, method, &path, &[("authorization", "Bearer 0123456789abcdef-tokem")]).await;
        assert_eq!(wrong.status, 401, "{method} {path}");
        assert!(wrong.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
        assert!(!wrong.text().contains(TENANT) && !wrong.text().contains("tokem"), "{}", wrong.text());
    }
    assert_eq!(ask(admin, "GET", "/readyz", &[("authorization", "Basic eDp5")]).await.status, 401);
    assert!(!bench.stop.drain.is_cancelled());
    assert_eq!(bench.exchanges(), 1, "nothing was done");
    for path in ["/status", "/metrics", "/tenants/Cust12345", "/readyz/Cust12345"] {
        assert_eq!(ask(admin, "GET", path, &good).await.status, 200, "{path}");
    }
    assert!(ask(admin, "GET", "/readyz", &good).await.json()["tenants"][TENANT].is_object());
    assert_eq!(ask(admin, "POST", "/tenants/Cust12345/renew", &good).await.json()["generation"], 2);
}

#[tokio::test]
async fn a_reload_changes_the_token_and_the_names() {
    let wide = Setup::new().set("admin.address", "0.0.0.0:0").set("admin.token", TOKEN).start().await;
    let admin: SocketAddr = format!("127.0.0.1:{}", wide.admin.unwrap().port()).parse().unwrap();
    let line = |token: &str| format!("Bearer {token}");
    let status = async |token: &str| ask(admin, "GET", "/status", &[("authorization", &line(token))]).await.status.as_u16();
    assert_eq!((status(TOKEN).await, status("another-token-0123").await), (200, 401));
    wide.live.apply(wide.config_with(&[("admin.token", "another-token-0123"), ("admin.hosts", "ops.internal")])).unwrap();
    assert_eq!((status(TOKEN).await, status("another-token-0123").await), (401, 200));
    assert_eq!(ask(admin, "GET", "/livez", &[]).await.status, 200);
    let request = Request::get("/livez").header("host", "ops.internal").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(open(admin, request).await.status(), 200);
}

/// An address of this machine that is not loopback, if it has one.
fn own_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().filter(|address| !address.ip().is_loopback() && !address.ip().is_unspecified())
}

#[tokio::test]
async fn where_others_reach_it_without_a_token_it_shows_and_does_nothing() {
    let Some(own) = own_address() else { return eprintln!("skipped: this machine has no address but loopback") };
    let wide = Setup::new().set("admin.address", "0.0.0.0:0").set("admin.insecure_allow_anonymous", "true").start().await;
    wide.until("it is ready", async || wide.exchanges() == 1).await;
    let port = wide.admin.unwrap().port();
    let (far, near) = (SocketAddr::new(own.ip(), port), SocketAddr::new("127.0.0.1".parse().unwrap(), port));
    assert_eq!(ask(far, "GET", "/status", &[]).await.status, 200);
    for (method, path, _) in soproxy::admin::ENDPOINTS.iter().filter(|(method, ..)| *method != "GET") {
        let refused = ask(far, method, &path.replace("TENANT", TENANT), &[]).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().contains("admin.token"), "{}", refused.text());
    }
    assert_eq!((wide.exchanges(), wide.stop.drain.is_cancelled()), (1, false));
    assert_eq!(ask(near, "POST", "/tenants/Cust12345/renew", &[]).await.status, 200);
}

#[tokio::test]
async fn a_reload_that_shows_a_wide_admin_listener_to_anybody_is_refused() {
    let wide = Setup::new().set("admin.address", "0.0.0.0:0").set("admin.insecure_allow_anonymous", "true").start().await;
    // The address that it names is a good one; the one that is bound is not.
    let config = wide.config_with(&[("admin.address", "127.0.0.1:0"), ("admin.insecure_allow_anonymous", "false")]);
    let refused = wide.live.apply(config).unwrap_err();
    assert!(matches!(refused, StartError::AdminReach(_)) && refused.to_string().contains("token"), "{refused}");
    let good = [("admin.address", "127.0.0.1:0"), ("admin.insecure_allow_anonymous", "false"), ("admin.token", TOKEN)];
    let report = wide.live.apply(wide.config_with(&good)).unwrap();
    assert_eq!(report.at_next_start, ["admin.address"], "{report:?}");
    let near = SocketAddr::new("127.0.0.1".parse().unwrap(), wide.admin.unwrap().port());
    assert_eq!(ask(near, "GET", "/status", &[]).await.status, 401);
    // What is to be off at the next start is guarded until then.
    wide.live.apply(wide.config_with(&[("admin.address", "off")])).unwrap();
    assert_eq!(ask(near, "GET", "/status", &[]).await.status, 401);
}

#[tokio::test]
async fn no_web_page_and_no_foreign_name_gives_orders() {
    let bench = Bench::start().await;
    bench.generation(1).await;
    let admin = bench.admin.unwrap();
    for (method, path, _) in soproxy::admin::ENDPOINTS {
        let path = path.replace("TENANT", TENANT);
        for line in
            [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]
        {
            let refused = ask(admin, method, &path, &[line, ("authorization", "Bearer x")]).await;
            assert_eq!(refused.status, 403, "{method} {path} {line:?}");
            assert!(!refused.text().contains(TENANT));
        }
        let request = Request::builder().method(method).uri(&path).header("host", "evil.example");
        let request = request.body(Full::new(Bytes::new())).unwrap();
        assert_eq!(open(admin, request).await.status(), 403, "{method} {path}");
    }
    assert_eq!((bench.exchanges(), bench.stop.leaving.is_cancelled()), (1, false));
}
