//! The control of a sandbox, for tests in the same process and over HTTP:
//!
//! | request | does |
//! |---|---|
//! | `GET /_sandbox/faults` | the faults, as [`super::faults`] documents them |
//! | `PUT`, `POST`, `DELETE /_sandbox/faults` | replaces, changes, clears them |
//! | `POST /_sandbox/revoke-tickets[?tenant=Cust12345]` | ends tickets; `{"Revoked": n}` |
//! | `GET /_sandbox/counters` | what has been asked so far, [`Counters`] |
//! | `GET /_sandbox/stored/Cust12345/Contact/1` | an entity as it is stored, without links |
//! | `POST /_sandbox/push` | sends a state-change notification, [`super::push::Push`] |
//! | `POST /_sandbox/reset` | as freshly started: faults, counters, tickets and data |
//!
//! A push is `{"tenant": "Cust12345", "change": "Move", "url": "http://…", "token": "ok", "times": 1}`; the last two may be left out,
//! and `url` after `--push-to`. `change` may be its number, `token` `forged`, `wrong_issuer`, `wrong_tenant`, `expired` or `none`. The
//! answer is what the receiver said, each time: `[{"Status": 200, "Body": ""}]`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::entities::{Kind, World};
use super::faults::{Faults, InvalidFault, Unauthorized};
use super::push::{self, Change, Push};
use super::reply::{self, Reply, ReplyBody};
use super::throttle::Meters;
use super::tickets::Tickets;
use super::url::Query;
use super::{Sandbox, Tenant};

/// Faults, tickets, counters and data of one sandbox.
pub struct Control {
    initial: Faults,
    faults: Mutex<Faults>,
    counters: Mutex<Counters>,
    pub(super) tickets: Tickets,
    pub(super) meters: Meters,
    contexts: Vec<String>,
    /// Who is told of moves and states.
    told: Option<UnboundedSender<(String, Change)>>,
    /// Made when they are first looked at: most sandboxes of the tests are never asked for data.
    worlds: Vec<OnceLock<Mutex<World>>>,
}

/// What has been asked of a sandbox since its start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Exchanges that arrived, by tenant (`unknown` where it was not one of ours), whatever became of them.
    pub exchanges: BTreeMap<String, u64>,
    /// Exchanges answered with `IsSuccessful` false.
    pub exchanges_refused: u64,
    /// Fetches of the JWKS.
    pub jwks: u64,
    /// Fetches of tenant states.
    pub state: u64,
    /// The same by tenant (`unknown` where it was not one of ours).
    pub states: BTreeMap<String, u64>,
    /// Calls of the web API, refused ones too.
    pub api_calls: u64,
    /// Calls of a tenant's API and services, by tenant; refused ones too.
    pub calls: BTreeMap<String, u64>,
    /// The most of those that came in any one second.
    pub calls_in_a_second: BTreeMap<String, u64>,
    /// Those that were refused because there were too many.
    pub throttled: u64,
    /// Those that came before the time for which such a refusal had told their tenant to wait.
    pub too_early: u64,
    /// 401s among the answers to those.
    pub unauthorized: u64,
    /// SOAP calls by operation, `Contact.SaveContactEntity`; refused ones too.
    pub soap: BTreeMap<String, u64>,
    /// 421s.
    pub misdirected: u64,
    /// 503s, because the tenant does not run.
    pub not_running: u64,
    /// State-change notifications sent.
    pub pushed: u64,
}

impl Counters {
    /// The exchanges of one tenant.
    pub fn exchanges_of(&self, tenant: &str) -> u64 {
        self.exchanges.get(tenant).copied().unwrap_or_default()
    }

    /// The state fetches of one tenant.
    pub fn states_of(&self, tenant: &str) -> u64 {
        self.states.get(tenant).copied().unwrap_or_default()
    }
}

impl Control {
    pub(super) fn new(
        faults: Faults,
        ticket_lifetime: Duration,
        tenants: &[Tenant],
        told: Option<UnboundedSender<(String, Change)>>,
    ) -> Control {
        Control {
            initial: faults.clone(),
            faults: Mutex::new(faults),
            counters: Mutex::default(),
            tickets: Tickets::new(ticket_lifetime),
            meters: Meters::default(),
            contexts: tenants.iter().map(|tenant| tenant.context.clone()).collect(),
            told,
            worlds: tenants.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// The faults as they are now.
    pub fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        self.change_faults(|old| *old = faults);
    }

    /// Changes some faults.
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        let mut faults = lock(&self.faults);
        let old = self.told.as_ref().map(|told| (told, faults.clone()));
        change(&mut faults);
        if let Some((told, old)) = old {
            push::changes(&old, &faults, &self.contexts).into_iter().for_each(|change| _ = told.send(change));
        }
    }

    /// An entity as it is stored; `collection` is `Contact`, `Person` or `Document`.
    pub fn stored(&self, tenant: &str, collection: &str, id: u32) -> Option<Value> {
        let kind = Kind::from_path(&collection.to_ascii_lowercase())?;
        self.world(self.index(tenant)?).get(kind, id).cloned()
    }

