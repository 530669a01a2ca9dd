//! One configuration from several texts: `proxy.toml`, and the files of `tenants.d` with `[tenants.NAME]` tables of their own.

use std::collections::HashMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::source::Origin;
use super::{SECTIONS, TENANTS};
use crate::config::Problem;
use crate::config::texts::{TENANTS_D, Text};

/// What all texts say together, and where it stands.
pub struct Gathered {
    /// The values, with the tenants of all.
    pub values: Dict,
    /// One for each text.
    pub origins: Vec<Origin>,
    /// Whose a tenant is that is not in the first text.
    pub whose: HashMap<String, usize>,
    /// What stands where it must not.
    pub problems: Vec<Problem>,
}

/// The first text is that of `proxy.toml`. `Err`: some are no TOML at all, and nothing can be said of the rest.
pub fn gather(texts: &[Text]) -> Result<Gathered, Vec<Problem>> {
    let (mut dicts, mut broken) = (Vec::new(), Vec::new());
    for text in texts {
        match Toml::from_str::<Dict>(plain(text)) {
            Ok(dict) => dicts.push(dict),
            Err(error) => {
                // Not the error's own Display: it quotes the line, and a secret may stand on it.
                let place = error.span().map_or_else(|| text.label.clone(), |span| position(plain(text), &text.label, span.start));
                let what = format!("is not valid TOML: {}", error.message().trim().replace('\n', "; "));
                broken.push(Problem {
                    key: String::new(),
                    source: place,
                    what,
                    hint: "strings stand in quotes; see proxy.toml.example".to_owned(),
                });
            }
        }
    }
    if !broken.is_empty() {
        return Err(broken);
    }
    let origins: Vec<Origin> = texts.iter().map(|text| Origin::new(text.label.clone(), plain(text), text.public)).collect();
    let mut dicts = dicts.into_iter();
    let mut all = Gathered { values: dicts.next().unwrap_or_default(), origins, whose: HashMap::new(), problems: Vec::new() };
    dicts.enumerate().for_each(|(index, dict)| all.add(index + 1, dict));
    Ok(all)
}

fn plain(text: &Text) -> &str {
    text.text.trim_start_matches('\u{feff}')
}

impl Gathered {
    /// The tenants of one more file.
    fn add(&mut self, index: usize, mut dict: Dict) {
        let tenants = dict.remove(TENANTS);
        for key in dict.into_keys() {
            let hint = match SECTIONS.contains(&key.as_str()) {
                true => format!("move it to proxy.toml: the files in {TENANTS_D} hold tables [tenants.NAME] and nothing else"),
                false => "put it below the line [tenants.NAME] of its tenant, such as [tenants.Cust12345]".to_owned(),
            };
            self.problem(index, &key, "stands outside of a tenant's table", hint);
        }
        let tenants = match tenants {
            None => return,
            Some(Value::Dict(_, tenants)) => tenants,
            Some(_) => {
                let hint = "begin each tenant with [tenants.Cust12345] on a line of its own";
                return self.problem(index, TENANTS, "must be a table of tenants", hint.to_owned());
            }
        };
        for (name, mut value) in tenants {
            let key = format!("{TENANTS}.{name}");
            let section = self.values.entry(TENANTS.to_owned()).or_insert_with(|| Value::from(Dict::new()));
            // What is no table is complained of by whoever reads it.
            let Value::Dict(_, all) = section else { return };
            if all.contains_key(&name) {
                let other = self.whose.get(&name).copied().unwrap_or(0);
                let what = format!("is already in {}", self.origins[other].place(&key));
                let hint = "a tenant is one table: remove one of the two, or give it another name and set its `context`";
                self.problem(index, &key, &what, hint.to_owned());
                continue;
            }
            relocate(&mut value);
            all.insert(name.clone(), value);
            self.whose.insert(name, index);
        }
    }

    fn problem(&mut self, index: usize, key: &str, what: &str, hint: String) {
        self.problems.push(Problem { key: key.to_owned(), source: self.origins[index].place(key), what: what.to_owned(), hint });
    }
}

/// Paths are relative to the file that they stand in; from now on to that of `proxy.toml`, like all others.
fn relocate(tenant: &mut Value) {
    match tenant {
        Value::Dict(_, table) => {
            for (name, inner) in table {
                match (name.as_str(), inner) {
                    ("file", Value::String(_, path)) => beside(path),
                    // As for execvp: a name without a slash is looked for in PATH.
                    ("command", Value::Array(_, words)) => {
                        if let Some(Value::String(_, program)) = words.first_mut()
                            && program.contains('/')
                        {
                            beside(program);
                        }
                    }
                    (_, inner) => relocate(inner),
                }
            }
        }
        Value::Array(_, several) => several.iter_mut().for_each(relocate),
        _ => {}
    }
}

fn beside(path: &mut String) {
    if !path.trim().is_empty()
        && let Some(moved) = Path::new(TENANTS_D).join(path.trim()).to_str()
    {
        *path = moved.to_owned();
    }
}

/// `file:line:column`, for a place in the text.
fn position(text: &str, label: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("{label}:{line}:{column}")
}
