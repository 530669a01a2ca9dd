//! New connections: name, TCP (both address families, the faster wins), a proxy's tunnel where there is one, TLS; each step
//! with its own time limit.

use std::fmt::Display;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::proxies::Proxies;
use super::proxy::{Kind, Proxy, bare};
use super::socket::{Socket, Tally};
use super::tls::Tls;
use super::{Settings, UpstreamError, pins, tunnel};
use crate::body::chain;
use crate::superoffice::origin::BaseUrl;

const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    proxies: Proxies,
    tls: TlsConnector,
    /// The same without the offer of HTTP/2: an upgrade is a matter of HTTP/1.1.
    tls_http1: TlsConnector,
    tls_proxy: TlsConnector,
    connect: Duration,
    handshake: Duration,
}

/// A connection that speaks HTTP next.
pub enum Stream {
    /// To this machine.
    Plain(Socket),
    /// Verified.
    Tls(Box<TlsStream<Socket>>),
    /// The same, through a proxy that is itself spoken to by TLS.
    Twice(Box<TlsStream<TlsStream<Socket>>>),
}

/// What the two sides agreed on.
pub struct Connected {
    /// The bytes.
    pub stream: Stream,
    /// What became of them.
    pub tally: Arc<Tally>,
    /// HTTP/2 was chosen.
    pub http2: bool,
}

type Failure<T> = std::result::Result<T, String>;

impl Connector {
    /// With `settings.http2` the TLS handshake offers it.
    pub fn new(tls: Tls, proxies: Proxies, settings: &Settings) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let offering = |mut tls: ClientConfig, protocols: &[&[u8]]| {
            tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(tls))
        };
        let protocols: &[&[u8]] = if settings.http2 { &[HTTP_2, HTTP_1] } else { &[HTTP_1] };
        Connector {
            tcp,
            proxies,
            tls: offering(tls.origin.clone(), protocols),
            tls_http1: offering(tls.origin, &[HTTP_1]),
            tls_proxy: offering(tls.proxy, &[HTTP_1]),
            connect: settings.connect,
            handshake: settings.tls,
        }
    }

    /// One connection to `origin`.
    pub async fn connect(&self, origin: &BaseUrl, http1_only: bool) -> std::result::Result<Connected, UpstreamError> {
        let tls = if http1_only { &self.tls_http1 } else { &self.tls };
        let connected = match self.proxies.to(origin) {
            None => self.directly(origin, tls).await,
            Some(proxy) => Box::pin(self.through(proxy, origin, tls)).await,
        };
        connected.map_err(UpstreamError::Unreachable)
    }

    async fn directly(&self, origin: &BaseUrl, tls: &TlsConnector) -> Failure<Connected> {
        let uri = Uri::builder().scheme(origin.scheme().clone()).authority(origin.authority().clone()).path_and_query("/");
        let uri = uri.build().map_err(|error| error.to_string())?;
        let stream = timeout(self.connect, self.tcp(uri)).await.map_err(|_| format!("no connection within {:?}", self.connect))??;
        let socket = Socket::new(stream, origin.is_https());
        let tally = socket.tally();
        if !origin.is_https() {
            return Ok(Connected { stream: Stream::Plain(socket), tally, http2: false });
        }
        let (stream, http2) = self.secured(tls, origin, socket).await?;
        Ok(Connected { stream: Stream::Tls(Box::new(stream)), tally, http2 })
    }

    /// The way to the proxy's tunnel takes no longer than any connection may; the origin's handshake comes after it.
    async fn through(&self, proxy: &Proxy, origin: &BaseUrl, tls: &TlsConnector) -> Failure<Connected> {
        let deadline = Instant::now() + self.connect;
        let failed = |why: &dyn Display| format!("proxy {proxy}: {why}");
        let late = |what: &str| failed(&format_args!("{what} within {:?}", self.connect));
        let uri = proxy.uri().map_err(|error| failed(&error))?;
        let stream = timeout_at(deadline, self.tcp(uri)).await.map_err(|_| late("no connection"))?.map_err(|why| failed(&why))?;
        let (host, port) = (origin.host(), origin.port());
        let socket = Socket::new(stream, true);
        let tally = socket.tally();
        if proxy.kind() == Kind::Https {
            let shaken = timeout_at(deadline, self.tls_proxy.connect(server_name(proxy.host())?, socket));
            let shaken = shaken.await.map_err(|_| late("no TLS handshake"))?;
            let stream = shaken.map_err(|error| failed(&format_args!("TLS: {}", chain(&error))))?;
            let tunnel = timeout_at(deadline, tunnel::connect(stream, proxy, host, port)).await.map_err(|_| late("no tunnel"))?;
            let (stream, http2) = self.secured(tls, origin, tunnel.map_err(|error| failed(&error))?).await?;
            return Ok(Connected { stream: Stream::Twice(Box::new(stream)), tally, http2 });
        }
        let tunnel = async {
            match proxy.kind() {
                Kind::Socks => tunnel::socks(socket, proxy, host, port).await,
                Kind::Http | Kind::Https => tunnel::connect(socket, proxy, host, port).await,
            }
        };
        let tunnel = timeout_at(deadline, tunnel).await.map_err(|_| late("no tunnel"))?;
        let (stream, http2) = self.secured(tls, origin, tunnel.map_err(|error| failed(&error))?).await?;
        Ok(Connected { stream: Stream::Tls(Box::new(stream)), tally, http2 })
    }

    async fn tcp(&self, to: Uri) -> Failure<TcpStream> {
        // A clone, because calling asks for `&mut`; it is two counters.
        let connected = self.tcp.clone().call(to).await;
        connected.map(|stream| stream.into_inner()).map_err(|error| chain(&error))
    }

    /// TLS with the origin, and whether HTTP/2 was chosen.
    async fn secured<S>(&self, tls: &TlsConnector, origin: &BaseUrl, stream: S) -> Failure<(TlsStream<S>, bool)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(bare(origin.host()))?;
        let shaken = timeout(self.handshake, tls.connect(name, stream)).await;
        let shaken = shaken.map_err(|_| format!("no TLS handshake within {:?}", self.handshake))?;
        let stream = shaken.map_err(|error| format!("TLS: {}", pins::failure(&error).unwrap_or_else(|| chain(&error))))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok((stream, http2))
    }
}

fn server_name(host: &str) -> Failure<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Twice(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Twice(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Twice(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Twice(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Twice(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
