//! The governor: no tenant gets more calls than it should, and callers share what there is.
//!
//! Each tenant has one. Without bounds, and while SuperOffice has refused nothing, a call passes with one relaxed load and a count
//! in its own worker's `meter`. A 429, or a 503 with `Retry-After`, makes the tenant pause for all its callers and then go at half
//! the pace, which grows again step by step (`pace`); `rate` and `max_concurrent` are bounds that never move. Whoever cannot go at
//! once waits in `line`, where callers take turns, for `queue_timeout` at most, and is refused at once when it can be
//! foreseen that this is not enough.
//!
//! There is one lock per tenant, held for a few map operations, and one task while anybody waits: the usher, which lets the next
//! one go when its time has come. A permit that ends, and whoever leaves the line, lets the next one go itself.

mod line;
mod meter;
mod pace;
mod refusal;

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, oneshot};

pub use line::Caller;
use line::{Line, Place};
use meter::Meter;
use pace::Pace;
pub use refusal::{LONGEST, UNSAID, pause, waits_it_out};

use crate::clock::{Clock, Moment};

/// What is never exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Calls per second, more than 0.
    pub rate: Option<f64>,
    /// Calls under way at once, at least 1.
    pub max_concurrent: Option<usize>,
    /// How long a call may wait for its turn.
    pub queue_timeout: Duration,
}

/// One tenant's.
#[derive(Debug)]
pub struct Governor {
    /// The lowest bit: whether calls are governed at all. The others: how often the pace was cut.
    mode: AtomicU32,
    meter: Meter,
    clock: Clock,
    state: Mutex<State>,
    /// The usher shall look again before its time.
    sooner: Notify,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    pace: Pace,
    line: Line<Waiter>,
    under_way: usize,
    /// Whether there is an usher.
    ushered: bool,
}

#[derive(Debug)]
struct Waiter {
    tell: oneshot::Sender<Result<Grant, Refused>>,
    /// Where an usher can live: as long as somebody waits there, it does.
    home: Handle,
}

/// A turn.
#[derive(Clone, Copy, Debug)]
struct Grant {
    at: Duration,
    cuts: u32,
    counted: bool,
}

/// How a tenant's calls stand, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Calls per second that are allowed.
    pub rate: Option<f64>,
    /// How long no call goes.
    pub paused: Duration,
    /// Calls that wait.
    pub waiting: usize,
    /// How often SuperOffice's refusals have slowed this tenant down.
    pub cuts: u32,
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls of this tenant wait for their turn")]
pub struct Refused {
    /// When a turn is likely to be had.
    pub retry_after: Duration,
}

/// What a call gets that asks for its turn.
#[derive(Debug)]
pub enum Turn {
    /// It goes now.
    Go(Permit),
    /// It waits.
    Wait(Waiting),
    /// It does not go.
    Refused(Refused),
}

impl Governor {
    /// `workers`: threads that serve.
    pub fn new(bounds: Bounds, clock: Clock, workers: usize) -> Arc<Governor> {
        let (pace, line) = (Pace::new(bounds.rate), Line::default());
        let state = Mutex::new(State { bounds, pace, line, under_way: 0, ushered: false });
        let governor = Governor { mode: AtomicU32::new(0), meter: Meter::new(workers), clock, state, sooner: Notify::new() };
        governor.settle(&mut governor.lock());
        Arc::new(governor)
    }

    /// Other bounds, from now on; those who wait stay, and what SuperOffice's refusals have taught.
    pub fn set(&self, bounds: Bounds) {
        let mut state = self.lock();
        if state.bounds.rate != bounds.rate {
            state.pace.set(bounds.rate);
        }
        state.bounds = bounds;
        self.settle(&mut state);
        state.go_on(self.clock.mono());
        drop(state);
        self.sooner.notify_one();
    }

    /// Asks for a turn. `caller` is only made when it is needed; `arrived` is when the request asked first, also when it asks again
    /// because SuperOffice refused it.
    pub fn ask(self: &Arc<Governor>, caller: impl FnOnce() -> Caller, arrived: Moment, now: Moment) -> Turn {
        let mode = self.mode.load(Ordering::Relaxed);
        if mode & 1 == 0 {
            self.meter.tick(now.mono);
            return Turn::Go(Permit { counted: None, cuts: mode >> 1 });
        }
        let arrived = arrived.mono;
        let mut state = self.lock();
        // Under the lock: what the pace is told must never go back.
        let now = self.clock.mono();
        state.go_on(now);
        self.settle(&mut state);
        if state.line.is_empty()
            && let Some(grant) = state.grant(now)
        {
            return Turn::Go(self.permit(grant));
        }
        let caller = caller();
        let ahead = state.line.ahead(&caller);
        let left = (arrived + state.bounds.queue_timeout).saturating_sub(now);
        if left.is_zero() || state.pace.wait(now, ahead, left) > left {
            return Turn::Refused(state.refused(now, ahead));
        }
        let (tell, told) = oneshot::channel();
        let home = Handle::current();
        let usher = !std::mem::replace(&mut state.ushered, true);
        let place = state.line.join(caller, arrived, Waiter { tell, home: home.clone() });
        drop(state);
        if usher {
            Usher { governor: self.clone(), homes: Vec::new(), done: false }.settle(home);
        }
        Turn::Wait(Waiting { governor: self.clone(), place, told })
    }

    /// SuperOffice refused a call: no other goes for `pause` (see [`pause`]), and fewer afterwards.
    pub fn refused(&self, permit: &Permit, pause: Duration) {
        let now = self.clock.mono();
        let mut state = self.lock();
        state.pace.refused(now, pause.min(LONGEST), self.meter.rate(now), permit.cuts);
        self.settle(&mut state);
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let now = self.clock.mono();
        let mut state = self.lock();
        self.settle(&mut state);
        let paused = state.pace.paused(now);
        Standing { rate: state.pace.rate(now + paused), paused, waiting: state.line.len(), cuts: state.pace.cuts() }
    }

