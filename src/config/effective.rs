//! What is set, key by key: to show it, with where it comes from, and to tell what a reload changes. No secret is ever among it.

mod mask;

use std::collections::BTreeMap;
use std::fmt;

use figment::value::{Dict, Value};

use self::mask::masked;
use super::Problem;
use super::file::{self, NAME, NAMED, SECTIONS, Setting, Shape, Sources, is_list, toml_key, toml_value};
use super::secret::{SecretRef, Secrets};

/// A configuration as it is shown.
pub struct View {
    /// In the order of `proxy.toml.example`.
    pub tables: Vec<Table>,
    /// What keeps it from being used.
    pub problems: Vec<Problem>,
    /// What should be known.
    pub warnings: Vec<Problem>,
}

/// One table, with all that is set in it.
pub struct Table {
    /// Its line: `[listen]`, `[tenants.Cust12345]`, `[[cache]]`.
    pub header: String,
    /// Its settings: those that are known first.
    pub settings: Vec<Shown>,
}

/// One setting as it is shown.
pub struct Shown {
    /// The dotted key: `listen.grace`, `cache[0].ttl`.
    pub key: String,
    /// What it is called within its table.
    pub name: String,
    /// Its value, without any secret.
    pub value: Value,
    /// `default`, `proxy.toml:12`, or a variable's name.
    pub source: String,
}

impl Shown {
    /// Its line, without the source.
    pub fn line(&self) -> String {
        format!("{} = {}", toml_key(&self.name), toml_value(&self.value))
    }

    /// Whether nothing but the default says so.
    pub fn is_default(&self) -> bool {
        self.source == "default"
    }
}

/// All that is set.
pub(super) fn tables(sources: &Sources) -> Vec<Table> {
    let known = Known::new();
    let table = |found: Found<'_>| {
        let shown = |name: &str, value: Value| {
            let key = format!("{}.{name}", found.key);
            Shown { source: sources.told(&key), name: name.to_owned(), value, key }
        };
        let mut settings = Vec::new();
        for setting in known.of(&found.pattern) {
            settings.extend(found.values.get(setting.name).map(|value| shown(setting.name, masked(value, setting.shape.as_ref()))));
        }
        let unknown = found.values.keys().filter(|name| !known.of(&found.pattern).any(|setting| setting.name == name.as_str()));
        // Perhaps a secret, under a name that nobody knows.
        settings.extend(unknown.map(|name| shown(name, mask::hidden())));
        Table { header: found.header(), settings }
    };
    found(sources).into_iter().map(table).collect()
}

/// The defaults alone.
pub fn defaults() -> Vec<Table> {
    file::read(&[], &BTreeMap::new()).map(|(_, sources, _)| tables(&sources)).unwrap_or_default()
}

/// The settings that there are, by the pattern of their table.
struct Known(BTreeMap<String, Vec<Setting>>);

impl Known {
    fn new() -> Known {
        let mut known: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
        for (setting, _) in file::settings() {
            known.entry(setting.table.clone()).or_default().push(setting);
        }
        Known(known)
    }

    fn of(&self, pattern: &str) -> impl Iterator<Item = &Setting> {
        self.0.get(pattern).into_iter().flatten()
    }
}

/// A table that is there.
struct Found<'v> {
    key: String,
    pattern: String,
    values: &'v Dict,
}

impl Found<'_> {
    fn header(&self) -> String {
        match self.key.split_once('.') {
            _ if is_list(&self.key) => format!("[[{}]]", self.pattern),
            Some((section, name)) => format!("[{section}.{}]", toml_key(name)),
            None => format!("[{}]", self.key),
        }
    }
}

fn found(sources: &Sources) -> Vec<Found<'_>> {
    let mut all = Vec::new();
    for section in SECTIONS {
        match sources.values().and_then(|values| values.get(section)) {
            Some(Value::Dict(_, tables)) if NAMED.contains(&section) => {
                let each = tables.iter().filter_map(|(name, table)| Some((name, table.as_dict()?)));
                all.extend(each.map(|(name, values)| Found {
                    key: format!("{section}.{name}"),
                    pattern: format!("{section}.{NAME}"),
                    values,
                }));
            }
            Some(Value::Array(_, tables)) if is_list(section) => {
                let each = tables.iter().enumerate().filter_map(|(index, table)| Some((index, table.as_dict()?)));
                all.extend(each.map(|(index, values)| Found { key: format!("{section}[{index}]"), pattern: section.to_owned(), values }));
            }
            Some(Value::Dict(_, values)) => all.push(Found { key: section.to_owned(), pattern: section.to_owned(), values }),
            _ => {}
        }
    }
    all
}

