//! The JSON Schema of `proxy.toml` and of the files in `tenants.d`, for editors: made of what the reader asks for, the defaults, and
//! the sentences of `proxy.toml.example`. Draft 7, which is what editors of TOML know.
//!
//! It is stricter than the reader in what is a matter of taste: numbers and flags without quotes, words in lower case.

use std::collections::BTreeMap;

use figment::providers::{Format, Toml};
use figment::value::Dict;
use serde_json::{Map, Value, json};

use super::file::{self, NAME, NAMED, SECTIONS, Setting, Shape, is_list};

const EXAMPLE: &str = include_str!("../../proxy.toml.example");

/// What the name of a tenant or a client looks like.
const NAMES: [(&str, &str); NAMED.len()] = [("tenants", "^[A-Za-z0-9_-]{1,64}$"), ("clients", "^[A-Za-z0-9_.-]{1,64}$")];

/// As [`mod@file`] reads them, but for the order of units.
const DURATION: &str = "^ *(0|[0-9]+ *(d|h|m|s|ms)( *[0-9]+ *(h|m|s|ms))*) *$";
const SIZE: &str = "^ *[0-9]+ *([kKmMgG]?[bB]|[kKmMgG][iI][bB])? *$";

/// The schema as text, with a line break at its end.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// The schema.
pub fn schema() -> Value {
    let told = descriptions();
    let settings = file::settings();
    let sections = SECTIONS.iter().map(|&section| {
        let table = |pattern: &str| table(pattern, &settings, &told);
        let mut schema = if NAMED.contains(&section) {
            let pattern = format!("{section}.{NAME}");
            let name = NAMES.iter().find(|(named, _)| *named == section).map_or("", |(_, name)| name);
            json!({ "type": "object", "additionalProperties": false, "patternProperties": { name: table(&pattern) } })
        } else if is_list(section) {
            json!({ "type": "array", "items": table(section) })
        } else {
            table(section)
        };
        describe(&mut schema, told.get(section));
        (section.to_owned(), schema)
    });
    let sections: Map<String, Value> = sections.collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "soproxy",
        "description": "The configuration of soproxy, in proxy.toml and in the files of tenants.d beside it.",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    })
}

fn table(pattern: &str, settings: &[(Setting, String)], told: &BTreeMap<String, String>) -> Value {
    let own = || settings.iter().filter(|(setting, _)| setting.table == pattern);
    let property = |(setting, default): &(Setting, String)| {
        let mut schema = setting.shape.as_ref().map_or_else(|| json!({ "type": "string" }), of_shape);
        describe(&mut schema, told.get(&setting.key()));
        if let Some(default) = toml_to_json(default) {
            schema["default"] = default;
        }
        (setting.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = own().map(property).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    describe(&mut schema, told.get(pattern));
    // Everything else may come from a variable.
    let needed: Vec<&str> = own().filter(|(setting, _)| setting.needed && is_list(pattern)).map(|(setting, _)| setting.name).collect();
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    schema
}

fn describe(schema: &mut Value, text: Option<&String>) {
    if let Some(text) = text {
        schema["description"] = json!(text);
    }
}

fn toml_to_json(default: &str) -> Option<Value> {
    let read: Dict = Toml::from_str(&format!("default = {default}")).ok()?;
    serde_json::to_value(read.get("default")?).ok()
}

fn of_shape(shape: &Shape) -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    let reference =
        |place: &str| json!({ "type": "object", "additionalProperties": false, "required": [place], "properties": { place: text } });
    match shape {
        Shape::Text | Shape::Url | Shape::Path => text,
        Shape::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Whole(least, u64::MAX) => json!({ "type": "integer", "minimum": least }),
        Shape::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Number(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Shape::Duration => json!({ "type": "string", "pattern": DURATION }),
        Shape::Size => either([json!({ "type": "string", "pattern": SIZE }), json!({ "type": "integer", "minimum": 0 })]),
        Shape::Texts | Shape::KeyHashes => either([json!({ "type": "array", "items": { "type": "string" } }), json!({ "type": "string" })]),
        Shape::Numbers(most) => {
            let number = json!({ "type": "integer", "minimum": 0, "maximum": most });
            either([json!({ "type": "array", "items": number }), number])
        }
        // A flag is taken by its own words, too.
        Shape::Words(words) => {
            json!({ "enum": words.iter().map(|word| word.parse().map_or_else(|_| json!(word), Value::Bool)).collect::<Vec<_>>() })
        }
        Shape::File => reference("file"),
        Shape::Secret => {
            let command = json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["command"],
                "properties": {
                    "command": { "type": "array", "minItems": 1, "items": { "type": "string" } },
                    "timeout": { "type": "string", "pattern": DURATION },
                },
            });
            either([text.clone(), reference("file"), reference("env"), reference("credential"), command])
        }
        Shape::Secrets(most) => {
            let one = of_shape(&Shape::Secret);
            either([one.clone(), json!({ "type": "array", "minItems": 1, "maxItems": most, "items": one })])
        }
        Shape::SecretTable => {
            json!({ "type": "object", "additionalProperties": false, "patternProperties": { "^[A-Za-z0-9_-]+$": of_shape(&Shape::Secret) } })
        }
        Shape::Either(one, other) => either([of_shape(one), of_shape(other)]),
    }
}

/// One of these: choices within choices become one list.
fn either(choices: impl IntoIterator<Item = Value>) -> Value {
    let flat = choices.into_iter().flat_map(|mut choice| match choice.get_mut("anyOf").map(Value::take) {
        Some(Value::Array(inner)) => inner,
        _ => vec![choice],
    });
    json!({ "anyOf": flat.collect::<Vec<_>>() })
}

/// What `proxy.toml.example` says of each key and each table, before its line.
fn descriptions() -> BTreeMap<String, String> {
    let (mut told, mut table, mut prose) = (BTreeMap::new(), String::new(), Vec::new());
    for line in EXAMPLE.lines() {
        let text = line.strip_prefix("# ").unwrap_or(line);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let key = if let Some(header) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            table = pattern(header.trim_matches(['[', ']']));
            table.clone()
        } else if let Some((name, _)) = text.split_once(" = ").filter(|(name, _)| name.chars().all(plain)) {
            format!("{table}.{name}")
        } else {
            match line.strip_prefix("# ") {
                Some(sentence) => prose.push(sentence),
                None => prose.clear(),
            }
            continue;
        };
        let text = std::mem::take(&mut prose).join(" ");
        // The four values that have to be filled in are numbered.
        let text = match text.strip_prefix('(').and_then(|text| text.split_once(") ")) {
            Some((number, rest)) if number.parse::<u8>().is_ok() => rest.to_owned(),
            _ => text,
        };
        if !text.is_empty() {
            told.insert(key, text);
        }
    }
    told
}

/// `tenants.Cust12345` → `tenants.NAME`
fn pattern(table: &str) -> String {
    match table.split_once('.') {
        Some((section, _)) => format!("{section}.{NAME}"),
        None => table.to_owned(),
    }
}

#[cfg(test)]
mod tests;
