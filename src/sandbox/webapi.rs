//! `/{ctx}/api`: which part of the sandbox answers. Protocol §6, §7.

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::entities::Kind;
use super::present::{self, Wishes};
use super::reply::{self, Reply, ReplyBody};
use super::url::Query;
use super::{Sandbox, Tenant, document, door, echo, entities, feed, odata, place, state};

/// No genuine entity is as large.
const BODY_LIMIT: usize = 64 * 1024;

/// One accepted call.
pub(super) struct Call<'a> {
    pub sandbox: &'a Sandbox,
    pub index: usize,
    pub tenant: &'a Tenant,
    /// `http://host/Cust12345/api/v1`, as links name it.
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
    arrived(sandbox).await;
    let wishes = Wishes::of(request.headers(), &sandbox.control().faults());
    // Before the door: should the tenant move now, who is let in at the old place is told of that one alone.
    let endpoint = format!("{}/{}", place::of_links(sandbox, tenant), tenant.context);
    let mut reply = match door::turned_away(sandbox, tenant, &request) {
        Some(reply) => reply,
        None => answer(sandbox, index, tenant, endpoint, path, request).await,
    };
    reply = present::finish(reply, &wishes).await;
    dress(&mut reply);
    reply
}

/// A call is counted, and waits for as long as was demanded.
pub(super) async fn arrived(sandbox: &Sandbox) {
    sandbox.control().count(|counters| counters.api_calls += 1);
    let latency = sandbox.control().faults().latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

async fn answer(sandbox: &Sandbox, index: usize, tenant: &Tenant, endpoint: String, path: &[String], request: Request<ReplyBody>) -> Reply {
    if path.len() == 2 {
        return listing(&request, &endpoint);
    }
    if !path[2].eq_ignore_ascii_case("v1") {
        return sandbox.not_found(request.uri());
    }
    if let Some(reply) = door::unauthorized(sandbox, index, request.headers()) {
        return reply;
    }
    let (head, body) = request.into_parts();
    dispatch(&Call { sandbox, index, tenant, api: format!("{endpoint}/api/v1"), head }, &path[3..], body).await
}

/// `/api`: which versions there are. Needs no credential. Protocol §6.5.
fn listing(request: &Request<ReplyBody>, endpoint: &str) -> Reply {
    if request.method() != Method::GET {
        return reply::wrong_method(request.method());
    }
    let accept = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    // Documented for JSON alone; XML is assumed, for those who do not ask for HTML, too.
    if !accept.contains("json") && (!accept.contains("xml") || accept.contains("html")) {
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
        (_, ["_sandbox", "echo"]) => echo::handle(call, body, []).await,
        (Method::GET, ["_sandbox", "feed"]) => feed::handle(call),
        (Method::GET, ["user", "currentprincipal"]) => reply::json(StatusCode::OK, &entities::principal(call.tenant)),
        (Method::GET, ["mdolist", name]) => entities::mdo_list(call, name),
        (Method::GET, ["archive", name]) => match Kind::from_path(name) {
            Some(kind) => odata::list(call, kind, &format!("Archive/{}", path[1]), None),
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
        (Method::GET, ["contact", id, "persons"]) => match id.parse() {
            Ok(contact) => odata::list(call, Kind::Person, &format!("Contact/{contact}/Persons"), Some(contact)),
            Err(_) => call.sandbox.not_found(&call.head.uri),
        },
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
        Method::POST | Method::PUT | Method::PATCH => match present::read(&call.head.headers, body, BODY_LIMIT).await {
            Ok(written) => written,
            Err(refused) => return *refused,
        },
        _ => Value::Null,
    };
    match (method, id) {
        (Method::GET, None) => odata::list(call, kind, kind.name(), None),
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

/// The headers that NetServer, IIS and the load balancer in front of it add. Protocol §6.7.
pub(super) fn dress(reply: &mut Reply) {
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
