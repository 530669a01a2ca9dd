//! The hot-swapped ticket of one tenant, and the task that renews it.
//!
//! Readers take one atomic snapshot; they wait only while there is no usable ticket at all, and then all of them for the
//! same exchange. The exchange runs in the tenant's own task, never inside a client's request, so a client that goes away
//! cancels nothing. The task looks at *levels* (is there a ticket, is its generation invalidated, is it wanted, is it due),
//! never at edges: a wake-up too many does nothing. It is only there while there is something to do: a tenant that nobody
//! uses is a few hundred bytes, and ten thousand of them are no matter.

mod brake;
mod demand;
mod mark;
mod renewing;
mod status;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use self::brake::{Brake, Verdict};
pub use self::demand::History;
use self::demand::Past;
use self::mark::UseMark;
pub use self::status::Status;
use super::{Exchange, ExchangeFailure, Kept, Policy, Tenure, Ticket};
use crate::clock::{Clock, Moment};
use crate::metrics::{Metrics, TenantCounts};

/// What the tickets of all tenants share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// When to renew.
    pub policy: Policy,
    /// The time.
    pub clock: Clock,
    /// Exchanges at once over all tenants.
    pub permits: Arc<Semaphore>,
    /// How long a caller waits for the exchange that is on, its turn among all tenants' included.
    pub patience: Duration,
    /// Where exchanges are counted.
    pub metrics: Arc<Metrics>,
}

/// One tenant's ticket. Dropping it ends the renewing task.
pub struct Tickets {
    slot: Arc<Slot>,
}

/// No ticket can be had now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{failure}")]
pub struct Unavailable {
    /// What the last exchange said.
    pub failure: ExchangeFailure,
    /// When the next one is due.
    pub retry_after: Duration,
}

/// What a 401 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ticket is not doubted (too young, or fresh ones were refused before): the 401 is the answer.
    Stands,
    /// A newer ticket is there or on its way: see [`Tickets::newer_than`].
    Renewing,
}

struct Slot {
    tenant: Box<str>,
    /// How to get a ticket; replaced by a reload.
    exchange: Mutex<Arc<dyn Exchange>>,
    shared: Arc<Shared>,
    /// Where the renewing task runs, whoever wakes it.
    runtime: Handle,
    current: ArcSwapOption<Ticket>,
    last_used: UseMark,
    /// The newest generation that upstream accepted.
    accepted: AtomicU64,
    /// Generations up to this one are rejected.
    invalidated: AtomicU64,
    /// Generations up to this one shall be replaced, because an operator says so; they are as good as before until then.
    demanded: AtomicU64,
    /// Somebody wants a ticket although the policy would not fetch one.
    wanted: AtomicBool,
    renewer: Mutex<Renewer>,
    wake: Notify,
    progress: Mutex<Progress>,
    /// Ends the pause after a failure.
    hurry: Notify,
    /// Tells all who wait that `progress` or `renewer` is another one.
    changed: Notify,
    keeping: Mutex<Keeping>,
    brake: Mutex<Brake>,
    past: Mutex<Past>,
    counts: Arc<TenantCounts>,
    /// How many renewals were counted that the ticket in use was spared.
    spared: AtomicU64,
}

/// The renewing task.
#[derive(Default)]
enum Renewer {
    /// There is nothing to do.
    #[default]
    None,
    Running(AbortHandle),
    /// The tenant is gone from the configuration: there will never be one again.
    Removed,
}

/// Who is told of what another process would need.
#[derive(Default)]
struct Keeping {
    changed: Option<Box<dyn Fn() + Send>>,
    /// The last use that was told.
    told: Option<Moment>,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    in_flight: bool,
    failure: Option<(ExchangeFailure, Moment)>,
}

