//! `/{ctx}/api`: who may call, and which part of the sandbox answers. Protocol §6, §7.
//!
//! Assumptions, because nothing was found: the body and `WWW-Authenticate` of a 401, the body of a 421 beyond its text, and
//! 503 with an IIS page while a tenant does not run.

use http::header::HeaderMap;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::entities::Kind;
use super::reply::{self, Reply, ReplyBody};
use super::url::Query;
use super::{Sandbox, Tenant, document, echo, entities, odata, state};

/// No genuine entity is as large.
const BODY_LIMIT: usize = 64 * 1024;

/// One accepted call.
pub(super) struct Call<'a> {
    pub sandbox: &'a Sandbox,
    pub index: usize,
    pub tenant: &'a Tenant,
    /// `http://host/Cust12345/api/v1`
    pub api: String,
    pub head: http::request::Parts,
}

impl Call<'_> {
    pub(super) fn query(&self) -> Query<'_> {
        Query(self.head.uri.query().unwrap_or_default())
    }

    /// The language strings are translated to; without a header they are not. Protocol §7.3.
    pub(super) fn language(&self) -> Option<String> {
        let header = |name: &str| self.head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
        match header("so-language") {
            Some(own) if own == "*" || own == "x" => None,
            own => own.or_else(|| header("accept-language")),
        }
    }
}

