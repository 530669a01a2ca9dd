//! `soproxy sandbox`: the embedded SuperOffice Online, and the proxy in front of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::{CliError, prepare_log, say, serve};
use crate::app::App;
use crate::config::Config;
use crate::sandbox::{self, Faults, Options, Sandbox, demo};
use crate::server::Handed;
use crate::{log, reload, shutdown};

/// Arguments of `sandbox`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run the embedded SuperOffice Online alone, for testing other programs
    #[arg(long)]
    only: bool,
    /// Write the proxy.toml, keys and secrets that `soproxy run` needs against it, and stop
    #[arg(long, value_name = "DIR", conflicts_with_all = ["only", "listen", "admin", "fault", "push_to"])]
    write_config: Option<PathBuf>,
    /// Where the embedded SuperOffice Online listens
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    address: SocketAddr,
    /// Where the proxy listens
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the proxy's /livez and /readyz are
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    admin: SocketAddr,
    /// How long a ticket lives after its last use: 6h, 90s
    #[arg(long, default_value = "6h", value_name = "DURATION", value_parser = duration)]
    ticket_lifetime: Duration,
    /// How far the embedded service's clock is ahead (or, with a minus, behind): 5m, -90s
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = signed_duration, allow_hyphen_values = true)]
    clock_skew: SignedDuration,
    /// How long each call of the web API takes
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    latency: Option<Duration>,
    /// A fault, such as login=down, login.refuse.code=Revoked, unauthorized=always, state.Cust12345=Suspended,
    /// moved.Cust12345=null, valid_for=2s, coding=gzip, jwt=bad_signature; may be given several times.
    /// The module page of sandbox::faults lists all; GET /_sandbox/faults shows them
    #[arg(long, value_name = "NAME=VALUE", value_parser = fault)]
    fault: Vec<String>,
    /// A State Change URL: where each move and each new state of a tenant is pushed to, as SuperOffice does
    #[arg(long, value_name = "URL", value_parser = push_url)]
    push_to: Option<String>,
}

fn push_url(text: &str) -> Result<String, String> {
    sandbox::push::check_url(text).map(|_| text.to_owned())
}

