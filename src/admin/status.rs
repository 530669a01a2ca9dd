//! `/status`: what there is to know of this process, as JSON with names that stay.
//!
//! A secret is told by its place in the configuration, never by its value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::readiness::{Readiness, TenantReadiness};
use super::{Admin, Rules};
use crate::clock::Moment;
use crate::log;
use crate::proxy::Tenant;
use crate::reload::{History, Report};
use crate::server::Census;

/// What stays the same while the process runs, and whom to ask for what does not.
pub struct Facts {
    /// The configuration file.
    pub config: PathBuf,
    /// When the process began to serve.
    pub started: Moment,
    /// Where it listens.
    pub listeners: Vec<Listening>,
    /// The connections to the proxy's listeners.
    pub census: Census,
    /// How the store is, if there shall be one.
    pub store: Box<dyn Fn() -> Option<Kept> + Send + Sync>,
}

/// One address that is listened on.
#[derive(Clone, Debug, Serialize)]
pub struct Listening {
    /// `127.0.0.1:8080`, or `unix:/run/soproxy/soproxy.sock`.
    pub address: String,
    /// What for: `proxy`, `admin` or `state_changes`.
    pub serves: &'static str,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The one tenant it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// What the process has taken from itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Confinement {
    /// What holds.
    pub holds: Vec<String>,
    /// What does not, and why.
    pub lacks: Vec<String>,
}

/// How the store is.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it could be opened; the log says why not.
    pub open: bool,
    /// How many tenants' records could not be written the last time.
    pub failing: usize,
    /// How many records could not be used at the start.
    pub set_aside: usize,
}

/// The body of `/status`.
#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    started: String,
    uptime_seconds: u64,
    config_file: PathBuf,
    listeners: Vec<Listening>,
    /// `null`: it is not confined.
    confinement: Option<Confinement>,
    log_level: Option<String>,
    ready: bool,
    ready_when: serde_json::Value,
    draining: bool,
    reasons: Vec<String>,
    connections: usize,
    requests_in_flight: usize,
    cache: Cached,
    /// `null`: there is none.
    store: Option<Kept>,
    reloads: Reloaded,
    /// By login service: how far its clock is ahead of ours.
    clock_skew_seconds: BTreeMap<String, f64>,
    warnings: Vec<String>,
    tenants: BTreeMap<String, TenantStatus>,
}

#[derive(Serialize)]
struct Cached {
    entries: usize,
    bytes: usize,
}

#[derive(Serialize)]
struct Reloaded {
    applied: u64,
    failed: u64,
    last: Option<Applied>,
    /// Gone when one is applied.
    failure: Option<Failed>,
}

#[derive(Serialize)]
struct Applied {
    at: String,
    changes: Vec<String>,
    at_next_start: Vec<String>,
}

#[derive(Serialize)]
struct Failed {
    at: String,
    reason: String,
}

/// The body of `/tenants/TENANT`.
#[derive(Serialize)]
pub(super) struct TenantStatus {
    /// As on `/readyz`.
    #[serde(flatten)]
    readiness: TenantReadiness,
    context: String,
    login_service: String,
    /// Where its requests go.
    upstream: Option<String>,
    /// Whether the configuration says so.
    upstream_configured: bool,
    state_age_seconds: Option<u64>,
    state_valid_until: Option<String>,
    ticket: TicketStatus,
    credentials: CredentialStatus,
    serial: SerialStatus,
    calls: CallStatus,
}

#[derive(Serialize)]
struct TicketStatus {
    generation: Option<u64>,
    age_seconds: Option<u64>,
    /// Were it not used again.
    expires_in_seconds: Option<u64>,
    /// Whether SuperOffice has accepted it.
    accepted: bool,
    renewing: bool,
    exchanges_succeeded: u64,
    last_success: Option<String>,
    exchanges_failed: u64,
    last_failure: Option<Failed>,
    next_attempt_seconds: Option<u64>,
}

/// Which of the application's secrets the login service accepted last, by their places in their lists, from 1.
#[derive(Serialize)]
struct CredentialStatus {
    private_key: usize,
    private_keys: usize,
    client_secret: usize,
    client_secrets: usize,
}

#[derive(Serialize)]
struct SerialStatus {
    pinned: Option<String>,
    /// What the configuration says that it must be.
    configured: Option<String>,
}

