//! `Config`: typed, validated settings. [`Config::load`] collects *all* problems, each with its key, its source and a hint.
//!
//! [`mod@texts`] finds the files, [`mod@file`] reads and merges them, [`secret`] follows references, and what settings mean together
//! is judged in `assemble`. What is in force is shown by [`effective`]; [`schema`] tells editors what may be written.

mod admin;
mod assemble;
pub mod effective;
pub mod file;
mod problem;
pub mod schema;
pub mod secret;
#[cfg(test)]
mod tests;
pub mod texts;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

pub use self::admin::{Admin, AdminPlaces, ReadyWhen};
use self::effective::{Effective, View};
pub use self::problem::{Problem, Problems};
use self::secret::Secrets;
use self::texts::{Followed, Text};
use crate::look::Look;
use crate::proxy::address::Network;
use crate::proxy::cache::Rules;
use crate::proxy::clients::{Description, Terms};
use crate::proxy::governor::Bounds;
use crate::proxy::links;
use crate::proxy::soap::TicketFaults;
use crate::server::{Limits, tls, unix};
use crate::superoffice::keys::VerificationKeys;
use crate::superoffice::origin::{BaseUrl, UpstreamHosts};
use crate::superoffice::signing::SigningKey;
use crate::superoffice::{ContextId, ExchangeKind, SystemUserToken};
use crate::ticket::Policy;
use crate::{log, telemetry, upstream};

/// Everything `run` needs, read, parsed and cross-checked.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// `[listen]`
    pub listen: Listen,
    /// `[[listeners]]`
    pub listeners: Vec<BoundListener>,
    /// Who may call, and what.
    pub access: Access,
    /// `[admin]`; `None` when switched off.
    pub admin: Option<Admin>,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[upstream]`, the way out.
    pub outbound: Outbound,
    /// `[[cache]]`: what is cached, and for how long.
    pub cache: Rules,
    /// `[renewal]`
    pub renewal: Renewal,
    /// `[state]`
    pub state: State,
    /// `[store]`: the directory where tickets and states are kept over a restart.
    pub store: Option<PathBuf>,
    /// `[superoffice]`, what all tenants share.
    pub superoffice: SuperOffice,
    /// `[log]`
    pub log: Log,
    /// `[telemetry]`, if spans are exported.
    pub telemetry: Option<telemetry::Settings>,
    /// `[reload]`: whether its files are followed.
    pub watch: bool,
    /// `[confine]`
    pub confine: Confine,
    /// `[tenants.*]`, in the order of their names.
    pub tenants: Vec<Tenant>,
    /// Every file that was read for it, as it is named; and those that are followed while it is in force.
    pub files: Vec<PathBuf>,
    /// Things that work but should be known: RSA-1024 keys, a secrets file that others can read …
    pub warnings: Vec<Problem>,
    /// What is read again when it has changed.
    pub watched: Watched,
    /// What is set, to tell what a reload changes.
    pub effective: Effective,
}

/// The files that are followed while a configuration is in force, each as it looked just before it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// Those of secrets, but for those of a listener's TLS: it follows them itself.
    pub secrets: Vec<(PathBuf, Look)>,
    /// Those of the configuration; `None` without `reload.watch`.
    pub configuration: Option<Followed>,
}

/// The proxy's own listeners and what it takes from callers.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// `address`: one or a list.
    pub addresses: Vec<SocketAddr>,
    /// The Unix sockets in `address`, with `socket_mode` and `socket_owner`.
    pub sockets: Vec<unix::Place>,
    /// `tls_certificate`, `tls_key`, `client_ca`, `require_client_certificate`
    pub tls: Option<tls::Files>,
    /// `hosts`: further names that a request's `Host` may have, lower case, without port.
    pub hosts: Vec<String>,
    /// `insecure_allow_anonymous`
    pub insecure_allow_anonymous: bool,
    /// `default_tenant`, spelled as its table: whose paths begin with `/api/` alone.
    pub default_tenant: Option<String>,
    /// `public_url`: the address that links in answers get, whatever the caller used.
    pub public_url: Option<BaseUrl>,
    /// `trusted_proxies`: from whom `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<Network>,
    /// What a connection may take: time, memory, room.
    pub limits: Limits,
    /// `max_uri`: bytes of a request's target.
    pub max_uri: usize,
    /// `max_body`, bytes; `None` is "off".
    pub max_body: Option<u64>,
    /// `max_requests`: requests in flight at once; more are answered `overloaded`.
    pub max_requests: usize,
    /// `shutdown_delay`: how long requests are served as ever after a stop was asked for.
    pub shutdown_delay: Duration,
    /// `grace`: how long a drain may take.
    pub grace: Duration,
    /// `workers`: threads that serve requests; `None` is "auto", one per core.
    pub workers: Option<usize>,
}

