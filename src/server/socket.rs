//! What hyper reads from and writes to: it tells what it sees, and knows a half-close from a caller that is gone.
//!
//! A FIN means that the caller sends nothing more; it may well wait for its answer, so hyper is told to go on. A reset means
//! that nobody is there. hyper does not look at the socket while a request is being answered, so this does.

use std::cell::Cell;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gate::{Gate, Refused, Violation};
use super::stream::Stream;
use super::vitals::Vitals;

/// A head and a small body go out as one piece: to copy them costs less than to tell the kernel of two.
const SMALL: usize = 4096;

thread_local! {
    /// Where pieces are put together; one for all connections of a worker, because none keeps it.
    static PIECE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The connection.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    /// What was read before hyper got to it.
    early: Bytes,
    /// What hyper gave back: it has been at the gate already.
    again: Bytes,
    /// What HTTP/1 has to pass.
    gate: Option<Gate>,
    /// Nothing more passes.
    refused: Option<Violation>,
    vitals: Arc<Vitals>,
    /// hyper waits for bytes itself, and will see the end.
    hyper_reads: bool,
    /// Something is there to be read, and it was no reset.
    seen: bool,
    blocked: bool,
}

impl Socket {
    /// Wraps an accepted connection.
    pub fn new(stream: Stream, vitals: Arc<Vitals>) -> Socket {
        Socket {
            stream,
            early: Bytes::new(),
            again: Bytes::new(),
            gate: None,
            refused: None,
            vitals,
            hyper_reads: false,
            seen: false,
            blocked: false,
        }
    }

    /// Gives bytes back that were read too early.
    pub fn unread(&mut self, bytes: Bytes) {
        self.early = bytes;
    }

    /// Gives back what hyper has read and not used.
    pub fn again(&mut self, bytes: Bytes) {
        self.again = bytes;
    }

    /// From now on HTTP/1 is spoken, and only what has one reading is heard.
    pub fn guard(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }

    /// Why hyper waits in vain for another request.
    pub fn refused(&self) -> Option<Violation> {
        self.refused
    }

    /// What was read of another protocol, behind the request for it.
    pub fn behind(&mut self) -> Bytes {
        std::mem::take(&mut self.early)
    }

    /// Lets through what the gate lets through of what stands in the buffer from `before` on.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> Poll<Result<()>> {
        let Some(gate) = &mut self.gate else { return Poll::Ready(Ok(())) };
        let bytes = &buffer.filled()[before..];
        let passed = match gate.take(bytes) {
            Ok(passed) if passed == bytes.len() => return Poll::Ready(Ok(())),
            Ok(passed) => {
                // hyper asks on when it has answered with anything but a 101.
                self.early = [&bytes[passed..], &self.early].concat().into();
                passed
            }
            Err(Refused { passed, violation }) => {
                self.refused = Some(violation);
                if passed == 0 {
                    buffer.set_filled(before);
                    return self.refuse(violation);
                }
                passed
            }
        };
        buffer.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }

    /// What hyper gets once nothing more passes. A head never comes to its end, and the connection's task knows why; the reader of
    /// a body has to hear that it will not be whole.
    fn refuse(&self, violation: Violation) -> Poll<Result<()>> {
        match violation {
            Violation::Body(why) => Poll::Ready(Err(Error::new(ErrorKind::InvalidData, why))),
            _ => {
                self.vitals.refused.store(true, Ordering::Relaxed);
                Poll::Pending
            }
        }
    }

    /// Ready when there is something to read, or nothing will come any more.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.early.is_empty() || !self.again.is_empty() {
            return Poll::Ready(());
        }
        if !self.stream.is_tls() {
            return self.stream.poll_kernel(cx).map(drop);
        }
        // Only TLS itself knows whether what came is a byte for us, or its own business.
        let mut first = [0_u8; 1];
        let mut buffer = ReadBuf::new(&mut first);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        self.early = Bytes::copy_from_slice(buffer.filled());
        read.map(drop)
    }

    /// Whether the kernel has something to be read, or anybody before it; does not wait for the runtime to hear of it.
    pub fn has_bytes(&self) -> bool {
        !self.early.is_empty() || !self.again.is_empty() || self.stream.has_bytes()
    }

    /// The bare stream.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    fn look_for_reset(&mut self, cx: &mut Context<'_>) -> Result<()> {
        if self.hyper_reads || self.seen || self.stream.poll_kernel(cx).is_pending() {
            return Ok(());
        }
        self.seen = true;
        self.stream.take_error()?.map_or(Ok(()), Err)
    }

    fn wrote<T>(&mut self, written: Poll<Result<T>>) -> Poll<Result<T>> {
        match (&written, self.blocked) {
            (Poll::Pending, false) => {
                self.blocked = true;
                self.vitals.blocked();
            }
            (Poll::Ready(_), true) => {
                self.blocked = false;
                self.vitals.unblocked();
            }
            _ => {}
        }
        written
    }
}

/// Moves bytes to where they are wanted, as many as there is room for.
fn put(bytes: &mut Bytes, buffer: &mut ReadBuf<'_>) {
    let count = bytes.len().min(buffer.remaining());
    buffer.put_slice(&bytes[..count]);
    bytes.advance(count);
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if let Some(violation) = self.refused {
            return self.refuse(violation);
        }
        if self.again.has_remaining() {
            put(&mut self.again, buffer);
            self.vitals.received();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if self.early.has_remaining() {
            put(&mut self.early, buffer);
            self.vitals.received();
            return self.judge(buffer, before);
        }
        self.seen = false;
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.hyper_reads = read.is_pending();
        let mut read = ready!(read);
        // TLS without a farewell: what is missing is seen by HTTP's own framing.
        if read.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof) {
            read = Ok(());
        }
        if buffer.filled().len() > before {
            self.vitals.received();
        } else {
            self.vitals.ended.store(true, Ordering::Relaxed);
        }
        read?;
        self.judge(buffer, before)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.vitals.flushed.store(false, Ordering::Relaxed);
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if total <= SMALL {
            let mut piece = PIECE.take();
            piece.clear();
            slices.iter().for_each(|slice| piece.extend_from_slice(slice));
            let written = self.poll_write(cx, &piece);
            PIECE.set(piece);
            return written;
        }
        self.vitals.flushed.store(false, Ordering::Relaxed);
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls this once it has nothing more to write, whenever it is polled.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.stream.is_tls() {
            let flushed = Pin::new(&mut self.stream).poll_flush(cx);
            ready!(self.wrote(flushed))?;
        }
        self.vitals.flushed.store(true, Ordering::Relaxed);
        Poll::Ready(self.look_for_reset(cx))
    }

    /// The connection's task closes, when it knows how; but hyper keeps an HTTP/2 connection to itself.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.stream.is_tls() && self.vitals.multiplexed.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }
}
