//! The last accepted use of a tenant's ticket, without a lock: the request path writes it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Moment;

/// The last accepted use, both clocks in whole milliseconds, without a lock. The two halves may come from two uses that
/// happened at once; they differ by less than anybody can measure.
#[derive(Debug)]
pub(super) struct UseMark {
    mono: AtomicU64,
    wall: AtomicI64,
}

impl Default for UseMark {
    fn default() -> UseMark {
        UseMark { mono: AtomicU64::new(0), wall: AtomicI64::new(0) }
    }
}

impl UseMark {
    pub(super) fn get(&self) -> Option<Moment> {
        let mono = self.mono.load(Ordering::Relaxed);
        let wall = Timestamp::from_millisecond(self.wall.load(Ordering::Relaxed)).unwrap_or(Timestamp::UNIX_EPOCH);
        // Zero means never; a use in the first millisecond of the process is counted as one in the second.
        (mono > 0).then(|| Moment { mono: Duration::from_millis(mono), wall })
    }

    pub(super) fn set(&self, moment: Moment) {
        // Both rounded up, so that a use right after the ticket was issued is not thought to be before it.
        let mono = u64::try_from(moment.mono.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        // A slow request that was sent long ago does not make a later use undone. Within one millisecond nothing is
        // written: workers would take the cache line from each other.
        if self.mono.load(Ordering::Relaxed) < mono {
            self.mono.fetch_max(mono, Ordering::Relaxed);
            self.wall.fetch_max(moment.wall.as_millisecond().saturating_add(1), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_kept_on_both_clocks() {
        let mark = UseMark::default();
        assert!(mark.get().is_none());
        let moment = Moment { mono: Duration::from_millis(1234), wall: Timestamp::from_millisecond(5678).unwrap() };
        mark.set(moment);
        let kept = mark.get().unwrap();
        assert!(kept.mono >= moment.mono && kept.wall >= moment.wall);
        assert!(kept.since(moment) <= Duration::from_millis(1));
    }
}
