//! What is kept of a request until the last byte of its answer: its record, its counters, its place among the requests in
//! flight, and what is left of its time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::caught::{Panicked, caught};
use super::governor::Permit;
use super::headers;
use super::links::Rewritten;
use super::soap::Peeked;
use crate::body::{Body, BoxError};
use crate::log::AccessRecord;
use crate::metrics::{Cells, Ended, Metrics, Phases};
use crate::ticket::Ticket;
use crate::upstream::{self, Answer};

/// How many requests are in flight, and how many may be.
#[derive(Debug)]
pub struct InFlight {
    now: AtomicUsize,
    most: usize,
}

impl InFlight {
    /// None yet.
    pub fn new(most: usize) -> InFlight {
        InFlight { now: AtomicUsize::new(0), most }
    }

    /// How many there are now.
    pub fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// One more, until what is given back is dropped; `None` when there are too many.
    pub(super) fn enter(self: &Arc<InFlight>) -> Option<Flight> {
        let flight = Flight(self.clone());
        (self.now.fetch_add(1, Ordering::Relaxed) < self.most).then_some(flight)
    }
}

/// A place among the requests in flight.
#[derive(Debug)]
pub(super) struct Flight(Arc<InFlight>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request's record and its place among the requests in flight, to the end.
pub(super) struct Account {
    pub(super) record: AccessRecord,
    pub(super) metrics: Arc<Metrics>,
    /// Its tenant's counters, once that is known.
    pub(super) cells: Option<Arc<Cells>>,
    /// Bytes that came of its body, if it has one.
    pub(super) received: Option<Arc<AtomicU64>>,
    /// It has become a tunnel.
    pub(super) tunnel: bool,
    pub(super) flight: Option<Flight>,
    /// Its turn among its tenant's calls, if it went upstream.
    pub(super) turn: Option<Permit>,
}

impl Account {
    /// A tunnel has ended.
    pub(super) fn close(mut self, to_caller: u64, to_upstream: u64) {
        self.record.bytes = to_caller;
        self.record.received = Some(to_upstream);
        self.record.complete = true;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let record = &self.record;
        let took = record.elapsed();
        let received = self.received.as_ref().map_or(0, |received| received.load(Ordering::Relaxed)) + record.received.unwrap_or_default();
        let AccessRecord { ref method, status, error, bytes: sent, .. } = *record;
        let ended = Ended { method, status, error, received, sent, took };
        match &self.cells {
            Some(cells) => cells.request(&ended),
            None => self.metrics.untold(&ended),
        }
        if let Some(sent) = record.sent {
            let first_byte = record.answered.map(|answered| answered.saturating_sub(sent));
            let (queue, ticket, connect) = (record.queue_wait, record.ticket_wait, record.connect);
            self.metrics.phases(&Phases { queue, ticket, connect, first_byte, total: took });
        }
        if self.tunnel {
            self.metrics.tunnel_ended();
        }
    }
}

/// Where an answer's body comes from.
pub(super) enum Payload {
    Own(Body),
    Upstream(Answer),
    /// The same with its links brought home. Boxed, so that the others are not moved about with the room that it takes.
    Rewritten(Box<Rewritten<Answer>>),
    /// The same of an answer whose beginning was looked at.
    Soap(Box<Rewritten<Peeked<Answer>>>),
    /// Out of the cache, or on its way into it.
    Cached(Body),
    /// It broke off; what by is told next.
    Broken(Option<BoxError>),
    /// What follows is no body.
    Tunnel(upstream::Tunnel),
}

impl HttpBody for Payload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Payload::Own(body) | Payload::Cached(body) => Pin::new(body).poll_frame(cx),
            Payload::Upstream(body) => Pin::new(body).poll_frame(cx),
            Payload::Rewritten(body) => Pin::new(body).poll_frame(cx),
            Payload::Soap(body) => Pin::new(body).poll_frame(cx),
            Payload::Broken(error) => Poll::Ready(error.take().map(Err)),
            Payload::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Own(body) | Payload::Cached(body) => body.is_end_stream(),
            Payload::Upstream(body) => body.is_end_stream(),
            Payload::Rewritten(body) => body.is_end_stream(),
            Payload::Soap(body) => body.is_end_stream(),
            Payload::Broken(error) => error.is_none(),
            Payload::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Own(body) | Payload::Cached(body) => body.size_hint(),
            Payload::Upstream(body) => body.size_hint(),
            Payload::Rewritten(body) => body.size_hint(),
            Payload::Soap(body) => body.size_hint(),
            Payload::Broken(_) => SizeHint::default(),
            Payload::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

/// An answer's body; the request's account is closed when it has ended.
pub struct Recorded {
    pub(super) payload: Payload,
    pub(super) account: Option<Account>,
    /// What is left of the time for the whole request.
    pub(super) limit: Option<(Pin<Box<Sleep>>, Duration)>,
}

impl Recorded {
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(account) = &self.account else { return Pin::new(&mut self.payload).poll_frame(cx) };
        let payload = &mut self.payload;
        let polled = caught(&account.record.id, || Pin::new(payload).poll_frame(cx));
        polled.map(|polled| polled.unwrap_or_else(|Panicked| Some(Err("the proxy failed".into()))))
    }
}

/// Keeps to ourselves what an answer would give away, and says so: whoever can mirror a request to its caller has a fault.
pub(super) fn keep_secrets(lines: &mut HeaderMap, ticket: &Ticket, record: &mut AccessRecord) {
    let taken = headers::take_leaks(lines, ticket);
    if taken.is_empty() {
        return;
    }
    let names = taken.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    let cause = format!("upstream's answer gave away our ticket or client secret; taken out: {names}");
    tracing::warn!(tenant = record.tenant.as_deref(), id = record.id.to_str().unwrap_or_default(), "{cause}");
    record.cause = Some(cause);
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Payload::Broken(error) = &mut self.payload {
            return Poll::Ready(error.take().map(Err));
        }
        // First, so that it is also over for an answer that always has more.
        let over = self.limit.as_mut().and_then(|(sleep, total)| sleep.as_mut().poll(cx).is_ready().then_some(*total));
        let mut polled = match over {
            Some(total) => Poll::Ready(Some(Err(format!("not whole within {total:?}").into()))),
            None => self.poll_payload(cx),
        };
        let ended = self.payload.is_end_stream();
        if let Some(Account { record, .. }) = &mut self.account {
            match &mut polled {
                Poll::Ready(Some(Ok(frame))) => {
                    record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if let Some(trailers) = frame.trailers_mut() {
                        headers::scrub_trailers(trailers);
                        if let Some(ticket) = record.ticket.clone() {
                            keep_secrets(trailers, &ticket, record);
                        }
                    }
                    record.complete = ended || frame.is_trailers();
                }
                Poll::Ready(Some(Err(error))) => record.cause = Some(crate::body::chain(&**error)),
                Poll::Ready(None) => record.complete = true,
                Poll::Pending => {}
            }
        }
        if let Poll::Ready(Some(Err(error))) = polled {
            // An error closes the connection. What came before it, perhaps all at once, goes out first.
            self.payload = Payload::Broken(Some(error));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.payload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.payload.size_hint()
    }
}
