//! SuperOffice's state-change notifications: hints that make the proxy ask, on a listener that does nothing else.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use soproxy::sandbox::{Change, Push, PushToken, Tenant, demo};

use crate::bench::{Answer, Bench, Setup, TENANT, collect, open};
use crate::login::no_secrets;
use crate::logs::Logs;
use crate::wire::{OK, Wire, recorder};

const PATH: &str = "/superoffice/state-change";
const WHO: &str = "/api/v1/User/currentPrincipal";

fn pushed_to() -> Setup {
    Setup::new().set("state.push_address", "127.0.0.1:0")
}

/// The same, with states that may be fetched in quick succession.
fn quick() -> Setup {
    pushed_to().set("state.min_interval", "50ms")
}

fn url(bench: &Bench) -> String {
    format!("http://{}{PATH}", bench.push.expect("a listener for notifications"))
}

/// SuperOffice notifies; what it is told, each time.
async fn notify(bench: &Bench, change: Change, token: PushToken, times: u32) -> Vec<u16> {
    let push = Push { token, times, ..Push::new(TENANT, change, &url(bench)) };
    bench.sandbox.push(&push).await.unwrap().into_iter().map(|answer| answer.status).collect()
}

async fn post(to: SocketAddr, body: impl Into<bytes::Bytes>) -> Answer {
    let request = Request::post(PATH).header("host", "proxy.example").header("content-type", "application/json");
    collect(open(to, request.body(Full::new(body.into())).unwrap()).await).await
}

/// The body of a good notification.
fn notification(bench: &Bench, change: Change) -> Value {
    serde_json::from_slice(&bench.sandbox.notification(&Push::new(TENANT, change, "")).unwrap()).unwrap()
}

async fn counted(bench: &Bench, result: &str) -> u64 {
    let metrics = bench.admin("/metrics").await;
    let name = format!("soproxy_state_pushes_total{{result=\"{result}\"}} ");
    metrics.text().lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// An address that was free a moment ago: the sandbox has to know it before the proxy is there.
fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(120)).await;
}

// Who can reach it

#[tokio::test]
async fn strangers_cannot_take_all_connections() {
    let bench = pushed_to().start().await;
    let push = bench.push.unwrap();
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(tokio::net::TcpStream::connect(push).await.unwrap());
    }
    let closed = |stream: &tokio::net::TcpStream| !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    bench.until("those that are too many are closed", async || held.iter().filter(|stream| closed(stream)).count() >= 100).await;
    assert_eq!(bench.get(WHO).await.status, 200);
}

// What a notification does

#[tokio::test]
async fn a_notification_makes_the_state_be_fetched_at_once() {
    let bench = quick().start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    assert_eq!(bench.states(), 1, "and it is valid for ten minutes");
    bench.fault("state.Cust12345=Suspended");
    assert_eq!(notify(&bench, Change::Suspend, PushToken::Ok, 1).await, [200]);
    bench.until("it is known", async || bench.get(WHO).await.error() == Some("tenant_not_running")).await;
    bench.fault("state.Cust12345=Running");
    assert_eq!(notify(&bench, Change::Resume, PushToken::Ok, 1).await, [200]);
    bench.until("it is known", async || bench.get(WHO).await.status == 200).await;
    assert_eq!((bench.states(), counted(&bench, "accepted").await), (3, 2));
}

#[tokio::test]
async fn a_move_that_was_pushed_costs_no_421() {
    let bench = quick().may_move().start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    bench.fault("moved.Cust12345=null");
    notify(&bench, Change::Move, PushToken::Ok, 1).await;
    bench.until("it was fetched", async || bench.states() >= 2).await;
    pause().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    assert_eq!(bench.sandbox.control().counters().misdirected, 0);
}

#[tokio::test]
async fn nothing_that_a_notification_says_is_believed() {
    let (evil, seen) = recorder(OK).await;
    let bench = quick().start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    let mut body = notification(&bench, Change::Move);
    body["PublicEndpoint"] = json!(evil.address.to_string());
    body["Endpoint"] = json!(format!("http://{}/{TENANT}", evil.address));
    for change in [json!(5), json!(4), json!(2), json!("Delete"), json!(99), json!(null), json!([])] {
        body["ChangeType"] = change;
        assert_eq!(post(bench.push.unwrap(), body.to_string()).await.status, 200, "{body}");
        pause().await;
        assert_eq!(bench.get(WHO).await.status, 200);
    }
    assert_eq!((seen.count(), evil.connections()), (0, 0));
    assert_eq!(bench.exchanges(), 1);
}

