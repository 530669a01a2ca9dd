//! A body whose beginning is looked at before it goes on, and whose content coding may be taken off on the way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::BoxError;
use crate::proxy::links::coding::Decoder;

/// How many bytes are decoded in one step.
const PIECE: usize = 16 * 1024;

/// A body, from its beginning, whatever was looked at.
pub struct Peeked<B> {
    /// What was looked at and did not go on yet: one piece as it came, or several joined.
    ahead: Bytes,
    joined: BytesMut,
    decoding: Option<Box<Decoding>>,
    rest: Option<B>,
    /// What ended the body, if that was looked at.
    last: Option<Result<HeaderMap, BoxError>>,
}

struct Decoding {
    decoder: Decoder,
    input: Bytes,
    /// Whether the decoder may have more without further input.
    busy: bool,
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> Peeked<B> {
    pub(super) fn new(body: B, decoder: Option<Decoder>) -> Peeked<B> {
        let decoding = decoder.map(|decoder| Box::new(Decoding { decoder, input: Bytes::new(), busy: false }));
        Peeked { ahead: Bytes::new(), joined: BytesMut::new(), decoding, rest: Some(body), last: None }
    }

    /// What there is to be looked at.
    pub(super) fn text(&self) -> &[u8] {
        if self.joined.is_empty() { &self.ahead } else { &self.joined }
    }

    /// Waits for more of it; whether more came.
    pub(super) async fn more(&mut self) -> bool {
        if self.last.is_some() {
            return false;
        }
        loop {
            match std::future::poll_fn(|cx| self.poll_rest(cx)).await {
                None => return false,
                Some(Err(error)) => {
                    self.last = Some(Err(error));
                    return false;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) if self.text().is_empty() => {
                        self.ahead = data;
                        return true;
                    }
                    Ok(data) => {
                        self.joined.extend_from_slice(&std::mem::take(&mut self.ahead));
                        self.joined.extend_from_slice(&data);
                        return true;
                    }
                    Err(frame) => {
                        self.last = frame.into_trailers().ok().map(Ok);
                        return false;
                    }
                },
            }
        }
    }

    /// The error that ended it while it was looked at.
    pub(super) fn error(&mut self) -> Option<BoxError> {
        self.last.take_if(|last| last.is_err()).and_then(Result::err)
    }

    /// What comes behind what was looked at.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(decoding) = self.decoding.as_mut().filter(|decoding| decoding.busy) {
                match decoding.step() {
                    Ok(plain) if plain.is_empty() => continue,
                    Ok(plain) => return Poll::Ready(Some(Ok(Frame::data(plain.into())))),
                    Err(error) => return self.broken(error),
                }
            }
            let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
            match std::task::ready!(Pin::new(rest).poll_frame(cx)) {
                Some(Ok(frame)) => match (frame.into_data(), &mut self.decoding) {
                    (Ok(data), None) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    (Ok(data), Some(decoding)) => {
                        decoding.input = data;
                        decoding.busy = true;
                    }
                    (Err(trailers), _) => return self.ended(Some(Ok(trailers))),
                },
                Some(Err(error)) => return self.broken(error),
                None => return self.ended(None),
            }
        }
    }

    fn broken(&mut self, error: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        (self.rest, self.decoding) = (None, None);
        Poll::Ready(Some(Err(error)))
    }

    fn ended(&mut self, trailers: Option<Result<Frame<Bytes>, BoxError>>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.rest = None;
        match self.decoding.take().map_or(Ok(()), |decoding| decoding.decoder.end()) {
            Ok(()) => Poll::Ready(trailers),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

impl Decoding {
    fn step(&mut self) -> Result<Vec<u8>, BoxError> {
        let (mut plain, mut input) = (Vec::new(), &self.input[..]);
        self.decoder.decode(&mut input, &mut plain, PIECE)?;
        let left = input.len();
        self.input = self.input.split_off(self.input.len() - left);
        self.busy = left > 0 || !plain.is_empty();
        Ok(plain)
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for Peeked<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.text().is_empty() {
            let joined = std::mem::take(&mut self.joined);
            let ahead = std::mem::take(&mut self.ahead);
            return Poll::Ready(Some(Ok(Frame::data(if joined.is_empty() { ahead } else { joined.freeze() }))));
        }
        match self.last.take() {
            Some(last) => {
                self.rest = None;
                Poll::Ready(Some(last.map(Frame::trailers)))
            }
            None => self.poll_rest(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let nothing = self.text().is_empty() && self.last.is_none();
        nothing && self.rest.as_ref().is_none_or(|rest| self.decoding.is_none() && rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.text().len() as u64;
        let mut hint = match &self.rest {
            Some(rest) if self.decoding.is_none() => rest.size_hint(),
            None if self.last.is_none() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        };
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}
