//! A reader of tables that goes on after a mistake: it records what is wrong, which keys were asked for, and which keys
//! nobody asked for.

use std::collections::BTreeMap;

use figment::value::{Dict, Empty, Tag, Value};

use super::kinds::Wrong;
use super::lists::is_list;
use super::shape::Shape;
use super::source::Sources;
use super::{Field, env};
use crate::config::Problem;

/// What stands for a tenant's or a client's name in a key's pattern.
pub const NAME: &str = "NAME";

/// One setting there is, as it was asked for.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The pattern of its table, with `tenants.NAME`.
    pub table: String,
    /// What it is called there.
    pub name: &'static str,
    /// Whether nothing works without it.
    pub needed: bool,
    /// What it takes, if its kind tells.
    pub shape: Option<Shape>,
}

impl Setting {
    /// The whole key, with `tenants.NAME`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.table, self.name)
    }
}

/// Problems and questions so far.
pub struct Reader<'v> {
    sources: &'v Sources,
    problems: Vec<Problem>,
    /// Keys nobody asked for, and the pattern of the table they stand in.
    unknown: Vec<(String, String)>,
    /// No value is read, but each question noted with what its answer could be.
    described: Option<Vec<Setting>>,
}

impl<'v> Reader<'v> {
    /// A reader of the merged values.
    pub fn new(sources: &'v Sources) -> Reader<'v> {
        Reader { sources, problems: Vec::new(), unknown: Vec::new(), described: None }
    }

    /// A reader that reads nothing: it only finds out what there is to read.
    pub fn describing(sources: &'v Sources) -> Reader<'v> {
        Reader { described: Some(Vec::new()), ..Reader::new(sources) }
    }

    /// What there is to read, in the order of the questions.
    pub fn described(self) -> Vec<Setting> {
        self.described.unwrap_or_default()
    }

    /// A top-level section; absent is the same as empty.
    pub fn section(&mut self, name: &str) -> Table<'_, 'v> {
        let value = self.sources.values().and_then(|values| values.get(name));
        self.table(name.to_owned(), name.to_owned(), value)
    }

    /// `[tenants.name]` or `[clients.name]`
    pub fn named(&mut self, section: &str, name: &str, value: &'v Value) -> Table<'_, 'v> {
        self.table(format!("{section}.{name}"), format!("{section}.{NAME}"), Some(value))
    }

    /// One of a list of tables, such as `[[listeners]]`.
    pub fn item(&mut self, list: &str, index: usize, value: &'v Value) -> Table<'_, 'v> {
        self.table(format!("{list}[{index}]"), list.to_owned(), Some(value))
    }

    fn table(&mut self, key: String, pattern: String, value: Option<&'v Value>) -> Table<'_, 'v> {
        let values = value.and_then(Value::as_dict);
        if value.is_some() && values.is_none() {
            let hint = format!("begin it with {} on a line of its own and write one setting per line below", header(&key));
            self.problem(&key, "must be a table of settings", hint);
        }
        Table { reader: self, key, pattern, values, asked: Vec::new() }
    }

    /// Records a problem of `key`.
    pub fn problem(&mut self, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(self.sources.problem(key, what, hint));
    }

    /// Holds the top-level names against `sections`.
    pub fn sections(&mut self, sections: &[&str]) {
        let unknown = self.sources.values().into_iter().flat_map(Dict::keys).filter(|name| !sections.contains(&name.as_str()));
        self.unknown.extend(unknown.map(|name| (name.clone(), String::new())));
    }

    /// All problems; unknown keys are explained by what is `known`.
    pub fn finish(mut self, sections: &[&str], known: &[String]) -> Vec<Problem> {
        for (key, table) in std::mem::take(&mut self.unknown) {
            let variable = self.sources.variable(&key);
            // A variable cannot mean a list of tables.
            let sections: Vec<&str> = sections.iter().copied().filter(|name| variable.is_none() || !is_list(name)).collect();
            let (what, hint) = if table.is_empty() { unknown_section(&key, &sections, known) } else { unknown_key(&key, &table, known) };
            let hint = match (variable, hint) {
                (_, Hint::Text(text)) => text,
                (None, Hint::Key(better)) => format!("did you mean `{better}`?"),
                (Some(_), Hint::Key(better)) if table.is_empty() => format!("did you mean {}__…?", env::spelled(&better)),
                (Some(_), Hint::Key(better)) => format!("did you mean {}?", env::spelled(&better)),
            };
            self.problem(&key, what, hint);
        }
        self.problems
    }
}

enum Hint {
    Key(String),
    Text(String),
}

fn unknown_section(key: &str, sections: &[&str], known: &[String]) -> (&'static str, Hint) {
    if let Some(near) = nearest(key, sections.iter().copied()) {
        return ("unknown section", Hint::Key(near.to_owned()));
    }
    match elsewhere(key, known) {
        Some(hint) => ("unknown key", hint),
        None => ("unknown section", Hint::Text(format!("the sections are {}", sections.join(", ")))),
    }
}

fn unknown_key(key: &str, table: &str, known: &[String]) -> (&'static str, Hint) {
    let (parent, leaf) = key.rsplit_once('.').unwrap_or(("", key));
    let here: Vec<&str> = known.iter().filter_map(|known| known.strip_prefix(table)?.strip_prefix('.')).collect();
    // Of a tenant `token` means its own, not the admin listener's.
    let part = || here.iter().copied().find(|name| table.starts_with("tenants.") && name.ends_with(&format!("_{leaf}")));
    let hint = match nearest(leaf, here.iter().copied()).or_else(part) {
        Some(near) => Hint::Key(format!("{parent}.{near}")),
        None => elsewhere(leaf, known).unwrap_or_else(|| Hint::Text(format!("the keys of {} are {}", header(parent), here.join(", ")))),
    };
    ("unknown key", hint)
}

/// A key that belongs into another table.
fn elsewhere(leaf: &str, known: &[String]) -> Option<Hint> {
    let found = known.iter().filter_map(|known| known.rsplit_once('.')).find(|(_, name)| name.eq_ignore_ascii_case(leaf))?;
    Some(Hint::Text(format!("`{}` belongs in {}", found.1, header(found.0))))
}

/// How a table's header is written.
fn header(table: &str) -> String {
    if is_list(table) { format!("[[{}]]", table.split('[').next().unwrap_or_default()) } else { format!("[{table}]") }
}

/// One table, one question per setting.
pub struct Table<'r, 'v> {
    reader: &'r mut Reader<'v>,
    key: String,
    pattern: String,
    values: Option<&'v Dict>,
    asked: Vec<&'static str>,
}

impl Table<'_, '_> {
    /// A setting that may be left out.
    pub fn read<T>(&mut self, name: &'static str, kind: impl FnOnce(&Value) -> Result<T, Wrong>) -> Field<T> {
        self.asked.push(name);
        if let Some(described) = &mut self.reader.described {
            let shape = kind(&Value::Empty(Tag::Default, Empty::Unit)).err().and_then(|wrong| wrong.shape);
            described.push(Setting { table: self.pattern.clone(), name, needed: false, shape });
            return Field::Absent;
        }
        let Some(value) = self.values.and_then(|values| values.get(name)) else { return Field::Absent };
        match kind(value) {
            Ok(read) => Field::Is(read),
            Err(Wrong { what, hint, .. }) => {
                self.reader.problem(&format!("{}.{name}", self.key), what, hint);
                Field::Wrong
            }
        }
    }

    /// A setting that is always there, because it has a default or because nothing works without it.
    pub fn need<T>(&mut self, name: &'static str, kind: impl FnOnce(&Value) -> Result<T, Wrong>) -> Option<T> {
        match self.read(name, kind) {
            Field::Is(value) => Some(value),
            Field::Wrong => None,
            Field::Absent => {
                if let Some(last) = self.reader.described.as_mut().and_then(|described| described.last_mut()) {
                    last.needed = true;
                    return None;
                }
                let key = format!("{}.{name}", self.key);
                let mut hint = format!("set `{name}` in {}", header(&self.key));
                if !is_list(&self.key) {
                    hint += &format!(", or {} in the environment", env::spelled(&key));
                }
                self.reader.problem(&key, "is missing", hint);
                None
            }
        }
    }

    /// Notes the keys nobody asked for.
    pub fn finish(self) {
        let unknown = self.values.into_iter().flat_map(Dict::keys).filter(|name| !self.asked.contains(&name.as_str()));
        self.reader.unknown.extend(unknown.map(|name| (format!("{}.{name}", self.key), self.pattern.clone())));
    }
}

/// The candidate that a slip of the fingers turns into `word`, if any.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = fold(word);
    let ranked: BTreeMap<usize, &str> =
        candidates.into_iter().map(|name| (distance(&word, &fold(name)), name)).filter(|(far, name)| *far <= 1 + name.len() / 5).collect();
    ranked.into_values().next()
}

/// Levenshtein's edit distance, where two neighbours swapped count as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j - 1] + same).min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, far) in [("", "", 0), ("abc", "", 3), ("max_body", "max_bdoy", 1), ("kitten", "sitting", 3), ("a", "b", 1)] {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let names = ["address", "hosts", "max_body", "max_requests", "client_secret"];
        for (word, near) in [
            ("adress", Some("address")),
            ("host", Some("hosts")),
            ("maxBody", Some("max_body")),
            ("client-secret", Some("client_secret")),
            ("clientsecret", Some("client_secret")),
            ("port", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, names), near, "{word}");
        }
    }
}
