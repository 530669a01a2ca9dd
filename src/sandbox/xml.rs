//! The same answers and bodies as XML, for `Accept: application/xml` and `Content-Type: application/xml`.
//!
//! Assumption: the API has XML carriers (protocol §7.2, §7.3), but their shape was not found. Here a document is what .NET's own
//! mapping between JSON and XML makes of the JSON, with the entity's name for `root`: a member is an element of its name with a
//! `type`, an item of an array is `item`, and a name that is no name of an element stands in the attribute `item` of `a:item`.

use serde_json::{Map, Number, Value};
use xml::reader::{EventReader, ParserConfig, XmlEvent};

const MAX_DEPTH: usize = 32;

/// A whole document.
pub(super) fn write(root: &str, value: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>");
    element(&mut out, root, value);
    out
}

fn element(out: &mut String, name: &str, value: &Value) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let tag = if is_name(name) { name } else { "a:item" };
    out.push_str(&format!("<{tag}"));
    if tag != name {
        out.push_str(&format!(" xmlns:a=\"item\" item=\"{}\"", escape(name)));
    }
    out.push_str(&format!(" type=\"{kind}\">"));
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(text) => out.push_str(&escape(text)),
        Value::Array(items) => items.iter().for_each(|item| element(out, "item", item)),
        Value::Object(members) => members.iter().for_each(|(name, value)| element(out, name, value)),
    }
    out.push_str(&format!("</{tag}>"));
}

/// Letters, digits, `_`, `-` and `.`: all that names of members need.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(c),
            // Not in XML 1.0, however it is written.
            c if c.is_control() && c < ' ' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// An element that is being read.
struct Open {
    name: String,
    kind: String,
    text: String,
    members: Map<String, Value>,
    items: Vec<Value>,
}

/// Reads what [`write()`] writes. An element without a `type` is an object if it has elements in it, else a string.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let config = ParserConfig::new().cdata_to_characters(true).ignore_comments(true).max_entity_expansion_length(0);
    let mut open: Vec<Open> = Vec::new();
    let mut whole = Value::Null;
    for event in EventReader::new_with_config(body, config) {
        match event.map_err(|error| error.to_string())? {
            XmlEvent::Doctype { .. } => return Err("DTD is prohibited in this XML document.".to_owned()),
            XmlEvent::StartElement { name, attributes, .. } => {
                let attribute = |wanted: &str| {
                    attributes
                        .iter()
                        .find(|have| have.name.local_name == wanted && have.name.namespace.is_none())
                        .map(|have| have.value.clone())
                };
                let name = attribute("item").unwrap_or(name.local_name);
                let kind = attribute("type").unwrap_or_default();
                open.push(Open { name, kind, text: String::new(), members: Map::new(), items: Vec::new() });
                if open.len() > MAX_DEPTH {
                    return Err("the document is too deep".to_owned());
                }
            }
            XmlEvent::Characters(more) | XmlEvent::Whitespace(more) => {
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&more);
                }
            }
            XmlEvent::EndElement { .. } => {
                let Some(done) = open.pop() else { break };
                let (name, value) = (done.name.clone(), done.value()?);
                match open.last_mut() {
                    Some(parent) if parent.kind == "array" => parent.items.push(value),
                    Some(parent) => _ = parent.members.insert(name, value),
                    None => whole = value,
                }
            }
            _ => {}
        }
    }
    Ok(whole)
}

impl Open {
    fn value(self) -> Result<Value, String> {
        let wrong = |text: &str, kind: &str| format!("Error converting value \"{text}\" to a {kind}");
        match self.kind.as_str() {
            "null" => Ok(Value::Null),
            "array" => Ok(Value::Array(self.items)),
            "object" => Ok(Value::Object(self.members)),
            "boolean" => self.text.trim().parse().map(Value::Bool).map_err(|_| wrong(&self.text, "boolean")),
            "number" => self.text.trim().parse::<Number>().map(Value::Number).map_err(|_| wrong(&self.text, "number")),
            "" if !self.members.is_empty() => Ok(Value::Object(self.members)),
            "" | "string" => Ok(Value::String(self.text)),
            other => Err(format!("an element cannot be of the type \"{other}\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let value = json!({
            "ContactId": 7, "Name": "R&D <\"x\">\r\n\tÅ", "Xstop": false, "UpdatedBy": null, "Big": 1.5, "Empty": "",
            "Emails": [{ "Value": "a@example.org" }, "plain", []], "Extra": { "sandbox:length": "3", "email/address": "x" },
            "_Links": { "Self": "http://localhost:8090/Cust12345/api/v1/Contact/7?a=1&b=2" }, "odata.metadata": "m",
        });
        let text = write("Contact", &value);
        assert!(text.contains("<Self type=\"string\">http://localhost:8090/Cust12345/api/v1/Contact/7?a=1&amp;b=2</Self>"), "{text}");
        assert!(text.contains("<a:item xmlns:a=\"item\" item=\"email/address\" type=\"string\">x</a:item>"), "{text}");
        assert_eq!(read(text.as_bytes()), Ok(value));
    }

    #[test]
    fn types_may_be_left_out() {
        let text = "<Contact><Name>A</Name><Category><Id type=\"number\">2</Id></Category></Contact>";
        assert_eq!(read(text.as_bytes()), Ok(json!({ "Name": "A", "Category": { "Id": 2 } })));
    }

    #[test]
    fn what_cannot_be_read() {
        for text in [
            "",
            "{}",
            "<a><b></a>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a type=\"number\">x</a>",
            "<a type=\"boolean\">1</a>",
            "<a type=\"date\">x</a>",
            &"<a>".repeat(40),
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
