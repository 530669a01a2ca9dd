//! What is known of one tenant's state, and the task that keeps it known.
//!
//! Readers take one atomic snapshot. They wait only while nothing is known, or what is known is doubted (a 421), and for a
//! moment when it is out of date; all of them for the same fetch. The fetch runs in the tenant's own task, never inside a
//! client's request. The task looks at levels (is the state wanted, doubted, due), never at edges, and is only there while
//! there is something to do.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::task::AbortOnDropHandle;

use super::{StateError, TenantState};
use crate::clock::{Clock, Moment};
use crate::superoffice::Outage;
use crate::superoffice::origin::{AllowedBase, BaseUrl, UpstreamHosts};

/// The task looks at the clocks at least this often, so that it notices a suspend.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a request waits for news of a state that is out of date before it goes on with what was known last.
const MOMENT: Duration = Duration::from_secs(2);

/// After failures the endpoint is asked at least this often while somebody wants to know.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many of a tenant's earlier addresses are remembered: links to them may still be in what it answers.
const REMEMBERED: usize = 8;

/// How often the state is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At most so often, whatever happens.
    pub min: Duration,
    /// At least so often, for a tenant in use.
    pub max: Duration,
}

impl Pace {
    /// How long a state is believed that says that it is valid for so long. One that does not say: as long as allowed.
    fn kept(&self, valid: Option<Duration>) -> Duration {
        valid.unwrap_or(self.max).min(self.max).max(self.min)
    }

    /// When it is fetched anew for a tenant in use: a little before it is out of date.
    fn due(&self, kept: Duration) -> Duration {
        kept.saturating_sub((kept / 10).min(Duration::from_secs(30))).max(self.min)
    }

    /// How long after the `failures`th failure in a row (from 1).
    fn pause(&self, failures: u32) -> Duration {
        self.min.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE.max(self.min))
    }
}

/// Where a tenant's state comes from.
pub trait Source: Send + Sync + 'static {
    /// One fetch, with its own time limit. Never runs inside a client's request.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<TenantState, StateError>> + Send + '_>>;
    /// The time as SuperOffice sees it.
    fn now(&self) -> Timestamp;
    /// The tenant lives elsewhere from now on.
    fn left(&self, base: &BaseUrl);
    /// Whose signature notifications bear.
    fn login(&self) -> &BaseUrl;
    /// Verifies the token of a notification: which tenant it names, if any; or why it is refused.
    fn verify<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send + 'a>>;
}

/// What the keepers of all tenants share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// When to fetch.
    pub pace: Pace,
    /// The time.
    pub clock: Clock,
    /// Fetches at once over all tenants.
    pub permits: Arc<Semaphore>,
    /// How long a request waits at most when it cannot go on without news.
    pub patience: Duration,
}

/// What is known of a tenant: replaced as a whole by each fetch.
#[derive(Debug)]
pub struct Standing {
    /// Where requests go.
    pub base: Option<AllowedBase>,
    /// Where they went before, the latest first.
    pub previous: Vec<AllowedBase>,
    /// What the endpoint said last.
    pub state: Option<Arc<TenantState>>,
    /// Why the tenant is not followed to where it moved.
    pub refused: Option<String>,
    /// Why it is not known where requests go.
    pub unknown: Option<String>,
    /// While it does not run: why, and for how long that is believed.
    outage: Option<(Outage, Duration)>,
    fetched: Moment,
    kept: Duration,
}

impl Standing {
    /// Why requests are not passed on now.
    pub fn outage(&self, now: Moment) -> Option<&Outage> {
        self.outage.as_ref().filter(|(_, until)| now.since(self.fetched) < *until).map(|(outage, _)| outage)
    }

    fn is_fresh(&self, now: Moment) -> bool {
        now.since(self.fetched) < self.kept
    }

    /// Whether a request can be decided by this.
    fn tells_enough(&self, now: Moment) -> bool {
        self.base.is_some() && self.outage.is_none() || self.outage(now).is_some()
    }
}

