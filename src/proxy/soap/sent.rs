//! An envelope on its way out: another beginning, and the rest as it came.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BoxError};

pub(super) struct Sent {
    pub(super) head: Bytes,
    /// How much of the body it stands for.
    pub(super) instead: usize,
    pub(super) body: Body,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.head.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.head)))));
        }
        loop {
            let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
            let Some(Ok(frame)) = polled else { return Poll::Ready(polled) };
            match frame.into_data() {
                Ok(mut data) => {
                    let instead = self.instead.min(data.len());
                    self.instead -= instead;
                    data.advance(instead);
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.size_hint();
        let other = |length: u64| (length + self.head.len() as u64).saturating_sub(self.instead as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(other(body.lower()));
        if let Some(upper) = body.upper() {
            hint.set_upper(other(upper).max(hint.lower()));
        }
        hint
    }
}
