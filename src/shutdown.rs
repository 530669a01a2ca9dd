//! Signals → [`CancellationToken`]s: the first asks for a drain, the second means now.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How what serves is stopped.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Accept no more, finish what is in flight.
    pub drain: CancellationToken,
    /// Drop every connection.
    pub abort: CancellationToken,
}

/// Listens for SIGTERM and SIGINT from now on.
pub fn on_signals(stop: Stop) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for (token, what) in [(&stop.drain, "draining; a second signal stops at once"), (&stop.abort, "stopping at once")] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("signal received: {what}");
            token.cancel();
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
