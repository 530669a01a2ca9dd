//! From an accepted connection to one that is spoken over: the TLS handshake, if the listener has one.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::stream::{Plain, Stream};
use super::tls::Tls;
use super::unix;
use super::vitals::Vitals;
use crate::body::chain;
use crate::peer::Certificate;

/// What begins every TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 22;

/// To whoever speaks HTTP to a port that speaks TLS.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 40\r\nConnection: close\r\n\r\n\
this port speaks TLS: use https:// here\n";

/// How a handshake ended.
pub(super) enum Greeted {
    /// Well; with what the caller showed, and whether HTTP/2 was agreed on, if the two spoke of that.
    Tls(Stream, Option<Certificate>, Option<bool>),
    /// The caller spoke HTTP, and was told: nothing more is to be said.
    Told(Stream),
    /// With nothing.
    Gone,
}

/// Within the time that the alarm runs: the head of the first request has to come within the same.
pub(super) async fn greet(mut stream: Plain, tls: &Tls, vitals: &Arc<Vitals>) -> Greeted {
    // Who connected before a drain shall be answered, unless it takes its time.
    let mut hurried = false;
    let mut over = || vitals.hurries(&mut hurried);
    match within(first(&stream), &mut over).await {
        Some(Ok(Some(HANDSHAKE))) => {}
        Some(Ok(Some(byte))) if byte.is_ascii_uppercase() => {
            // If it cannot be said at once, it is not said.
            let said = within(stream.write_all(NOT_TLS), || true).await;
            return if said.is_some_and(|said| said.is_ok()) { Greeted::Told(Stream::Plain(stream)) } else { Greeted::Gone };
        }
        Some(Ok(Some(_))) => {
            tracing::debug!("no TLS: the caller's first byte is neither TLS nor HTTP");
            return Greeted::Gone;
        }
        Some(Ok(None) | Err(_)) | None => return Greeted::Gone,
    }
    match within(TlsAcceptor::from(tls.current()).accept(stream), &mut over).await {
        Some(Ok(stream)) => {
            let session = stream.get_ref().1;
            // One that was verified and that we cannot read names nobody.
            let shown = session.peer_certificates().and_then(|chain| chain.first());
            let certificate = shown.map(|der| Certificate::from_der(der).unwrap_or_default());
            let http2 = session.alpn_protocol().map(|protocol| protocol == b"h2");
            Greeted::Tls(Stream::Tls(Box::new(stream)), certificate, http2)
        }
        Some(Err(error)) => {
            tracing::debug!("no TLS: {}", chain(&error));
            Greeted::Gone
        }
        None => {
            tracing::debug!("no TLS: the handshake was not over in time");
            Greeted::Gone
        }
    }
}

/// What comes of a future unless it is over before; whatever ends it wakes the connection's task.
async fn within<F: Future>(future: F, mut over: impl FnMut() -> bool) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if over() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The first byte, which stays to be read.
async fn first(stream: &Plain) -> io::Result<Option<u8>> {
    let mut byte = [0_u8; 1];
    let count = match stream {
        Plain::Tcp(stream) => stream.peek(&mut byte).await?,
        Plain::Unix(stream) => unix::peek(stream, &mut byte).await?,
    };
    Ok((count > 0).then_some(byte[0]))
}
