//! What is known of one tenant's state, and the task that keeps it known.
//!
//! Readers take one atomic snapshot. They wait only while nothing is known, or what is known is doubted (a 421), and for a
//! moment when it is out of date; all of them for the same fetch. The fetch runs in the tenant's own task, never inside a
//! client's request. The task looks at levels (is the state wanted, doubted, due), never at edges, and is only there while
//! there is something to do.

mod slot;
mod standing;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use self::slot::{Asked, Progress, Slot, Task, lock};
pub use self::standing::{Pace, Standing};
use super::{Memo, StateError, TenantState};
use crate::clock::{Clock, Moment};
use crate::metrics::Metrics;
use crate::superoffice::Outage;
use crate::superoffice::origin::{AllowedBase, BaseUrl, UpstreamHosts};

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
    /// Where fetches are counted.
    pub metrics: Arc<Metrics>,
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

impl Keeper {
    /// One tenant's state, fetched on the runtime that this is called on. With `pinned` the tenant lives there, and the state
    /// is only fetched for those who ask for it by name. With `prefetch` it is fetched at once, else on the first request; unless
    /// what an earlier process knew is still believed.
    pub fn start(
        tenant: &str,
        source: Arc<dyn Source>,
        hosts: UpstreamHosts,
        pinned: Option<AllowedBase>,
        shared: Arc<Shared>,
        memo: Option<&Memo>,
        prefetch: bool,
    ) -> Keeper {
        let fetched = shared.clock.now();
        let is_pinned = pinned.is_some();
        let kept = if is_pinned { Duration::MAX } else { Duration::ZERO };
        let endpoint = pinned.as_ref().and_then(AllowedBase::endpoint);
        let standing = Standing { base: pinned, endpoint, kept, ..Standing::nothing(fetched) };
        let remembered = memo.filter(|_| !is_pinned).and_then(|memo| Standing::remembered(memo, &hosts, &shared.pace, &shared.clock));
        let (last, interval) = (
            remembered.as_ref().map(|standing| standing.fetched),
            shared.pace.due(remembered.as_ref().map_or(kept, |standing| standing.kept)),
        );
        let fresh = remembered.as_ref().is_some_and(|standing| standing.is_fresh(fetched));
        let standing = remembered.unwrap_or(standing);
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
            progress: Mutex::new(Progress { last, interval, ..Progress::default() }),
            wake: Notify::new(),
            changed: Notify::new(),
            resumed: Mutex::default(),
            keeping: Mutex::default(),
        });
        if fresh {
            // As after any fetch: if the tenant is used, the next one comes in time.
            slot.ask(Asked::Nobody);
        } else if prefetch && !is_pinned {
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
                    // What failed a moment ago fails again.
                    let failed = progress.failures > 0
                        && progress.last.is_some_and(|last| now.since(last) < slot.shared.pace.pause(progress.failures));
                    (!answered && !recent && !failed).then_some((patience, Asked::Request))
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
        if !self.slot.pinned {
            self.slot.ask(Asked::Hint);
        }
    }

    /// When it is worth asking again for what is not known.
    pub fn retry_after(&self) -> Duration {
        let progress = lock(&self.slot.progress);
        self.slot.shared.pace.pause(progress.failures.max(1))
    }

    /// Whether the configuration says where it lives.
    pub fn is_pinned(&self) -> bool {
        self.slot.pinned
    }

    /// Where its state comes from.
    pub fn source(&self) -> Arc<dyn Source> {
        lock(&self.slot.source).clone()
    }

    /// A token's `webapi_url` and `netserver_url`: better than nothing. They are being phased out (protocol §1.6, §5.2).
    pub fn claim(&self, webapi_url: Option<&str>, netserver_url: Option<&str>) {
        let slot = &self.slot;
        let _held = lock(&slot.progress);
        let standing = slot.standing.load_full();
        if slot.pinned {
            // Whoever said where it lives did not mean that it is looked for elsewhere.
            return;
        }
        let services = || slot.hosts.allow(endpoint_of(netserver_url?)?).ok();
        if standing.base.is_some() {
            if standing.endpoint.is_none()
                && let endpoint @ Some(_) = services()
            {
                slot.standing.store(Arc::new(Standing { endpoint, ..(*standing).clone() }));
                slot.told();
            }
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
        let endpoint = standing.endpoint.clone().or_else(|| base.as_ref()?.endpoint()).or_else(services);
        slot.standing.store(Arc::new(Standing { base, endpoint, unknown, previous: Vec::new(), ..(*standing).clone() }));
        slot.told();
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

    /// Calls `changed` from now on whenever [`Keeper::memo`] has become another one.
    pub fn on_change(&self, changed: impl Fn() + Send + 'static) {
        *lock(&self.slot.keeping) = Some(Box::new(changed));
    }

    /// What a later process can go on with, if there is anything that is not in the configuration.
    pub fn memo(&self) -> Option<Memo> {
        let slot = &self.slot;
        let standing = slot.standing.load();
        standing.memo(slot.shared.clock.now()).filter(|_| !slot.pinned)
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

/// What is before `/Remote/Services88/`.
fn endpoint_of(netserver_url: &str) -> Option<BaseUrl> {
    let at = netserver_url.to_ascii_lowercase().rfind("/remote/")?;
    netserver_url[..at].parse().ok()
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Task::Running(task) = std::mem::replace(&mut lock(&self.slot.progress).task, Task::Removed) {
            task.abort();
        }
        self.slot.changed.notify_waiters();
    }
}
