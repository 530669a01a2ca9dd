//! `soproxy status`: what `/status` tells, as a table for people or as it is.

use std::path::Path;
use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::admin::{Client, SOON, Where};
use super::check::table;
use super::operate::ask;
use super::{CliError, say};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print all of it, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// Prints it.
pub async fn run(file: &Path, args: Args) -> Result<ExitCode, CliError> {
    let answer = ask(&Client::new(file, &args.at)?, Method::GET, "/status", "", SOON).await?;
    if args.json {
        say(&answer.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = serde_json::from_str(&answer.body).map_err(|error| CliError::Other(format!("no status: {error}")))?;
    say(&shown(&status))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(status: &Value) -> String {
    let text = |name: &str| status.get(name).map(plain).unwrap_or_default();
    let number = |name: &str| status.get(name).and_then(Value::as_u64).unwrap_or(0);
    let flag = |name: &str| status.get(name).and_then(Value::as_bool).unwrap_or(false);
    let items = |name: &str| status.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines =
        format!("soproxy {}, pid {}, up {}, {}\n", text("version"), text("pid"), span(number("uptime_seconds")), text("config_file"));
    let state = match (flag("draining"), flag("ready")) {
        (true, _) => "draining".to_owned(),
        (false, true) => "ready".to_owned(),
        (false, false) => format!("not ready: {}", items("reasons").iter().map(plain).collect::<Vec<_>>().join("; ")),
    };
    lines += &format!("{state}; {} requests in flight, {} connections\n", number("requests_in_flight"), number("connections"));
    for listener in items("listeners") {
        let more = [
            listener["tls"].as_bool().unwrap_or(false).then(|| "TLS".to_owned()),
            listener.get("tenant").and_then(Value::as_str).map(|tenant| format!("for {tenant}")),
        ];
        let more: Vec<String> = more.into_iter().flatten().collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
        lines += &format!("{} at {}{more}\n", plain(&listener["serves"]).replace('_', " "), plain(&listener["address"]));
    }
    if let Some(failure) = status["reloads"].get("failure").filter(|failure| !failure.is_null()) {
        lines += &format!("the last reload failed at {}: {}\n", plain(&failure["at"]), plain(&failure["reason"]));
    }
    for warning in items("warnings") {
        lines += &format!("warning: {}\n", plain(&warning));
    }
    let mut rows = vec![["tenant", "state", "ticket", "age", "expires in", "upstream"].map(str::to_owned).to_vec()];
    let mut reasons = String::new();
    for (name, tenant) in status["tenants"].as_object().into_iter().flatten() {
        let ticket = &tenant["ticket"];
        let time = |name: &str| ticket[name].as_u64().map_or_else(|| "-".to_owned(), span);
        let generation = ticket["generation"].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        rows.push(vec![
            name.clone(),
            plain(&tenant["state"]),
            generation,
            time("age_seconds"),
            time("expires_in_seconds"),
            plain(&tenant["upstream"]),
        ]);
        if let Some(reason) = tenant.get("reason").and_then(Value::as_str) {
            reasons += &format!("{name}: {reason}\n");
        }
    }
    let gap = if reasons.is_empty() { "" } else { "\n" };
    format!("{lines}\n{}{gap}{reasons}", table(&rows))
}

/// A value without its quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Seconds, as people say them.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_for_people_tells_what_is_wrong() {
        let status = json!({
            "version": "1.2.3", "pid": 7, "uptime_seconds": 3700, "config_file": "proxy.toml", "ready": false, "draining": false,
            "reasons": ["no tenant can be served"], "requests_in_flight": 1, "connections": 2,
            "listeners": [{ "address": "127.0.0.1:1", "serves": "proxy", "tls": true, "tenant": "A" }],
            "reloads": { "failure": { "at": "then", "reason": "why" } }, "warnings": ["careful"],
            "tenants": { "A": { "state": "failing", "upstream": null, "reason": "down", "ticket": { "generation": 3, "age_seconds": 61 } } },
        });
        let shown = shown(&status);
        for line in [
            "soproxy 1.2.3, pid 7, up 1h 1m, proxy.toml",
            "not ready: no tenant can be served; 1 requests in flight, 2 connections",
            "proxy at 127.0.0.1:1 (TLS, for A)",
            "the last reload failed at then: why",
            "warning: careful",
            "A       failing  3       1m 1s  -           -",
            "A: down",
        ] {
            assert!(shown.lines().any(|have| have == line), "{line}\n{shown}");
        }
        assert_eq!([59, 86_400 * 3].map(span), ["59s", "3d 0h"]);
    }
}
