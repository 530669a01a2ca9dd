//! A request as spans: what is noted while it is served, only if traces are exported, and what is made of it when it is over.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::{AccessRecord, Query};
use crate::superoffice::origin::AllowedBase;
use crate::trace::{Collector, Context, Kind, Span, SpanId, TRACEPARENT, TRACESTATE};

/// No request needs more of each; one that is sent again and again while SuperOffice refuses it may.
const MOST: usize = 32;

/// The spans of a request that is under way.
#[derive(Debug)]
pub(super) struct Spans {
    collector: Arc<Collector>,
    /// Our own span.
    context: Context,
    parent: Option<SpanId>,
    state: Option<String>,
    tls: bool,
    waits: Vec<(&'static str, Duration, Duration)>,
    tries: Vec<Try>,
}

/// The request as it was sent once.
#[derive(Debug)]
struct Try {
    span: SpanId,
    base: AllowedBase,
    path: String,
    query: Option<String>,
    sent: Duration,
    answered: Option<Duration>,
    outcome: Option<Result<StatusCode, &'static str>>,
}

/// The longest `tracestate` that spans keep, in bytes: what everybody has to carry (W3C Trace Context §3.3.1.5). Thousands of spans wait
/// when the collector does not answer.
const STATE: usize = 512;

impl Spans {
    /// `None`: the caller does not want this trace, and what it says goes on as it is.
    pub fn begin(caller: Option<Context>, headers: &HeaderMap, collector: &Arc<Collector>, tls: bool) -> Option<Spans> {
        let (context, parent, state) = match caller {
            Some(caller) if !caller.is_sampled() => return None,
            Some(caller) => {
                let lines: Vec<&str> = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok()).collect();
                (
                    caller.with(SpanId::random()),
                    Some(caller.span),
                    (!lines.is_empty()).then(|| lines.join(",")).filter(|state| state.len() <= STATE),
                )
            }
            None => (collector.root(), None, None),
        };
        Some(Spans { collector: collector.clone(), context, parent, state, tls, waits: Vec::new(), tries: Vec::new() })
    }

    pub fn context(&self) -> Context {
        self.context
    }

    /// It waited.
    pub fn waited(&mut self, what: &'static str, from: Duration, to: Duration) {
        if self.context.is_sampled() && self.waits.len() < MOST && to > from {
            self.waits.push((what, from, to));
        }
    }

    /// It is sent, with a span of its own.
    pub fn sending(&mut self, headers: &mut HeaderMap, uri: &http::Uri, base: &AllowedBase, now: Duration) {
        let span = SpanId::random();
        headers.insert(TRACEPARENT, self.context.with(span).header());
        if self.parent.is_none() {
            // Of a trace that we do not know.
            headers.remove(TRACESTATE);
        }
        if self.context.is_sampled() && self.tries.len() < MOST {
            let (base, path, query) = (base.clone(), uri.path().to_owned(), uri.query().map(str::to_owned));
            self.tries.push(Try { span, base, path, query, sent: now, answered: None, outcome: None });
        }
    }

    /// What came of the last sending.
    pub fn sent(&mut self, outcome: Result<StatusCode, &'static str>, now: Duration) {
        if let Some(last) = self.tries.last_mut().filter(|last| last.outcome.is_none()) {
            (last.answered, last.outcome) = (Some(now), Some(outcome));
        }
    }

