//! `soproxy healthcheck`: for containers that hold nothing but soproxy.

use std::path::Path;
use std::process::ExitCode;

use http::{Method, StatusCode};

use super::admin::{Client, SOON, Where};
use super::{CliError, say};

/// Arguments of `healthcheck`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask whether it is ready: whether it can serve what admin.ready_when names
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    at: Where,
}

/// Asks the admin listener for `/livez` or `/readyz`. Of the configuration only `[admin]` is read: a mistake that the
/// running proxy does not know of yet is no sign of ill health. Any failure is exit code 1, as Docker wants it.
pub async fn run(file: &Path, args: Args) -> Result<ExitCode, CliError> {
    let (client, path) = match args.ready {
        true => (Client::with_token_if_any(file, &args.at)?, "/readyz"),
        false => (Client::without_token(file, &args.at)?, "/livez"),
    };
    let mut answer = client.call(Method::GET, path, "", SOON).await.map_err(CliError::Other)?;
    if answer.status == StatusCode::UNAUTHORIZED {
        // The running proxy has another token than the file by now. Whether it is ready it tells everybody.
        answer = Client::without_token(file, &args.at)?.call(Method::GET, path, "", SOON).await.map_err(CliError::Other)?;
    }
    say(&answer.body)?;
    Ok(if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
