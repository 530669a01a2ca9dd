//! A tunnel through a proxy: CONNECT (RFC 9110 §9.3.6), or SOCKS 5. The proxy is told host and port, and who we are to it;
//! nothing else is sent before TLS with the origin begins.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use super::proxy::{Login, Proxy};
use crate::body::chain;

/// The largest head that a proxy's answer may have.
const HEAD: usize = 16 * 1024;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum NoTunnel {
    /// 407 to a request without credentials.
    #[error("the proxy wants credentials (407)")]
    WantsCredentials,
    /// 407 to one with.
    #[error("the proxy does not accept these credentials (407)")]
    RefusesCredentials,
    /// Any other status.
    #[error("the proxy answered CONNECT with {0}")]
    Status(StatusCode),
    /// No HTTP, too much of it, or the end of the connection.
    #[error("no usable answer to CONNECT: {0}")]
    Unusable(String),
    /// TLS begins with us: what comes before is not the origin's.
    #[error("the proxy sent {0} bytes of its own behind its answer to CONNECT")]
    Early(usize),
    /// Of SOCKS.
    #[error("{0}")]
    Socks(String),
}

/// `host` with IPv6 addresses in brackets. Gives the stream back, which is the origin's from now on.
pub async fn connect<S>(stream: S, proxy: &Proxy, host: &str, port: u16) -> Result<S, NoTunnel>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unusable = |error: hyper::Error| NoTunnel::Unusable(chain(&error));
    let authority = format!("{host}:{port}");
    let mut request = Request::connect(&authority).header(HOST, &authority);
    if let Some(authorization) = proxy.authorization() {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| NoTunnel::Unusable(error.to_string()))?;
    let mut http = http1::Builder::new();
    http.title_case_headers(true).max_buf_size(HEAD);
    let (mut sender, mut connection) = http.handshake(TokioIo::new(stream)).await.map_err(unusable)?;
    let mut answer = pin!(sender.send_request(request));
    let mut ended = false;
    let answer = std::future::poll_fn(|cx| {
        // How it ended is told to whoever waits for the answer.
        ended = ended || connection.poll_without_shutdown(cx).is_ready();
        answer.as_mut().poll(cx)
    });
    let status = answer.await.map_err(unusable)?.status();
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED if proxy.login().is_some() => return Err(NoTunnel::RefusesCredentials),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(NoTunnel::WantsCredentials),
        // To hyper, HTTP goes on behind a 204.
        status if !status.is_success() || status == StatusCode::NO_CONTENT => return Err(NoTunnel::Status(status)),
        _ => {}
    }
    if !ended {
        std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await.map_err(unusable)?;
    }
    let parts = connection.into_parts();
    match parts.read_buf.len() {
        0 => Ok(parts.io.into_inner()),
        early => Err(NoTunnel::Early(early)),
    }
}

/// The same by SOCKS 5. The proxy looks the name up.
pub async fn socks<S>(stream: S, proxy: &Proxy, host: &str, port: u16) -> Result<S, NoTunnel>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let fail = |error: &dyn std::fmt::Display| NoTunnel::Socks(error.to_string());
    let to =
        Uri::builder().scheme("https").authority(format!("{host}:{port}")).path_and_query("/").build().map_err(|error| fail(&error))?;
    // Where the proxy is matters no more: the connection to it is there.
    let mut socks = SocksV5::new(Uri::from_static("/"), Connected(Some(TokioIo::new(stream))));
    if let Some(Login { user, password }) = proxy.login() {
        socks = socks.with_auth(user.clone(), password.expose_secret().to_owned());
    }
    socks.call(to).await.map(TokioIo::into_inner).map_err(|error| fail(&error))
}

/// A connector that has connected before, and once.
struct Connected<S>(Option<S>);

impl<S: Send + 'static> Service<Uri> for Connected<S> {
    type Response = S;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take();
        Box::pin(async move {
            match stream {
                Some(stream) => Ok(stream),
                None => std::future::pending().await,
            }
        })
    }
}
