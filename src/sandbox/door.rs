//! Who is let in to a tenant: the right host, a tenant that runs, a ticket that fits. Protocol §6.
//!
//! Assumptions, because nothing was found: the body and `WWW-Authenticate` of a 401, and 503 with an IIS page while a tenant does
//! not run, whatever keeps it from running.

use http::header::HeaderMap;
use http::{Request, StatusCode};

use super::reply::{self, Reply};
use super::{Sandbox, Tenant, place, throttle};

/// The answer to whom the tenant's host is closed: 421 before anything else is looked at, then 503, then 429 for those
/// who come too often.
pub(super) fn turned_away<B>(sandbox: &Sandbox, tenant: &Tenant, request: &Request<B>) -> Option<Reply> {
    if let Some(reply) = place::misdirected(sandbox, tenant, request) {
        return Some(reply);
    }
    if sandbox.control().faults().state_of(&tenant.context).serves() {
        return throttle::refused(sandbox, tenant);
    }
    sandbox.control().count(|counters| counters.not_running += 1);
    Some(reply::html(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", "HTTP Error 503. The service is unavailable."))
}

/// The 401 for whom the ticket or the client secret does not fit, or on demand.
pub(super) fn unauthorized(sandbox: &Sandbox, index: usize, headers: &HeaderMap) -> Option<Reply> {
    let control = sandbox.control();
    if !control.refuse_this_call() && may_call(sandbox, index, headers) {
        return None;
    }
    control.count(|counters| counters.unauthorized += 1);
    let text = "The ticket is not valid, or SO-AppToken does not fit";
    let mut reply = reply::crm_error(StatusCode::UNAUTHORIZED, "SoSessionException", text);
    reply::header(&mut reply, "www-authenticate", "SOTicket");
    Some(reply)
}

/// A living ticket of this tenant, and its application's client secret. IIS takes `_` for `-` in header names and joins
/// repeated headers, so neither an alias nor a second header is harmless here.
fn may_call(sandbox: &Sandbox, index: usize, headers: &HeaderMap) -> bool {
    let Some((tenant, _)) = sandbox.0.tenants.get(index) else { return false };
    let authorization = joined(headers, "authorization");
    let Some((scheme, ticket)) = authorization.split_once(' ') else { return false };
    joined(headers, "so-apptoken") == tenant.client_secret
        && scheme.eq_ignore_ascii_case("SOTicket")
        && sandbox.control().tickets.accept(ticket.trim(), index, sandbox.moment())
}

fn joined(headers: &HeaderMap, name: &str) -> String {
    let fits = |have: &str| have.replace('_', "-") == name;
    let values = headers.iter().filter(|(have, _)| fits(have.as_str())).map(|(_, value)| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(", ")
}
