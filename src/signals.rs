//! What the system tells the process to do: signals on Unix, the console's and the system's events on Windows.
//!
//! Everything that waits for one takes it from here, under the names that signals have. Windows has no SIGHUP and no SIGUSR1:
//! there these never come, and what they ask for has other ways (files that are looked at, the admin listener).

#[cfg(unix)]
pub use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(not(unix))]
mod elsewhere;
#[cfg(not(unix))]
pub use self::elsewhere::{Signal, SignalKind, signal};