    /// The request is over.
    pub fn finish(self, record: &AccessRecord, query: Query) {
        if !self.context.is_sampled() {
            return;
        }
        let total = record.elapsed();
        let mut spans = vec![self.request(record, total, query)];
        for (name, from, to) in &self.waits {
            spans.push(self.child(record.started.wall, SpanId::random(), Kind::Internal, Cow::Borrowed(name), *from, *to));
        }
        for (resent, one) in self.tries.iter().enumerate() {
            // The last one's answer goes on to the end.
            let last = resent + 1 == self.tries.len() && matches!(one.outcome, Some(Ok(_)));
            let ended = one.answered.filter(|_| !last).unwrap_or(total);
            let (name, other) = method(&record.method);
            let mut span = self.child(record.started.wall, one.span, Kind::Client, name.into(), one.sent, ended);
            note_method(&mut span, name, other);
            span.note(
                "url.full",
                cut(&format!("{}://{}{}{}", one.base.scheme(), one.base.authority(), one.path, query.shown(one.query.as_deref()))),
            );
            span.note("server.address", one.base.host().to_owned());
            span.note("server.port", one.base.port());
            if resent > 0 {
                span.note("http.request.resend_count", resent as u64);
            }
            match one.outcome {
                Some(Ok(status)) => note_status(&mut span, status, 400),
                Some(Err(error)) => fail(&mut span, error),
                None => fail(&mut span, "cancelled"),
            }
            spans.push(span);
        }
        self.collector.offer(spans);
    }

    fn request(&self, record: &AccessRecord, total: Duration, query: Query) -> Span {
        let (name, other) = method(&record.method);
        let start = record.started.wall;
        let mut span = self.child(start, self.context.span, Kind::Server, name.into(), Duration::ZERO, total);
        span.parent = self.parent;
        note_method(&mut span, name, other);
        span.note("url.scheme", if self.tls { "https" } else { "http" });
        if let Some(target) = &record.target {
            span.note("url.path", cut(target.path()));
            let shown = query.shown(target.query());
            if let Some(shown) = shown.strip_prefix('?') {
                span.note("url.query", cut(shown));
            }
        }
        span.note("soproxy.request_id", record.id.to_str().unwrap_or_default().to_owned());
        for (name, text) in [("soproxy.tenant", &record.tenant), ("soproxy.client", &record.client)] {
            if let Some(text) = text {
                span.note(name, text.to_string());
            }
        }
        if let Some(ticket) = &record.ticket {
            span.note("soproxy.ticket.generation", ticket.generation);
        }
        if let Some(cause) = record.sent_twice {
            span.note("soproxy.sent_twice", cause);
        }
        span.note("http.response.body.size", record.bytes);
        match (record.status, record.error) {
            (Some(status), Some(error)) => {
                span.note("http.response.status_code", status.as_u16());
                span.note("error.type", error);
                // A caller's mistake is no failure of who serves it.
                span.failed = status.is_server_error();
            }
            (Some(status), None) => note_status(&mut span, status, 500),
            (None, _) => fail(&mut span, "caller_gone"),
        }
        if record.status.is_some() && !record.complete {
            span.note("soproxy.broken_off", true);
            span.failed = true;
        }
        span
    }

    fn child(&self, start: Timestamp, id: SpanId, kind: Kind, name: Cow<'static, str>, from: Duration, to: Duration) -> Span {
        let at = |offset: Duration| start.checked_add(offset).unwrap_or(start);
        Span {
            context: self.context.with(id),
            parent: Some(self.context.span),
            state: self.state.clone(),
            kind,
            name,
            started: at(from),
            ended: at(to.max(from)),
            attributes: Vec::with_capacity(12),
            failed: false,
        }
    }
}

/// As much of a URL as is kept for the collector.
fn cut(text: &str) -> String {
    const MOST: usize = 2048;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A span's name is one of few: of a method that nobody knows, its own word is told apart.
fn method(method: &Method) -> (&'static str, Option<&str>) {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    match KNOWN.into_iter().find(|known| *known == method.as_str()) {
        Some(known) => (known, None),
        None => ("HTTP", Some(method.as_str())),
    }
}

fn note_method(span: &mut Span, name: &'static str, other: Option<&str>) {
    span.note("http.request.method", if other.is_some() { "_OTHER" } else { name });
    if let Some(other) = other {
        span.note("http.request.method_original", other.to_owned());
    }
}

/// `worst`: from this status on it is a failure.
fn note_status(span: &mut Span, status: StatusCode, worst: u16) {
    span.note("http.response.status_code", status.as_u16());
    if status.as_u16() >= worst {
        span.note("error.type", status.as_u16().to_string());
        span.failed = true;
    }
}

fn fail(span: &mut Span, error: &'static str) {
    span.note("error.type", error);
    span.failed = true;
}
