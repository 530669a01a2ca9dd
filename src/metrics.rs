//! Every metric: its name, its help, and one counter per worker. Handed down, not global.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::shard::Shards;

/// Upper bounds of the histogram of durations, in microseconds.
const BOUNDS: [u64; 12] =
    [5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000, 30_000_000, 120_000_000];

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why a request was sent again, as README's table lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A pooled connection had died before upstream could read anything, or (HTTP/2) upstream said that it did not.
    ConnectionLost,
    /// 401.
    TicketRefused,
    /// 421.
    TenantMoved,
    /// 429, or 503 with `Retry-After`, to a call that only reads.
    Throttled,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Cause; 4] = [Cause::ConnectionLost, Cause::TicketRefused, Cause::TenantMoved, Cause::Throttled];

    /// In words, for the log and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Cause::ConnectionLost => "connection lost",
            Cause::TicketRefused => "ticket refused",
            Cause::TenantMoved => "tenant moved",
            Cause::Throttled => "throttled",
        }
    }
}

/// What became of a notification that a tenant's state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Its tenant's state is fetched.
    Accepted,
    /// Its token does not verify.
    Refused,
    /// No notification at all.
    Malformed,
    /// A genuine one, of a tenant that is not configured.
    UnknownTenant,
}

impl Push {
    const ALL: [Push; 4] = [Push::Accepted, Push::Refused, Push::Malformed, Push::UnknownTenant];

    fn name(self) -> &'static str {
        match self {
            Push::Accepted => "accepted",
            Push::Refused => "refused",
            Push::Malformed => "malformed",
            Push::UnknownTenant => "unknown tenant",
        }
    }
}

/// The names of all metrics, with their help.
pub const ALL: [(&str, &str); 6] = [
    ("soproxy_requests_total", "requests by the class of the answer's status; none: the caller went away before"),
    ("soproxy_errors_total", "answers of the proxy's own, by code"),
    ("soproxy_sent_twice_total", "requests sent to upstream a second time, by cause"),
    ("soproxy_state_pushes_total", "notifications that a tenant's state has changed, by result"),
    ("soproxy_response_bytes_total", "bytes of answers' bodies"),
    ("soproxy_request_duration_seconds", "from a request's arrival to its answer's last byte"),
];

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    shards: Shards<Counters>,
    codes: Vec<&'static str>,
}

#[derive(Debug)]
struct Counters {
    classes: [AtomicU64; CLASSES.len()],
    errors: Box<[AtomicU64]>,
    causes: [AtomicU64; Cause::ALL.len()],
    pushes: [AtomicU64; Push::ALL.len()],
    bytes: AtomicU64,
    /// One more than there are bounds: the rest.
    durations: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Metrics {
    /// `codes`: those that errors can have.
    pub fn new(workers: usize, codes: impl Iterator<Item = &'static str>) -> Metrics {
        let codes: Vec<&'static str> = codes.collect();
        let counters = || Counters {
            classes: Default::default(),
            errors: codes.iter().map(|_| AtomicU64::new(0)).collect(),
            causes: Default::default(),
            pushes: Default::default(),
            bytes: AtomicU64::new(0),
            durations: Default::default(),
            micros: AtomicU64::new(0),
        };
        Metrics { shards: Shards::new(workers, counters), codes }
    }

    /// A request has ended.
    pub fn request(&self, status: Option<StatusCode>, error: Option<&'static str>, bytes: u64, took: Duration) {
        let here = self.shards.here();
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100)).min(CLASSES.len() - 1);
        add(&here.classes[class], 1);
        add(&here.bytes, bytes);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&here.durations[BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len())], 1);
        add(&here.micros, micros);
        if let Some(at) = error.and_then(|error| self.codes.iter().position(|code| *code == error)) {
            add(&here.errors[at], 1);
        }
    }

    /// A request is sent once more.
    pub fn sent_twice(&self, cause: Cause) {
        add(&self.shards.here().causes[cause as usize], 1);
    }

    /// A notification came.
    pub fn pushed(&self, push: Push) {
        add(&self.shards.here().pushes[push as usize], 1);
    }

    /// In the text format of Prometheus.
    pub fn text(&self) -> String {
        let sum = |counter: &dyn Fn(&Counters) -> u64| self.shards.iter().map(counter).sum::<u64>();
        let mut text = String::new();
        for (name, help) in ALL {
            let kind = if name.ends_with("_seconds") { "histogram" } else { "counter" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            match name {
                "soproxy_requests_total" => {
                    for (at, class) in CLASSES.iter().enumerate() {
                        let _ = writeln!(text, "{name}{{status=\"{class}\"}} {}", sum(&|shard| get(&shard.classes[at])));
                    }
                }
                "soproxy_errors_total" => {
                    for (at, code) in self.codes.iter().enumerate() {
                        let _ = writeln!(text, "{name}{{code=\"{code}\"}} {}", sum(&|shard| get(&shard.errors[at])));
                    }
                }
                "soproxy_sent_twice_total" => {
                    for cause in Cause::ALL {
                        let _ = writeln!(text, "{name}{{cause=\"{}\"}} {}", cause.name(), sum(&|shard| get(&shard.causes[cause as usize])));
                    }
                }
                "soproxy_state_pushes_total" => {
                    for push in Push::ALL {
                        let _ = writeln!(text, "{name}{{result=\"{}\"}} {}", push.name(), sum(&|shard| get(&shard.pushes[push as usize])));
                    }
                }
                "soproxy_response_bytes_total" => {
                    let _ = writeln!(text, "{name} {}", sum(&|shard| get(&shard.bytes)));
                }
                _ => {
                    let mut below = 0;
                    for at in 0..=BOUNDS.len() {
                        below += sum(&|shard| get(&shard.durations[at]));
                        let bound = BOUNDS.get(at).map_or("+Inf".to_owned(), |bound| (*bound as f64 / 1e6).to_string());
                        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {below}");
                    }
                    let micros = sum(&|shard| get(&shard.micros));
                    let _ = writeln!(text, "{name}_sum {}\n{name}_count {below}", micros as f64 / 1e6);
                }
            }
        }
        text
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new(1, ["a", "b"].into_iter());
        metrics.request(Some(StatusCode::OK), None, 10, Duration::from_millis(7));
        metrics.request(Some(StatusCode::BAD_GATEWAY), Some("b"), 5, Duration::from_secs(700));
        metrics.request(None, None, 0, Duration::ZERO);
        metrics.sent_twice(Cause::TicketRefused);
        metrics.pushed(Push::Refused);
        let text = metrics.text();
        for line in [
            "soproxy_requests_total{status=\"2xx\"} 1",
            "soproxy_requests_total{status=\"5xx\"} 1",
            "soproxy_requests_total{status=\"none\"} 1",
            "soproxy_errors_total{code=\"a\"} 0",
            "soproxy_errors_total{code=\"b\"} 1",
            "soproxy_sent_twice_total{cause=\"ticket refused\"} 1",
            "soproxy_state_pushes_total{result=\"refused\"} 1",
            "soproxy_response_bytes_total 15",
            "soproxy_request_duration_seconds_bucket{le=\"0.005\"} 1",
            "soproxy_request_duration_seconds_bucket{le=\"0.01\"} 2",
            "soproxy_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "soproxy_request_duration_seconds_sum 700.007",
            "soproxy_request_duration_seconds_count 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }
}
