//! What goes upstream, and what is ever sent twice.

use std::cell::Cell;

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::Body as HttpBody;

use super::body::Replay;
use super::error::ProxyError;
use super::route::Route;
use super::soap::Envelope;
use super::{headers, target};
use crate::body::Body;
use crate::log::AccessRecord;
use crate::metrics::{Cause, Metrics};
use crate::superoffice::origin::AllowedBase;
use crate::ticket::Ticket;
use crate::upstream::UpstreamError;

/// What is sent upstream, but for the ticket and the body: it may have to be sent twice.
pub(super) struct Outgoing<'a> {
    pub(super) route: Route<'a>,
    pub(super) rest: &'a str,
    pub(super) parts: &'a Parts,
    /// The headers, and how the caller spelled their names: for the first sending.
    pub(super) first: Option<(HeaderMap, Extensions)>,
    /// The headers for the others; they do without the spelling.
    pub(super) kept: Kept,
    pub(super) upgrade: bool,
    /// What the body is, if the credentials go into it.
    pub(super) envelope: Option<Box<Envelope>>,
}

impl Outgoing<'_> {
    /// The ticket and the target are of one tenant, and the base is one that tickets may be sent to.
    pub(super) fn with(&mut self, ticket: &Ticket, base: &AllowedBase, body: Body) -> Result<Request<Body>, UpstreamError> {
        let unfit = |error: ProxyError| UpstreamError::Unreachable(error.to_string());
        let body = match &self.envelope {
            Some(envelope) => envelope.send(body, ticket),
            None => body,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        // Only CONNECT's target has no path, and that was refused.
        let whole = self.parts.uri.path_and_query().ok_or_else(|| UpstreamError::Unreachable("no path".to_owned()))?;
        let target = match self.route {
            Route::Api => target::upstream_target(base, whole, self.rest),
            Route::Further(route) | Route::Soap(route) => target::beside_api(base, route, self.rest, whole.query()),
        };
        *request.uri_mut() = target.map_err(unfit)?.into();
        match self.first.take() {
            Some((headers, spelling)) => {
                self.kept.keep(&headers);
                *request.headers_mut() = headers;
                *request.extensions_mut() = spelling;
            }
            None => *request.headers_mut() = self.kept.headers(),
        }
        // IIS wants a length from these methods even when there is no body; HTTP/2 callers need not give one.
        let wants_length = matches!(self.parts.method, Method::POST | Method::PUT | Method::PATCH);
        if wants_length && request.body().is_end_stream() {
            request.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
        }
        if let Some(length) = self.envelope.as_ref().and_then(|_| request.body().size_hint().exact()) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        match self.route {
            // Credentials are in the envelope, and descriptions need none.
            Route::Soap(_) => headers::add_via(request.headers_mut(), self.parts.version),
            _ => headers::inject(request.headers_mut(), self.parts.version, ticket),
        }
        Ok(request)
    }
}

/// Headers that may be needed once more. They are rarely, so what keeps them is cheap: a list that threads reuse.
#[derive(Default)]
pub(super) struct Kept(Vec<(HeaderName, HeaderValue)>);

thread_local! {
    static SPARE: Cell<Vec<(HeaderName, HeaderValue)>> = const { Cell::new(Vec::new()) };
}

impl Kept {
    fn keep(&mut self, headers: &HeaderMap) {
        self.0 = SPARE.take();
        self.0.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            headers.append(name, value.clone());
        }
        headers
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut list = std::mem::take(&mut self.0);
        list.clear();
        if list.capacity() <= 256 {
            SPARE.set(list);
        }
    }
}

/// What is ever sent twice, and the only place where that is decided: each cause at most once per request (but for
/// [`Cause::Throttled`]), and only with a body that can be sent again. README's table says the same.
pub(super) struct Twice<'a> {
    replay: Option<Replay>,
    metrics: &'a Metrics,
    done: [bool; Cause::ALL.len()],
}

impl<'a> Twice<'a> {
    pub(super) fn new(replay: Option<Replay>, metrics: &'a Metrics) -> Twice<'a> {
        Twice { replay, metrics, done: Default::default() }
    }

    /// Whether this was a cause before.
    pub(super) fn was(&self, cause: Cause) -> bool {
        // A call that was refused for too many others was not looked at; how often it is sent is bounded by `queue_timeout`.
        cause != Cause::Throttled && self.done[cause as usize]
    }

    /// Whether the body is one that could be sent again, as far as that is known.
    pub(super) fn could(&self, cause: Cause) -> bool {
        !self.was(cause) && self.replay.as_ref().is_some_and(Replay::fits)
    }

    /// The body to send once more; `None` when it must not or cannot be sent.
    pub(super) async fn again(&mut self, cause: Cause, record: &mut AccessRecord) -> Option<Body> {
        if self.was(cause) {
            return None;
        }
        let body = self.replay.as_ref()?.body().await?;
        self.done[cause as usize] = true;
        self.metrics.sent_twice(cause);
        record.sent_twice = Some(cause.name());
        Some(body)
    }
}
