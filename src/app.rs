//! The composition root: binds and wires what a [`Config`] says, supervises it, drains it, and swaps the snapshot when the
//! configuration changes. Nobody imports it but `cli`.

mod backplane;
mod warm;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use self::backplane::same_tenant;
pub use self::backplane::{Backplane, Wiring};
use self::warm::{Recalled, Warm};
use crate::admin::{Admin, Confinement, Facts, Listening, Readiness};
use crate::body::Body;
use crate::clock::Clock;
use crate::config::{self, Config, Prefetch};
use crate::log::AccessLog;
use crate::metrics::Metrics;
use crate::proxy::address::{Door, Front};
use crate::proxy::cache::{self, Cache};
use crate::proxy::clients::Clients;
use crate::proxy::cors::Cors;
use crate::proxy::error::ProxyError;
use crate::proxy::governor::Governor;
use crate::proxy::route::Routes;
use crate::proxy::{Common, InFlight, KnownHomes, Proxy, Recorded, Settings, Shelf, Tenant};
use crate::push::StatePush;
use crate::reload::{Reloads, Report};
use crate::server::gate::Violation;
use crate::server::guard::HostGuard;
use crate::server::tls::{self, Tls};
use crate::server::{self, Crew, Ends, Handed, Handler, Inbound, Listener, Stop, unix};
use crate::ticket::cache::{Shared, Tickets};
use crate::upstream::tls::TlsError;

/// "auto" fetches all tickets at start when there are at most this many tenants.
const PREFETCH_AT_MOST: usize = 100;

/// Strangers can reach the listener for notifications: they must not take all file descriptors of the process.
const PUSH_CONNECTIONS: usize = 100;

/// SuperOffice says one thing and goes.
const PUSH_IDLE: Duration = Duration::from_secs(10);

/// How long the end of the process waits for answers of the admin listener that are on their way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why the proxy cannot start, or a new configuration cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener.
    #[error("{0}")]
    Bind(#[from] io::Error),
    /// TLS towards SuperOffice.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A tenant's settings do not fit together.
    #[error("tenants.{tenant}: {what}")]
    Tenant {
        /// The table's name.
        tenant: String,
        /// What does not fit.
        what: String,
    },
    /// A reload would serve anybody at an address that other machines reach.
    #[error(
        "{0} can be reached from other machines until the next start, and these settings serve callers without a name: restart, or set insecure_allow_anonymous = true in [listen]"
    )]
    Reach(SocketAddr),
    /// The same at the admin listener.
    #[error(
        "{0} can be reached from other machines until the next start, and these settings show it to anybody: set token in [admin], restart, or set insecure_allow_anonymous = true in [admin]"
    )]
    AdminReach(SocketAddr),
}

/// The proxy and its admin listener, bound but not yet serving.
pub struct App {
    listeners: Vec<Listener>,
    admin_listeners: Vec<Listener>,
    admin: Admin,
    push_listeners: Vec<Listener>,
    push: StatePush,
    config: config::Listen,
    crew: Crew,
    live: Live,
    warm: Arc<Warm>,
    stop: Stop,
    reloads: Reloads,
}

/// The part of a running proxy that a reload changes.
#[derive(Clone)]
pub struct Live(Arc<LiveParts>);

struct LiveParts {
    proxy: Arc<ArcSwap<Proxy>>,
    clock: Clock,
    started: Started,
    admin: Admin,
    /// What was wired for the snapshot in use; a reload keeps the parts whose settings are the same.
    wired: Mutex<Wired>,
}

/// The sections that take effect at start only, as they were then.
struct Started {
    listen: config::Listen,
    listeners: Vec<config::BoundListener>,
    state: config::State,
    store: Option<PathBuf>,
    /// What was bound, by its index.
    doors: Arc<[Door]>,
    /// Their TLS, each once.
    tls: Vec<Arc<Tls>>,
    /// Where the admin listener was to be, and where it is.
    admin: Option<(Vec<SocketAddr>, Vec<unix::Place>)>,
    admin_addresses: Vec<SocketAddr>,
    renewal: config::Renewal,
    log: config::Log,
    confine: config::Confine,
}