impl Tickets {
    /// One tenant's tickets, fetched and renewed on the runtime that this is called on. With `prefetch` the first one is
    /// fetched at once, else on the first request; unless there is one `kept` by an earlier process that is still good.
    pub fn start(tenant: &str, exchange: Arc<dyn Exchange>, shared: impl Into<Arc<Shared>>, kept: Option<Kept>, prefetch: bool) -> Tickets {
        let shared = shared.into();
        let now = shared.clock.now();
        let kept = kept.filter(|kept| {
            let tenure = Tenure { issued: kept.ticket.issued, last_used: kept.last_used, jitter: 0.0 };
            !shared.policy.time_left(&tenure, now).is_zero()
        });
        let prefetch = prefetch && kept.is_none();
        let generation = kept.as_ref().filter(|kept| kept.accepted).map_or(0, |kept| kept.ticket.generation);
        let counts = shared.metrics.tenant(tenant);
        // What an earlier process was spared is not ours to count.
        let spared = kept.as_ref().map_or(0, |kept| {
            let tenure = Tenure { issued: kept.ticket.issued, last_used: kept.last_used, jitter: 0.0 };
            shared.policy.spared(&tenure, now)
        });
        let last_used = UseMark::default();
        let told = kept.as_ref().and_then(|kept| kept.last_used);
        told.into_iter().for_each(|used| last_used.set(used));
        let slot = Arc::new(Slot {
            tenant: tenant.into(),
            exchange: Mutex::new(exchange),
            shared,
            runtime: Handle::current(),
            current: ArcSwapOption::new(kept.map(|kept| kept.ticket)),
            last_used,
            accepted: AtomicU64::new(generation),
            invalidated: AtomicU64::new(0),
            demanded: AtomicU64::new(0),
            wanted: AtomicBool::new(prefetch),
            renewer: Mutex::default(),
            wake: Notify::new(),
            progress: Mutex::new(Progress { in_flight: prefetch, failure: None }),
            hurry: Notify::new(),
            changed: Notify::new(),
            keeping: Mutex::new(Keeping { changed: None, told }),
            brake: Mutex::default(),
            past: Mutex::default(),
            counts,
            spared: AtomicU64::new(spared),
        });
        if prefetch || slot.current.load().is_some() {
            slot.wake();
        }
        Tickets { slot }
    }

    /// The ticket to use now, when there is a usable one: one atomic read.
    pub fn ready(&self, now: Moment) -> Option<Arc<Ticket>> {
        let current = self.slot.current.load();
        current.as_ref().filter(|ticket| self.slot.usable(ticket, now)).cloned()
    }

    /// The ticket to use now. One atomic read while there is a usable one; else waits for the one exchange that is on.
    /// While the last exchange's failure is being waited out: the failure, at once.
    pub async fn get(&self) -> Result<Arc<Ticket>, Unavailable> {
        let slot = &self.slot;
        if let Some(ticket) = self.ready(slot.shared.clock.now()) {
            return Ok(ticket);
        }
        slot.wait_for(|ticket, now| slot.usable(ticket, now), true).await
    }

    /// A ticket of a later generation than the one that was refused.
    pub async fn newer_than(&self, generation: u64) -> Result<Arc<Ticket>, Unavailable> {
        let slot = &self.slot;
        slot.wait_for(|ticket, now| ticket.generation > generation && slot.usable(ticket, now), false).await
    }

    /// Upstream accepted a request that was sent at `sent`.
    pub fn used(&self, ticket: &Ticket, sent: Moment) {
        let slot = &self.slot;
        let before = slot.last_used.get();
        slot.last_used.set(sent);
        if slot.accepted.load(Ordering::Relaxed) < ticket.generation {
            slot.accepted.fetch_max(ticket.generation, Ordering::Relaxed);
        }
        // The first use since the ticket was issued brings the renewal forward from `lifetime` to `max_age`.
        if before.is_none_or(|before| before.mono < ticket.issued.mono) {
            slot.wake();
        }
    }

    /// Upstream answered 401 to a request that carried `ticket`. With `replay`, to one that was already sent again.
    pub fn refused(&self, ticket: &Ticket, replay: bool) -> Refusal {
        self.slot.refused(ticket, replay)
    }

    /// The replay after a 401 was accepted: renewing was the cure, so the next 401 may be believed at once.
    pub fn cured(&self) {
        lock(&self.slot.brake).cured();
    }

