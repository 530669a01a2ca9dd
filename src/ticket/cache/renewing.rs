//! The task that renews a tenant's ticket: what it does next, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::{Progress, Renewer, Slot, lock, removed};
use crate::clock::Moment;
use crate::ticket::{ExchangeFailure, Plan, Ticket, backoff};

/// It looks at the clocks at least this often, so that it notices a suspend.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl Slot {
    /// The renewing task: no class of error ends it.
    pub(super) async fn renew_while_needed(&self) {
        let mut failures = 0;
        loop {
            match self.plan(self.shared.clock.now()) {
                Plan::Renew => match self.renew().await {
                    Ok(()) => failures = 0,
                    Err(failure) => {
                        failures += 1;
                        let wait = backoff(failures, rand::random()).max(lock(&self.exchange).pause());
                        self.report(failure, wait, failures);
                        tokio::select! {
                            () = self.shared.clock.sleep(wait) => {}
                            () = self.hurry.notified() => {}
                        }
                    }
                },
                Plan::Wait(wait) => {
                    self.count_spared();
                    self.tell_of_use();
                    tokio::select! {
                        () = self.shared.clock.sleep(wait.min(LOOK_AGAIN)) => {}
                        () = self.wake.notified() => {}
                    }
                }
                Plan::Lapse => {
                    // An old failure says nothing about a ticket that nobody needs: the next caller will see.
                    self.make_progress(|progress| progress.failure = None);
                    if self.rest() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the renewing task may end: there is nothing to do, and whoever has something from now on starts another.
    fn rest(&self) -> bool {
        let mut renewer = lock(&self.renewer);
        // Who wants something says so first and then takes this lock to wake us: what is not seen here comes after us.
        let nothing_to_do = self.plan(self.shared.clock.now()) == Plan::Lapse;
        if nothing_to_do && matches!(*renewer, Renewer::Running(_)) {
            *renewer = Renewer::None;
        }
        nothing_to_do
    }

    /// What the renewing task has to do now.
    fn plan(&self, now: Moment) -> Plan {
        let Some(ticket) = self.current.load_full() else {
            return if self.wanted.load(Ordering::Acquire) { Plan::Renew } else { Plan::Lapse };
        };
        if ticket.generation <= self.invalidated.load(Ordering::Acquire).max(self.demanded.load(Ordering::Acquire)) {
            return Plan::Renew;
        }
        match self.shared.policy.plan(&self.tenure(&ticket), now) {
            Plan::Lapse if self.run_out(&ticket, now) && self.wanted.load(Ordering::Acquire) => Plan::Renew,
            // A use may come that changes the plan without waking us (it is not the first since the ticket was issued).
            Plan::Lapse if !self.run_out(&ticket, now) => Plan::Wait(LOOK_AGAIN),
            plan => plan,
        }
    }

    async fn renew(&self) -> Result<(), ExchangeFailure> {
        self.make_progress(|progress| progress.in_flight = true);
        let Ok(permit) = self.shared.permits.acquire().await else { return Err(removed().failure) };
        let grant = loop {
            let exchange = lock(&self.exchange).clone();
            let began = self.shared.clock.mono();
            // In a task of its own, so that even a panic in it is a failure like any other.
            let grant = AbortOnDropHandle::new(tokio::spawn(async move { exchange.exchange().await })).await;
            let grant = grant.unwrap_or_else(|error| {
                let wire = "the exchange broke off".to_owned();
                Err(ExchangeFailure { code: "broke_off", log: format!("{wire}: {error}"), wire })
            });
            let failure = grant.as_ref().err().map(|failure| failure.code);
            self.shared.metrics.exchanged(&self.counts, failure, self.shared.clock.mono().saturating_sub(began));
            let grant = grant?;
            // A reload may have taken the client secret away meanwhile.
            if lock(&self.exchange).owns(&grant.app_token) {
                break grant;
            }
        };
        drop(permit);
        self.count_spared();
        let before = self.current.load_full();
        let generation = self.newest() + 1;
        let after_refusal = before.is_some_and(|ticket| ticket.generation <= self.invalidated.load(Ordering::Acquire));
        let issued = self.shared.clock.now();
        tracing::info!(tenant = self.tenant, generation, "ticket renewed");
        let ticket = Ticket { authorization: grant.authorization, app_token: grant.app_token, generation, issued, after_refusal };
        self.current.store(Some(Arc::new(ticket)));
        lock(&self.past).succeeded(issued);
        self.spared.store(0, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Release);
        self.make_progress(|progress| *progress = Progress::default());
        self.tell();
        Ok(())
    }

    /// Counts the renewals that the ticket in use was spared since this was called last. Only the renewing task does.
    fn count_spared(&self) {
        let Some(ticket) = self.current.load_full() else { return };
        let spared = self.shared.policy.spared(&self.tenure(&ticket), self.shared.clock.now());
        let counted = self.spared.fetch_max(spared, Ordering::Relaxed);
        if spared > counted {
            self.counts.avoided(spared - counted);
        }
    }

    /// Uses are told of now and then only: a window that is thought to end a little too early does no harm.
    fn tell_of_use(&self) {
        let Some(used) = self.last_used.get() else { return };
        let told = lock(&self.keeping).told;
        if told.is_none_or(|told| used.since(told) > self.shared.policy.lifetime / 12) {
            self.tell();
        }
    }

    fn report(&self, failure: ExchangeFailure, wait: Duration, failures: u32) {
        let now = self.shared.clock.now();
        let live = self.current.load().as_ref().is_some_and(|ticket| self.usable(ticket, now));
        let serving = if live { "the ticket in use goes on serving" } else { "no ticket: requests are answered 503" };
        let retry_in = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        tracing::warn!(tenant = self.tenant, failures, ?retry_in, "no new ticket: {failure}; {serving}");
        lock(&self.past).failed(now, failure.clone());
        self.make_progress(|progress| *progress = Progress { in_flight: false, failure: Some((failure, now.later(wait))) });
    }
}
