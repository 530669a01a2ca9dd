//! Callers at several addresses, and what upstream sees of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use soproxy::clock::Hand;
use soproxy::sandbox::demo::SECOND_TENANT;
use tokio::net::TcpSocket;
use tokio::task::{JoinHandle, JoinSet};

use crate::bench::{Answer, Bench, TENANT, collect};
use crate::wire::Wire;

pub const SECOND: Duration = Duration::from_secs(1);
pub const WHO: &str = "/api/v1/User/currentPrincipal";
pub const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
pub const MODEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Long enough for a call that should not be to show.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(40)).await;
}

/// A call on a connection of its own, from this address.
async fn call(to: SocketAddr, from: Ipv4Addr, tenant: &str, method: Method) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (path, body) = match method {
        Method::POST => ("/api/v1/Contact", r#"{"Name":"A"}"#),
        Method::GET | Method::HEAD => (WHO, ""),
        _ => ("/api/v1/Contact/1", "{}"),
    };
    let request = Request::builder().method(method).uri(format!("/{tenant}{path}")).header("host", to.to_string());
    let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body))).unwrap();
    collect(sender.send_request(request).await.unwrap()).await
}

pub async fn get(to: SocketAddr, from: Ipv4Addr, tenant: &str) -> Answer {
    call(to, from, tenant, Method::GET).await
}

/// So many GETs at once.
pub async fn open_now(bench: &Bench, from: Ipv4Addr, number: usize) -> Vec<Answer> {
    let to = bench.proxy;
    (0..number).map(|_| async move { get(to, from, TENANT).await }).collect::<JoinSet<_>>().join_all().await
}

/// The first tenant's calls on a clock that the test moves.
pub struct Calls<'a> {
    bench: &'a Bench,
    pub hand: Hand,
}

impl<'a> Calls<'a> {
    pub fn of(bench: &'a Bench, hand: Hand) -> Calls<'a> {
        Calls { bench, hand }
    }

    pub fn begin(&self, method: Method, from: Ipv4Addr) -> JoinHandle<Answer> {
        tokio::spawn(call(self.bench.proxy, from, TENANT, method))
    }

    pub async fn post(&mut self, from: Ipv4Addr) -> Answer {
        call(self.bench.proxy, from, TENANT, Method::POST).await
    }

    /// How many calls the sandbox has seen, refused ones too.
    pub fn seen(&self) -> u64 {
        self.bench.sandbox.control().counters().calls.get(TENANT).copied().unwrap_or_default()
    }

    /// SuperOffice throttles nobody from now on.
    pub fn heal(&self) {
        self.bench.sandbox.control().change_faults(|faults| faults.throttle.clear());
    }

    /// Moves the clock until a call is answered.
    pub async fn ended(&self, call: JoinHandle<Answer>) -> Answer {
        for _ in 0..2000 {
            if call.is_finished() {
                return call.await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !call.is_finished() {
                self.hand.advance(Duration::from_millis(100));
            }
        }
        panic!("no answer");
    }

    /// Moves the clock for this time by these steps; each begins when all that the last one brought about has happened. The
    /// proxy must have one worker: what another tenant's call has overtaken in it has stood still.
    pub async fn pass(&self, time: Duration, step: Duration) {
        let mut other = Wire::to(self.bench.proxy).await;
        let ping = format!("GET /{SECOND_TENANT}{WHO} HTTP/1.1\r\nHost: {}\r\n\r\n", self.bench.proxy);
        let mut left = time;
        while !left.is_zero() {
            self.hand.advance(step);
            left = left.saturating_sub(step);
            loop {
                let before = self.seen();
                for _ in 0..4 {
                    other.say(&ping).await;
                    assert_eq!(other.answer().await.status(), 200);
                }
                if self.seen() == before {
                    break;
                }
            }
        }
    }
}

/// So many callers at an address who always have a call under way; stopped when it is dropped.
pub struct Clients {
    pub answered: Arc<AtomicUsize>,
    pub failed: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Clients {
    pub fn start(bench: &Bench, from: Ipv4Addr, number: usize) -> Clients {
        let (answered, failed, to) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), bench.proxy);
        let mut tasks = JoinSet::new();
        for _ in 0..number {
            let (answered, failed) = (answered.clone(), failed.clone());
            tasks.spawn(async move {
                loop {
                    let good = get(to, from, TENANT).await.status == 200;
                    (if good { &answered } else { &failed }).fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Clients { answered, failed, _tasks: tasks }
    }

    /// Calls that were answered, and calls that were refused.
    pub fn count(&self) -> (usize, usize) {
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}