impl Listen {
    /// How many threads serve.
    pub fn threads(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// A further listener. One that serves one tenant alone is like an onsite installation.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundListener {
    /// `address`: one or a list.
    pub addresses: Vec<SocketAddr>,
    /// The Unix sockets in `address`.
    pub sockets: Vec<unix::Place>,
    /// As in `[listen]`.
    pub tls: Option<tls::Files>,
    /// `tenant`, spelled as its table; `None` serves all.
    pub tenant: Option<String>,
    /// `public_url`, before that of `[listen]`.
    pub public_url: Option<BaseUrl>,
}

/// `[clients.*]`, `[anonymous]`, `[cors]` and `listen.policy`.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// `[clients.*]`, in the order of their names.
    pub clients: Vec<Description>,
    /// What callers without a name may do; `None`: nothing.
    pub anonymous: Option<Terms>,
    /// `policy = "report"`: nobody is refused, and it is logged who would be.
    pub report: bool,
    /// `origins`: whose pages may call, as browsers write them.
    pub origins: Vec<String>,
}

/// How requests go out.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// What the HTTP client needs to know.
    pub settings: upstream::Settings,
    /// `total_timeout`: from a request's arrival to its answer's last byte; `None` is "off".
    pub total_timeout: Option<Duration>,
    /// `tunnel_timeout`: how long an upgraded connection may be silent.
    pub tunnel_timeout: Duration,
    /// `replay_limit`, bytes of a request body that are kept for one replay after a 401.
    pub replay_limit: usize,
    /// `forwarded`: whether `X-Forwarded-*` of our own are added.
    pub forwarded: bool,
    /// `rewrite_links`: which links in bodies come home.
    pub rewrite_links: links::Mode,
    /// `routes`: first path segments behind the tenant that are carried besides `api`; matched without regard to case.
    pub routes: Vec<String>,
    /// `cache_size`: bytes that the list cache may take.
    pub cache_size: usize,
    /// `queue_timeout`: how long a request may wait for its turn.
    pub queue_timeout: Duration,
}

/// How upstream is reached, and as whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Outbound {
    /// `proxy`, `proxy_user`, `proxy_password` and `no_proxy`, or what the environment says.
    pub proxies: upstream::proxies::Proxies,
    /// Who named the proxy, for people: `upstream.proxy`, or a variable.
    pub proxy_from: String,
    /// `client_certificate` and `client_key`
    pub identity: Option<Arc<upstream::tls::Identity>>,
    /// `pins`; empty without any.
    pub pins: Vec<upstream::tls::Pin>,
}

/// When a tenant's state is fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// `min_interval`: never sooner than this after the last time.
    pub min_interval: Duration,
    /// `max_interval`: never later, for a tenant in use.
    pub max_interval: Duration,
    /// `push_address`: where SuperOffice's notifications are taken; `None` is "off".
    pub push_addresses: Option<Vec<SocketAddr>>,
}

/// When tickets are renewed.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewal {
    /// `max_age`, `lifetime`, `keep_warm`
    pub policy: Policy,
    /// `prefetch`
    pub prefetch: Prefetch,
    /// `concurrency`: exchanges at once, over all tenants.
    pub concurrency: usize,
}

/// Whether all tickets are fetched at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// When there are at most 100 tenants.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What all tenants share about SuperOffice.
#[derive(Clone, Debug, PartialEq)]
pub struct SuperOffice {
    /// `upstream_hosts`, with every overridden login URL's own origin added.
    pub upstream_hosts: UpstreamHosts,
    /// `ca_file`: the PEM text of further trusted roots.
    pub ca_pem: Option<Vec<u8>>,
    /// `leeway` for `exp` and `nbf`.
    pub leeway: Duration,
    /// `login_timeout`: one exchange, state or JWKS call from connect to last byte.
    pub login_timeout: Duration,
    /// `soap_ticket_faults`: which exceptions in SOAP answers mean that a ticket has expired.
    pub soap_ticket_faults: TicketFaults,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `level`: a level or an `EnvFilter` directive list.
    pub level: String,
    /// `format`
    pub format: log::Format,
    /// `query`: what of a request's query is told.
    pub query: log::Query,
    /// `file`, and what becomes of it; `None`: standard error.
    pub file: Option<log::file::Settings>,
}

impl Log {
    /// Whether only what takes effect at once differs.
    pub fn is_same_but_for_level(&self, other: &Log) -> bool {
        Log { level: String::new(), ..self.clone() } == Log { level: String::new(), ..other.clone() }
    }
}

/// `[confine]`: what the process may reach besides what the configuration names. Whole paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confine {
    /// `read`
    pub read: Vec<PathBuf>,
    /// `write`
    pub write: Vec<PathBuf>,
    /// `execute`
    pub execute: Vec<PathBuf>,
}

