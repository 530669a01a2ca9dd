//! The subscriber, and the one access record per request: to standard error, or to a file.

mod access;
pub mod file;
mod line;
mod query;
mod spans;
mod writer;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

pub use self::access::AccessRecord;
pub use self::line::Style;
pub use self::query::Query;
pub use self::writer::{AccessLog, Sink, Stream, Writer};

/// `log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people on a terminal, for programs everywhere else.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// What it comes to on a terminal, or elsewhere.
    pub fn is_json(self, terminal: bool) -> bool {
        match self {
            Format::Auto => !terminal,
            Format::Text => false,
            Format::Json => true,
        }
    }

    /// What it comes to on this process's standard error.
    pub fn is_json_here(self) -> bool {
        self.is_json(std::io::stderr().is_terminal())
    }
}

/// Sets up logging to standard error. `level` is a level or a list of `EnvFilter` directives. On failure, why the
/// directives cannot be read; a subscriber that is already there stays.
///
/// With a `file`, all lines go there, and standard error has warnings and errors only, besides what this room says of the log itself.
pub fn init(level: &str, format: Format, file: Option<Arc<Writer>>) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    let (filter, handle) = reload::Layer::new(filter);
    let stderr: BoxMakeWriter = match file {
        Some(_) => BoxMakeWriter::new(std::io::stderr.with_filter(|line| *line.level() <= Level::WARN || line.target() == HERE)),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let stderr = layer(stderr, format.is_json_here(), std::io::stderr().is_terminal());
    let file = file.map(|writer| layer(Events(writer), format.is_json(false), false));
    // Only the first subscriber counts: a second one (in tests, mostly) is no failure.
    let first = tracing_subscriber::registry().with(filter).with(stderr).with(file).try_init();
    if first.is_ok() {
        *FILTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        look_whether_wanted();
    }
    Ok(())
}

fn layer<S, W>(writer: W, json: bool, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours && !json);
    if json { layer.json().flatten_event(true).boxed() } else { layer.boxed() }
}

/// What lines of this room are called.
const HERE: &str = module_path!();

/// Says where the log goes, there and on standard error.
pub fn goes_to(file: &file::Settings) {
    tracing::info!(target: HERE, file = %file.path.display(), "the log goes to a file; warnings and errors come here as well");
}

/// Hands lines to the writing thread.
struct Events(Arc<Writer>);

impl<'writer> MakeWriter<'writer> for Events {
    type Writer = &'writer Writer;

    fn make_writer(&'writer self) -> &'writer Writer {
        &self.0
    }
}

/// The filter of this process's subscriber, which is global, and so is this.
static FILTER: Mutex<Option<reload::Handle<EnvFilter, Registry>>> = Mutex::new(None);

/// Whether that filter lets access records through: they are written past it, for they are many.
static WANTED: AtomicBool = AtomicBool::new(true);

/// How many lines nobody will read.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Which lines are logged from now on, as in [`init`]. On failure, why not; then nothing changes.
pub fn set_level(level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    match &*FILTER.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(handle) => handle.reload(filter).map_err(|error| error.to_string())?,
        None => return Err("nothing is logged by this process".to_owned()),
    }
    look_whether_wanted();
    Ok(())
}

/// Which lines are logged, as directives.
pub fn level() -> Option<String> {
    let handle = FILTER.lock().unwrap_or_else(PoisonError::into_inner);
    handle.as_ref().and_then(|handle| handle.with_current(ToString::to_string).ok())
}

/// How many lines of the log were lost since the start: nobody read them fast enough, or the disk took none.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

fn lose(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

fn look_whether_wanted() {
    WANTED.store(tracing::enabled!(target: "access", Level::INFO), Ordering::Relaxed);
}

fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Has panics told by the place where they happen, not by their words, which may quote what they stumbled over.
pub fn panics_by_place() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name().unwrap_or_default(), "panic");
    }));
}

/// For a process that is asked to open its log anew, and one whose file may not grow any more.
#[cfg(unix)]
pub fn follow_signals(writer: Option<Arc<Writer>>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut reopen = signal(SignalKind::user_defined1())?;
    // A limit on the size of files (ulimit -f) is told by this signal, which would end the process, and by an error as well.
    let too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    tokio::spawn(async move {
        let _too_large = too_large;
        while reopen.recv().await.is_some() {
            match &writer {
                Some(writer) => {
                    tracing::info!("SIGUSR1: the log file is opened anew");
                    writer.reopen();
                }
                None => tracing::info!("SIGUSR1: the log goes to standard error, there is no file to open anew"),
            }
        }
    });
    Ok(())
}

/// There are no such signals.
#[cfg(not(unix))]
pub fn follow_signals(_: Option<Arc<Writer>>) -> std::io::Result<()> {
    Ok(())
}
