//! `soproxy healthcheck`: for containers that hold nothing but soproxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use http::Request;

use super::{CliError, say};
use crate::body::empty;
use crate::config::Config;
use crate::superoffice::http::Caller;
use crate::upstream::{Timeouts, Upstream, tls};

const LIMIT: Duration = Duration::from_secs(5);

/// Asks the admin listener of the configuration for `/livez` or `/readyz`.
pub async fn run(config: &Config, ready: bool) -> Result<ExitCode, CliError> {
    let Some(admin) = &config.admin else {
        return Err(CliError::Other("admin.address is \"off\": there is nobody to ask".to_owned()));
    };
    let path = if ready { "/readyz" } else { "/livez" };
    let tls = tls::no_roots().map_err(|error| CliError::Other(error.to_string()))?;
    let caller = Caller::new(Upstream::new(tls, Timeouts { connect: LIMIT, response: LIMIT, idle: LIMIT }), LIMIT);
    let mut failure = String::new();
    for &address in &admin.addresses {
        let url = format!("http://{}{path}", reachable(address));
        let request = Request::get(&url).body(empty()).map_err(|error| CliError::Other(error.to_string()))?;
        match caller.call(request).await {
            Ok(answer) => {
                say(&String::from_utf8_lossy(&answer.body))?;
                return Ok(if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Err(error) => failure = format!("{url}: {error}"),
        }
    }
    Err(CliError::Other(failure))
}

/// An address that listens everywhere is asked on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