/// What tenants are made of, with the settings that made it.
struct Wired {
    backplane: Backplane,
    shared: Arc<Shared>,
    cache: Arc<Cache>,
    warm: Arc<Warm>,
    config: Config,
    tenants: Vec<Arc<Tenant>>,
}

impl App {
    /// Binds the listeners and wires everything; the login service is not needed for that. Access records go to `access_log`.
    pub async fn build(config: Config, clock: Clock, access_log: Option<Arc<AccessLog>>) -> Result<App, StartError> {
        App::build_on(Handed::default(), config, clock, access_log).await
    }

    /// The same, with listeners that were bound before.
    pub async fn build_on(mut handed: Handed, config: Config, clock: Clock, access_log: Option<Arc<AccessLog>>) -> Result<App, StartError> {
        let (listeners, doors) = bind(&config, &mut handed).await?;
        let admin_listeners = match &config.admin {
            Some(admin) => bind_all(&admin.addresses, &admin.sockets, None, &mut handed).await?,
            None => Vec::new(),
        };
        let push_listeners = match &config.state.push_addresses {
            Some(addresses) => server::bind_or_take(addresses, &mut handed).await?,
            None => Vec::new(),
        };
        handed.all_taken()?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let (stop, reloads) = (Stop::default(), Reloads::default());
        let crew = Crew::start(config.listen.threads())?;
        let metrics = Arc::new(Metrics::new(config.listen.threads(), &ProxyError::CODES));
        let warm = Arc::new(Warm::open(config.store.as_deref(), &metrics));
        let facts = Facts {
            config: config.file.clone(),
            log_level: config.log.level.clone(),
            started: clock.now(),
            listeners: listening(&listeners, &doors, &admin_listeners, &push_listeners),
            census: crew.census(),
            store: Box::new({
                let (path, warm) = (config.store.clone(), Arc::downgrade(&warm));
                move || path.clone().zip(warm.upgrade()).map(|(path, warm)| warm.kept(path))
            }),
        };
        let admin_settings = config.admin.clone();
        let warnings = config.warnings.iter().map(ToString::to_string).collect();
        let listen = config.listen.clone();
        let started = Started {
            listen: listen.clone(),
            listeners: config.listeners.clone(),
            state: config.state.clone(),
            store: config.store.clone(),
            doors,
            tls: server::tls_of(&listeners),
            admin: places(config.admin.as_ref()),
            admin_addresses: admin_listeners.iter().filter_map(Listener::local_addr).collect(),
            renewal: config.renewal.clone(),
            log: config.log.clone(),
            confine: config.confine.clone(),
        };
        let crew = Crew::start(listen.threads())?;
        let shared = Arc::new(Shared {
            policy: config.renewal.policy.clone(),
            clock: clock.clone(),
            permits: Arc::new(Semaphore::new(config.renewal.concurrency)),
            patience: config.superoffice.login_timeout + Duration::from_secs(5),
            metrics: metrics.clone(),
        });
        let backplane = Backplane::new(&config, clock.clone(), &metrics)?;
        let cache = Cache::new(cache_limits(&config));
        let mut wired = Wired { backplane, shared, cache, warm: warm.clone(), config, tenants: Vec::new() };
        wired.wire_all(None, false)?;
        let common = Common {
            upstream: wired.backplane.upstream().clone(),
            clock: clock.clone(),
            in_flight: Arc::new(InFlight::new(listen.max_requests)),
            drain: stop.drain.clone(),
            access_log,
            cache: wired.cache.clone(),
            metrics,
            census: crew.census(),
            tls: started.tls.clone().into(),
        };
        let proxy = Arc::new(ArcSwap::from_pointee(wired.snapshot(common, &started.doors)));
        let admin = Admin::new(proxy.clone(), admin_settings.as_ref(), warnings, reloads.clone(), stop.clone(), facts);
        let push = StatePush::new(proxy.clone());
        let live = Live(Arc::new(LiveParts { proxy, clock, started, admin: admin.clone(), wired: Mutex::new(wired) }));
        Ok(App { listeners, admin_listeners, admin, push_listeners, push, config: listen, crew, live, warm, stop, reloads })
    }

