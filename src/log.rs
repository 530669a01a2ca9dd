//! The subscriber, and the one access record per request.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Sets up logging to standard error. `level` is a level or a list of `EnvFilter` directives. On failure, why the
/// directives cannot be read; a subscriber that is already there stays.
pub fn init(level: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal());
    // Only the first subscriber counts: a second one (in tests, mostly) is no failure.
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    Ok(())
}

/// What the log tells about one request: written when its answer's body has ended, or when the record is dropped because
/// the caller went away. The query is left out: it holds personal data more often than not.
#[derive(Debug)]
pub struct AccessRecord {
    /// `X-Request-Id`
    pub id: String,
    /// The method.
    pub method: Method,
    /// The path as the caller wrote it.
    pub path: String,
    /// The tenant, once matched.
    pub tenant: Option<std::sync::Arc<str>>,
    /// The generation of the ticket that was used last.
    pub generation: Option<u64>,
    /// The host that the request was sent to.
    pub upstream: Option<String>,
    /// The answer's status; `None` when the caller went away before.
    pub status: Option<StatusCode>,
    /// The code of an error of the proxy's own.
    pub error: Option<&'static str>,
    /// What caused it, for the log only.
    pub cause: Option<String>,
    /// Whether the request was sent again after a 401.
    pub replayed: bool,
    /// How long it took to get a ticket.
    pub ticket_wait: Duration,
    /// From the request's arrival to the answer's head.
    pub first_byte: Option<Duration>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Whether the answer's body went out to its end.
    pub complete: bool,
    started: Instant,
}

impl AccessRecord {
    /// Starts a record at the request's arrival.
    pub fn start(id: String, method: Method, path: &str) -> AccessRecord {
        AccessRecord {
            id,
            method,
            path: path.to_owned(),
            tenant: None,
            generation: None,
            upstream: None,
            status: None,
            error: None,
            cause: None,
            replayed: false,
            ticket_wait: Duration::ZERO,
            first_byte: None,
            bytes: 0,
            complete: false,
            started: Instant::now(),
        }
    }

    /// The time since the request's arrival.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        let millis = |duration: Duration| duration.as_micros() as f64 / 1000.0;
        tracing::info!(
            target: "access",
            id = self.id,
            tenant = self.tenant.as_deref(),
            generation = self.generation,
            upstream = self.upstream,
            status = self.status.map(|status| status.as_u16()),
            error = self.error,
            cause = self.cause,
            replayed = self.replayed.then_some(true),
            broken_off = (!self.complete).then_some(true),
            bytes = self.bytes,
            ticket_ms = millis(self.ticket_wait),
            first_byte_ms = self.first_byte.map(millis),
            total_ms = millis(self.elapsed()),
            "{} {}", self.method, self.path,
        );
    }
}
