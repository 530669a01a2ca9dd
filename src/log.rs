//! The subscriber, and the one access record per request.

mod access;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

pub use self::access::{AccessLog, AccessRecord};

/// Sets up logging to standard error. `level` is a level or a list of `EnvFilter` directives. On failure, why the
/// directives cannot be read; a subscriber that is already there stays.
pub fn init(level: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal());
    // Only the first subscriber counts: a second one (in tests, mostly) is no failure.
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    Ok(())
}

/// Whether the subscriber that is set up wants access records: they are written past it, for they are many.
pub fn wants_access() -> bool {
    tracing::enabled!(target: "access", tracing::Level::INFO)
}

/// Has panics told by the place where they happen, not by their words, which may quote what they stumbled over.
pub fn panics_by_place() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name().unwrap_or_default(), "panic");
    }));
}
