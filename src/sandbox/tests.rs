//! The main flows over real sockets, with another HTTP client, another JWT library and a signer of the tests' own.

mod api;
mod faults;
mod links;
mod login;
mod push;
mod remote;
mod state;

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use rsa::BoxedUint;
use rsa::pkcs1v15::SigningKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

type TestClient = Client<HttpConnector, Full<Bytes>>;

/// A running sandbox, ended when dropped.
struct Running {
    sandbox: Sandbox,
    client: TestClient,
    _stop: DropGuard,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

async fn running(options: Options) -> Running {
    let stop = CancellationToken::new();
    let sandbox = start(options, SocketAddr::from(([127, 0, 0, 1], 0)), stop.clone()).await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    Running { sandbox, client, _stop: stop.drop_guard() }
}

impl Running {
    async fn try_send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Answer { status: head.status, headers: head.headers, body })
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let request = self.request(method, path, headers, body);
        self.try_send(request).await.unwrap()
    }

    fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.sandbox.base()) };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    /// The REST twin, which is the shorter one.
    async fn exchange(&self, secret: &str, context: &str, signed: &str) -> Answer {
        let request = self.exchange_request(secret, context, signed);
        self.try_send(request).await.unwrap()
    }

    fn exchange_request(&self, secret: &str, context: &str, signed: &str) -> Request<Full<Bytes>> {
        let body = json!({
            "SignedSystemToken": signed, "ApplicationToken": secret, "ContextIdentifier": context, "ReturnTokenType": "JWT",
        });
        let headers = [("content-type", "application/json")];
        self.request(Method::POST, "/Login/api/PartnerSystemUser/Authenticate", &headers, body.to_string())
    }

    fn demo_exchange(&self) -> Request<Full<Bytes>> {
        self.exchange_request(demo::CLIENT_SECRET, demo::TENANT, &signed(demo::SYSTEM_USER_TOKEN, demo::PRIVATE_KEY_XML, Timestamp::now()))
    }

    /// A ticket of the first tenant.
    async fn ticket(&self) -> String {
        let answer = self.try_send(self.demo_exchange()).await.unwrap().json();
        let claims = claims(answer["Token"].as_str().unwrap());
        claims["http://schemes.superoffice.net/identity/ticket"].as_str().unwrap().to_owned()
    }

    /// A call of the first tenant's API.
    async fn api(&self, ticket: &str, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let authorization = format!("SOTicket {ticket}");
        let headers =
            [("authorization", authorization.as_str()), ("so-apptoken", demo::CLIENT_SECRET), ("content-type", "application/json")];
        let path = if path.starts_with("http") { path.to_owned() } else { format!("/Cust12345/api/v1/{path}") };
        self.call(method, &path, &headers, body).await
    }
}

/// The claims, not verified.
fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn signed(token: &str, key_xml: &str, at: Timestamp) -> String {
    let member = |name: &str| {
        let text = key_xml.split(&format!("<{name}>")).nth(1).unwrap().split('<').next().unwrap();
        BoxedUint::from_be_slice_vartime(&STANDARD.decode(text.trim()).unwrap())
    };
    let primes = vec![member("P"), member("Q")];
    let key = rsa::PrivateKey::from_components(member("Modulus"), member("Exponent"), member("D"), primes).unwrap();
    let text = format!("{token}.{}", at.strftime("%Y%m%d%H%M"));
    let signature = SigningKey::<Sha256>::new(key).sign(text.as_bytes());
    format!("{text}.{}", STANDARD.encode(signature.to_bytes()))
}

#[tokio::test]
async fn it_serves_both_http_versions_and_stops_soon() {
    let stop = CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sandbox = Sandbox::new(Options::default(), listener.local_addr().unwrap());
    let serving = tokio::spawn(sandbox.clone().serve(listener, stop.clone()));
    let mut clients = Vec::new();
    for http2 in [false, true] {
        let client: TestClient = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let answer = client.get(format!("{}/", sandbox.base()).parse().unwrap()).await.unwrap();
        assert_eq!(answer.version(), if http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 });
        assert!(answer.into_body().collect().await.unwrap().to_bytes().starts_with(b"The soproxy sandbox"));
        clients.push(client);
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(1), serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn paths_that_are_not_there() {
    let running = running(Options::default()).await;
    for path in ["/nothing", "/login/other", "/Cust99999/api/v1/Contact", "/Cust12345/other", "/Cust12345/api/v2/Contact", "/api/state"] {
        let answer = running.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.json()["Message"].as_str().unwrap().contains(path), "{path}");
    }
}
