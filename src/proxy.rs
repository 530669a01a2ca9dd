//! `Proxy`: an immutable snapshot of what is needed to answer a request, and the pipeline, one named step per line.
//!
//! The order of the steps is the security argument: refuse browsers, refuse what is ambiguous, match the tenant, strip,
//! get the ticket, choose the target from the ticket, inject, send, scrub.

pub mod body;
pub mod error;
pub mod headers;
pub mod route;
pub mod target;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use self::body::Admitted;
use self::error::ProxyError;
use self::route::Routes;
use crate::body::{Body, BoxError};
use crate::clock::Clock;
use crate::log::AccessRecord;
use crate::server::Ends;
use crate::server::guard::HostGuard;
use crate::ticket::cache::{Refusal, Tickets, Unavailable};
use crate::ticket::{Ticket, accepted};
use crate::upstream::{Upstream, UpstreamError};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A tenant as the pipeline sees it.
pub struct Tenant {
    /// The name its paths start with.
    pub name: Arc<str>,
    /// Its ticket.
    pub tickets: Arc<Tickets>,
    /// The client secret, sensitive.
    pub app_token: HeaderValue,
}

/// What is the same for all tenants.
#[derive(Clone)]
pub struct Common {
    /// The way out.
    pub upstream: Upstream,
    /// The time.
    pub clock: Clock,
    /// One permit per request in flight.
    pub in_flight: Arc<Semaphore>,
    /// Set when the process is being stopped.
    pub drain: CancellationToken,
}

/// The settings of the pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The names this listener goes by.
    pub guard: HostGuard,
    /// Bytes of a request body; `None` is no limit.
    pub max_body: Option<u64>,
    /// Bytes of a request body kept for a replay.
    pub replay_limit: usize,
    /// Whether `X-Forwarded-*` are added.
    pub forwarded: bool,
}

/// One snapshot: swapped as a whole by a reload.
pub struct Proxy {
    /// The tenants by name.
    pub routes: Routes<Arc<Tenant>>,
    /// The settings.
    pub settings: Settings,
    /// What outlives a reload.
    pub common: Common,
}

impl Proxy {
    /// One request to one answer.
    pub async fn handle(&self, request: Request<Incoming>, ends: Ends) -> Response<Body> {
        let id = request_id(request.headers());
        let mut record = AccessRecord::start(id, request.method().clone(), request.uri().path());
        let permit = self.common.in_flight.clone().try_acquire_owned();
        let answered = match permit {
            Ok(_) => self.forward(request, ends, &mut record).await,
            Err(_) => Err(ProxyError::Overloaded),
        };
        let mut response = answered.unwrap_or_else(|error| {
            record.error = Some(error.code());
            error.response(&record.id)
        });
        record.status = Some(response.status());
        record.first_byte = Some(record.elapsed());
        // hyper does not poll a body that HEAD does not send: then the head is the whole answer.
        record.complete = record.method == Method::HEAD;
        // `request_id` lets through only what a header value may hold.
        if let Ok(id) = HeaderValue::from_str(&record.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response.map(|body| Recorded { body, record, _permit: permit.ok() }.boxed_unsync())
    }

    async fn forward(&self, request: Request<Incoming>, ends: Ends, record: &mut AccessRecord) -> Result<Response<Body>, ProxyError> {
        let (mut parts, body) = request.into_parts();
        self.admit(&parts, ends)?;
        target::check(parts.uri.path())?;
        let matched = self.routes.find(parts.uri.path())?;
        let tenant = matched.tenant;
        record.tenant = Some(tenant.name.clone());
        let Admitted { body, replay, overrun } = body::admit(body, self.settings.max_body, self.settings.replay_limit)?;
        let forwarded = self.settings.forwarded.then(|| forwarded(&parts, ends));
        headers::strip(&mut parts.headers);
        if parts.version == Version::HTTP_2 {
            headers::join_cookies(&mut parts.headers);
        }
        parts.headers.extend(forwarded.into_iter().flatten());
        let outgoing = Outgoing { tenant, method: &parts.method, rest: matched.rest, query: parts.uri.query(), headers: &parts.headers };

        let mut ticket = waited(tenant.tickets.get(), record).await?;
        let mut sent = self.common.clock.now();
        let answered = self.send(outgoing.with(&ticket, body)?, &ticket, record).await;
        let mut response = answered.map_err(|error| overrun.limit().map_or(error, ProxyError::BodyTooLarge))?;

        if response.status() == StatusCode::UNAUTHORIZED && tenant.tickets.refused(&ticket, false) == Refusal::Renewing {
            let body = match replay {
                Some(replay) => replay.body().await,
                None => None,
            };
            let Some(body) = body else {
                // The renewal goes on; the next request will be served.
                record.cause = Some("the ticket was refused, and a body larger than upstream.replay_limit cannot be sent again".to_owned());
                return Ok(answer(response));
            };
            ticket = waited(tenant.tickets.newer_than(ticket.generation), record).await?;
            record.replayed = true;
            sent = self.common.clock.now();
            response = self.send(outgoing.with(&ticket, body)?, &ticket, record).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                tenant.tickets.refused(&ticket, true);
            } else if accepted(response.status()) {
                tenant.tickets.cured();
            }
        }
        if accepted(response.status()) {
            tenant.tickets.used(&ticket, sent);
        }
        Ok(answer(response))
    }