/// What a 421 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirected {
    /// The state says that this is the place: the 421 is the answer.
    Stands,
    /// The tenant lives elsewhere, or is asked about: see [`Keeper::elsewhere`].
    Asking,
}

/// A tenant's state for readiness and for people.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The state's name.
    pub name: Option<String>,
    /// Why requests are not passed on.
    pub outage: Option<Outage>,
    /// Why the tenant is not followed to where it moved.
    pub refused: Option<String>,
    /// Why it is not known where requests go, when a request would be answered so.
    pub unknown: Option<String>,
}

/// Keeps one tenant's state. Dropping it ends the task.
pub struct Keeper {
    slot: Arc<Slot>,
}

struct Slot {
    tenant: Box<str>,
    source: Mutex<Arc<dyn Source>>,
    hosts: UpstreamHosts,
    shared: Arc<Shared>,
    /// The address comes from the configuration: the state decides nothing.
    pinned: bool,
    runtime: Handle,
    standing: ArcSwap<Standing>,
    /// Since the last fetch.
    used: AtomicBool,
    /// The place is doubted, and all wait for news; the same as in `progress`, for those who only look.
    doubted: AtomicBool,
    progress: Mutex<Progress>,
    wake: Notify,
    /// Tells all who wait that `progress` is another one.
    changed: Notify,
    resumed: Mutex<Option<Box<dyn Fn() + Send>>>,
}

#[derive(Default)]
struct Progress {
    task: Task,
    /// Fetches that were begun.
    attempts: u64,
    in_flight: Option<Moment>,
    /// When the last fetch succeeded (its beginning) or failed (its end).
    last: Option<Moment>,
    /// From `last` to the next one in the background.
    interval: Duration,
    failures: u32,
    asked: Asked,
    /// The place that answered 421, and how many fetches had been begun by then.
    doubted: Option<(AllowedBase, u64)>,
    /// A place that answered 421 although the state, asked again, said it was right.
    stuck: Option<AllowedBase>,
}

#[derive(Default)]
enum Task {
    /// There is nothing to do.
    #[default]
    None,
    Running(AbortHandle),
    /// The tenant is gone from the configuration.
    Removed,
}

impl Progress {
    /// Whether a doubt is a reason for all requests to wait. Not while the endpoint is down: then the last place goes on, and
    /// only those wait who were told that it is wrong.
    fn holds_all(&self) -> bool {
        self.doubted.is_some() && self.failures == 0
    }
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    #[default]
    Nobody,
    /// A request; after failures it has to be patient.
    Request,
    /// There was a sign that something has changed: a 421 or a push.
    Hint,
}

enum Plan {
    Fetch,
    Wait(Duration),
    Rest,
}

impl Keeper {
    /// One tenant's state, fetched on the runtime that this is called on. With `pinned` the tenant lives there, and the state
    /// is only fetched for those who ask for it by name. With `prefetch` it is fetched at once, else on the first request.
    pub fn start(
        tenant: &str,
        source: Arc<dyn Source>,
        hosts: UpstreamHosts,
        pinned: Option<AllowedBase>,
        shared: Arc<Shared>,
        prefetch: bool,
    ) -> Keeper {
        let fetched = shared.clock.now();
        let is_pinned = pinned.is_some();
        let kept = if is_pinned { Duration::MAX } else { Duration::ZERO };
        let standing =
            Standing { base: pinned, previous: Vec::new(), state: None, refused: None, unknown: None, outage: None, fetched, kept };
        let slot = Arc::new(Slot {
            tenant: tenant.into(),
            source: Mutex::new(source),
            hosts,
            shared,
            pinned: is_pinned,
            runtime: Handle::current(),
            standing: ArcSwap::from_pointee(standing),
            used: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            progress: Mutex::default(),
            wake: Notify::new(),
            changed: Notify::new(),
            resumed: Mutex::new(None),
        });
        if prefetch && !is_pinned {
            slot.ask(Asked::Request);
        }
        Keeper { slot }
    }

