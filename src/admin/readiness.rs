//! `/readyz`: whether requests can be served, and if not, whose fault that is.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Admin, Rules};
use crate::config::ReadyWhen;
use crate::proxy::Tenant;
use crate::superoffice::state::keeper::Report;
use crate::ticket::cache::Status;

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// Whether what `ready_when` asks for can be served, and the process is not being stopped.
    pub ready: bool,
    /// `admin.ready_when`: `any`, `all` or a list of names.
    pub ready_when: serde_json::Value,
    /// Whether the process is being stopped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Why the last reload failed, if it did; the configuration before it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_failed: Option<String>,
    /// Each tenant by name.
    pub tenants: BTreeMap<String, TenantReadiness>,
}

/// The same for those who only ask.
#[derive(Debug, Serialize)]
pub(super) struct Short {
    ready: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
}

/// The body of `/readyz/TENANT`.
#[derive(Debug, Serialize)]
pub(super) struct OneReadiness {
    pub(super) ready: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
    #[serde(flatten)]
    tenant: TenantReadiness,
}

/// How one tenant stands.
#[derive(Debug, Serialize)]
pub struct TenantReadiness {
    /// `ready`, `renewing`, `idle` (a ticket is fetched on demand), `failing`, `refused`, `not_running` or `address_unknown`.
    pub state: &'static str,
    /// The state that SuperOffice tells: `Running`, `Suspended` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_state: Option<String>,
    /// Whether a request would be served now.
    pub can_serve: bool,
    /// The ticket in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Its age in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Where SuperOffice says that the tenant moved, and why it is not followed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub move_refused: Option<String>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds until the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_seconds: Option<u64>,
}

impl TenantReadiness {
    /// From what is known of its ticket and of its state.
    pub fn new(status: Status, report: Report) -> TenantReadiness {
        let can_serve = status.can_serve() && report.outage.is_none() && report.unknown.is_none();
        let (state, reason, retry) = match (&status.refused, &status.failure) {
            _ if report.outage.is_some() => ("not_running", report.outage.as_ref().map(ToString::to_string), None),
            (Some(pause), _) => {
                let reason = "upstream answers 401 to fresh tickets: is client_secret right?".to_owned();
                ("refused", Some(reason), Some(*pause))
            }
            (None, Some(failure)) => ("failing", Some(failure.failure.wire.clone()), Some(failure.retry_after)),
            _ if report.unknown.is_some() => ("address_unknown", report.unknown, None),
            (None, None) if status.ticket.is_some() => ("ready", None, None),
            (None, None) if status.renewing => ("renewing", None, None),
            (None, None) => ("idle", None, None),
        };
        TenantReadiness {
            state,
            tenant_state: report.name,
            move_refused: report.refused,
            can_serve,
            generation: status.ticket.map(|(generation, _)| generation),
            age_seconds: status.ticket.map(|(_, age)| age.as_secs()),
            reason,
            retry_seconds: retry.map(|retry| retry.as_secs_f64().ceil() as u64),
        }
    }

    /// How `tenant` stands now.
    pub(super) fn of(tenant: &Tenant) -> TenantReadiness {
        TenantReadiness::new(tenant.tickets.status(), tenant.keeper.report())
    }
}

impl Readiness {
    pub(super) fn in_short(&self) -> Short {
        Short { ready: self.ready, draining: self.draining }
    }
}

impl Admin {
    /// How the tenants stand now, by the settings in use.
    pub fn stands(&self) -> Readiness {
        self.readiness(&self.0.rules.load())
    }

    /// How the tenants stand now.
    pub(super) fn readiness(&self, rules: &Rules) -> Readiness {
        let proxy = self.0.proxy.load();
        let tenants: BTreeMap<_, TenantReadiness> =
            proxy.routes.tenants().map(|tenant| (String::from(&*tenant.name), TenantReadiness::of(tenant))).collect();
        let draining = self.draining();
        let mut reasons = missing(&rules.ready_when, &tenants);
        if draining {
            reasons.insert(0, "the process is being stopped".to_owned());
        }
        let ready_when = match &rules.ready_when {
            ReadyWhen::Any => "any".into(),
            ReadyWhen::All => "all".into(),
            ReadyWhen::Tenants(names) => names.clone().into(),
        };
        let reload_failed = self.0.reloads.history().failure.map(|(_, why)| why.trim().to_owned());
        Readiness { ready: reasons.is_empty(), ready_when, draining, reasons, reload_failed, tenants }
    }

    /// Whether the process is being stopped.
    pub(super) fn draining(&self) -> bool {
        self.0.stop.leaving.is_cancelled() || self.0.stop.drain.is_cancelled()
    }

    pub(super) fn tenant_readiness(&self, tenant: &Tenant) -> OneReadiness {
        let (draining, tenant) = (self.draining(), TenantReadiness::of(tenant));
        OneReadiness { ready: !draining && tenant.can_serve, draining, tenant }
    }
}

/// Why what is asked for is not there: nothing, if it is.
fn missing(ready_when: &ReadyWhen, tenants: &BTreeMap<String, TenantReadiness>) -> Vec<String> {
    let unserved = |(name, tenant): (&String, &TenantReadiness)| {
        let why = tenant.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{name} is {}{why}", tenant.state)
    };
    match ready_when {
        ReadyWhen::Any if tenants.values().any(|tenant| tenant.can_serve) => Vec::new(),
        ReadyWhen::Any => vec!["no tenant can be served".to_owned()],
        ReadyWhen::All => tenants.iter().filter(|(_, tenant)| !tenant.can_serve).map(unserved).collect(),
        ReadyWhen::Tenants(names) => {
            let judge = |name: &String| match tenants.get_key_value(name) {
                Some((_, tenant)) if tenant.can_serve => None,
                Some(found) => Some(unserved(found)),
                None => Some(format!("{name} is no configured tenant")),
            };
            names.iter().filter_map(judge).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(can_serve: bool) -> TenantReadiness {
        TenantReadiness {
            state: if can_serve { "ready" } else { "failing" },
            tenant_state: None,
            can_serve,
            generation: None,
            age_seconds: None,
            move_refused: None,
            reason: (!can_serve).then(|| "login is down".to_owned()),
            retry_seconds: None,
        }
    }

    #[test]
    fn what_is_missing_is_what_was_asked_for() {
        let tenants = |served: &[(&str, bool)]| served.iter().map(|(name, good)| ((*name).to_owned(), tenant(*good))).collect();
        let (one, none) = (tenants(&[("A", true), ("B", false)]), tenants(&[("A", false), ("B", false)]));
        let names = |names: &[&str]| ReadyWhen::Tenants(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(missing(&ReadyWhen::Any, &one), [""; 0]);
        assert_eq!(missing(&ReadyWhen::Any, &none), ["no tenant can be served"]);
        assert_eq!(missing(&ReadyWhen::All, &one), ["B is failing: login is down"]);
        assert_eq!(missing(&ReadyWhen::All, &none).len(), 2);
        assert_eq!(missing(&names(&["A"]), &one), [""; 0]);
        assert_eq!(missing(&names(&["B", "A"]), &one), ["B is failing: login is down"]);
        assert_eq!(missing(&names(&["C"]), &one), ["C is no configured tenant"]);
    }
}
