//! Request bodies on their way upstream: the size limit, and what is kept for one replay while it streams.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};

use super::error::ProxyError;
use super::headers::scrub_trailers;
use crate::body::{Body, BoxError, empty, full};

/// How long a replay waits for the rest of a body that upstream refused before it was all there.
const REST: Duration = Duration::from_secs(10);

/// A request body that was let in.
pub struct Admitted {
    /// What goes upstream.
    pub body: Body,
    /// How to get it once more; `None` when it is declared larger than what is kept.
    pub replay: Option<Replay>,
    /// Set when the body turns out larger than allowed.
    pub overrun: Overrun,
}

/// Refuses a body that declares more than `max_body` bytes.
pub fn check(body: &impl HttpBody, max_body: Option<u64>) -> Result<(), ProxyError> {
    match max_body.filter(|&limit| body.size_hint().lower() > limit) {
        Some(limit) => Err(ProxyError::BodyTooLarge(limit)),
        None => Ok(()),
    }
}

/// Lets a body in: refuses one that declares more than `max_body` bytes at once, and keeps up to `replay_limit` bytes.
pub fn admit<B>(body: B, max_body: Option<u64>, replay_limit: usize) -> Result<Admitted, ProxyError>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let overrun = Overrun::default();
    if body.is_end_stream() {
        return Ok(Admitted { body: empty(), replay: Some(Replay(None)), overrun });
    }
    let declared = body.size_hint();
    check(&body, max_body)?;
    let mut body = Body::stream(Scrubbed(body));
    if let Some(limit) = max_body {
        body = Body::stream(Limited { body, left: limit, limit, overrun: overrun.clone() });
    }
    if declared.lower() > replay_limit as u64 {
        return Ok(Admitted { body, replay: None, overrun });
    }
    let kept = Kept { source: Some(body), room: replay_limit, ..Kept::default() };
    let shared = Arc::new(Mutex::new(kept));
    Ok(Admitted { body: Body::stream(Teed(shared.clone())), replay: Some(Replay(Some(shared))), overrun })
}