    /// What is known, when that is enough to go on: one atomic read.
    pub fn ready(&self, now: Moment) -> Option<Arc<Standing>> {
        let slot = &self.slot;
        let standing = slot.standing.load();
        if slot.doubted.load(Ordering::Relaxed) || !standing.is_fresh(now) || !standing.tells_enough(now) {
            return None;
        }
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(standing.clone())
    }

    /// What is known, after waiting for news if it is too little.
    pub async fn get(&self) -> Arc<Standing> {
        self.slot.wait(|progress, standing, now| self.slot.worth_waiting(progress, standing, now)).await
    }

    /// The same for one who asks for the state itself. `None`: it cannot be had.
    pub async fn state(&self) -> Option<Arc<Standing>> {
        let slot = &self.slot;
        let told = |standing: &Standing| standing.state.is_some();
        let standing = match slot.pinned {
            false => self.get().await,
            true => {
                let before = lock(&slot.progress).attempts;
                let patience = slot.shared.patience;
                slot.wait(|progress, standing, now| {
                    let answered = progress.attempts > before && progress.in_flight.is_none();
                    let recent = told(standing) && progress.last.is_some_and(|last| now.since(last) < slot.shared.pace.min);
                    (!answered && !recent).then_some((patience, Asked::Request))
                })
                .await
            }
        };
        told(&standing).then_some(standing)
    }

    /// What is known, whatever that is.
    pub fn now(&self) -> Arc<Standing> {
        self.slot.standing.load_full()
    }

    /// Upstream answered 421 to a request that was sent to `base`.
    pub fn misdirected(&self, base: &AllowedBase) -> Misdirected {
        let slot = &self.slot;
        if slot.pinned {
            return Misdirected::Stands;
        }
        let mut progress = lock(&slot.progress);
        if slot.standing.load().base.as_ref() != Some(base) {
            return Misdirected::Asking;
        }
        // Once the state has contradicted such an answer, nobody waits to hear the same again: only if it can be asked at once.
        let asked_lately = || progress.last.is_some_and(|last| slot.shared.clock.now().since(last) < slot.shared.pace.min);
        let stands = progress.stuck.as_ref() == Some(base) && (progress.in_flight.is_some() || asked_lately());
        if !stands && progress.doubted.is_none() {
            progress.doubted = Some((base.clone(), progress.attempts));
            slot.doubted.store(progress.holds_all(), Ordering::Relaxed);
            tracing::info!(tenant = slot.tenant, upstream = %base.authority(), "upstream answered 421: asking where the tenant lives");
        }
        drop(progress);
        slot.ask(Asked::Hint);
        if stands { Misdirected::Stands } else { Misdirected::Asking }
    }

    /// Where the tenant lives, once that is known to be another place than `base`; or why it does not run. `None`: there is
    /// no other place.
    pub async fn elsewhere(&self, base: &AllowedBase) -> Option<Arc<Standing>> {
        let patience = self.slot.shared.patience;
        let standing = self.slot.wait(|progress, _, _| progress.doubted.is_some().then_some((patience, Asked::Hint))).await;
        let now = self.slot.shared.clock.now();
        (standing.base.as_ref() != Some(base) || standing.outage(now).is_some()).then_some(standing)
    }

    /// There was a sign that the state has changed: it is fetched as soon as that is allowed.
    pub fn hint(&self) {
        self.slot.ask(Asked::Hint);
    }

    /// When it is worth asking again for what is not known.
    pub fn retry_after(&self) -> Duration {
        let progress = lock(&self.slot.progress);
        self.slot.shared.pace.pause(progress.failures.max(1))
    }

    /// Where its state comes from.
    pub fn source(&self) -> Arc<dyn Source> {
        lock(&self.slot.source).clone()
    }

