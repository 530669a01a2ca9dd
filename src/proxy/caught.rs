//! A panic in one request ends that request and nothing else: its caller gets a 500, or an answer that breaks off.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use http::HeaderValue;

/// Something panicked. The panic's own words are not kept: they may quote what they stumbled over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Polls, and survives it. What was polled must be polled no more after a panic.
pub(super) fn caught<T>(id: &HeaderValue, poll: impl FnOnce() -> Poll<T>) -> Poll<Result<T, Panicked>> {
    // What a panic leaves half done belongs to this request alone, and is dropped with it.
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(polled) => polled.map(Ok),
        Err(_) => {
            tracing::error!(id = id.to_str().unwrap_or_default(), "a request panicked; please report this");
            Poll::Ready(Err(Panicked))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_outcome() {
        let id = HeaderValue::from_static("7");
        assert_eq!(caught(&id, || Poll::Ready(1)), Poll::Ready(Ok(1)));
        assert_eq!(caught::<()>(&id, || Poll::Pending), Poll::Pending);
        let nothing: [u8; 0] = [];
        let at = std::hint::black_box(3);
        assert_eq!(caught(&id, || Poll::Ready(nothing[at])), Poll::Ready(Err(Panicked)));
    }
}
