//! A proxy and a sandbox on ports of their own, and a small client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use soproxy::app::{App, Live};
use soproxy::clock::{Clock, Hand};
use soproxy::config::Config;
use soproxy::log::AccessLog;
use soproxy::sandbox::{self, Options, Sandbox, demo};
use soproxy::server::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const TENANT: &str = demo::TENANT;

/// What a bench is started with.
pub struct Setup {
    pub options: Options,
    pub settings: Vec<(String, String)>,
    pub clock: Clock,
    pub login_url: Option<String>,
    /// What stands in the file behind the demo's settings.
    pub more: String,
    pub may_move: bool,
    /// Where access records go.
    pub access_log: Option<Arc<AccessLog>>,
}

impl Setup {
    pub fn new() -> Setup {
        let settings = [("SOPROXY_LISTEN__ADDRESS", "127.0.0.1:0"), ("SOPROXY_ADMIN__ADDRESS", "127.0.0.1:0")];
        Setup {
            options: Options::default(),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            clock: Clock::system(),
            login_url: None,
            more: String::new(),
            may_move: false,
            access_log: None,
        }
    }

    /// The sandbox's other address, where tenants are after `moved.Cust12345=null`, is among the upstream hosts.
    pub fn may_move(mut self) -> Setup {
        self.may_move = true;
        self
    }

    /// Overrides a setting: `set("renewal.max_age", "1s")`.
    pub fn set(mut self, key: &str, value: &str) -> Setup {
        let name = format!("SOPROXY_{}", key.replace('.', "__").to_ascii_uppercase());
        self.settings.retain(|(other, _)| *other != name);
        self.settings.push((name, value.to_owned()));
        self
    }

    /// A further listener, bound to a tenant.
    pub fn listener(mut self, tenant: &str) -> Setup {
        self.more += &format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntenant = \"{tenant}\"\n");
        self
    }

    /// The sandbox starts with this fault, as on the command line.
    pub fn fault(mut self, fault: &str) -> Setup {
        self.options.faults.set(fault).unwrap();
        self
    }

    /// Proxy and sandbox share a clock that stands still until the hand moves it.
    pub fn manual_clock(mut self) -> (Setup, Hand) {
        let (clock, hand) = Clock::manual(Timestamp::now());
        self.clock = clock.clone();
        self.options.clock = clock;
        (self, hand)
    }

    /// The first tenant's web API is a scripted peer.
    pub fn api_at(self, peer: SocketAddr) -> Setup {
        self.set("superoffice.upstream_hosts", &peer.to_string()).set("tenants.Cust12345.api_url", &format!("http://{peer}/{TENANT}/api"))
    }

    /// The same behind TLS, with the certificate of `tests/vectors/tls`.
    pub fn api_over_tls_at(self, peer: SocketAddr) -> Setup {
        let host = format!("localhost:{}", peer.port());
        self.set("superoffice.upstream_hosts", &host)
            .set("tenants.Cust12345.api_url", &format!("https://{host}/{TENANT}/api"))
            .set("superoffice.ca_file", &crate::tls::vectors("ca.pem"))
    }

    /// The login service is a scripted peer (the web API's base still comes from `api_at`, or there is none).
    pub fn login_at(mut self, peer: SocketAddr) -> Setup {
        self.login_url = Some(format!("http://{peer}"));
        self
    }

    pub async fn start(mut self) -> Bench {
        let sandbox_stop = CancellationToken::new();
        let options = std::mem::take(&mut self.options);
        let sandbox = sandbox::start(options, "127.0.0.1:0".parse().unwrap(), sandbox_stop.clone()).await.unwrap();
        if self.may_move {
            self = self.set("superoffice.upstream_hosts", sandbox.other_base().trim_start_matches("http://"));
        }
        let login_url = self.login_url.clone().unwrap_or_else(|| sandbox.base().to_owned());
        let config = config(&login_url, &self.settings, &self.more);
        let app = App::build(config, self.clock.clone(), self.access_log).await.unwrap();
        let doors = app.addresses().split_off(1);
        let push = app.push_addresses().first().copied();
        let (proxy, admin, live, stop) = (app.addresses()[0], app.admin_addresses().first().copied(), app.live(), app.stop());
        tokio::spawn(app.run());
        Bench {
            sandbox,
            proxy,
            doors,
            push,
            admin,
            live,
            stop,
            login_url,
            settings: self.settings,
            more: self.more,
            clock: self.clock,
            _sandbox: sandbox_stop.drop_guard(),
        }
    }
}

