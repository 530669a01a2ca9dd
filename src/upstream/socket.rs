//! The TCP side of a connection to upstream: it reads on when nothing more can be written, knows whether any byte of a
//! request left this process, and reads ahead for TLS when much is coming.
//!
//! A server may answer before it has read a request's body to its end, and close: a 401 to an upload with a ticket that was
//! revoked, a 413. The next write then fails while the whole answer waits to be read, and hyper takes the failure for the
//! outcome. Here what cannot be written any more is dropped, and the reading side tells how it ended: with an answer, or
//! without one.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::metrics::Open;

/// One TLS record and a bit; rustls alone asks for 4 KiB at a time. Larger gains nothing.
const AHEAD: usize = 32 * 1024;

/// What became of the bytes, for whoever holds the connection's other end.
#[derive(Debug, Default)]
pub struct Tally {
    written: AtomicU64,
    deaf: AtomicBool,
    /// It is counted among those that are open.
    open: OnceLock<Open>,
}

impl Tally {
    /// Counts from zero.
    pub fn begin(&self) {
        self.written.store(0, Ordering::Relaxed);
    }

    /// Whether the kernel took no byte since [`Tally::begin`]: then the peer cannot have read any.
    pub fn nothing_left(&self) -> bool {
        self.written.load(Ordering::Relaxed) == 0
    }

    /// The connection is counted as long as anybody has it.
    pub fn stands(&self, open: Open) {
        // Nobody says so twice.
        let _ = self.open.set(open);
    }

    /// The peer takes nothing more.
    pub fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }
}

/// The connection.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    tally: Arc<Tally>,
    /// Only while a large answer comes over TLS: an idle connection keeps no buffer.
    ahead: Option<Ahead>,
    reads_ahead: bool,
}

#[derive(Debug)]
struct Ahead {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Socket {
    /// Wraps a fresh connection. For TLS it reads ahead; hyper does that by itself.
    pub fn new(stream: TcpStream, tls: bool) -> Socket {
        Socket { stream, tally: Arc::default(), ahead: None, reads_ahead: tls }
    }

    /// What became of the bytes.
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// `dropped` stands for the outcome of what could not be written.
    fn or_dropped<T>(&self, written: Poll<Result<T>>, dropped: T) -> Poll<Result<T>> {
        match written {
            Poll::Ready(Err(error)) if ended(&error) => {
                self.tally.deaf.store(true, Ordering::Relaxed);
                Poll::Ready(Ok(dropped))
            }
            written => written,
        }
    }

    fn took(&self, written: &Poll<Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.tally.written.fetch_add(*count as u64, Ordering::Relaxed);
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let ahead = self.ahead.get_or_insert_with(|| Ahead { bytes: vec![0; AHEAD].into(), start: 0, end: 0 });
        if ahead.start == ahead.end {
            let mut all = ReadBuf::new(&mut ahead.bytes);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut all));
            (ahead.start, ahead.end) = (0, all.filled().len());
            read?;
        }
        let count = buffer.remaining().min(ahead.end - ahead.start);
        buffer.put_slice(&ahead.bytes[ahead.start..ahead.start + count]);
        ahead.start += count;
        if ahead.start == ahead.end && ahead.end < AHEAD / 2 {
            self.ahead = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// The peer closed or reset the connection, as opposed to a failure of this machine's own.
fn ended(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.ahead.is_some() {
            return self.poll_ahead(cx, buffer);
        }
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        // A buffer that was filled to its end: there is probably more.
        if self.reads_ahead && buffer.remaining() == 0 {
            self.ahead = Some(Ahead { bytes: vec![0; AHEAD].into(), start: 0, end: 0 });
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.tally.is_deaf() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.took(&written);
        self.or_dropped(written, bytes.len())
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.tally.is_deaf() {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.took(&written);
        self.or_dropped(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
