//! `soproxy check`: everything that `run` would use, as a table for people and an exit code for scripts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, Request, Version};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{CliError, say};
use crate::app::{Backplane, Wiring};
use crate::body::empty;
use crate::clock::Clock;
use crate::config::{Config, Outbound, Tenant};
use crate::proxy::{headers, target};
use crate::server;
use crate::server::unix::{Place, make_room};
use crate::store::{Store, StoreError};
use crate::superoffice::http::Caller;
use crate::superoffice::origin::AllowedBase;
use crate::superoffice::tenant::Granted;
use crate::ticket::{Grant, Ticket};

/// How many tenants are tried at once.
const AT_ONCE: usize = 8;

/// Loads the configuration, wires every tenant, and with `online` tries each one.
pub async fn run(file: &Path, online: bool) -> Result<ExitCode, CliError> {
    let config = Config::load(file)?;
    super::log_warnings()?;
    let mut backplane = Backplane::new(&config, Clock::system(), &Arc::default(), None)?;
    let caller = Caller::new(backplane.upstream().clone(), config.upstream.settings.response);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut trying = Vec::new();
    for tenant in &config.tenants {
        let wiring = backplane.tenant(&config, tenant, None, None, false)?;
        let (caller, places) = (caller.clone(), places.clone());
        let attempt = async move {
            let _place = places.acquire().await;
            try_out(&wiring, &caller).await
        };
        trying.push(online.then(|| tokio::spawn(attempt)));
    }
    let mut rows = vec![heading(online)];
    let mut failures = String::new();
    for (tenant, tried) in config.tenants.iter().zip(trying) {
        let tried = match tried {
            Some(tried) => Some(tried.await.map_err(|error| CliError::Other(error.to_string()))?),
            None => None,
        };
        let mut row = vec![tenant.name.clone(), tenant.context.to_string(), tenant.login_url.to_string(), key(tenant)];
        if let Some(Outcome { cells, failure }) = tried {
            row.extend(cells);
            if let Some(failure) = failure {
                let _ = writeln!(failures, "{}: {failure}", tenant.name);
            }
        }
        rows.push(row);
    }
    say(&table(&rows))?;
    if !failures.is_empty() {
        say(&format!("\n{failures}\n"))?;
    }
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let admin = config.admin.iter().flat_map(|admin| &admin.addresses);
    let further = config.listeners.iter().flat_map(|listener| &listener.addresses);
    let push = config.state.push_addresses.iter().flatten();
    for &address in config.listen.addresses.iter().chain(further).chain(admin).chain(push) {
        if let Err(error) = server::bind(&[address]).await {
            eprintln!("note: {error}: somebody listens there, perhaps soproxy itself");
        }
    }
    if let Some(file) = &config.log.file
        && let Err(error) = file.try_out()
    {
        eprintln!("note: the log {} cannot be written to: {error}: run would go on, and lose its lines", file.path.display());
    }
    if let Some(error) = config.store.as_deref().and_then(unusable) {
        eprintln!("note: {error}: run would go on without");
    }
    let sockets = config.listen.sockets.iter().chain(config.listeners.iter().flat_map(|listener| &listener.sockets));
    let sockets = sockets.chain(config.admin.iter().flat_map(|admin| &admin.sockets));
    for place in sockets {
        let directory = place.path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.is_dir());
        if let Some(directory) = directory {
            eprintln!(
                "note: cannot listen on {place}: there is no directory {} (systemd makes those of RuntimeDirectory=)",
                directory.display()
            );
        } else if let Err(error) = make_room(&place.path) {
            eprintln!("note: cannot listen on {place}: {error}");
        }
    }
    let named = |addresses: &[SocketAddr], sockets: &[Place], tls: bool, tenant: Option<&str>| -> Vec<String> {
        let places = addresses.iter().map(ToString::to_string).chain(sockets.iter().map(ToString::to_string));
        let (tls, whose) = (if tls { " (TLS)" } else { "" }, tenant.map(|name| format!(" (for {name})")).unwrap_or_default());
        places.map(|place| format!("{place}{tls}{whose}")).collect()
    };
    let own = named(&config.listen.addresses, &config.listen.sockets, config.listen.tls.is_some(), None).into_iter();
    let bound = config.listeners.iter().flat_map(|more| named(&more.addresses, &more.sockets, more.tls.is_some(), more.tenant.as_deref()));
    let pushes = config.state.push_addresses.iter().flatten().map(|address| format!("{address} (for state changes)"));
    let admin = config.admin.iter().flat_map(|admin| named(&admin.addresses, &admin.sockets, false, None));
    let admin = admin.map(|place| format!("{place} (for the admin listener)"));
    let addresses: Vec<String> = own.chain(bound).chain(pushes).chain(admin).collect();
    let Outbound { proxies, proxy_from, .. } = &config.outbound;
    if !proxies.is_direct() {
        say(&format!("out through {proxies} (as {proxy_from} says)\n"))?;
    }
    say(&super::run::report(&config))?;
    say(&format!("{}: {} tenant(s), to listen on {}\n", file.display(), config.tenants.len(), addresses.join(" and ")))?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why the store cannot be used. One that is in use is: by soproxy itself, probably.
