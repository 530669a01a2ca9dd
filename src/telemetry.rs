//! Spans on their way to an OpenTelemetry collector, over OTLP/HTTP: in batches, by a task that nobody waits for. What the collector
//! does not take in time is dropped and counted.

mod otlp;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, StatusCode};
use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::otlp::Resource;
use crate::body::full;
use crate::superoffice::http::{Answer, Caller};
use crate::superoffice::origin::BaseUrl;
use crate::trace::{Collector, Span};

/// How long the first span of a batch waits for others, and how many make a batch.
const DELAY: Duration = Duration::from_secs(1);
const BATCH: usize = 512;

/// One export, from connect to the last byte of the answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a batch is tried, and how long it waits before the second try and at the longest.
const TRIES: u32 = 5;
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `otlp_endpoint`: where the collector is; spans go to `/v1/traces` below it.
    pub endpoint: BaseUrl,
    /// `otlp_headers`: what it wants to be told, such as who we are. The values are secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `service_name`
    pub service_name: String,
    /// `sample`: what share of the traces that begin here is exported.
    pub sample: f64,
}

/// The exporting task.
#[derive(Debug)]
pub struct Telemetry {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Telemetry {
    /// Exports from now on what the collector takes. Needs a tokio runtime.
    pub fn start(settings: Settings, caller: Caller) -> (Arc<Collector>, Telemetry) {
        let (collector, spans) = Collector::new(settings.sample);
        let collector = Arc::new(collector);
        let stop = CancellationToken::new();
        let resource = Resource::of_this_process(settings.service_name.clone());
        let exporter = Exporter { settings, resource, caller, collector: collector.clone(), stop: stop.clone(), failing: None };
        (collector, Telemetry { stop, task: tokio::spawn(exporter.run(spans)) })
    }

    /// Exports what is there, for at most so long.
    pub async fn finish(self, limit: Duration) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(limit, self.task).await.is_err() {
            abort.abort();
            tracing::warn!("the last spans are lost: the collector does not take them in time");
        }
    }
}

struct Exporter {
    settings: Settings,
    resource: Resource,
    caller: Caller,
    collector: Arc<Collector>,
    stop: CancellationToken,
    /// Why spans are being lost, and how many had been before.
    failing: Option<(String, u64)>,
}

/// What came of one try.
enum Outcome {
    Taken,
    /// It will not be taken.
    Refused(String),
    /// It may be, later: after this time, if the collector said so.
    Later(String, Option<Duration>),
}

impl Exporter {
    async fn run(mut self, mut spans: Receiver<Vec<Span>>) {
        loop {
            let batch = self.gather(&mut spans).await;
            if batch.is_empty() {
                return;
            }
            self.export(batch).await;
        }
    }

    /// The next batch; empty when there will be none.
    async fn gather(&self, spans: &mut Receiver<Vec<Span>>) -> Vec<Span> {
        let mut batch = Vec::new();
        let until_stopped = async {
            batch.extend(spans.recv().await.into_iter().flatten());
            let more = async {
                while batch.len() < BATCH {
                    match spans.recv().await {
                        Some(more) => batch.extend(more),
                        None => return,
                    }
                }
            };
            let _ = tokio::time::timeout(DELAY, more).await;
        };
        if self.stop.run_until_cancelled(until_stopped).await.is_none() {
            // Whatever is there; each call brings a batch of it, until there is no more.
            while batch.len() < BATCH
                && let Ok(more) = spans.try_recv()
            {
                batch.extend(more);
            }
        }
        batch
    }

    async fn export(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let body = Bytes::from(otlp::request(&self.resource, &batch));
        let mut pause = PAUSE.0;
        for left in (0..TRIES).rev() {
            let (why, wait) = match self.once(body.clone()).await {
                Outcome::Taken => return self.goes(),
                Outcome::Refused(why) => return self.lost(count, why),
                Outcome::Later(why, wait) => (why, wait),
            };
            if left == 0 || self.stop.is_cancelled() {
                return self.lost(count, why);
            }
            // Not all proxies at once.
            let wait = wait.unwrap_or_else(|| pause.mul_f64(rand::random_range(0.5..1.0))).min(PAUSE.1);
            pause *= 2;
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    async fn once(&mut self, body: Bytes) -> Outcome {
        let mut request = Request::new(full(body));
        *request.method_mut() = http::Method::POST;
        match self.settings.endpoint.join("/v1/traces").parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Outcome::Refused(format!("its address cannot be used: {error}")),
        }
        let headers = request.headers_mut();
        headers.extend(self.settings.headers.iter().cloned());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("soproxy/", env!("CARGO_PKG_VERSION"))));
        match self.caller.call(request).await {
            Ok(answer) => self.judge(&answer),
            Err(error) => Outcome::Later(error.to_string(), None),
        }
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        match answer.status {
            status if status.is_success() => {
                if let Some(partly) = otlp::rejected(&answer.body) {
                    self.collector.lose(partly.spans);
                    // `Debug`, because its words are somebody else's.
                    tracing::warn!(spans = partly.spans, said = ?partly.words, "the collector took a part of the spans only");
                }
                Outcome::Taken
            }
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => Outcome::Later(format!("answers HTTP {}", status.as_u16()), wait(&answer.headers)),
            status => Outcome::Refused(format!("answers HTTP {}", status.as_u16())),
        }
    }

    fn goes(&mut self) {
        if let Some((_, before)) = self.failing.take() {
            let spans = self.collector.dropped().saturating_sub(before);
            tracing::info!(spans_lost = spans, "the collector takes spans again");
        }
    }

    fn lost(&mut self, spans: u64, why: String) {
        let before = self.failing.as_ref().map_or_else(|| self.collector.dropped(), |(_, before)| *before);
        self.collector.lose(spans);
        if self.failing.as_ref().is_none_or(|(said, _)| *said != why) {
            tracing::warn!(collector = %self.settings.endpoint, "spans are lost: the collector {why}");
        }
        self.failing = Some((why, before));
    }
}

/// `Retry-After`, as seconds or as a date.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    Some(Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default())
}
