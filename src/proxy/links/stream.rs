//! A body that is rewritten while it streams, through its content coding if it has one.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::coding::{Decoder, Encoder};
use super::flow::Ahead;
use super::rewriter::Rewriter;
use crate::body::BoxError;

/// How many bytes are decoded in one step.
pub(super) const PIECE: usize = 16 * 1024;

/// How many are decoded in one go, if nothing comes of them: then others have their turn.
const TURN: usize = 16 * PIECE;

/// A body and what is between it and its reader.
pub(super) struct Stream<B> {
    body: Option<Ahead<B>>,
    rewriter: Rewriter,
    codec: Option<Codec>,
    /// What can be sent.
    out: Vec<u8>,
    /// What comes when everything is sent, once that is known.
    end: Option<Option<Result<HeaderMap, BoxError>>>,
}

/// A coding, taken off and put on again.
struct Codec {
    decoder: Decoder,
    encoder: Option<Encoder>,
    /// Not yet decoded.
    input: Bytes,
    /// Whether the decoder may have more without further input.
    busy: bool,
    /// Whether the encoder has something that could be sent.
    unflushed: bool,
    plain: Vec<u8>,
    changed: Vec<u8>,
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> Stream<B> {
    pub(super) fn new(body: Ahead<B>, rewriter: Rewriter, decoder: Option<Decoder>) -> Stream<B> {
        let codec = decoder.map(|decoder| Codec {
            decoder,
            encoder: None,
            input: Bytes::new(),
            busy: false,
            unflushed: false,
            plain: Vec::new(),
            changed: Vec::new(),
        });
        Stream { body: Some(body), rewriter, codec, out: Vec::new(), end: None }
    }

    pub(super) fn is_end(&self) -> bool {
        self.out.is_empty() && matches!(self.end, Some(None))
    }

    /// How much is held back, but for the windows of the coding.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.out.capacity()
            + self.rewriter.held()
            + self.codec.as_ref().map_or(0, |codec| codec.plain.capacity() + codec.changed.capacity())
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut turn = TURN;
        loop {
            if self.out.len() >= PIECE || (self.end.is_some() && !self.out.is_empty()) {
                return self.send();
            }
            if let Some(end) = &mut self.end {
                return Poll::Ready(end.take().map(|end| end.map(Frame::trailers)));
            }
            if self.codec.as_ref().is_some_and(|codec| codec.busy) {
                if turn == 0 {
                    if !self.out.is_empty() {
                        return self.send();
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                turn -= PIECE;
                if let Err(error) = self.recode() {
                    self.finish(Some(Err(error)));
                }
                continue;
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            match body.poll(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(codec) = &mut self.codec {
                            codec.input = data;
                            codec.busy = true;
                        } else if self.rewriter.push(&data, &mut self.out) {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        } else if !self.out.is_empty() {
                            return self.send();
                        }
                    }
                    Err(frame) => self.finish(frame.into_trailers().ok().map(Ok)),
                },
                Poll::Ready(Some(Err(error))) => self.finish(Some(Err(error))),
                Poll::Ready(None) => self.finish(None),
                Poll::Pending => {
                    if let Err(error) = self.flush() {
                        self.finish(Some(Err(error)));
                        continue;
                    }
                    return if self.out.is_empty() { Poll::Pending } else { self.send() };
                }
            }
        }
    }

    fn send(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.out).into()))))
    }

    /// One step of what has come: decoded, rewritten, encoded.
    fn recode(&mut self) -> Result<(), BoxError> {
        let Some(codec) = &mut self.codec else { return Ok(()) };
        codec.plain.clear();
        let mut input = &codec.input[..];
        codec.decoder.decode(&mut input, &mut codec.plain, PIECE)?;
        let left = input.len();
        codec.input = codec.input.split_off(codec.input.len() - left);
        codec.busy = left > 0 || !codec.plain.is_empty();
        if codec.plain.is_empty() {
            return Ok(());
        }
        codec.changed.clear();
        let same = self.rewriter.push(&codec.plain, &mut codec.changed);
        let plain = if same { &codec.plain } else { &codec.changed };
        codec.unflushed |= !plain.is_empty();
        let encoder = codec.encoder.get_or_insert_with(|| Encoder::like(&codec.decoder));
        encoder.write(plain)?;
        self.out.append(encoder.ready());
        Ok(())
    }

    /// Upstream pauses: whatever has come can be sent.
    fn flush(&mut self) -> Result<(), BoxError> {
        if let Some(codec) = &mut self.codec
            && std::mem::take(&mut codec.unflushed)
            && let Some(encoder) = &mut codec.encoder
        {
            encoder.flush()?;
            self.out.append(encoder.ready());
        }
        Ok(())
    }

    /// The body has ended, well or not; `end` is what comes behind the last byte.
    fn finish(&mut self, mut end: Option<Result<HeaderMap, BoxError>>) {
        self.body = None;
        match self.codec.take() {
            None => self.rewriter.finish(&mut self.out),
            Some(codec) => {
                if !matches!(end, Some(Err(_)))
                    && let Err(error) = codec.decoder.end()
                {
                    end = Some(Err(error.into()));
                }
                if let Err(error) = self.finish_coded(codec, matches!(end, Some(Err(_)))) {
                    end = Some(Err(error));
                }
            }
        }
        self.end = Some(end);
    }

    fn finish_coded(&mut self, mut codec: Codec, broken: bool) -> Result<(), BoxError> {
        codec.changed.clear();
        self.rewriter.finish(&mut codec.changed);
        let mut encoder = codec.encoder.unwrap_or_else(|| Encoder::like(&codec.decoder));
        encoder.write(&codec.changed)?;
        if broken {
            // A coding that is not finished does not look whole.
            encoder.flush()?;
            self.out.append(encoder.ready());
        } else {
            self.out.append(&mut encoder.finish()?);
        }
        Ok(())
    }
}
