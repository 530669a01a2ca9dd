//! Access records as they stand in logs: JSON or text, perhaps with what a container engine or a journal puts around them.

use serde_json::{Map, Value};

/// What one record tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) tenant: Option<String>,
    pub(super) client: Option<String>,
    /// The code of soproxy's own answer.
    pub(super) error: Option<String>,
    pub(super) refused_by: Option<String>,
}

/// What stands before a text record's method.
const MARK: &str = "INFO access: ";

impl Record {
    pub(super) fn parse(line: &str) -> Option<Record> {
        if let Some((_, record)) = line.split_once(MARK).filter(|_| !line.trim_start().starts_with('{')) {
            return Record::text(record.trim_end());
        }
        let whole: Map<String, Value> = serde_json::from_str(&line[line.find('{')?..]).ok()?;
        match whole.get("log").and_then(Value::as_str) {
            // As docker keeps lines. What is in there is no such thing again.
            Some(log) if !whole.contains_key("message") && log.len() < line.len() => Record::parse(log),
            _ => Record::json(&whole),
        }
    }

    fn json(fields: &Map<String, Value>) -> Option<Record> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        if fields.get("target")? != "access" {
            return None;
        }
        let message = fields.get("message")?.as_str()?;
        let (method, path) = message.split_once(' ')?;
        Record::new(method.to_owned(), path.to_owned(), text)
    }

    fn text(record: &str) -> Option<Record> {
        let (method, rest) = record.split_once(' ')?;
        let (path, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut fields = Vec::new();
        while let Some((name, value)) = rest.trim_start().split_once('=') {
            let (value, behind) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_at(end_of_quoted(quoted)?),
                None => value.split_at(value.find(' ').unwrap_or(value.len())),
            };
            fields.push((name, unescaped(value)?));
            let behind = behind.strip_prefix('"').unwrap_or(behind);
            rest = behind;
        }
        let field = |name: &str| fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
        Record::new(unescaped(method)?, unescaped(path)?, field)
    }

    fn new(method: String, path: String, field: impl Fn(&str) -> Option<String>) -> Option<Record> {
        // What a query asks for is no matter of rules.
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let method = Some(method).filter(|method| method.parse::<http::Method>().is_ok())?;
        let named = |name| field(name).filter(|value| !value.is_empty());
        Some(Record {
            method,
            path,
            tenant: named("tenant"),
            client: named("client"),
            error: named("error"),
            refused_by: named("refused_by"),
        })
    }

    /// The path as rules see it. It begins with the tenant where that was named by the path.
    pub(super) fn behind_tenant(&self) -> Option<&str> {
        let behind = |path| split(path).map(|(_, rest)| rest);
        let (first, rest) = split(&self.path)?;
        let path = if first.eq_ignore_ascii_case(self.tenant.as_deref()?) { rest } else { &self.path };
        match split(path)? {
            // A link to another address of the tenant's, on its way home: `/~{authority}/{ctx}`.
            (marker, rest) if marker.starts_with('~') => behind(rest),
            _ => Some(path),
        }
    }
}

fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

/// Where the quote is that is not escaped.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

/// Text records escape as JSON does.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    serde_json::from_str(&format!("\"{text}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str, tenant: Option<&str>, client: Option<&str>) -> Record {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Record { method: "GET".into(), path: path.into(), tenant: text(tenant), client: text(client), ..Record::default() }
    }

    #[test]
    fn text_and_json_are_read_whatever_stands_around_them() {
        let text = r#"2026-11-23T18:41:22.123456Z  INFO access: GET /Cust1/api/v1/\"x id="id-1" tenant="Cust1" client="my \"app\"" status=200 bytes=0"#;
        let json = r#"{"timestamp":"2026-11-23T18:41:22.123456Z","level":"INFO","message":"GET /Cust1/api/v1/\"x","id":"1","tenant":"Cust1","client":"my \"app\"","bytes":7,"target":"access"}"#;
        let expected = Some(record("/Cust1/api/v1/\"x", Some("Cust1"), Some("my \"app\"")));
        assert_eq!(Record::parse(text), expected);
        assert_eq!(Record::parse(json), expected);
        assert_eq!(Record::parse(&format!("Nov 23 18:41:22 host soproxy[7]: {text}\r\n")), expected);
        assert_eq!(Record::parse(&format!("2026-11-23T18:41:22Z stderr F {json}")), expected);
        for inner in [text, json] {
            let docker = serde_json::json!({"log": format!("{inner}\n"), "stream": "stderr", "time": "x"}).to_string();
            assert_eq!(Record::parse(&docker), expected);
        }
        assert_eq!(Record::parse("x INFO access: GET /a"), Some(record("/a", None, None)));
        assert_eq!(Record::parse("x INFO access: GET /a?$filter=x&y=/?z bytes=0"), Some(record("/a", None, None)));
        let refused = Record::parse(r#"x INFO access: GET /a error="not_allowed" refused_by="deny \"GET /a\"" x=1"#).unwrap();
        assert_eq!((refused.error.as_deref(), refused.refused_by.as_deref()), (Some("not_allowed"), Some("deny \"GET /a\"")));
    }

    #[test]
    fn what_is_no_record_is_none() {
        for line in [
            "",
            "hello",
            "{",
            "{}",
            r#"{"message":"soproxy serves","target":"soproxy"}"#,
            r#"{"message":"x","target":"access"}"#,
            r#"{"log":"{\"log\":\"x\"}"}"#,
            "2026-11-23T18:41:22Z  INFO soproxy::cli: soproxy 0.1.0 serves",
            "x INFO access: ",
            r#"x INFO access: GET /a id="broken"#,
            r"x INFO access: GET /a\x",
        ] {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_path_is_the_one_behind_the_tenant() {
        let behind = |path, tenant| record(path, tenant, None).behind_tenant().map(str::to_owned);
        assert_eq!(behind("/cust1/api/v1", Some("Cust1")).as_deref(), Some("/api/v1"));
        assert_eq!(behind("/api/v1", Some("Cust1")).as_deref(), Some("/api/v1"));
        assert_eq!(behind("/Cust1/~sod2.superoffice.com/Cust9/api/v1", Some("Cust1")).as_deref(), Some("/api/v1"));
        assert_eq!(behind("/api/v1", None), None);
        assert_eq!(behind("*", Some("Cust1")), None);
        assert_eq!(behind("/Cust1", Some("Cust1")), None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,60}", fields in "[a-z=\"\\\\ {}:,]{0,40}") {
            for line in [&line, &format!("x INFO access: GET /{fields}"), &format!("{{\"target\":\"access\",{fields}}}")] {
                Record::parse(line);
            }
        }
    }
}
