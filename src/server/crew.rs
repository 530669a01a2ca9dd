//! The threads that serve: each has a runtime of its own, and a connection stays on the one it was given to. Nothing that
//! belongs to a request ever crosses from one core to another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

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

impl Crew {
    /// Starts this many threads.
    pub fn start(workers: usize) -> io::Result<Crew> {
        (1..=workers).map(Worker::start).collect::<io::Result<Arc<[Worker]>>>().map(Crew)
    }

    /// The number of a worker that does not come to a new job within `patience`, if there is one.
    pub async fn stuck(&self, patience: Duration) -> Option<usize> {
        let asked: Vec<_> = self.0.iter().map(Worker::asked).collect();
        let late = tokio::time::Instant::now() + patience;
        for (index, answer) in asked.into_iter().enumerate() {
            if !tokio::time::timeout_at(late, answer).await.is_ok_and(|answered| answered.is_ok()) {
                return Some(index + 1);
            }
        }
        None
    }

    /// Counts the connections that the threads have.
    pub fn census(&self) -> Census {
        Census(self.0.iter().map(|worker| worker.load.clone()).collect())
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

/// How many connections a crew has; keeps none of its threads.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<[Arc<AtomicUsize>]>);

impl Census {
    /// Now.
    pub fn connections(&self) -> usize {
        self.0.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }
}

impl Worker {
    /// Answers once the worker comes to it.
    fn asked(&self) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have lost patience.
        let _ = self.jobs.send(Box::new(move || _ = answer.send(())));
        answered
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_comes_to_nothing_is_found() {
        let crew = Crew::start(2).unwrap();
        let long = Duration::from_secs(3600);
        assert_eq!(crew.stuck(long).await, None);
        // The first of two that have nothing to do is the first.
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        crew.give(move |_load| _ = held.recv());
        assert_eq!(crew.stuck(Duration::from_millis(20)).await, Some(1));
        drop(go_on);
        assert_eq!(crew.stuck(long).await, None);
    }
}
