//! The access record: what is noted of a request while it is served, for the log.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};

use super::AccessLog;
use crate::clock::{Clock, Moment};
use crate::superoffice::origin::AllowedBase;
use crate::ticket::Ticket;

/// What the log tells about one request: written when its answer's body has ended, or when the record is dropped because
/// the caller went away. The query is left out: it holds personal data more often than not.
#[derive(Debug)]
pub struct AccessRecord {
    /// `X-Request-Id`
    pub id: HeaderValue,
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
        }
    }

    /// The time since the request's arrival.
    pub fn elapsed(&self) -> Duration {
        self.clock.mono().saturating_sub(self.started.mono)
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.add(self);
        }
    }
}