    /// A token's `webapi_url`: better than nothing. It is being phased out (protocol §1.6, §5.2).
    pub fn claim(&self, webapi_url: Option<&str>) {
        let slot = &self.slot;
        let _held = lock(&slot.progress);
        let standing = slot.standing.load_full();
        if standing.base.is_some() || slot.pinned {
            return;
        }
        let why = standing.unknown.as_deref().unwrap_or("the tenant's state is not known yet");
        let claimed = match webapi_url.unwrap_or_default().parse::<BaseUrl>() {
            Ok(base) => slot.hosts.allow(base).map_err(|refused| format!("the token's webapi_url is refused: {refused}")),
            Err(_) => Err("the token has no usable webapi_url".to_owned()),
        };
        let (base, unknown) = match claimed {
            Ok(base) => {
                tracing::warn!(tenant = slot.tenant, upstream = %base, "{why}; using the token's webapi_url");
                (Some(base), None)
            }
            Err(refused) => (None, Some(format!("{why}; {refused}"))),
        };
        slot.standing.store(Arc::new(Standing {
            base,
            unknown,
            previous: Vec::new(),
            state: standing.state.clone(),
            refused: standing.refused.clone(),
            outage: standing.outage.clone(),
            fetched: standing.fetched,
            kept: standing.kept,
        }));
        slot.changed.notify_waiters();
    }

    /// Asks another source from now on.
    pub fn ask_by(&self, source: Arc<dyn Source>) {
        *lock(&self.slot.source) = source;
    }

    /// Called each time that an outage is over.
    pub fn on_resume(&self, resumed: impl Fn() + Send + 'static) {
        *lock(&self.slot.resumed) = Some(Box::new(resumed));
    }

    /// How this tenant stands.
    pub fn report(&self) -> Report {
        let standing = self.now();
        let outage = standing.outage(self.slot.shared.clock.now()).cloned();
        Report {
            name: standing.state.as_ref().map(|state| state.name.clone()),
            unknown: standing.unknown.clone().filter(|_| standing.base.is_none() && outage.is_none()),
            outage,
            refused: standing.refused.clone(),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Task::Running(task) = std::mem::replace(&mut lock(&self.slot.progress).task, Task::Removed) {
            task.abort();
        }
        self.slot.changed.notify_waiters();
    }
}

impl Slot {
    /// Has the state fetched. `false`: the tenant is gone.
    fn ask(self: &Arc<Self>, asked: Asked) -> bool {
        let mut progress = lock(&self.progress);
        if asked > progress.asked {
            progress.asked = asked;
            self.wake.notify_one();
        }
        match &progress.task {
            Task::Removed => return false,
            Task::Running(task) if !task.is_finished() => {}
            Task::None | Task::Running(_) => {
                let slot = self.clone();
                progress.task = Task::Running(self.runtime.spawn(async move { slot.keep().await }).abort_handle());
            }
        }
        true
    }

    /// Waits as long as `worth` says that it is worth it, and asks meanwhile.
    async fn wait(self: &Arc<Self>, worth: impl Fn(&Progress, &Standing, Moment) -> Option<(Duration, Asked)>) -> Arc<Standing> {
        let started = Instant::now();
        self.used.store(true, Ordering::Relaxed);
        loop {
            // Hears of every change from here on.
            let changed = self.changed.notified();
            let now = self.shared.clock.now();
            let (standing, worth, answer_comes) = {
                let progress = lock(&self.progress);
                let standing = self.standing.load_full();
                let worth = worth(&progress, &standing, now);
                (standing, worth, progress.in_flight.is_some() && matches!(progress.task, Task::Running(_)))
            };
            let Some((most, asked)) = worth else { return standing };
            let left = most.saturating_sub(started.elapsed());
            // What is asked during a fetch is asked for another one: who can do with this one does not ask.
            let there = answer_comes || self.ask(asked);
            if !there || left.is_zero() {
                return standing;
            }
            let _ = tokio::time::timeout(left.min(Duration::from_secs(1)), changed).await;
        }
    }

