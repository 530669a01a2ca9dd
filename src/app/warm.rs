//! Warm start: what the store remembers of a tenant becomes its ticket and its state again, and what these become is stored.
//!
//! Whatever is recalled is judged as if it had been told long ago: a ticket by its age, its client secret and its system user
//! token, an address by `upstream_hosts`, a state by how long it is believed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::admin;
use crate::clock::{Clock, Moment};
use crate::config;
use crate::metrics::Metrics;
use crate::store::{Identity, Record, Source, Store, Writer};
use crate::superoffice::application::{Application, secret_value};
use crate::superoffice::serial::Pin;
use crate::superoffice::state;
use crate::superoffice::state::keeper::Keeper;
use crate::ticket::cache::Tickets;
use crate::ticket::{self, Kept, Ticket};

/// How long the end of the process waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clocks are not read at the same moment.
const SAME: SignedDuration = SignedDuration::from_secs(2);

/// The store, if there is one that can be used.
#[derive(Default)]
pub(super) struct Warm(Option<(Writer, Weak<Store>)>);

/// What is remembered of a tenant.
#[derive(Default)]
pub(super) struct Recalled {
    pub(super) ticket: Option<Kept>,
    pub(super) state: Option<state::Memo>,
    pub(super) serial: Option<String>,
}

impl Warm {
    /// Opens the store. Without one the proxy works as well; its tickets only cost exchanges again after a restart.
    pub(super) fn open(path: Option<&Path>, metrics: &Arc<Metrics>) -> Warm {
        let Some(path) = path else { return Warm::default() };
        let store = match Store::open(path) {
            Ok(store) => Arc::new(store),
            Err(error) => {
                tracing::warn!("{error}: going on without ({})", error.hint());
                return Warm::default();
            }
        };
        let known = Arc::downgrade(&store);
        match Writer::start(store, metrics.clone()) {
            Ok(writer) => Warm(Some((writer, known))),
            Err(error) => {
                tracing::warn!(%error, "the store cannot be written to: going on without");
                Warm::default()
            }
        }
    }

    /// What is remembered of a tenant and can still be used.
    pub(super) fn recall(&self, tenant: &config::Tenant, clock: &Clock) -> Recalled {
        let store = self.0.as_ref().and_then(|(_, store)| store.upgrade());
        let Some((store, identity)) = store.zip(identity(tenant)) else { return Recalled::default() };
        let Some(record) = store.load(&identity, &tenant.signing_keys) else { return Recalled::default() };
        let ticket = record.ticket.and_then(|memo| revive(&memo, tenant, clock));
        Recalled { ticket, state: record.state, serial: record.serial }
    }

    /// Has the tenant's record written whenever it changes, from now on.
    pub(super) fn keep(
        &self,
        tenant: &config::Tenant,
        application: Arc<Application>,
        serial: Arc<Pin>,
        tickets: &Arc<Tickets>,
        keeper: &Arc<Keeper>,
        clock: &Clock,
    ) {
        let Some(((writer, _), identity)) = self.0.as_ref().zip(identity(tenant)) else { return };
        let token = digest(tenant.system_user_token.expose());
        let (tickets_now, keeper_now, clock) = (Arc::downgrade(tickets), Arc::downgrade(keeper), clock.clone());
        let source: Source = Arc::new(move || {
            let (tickets, keeper) = (tickets_now.upgrade()?, keeper_now.upgrade()?);
            let ticket = tickets.kept().map(|kept| memo(&kept, token, clock.now()));
            let record = Record { serial: serial.get(), ticket, state: keeper.memo() };
            let anything = record.serial.is_some() || record.ticket.is_some() || record.state.is_some();
            anything.then(|| (application.key().clone(), record))
        });
        let handle = Arc::new(writer.attach(identity, source));
        let (of_tickets, of_keeper) = (handle.clone(), handle.clone());
        tickets.on_change(move || of_tickets.changed());
        keeper.on_change(move || of_keeper.changed());
        // Something may have changed before anybody listened; and after a reload another key may have to seal it.
        handle.changed();
    }

    /// How it is, for people; `path` is where it is to be.
    pub(super) fn kept(&self, path: PathBuf) -> admin::Kept {
        let (failing, set_aside) = match &self.0 {
            Some((writer, store)) => (writer.failing(), store.upgrade().map_or(0, |store| store.set_aside())),
            None => (0, 0),
        };
        admin::Kept { path, open: self.0.is_some(), failing, set_aside }
    }

    /// Writes what is not written yet, and gives the store back.
    pub(super) fn finish(&self) {
        if let Some((writer, _)) = &self.0 {
            writer.finish(PATIENCE);
        }
    }
}

/// A tenant's name obeys the rules of context identifiers, or the configuration would have been refused.
fn identity(tenant: &config::Tenant) -> Option<Identity> {
    Identity::new(&tenant.name, &tenant.context, &tenant.login_url).ok()
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn memo(kept: &Kept, token: [u8; 32], now: Moment) -> ticket::Memo {
    // By its age, where the wall clock was set since; else as it was, so that the same is the same.
    let wall = |moment: Moment| {
        let by_age = now.wall - now.since(moment);
        if moment.wall.duration_since(by_age).abs() < SAME { moment.wall } else { by_age }
    };
    let value = Zeroizing::new(String::from_utf8_lossy(kept.ticket.value()).into_owned());
    ticket::Memo {
        value: SecretString::from(value.as_str()),
        secret: Sha256::digest(&kept.ticket.app_token).into(),
        token,
        generation: kept.ticket.generation,
        issued: wall(kept.ticket.issued),
        last_used: kept.last_used.map(wall),
        accepted: kept.accepted,
    }
}

/// `None`: it belongs to secrets that the tenant no longer has, or nobody knows how old it is.
fn revive(memo: &ticket::Memo, tenant: &config::Tenant, clock: &Clock) -> Option<Kept> {
    let secret = tenant.client_secrets.iter().find(|secret| digest(secret.expose_secret()) == memo.secret)?;
    if digest(tenant.system_user_token.expose()) != memo.token {
        return None;
    }
    let Some(issued) = clock.earlier(memo.issued) else {
        tracing::warn!(
            tenant = tenant.name,
            "the stored ticket is from a time that is still to come: was this machine's clock set back? It is not used"
        );
        return None;
    };
    let authorization = Zeroizing::new([b"SOTicket ", memo.value.expose_secret().as_bytes()].concat());
    let app_token = Zeroizing::new(secret.expose_secret().as_bytes().to_vec());
    let ticket = Ticket {
        authorization: secret_value(authorization)?,
        app_token: secret_value(app_token)?,
        generation: memo.generation,
        issued,
        after_refusal: false,
    };
    let last_used = memo.last_used.and_then(|used| clock.earlier(used));
    Some(Kept { ticket: Arc::new(ticket), last_used, accepted: memo.accepted })
}
