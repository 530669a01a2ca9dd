//! Values without what is secret in them.

use figment::value::{Dict, Value};

use crate::config::file::Shape;
use crate::config::secret::program;

const HIDDEN: &str = "…";

/// What stands for a secret.
pub fn hidden() -> Value {
    Value::from(HIDDEN)
}

/// A value as it may be shown. What a reference refers to is no secret; a command's arguments may be.
pub fn masked(value: &Value, shape: Option<&Shape>) -> Value {
    match shape {
        Some(Shape::SecretTable) => match value.as_dict() {
            Some(table) => Value::from(table.iter().map(|(name, value)| (name.clone(), secret(value))).collect::<Dict>()),
            None => hidden(),
        },
        Some(shape) if shape.hides() => secret(value),
        Some(Shape::KeyHashes) => each_text(value, &|text| if is_key_hash(text) { text.to_owned() } else { HIDDEN.to_owned() }),
        Some(Shape::Url) => each_text(value, &url),
        _ => each_text(value, &logins),
    }
}

fn is_key_hash(text: &str) -> bool {
    text.trim().strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn secret(value: &Value) -> Value {
    match value {
        Value::Array(_, several) => Value::from(several.iter().map(secret).collect::<Vec<_>>()),
        Value::Dict(_, reference) => {
            let shown = |(name, place): (&String, &Value)| {
                let place = match (name.as_str(), place) {
                    ("file" | "env" | "credential" | "timeout", Value::String(_, text)) => Value::from(logins(text)),
                    ("command", Value::Array(_, words)) => command(words),
                    _ => hidden(),
                };
                (name.clone(), place)
            };
            Value::from(reference.iter().map(shown).collect::<Dict>())
        }
        _ => hidden(),
    }
}

fn command(words: &[Value]) -> Value {
    let first: Vec<String> = words.first().and_then(Value::as_str).map(str::to_owned).into_iter().collect();
    let arguments = (words.len() > 1).then(|| HIDDEN.to_owned());
    Value::from(std::iter::once(program(&first)).chain(arguments).collect::<Vec<_>>())
}

fn each_text(value: &Value, shown: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(_, text) => Value::from(shown(text)),
        Value::Array(_, values) => Value::from(values.iter().map(|value| each_text(value, shown)).collect::<Vec<_>>()),
        Value::Dict(_, table) => Value::from(table.iter().map(|(name, value)| (name.clone(), each_text(value, shown))).collect::<Dict>()),
        other => other.clone(),
    }
}

/// A text that is to be a URL, and may not be one: without all that stands before its last `@`, and without a query.
fn url(text: &str) -> String {
    let (login, rest) = text.rsplit_once('@').map_or((None, text), |(login, rest)| (Some(login), rest));
    let rest = rest.split_once(['?', '#']).map_or_else(|| rest.to_owned(), |(path, _)| format!("{path}?{HIDDEN}"));
    let Some(login) = login else { return rest };
    let scheme = login.split_once("://").map(|(scheme, _)| format!("{scheme}://"));
    format!("{}{HIDDEN}@{rest}", scheme.unwrap_or_default())
}

/// Any text, without the logins of URLs in it.
fn logins(text: &str) -> String {
    let Some((before, after)) = text.split_once("://") else { return text.to_owned() };
    let end = after.find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace()).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    let authority = authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, host)| format!("{HIDDEN}@{host}"));
    format!("{before}://{authority}{}", logins(rest))
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};

    use super::*;
    use crate::config::file::toml_value;

    fn shown(text: &str, shape: Shape) -> String {
        let read: Dict = Toml::from_str(&format!("v = {text}")).unwrap();
        toml_value(&masked(&read["v"], Some(&shape)))
    }

    #[test]
    fn secrets_are_hidden_and_their_places_are_shown() {
        for (text, expected) in [
            ("\"s3cret\"", "\"…\""),
            ("5", "\"…\""),
            ("{ file = \"a/b\" }", "{ file = \"a/b\" }"),
            ("{ env = \"X\" }", "{ env = \"X\" }"),
            ("[{ credential = \"new\" }, \"s3cret\"]", "[{ credential = \"new\" }, \"…\"]"),
            ("{ command = [\"vault\", \"-p\", \"s3cret\"], timeout = \"5s\" }", "{ command = [\"vault\", \"…\"], timeout = \"5s\" }"),
            ("{ command = [\"vault s3cret\"] }", "{ command = [\"vault…\"] }"),
            ("{ command = \"vault s3cret\" }", "{ command = \"…\" }"),
            ("{ fiel = \"s3cret\", file = [\"s3cret\"] }", "{ fiel = \"…\", file = \"…\" }"),
        ] {
            assert_eq!(shown(text, Shape::Secrets(4)), expected);
            assert!(!shown(text, Shape::Flag.or(Shape::Secret)).contains("s3cret"), "{text}");
        }
        let hash = format!("\"sha256:{}\"", "0f".repeat(32));
        assert_eq!(shown(&format!("[{hash}, \"soproxy_s3cret\"]"), Shape::KeyHashes), format!("[{hash}, \"…\"]"));
        // A header may be called as a place is.
        let headers = "{ Authorization = { file = \"a/b\" }, file = \"s3cret\", env = { env = \"X\" } }";
        assert_eq!(shown(headers, Shape::SecretTable), "{ Authorization = { file = \"a/b\" }, env = { env = \"X\" }, file = \"…\" }");
        assert_eq!(shown("\"s3cret\"", Shape::SecretTable), "\"…\"");
    }

    #[test]
    fn urls_lose_their_logins() {
        for (text, expected) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://user:s3cret@proxy:3128", "http://…@proxy:3128"),
            ("user:s3cret@proxy:3128", "…@proxy:3128"),
            ("http://u:p@ss/w@proxy/x?key=s3cret", "http://…@proxy/x?…"),
            ("http://u:p?s3cret#@proxy", "http://…@proxy"),
            ("env", "env"),
        ] {
            assert_eq!(url(text), expected);
        }
        assert_eq!(shown("[\"see http://u:p@h/a@b and https://v:q@i\"]", Shape::Texts), "[\"see http://…@h/a@b and https://…@i\"]");
        assert_eq!(logins("email:a@b"), "email:a@b");
    }
}