#[tokio::test]
async fn no_credential_is_forgotten_because_of_a_deletion() {
    let bench = quick().start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    bench.fault("state.Cust12345=Deleted");
    notify(&bench, Change::Delete, PushToken::Ok, 1).await;
    bench.until("it is known", async || bench.get(WHO).await.error() == Some("tenant_deleted")).await;
    bench.fault("state.Cust12345=Running");
    notify(&bench, Change::BackupRestored, PushToken::Ok, 1).await;
    bench.until("it is known", async || bench.get(WHO).await.status == 200).await;
    assert_eq!(bench.exchanges(), 1, "even the ticket is still there");
}

#[tokio::test]
async fn a_burst_collapses_into_one_fetch() {
    let (setup, hand) = pushed_to().manual_clock();
    let bench = setup.start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    // Within min_interval of the fetch before: they wait for its end.
    assert_eq!(notify(&bench, Change::Move, PushToken::Ok, 50).await, [200; 50]);
    pause().await;
    assert_eq!(bench.states(), 1);
    hand.advance(Duration::from_secs(11));
    bench.until("the fetch", async || bench.states() == 2).await;
    for _ in 0..3 {
        hand.advance(Duration::from_secs(11));
        pause().await;
    }
    assert_eq!(bench.states(), 2, "one for all of them");
    assert_eq!(counted(&bench, "accepted").await, 50);
}

#[tokio::test]
async fn a_tenant_that_nobody_has_used_is_asked_about_too() {
    let bench = quick().set("renewal.prefetch", "false").start().await;
    assert_eq!((notify(&bench, Change::Resume, PushToken::Ok, 1).await, bench.exchanges()), (vec![200], 0));
    bench.until("it was fetched", async || bench.states() == 1).await;
}

#[tokio::test]
async fn the_sandbox_pushes_by_itself_and_the_proxy_follows() {
    let address = free_port();
    let mut setup = quick().set("state.push_address", &address).may_move();
    setup.options.push_to = Some(format!("http://{address}{PATH}"));
    let bench = setup.start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    bench.fault("state.Cust12345=OfflineMaintenance");
    bench.until("it is down", async || bench.get(WHO).await.error() == Some("tenant_not_running")).await;
    bench.fault("state.Cust12345=Running");
    bench.until("it is up", async || bench.get(WHO).await.status == 200).await;
}

// What is refused

#[tokio::test]
async fn a_forged_notification_is_refused_and_counted_and_does_nothing() {
    let logs = Logs::capture();
    let bench = quick().start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    let wrong = [PushToken::Forged, PushToken::WrongIssuer, PushToken::WrongTenant, PushToken::Expired, PushToken::None];
    for token in wrong {
        assert_eq!(notify(&bench, Change::Suspend, token, 2).await, [403, 403], "{token:?}");
    }
    // A good token, and somebody else's name.
    let mut body = notification(&bench, Change::Suspend);
    body["ContextIdentifier"] = json!(demo::SECOND_TENANT);
    assert_eq!(post(bench.push.unwrap(), body.to_string()).await.status, 403);
    body["ContextIdentifier"] = json!(TENANT);
    for garbage in [json!("eyJ"), json!("a.b.c"), json!(""), json!(7), json!({}), json!("eyJhbGciOiJub25lIn0.e30.")] {
        body["Token"] = garbage;
        let answer = post(bench.push.unwrap(), body.to_string()).await;
        assert_eq!(answer.status, 403, "{body}");
        no_secrets(answer.text());
    }
    pause().await;
    assert_eq!((bench.states(), counted(&bench, "refused").await, counted(&bench, "accepted").await), (1, 17, 0));
    let told = logs.warnings().into_iter().filter(|line| line.contains("notification")).count();
    assert_eq!(told, 1, "strangers do not fill the log: {:#?}", logs.warnings());
    assert_eq!(bench.get(WHO).await.status, 200);
}

#[tokio::test]
async fn strangers_do_not_have_the_keys_fetched_again_and_again() {
    let bench = quick().start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
    // A key that nobody has heard of.
    let mut body = notification(&bench, Change::Suspend);
    let token = body["Token"].as_str().unwrap().to_owned();
    let header = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsIng1dCI6InVua25vd24ifQ";
    body["Token"] = json!(format!("{header}.{}", token.split_once('.').unwrap().1));
    let before = bench.sandbox.control().counters().jwks;
    for _ in 0..20 {
        assert_eq!(post(bench.push.unwrap(), body.to_string()).await.status, 403);
    }
    assert!(bench.sandbox.control().counters().jwks <= before + 1);
}

#[tokio::test]
async fn whether_a_tenant_is_configured_here_is_not_told_to_strangers() {
    let mut setup = quick();
    let third = Tenant { context: "Cust77777".to_owned(), ..setup.options.tenants[0].clone() };
    setup.options.tenants.push(third);
    let bench = setup.start().await;
    let push = |tenant: &str, token| Push { token, ..Push::new(tenant, Change::Move, &url(&bench)) };
    let answers = async |token| {
        let mut answers = Vec::new();
        for tenant in [TENANT, "Cust77777"] {
            answers.extend(bench.sandbox.push(&push(tenant, token)).await.unwrap());
        }
        answers
    };
    let forged = answers(PushToken::Forged).await;
    assert_eq!((forged[0].status, &forged[0]), (403, &forged[1]));
    let good = answers(PushToken::Ok).await;
    assert_eq!((good[0].status, &good[0]), (200, &good[1]), "SuperOffice need not know either");
    assert_eq!(counted(&bench, "unknown tenant").await, 1);
    assert_eq!(bench.sandbox.control().counters().states_of("Cust77777"), 0);
}