fn fault(text: &str) -> Result<String, String> {
    Faults::default().set(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn signed_duration(text: &str) -> Result<SignedDuration, String> {
    text.parse().map_err(|error: jiff::Error| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    Duration::try_from(signed_duration(text)?).map_err(|_| "a duration that is not negative".to_owned())
}

/// Runs the sandbox until a signal says stop.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let origin = format!("http://{}", args.address);
    if let Some(dir) = &args.write_config {
        return write_config(dir, &origin, args.address);
    }
    let mut faults = Faults::default();
    for fault in &args.fault {
        faults.set(fault).map_err(|error| CliError::Usage(error.to_string()))?;
    }
    if let Some(latency) = args.latency {
        faults.latency = latency;
    }
    let (ticket_lifetime, clock_skew, push_to) = (args.ticket_lifetime, args.clock_skew, args.push_to.clone());
    let options = Options { ticket_lifetime, clock_skew, faults, push_to, ..Options::default() };
    reload::ignore_hangup()?;
    let stop = CancellationToken::new();
    let bound = |error: std::io::Error| CliError::Other(format!("the sandbox cannot listen on {}: {error} (see --address)", args.address));
    let sandbox = sandbox::start(options, args.address, stop.clone()).await.map_err(bound)?;
    if args.only {
        log::init("info", false).map_err(CliError::Other)?;
        say(&alone(&sandbox))?;
        shutdown::first_signal()?.cancelled().await;
        stop.cancel();
        return Ok(ExitCode::SUCCESS);
    }
    let config = proxy_config(&args, &sandbox)?;
    prepare_log(&config)?;
    let code = serve(Handed::default(), config, None, |app| say(&invitation(app, &sandbox))).await;
    stop.cancel();
    code
}

fn write_config(dir: &Path, origin: &str, address: SocketAddr) -> Result<ExitCode, CliError> {
    let files: Vec<String> = demo::write_config(dir, origin)?.iter().map(|file| format!("{}\n", file.display())).collect();
    let next =
        format!("\nnow: soproxy sandbox --only --address {address} &\n     soproxy run --config {}\n", dir.join("proxy.toml").display());
    say(&(files.concat() + &next))?;
    Ok(ExitCode::SUCCESS)
}

/// The demo configuration, in memory. Of the environment only the log's and the listeners' settings apply: whatever else is
/// set there is meant for a real configuration.
fn proxy_config(args: &Args, sandbox: &Sandbox) -> Result<Config, CliError> {
    let text = demo::proxy_toml(sandbox.base(), &args.listen.to_string(), &args.admin.to_string());
    let mut settings: Vec<(String, String)> = std::env::vars().filter(|(name, _)| applies(name)).collect();
    settings.push(("SOPROXY_RENEWAL__LIFETIME".to_owned(), format!("{}ms", args.ticket_lifetime.as_millis())));
    // Where a tenant is after the move that the invitation proposes; the sandbox's own address is allowed anyhow.
    let other = sandbox.other_base().trim_start_matches("http://").to_owned();
    settings.push(("SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS".to_owned(), other));
    let mut config = Config::parse(&text, Path::new("sandbox.toml"), settings)?;
    // The demo's own RSA-1024 key is on purpose.
    config.warnings.retain(|warning| !warning.key.ends_with("private_key"));
    Ok(config)
}

fn applies(variable: &str) -> bool {
    ["SOPROXY_LOG__", "SOPROXY_LISTEN__", "SOPROXY_ADMIN__"].iter().any(|section| variable.starts_with(section))
}

fn invitation(app: &App, sandbox: &Sandbox) -> String {
    let proxy = app.addresses().first().map(ToString::to_string).unwrap_or_default();
    let admin = app.admin_addresses().first().map(ToString::to_string).unwrap_or_default();
    let (tenant, second, base) = (demo::TENANT, demo::SECOND_TENANT, sandbox.base());
    format!(
        "
An embedded SuperOffice Online is at {base}, and soproxy in front of it at http://{proxy}.
Try, in another terminal:

  curl http://{proxy}/{tenant}/api/v1/User/currentPrincipal
  curl 'http://{proxy}/{tenant}/api/v1/Contact?$select=name,country&$top=3'
  curl http://{proxy}/{second}/api/v1/Person/1
  curl -X PUT --data-binary @/bin/sh http://{proxy}/{tenant}/api/v1/Document/1/Content
  curl http://{admin}/readyz

What SuperOffice would say without soproxy:

  curl -i {base}/{tenant}/api/v1/User/currentPrincipal

Faults on demand:

  curl -X POST {base}/_sandbox/revoke-tickets
  curl -X POST {base}/_sandbox/faults -d '{{\"login\": \"down\"}}'
  curl -X POST {base}/_sandbox/faults -d '{{\"moved\": {{\"{tenant}\": null}}}}'
  curl -X DELETE {base}/_sandbox/faults

Ctrl-C stops both.

"
    )
}

fn alone(sandbox: &Sandbox) -> String {
    let (base, tenant, second) = (sandbox.base(), demo::TENANT, demo::SECOND_TENANT);
    format!(
        "An embedded SuperOffice Online is at {base}, with the tenants {tenant} and {second}.

  WSDL of the login service  {base}/login/services/PartnerSystemUserService.svc?wsdl
  its REST twin              {base}/Login/api/PartnerSystemUser/Authenticate
  its public keys            {base}/login/.well-known/jwks
  tenant state               {base}/api/state/{tenant}
  web API                    {base}/{tenant}/api/v1/
  faults on demand           {base}/_sandbox/faults

Keys and secrets of the demo applications: soproxy sandbox --write-config DIR
"
    )
}
