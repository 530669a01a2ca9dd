//! New connections: name, TCP (both address families, the faster wins), TLS, each step with its own time limit.

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
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::socket::{Socket, Tally};
use super::{Settings, UpstreamError};
use crate::body::chain;
use crate::superoffice::origin::BaseUrl;

const HTTP_2: &[u8] = b"h2";

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    tls: TlsConnector,
    /// The same without the offer of HTTP/2: an upgrade is a matter of HTTP/1.1.
    tls_http1: TlsConnector,
    connect: Duration,
    handshake: Duration,
}

/// A connection that speaks HTTP next.
pub enum Stream {
    /// To this machine.
    Plain(Socket),
    /// Verified.
    Tls(Box<TlsStream<Socket>>),
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

impl Connector {
    /// With `settings.http2` the TLS handshake offers it.
    pub fn new(mut tls: ClientConfig, settings: &Settings) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls_http1 = TlsConnector::from(Arc::new(tls.clone()));
        if settings.http2 {
            tls.alpn_protocols.insert(0, HTTP_2.to_vec());
        }
        Connector { tcp, tls: TlsConnector::from(Arc::new(tls)), tls_http1, connect: settings.connect, handshake: settings.tls }
    }

    /// One connection to `origin`.
    pub async fn connect(&self, origin: &BaseUrl, http1_only: bool) -> std::result::Result<Connected, UpstreamError> {
        let uri = Uri::builder().scheme(origin.scheme().clone()).authority(origin.authority().clone()).path_and_query("/");
        let uri = uri.build().map_err(|error| UpstreamError::Unreachable(error.to_string()))?;
        // A clone, because calling asks for `&mut`; it is two counters.
        let connecting = self.tcp.clone().call(uri);
        let stream = match tokio::time::timeout(self.connect, connecting).await {
            Ok(Ok(stream)) => stream.into_inner(),
            Ok(Err(error)) => return Err(UpstreamError::Unreachable(chain(&error))),
            Err(_) => return Err(UpstreamError::Unreachable(format!("no connection within {:?}", self.connect))),
        };
        let socket = Socket::new(stream, origin.is_https());
        let tally = socket.tally();
        if !origin.is_https() {
            return Ok(Connected { stream: Stream::Plain(socket), tally, http2: false });
        }
        let name = origin.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| UpstreamError::Unreachable(error.to_string()))?;
        let tls = if http1_only { &self.tls_http1 } else { &self.tls };
        let stream = match tokio::time::timeout(self.handshake, tls.connect(name, socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(UpstreamError::Unreachable(format!("TLS: {}", chain(&error)))),
            Err(_) => return Err(UpstreamError::Unreachable(format!("no TLS handshake within {:?}", self.handshake))),
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok(Connected { stream: Stream::Tls(Box::new(stream)), tally, http2 })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
