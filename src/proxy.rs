//! `Proxy`: an immutable snapshot of what is needed to answer a request, and the pipeline, one named step per line.
//!
//! The order of the steps is the security argument: know the caller, refuse browsers, refuse what is ambiguous, match the tenant,
//! ask the caller's rules, strip, find where it lives (an allowed base), get its ticket, inject, send, scrub.

mod account;
pub mod address;
pub mod body;
pub mod cache;
mod caller;
mod caught;
pub mod clients;
pub mod cors;
pub mod error;
mod fetch;
pub mod governor;
pub mod headers;
mod homeward;
pub mod links;
mod malformed;
mod permission;
pub mod policy;
pub mod route;
pub mod soap;
mod state;
pub mod target;
mod twice;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{EXPECT, ORIGIN, UPGRADE};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, Version};
use http_body::Body as HttpBody;
use tokio_util::sync::CancellationToken;

use self::account::{Account, Payload};
pub use self::account::{InFlight, Recorded};
use self::address::Front;
use self::cache::{Asked, Cache, Content, Rules, Write};
use self::caller::{both, forwarded, request_id};
use self::caught::caught;
use self::clients::{Client, Clients};
use self::cors::Cors;
use self::error::ProxyError;
use self::fetch::{Errand, waited};
use self::governor::{Governor, Permit};
use self::headers::REQUEST_ID;
pub use self::homeward::KnownHomes;
use self::homeward::WayHome;
use self::links::Mode;
use self::route::{Found, Route, Routes};
use crate::body::Body;
use crate::clock::Clock;
use crate::log::{AccessLog, AccessRecord};
use crate::metrics::{Cells, Lookup, Metrics, TenantCounts};
use crate::server::guard::HostGuard;
use crate::server::tls::Tls;
use crate::server::{Census, Ends, Inbound, Tunnel, TunnelTo};
use crate::superoffice::ContextId;
use crate::superoffice::origin::UpstreamHosts;
use crate::superoffice::state::keeper::Keeper;
use crate::superoffice::tenant::TenantLogin;
use crate::ticket::cache::Tickets;
use crate::upstream::{self, Upstream};

/// A tenant as the pipeline sees it.
pub struct Tenant {
    /// The name its paths start with.
    pub name: Arc<str>,
    /// The context identifier, by which SuperOffice knows it.
    pub context: ContextId,
    /// Where it is and whether it runs.
    pub keeper: Arc<Keeper>,
    /// SuperOffice's side of its links.
    pub homes: KnownHomes,
    /// Its ticket.
    pub tickets: Arc<Tickets>,
    /// Its way to one.
    pub login: Arc<TenantLogin>,
    /// Whose call goes next.
    pub governor: Arc<Governor>,
    /// Where its lists are cached.
    pub shelf: Shelf,
    /// What is counted of it.
    pub counts: Arc<TenantCounts>,
}

/// What the cache tells one tenant's answers from another's by.
pub struct Shelf {
    /// The context identifier, in small letters.
    pub tenant: Arc<str>,
    /// The credential, as the cache tells it.
    pub identity: u64,
}

const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");

/// What is the same for all tenants.
#[derive(Clone)]
pub struct Common {
    /// The way out.
    pub upstream: Upstream,
    /// The time.
    pub clock: Clock,
    /// The requests in flight.
    pub in_flight: Arc<InFlight>,
    /// Set when the process is being stopped.
    pub drain: CancellationToken,
    /// Where access records go.
    pub access_log: Option<Arc<AccessLog>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The callers' connections.
    pub census: Census,
    /// The listeners' certificates.
    pub tls: Arc<[Arc<Tls>]>,
    /// Answers that are kept.
    pub cache: Arc<Cache>,
}

