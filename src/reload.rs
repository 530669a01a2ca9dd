//! SIGHUP, or a file of the configuration or of a secret that has changed → read the configuration anew → apply it. A configuration
//! that cannot be read changes nothing, and says why.

mod handle;
mod watch;

use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

pub use self::handle::{History, Reloads, Report, Request, Turn};
use self::watch::Watch;
use crate::config::{Config, Watched, texts};
use crate::signals::{SignalKind, signal};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// After how many looks a configuration that could not be used is tried again, first and at the longest. What it lacks need not
/// be in a file that is looked at: a command may have failed.
const AGAIN: (u32, u32) = (10, 300);

/// For a process without a file to read: SIGHUP must not end it.
pub fn ignore_hangup() -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: there is no configuration file to read anew");
        }
    });
    Ok(())
}

/// From now on listens for SIGHUP and for what `reloads` is asked, and looks at the files in `watched`, which are those of the
/// configuration in use; hands each good configuration to `apply`, one after the other.
pub fn follow<E: Display>(
    file: PathBuf,
    watched: Watched,
    reloads: Reloads,
    apply: impl Fn(Config) -> Result<Report, E> + Send + 'static,
) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let asked = reloads.answer_here();
    let mut reloader = Reloader { file, apply, watch: Watch::new(watched), again: None, said: String::new(), reloads: reloads.clone() };
    let runtime = Handle::current();
    // Reads files and runs commands, which may take a while: no request shall wait for that, nor the end of the process, as it
    // would for a blocking task.
    thread::Builder::new().name("reload".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        loop {
            let asked = match asked.recv_timeout(LOOK) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let turn = AssertUnwindSafe(|| match asked {
                Some(request) => reloader.asked(request),
                None => reloader.look(),
            });
            if catch_unwind(turn).is_err() {
                let why = "reading it anew failed by a mistake of ours";
                tracing::error!("the configuration stays as it was: {why}");
                reloader.reloads.note(&Err(why.to_owned()));
                // Not at every look: what is there now was tried.
                let looks = reloader.watch.looks();
                reloader.watch.tried(looks);
                reloader.again = Some((AGAIN.1, AGAIN.1));
            }
        }
    })?;
    tokio::spawn(async move { while hangup.recv().await.is_some() && reloads.request(Request { by: "SIGHUP", answer: None }) {} });
    Ok(())
}

/// What a reload needs to know, and what came of the last.
struct Reloader<F> {
    file: PathBuf,
    apply: F,
    watch: Watch,
    /// The next attempt after one that failed although nobody asked for it: in so many looks, and how many they were.
    again: Option<(u32, u32)>,
    /// Why the last attempt failed.
    said: String,
    reloads: Reloads,
}

impl<E: Display, F: Fn(Config) -> Result<Report, E>> Reloader<F> {
    /// SIGHUP and its like. Whoever sends it is there to see what is wrong: a failure is not tried again by itself.
    fn asked(&mut self, request: Request) {
        tracing::info!(by = request.by, "the configuration is read anew");
        let outcome = self.load();
        if let Err(why) = &outcome {
            tracing::error!("the configuration stays as it was: {why}");
            self.said = why.clone();
        }
        if let Some(answer) = request.answer {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }

    /// One look at the files.
    fn look(&mut self) {
        let changed = self.watch.look();
        let pause = match (&changed, self.again) {
            (None, None) => return,
            (None, Some((left @ 2.., pause))) => {
                self.again = Some((left - 1, pause));
                return;
            }
            (None, Some((_, pause))) => (pause * 2).min(AGAIN.1),
            (Some(_), _) => AGAIN.0,
        };
        if let Some(file) = &changed {
            if *file == self.file || file.parent() == Some(&texts::directory(&self.file)) {
                tracing::info!(file = %file.display(), "the configuration has changed: it is read anew");
            } else {
                tracing::info!(file = %file.display(), "a secret's file has changed: the configuration is read anew");
            }
        }
        if let Err(why) = self.load() {
            // Nothing happened since the last attempt: the same words would only fill the log.
            if changed.is_some() || why != self.said {
                tracing::error!("the configuration stays as it was, and is tried again: {why}");
            }
            self.said = why;
            self.again = Some((pause, pause));
        }
    }

    fn load(&mut self) -> Result<Report, String> {
        self.reloads.begins();
        // Before anything is read: what changes meanwhile is seen as a change.
        let looks = self.watch.looks();
        let applied = Config::load(&self.file).map_err(|problems| format!("\n{problems}")).and_then(|mut config| {
            let watched = std::mem::take(&mut config.watched);
            (self.apply)(config).map(|report| (watched, report)).map_err(|error| error.to_string())
        });
        let outcome = match applied {
            Ok((watched, report)) => {
                self.watch = Watch::new(watched);
                self.again = None;
                self.said.clear();
                Ok(report)
            }
            Err(why) => {
                self.watch.tried(looks);
                Err(why)
            }
        };
        self.reloads.note(&outcome);
        outcome
    }
}

#[cfg(test)]
mod tests;