    /// Whether the ticket in use, if there is one, was got with one of these client secrets.
    pub fn may_go_on<'s>(&self, mut secrets: impl Iterator<Item = &'s str>) -> bool {
        let current = self.slot.current.load();
        current.as_ref().is_none_or(|ticket| secrets.any(|secret| ticket.app_token == secret))
    }

    /// Renews in another way from now on; the ticket in use stays.
    pub fn renew_by(&self, exchange: Arc<dyn Exchange>) {
        *lock(&self.slot.exchange) = exchange;
    }

    /// What made the last exchange fail may be over: it is tried again at once, if anybody needs it.
    pub fn try_again(&self) {
        let slot = &self.slot;
        let failed = lock(&slot.progress).failure.is_some();
        if failed {
            slot.make_progress(|progress| progress.failure = None);
            slot.hurry.notify_one();
        }
    }

    /// Calls `changed` from now on whenever [`Tickets::kept`] has become another one that is worth keeping: at once when the
    /// ticket is replaced or rejected, now and then while it is used.
    pub fn on_change(&self, changed: impl Fn() + Send + 'static) {
        lock(&self.slot.keeping).changed = Some(Box::new(changed));
    }

    /// The ticket in use and its history, for another process to go on with.
    pub fn kept(&self) -> Option<Kept> {
        self.slot.kept()
    }

    /// How this tenant stands.
    pub fn status(&self) -> Status {
        self.slot.status()
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        if let Renewer::Running(task) = std::mem::replace(&mut *lock(&self.slot.renewer), Renewer::Removed) {
            task.abort();
        }
        // Nobody shall wait for the ticket of a tenant that is gone.
        self.slot.changed.notify_waiters();
    }
}

impl Slot {
    /// Has the renewing task look again, and starts it if there is none. `false`: the tenant is gone.
    fn wake(self: &Arc<Self>) -> bool {
        let mut renewer = lock(&self.renewer);
        match &*renewer {
            Renewer::Removed => return false,
            Renewer::Running(task) if !task.is_finished() => self.wake.notify_one(),
            Renewer::None | Renewer::Running(_) => {
                let slot = self.clone();
                *renewer = Renewer::Running(self.runtime.spawn(async move { slot.renew_while_needed().await }).abort_handle());
            }
        }
        true
    }

    /// Whether `ticket` is neither run out nor rejected.
    fn usable(&self, ticket: &Ticket, now: Moment) -> bool {
        ticket.generation > self.invalidated.load(Ordering::Relaxed) && !self.run_out(ticket, now)
    }

    fn run_out(&self, ticket: &Ticket, now: Moment) -> bool {
        self.shared.policy.time_left(&self.tenure(ticket), now).is_zero()
    }

    fn tenure(&self, ticket: &Ticket) -> Tenure {
        // Any fixed number per ticket will do for spread; the low digits of the time of issue are as good as random.
        let jitter = f64::from(ticket.issued.mono.subsec_nanos() % 1_000_003) / 1_000_003.0;
        Tenure { issued: ticket.issued, last_used: self.last_used.get(), jitter }
    }

    async fn wait_for(self: &Arc<Self>, fits: impl Fn(&Ticket, Moment) -> bool, or_doubted: bool) -> Result<Arc<Ticket>, Unavailable> {
        let waiting = self.wait_without_limit(fits, or_doubted);
        tokio::time::timeout(self.shared.patience, waiting).await.unwrap_or_else(|_| Err(self.not_yet()))
    }

    fn not_yet(&self) -> Unavailable {
        let wire = "the login service has not answered yet".to_owned();
        let log = format!("{wire}, after {:?}", self.shared.patience);
        Unavailable { failure: ExchangeFailure { code: "late", wire, log }, retry_after: Duration::from_secs(5) }
    }

