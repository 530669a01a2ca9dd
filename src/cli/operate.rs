//! `soproxy reload`, `renew` and `log-level`: what a running proxy can be asked to do.

use std::path::Path;
use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::admin::{Answer, Client, PATIENT, SOON, Where};
use super::{CliError, say};

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    at: Where,
}

/// Arguments of `renew`.
#[derive(Debug, clap::Args)]
pub struct RenewArgs {
    /// The tenant's name in the configuration
    tenant: String,
    /// Drop its ticket instead, also from the store; the next request fetches another
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    at: Where,
}

/// Arguments of `log-level`.
#[derive(Debug, clap::Args)]
pub struct LogLevelArgs {
    /// off, error, warn, info, debug, trace, or directives such as info,soproxy=debug; `configured` is what the configuration said
    level: Option<String>,
    #[command(flatten)]
    at: Where,
}

/// Prints what the reload changed.
pub async fn reload(file: &Path, args: ReloadArgs) -> Result<ExitCode, CliError> {
    let answer = ask(&Client::new(file, &args.at)?, Method::POST, "/reload", "").await?;
    let report: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let lines = |member: &str, after: &str| -> String {
        let list = report.get(member).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(|line| format!("{line}{after}\n")).collect()
    };
    say(&format!("reloaded\n{}{}", lines("changes", ""), lines("at_next_start", " changed: that takes effect at the next start")))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the new ticket's generation.
pub async fn renew(file: &Path, args: RenewArgs) -> Result<ExitCode, CliError> {
    let client = Client::new(file, &args.at)?;
    // A name that is no segment of a path is nobody's.
    if !args.tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) || args.tenant.is_empty() {
        return Err(CliError::Usage(format!("{:?} cannot be the name of a tenant", args.tenant)));
    }
    let action = if args.forget { "forget" } else { "renew" };
    let answer = ask(&client, Method::POST, &format!("/tenants/{}/{action}", args.tenant), "").await?;
    let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let (tenant, number) = (&told["tenant"], |member: &str| told.get(member).and_then(Value::as_u64));
    let tenant = tenant.as_str().unwrap_or(&args.tenant);
    say(&match (number("generation"), number("forgotten")) {
        (Some(generation), _) => format!("{tenant}: ticket of generation {generation}\n"),
        (None, Some(generation)) => format!("{tenant}: ticket of generation {generation} forgotten\n"),
        (None, None) => format!("{tenant}: there is no ticket\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what is logged, perhaps after changing it.
pub async fn log_level(file: &Path, args: LogLevelArgs) -> Result<ExitCode, CliError> {
    let client = Client::new(file, &args.at)?;
    let answer = match args.level.as_deref() {
        None => ask(&client, Method::GET, "/log-level", "").await?,
        Some("configured") => ask(&client, Method::DELETE, "/log-level", "").await?,
        Some(level) => ask(&client, Method::PUT, "/log-level", level).await?,
    };
    say(&format!("{}\n", answer.member("level").unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}

/// One request whose answer must be a good one.
pub async fn ask(client: &Client, method: Method, path: &str, body: &str) -> Result<Answer, CliError> {
    let limit = if method == Method::GET { SOON } else { PATIENT };
    let answer = client.call(method, path, body, limit).await.map_err(CliError::Other)?;
    if answer.status.is_success() { Ok(answer) } else { Err(CliError::Other(answer.error())) }
}