fn config(login_url: &str, settings: &[(String, String)], more: &str) -> Config {
    let text = demo::proxy_toml(login_url, "127.0.0.1:0", "127.0.0.1:0") + more;
    Config::parse(&text, Path::new("bench.toml"), settings.iter().cloned()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A running proxy with its sandbox. Dropping it stops both.
pub struct Bench {
    pub sandbox: Sandbox,
    pub proxy: SocketAddr,
    /// The listeners that are bound to one tenant each.
    pub doors: Vec<SocketAddr>,
    /// Where state-change notifications are taken.
    pub push: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub live: Live,
    pub stop: Stop,
    pub login_url: String,
    pub settings: Vec<(String, String)>,
    pub more: String,
    pub clock: Clock,
    _sandbox: DropGuard,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.drain.cancel();
        self.stop.abort.cancel();
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The code of the proxy's own error, if it is one.
    pub fn error(&self) -> Option<&str> {
        self.headers.get("x-soproxy-error").map(|code| code.to_str().unwrap())
    }
}

impl Bench {
    pub async fn start() -> Bench {
        Setup::new().start().await
    }

    /// The configuration the bench runs with, with changes, for a reload.
    pub fn config_with(&self, changes: &[(&str, &str)]) -> Config {
        let mut setup = Setup { settings: self.settings.clone(), ..Setup::new() };
        for (key, value) in changes {
            setup = setup.set(key, value);
        }
        config(&self.login_url, &setup.settings, &self.more)
    }

    /// GET of a path of the first tenant: `get("/api/v1/Contact/1")`.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    /// Any method and body for a path of the first tenant.
    pub async fn call(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder().method(method).uri(format!("/{TENANT}{path}"));
        self.send(request.header("host", self.proxy.to_string()).body(body.into()).unwrap()).await
    }

    /// What upstream saw of a request: the sandbox's echo.
    pub async fn echo(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Value {
        let request = request.uri(format!("/{TENANT}/api/v1/_sandbox/echo")).header("host", self.proxy.to_string());
        let answer = self.send(request.body(body.into()).unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Sends a request as it is to the proxy, on a connection of its own.
    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        collect(open(self.proxy, request.map(Full::new)).await).await
    }

    /// Sends bytes as they are and reads to the end of the connection.
    pub async fn raw(&self, bytes: &str) -> String {
        raw(self.proxy, bytes).await
    }

    /// `/livez` or `/readyz`.
    pub async fn admin(&self, path: &str) -> Answer {
        let admin = self.admin.unwrap();
        let request = Request::get(path).header("host", admin.to_string()).body(Full::new(Bytes::new())).unwrap();
        collect(open(admin, request).await).await
    }

    /// A fault from now on, as on the command line.
    pub fn fault(&self, fault: &str) {
        self.sandbox.control().change_faults(|faults| faults.set(fault).unwrap());
    }

    /// Fetches of the first tenant's state that the sandbox saw.
    pub fn states(&self) -> u64 {
        self.sandbox.control().counters().states_of(TENANT)
    }

    /// Exchanges that the sandbox saw for the first tenant.
    pub fn exchanges(&self) -> u64 {
        self.sandbox.control().counters().exchanges_of(TENANT)
    }

    /// Waits until something holds, for at most five seconds.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..500 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 5 s: {what}");
    }

    /// Waits until the first tenant has a ticket of at least this generation.
    pub async fn generation(&self, at_least: u64) {
        let path = format!("/tenants/{TENANT}/generation");
        self.until(&format!("generation {at_least}"), async || {
            self.admin("/readyz").await.json().pointer(&path).and_then(Value::as_u64).is_some_and(|now| now >= at_least)
        })
        .await;
    }
}

/// One request on a connection of its own; the answer's body is still to come.
pub async fn open<B>(to: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

pub async fn collect(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// Sends bytes and reads until the peer closes; at most ten seconds.
pub async fn raw(to: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("the peer closes").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
