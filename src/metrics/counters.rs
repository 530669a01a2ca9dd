//! What counts: relaxed additions, each worker's on cache lines of its own where requests are counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};

use super::labels::{self, CLASSES, METHODS};

/// Upper bounds of the histograms of durations, in microseconds.
pub const BOUNDS: [u64; 13] =
    [1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000, 30_000_000, 120_000_000];

/// Durations.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One more than there are bounds: the rest.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        if took.is_zero() {
            // Nearly every wait.
            return add(&self.buckets[0], 1);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.buckets[BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len())], 1);
        add(&self.micros, micros);
    }
}

/// What several histograms hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many within each bound and beyond the one before it; the last: beyond all.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All durations together.
    pub micros: u64,
}

impl Sum {
    pub(super) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Sum {
        let mut sum = Sum::default();
        for histogram in histograms {
            sum.micros += get(&histogram.micros);
            sum.buckets.iter_mut().zip(&histogram.buckets).for_each(|(sum, bucket)| *sum += get(bucket));
        }
        sum
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|count| *count == 0)
    }
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The answer's status; `None` when the caller went away before.
    pub status: Option<StatusCode>,
    /// The code of an error of the proxy's own.
    pub error: Option<&'static str>,
    /// Bytes of its body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// From its arrival to now.
    pub took: Duration,
}

/// One tenant's requests on one worker.
#[derive(Debug)]
pub struct Cells {
    requests: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    errors: Box<[AtomicU64]>,
    received: AtomicU64,
    sent: AtomicU64,
    durations: Histogram,
    codes: &'static [&'static str],
}

impl Cells {
    pub(super) fn new(codes: &'static [&'static str]) -> Cells {
        Cells {
            requests: Default::default(),
            errors: codes.iter().map(|_| AtomicU64::new(0)).collect(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            durations: Histogram::default(),
            codes,
        }
    }

    /// A request has ended.
    pub fn request(&self, ended: &Ended<'_>) {
        add(&self.requests[labels::method(ended.method)][labels::class(ended.status)], 1);
        if ended.received > 0 {
            add(&self.received, ended.received);
        }
        add(&self.sent, ended.sent);
        self.durations.observe(ended.took);
        if let Some(at) = ended.error.and_then(|error| self.codes.iter().position(|code| *code == error)) {
            add(&self.errors[at], 1);
        }
    }

    pub(super) fn requests(&self, method: usize, class: usize) -> u64 {
        get(&self.requests[method][class])
    }

    pub(super) fn errors(&self, code: usize) -> u64 {
        get(&self.errors[code])
    }

    pub(super) fn bytes(&self) -> (u64, u64) {
        (get(&self.received), get(&self.sent))
    }

    pub(super) fn durations(&self) -> &Histogram {
        &self.durations
    }
}

/// How often what has a name has happened. For what is rare: it takes a lock.
#[derive(Debug, Default)]
pub(super) struct Named(Mutex<BTreeMap<&'static str, u64>>);

impl Named {
    pub(super) fn add(&self, name: &'static str) {
        *self.lock().entry(name).or_default() += 1;
    }

    pub(super) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_first_bound_that_is_not_below_them() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 120_000, 120_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let sum = Sum::of([&histogram, &Histogram::default()].into_iter());
        assert_eq!((sum.buckets[0], sum.buckets[1], sum.buckets[12], sum.buckets[13]), (2, 1, 1, 1));
        assert_eq!(sum.micros, 240_004_000);
        assert!(BOUNDS.is_sorted() && !sum.is_empty() && Sum::default().is_empty());
    }
}