fn unusable(path: &Path) -> Option<String> {
    if path.symlink_metadata().is_ok() {
        return match Store::open(path) {
            Ok(_) | Err(StoreError::Locked(_)) => None,
            Err(error) => Some(format!("{error} ({})", error.hint())),
        };
    }
    // It would be made, but `check` makes nothing.
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match Store::could_be_made_in(above) {
        Ok(()) => None,
        Err(error) => Some(format!("the store {} cannot be made in {}: {error}", path.display(), above.display())),
    }
}

/// What trying a tenant gave: the table's cells, and the reason if it failed.
struct Outcome {
    cells: [String; 2],
    failure: Option<String>,
}

/// One exchange, one call.
async fn try_out(wiring: &Wiring, caller: &Caller) -> Outcome {
    let started = Instant::now();
    let (granted, base) = match wiring.obtain(&|_| {}).await {
        Ok(obtained) => obtained,
        Err(failure) => return Outcome { cells: ["FAILED".to_owned(), "not tried".to_owned()], failure: Some(failure.log) },
    };
    let exchange = format!("ok, {} ms", started.elapsed().as_millis());
    if let Some(outage) = wiring.keeper.report().outage {
        return Outcome { cells: [exchange, outage.name.clone()], failure: Some(outage.to_string()) };
    }
    match call(caller, granted, &base).await {
        Ok(called) => Outcome { cells: [exchange, called], failure: None },
        Err(failure) => Outcome { cells: [exchange, "FAILED".to_owned()], failure: Some(failure) },
    }
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
    let bits: Vec<String> = tenant.signing_keys.iter().map(|key| format!("RSA-{}", key.bits())).collect();
    bits.join(", ")
}

/// One `User/currentPrincipal`: any 2xx is good.
async fn call(caller: &Caller, granted: Granted, base: &AllowedBase) -> Result<String, String> {
    let Grant { authorization, app_token } = granted.grant;
    let ticket = Ticket { authorization, app_token, generation: 1, issued: Clock::system().now(), after_refusal: false };
    let mut lines = HeaderMap::new();
    lines.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers::inject(&mut lines, Version::HTTP_11, &ticket);
    let mut request = Request::new(empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = target::upstream_uri(base, "/v1/User/currentPrincipal", None).map_err(|error| error.to_string())?;
    *request.headers_mut() = lines;
    let started = Instant::now();
    let answer = caller.call(request).await.map_err(|error| format!("{base} {error}"))?;
    let status = answer.status;
    if !status.is_success() {
        return Err(format!("{base} answers HTTP {}", status.as_u16()));
    }
    let name = principal(&answer.body).map(|name| format!(" as {name}")).unwrap_or_default();
    Ok(format!("ok{name}, {} ms, {base}", started.elapsed().as_millis()))
}

/// The name in the answer, when there is one.
fn principal(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    ["FullName", "Associate", "UserName", "Name", "EMailAddress"].into_iter().find_map(text)
}

/// Columns as wide as their widest cell.
pub(super) fn table(rows: &[Vec<String>]) -> String {
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
