//! What was learned, as sections of `proxy.toml`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Caller, Learned};
use crate::proxy::policy::normal::Normal;
use crate::proxy::policy::{Rule, method};

/// Listed of what no rule would let pass.
const MOST: usize = 100;

impl Learned {
    /// The configuration that allows what was seen: of one caller (the one without a name is called `anonymous`), or of all.
    pub fn proposal(&self, only: Option<&str>) -> String {
        let mut text = format!("# Rules learned from {}", counted(self.records, "access record"));
        // No failure is possible: it is a string.
        let _ = match (self.own, self.others) {
            (0, 0) => writeln!(text, "."),
            (own, others) => {
                writeln!(text, "; {own} that soproxy answered itself, and {}, taught nothing.", counted(others, "other line"))
            }
        };
        text.push_str(
            "# They go into the sections that these callers have in proxy.toml. Try them with listen.policy = \"report\" first.\n",
        );
        for (name, caller) in &self.callers {
            if only.is_none_or(|only| only == name.as_deref().unwrap_or("anonymous")) {
                text.push('\n');
                caller.section(name.as_deref(), &mut text);
            }
        }
        text
    }
}

impl Caller {
    fn section(&self, name: Option<&str>, text: &mut String) {
        let header = name.map_or_else(|| "[anonymous]".to_owned(), |name| format!("[clients.{}]", key(name)));
        if self.requests == 0 {
            let _ = writeln!(text, "# {}: nothing was let pass.", printable(&header));
        } else {
            let _ = writeln!(text, "{header} # learned from {}", counted(self.requests, "request"));
            let _ = writeln!(text, "tenants = [{}]", self.tenants.iter().map(|tenant| quoted(tenant)).collect::<Vec<_>>().join(", "));
            if self.seen.keys().all(|method| method::is_safe(method)) {
                text.push_str("read_only = true\n");
            }
            text.push_str("allow = [\n");
            for rule in self.rules() {
                let _ = writeln!(text, "    {},", quoted(&rule));
            }
            text.push_str("]\n");
        }
        let mut listed: Vec<(&String, &u64)> = self.listed.iter().collect();
        listed.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        for (what, times) in listed.iter().take(MOST) {
            let _ = writeln!(text, "# {} {}", counted(**times, "time"), printable(what));
        }
        if listed.len() > MOST {
            let _ = writeln!(text, "# and {} more", listed.len() - MOST);
        }
    }

    /// The rules that allow what was seen, none of which another one covers.
    pub(super) fn rules(&self) -> Vec<String> {
        let mut by_pattern: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let trees = self.seen.iter().map(|(method, tree)| (method.as_str(), tree.clone().patterns()));
        for (method, pattern) in trees.flat_map(|(method, patterns)| patterns.into_iter().map(move |pattern| (method, pattern))) {
            by_pattern.entry(pattern).or_default().push(method);
        }
        let mut rules: Vec<(String, Vec<&str>, Option<Rule>)> = by_pattern
            .into_iter()
            .map(|(pattern, methods)| {
                let rule = format!("* {pattern}").parse().ok();
                (pattern, methods, rule)
            })
            .collect();
        for at in 0..rules.len() {
            let Some(sample) = sample(&rules[at].0) else { continue };
            let covers = |rule: &Rule| sample.readings().all(|reading| rule.covers(reading));
            let covering: Vec<usize> =
                (0..rules.len()).filter(|other| *other != at && rules[*other].2.as_ref().is_some_and(covers)).collect();
            let others: Vec<&str> = covering.iter().flat_map(|other| rules[*other].1.iter().copied()).collect();
            let methods = &mut rules[at].1;
            // GET stands for HEAD.
            let get = methods.contains(&"GET");
            methods.retain(|method| !others.contains(method) && !(*method == "HEAD" && (get || others.contains(&"GET"))));
        }
        let written = rules.into_iter().filter(|(_, methods, _)| !methods.is_empty());
        written.map(|(pattern, methods, _)| format!("{} {pattern}", methods.join(","))).collect()
    }
}

/// A path that only those patterns cover that cover all that this one does: there is no name like it.
fn sample(pattern: &str) -> Option<Normal> {
    Normal::of(&pattern.replace('*', "q0z7x-any-name")).ok()
}

/// `1 request`, `2 requests`
fn counted(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// A key of TOML.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { name.to_owned() } else { quoted(name) }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// For a comment, and a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c != '\'' && c != '"' && c.escape_debug().len() > 1 { '\u{fffd}' } else { c }).collect()
}
