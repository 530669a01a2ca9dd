//! `soproxy wait` and `soproxy shutdown`: for jobs beside which soproxy runs, which begin when it is ready and end it with them.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::Value;

use super::admin::{Answer, Client, SOON, TOO_LATE, Where};
use super::operate::{ask, segment};
use super::sandbox::duration;
use super::{CliError, say};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to wait
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration)]
    timeout: Duration,
    /// Wait for this tenant, whatever admin.ready_when says
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    #[command(flatten)]
    at: Where,
}

/// Arguments of `shutdown`.
#[derive(Debug, clap::Args)]
pub struct ShutdownArgs {
    /// Return only when it has stopped
    #[arg(long)]
    wait: bool,
    /// How long to wait for that
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    at: Where,
}

/// Returns when the proxy is ready. What may pass by itself is waited out: nobody listens yet, no ticket, no such tenant.
pub async fn wait(file: &Path, args: Args) -> Result<ExitCode, CliError> {
    let mut client = Client::new(file, &args.at)?;
    let path = match &args.tenant {
        Some(name) => format!("/readyz/{}", segment(name)?),
        None => "/readyz".to_owned(),
    };
    let started = Instant::now();
    loop {
        let left = args.timeout.saturating_sub(started.elapsed());
        let why = match client.call(Method::GET, &path, "", left.clamp(LOOK, SOON)).await {
            Ok(answer) if answer.status.is_success() => return Ok(ExitCode::SUCCESS),
            // The running proxy has another token than the file by now. Whether it is ready it tells everybody.
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && args.tenant.is_none() && client.shows_token() => {
                client = Client::without_token(file, &args.at)?;
                continue;
            }
            // No time will change that.
            Ok(answer) if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(CliError::Other(answer.error()));
            }
            Ok(answer) => reason(&answer),
            Err(why) => why,
        };
        if started.elapsed() >= args.timeout {
            return Err(CliError::Other(format!("not ready within {:?}: {why}", args.timeout)));
        }
        tokio::time::sleep(LOOK.min(left)).await;
    }
}

/// Why it is not ready.
fn reason(answer: &Answer) -> String {
    let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let reasons: Vec<&str> = told.get("reasons").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !reasons.is_empty() {
        return reasons.join("; ");
    }
    let member = |name: &str| answer.member(name);
    match member("reason").or_else(|| member("error")).or_else(|| member("state")) {
        Some(reason) => reason,
        None => "it says that it is not".to_owned(),
    }
}

/// Asks it to drain, and perhaps waits for its end: the admin listener is the last that it closes.
pub async fn shutdown(file: &Path, args: ShutdownArgs) -> Result<ExitCode, CliError> {
    let client = Client::new(file, &args.at)?;
    let started = Instant::now();
    ask(&client, Method::POST, "/drain", "", args.timeout.min(SOON)).await?;
    if !args.wait {
        say("draining\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    // One that is slow is still there.
    let is_there = |answer: Result<Answer, String>| answer.map_or_else(|why| why.contains(TOO_LATE), |_| true);
    let left = || args.timeout.saturating_sub(started.elapsed()).clamp(LOOK, SOON);
    while is_there(client.call(Method::GET, "/livez", "", left()).await) {
        if started.elapsed() >= args.timeout {
            return Err(CliError::Other(format!("still there after {:?}", args.timeout)));
        }
        tokio::time::sleep(LOOK).await;
    }
    say("stopped\n")?;
    Ok(ExitCode::SUCCESS)
}
