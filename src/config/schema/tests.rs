//! The schema takes what the reader takes, and refuses what it refuses: by a validator of just the words that the schema uses.

use regex::Regex;

use super::*;
use crate::config::known_keys;
use crate::sandbox::demo;

/// Why a value does not fit, and where.
fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{at}: {why}: {value}"));
    let rules = schema.as_object().unwrap();
    for (rule, expected) in rules {
        let fits = match rule.as_str() {
            "type" => match expected.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64() || value.is_i64(),
                "number" => value.is_number(),
                other => panic!("{other}"),
            },
            "enum" => expected.as_array().unwrap().contains(value),
            "anyOf" => expected.as_array().unwrap().iter().any(|one| check(one, value, at).is_ok()),
            "pattern" => value.as_str().is_none_or(|text| Regex::new(expected.as_str().unwrap()).unwrap().is_match(text)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= expected.as_u64().unwrap()),
            "minimum" => value.as_f64().is_none_or(|number| number >= expected.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= expected.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= expected.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= expected.as_u64().unwrap()),
            "required" => {
                value.as_object().is_none_or(|map| expected.as_array().unwrap().iter().all(|name| map.contains_key(name.as_str().unwrap())))
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    check(expected, item, &format!("{at}[]"))?;
                }
                true
            }
            "additionalProperties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    let own = rules.get("properties").and_then(|own| own.get(name));
                    let named =
                        || rules.get("patternProperties")?.as_object()?.iter().find(|(form, _)| Regex::new(form).unwrap().is_match(name));
                    match own.or_else(|| named().map(|(_, schema)| schema)) {
                        Some(schema) => check(schema, inner, &format!("{at}.{name}"))?,
                        None => return wrong(&format!("{name} is not known")),
                    }
                }
                *expected == Value::Bool(false)
            }
            "properties" | "patternProperties" | "description" | "default" | "title" | "$schema" => true,
            other => panic!("{other} is not looked at"),
        };
        if !fits {
            return wrong(&format!("{rule} {expected}"));
        }
    }
    Ok(())
}

fn judge(text: &str) -> Result<(), String> {
    let read: Dict = Toml::from_str(text).unwrap();
    check(&schema(), &serde_json::to_value(read).unwrap(), "")
}

