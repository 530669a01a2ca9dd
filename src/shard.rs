//! One of everything per worker: what a worker thread writes per request (its pool, its counters, its log lines) is its own,
//! so that no two cores ever wait for each other.

use std::cell::Cell;

thread_local! {
    /// 0 is every thread that is no worker.
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Makes the current thread a worker; workers count from 1.
pub fn settle(worker: usize) {
    INDEX.set(worker);
}

/// One value for each worker, and one for all other threads.
#[derive(Debug)]
pub struct Shards<T>(Box<[Apart<T>]>);

/// On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Shards<T> {
    /// For this many workers.
    pub fn new(workers: usize, make: impl FnMut() -> T) -> Shards<T> {
        Shards(std::iter::repeat_with(make).take(workers + 1).map(Apart).collect())
    }

    /// The current thread's.
    pub fn here(&self) -> &T {
        // A thread of another house (a test's, say) may have a higher number: any shard is right, it is only not its own.
        &self.0[INDEX.get() % self.0.len()].0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|apart| &apart.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_its_own() {
        let shards = std::sync::Arc::new(Shards::new(2, || Cell::new(0).into_inner()));
        assert_eq!(shards.iter().count(), 3);
        let seen: Vec<usize> = (0..3)
            .map(|worker| {
                let shards = shards.clone();
                let at = std::thread::spawn(move || {
                    settle(worker);
                    std::ptr::from_ref(shards.here()).addr()
                });
                at.join().unwrap()
            })
            .collect();
        assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
    }
}
