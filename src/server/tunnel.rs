//! What a connection becomes after a 101: bytes in both directions until both sides are done, or silent for too long.

use std::fmt;
use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::vitals::{Order, Vitals};
use crate::alarm::Alarm;

/// Both directions of some connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The far end of a tunnel, handed over with a 101.
pub struct Tunnel {
    /// The bytes.
    pub far: Box<dyn Duplex>,
    /// What the far end sent already.
    pub early: Bytes,
    /// How long it may be silent.
    pub silence: Duration,
    /// Told how many bytes went to the caller and to the far end, once it is over.
    pub ended: Box<dyn FnOnce(u64, u64) + Send>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("silence", &self.silence).finish_non_exhaustive()
    }
}

/// Carries bytes. `sent` is what the caller sent already.
pub(super) async fn carry(near: impl Duplex, sent: Bytes, tunnel: Tunnel, vitals: &Arc<Vitals>) {
    let Tunnel { far, early, silence, ended } = tunnel;
    let alarm = vitals.alarm.clone();
    alarm.set(silence);
    let mut near = Live { io: near, early: sent, alarm: alarm.clone(), silence, received: 0 };
    let mut far = Live { io: far, early, alarm: alarm.clone(), silence, received: 0 };
    {
        let mut copying = std::pin::pin!(tokio::io::copy_bidirectional(&mut near, &mut far));
        std::future::poll_fn(|cx| {
            alarm.wakes(cx.waker());
            // A drain has no use for a connection that may last for days.
            if copying.as_mut().poll(cx).is_ready() || alarm.rang() || matches!(vitals.order(), Order::Drain | Order::Abort) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
    let (to_caller, to_far) = (far.received, near.received);
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        let _ = near.io.shutdown().await;
        let _ = far.io.shutdown().await;
    })
    .await;
    ended(to_caller, to_far);
}

/// One end; whatever comes in starts the silence anew.
struct Live<S> {
    io: S,
    early: Bytes,
    alarm: Arc<Alarm>,
    silence: Duration,
    received: u64,
}

impl<S: AsyncRead + Unpin> AsyncRead for Live<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = if self.early.has_remaining() {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..count]);
            self.early.advance(count);
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut self.io).poll_read(cx, buffer)
        };
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.received += count as u64;
            self.alarm.set(self.silence);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Live<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
