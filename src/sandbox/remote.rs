//! `/{ctx}/Remote/Services88/{Agent}.svc`: the SOAP services Contact, Person and SoPrincipal, with the names of the real
//! contract. Protocol §7.6.
//!
//! Assumptions, because little was found. The services stand behind the same door as the web API (421, 503), and descriptions
//! need no credentials. A ticket or application token that does not fit gives an answer whose Header says so (status 200,
//! `Succeeded` false, an `ExceptionType` that is the fault `soap_ticket`), or a 401 on demand; and so does every other exception of
//! SuperOffice's own code. The descriptions bind SOAP 1.1 alone, the documentation's samples are SOAP 1.2: both are taken.

mod agents;
mod carrier;
mod contract;
mod envelope;
mod wsdl;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use serde_json::Value;

use self::agents::Call;
use self::contract::{OPERATIONS, Operation};
use self::envelope::{Element, Outcome, SOAP11, SOAP12};
use self::wsdl::Service;
use super::present::{self, Wishes};
use super::reply::{self, Reply, ReplyBody};
use super::webapi;
use super::{Sandbox, Tenant, door, place};

/// The fault `soap_ticket` by which a ticket that does not fit is answered with HTTP's 401.
const HTTP_401: &str = "http_401";

/// `path` is `[ctx, "Remote", "Services88", "Contact.svc"]`, decoded.
pub(super) async fn handle(sandbox: &Sandbox, path: &[String], request: Request<ReplyBody>) -> Reply {
    let known = || {
        let (index, tenant) = sandbox.tenant(&path[0])?;
        let version = path[2].get(..8).filter(|word| word.eq_ignore_ascii_case("Services")).map(|_| &path[2][8..])?;
        let version = version.parse::<u8>().ok().filter(|version| (84..=88).contains(version))?;
        let name = path[3].get(..path[3].len().checked_sub(4)?).filter(|name| path[3][name.len()..].eq_ignore_ascii_case(".svc"))?;
        Some((index, tenant, version, wsdl::agent(name)?))
    };
    let Some((index, tenant, version, agent)) = known() else { return sandbox.not_found(request.uri()) };
    webapi::arrived(sandbox).await;
    let wishes = Wishes::of(request.headers(), &sandbox.control().faults());
    let mut reply = match door::turned_away(sandbox, tenant, &request) {
        Some(reply) => reply,
        None => {
            let namespace = format!("http://www.superoffice.net/ws/crm/NetServer/Services{version}");
            let address = format!("{}/{}/Remote/Services{version}/{agent}.svc", place::of_links(sandbox, tenant), tenant.context);
            let service = Service { agent, namespace: &namespace, address: envelope::escape(&address) };
            let (head, body) = request.into_parts();
            match head.method {
                Method::GET | Method::HEAD => describe(&service, head.uri.query().unwrap_or_default()),
                Method::POST => match asked(&service, &head, body).await {
                    Ok(asked) => called(sandbox, index, tenant, &service, &asked),
                    Err(refused) => *refused,
                },
                other => reply::wrong_method(&other),
            }
        }
    };
    reply = present::finish(reply, &wishes).await;
    webapi::dress(&mut reply);
    reply
}

const XML: &str = "text/xml; charset=utf-8";

fn describe(service: &Service<'_>, query: &str) -> Reply {
    let is = |name: &str| query.eq_ignore_ascii_case(name);
    let text = if is("wsdl") {
        service.definitions(false)
    } else if is("singlewsdl") {
        service.definitions(true)
    } else if is("xsd=xsd0") {
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{}", service.schema())
    } else {
        let text = format!("<a href=\"{0}?wsdl\">{0}?wsdl</a>", service.address);
        return reply::html(StatusCode::OK, &format!("Wcf{}Service Service", service.agent), &text);
    };
    reply::full(StatusCode::OK, XML, text)
}

/// A request that could be read.
struct Asked {
    soap: &'static str,
    operation: &'static Operation,
    header: Element,
    body: Element,
    taken: envelope::Taken,
}

