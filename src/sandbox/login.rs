//! The login service: both twins of the exchange (protocol §3, §4), the JWKS and the discovery document.
//!
//! What a refusal says in `ErrorMessage` was not found; here it is SuperID's name, number and text (§8.1), and every
//! refusal comes with HTTP 200. An application, tenant or token that is not known is `Denied`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::ext::ReasonPhrase;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::faults::LoginFault;
use super::reply::{self, Reply, ReplyBody};
use super::{Sandbox, jwt, soap, token};

const BODY_LIMIT: usize = 64 * 1024;

/// SuperID's names for why an exchange is refused. Protocol §8.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // SuperOffice's own names
pub enum Refusal {
    Revoked,
    InvalidRedirectUrl,
    Expired,
    Denied,
    NeedsReapproval,
    InvalidTimestamp,
    InvalidSignature,
}

impl Refusal {
    fn words(self) -> String {
        let text = match self {
            Refusal::Revoked => "Application's access to the tenant has been revoked",
            Refusal::InvalidRedirectUrl => "The redirect URL you used is not registered in the SuperOffice operation center on the app",
            Refusal::Expired => "The application authorization on this tenant has expired",
            Refusal::Denied => "The applications access to this tenant has been denied",
            Refusal::NeedsReapproval => "Authorization needs to be re-approved",
            Refusal::InvalidTimestamp => "The supplied timestamp is invalid",
            Refusal::InvalidSignature => "Calculated signature is invalid",
        };
        format!("Authorization error: {self:?} ({}). {text}", self as u8 + 1)
    }
}

/// What one exchange asks, whichever twin carried it. Missing and nil are both `None`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Exchange {
    pub application_token: Option<String>,
    #[serde(rename = "ContextIdentifier")]
    pub context: Option<String>,
    pub signed_system_token: Option<String>,
    #[serde(rename = "ReturnTokenType", deserialize_with = "is_saml")]
    pub saml: bool,
}

fn is_saml<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    // ASP.NET reads the enumeration in any case, or as its number.
    match Value::deserialize(from)? {
        Value::String(text) if text.eq_ignore_ascii_case("jwt") => Ok(false),
        Value::String(text) if text.eq_ignore_ascii_case("saml") => Ok(true),
        Value::Null => Ok(false),
        Value::Number(number) if number.as_u64() == Some(0) => Ok(false),
        other => Err(serde::de::Error::custom(format!("Error converting value {other} to type 'TokenType'."))),
    }
}

/// Which twin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Twin {
    Soap,
    Rest,
}

/// The paths under `/login`, the first segment taken off.
pub(super) async fn handle(sandbox: &Sandbox, path: &[String], request: Request<ReplyBody>) -> Reply {
    let lower: Vec<String> = path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let mut reply = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["services", "partnersystemuserservice.svc"] => service(sandbox, request).await,
        ["api", "partnersystemuser", "authenticate"] if request.method() == Method::POST => exchange(sandbox, Twin::Rest, request).await,
        ["api", "partnersystemuser", "authenticate"] => reply::wrong_method(request.method()),
        [".well-known", "jwks"] if request.method() == Method::GET => jwks(sandbox),
        [".well-known", "openid-configuration"] if request.method() == Method::GET => match sandbox.control().faults().jwks_down {
            true => reply::close(),
            false => reply::json(StatusCode::OK, &jwt::discovery(sandbox.base())),
        },
        _ => sandbox.not_found(request.uri()),
    };
    reply::header(&mut reply, "set-cookie", "SOOnline=sandbox-login; path=/; HttpOnly");
    reply::header(&mut reply, "set-cookie", "ARRAffinity=5a0db0x1;Path=/;HttpOnly");
    reply
}

fn jwks(sandbox: &Sandbox) -> Reply {
    sandbox.control().count(|counters| counters.jwks += 1);
    let faults = sandbox.control().faults();
    if faults.jwks_down { reply::close() } else { reply::json(StatusCode::OK, &jwt::jwks(faults.jwt)) }
}

async fn service(sandbox: &Sandbox, request: Request<ReplyBody>) -> Reply {
    if request.method() == Method::POST {
        return exchange(sandbox, Twin::Soap, request).await;
    }
    let wants_wsdl = request.uri().query().is_some_and(|query| {
        let name = query.split(['&', '=']).next().unwrap_or_default();
        name.eq_ignore_ascii_case("wsdl") || name.eq_ignore_ascii_case("singleWsdl")
    });
    match (request.method() == Method::GET, wants_wsdl) {
        (true, true) => reply::full(StatusCode::OK, "text/xml; charset=utf-8", soap::wsdl(sandbox.base())),
        (true, false) => reply::html(
            StatusCode::OK,
            "PartnerSystemUserService Service",
            &format!("You have created a service. Its description: {}/login/services/PartnerSystemUserService.svc?wsdl", sandbox.base()),
        ),
        _ => reply::html(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "The service takes POST."),
    }
}