    /// How long a request should wait for news.
    fn worth_waiting(&self, progress: &Progress, standing: &Standing, now: Moment) -> Option<(Duration, Asked)> {
        let patience = self.shared.patience;
        if progress.holds_all() {
            return Some((patience, Asked::Hint));
        }
        if standing.is_fresh(now) && (standing.tells_enough(now) || standing.state.is_some()) {
            return None;
        }
        // Somebody has to ask, even if nobody waits for the answer.
        let no_wait = Some((Duration::ZERO, Asked::Request));
        let failed = progress.failures > 0;
        match (standing.base.is_some() || standing.state.is_some(), progress.in_flight) {
            (false, None) if failed => no_wait,
            (false, _) => Some((patience, Asked::Request)),
            (true, _) if failed => no_wait,
            (true, None) => Some((MOMENT, Asked::Request)),
            (true, Some(since)) => Some((MOMENT.saturating_sub(now.since(since)), Asked::Request)),
        }
    }

    /// The task: no class of error ends it.
    async fn keep(self: Arc<Self>) {
        loop {
            let plan = self.plan(&lock(&self.progress), self.shared.clock.now());
            match plan {
                Plan::Fetch => self.fetch().await,
                Plan::Wait(wait) => {
                    tokio::select! {
                        () = self.shared.clock.sleep(wait.min(LOOK_AGAIN)) => {}
                        () = self.wake.notified() => {}
                    }
                }
                Plan::Rest => {
                    let mut progress = lock(&self.progress);
                    // Who asks for something takes this lock: what is not seen here starts another task.
                    if matches!(self.plan(&progress, self.shared.clock.now()), Plan::Rest) {
                        if matches!(progress.task, Task::Running(_)) {
                            progress.task = Task::None;
                        }
                        return;
                    }
                }
            }
        }
    }

    fn plan(&self, progress: &Progress, now: Moment) -> Plan {
        let pace = &self.shared.pace;
        let since = progress.last.map(|last| now.since(last));
        let at_least = match progress.asked {
            Asked::Nobody => None,
            Asked::Request => Some(pace.pause(progress.failures.max(1))),
            Asked::Hint => Some(pace.min),
        };
        let due = match (at_least, since) {
            (Some(_), None) => return Plan::Fetch,
            (Some(at_least), Some(since)) => at_least.saturating_sub(since),
            (None, Some(since)) if !self.pinned => progress.interval.saturating_sub(since),
            (None, _) => return Plan::Rest,
        };
        match due.is_zero() {
            false => Plan::Wait(due),
            true if progress.asked > Asked::Nobody || self.used.load(Ordering::Relaxed) => Plan::Fetch,
            true => Plan::Rest,
        }
    }

    async fn fetch(&self) {
        let Ok(permit) = self.shared.permits.acquire().await else { return };
        let began = self.shared.clock.now();
        {
            let mut progress = lock(&self.progress);
            progress.in_flight = Some(began);
            progress.attempts += 1;
            progress.asked = Asked::Nobody;
            self.used.store(false, Ordering::Relaxed);
        }
        let source = lock(&self.source).clone();
        // In a task of its own, so that even a panic in it is a failure like any other.
        let asking = source.clone();
        let told = AbortOnDropHandle::new(tokio::spawn(async move { asking.fetch().await })).await;
        drop(permit);
        let told = told.unwrap_or_else(|error| Err(StateError::Malformed(format!("reading it broke off: {error}"))));
        match told {
            Ok(state) => self.learn(state, began, &*source),
            Err(error) => self.fail(&error),
        }
        self.changed.notify_waiters();
    }

    fn fail(&self, error: &StateError) {
        let mut progress = lock(&self.progress);
        progress.failures = progress.failures.saturating_add(1);
        progress.in_flight = None;
        progress.last = Some(self.shared.clock.now());
        progress.interval = self.shared.pace.pause(progress.failures);
        // Those who wait get their 421: there is no news for them.
        progress.doubted = None;
        self.doubted.store(false, Ordering::Relaxed);
        let standing = self.standing.load_full();
        let goes_on = match &standing.base {
            Some(base) => format!("going on with {base}"),
            None => "it is not known where requests go".to_owned(),
        };
        tracing::warn!(tenant = self.tenant, failures = progress.failures, "{error}; {goes_on}");
        if standing.base.is_none() && standing.state.is_none() && !self.pinned {
            let unknown = Some(error.to_string());
            self.standing.store(Arc::new(Standing { unknown, ..nothing(standing.fetched) }));
        }
    }

