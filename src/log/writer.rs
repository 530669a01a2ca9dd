//! Records are formatted by the thread that answered the request into a buffer of its own, and written by a thread that does
//! nothing else. A request never waits for whoever reads the log.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use super::AccessRecord;
use super::line::Lines;
use crate::shard::Shards;

/// Lines are written in batches, this long after the first of a batch.
const DELAY: Duration = Duration::from_millis(40);

/// What may wait per worker; when nobody reads the log, lines beyond it are dropped and counted.
const ROOM: usize = 1 << 20;

/// Where access records go. What is there when it is dropped, or finished, is still written.
#[derive(Debug)]
pub struct AccessLog {
    json: bool,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    thread: Thread,
}

/// What the writing thread sees.
#[derive(Debug)]
struct Shared {
    lines: Shards<Mutex<Lines>>,
    /// Something waits to be written.
    pending: AtomicBool,
    /// Nothing more will come.
    finished: AtomicBool,
    dropped: AtomicU64,
}

impl AccessLog {
    /// Writes to `sink` from a thread of its own, as text or as JSON.
    pub fn start(workers: usize, json: bool, sink: impl Write + Send + 'static) -> std::io::Result<Arc<AccessLog>> {
        let shared = Arc::new(Shared {
            lines: Shards::new(workers, Mutex::default),
            pending: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        let writing = shared.clone();
        let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writing.write_to(sink))?;
        let thread = writer.thread().clone();
        Ok(Arc::new(AccessLog { json, shared, writer: Mutex::new(Some(writer)), thread }))
    }

    /// Takes a record into the buffer of the current thread.
    pub(super) fn add(&self, record: &AccessRecord) {
        let shared = &*self.shared;
        {
            let mut lines = lock(shared.lines.here());
            if lines.bytes.len() > ROOM {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            lines.add(record, self.json);
        }
        if !shared.pending.load(Ordering::Relaxed) && !shared.pending.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }

    /// Writes what waits, and returns when that is done. Nothing is written afterwards.
    pub fn finish(&self) {
        self.shared.finished.store(true, Ordering::Release);
        self.thread.unpark();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic of the writing thread has told of itself.
            let _ = writer.join();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Not waited for: whoever drops the last record may be a worker.
        self.shared.finished.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Shared {
    fn write_to(&self, mut sink: impl Write) {
        loop {
            let finished = self.finished.load(Ordering::Acquire);
            if !self.pending.load(Ordering::Acquire) && !finished {
                std::thread::park();
                continue;
            }
            if !finished {
                std::thread::sleep(DELAY);
            }
            // Before it is looked at what there is: a line that comes later sets it again.
            self.pending.store(false, Ordering::Release);
            self.write_all(&mut sink);
            if finished {
                return;
            }
        }
    }

    fn write_all(&self, sink: &mut impl Write) {
        for lines in self.lines.iter() {
            let bytes = std::mem::take(&mut lock(lines).bytes);
            // There is nobody to tell that the log cannot be written.
            let _ = sink.write_all(&bytes);
        }
        let _ = sink.flush();
        match self.dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => tracing::warn!(lines, "access records dropped: the log is not read fast enough"),
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
