//! SuperOffice's notifications that a tenant's state has changed, on a listener of their own. Protocol §6.6.
//!
//! The listener may be reached from the internet, so it believes nothing: a notification whose token SuperOffice has signed
//! only makes the proxy ask for the state itself, as soon as `state.min_interval` allows. Bursts collapse into that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};

use crate::body::{Body, full};
use crate::metrics::Push;
use crate::proxy::{Proxy, Tenant};
use crate::server::{Ends, Handler, Inbound};
use crate::superoffice::ContextId;
use crate::superoffice::state::keeper::Source;

/// Where SuperOffice posts to; what the application's "State Change URL" ends in.
pub const PATH: &str = "/superoffice/state-change";

/// No genuine notification is larger.
const LARGEST: usize = 16 * 1024;

/// Strangers must not fill the log: so many seconds lie between two lines about refused notifications.
const TELL_EVERY: u64 = 60;

/// Takes notifications.
#[derive(Clone)]
pub struct StatePush {
    proxy: Arc<ArcSwap<Proxy>>,
    /// When a refused one was last written down, in seconds.
    told: Arc<AtomicU64>,
}

/// What a notification says. Everything but the token is hearsay.
struct Notification {
    context: ContextId,
    token: String,
    change: String,
}

impl Notification {
    /// Assumption: names of members are taken without regard to case.
    fn parse(body: &[u8]) -> Option<Notification> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let members: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let member = |name: &str| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let context = member("ContextIdentifier")?.as_str()?.parse().ok()?;
        let token = member("Token").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Notification { context, token, change: change(member("ChangeType")) })
    }
}

/// The kind of a change, in words.
fn change(kind: Option<&Value>) -> String {
    const KINDS: [&str; 6] = ["Upgrade", "BackupRestored", "Suspend", "Resume", "Delete", "Move"];
    let known = match kind {
        Some(Value::Number(number)) => number.as_u64().and_then(|at| KINDS.get(usize::try_from(at).ok()?)),
        Some(Value::String(name)) => KINDS.iter().find(|kind| kind.eq_ignore_ascii_case(name)),
        _ => None,
    };
    known.map_or_else(|| "not told".to_owned(), |kind| (*kind).to_owned())
}

impl StatePush {
    /// Looks at whichever snapshot is current when asked.
    pub fn new(proxy: Arc<ArcSwap<Proxy>>) -> StatePush {
        StatePush { proxy, told: Arc::default() }
    }

    async fn answer(&self, request: Request<Inbound>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if parts.uri.path().trim_end_matches('/') != PATH {
            return text(StatusCode::NOT_FOUND, format!("only {PATH} is here\n"));
        }
        if parts.method != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "POST\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let proxy = self.proxy.load_full();
        let metrics = &proxy.common.metrics;
        let malformed = |status, why: &str| {
            metrics.pushed(Push::Malformed);
            text(status, format!("{why}\n"))
        };
        let body = match Limited::new(body, LARGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return malformed(StatusCode::PAYLOAD_TOO_LARGE, "this is larger than any notification");
            }
            Err(_) => return malformed(StatusCode::BAD_REQUEST, "the notification broke off"),
        };
        let Some(notification) = Notification::parse(&body) else {
            return malformed(StatusCode::BAD_REQUEST, "a notification is a JSON object with ContextIdentifier and Token");
        };
        let Notification { context, token, change } = notification;
        let mine: Vec<Arc<Tenant>> = proxy.routes.tenants().filter(|tenant| tenant.context.matches(context.as_str())).cloned().collect();
        // Whether a tenant is configured here is nothing that strangers may learn: the token comes first.
        let sources = match mine.is_empty() {
            true => sources(proxy.routes.tenants()),
            false => sources(mine.iter()),
        };
        if let Err(why) = verify(&sources, &token, &context).await {
            metrics.pushed(Push::Refused);
            self.tell(&proxy, &context, &why);
            return text(StatusCode::FORBIDDEN, "the notification's Token is not one of SuperOffice's for this tenant\n");
        }
        for tenant in &mine {
            tracing::info!(tenant = %tenant.name, change, "SuperOffice says that the tenant's state has changed: asking");
            tenant.keeper.hint();
        }
        metrics.pushed(if mine.is_empty() { Push::UnknownTenant } else { Push::Accepted });
        text(StatusCode::OK, "")
    }

    fn tell(&self, proxy: &Proxy, context: &ContextId, why: &str) {
        let now = proxy.common.clock.mono().as_secs() + TELL_EVERY;
        let told = self.told.load(Ordering::Relaxed);
        if now >= told + TELL_EVERY && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(%context, "a state-change notification was refused: {why} (at most one line a minute)");
        }
    }
}

/// One source for each login service.
fn sources<'a>(tenants: impl Iterator<Item = &'a Arc<Tenant>>) -> Vec<Arc<dyn Source>> {
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    for tenant in tenants {
        let source = tenant.keeper.source();
        if !sources.iter().any(|known| known.login() == source.login()) {
            sources.push(source);
        }
    }
    sources
}

/// Whether one of the login services has signed the token, and for this tenant if it names one.
async fn verify(sources: &[Arc<dyn Source>], token: &str, context: &ContextId) -> Result<(), String> {
    if token.is_empty() {
        return Err("it has no token".to_owned());
    }
    let mut why = "there is nobody to verify it".to_owned();
    for source in sources {
        match source.verify(token).await {
            Ok(named) if named.as_deref().is_none_or(|named| context.matches(named)) => return Ok(()),
            Ok(_) => why = "its token is another tenant's".to_owned(),
            Err(refused) => why = refused,
        }
    }
    Err(why)
}

impl Handler for StatePush {
    type Body = Body;

    async fn handle(&self, request: Box<Request<Inbound>>, _: Ends) -> Response<Body> {
        self.answer(*request).await
    }
}

fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_as_documented() {
        let parse = |text: &str| Notification::parse(text.as_bytes());
        let notification = parse(
            r#"{ "ChangeType":5, "ContextIdentifier":"Cust12345", "VersionName":"Release_10.3.8_2024.08.30-01", "FileVersion":"10.3.8.2024", "Token":"eyJ....", "PublicEndpoint":"sod3.superoffice.com" }"#,
        )
        .unwrap();
        assert_eq!((notification.context.as_str(), &*notification.token, &*notification.change), ("Cust12345", "eyJ....", "Move"));
        let other = parse(r#"{"contextIdentifier":"cust1","changeType":"suspend"}"#).unwrap();
        assert_eq!((&*other.token, &*other.change), ("", "Suspend"));
        for bad in ["", "null", "[]", "{}", r#"{"ContextIdentifier":7}"#, r#"{"ContextIdentifier":"a/b"}"#] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
