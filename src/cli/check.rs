//! `soproxy check`: everything that `run` would use, as a table for people and an exit code for scripts.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, Request};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{CliError, say};
use crate::app::Backplane;
use crate::body::empty;
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::proxy::{headers, target};
use crate::superoffice::http::Caller;
use crate::superoffice::tenant::Granted;
use crate::ticket::Ticket;

/// Loads the configuration, wires every tenant, and with `online` tries each one.
pub async fn run(file: &Path, online: bool) -> Result<ExitCode, CliError> {
    let config = Config::load(file)?;
    let mut backplane = Backplane::new(&config, Clock::system())?;
    let mut rows = vec![heading(online)];
    let mut good = true;
    for tenant in &config.tenants {
        let login = backplane.tenant(&config, tenant)?;
        let mut row = vec![tenant.name.clone(), tenant.context.to_string(), tenant.login_url.to_string(), key(tenant)];
        if online {
            let started = Instant::now();
            match login.obtain(&|_| {}).await {
                Ok(granted) => {
                    row.push(format!("ok, {} ms", started.elapsed().as_millis()));
                    let caller = Caller::new(backplane.upstream().clone(), config.upstream.response_timeout);
                    row.push(call(&caller, tenant, granted).await.unwrap_or_else(|failure| {
                        good = false;
                        format!("FAILED: {failure}")
                    }));
                }
                Err(failure) => {
                    good = false;
                    row.push(format!("FAILED: {}", failure.log));
                    row.push("not tried".to_owned());
                }
            }
        }
        rows.push(row);
    }
    say(&table(&rows))?;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let addresses: Vec<String> = config.listen.addresses.iter().map(ToString::to_string).collect();
    say(&format!("{}: {} tenant(s), would listen on {}\n", file.display(), config.tenants.len(), addresses.join(" and ")))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn heading(online: bool) -> Vec<String> {
    let columns: &[&str] = if online {
        &["tenant", "context", "login service", "key", "exchange", "web API"]
    } else {
        &["tenant", "context", "login service", "key"]
    };
    columns.iter().map(ToString::to_string).collect()
}

fn key(tenant: &Tenant) -> String {
    format!("RSA-{}", tenant.signing_key.bits())
}

/// One `User/currentPrincipal`: any 2xx is good.
async fn call(caller: &Caller, tenant: &Tenant, granted: Granted) -> Result<String, String> {
    let ticket = Ticket {
        authorization: granted.grant.authorization,
        base: granted.grant.base,
        generation: 1,
        issued: Clock::system().now(),
        after_refusal: false,
    };
    let app_token =
        HeaderValue::from_str(tenant.client_secret.expose_secret()).map_err(|_| "client_secret cannot be sent in a header".to_owned())?;
    let mut lines = HeaderMap::new();
    lines.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers::inject(&mut lines, &ticket, &app_token);
    let mut request = Request::new(empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = target::upstream_uri(&ticket.base, "/v1/User/currentPrincipal", None).map_err(|error| error.to_string())?;
    *request.headers_mut() = lines;
    let started = Instant::now();
    let answer = caller.call(request).await.map_err(|error| format!("{} {error}", ticket.base))?;
    let status = answer.status;
    if !status.is_success() {
        return Err(format!("{} answers HTTP {}", ticket.base, status.as_u16()));
    }
    let name = principal(&answer.body).map(|name| format!(" as {name}")).unwrap_or_default();
    Ok(format!("ok{name}, {} ms, {}", started.elapsed().as_millis(), ticket.base))
}

/// The name in the answer, when there is one.
fn principal(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    ["FullName", "Associate", "UserName", "Name", "EMailAddress"].into_iter().find_map(text)
}

/// Columns as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(table(&[row(["tenant", "key"]), row(["Cust12345", "ok"])]), "tenant     key\nCust12345  ok\n");
    }

    #[test]
    fn a_principal_has_a_name_or_not() {
        assert_eq!(principal(br#"{"FullName":"","Associate":"SYS"}"#).as_deref(), Some("SYS"));
        assert_eq!(principal(b"null"), None);
        assert_eq!(principal(b"<x/>"), None);
    }
}