/// What is set, in a form that takes little room and in which secrets are nothing but fingerprints: two of them can be compared.
#[derive(Clone, Default, PartialEq)]
pub struct Effective(BTreeMap<Box<str>, Box<[Item]>>);

#[derive(Clone, PartialEq)]
struct Item {
    name: &'static str,
    shown: Box<str>,
    /// What is in the places that it names.
    content: Option<u64>,
}

/// Nothing but how much it is: fingerprints are nobody's business.
impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effective").finish_non_exhaustive()
    }
}

/// One thing that two configurations have not in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The dotted key of a setting, or of a whole table that came or went.
    pub key: String,
    /// What became of it.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

impl Effective {
    /// After all secrets were read.
    pub(super) fn of(sources: &Sources, secrets: &Secrets<'_>) -> Effective {
        let known = Known::new();
        let item = |setting: &Setting, value: &Value| Item {
            name: setting.name,
            shown: toml_value(&masked(value, setting.shape.as_ref())).into(),
            content: setting.shape.as_ref().and_then(|shape| content(value, shape, secrets)),
        };
        let items = |found: &Found<'_>| -> Box<[Item]> {
            known.of(&found.pattern).filter_map(|setting| Some(item(setting, found.values.get(setting.name)?))).collect()
        };
        Effective(found(sources).into_iter().map(|found| (items(&found), found.key)).map(|(items, key)| (key.into(), items)).collect())
    }

    /// The same without its tenants, of which there may be many.
    pub fn without_tenants(&self) -> Effective {
        let kept = self.0.iter().filter(|(key, _)| !key.starts_with("tenants."));
        Effective(kept.map(|(key, items)| (key.clone(), items.clone())).collect())
    }

    /// What is other than it was in `old`.
    pub fn changes(&self, old: &Effective) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut keys: Vec<&str> = self.0.keys().chain(old.0.keys()).map(AsRef::as_ref).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            match (old.0.get(key), self.0.get(key)) {
                (Some(_), None) if comes_and_goes(key) => changes.push(Change { key: key.to_owned(), what: "removed".to_owned() }),
                (None, Some(_)) if comes_and_goes(key) => changes.push(Change { key: key.to_owned(), what: "added".to_owned() }),
                (before, now) => compare(key, before.map_or(&[], |items| items), now.map_or(&[], |items| items), &mut changes),
            }
        }
        changes
    }
}

/// Whether a table means something by being there.
fn comes_and_goes(key: &str) -> bool {
    key == "anonymous" || key.contains(['.', '['])
}

/// What changed within one table, in the order of its settings.
fn compare(table: &str, before: &[Item], now: &[Item], changes: &mut Vec<Change>) {
    let find = |items: &'_ [Item], name| items.iter().find(|item| item.name == name).cloned();
    let gone = before.iter().filter(|item| !now.iter().any(|other| other.name == item.name));
    for name in now.iter().chain(gone).map(|item| item.name) {
        let (before, now) = (find(before, name), find(now, name));
        if before == now {
            continue;
        }
        let told = |item: &Option<Item>| item.as_ref().map_or_else(|| "not set".to_owned(), |item| short(&item.shown));
        let (old, new) = (told(&before), told(&now));
        // The same words about something else: a secret, or what is in a file.
        let what = if old == new { "changed".to_owned() } else { format!("{old} → {new}") };
        changes.push(Change { key: format!("{table}.{name}"), what });
    }
}

/// No more than a person reads.
fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What is in the places that a value names, as a fingerprint.
fn content(value: &Value, shape: &Shape, secrets: &Secrets<'_>) -> Option<u64> {
    let file = |path: &Value| secrets.content(&SecretRef::File(path.as_str()?.trim().into()));
    match shape {
        Shape::Secret | Shape::Secrets(_) => {
            let each: Vec<u8> =
                file::references(value).iter().flat_map(|one| secrets.content(one).unwrap_or_default().to_ne_bytes()).collect();
            Some(super::secret::fingerprint(&each))
        }
        Shape::SecretTable => {
            let each = value.as_dict()?.values().filter_map(|one| content(one, &Shape::Secret, secrets));
            Some(super::secret::fingerprint(&each.flat_map(u64::to_ne_bytes).collect::<Vec<_>>()))
        }
        Shape::Path => file(value),
        Shape::File => file(value.as_dict()?.get("file")?),
        // A password may stand in it, which is not shown.
        Shape::Url => value.as_str().map(|text| super::secret::fingerprint(text.as_bytes())),
        Shape::Either(one, other) => content(value, one, secrets).or_else(|| content(value, other, secrets)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
