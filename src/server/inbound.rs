//! The two bodies of a request that is being answered: the caller's, which must not stand still, and ours.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::vitals::{Ongoing, Vitals, Waiting};
use crate::body::{BoxError, Stalled};

/// A request's body.
#[derive(Debug)]
pub struct Inbound {
    body: Incoming,
    vitals: Arc<Vitals>,
    /// Runs while the body is waited for; made when that first happens.
    patience: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// Bytes that came, if somebody wants to know.
    counted: Option<Arc<AtomicU64>>,
}

impl Inbound {
    pub(super) fn new(body: Incoming, vitals: &Arc<Vitals>) -> Inbound {
        if !body.is_end_stream() {
            vitals.unread.store(true, Ordering::Relaxed);
        }
        Inbound { body, vitals: vitals.clone(), patience: None, waiting: false, counted: None }
    }

    /// Counts the bytes that come from now on, if any are to come.
    pub fn counted(&mut self) -> Option<Arc<AtomicU64>> {
        if !self.body.is_end_stream() {
            self.counted = Some(Arc::default());
        }
        self.counted.clone()
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.vitals.limits.body;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !std::mem::replace(&mut self.waiting, true) {
            patience.as_mut().reset(Instant::now() + limit);
        }
        patience.as_mut().poll(cx)
    }
}

impl HttpBody for Inbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            ready!(self.poll_patience(cx));
            return Poll::Ready(Some(Err(Stalled(self.vitals.limits.body).into())));
        }
        self.waiting = false;
        if let (Some(counted), Poll::Ready(Some(Ok(frame)))) = (&self.counted, &polled) {
            counted.fetch_add(frame.data_ref().map_or(0, |data| data.len() as u64), Ordering::Relaxed);
        }
        // Nobody asks on behind trailers.
        let last = matches!(&polled, Poll::Ready(None)) || matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_trailers());
        if last || self.body.is_end_stream() {
            self.vitals.unread.store(false, Ordering::Relaxed);
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if self.vitals.unread.load(Ordering::Relaxed) {
            self.vitals.abandoned.store(true, Ordering::Relaxed);
        }
    }
}

/// An answer's body; the request lasts as long.
#[derive(Debug)]
pub struct Outbound<B> {
    body: B,
    ongoing: Ongoing,
    waiting: Option<Arc<Waiting>>,
}

impl<B> Outbound<B> {
    pub(super) fn new(body: B, mut ongoing: Ongoing) -> Outbound<B> {
        ongoing.answered();
        let waiting = ongoing.waiting();
        Outbound { body, ongoing, waiting }
    }
}

impl<B> Drop for Outbound<B> {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            self.ongoing.done(waiting);
        }
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for Outbound<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(waiting) = &self.waiting {
            // hyper asks for more once it has room for it.
            self.ongoing.waits(waiting, matches!(polled, Poll::Ready(Some(_))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