async fn asked(service: &Service<'_>, head: &Parts, body: ReplyBody) -> Result<Asked, Box<Reply>> {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = header(CONTENT_TYPE.as_str());
    let soap = match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/xml" => SOAP11,
        "application/soap+xml" => SOAP12,
        _ => {
            let text = format!("Cannot process the message because the content type '{content_type}' was not the expected type '{XML}'.");
            return Err(Box::new(reply::html(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type", &text)));
        }
    };
    if head.headers.contains_key(CONTENT_ENCODING) {
        // Assumption: WCF reads no compressed requests where nobody told it to.
        return Err(Box::new(reply::html(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type", "Content-Encoding")));
    }
    let fault =
        |code: &str, text: &str| Box::new(reply::full(StatusCode::INTERNAL_SERVER_ERROR, content(soap), envelope::fault(soap, code, text)));
    let bad_request = || Box::new(reply::html(StatusCode::BAD_REQUEST, "Bad Request", "HTTP Error 400. The request is badly formed."));
    let taken = envelope::take(body).await.ok_or_else(bad_request)?;
    // WCF answers with nothing but the status what it cannot read.
    let root = envelope::read(&taken.bytes).map_err(|_| bad_request())?;
    if !root.is(soap, "Envelope") {
        return Err(fault("VersionMismatch", "The envelope version of the incoming message does not match that of the encoder."));
    }
    let action = match soap {
        SOAP11 => header("soapaction").trim().trim_matches('"').to_owned(),
        _ => content_type.split("action=").nth(1).and_then(|rest| rest.trim_matches('"').split('"').next()).unwrap_or_default().to_owned(),
    };
    let operation = OPERATIONS.iter().find(|operation| operation.agent == service.agent && service.action(operation) == action);
    let Some(operation) = operation else {
        return Err(fault(
            "ActionNotSupported",
            &format!("The message with Action '{action}' cannot be processed at the receiver, due to a ContractFilter mismatch."),
        ));
    };
    let (mut header, mut body) = (None, None);
    for child in root.children {
        match child.name.as_str() {
            "Header" if child.is(soap, "Header") && header.is_none() && body.is_none() => header = Some(child),
            "Body" if child.is(soap, "Body") && body.is_none() => body = Some(child),
            _ => return Err(fault("InternalServiceFault", "The message is not one of SOAP: something beside its Header and Body.")),
        }
    }
    let body = body.into_iter().flat_map(|body| body.children).find(|child| child.is(service.namespace, operation.name));
    match body {
        Some(body) => Ok(Asked { soap, operation, header: header.unwrap_or_default(), body, taken }),
        None => Err(fault(
            "DeserializationFailed",
            &format!("Error in deserializing body of request message for operation '{}'.", operation.name),
        )),
    }
}

fn content(soap: &str) -> &'static str {
    if soap == SOAP12 { "application/soap+xml; charset=utf-8" } else { XML }
}

fn called(sandbox: &Sandbox, index: usize, tenant: &Tenant, service: &Service<'_>, asked: &Asked) -> Reply {
    let faults = sandbox.control().faults();
    let name = format!("{}.{}", service.agent, asked.operation.name);
    sandbox.control().count(|counters| *counters.soap.entry(name).or_default() += 1);
    let result = match is_let_in(sandbox, index, tenant, service, asked) {
        Ok(true) => done(sandbox, index, tenant, service, asked),
        Ok(false) => {
            sandbox.control().count(|counters| counters.unauthorized += 1);
            if faults.soap_ticket == HTTP_401 {
                let mut reply = reply::html(
                    StatusCode::UNAUTHORIZED,
                    "Unauthorized",
                    "HTTP Error 401. The requested resource requires user authentication.",
                );
                reply::header(&mut reply, "www-authenticate", "SOTicket");
                return reply;
            }
            Err((faults.soap_ticket.as_str(), "Authentication failed!".to_owned()))
        }
        Err(why) => Err(("System.ServiceModel.MessageHeaderException", why)),
    };
    // On demand, what was done is told as if it was not.
    let result = match &faults.soap_exception {
        Some(kind) if result.is_ok() => Err((kind.as_str(), "An exception on demand".to_owned())),
        _ => result,
    };
    let mut body = format!("<{}Response xmlns=\"{}\">", asked.operation.name, service.namespace);
    if let Some((name, kind)) = asked.operation.output {
        carrier::write(&mut body, name, kind, Some(result.as_ref().unwrap_or(&Value::Null)));
    }
    body.push_str(&format!("</{}Response>", asked.operation.name));
    let zone = asked.header.child(service.namespace, "TimeZone").ok().flatten();
    let zone = |name: &str, none: &str| {
        let told = zone.and_then(|zone| zone.child(service.namespace, name).ok()?).map(|told| told.text.trim().to_owned());
        told.filter(|told| !told.is_empty()).unwrap_or_else(|| none.to_owned())
    };
    let outcome = Outcome {
        soap: asked.soap,
        namespace: service.namespace,
        exception: result.as_ref().err().map(|(kind, text)| (*kind, text.as_str())),
        time_zone: (zone("SoTimeZoneId", "0"), zone("SoTimeZoneLocationCode", "NO")),
    };
    reply::full(StatusCode::OK, content(asked.soap), envelope::answer(&outcome, &body))
}

/// Whether the Header has this tenant's application token, and a living ticket where one is asked for.
fn is_let_in(sandbox: &Sandbox, index: usize, tenant: &Tenant, service: &Service<'_>, asked: &Asked) -> Result<bool, String> {
    if sandbox.control().refuse_this_call() {
        return Ok(false);
    }
    let header = |name: &str| asked.header.child(service.namespace, name);
    let token = header("ApplicationToken")?.is_some_and(|token| token.text == tenant.client_secret);
    let wants_ticket = asked.operation.headers().iter().any(|(name, _)| *name == "Credentials");
    let ticket = match header("Credentials")? {
        Some(credentials) => credentials.child(service.namespace, "Ticket")?,
        None => None,
    };
    let lives = |ticket: &Element| sandbox.control().tickets.accept(&ticket.text, index, sandbox.moment());
    Ok(token && (!wants_ticket || ticket.is_some_and(lives)))
}

fn done<'a>(sandbox: &Sandbox, index: usize, tenant: &Tenant, service: &Service<'_>, asked: &Asked) -> Result<Value, (&'a str, String)> {
    let arguments = carrier::read(&asked.body, service.namespace, asked.operation.input);
    let arguments = arguments.map_err(|why| ("System.FormatException", why))?;
    let call = Call { sandbox, index, tenant, operation: asked.operation, arguments };
    agents::call(&call, &asked.taken)
}
