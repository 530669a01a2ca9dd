//! The threads that serve: each has a runtime of its own, and a connection stays on the one it was given to. Nothing that
//! belongs to a request ever crosses from one core to another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::shard;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Crew(Arc<[Worker]>);

#[derive(Debug)]
struct Worker {
    jobs: UnboundedSender<Job>,
    load: Arc<AtomicUsize>,
}

/// A connection's place on a worker.
#[derive(Debug)]
pub struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections the workers have; it keeps no worker from ending.
#[derive(Clone, Debug)]
pub struct Crowd(Arc<[Arc<AtomicUsize>]>);

impl Crowd {
    /// All of them.
    pub fn connections(&self) -> usize {
        self.0.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }
}

impl Crew {
    /// Starts this many threads.
    pub fn start(workers: usize) -> io::Result<Crew> {
        (1..=workers).map(Worker::start).collect::<io::Result<Arc<[Worker]>>>().map(Crew)
    }

    /// How many connections it has.
    pub fn crowd(&self) -> Crowd {
        Crowd(self.0.iter().map(|worker| worker.load.clone()).collect())
    }

    /// Runs `job` in the runtime of the worker that has the fewest connections.
    pub fn give(&self, job: impl FnOnce(Load) + Send + 'static) {
        let Some(idlest) = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) else { return };
        idlest.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(idlest.load.clone());
        // A worker ends only after the crew.
        let _ = idlest.jobs.send(Box::new(move || job(load)));
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Worker> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, given) = unbounded_channel();
        // Whoever listens to what this thread logs shall hear the workers, too.
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let work = move || {
            shard::settle(number);
            tracing::dispatcher::with_default(&dispatch, || runtime.block_on(work(given)));
        };
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(work)?;
        Ok(Worker { jobs, load: Arc::default() })
    }
}

async fn work(mut given: UnboundedReceiver<Job>) {
    while let Some(job) = given.recv().await {
        job();
    }
}
