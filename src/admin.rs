//! What an operator reaches for, on a listener of its own: liveness, readiness, metrics, status, and a few actions. Nothing
//! secret is ever in its output.
//!
//! Whether somebody may ask is decided here and nowhere else, before anything is looked at: the guard keeps web pages and foreign
//! names out, `token` tells what a caller may do, and each page says what it takes (`page`).

mod actions;
mod metrics;
mod page;
mod process;
mod readiness;
mod status;
mod token;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;

pub use self::page::ENDPOINTS;
use self::page::{Page, Tell};
pub use self::readiness::{Readiness, TenantReadiness};
pub use self::status::{Confinement, Facts, Kept, Listening};
use self::token::{Right, Token};
use crate::body::{Body, empty, full};
use crate::config::{self, ReadyWhen};
use crate::metrics::exposition::Format;
use crate::proxy::{Proxy, Tenant};
use crate::reload::Reloads;
use crate::server::guard::HostGuard;
use crate::server::{Ends, Handler, Inbound, Stop};

/// Answers whoever runs the proxy. Its clones are one.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    proxy: Arc<ArcSwap<Proxy>>,
    rules: ArcSwap<Rules>,
    reloads: Reloads,
    stop: Stop,
    facts: Facts,
    confinement: OnceLock<Confinement>,
}

/// What a reload changes.
struct Rules {
    guard: HostGuard,
    token: Option<Token>,
    ready_when: ReadyWhen,
    /// What is worth a warning in the configuration in use.
    warnings: Vec<String>,
    /// Its log.level.
    log_level: String,
}

impl Rules {
    fn new(settings: Option<&config::Admin>, warnings: Vec<String>, log_level: String) -> Rules {
        Rules {
            guard: settings.map(|settings| HostGuard::new(&settings.hosts)).unwrap_or_default(),
            token: settings.and_then(|settings| settings.token.as_ref()).map(Token::new),
            ready_when: settings.map_or(ReadyWhen::Any, |settings| settings.ready_when.clone()),
            warnings,
            log_level,
        }
    }
}

impl Admin {
    /// Looks at whichever snapshot is current when asked.
    pub fn new(
        proxy: Arc<ArcSwap<Proxy>>,
        settings: Option<&config::Admin>,
        warnings: Vec<String>,
        log_level: String,
        reloads: Reloads,
        stop: Stop,
        facts: Facts,
    ) -> Admin {
        let rules = ArcSwap::from_pointee(Rules::new(settings, warnings, log_level));
        Admin(Arc::new(Inner { proxy, rules, reloads, stop, facts, confinement: OnceLock::new() }))
    }

    /// The settings of a reload. A listener that is to be off stays as it is until the next start, and so do its rules.
    pub fn apply(&self, settings: Option<&config::Admin>, warnings: Vec<String>, log_level: String) {
        let rules = match settings {
            Some(_) => Rules::new(settings, warnings, log_level),
            None => {
                let before = self.0.rules.load();
                let Rules { guard, token, ready_when, .. } = &**before;
                Rules { guard: guard.clone(), token: token.clone(), ready_when: ready_when.clone(), warnings, log_level }
            }
        };
        self.0.rules.store(Arc::new(rules));
    }

    /// What the process has taken from itself, once that is known.
    pub fn confined(&self, confinement: Confinement) {
        // The first who says it was there when it happened.
        let _ = self.0.confinement.set(confinement);
    }

    /// The tenant of this name, whatever its case.
    fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.0.proxy.load().routes.tenants().find(|tenant| tenant.name.eq_ignore_ascii_case(name)).cloned()
    }

    async fn answer(&self, parts: &Parts, body: Inbound, ends: &Ends) -> Response<Body> {
        let rules = self.0.rules.load_full();
        if let Err(forbidden) = rules.guard.check(parts, ends.local.map(|local| local.ip()), false, |_| false) {
            return text(StatusCode::FORBIDDEN, format!("{forbidden}\n"));
        }
        let Some(page) = Page::of(parts.uri.path()) else {
            return text(StatusCode::NOT_FOUND, format!("no such page here; there are\n\n{}", page::index()));
        };
        let Some(needed) = page.right(&parts.method) else {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("{} takes {}\n", parts.uri.path(), page.methods()));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(page.methods()));
            return response;
        };
        // A probe is answered whatever it shows: it cannot do harm, and must not fail for a reason of its own.
        let held = match token::right(rules.token.as_ref(), &parts.headers, ends) {
            _ if page == Page::Live => Right::Ask,
            Ok(held) => held,
            Err(wrong) => return unauthorized(wrong.to_string(), "Bearer realm=\"soproxy\", error=\"invalid_token\""),
        };
        if held < needed && rules.token.is_some() {
            return unauthorized("this takes admin.token: send Authorization: Bearer TOKEN".to_owned(), "Bearer realm=\"soproxy\"");
        }
        if held < needed {
            let what = "whoever reaches this address could do this: set admin.token, or use a Unix socket or a loopback address";
            return failure(StatusCode::FORBIDDEN, what);
        }
        match page {
            Page::Index => text(StatusCode::OK, page::index()),
            Page::Live => text(StatusCode::OK, "ok\n"),
            Page::Ready => {
                let readiness = self.readiness(&rules);
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                match held {
                    Right::Ask => json(status, &readiness.in_short()),
                    Right::Read | Right::Act => json(status, &readiness),
                }
            }
            Page::TenantReady(name) => match self.tenant(name) {
                Some(tenant) => {
                    let readiness = self.tenant_readiness(&tenant);
                    json(if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &readiness)
                }
                None => unknown(name),
            },
            Page::Metrics => self.metrics(parts, &rules),
            Page::Status => json(StatusCode::OK, &self.status(&rules)),
            Page::Tenant(name) => match self.tenant(name) {
                Some(tenant) => json(StatusCode::OK, &self.tenant_status(&tenant)),
                None => unknown(name),
            },
            page => self.act(page, parts, body, &actions::By::of(ends, rules.token.is_some())).await,
        }
    }

    fn metrics(&self, parts: &Parts, rules: &Rules) -> Response<Body> {
        let format = Format::wanted(parts.headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()));
        let (readiness, reloads) = (self.readiness(rules), self.0.reloads.history());
        let around = metrics::Around { readiness: &readiness, reloads: &reloads, started: self.0.facts.started.wall };
        let mut response = text(StatusCode::OK, metrics::page(&self.0.proxy.load(), &around, format));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        response
    }
}

impl Handler for Admin {
    type Body = Body;

    async fn handle(&self, request: Box<Request<Inbound>>, ends: Ends) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let mut response = self.answer(&parts, body, &ends).await;
        if parts.method == Method::HEAD {
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

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut response = text(status, body + "\n");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What did not work, as JSON.
fn failure(status: StatusCode, error: &str) -> Response<Body> {
    json(status, &Tell { error })
}

fn unknown(name: &str) -> Response<Body> {
    failure(StatusCode::NOT_FOUND, &format!("there is no tenant {name:?}; soproxy status, or GET /readyz, lists them"))
}

fn unauthorized(error: String, challenge: &'static str) -> Response<Body> {
    let mut response = failure(StatusCode::UNAUTHORIZED, &error);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