/// A caller's body whose trailers say nothing that only we may say.
struct Scrubbed<B>(B);

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Scrubbed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut polled = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            scrub_trailers(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Whether a body exceeded the limit that it ran under.
#[derive(Clone, Debug, Default)]
pub struct Overrun(Arc<Mutex<Option<u64>>>);

impl Overrun {
    /// The limit that was exceeded.
    pub fn limit(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Limited {
    body: Body,
    left: u64,
    limit: u64,
    overrun: Overrun,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    *self.overrun.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.limit);
                    return Poll::Ready(Some(Err("larger than max_body".into())));
                }
            }
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

/// The way to send a body once more.
pub struct Replay(Option<Arc<Mutex<Kept>>>);

#[derive(Default)]
struct Kept {
    /// The caller's body; gone once a replay took it over.
    source: Option<Body>,
    /// One buffer, not the caller's chunks: a thousand tiny ones would cost far more than their bytes.
    bytes: BytesMut,
    /// The same, once it is complete and was asked for.
    whole: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// How many more bytes may be kept.
    room: usize,
    too_large: bool,
    ended: bool,
}

impl Kept {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            match self.room.checked_sub(data.len()) {
                Some(room) => {
                    self.room = room;
                    self.bytes.extend_from_slice(data);
                }
                None => {
                    self.too_large = true;
                    self.room = 0;
                    self.bytes = BytesMut::new();
                }
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replay {
    /// Whether no more came so far than is kept.
    pub fn fits(&self) -> bool {
        self.0.as_ref().is_none_or(|kept| !lock(kept).too_large)
    }

    /// The same body from its start, when all of it fits into what is kept. Upstream may have answered before it read the
    /// body to its end: then the rest is read here, and nothing more comes of the first sending.
    pub async fn body(&self) -> Option<Body> {
        let Some(shared) = &self.0 else { return Some(empty()) };
        let source = {
            let mut kept = lock(shared);
            if kept.too_large {
                return None;
            }
            // The lock is not held while we wait for the caller's bytes.
            if kept.ended { None } else { kept.source.take() }
        };
        if let Some(mut source) = source {
            let rest = async {
                while let Some(frame) = source.frame().await {
                    let Ok(frame) = frame else { return false };
                    let mut kept = lock(shared);
                    kept.keep(&frame);
                    if kept.too_large {
                        return false;
                    }
                }
                true
            };
            if tokio::time::timeout(REST, rest).await != Ok(true) {
                // The caller's body is gone, and a half of it must never look like a whole.
                lock(shared).too_large = true;
                return None;
            }
            lock(shared).ended = true;
        }
        let mut kept = lock(shared);
        if !kept.ended {
            // Another replay took the rest, and did not get it.
            return None;
        }
        // It may be asked for again: what was kept becomes a value that can be shared.
        let all = kept.bytes.split().freeze();
        kept.whole = Some(match kept.whole.take() {
            Some(before) if all.is_empty() => before,
            _ => all,
        });
        let whole = kept.whole.clone().unwrap_or_default();
        Some(match kept.trailers.clone() {
            Some(trailers) => Body::stream(Chunked(Full::new(whole).with_trailers(std::future::ready(Some(Ok(trailers)))))),
            None => full(whole),
        })
    }
}

/// A body that keeps its length to itself: trailers only go with one in chunks.
struct Chunked<B>(B);

impl<B: HttpBody + Unpin> HttpBody for Chunked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// Passes frames on and keeps them.
struct Teed(Arc<Mutex<Kept>>);

impl HttpBody for Teed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut kept = lock(&self.0);
        // The rest goes with the replay, or nowhere if it turns out too large. An error here would take down the connection that the
        // answer to the first sending comes by, which then is the one that counts. Whoever drops that answer ends this sending.
        let Some(source) = &mut kept.source else { return Poll::Pending };
        let mut polled = Pin::new(source).poll_frame(cx);
        match &mut polled {
            Poll::Ready(Some(Ok(frame))) => {
                kept.keep(frame);
                kept.ended = kept.source.as_ref().is_some_and(HttpBody::is_end_stream);
            }
            Poll::Ready(None) => kept.ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).source.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).source.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of unknown length.
    struct Stream(std::vec::IntoIter<&'static str>);

    impl HttpBody for Stream {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.next().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))))
        }
    }

    fn stream(chunks: Vec<&'static str>) -> Stream {
        Stream(chunks.into_iter())
    }

    async fn text(body: Body) -> String {
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_small_body_can_be_sent_again() {
        let admitted = admit(stream(vec!["ab", "cd"]), None, 4).unwrap();
        assert_eq!(text(admitted.body).await, "abcd");
        let replay = admitted.replay.unwrap();
        assert_eq!(text(replay.body().await.unwrap()).await, "abcd");
        assert_eq!(text(replay.body().await.unwrap()).await, "abcd", "once for each cause");
    }

    #[tokio::test]
    async fn a_body_refused_half_way_is_completed_for_the_replay() {
        let mut admitted = admit(stream(vec!["ab", "cd", "ef"]), None, 6).unwrap();
        let first = admitted.body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "ab");
        assert_eq!(text(admitted.replay.unwrap().body().await.unwrap()).await, "abcdef");
        let after = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut admitted.body).poll_frame(cx).is_pending())).await;
        assert!(after, "the first sending neither ends nor breaks off: its answer may still be coming");
    }

    #[tokio::test]
    async fn a_larger_body_is_not_kept() {
        let admitted = admit(stream(vec!["abc", "de"]), None, 4).unwrap();
        assert_eq!(text(admitted.body).await, "abcde");
        assert!(admitted.replay.unwrap().body().await.is_none());
        let declared = admit(Full::new(Bytes::from("abcde")), None, 4).unwrap();
        assert!(declared.replay.is_none());
        assert_eq!(text(declared.body).await, "abcde");
    }

    #[tokio::test]
    async fn no_body_is_replayed_as_no_body() {
        let admitted = admit(http_body_util::Empty::<Bytes>::new(), Some(0), 0).unwrap();
        assert!(admitted.body.is_end_stream());
        assert!(admitted.replay.unwrap().body().await.unwrap().is_end_stream());
    }

    #[tokio::test]
    async fn limits() {
        let declared = admit(Full::new(Bytes::from("abcde")), Some(4), 0);
        assert_eq!(declared.err(), Some(ProxyError::BodyTooLarge(4)));
        let streamed = admit(stream(vec!["abc", "de"]), Some(4), 0).unwrap();
        assert!(streamed.body.collect().await.is_err());
        assert_eq!(streamed.overrun.limit(), Some(4));
        let fits = admit(stream(vec!["ab", "cd"]), Some(4), 0).unwrap();
        assert_eq!(text(fits.body).await, "abcd");
        assert_eq!(fits.overrun.limit(), None);
    }
}
