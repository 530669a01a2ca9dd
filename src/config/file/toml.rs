//! Values as TOML, on one line each.

use figment::value::Value;

/// A value as it would stand behind a key.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(_, text) => string(text),
        Value::Char(_, letter) => string(&letter.to_string()),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128(), number.to_f64()) {
            (Some(whole), ..) => whole.to_string(),
            (None, Some(whole), _) => whole.to_string(),
            // With a point, even when nothing is behind it.
            (None, None, number) => format!("{:?}", number.unwrap_or_default()),
        },
        Value::Empty(..) => "{}".to_owned(),
        Value::Dict(_, table) if table.is_empty() => "{}".to_owned(),
        Value::Dict(_, table) => {
            let pairs: Vec<String> = table.iter().map(|(name, inner)| format!("{} = {}", key(name), self::value(inner))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(_, values) => format!("[{}]", values.iter().map(self::value).collect::<Vec<_>>().join(", ")),
    }
}

/// A key, in quotes if it needs them.
pub fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { string(name) }
}

fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            // Also what a terminal would obey, or show in another order.
            control
                if control.is_control()
                    || matches!(control, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};
    use figment::value::Dict;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = "a = 1\nb = 0.5\nc = 1.0\nd = true\ne = [\"x\", \"y\\n\\\"\"]\nf = { file = \"z\", \"odd key\" = [] }\ng = {}\nh = -7\n";
        let read: Dict = Toml::from_str(text).unwrap();
        let written: String = read.iter().map(|(name, inner)| format!("{} = {}\n", key(name), value(inner))).collect();
        assert_eq!(Toml::from_str::<Dict>(&written).unwrap(), read, "{written}");
        assert!(written.contains("c = 1.0\n") && written.contains("f = { file = \"z\", \"odd key\" = [] }"), "{written}");
    }

    proptest! {
        #[test]
        fn so_is_every_text(text in "(?s).*", name in "(?s).*") {
            let line = format!("{} = {}", key(&name), string(&text));
            prop_assert!(!line.contains(char::is_control));
            let read: Dict = Toml::from_str(&line).unwrap();
            prop_assert_eq!(read.get(&name).and_then(Value::as_str), Some(text.as_str()));
        }
    }
}