/// The settings of the pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which lists are cached, and for how long.
    pub cache: Rules,
    /// Which links are rewritten.
    pub rewrite_links: Mode,
    /// The hosts that a ticket may be sent to.
    pub upstream_hosts: UpstreamHosts,
    /// The names this listener goes by.
    pub guard: HostGuard,
    /// Who may call, and what.
    pub clients: Arc<Clients>,
    /// Whose pages may call.
    pub cors: Cors,
    /// The ways to us.
    pub front: Front,
    /// Bytes of a request's target.
    pub max_uri: usize,
    /// Bytes of a request body; `None` is no limit.
    pub max_body: Option<u64>,
    /// Bytes of a request body kept for a replay.
    pub replay_limit: usize,
    /// Which SOAP answers mean that a ticket has expired.
    pub ticket_faults: soap::TicketFaults,
    /// Whether `X-Forwarded-*` are added.
    pub forwarded: bool,
    /// From a request's arrival to its answer's last byte.
    pub total_timeout: Option<Duration>,
    /// How long a tunnel may be silent.
    pub tunnel_timeout: Duration,
}

/// One snapshot: swapped as a whole by a reload.
pub struct Proxy {
    /// The tenants by name.
    pub routes: Routes<Arc<Tenant>>,
    /// The settings.
    pub settings: Settings,
    /// What outlives a reload.
    pub common: Common,
}

impl Proxy {
    /// One request to one answer.
    pub async fn handle(&self, mut request: Box<Request<Inbound>>, ends: Ends) -> Response<Recorded> {
        let id = request_id(request.headers());
        let target = request.uri().path_and_query().cloned();
        let Common { clock, access_log, metrics, in_flight, .. } = &self.common;
        let record = AccessRecord::start(id, request.method().clone(), target, clock, access_log.clone());
        let received = request.body_mut().counted();
        let (metrics, flight) = (metrics.clone(), in_flight.enter());
        let mut account = Account { record, metrics, cells: None, received, tunnel: false, flight, turn: None };
        let page = self.settings.cors.page(request.headers());
        let preflight = page.as_ref().and_then(|_| cors::preflight(request.method(), request.headers()));
        let mut limit = self.settings.total_timeout.map(|total| (Box::pin(tokio::time::sleep(total)), total));
        let answered = if let Some(preflight) = preflight {
            Ok(preflight.map(Payload::Own))
        } else if account.flight.is_some() {
            let id = account.record.id.clone();
            let Account { record, turn, cells, .. } = &mut account;
            let mut forward = pin!(self.forward(request, &ends, page.is_some(), record, turn, cells));
            std::future::poll_fn(|cx| {
                if let Poll::Ready(answered) = caught(&id, || forward.as_mut().poll(cx)) {
                    return Poll::Ready(answered.unwrap_or(Err(ProxyError::Internal)));
                }
                match &mut limit {
                    Some((sleep, total)) => sleep.as_mut().poll(cx).map(|()| Err(ProxyError::UpstreamTimeout(*total))),
                    None => Poll::Pending,
                }
            })
            .await
        } else {
            Err(ProxyError::Overloaded(Duration::from_secs(1)))
        };
        let record = &mut account.record;
        let mut response = answered.unwrap_or_else(|error| {
            record.error = Some(error.code());
            error.response(record.id.to_str().unwrap_or_default()).map(Payload::Own)
        });
        record.status = Some(response.status());
        record.first_byte = Some(record.elapsed());
        response.headers_mut().insert(REQUEST_ID, record.id.clone());
        if let Some(origin) = page {
            cors::mark(response.headers_mut(), origin);
        }
        // hyper does not poll a body that is not sent: then the head is the whole answer.
        record.complete = record.method == Method::HEAD || response.body().is_end_stream();
        let (parts, payload) = response.into_parts();
        let mut response = Response::from_parts(parts, ());
        let body = match payload {
            Payload::Tunnel(tunnel) => {
                // Else it would be under way for hours.
                account.turn = None;
                account.tunnel = true;
                account.metrics.tunnel_began();
                response.extensions_mut().insert(TunnelTo::new(self.tunnel(tunnel, account)));
                return response.map(|()| Recorded { payload: Payload::Own(Body::Empty), account: None, limit: None });
            }
            // An answer of our own is there as a whole, and may be the one that says that the time is up.
            Payload::Own(body) => Recorded { payload: Payload::Own(body), account: Some(account), limit: None },
            payload => Recorded { payload, account: Some(account), limit },
        };
        response.map(|()| body)
    }

