//! A caller: one keep-alive connection, and one way to address the tenant.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::ledger::{Entry, Kind, Ledger, Outcome};
use crate::bench::TENANT;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One of the ways that README lists.
pub struct Way {
    pub to: SocketAddr,
    /// What the caller calls the proxy.
    pub host: String,
    /// Before `/api`.
    pub prefix: String,
    /// The tenant's address for those who ask for its state.
    pub state_home: String,
}

impl Way {
    /// The `nth` of them.
    pub fn nth(nth: usize, proxy: SocketAddr, door: SocketAddr) -> Way {
        let (to, host, prefix) = match nth % 5 {
            0 => (proxy, format!("127.0.0.1:{}", proxy.port()), format!("/{TENANT}")),
            1 => (proxy, format!("localhost:{}", proxy.port()), "/cust12345".to_owned()),
            2 => (proxy, format!("cust12345.localhost:{}", proxy.port()), String::new()),
            3 => (door, format!("127.0.0.1:{}", door.port()), String::new()),
            _ => (proxy, format!("localhost:{}", proxy.port()), String::new()),
        };
        // The question for the state names the tenant itself; only a listener and a host go before that.
        let below = if matches!(nth % 5, 2 | 3) { String::new() } else { format!("/{TENANT}") };
        Way { to, state_home: format!("http://{host}{below}"), host, prefix }
    }

    /// What this caller's links begin with.
    pub fn home(&self) -> String {
        format!("http://{}{}", self.host, self.prefix)
    }
}

/// A whole answer, decoded.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or("?"))
    }
}

pub struct Caller {
    pub id: usize,
    pub way: Way,
    /// Takes compressed answers.
    pub gzip: bool,
    pub connections: u64,
    ledger: Arc<Ledger>,
    sender: Option<SendRequest<Body>>,
}

impl Caller {
    pub fn new(id: usize, way: Way, ledger: Arc<Ledger>) -> Caller {
        Caller { id, way, gzip: id % 3 == 1, connections: 0, ledger, sender: None }
    }

    /// One request. What `judge` makes of a right answer, or nothing: then the ledger has it, and nothing came of it.
    pub async fn ask<T>(
        &mut self,
        kind: Kind,
        request: http::request::Builder,
        body: Body,
        judge: impl FnOnce(&Reply) -> Result<T, String>,
    ) -> Option<T> {
        let request = request.header("host", &self.way.host).body(body).unwrap();
        let what = format!("{} {} {}", request.method(), self.way.host, request.uri());
        let sent = self.ledger.begin(self.id);
        let replied = tokio::time::timeout(Duration::from_secs(30), self.send(request)).await;
        let answered = Instant::now();
        let mut judged = None;
        let replied = replied.unwrap_or_else(|_| Err("no answer within 30 s".to_owned()));
        let outcome = replied.and_then(|reply| match of_the_moment(&reply) {
            Some(outcome) => Ok(outcome),
            None => match judge(&reply) {
                Ok(right) => {
                    judged = Some(right);
                    let down = kind == Kind::State && reply.body.windows(18).any(|part| part == b"OfflineMaintenance");
                    Ok(if down { Outcome::SaysNotRunning } else { Outcome::Right })
                }
                Err(why) => {
                    let error = reply.header("x-soproxy-error");
                    Err(format!("{why}: {} {error} {:.300}", reply.status, String::from_utf8_lossy(&reply.body)))
                }
            },
        });
        let outcome = outcome.unwrap_or_else(|why| {
            self.sender = None;
            self.ledger.wrong(format!("{what}: {why}"));
            Outcome::Wrong
        });
        self.ledger.enter(self.id, Entry { kind, sent, answered, outcome });
        if matches!(outcome, Outcome::NotRunning | Outcome::Unavailable) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        judged
    }

    async fn send(&mut self, request: Request<Body>) -> Result<Reply, String> {
        let sender = self.connected().await?;
        let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("the answer broke off: {error:?}"))?.to_bytes();
        let mut reply = Reply { status: head.status, headers: head.headers, body };
        if reply.header("content-encoding") == "gzip" && !reply.body.is_empty() {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*reply.body).read_to_end(&mut plain).map_err(|error| format!("not gzip: {error}"))?;
            reply.body = plain.into();
        }
        Ok(reply)
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Body>, String> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            let stream = TcpStream::connect(self.way.to).await.map_err(|error| format!("cannot connect: {error}"))?;
            let _ = stream.set_nodelay(true);
            let (sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            self.connections += 1;
            self.sender = Some(sender);
        }
        self.sender.as_mut().ok_or_else(|| "no connection".to_owned())
    }

    /// A request for something below the tenant's address.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.way.prefix));
        if self.gzip { request.header("accept-encoding", "gzip") } else { request }
    }
}

/// An answer that is documented for the moment, with all that belongs to it.
fn of_the_moment(reply: &Reply) -> Option<Outcome> {
    let own = reply.header("x-soproxy-error");
    match reply.status.as_u16() {
        503 if own == "tenant_not_running" => {
            let waits = reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0);
            let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let says = body["ErrorMessage"].as_str().is_some_and(|text| text.contains("OfflineMaintenance"));
            (waits && (says || reply.body.is_empty())).then_some(Outcome::NotRunning)
        }
        503 if own.is_empty() => Some(Outcome::Unavailable),
        421 if own.is_empty() => Some(Outcome::Misdirected),
        _ => None,
    }
}

pub fn nothing() -> Body {
    whole(Bytes::new())
}

/// A body of known length.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body of unknown length that takes some time.
pub fn in_pieces(bytes: &Bytes) -> Body {
    let pieces = (0..bytes.len()).step_by(16 * 1024).map(|at| bytes.slice(at..bytes.len().min(at + 16 * 1024))).collect();
    Pieces { pieces, pause: None }.boxed_unsync()
}

struct Pieces {
    pieces: VecDeque<Bytes>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
        }
        self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(1))));
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}
