//! The mirror of `proxy.toml`: what each setting is called and which kind of value it takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use super::TENANTS;
use super::clients::{ClientSettings, TermsSettings};
use super::doors::{self, DoorSettings, Places, SocketSettings};
use super::lists::{CacheSettings, ListenerSettings};
use super::outbound::{OutboundSettings, outbound};
use super::reader::{Reader, Table};
use super::source::Sources;
use super::{clients, kinds, lists};
use crate::config::secret::SecretRef;
use crate::config::{Log, Prefetch, ReadyWhen, Renewal, Upstream};
use crate::proxy::address::Network;
use crate::proxy::links;
use crate::proxy::soap::TicketFaults;
use crate::server::Limits;
use crate::superoffice::origin::{BaseUrl, UpstreamHosts};
use crate::superoffice::{Environment, ExchangeKind};
use crate::ticket::Policy;
use crate::upstream;

/// One setting as it was found.
#[derive(Clone, Debug)]
pub enum Field<T> {
    /// Not set.
    Absent,
    /// Set, and wrong; the problem is recorded.
    Wrong,
    /// Set.
    Is(T),
}

impl<T> Field<T> {
    /// This one when it is set (rightly or wrongly), else the shared one.
    pub fn or(self, shared: &Field<T>) -> Field<T>
    where
        T: Clone,
    {
        if matches!(self, Field::Absent) { shared.clone() } else { self }
    }

    /// The value, or that there is none. The outer `None` had a problem.
    pub fn optional(&self) -> Option<Option<T>>
    where
        T: Clone,
    {
        match self {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(value) => Some(Some(value.clone())),
        }
    }

    /// The value, if it is set and right.
    pub fn found(self) -> Option<T> {
        match self {
            Field::Is(value) => Some(value),
            Field::Absent | Field::Wrong => None,
        }
    }
}

