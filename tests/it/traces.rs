//! Traces: what is told upstream, and what a collector gets, over its own protocol.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, Setup, TENANT};
use crate::logs::{Logs, Records};
use crate::peer::{Peer, read_request};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const SECRET: &str = "Bearer k4n4r1-9c8b7a6d5e4f";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// A collector that takes what it gets, after it has answered otherwise so many times.
pub struct Collector {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _peer: Peer,
}

impl Collector {
    pub async fn start() -> Collector {
        Collector::answering(&[]).await
    }

    async fn answering(first: &'static [&'static str]) -> Collector {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let peer = Peer::start(move |_, mut stream| {
            let seen = seen.clone();
            async move {
                loop {
                    let request = read_request(&mut stream).await;
                    if request.is_empty() {
                        return;
                    }
                    let nth = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request);
                        seen.len() - 1
                    };
                    let answer = first.get(nth).copied().unwrap_or("200 OK\r\nContent-Type: application/json\r\n\r\n{}");
                    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
                    let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        Collector { address: peer.address, requests, _peer: peer }
    }

    fn setup(&self) -> Setup {
        Setup::new().set("telemetry.otlp_endpoint", &format!("http://{}", self.address)).set("renewal.prefetch", "false")
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// All spans, once there are so many.
    async fn spans(&self, at_least: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let mut spans = Vec::new();
            for request in self.requests() {
                let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
                spans.extend(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
            }
            if spans.len() >= at_least {
                return spans;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{spans:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// An attribute's value, whatever kind it is of.
fn attribute<'v>(span: &'v Value, name: &str) -> Option<&'v Value> {
    let found = span["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == name)?;
    found["value"].as_object().unwrap().values().next()
}

fn named<'v>(spans: &'v [Value], name: &str, kind: u64) -> Vec<&'v Value> {
    spans.iter().filter(|span| span["name"] == name && span["kind"] == kind).collect()
}

async fn traced(bench: &Bench, lines: &[(&str, &str)], query: &str) -> Value {
    let mut request = Request::get(format!("/{TENANT}/api/v1/_sandbox/echo{query}")).header("host", bench.proxy.to_string());
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let answer = bench.send(request.body(Bytes::new()).unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// What upstream saw of a header.
fn saw(echo: &Value, name: &str) -> Vec<String> {
    let lines = echo["Headers"].as_array().unwrap();
    let lines = lines.iter().filter(|line| line[0].as_str().unwrap().eq_ignore_ascii_case(name));
    lines.map(|line| line[1].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn without_a_collector_a_trace_goes_on_as_it_is_and_is_named_in_the_log() {
    let mut setup = Setup::new();
    let records = Records::of(&mut setup);
    let bench = setup.start().await;
    for parent in [traceparent("01"), traceparent("00"), "nonsense".to_owned()] {
        let echo = traced(&bench, &[("traceparent", &parent), ("tracestate", "a=1,b=2")], "").await;
        assert_eq!((saw(&echo, "traceparent"), saw(&echo, "tracestate")), (vec![parent], vec!["a=1,b=2".to_owned()]));
    }
    bench.get("/api/v1/last").await;
    let log = records.with("/v1/last").await;
    assert_eq!(log.matches(&format!(" trace_id=\"{TRACE}\"")).count(), 2, "{log}");
    assert_eq!(log.matches("trace_id").count(), 2, "{log}");
}

#[tokio::test]
async fn a_callers_trace_goes_through_us_to_upstream_and_to_the_collector() {
    let collector = Collector::start().await;
    let mut setup = collector.setup();
    let records = Records::of(&mut setup);
    let bench = setup.start().await;
    let echo = traced(&bench, &[("traceparent", &traceparent("01")), ("tracestate", "a=1")], "?$filter=secretly").await;
    let told = saw(&echo, "traceparent");
    assert_eq!((told.len(), &told[0][..36], &told[0][52..]), (1, &*format!("00-{TRACE}-"), "-01"));
    assert_eq!(saw(&echo, "tracestate"), ["a=1"]);
    bench.stop.begin();
    let spans = collector.spans(4).await;
    let (requests, waits) = (named(&spans, "GET", 2), named(&spans, "ticket wait", 1));
    let (sendings, exchanges) = (named(&spans, "GET", 3), named(&spans, "exchange", 3));
    // It waited for the state as well, unless that was there first.
    assert!(matches!(waits.len(), 1 | 2), "{spans:#?}");
    assert_eq!((spans.len() - waits.len(), requests.len(), sendings.len(), exchanges.len()), (3, 1, 1, 1), "{spans:#?}");
    let (request, sent, exchange) = (requests[0], sendings[0], exchanges[0]);
    assert_eq!((&request["traceId"], &request["parentSpanId"]), (&json!(TRACE), &json!(SPAN)));
    assert_eq!((&request["traceState"], &request["status"]), (&json!("a=1"), &json!({})));
    for (name, value) in [
        ("url.path", json!(format!("/{TENANT}/api/v1/_sandbox/echo"))),
        ("url.scheme", json!("http")),
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!("200")),
        ("soproxy.tenant", json!(TENANT)),
    ] {
        assert_eq!(attribute(request, name), Some(&value), "{name}");
    }
    assert_eq!(attribute(request, "url.query"), None);
    let time = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
    for span in waits.iter().copied().chain([sent]) {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &request["spanId"]));
        let times = [(request, "startTimeUnixNano"), (span, "startTimeUnixNano"), (span, "endTimeUnixNano"), (request, "endTimeUnixNano")];
        assert!(times.map(|(span, name)| time(span, name)).is_sorted(), "{spans:#?}");
    }
    assert!(waits.iter().all(|wait| time(wait, "endTimeUnixNano") <= time(sent, "startTimeUnixNano")), "{spans:#?}");
    let address = bench.sandbox.base().trim_start_matches("http://").rsplit_once(':').unwrap();
    assert_eq!(sent["spanId"], told[0][36..52]);
    assert_eq!(attribute(sent, "server.address"), Some(&json!(address.0)));
    assert_eq!(attribute(sent, "server.port"), Some(&json!(address.1)));
    assert_eq!(attribute(sent, "url.full"), Some(&json!(format!("{}/{TENANT}/api/v1/_sandbox/echo", bench.sandbox.base()))));
    assert!(exchange["traceId"] != TRACE && exchange.get("parentSpanId").is_none(), "{exchange:#?}");
    assert_eq!(attribute(exchange, "soproxy.tenant"), Some(&json!(TENANT)));
    assert_eq!(attribute(exchange, "http.response.status_code"), Some(&json!("200")));
    assert!(!collector.requests().concat().contains("secretly"));
    assert!(records.with("trace_id").await.contains(&format!("trace_id=\"{TRACE}\"")));
}

#[tokio::test]
async fn each_sending_is_a_span_of_its_own() {
    let collector = Collector::start().await;
    let (setup, hand) = collector.setup().set("log.query", "values").manual_clock();
    let bench = setup.start().await;
    traced(&bench, &[], "").await;
    // A ticket that is not fresh any more is refused: the request is sent again.
    hand.advance(Duration::from_secs(1000));
    bench.sandbox.control().revoke_tickets(None);
    let echo = traced(&bench, &[("traceparent", &traceparent("03"))], "?a=b").await;
    bench.stop.begin();
    let spans = collector.spans(7).await;
    let of_trace: Vec<Value> = spans.iter().filter(|span| span["traceId"] == TRACE).cloned().collect();
    let (requests, sendings) = (named(&of_trace, "GET", 2), named(&of_trace, "GET", 3));
    assert_eq!((requests.len(), sendings.len()), (1, 2), "{of_trace:#?}");
    assert_eq!(attribute(requests[0], "soproxy.sent_twice"), Some(&json!("ticket refused")));
    assert!(sendings.iter().all(|span| span["parentSpanId"] == requests[0]["spanId"]), "{of_trace:#?}");
    let (first, second): (Vec<&Value>, Vec<&Value>) =
        sendings.iter().partition(|span| attribute(span, "http.request.resend_count").is_none());
    assert_eq!((attribute(first[0], "error.type"), &first[0]["status"]), (Some(&json!("401")), &json!({"code": 2})));
    assert_eq!((attribute(second[0], "http.request.resend_count"), &second[0]["status"]), (Some(&json!("1")), &json!({})));
    let told = saw(&echo, "traceparent");
    assert_eq!((second[0]["spanId"].as_str().unwrap(), &told[0][53..]), (&told[0][36..52], "03"));
    assert_eq!(named(&spans, "exchange", 3).len(), 2, "{spans:#?}");
    // Without an access log nobody has said that queries may be told.
    assert_eq!(attribute(requests[0], "url.query"), None);
}

#[tokio::test]
async fn a_trace_that_nobody_wants_is_not_exported_and_one_that_is_broken_begins_anew() {
    let collector = Collector::start().await;
    let bench = collector.setup().set("telemetry.sample", "0").start().await;
    let unwanted = traceparent("00");
    let echo = traced(&bench, &[("traceparent", &unwanted), ("tracestate", "a=1")], "").await;
    assert_eq!((saw(&echo, "traceparent"), saw(&echo, "tracestate")), (vec![unwanted], vec!["a=1".to_owned()]));
    for (name, value) in [("traceparent", format!("{}-x", traceparent("01"))), ("accept", "*/*".to_owned())] {
        let echo = traced(&bench, &[(name, &value), ("tracestate", "a=1")], "").await;
        let told = saw(&echo, "traceparent");
        assert!(told.len() == 1 && told[0].ends_with("-02") && !told[0].contains(TRACE), "{told:?}");
        assert_eq!(saw(&echo, "tracestate"), Vec::<String>::new());
    }
    // The caller wants this one.
    traced(&bench, &[("traceparent", &traceparent("01"))], "").await;
    let request = Request::builder().method("BREW").uri("/nobody/api/v1/x").header("host", bench.proxy.to_string());
    bench.send(request.header("traceparent", traceparent("01")).body(Bytes::new()).unwrap()).await;
    bench.stop.begin();
    let spans = collector.spans(3).await;
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert!(spans.iter().all(|span| span["traceId"] == TRACE));
    let refused = named(&spans, "HTTP", 2)[0];
    assert_eq!(attribute(refused, "http.request.method_original"), Some(&json!("BREW")));
    assert_eq!((attribute(refused, "error.type"), &refused["status"]), (Some(&json!("unknown_tenant")), &json!({})));
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_costs_its_spans_alone() {
    let logs = Logs::capture();
    let collector = Collector::answering(&[
        "503 Busy\r\nRetry-After: 0",
        "429 Slow\r\nRetry-After: 0",
        "200 OK\r\nContent-Type: application/json\r\n\r\n{\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"one\\u001b too many\"}}",
        "401 No",
    ])
    .await;
    let setup = collector.setup().set("telemetry.otlp_headers.authorization", SECRET).set("telemetry.otlp_headers.x_team", "crm");
    let bench = setup.start().await;
    traced(&bench, &[], "").await;
    collector.spans(1).await;
    bench.until("three tries", async || collector.requests().len() >= 3).await;
    let tries = collector.requests();
    let body = |request: &str| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert!(body(&tries[0]) == body(&tries[1]) && body(&tries[1]) == body(&tries[2]));
    assert!(tries[0].starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", tries[0]);
    let head = tries[0].to_ascii_lowercase();
    for line in [
        format!("\r\nauthorization: {}\r\n", SECRET),
        "\r\nx-team: crm\r\n".to_owned(),
        "\r\ncontent-type: application/json\r\n".to_owned(),
    ] {
        assert!(head.contains(&line.to_ascii_lowercase()), "{line} {head}");
    }
    traced(&bench, &[], "").await;
    bench.until("a refusal", async || logs.text().contains("spans are lost: the collector answers HTTP 401")).await;
    assert!(logs.text().contains("spans=1 said=\"one\\u{1b} too many\""), "{}", logs.text());
    traced(&bench, &[], "").await;
    bench.until("all is well again", async || logs.text().contains("the collector takes spans again")).await;
    assert!(!logs.text().contains(SECRET), "a secret is in the log");
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_does_not_answer() {
    let silent = Peer::start(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let bench = Setup::new().set("telemetry.otlp_endpoint", &format!("http://{}", silent.address)).start().await;
    for _ in 0..50 {
        assert_eq!(bench.call(Method::GET, "/api/v1/_sandbox/echo", "").await.status, 200);
    }
}