    async fn forward(
        &self,
        request: Box<Request<Inbound>>,
        ends: &Ends,
        page: bool,
        record: &mut AccessRecord,
        turn: &mut Option<Permit>,
        cells: &mut Option<Arc<Cells>>,
    ) -> Result<Response<Payload>, ProxyError> {
        let (mut parts, body) = request.into_parts();
        let client = self.known(&parts, ends, record)?;
        let host = self.admit(&parts, ends, page, client)?;
        target::check(parts.uri.path())?;
        let door = self.settings.front.door(ends.listener);
        let found = self.routes.find(parts.uri.path(), door.tenant.as_deref(), host);
        let meant = door.tenant.as_deref().or(host);
        let matched = match found.map_err(|error| self.unsaid(client, meant, parts.uri.path(), error, record))? {
            Found::Carried(matched) => matched,
            Found::State { tenant, way } => {
                record.tenant = Some(tenant.name.clone());
                *cells = Some(tenant.counts.here().clone());
                self.may_address(client, tenant, record)?;
                let home = self.settings.front.address(&parts, both(ends), &tenant.name, way).ours();
                return Box::pin(state::answer(tenant, &parts.method, &home)).await;
            }
        };
        let tenant = matched.tenant;
        record.tenant = Some(tenant.name.clone());
        *cells = Some(tenant.counts.here().clone());
        let route = matched.route;
        let path = match route {
            _ if self.settings.cache.is_empty() && client.rules.is_open() => String::new(),
            Route::Api => format!("/api{}", matched.rest),
            Route::Further(route) | Route::Soap(route) => format!("/{route}{}", matched.rest),
        };
        self.may_ask(client, tenant, &parts, &path, record)?;
        let mut sent = record.started;
        let mut standing = match tenant.keeper.ready(sent) {
            Some(standing) => standing,
            None => {
                let standing = Box::pin(waited(tenant.keeper.get(), record)).await;
                sent = self.common.clock.now();
                standing
            }
        };
        if let Some(outage) = standing.outage(sent) {
            return Err(ProxyError::outage(outage));
        }
        let listing = match route {
            Route::Api => matches!(matched.rest, "" | "/"),
            Route::Soap(_) => body.is_end_stream() && soap::describes(parts.uri.query()),
            Route::Further(_) => false,
        };
        let address = self.settings.front.address(&parts, both(ends), &tenant.name, matched.way);
        let (mode, hosts) = (self.settings.rewrite_links, &self.settings.upstream_hosts);
        // Whoever reads where a service is would go there without credentials.
        let mode = if mode == Mode::Off && listing && route != Route::Api { Mode::Known } else { mode };
        let way_home = WayHome { mode, hosts, tenant, routes: self.routes.further(), listing, address };
        body::check(&body, self.settings.max_body)?;
        // What goes through a tunnel may be anything but reading.
        let may_upgrade = parts.version == Version::HTTP_11 && body.is_end_stream() && !client.rules.is_read_only();
        let upgrade = if may_upgrade { headers::upgrade(&parts.headers) } else { None };
        // Who came before the drain is answered; but a tunnel would only be cut.
        if upgrade.is_some() && self.common.drain.is_cancelled() {
            return Err(ProxyError::ShuttingDown);
        }
        let forwarded = self.settings.forwarded.then(|| forwarded(&parts, ends));
        headers::strip(&mut parts.headers);
        if parts.version < Version::HTTP_11 {
            // Such a caller cannot wait for what it does not know. RFC 9110 §10.1.1.
            parts.headers.remove(EXPECT);
        }
        if parts.version == Version::HTTP_2 {
            headers::join_cookies(&mut parts.headers);
        }
        if page {
            // It was a question to us.
            parts.headers.remove(ORIGIN);
        }
        parts.headers.extend(forwarded.into_iter().flatten());
        if let Some(protocol) = upgrade.clone() {
            parts.headers.insert(UPGRADE, protocol);
        }
        if mode != Mode::Off {
            links::accept_encoding(&mut parts.headers);
        }
        let found = match self.settings.cache.find(&path).filter(|_| body.is_end_stream() && upgrade.is_none()) {
            Some(rule) => {
                let target = parts.uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
                let shelf = &tenant.shelf;
                let asked = Asked { tenant: &shelf.tenant, identity: shelf.identity, target: &target, parts: &parts };
                let found = Box::pin(self.common.cache.ask(rule, &asked, &self.common.clock)).await;
                self.common.metrics.looked_up(match &found {
                    cache::Found::Answer(_) => Lookup::Hit,
                    cache::Found::Lead(_) => Lookup::Miss,
                    cache::Found::Pass(_) => Lookup::Pass,
                });
                Some(found)
            }
            None => None,
        };
        let found = match found {
            Some(cache::Found::Answer(stored)) => return Ok(Box::pin(way_home.stored(&standing, &parts.method, stored)).await),
            Some(cache::Found::Lead(lead)) => {
                lead.prepare(&mut parts.headers);
                Some(cache::Found::Lead(lead))
            }
            other => other,
        };
        let mut write = (!self.settings.cache.is_empty() && !parts.method.is_safe()).then(|| Write {
            cache: &self.common.cache,
            tenant: &tenant.shelf.tenant,
            method: &parts.method,
            path: &path,
            action: parts.headers.get(SOAP_ACTION).cloned(),
            status: None,
        });
        let (headers, extensions) = (std::mem::take(&mut parts.headers), std::mem::take(&mut parts.extensions));
        let errand = Errand { tenant, route, rest: matched.rest, parts: &parts, headers, extensions, upgrade, way_home: &way_home };
        let fetched = self.fetch(errand, &mut standing, sent, body, ends, record, turn).await;
        if let (Some(write), Ok(response)) = (&mut write, &fetched) {
            write.status = Some(response.status());
        }
        drop(write);
        let response = match (found, fetched) {
            (Some(cache::Found::Lead(lead)), Err(error)) => {
                lead.failed();
                return Err(error);
            }
            (_, Err(error)) => return Err(error),
            (Some(found), Ok(response)) => {
                let (head, payload) = response.into_parts();
                match payload {
                    Payload::Upstream(body) => {
                        let response = Response::from_parts(head, body);
                        let response = match found {
                            cache::Found::Lead(lead) => lead.answered(response, self.common.clock.now()),
                            cache::Found::Pass(pass) => pass.answered(response),
                            cache::Found::Answer(_) => response.map(Content::Upstream),
                        };
                        return Ok(Box::pin(way_home.stored(&standing, &parts.method, response)).await);
                    }
                    payload => Response::from_parts(head, payload),
                }
            }
            (None, Ok(response)) => response,
        };
        match mode.look(response.headers()) {
            Some(seen) => Ok(Box::pin(way_home.home(seen, &standing, &parts.method, response)).await),
            None => Ok(response),
        }
    }

