//! The thread that writes: whoever has something new only marks it, and the thread asks for it when its turn comes.

mod queue;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use self::queue::{Job, Queue, Written};
use super::{Identity, Record, Store};
use crate::metrics::Metrics;
use crate::superoffice::signing::SigningKey;

/// Tells what a tenant's record is now, and the key that seals it; `None`: there is nothing to keep, and what is stored stays.
/// Called on the writer's thread.
pub type Source = Arc<dyn Fn() -> Option<(Arc<SigningKey>, Record)> + Send + Sync>;

/// Writes the records of all tenants that are attached. Dropping it ends the thread without writing what is new: see
/// [`Writer::finish`].
pub struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something is to be done.
    wake: Condvar,
    /// The thread has ended, and the store is free again.
    ended: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Starts the thread, which has the store from now on, and counts in `metrics` what it writes. Fails only when the system gives no thread.
    pub fn start(store: Arc<Store>, metrics: Arc<Metrics>) -> io::Result<Writer> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), ended: Condvar::new() });
        let (theirs, dispatch) = (shared.clone(), tracing::dispatcher::get_default(Clone::clone));
        thread::Builder::new().name("soproxy-store".to_owned()).spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || {
                work(&theirs, &store, &metrics);
                drop(store);
                theirs.queue().ended = true;
                theirs.ended.notify_all();
            });
        })?;
        Ok(Writer { shared })
    }

    /// A tenant's record is written from now on, whenever its handle says that it has changed; an earlier handle of the same
    /// tenant says nothing any more.
    pub fn attach(&self, identity: Identity, source: Source) -> Handle {
        // What is replaced is dropped without the lock: what its source holds may do anything.
        let (id, _replaced) = self.shared.queue().attach(identity, source);
        Handle { id, shared: self.shared.clone() }
    }

    /// How many tenants' records could not be written the last time.
    pub fn failing(&self) -> usize {
        self.shared.queue().failing()
    }

    /// Takes every tenant for changed, because of the last uses that nobody has told of, writes what is new, and gives the
    /// store back. Blocks until then, but no longer than `patience`: a disk that hangs does not keep the proxy from ending.
    /// Tells whether all is written; what is not was warned about.
    pub fn finish(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut queue = self.shared.queue();
        queue.finish(until);
        self.shared.wake.notify_one();
        while !queue.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.shared.ended.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let unsaved = queue.unsaved();
        if unsaved > 0 {
            tracing::warn!(
                tenants = unsaved,
                "the latest of some tenants could not be stored; an older record costs one exchange each at most"
            );
        }
        queue.ended && unsaved == 0
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().stop();
        self.shared.wake.notify_one();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// A tenant's part in the writer. Dropping it detaches the tenant: its file stays as it is, what is not yet written is not.
pub struct Handle {
    id: u64,
    shared: Arc<Shared>,
}

impl Handle {
    /// Says that the record is another one now. Cheap, and never waits for a disk; may be called from anywhere.
    pub fn changed(&self) {
        if self.shared.queue().changed(self.id) {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The source is dropped without the lock: what it holds may do anything.
        let _entry = self.shared.queue().detach(self.id);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

fn work(shared: &Shared, store: &Store, metrics: &Metrics) {
    while let Some(job) = next(shared) {
        // A source that panics must not end the writing of all others.
        let outcome = catch_unwind(AssertUnwindSafe(|| write(store, &job)));
        let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("it panicked while its record was made")));
        if let Some(success) = outcome.as_ref().map_or(Some(false), |(_, wrote)| wrote.then_some(true)) {
            metrics.stored(success);
        }
        let told = match outcome.map(|(written, _)| written) {
            Ok(written) => shared.queue().succeeded(job.id, written).then_some(None),
            Err(error) => shared.queue().failed(job.id, Instant::now(), rand::random()).then_some(Some(error)),
        };
        let (tenant, path) = (job.identity.tenant(), store.path().display());
        match told {
            Some(Some(error)) => tracing::warn!(
                tenant, %path, %error,
                "what a restart needs cannot be stored: look at the disk's free space and the directory's owner; it is tried again and again"
            ),
            Some(None) => tracing::info!(%path, "what a restart needs is stored again"),
            None => {}
        }
    }
}

/// Waits for something to do; `None`: nothing more will come.
fn next(shared: &Shared) -> Option<Job> {
    let mut queue = shared.queue();
    loop {
        let now = Instant::now();
        if let Some(job) = queue.take(now) {
            return Some(job);
        }
        if queue.is_over(now) {
            return None;
        }
        queue = match queue.next_due() {
            None => shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(due) => shared.wake.wait_timeout(queue, due.saturating_duration_since(now)).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}

/// Writes a tenant's record, unless it is what was written the last time; and whether it was.
fn write(store: &Store, job: &Job) -> io::Result<(Option<Written>, bool)> {
    let Some((key, record)) = (job.source)() else { return Ok((None, false)) };
    let plain = record.encode()?;
    let digest: [u8; 32] = Sha256::digest(&*plain).into();
    let same = |written: &Written| written.digest == digest && (Arc::ptr_eq(&written.key, &key) || written.key == key);
    let new = !job.written.as_deref().is_some_and(same);
    if new {
        store.put(&job.identity, &key, plain)?;
    }
    Ok((Some(Written { key, digest }), new))
}

#[cfg(test)]
mod tests;
