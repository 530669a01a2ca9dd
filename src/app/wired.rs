//! The tenants and what they are made of, and the snapshot that is made of them.

use std::sync::Arc;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::StartError;
use super::backplane::{self, Backplane, Wiring, same_tenant};
use super::warm::{Recalled, Warm};
use crate::config::{self, Config, Prefetch};
use crate::proxy::address::{Door, Front};
use crate::proxy::cache::{self, Cache};
use crate::proxy::clients::Clients;
use crate::proxy::cors::Cors;
use crate::proxy::governor::Governor;
use crate::proxy::route::Routes;
use crate::proxy::{Common, KnownHomes, Proxy, Settings, Shelf, Tenant};
use crate::server::guard::HostGuard;
use crate::ticket::cache::{Shared, Tickets};

/// "auto" fetches all tickets at start when there are at most this many tenants.
pub(super) const PREFETCH_AT_MOST: usize = 100;

/// What tenants are made of, with the settings that made it.
pub(super) struct Wired {
    pub(super) backplane: Backplane,
    pub(super) shared: Arc<Shared>,
    pub(super) cache: Arc<Cache>,
    pub(super) warm: Arc<Warm>,
    pub(super) config: Config,
    pub(super) tenants: Vec<Arc<Tenant>>,
}

impl Wired {
    /// Starts every tenant, or takes it over from what is `running` if `keep` says so: how many were.
    pub(super) fn wire_all(&mut self, running: Option<&Wired>, keep: bool) -> Result<usize, StartError> {
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
    pub(super) fn has(&self, tenant: &config::Tenant) -> bool {
        self.config.tenants.binary_search_by(|old| old.name.cmp(&tenant.name)).is_ok()
    }

    /// The tenant that these settings made, if they made one that is the same.
    pub(super) fn tenant_like(&self, tenant: &config::Tenant) -> Option<&Tenant> {
        // They are in the order of their names.
        let at = self.config.tenants.binary_search_by(|old| old.name.cmp(&tenant.name)).ok()?;
        if !same_tenant(self.config.tenants.get(at)?, tenant) {
            return None;
        }
        self.tenants.get(at).map(|tenant| &**tenant)
    }

    pub(super) fn snapshot(&self, common: Common, doors: &Arc<[Door]>) -> Proxy {
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

/// One answer may take an eighth of the room.
pub(super) fn cache_limits(config: &Config) -> cache::Limits {
    cache::Limits { total: config.upstream.cache_size, entry: config.upstream.cache_size / 8 }
}