    /// Notes for [`Governor::ask`]'s short way whether calls have to be governed.
    fn settle(&self, state: &mut State) {
        let free = state.pace.recovered(self.clock.mono())
            && state.bounds.rate.is_none()
            && state.bounds.max_concurrent.is_none()
            && state.line.is_empty();
        self.mode.store(state.pace.cuts() << 1 | u32::from(!free), Ordering::Relaxed);
    }

    fn permit(self: &Arc<Governor>, grant: Grant) -> Permit {
        self.meter.tick(grant.at);
        Permit { counted: grant.counted.then(|| self.clone()), cuts: grant.cuts }
    }

    /// A call that had its turn does not go, or is over.
    fn give_back(&self, unused: Option<Duration>, counted: bool) {
        let mut state = self.lock();
        if let Some(at) = unused {
            state.pace.give_back(at);
        }
        if counted {
            state.under_way -= 1;
        }
        state.go_on(self.clock.mono());
        drop(state);
        if unused.is_some() {
            self.sooner.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.bounds.max_concurrent.is_none_or(|most| self.under_way < most)
    }

    /// A turn, if there is one now.
    fn grant(&mut self, now: Duration) -> Option<Grant> {
        if !self.has_room() || self.pace.due(now) > now {
            return None;
        }
        self.pace.take(now);
        let counted = self.bounds.max_concurrent.is_some();
        self.under_way += usize::from(counted);
        Some(Grant { at: now, cuts: self.pace.cuts(), counted })
    }

    /// Lets go whose turn it is, and sends home who has waited too long.
    fn go_on(&mut self, now: Duration) {
        while !self.line.is_empty()
            && let Some(grant) = self.grant(now)
        {
            let gone = self.line.next().is_none_or(|waiter| waiter.tell.send(Ok(grant)).is_err());
            if gone {
                self.pace.give_back(now);
                self.under_way -= usize::from(grant.counted);
            }
        }
        while let Some(place) = self.line.oldest().filter(|(arrived, _)| *arrived + self.bounds.queue_timeout <= now) {
            if let Some(waiter) = self.line.leave(place) {
                let refused = self.refused(now, self.line.len());
                // It may have gone away itself.
                _ = waiter.tell.send(Err(refused));
            }
        }
    }

    /// When there is something to do again, as far as time brings it.
    fn next_look(&self, now: Duration) -> Option<Duration> {
        let (arrived, _) = self.line.oldest()?;
        let late = arrived + self.bounds.queue_timeout;
        Some(if self.has_room() { late.min(self.pace.due(now)) } else { late })
    }

    fn refused(&self, now: Duration, ahead: usize) -> Refused {
        Refused { retry_after: self.pace.wait(now, ahead, Duration::ZERO).clamp(Duration::from_secs(1), LONGEST) }
    }
}

/// The task that lets the next one go when its time has come.
struct Usher {
    governor: Arc<Governor>,
    /// The runtimes it has lived in.
    homes: Vec<Id>,
    done: bool,
}

impl Usher {
    /// Lives there from now on.
    fn settle(mut self, home: Handle) {
        self.homes.push(home.id());
        home.spawn(self.work());
    }

    async fn work(mut self) {
        loop {
            let pause = {
                let mut state = self.governor.lock();
                let now = self.governor.clock.mono();
                state.go_on(now);
                match state.next_look(now) {
                    // Under the lock, so that whoever joins next sees that an usher is needed.
                    None => {
                        state.ushered = false;
                        self.done = true;
                        return;
                    }
                    Some(at) => at.saturating_sub(now),
                }
            };
            tokio::select! {
                () = self.governor.clock.sleep(pause) => {}
                () = self.governor.sooner.notified() => {}
            }
        }
    }
}

impl Drop for Usher {
    /// The runtime it lived in may end before those who wait elsewhere.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.governor.lock();
        let home = state.line.iter().map(|waiter| &waiter.home).find(|home| !self.homes.contains(&home.id())).cloned();
        state.ushered = home.is_some();
        drop(state);
        if let Some(home) = home {
            Usher { governor: self.governor.clone(), homes: std::mem::take(&mut self.homes), done: false }.settle(home);
        }
    }
}

/// The right to send one call, once; held until its answer has ended.
#[derive(Debug)]
pub struct Permit {
    /// Whose it is, if it counts among those under way.
    counted: Option<Arc<Governor>>,
    /// How often the pace had been cut when it was given.
    cuts: u32,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(governor) = self.counted.take() {
            governor.give_back(None, true);
        }
    }
}

/// Waits for a turn. Dropped before, it leaves the line and gives back the turn that it may just have got.
#[derive(Debug)]
pub struct Waiting {
    governor: Arc<Governor>,
    place: Place,
    told: oneshot::Receiver<Result<Grant, Refused>>,
}

impl Future for Waiting {
    type Output = Result<Permit, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let told = ready!(Pin::new(&mut self.told).poll(cx));
        Poll::Ready(match told {
            Ok(Ok(grant)) => Ok(self.governor.permit(grant)),
            Ok(Err(refused)) => Err(refused),
            // Whoever has a place is told.
            Err(_) => Err(Refused { retry_after: UNSAID }),
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.told.is_terminated() {
            return;
        }
        self.told.close();
        match self.told.try_recv() {
            Ok(Ok(grant)) => self.governor.give_back(Some(grant.at), grant.counted),
            Ok(Err(_)) => {}
            Err(_) => _ = self.governor.lock().line.leave(self.place),
        }
    }
}

#[cfg(test)]
mod tests;
