//! Signals → [`CancellationToken`]s: the first asks for a drain, the second means now.

use std::io;

use tokio_util::sync::CancellationToken;

use crate::signals::{SignalKind, signal};

/// How what serves is stopped: [`Stop::begin`] asks for it, the rest follows.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// The process is going to stop: it is not ready any more.
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
        self.drain.cancel();
    }
}

/// Listens for SIGTERM and SIGINT from now on.
pub fn on_signals(stop: Stop) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for (what, first) in [("draining; a second signal stops at once", true), ("stopping at once", false)] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("signal received: {what}");
            if first { stop.begin() } else { stop.abort.cancel() }
        }
    });
    Ok(())
}

/// A token that is cancelled by the first SIGTERM or SIGINT.
pub fn first_signal() -> io::Result<CancellationToken> {
    let stop = Stop::default();
    on_signals(stop.clone())?;
    Ok(stop.drain)
}
