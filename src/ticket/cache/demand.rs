//! What an operator asks of one tenant's ticket: another one now, or none at all; and what became of its exchanges so far.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ExchangeFailure, Slot, Tickets, Unavailable, lock, removed};
use crate::clock::Moment;

/// What became of a tenant's exchanges, and how long its ticket lasts.
#[derive(Clone, Debug)]
pub struct History {
    /// Time left before upstream would refuse the ticket in use, were it not used again.
    pub expires_in: Option<Duration>,
    /// Whether upstream has accepted the ticket in use.
    pub accepted: bool,
    /// How many exchanges succeeded in this process, and when the last one did.
    pub succeeded: (u64, Option<Moment>),
    /// How many failed, with the last one: when, and why.
    pub failed: (u64, Option<(Moment, ExchangeFailure)>),
}

/// The part of it that is remembered.
#[derive(Debug, Default)]
pub(super) struct Past {
    successes: u64,
    last_success: Option<Moment>,
    failures: u64,
    last_failure: Option<(Moment, ExchangeFailure)>,
}

impl Past {
    pub(super) fn succeeded(&mut self, at: Moment) {
        self.successes += 1;
        self.last_success = Some(at);
    }

    pub(super) fn failed(&mut self, at: Moment, failure: ExchangeFailure) {
        self.failures += 1;
        self.last_failure = Some((at, failure));
    }

    /// Why the last one failed, if there were more failures since.
    fn since(&self, failures: u64) -> Option<ExchangeFailure> {
        self.last_failure.as_ref().filter(|_| self.failures > failures).map(|(_, failure)| failure.clone())
    }
}

impl Tickets {
    /// Has the ticket replaced now, and waits for what comes of it: the new one's generation. An exchange that is on is waited
    /// for, and no other is begun; a pause after a failure ends. The ticket in use stays in use until there is another, and what
    /// fails is tried again like any renewal.
    pub async fn renew_now(&self) -> Result<u64, Unavailable> {
        let slot = &self.slot;
        let before = slot.newest();
        let failures = lock(&slot.past).failures;
        slot.demanded.fetch_max(before, Ordering::AcqRel);
        slot.wanted.store(true, Ordering::Release);
        if !lock(&slot.progress).in_flight {
            self.try_again();
        }
        let outcome = async {
            loop {
                // Hears of every change from here on.
                let changed = slot.changed.notified();
                // Also when somebody has forgotten it meanwhile.
                let newest = slot.newest();
                if newest > before {
                    return Ok(newest);
                }
                if let Some(failure) = lock(&slot.past).since(failures) {
                    let retry_after = slot.status().failure.map_or(Duration::ZERO, |failed| failed.retry_after);
                    return Err(Unavailable { failure, retry_after });
                }
                if !slot.wake() {
                    return Err(removed());
                }
                changed.await;
            }
        };
        tokio::time::timeout(slot.shared.patience, outcome).await.unwrap_or_else(|_| Err(slot.not_yet()))
    }

    /// Drops the ticket, here and from what is kept: its generation, if there was one. The next request fetches another.
    pub fn forget(&self) -> Option<u64> {
        let slot = &self.slot;
        // A 401 that is being judged finds the ticket or does not, but not half of it.
        let judging = lock(&slot.brake);
        let generation = slot.current.load().as_ref()?.generation;
        // First, so that nobody takes its generation for a new one's.
        slot.invalidated.fetch_max(generation, Ordering::AcqRel);
        slot.current.store(None);
        drop(judging);
        slot.changed.notify_waiters();
        slot.tell();
        slot.wake();
        Some(generation)
    }

    /// What became of its exchanges.
    pub fn history(&self) -> History {
        let slot = &self.slot;
        let now = slot.shared.clock.now();
        let current = slot.current.load();
        let ticket = current.as_ref().filter(|ticket| slot.usable(ticket, now));
        let past = lock(&slot.past);
        History {
            expires_in: ticket.map(|ticket| slot.shared.policy.time_left(&slot.tenure(ticket), now)),
            accepted: ticket.is_some_and(|ticket| slot.accepted.load(Ordering::Relaxed) >= ticket.generation),
            succeeded: (past.successes, past.last_success),
            failed: (past.failures, past.last_failure.clone()),
        }
    }
}

impl Slot {
    /// The newest generation that there was, whether it is still there or not.
    pub(super) fn newest(&self) -> u64 {
        let current = self.current.load().as_ref().map_or(0, |ticket| ticket.generation);
        current.max(self.invalidated.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench, settle};
    use super::*;

    #[tokio::test]
    async fn a_renewal_on_demand_is_one_exchange_and_the_ticket_serves_meanwhile() {
        let bench = bench();
        bench.use_now().await;
        bench.script.hold(true);
        let demands: Vec<_> = (0..5)
            .map(|_| {
                let tickets = bench.tickets.clone();
                tokio::spawn(async move { tickets.renew_now().await.map_err(|error| error.to_string()) })
            })
            .collect();
        settle().await;
        assert_eq!(bench.tickets.get().await.unwrap().generation, 1, "the old one is as good as before");
        bench.script.hold(false);
        for demand in demands {
            assert_eq!(demand.await.unwrap(), Ok(2));
        }
        assert_eq!(bench.script.count(), 2);
        settle().await;
        assert_eq!(bench.script.count(), 2, "a demand that is met is over");
    }

    #[tokio::test]
    async fn a_demand_ends_the_pause_after_a_failure_and_tells_what_failed() {
        let bench = bench();
        bench.use_now().await;
        bench.script.set_down(true);
        let failure = bench.tickets.renew_now().await.unwrap_err();
        assert_eq!(failure.failure.wire, "login is down");
        assert_eq!(bench.tickets.get().await.unwrap().generation, 1, "what is there goes on serving");
        bench.script.set_down(false);
        // Nobody has moved the clock: only the demand can end the pause.
        assert_eq!(bench.tickets.renew_now().await.unwrap(), 2);
        let history = bench.tickets.history();
        assert_eq!((history.succeeded.0, history.failed.0), (2, 1));
        assert_eq!(history.failed.1.unwrap().1.wire, "login is down");
    }

    #[tokio::test]
    async fn a_tenant_without_a_ticket_gets_its_first_on_demand() {
        let bench = bench();
        assert_eq!(bench.tickets.renew_now().await.unwrap(), 1);
        assert_eq!(bench.script.count(), 1);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_fetched_by_the_next_request_only_and_counts_on() {
        let bench = bench();
        bench.use_now().await;
        let told = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = told.clone();
        bench.tickets.on_change(move || _ = count.fetch_add(1, Ordering::Relaxed));
        assert_eq!(bench.tickets.forget(), Some(1));
        assert_eq!((bench.tickets.forget(), told.load(Ordering::Relaxed)), (None, 1));
        settle().await;
        assert!(bench.tickets.kept().is_none() && bench.tickets.history().expires_in.is_none());
        assert_eq!(bench.script.count(), 1, "nobody needs it");
        assert!(bench.tickets.status().can_serve());
        assert_eq!(bench.use_now().await.generation, 2);
        assert_eq!(bench.tickets.renew_now().await.unwrap(), 3);
        assert!(bench.tickets.history().expires_in.is_some());
    }
}
