//! The two text formats: Prometheus' own (0.0.4) and OpenMetrics (1.0.0), and which of them is wanted.

use std::fmt::{Display, Formatter, Result, Write};

use super::counters::{BOUNDS, Sum};
use super::table::{Family, Kind};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The one that `Accept` prefers. Whoever asks for neither gets Prometheus', as everywhere.
    pub fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
        let (mut open, mut plain) = (0.0, 0.0);
        for range in accept.flat_map(|line| line.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let (mut version, mut quality) = (None, 1.0_f64);
            for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim() {
                    name if name.eq_ignore_ascii_case("version") => version = Some(value),
                    name if name.eq_ignore_ascii_case("q") => quality = value.parse().unwrap_or(0.0),
                    _ => {}
                }
            }
            let (best, ours) = match kind.to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => (&mut open, "1.0.0"),
                "text/plain" => (&mut plain, "0.0.4"),
                "text/*" | "*/*" => (&mut plain, ""),
                _ => continue,
            };
            if version.is_none_or(|version| version == ours) {
                *best = quality.max(*best);
            }
        }
        if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// For `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What is written, family by family.
#[derive(Debug)]
pub struct Page {
    format: Format,
    text: String,
}

/// The samples of one family; without any, it is not mentioned.
#[derive(Debug)]
pub struct Samples<'a> {
    page: &'a mut Page,
    family: &'static Family,
    begun: bool,
}

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Counted.
    Whole(u64),
    /// Measured.
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Value::Whole(value) => write!(f, "{value}"),
            Value::Real(value) => write!(f, "{value}"),
        }
    }
}

impl Page {
    /// Empty.
    pub fn new(format: Format) -> Page {
        Page { format, text: String::new() }
    }

    /// The next family; each may come once only.
    pub fn family(&mut self, family: &'static Family) -> Samples<'_> {
        Samples { page: self, family, begun: false }
    }

    /// A family that has one sample, without labels.
    pub fn one(&mut self, family: &'static Family, value: impl Into<Value>) {
        self.family(family).add(&[], value);
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

// Writing to a string cannot fail: all over this file, the outcome is of no interest.
impl Samples<'_> {
    /// One sample; its labels in the order of the family's.
    pub fn add(&mut self, labels: &[&str], value: impl Into<Value>) {
        self.begin();
        self.line("", labels, None, value.into());
    }

    /// The samples of one histogram.
    pub fn histogram(&mut self, labels: &[&str], sum: &Sum) {
        self.begin();
        let mut below = 0;
        for (at, count) in sum.buckets.iter().enumerate() {
            below += count;
            // As OpenMetrics wants it, "1.0" and not "1"; in both formats, so that nothing breaks when the other one is asked for.
            let bound = BOUNDS.get(at).map_or("+Inf".to_owned(), |micros| format!("{:?}", *micros as f64 / 1e6));
            self.line("_bucket", labels, Some(&bound), below.into());
        }
        self.line("_sum", labels, None, (sum.micros as f64 / 1e6).into());
        self.line("_count", labels, None, below.into());
    }

    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let Family { kind, help, .. } = self.family;
        let open = self.page.format == Format::OpenMetrics;
        let name = if open { self.family.stem() } else { self.family.name };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info if open => "info",
            Kind::Gauge | Kind::Info => "gauge",
        };
        let text = &mut self.page.text;
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", Escaped(help, open));
        if let Some(unit) = self.family.unit().filter(|_| open) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: Value) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        let text = &mut self.page.text;
        let _ = write!(text, "{}{suffix}", self.family.name);
        let mut before = '{';
        for (name, value) in self.family.labels.iter().copied().zip(labels.iter().copied()).chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(text, "{before}{name}=\"{}\"", Escaped(value, true));
            before = ',';
        }
        let _ = writeln!(text, "{} {value}", if before == ',' { "}" } else { "" });
    }
}

/// As labels and help are written; Prometheus' own help has its quotes bare.
struct Escaped<'a>(&'a str, bool);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.1 => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{BUILD, CACHE_REQUESTS, EXCHANGE_DURATION, IN_FLIGHT};
    use super::*;

    #[test]
    fn whoever_asks_for_openmetrics_gets_it_and_all_others_prometheus() {
        for (accept, format) in [
            (&[][..], Format::Prometheus),
            (&["*/*"], Format::Prometheus),
            (&["text/html, image/*;q=0.8"], Format::Prometheus),
            (&["application/openmetrics-text"], Format::OpenMetrics),
            (&["application/openmetrics-text; version=1.0.0"], Format::OpenMetrics),
            (&["Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8"], Format::OpenMetrics),
            (&["application/openmetrics-text; version=0.0.1"], Format::Prometheus),
            (&["application/openmetrics-text;q=0"], Format::Prometheus),
            (&["application/openmetrics-text;q=0.4, text/plain;q=0.5"], Format::Prometheus),
            (&["text/plain;q=0.5", "application/openmetrics-text;q=0.6"], Format::OpenMetrics),
            (&["text/plain, application/openmetrics-text"], Format::OpenMetrics),
            (&["application/openmetrics-text;q=nonsense, text/plain;q=0.1"], Format::Prometheus),
            // Prometheus 2 and 3, as they are.
            (
                &[
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ],
                Format::OpenMetrics,
            ),
            (
                &[
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                ],
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::wanted(accept.iter().copied()), format, "{accept:?}");
        }
    }

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.family(&CACHE_REQUESTS).add(&["a\"b\\c\nd"], 3u64);
        page.family(&BUILD).add(&["1.2.3", "os", "arch"], true);
        page.one(&IN_FLIGHT, 0.5);
        let mut buckets = [0; BOUNDS.len() + 1];
        (buckets[0], buckets[1], buckets[BOUNDS.len()]) = (1, 2, 3);
        page.family(&EXCHANGE_DURATION).histogram(&[], &Sum { buckets, micros: 1_500_000 });
        let _ = page.family(&super::super::table::CACHE_BYTES);
        page.finish()
    }

    #[test]
    fn prometheus_text() {
        let text = page(Format::Prometheus);
        for line in [
            "# TYPE soproxy_cache_requests_total counter",
            "soproxy_cache_requests_total{result=\"a\\\"b\\\\c\\nd\"} 3",
            "# TYPE soproxy_build_info gauge",
            "soproxy_build_info{version=\"1.2.3\",os=\"os\",arch=\"arch\"} 1",
            "soproxy_requests_in_flight 0.5",
            "# TYPE soproxy_exchange_duration_seconds histogram",
            "soproxy_exchange_duration_seconds_bucket{le=\"0.001\"} 1",
            "soproxy_exchange_duration_seconds_bucket{le=\"1.0\"} 3",
            "soproxy_exchange_duration_seconds_bucket{le=\"+Inf\"} 6",
            "soproxy_exchange_duration_seconds_sum 1.5",
            "soproxy_exchange_duration_seconds_count 6",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(!text.contains("EOF") && !text.contains("UNIT") && !text.contains("cache_bytes"), "{text}");
    }

    #[test]
    fn openmetrics_text() {
        let text = page(Format::OpenMetrics);
        for line in [
            "# TYPE soproxy_cache_requests counter",
            "soproxy_cache_requests_total{result=\"a\\\"b\\\\c\\nd\"} 3",
            "# TYPE soproxy_build info",
            "# UNIT soproxy_exchange_duration_seconds seconds",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(text.ends_with("_count 6\n# EOF\n"), "{text}");
    }
}
