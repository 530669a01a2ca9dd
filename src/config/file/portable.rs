//! Settings that mean nothing on a system that is not Unix: there they are refused, so that nobody relies on them.

use figment::value::{Dict, Value};

use super::lists::LISTENERS;
use super::source::Sources;
use super::{CLIENTS, Problem};

/// Of a listener's door.
const DOOR: [&str; 2] = ["socket_mode", "socket_owner"];
/// Of a client.
const CALLER: [&str; 2] = ["uids", "gids"];
/// Of the process.
const CONFINE: [&str; 3] = ["confine.read", "confine.write", "confine.execute"];

/// What is set and cannot hold, unless this is Unix.
pub fn refused(sources: &Sources, unix: bool) -> Vec<Problem> {
    if unix {
        return Vec::new();
    }
    let values = |name: &str| sources.values().and_then(|values| values.get(name));
    let clients = values(CLIENTS).and_then(Value::as_dict).into_iter().flat_map(Dict::keys).map(|name| format!("{CLIENTS}.{name}"));
    let more = values(LISTENERS).and_then(Value::as_array).map_or(0, <[Value]>::len);
    let listeners = ["listen", "admin"].map(str::to_owned).into_iter().chain((0..more).map(|index| format!("{LISTENERS}[{index}]")));
    let each = |table: String, names: [&str; 2]| names.map(|name| format!("{table}.{name}"));
    let sockets = listeners.flat_map(|table| each(table, DOOR)).map(|key| (key, "there are no Unix sockets on this system"));
    let callers = clients.flat_map(|table| each(table, CALLER));
    let callers = callers.map(|key| (key, "this system does not tell which user's process connects; use keys or certificates"));
    let confine = CONFINE.map(|key| (key.to_owned(), "only Linux lets a process confine itself"));
    let set = |key: &String| sources.in_file(key) || sources.variable(key).is_some();
    let refused = sockets.chain(callers).chain(confine).filter(|(key, _)| set(key));
    refused.map(|(key, why)| sources.problem(&key, "cannot be used here", format!("remove it: {why}"))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::read;
    use super::*;
    use crate::config::texts::Text;

    fn named(text: &str) -> Text {
        Text { label: "proxy.toml".to_owned(), text: text.to_owned(), public: false }
    }

    #[test]
    fn what_only_unix_has_is_refused_elsewhere_by_its_line_or_variable() {
        let text = "[listen]\naddress = \"127.0.0.1:1\"\nsocket_mode = \"0600\"\n[[listeners]]\naddress = \"127.0.0.1:2\"\n\
                    socket_owner = \"www\"\n[admin]\nsocket_mode = \"0660\"\n[clients.a]\nkeys = []\nuids = [7]\n[clients.b]\ngids = [8]\n[confine]\nwrite = [\"w\"]\n";
        let env = BTreeMap::from([("SOPROXY_CONFINE__READ".to_owned(), "r".to_owned())]);
        let (_, sources, _) = read(&[named(text)], &env).unwrap();
        let found: Vec<(String, String)> = refused(&sources, false).into_iter().map(|problem| (problem.key, problem.source)).collect();
        let expected = [
            ("listen.socket_mode", "proxy.toml:3"),
            ("admin.socket_mode", "proxy.toml:8"),
            ("listeners[0].socket_owner", "proxy.toml:6"),
            ("clients.a.uids", "proxy.toml:11"),
            ("clients.b.gids", "proxy.toml:13"),
            ("confine.read", "SOPROXY_CONFINE__READ"),
            ("confine.write", "proxy.toml:15"),
        ];
        assert_eq!(found, expected.map(|(key, source)| (key.to_owned(), source.to_owned())));
        assert!(refused(&sources, true).is_empty());
    }

    #[test]
    fn a_configuration_without_them_is_good_everywhere() {
        let (_, sources, _) = read(&[named("")], &BTreeMap::new()).unwrap();
        assert!(refused(&sources, false).is_empty(), "defaults are no settings");
    }
}