/// `path` is `[ctx, "api", …]`, decoded.
pub(super) async fn handle(sandbox: &Sandbox, path: &[String], request: Request<ReplyBody>) -> Reply {
    let Some((index, tenant)) = sandbox.tenant(&path[0]) else { return sandbox.not_found(request.uri()) };
    let control = sandbox.control();
    control.count(|counters| counters.api_calls += 1);
    let latency = control.faults().latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let place = state::place(sandbox, tenant);
    let mut reply = if control.faults().moved_to(&tenant.context).is_some() && !is_addressed_to(&request, &place) {
        misdirected()
    } else if !control.faults().state_of(&tenant.context).is_running() {
        reply::html(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", "HTTP Error 503. The service is unavailable.")
    } else if path.len() == 2 {
        listing(&request, &format!("{place}/{}", tenant.context))
    } else if !path[2].eq_ignore_ascii_case("v1") {
        sandbox.not_found(request.uri())
    } else if control.refuse_this_call() || !may_call(sandbox, index, request.headers()) {
        control.count(|counters| counters.unauthorized += 1);
        unauthorized()
    } else {
        let (head, body) = request.into_parts();
        let api = format!("{place}/{}/api/v1", tenant.context);
        dispatch(&Call { sandbox, index, tenant, api, head }, &path[3..], body).await
    };
    dress(&mut reply);
    reply
}

/// The `Host` (or the authority of HTTP/2) is that of `place`.
fn is_addressed_to(request: &Request<ReplyBody>, place: &str) -> bool {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default();
    let authority = place.split_once("//").map_or(place, |(_, rest)| rest).split('/').next().unwrap_or_default();
    host.eq_ignore_ascii_case(authority)
}

fn misdirected() -> Reply {
    reply::aspnet(StatusCode::MISDIRECTED_REQUEST, "Wrong subdomain used to access tenant")
}

fn unauthorized() -> Reply {
    let mut reply =
        reply::crm_error(StatusCode::UNAUTHORIZED, "SoSessionException", "The ticket is not valid, or SO-AppToken does not fit");
    reply::header(&mut reply, "www-authenticate", "SOTicket");
    reply
}

/// A living ticket of this tenant, and its application's client secret. IIS takes `_` for `-` in header names and joins
/// repeated headers, so neither an alias nor a second header is harmless here.
fn may_call(sandbox: &Sandbox, index: usize, headers: &HeaderMap) -> bool {
    let (_, tenant) = match sandbox.0.tenants.get(index) {
        Some((tenant, _)) => (index, tenant),
        None => return false,
    };
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

/// `/api`: which versions there are. Needs no credential. Protocol §6.5.
fn listing(request: &Request<ReplyBody>, endpoint: &str) -> Reply {
    if request.method() != Method::GET {
        return reply::wrong_method(request.method());
    }
    let wants_json = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("json"));
    if !wants_json {
        return reply::html(StatusCode::OK, "SuperOffice NetServer Web API", &format!("<a href=\"{endpoint}/api/v1/\">v1</a>"));
    }
    let body = json!({
        "v1": format!("{endpoint}/api/v1/"),
        "NetServerVersion": "11.10.721.0",
        "NetServerAssembly": "11.10.0.0",
        "NetServerDate": "2026-02-24",
        "NetServerLabel": state::RELEASE,
        "NetServer": format!("SuperOffice 11.10 NetServer 11.10 Release (Build: {})", state::RELEASE),
        "Services": "Services87",
        "ServicesCurrent": "Services88",
        "Version": "v1",
        "Documentation": "https://docs.superoffice.com/en/api/",
    });
    reply::json(StatusCode::OK, &body)
}

async fn dispatch(call: &Call<'_>, path: &[String], body: ReplyBody) -> Reply {
    let lower: Vec<String> = path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let method = call.head.method.clone();
    // HEAD is answered like GET; hyper leaves the body out.
    let method = if method == Method::HEAD { Method::GET } else { method };
    match (method, lower.as_slice()) {
        (_, ["_sandbox", "echo"]) => echo::handle(call, body).await,
        (Method::GET, ["user", "currentprincipal"]) => reply::json(StatusCode::OK, &entities::principal(call.tenant)),
        (Method::GET, ["mdolist", name]) => entities::mdo_list(call, name),
        (Method::GET, ["archive", name]) => match Kind::from_path(name) {
            Some(kind) => odata::list(call, kind, &format!("Archive/{}", path[1])),
            None => {
                let text = format!("Unable to find an archive provider named '{}'", path[1]);
                reply::crm_error(StatusCode::NOT_FOUND, "SoNotFoundException", &text)
            }
        },
        (Method::POST, ["agents", agent, name]) => entities::agent(call, agent, name),
        (Method::GET, ["agents", agent, name]) => {
            let text = format!("POST to this URL to call {agent}.{name}");
            reply::json(StatusCode::OK, &json!({ "POST": text }))
        }
        (method, ["document", id, "content"]) => document::content(call, id, &method, body).await,
        (Method::GET, ["document", id, "length"]) => document::length(call, id),
        (method, [collection, rest @ ..]) if rest.len() < 2 => match Kind::from_path(collection) {
            Some(kind) => collection_call(call, kind, rest.first().copied(), method, body).await,
            None => call.sandbox.not_found(&call.head.uri),
        },
        _ => call.sandbox.not_found(&call.head.uri),
    }
}

async fn collection_call(call: &Call<'_>, kind: Kind, id: Option<&str>, method: Method, body: ReplyBody) -> Reply {
    let written = match method {
        Method::POST | Method::PUT | Method::PATCH => match reply::read(body, BODY_LIMIT).await {
            Some(body) => match serde_json::from_slice::<Value>(&body) {
                Ok(value) => value,
                Err(error) => return invalid(&error.to_string()),
            },
            None => return reply::aspnet(StatusCode::PAYLOAD_TOO_LARGE, "The request entity is too large for the sandbox."),
        },
        _ => Value::Null,
    };
    match (method, id) {
        (Method::GET, None) => odata::list(call, kind, kind.name()),
        (Method::POST, None) => entities::create(call, kind, written),
        (Method::GET, Some("default")) => reply::json(StatusCode::OK, &kind.template()),
        (method, Some(id)) => {
            // A route of the real API that is not built here: its paths are not numbers.
            let Ok(id) = id.parse::<u32>() else { return call.sandbox.not_found(&call.head.uri) };
            match method {
                Method::GET => entities::read(call, kind, id),
                Method::PUT => entities::replace(call, kind, id, written),
                Method::PATCH => entities::patch(call, kind, id, written),
                Method::DELETE => entities::delete(call, kind, id),
                other => reply::wrong_method(&other),
            }
        }
        (other, None) => reply::wrong_method(&other),
    }
}

/// ASP.NET's answer to a body that it cannot read. Protocol §6.4.
pub(super) fn invalid(detail: &str) -> Reply {
    reply::json(StatusCode::BAD_REQUEST, &json!({ "Message": "The request is invalid.", "MessageDetail": detail }))
}

/// The headers that NetServer, IIS and the load balancer in front of it add. Protocol §6.7.
fn dress(reply: &mut Reply) {
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("pragma", "no-cache"),
        ("expires", "-1"),
        ("dataserviceversion", "3.0"),
        ("x-powered-by", "NetServer/11.10.721.0"),
        ("x-powered-by", "ASP.NET"),
        ("x-powered-by", "ARR/3.0"),
        ("x-aspnet-version", "4.0.30319"),
        ("set-cookie", "SOOnline=sandbox-api; path=/; HttpOnly"),
        ("set-cookie", "ARRAffinity=5a0db0x2;Path=/;HttpOnly"),
        ("set-cookie", "ARRAffinitySameSite=5a0db0x2;Path=/;HttpOnly;SameSite=None;Secure"),
    ] {
        reply::header(reply, name, value);
    }
}
