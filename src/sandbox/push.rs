//! State-change notifications, which the sandbox sends to an application's State Change URL. Protocol §6.6.
//!
//! The documented body; what its `Token` holds was not found. Assumptions: it is a JWT like those of an exchange, signed with the
//! login service's key (RS256, the same `x5t`), its issuer the login service's origin (as the documentation's own check has it), with
//! the tenant in the claim `ctx`, valid from a minute before to five minutes after it was made, and without an audience.
//! `PublicEndpoint`, documented as the bare host, has a port where it needs one; it comes with `Move` alone. `http` only.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::faults::{Faults, TenantState};
use super::{Sandbox, jwt, place, state};

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST: u32 = 10_000;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
#[allow(missing_docs)] // SuperOffice's own names
pub enum Change {
    Upgrade = 0,
    BackupRestored = 1,
    Suspend = 2,
    Resume = 3,
    Delete = 4,
    Move = 5,
}

impl TryFrom<Value> for Change {
    type Error = String;

    fn try_from(value: Value) -> Result<Change, String> {
        let all = [Change::Upgrade, Change::BackupRestored, Change::Suspend, Change::Resume, Change::Delete, Change::Move];
        let named = |change: &Change| value == format!("{change:?}").as_str() || value == *change as u8;
        all.into_iter().find(named).ok_or_else(|| format!("{value} is no change: Upgrade, BackupRestored, Suspend, Resume, Delete, Move"))
    }
}

/// How good the token of a notification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushToken {
    /// Good.
    #[default]
    Ok,
    /// Signed with another key, whatever its header says.
    Forged,
    /// `iss` is somebody else.
    WrongIssuer,
    /// `ctx` is another tenant.
    WrongTenant,
    /// Its times are an hour back.
    Expired,
    /// There is none.
    None,
}

/// A notification to send; in JSON as for `POST /_sandbox/push`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The tenant, by its context identifier.
    pub tenant: String,
    /// What has changed.
    pub change: Change,
    /// Where to; by default [`super::Options::push_to`].
    #[serde(default)]
    pub url: Option<String>,
    /// How good the token is.
    #[serde(default)]
    pub token: PushToken,
    /// How many, all at once.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

impl Push {
    /// A good notification, once, to `url`.
    pub fn new(tenant: &str, change: Change, url: &str) -> Push {
        Push { tenant: tenant.to_owned(), change, url: Some(url.to_owned()), token: PushToken::Ok, times: 1 }
    }
}

/// What the receiver said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Received {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Whether `url` is one that can be pushed to.
pub fn check_url(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    match uri.scheme_str().zip(uri.authority()) {
        Some(("http", _)) => Ok(uri),
        _ => Err(format!("{url} is no http:// URL, and the sandbox pushes to no other")),
    }
}

impl Sandbox {
    /// Sends a notification; what the receiver said to each, or why there was nothing to send or nobody to receive it.
    pub async fn push(&self, push: &Push) -> Result<Vec<Received>, String> {
        let url = push.url.as_deref().or(self.0.push_to.as_deref()).ok_or("no url, and the sandbox was started without one")?;
        let uri = check_url(url)?;
        let body = self.notification(push)?;
        let mut sent = JoinSet::new();
        for _ in 0..push.times.min(MOST) {
            let (uri, body) = (uri.clone(), body.clone());
            sent.spawn(async move { tokio::time::timeout(PATIENCE, post(uri, body)).await.map_err(|_| "no answer".to_owned())? });
        }
        self.control().count(|counters| counters.pushed += u64::from(push.times.min(MOST)));
        sent.join_all().await.into_iter().collect::<Result<_, _>>().map_err(|error: String| format!("{url}: {error}"))
    }

    /// The body of a notification.
    pub fn notification(&self, push: &Push) -> Result<Bytes, String> {
        let (_, tenant) = self.tenant(&push.tenant).ok_or_else(|| format!("unknown tenant {:?}", push.tenant))?;
        let mut body = json!({
            "ChangeType": push.change as u8,
            "ContextIdentifier": tenant.context,
            "VersionName": state::RELEASE,
            "FileVersion": "11.10.721.0",
        });
        if push.token != PushToken::None {
            body["Token"] = jwt::notification(tenant, self.base(), self.now(), push.token).ok_or("the signing key cannot be read")?.into();
        }
        if push.change == Change::Move {
            body["PublicEndpoint"] = place::authority(&place::of(self, tenant)).into();
        }
        Ok(body.to_string().into())
    }

