//! How many calls go per second, counted so cheaply that it can be done for all: each worker counts its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::shard::Shards;

/// The calls of this second and of the last one.
#[derive(Debug)]
pub(super) struct Meter(Shards<AtomicU64>);

/// 32 bits of seconds, 16 of calls in the second before, 16 of calls in that second.
#[derive(Clone, Copy)]
struct Count {
    second: u64,
    before: u64,
    calls: u64,
}

impl Count {
    fn of(bits: u64) -> Count {
        Count { second: bits >> 32, before: bits >> 16 & 0xffff, calls: bits & 0xffff }
    }

    fn bits(self) -> u64 {
        self.second << 32 | self.before << 16 | self.calls
    }

    fn at(self, second: u64) -> Count {
        match second.wrapping_sub(self.second) {
            0 => self,
            1 => Count { second, before: self.calls, calls: 0 },
            _ => Count { second, before: 0, calls: 0 },
        }
    }
}

fn second(now: Duration) -> u64 {
    now.as_secs() & 0xffff_ffff
}

impl Meter {
    pub(super) fn new(workers: usize) -> Meter {
        Meter(Shards::new(workers, || AtomicU64::new(0)))
    }

    /// A call goes. A load and a store and no more: where threads share a shard a count may get lost, which does no harm.
    pub(super) fn tick(&self, now: Duration) {
        let here = self.0.here();
        let mut count = Count::of(here.load(Ordering::Relaxed)).at(second(now));
        count.calls = (count.calls + 1).min(0xffff);
        here.store(count.bits(), Ordering::Relaxed);
    }

    /// Calls per second: of this second or the one before, where there were more.
    pub(super) fn rate(&self, now: Duration) -> f64 {
        let (mut before, mut calls) = (0, 0);
        for shard in self.0.iter() {
            let count = Count::of(shard.load(Ordering::Relaxed)).at(second(now));
            before += count.before;
            calls += count.calls;
        }
        before.max(calls) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busier_of_two_seconds_counts() {
        let meter = Meter::new(2);
        let at = Duration::from_millis;
        assert_eq!(meter.rate(at(0)), 0.0);
        for _ in 0..7 {
            meter.tick(at(5_100));
        }
        assert_eq!((meter.rate(at(5_900)), meter.rate(at(6_900)), meter.rate(at(7_000))), (7.0, 7.0, 0.0));
        meter.tick(at(6_000));
        assert_eq!((meter.rate(at(6_900)), meter.rate(at(7_000))), (7.0, 1.0));
        for _ in 0..70_000 {
            meter.tick(at(9_000));
        }
        assert_eq!(meter.rate(at(9_000)), 65_535.0);
    }

    #[test]
    fn all_workers_count() {
        let meter = Meter::new(3);
        std::thread::scope(|scope| {
            for worker in 0..=3 {
                let meter = &meter;
                scope.spawn(move || {
                    crate::shard::settle(worker);
                    (0..1000).for_each(|_| meter.tick(Duration::from_secs(3)));
                });
            }
        });
        assert_eq!(meter.rate(Duration::from_secs(3)), 4000.0);
    }
}