    /// Whether this request may be answered by us at all.
    fn admit(&self, parts: &Parts, ends: Ends) -> Result<(), ProxyError> {
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(ProxyError::MethodNotAllowed);
        }
        let refused = |error: crate::server::guard::Forbidden| ProxyError::ForbiddenOrigin(error.to_string());
        self.settings.guard.check(parts, ends.local.ip().to_canonical()).map_err(refused)?;
        if self.common.drain.is_cancelled() {
            return Err(ProxyError::ShuttingDown);
        }
        Ok(())
    }

    async fn send(&self, request: Request<Body>, ticket: &Ticket, record: &mut AccessRecord) -> Result<Response<Incoming>, ProxyError> {
        record.generation = Some(ticket.generation);
        record.upstream = Some(ticket.base.authority().to_string());
        let answered = self.common.upstream.send(request).await.map_err(|error| {
            record.cause = Some(error.to_string());
            match error {
                UpstreamError::Unreachable(_) => ProxyError::UpstreamUnreachable,
                UpstreamError::RequestBody(_) => ProxyError::BodyIncomplete,
                UpstreamError::Timeout(limit) => ProxyError::UpstreamTimeout(limit),
            }
        });
        match answered {
            // No `Upgrade` goes upstream, so this is nonsense; passed on, it would make the caller speak another protocol.
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                record.cause = Some("101 Switching Protocols, which nobody asked for".to_owned());
                Err(ProxyError::UpstreamUnreachable)
            }
            answered => answered,
        }
    }
}

/// Upstream's answer as the caller gets it.
fn answer(mut response: Response<Incoming>) -> Response<Body> {
    headers::scrub(response.headers_mut());
    // An HTTP/1.0 upstream is no reason to speak HTTP/1.0 to the caller.
    *response.version_mut() = Version::HTTP_11;
    response.map(|body| body.map_err(BoxError::from).boxed_unsync())
}

/// What is sent upstream, but for the ticket and the body: it may have to be sent twice.
struct Outgoing<'a> {
    tenant: &'a Tenant,
    method: &'a Method,
    rest: &'a str,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
}

impl Outgoing<'_> {
    /// The ticket and the target come from one hand: a ticket cannot go to another host than the one it belongs to.
    fn with(&self, ticket: &Ticket, body: Body) -> Result<Request<Body>, ProxyError> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = target::upstream_uri(&ticket.base, self.rest, self.query)?;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        // IIS wants a length from these methods even when there is no body; HTTP/2 callers need not give one.
        let wants_length = matches!(*self.method, Method::POST | Method::PUT | Method::PATCH);
        if wants_length && request.body().is_end_stream() {
            request.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
        }
        headers::inject(request.headers_mut(), ticket, &self.tenant.app_token);
        Ok(request)
    }
}

/// Waits for a ticket, and notes how long it took.
async fn waited(
    ticket: impl Future<Output = Result<Arc<Ticket>, Unavailable>>,
    record: &mut AccessRecord,
) -> Result<Arc<Ticket>, ProxyError> {
    let started = Instant::now();
    let ticket = ticket.await;
    record.ticket_wait += started.elapsed();
    ticket.map_err(|unavailable| {
        record.cause = Some(unavailable.failure.log);
        ProxyError::TicketUnavailable { reason: unavailable.failure.wire, retry_after: unavailable.retry_after }
    })
}

/// The caller's own `X-Request-Id` when it is short and plain, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain =
        |id: &&str| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(plain);
    own.map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned)
}

/// `X-Forwarded-For`, `-Proto` and `-Host` of our own.
fn forwarded(parts: &Parts, ends: Ends) -> Vec<(HeaderName, HeaderValue)> {
    let mut lines = vec![(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("http"))];
    if let Ok(peer) = HeaderValue::from_str(&ends.peer.ip().to_canonical().to_string()) {
        lines.push((HeaderName::from_static("x-forwarded-for"), peer));
    }
    let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = authority.or_else(|| parts.headers.get(http::header::HOST).cloned()) {
        lines.push((HeaderName::from_static("x-forwarded-host"), host));
    }
    lines
}

/// An answer's body that carries the request's record and its place among the requests in flight to the end.
struct Recorded {
    body: Body,
    record: AccessRecord,
    _permit: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(Some(Err(error))) => self.record.cause = Some(crate::body::chain(&**error)),
            Poll::Ready(None) => self.record.complete = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // hyper does not poll again a body that says it is at its end.
        self.record.complete |= self.body.is_end_stream();
    }
}
