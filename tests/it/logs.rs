//! What the proxy logs while a test runs. The subscriber is the test thread's own: tests' runtimes have one thread each.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soproxy::log::AccessLog;
use tracing::level_filters::LevelFilter;
use tracing::span::{self, Attributes, Id};
use tracing::subscriber::DefaultGuard;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::bench::Setup;

pub struct Logs {
    text: Sink,
    _subscriber: DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logs {
    /// Everything, down to what the libraries trace.
    pub fn capture() -> Logs {
        // Fails for all but the first, who has done it.
        let _ = tracing::subscriber::set_global_default(Undecided);
        let text = Sink::default();
        let sink = text.clone();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(move || sink.clone()).finish();
        Logs { text, _subscriber: tracing::subscriber::set_default(subscriber) }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.0.lock().unwrap()).into_owned()
    }

    /// The lines at WARN.
    pub fn warnings(&self) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect()
    }
}

/// Hears nothing, and keeps `tracing` from deciding once and for all that nobody wants a line: what it has decided at a moment when no
/// test listened may outlast that moment, when tests on other threads begin and end.
struct Undecided;

impl Subscriber for Undecided {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The access records of a bench with one worker.
pub struct Records(Sink);

impl Records {
    pub fn of(setup: &mut Setup) -> Records {
        let text = Sink::default();
        setup.access_log = Some(AccessLog::start(1, false, text.clone()).unwrap());
        Records(text)
    }

    /// Everything, once a record with this text is there; without one when none comes within five seconds.
    pub async fn with(&self, text: &str) -> String {
        let mut all = String::new();
        for _ in 0..500 {
            all = String::from_utf8_lossy(&self.0.0.lock().unwrap()).into_owned();
            if all.contains(text) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        all
    }
}
