//! Reads `proxy.toml` and the environment into `Settings`: figment merges defaults, file and variables; then every value
//! is read by its kind and every mistake is collected. What settings mean together is not judged here.

mod clients;
mod doors;
mod env;
mod kinds;
mod lists;
mod outbound;
mod portable;
mod reader;
mod settings;
mod source;
mod units;

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use self::lists::{CACHE, LISTENERS};
use self::reader::Reader;
use self::settings::read_all;
use super::Problem;

pub(super) use self::clients::{ClientSettings, TermsSettings};
pub(super) use self::doors::{DoorSettings, Owner, Places, SocketSettings};
pub(super) use self::env::any as any_variable;
pub(super) use self::kinds::log_level;
pub(super) use self::lists::{CacheSettings, ListenerSettings, is_list};
pub(super) use self::outbound::{Choice, OutboundSettings, PROXY_FORM};
pub(super) use self::reader::nearest;
pub(super) use self::settings::{
    AdminSettings, BoundsSettings, ConfineSettings, Credentials, Field, LoginSettings, Settings, StateSettings, SuperOfficeSettings,
    TenantSettings,
};
pub(super) use self::source::Sources;

/// What holds when nothing is set. The sections and keys without a default are not here.
const DEFAULTS: &str = r#"
[superoffice]
exchange = "soap"
verification_keys = "jwks"
upstream_hosts = ["*.superoffice.com"]
leeway = "5m"
login_timeout = "30s"
soap_ticket_faults = ["SoSessionException"]

[listen]
address = ["127.0.0.1:8080", "[::1]:8080"]
hosts = []
insecure_allow_anonymous = false
trusted_proxies = []
require_client_certificate = false
socket_mode = "0600"
header_read_timeout = "30s"
idle_timeout = "6m"
body_timeout = "1m"
max_header_size = "64KiB"
max_headers = 100
max_uri = "16KiB"
max_body = "off"
max_connections = 10000
max_requests = 10000
shutdown_delay = "0s"
grace = "30s"
workers = "auto"
policy = "enforce"

[cors]
origins = []

[admin]
address = "127.0.0.1:8081"
hosts = []
insecure_allow_anonymous = false
socket_mode = "0600"
ready_when = "any"

[upstream]
http2 = "auto"
proxy = "env"
pins = []
connect_timeout = "10s"
tls_timeout = "10s"
response_timeout = "2m"
body_timeout = "2m"
total_timeout = "off"
tunnel_timeout = "10m"
idle_timeout = "60s"
max_connection_age = "5m"
replay_limit = "64KiB"
forwarded = false
rewrite_links = "known"
routes = []
cache_size = "64MiB"
queue_timeout = "10s"
rate = "off"
max_concurrent = "off"

[state]
min_interval = "10s"
max_interval = "1h"
push_address = "off"

[renewal]
max_age = "1h"
lifetime = "6h"
keep_warm = "24h"
prefetch = "auto"
concurrency = 4

[log]
level = "info"
format = "text"

[confine]
read = []
write = []
execute = []
"#;

const TENANTS: &str = "tenants";
const CLIENTS: &str = "clients";
/// Sections whose tables have names of their own.
const NAMED: [&str; 2] = [TENANTS, CLIENTS];
const SECTIONS: [&str; 16] = [
    "superoffice",
    "application",
    TENANTS,
    "listen",
    LISTENERS,
    CLIENTS,
    "anonymous",
    "cors",
    "admin",
    "upstream",
    CACHE,
    "state",
    "renewal",
    "store",
    "log",
    "confine",
];

