//! The access record: what is noted of a request while it is served, for the log.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::spans::Spans;
use super::{AccessLog, Query};
use crate::clock::{Clock, Moment};
use crate::superoffice::origin::AllowedBase;
use crate::ticket::Ticket;
use crate::trace::{Collector, Context, TraceId};

/// What the log tells about one request: written when its answer's body has ended, or when the record is dropped because
/// the caller went away.
#[derive(Debug)]
pub struct AccessRecord {
    /// `X-Request-Id`
    pub id: HeaderValue,
    /// The trace that it is a part of.
    pub trace: Option<TraceId>,
    /// The method.
    pub method: Method,
    /// The target as the caller wrote it.
    pub target: Option<PathAndQuery>,
    /// The client, if it has a name.
    pub client: Option<Arc<str>>,
    /// The rule that refused the request.
    pub refused_by: Option<String>,
    /// The rule that would have refused it, were rules enforced.
    pub would_refuse: Option<String>,
    /// The tenant, once matched.
    pub tenant: Option<Arc<str>>,
    /// The ticket that was used last.
    pub ticket: Option<Arc<Ticket>>,
    /// Where it was sent.
    pub upstream: Option<AllowedBase>,
    /// The answer's status; `None` when the caller went away before.
    pub status: Option<StatusCode>,
    /// The code of an error of the proxy's own.
    pub error: Option<&'static str>,
    /// What caused it, for the log only.
    pub cause: Option<String>,
    /// Why the request was sent again.
    pub sent_twice: Option<&'static str>,
    /// How long it took to get a ticket.
    pub ticket_wait: Duration,
    /// How long it waited for its turn.
    pub queue_wait: Duration,
    /// How long it waited for a new connection to upstream; nothing when one was there.
    pub connect: Duration,
    /// When it was handed to upstream the last time, from its arrival.
    pub sent: Option<Duration>,
    /// When the head of upstream's answer to that was there, from its arrival.
    pub answered: Option<Duration>,
    /// From the request's arrival to the answer's head.
    pub first_byte: Option<Duration>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Bytes that the caller sent through a tunnel.
    pub received: Option<u64>,
    /// Whether the answer's body went out to its end.
    pub complete: bool,
    /// When the request arrived.
    pub started: Moment,
    clock: Clock,
    log: Option<Arc<AccessLog>>,
    /// What else its spans need; only if there will be any.
    spans: Option<Box<Spans>>,
}

impl AccessRecord {
    /// Starts a record at the request's arrival.
    pub fn start(
        id: HeaderValue,
        method: Method,
        target: Option<PathAndQuery>,
        clock: &Clock,
        log: Option<Arc<AccessLog>>,
    ) -> AccessRecord {
        AccessRecord {
            id,
            trace: None,
            method,
            target,
            client: None,
            refused_by: None,
            would_refuse: None,
            tenant: None,
            ticket: None,
            upstream: None,
            status: None,
            error: None,
            cause: None,
            sent_twice: None,
            ticket_wait: Duration::ZERO,
            queue_wait: Duration::ZERO,
            connect: Duration::ZERO,
            sent: None,
            answered: None,
            first_byte: None,
            bytes: 0,
            received: None,
            complete: false,
            started: clock.now(),
            clock: clock.clone(),
            log,
            spans: None,
        }
    }

    /// Goes on with the caller's trace, or begins one if there is a collector for it. `tls`: how the caller came.
    pub fn follow(&mut self, headers: &HeaderMap, collector: Option<&Arc<Collector>>, tls: bool) {
        let caller = Context::of(headers);
        self.trace = caller.map(|caller| caller.trace);
        if let Some(spans) = collector.and_then(|collector| Spans::begin(caller, headers, collector, tls)) {
            self.trace = Some(spans.context().trace);
            self.spans = Some(Box::new(spans));
        }
    }

    /// It waited for a ticket or a state, since then.
    pub fn waited_for_ticket(&mut self, since: Duration) {
        let now = self.elapsed();
        self.ticket_wait += now.saturating_sub(since);
        if let Some(spans) = &mut self.spans {
            spans.waited("ticket wait", since, now);
        }
    }

    /// It waited for its turn, since then.
    pub fn waited_for_turn(&mut self, since: Duration) {
        let now = self.elapsed();
        self.queue_wait += now.saturating_sub(since);
        if let Some(spans) = &mut self.spans {
            spans.waited("queue", since, now);
        }
    }

    /// It is about to be sent: upstream is told of the trace, if we have a part in it.
    pub fn sending<B>(&mut self, request: &mut Request<B>, base: &AllowedBase) {
        if let Some(mut spans) = self.spans.take() {
            let uri = request.uri().clone();
            spans.sending(request.headers_mut(), &uri, base, self.elapsed());
            self.spans = Some(spans);
        }
    }

    /// What came of the last sending: a status, or what kind of error.
    pub fn was_sent(&mut self, outcome: Result<StatusCode, &'static str>) {
        if let Some(mut spans) = self.spans.take() {
            spans.sent(outcome, self.elapsed());
            self.spans = Some(spans);
        }
    }

    /// The time since the request's arrival.
    pub fn elapsed(&self) -> Duration {
        self.clock.mono().saturating_sub(self.started.mono)
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        let log = self.log.take();
        if let Some(spans) = self.spans.take() {
            spans.finish(self, log.as_ref().map_or(Query::Off, |log| log.query()));
        }
        if let Some(log) = log {
            log.add(self);
        }
    }
}
