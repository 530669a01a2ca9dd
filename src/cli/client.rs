//! `soproxy client`: API keys for those who may call.

use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use super::{CliError, say};
use crate::proxy::clients::ApiKey;

/// What `soproxy client` takes.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an API key, and print it with the configuration lines that let its holder in
    ///
    /// The key is printed this once and kept nowhere; the configuration has its SHA-256 only.
    New {
        /// The client's name, as it will stand in the log
        name: String,
    },
}

/// Runs it.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let Command::New { name } = args.command;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(CliError::Usage(format!("{name:?} cannot be the name of a client: use 1 to 64 letters, digits, '-', '_' and '.'")));
    }
    let key = ApiKey::random();
    let header = if name.contains('.') { format!("[clients.\"{name}\"]") } else { format!("[clients.{name}]") };
    let text = format!(
        "# Give this key to {name}; it is shown this once. It is sent as `Authorization: Bearer KEY`, as `X-Api-Key: KEY`,\n\
         # or as the password of Basic authentication, with any user name.\n\
         # {}\n\
         \n\
         # And put this into proxy.toml. If {name} has a key already, add this one to its list: both are valid until the old one is removed.\n\
         # As soon as there is a client, callers without a name are refused, unless there is a section [anonymous].\n\
         {header}\n\
         keys = [\"{}\"]\n\
         # tenants = [\"Cust12345\"]\n\
         # read_only = true\n\
         # allow = [\"GET /api/v1/**\", \"POST /api/v1/Agents/*/Get*\"]\n",
        key.expose(),
        key.hash(),
    );
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}
