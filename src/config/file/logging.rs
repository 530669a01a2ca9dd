//! `[log]`: which lines, in which form, and where to; and `[telemetry]`: where spans go.

use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;
use http::{HeaderName, header};

use super::field::Field;
use super::kinds;
use super::reader::Table;
use super::shape::Shape;
use crate::config::secret::SecretRef;
use crate::log::{Format, Query};
use crate::superoffice::origin::BaseUrl;

/// `[log]`
pub struct LogSettings {
    /// `level`
    pub level: Option<String>,
    /// `format`
    pub format: Option<Format>,
    /// `query`
    pub query: Option<Query>,
    /// `file`
    pub file: Field<PathBuf>,
    /// `rotate`: whether it is.
    pub rotate: Option<bool>,
    /// `max_size`; `None` inside is "off".
    pub max_size: Option<Option<u64>>,
    /// `keep`; `None` inside is "forever".
    pub keep: Option<Option<Duration>>,
}

const FORMATS: &[(&str, Format)] = &[("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];
const QUERIES: &[(&str, Query)] = &[("off", Query::Off), ("names", Query::Names), ("values", Query::Values)];
const ROTATIONS: &[(&str, bool)] = &[("daily", true), ("never", false)];

const DAY: Duration = Duration::from_secs(86_400);

/// Reads it.
pub fn log(mut table: Table<'_, '_>) -> LogSettings {
    let settings = LogSettings {
        level: table.need("level", kinds::level),
        format: table.need("format", kinds::choice(FORMATS)),
        query: table.need("query", kinds::choice(QUERIES)),
        file: table.read("file", kinds::path),
        rotate: table.need("rotate", kinds::choice(ROTATIONS)),
        max_size: table.need("max_size", kinds::unless("off", size_of_file)),
        keep: table.need("keep", kinds::unless("forever", kinds::duration(DAY, None))),
    };
    table.finish();
    settings
}

fn size_of_file(value: &Value) -> Result<u64, kinds::Wrong> {
    match kinds::size(value)? {
        ..1_048_576 => Err(kinds::Wrong::new("must be at least 1MiB", "write a size, such as \"64MiB\"")),
        bytes => Ok(bytes),
    }
}

/// `[telemetry]`
pub struct TelemetrySettings {
    /// `otlp_endpoint`
    pub endpoint: Field<BaseUrl>,
    /// `otlp_headers`
    pub headers: Field<Vec<(HeaderName, SecretRef)>>,
    /// `service_name`
    pub service_name: Option<String>,
    /// `sample`
    pub sample: Option<f64>,
}

/// Reads it.
pub fn telemetry(mut table: Table<'_, '_>) -> TelemetrySettings {
    let settings = TelemetrySettings {
        endpoint: table.read("otlp_endpoint", endpoint),
        headers: table.read("otlp_headers", headers),
        service_name: table.need("service_name", kinds::text),
        sample: table.need("sample", share),
    };
    table.finish();
    settings
}

fn endpoint(value: &Value) -> Result<BaseUrl, kinds::Wrong> {
    const HINT: &str = "write the collector's address without /v1/traces, such as \"http://127.0.0.1:4318\"";
    let url = kinds::url(value).map_err(|wrong| wrong.hinting(HINT))?;
    if url.path().ends_with("/v1/traces") { Err(kinds::Wrong::new("has a path that is added anyhow", HINT)) } else { Ok(url) }
}

/// No message repeats a value.
fn headers(value: &Value) -> Result<Vec<(HeaderName, SecretRef)>, kinds::Wrong> {
    const HINT: &str = "write a table of headers, such as { Authorization = { file = \"secrets/collector\" } }";
    let Value::Dict(_, entries) = value else {
        return Err(kinds::Wrong::new("must be a table", HINT).taking(Shape::SecretTable));
    };
    let header = |(name, value): (&String, &Value)| {
        // A variable's name has no room for a dash.
        let wrong = |what: &str| kinds::Wrong::new(format!("{}: {what}", kinds::quoted(name)), HINT);
        let parsed = name.replace('_', "-").parse().map_err(|_| wrong("is no name of a header"))?;
        if FORBIDDEN.contains(&parsed) {
            return Err(wrong("is not yours to set"));
        }
        Ok((parsed, kinds::secret(value).map_err(|inner| wrong(&inner.what))?))
    };
    entries.iter().map(header).collect()
}

/// What makes a request what it is.
const FORBIDDEN: [HeaderName; 5] =
    [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::TRANSFER_ENCODING, header::CONNECTION];

fn share(value: &Value) -> Result<f64, kinds::Wrong> {
    const HINT: &str = "write what share of the traces is exported, from 0 to 1, such as 0.1, without quotes";
    let number = match value {
        Value::String(_, text) => text.trim().parse().ok(),
        Value::Num(_, number) => number.to_f64().or_else(|| number.to_i128().map(|number| number as f64)),
        _ => None,
    };
    let wrong = || kinds::Wrong::new("must be a number from 0 to 1", HINT).taking(Shape::Number(0.0, 1.0));
    number.filter(|number| (0.0..=1.0).contains(number)).ok_or_else(wrong)
}

/// A format as it is written.
pub fn format(text: &str) -> Result<Format, String> {
    kinds::choice(FORMATS)(&Value::from(text)).map_err(|wrong| format!("{}: {}", wrong.what, wrong.hint))
}

/// A level as it is written.
pub fn level(text: &str) -> Result<String, String> {
    kinds::level(&Value::from(text)).map_err(|wrong| format!("{}: {}", wrong.what, wrong.hint))
}
