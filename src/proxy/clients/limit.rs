//! How many calls a client may make: a second's worth of them at once, and then one after the other at its rate (GCRA).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One client's.
#[derive(Debug)]
pub(super) struct Limit {
    /// Between two calls, nanoseconds.
    interval: u64,
    /// How far calls may run ahead of that.
    ahead: u64,
    /// When the last call that was let through would have come if all kept the interval.
    due: AtomicU64,
}

impl Limit {
    /// `rate`: calls per second, more than 0.
    pub(super) fn new(rate: f64) -> Limit {
        let interval = ((1e9 / rate) as u64).max(1);
        Limit { interval, ahead: interval.max(1_000_000_000), due: AtomicU64::new(0) }
    }

    /// Counts a call. `Err`: when to come again.
    pub(super) fn take(&self, now: Duration) -> Result<(), Duration> {
        // The clock may be at its very beginning: what was due before that is not told from what is due at it.
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        let next = |due: u64| {
            let due = due.max(now) + self.interval;
            (due - now <= self.ahead).then_some(due)
        };
        match self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(due) => Err(Duration::from_nanos((due.max(now) + self.interval - self.ahead).saturating_sub(now).max(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn let_through(limit: &Limit, from: u64, to: u64, step: u64) -> usize {
        (from..to).step_by(step as usize).filter(|now| limit.take(Duration::from_millis(*now)).is_ok()).count()
    }

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_the_rate_holds() {
        let limit = Limit::new(10.0);
        let now = Duration::from_secs(5);
        assert_eq!((0..100).filter(|_| limit.take(now).is_ok()).count(), 10);
        let wait = limit.take(now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(limit.take(now + wait), Ok(()));
        assert!(limit.take(now + wait).is_err());
        assert!(let_through(&limit, 6_000, 16_000, 1) > 100);
        assert_eq!(let_through(&limit, 16_000, 26_000, 1), 100, "nothing was saved up");
        assert!((109..=110).contains(&let_through(&limit, 100_000, 110_000, 1)), "an idle second is, and no more");
    }

    #[test]
    fn a_rate_below_one_lets_one_through_in_time() {
        let limit = Limit::new(0.1);
        assert_eq!(limit.take(Duration::ZERO), Ok(()));
        assert_eq!(limit.take(Duration::from_secs(1)), Err(Duration::from_secs(9)));
        assert_eq!(limit.take(Duration::from_secs(10)), Ok(()));
    }
}