    /// Where the proxy listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::local_addr).collect()
    }

    /// The Unix sockets among the proxy's listeners.
    pub fn sockets(&self) -> Vec<PathBuf> {
        self.listeners.iter().filter_map(Listener::path).map(Path::to_owned).collect()
    }

    /// Where the admin listener is.
    pub fn admin_addresses(&self) -> Vec<SocketAddr> {
        self.admin_listeners.iter().filter_map(Listener::local_addr).collect()
    }

    /// The Unix sockets among the admin listener's addresses.
    pub fn admin_sockets(&self) -> Vec<PathBuf> {
        self.admin_listeners.iter().filter_map(Listener::path).map(Path::to_owned).collect()
    }

    /// What the process has taken from itself, for `/status`.
    pub fn confined(&self, confinement: Confinement) {
        self.admin.confined(confinement);
    }

    /// Where SuperOffice's notifications are taken.
    pub fn push_addresses(&self) -> Vec<SocketAddr> {
        self.push_listeners.iter().filter_map(Listener::local_addr).collect()
    }

    /// What a reload works on.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// How reloads are asked for.
    pub fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// How its tenants stand, whenever that is asked.
    pub fn readiness(&self) -> impl Fn() -> Readiness + Send + 'static {
        let admin = self.admin.clone();
        move || admin.stands()
    }

    /// The threads that serve.
    pub fn crew(&self) -> Crew {
        self.crew.clone()
    }

    /// How it is stopped.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves until drained. The admin listener outlives the proxy's, so that readiness tells of the drain.
    pub async fn run(self) {
        let handler = ProxyHandler(self.live.0.proxy.clone());
        let limits = self.config.limits.clone();
        let admin_stop = Stop::default();
        let admin = tokio::spawn(server::serve(self.admin_listeners, limits.clone(), None, self.admin, admin_stop.clone()));
        let few = server::Limits { max_connections: limits.max_connections.min(PUSH_CONNECTIONS), idle: PUSH_IDLE, ..limits.clone() };
        let push = tokio::spawn(server::serve(self.push_listeners, few, None, self.push, self.stop.clone()));
        let deadline = tokio::spawn(self.stop.clone().follow(self.config.shutdown_delay, self.config.grace));
        server::serve(self.listeners, limits, Some(self.crew), handler, self.stop).await;
        if let Err(error) = push.await {
            tracing::error!(%error, "the listener for notifications failed");
        }
        deadline.abort();
        // Last uses, above all. Blocks, but nobody is served any more.
        self.warm.finish();
        // Last of all, so that whoever asks whether the process is still there is told; and what is being answered, perhaps the
        // very demand to stop, still goes out.
        admin_stop.drain.cancel();
        let last = tokio::spawn(async move {
            tokio::time::sleep(LAST_ANSWERS).await;
            admin_stop.abort.cancel();
        });
        if let Err(error) = admin.await {
            tracing::error!(%error, "the admin listener failed");
        }
        last.abort();
        tracing::info!("stopped");
    }
}

