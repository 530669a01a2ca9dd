//! The stream below a connection: TCP or a Unix socket, bare or inside of TLS. What hyper and tunnels need is the same for
//! all; what only some kinds can do is here, with what the others do instead.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::unix::{self, UnixStream};

/// What the kernel gives.
#[derive(Debug)]
pub enum Plain {
    /// From this machine or another.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
}

/// What is spoken over.
#[derive(Debug)]
pub enum Stream {
    /// In the open.
    Plain(Plain),
    /// Encrypted; on the heap, because it is large.
    Tls(Box<TlsStream<Plain>>),
}

impl Plain {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Plain::Tcp(stream) => stream.poll_read_ready(cx),
            Plain::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn take_error(&self) -> Result<Option<std::io::Error>> {
        match self {
            Plain::Tcp(stream) => stream.take_error(),
            Plain::Unix(stream) => stream.take_error(),
        }
    }
}

impl Stream {
    fn plain(&self) -> &Plain {
        match self {
            Stream::Plain(plain) => plain,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Ready when the kernel has something, be it the end or an error; over TLS it need not be anything for us.
    pub fn poll_kernel(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.plain().poll_read_ready(cx)
    }

    /// Whether the kernel has bytes to be read right now, whatever the runtime knows.
    pub fn has_bytes(&self) -> bool {
        match self.plain() {
            // Tokio's sockets never block.
            Plain::Tcp(stream) => matches!(socket2::SockRef::from(stream).peek(&mut [std::mem::MaybeUninit::uninit()]), Ok(1..)),
            Plain::Unix(stream) => unix::has_bytes(stream),
        }
    }

    /// The error that the kernel has for us, if any: a reset.
    pub fn take_error(&self) -> Result<Option<std::io::Error>> {
        self.plain().take_error()
    }

    /// Says something if it can be said at once.
    pub fn try_write(&mut self, bytes: &[u8]) {
        let cx = &mut Context::from_waker(Waker::noop());
        if Pin::new(&mut *self).poll_write(cx, bytes).is_ready() {
            let _ = Pin::new(self).poll_flush(cx);
        }
    }

    /// Ends the connection so that the other end knows that something is missing: by a reset, or without TLS' farewell. A Unix
    /// socket knows no reset.
    pub fn reset(self) {
        if let Plain::Tcp(stream) = self.plain() {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Takes leave in good order, for TLS: a caller that sees the connection end without that has to take it for cut.
    pub async fn close(mut self, patience: Duration) {
        if self.is_tls() {
            let _ = tokio::time::timeout(patience, self.shutdown()).await;
        }
    }

    /// Says that nothing more will come, takes what still comes, and throws it away.
    pub async fn drain(&mut self) {
        if self.shutdown().await.is_err() {
            return;
        }
        let mut rest = [0_u8; 4096];
        // Nobody decrypts what nobody reads.
        let plain = match self {
            Stream::Plain(plain) => plain,
            Stream::Tls(tls) => tls.get_mut().0,
        };
        while plain.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}

/// The same call for each variant of an enum of streams.
macro_rules! each {
    ($kind:ident, $($variant:ident)|+, $self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $($kind::$variant($stream) => { let $stream = Pin::new($stream); $call })+
        }
    };
}

macro_rules! stream {
    ($kind:ident, $($variant:ident)|+) => {
        impl AsyncRead for $kind {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
                each!($kind, $($variant)|+, self, stream => stream.poll_read(cx, buffer))
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
                each!($kind, $($variant)|+, self, stream => stream.poll_write(cx, bytes))
            }

            fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
                each!($kind, $($variant)|+, self, stream => stream.poll_write_vectored(cx, slices))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                each!($kind, $($variant)|+, self, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                each!($kind, $($variant)|+, self, stream => stream.poll_shutdown(cx))
            }
        }
    };
}

stream!(Plain, Tcp | Unix);
stream!(Stream, Plain | Tls);
