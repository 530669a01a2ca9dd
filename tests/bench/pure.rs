//! The pure steps of a request and of an exchange, one by one: `cargo bench`, or `cargo bench -- route`.
//!
//! For whole requests see `run.sh` and `instructions.sh` beside this file.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use jiff::Timestamp;
use rsa::pkcs8::DecodePrivateKey;
use serde_json::json;
use sha2::Sha256;
use soproxy::clock::Clock;
use soproxy::proxy::error::ProxyError;
use soproxy::proxy::governor::{Bounds, Caller, Governor};
use soproxy::proxy::links::{Addresses, Homes, Links, Mode};
use soproxy::proxy::route::Routes;
use soproxy::proxy::{headers, target};
use soproxy::sandbox::demo;
use soproxy::superoffice::jwt::{self, Expected};
use soproxy::superoffice::keys::VerificationKeys;
use soproxy::superoffice::origin::{BaseUrl, UpstreamHosts};
use soproxy::superoffice::signing::SigningKey;
use soproxy::superoffice::{CLAIM_PREFIX, ContextId, SystemUserToken, soap};
use soproxy::ticket::Ticket;

/// An ordinary target, of a tenant in the middle of the table.
const TARGET: &str = "/Cust5000/api/v1/Contact/12345/Associates?$select=name,contactId&$top=50";

fn routing(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    let one = Routes::new([("Cust5000".to_owned(), 0)]);
    let many = Routes::new((0..10_000).map(|n| (format!("Cust{n}"), n)));
    let path = TARGET.split('?').next().unwrap();
    let lower = path.to_ascii_lowercase();
    group.bench_function("1 tenant", |b| b.iter(|| one.find(black_box(path), None, None)));
    group.bench_function("10,000 tenants", |b| b.iter(|| many.find(black_box(path), None, None)));
    group.bench_function("10,000 tenants, other case", |b| b.iter(|| many.find(black_box(&lower), None, None)));
    group.bench_function("10,000 tenants, unknown", |b| b.iter(|| many.find(black_box("/Cust5000x/api/v1/Contact/12345"), None, None)));
    group.finish();
}

fn targets(c: &mut Criterion) {
    let mut group = c.benchmark_group("target");
    let whole: PathAndQuery = TARGET.parse().unwrap();
    let rest = whole.path().strip_prefix("/Cust5000/api").unwrap();
    let [same, other] = ["https://sod2.superoffice.com/Cust5000/api", "https://sod2.superoffice.com/other/api"].map(|base| {
        let base: BaseUrl = base.parse().unwrap();
        base
    });
    group.bench_function("check", |b| b.iter(|| target::check(black_box(whole.path()))));
    group
        .bench_function("check, with dots and escapes", |b| b.iter(|| target::check(black_box("/Cust5000/api/v1/Document/a.b.docx/%20x"))));
    group.bench_function("upstream, the caller's own path", |b| b.iter(|| target::upstream_target(&same, black_box(&whole), rest)));
    group.bench_function("upstream, another path", |b| b.iter(|| target::upstream_target(&other, black_box(&whole), rest)));
    group.bench_function("upstream, as a whole URI", |b| b.iter(|| target::upstream_uri(&same, black_box(rest), whole.query())));
    group.finish();
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn header_policy(c: &mut Criterion) {
    let mut group = c.benchmark_group("headers");
    let request = map(&[
        ("host", "localhost:8080"),
        ("user-agent", "legacy-crm-sync/4.2"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("accept-language", "en-GB"),
        ("connection", "keep-alive"),
    ]);
    let answer = map(&[
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "1024"),
        ("cache-control", "no-cache"),
        ("date", "Mon, 23 Nov 2026 12:00:00 GMT"),
        ("server", "Microsoft-IIS/10.0"),
        ("set-cookie", "SOOnline=0123456789abcdef; path=/; HttpOnly"),
        ("x-powered-by", "ASP.NET"),
    ]);
    let ticket = Ticket {
        authorization: HeaderValue::from_str(&format!("SOTicket 7T:{}", "A".repeat(600))).unwrap(),
        app_token: HeaderValue::from_static(demo::CLIENT_SECRET),
        generation: 1,
        issued: Clock::system().now(),
        after_refusal: false,
    };
    let to_and_fro = |(mut request, mut answer): (HeaderMap, HeaderMap)| {
        headers::strip(&mut request);
        headers::inject(&mut request, http::Version::HTTP_11, &ticket);
        headers::scrub(&mut answer, http::Version::HTTP_11);
        (request, answer)
    };
    group.bench_function("strip, inject, scrub", |b| {
        b.iter_batched(|| (request.clone(), answer.clone()), to_and_fro, BatchSize::SmallInput);
    });
    group.finish();
}

/// An answer of about 1 KiB, with a link that the proxy rewrites or one that it does not.
fn entity(link: &str) -> Bytes {
    let text = "Customer since the spring of last year, see the notes. ".repeat(16);
    format!(r#"{{"ContactId":12345,"Name":"Example AS","Description":"{text}","_Links":{{"Self":"{link}"}},"Deleted":false}}"#).into()
}

/// Callers of one tenant on the default listener.
struct Local;

impl Addresses for Local {
    fn ours(&self) -> String {
        "http://localhost:8080/Cust5000".to_owned()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn aliases(&self) -> Vec<String> {
        vec!["http://127.0.0.1:8080/Cust5000".to_owned()]
    }

    fn shared_aliases(&self) -> Vec<String> {
        Vec::new()
    }
}

fn link_rewriting(c: &mut Criterion) {
    let mut group = c.benchmark_group("links");
    let home: BaseUrl = "https://sod2.superoffice.com/Cust5000".parse().unwrap();
    let homes = Arc::new(Homes::new(&home, []));
    let hosts = UpstreamHosts::parse(["*.superoffice.com"]).unwrap();
    let head = map(&[
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "1024"),
        ("cache-control", "no-cache"),
        ("date", "Mon, 23 Nov 2026 12:00:00 GMT"),
        ("etag", "\"1\""),
    ]);
    let plain = entity("/api/v1/Contact/12345");
    let linked = entity("https://sod2.superoffice.com/Cust5000/api/v1/Contact/12345");
    for (name, mode, body) in [
        ("1 KiB, off", Mode::Off, &plain),
        ("1 KiB without links", Mode::Known, &plain),
        ("1 KiB with _Links", Mode::Known, &linked),
        ("1 KiB with _Links, all", Mode::All, &linked),
    ] {
        let links = Links { mode, homes: &homes, addresses: Local, hosts: &hosts, routes: &[], listing: false };
        let answer = || {
            let mut answer = Response::new(soproxy::body::full(body.clone()));
            *answer.headers_mut() = head.clone();
            answer
        };
        let rewrite = |answer: Response<_>| {
            let seen = mode.look(answer.headers())?;
            let done = pin!(links.answer(seen, &Method::GET, answer)).poll(&mut Context::from_waker(Waker::noop()));
            assert!(done.is_ready());
            Some(done)
        };
        group.bench_function(name, |b| b.iter_batched(answer, rewrite, BatchSize::SmallInput));
    }
    group.finish();
}

fn errors(c: &mut Criterion) {
    c.bench_function("error answer", |b| b.iter(|| black_box(ProxyError::UnknownTenant).response("0123456789abcdef")));
}

/// A token as protocol §5.2 has it, and the keys that verify it.
fn token() -> (String, VerificationKeys) {
    let private = rsa::PrivateKey::from_pkcs8_pem(include_str!("../vectors/throwaway-2048.pkcs8.pem")).unwrap();
    let claim = |name: &str| format!("{CLAIM_PREFIX}{name}");
    let claims = json!({
        "sub": demo::APPLICATION,
        claim("system_token"): [demo::SYSTEM_USER_TOKEN],
        claim("ctx"): demo::TENANT,
        claim("serial"): demo::SERIAL,
        claim("ticket"): format!("7T:{}", "A".repeat(300)),
        claim("webapi_url"): "https://sod.superoffice.com/Cust12345/api/",
        "iat": "1631791526", "nbf": 1_631_791_466, "exp": 1_631_791_826, "iss": "SuperOffice AS", "aud": format!("spn:{}", demo::SERIAL),
    });
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(json!({ "typ": "JWT", "alg": "RS256" })), part(claims));
    let signature = private.pkcs1v15_sign::<Sha256>(message.as_bytes()).unwrap();
    let keys = VerificationKeys::from_file(include_bytes!("../vectors/throwaway-2048.pub.pem")).unwrap();
    (format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)), keys)
}

