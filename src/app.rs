//! The composition root: binds and wires what a [`Config`] says, supervises it, drains it, and swaps the snapshot when the
//! configuration changes. Nobody imports it but `cli`.

mod backplane;
mod listeners;
mod live;
mod warm;
mod wired;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::sync::Semaphore;

pub use self::backplane::{Backplane, Wiring};
use self::listeners::{bind, bind_all, listening};
pub use self::live::Live;
use self::live::{LiveParts, Started, places};
use self::warm::Warm;
use self::wired::{Wired, cache_limits};
use crate::admin::{Admin, Confinement, Facts, Readiness};
use crate::body::Body;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::log::AccessLog;
use crate::metrics::Metrics;
use crate::proxy::cache::Cache;
use crate::proxy::error::ProxyError;
use crate::proxy::{Common, InFlight, Proxy, Recorded};
use crate::push::StatePush;
use crate::reload::Reloads;
use crate::server::gate::Violation;
use crate::server::{self, Crew, Ends, Handed, Handler, Inbound, Listener, Stop};
use crate::telemetry::Telemetry;
use crate::ticket::cache::Shared;
use crate::upstream::tls::TlsError;

/// Strangers can reach the listener for notifications: they must not take all file descriptors of the process.
const PUSH_CONNECTIONS: usize = 100;

/// How long a collector may take for the last spans when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(3);

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
    telemetry: Option<Telemetry>,
    stop: Stop,
    reloads: Reloads,
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
            started: clock.now(),
            listeners: listening(&listeners, &doors, &admin_listeners, &push_listeners),
            census: crew.census(),
            store: Box::new({
                let (path, warm) = (config.store.clone(), Arc::downgrade(&warm));
                move || path.clone().zip(warm.upgrade()).map(|(path, warm)| warm.kept(path))
            }),
        };
        let (admin_settings, log_level) = (config.admin.clone(), config.log.level.clone());
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
            telemetry: config.telemetry.clone(),
            confine: config.confine.clone(),
            effective: config.effective.without_tenants(),
        };
        let shared = Arc::new(Shared {
            policy: config.renewal.policy.clone(),
            clock: clock.clone(),
            permits: Arc::new(Semaphore::new(config.renewal.concurrency)),
            patience: config.superoffice.login_timeout + Duration::from_secs(5),
            metrics: metrics.clone(),
        });
        let (traces, telemetry) = match config.telemetry.clone() {
            Some(settings) => {
                let caller = Backplane::exporter(&config, &settings.endpoint)?;
                let (traces, telemetry) = Telemetry::start(settings, caller);
                (Some(traces), Some(telemetry))
            }
            None => (None, None),
        };
        let backplane = Backplane::new(&config, clock.clone(), &metrics, traces.clone())?;
        let cache = Cache::new(cache_limits(&config));
        let mut wired = Wired { backplane, shared, cache, warm: warm.clone(), config, tenants: Vec::new() };
        wired.wire_all(None, false)?;
        let common = Common {
            upstream: wired.backplane.upstream().clone(),
            clock: clock.clone(),
            in_flight: Arc::new(InFlight::new(listen.max_requests)),
            drain: stop.drain.clone(),
            access_log,
            traces,
            cache: wired.cache.clone(),
            metrics,
            census: crew.census(),
            tls: started.tls.clone().into(),
        };
        let proxy = Arc::new(ArcSwap::from_pointee(wired.snapshot(common, &started.doors)));
        let admin = Admin::new(proxy.clone(), admin_settings.as_ref(), warnings, log_level, reloads.clone(), stop.clone(), facts);
        let push = StatePush::new(proxy.clone());
        let live = Live(Arc::new(LiveParts { proxy, clock, started, admin: admin.clone(), wired: Mutex::new(wired) }));
        Ok(App { listeners, admin_listeners, admin, push_listeners, push, config: listen, crew, live, warm, telemetry, stop, reloads })
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
        if let Some(telemetry) = self.telemetry {
            telemetry.finish(LAST_SPANS).await;
        }
        tracing::info!("stopped");
    }
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
