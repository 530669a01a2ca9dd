//! What the proxy logs while a test runs. The subscriber is the test thread's own: tests' runtimes have one thread each.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soproxy::log::AccessLog;
use tracing::subscriber::DefaultGuard;

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
