//! `soproxy policy learn`: rules for callers, proposed from what they did.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, say};
use crate::proxy::policy::learn::Learned;

/// What to do about rules.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Propose the smallest rules that allow what the log shows
    ///
    /// Reads access records, as text or JSON, and prints a section of the configuration for each caller. Lines that are no access
    /// record are skipped, so that a whole log can be given. Requests that the proxy refused by a rule are listed as comments.
    Learn {
        /// The log to read; - is standard input
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Only this client's rules; "anonymous" is whoever has no name
        #[arg(long, value_name = "NAME")]
        client: Option<String>,
    },
}

/// Runs it.
pub fn run(command: Command) -> Result<ExitCode, CliError> {
    let Command::Learn { from, client } = command;
    let learned = match from.as_os_str() == "-" {
        true => learn(std::io::stdin().lock())?,
        false => learn(BufReader::new(open(&from)?)).map_err(|error| CliError::Other(format!("{}: {error}", from.display())))?,
    };
    if learned.records() == 0 {
        let hint = "give it what `soproxy run` wrote to standard error, with log.level at info";
        return Err(CliError::Other(format!("{} holds no access record; {hint}", from.display())));
    }
    let known: Vec<&str> = learned.callers().map(|name| name.unwrap_or("anonymous")).collect();
    if let Some(client) = client.as_deref().filter(|client| !known.contains(client)) {
        return Err(CliError::Other(format!("no record of client {client:?} that teaches anything; there are: {}", known.join(", "))));
    }
    say(&learned.proposal(client.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<File, CliError> {
    File::open(path).map_err(|error| CliError::Other(format!("{} cannot be read: {error}", path.display())))
}

/// A log may hold anything, also what is not UTF-8.
fn learn(mut log: impl BufRead) -> std::io::Result<Learned> {
    let (mut learned, mut line) = (Learned::default(), Vec::new());
    while log.read_until(b'\n', &mut line)? > 0 {
        learned.line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(learned)
}
