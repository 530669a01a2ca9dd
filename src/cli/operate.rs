//! `soproxy reload`, `renew` and `log-level`: what a running proxy can be asked to do.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

use super::admin::{Answer, Client, PATIENT, SOON, Where};
use super::{CliError, say};

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    at: Where,
}

/// Arguments of `renew` and `forget`.
#[derive(Debug, clap::Args)]
pub struct TenantArgs {
    /// The tenant's name in the configuration
    tenant: String,
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
    let answer = ask(&Client::new(file, &args.at)?, Method::POST, "/reload", "", PATIENT).await?;
    let report: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let lines = |member: &str, after: &str| -> String {
        let list = report.get(member).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(|line| format!("{line}{after}\n")).collect()
    };
    say(&format!("reloaded\n{}{}", lines("changes", ""), lines("at_next_start", " changed: that takes effect at the next start")))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the new ticket's generation.
pub async fn renew(file: &Path, args: TenantArgs) -> Result<ExitCode, CliError> {
    let told = tell(file, &args, "renew").await?;
    let generation = told.get("generation").and_then(Value::as_u64).unwrap_or_default();
    say(&format!("{}: a ticket of generation {generation}\n", named(&told, &args)))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was forgotten.
pub async fn forget(file: &Path, args: TenantArgs) -> Result<ExitCode, CliError> {
    let told = tell(file, &args, "forget").await?;
    let what = match told.get("forgotten").and_then(Value::as_u64) {
        Some(generation) => format!("the ticket of generation {generation} is forgotten"),
        None => "there was no ticket".to_owned(),
    };
    say(&format!("{}: {what}\n", named(&told, &args)))?;
    Ok(ExitCode::SUCCESS)
}

/// Has something done with a tenant.
async fn tell(file: &Path, args: &TenantArgs, action: &str) -> Result<Value, CliError> {
    let tenant = segment(&args.tenant)?;
    let answer = ask(&Client::new(file, &args.at)?, Method::POST, &format!("/tenants/{tenant}/{action}"), "", PATIENT).await?;
    Ok(serde_json::from_str(&answer.body).unwrap_or_default())
}

/// The tenant, as its table spells it.
fn named<'t>(told: &'t Value, args: &'t TenantArgs) -> &'t str {
    told.get("tenant").and_then(Value::as_str).unwrap_or(&args.tenant)
}

/// A tenant's name, as a segment of a path: what cannot be one is nobody's name.
pub fn segment(tenant: &str) -> Result<&str, CliError> {
    let good = !tenant.is_empty() && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if good { Ok(tenant) } else { Err(CliError::Usage(format!("{tenant:?} cannot be the name of a tenant"))) }
}

/// Prints what is logged, perhaps after changing it.
pub async fn log_level(file: &Path, args: LogLevelArgs) -> Result<ExitCode, CliError> {
    let client = Client::new(file, &args.at)?;
    let answer = match args.level.as_deref() {
        None => ask(&client, Method::GET, "/log-level", "", SOON).await?,
        Some("configured") => ask(&client, Method::DELETE, "/log-level", "", SOON).await?,
        Some(level) => ask(&client, Method::PUT, "/log-level", level, SOON).await?,
    };
    say(&format!("{}\n", answer.member("level").unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}

/// One request whose answer must be a good one, and come within `limit`.
pub async fn ask(client: &Client, method: Method, path: &str, body: &str, limit: Duration) -> Result<Answer, CliError> {
    let answer = client.call(method, path, body, limit).await.map_err(CliError::Other)?;
    match answer.status {
        status if status.is_success() => Ok(answer),
        StatusCode::UNAUTHORIZED if client.shows_token() => Err(CliError::Other(
            "the running proxy has another admin.token than the one that was shown (by --token-file, or the configuration): if it has not read \
             that yet, wait a second, or send it SIGHUP"
                .to_owned(),
        )),
        StatusCode::UNAUTHORIZED => {
            Err(CliError::Other("this takes the proxy's admin.token: --token-file FILE, or --config with the file that has it".to_owned()))
        }
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Err(CliError::Usage(answer.error())),
        _ => Err(CliError::Other(answer.error())),
    }
}
