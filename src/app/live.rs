//! What a reload works on: it replaces the snapshot, and says what has to wait for the next start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::StartError;
use super::backplane::Backplane;
use super::wired::{Wired, cache_limits};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::config::effective::{Change, Effective};
use crate::config::{self, Config};
use crate::proxy::address::Door;
use crate::proxy::{Common, Proxy};
use crate::reload::Report;
use crate::server::tls::Tls;
use crate::server::unix;
use crate::telemetry;

/// The part of a running proxy that a reload changes.
#[derive(Clone)]
pub struct Live(pub(super) Arc<LiveParts>);

pub(super) struct LiveParts {
    pub(super) proxy: Arc<ArcSwap<Proxy>>,
    pub(super) clock: Clock,
    pub(super) started: Started,
    pub(super) admin: Admin,
    /// What was wired for the snapshot in use; a reload keeps the parts whose settings are the same.
    pub(super) wired: Mutex<Wired>,
}

/// The sections that take effect at start only, as they were then.
pub(super) struct Started {
    pub(super) listen: config::Listen,
    pub(super) listeners: Vec<config::BoundListener>,
    pub(super) state: config::State,
    pub(super) store: Option<PathBuf>,
    /// What was bound, by its index.
    pub(super) doors: Arc<[Door]>,
    /// Their TLS, each once.
    pub(super) tls: Vec<Arc<Tls>>,
    /// Where the admin listener was to be, and where it is.
    pub(super) admin: Option<(Vec<SocketAddr>, Vec<unix::Place>)>,
    pub(super) admin_addresses: Vec<SocketAddr>,
    pub(super) renewal: config::Renewal,
    pub(super) log: config::Log,
    pub(super) telemetry: Option<telemetry::Settings>,
    pub(super) confine: config::Confine,
    /// What was set, but for tenants.
    pub(super) effective: Effective,
}

impl Live {
    /// Replaces the snapshot. Tenants whose settings are the same keep their tickets; requests in flight finish with what
    /// they started with. Sections that are bound at start stay as they are until a restart, with a warning.
    pub fn apply(&self, config: Config) -> Result<Report, StartError> {
        let parts = &*self.0;
        let mut wired = parts.wired.lock().unwrap_or_else(PoisonError::into_inner);
        parts.started.may_serve(&config)?;
        let waiting = config.effective.without_tenants().changes(&parts.started.effective);
        let changes = config.effective.changes(&wired.config.effective);
        let mut report = Report::of(changes.iter().map(ToString::to_string));
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
            ("[log] (but for level)", !config.log.is_same_but_for_level(&parts.started.log)),
            ("[telemetry]", config.telemetry != parts.started.telemetry),
            ("[confine]", config.confine != parts.started.confine),
        ] {
            if changed {
                tracing::warn!("{section} changed: that takes effect at the next start");
                report.at_next_start.extend(at_next_start(section, &waiting));
            }
        }
        // Not a matter of the configuration: what is in these files is followed in any case, only later.
        parts.started.tls.iter().for_each(|tls| tls.renew(true));
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let level = (config.log.level != wired.config.log.level).then(|| config.log.level.clone());
        let traces = parts.proxy.load().common.traces.clone();
        let mut backplane = Backplane::new(&config, parts.clock.clone(), &wired.shared.metrics, traces)?;
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
        let warnings = next.config.warnings.iter().map(ToString::to_string).collect();
        parts.admin.apply(next.config.admin.as_ref(), warnings, next.config.log.level.clone());
        tracing::info!(tenants = next.tenants.len(), tickets_kept = kept, changes = %report, "configuration reloaded");
        *wired = next;
        // Last, when nothing can fail any more; and only if it is another one, so that one that was set by hand stays.
        if let Some(Err(why)) = level.map(|level| crate::log::set_level(&level)) {
            tracing::warn!("log.level changed: that takes effect at the next start ({why})");
        }
        Ok(report)
    }
}

/// The keys that take effect at once in sections whose others do not.
const LIVE: [&str; 13] = [
    "admin.hosts",
    "admin.insecure_allow_anonymous",
    "admin.token",
    "admin.ready_when",
    "listen.hosts",
    "listen.insecure_allow_anonymous",
    "listen.default_tenant",
    "listen.public_url",
    "listen.trusted_proxies",
    "listen.max_uri",
    "listen.max_body",
    "listen.policy",
    "log.level",
];

/// Which keys of a section are meant that takes effect at the next start; the section is told as people are told: `[listen] (but …)`.
fn at_next_start(section: &str, waiting: &[Change]) -> Vec<String> {
    let name = section.trim_start_matches('[').split(']').next().unwrap_or_default();
    let within = |key: &str| key.split(['.', '[']).next() == Some(name);
    let keys: Vec<String> = waiting
        .iter()
        .filter(|change| within(&change.key) && !LIVE.contains(&change.key.as_str()))
        .map(|change| change.key.clone())
        .collect();
    // What no key tells, such as another file behind the same link.
    if keys.is_empty() { vec![section.to_owned()] } else { keys }
}

impl Started {
    /// The configuration was judged by the addresses that it names; those that are bound stay until the next start.
    pub(super) fn may_serve(&self, config: &Config) -> Result<(), StartError> {
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

/// Where the admin listener shall be.
pub(super) fn places(admin: Option<&config::Admin>) -> Option<(Vec<SocketAddr>, Vec<unix::Place>)> {
    admin.map(|admin| (admin.addresses.clone(), admin.sockets.clone()))
}

pub(super) fn same_listeners(a: &config::Listen, b: &config::Listen) -> bool {
    a.addresses == b.addresses
        && a.sockets == b.sockets
        && a.tls == b.tls
        && a.limits == b.limits
        && a.max_requests == b.max_requests
        && a.shutdown_delay == b.shutdown_delay
        && a.grace == b.grace
        && a.workers == b.workers
}
