//! A connection that reads on when nothing more can be written to it.
//!
//! A server may answer before it has read a request's body to its end, and close: a 401 to an upload with a ticket that was
//! revoked, a 413. The next write then fails while the whole answer waits to be read, and hyper takes the failure for the
//! outcome. Here what cannot be written any more is dropped, and the reading side tells how it ended: with an answer, or
//! without one.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// The connection.
pub struct ReadsOn<S> {
    inner: S,
    /// The peer takes nothing more; its side has ended, too, so that reading ends as soon as what came before is read.
    deaf: bool,
}

impl<S> ReadsOn<S> {
    /// Wraps a fresh connection.
    pub fn new(inner: S) -> ReadsOn<S> {
        ReadsOn { inner, deaf: false }
    }

    /// `dropped` stands for the outcome of what could not be written.
    fn or_dropped<T>(&mut self, written: Poll<Result<T>>, dropped: T) -> Poll<Result<T>> {
        match written {
            Poll::Ready(Err(error)) if ended(&error) => {
                self.deaf = true;
                Poll::Ready(Ok(dropped))
            }
            written => written,
        }
    }
}

/// The peer closed or reset the connection, as opposed to a failure of this machine's own.
fn ended(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

impl<S: Read + Unpin> Read for ReadsOn<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for ReadsOn<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.or_dropped(written, bytes.len())
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.or_dropped(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.or_dropped(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: Connection> Connection for ReadsOn<S> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}
