//! A fetch that several may need: a task takes SuperOffice's answer as fast as it comes, so that neither a caller that reads
//! slowly nor one that goes away keeps the others waiting. Once the answer turns out to be too large to be stored, it is the
//! first caller's alone: taken as fast as that reads, and closed when that goes away.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::body::{Body, BoxError};

/// How far an answer that is not stored is read ahead.
const AHEAD: usize = 64 * 1024;

/// An answer's body.
#[derive(Debug)]
pub enum Content<B> {
    /// As it comes from upstream.
    Upstream(B),
    /// The same, on its way into the cache.
    Relayed(Reader),
    /// Out of the cache.
    Stored(Body),
}

/// The first caller's end of a relay.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Mutex<Shared>>,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    frames: Vec<Frame<Bytes>>,
    /// How many of the frames the reader has had; those stay until it is clear that the answer is not stored.
    read: usize,
    /// Bytes that the reader has not had.
    unread: usize,
    end: Option<Result<(), BoxError>>,
    /// It is not going to be stored.
    past: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    feeder: Option<Waker>,
}

/// The whole body of an answer that can be stored.
pub(super) trait Destination: Send + 'static {
    /// It is all there.
    fn whole(self, body: Bytes);
    /// It will not be.
    fn past(self);
}

/// Begins to take `body`; up to `most` bytes of it go to `destination`.
pub(super) fn relay<B, D>(body: B, most: usize, destination: D) -> Reader
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
    D: Destination,
{
    let shared: Arc<Mutex<Shared>> = Arc::default();
    let left = body.size_hint().exact();
    tokio::spawn(feed(Feed { shared: shared.clone(), destination: Some(destination) }, body, most));
    Reader { shared, left }
}

/// Whatever becomes of the task, both sides learn of it.
struct Feed<D: Destination> {
    shared: Arc<Mutex<Shared>>,
    destination: Option<D>,
}

impl<D: Destination> Feed<D> {
    fn past(&mut self) {
        if let Some(destination) = self.destination.take() {
            destination.past();
        }
        let mut shared = lock(&self.shared);
        shared.past = true;
        let read = std::mem::take(&mut shared.read);
        shared.frames.drain(..read);
    }
}

impl<D: Destination> Drop for Feed<D> {
    fn drop(&mut self) {
        if let Some(destination) = self.destination.take() {
            destination.past();
        }
        let mut shared = lock(&self.shared);
        shared.end.get_or_insert_with(|| Err("the answer's connection ended".into()));
        shared.reader.take().into_iter().for_each(Waker::wake);
    }
}

async fn feed<B, D>(mut feed: Feed<D>, mut body: B, most: usize)
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    D: Destination,
{
    let mut held = 0;
    loop {
        let frame = body.frame().await.map(|frame| frame.map_err(Into::<BoxError>::into));
        let end = match frame {
            Some(Ok(frame)) => {
                held += frame.data_ref().map_or(0, Bytes::len);
                // A body with trailers is rare enough to be nobody's loss.
                if feed.destination.is_some() && (held > most || !frame.is_data()) {
                    feed.past();
                }
                let mut shared = lock(&feed.shared);
                shared.unread += frame.data_ref().map_or(0, Bytes::len);
                shared.frames.push(frame);
                shared.reader.take().into_iter().for_each(Waker::wake);
                None
            }
            Some(Err(error)) => Some(Err(error)),
            None => Some(Ok(())),
        };
        if let Some(end) = end {
            // Gives its connection back before anybody hears of the end.
            drop(body);
            if end.is_ok()
                && let Some(destination) = feed.destination.take()
            {
                let whole = joined(&lock(&feed.shared).frames, held);
                destination.whole(whole);
            }
            lock(&feed.shared).end = Some(end);
            return;
        }
        let wanted = std::future::poll_fn(|cx| {
            let mut shared = lock(&feed.shared);
            if shared.reader_gone && shared.past {
                return Poll::Ready(false);
            }
            if shared.past && shared.unread > AHEAD {
                shared.feeder = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(true)
        });
        if !wanted.await {
            return;
        }
    }
}

/// In one piece, so that what is stored holds no more memory than its length.
fn joined(frames: &[Frame<Bytes>], length: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(length);
    frames.iter().filter_map(Frame::data_ref).for_each(|data| body.extend_from_slice(data));
    body.freeze()
}

impl Shared {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(next) = self.frames.get(self.read) else {
            return match &mut self.end {
                Some(Ok(())) => Poll::Ready(None),
                Some(end) => Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err)),
                None => {
                    self.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        let frame = match next.data_ref().cloned() {
            Some(data) if !self.past => {
                self.read += 1;
                Frame::data(data)
            }
            _ => self.frames.remove(self.read),
        };
        self.unread -= frame.data_ref().map_or(0, Bytes::len);
        if self.unread <= AHEAD {
            self.feeder.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.reader_gone = true;
        shared.feeder.take().into_iter().for_each(Waker::wake);
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = lock(&self.shared).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(left)) = (&polled, &mut self.left) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        shared.read == shared.frames.len() && matches!(shared.end, Some(Ok(())))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<B> HttpBody for Content<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Content::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Content::Relayed(body) => Pin::new(body).poll_frame(cx),
            Content::Stored(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Upstream(body) => body.is_end_stream(),
            Content::Relayed(body) => body.is_end_stream(),
            Content::Stored(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Upstream(body) => body.size_hint(),
            Content::Relayed(body) => body.size_hint(),
            Content::Stored(body) => body.size_hint(),
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