async fn exchange(sandbox: &Sandbox, twin: Twin, request: Request<ReplyBody>) -> Reply {
    let (head, body) = request.into_parts();
    let asked = match reply::read(body, BODY_LIMIT).await {
        None => Err(Box::new(reply::html(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large", "HTTP Error 413."))),
        Some(body) => twin.read(&head, &body),
    };
    let context = asked.as_ref().ok().and_then(|exchange| exchange.context.as_deref()).unwrap_or_default();
    let name = sandbox.tenant(context).map_or("unknown", |(_, tenant)| tenant.context.as_str()).to_owned();
    sandbox.control().count(|counters| *counters.exchanges.entry(name.clone()).or_default() += 1);

    let fault = sandbox.control().faults().login_for(&name).clone();
    match fault {
        LoginFault::Down => return reply::close(),
        LoginFault::Slow { delay } => tokio::time::sleep(delay).await,
        LoginFault::Garbled => {
            return reply::html(StatusCode::OK, "SuperOffice", "We are making some improvements. Please try again later.");
        }
        LoginFault::Html500 => {
            return reply::html(StatusCode::INTERNAL_SERVER_ERROR, "Runtime Error", "An application error occurred on the server.");
        }
        LoginFault::SoapFault => return twin.internal_error(),
        LoginFault::Empty => return reply::empty(StatusCode::OK),
        LoginFault::Redirect => {
            let mut reply = reply::html(StatusCode::FOUND, "Object moved", "Object moved.");
            let to = format!("{}/login/maintenance?from=exchange", sandbox.base());
            reply.headers_mut().extend(HeaderValue::from_str(&to).ok().map(|to| (LOCATION, to)));
            return reply;
        }
        LoginFault::Refuse { code } => {
            sandbox.control().count(|counters| counters.exchanges_refused += 1);
            return twin.reply(Err(&code.words()));
        }
        LoginFault::Ok | LoginFault::Truncated => {}
    }
    let answer = match asked {
        Err(reply) => *reply,
        Ok(exchange) => match authenticate(sandbox, &exchange) {
            Ok(token) => twin.reply(Ok(&token)),
            Err(words) => {
                sandbox.control().count(|counters| counters.exchanges_refused += 1);
                twin.reply(Err(&words))
            }
        },
    };
    if fault == LoginFault::Truncated { reply::truncated(answer).await } else { answer }
}

/// The checks, in the order in which one depends on the other, and the token.
fn authenticate(sandbox: &Sandbox, exchange: &Exchange) -> Result<String, String> {
    let denied = || Refusal::Denied.words();
    let secret = exchange.application_token.as_deref().unwrap_or_default();
    let (index, tenant) = sandbox.tenant(exchange.context.as_deref().unwrap_or_default()).ok_or_else(denied)?;
    if secret.is_empty() || secret != tenant.client_secret {
        return Err(denied());
    }
    let signed = exchange.signed_system_token.as_deref().unwrap_or_default();
    let named = token::verify(signed, sandbox.application_key(index), sandbox.now()).map_err(Refusal::words)?;
    if named != tenant.system_user_token {
        return Err(denied());
    }
    if exchange.saml {
        return Err("The sandbox issues no SAML tokens; ask for a Jwt".to_owned());
    }
    let fault = sandbox.control().faults().jwt;
    let ticket = sandbox.control().tickets.issue(&tenant.context, index, sandbox.moment());
    jwt::issue(tenant, &ticket, sandbox.base(), sandbox.now(), fault).ok_or_else(|| "The sandbox's signing key cannot be read".to_owned())
}

impl Twin {
    fn read(self, head: &http::request::Parts, body: &Bytes) -> Result<Exchange, Box<Reply>> {
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match self {
            Twin::Soap => {
                if !media_type.eq_ignore_ascii_case("text/xml") {
                    return Err(Box::new(wrong_content_type(content_type)));
                }
                let action = head.headers.get("soapaction").and_then(|value| value.to_str().ok()).unwrap_or_default().trim_matches('"');
                if action != soap::ACTION {
                    let text = format!(
                        "The message with Action '{action}' cannot be processed at the receiver, due to a ContractFilter mismatch at the EndpointDispatcher."
                    );
                    return Err(Box::new(soap_fault(&soap::Fault { code: "a:ActionNotSupported", text })));
                }
                soap::read(body).map_err(|fault| Box::new(soap_fault(&fault)))
            }
            Twin::Rest => {
                let json_types = ["application/json", "text/json"];
                if !json_types.iter().any(|name| media_type.eq_ignore_ascii_case(name)) {
                    let text = format!("The request entity's media type '{media_type}' is not supported for this resource.");
                    return Err(Box::new(reply::aspnet(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text)));
                }
                serde_json::from_slice(body).map_err(|error| {
                    let body = json!({ "Message": "The request is invalid.", "MessageDetail": error.to_string() });
                    Box::new(reply::json(StatusCode::BAD_REQUEST, &body))
                })
            }
        }
    }

    fn reply(self, result: Result<&str, &str>) -> Reply {
        match self {
            Twin::Soap => reply::full(StatusCode::OK, "text/xml; charset=utf-8", soap::reply(result)),
            Twin::Rest => {
                let body = json!({ "IsSuccessful": result.is_ok(), "Token": result.ok(), "ErrorMessage": result.err() });
                reply::json(StatusCode::OK, &body)
            }
        }
    }

    fn internal_error(self) -> Reply {
        match self {
            Twin::Soap => soap_fault(&soap::Fault {
                code: "a:InternalServiceFault",
                text: "The server was unable to process the request due to an internal error.".to_owned(),
            }),
            Twin::Rest => reply::aspnet(StatusCode::INTERNAL_SERVER_ERROR, "An error has occurred."),
        }
    }
}

fn soap_fault(fault: &soap::Fault) -> Reply {
    reply::full(StatusCode::INTERNAL_SERVER_ERROR, "text/xml; charset=utf-8", soap::fault_envelope(fault))
}

/// WCF says it in the reason phrase, and nowhere else.
fn wrong_content_type(content_type: &str) -> Reply {
    let mut reply = reply::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let text = format!(
        "Cannot process the message because the content type '{content_type}' was not the expected type 'text/xml; charset=utf-8'."
    );
    if let Ok(reason) = ReasonPhrase::try_from(text.into_bytes()) {
        reply.extensions_mut().insert(reason);
    }
    reply
}
