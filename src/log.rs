//! The subscriber, and the one access record per request.

mod access;
mod line;
mod writer;

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

pub use self::access::AccessRecord;
pub use self::writer::AccessLog;

/// Sets up logging to standard error. `level` is a level or a list of `EnvFilter` directives. On failure, why the
/// directives cannot be read; a subscriber that is already there stays.
pub fn init(level: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    let (filter, handle) = reload::Layer::new(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    // Only the first subscriber counts: a second one (in tests, mostly) is no failure.
    let first = if json { registry.with(layer.json().flatten_event(true)).try_init() } else { registry.with(layer).try_init() };
    if first.is_ok() {
        *FILTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }
    Ok(())
}

/// The filter of this process's subscriber, which is global, and so is this.
static FILTER: Mutex<Option<reload::Handle<EnvFilter, Registry>>> = Mutex::new(None);

/// Which lines are logged from now on, as in [`init`]. On failure, why not; then nothing changes.
pub fn set_level(level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    match &*FILTER.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(handle) => handle.reload(filter).map_err(|error| error.to_string()),
        None => Err("nothing is logged by this process".to_owned()),
    }
}

/// Which lines are logged, as directives.
pub fn level() -> Option<String> {
    let handle = FILTER.lock().unwrap_or_else(PoisonError::into_inner);
    handle.as_ref().and_then(|handle| handle.with_current(ToString::to_string).ok())
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
