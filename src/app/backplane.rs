//! What tenants are made of: the clients that they share, their login services, and each tenant's own wiring.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::StartError;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::superoffice::ExchangeKind;
use crate::superoffice::application::Application;
use crate::superoffice::http::Caller;
use crate::superoffice::keys::VerificationKeys;
use crate::superoffice::login::{self, Login, Observer};
use crate::superoffice::origin::{AllowedBase, BaseUrl};
use crate::superoffice::serial;
use crate::superoffice::state;
use crate::superoffice::state::keeper::{self, Keeper, Pace};
use crate::superoffice::tenant::{Granted, Identity, StateEndpoint, TenantLogin};
use crate::ticket::ExchangeFailure;
use crate::upstream::Upstream;
use crate::upstream::tls::{self, TlsError};

/// What is made of one tenant's settings.
pub struct Wiring {
    /// Its way to a ticket.
    pub login: TenantLogin,
    /// Where it is and whether it runs.
    pub keeper: Arc<Keeper>,
}

/// The ways out that tenants share: the client for the web API, the one for SuperOffice's own services, and the login
/// services by their settings.
pub struct Backplane {
    upstream: Upstream,
    caller: Caller,
    clock: Clock,
    states: Arc<keeper::Shared>,
    logins: Vec<(LoginKey, Arc<Login>)>,
    /// By login service: what is accepted at one may not be at another.
    applications: Vec<(BaseUrl, Arc<Application>)>,
    /// Those of before a reload, until it is known which of them are still there.
    known: Vec<(BaseUrl, Arc<Application>)>,
    pins: serial::Pins,
}

/// What makes a login service another one.
#[derive(Clone, PartialEq)]
struct LoginKey(BaseUrl, ExchangeKind, Option<Arc<VerificationKeys>>);

impl LoginKey {
    fn of(tenant: &config::Tenant) -> LoginKey {
        LoginKey(tenant.login_url.clone(), tenant.exchange, tenant.verification_keys.clone())
    }
}

impl Wiring {
    /// One exchange by hand, observed, and where the tenant's web API is.
    pub async fn obtain(&self, observer: Observer<'_>) -> Result<(Granted, AllowedBase), ExchangeFailure> {
        let (granted, _) = tokio::join!(self.login.obtain(observer), self.keeper.get());
        let granted = granted?;
        // The token may have told what the state did not.
        let standing = self.keeper.now();
        match &standing.base {
            Some(base) => Ok((granted, base.clone())),
            None => {
                let why = standing.unknown.as_deref().unwrap_or("nobody told it");
                let wire = "the address of this tenant's web API is not known".to_owned();
                let hint = "Set its api_url, or list the host in superoffice.upstream_hosts if it is SuperOffice's";
                Err(ExchangeFailure { code: "tenant_address_unknown", log: format!("{wire}: {why}. {hint}"), wire })
            }
        }
    }
}

impl Backplane {
    /// Goes on with what `before` knows, because nothing has changed that it was made of.
    pub(super) fn take_over(&mut self, before: &Backplane) {
        self.upstream = before.upstream.clone();
        self.caller = before.caller.clone();
        self.logins = before.logins.clone();
    }

    /// What stays through any reload: how often states are fetched, the serials that were seen, and of the applications that
    /// are still there which of their secrets are accepted.
    pub(super) fn keep_on(&mut self, before: &Backplane) {
        self.states = before.states.clone();
        self.pins = before.pins.clone();
        self.known = before.applications.clone();
    }

    /// Forgets the applications that no tenant has any more: their secrets are no longer ours to keep.
    pub(super) fn tidy(&mut self) {
        self.known = Vec::new();
    }

    /// Wires the clients, which count in `metrics`. Without trusted roots only a configuration that needs none (loopback, plain) works.
    pub fn new(config: &Config, clock: Clock, metrics: &Arc<Metrics>) -> Result<Backplane, StartError> {
        let plain = |tenant: &config::Tenant| !tenant.login_url.is_https() && tenant.api_url.as_ref().is_none_or(|api| !api.is_https());
        let config::Outbound { proxies, proxy_from, identity, pins } = &config.outbound;
        if !proxies.is_direct() {
            tracing::info!("out through {proxies} (as {proxy_from} says)");
        }
        let tls = match tls::client_config(config.superoffice.ca_pem.as_deref(), pins, identity.as_deref()) {
            Err(TlsError::Roots(_)) if config.tenants.iter().all(plain) => tls::no_roots(),
            tls => tls,
        }?;
        let (settings, workers) = (config.upstream.settings.clone(), config.listen.threads());
        let upstream = Upstream::new(tls, proxies.clone(), settings, workers, metrics.clone());
        let caller = Caller::new(upstream.clone(), config.superoffice.login_timeout);
        let states = Arc::new(keeper::Shared {
            pace: Pace { min: config.state.min_interval, max: config.state.max_interval },
            clock: clock.clone(),
            permits: Arc::new(Semaphore::new(config.renewal.concurrency)),
            patience: config.superoffice.login_timeout + config.state.min_interval + Duration::from_secs(1),
            metrics: metrics.clone(),
        });
        let (logins, applications, known, pins) = Default::default();
        Ok(Backplane { upstream, caller, clock, states, logins, applications, known, pins })
    }