impl Live {
    /// Replaces the snapshot. Tenants whose settings are the same keep their tickets; requests in flight finish with what
    /// they started with. Sections that are bound at start stay as they are until a restart, with a warning.
    pub fn apply(&self, config: Config) -> Result<Report, StartError> {
        let parts = &*self.0;
        let mut wired = parts.wired.lock().unwrap_or_else(PoisonError::into_inner);
        parts.started.may_serve(&config)?;
        let mut report = Report::default();
        for (section, changed) in [
            (
                "[listen] (but for hosts, default_tenant, public_url, trusted_proxies, max_uri, max_body and what is in the files of TLS)",
                !same_listeners(&config.listen, &parts.started.listen),
            ),
            ("[[listeners]] (but for what is in the files of TLS)", config.listeners != parts.started.listeners),
            ("[state]", config.state != parts.started.state),
            ("[store]", config.store != parts.started.store),
            (
                "[admin] (but for hosts, insecure_allow_anonymous, token and ready_when)",
                places(config.admin.as_ref()) != parts.started.admin,
            ),
            ("[renewal]", config.renewal != parts.started.renewal),
            ("[log]", config.log != parts.started.log),
            ("[confine]", config.confine != parts.started.confine),
        ] {
            if changed {
                tracing::warn!("{section} changed: that takes effect at the next start");
                report.at_next_start.push(section.to_owned());
            }
        }
        // Not a matter of the configuration: what is in these files is followed in any case, only later.
        parts.started.tls.iter().for_each(|tls| tls.renew(true));
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let mut backplane = Backplane::new(&config, parts.clock.clone(), &wired.shared.metrics)?;
        let same = |old: &Config| {
            config.upstream.settings == old.upstream.settings && config.outbound == old.outbound && config.superoffice == old.superoffice
        };
        if same(&wired.config) {
            backplane.take_over(&wired.backplane);
        }
        backplane.keep_on(&wired.backplane);
        // A host that is listed no more takes its tickets along.
        let keep = config.superoffice.upstream_hosts == wired.config.superoffice.upstream_hosts;
        let (shared, cache, warm) = (wired.shared.clone(), wired.cache.clone(), wired.warm.clone());
        let mut next = Wired { backplane, shared, cache, warm, config, tenants: Vec::new() };
        let kept = next.wire_all(Some(&*wired), keep)?;
        next.cache.set(cache_limits(&next.config));
        let common = Common { upstream: next.backplane.upstream().clone(), ..parts.proxy.load().common.clone() };
        parts.proxy.store(Arc::new(next.snapshot(common, &parts.started.doors)));
        parts.admin.apply(next.config.admin.as_ref(), next.config.warnings.iter().map(ToString::to_string).collect());
        tracing::info!(tenants = next.tenants.len(), tickets_kept = kept, "configuration reloaded");
        *wired = next;
        Ok(report)
    }
}

impl Started {
    /// The configuration was judged by the addresses that it names; those that are bound stay until the next start.
    fn may_serve(&self, config: &Config) -> Result<(), StartError> {
        let wide = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
        let open = config.admin.as_ref().is_some_and(|admin| admin.token.is_none() && !admin.insecure_allow_anonymous);
        if let Some(address) = self.admin_addresses.iter().copied().find(wide).filter(|_| open) {
            return Err(StartError::AdminReach(address));
        }
        let named_only = config.access.anonymous.is_none() && !config.access.report;
        if named_only || config.listen.insecure_allow_anonymous {
            return Ok(());
        }
        let mut bound = self.doors.iter().filter_map(|door| door.address);
        bound.find(wide).map_or(Ok(()), |wide| Err(StartError::Reach(wide)))
    }
}

/// One answer may take an eighth of the room.
fn cache_limits(config: &Config) -> cache::Limits {
    cache::Limits { total: config.upstream.cache_size, entry: config.upstream.cache_size / 8 }
}

/// Where the admin listener shall be.
fn places(admin: Option<&config::Admin>) -> Option<(Vec<SocketAddr>, Vec<unix::Place>)> {
    admin.map(|admin| (admin.addresses.clone(), admin.sockets.clone()))
}

/// All that is bound, for `/status`.
fn listening(proxy: &[Listener], doors: &[Door], admin: &[Listener], push: &[Listener]) -> Vec<Listening> {
    let one = |listener: &Listener, serves, tenant: Option<&str>| {
        let unix = || listener.path().map(|path| format!("unix:{}", path.display()));
        let address = listener.local_addr().map(|address| address.to_string()).or_else(unix).unwrap_or_default();
        Listening { address, serves, tls: listener.tls().is_some(), tenant: tenant.map(str::to_owned) }
    };
    let own = proxy.iter().zip(doors).map(|(listener, door)| one(listener, "proxy", door.tenant.as_deref()));
    let admin = admin.iter().map(|listener| one(listener, "admin", None));
    own.chain(admin).chain(push.iter().map(|listener| one(listener, "state_changes", None))).collect()
}

fn same_listeners(a: &config::Listen, b: &config::Listen) -> bool {
    a.addresses == b.addresses
        && a.sockets == b.sockets
        && a.tls == b.tls
        && a.limits == b.limits
        && a.max_requests == b.max_requests
        && a.shutdown_delay == b.shutdown_delay
        && a.grace == b.grace
        && a.workers == b.workers
}