/// What could be read, and all that could not. `Err` is a file that is no TOML at all.
pub(super) fn read(text: &str, label: String, env: &BTreeMap<String, String>) -> Result<(Settings, Sources, Vec<Problem>), Problem> {
    let text = text.trim_start_matches('\u{feff}');
    let mut file: Dict = Toml::from_str(text).map_err(|error| {
        // Not the error's own Display: it quotes the line, and a secret may stand on it.
        let place = error.span().map_or_else(|| label.clone(), |span| position(text, &label, span.start));
        let what = format!("is not valid TOML: {}", error.message().trim().replace('\n', "; "));
        Problem { key: String::new(), source: place, what, hint: "strings stand in quotes; see proxy.toml.example".to_owned() }
    })?;
    let names = |section: &str| file.get(section).and_then(Value::as_dict).into_iter().flat_map(Dict::keys).cloned().collect();
    let variables = env::variables(env, NAMED.map(names));
    for variable in &variables {
        remove(&mut file, variable.setting());
    }
    // figment copies all that it is given, more than once: too much for thousands of tenants.
    let tenants = match file.remove(TENANTS) {
        Some(Value::Dict(_, tenants)) => tenants,
        Some(wrong) => {
            file.insert(TENANTS.to_owned(), wrong);
            Dict::new()
        }
        None => Dict::new(),
    };
    let mut figment = Figment::from(Toml::string(DEFAULTS)).merge(File(file));
    for variable in &variables {
        figment = figment.merge(variable);
    }
    let sources = Sources::new(label, text, figment, tenants);
    let (settings, mut problems) = typed(&sources);
    problems.extend(contradictions(&variables));
    problems.extend(portable::refused(&sources, cfg!(unix)));
    Ok((settings, sources, problems))
}

/// `file:line:column`, for a place in the text.
fn position(text: &str, label: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("{label}:{line}:{column}")
}

/// Takes a setting out of the file, so that a variable replaces it as a whole: figment would merge `{ file = … }` and
/// `{ env = … }` into one table.
fn remove(dict: &mut Dict, path: &[String]) {
    match path {
        [] => {}
        [key] => {
            dict.remove(key);
        }
        [key, rest @ ..] => {
            if let Some(Value::Dict(_, inner)) = dict.get_mut(key) {
                remove(inner, rest);
            }
        }
    }
}

/// Variables that cannot both be meant: `…__CLIENT_SECRET` and `…__CLIENT_SECRET__FILE`.
fn contradictions(variables: &[env::Variable]) -> Vec<Problem> {
    let mut sorted: Vec<&env::Variable> = variables.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let pairs = sorted.windows(2).filter(|pair| pair[0].contradicts(pair[1]));
    let problem = |pair: &[&env::Variable]| Problem {
        key: pair[0].path.join("."),
        source: pair[1].name.clone(),
        what: format!("is also set by {}", pair[0].name),
        hint: "keep one of the two variables".to_owned(),
    };
    pairs.map(problem).collect()
}

/// The file's values, without what variables replace.
struct File(Dict);

impl Provider for File {
    fn metadata(&self) -> Metadata {
        Metadata::from("file", Path::new("proxy.toml"))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

/// All keys of `proxy.toml`, `NAME` for that of any tenant or client, each with its default as TOML; without a default, empty.
pub fn known_keys() -> Vec<(String, String)> {
    let figment = Figment::from(Toml::string(DEFAULTS)).merge(Toml::string("[tenants.NAME]\n[clients.NAME]\n[[listeners]]\n[[cache]]"));
    let sources = Sources::new(String::new(), "", figment, Dict::new());
    let mut reader = Reader::new(&sources);
    read_all(&sources, &mut reader);
    let root = sources.values();
    let default = |key: &str| {
        let (section, name) = key.split_once('.')?;
        root?.get(section)?.as_dict()?.get(name).map(as_toml)
    };
    reader.asked().into_iter().map(|key| (key.clone(), default(&key).unwrap_or_default())).collect()
}

fn as_toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number.to_i128().map_or_else(String::new, |number| number.to_string()),
        Value::Array(_, values) => format!("[{}]", values.iter().map(as_toml).collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    }
}

/// Every value by its kind, then every key against the known ones.
fn typed(sources: &Sources) -> (Settings, Vec<Problem>) {
    let mut reader = Reader::new(sources);
    let settings = read_all(sources, &mut reader);
    reader.sections(&SECTIONS);
    let known: Vec<String> = known_keys().into_iter().map(|(key, _)| key).collect();
    (settings, reader.finish(&SECTIONS, &known))
}
