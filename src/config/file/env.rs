//! `SOPROXY_SECTION__KEY`: each such environment variable is one figment provider, so that each value knows its variable.
//!
//! Only names with `__` after the prefix count: a Kubernetes service called `soproxy` sets `SOPROXY_PORT`,
//! `SOPROXY_SERVICE_HOST` and `SOPROXY_PORT_8080_TCP`, which must do no harm.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::{NAMED, TENANTS};

const PREFIX: &str = "SOPROXY_";

/// One variable that sets one key.
#[derive(Clone)]
pub struct Variable {
    /// The whole name.
    pub name: String,
    /// The key's path, `["tenants", "Cust12345", "client_secret", "file"]`.
    pub path: Vec<String>,
    value: String,
}

impl Variable {
    /// The setting it replaces: without the `file`, `env`, `credential` or `command` of a reference.
    pub fn setting(&self) -> &[String] {
        let depth = if NAMED.contains(&self.path[0].as_str()) { 3 } else { 2 };
        &self.path[..depth.min(self.path.len())]
    }

    /// Whether both cannot be meant at once: the same key twice, or a key and a part of it.
    pub fn contradicts(&self, other: &Variable) -> bool {
        self.path.starts_with(&other.path) || other.path.starts_with(&self.path)
    }
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::from("environment variable", self.name.as_str())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let leaf = if self.path.last().is_some_and(|key| key == "command") {
            // Of a reference, where a string would be taken for a whole command line.
            Value::from(self.value.split(',').map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>())
        } else {
            Value::from(self.value.as_str())
        };
        let value = self.path[1..].iter().rev().fold(leaf, |value, key| Value::from(Dict::from([(key.clone(), value)])));
        Ok(Map::from([(Profile::Default, Dict::from([(self.path[0].clone(), value)]))]))
    }
}

/// The variables that are settings, in the order of their names. `names` are those of the file's tables, for each of [`NAMED`].
pub fn variables(env: &BTreeMap<String, String>, mut names: [Vec<String>; NAMED.len()]) -> Vec<Variable> {
    let settings = env.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
    settings
        .filter_map(|(name, rest, value)| {
            let (section, rest) = rest.split_once("__")?;
            let section = section.to_ascii_lowercase();
            let mut path = vec![section];
            let mut keys = Some(rest);
            if let Some(at) = NAMED.iter().position(|named| *named == path[0]) {
                let (name, rest) = split_name(rest, &mut names[at], NAMED[at] == TENANTS);
                path.push(name);
                keys = rest;
            }
            path.extend(keys.into_iter().flat_map(|keys| keys.split("__")).map(str::to_ascii_lowercase));
            Some(Variable { name: name.clone(), path, value: value.clone() })
        })
        .collect()
}

/// Whether any variable is a setting.
pub fn any(env: &BTreeMap<String, String>) -> bool {
    env.keys().any(|name| name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__")))
}

/// How a key is spelled as a variable.
pub fn spelled(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// `CUST12345__API_URL` → the tenant's name and what follows; the same for a client's. A known name wins, the longest first, as
/// names may hold `__` themselves; a new name is known from then on.
fn split_name<'t>(text: &'t str, known: &mut Vec<String>, tenant: bool) -> (String, Option<&'t str>) {
    let fits = |name: &&String| {
        let same = text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        same && (text.len() == name.len() || text[name.len()..].starts_with("__"))
    };
    if let Some(name) = known.iter().filter(fits).max_by_key(|name| name.len()) {
        return (name.clone(), text[name.len()..].strip_prefix("__"));
    }
    let (name, rest) = text.split_once("__").map_or((text, None), |(name, rest)| (name, Some(rest)));
    let name = match name.strip_prefix("CUST") {
        Some(digits) if tenant && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => format!("Cust{digits}"),
        _ if tenant => name.to_owned(),
        _ => name.to_ascii_lowercase(),
    };
    known.push(name.clone());
    (name, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str], tenants: &[&str]) -> Vec<String> {
        let env = names.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect();
        let tenants: Vec<String> = tenants.iter().map(|name| (*name).to_owned()).collect();
        variables(&env, [tenants, Vec::new()]).iter().map(|variable| variable.path.join(".")).collect()
    }

    #[test]
    fn only_names_with_two_underscores_count() {
        let others = ["SOPROXY_PORT", "SOPROXY_SERVICE_HOST", "SOPROXY_PORT_8080_TCP_ADDR", "SOPROXY__X", "XSOPROXY_A__B", "PATH"];
        assert_eq!(paths(&others, &[]), Vec::<String>::new());
        assert_eq!(paths(&["SOPROXY_LISTEN__MAX_BODY"], &[]), ["listen.max_body"]);
        assert_eq!(paths(&["SOPROXY_Application__Client_Secret__ENV"], &[]), ["application.client_secret.env"]);
    }

    #[test]
    fn tenants_are_found_without_regard_to_case() {
        assert_eq!(paths(&["SOPROXY_TENANTS__CUST1__API_URL"], &["cuST1"]), ["tenants.cuST1.api_url"]);
        assert_eq!(paths(&["SOPROXY_TENANTS__CUST12__API_URL"], &["Cust1"]), ["tenants.Cust12.api_url"]);
        assert_eq!(paths(&["SOPROXY_TENANTS__CUSTOMER__CONTEXT"], &[]), ["tenants.CUSTOMER.context"]);
        assert_eq!(paths(&["SOPROXY_TENANTS__acme__CONTEXT"], &[]), ["tenants.acme.context"]);
        assert_eq!(paths(&["SOPROXY_TENANTS__A__B__CONTEXT"], &["a", "a__b"]), ["tenants.a__b.context"]);
        let both = ["SOPROXY_TENANTS__ACME__CONTEXT", "SOPROXY_TENANTS__acme__API_URL"];
        assert_eq!(paths(&both, &[]), ["tenants.ACME.context", "tenants.ACME.api_url"]);
    }

    #[test]
    fn a_new_clients_name_is_in_small_letters() {
        let env = BTreeMap::from(
            ["SOPROXY_CLIENTS__ERP__KEYS", "SOPROXY_CLIENTS__CUST7__KEYS", "SOPROXY_CLIENTS__CI__RATE"]
                .map(|name| (name.to_owned(), String::new())),
        );
        let found = variables(&env, [Vec::new(), vec!["Ci".to_owned()]]);
        let paths: Vec<String> = found.iter().map(|variable| variable.path.join(".")).collect();
        assert_eq!(paths, ["clients.Ci.rate", "clients.cust7.keys", "clients.erp.keys"]);
    }

    #[test]
    fn odd_names_do_no_harm() {
        let odd = ["SOPROXY___", "SOPROXY_TENANTS__", "SOPROXY_TENANTS__é__x", "SOPROXY_A__", "SOPROXY_TENANTS____x"];
        assert_eq!(paths(&odd, &["Cust1"]).len(), odd.len());
    }
}
