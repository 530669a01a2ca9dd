//! A scripted login service: it mints tokens that hold what a test wants, and answers as no login service should.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rsa::PrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use sha2::Sha256;
use soproxy::clock::Hand;
use soproxy::sandbox::demo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::bench::{Answer, Bench, Setup, TENANT};
use crate::peer::{Peer, read_request};

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from_pkcs8_pem(include_str!("../../src/sandbox/keys/login.pkcs8.pem")).unwrap());

/// What a scripted service does with a request.
#[derive(Clone)]
pub enum Act {
    /// Writes these bytes, and closes.
    Send(Arc<[u8]>),
    /// The same after a while.
    Late(Duration, Arc<[u8]>),
    /// Never answers.
    Stall,
    /// Begins an answer, and goes on with it for ever, a byte now and then.
    Drip,
    /// Resets the connection.
    Reset,
}

impl Act {
    pub fn send(bytes: impl Into<Vec<u8>>) -> Act {
        Act::Send(bytes.into().into())
    }

    async fn play(self, mut stream: TcpStream) {
        match self {
            Act::Send(bytes) => _ = stream.write_all(&bytes).await,
            Act::Late(after, bytes) => {
                tokio::time::sleep(after).await;
                _ = stream.write_all(&bytes).await;
            }
            Act::Stall => std::future::pending().await,
            Act::Drip => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: 100000\r\n\r\n<s:Envelope";
                let mut going = stream.write_all(head.as_bytes()).await.is_ok();
                while going {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    going = stream.write_all(b" ").await.is_ok();
                }
            }
            Act::Reset => stream.set_zero_linger().unwrap(),
        }
    }
}

/// A whole answer, with a `Content-Length` that is right.
pub fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// A reply of the SOAP twin around what stands in `AuthenticationResponse`.
pub fn soap(inner: &str) -> Vec<u8> {
    http("200 OK", "content-type: text/xml; charset=utf-8\r\n", &envelope(inner))
}

pub fn envelope(inner: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><AuthenticationResponse xmlns="http://www.superoffice.com/superid/partnersystemuser/0.1" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">{inner}</AuthenticationResponse></s:Body></s:Envelope>"#
    )
}

pub fn granted(token: &str) -> String {
    format!("<IsSuccessful>true</IsSuccessful><Token>{token}</Token><ErrorMessage/>")
}

pub fn denied(words: &str) -> String {
    format!("<IsSuccessful>false</IsSuccessful><Token/><ErrorMessage>{words}</ErrorMessage>")
}

/// A token to be.
#[derive(Clone)]
pub struct Token {
    header: Value,
    claims: Value,
}

impl Token {
    /// A good one of [`TENANT`], issued now.
    pub fn good() -> Token {
        Token::at(Timestamp::now())
    }

    pub fn at(now: Timestamp) -> Token {
        let header = json!({ "typ": "JWT", "alg": "RS256" });
        let claims = json!({
            "iss": "SuperOffice AS", "aud": format!("spn:{}", demo::SERIAL), "nbf": now.as_second() - 60, "exp": now.as_second() + 300,
        });
        Token { header, claims }.of("ctx", TENANT).of("serial", demo::SERIAL).of("ticket", "7T:scripted")
    }

