//! Where a value came from: a file and its line, or the environment variable.

use std::collections::HashMap;

use figment::value::{Dict, Tag, Value};
use figment::{Figment, Provider, Source};

use super::TENANTS;
use crate::config::Problem;

/// One of the texts that a configuration is made of.
pub struct Origin {
    label: String,
    lines: HashMap<String, usize>,
    public: bool,
}

impl Origin {
    /// `label` is how messages name it; `public`: others can read it.
    pub fn new(label: String, text: &str, public: bool) -> Origin {
        Origin { label, lines: lines(text), public }
    }

    /// The line where `key` is set, or its table begins; else the text as a whole.
    pub fn place(&self, key: &str) -> String {
        self.line(key).map_or_else(|| self.label.clone(), |line| format!("{}:{line}", self.label))
    }

    fn line(&self, key: &str) -> Option<usize> {
        let mut part = key;
        loop {
            if let Some(line) = self.lines.get(part) {
                return Some(*line);
            }
            part = part.rsplit_once(['.', '['])?.0;
        }
    }
}

/// Names the source of a dotted key.
pub struct Sources {
    /// That of `proxy.toml` first.
    origins: Vec<Origin>,
    /// Whose a tenant is that is not in the first.
    whose: HashMap<String, usize>,
    figment: Figment,
    values: Value,
}

impl Sources {
    /// `tenants` are those of the texts, without what variables replace.
    pub fn new(origins: Vec<Origin>, whose: HashMap<String, usize>, figment: Figment, tenants: Dict) -> Sources {
        // Providers fail in `figment.data()` only; the file's is read before it becomes one.
        let mut values = figment.data().ok().and_then(|mut map| map.remove(&figment::Profile::Default)).unwrap_or_default();
        if !tenants.is_empty() {
            let by_variables = values.remove(TENANTS).and_then(Value::into_dict).unwrap_or_default();
            values.insert(TENANTS.to_owned(), Value::Dict(Tag::Default, join(tenants, by_variables)));
        }
        Sources { origins, whose, figment, values: Value::Dict(Tag::Default, values) }
    }

    /// The merged values.
    pub fn values(&self) -> Option<&Dict> {
        self.values.as_dict()
    }

    /// The line where `key` is set, else the environment variable that sets it; for a key that is not set, where its table is.
    pub fn of(&self, key: &str) -> String {
        if let Some(variable) = self.variable(key) {
            return variable;
        }
        let Some(origin) = self.origin(key) else { return String::new() };
        if let Some(line) = origin.line(key) {
            return format!("{}:{line}", origin.label);
        }
        // A tenant that only variables know.
        let tenant = key.rsplit_once('.').map(|(tenant, _)| tenant).filter(|tenant| tenant.contains('.'));
        tenant.and_then(|tenant| self.variable(tenant)).unwrap_or_else(|| origin.label.clone())
    }

    /// Where a value comes from, as it is told to people.
    pub fn told(&self, key: &str) -> String {
        if self.variable(key).is_some() || self.in_file(key) { self.of(key) } else { "default".to_owned() }
    }

    fn index(&self, key: &str) -> usize {
        let tenant = key.strip_prefix(TENANTS).and_then(|rest| rest.strip_prefix('.')?.split('.').next());
        tenant.and_then(|name| self.whose.get(name)).copied().unwrap_or(0)
    }

    fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(self.index(key))
    }

    /// The text that sets `key`, if one does and others can read it.
    pub fn exposed(&self, key: &str) -> Option<usize> {
        let index = self.index(key);
        (self.in_file(key) && self.origins.get(index)?.public).then_some(index)
    }

    /// A problem of one of the texts as a whole.
    pub fn problem_of(&self, index: usize, what: impl Into<String>, hint: impl Into<String>) -> Problem {
        let source = self.origins.get(index).map(|origin| origin.label.clone()).unwrap_or_default();
        Problem { key: String::new(), source, what: what.into(), hint: hint.into() }
    }

    /// The value of `key`; `listeners[1].address` is in the second of the list, `listeners.address` in the first.
    fn find(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.values, |value, part| {
            let (name, index) = part.strip_suffix(']').and_then(|part| part.split_once('[')).unwrap_or((part, "0"));
            let table = value.as_array().map_or(Some(value), <[Value]>::first)?;
            let found = table.as_dict()?.get(name)?;
            if part.ends_with(']') { found.as_array()?.get(index.parse::<usize>().ok()?) } else { Some(found) }
        })
    }

    /// A problem of `key`, with its source.
    pub fn problem(&self, key: &str, what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { key: key.to_owned(), source: self.of(key), what: what.into(), hint: hint.into() }
    }

    /// The environment variable that sets `key`.
    pub fn variable(&self, key: &str) -> Option<String> {
        let tag = self.find(key)?.tag();
        match &self.figment.get_metadata(tag)?.source {
            Some(Source::Custom(name)) => Some(name.clone()),
            _ => None,
        }
    }

    /// Whether `key` is set in one of the texts.
    pub fn in_file(&self, key: &str) -> bool {
        let Some(tag) = self.find(key).map(Value::tag) else { return false };
        // The texts' tenants did not go through figment, which tags what it gets.
        tag == Tag::Default || matches!(self.figment.get_metadata(tag).and_then(|metadata| metadata.source.as_ref()), Some(Source::File(_)))
    }
}

/// The texts' tenants with the settings of the variables' tenants, which are in the texts no more.
fn join(mut file: Dict, variables: Dict) -> Dict {
    for (name, value) in variables {
        match (file.get_mut(&name), value) {
            (Some(Value::Dict(_, settings)), Value::Dict(_, more)) => settings.extend(more),
            (_, value) => {
                file.insert(name, value);
            }
        }
    }
    file
}

/// The line on which each key and each table stands, found by eye rather than by grammar: figment drops positions. A key
/// inside an inline table is not found, then its table's line is named.
fn lines(text: &str) -> HashMap<String, usize> {
    let bare = |key: &str| key.split('.').map(|part| part.trim().trim_matches(['"', '\''])).collect::<Vec<_>>().join(".");
    let mut found = HashMap::new();
    let mut table = String::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        let key = if let Some(header) = line.strip_prefix("[[").and_then(|line| line.split_once("]]")) {
            let name = bare(header.0);
            found.entry(name.clone()).or_insert(number);
            let index = (0..).find(|index| !found.contains_key(&format!("{name}[{index}]"))).unwrap_or(0);
            table = format!("{name}[{index}]");
            table.clone()
        } else if let Some(header) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            table = bare(header.0);
            table.clone()
        } else if let Some((key, _)) = line.split_once('=').filter(|(key, _)| !key.starts_with('#')) {
            if table.is_empty() { bare(key) } else { format!("{table}.{}", bare(key)) }
        } else {
            continue;
        };
        found.entry(key).or_insert(number);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_lines() {
        let text = "# a = 1\nx = 1\n\n[listen] # here\naddress = \"a=b\"\n[tenants.\"Cust1\"]\nclient_secret.env = \"X\"\nx = 1\nx = 2\n\
                    [[listeners]]\n[[ listeners ]] # two\naddress = 1\n";
        let found = lines(text);
        let line = |key: &str| found.get(key).copied();
        assert_eq!(line("x"), Some(2));
        assert_eq!(line("listen"), Some(4));
        assert_eq!(line("listen.address"), Some(5));
        assert_eq!(line("tenants.Cust1"), Some(6));
        assert_eq!(line("tenants.Cust1.client_secret.env"), Some(7));
        assert_eq!(line("tenants.Cust1.x"), Some(8));
        assert_eq!((line("listeners[0]"), line("listeners[1]"), line("listeners")), (Some(10), Some(11), Some(10)));
        assert_eq!((line("listeners[1].address"), line("listeners[0].address")), (Some(12), None));
        assert_eq!(line("a"), None);
    }
}