fn exchange(c: &mut Criterion) {
    let mut group = c.benchmark_group("exchange");
    let now = Timestamp::from_second(1_631_791_500).unwrap();
    let key = SigningKey::parse(demo::PRIVATE_KEY_XML.as_bytes(), None).unwrap();
    let system_user_token = SystemUserToken::new(demo::SYSTEM_USER_TOKEN.to_owned().into());
    group.bench_function("sign, RSA-2048", |b| b.iter(|| key.sign(black_box(&system_user_token), now).unwrap()));

    let (token, keys) = token();
    let context: ContextId = demo::TENANT.parse().unwrap();
    let expected = Expected { context: &context, now, leeway: Duration::from_secs(300) };
    assert!(jwt::verify(&token, &keys, &expected).is_ok());
    group.bench_function("verify the token", |b| b.iter(|| jwt::verify(black_box(&token), &keys, &expected)));

    let reply = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><AuthenticationResponse \
         xmlns=\"http://www.superoffice.com/superid/partnersystemuser/0.1\"><IsSuccessful>true</IsSuccessful><Token>{token}</Token>\
         <ErrorMessage/></AuthenticationResponse></s:Body></s:Envelope>"
    );
    let parse = |body: &[u8]| soap::parse_reply(200, Some("text/xml; charset=utf-8"), None, body);
    assert!(parse(reply.as_bytes()).is_ok());
    group.bench_function("read the SOAP reply", |b| b.iter(|| parse(black_box(reply.as_bytes()))));
    group.finish();
}

/// What every call pays, and what it pays where there are bounds that it does not reach.
fn turns(c: &mut Criterion) {
    let mut group = c.benchmark_group("governor");
    let clock = Clock::system();
    let caller = || Caller::Peer(std::net::Ipv4Addr::LOCALHOST.into());
    let now = clock.now();
    for (name, rate, max_concurrent) in [("free", None, None), ("64 at once", None, Some(64))] {
        let bounds = Bounds { rate, max_concurrent, queue_timeout: Duration::from_secs(30) };
        let governor = Governor::new(bounds, clock.clone(), 2);
        group.bench_function(name, |b| b.iter(|| governor.ask(caller, black_box(now), black_box(now))));
    }
    group.finish();
}

criterion_group!(pure, routing, targets, header_policy, link_rewriting, turns, errors, exchange);
criterion_main!(pure);