    /// One of SuperOffice's own claims.
    pub fn of(self, name: &str, value: impl Into<Value>) -> Token {
        self.claim(&format!("http://schemes.superoffice.net/identity/{name}"), value)
    }

    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Token {
        self.claims[name] = value.into();
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Token {
        self.header[name] = value.into();
        self
    }

    /// `nbf` and `exp` so many minutes from the time of issue.
    pub fn valid(self, from: i64, to: i64) -> Token {
        let now = self.claims["exp"].as_i64().unwrap() - 300;
        self.claim("nbf", now + from * 60).claim("exp", now + to * 60)
    }

    pub fn sign(&self) -> String {
        let message = self.message();
        let signature = SigningKey::<Sha256>::new(KEY.clone()).sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    /// Header and claims, not signed.
    pub fn message(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// The SOAP reply that brings it.
    pub fn reply(&self) -> Act {
        Act::send(soap(&granted(&self.sign())))
    }
}

/// The key that tokens are signed with, as a JWK with these further members.
pub fn jwk(more: Value) -> Value {
    let mut jwk = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(KEY.n_bytes()), "e": URL_SAFE_NO_PAD.encode(KEY.e_bytes()) });
    jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jwk
}

/// A JWKS answer.
pub fn jwks(keys: &[Value]) -> Act {
    Act::send(http("200 OK", "content-type: application/json\r\n", &json!({ "keys": keys }).to_string()))
}

/// A state answer that names `api`.
pub fn state(api: &str) -> Act {
    let body = json!({ "ContextIdentifier": TENANT, "State": "Running", "IsRunning": true, "Api": api });
    Act::send(http("200 OK", "content-type: application/json\r\n", &body.to_string()))
}

struct Script {
    exchange: Act,
    jwks: Act,
    state: Act,
}

/// What arrived.
#[derive(Clone, Default)]
pub struct Seen {
    pub exchanges: Vec<String>,
    pub jwks: usize,
    pub state: usize,
    /// Requests of any other kind, such as a redirect that was followed.
    pub others: Vec<String>,
    /// The most exchanges that were on at once.
    pub at_once: usize,
    on: usize,
}

/// The service. The JWKS has the signing key, the state is a 404, unless told otherwise.
pub struct Login {
    peer: Peer,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Seen>>,
}

impl Login {
    pub async fn start(exchange: Act) -> Login {
        let script = Script { exchange, jwks: jwks(&[jwk(json!({}))]), state: Act::send(http("404 Not Found", "", "")) };
        let (script, seen) = (Arc::new(Mutex::new(script)), Arc::new(Mutex::new(Seen::default())));
        let shared = (script.clone(), seen.clone());
        let peer = Peer::start(move |_, stream| serve(stream, shared.0.clone(), shared.1.clone())).await;
        Login { peer, script, seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.peer.address
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn exchanges(&self) -> usize {
        self.seen.lock().unwrap().exchanges.len()
    }

    pub fn on_exchange(&self, act: Act) {
        self.script.lock().unwrap().exchange = act;
    }

    pub fn on_jwks(&self, act: Act) {
        self.script.lock().unwrap().jwks = act;
    }

    pub fn on_state(&self, act: Act) {
        self.script.lock().unwrap().state = act;
    }

    /// A setup with this login service, the web API at `api`, and tickets fetched on demand.
    pub fn with_api(&self, api: &Peer) -> Setup {
        Setup::new().login_at(self.address()).api_at(api.address).set("renewal.prefetch", "false")
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, seen: Arc<Mutex<Seen>>) {
    let request = read_request(&mut stream).await;
    let is_exchange = request.starts_with("POST /login/services/PartnerSystemUserService.svc ")
        || request.starts_with("POST /Login/api/PartnerSystemUser/Authenticate ");
    let act = {
        let (script, mut seen) = (script.lock().unwrap(), seen.lock().unwrap());
        if is_exchange {
            seen.exchanges.push(request);
            seen.on += 1;
            seen.at_once = seen.at_once.max(seen.on);
            script.exchange.clone()
        } else if request.starts_with("GET /login/.well-known/jwks ") {
            seen.jwks += 1;
            script.jwks.clone()
        } else if request.starts_with("GET /api/state/") {
            seen.state += 1;
            script.state.clone()
        } else {
            // A connection that brings nothing is none of ours to judge.
            seen.others.extend((!request.is_empty()).then_some(request));
            Act::send(http("404 Not Found", "", ""))
        }
    };
    act.play(stream).await;
    if is_exchange {
        seen.lock().unwrap().on -= 1;
    }
}

/// A web API that answers 200 to everything.
pub async fn any_api() -> Peer {
    Peer::answering(http("200 OK", "content-type: application/json\r\n", "{}")).await
}

/// The ticket that is there runs out; the next is asked for.
pub fn grows_cold(hand: &Hand) {
    hand.advance(Duration::from_secs(7 * 3600));
}

/// The first tenant is served again after a while, without anybody's help.
pub async fn heals(bench: &Bench, hand: &Hand) {
    bench
        .until("served again", async || {
            hand.advance(Duration::from_secs(2));
            bench.get("/api/v1/User/currentPrincipal").await.status == 200
        })
        .await;
}

/// A GET of any tenant.
pub async fn get_of(bench: &Bench, tenant: &str, path: &str) -> Answer {
    let request = http::Request::get(format!("/{tenant}{path}")).header("host", bench.proxy.to_string());
    bench.send(request.body(bytes::Bytes::new()).unwrap()).await
}

/// The answer is a 503 `ticket_unavailable` that says when to come again and why, and nothing secret.
pub fn unavailable(answer: &Answer, reason: &str) {
    refused(answer, "ticket_unavailable", reason);
}

/// The same with another code.
pub fn refused(answer: &Answer, code: &str, reason: &str) {
    assert_eq!((answer.status.as_u16(), answer.error()), (503, Some(code)), "{reason}: {answer:?}");
    assert!(retry_after(answer) >= 1);
    let body = answer.json();
    for member in ["detail", "ErrorMessage"] {
        assert!(body[member].as_str().unwrap().contains(reason), "{reason:?} is not in {body:#}");
    }
    no_secrets(answer.text());
    no_secrets(&format!("{:?}", answer.headers));
}

pub fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// Neither secrets, nor tickets, nor tokens, nor keys.
pub fn no_secrets(text: &str) {
    let key = |xml: &str| xml.split_once("<D>").unwrap().1[..20].to_owned();
    let (first, second) = (key(demo::PRIVATE_KEY_XML), key(demo::SECOND_PRIVATE_KEY_XML));
    for secret in [
        demo::CLIENT_SECRET,
        demo::SECOND_CLIENT_SECRET,
        // The part of a system user token that the application's name does not tell.
        "pzqc70604i",
        "8k8Q7DmBgo",
        &first,
        &second,
        // Tickets and JWTs.
        "7T:",
        "eyJ",
    ] {
        assert!(!text.contains(secret), "{secret} is told: {text}");
    }
}
