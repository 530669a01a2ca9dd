//! What several targets need: bodies in pieces, futures that never wait, and the knobs in front of a text.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use soproxy::body::BoxError;

/// The first bytes of an input choose among ways to read the rest; none is as good as zero.
pub fn knobs<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let mut knobs = [0; N];
    let length = data.len().min(N);
    knobs[..length].copy_from_slice(&data[..length]);
    (knobs, &data[length..])
}

/// A body in pieces, with or without a length that is known.
pub struct Pieces {
    pieces: VecDeque<Bytes>,
    sized: bool,
}

impl Pieces {
    /// In one piece, of a known length.
    pub fn whole(text: &[u8]) -> Pieces {
        Pieces { pieces: VecDeque::from([Bytes::copy_from_slice(text)]), sized: true }
    }

    /// In pieces of this size and of the next smaller ones, in turn.
    pub fn of(text: &[u8], size: u8) -> Pieces {
        let (mut pieces, mut rest, mut turn) = (VecDeque::new(), text, usize::from(size));
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(turn.max(1)));
            pieces.push_back(Bytes::copy_from_slice(piece));
            (rest, turn) = (behind, if turn <= 1 { usize::from(size) } else { turn - 1 });
        }
        Pieces { pieces, sized: false }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum()) } else { SizeHint::default() }
    }
}

/// The value of a future that waits for nobody but itself.
pub fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("it waits for something that never comes");
}

/// All of a body; `None` if it breaks off.
pub fn read<B: Body<Data = Bytes, Error = BoxError>>(body: B) -> Option<Vec<u8>> {
    now(body.collect()).ok().map(|body| body.to_bytes().to_vec())
}

/// Whether `part` stands in `text`.
pub fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

/// Where `part` stands first.
pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
