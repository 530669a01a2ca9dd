//! A body on its way through: as it came, read ahead and changed, or rewritten while it streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::stream::Stream;
use crate::body::BoxError;

/// A body whose links are rewritten, or were, or that has none.
pub struct Rewritten<B>(Flow<B>);

enum Flow<B> {
    Ahead(Ahead<B>),
    Streamed(Box<Stream<B>>),
}

/// What was read ahead of a body, and the rest of it.
pub(super) struct Ahead<B> {
    pub(super) data: Bytes,
    trailers: Option<Box<HeaderMap>>,
    error: Option<BoxError>,
    rest: Option<B>,
}

impl<B> Rewritten<B> {
    /// A body that nobody looked at.
    pub fn not(body: B) -> Rewritten<B> {
        Ahead::nothing(body).into()
    }
}

impl<B> From<Ahead<B>> for Rewritten<B> {
    fn from(ahead: Ahead<B>) -> Rewritten<B> {
        Rewritten(Flow::Ahead(ahead))
    }
}

impl<B> From<Stream<B>> for Rewritten<B> {
    fn from(stream: Stream<B>) -> Rewritten<B> {
        Rewritten(Flow::Streamed(Box::new(stream)))
    }
}

impl<B> Ahead<B> {
    /// Nothing was.
    pub(super) fn nothing(body: B) -> Ahead<B> {
        Ahead { data: Bytes::new(), trailers: None, error: None, rest: Some(body) }
    }

    /// Whether there is nothing behind what was read but trailers.
    pub(super) fn whole(&self) -> bool {
        self.rest.is_none() && self.error.is_none()
    }

    /// Whether it broke off while it was read.
    pub(super) fn broken(&self) -> bool {
        self.error.is_some()
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> Ahead<B> {
    /// Reads to the body's end, or until more than `most` bytes are there.
    pub(super) async fn read(body: B, most: usize) -> Ahead<B> {
        let mut ahead = Ahead::nothing(body);
        let mut more = BytesMut::new();
        while let Some(body) = &mut ahead.rest {
            if body.is_end_stream() {
                ahead.rest = None;
                break;
            }
            match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                None => ahead.rest = None,
                Some(Err(error)) => {
                    ahead.error = Some(error);
                    ahead.rest = None;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    // Nearly every body is one piece: that is not copied.
                    Ok(data) if ahead.data.is_empty() && more.is_empty() => ahead.data = data,
                    Ok(data) => {
                        more.extend_from_slice(&std::mem::take(&mut ahead.data));
                        more.extend_from_slice(&data);
                    }
                    Err(frame) => {
                        ahead.trailers = frame.into_trailers().ok().map(Box::new);
                        ahead.rest = None;
                    }
                },
            }
            if ahead.data.len() + more.len() > most {
                break;
            }
        }
        if !more.is_empty() {
            ahead.data = more.freeze();
        }
        ahead
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        if let Some(rest) = &mut self.rest {
            return Pin::new(rest).poll_frame(cx);
        }
        let trailers = self.trailers.take().map(|trailers| Ok(Frame::trailers(*trailers)));
        Poll::Ready(trailers.or_else(|| self.error.take().map(Err)))
    }

    fn is_end(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none() && self.error.is_none() && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let mut hint = match &self.rest {
            Some(rest) => rest.size_hint(),
            None if self.error.is_none() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        };
        let ahead = self.data.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for Rewritten<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Flow::Ahead(ahead) => ahead.poll(cx),
            Flow::Streamed(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Flow::Ahead(ahead) => ahead.is_end(),
            Flow::Streamed(stream) => stream.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Flow::Ahead(ahead) => ahead.size_hint(),
            Flow::Streamed(_) => SizeHint::default(),
        }
    }
}
