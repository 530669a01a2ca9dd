//! `Proxy`: an immutable snapshot of what is needed to answer a request, and the pipeline, one named step per line.
//!
//! The order of the steps is the security argument: refuse browsers, refuse what is ambiguous, match the tenant, strip, find
//! where it lives (an allowed base), get its ticket, inject, send, scrub.

mod account;
pub mod address;
pub mod body;
pub mod cache;
mod caller;
pub mod error;
pub mod governor;
pub mod headers;
mod homeward;
pub mod links;
pub mod route;
pub mod soap;
mod state;
pub mod target;
mod twice;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, EXPECT, UPGRADE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use tokio_util::sync::CancellationToken;

use self::account::{Account, Payload};
pub use self::account::{InFlight, Recorded};
use self::address::Front;
use self::body::Admitted;
use self::cache::{Asked, Cache, Content, Rules, Write};
use self::caller::{both, forwarded, request_id};
use self::error::ProxyError;
use self::governor::{Caller, Governor, Permit, Turn};
use self::headers::REQUEST_ID;
pub use self::homeward::KnownHomes;
use self::homeward::WayHome;
use self::links::{Mode, Rewritten};
use self::route::{Found, Route, Routes};
use self::twice::{Kept, Outgoing, Twice};
use crate::body::Body;
use crate::clock::{Clock, Moment};
use crate::log::{AccessLog, AccessRecord};
use crate::metrics::{Cause, Metrics};
use crate::server::guard::HostGuard;
use crate::server::{Ends, Inbound, Tunnel, TunnelTo};
use crate::superoffice::ContextId;
use crate::superoffice::origin::{AllowedBase, UpstreamHosts};
use crate::superoffice::state::keeper::{Keeper, Misdirected, Standing};
use crate::ticket::cache::{Refusal, Tickets, Unavailable};
use crate::ticket::{Ticket, accepted};
use crate::upstream::{self, Answer, Upgraded, Upstream, UpstreamError};

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
    /// Whose call goes next.
    pub governor: Arc<Governor>,
    /// Where its lists are cached.
    pub shelf: Shelf,
    /// The client secret, sensitive.
    pub app_token: HeaderValue,
}

/// What the cache tells one tenant's answers from another's by.
pub struct Shelf {
    /// The context identifier, in small letters.
    pub tenant: Arc<str>,
    /// The credential, as the cache tells it.
    pub identity: u64,
}

