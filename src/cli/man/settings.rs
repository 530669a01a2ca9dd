//! soproxy.toml(5), which says what `proxy.toml.example` says: each section, and each key with its default.

use clap_mangen::roff::{bold, italic, roman};

use crate::config::known_keys;

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

/// A piece of the example.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// `[listen]`, and what is said of it.
    Section(&'a str, String),
    /// A key, what stands behind it, and what is said of it.
    Key { key: &'a str, value: &'a str, text: String },
    /// What is said of the file.
    Text(String),
}

/// The page.
pub fn page(date: &str, source: &str) -> String {
    let mut roff = super::title("soproxy.toml", "5", date, source, "File Formats");
    roff.control("SH", ["NAME"]).text([roman("soproxy.toml - the configuration of soproxy")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([
        roman("The configuration of "),
        bold("soproxy"),
        roman("(1) is a TOML file, by default "),
        italic("proxy.toml"),
        roman(" in the current directory; that of the service is "),
        italic("/etc/soproxy/proxy.toml"),
        roman(". soproxy check validates it, and reports all mistakes at once."),
    ]);
    let (mut inside, mut section) = (false, "");
    let defaults = known_keys();
    for piece in pieces(EXAMPLE) {
        match piece {
            Piece::Text(text) => _ = roff.control("PP", []).text([roman(text)]),
            Piece::Section(name, text) => {
                if !std::mem::replace(&mut inside, true) {
                    roff.control("SH", ["SECTIONS"]);
                }
                section = plain(name);
                roff.control("SS", [name]);
                if !text.is_empty() {
                    roff.text([roman(text)]);
                }
            }
            Piece::Key { key, value, text } => {
                let whole = format!("{section}.{key}");
                let value = match defaults.iter().find(|(known, default)| *known == whole && !default.is_empty()) {
                    Some((_, default)) => format!(" (default: {default})"),
                    None => format!(" (such as {value})"),
                };
                roff.control("TP", []).text([bold(key), roman(value)]).text([roman(text)]);
            }
        }
    }
    roff.control("SH", ["SEE ALSO"]).text([roman("soproxy(1), soproxy-check(1)")]);
    super::tidied(&roff.to_roff())
}

/// Comments belong to the key or the section below them; an empty line ends them.
fn pieces(example: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut said) = (Vec::new(), String::new());
    for line in example.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some((key, value)) = bare.split_once(" = ").filter(|(key, _)| is_key(key)) {
            let text = std::mem::take(&mut said);
            match pieces.last_mut() {
                // A second line of a kind is another example of the same.
                Some(Piece::Key { .. }) if text.is_empty() => {}
                _ => pieces.push(Piece::Key { key, value, text }),
            }
        } else if bare.starts_with('[') && bare.ends_with(']') {
            pieces.push(Piece::Section(bare, std::mem::take(&mut said)));
        } else if line.is_empty() {
            if !said.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut said)));
            }
        } else if bare != line {
            if !said.is_empty() {
                said.push(' ');
            }
            said.push_str(bare);
        }
    }
    pieces
}

/// `[tenants.Cust12345]` → `tenants`
fn plain(section: &str) -> &str {
    section.trim_matches(['[', ']']).split('.').next().unwrap_or_default()
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_belong_to_what_is_below_them() {
        let found = pieces("# One.\n# Two.\n\n# Of it.\n[a]\n# Key.\n# b = 1\n# Other.\nc = \"x\"\n\n# [[d]]\n");
        let key = |key, value, text: &str| Piece::Key { key, value, text: text.to_owned() };
        assert_eq!(
            found,
            [
                Piece::Text("One. Two.".to_owned()),
                Piece::Section("[a]", "Of it.".to_owned()),
                key("b", "1", "Key."),
                key("c", "\"x\"", "Other."),
                Piece::Section("[[d]]", String::new()),
            ]
        );
    }

    #[test]
    fn every_setting_is_on_the_page_in_its_section() {
        let pieces = pieces(EXAMPLE);
        let mut found = Vec::new();
        let mut section = "";
        for piece in &pieces {
            match piece {
                Piece::Section(name, _) => section = plain(name),
                Piece::Key { key, .. } => found.push(format!("{section}.{key}")),
                Piece::Text(_) => {}
            }
        }
        assert!(page("2026-01-02", "soproxy").contains("(default: \"127.0.0.1:8081\")"));
        for (key, _) in known_keys() {
            let plain = key.replace(".NAME.", ".");
            assert!(found.contains(&plain), "{key} is not on the page: {found:?}");
        }
    }
}