impl Wired {
    /// Starts every tenant, or takes it over from what is `running` if `keep` says so: how many were.
    fn wire_all(&mut self, running: Option<&Wired>, keep: bool) -> Result<usize, StartError> {
        let before = running.filter(|_| keep);
        let prefetch = match self.config.renewal.prefetch {
            Prefetch::Auto => self.config.tenants.len() <= PREFETCH_AT_MOST,
            Prefetch::Always => true,
            Prefetch::Never => false,
        };
        // Everything that can fail comes first, so that a failure starts nothing, and changes nothing for those who are kept.
        for tenant in &self.config.tenants {
            backplane::fit(&self.config, tenant)?;
        }
        self.shared.metrics.make_room();
        let (mut tenants, mut taken_over) = (Vec::with_capacity(self.config.tenants.len()), 0);
        for tenant in &self.config.tenants {
            let kept = before.and_then(|before| before.tenant_like(tenant));
            let secrets = tenant.client_secrets.iter().map(ExposeSecret::expose_secret);
            let kept = kept.filter(|kept| kept.tickets.may_go_on(secrets));
            let keeper = kept.map(|kept| kept.keeper.clone());
            let clock = &self.shared.clock;
            let mut recalled = if kept.is_none() { self.warm.recall(tenant, clock) } else { Recalled::default() };
            if running.is_some_and(|running| running.has(tenant)) {
                // What a reload drops does not come back from the store.
                recalled.ticket = None;
            }
            let Wiring { login, keeper } = self.backplane.tenant(&self.config, tenant, keeper, recalled.state.as_ref(), prefetch)?;
            let login = Arc::new(login);
            let serial = login.identity().pin.clone();
            recalled.serial.iter().for_each(|known| serial.restore(known));
            let application = login.identity().application.clone();
            let (tickets, governor) = match kept {
                Some(kept) => {
                    kept.tickets.renew_by(login.clone());
                    // What was wrong may be right now.
                    kept.tickets.try_again();
                    kept.governor.set(tenant.bounds);
                    taken_over += 1;
                    (kept.tickets.clone(), kept.governor.clone())
                }
                None => {
                    let tickets = Arc::new(Tickets::start(&tenant.name, login.clone(), self.shared.clone(), recalled.ticket, prefetch));
                    // What failed while the tenant did not run may succeed now.
                    let again = Arc::downgrade(&tickets);
                    keeper.on_resume(move || _ = again.upgrade().map(|tickets| tickets.try_again()));
                    (tickets, Governor::new(tenant.bounds, clock.clone(), self.config.listen.threads()))
                }
            };
            self.warm.keep(tenant, application, serial, &tickets, &keeper, clock);
            let (name, context) = (tenant.name.as_str().into(), tenant.context.clone());
            let secrets = tenant.client_secrets.iter().map(ExposeSecret::expose_secret).chain([tenant.system_user_token.expose()]);
            let secret = secrets.collect::<Vec<_>>().join("\n");
            let shelf = Shelf {
                tenant: context.as_str().to_ascii_lowercase().into(),
                identity: self.cache.identity(Zeroizing::new(secret).as_bytes()),
            };
            let (homes, counts) = (KnownHomes::default(), self.shared.metrics.tenant(&tenant.name));
            tenants.push(Arc::new(Tenant { name, context, keeper, homes, tickets, login, governor, shelf, counts }));
        }
        self.tenants = tenants;
        self.backplane.tidy();
        Ok(taken_over)
    }

    /// Whether there is a tenant of this name.
    fn has(&self, tenant: &config::Tenant) -> bool {
        self.config.tenants.binary_search_by(|old| old.name.cmp(&tenant.name)).is_ok()
    }

    /// The tenant that these settings made, if they made one that is the same.
    fn tenant_like(&self, tenant: &config::Tenant) -> Option<&Tenant> {
        // They are in the order of their names.
        let at = self.config.tenants.binary_search_by(|old| old.name.cmp(&tenant.name)).ok()?;
        if !same_tenant(self.config.tenants.get(at)?, tenant) {
            return None;
        }
        self.tenants.get(at).map(|tenant| &**tenant)
    }