/// The file and the environment, value by value. A `None` had a problem that is recorded.
pub struct Settings {
    /// `[superoffice]`, the part a tenant may override.
    pub login: LoginSettings,
    /// `[superoffice]`, the rest.
    pub superoffice: SuperOfficeSettings,
    /// `[application]`
    pub application: Credentials,
    /// `[listen]`
    pub listen: ListenSettings,
    /// `[[listeners]]`
    pub listeners: Vec<ListenerSettings>,
    /// `[clients.*]`
    pub clients: Vec<ClientSettings>,
    /// `[anonymous]`, if it is there.
    pub anonymous: Option<TermsSettings>,
    /// `[cors]`: `origins`
    pub cors: Option<Vec<String>>,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[upstream]`, the part a tenant may override.
    pub bounds: BoundsSettings,
    /// `[upstream]`, the way out.
    pub outbound: OutboundSettings,
    /// `[upstream]`, the rest.
    pub upstream: Option<Upstream>,
    /// `[[cache]]`
    pub cache: Vec<CacheSettings>,
    /// `[state]`
    pub state: StateSettings,
    /// `[store]`: `path`
    pub store: Field<PathBuf>,
    /// `[renewal]`
    pub renewal: Option<Renewal>,
    /// `[log]`
    pub log: Option<Log>,
    /// `[confine]`
    pub confine: ConfineSettings,
    /// `[tenants.*]`
    pub tenants: Vec<TenantSettings>,
}

/// Where the login service is and how its answers are verified.
pub struct LoginSettings {
    /// `environment`
    pub environment: Field<Environment>,
    /// `login_url`
    pub login_url: Field<BaseUrl>,
    /// `verification_keys`; `None` is "jwks".
    pub verification_keys: Field<Option<PathBuf>>,
}

/// How much of SuperOffice a tenant may take. `None` inside is "off".
pub struct BoundsSettings {
    /// `rate`
    pub rate: Field<Option<f64>>,
    /// `max_concurrent`
    pub max_concurrent: Field<Option<usize>>,
}

/// What only `[superoffice]` has.
pub struct SuperOfficeSettings {
    /// `exchange`
    pub exchange: Option<ExchangeKind>,
    /// `upstream_hosts`
    pub upstream_hosts: Option<UpstreamHosts>,
    /// `ca_file`
    pub ca_file: Field<PathBuf>,
    /// `leeway`
    pub leeway: Option<Duration>,
    /// `login_timeout`
    pub login_timeout: Option<Duration>,
    /// `soap_ticket_faults`
    pub soap_ticket_faults: Option<TicketFaults>,
}

/// An application's secrets.
pub struct Credentials {
    /// `client_secret`, one or several.
    pub client_secrets: Field<Vec<SecretRef>>,
    /// `private_key`, one or several.
    pub private_keys: Field<Vec<SecretRef>>,
    /// `private_key_passphrase`
    pub private_key_passphrase: Field<SecretRef>,
}

/// What the two listeners have in common.
pub struct Door<A> {
    /// `address`
    pub addresses: Option<A>,
    /// `hosts`
    pub hosts: Option<Vec<String>>,
    /// `insecure_allow_anonymous`
    pub insecure_allow_anonymous: Option<bool>,
}

/// `[listen]`
pub struct ListenSettings {
    /// The part that `[admin]` has too.
    pub door: Door<Places>,
    /// What it is made of.
    pub made: DoorSettings,
    /// `default_tenant`
    pub default_tenant: Field<String>,
    /// `public_url`
    pub public_url: Field<BaseUrl>,
    /// `trusted_proxies`
    pub trusted_proxies: Option<Vec<Network>>,
    /// `header_read_timeout`, `idle_timeout`, `body_timeout`, `max_header_size`, `max_headers`, `max_connections`
    pub limits: Option<Limits>,
    /// `max_uri`
    pub max_uri: Option<usize>,
    /// `max_body`
    pub max_body: Option<Option<u64>>,
    /// `max_requests`
    pub max_requests: Option<usize>,
    /// `shutdown_delay`
    pub shutdown_delay: Option<Duration>,
    /// `grace`
    pub grace: Option<Duration>,
    /// `workers`; `None` inside is "auto".
    pub workers: Option<Option<usize>>,
    /// `policy`: whether what is against the rules is only reported.
    pub report: Option<bool>,
}

/// `[admin]`
pub struct AdminSettings {
    /// The part that `[listen]` has too; `None` inside is "off".
    pub door: Door<Option<Places>>,
    /// Its Unix sockets.
    pub socket: SocketSettings,
    /// `token`
    pub token: Field<SecretRef>,
    /// `ready_when`, with names as they are written.
    pub ready_when: Option<ReadyWhen>,
}

/// `[state]`
pub struct StateSettings {
    /// `min_interval`
    pub min_interval: Option<Duration>,
    /// `max_interval`
    pub max_interval: Option<Duration>,
    /// `push_address`; `None` inside is "off".
    pub push_addresses: Option<Option<Vec<SocketAddr>>>,
}

/// `[confine]`
pub struct ConfineSettings {
    /// `read`
    pub read: Option<Vec<PathBuf>>,
    /// `write`
    pub write: Option<Vec<PathBuf>>,
    /// `execute`
    pub execute: Option<Vec<PathBuf>>,
}

/// `[tenants.NAME]`
pub struct TenantSettings {
    /// The table's name.
    pub name: String,
    /// `system_user_token`
    pub system_user_token: Option<SecretRef>,
    /// `context`
    pub context: Field<String>,
    /// `api_url`
    pub api_url: Field<BaseUrl>,
    /// `serial`
    pub serial: Field<String>,
    /// What it overrides of `[application]`.
    pub credentials: Credentials,
    /// What it overrides of `[superoffice]`.
    pub login: LoginSettings,
    /// What it overrides of `[upstream]`.
    pub bounds: BoundsSettings,
}

/// Asks for every setting there is; [`super::known_keys`] relies on that.
pub fn read_all<'v>(sources: &'v Sources, reader: &mut Reader<'v>) -> Settings {
    let mut table = reader.section("superoffice");
    let login = login(&mut table);
    let superoffice = superoffice(&mut table);
    table.finish();
    let mut table = reader.section("application");
    let application = credentials(&mut table);
    table.finish();
    let mut table = reader.section("upstream");
    let upstream = upstream(&mut table);
    let outbound = outbound(&mut table);
    let bounds = bounds(&mut table);
    table.finish();
    Settings {
        login,
        superoffice,
        application,
        tenants: tenants(sources, reader),
        listen: listen(reader.section("listen")),
        listeners: lists::listeners(sources, reader),
        clients: clients::clients(sources, reader),
        anonymous: clients::anonymous(sources, reader),
        cors: clients::cors(reader),
        admin: admin(reader.section("admin")),
        bounds,
        outbound,
        upstream,
        cache: lists::cache(sources, reader),
        state: state(reader.section("state")),
        store: store(reader.section("store")),
        renewal: renewal(reader.section("renewal")),
        log: log(reader.section("log")),
        confine: confine(reader.section("confine")),
    }
}

const ENVIRONMENTS: &[(&str, Environment)] =
    &[("sod", Environment::Sod), ("qaonline", Environment::QaOnline), ("online", Environment::Online)];
const EXCHANGES: &[(&str, ExchangeKind)] = &[("soap", ExchangeKind::Soap), ("rest", ExchangeKind::Rest)];
const FORMATS: &[(&str, bool)] = &[("text", false), ("json", true)];
const HTTP2: &[(&str, bool)] = &[("auto", true), ("never", false)];
const LINKS: &[(&str, links::Mode)] = &[("known", links::Mode::Known), ("all", links::Mode::All), ("off", links::Mode::Off)];
const POLICIES: &[(&str, bool)] = &[("enforce", false), ("report", true)];
const PREFETCHES: &[(&str, Prefetch)] = &[("auto", Prefetch::Auto), ("true", Prefetch::Always), ("false", Prefetch::Never)];

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A time limit: 0 would mean that nothing ever succeeds.
fn timeout(value: &Value) -> Result<Duration, kinds::Wrong> {
    kinds::duration(MILLISECOND, None)(value)
}

/// A duration that may be 0.
fn any_duration(value: &Value) -> Result<Duration, kinds::Wrong> {
    kinds::duration(Duration::ZERO, None)(value)
}

fn login(table: &mut Table<'_, '_>) -> LoginSettings {
    LoginSettings {
        environment: table.read("environment", kinds::choice(ENVIRONMENTS)),
        login_url: table.read("login_url", kinds::login_url),
        verification_keys: table.read("verification_keys", kinds::verification_keys),
    }
}

fn superoffice(table: &mut Table<'_, '_>) -> SuperOfficeSettings {
    SuperOfficeSettings {
        exchange: table.need("exchange", kinds::choice(EXCHANGES)),
        upstream_hosts: table.need("upstream_hosts", kinds::upstream_hosts),
        ca_file: table.read("ca_file", kinds::path),
        leeway: table.need("leeway", kinds::duration(Duration::ZERO, Some(HOUR))),
        login_timeout: table.need("login_timeout", timeout),
        soap_ticket_faults: table.need("soap_ticket_faults", kinds::faults),
    }
}

fn credentials(table: &mut Table<'_, '_>) -> Credentials {
    Credentials {
        client_secrets: table.read("client_secret", kinds::secrets),
        private_keys: table.read("private_key", kinds::secrets),
        private_key_passphrase: table.read("private_key_passphrase", kinds::secret),
    }
}

fn tenants<'v>(sources: &'v Sources, reader: &mut Reader<'v>) -> Vec<TenantSettings> {
    let value = sources.values().and_then(|values| values.get(TENANTS));
    let Some(tenants) = value.and_then(Value::as_dict) else {
        if value.is_some() {
            reader.problem("tenants", "must be a table of tenants", "begin each tenant with [tenants.Cust12345] on a line of its own");
        }
        return Vec::new();
    };
    tenants.iter().map(|(name, value)| tenant(name, reader.named(TENANTS, name, value))).collect()
}

fn tenant(name: &str, mut table: Table<'_, '_>) -> TenantSettings {
    let settings = TenantSettings {
        name: name.to_owned(),
        system_user_token: table.need("system_user_token", kinds::secret),
        context: table.read("context", kinds::text),
        api_url: table.read("api_url", kinds::url),
        serial: table.read("serial", kinds::serial),
        credentials: credentials(&mut table),
        login: login(&mut table),
        bounds: bounds(&mut table),
    };
    table.finish();
    settings
}

fn door<A>(table: &mut Table<'_, '_>, addresses: impl FnOnce(&Value) -> Result<A, kinds::Wrong>) -> Door<A> {
    Door {
        addresses: table.need("address", addresses),
        hosts: table.need("hosts", kinds::hosts),
        insecure_allow_anonymous: table.need("insecure_allow_anonymous", kinds::flag),
    }
}

fn listen(mut table: Table<'_, '_>) -> ListenSettings {
    let settings = ListenSettings {
        door: door(&mut table, doors::places),
        made: doors::door(&mut table),
        default_tenant: table.read("default_tenant", kinds::text),
        public_url: table.read("public_url", kinds::public_url),
        trusted_proxies: table.need("trusted_proxies", kinds::networks),
        limits: limits(&mut table),
        max_uri: table.need("max_uri", kinds::size_in_memory),
        max_body: table.need("max_body", kinds::unless("off", kinds::size_from_1)),
        max_requests: table.need("max_requests", kinds::count),
        shutdown_delay: table.need("shutdown_delay", any_duration),
        grace: table.need("grace", any_duration),
        workers: table.need("workers", kinds::unless("auto", kinds::count)),
        report: table.need("policy", kinds::choice(POLICIES)),
    };
    table.finish();
    settings
}

/// All are read before the first that is wrong is missed: every mistake shall be reported.
fn limits(table: &mut Table<'_, '_>) -> Option<Limits> {
    let header_read = table.need("header_read_timeout", timeout);
    let idle = table.need("idle_timeout", timeout);
    let body = table.need("body_timeout", timeout);
    let max_header_size = table.need("max_header_size", kinds::size_of_head);
    let max_headers = table.need("max_headers", kinds::count);
    let max_connections = table.need("max_connections", kinds::count);
    Some(Limits {
        header_read: header_read?,
        idle: idle?,
        body: body?,
        max_header_size: max_header_size?,
        max_headers: max_headers?,
        max_connections: max_connections?,
    })
}

fn admin(mut table: Table<'_, '_>) -> AdminSettings {
    let settings = AdminSettings {
        door: door(&mut table, kinds::unless("off", doors::places)),
        socket: doors::socket(&mut table),
        token: table.read("token", kinds::secret),
        ready_when: table.need("ready_when", kinds::ready_when),
    };
    table.finish();
    settings
}

fn bounds(table: &mut Table<'_, '_>) -> BoundsSettings {
    BoundsSettings {
        rate: table.read("rate", kinds::unless("off", kinds::rate)),
        max_concurrent: table.read("max_concurrent", kinds::unless("off", kinds::count)),
    }
}

fn upstream(table: &mut Table<'_, '_>) -> Option<Upstream> {
    let http2 = table.need("http2", kinds::choice(HTTP2));
    let connect = table.need("connect_timeout", timeout);
    let tls = table.need("tls_timeout", timeout);
    let response = table.need("response_timeout", timeout);
    let body = table.need("body_timeout", timeout);
    let total = table.need("total_timeout", kinds::unless("off", timeout));
    let tunnel = table.need("tunnel_timeout", timeout);
    let idle = table.need("idle_timeout", any_duration);
    let max_age = table.need("max_connection_age", any_duration);
    let replay_limit = table.need("replay_limit", kinds::size_in_memory);
    let forwarded = table.need("forwarded", kinds::flag);
    let rewrite_links = table.need("rewrite_links", kinds::choice(LINKS));
    let routes = table.need("routes", kinds::segments);
    let cache_size = table.need("cache_size", kinds::size_of_cache);
    let queue_timeout = table.need("queue_timeout", timeout);
    Some(Upstream {
        settings: upstream::Settings {
            http2: http2?,
            connect: connect?,
            tls: tls?,
            response: response?,
            body: body?,
            idle: idle?,
            max_age: max_age?,
        },
        total_timeout: total?,
        tunnel_timeout: tunnel?,
        replay_limit: replay_limit?,
        forwarded: forwarded?,
        rewrite_links: rewrite_links?,
        routes: routes?,
        cache_size: cache_size?,
        queue_timeout: queue_timeout?,
    })
}

fn state(mut table: Table<'_, '_>) -> StateSettings {
    let settings = StateSettings {
        min_interval: table.need("min_interval", timeout),
        max_interval: table.need("max_interval", timeout),
        push_addresses: table.need("push_address", kinds::unless("off", kinds::addresses)),
    };
    table.finish();
    settings
}

fn store(mut table: Table<'_, '_>) -> Field<PathBuf> {
    let path = table.read("path", kinds::path);
    table.finish();
    path
}

fn renewal(mut table: Table<'_, '_>) -> Option<Renewal> {
    let max_age = table.need("max_age", kinds::unless("never", kinds::duration(SECOND, None)));
    let lifetime = table.need("lifetime", kinds::duration(SECOND, None));
    let keep_warm = table.need("keep_warm", any_duration);
    let prefetch = table.need("prefetch", prefetch);
    let concurrency = table.need("concurrency", kinds::count);
    table.finish();
    let policy = Policy { max_age: max_age?, lifetime: lifetime?, keep_warm: keep_warm? };
    Some(Renewal { policy, prefetch: prefetch?, concurrency: concurrency? })
}

fn prefetch(value: &Value) -> Result<Prefetch, kinds::Wrong> {
    match value {
        Value::Bool(_, true) => Ok(Prefetch::Always),
        Value::Bool(_, false) => Ok(Prefetch::Never),
        _ => kinds::choice(PREFETCHES)(value),
    }
}

fn log(mut table: Table<'_, '_>) -> Option<Log> {
    let level = table.need("level", kinds::level);
    let json = table.need("format", kinds::choice(FORMATS));
    table.finish();
    Some(Log { level: level?, json: json? })
}

fn confine(mut table: Table<'_, '_>) -> ConfineSettings {
    let settings = ConfineSettings {
        read: table.need("read", kinds::paths),
        write: table.need("write", kinds::paths),
        execute: table.need("execute", kinds::paths),
    };
    table.finish();
    settings
}
