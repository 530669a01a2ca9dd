//! Durations in JSON: a number of seconds, or text such as `200ms`, `5s`, `-20m`, `1h`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

/// Reads `1500ms`, `2s`, `-20m`, `1h`, or a bare number of seconds, as milliseconds.
fn millis(text: &str) -> Option<i64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let factor = match &text[unit_at..] {
        "ms" => 1.0,
        "s" | "" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let value = text[..unit_at].trim().parse::<f64>().ok()? * factor;
    // A hundred years are enough, and keep every later sum in range.
    (value.abs() < 3.2e12).then_some(value.round() as i64)
}

fn show(millis: i64) -> String {
    if millis % 1000 == 0 { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(f64),
    Text(String),
}

fn read_millis<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = match Written::deserialize(from)? {
        Written::Seconds(seconds) => seconds.to_string(),
        Written::Text(text) => text,
    };
    millis(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no duration: write \"200ms\", \"5s\", \"20m\" or \"1h\"")))
}

pub(super) mod unsigned {
    use super::*;

    pub fn serialize<S: serde::Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show(value.as_millis() as i64))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let millis = u64::try_from(read_millis(from)?).map_err(|_| serde::de::Error::custom("a negative duration"))?;
        Ok(Duration::from_millis(millis))
    }
}

pub(super) mod signed {
    use super::*;

    pub fn serialize<S: serde::Serializer>(value: &SignedDuration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show(value.as_millis() as i64))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SignedDuration, D::Error> {
        read_millis(from).map(SignedDuration::from_millis)
    }
}

pub(in crate::sandbox) mod optional {
    use super::*;

    #[derive(serde::Serialize, Deserialize)]
    struct Span(#[serde(with = "super::unsigned")] Duration);

    pub fn serialize<S: serde::Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(&value.map(Span), to)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Span>::deserialize(from)?.map(|span| span.0))
    }
}