    /// Pushes whatever `changes` tells, in its order, to [`super::Options::push_to`].
    pub(super) async fn push_changes(self, mut changes: UnboundedReceiver<(String, Change)>) {
        while let Some((tenant, change)) = changes.recv().await {
            let push = Push { tenant, change, url: None, token: PushToken::Ok, times: 1 };
            // The receiver may be gone, or not there yet: SuperOffice's repetitions, if any, were not found.
            _ = self.push(&push).await;
        }
    }
}

async fn post(uri: Uri, body: Bytes) -> Result<Received, String> {
    let shown = |error: &dyn std::fmt::Display| error.to_string();
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let address = if uri.port().is_some() { authority.clone() } else { format!("{authority}:80") };
    let stream = TcpStream::connect(address).await.map_err(|error| shown(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| shown(&error))?;
    tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::post(target).header(HOST, authority).header(CONTENT_TYPE, "application/json; charset=utf-8");
    let request = request.body(Full::new(body)).map_err(|error| shown(&error))?;
    let (head, body) = sender.send_request(request).await.map_err(|error| shown(&error))?.into_parts();
    let body = body.collect().await.map_err(|error| shown(&error))?.to_bytes();
    Ok(Received { status: head.status.as_u16(), body: String::from_utf8_lossy(&body).into_owned() })
}

/// What SuperOffice would push when the faults change from `old` to `new`.
pub(super) fn changes(old: &Faults, new: &Faults, contexts: &[String]) -> Vec<(String, Change)> {
    let mut changes = Vec::new();
    for context in contexts {
        if old.moved_to(context) != new.moved_to(context) {
            changes.push((context.clone(), Change::Move));
        }
        let (before, now) = (old.state_of(context), new.state_of(context));
        if before != now {
            changes.push((context.clone(), kind(now)));
        }
    }
    changes
}

/// Assumption: which changes come with which state was not found; a maintenance is an upgrade.
fn kind(now: TenantState) -> Change {
    match now {
        TenantState::Running => Change::Resume,
        TenantState::Suspended => Change::Suspend,
        TenantState::Deleted | TenantState::Deleting => Change::Delete,
        _ => Change::Upgrade,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_written_by_name_or_number() {
        for (written, change) in [(json!("Move"), Change::Move), (json!(5), Change::Move), (json!(0), Change::Upgrade)] {
            assert_eq!(serde_json::from_value::<Change>(written).unwrap(), change);
        }
        for wrong in [json!(6), json!("move it"), json!(null), json!(-1)] {
            assert!(serde_json::from_value::<Change>(wrong).is_err());
        }
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let contexts = ["Cust1".to_owned(), "Cust2".to_owned()];
        let mut faults = Faults::default();
        let mut told = |text: &str| {
            let old = faults.clone();
            faults.set(text).unwrap();
            changes(&old, &faults, &contexts).into_iter().map(|(tenant, change)| format!("{tenant} {change:?}")).collect::<Vec<_>>()
        };
        assert_eq!(told("latency=1s"), [""; 0]);
        assert_eq!(told("moved.cust1=null"), ["Cust1 Move"]);
        assert_eq!(told("moved.cust1=null"), [""; 0]);
        assert_eq!(told("moved.cust1=home"), ["Cust1 Move"]);
        for (state, change) in [
            ("OfflineMaintenance", "Upgrade"),
            ("Running", "Resume"),
            ("Suspended", "Suspend"),
            ("Deleted", "Delete"),
            ("Unknown", "Upgrade"),
        ] {
            assert_eq!(told(&format!("state.Cust2={state}")), [format!("Cust2 {change}")]);
        }
    }

    #[test]
    fn urls_to_push_to() {
        assert!(check_url("http://127.0.0.1:9999/superoffice/state-change").is_ok());
        for bad in ["https://a.example/x", "a.example", "/x", "http://", ""] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
