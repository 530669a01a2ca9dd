//! What the rest of the process may know of reloads, and ask of whoever does them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Asks for reloads, and tells what came of the last ones. Its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    ask: Option<Sender<Request>>,
    turns: Option<UnboundedSender<Turn>>,
    history: History,
}

/// Somebody asks for a reload; the answer goes back when it was tried.
#[derive(Debug)]
pub struct Request {
    /// Who asks, for the log: `SIGHUP`, `the admin listener`.
    pub by: &'static str,
    /// Where the outcome goes, if somebody wants it.
    pub answer: Option<tokio::sync::oneshot::Sender<Result<Report, String>>>,
}

/// What happens to the configuration, for whoever follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is being read anew.
    Begins,
    /// That is over; whether the new one was applied.
    Ends(bool),
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One line for each change, without any secret's value: `tenants.Cust2: added`, `upstream.rate: "off" → 10`.
    pub changes: Vec<String>,
    /// Changes that take effect at the next start only.
    pub at_next_start: Vec<String>,
}

/// What came of the reloads since the start.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// How many were applied.
    pub applied: u64,
    /// How many were not.
    pub failed: u64,
    /// When the last one was applied, and what it changed.
    pub last: Option<(Timestamp, Report)>,
    /// When the last one failed, and why; gone when one is applied.
    pub failure: Option<(Timestamp, String)>,
}

impl Inner {
    fn tell(&self, turn: Turn) {
        if let Some(turns) = &self.turns {
            // Whoever listened may have gone.
            let _ = turns.send(turn);
        }
    }
}

impl Reloads {
    /// Asks for a reload: its outcome, once it was tried. `None` when nobody does any, because there is no configuration file.
    pub fn ask(&self, by: &'static str) -> Option<tokio::sync::oneshot::Receiver<Result<Report, String>>> {
        let (answer, outcome) = tokio::sync::oneshot::channel();
        self.request(Request { by, answer: Some(answer) }).then_some(outcome)
    }

    /// The same, for whoever does not wait for the outcome. Whether anybody does reloads.
    pub fn request(&self, request: Request) -> bool {
        self.lock().ask.as_ref().is_some_and(|ask| ask.send(request).is_ok())
    }

    /// What came of them so far.
    pub fn history(&self) -> History {
        self.lock().history.clone()
    }

    /// All that happens from now on, in its order. For one listener.
    pub fn turns(&self) -> UnboundedReceiver<Turn> {
        let (turns, told) = unbounded_channel();
        self.lock().turns = Some(turns);
        told
    }

    /// One more is tried; [`Reloads::note`] tells what came of it.
    pub(super) fn begins(&self) {
        self.lock().tell(Turn::Begins);
    }

    /// From now on requests come here.
    pub(super) fn answer_here(&self) -> Receiver<Request> {
        let (ask, asked) = mpsc::channel();
        self.lock().ask = Some(ask);
        asked
    }

    /// One more was tried.
    pub(super) fn note(&self, outcome: &Result<Report, String>) {
        let mut inner = self.lock();
        inner.tell(Turn::Ends(outcome.is_ok()));
        let history = &mut inner.history;
        match outcome {
            Ok(report) => {
                history.applied += 1;
                history.last = Some((Timestamp::now(), report.clone()));
                history.failure = None;
            }
            Err(why) => {
                history.failed += 1;
                history.failure = Some((Timestamp::now(), why.clone()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
