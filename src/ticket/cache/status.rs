//! How a tenant's ticket stands, for readiness and for people.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Slot, Unavailable, lock};
use crate::ticket::Ticket;

/// A tenant's state for readiness and for people.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The ticket in the slot, if it can still be used: generation and age.
    pub ticket: Option<(u64, Duration)>,
    /// How long it can be used, if it is not used before.
    pub time_left: Option<Duration>,
    /// An exchange is on.
    pub renewing: bool,
    /// There was a ticket at some time.
    pub ever: bool,
    /// The last exchange failed, and when the next is due.
    pub failure: Option<Unavailable>,
    /// Upstream refuses fresh tickets too; no 401 causes a renewal for this long.
    pub refused: Option<Duration>,
}

impl Status {
    /// Whether a request of this tenant can be served now: by its ticket, or by one fetched on demand. Once the pause after
    /// refused tickets is over it may be: without a request nobody would ever know.
    pub fn can_serve(&self) -> bool {
        self.refused.is_none_or(|pause| pause.is_zero())
            && (self.ticket.is_some() || (self.failure.is_none() && (self.ever || !self.renewing)))
    }
}

impl Slot {
    pub(super) fn status(&self) -> Status {
        let now = self.shared.clock.now();
        let progress = lock(&self.progress).clone();
        let current = self.current.load_full();
        let ticket = current.as_ref().filter(|ticket| !self.run_out(ticket, now));
        let state = lock(&self.brake);
        let never_accepted = |ticket: &Arc<Ticket>| self.accepted.load(Ordering::Relaxed) < ticket.generation;
        let refused = ticket.filter(|ticket| state.refused(ticket) && never_accepted(ticket)).map(|_| state.pause(now));
        let rejected = self.invalidated.load(Ordering::Relaxed);
        let good = ticket.filter(|ticket| ticket.generation > rejected);
        Status {
            ticket: good.map(|ticket| (ticket.generation, now.since(ticket.issued))),
            time_left: good.map(|ticket| self.shared.policy.time_left(&self.tenure(ticket), now)),
            renewing: progress.in_flight,
            ever: self.newest() > 0,
            failure: progress
                .failure
                .map(|(failure, retry_at)| Unavailable { failure, retry_after: retry_at.mono.saturating_sub(now.mono) }),
            refused,
        }
    }
}