/// The example with every setting that is a comment in force.
fn whole_example() -> String {
    let plain = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let setting = |line: &&str| line.starts_with('[') && line.ends_with(']') || line.split_once(" = ").is_some_and(|(key, _)| plain(key));
    EXAMPLE.lines().map(|line| line.strip_prefix("# ").filter(setting).unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn it_has_every_key_with_its_default_its_sentence_and_what_it_takes() {
    let schema = schema();
    let mut count = 0;
    for (setting, default) in file::settings() {
        let key = setting.key();
        let shape = setting.shape.as_ref();
        assert!(
            shape.is_some(),
            "{key}: nobody knows what it takes. Its kind, in src/config/file, is asked with a value of no type at all: let it answer with \
             Wrong::…(…).taking(Shape::…), and where it passes on another kind's mistake with another hint, by `hinting`"
        );
        let section = &schema["properties"][setting.table.split('.').next().unwrap()];
        let table = match section.get("patternProperties") {
            Some(named) => named.as_object().unwrap().values().next().unwrap(),
            None => section.get("items").unwrap_or(section),
        };
        let property = &table["properties"][setting.name];
        assert!(property["description"].is_string(), "{key} has no sentence before it in proxy.toml.example");
        let shown = property.get("default").map(ToString::to_string).unwrap_or_default();
        assert_eq!(shown.replace("\",\"", "\", \""), default, "{key}");
        assert!(default.is_empty() || check(property, &property["default"], &key).is_ok(), "{key}: its own default does not fit");
        count += 1;
    }
    assert_eq!(count, known_keys().len());
    let properties = |value: &Value| value["properties"].as_object().map_or(0, Map::len);
    let tables = schema["properties"].as_object().unwrap().values();
    let all: usize = tables
        .map(|section| match section.get("patternProperties") {
            Some(named) => named.as_object().unwrap().values().map(properties).sum(),
            None => properties(section.get("items").unwrap_or(section)),
        })
        .sum();
    assert_eq!(all, count, "nothing else is in it");
}

#[test]
fn the_example_and_the_demo_fit() {
    assert_eq!(judge(EXAMPLE), Ok(()));
    assert_eq!(judge(&whole_example()), Ok(()));
    assert_eq!(judge(&demo::proxy_toml("http://127.0.0.1:1", "127.0.0.1:0", "off")), Ok(()));
    let dir = tempfile::tempdir().unwrap();
    let files = demo::write_config(dir.path(), "http://127.0.0.1:1").unwrap();
    assert_eq!(judge(&std::fs::read_to_string(&files[0]).unwrap()), Ok(()));
}

#[test]
fn so_does_whatever_may_be_written() {
    for text in [
        "[listen]\naddress = \"127.0.0.1:1\"\ngrace = \"1h 30m\"\nworkers = 3\nmax_body = \"10MB\"\nmax_header_size = 65536",
        "[application]\nclient_secret = [{ env = \"A\" }, { command = [\"a\", \"b\"], timeout = \"5s\" }, \"x\"]",
        "[tenants.a]\nverification_keys = { file = \"x.crt\" }\nserial = 1234\nrate = 0.5\nmax_concurrent = \"off\"",
        "[clients.\"a.b\"]\nuids = 5\ngids = [1, 2]\nkeys = \"sha256:x\"\nrate = \"off\"",
        "[renewal]\nprefetch = true\nmax_age = \"never\"",
        "[renewal]\nprefetch = \"auto\"",
        "[[listeners]]\naddress = [\"unix:/x\"]\n[[cache]]\npaths = \"/x\"\nttl = \"0s\"",
        "[anonymous]",
    ] {
        assert_eq!(judge(text), Ok(()));
    }
}

#[test]
fn mistakes_do_not_fit() {
    for text in [
        "[listem]",
        "x = 1",
        "listen = 1",
        "[listen]\nadress = \"127.0.0.1:1\"",
        "[listen]\ngrace = 30",
        "[listen]\ngrace = \"30\"",
        "[listen]\ngrace = \"half an hour\"",
        "[listen]\nmax_requests = 0",
        "[listen]\nmax_requests = \"many\"",
        "[listen]\nmax_body = \"on\"",
        "[listen]\nsocket_mode = \"rw\"",
        "[listen]\nrequire_client_certificate = \"yes\"",
        "[superoffice]\nenvironment = \"prod\"",
        "[superoffice]\nverification_keys = { fiel = \"x\" }",
        "[application]\nclient_secret = 5",
        "[application]\nclient_secret = {}",
        "[application]\nclient_secret = []",
        "[application]\nclient_secret = { file = \"a\", env = \"B\" }",
        "[application]\nclient_secret = { command = \"a b\" }",
        "[application]\nclient_secret = [\"1\", \"2\", \"3\", \"4\", \"5\"]",
        "[tenants.\"a b\"]",
        "[tenants.a]\nrate = 0",
        "[clients.a]\nuids = -1",
        "[listeners]\naddress = \"127.0.0.1:1\"",
        "[[listeners]]\ntenant = \"a\"",
        "[[cache]]\npaths = \"/x\"",
        "[renewal]\nprefetch = \"never\"",
    ] {
        assert!(judge(text).is_err(), "{text:?} fits");
    }
}

/// Editors are told what the reader takes: what fits the pattern of a duration or a size is one, and the other way round.
#[test]
fn patterns_are_those_of_the_reader() {
    let (duration, size) = (Regex::new(DURATION).unwrap(), Regex::new(SIZE).unwrap());
    for text in ["1h", "90s", "500ms", "5m30s", "2d", " 1 h 30 m ", "1d2h3m4s5ms", "0"] {
        assert!(duration.is_match(text), "{text}");
    }
    for text in ["", "5", "h", "1.5h", "-1s", "1h30", "1 hour", "1H", "never"] {
        assert!(!duration.is_match(text), "{text}");
    }
    for text in ["64KiB", "10MB", "0", "17 B", "1gib", "2 kB"] {
        assert!(size.is_match(text), "{text}");
    }
    for text in ["", "KiB", "1.5MB", "-1", "10K", "10 MiBs", "off"] {
        assert!(!size.is_match(text), "{text}");
    }
}

#[test]
fn the_file_that_is_published_is_this_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/proxy.schema.json");
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == text(), "make it anew: cargo run -- config schema > deploy/proxy.schema.json");
}