    /// Ends all tickets, or one tenant's; how many there were.
    pub fn revoke_tickets(&self, tenant: Option<&str>) -> usize {
        match tenant {
            None => self.tickets.revoke(None),
            Some(name) => self.index(name).map_or(0, |index| self.tickets.revoke(Some(index))),
        }
    }

    /// What has been asked so far.
    pub fn counters(&self) -> Counters {
        lock(&self.counters).clone()
    }

    /// As freshly started: the first faults, no counts, no tickets, the first data.
    pub fn reset(&self) {
        self.set_faults(self.initial.clone());
        self.tickets.revoke(None);
        self.meters.clear();
        for (index, world) in self.worlds.iter().enumerate() {
            if let Some(world) = world.get() {
                *lock(world) = World::new(index);
            }
        }
        *lock(&self.counters) = Counters::default();
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counters)) {
        add(&mut lock(&self.counters));
    }

    pub(super) fn world(&self, tenant: usize) -> MutexGuard<'_, World> {
        lock(self.worlds[tenant].get_or_init(|| Mutex::new(World::new(tenant))))
    }

    /// Whether this API call is to be answered 401 on demand.
    pub(super) fn refuse_this_call(&self) -> bool {
        let mut faults = lock(&self.faults);
        match faults.unauthorized {
            Unauthorized::Off => false,
            Unauthorized::Always => true,
            Unauthorized::Next(left) => {
                faults.unauthorized = if left > 1 { Unauthorized::Next(left - 1) } else { Unauthorized::Off };
                left > 0
            }
        }
    }

    fn index(&self, tenant: &str) -> Option<usize> {
        self.contexts.iter().position(|context| context.eq_ignore_ascii_case(tenant))
    }

    /// Replaces or changes the faults by a JSON document; names of tenants must be known.
    fn faults_from_json(&self, document: Value, from: Faults) -> Result<(), InvalidFault> {
        let mut faults = from;
        faults.merge(document)?;
        if let Some(name) = faults.tenants().find(|name| self.index(name).is_none()) {
            return Err(InvalidFault::unknown_tenant(name, &self.contexts));
        }
        self.set_faults(faults);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The paths under `/_sandbox`, in lower case.
pub(super) async fn handle(sandbox: &Sandbox, path: &[String], request: Request<ReplyBody>) -> Reply {
    let control = sandbox.control();
    let (head, body) = request.into_parts();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (head.method, path.as_slice()) {
        (Method::GET, ["faults"]) => reply::json(StatusCode::OK, &control.faults()),
        (method @ (Method::PUT | Method::POST), ["faults"]) => {
            let Some(text) = reply::read(body, 64 * 1024).await else { return refused("the document is too long, or broke off") };
            let from = if method == Method::PUT { Faults::default() } else { control.faults() };
            let document = match serde_json::from_slice(&text) {
                Ok(document) => document,
                Err(error) => return refused(&error.to_string()),
            };
            match control.faults_from_json(document, from) {
                Ok(()) => reply::json(StatusCode::OK, &control.faults()),
                Err(error) => refused(&error.to_string()),
            }
        }
        (Method::DELETE, ["faults"]) => {
            control.set_faults(Faults::default());
            reply::json(StatusCode::OK, &control.faults())
        }
        (Method::POST, ["revoke-tickets"]) => match Query(head.uri.query().unwrap_or_default()).get("tenant") {
            Some(name) if control.index(&name).is_none() => refused(&InvalidFault::unknown_tenant(&name, &control.contexts).to_string()),
            name => reply::json(StatusCode::OK, &json!({ "Revoked": control.revoke_tickets(name.as_deref()) })),
        },
        (Method::GET, ["stored", tenant, collection, id]) => {
            let stored = id.parse().ok().and_then(|id| control.stored(tenant, collection, id));
            stored.map_or_else(
                || reply::aspnet(StatusCode::NOT_FOUND, "There is no such entity."),
                |stored| reply::json(StatusCode::OK, &stored),
            )
        }
        (Method::POST, ["push"]) => {
            let Some(text) = reply::read(body, 64 * 1024).await else { return refused("the document is too long, or broke off") };
            let push: Push = match serde_json::from_slice(&text) {
                Ok(push) => push,
                Err(error) => return refused(&error.to_string()),
            };
            match sandbox.push(&push).await {
                Ok(received) => reply::json(StatusCode::OK, &received),
                Err(why) => refused(&why),
            }
        }
        (Method::GET, ["counters"]) => reply::json(StatusCode::OK, &control.counters()),
        (Method::POST, ["reset"]) => {
            control.reset();
            reply::json(StatusCode::OK, &control.faults())
        }
        (method, ["faults" | "revoke-tickets" | "counters" | "push" | "reset"]) => reply::wrong_method(&method),
        _ => reply::aspnet(StatusCode::NOT_FOUND, "The sandbox has faults, revoke-tickets, counters, stored, push and reset here."),
    }
}

fn refused(message: &str) -> Reply {
    reply::aspnet(StatusCode::BAD_REQUEST, message)
}
