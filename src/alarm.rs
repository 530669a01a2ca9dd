//! Time limits that cost nothing while they are kept: coarse ticks instead of a timer per request.
//!
//! A connection has one [`Alarm`] for all its life; to set, move or clear it is one atomic store. A task looks at all of
//! them once per tick and wakes whoever is late. An alarm never rings early, and at most two ticks late. Ticks are counted,
//! not measured: while the machine is suspended or starved, nobody's time runs out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

/// Alarms with one tick; dropping it ends the ticking.
pub struct Alarms {
    ticks: Arc<Ticks>,
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct Ticks {
    now: AtomicU32,
    length: Duration,
}

#[derive(Default)]
struct Registry {
    alarms: Mutex<Vec<Weak<Alarm>>>,
    added: Notify,
}

/// One time limit at a time, for one task.
#[derive(Debug)]
pub struct Alarm {
    ticks: Arc<Ticks>,
    /// The tick at which it rings; 0 is never.
    at: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Alarms {
    /// Ticks often enough for limits as short as `shortest`. Needs a tokio runtime.
    pub fn start(shortest: Duration) -> Alarms {
        let length = (shortest / 8).clamp(Duration::from_millis(5), Duration::from_millis(250));
        let alarms = Alarms { ticks: Arc::new(Ticks { now: AtomicU32::new(1), length }), registry: Arc::default() };
        tokio::spawn(tick(alarms.ticks.clone(), Arc::downgrade(&alarms.registry)));
        alarms
    }

    /// A new alarm that is not set.
    pub fn add(&self) -> Arc<Alarm> {
        let alarm = Arc::new(Alarm { ticks: self.ticks.clone(), at: AtomicU32::new(0), waker: Mutex::default() });
        let mut alarms = lock(&self.registry.alarms);
        alarms.push(Arc::downgrade(&alarm));
        if alarms.len() == 1 {
            self.registry.added.notify_one();
        }
        alarm
    }

    /// Ticks so far.
    pub fn now(&self) -> u32 {
        self.ticks.now.load(Ordering::Relaxed)
    }

    /// How many ticks a duration lasts, rounded up.
    pub fn ticks(&self, duration: Duration) -> u32 {
        self.ticks.of(duration)
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        // The ticking task finds nothing to upgrade, and ends.
        self.registry.added.notify_one();
    }
}

impl Ticks {
    fn of(&self, duration: Duration) -> u32 {
        u32::try_from(duration.as_nanos().div_ceil(self.length.as_nanos())).unwrap_or(u32::MAX / 2)
    }
}

impl Alarm {
    /// Rings after `limit`, unless it is set or cleared before.
    pub fn set(&self, limit: Duration) {
        // The tick that is on is already partly over.
        let at = self.ticks.now.load(Ordering::Relaxed).saturating_add(self.ticks.of(limit)).saturating_add(1);
        self.at.store(at, Ordering::Relaxed);
    }

    /// Does not ring.
    pub fn clear(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// Whether the limit is over; stays so until it is set or cleared.
    pub fn rang(&self) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != 0 && at <= self.ticks.now.load(Ordering::Relaxed)
    }

    /// A moment, for [`Alarm::since`].
    pub fn now(&self) -> u32 {
        self.ticks.now.load(Ordering::Relaxed)
    }

    /// Whether at least so much time is over since a moment.
    pub fn since(&self, moment: u32, limit: Duration) -> bool {
        self.now() > moment.saturating_add(self.ticks.of(limit))
    }

    /// Who is woken.
    pub fn wakes(&self, waker: &Waker) {
        let mut mine = lock(&self.waker);
        match &mut *mine {
            Some(mine) => mine.clone_from(waker),
            None => *mine = Some(waker.clone()),
        }
    }

    /// Wakes whoever waits for it, whatever the time is.
    pub fn wake(&self) {
        let waker = lock(&self.waker).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

async fn tick(ticks: Arc<Ticks>, registry: Weak<Registry>) {
    let mut interval = tokio::time::interval(ticks.length);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut late: Vec<Arc<Alarm>> = Vec::new();
    loop {
        interval.tick().await;
        let Some(registry) = registry.upgrade() else { return };
        let now = ticks.now.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let empty = {
            let mut alarms = lock(&registry.alarms);
            alarms.retain(|alarm| match alarm.upgrade() {
                Some(alarm) => {
                    let at = alarm.at.load(Ordering::Relaxed);
                    if at != 0 && at <= now {
                        late.push(alarm);
                    }
                    true
                }
                None => false,
            });
            alarms.is_empty()
        };
        late.drain(..).for_each(|alarm| alarm.wake());
        if empty {
            // An idle process shall sleep. A dropped `Alarms` notifies, too.
            registry.added.notified().await;
            interval.reset();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Waits for an alarm as a task does.
    async fn rings(alarm: &Alarm) {
        std::future::poll_fn(|cx| {
            alarm.wakes(cx.waker());
            if alarm.rang() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn it_rings_and_never_early() {
        let alarms = Alarms::start(Duration::from_millis(40));
        let alarm = alarms.add();
        let started = Instant::now();
        alarm.set(Duration::from_millis(40));
        rings(&alarm).await;
        assert!(started.elapsed() >= Duration::from_millis(40), "{:?}", started.elapsed());
        assert!(alarm.rang(), "it stays so");
        alarm.clear();
        assert!(!alarm.rang());
    }

    #[tokio::test]
    async fn an_alarm_that_is_moved_or_cleared_does_not_ring() {
        let alarms = Alarms::start(Duration::from_millis(40));
        let (moved, cleared, other) = (alarms.add(), alarms.add(), alarms.add());
        moved.set(Duration::from_millis(20));
        cleared.set(Duration::from_millis(20));
        moved.set(Duration::from_secs(3600));
        cleared.clear();
        other.set(Duration::from_millis(80));
        rings(&other).await;
        assert!(!moved.rang() && !cleared.rang());
    }

    #[tokio::test]
    async fn the_ticking_goes_on_after_a_pause_without_alarms() {
        let alarms = Alarms::start(Duration::from_millis(40));
        drop(alarms.add());
        tokio::time::sleep(Duration::from_millis(30)).await;
        let alarm = alarms.add();
        alarm.set(Duration::from_millis(10));
        rings(&alarm).await;
    }
}
