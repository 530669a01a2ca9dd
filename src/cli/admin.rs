//! The client of a running proxy's admin listener, for the commands that ask it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::CliError;
use crate::body::chain;
use crate::config::Config;

/// No answer is larger, not even with ten thousand tenants.
const LARGEST: usize = 64 << 20;

/// How long an answer may take that only tells something.
pub const SOON: Duration = Duration::from_secs(5);

/// How a failure reads when somebody is there and does not answer.
pub const TOO_LATE: &str = "no answer within";

/// How long one may take for which something is done first.
pub const PATIENT: Duration = Duration::from_secs(150);

/// Where the admin listener is, and what to show it.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The address of the admin listener, or unix:PATH; by default the configuration says it
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Place>,
    /// The file that holds admin.token; by default the configuration says it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// An address, or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On TCP.
    Tcp(SocketAddr),
    /// A file.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: is followed by the socket's path".to_owned()),
            Some(path) => Ok(Place::Unix(path.into())),
            None => text
                .parse()
                .map(Place::Tcp)
                .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8081, or unix:/run/soproxy/admin.sock".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(f, "http://{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a running proxy said.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    /// A member of the answer, if it is JSON and has it as text.
    pub fn member(&self, name: &str) -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        value.get(name)?.as_str().map(str::to_owned)
    }

    /// The sentence that says why something did not work.
    pub fn error(&self) -> String {
        self.member("error").unwrap_or_else(|| format!("HTTP {}: {}", self.status.as_u16(), self.body.trim()))
    }
}

/// Asks the admin listener.
pub struct Client {
    places: Vec<Place>,
    token: Option<SecretString>,
}

impl Client {
    /// Of the configuration only `[admin]` is read: what is wrong elsewhere in it does not matter. Shows no token.
    pub fn without_token(file: &Path, at: &Where) -> Result<Client, CliError> {
        let places = match &at.address {
            Some(place) => vec![place.clone()],
            None => {
                let found = Config::load_admin_addresses(file).map_err(|problems| CliError::Other(problems.to_string()))?;
                let tcp = found.tcp.into_iter().map(Place::Tcp);
                found.unix.into_iter().map(Place::Unix).chain(tcp).collect()
            }
        };
        if places.is_empty() {
            return Err(CliError::Other("admin.address is \"off\": there is nobody to ask".to_owned()));
        }
        Ok(Client { places: places.into_iter().map(reachable).collect(), token: None })
    }

    /// The same, with the token, if there is one.
    pub fn new(file: &Path, at: &Where) -> Result<Client, CliError> {
        let client = Client::without_token(file, at)?;
        let token = match &at.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map(Zeroizing::new);
                let text = text.map_err(|error| CliError::Other(format!("{} cannot be read: {error}", path.display())))?;
                Some(SecretString::from(text.trim()))
            }
            None => Config::load_admin_token(file).map_err(|problems| CliError::Other(problems.to_string()))?,
        };
        Ok(Client { token, ..client })
    }

    /// Whether it shows one.
    pub fn shows_token(&self) -> bool {
        self.token.is_some()
    }

    /// The same; when the token cannot be had, it goes without.
    pub fn with_token_if_any(file: &Path, at: &Where) -> Result<Client, CliError> {
        Client::new(file, at).or_else(|_| Client::without_token(file, at))
    }

    /// One request to the first place where somebody answers. `Err`: nobody does.
    pub async fn call(&self, method: Method, path: &str, body: &str, limit: Duration) -> Result<Answer, String> {
        let mut failure = String::new();
        for place in &self.places {
            match tokio::time::timeout(limit, self.ask(place, &method, path, body)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failure = format!("{place}{path}: {error}"),
                Err(_) => failure = format!("{place}{path}: {TOO_LATE} {limit:?}"),
            }
        }
        Err(failure)
    }

    async fn ask(&self, place: &Place, method: &Method, path: &str, body: &str) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(path);
        request = match place {
            Place::Tcp(address) => request.header(HOST, address.to_string()),
            Place::Unix(_) => request.header(HOST, "localhost"),
        };
        if let Some(token) = &self.token {
            let line = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
            let mut line = HeaderValue::from_str(&line).map_err(|_| "the token holds characters that no header can carry".to_owned())?;
            line.set_sensitive(true);
            request = request.header(AUTHORIZATION, line);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).map_err(|error| error.to_string())?;
        match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| format!("cannot be reached: {error}"))?;
                exchange(stream, request).await
            }
            #[cfg(unix)]
            Place::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                exchange(stream.map_err(|error| format!("cannot be reached: {error}"))?, request).await
            }
            #[cfg(not(unix))]
            Place::Unix(_) => Err("this system has no Unix sockets".to_owned()),
        }
    }
}

/// One request and its answer, on a connection of its own.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?.to_bytes();
    driver.abort();
    Ok(Answer { status: head.status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// An address that listens everywhere is asked on this machine.
fn reachable(place: Place) -> Place {
    let Place::Tcp(address) = place else { return place };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Place::Tcp(SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_addresses_or_sockets() {
        assert_eq!("127.0.0.1:1".parse(), Ok(Place::Tcp("127.0.0.1:1".parse().unwrap())));
        assert_eq!("unix:/run/s".parse(), Ok(Place::Unix("/run/s".into())));
        for wrong in ["unix:", "localhost:1", "127.0.0.1", "/run/s"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
        let everywhere = ["0.0.0.0:7", "[::]:7"].map(|text| reachable(text.parse().unwrap()).to_string());
        assert_eq!(everywhere, ["http://127.0.0.1:7", "http://[::1]:7"]);
    }
}