    /// Whether this request may be answered by us at all; and the tenant that its host names.
    fn admit<'r>(&self, parts: &'r Parts, ends: &Ends, page: bool, client: &Client) -> Result<Option<&'r str>, ProxyError> {
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(ProxyError::MethodNotAllowed(error::ALLOWED));
        }
        if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > self.settings.max_uri) {
            return Err(ProxyError::UriTooLong(self.settings.max_uri));
        }
        if !headers::is_plainly_chunked(&parts.headers) {
            return Err(ProxyError::UnsupportedCoding);
        }
        let refused = |error: crate::server::guard::Forbidden| ProxyError::ForbiddenOrigin(error.to_string());
        // To whoever may not use a tenant, its name means nothing.
        let is_tenant = |name: &str| self.routes.knows(name) && (self.settings.clients.only_reports() || client.rules.may_address(name));
        let host = self.settings.guard.check(parts, ends.local.map(|local| local.ip()), page, is_tenant).map_err(refused)?;
        Ok(host)
    }

    fn tunnel(&self, tunnel: upstream::Tunnel, account: Account) -> Tunnel {
        let ended = move |to_caller, to_upstream| account.close(to_caller, to_upstream);
        Tunnel { far: Box::new(tunnel.stream), early: tunnel.early, silence: self.settings.tunnel_timeout, ended: Box::new(ended) }
    }
}