    fn learn(&self, state: TenantState, began: Moment, source: &dyn Source) {
        let pace = &self.shared.pace;
        let valid = state.valid_until.map(|until| Duration::try_from(until.duration_since(source.now())).unwrap_or(Duration::ZERO));
        let kept = pace.kept(valid);
        let mut progress = lock(&self.progress);
        let before = self.standing.load_full();
        progress.failures = 0;
        progress.in_flight = None;
        progress.last = Some(began);
        progress.interval = pace.due(kept);
        if self.pinned {
            let state = Some(Arc::new(state));
            let standing = Standing { base: before.base.clone(), state, kept: Duration::MAX, ..nothing(began) };
            self.standing.store(Arc::new(standing));
            return;
        }
        let told = state.api.clone().map_err(|error| error.to_string()).and_then(|api| {
            self.hosts.allow(api).map_err(|refused| format!("the tenant state endpoint names a host that is refused: {refused}"))
        });
        let outage = state.outage().map(|outage| (outage, valid.unwrap_or(kept).max(pace.min)));
        let refused = told.as_ref().err().filter(|_| state.api.is_ok()).cloned();
        if let Some(refused) = refused.as_ref().filter(|_| before.refused != refused) {
            tracing::warn!(tenant = self.tenant, "{refused}. If it is SuperOffice's, add it to superoffice.upstream_hosts");
        }
        let unknown = told.as_ref().err().cloned();
        // An address that cannot be used does not undo the one that could be.
        let base = told.ok().or_else(|| before.base.clone());
        let moved = before.base.as_ref().filter(|old| base.as_ref() != Some(*old)).cloned();
        let mut previous: Vec<AllowedBase> = moved.iter().cloned().chain(before.previous.iter().cloned()).collect();
        previous.retain(|old| base.as_ref() != Some(old));
        previous.dedup();
        previous.truncate(REMEMBERED);
        if let Some((doubted, attempts)) = progress.doubted.take() {
            let same = base.as_ref() == Some(&doubted);
            if same && progress.attempts <= attempts {
                // The 421 came while this fetch was on: it may be older news.
                progress.doubted = Some((doubted, attempts));
                progress.asked = Asked::Hint;
            } else {
                progress.stuck = same.then_some(doubted);
            }
        } else if moved.is_some() {
            progress.stuck = None;
        }
        self.doubted.store(progress.holds_all(), Ordering::Relaxed);
        self.tell(&before, &state, outage.as_ref(), moved.as_ref(), base.as_ref());
        let resumed = before.outage.is_some() && outage.is_none();
        let state = Some(Arc::new(state));
        self.standing.store(Arc::new(Standing { base, previous, state, refused, unknown, outage, fetched: began, kept }));
        drop(progress);
        if let Some(old) = &moved {
            source.left(old);
        }
        if resumed && let Some(resumed) = &*lock(&self.resumed) {
            resumed();
        }
    }

    /// Writes down what is new.
    fn tell(
        &self,
        before: &Standing,
        state: &TenantState,
        outage: Option<&(Outage, Duration)>,
        moved: Option<&AllowedBase>,
        base: Option<&AllowedBase>,
    ) {
        let tenant = &*self.tenant;
        match (outage, &before.outage) {
            (Some((outage, _)), was) if was.as_ref().is_none_or(|(was, _)| was != outage) => {
                tracing::warn!(tenant, state = state.name, "{outage}: requests are answered without asking upstream");
            }
            (None, Some(_)) => tracing::info!(tenant, state = state.name, "the tenant runs again"),
            _ => {}
        }
        match (moved, base, &before.base) {
            (Some(from), Some(to), _) => tracing::info!(tenant, %from, %to, "the tenant has moved"),
            (None, Some(base), None) => tracing::info!(tenant, upstream = %base, "the tenant's web API was found"),
            _ => {}
        }
    }
}

fn nothing(fetched: Moment) -> Standing {
    Standing { base: None, previous: Vec::new(), state: None, refused: None, unknown: None, outage: None, fetched, kept: Duration::ZERO }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