/// One tenant, its own settings and what it takes from `[superoffice]`, `[application]` and `[upstream]`.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The table's name: the first segment of the paths that belong to it.
    pub name: String,
    /// `context`, else the name.
    pub context: ContextId,
    /// The login service's origin, from `login_url` or `environment`.
    pub login_url: BaseUrl,
    /// `exchange`
    pub exchange: ExchangeKind,
    /// `verification_keys`; `None` is "jwks".
    pub verification_keys: Option<Arc<VerificationKeys>>,
    /// `system_user_token`
    pub system_user_token: SystemUserToken,
    /// `client_secret`: one, or several while one replaces another. Shared by the tenants of one application.
    pub client_secrets: Arc<[SecretString]>,
    /// `private_key`, in the same way.
    pub signing_keys: Arc<[Arc<SigningKey>]>,
    /// `api_url`
    pub api_url: Option<BaseUrl>,
    /// `serial`: the only one that its tokens may have.
    pub serial: Option<String>,
    /// `rate` and `max_concurrent`, its own or those of `[upstream]`, with `queue_timeout`.
    pub bounds: Bounds,
}

impl Config {
    /// Reads `file`, the files of tenants beside it and this process's environment, and runs the commands that print secrets. A
    /// file that is not there is a problem, unless the environment has settings of its own.
    pub fn load(file: &Path) -> Result<Config, Problems> {
        let env = environment();
        let found = texts::read(file, &env)?;
        let mut config = Config::read(&found.texts, file, &env, true)?;
        config.files.push(texts::directory(file));
        config.files.extend(found.followed.tenants.iter().map(|(path, _)| path.clone()));
        config.watched.configuration = config.watch.then_some(found.followed);
        Ok(config)
    }

    /// What is set in the same places, and by which, with all that is wrong. `Err`: so much is wrong that nothing can be shown.
    pub fn view(file: &Path) -> Result<View, Problems> {
        let env = environment();
        let found = texts::read(file, &env)?;
        let (settings, sources, problems) = file::read(&found.texts, &env).map_err(Problems)?;
        let tables = effective::tables(&sources);
        let (problems, mut warnings) = match assemble::assemble(settings, &sources, secrets(file, &env, true), file, problems) {
            Ok(config) => (Vec::new(), config.warnings),
            Err(problems) => (problems.0, Vec::new()),
        };
        warnings.extend(env.keys().filter_map(|name| near_miss(name)));
        Ok(View { tables, problems, warnings })
    }

    /// The same from a text and a given environment; `file` only names the text and says against which directory its
    /// paths are resolved. Reads the files that settings refer to, and nothing else of the process; no command is run, whoever
    /// wrote the text.
    pub fn parse(text: &str, file: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, Problems> {
        let text = Text { label: file.display().to_string(), text: text.to_owned(), public: false };
        Config::read(&[text], file, &env.into_iter().collect(), false)
    }

    /// `runs`: commands are run.
    fn read(texts: &[Text], file: &Path, env: &BTreeMap<String, String>, runs: bool) -> Result<Config, Problems> {
        let (settings, sources, problems) = file::read(texts, env).map_err(Problems)?;
        let mut config = assemble::assemble(settings, &sources, secrets(file, env, runs), file, problems)?;
        config.warnings.extend(env.keys().filter_map(|name| near_miss(name)));
        Ok(config)
    }
}

/// Paths are relative to the configuration file.
fn secrets<'a>(file: &'a Path, env: &'a BTreeMap<String, String>, runs: bool) -> Secrets<'a> {
    Secrets::new(file.parent().unwrap_or(Path::new("")), env).running(runs)
}

/// A variable that would be a setting if it were written with two underscores. Only known keys are looked for: Kubernetes
/// makes variables for a service called soproxy, too.
fn near_miss(name: &str) -> Option<Problem> {
    let rest = name.strip_prefix("SOPROXY_")?;
    // No variable sets a list of tables.
    let mut known = known_keys().into_iter().filter(|(key, _)| !file::is_list(key));
    let meant = known.find(|(key, _)| key.replace('.', "_").eq_ignore_ascii_case(rest))?.0;
    Some(Problem {
        key: String::new(),
        source: name.to_owned(),
        what: "is not used".to_owned(),
        hint: format!("section and key are separated by two underscores: SOPROXY_{}", meant.replace('.', "__").to_ascii_uppercase()),
    })
}

/// This process's variables, but for those that are not UTF-8: none of them is a setting.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// A log level, or directives, as `log.level` takes them; else what is wrong.
pub fn log_level(text: &str) -> Result<String, String> {
    file::log_level(text)
}

/// A format, as `log.format` takes it; else what is wrong.
pub fn log_format(text: &str) -> Result<log::Format, String> {
    file::log_format(text)
}

/// All keys of `proxy.toml`, with `tenants.NAME` and `clients.NAME` for any, each with its default as TOML; empty without one.
pub fn known_keys() -> Vec<(String, String)> {
    file::known_keys()
}
