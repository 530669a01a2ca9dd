//! OTLP's words, as JSON: what is sent, and what a collector answers. Numbers of 64 bits are strings, ids are hexadecimal, and names
//! are in lowerCamelCase, as its JSON encoding has them.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::trace::{Span, Value};

/// Bit 8 of a span's flags says that bit 9 means something: whether the parent is in another process.
const KNOWS_WHETHER_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Whose spans they are.
#[derive(Clone, Debug)]
pub struct Resource(Json);

impl Resource {
    /// This process, under a name.
    pub fn of_this_process(service: String) -> Resource {
        let instance: u128 = rand::random();
        Resource(json!({ "attributes": [
            text("service.name", service),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", format!("{instance:032x}")),
            { "key": "process.pid", "value": { "intValue": std::process::id().to_string() } },
            text("telemetry.sdk.name", "soproxy"),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ]}))
    }
}

fn text(key: &str, value: impl Into<String>) -> Json {
    json!({ "key": key, "value": { "stringValue": value.into() } })
}

/// The body of an `ExportTraceServiceRequest`.
pub fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let scope = json!({ "name": "soproxy", "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceSpans": [{ "resource": resource.0, "scopeSpans": [{ "scope": scope, "spans": spans }] }] }).to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    let server = span.kind == crate::trace::Kind::Server && span.parent.is_some();
    let flags = u32::from(span.context.flags()) | KNOWS_WHETHER_REMOTE | if server { IS_REMOTE } else { 0 };
    let mut json = json!({
        "traceId": span.context.trace.to_string(),
        "spanId": span.context.span.to_string(),
        "flags": flags,
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": nanoseconds(span.started),
        "endTimeUnixNano": nanoseconds(span.ended),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<Json>>(),
        // 0 is "unset": whether it went well is for others to judge.
        "status": if span.failed { json!({ "code": 2 }) } else { json!({}) },
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = parent.to_string().into();
    }
    if let Some(state) = &span.state {
        json["traceState"] = state.as_str().into();
    }
    json
}

fn attribute((name, value): &(&'static str, Value)) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Flag(flag) => json!({ "boolValue": flag }),
    };
    json!({ "key": name, "value": value })
}

fn nanoseconds(time: Timestamp) -> String {
    time.as_nanosecond().max(0).to_string()
}

/// What a collector that took a part says of the rest.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// How many it did not take.
    pub spans: u64,
    /// Why, shortened.
    pub words: String,
}

/// Reads an `ExportTraceServiceResponse`; `None` when all was taken.
pub fn rejected(body: &[u8]) -> Option<Rejected> {
    let answer: Json = serde_json::from_slice(body).ok()?;
    let partly = answer.get("partialSuccess")?;
    let spans = partly.get("rejectedSpans");
    let spans = spans.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok())).unwrap_or(0);
    let words: String = partly.get("errorMessage").and_then(Json::as_str).unwrap_or_default().chars().take(200).collect();
    (spans > 0 || !words.is_empty()).then_some(Rejected { spans, words })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Context, Kind, SpanId};

    #[test]
    fn a_span_is_written_as_the_encoding_has_it() {
        let context = Context::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let parent = SpanId::random();
        let mut one = Span {
            context,
            parent: Some(parent),
            state: Some("a=1".to_owned()),
            kind: Kind::Client,
            name: "GET".into(),
            started: Timestamp::from_nanosecond(1_700_000_000_000_000_001).unwrap(),
            ended: Timestamp::from_nanosecond(1_700_000_000_000_000_002).unwrap(),
            attributes: Vec::new(),
            failed: true,
        };
        one.note("url.path", "/a\"".to_owned());
        one.note("http.response.status_code", 503_u16);
        one.note("soproxy.broken_off", true);
        let sent: Json = serde_json::from_slice(&request(&Resource::of_this_process("x".to_owned()), &[one])).unwrap();
        let resource = &sent["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0], json!({"key": "service.name", "value": {"stringValue": "x"}}));
        assert_eq!(
            resource["scopeSpans"][0]["spans"][0],
            json!({
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "b7ad6b7169203331",
                "parentSpanId": parent.to_string(),
                "traceState": "a=1",
                "flags": 0x101,
                "name": "GET",
                "kind": 3,
                "startTimeUnixNano": "1700000000000000001",
                "endTimeUnixNano": "1700000000000000002",
                "attributes": [
                    {"key": "url.path", "value": {"stringValue": "/a\""}},
                    {"key": "http.response.status_code", "value": {"intValue": "503"}},
                    {"key": "soproxy.broken_off", "value": {"boolValue": true}},
                ],
                "status": {"code": 2},
            })
        );
    }

    #[test]
    fn a_part_that_was_not_taken_is_told() {
        let told = |text: &str| rejected(text.as_bytes()).map(|rejected| (rejected.spans, rejected.words));
        assert_eq!(told(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#), Some((3, "no".to_owned())));
        assert_eq!(told(r#"{"partialSuccess":{"rejectedSpans":2}}"#), Some((2, String::new())));
        for all in ["", "{}", r#"{"partialSuccess":{}}"#, r#"{"partialSuccess":null}"#, "\0\u{1}", "[]"] {
            assert_eq!(told(all), None, "{all}");
        }
    }
}