#[tokio::test]
async fn what_is_no_notification_is_refused() {
    let bench = quick().start().await;
    let push = bench.push.unwrap();
    let long = json!({ "ContextIdentifier": TENANT, "Token": "x".repeat(100_000) }).to_string();
    for (body, status) in [
        ("", 400),
        ("null", 400),
        ("[]", 400),
        ("{", 400),
        ("<xml/>", 400),
        (r#"{"Token":"x"}"#, 400),
        (r#"{"ContextIdentifier":"../x","Token":"x"}"#, 400),
        (&long, 413),
    ] {
        assert_eq!(post(push, body.to_owned()).await.status, status, "{}", &body[..body.len().min(60)]);
    }
    assert_eq!(counted(&bench, "malformed").await, 8);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder().method(method.clone()).uri(PATH).header("host", "x").body(Full::new("{}".into())).unwrap();
        let answer = collect(open(push, request).await).await;
        assert_eq!((answer.status.as_u16(), answer.headers["allow"].to_str().unwrap()), (405, "POST"), "{method}");
    }
    // A body that never ends is not waited for without end, nor kept.
    let mut wire = Wire::to(push).await;
    wire.say(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    wire.say(format!("8000\r\n{}\r\n", "x".repeat(0x8000))).await;
    assert_eq!(wire.answer().await.status(), 413);
}

#[tokio::test]
async fn a_notification_that_stands_still_is_given_up() {
    let bench = quick().set("listen.body_timeout", "100ms").start().await;
    let mut wire = Wire::to(bench.push.unwrap()).await;
    wire.say(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{")).await;
    let given_up = wire.message().await;
    assert!(given_up.as_ref().is_none_or(|answer| answer.status() >= 400), "{given_up:?}");
}

// The listener

#[tokio::test]
async fn the_listener_serves_nothing_else() {
    let bench = quick().start().await;
    let push = bench.push.unwrap();
    let calls = bench.sandbox.control().counters().api_calls;
    for path in
        ["/", "/livez", "/readyz", "/metrics", "/Cust12345/api/v1/Contact/1", "/api/state/Cust12345", "/superoffice", "/superoffice/x"]
    {
        for method in [Method::GET, Method::POST] {
            let request = Request::builder().method(method).uri(path).header("host", push.to_string()).body(Full::default()).unwrap();
            let answer = collect(open(push, request).await).await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    assert_eq!(bench.sandbox.control().counters().api_calls, calls);
    // And nobody else serves this.
    let good = notification(&bench, Change::Move).to_string();
    assert_eq!(post(bench.proxy, good.clone()).await.status.as_u16() / 100, 4);
    assert_eq!(post(bench.admin.unwrap(), good).await.status.as_u16() / 100, 4);
    assert_eq!(bench.states(), 1);
}

/// None of the keys that verify them is known yet: one fetch of these serves all.
#[tokio::test]
async fn genuine_ones_at_once_are_all_believed_from_a_cold_start() {
    let bench = quick().set("renewal.prefetch", "false").start().await;
    let (good, bad) = tokio::join!(notify(&bench, Change::Move, PushToken::Ok, 20), notify(&bench, Change::Move, PushToken::Forged, 20));
    assert_eq!((good, bad), (vec![200; 20], vec![403; 20]));
    assert!(bench.sandbox.control().counters().jwks <= 2);
}

#[tokio::test]
async fn it_is_off_unless_it_is_configured() {
    let bench = Bench::start().await;
    assert_eq!(bench.push, None);
    let request = Request::post(PATH).header("host", bench.proxy.to_string()).body("{}".into()).unwrap();
    assert_eq!(bench.send(request).await.error(), Some("unknown_tenant"));
}

#[tokio::test]
async fn a_hundred_notifications_at_once_disturb_no_request() {
    let bench = quick().start().await;
    // The exchange has brought the keys.
    assert_eq!(bench.get(WHO).await.status, 200);
    let calls = async {
        for _ in 0..50 {
            assert_eq!(bench.get(WHO).await.status, 200);
        }
    };
    let (_, good, bad) =
        tokio::join!(calls, notify(&bench, Change::Move, PushToken::Ok, 50), notify(&bench, Change::Move, PushToken::Forged, 50));
    assert_eq!((good, bad), (vec![200; 50], vec![403; 50]));
}