    fn snapshot(&self, common: Common, doors: &Arc<[Door]>) -> Proxy {
        let (listen, access) = (&self.config.listen, &self.config.access);
        let front = Front {
            doors: doors.clone(),
            hosts: listen.hosts.clone(),
            public_url: listen.public_url.clone(),
            trusted_proxies: listen.trusted_proxies.clone(),
            default_tenant: listen.default_tenant.clone(),
        };
        let settings = Settings {
            cache: self.config.cache.clone(),
            rewrite_links: self.config.upstream.rewrite_links,
            upstream_hosts: self.config.superoffice.upstream_hosts.clone(),
            guard: HostGuard::new(&listen.hosts),
            clients: Arc::new(Clients::new(&access.clients, access.anonymous.as_ref(), access.report)),
            cors: Cors::new(&access.origins),
            front,
            max_uri: self.config.listen.max_uri,
            max_body: self.config.listen.max_body,
            ticket_faults: self.config.superoffice.soap_ticket_faults.clone(),
            replay_limit: self.config.upstream.replay_limit,
            forwarded: self.config.upstream.forwarded,
            total_timeout: self.config.upstream.total_timeout,
            tunnel_timeout: self.config.upstream.tunnel_timeout,
        };
        let contexts = self.config.tenants.iter().map(|tenant| (tenant.name.as_str(), tenant.context.as_str()));
        let routes = Routes::new(self.tenants.iter().map(|tenant| (tenant.name.to_string(), tenant.clone())))
            .known_as(contexts)
            .carrying(&self.config.upstream.routes)
            .by_default(listen.default_tenant.as_deref());
        Proxy { routes, settings, common }
    }
}

/// Binds `[listen]` and behind it `[[listeners]]`: each listener with its door.
async fn bind(config: &Config, handed: &mut Handed) -> io::Result<(Vec<Listener>, Arc<[Door]>)> {
    let listen = &config.listen;
    let mut listeners = bind_all(&listen.addresses, &listen.sockets, listen.tls.as_ref(), handed).await?;
    let at = |door: &Door, listener: &Listener| Door { address: listener.local_addr(), tls: listener.tls().is_some(), ..door.clone() };
    let mut doors: Vec<Door> = listeners.iter().map(|listener| at(&Door::default(), listener)).collect();
    for bound in &config.listeners {
        let more = bind_all(&bound.addresses, &bound.sockets, bound.tls.as_ref(), handed).await?;
        let tenant = bound.tenant.as_deref().map(Into::into);
        let door = Door { tenant, public_url: bound.public_url.clone(), ..Door::default() };
        doors.extend(more.iter().map(|listener| at(&door, listener)));
        listeners.extend(more);
    }
    Ok((listeners, doors.into()))
}

/// Listeners that have their TLS in common.
async fn bind_all(
    addresses: &[SocketAddr],
    sockets: &[unix::Place],
    files: Option<&tls::Files>,
    handed: &mut Handed,
) -> io::Result<Vec<Listener>> {
    // The files were good when the configuration was read; they may have changed since.
    let tls = files.map(|files| Tls::new(files.clone())).transpose().map_err(io::Error::other)?;
    let mut listeners = server::bind_or_take(addresses, handed).await?;
    for place in sockets {
        listeners.push(server::bind_or_take_unix(place, handed)?);
    }
    Ok(listeners.into_iter().map(|listener| listener.speaking(tls.clone())).collect())
}

/// Hands each request to the snapshot that is current when it arrives.
#[derive(Clone)]
struct ProxyHandler(Arc<ArcSwap<Proxy>>);

impl Handler for ProxyHandler {
    type Body = Recorded;

    async fn handle(&self, request: Box<Request<Inbound>>, ends: Ends) -> Response<Recorded> {
        let proxy = self.0.load_full();
        proxy.handle(request, ends).await
    }

    fn malformed(&self, violation: Violation) -> Option<Response<Body>> {
        Some(self.0.load().malformed(violation))
    }
}
