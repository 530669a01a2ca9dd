//! How the servers' log is set up, and what the command line says of it.

use std::sync::Arc;

use super::CliError;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::log::file::LogFile;
use crate::log::{self, AccessLog, Format, Stream, Style, Writer};

/// What of the log the command line says.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// What is logged: off, error, warn, info, debug, trace, or directives such as info,soproxy=debug
    ///
    /// Overrides log.level of the configuration and SOPROXY_LOG__LEVEL, also after a reload.
    #[arg(long, value_name = "LEVEL", value_parser = config::log_level)]
    log: Option<String>,
    /// How it is logged: auto (text on a terminal, JSON elsewhere), text, json
    ///
    /// Overrides log.format of the configuration and SOPROXY_LOG__FORMAT.
    #[arg(long, value_name = "FORMAT", value_parser = config::log_format)]
    log_format: Option<Format>,
}

impl Args {
    /// Says it over the configuration.
    pub fn override_in(&self, log: &mut config::Log) {
        if let Some(level) = &self.log {
            log.level.clone_from(level);
        }
        if let Some(format) = self.log_format {
            log.format = format;
        }
    }

    /// For a server that has no configuration: to standard error.
    pub fn prepare(&self) -> Result<(), CliError> {
        init(self.log.as_deref().unwrap_or("info"), self.log_format.unwrap_or_default(), None)
    }
}

/// A server's log. What is logged before it is started waits, unless it goes to standard error.
pub struct Log {
    writer: Arc<Writer>,
    settings: config::Log,
}

/// Makes no thread yet: the process may have to confine itself before.
pub fn prepare(config: &Config) -> Result<Log, CliError> {
    let settings = config.log.clone();
    let writer = Writer::new(config.listen.threads());
    let file = settings.file.as_ref();
    init(&settings.level, settings.format, file.map(|_| writer.clone()))?;
    file.into_iter().for_each(log::goes_to);
    if let Some(Err(error)) = file.map(log::file::Settings::make_directory) {
        // It is said by whoever opens the file, again and again; here it can be said why.
        tracing::error!("the log's directory cannot be made: {error}; make it, for the user that runs soproxy, and start again");
    }
    Ok(Log { writer, settings })
}

impl Log {
    /// Writes from now on.
    pub fn start(&self) -> Result<(), CliError> {
        let file = self.settings.file.clone();
        log::follow_signals(file.is_some().then(|| self.writer.clone()))?;
        match file {
            Some(file) => self.writer.start(LogFile::new(file, Clock::system()))?,
            None => self.writer.start(Stream(std::io::stderr()))?,
        }
        Ok(())
    }

    /// Where access records go.
    pub fn access(&self) -> Arc<AccessLog> {
        let config::Log { format, query, file, .. } = &self.settings;
        let json = if file.is_some() { format.is_json(false) } else { format.is_json_here() };
        AccessLog::new(self.writer.clone(), Style { json, query: *query })
    }

    /// Writes what waits.
    pub fn finish(&self) {
        self.writer.finish();
    }
}

fn init(level: &str, format: Format, file: Option<Arc<Writer>>) -> Result<(), CliError> {
    log::init(level, format, file).map_err(|error| CliError::Other(format!("log.level: {error}")))?;
    log::panics_by_place();
    Ok(())
}