    /// The client for the web API.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Wires one tenant. Tenants of one login service share what is known of it. `kept` is what was known of the tenant
    /// before a reload, `memo` before a restart; with `prefetch` its state is fetched at once.
    pub fn tenant(
        &mut self,
        config: &Config,
        tenant: &config::Tenant,
        kept: Option<Arc<Keeper>>,
        memo: Option<&state::Memo>,
        prefetch: bool,
    ) -> Result<Wiring, StartError> {
        let api_url = fit(config, tenant)?;
        let hosts = config.superoffice.upstream_hosts.clone();
        let login = self.login(config, tenant);
        let source = Arc::new(StateEndpoint { login: login.clone(), context: tenant.context.clone() });
        let keeper = match kept {
            Some(keeper) => {
                // A new trusted root, say, must reach those who stay.
                keeper.ask_by(source);
                keeper
            }
            None => Arc::new(Keeper::start(&tenant.name, source, hosts, api_url, self.states.clone(), memo, prefetch)),
        };
        let identity = Identity {
            context: tenant.context.clone(),
            system_user_token: tenant.system_user_token.clone(),
            application: self.application(tenant)?,
            pin: self.pins.of(&tenant.login_url, &tenant.context),
            serial: tenant.serial.clone(),
        };
        Ok(Wiring { login: TenantLogin::new(identity, login, keeper.clone()), keeper })
    }

    fn application(&mut self, tenant: &config::Tenant) -> Result<Arc<Application>, StartError> {
        let config::Tenant { login_url, signing_keys, client_secrets, .. } = tenant;
        let same = |(login, known): &&(BaseUrl, Arc<Application>)| login == login_url && known.is_of(signing_keys, client_secrets);
        if let Some((_, used)) = self.applications.iter().find(same) {
            return Ok(used.clone());
        }
        let application = match self.known.iter().find(same) {
            Some((_, known)) => known.clone(),
            None => Arc::new(Application::new(signing_keys.clone(), client_secrets).map_err(|error| unfit(tenant, &error))?),
        };
        self.applications.push((login_url.clone(), application.clone()));
        Ok(application)
    }

    fn login(&mut self, config: &Config, tenant: &config::Tenant) -> Arc<Login> {
        let key = LoginKey::of(tenant);
        if let Some((_, login)) = self.logins.iter().find(|(other, _)| *other == key) {
            return login.clone();
        }
        let settings = login::Settings {
            origin: tenant.login_url.clone(),
            kind: tenant.exchange,
            leeway: config.superoffice.leeway,
            keys: tenant.verification_keys.clone(),
        };
        let login = Arc::new(Login::new(settings, self.caller.clone(), self.clock.clone()));
        self.logins.push((key, login.clone()));
        login
    }
}

/// What of a tenant's settings may turn out not to fit together: its pinned address, and the values of `SO-AppToken`.
pub(super) fn fit(config: &Config, tenant: &config::Tenant) -> Result<Option<AllowedBase>, StartError> {
    let hosts = &config.superoffice.upstream_hosts;
    let api_url = tenant.api_url.clone().map(|base| hosts.allow(base)).transpose();
    Application::new(tenant.signing_keys.clone(), &tenant.client_secrets).map_err(|error| unfit(tenant, &error))?;
    api_url.map_err(|error| unfit(tenant, &format!("api_url: {error}")))
}

fn unfit(tenant: &config::Tenant, what: &dyn std::fmt::Display) -> StartError {
    StartError::Tenant { tenant: tenant.name.clone(), what: what.to_string() }
}

/// Whether a ticket fetched for `a` is as good for `b`, if `b` still has the client secret that it was got with. Which key
/// signed for it does not matter, as long as it is one application's: they have a key in common.
pub(super) fn same_tenant(a: &config::Tenant, b: &config::Tenant) -> bool {
    LoginKey::of(a) == LoginKey::of(b)
        && a.name == b.name
        && a.context == b.context
        && a.api_url == b.api_url
        && a.system_user_token.expose() == b.system_user_token.expose()
        && a.signing_keys.iter().any(|key| b.signing_keys.contains(key))
}
