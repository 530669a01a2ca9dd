//! Liveness, readiness and metrics, on a listener of their own. Nothing secret is ever in their output.

mod metrics;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use crate::body::{Body, empty, full};
use crate::metrics::exposition::Format;
use crate::proxy::{Proxy, Tenant};
use crate::reload::Reloads;
use crate::server::guard::HostGuard;
use crate::server::{Ends, Handler, Inbound, Stop};
use crate::superoffice::state::keeper::Report;
use crate::ticket::cache::Status;

/// Answers `/livez`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub struct Admin {
    proxy: Arc<ArcSwap<Proxy>>,
    guard: Arc<HostGuard>,
    reloads: Reloads,
    stop: Stop,
    started: Timestamp,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// Whether any tenant can be served, and the process is not being stopped.
    pub ready: bool,
    /// Whether the process is being stopped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Each tenant by name.
    pub tenants: BTreeMap<String, TenantReadiness>,
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
}

impl Admin {
    /// Looks at whichever snapshot is current when asked.
    pub fn new(proxy: Arc<ArcSwap<Proxy>>, guard: HostGuard, reloads: Reloads, stop: Stop) -> Admin {
        Admin { proxy, guard: Arc::new(guard), reloads, stop, started: Timestamp::now() }
    }

    /// How the tenants stand now.
    pub fn readiness(&self) -> Readiness {
        let proxy = self.proxy.load();
        let stands = |tenant: &Tenant| TenantReadiness::new(tenant.tickets.status(), tenant.keeper.report());
        let tenants: BTreeMap<_, TenantReadiness> =
            proxy.routes.tenants().map(|tenant| (String::from(&*tenant.name), stands(tenant))).collect();
        let draining = self.stop.leaving.is_cancelled() || proxy.common.drain.is_cancelled();
        let ready = !draining && tenants.values().any(|tenant| tenant.can_serve);
        Readiness { ready, draining, tenants }
    }

    fn answer(&self, request: &Request<()>, ends: &Ends) -> Response<Body> {
        let parts = request.clone().into_parts().0;
        if let Err(forbidden) = self.guard.check(&parts, ends.local.map(|local| local.ip()), false, |_| false) {
            return text(StatusCode::FORBIDDEN, format!("{forbidden}\n"));
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let readiness = self.readiness();
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = serde_json::to_string_pretty(&readiness).unwrap_or_default();
                let mut response = text(status, body + "\n");
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            "/metrics" => {
                let format = Format::wanted(request.headers().get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()));
                let (readiness, reloads) = (self.readiness(), self.reloads.history());
                let around = metrics::Around { readiness: &readiness, reloads: &reloads, started: self.started };
                let mut response = text(StatusCode::OK, metrics::page(&self.proxy.load(), &around, format));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "/livez, /readyz or /metrics\n"),
        }
    }
}

impl Handler for Admin {
    type Body = Body;

    async fn handle(&self, request: Box<Request<Inbound>>, ends: Ends) -> Response<Body> {
        let request = request.map(drop);
        let mut response = self.answer(&request, &ends);
        if request.method() == Method::HEAD {
            *response.body_mut() = empty();
        }
        response
    }
}

fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