#[derive(Serialize)]
struct CallStatus {
    /// Calls per second that may go now; `null`: any number.
    rate: Option<f64>,
    paused_seconds: f64,
    waiting: usize,
    /// How often SuperOffice's refusals have slowed it down.
    cuts: u32,
}

impl Admin {
    pub(super) fn status(&self, rules: &Rules) -> Status {
        let Readiness { ready, ready_when, draining, reasons, .. } = self.readiness(rules);
        let (proxy, facts) = (self.0.proxy.load(), &self.0.facts);
        let (entries, bytes) = proxy.common.cache.size();
        let now = proxy.common.clock.now();
        let skews = proxy.routes.tenants().map(|tenant| tenant.login.login());
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started: time(facts.started.wall),
            uptime_seconds: now.since(facts.started).as_secs(),
            config_file: facts.config.clone(),
            listeners: facts.listeners.clone(),
            confinement: self.0.confinement.get().cloned(),
            log_level: log::level(),
            ready,
            ready_when,
            draining,
            reasons,
            connections: facts.census.connections(),
            requests_in_flight: proxy.common.in_flight.now(),
            cache: Cached { entries, bytes },
            store: (facts.store)(),
            reloads: self.0.reloads.history().into(),
            clock_skew_seconds: skews.map(|login| (login.origin().to_string(), login.skew().as_secs_f64())).collect(),
            warnings: rules.warnings.clone(),
            tenants: proxy.routes.tenants().map(|tenant| (String::from(&*tenant.name), self.tenant_status(tenant))).collect(),
        }
    }

    pub(super) fn tenant_status(&self, tenant: &Tenant) -> TenantStatus {
        let now = self.0.proxy.load().common.clock.now();
        let (status, history, standing) = (tenant.tickets.status(), tenant.tickets.history(), tenant.keeper.now());
        let identity = tenant.login.identity();
        let (key, secret) = identity.application.accepted_pair();
        let calls = tenant.governor.standing();
        TenantStatus {
            context: tenant.context.to_string(),
            login_service: tenant.login.login().origin().to_string(),
            upstream: standing.base.as_ref().map(ToString::to_string),
            upstream_configured: tenant.keeper.is_pinned(),
            state_age_seconds: standing.age(now).as_ref().map(Duration::as_secs),
            state_valid_until: standing.state.as_ref().and_then(|state| state.valid_until).map(time),
            ticket: TicketStatus {
                generation: status.ticket.map(|(generation, _)| generation),
                age_seconds: status.ticket.map(|(_, age)| age.as_secs()),
                expires_in_seconds: history.expires_in.as_ref().map(Duration::as_secs),
                accepted: history.accepted,
                renewing: status.renewing,
                exchanges_succeeded: history.succeeded.0,
                last_success: history.succeeded.1.map(|at| time(at.wall)),
                exchanges_failed: history.failed.0,
                last_failure: history.failed.1.map(|(at, failure)| Failed { at: time(at.wall), reason: failure.log }),
                next_attempt_seconds: status.failure.as_ref().map(|failure| failure.retry_after.as_secs_f64().ceil() as u64),
            },
            credentials: CredentialStatus {
                private_key: key + 1,
                private_keys: identity.application.keys().len(),
                client_secret: secret + 1,
                client_secrets: identity.application.secrets().len(),
            },
            serial: SerialStatus { pinned: identity.pin.get(), configured: identity.serial.clone() },
            calls: CallStatus { rate: calls.rate, paused_seconds: calls.paused.as_secs_f64(), waiting: calls.waiting, cuts: calls.cuts },
            readiness: TenantReadiness::new(status, tenant.keeper.report()),
        }
    }
}

impl From<History> for Reloaded {
    fn from(history: History) -> Reloaded {
        let applied =
            |(at, report): (Timestamp, Report)| Applied { at: time(at), changes: report.changes, at_next_start: report.at_next_start };
        let failed = |(at, reason): (Timestamp, String)| Failed { at: time(at), reason: reason.trim().to_owned() };
        let History { applied: count, failed: failures, last, failure } = history;
        Reloaded { applied: count, failed: failures, last: last.map(applied), failure: failure.map(failed) }
    }
}

/// To the second, as people and programs read it.
fn time(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}
