//! Lines are put into a buffer of the thread that has them to tell, and written by a thread that does nothing else. A request
//! never waits for whoever reads the log, nor for a disk.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::line::{Lines, Style};
use super::{AccessRecord, Query, is_wanted};
use crate::shard::Shards;

/// Lines are written in batches, this long after the first of a batch.
const DELAY: Duration = Duration::from_millis(40);

/// How long the last lines may take when the process ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What may wait per worker; when nobody reads the log, lines beyond it are dropped and counted.
const ROOM: usize = 1 << 20;

/// Where lines go in the end; used by the writing thread alone.
pub trait Sink: Send + 'static {
    /// Takes whole lines. There is nobody to tell that they cannot be written.
    fn write(&mut self, lines: &[u8]);

    /// Does a piece of what else there is to do: how long it may be left alone then, if nothing comes. `None` is for good.
    fn idle(&mut self) -> Option<Duration> {
        None
    }

    /// What has the sink's name may be another file now.
    fn reopen(&mut self) {}

    /// Nothing more will come.
    fn finish(&mut self) {}
}

/// A stream, such as standard error.
pub struct Stream<W>(pub W);

impl<W: Write + Send + 'static> Sink for Stream<W> {
    fn write(&mut self, lines: &[u8]) {
        let _ = self.0.write_all(lines);
        let _ = self.0.flush();
    }
}

/// Takes lines from all threads. They wait until it is started, and what is there when it is finished, or dropped, is still
/// written.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    running: Mutex<Option<JoinHandle<()>>>,
    thread: OnceLock<Thread>,
}

/// What the writing thread sees.
#[derive(Debug)]
struct Shared {
    lines: Shards<Mutex<Lines>>,
    /// Something waits to be written.
    pending: AtomicBool,
    /// The sink is to be opened anew.
    reopen: AtomicBool,
    /// Nothing more will come.
    finished: AtomicBool,
    dropped: AtomicU64,
}

impl Writer {
    /// For so many workers, and the other threads.
    pub fn new(workers: usize) -> Arc<Writer> {
        let shared = Shared {
            lines: Shards::new(workers, Mutex::default),
            pending: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        };
        Arc::new(Writer { shared: Arc::new(shared), running: Mutex::default(), thread: OnceLock::new() })
    }

    /// Writes to `sink` from now on, from a thread of its own; it is confined as whoever calls this.
    pub fn start(&self, sink: impl Sink) -> io::Result<()> {
        let writing = self.shared.clone();
        let running = std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_to(sink))?;
        let _ = self.thread.set(running.thread().clone());
        // Whoever had a line a moment ago may have found nobody to wake.
        self.wake();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    /// What has the log's name may be another file now.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Writes what waits, and returns when that is done. Nothing is written afterwards.
    pub fn finish(&self) {
        self.shared.finished.store(true, Ordering::Release);
        self.wake();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            // A disk that does not answer shall not keep the process.
            let begun = Instant::now();
            while !running.is_finished() && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            if running.is_finished() {
                // A panic of the writing thread has told of itself.
                let _ = running.join();
            }
        }
    }

    /// Puts what `add` adds, whole lines, into the buffer of the current thread.
    fn put(&self, add: impl FnOnce(&mut Lines)) {
        let shared = &*self.shared;
        {
            let mut lines = lock(shared.lines.here());
            if lines.bytes.len() > ROOM {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            add(&mut lines);
        }
        if !shared.pending.load(Ordering::Relaxed) && !shared.pending.swap(true, Ordering::Release) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Not waited for: whoever drops the last record may be a worker.
        self.shared.finished.store(true, Ordering::Release);
        self.wake();
    }
}

/// One line of the log, as `tracing` has it.
impl Write for &Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(|lines| lines.bytes.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn write_to(&self, mut sink: impl Sink) {
        loop {
            let finished = self.finished.load(Ordering::Acquire);
            if self.reopen.swap(false, Ordering::Acquire) {
                sink.reopen();
            }
            let pause = if finished { None } else { sink.idle() };
            if !self.pending.load(Ordering::Acquire) && !finished {
                match pause {
                    None => std::thread::park(),
                    Some(Duration::ZERO) => {}
                    Some(pause) => std::thread::park_timeout(pause),
                }
                continue;
            }
            if !finished && pause != Some(Duration::ZERO) {
                std::thread::sleep(DELAY);
            }
            // Before it is looked at what there is: a line that comes later sets it again.
            self.pending.store(false, Ordering::Release);
            self.write_all(&mut sink);
            if finished {
                sink.finish();
                return;
            }
        }
    }

    fn write_all(&self, sink: &mut impl Sink) {
        for lines in self.lines.iter() {
            let bytes = std::mem::take(&mut lock(lines).bytes);
            if !bytes.is_empty() {
                sink.write(&bytes);
            }
        }
        match self.dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => {
                super::lose(lines);
                tracing::warn!(lines, "lines of the log were dropped: it is not read, or written, fast enough");
            }
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where access records go.
#[derive(Debug)]
pub struct AccessLog {
    style: Style,
    writer: Arc<Writer>,
}

impl AccessLog {
    /// Records that go to `writer` in this style.
    pub fn new(writer: Arc<Writer>, style: Style) -> Arc<AccessLog> {
        Arc::new(AccessLog { style, writer })
    }

    /// Writes to `sink` from a thread of its own, as text or as JSON, without queries.
    pub fn start(workers: usize, json: bool, sink: impl Write + Send + 'static) -> io::Result<Arc<AccessLog>> {
        let writer = Writer::new(workers);
        writer.start(Stream(sink))?;
        Ok(AccessLog::new(writer, Style { json, ..Style::default() }))
    }

    /// Takes a record into the buffer of the current thread.
    pub(super) fn add(&self, record: &AccessRecord) {
        if is_wanted() {
            self.writer.put(|lines| lines.add(record, self.style));
        }
    }

    /// What is told of queries.
    pub(super) fn query(&self) -> Query {
        self.style.query
    }

    /// Writes what waits, and returns when that is done.
    pub fn finish(&self) {
        self.writer.finish();
    }
}

#[cfg(test)]
mod tests;
