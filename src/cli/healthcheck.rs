//! `soproxy healthcheck`: for containers that hold nothing but soproxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use http::Request;

use super::{CliError, say};
use crate::body::empty;
use crate::config::Config;
use crate::superoffice::http::Caller;
use crate::upstream::proxies::Proxies;
use crate::upstream::{Settings, Upstream, tls};

const LIMIT: Duration = Duration::from_secs(5);

/// Arguments of `healthcheck`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask whether it is ready: whether any tenant can be served
    #[arg(long)]
    ready: bool,
    /// The address of /livez and /readyz; by default the configuration says it
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
}

/// Asks the admin listener for `/livez` or `/readyz`. Of the configuration only its address is read: a mistake that the
/// running proxy does not know of yet is no sign of ill health. Any failure is exit code 1, as Docker wants it.
pub async fn run(file: &Path, args: Args) -> Result<ExitCode, CliError> {
    let addresses = match args.address {
        Some(address) => vec![address],
        None => Config::load_admin_addresses(file).map_err(|problems| CliError::Other(problems.to_string()))?,
    };
    if addresses.is_empty() {
        return Err(CliError::Other("admin.address is \"off\": there is nobody to ask".to_owned()));
    }
    let path = if args.ready { "/readyz" } else { "/livez" };
    let tls = tls::no_roots().map_err(|error| CliError::Other(error.to_string()))?;
    let settings = Settings { http2: false, connect: LIMIT, tls: LIMIT, response: LIMIT, body: LIMIT, idle: LIMIT, max_age: LIMIT };
    let caller = Caller::new(Upstream::new(tls, Proxies::default(), settings, 0, Default::default()), LIMIT);
    let mut failure = String::new();
    for address in addresses {
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
