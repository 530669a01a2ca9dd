//! Keeps 401s from becoming a storm of exchanges.
//!
//! Each renewal that a 401 caused is followed by a longer pause. Only the first few are forgiven when the replayed request
//! shows that renewing was the cure (else a web API of which one server always says 401 would cost an exchange per call),
//! and only a quiet time makes the next one the first again.

use std::time::Duration;

use crate::clock::Moment;
use crate::ticket::{Ticket, brake};

/// A ticket younger than this is not doubted when upstream answers 401.
const UNDOUBTED: Duration = Duration::from_secs(2);

/// How many renewals that 401s caused, and that were the cure, go without a pause.
pub(super) const CURES: u32 = 3;

/// After this long without a 401, the next one is the first again.
const QUIET: Duration = Duration::from_secs(900);

/// What is known of a tenant's 401s.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// No 401 causes a renewal before this.
    until: Option<Moment>,
    /// Renewals that 401s caused since the last quiet time.
    renewals: u32,
    /// The last 401, believed or not.
    last: Option<Moment>,
    /// The newest fresh ticket that was refused.
    refused_generation: u64,
}

/// What to make of a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The ticket is no good: renew it.
    Believe,
    /// A ticket fetched because of a 401 is refused as well, for the first time: renewing does not help, for this long.
    Fresh(Duration),
    /// Nothing follows from it.
    Stands,
}

impl Brake {
    /// A request with the newest ticket was answered 401. `accepted`: upstream has accepted this ticket before. `replay`:
    /// the request was sent for the second time.
    pub(super) fn judge(&mut self, ticket: &Ticket, accepted: bool, replay: bool, now: Moment) -> Verdict {
        if accepted && self.last.is_none_or(|last| now.since(last) > QUIET) {
            *self = Brake { refused_generation: self.refused_generation, ..Brake::default() };
        }
        self.last = Some(now);
        if ticket.after_refusal && (replay || !accepted) && self.refused_generation < ticket.generation {
            self.refused_generation = ticket.generation;
            let pause = brake(self.renewals.max(1));
            self.until = Some(now.later(pause));
            return Verdict::Fresh(pause);
        }
        if replay || !self.pause(now).is_zero() || now.since(ticket.issued) < UNDOUBTED {
            return Verdict::Stands;
        }
        self.renewals += 1;
        self.until = Some(now.later(brake(self.renewals)));
        Verdict::Believe
    }

    /// The replay after a renewal was accepted.
    pub(super) fn cured(&mut self) {
        if self.renewals <= CURES {
            self.until = None;
        }
    }

    /// What comes next is another attempt, not the same again.
    pub(super) fn go_on(&mut self) {
        self.until = None;
    }

    /// How long 401s go on to cause no renewal.
    pub(super) fn pause(&self, now: Moment) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.mono.saturating_sub(now.mono))
    }

    /// Whether this is the fresh ticket that was refused.
    pub(super) fn refused(&self, ticket: &Ticket) -> bool {
        self.refused_generation == ticket.generation
    }
}