/// A request on its way upstream.
struct Errand<'a> {
    tenant: &'a Tenant,
    route: Route<'a>,
    rest: &'a str,
    parts: &'a Parts,
    headers: HeaderMap,
    extensions: Extensions,
    upgrade: Option<HeaderValue>,
    way_home: &'a WayHome<'a>,
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
    pub async fn handle(&self, request: Box<Request<Inbound>>, ends: Ends) -> Response<Recorded> {
        let id = request_id(request.headers());
        let target = request.uri().path_and_query().cloned();
        let Common { clock, access_log, metrics, in_flight, .. } = &self.common;
        let record = AccessRecord::start(id, request.method().clone(), target, clock, access_log.clone());
        let mut account = Account { record, metrics: metrics.clone(), flight: in_flight.enter(), turn: None };
        let mut limit = self.settings.total_timeout.map(|total| (Box::pin(tokio::time::sleep(total)), total));
        let answered = if account.flight.is_some() {
            let mut forward = pin!(self.forward(request, ends, &mut account.record, &mut account.turn));
            std::future::poll_fn(|cx| {
                if let Poll::Ready(answered) = forward.as_mut().poll(cx) {
                    return Poll::Ready(answered);
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
        // hyper does not poll a body that is not sent: then the head is the whole answer.
        record.complete = record.method == Method::HEAD || response.body().is_end_stream();
        let (parts, payload) = response.into_parts();
        let mut response = Response::from_parts(parts, ());
        let body = match payload {
            Payload::Tunnel(tunnel) => {
                // Else it would be under way for hours.
                account.turn = None;
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
        ends: Ends,
        record: &mut AccessRecord,
        turn: &mut Option<Permit>,
    ) -> Result<Response<Payload>, ProxyError> {
        let (mut parts, body) = request.into_parts();
        let host = self.admit(&parts, ends)?;
        target::check(parts.uri.path())?;
        let door = self.settings.front.door(ends.listener);
        let matched = match self.routes.find(parts.uri.path(), door.tenant.as_deref(), host)? {
            Found::Carried(matched) => matched,
            Found::State { tenant, way } => {
                record.tenant = Some(tenant.name.clone());
                let home = self.settings.front.address(&parts, both(ends), &tenant.name, way).ours();
                return Box::pin(state::answer(tenant, &parts.method, &home)).await;
            }
        };
        let tenant = matched.tenant;
        record.tenant = Some(tenant.name.clone());
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
        let route = matched.route;
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
        let upgrade = if parts.version == Version::HTTP_11 && body.is_end_stream() { headers::upgrade(&parts.headers) } else { None };
        let forwarded = self.settings.forwarded.then(|| forwarded(&parts, ends));
        headers::strip(&mut parts.headers);
        if parts.version < Version::HTTP_11 {
            // Such a caller cannot wait for what it does not know. RFC 9110 §10.1.1.
            parts.headers.remove(EXPECT);
        }
        if parts.version == Version::HTTP_2 {
            headers::join_cookies(&mut parts.headers);
        }
        parts.headers.extend(forwarded.into_iter().flatten());
        if let Some(protocol) = upgrade.clone() {
            parts.headers.insert(UPGRADE, protocol);
        }
        if mode != Mode::Off {
            links::accept_encoding(&mut parts.headers);
        }
        let path = match route {
            _ if self.settings.cache.is_empty() => String::new(),
            Route::Api => format!("/api{}", matched.rest),
            Route::Further(route) | Route::Soap(route) => format!("/{route}{}", matched.rest),
        };
        let found = match self.settings.cache.find(&path).filter(|_| body.is_end_stream() && upgrade.is_none()) {
            Some(rule) => {
                let target = parts.uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
                let shelf = &tenant.shelf;
                let asked = Asked { tenant: &shelf.tenant, identity: shelf.identity, target: &target, parts: &parts };
                Some(Box::pin(self.common.cache.ask(rule, &asked, &self.common.clock)).await)
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
        let mut write = (!path.is_empty() && !parts.method.is_safe()).then(|| Write {
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

    /// Upstream's answer, however often it takes: with a ticket, in its turn, where the tenant lives.
    #[expect(clippy::too_many_arguments, reason = "what a request is made of; `forward` is the only caller")]
    async fn fetch(
        &self,
        errand: Errand<'_>,
        standing: &mut Arc<Standing>,
        mut sent: Moment,
        body: Inbound,
        ends: Ends,
        record: &mut AccessRecord,
        turn: &mut Option<Permit>,
    ) -> Result<Response<Payload>, ProxyError> {
        let Errand { tenant, route, rest, parts, mut headers, extensions, upgrade, way_home } = errand;
        let mode = way_home.mode;
        let mut ticket = match tenant.tickets.ready(sent) {
            Some(ticket) => ticket,
            None => {
                let ticket = Box::pin(waited(tenant.tickets.get(), record)).await;
                let ticket = ticket.map_err(|unavailable| without_ticket(unavailable, record))?;
                sent = self.common.clock.now();
                // The token may have told what the state did not.
                *standing = running(tenant, sent)?;
                ticket
            }
        };
        // Only now it is known where the tenant lives, whoever told it: links in the body shall be SuperOffice's again.
        let (max_body, replay_limit) = (self.settings.max_body, self.settings.replay_limit);
        let mut envelope = None;
        let admitted = match mode {
            _ if matches!(route, Route::Soap(_)) && !body.is_end_stream() => {
                let body = match way_home.back(standing, &mut headers, body).await {
                    Ok(rewritten) => rewritten,
                    Err(body) => Rewritten::not(body),
                };
                let (opened, body) = Box::pin(soap::open(&mut headers, parts.uri.path(), body)).await?;
                envelope = Some(Box::new(opened));
                // It may have taken its time to arrive.
                sent = self.common.clock.now();
                body::admit(body, max_body, replay_limit)
            }
            Mode::All if !body.is_end_stream() => {
                let rewritten = Box::pin(way_home.back(standing, &mut headers, body)).await;
                sent = self.common.clock.now();
                match rewritten {
                    Ok(rewritten) => body::admit(rewritten, max_body, replay_limit),
                    Err(body) => body::admit(body, max_body, replay_limit),
                }
            }
            _ => body::admit(body, max_body, replay_limit),
        };
        let Admitted { body, replay, overrun } = admitted?;
        let first = Some((headers, extensions));
        let mut outgoing = Outgoing { tenant, route, rest, parts, first, kept: Kept::default(), upgrade: upgrade.is_some(), envelope };
        let mut twice = Twice::new(replay, &self.common.metrics);
        let mut body = body;
        let came = sent;
        let response = loop {
            let Some(base) = &standing.base else { return Err(unknown_address(tenant, standing, record)) };
            let to = match route {
                Route::Api => base,
                Route::Soap(_) | Route::Further(_) => standing.endpoint.as_ref().ok_or(target::NO_ENDPOINT)?,
            };
            let permit = match turn.take() {
                Some(permit) => permit,
                None => match tenant.governor.ask(|| caller_of(ends), came, sent) {
                    Turn::Go(permit) => permit,
                    later => {
                        *turn = Some(Box::pin(queued(later, record)).await?);
                        sent = self.common.clock.now();
                        // It may have moved or stopped meanwhile.
                        *standing = running(tenant, sent)?;
                        continue;
                    }
                },
            };
            let answered = self.send(&mut outgoing, &ticket, to, body, record).await;
            let pause = answered.as_ref().ok().and_then(|response| governor::pause(response.status(), response.headers(), sent.wall));
            if let Some(pause) = pause {
                tenant.governor.refused(&permit, pause);
            }
            *turn = Some(permit);
            // A SOAP answer may say in its Header what others say by their status.
            let mut expired = false;
            let answered = match answered {
                Ok(response) if outgoing.envelope.is_some() => {
                    let judged = Box::pin(way_home.judged(&self.settings.ticket_faults, standing, &parts.method, response)).await;
                    expired = judged.0;
                    Ok(judged.1)
                }
                other => other,
            };
            match answered {
                Err(UpstreamError::Unread(why)) => {
                    body = Box::pin(twice.again(Cause::ConnectionLost, record)).await.ok_or_else(|| {
                        record.cause = Some(why);
                        ProxyError::UpstreamUnreachable
                    })?;
                    continue;
                }
                Err(error) => return Err(self.explain(error, &overrun, record)),
                Ok(response) if expired || response.status() == StatusCode::UNAUTHORIZED => {
                    if twice.was(Cause::TicketRefused) {
                        tenant.tickets.refused(&ticket, true);
                        break response;
                    }
                    if tenant.tickets.refused(&ticket, false) == Refusal::Stands {
                        break response;
                    }
                    let Some(replay) = Box::pin(twice.again(Cause::TicketRefused, record)).await else {
                        // The renewal goes on; the next request will be served.
                        record.cause =
                            Some("the ticket was refused, and a body larger than upstream.replay_limit cannot be sent again".to_owned());
                        break response;
                    };
                    // Frees its connection, too.
                    drop(response);
                    *turn = None;
                    let newer = Box::pin(waited(tenant.tickets.newer_than(ticket.generation), record)).await;
                    ticket = newer.map_err(|unavailable| without_ticket(unavailable, record))?;
                    sent = self.common.clock.now();
                    body = replay;
                }
                Ok(response) if response.status() == StatusCode::MISDIRECTED_REQUEST => {
                    if tenant.keeper.misdirected(base) == Misdirected::Stands || !twice.could(Cause::TenantMoved) {
                        // If it moved, the next request will find it.
                        break response;
                    }
                    let Some(elsewhere) = Box::pin(waited(tenant.keeper.elsewhere(base), record)).await else { break response };
                    sent = self.common.clock.now();
                    if let Some(outage) = elsewhere.outage(sent) {
                        return Err(ProxyError::outage(outage));
                    }
                    let Some(replay) = Box::pin(twice.again(Cause::TenantMoved, record)).await else { break response };
                    drop(response);
                    *turn = None;
                    *standing = elsewhere;
                    body = replay;
                }
                Ok(response) if pause.is_some() && governor::waits_it_out(&parts.method) => {
                    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                        tenant.keeper.hint();
                    }
                    let again = tenant.governor.ask(|| caller_of(ends), came, self.common.clock.now());
                    if matches!(again, Turn::Refused(_)) {
                        break response;
                    }
                    let Some(replay) = Box::pin(twice.again(Cause::Throttled, record)).await else { break response };
                    drop(response);
                    // Only now: it may be the one that this call waits for.
                    *turn = None;
                    *turn = Some(Box::pin(queued(again, record)).await?);
                    sent = self.common.clock.now();
                    *standing = running(tenant, sent)?;
                    body = replay;
                }
                Ok(response) => {
                    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                        // Perhaps the tenant has just stopped: the state will tell.
                        tenant.keeper.hint();
                    }
                    if accepted(response.status()) {
                        if twice.was(Cause::TicketRefused) {
                            tenant.tickets.cured();
                        }
                        tenant.tickets.used(&ticket, sent);
                    }
                    break response;
                }
            }
        };
        Ok(response)
    }

    /// Whether this request may be answered by us at all; and the tenant that its host names.
    fn admit<'r>(&self, parts: &'r Parts, ends: Ends) -> Result<Option<&'r str>, ProxyError> {
        if ends.crowded {
            return Err(ProxyError::TooManyConnections);
        }
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
        let is_tenant = |name: &str| self.routes.knows(name);
        let host = self.settings.guard.check(parts, ends.local.ip().to_canonical(), is_tenant).map_err(refused)?;
        if self.common.drain.is_cancelled() {
            return Err(ProxyError::ShuttingDown);
        }
        Ok(host)
    }

    async fn send(
        &self,
        outgoing: &mut Outgoing<'_>,
        ticket: &Arc<Ticket>,
        base: &AllowedBase,
        body: Body,
        record: &mut AccessRecord,
    ) -> Result<Response<Payload>, UpstreamError> {
        record.ticket = Some(ticket.clone());
        record.upstream = Some(base.clone());
        let request = outgoing.with(ticket, base, body)?;
        if outgoing.upgrade {
            return Ok(match Box::pin(self.common.upstream.upgrade(base, request)).await? {
                Upgraded::Tunnel(head, tunnel) => switching(head, tunnel),
                Upgraded::Refused(response) => answer(response),
            });
        }
        let response = self.common.upstream.send_to(base, request).await?;
        // Nobody asked for it; passed on, it would make the caller speak another protocol.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Unreachable("101 Switching Protocols, which nobody asked for".to_owned()));
        }
        Ok(answer(response))
    }

    fn explain(&self, error: UpstreamError, overrun: &body::Overrun, record: &mut AccessRecord) -> ProxyError {
        record.cause = Some(error.to_string());
        match (overrun.limit(), error) {
            (Some(limit), _) => ProxyError::BodyTooLarge(limit),
            (None, UpstreamError::Unreachable(_) | UpstreamError::Unread(_)) => ProxyError::UpstreamUnreachable,
            (None, UpstreamError::RequestBody(_)) => ProxyError::BodyIncomplete,
            (None, UpstreamError::RequestStalled(stalled)) => ProxyError::BodyTimeout(stalled),
            (None, UpstreamError::Timeout(limit)) => ProxyError::UpstreamTimeout(limit),
        }
    }

    fn tunnel(&self, tunnel: upstream::Tunnel, account: Account) -> Tunnel {
        let ended = move |to_caller, to_upstream| account.close(to_caller, to_upstream);
        Tunnel { far: Box::new(tunnel.stream), early: tunnel.early, silence: self.settings.tunnel_timeout, ended: Box::new(ended) }
    }
}

/// Upstream's answer as the caller gets it.
fn answer(mut response: Response<Answer>) -> Response<Payload> {
    let version = response.version();
    headers::scrub(response.headers_mut(), version);
    if !response.body().is_end_stream() {
        let length = response.body().size_hint().exact();
        headers::settle_length(response.headers_mut(), length);
    }
    // An HTTP/1.0 upstream is no reason to speak HTTP/1.0 to the caller.
    *response.version_mut() = Version::HTTP_11;
    response.map(Payload::Upstream)
}

/// Upstream's 101 as the caller gets it: the two hop-by-hop headers are the message.
fn switching(mut head: Response<()>, tunnel: upstream::Tunnel) -> Response<Payload> {
    let protocol = head.headers().get(UPGRADE).cloned();
    headers::scrub(head.headers_mut(), Version::HTTP_11);
    head.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers_mut().insert(UPGRADE, protocol);
    }
    head.map(|()| Payload::Tunnel(tunnel))
}

/// Waits for a ticket or a state, and notes how long it took.
async fn waited<T>(news: impl Future<Output = T>, record: &mut AccessRecord) -> T {
    let started = record.elapsed();
    let news = news.await;
    record.ticket_wait += record.elapsed().saturating_sub(started);
    news
}

/// Waits for a turn.
async fn queued(turn: Turn, record: &mut AccessRecord) -> Result<Permit, ProxyError> {
    let started = record.elapsed();
    let refused = match turn {
        Turn::Go(permit) => return Ok(permit),
        Turn::Refused(refused) => refused,
        Turn::Wait(waiting) => {
            let told = waiting.await;
            record.queue_wait += record.elapsed().saturating_sub(started);
            match told {
                Ok(permit) => return Ok(permit),
                Err(refused) => refused,
            }
        }
    };
    record.cause = Some(refused.to_string());
    Err(ProxyError::Overloaded(refused.retry_after))
}

/// Who takes turns with others.
fn caller_of(ends: Ends) -> Caller {
    Caller::Peer(ends.peer.ip().to_canonical())
}

/// Where the tenant is, if it runs.
fn running(tenant: &Tenant, now: Moment) -> Result<Arc<Standing>, ProxyError> {
    let standing = tenant.keeper.now();
    match standing.outage(now) {
        Some(outage) => Err(ProxyError::outage(outage)),
        None => Ok(standing),
    }
}

fn unknown_address(tenant: &Tenant, standing: &Standing, record: &mut AccessRecord) -> ProxyError {
    record.cause = standing.unknown.clone();
    ProxyError::TenantAddressUnknown(tenant.keeper.retry_after())
}

fn without_ticket(unavailable: Unavailable, record: &mut AccessRecord) -> ProxyError {
    record.cause = Some(unavailable.failure.log);
    ProxyError::TicketUnavailable { reason: unavailable.failure.wire, retry_after: unavailable.retry_after }
}
