//! The task that keeps one tenant's state known, and those who wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::task::AbortOnDropHandle;

use super::super::{StateError, TenantState};
use super::standing::Standing;
use super::{Shared, Source};
use crate::clock::Moment;
use crate::superoffice::Outage;
use crate::superoffice::origin::{AllowedBase, UpstreamHosts};

/// The task looks at the clocks at least this often, so that it notices a suspend.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a request waits for news of a state that is out of date before it goes on with what was known last.
const MOMENT: Duration = Duration::from_secs(2);

/// How many of a tenant's earlier addresses are remembered: links to them may still be in what it answers.
const REMEMBERED: usize = 8;

pub(super) struct Slot {
    pub(super) tenant: Box<str>,
    pub(super) source: Mutex<Arc<dyn Source>>,
    pub(super) hosts: UpstreamHosts,
    pub(super) shared: Arc<Shared>,
    /// The address comes from the configuration: the state decides nothing.
    pub(super) pinned: bool,
    pub(super) runtime: Handle,
    pub(super) standing: ArcSwap<Standing>,
    /// Since the last fetch.
    pub(super) used: AtomicBool,
    /// The place is doubted, and all wait for news; the same as in `progress`, for those who only look.
    pub(super) doubted: AtomicBool,
    pub(super) progress: Mutex<Progress>,
    pub(super) wake: Notify,
    /// Tells all who wait that `progress` is another one.
    pub(super) changed: Notify,
    pub(super) resumed: Mutex<Option<Box<dyn Fn() + Send>>>,
    /// Told of everything that another process would need.
    pub(super) keeping: Mutex<Option<Box<dyn Fn() + Send>>>,
}

#[derive(Default)]
pub(super) struct Progress {
    pub(super) task: Task,
    /// Fetches that were begun.
    pub(super) attempts: u64,
    pub(super) in_flight: Option<Moment>,
    /// When the last fetch succeeded (its beginning) or failed (its end).
    pub(super) last: Option<Moment>,
    /// From `last` to the next one in the background.
    pub(super) interval: Duration,
    pub(super) failures: u32,
    pub(super) asked: Asked,
    /// The place that answered 421, and how many fetches had been begun by then.
    pub(super) doubted: Option<(AllowedBase, u64)>,
    /// A place that answered 421 although the state, asked again, said it was right.
    pub(super) stuck: Option<AllowedBase>,
}

#[derive(Default)]
pub(super) enum Task {
    /// There is nothing to do.
    #[default]
    None,
    Running(AbortHandle),
    /// The tenant is gone from the configuration.
    Removed,
}

impl Task {
    fn is_alive(&self) -> bool {
        matches!(self, Task::Running(task) if !task.is_finished())
    }
}

impl Progress {
    /// Whether a doubt is a reason for all requests to wait. Not while the endpoint is down: then the last place goes on, and
    /// only those wait who were told that it is wrong.
    pub(super) fn holds_all(&self) -> bool {
        self.doubted.is_some() && self.failures == 0
    }
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
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

impl Slot {
    /// Has the state fetched. `false`: the tenant is gone.
    pub(super) fn ask(self: &Arc<Self>, asked: Asked) -> bool {
        let mut progress = lock(&self.progress);
        if asked > progress.asked {
            progress.asked = asked;
            self.wake.notify_one();
        }
        match &progress.task {
            Task::Removed => return false,
            task if task.is_alive() => {}
            Task::None | Task::Running(_) => {
                let slot = self.clone();
                progress.task = Task::Running(self.runtime.spawn(async move { slot.keep().await }).abort_handle());
            }
        }
        true
    }

    /// Waits as long as `worth` says that it is worth it, and asks meanwhile.
    pub(super) async fn wait(self: &Arc<Self>, worth: impl Fn(&Progress, &Standing, Moment) -> Option<(Duration, Asked)>) -> Arc<Standing> {
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
                (standing, worth, progress.in_flight.is_some() && progress.task.is_alive())
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
    pub(super) fn worth_waiting(&self, progress: &Progress, standing: &Standing, now: Moment) -> Option<(Duration, Asked)> {
        let patience = self.shared.patience;
        // Not for an endpoint that seems to be dead: then only those wait who were told that the place is wrong.
        let takes_long = progress.in_flight.is_some_and(|since| now.since(since) >= MOMENT);
        if progress.holds_all() && !takes_long {
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
            (true, Some(_)) if takes_long => no_wait,
            (true, _) => Some((MOMENT, Asked::Request)),
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
        self.shared.metrics.state_fetched(told.as_ref().err().map_or("ok", StateError::code));
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
            self.standing.store(Arc::new(Standing { unknown, ..Standing::nothing(standing.fetched) }));
        }
    }

    fn learn(&self, state: TenantState, began: Moment, source: &dyn Source) {
        let pace = &self.shared.pace;
        let (kept, outage) = pace.belief(&state, source.now());
        let mut progress = lock(&self.progress);
        let before = self.standing.load_full();
        progress.failures = 0;
        progress.in_flight = None;
        progress.last = Some(began);
        progress.interval = pace.due(kept);
        if self.pinned {
            let state = Some(Arc::new(state));
            let standing = Standing { state, fetched: began, ..(*before).clone() };
            self.standing.store(Arc::new(standing));
            return;
        }
        let told = state.api.clone().map_err(|error| error.to_string()).and_then(|api| {
            self.hosts.allow(api).map_err(|refused| format!("the tenant state endpoint names a host that is refused: {refused}"))
        });
        let refused = told.as_ref().err().filter(|_| state.api.is_ok()).cloned();
        if let Some(refused) = refused.as_ref().filter(|_| before.refused != refused) {
            tracing::warn!(tenant = self.tenant, "{refused}. If it is SuperOffice's, add it to superoffice.upstream_hosts");
        }
        let unknown = told.as_ref().err().cloned();
        // An address that cannot be used does not undo the one that could be.
        let base = told.ok().or_else(|| before.base.clone());
        // Nobody has recorded a state without it, or with another host than `Api`'s.
        let endpoint = state.endpoint.clone().and_then(|endpoint| self.hosts.allow(endpoint).ok());
        let endpoint = endpoint
            .or_else(|| base.as_ref()?.endpoint())
            .or_else(|| before.endpoint.clone().filter(|_| before.base.is_none() || base == before.base));
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
        self.standing.store(Arc::new(Standing { base, endpoint, previous, state, refused, unknown, outage, fetched: began, kept }));
        drop(progress);
        self.told();
        if let Some(old) = &moved {
            source.left(old);
        }
        if resumed && let Some(resumed) = &*lock(&self.resumed) {
            resumed();
        }
    }

    /// There is something new to keep.
    pub(super) fn told(&self) {
        if let Some(keeping) = &*lock(&self.keeping) {
            keeping();
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

pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
