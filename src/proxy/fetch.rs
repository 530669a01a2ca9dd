//! A request's way to SuperOffice and back, however often it takes: with a ticket, in its turn, to where the tenant lives.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body::Body as HttpBody;

use super::account::{Payload, keep_secrets};
use super::body::{self, Admitted};
use super::error::ProxyError;
use super::governor::{self, Caller, Permit, Turn};
use super::homeward::WayHome;
use super::links::{Mode, Rewritten};
use super::route::Route;
use super::twice::{Kept, Outgoing, Twice};
use super::{Proxy, Tenant, headers, soap, target};
use crate::body::Body;
use crate::clock::Moment;
use crate::log::AccessRecord;
use crate::metrics::Cause;
use crate::server::{Ends, Inbound};
use crate::superoffice::origin::AllowedBase;
use crate::superoffice::state::keeper::{Misdirected, Standing};
use crate::ticket::cache::{Refusal, Unavailable};
use crate::ticket::{Ticket, accepted};
use crate::upstream::{self, Answer, Upgraded, UpstreamError};

/// A request on its way upstream.
pub(super) struct Errand<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) route: Route<'a>,
    pub(super) rest: &'a str,
    pub(super) parts: &'a Parts,
    pub(super) headers: HeaderMap,
    pub(super) extensions: Extensions,
    pub(super) upgrade: Option<HeaderValue>,
    pub(super) way_home: &'a WayHome<'a>,
}

impl Proxy {
    /// Upstream's answer, however often it takes: with a ticket, in its turn, where the tenant lives.
    #[expect(clippy::too_many_arguments, reason = "what a request is made of; `forward` is the only caller")]
    pub(super) async fn fetch(
        &self,
        errand: Errand<'_>,
        standing: &mut Arc<Standing>,
        mut sent: Moment,
        body: Inbound,
        ends: &Ends,
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
        let mut outgoing = Outgoing { route, rest, parts, first, kept: Kept::default(), upgrade: upgrade.is_some(), envelope };
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
                None => match tenant.governor.ask(|| caller_of(record, ends), came, sent) {
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
            record.sent = Some(sent.mono.saturating_sub(record.started.mono));
            let answered = self.send(&mut outgoing, &ticket, to, body, record).await;
            let pause = answered.as_ref().ok().and_then(|response| governor::pause(response.status(), response.headers(), sent.wall));
            if let Some(pause) = pause {
                tenant.counts.refused();
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
                    sent = self.common.clock.now();
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
                    let again = tenant.governor.ask(|| caller_of(record, ends), came, self.common.clock.now());
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
        record.answered = None;
        let request = outgoing.with(ticket, base, body)?;
        if outgoing.upgrade {
            let upgraded = Box::pin(self.common.upstream.upgrade(base, request, &mut record.connect)).await?;
            record.answered = Some(record.elapsed());
            return Ok(match upgraded {
                Upgraded::Tunnel(mut head, tunnel) => {
                    keep_secrets(head.headers_mut(), ticket, record);
                    switching(head, tunnel)
                }
                Upgraded::Refused(response) => answer(response, ticket, record),
            });
        }
        let response = self.common.upstream.send_to(base, request, &mut record.connect).await?;
        record.answered = Some(record.elapsed());
        // Nobody asked for it; passed on, it would make the caller speak another protocol.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Unreachable("101 Switching Protocols, which nobody asked for".to_owned()));
        }
        Ok(answer(response, ticket, record))
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
}

/// Upstream's answer as the caller gets it.
fn answer(mut response: Response<Answer>, ticket: &Ticket, record: &mut AccessRecord) -> Response<Payload> {
    let version = response.version();
    headers::scrub(response.headers_mut(), version);
    keep_secrets(response.headers_mut(), ticket, record);
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
pub(super) async fn waited<T>(news: impl Future<Output = T>, record: &mut AccessRecord) -> T {
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
fn caller_of(record: &AccessRecord, ends: &Ends) -> Caller {
    if let Some(name) = &record.client {
        return Caller::Name(name.clone());
    }
    // Those on a Unix socket have no address, and are this machine.
    Caller::Peer(ends.peer.map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.ip().to_canonical()))
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