    async fn wait_without_limit(
        self: &Arc<Self>,
        fits: impl Fn(&Ticket, Moment) -> bool,
        or_doubted: bool,
    ) -> Result<Arc<Ticket>, Unavailable> {
        let mut asked = false;
        loop {
            // Hears of every change from here on.
            let changed = self.changed.notified();
            let seen = lock(&self.progress).clone();
            let now = self.shared.clock.now();
            let current = self.current.load_full();
            if let Some(ticket) = current.as_ref().filter(|ticket| fits(ticket, now)) {
                if asked {
                    // It may have been fetched while we asked for it; then nobody wants another one.
                    self.wanted.store(false, Ordering::Release);
                }
                return Ok(ticket.clone());
            }
            if let Some((failure, retry_at)) = seen.failure.filter(|(_, retry_at)| !seen.in_flight && now.mono < retry_at.mono) {
                // A ticket that was refused once, while the login service is down, is better than none: should the 401
                // not have been about the ticket, the tenant goes on being served.
                if let Some(doubted) = current.filter(|ticket| or_doubted && !self.run_out(ticket, now)) {
                    return Ok(doubted);
                }
                return Err(Unavailable { failure, retry_after: retry_at.mono - now.mono });
            }
            asked = true;
            self.wanted.store(true, Ordering::Release);
            if !self.wake() {
                return Err(removed());
            }
            // Looks again by itself, too: a wall clock that is set back can make a ticket usable without any exchange.
            let _ = tokio::time::timeout(Duration::from_secs(1), changed).await;
        }
    }

    fn refused(self: &Arc<Self>, ticket: &Ticket, replay: bool) -> Refusal {
        let now = self.shared.clock.now();
        // Held to the end: of a thousand 401s at once, the first decides and the others find what it decided.
        let mut state = lock(&self.brake);
        let newest = self.current.load().as_ref().map_or(0, |current| current.generation);
        if !replay && (ticket.generation < newest || ticket.generation <= self.invalidated.load(Ordering::Acquire)) {
            return Refusal::Renewing;
        }
        let accepted_before = self.accepted.load(Ordering::Relaxed) >= ticket.generation;
        match state.judge(ticket, accepted_before, replay, now) {
            Verdict::Believe => {
                self.invalidated.fetch_max(ticket.generation, Ordering::AcqRel);
                drop(state);
                self.tell();
                tracing::info!(tenant = self.tenant, generation = ticket.generation, "upstream answered 401: renewing the ticket");
                self.wake();
                Refusal::Renewing
            }
            Verdict::Fresh(_) if lock(&self.exchange).doubt(ticket) => {
                state.go_on();
                self.invalidated.fetch_max(ticket.generation, Ordering::AcqRel);
                drop(state);
                self.tell();
                tracing::info!(
                    tenant = self.tenant,
                    generation = ticket.generation,
                    "upstream answers 401 to a fresh ticket too: trying another client secret"
                );
                self.wake();
                Refusal::Renewing
            }
            Verdict::Fresh(pause) => {
                drop(state);
                tracing::warn!(
                    tenant = self.tenant,
                    generation = ticket.generation,
                    ?pause,
                    "upstream answers 401 to a fresh ticket too: no further renewal because of a 401 for now. Is client_secret right, and may this application use this part of the web API?"
                );
                Refusal::Stands
            }
            Verdict::Stands => Refusal::Stands,
        }
    }

    fn make_progress(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
        self.changed.notify_waiters();
    }

    fn kept(&self) -> Option<Kept> {
        let ticket = self.current.load_full()?;
        if ticket.generation <= self.invalidated.load(Ordering::Acquire) {
            return None;
        }
        let accepted = self.accepted.load(Ordering::Relaxed) >= ticket.generation;
        Some(Kept { ticket, last_used: self.last_used.get(), accepted })
    }

    fn tell(&self) {
        let mut keeping = lock(&self.keeping);
        keeping.told = self.last_used.get();
        if let Some(changed) = &keeping.changed {
            changed();
        }
    }
}

/// What is behind these locks is right after every single change of it.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn removed() -> Unavailable {
    let text = "this tenant was removed from the configuration".to_owned();
    Unavailable { failure: ExchangeFailure { code: "removed", wire: text.clone(), log: text }, retry_after: Duration::from_secs(1) }
}

#[cfg(test)]
mod tests;
