//! Traces: who called whom, and how long it took. What the W3C's `traceparent` says, and spans on their way to whoever exports them.
//! Nothing here knows where they go.

mod context;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::mpsc;

pub use self::context::{Context, SpanId, TRACEPARENT, TRACESTATE, TraceId};

/// So many requests may wait for the exporter.
const QUEUE: usize = 2048;

/// What a span is of, with OTLP's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something within.
    Internal = 1,
    /// A request that came.
    Server = 2,
    /// A request that went out.
    Client = 3,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

/// One span, over.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace, itself, and whether it is sampled.
    pub context: Context,
    /// What it is a part of.
    pub parent: Option<SpanId>,
    /// The caller's `tracestate`.
    pub state: Option<String>,
    /// What it is of.
    pub kind: Kind,
    /// One of few.
    pub name: Cow<'static, str>,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// What is known of it, by OpenTelemetry's names where it has some.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub failed: bool,
}

impl Span {
    /// Notes something.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Cow::Owned(text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Value {
        Value::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}

/// Takes spans to the exporter. Nobody waits for it: when it is slow, spans are dropped and counted.
#[derive(Debug)]
pub struct Collector {
    queue: mpsc::Sender<Vec<Span>>,
    dropped: AtomicU64,
    /// What share of the traces that begin here is sampled.
    sample: f64,
}

impl Collector {
    /// The collector, and where its spans come out.
    pub fn new(sample: f64) -> (Collector, mpsc::Receiver<Vec<Span>>) {
        let (queue, spans) = mpsc::channel(QUEUE);
        (Collector { queue, dropped: AtomicU64::new(0), sample }, spans)
    }

    /// A trace that begins here.
    pub fn root(&self) -> Context {
        Context::root(self.sample)
    }

    /// Takes spans that belong together.
    pub fn offer(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.queue.try_send(spans).is_err() {
            self.lose(count);
        }
    }

    /// So many were lost.
    pub fn lose(&self, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    /// How many were lost since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
