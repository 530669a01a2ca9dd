//! One HTTP/1.1 connection to upstream, driven by whichever request uses it: no task of its own, no message that crosses
//! tasks, and a request that is dropped closes its connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;

use super::connect::{Connected, Stream};
use super::relay::Relay;
use super::request::Watched;
use super::socket::Tally;
use crate::alarm::Alarm;

/// The connection.
pub struct Link {
    sender: http1::SendRequest<Watched>,
    line: Line,
    relay: Arc<Relay>,
    /// The relay as a waker, made once.
    waker: Waker,
    alarm: Arc<Alarm>,
    tally: Arc<Tally>,
    /// The tick at which it was opened.
    pub opened: u32,
    /// The tick at which it was last put back.
    pub rested: u32,
    /// Whether a request was answered over it before.
    pub reused: bool,
}

/// hyper's side of it.
struct Line {
    /// `None` once it has ended.
    connection: Option<Connection>,
    /// What is left of it, when an upgrade was asked for: the bytes that follow are not HTTP.
    ended: Option<Connection>,
    upgrade: bool,
}

type Connection = http1::Connection<TokioIo<Stream>, Watched>;

/// A request that was begun.
pub type Sending = Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Watched>>>> + Send>>;

/// A request that got no answer.
pub enum Failed {
    /// It was never begun: the connection had ended before.
    Unsent(Box<Request<Watched>>),
    /// No answer in time.
    Timeout,
    /// The connection ended.
    Lost {
        /// Whether upstream may have read the request: the kernel took some of it, or HTTP/2 does not say otherwise.
        left: bool,
        /// What hyper says.
        error: hyper::Error,
    },
}

/// A connection that HTTP is over on, after a 101.
pub struct Tunnel {
    /// The bytes.
    pub stream: Stream,
    /// What came right behind the answer's head.
    pub early: Bytes,
}

impl Link {
    /// Begins HTTP/1.1 on a fresh connection; with `upgrade`, one that may become a tunnel.
    pub async fn open(connected: Connected, alarm: Arc<Alarm>, opened: u32, upgrade: bool) -> Result<Link, hyper::Error> {
        let mut http = http1::Builder::new();
        http.preserve_header_case(true).title_case_headers(true);
        let (sender, connection) = http.handshake(TokioIo::new(connected.stream)).await?;
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(relay.clone());
        alarm.wakes(&waker);
        let line = Line { connection: Some(connection), ended: None, upgrade };
        Ok(Link { sender, line, relay, waker, alarm, tally: connected.tally, opened, rested: opened, reused: false })
    }

    /// Begins a request. hyper's future has room for a whole request; in a box it is not copied from hand to hand.
    pub fn begin(&mut self, request: Request<Watched>, limit: Duration) -> Sending {
        self.tally.begin();
        self.alarm.set(limit);
        Box::pin(self.sender.try_send_request(request))
    }

    /// Waits for the answer to what was begun. Its body has to be read with [`Link::poll_with`] driving the connection.
    pub async fn answered(&mut self, mut answer: Sending) -> Result<Response<Incoming>, Failed> {
        let (line, relay, alarm, waker) = (&mut self.line, &self.relay, &self.alarm, &self.waker);
        let answered = std::future::poll_fn(|cx| {
            Relay::poll(relay, waker, cx, |cx| {
                line.drive(cx);
                if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(answered));
                }
                if alarm.rang() { Poll::Ready(None) } else { Poll::Pending }
            })
        })
        .await;
        outcome(answered, |_| !self.tally.nothing_left())
    }

    /// Polls a part of the answer together with the connection it comes from.
    pub fn poll_with<T>(&mut self, cx: &mut Context<'_>, mut part: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let line = &mut self.line;
        Relay::poll(&self.relay, &self.waker, cx, |cx| {
            if let Poll::Ready(done) = part(cx) {
                return Poll::Ready(done);
            }
            line.drive(cx);
            part(cx)
        })
    }

    /// The time limit of whatever is waited for.
    pub fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Whether another request can go over it: the last one was sent and answered whole, and the peer has not closed.
    pub fn rests(&mut self) -> bool {
        self.alarm.clear();
        let line = &mut self.line;
        let mut nobody = Context::from_waker(Waker::noop());
        let _: Poll<()> = Relay::poll(&self.relay, &self.waker, &mut nobody, |cx| {
            line.drive(cx);
            Poll::Pending
        });
        self.line.connection.is_some() && !self.line.upgrade && self.sender.is_ready() && !self.tally.is_deaf()
    }

    /// After a 101: the bytes.
    pub async fn tunnel(mut self) -> Option<Tunnel> {
        if let Some(running) = &mut self.line.connection {
            std::future::poll_fn(|cx| running.poll_without_shutdown(cx)).await.ok()?;
        }
        let ended = self.line.connection.take().or_else(|| self.line.ended.take())?;
        let parts = ended.into_parts();
        Some(Tunnel { stream: parts.io.into_inner(), early: parts.read_buf })
    }
}

/// What hyper's outcome means; `None` is none in time. `left` says of a request that was begun whether upstream may have it.
pub fn outcome(
    answered: Option<Result<Response<Incoming>, TrySendError<Request<Watched>>>>,
    left: impl FnOnce(&hyper::Error) -> bool,
) -> Result<Response<Incoming>, Failed> {
    let Some(answered) = answered else { return Err(Failed::Timeout) };
    answered.map_err(|mut error| match error.take_message() {
        Some(request) => Failed::Unsent(Box::new(request)),
        None => {
            let error = error.into_error();
            Failed::Lost { left: left(&error), error }
        }
    })
}

impl Line {
    /// Polls the connection until it has ended; how is told to whoever waits for the answer.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(running) = &mut self.connection
            && Pin::new(running).poll(cx).is_ready()
        {
            let ended = self.connection.take();
            if self.upgrade {
                self.ended = ended;
            }
        }
    }
}
