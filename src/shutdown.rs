//! Signals → [`CancellationToken`]s: the first asks for an orderly stop, the second means now.

use std::io;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::signals::{SignalKind, signal};

/// What was told to stop at once and has not for so long is stuck: longer than the store, the admin listener and the collector may take.
const STUCK: Duration = Duration::from_secs(12);

/// How what serves is stopped: [`Stop::begin`] asks for it, and whoever runs it lets the rest follow.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// The process is going to stop: it is not ready any more, but still serves.
    pub leaving: CancellationToken,
    /// Accept no more, finish what is in flight.
    pub drain: CancellationToken,
    /// Drop every connection.
    pub abort: CancellationToken,
}

impl Stop {
    /// Asks for an orderly stop, as the first SIGTERM does.
    pub fn begin(&self) {
        self.leaving.cancel();
    }

    /// The orderly stop, once somebody asks for it: `delay` to be noticed, then `grace` for what is in flight. Each phase can be
    /// cut short from outside.
    pub async fn follow(self, delay: Duration, grace: Duration) {
        tokio::select! {
            () = self.leaving.cancelled() => {}
            () = self.drain.cancelled() => {}
            () = self.abort.cancelled() => {}
        }
        self.leaving.cancel();
        if !delay.is_zero() && !self.drain.is_cancelled() {
            tracing::info!(?delay, "leaving: not ready any more; requests are still served");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.drain.cancelled() => {}
                () = self.abort.cancelled() => {}
            }
        }
        if !self.abort.is_cancelled() {
            tracing::info!(?grace, "draining: no more connections; what is in flight is finished");
        }
        self.drain.cancel();
        if self.abort.run_until_cancelled(tokio::time::sleep(grace)).await.is_some() {
            tracing::warn!(?grace, "still in flight after the grace period: dropped");
            self.abort.cancel();
        }
    }
}

/// Listens for SIGTERM and SIGINT from now on.
pub fn on_signals(stop: Stop) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let aborted = stop.abort.clone();
    tokio::spawn(async move {
        aborted.cancelled().await;
        end_in(STUCK);
    });
    tokio::spawn(async move {
        for first in [true, false] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if first {
                tracing::info!("{name}: stopping; a second signal stops at once");
                stop.begin();
            } else {
                tracing::info!("{name} again: stopping at once");
                stop.abort.cancel();
            }
        }
    });
    Ok(())
}

/// Ends the process, whatever it waits for by then: a file system that does not answer, a mistake of ours.
fn end_in(patience: Duration) {
    // A thread, because it may be the runtime that is stuck.
    let end = move || {
        std::thread::sleep(patience);
        // Whoever reads the log may be what it waits for.
        let _ = std::thread::Builder::new()
            .spawn(move || tracing::error!("still not stopped {patience:?} after everything was to be dropped: exit"));
        std::thread::sleep(Duration::from_millis(200));
        std::process::exit(1);
    };
    if let Err(error) = std::thread::Builder::new().name("end".to_owned()).spawn(end) {
        tracing::error!(%error, "no thread to make sure of the end");
    }
}

/// A token that is cancelled by the first SIGTERM or SIGINT.
pub fn first_signal() -> io::Result<CancellationToken> {
    let stop = Stop::default();
    on_signals(stop.clone())?;
    Ok(stop.leaving)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(3600);

    fn state(stop: &Stop) -> [bool; 3] {
        [&stop.leaving, &stop.drain, &stop.abort].map(CancellationToken::is_cancelled)
    }

    #[tokio::test]
    async fn one_phase_follows_the_other_once_a_stop_is_asked_for() {
        let stop = Stop::default();
        let following = tokio::spawn(stop.clone().follow(SHORT, SHORT));
        tokio::time::sleep(5 * SHORT).await;
        assert_eq!(state(&stop), [false, false, false]);
        stop.begin();
        following.await.unwrap();
        assert_eq!(state(&stop), [true, true, true]);
    }

    #[tokio::test]
    async fn each_phase_lasts_and_can_be_cut_short() {
        let stop = Stop::default();
        let following = tokio::spawn(stop.clone().follow(LONG, LONG));
        let told: [(&CancellationToken, _); 3] =
            [(&stop.leaving, [true, false, false]), (&stop.drain, [true, true, false]), (&stop.abort, [true, true, true])];
        for (token, expected) in told {
            token.cancel();
            // Long enough for a phase that does not last.
            tokio::time::sleep(5 * SHORT).await;
            assert_eq!(state(&stop), expected);
        }
        following.await.unwrap();
    }

    #[tokio::test]
    async fn to_stop_at_once_takes_no_phase() {
        let stop = Stop::default();
        stop.abort.cancel();
        stop.clone().follow(LONG, LONG).await;
        assert_eq!(state(&stop), [true, true, true]);
    }
}
