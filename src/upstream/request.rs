//! Request bodies on their way out: they move the time limit as they move, and hold back until upstream wants them when the
//! caller asked for that (`Expect: 100-continue`).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::UpstreamError;
use crate::alarm::Alarm;
use crate::body::{Body, BoxError, Stalled, chain};

/// How long a body waits for `100 Continue` before it is sent all the same. RFC 9110 §10.1.1: not without end.
const CONTINUE: Duration = Duration::from_secs(1);

/// A request's body.
pub struct Watched {
    body: Body,
    /// What is noted of a body that streams.
    watch: Option<Arc<Watch>>,
    gate: Option<Gate>,
}

/// The time limit that the body moves, and what it failed with.
pub struct Watch {
    alarm: Arc<Alarm>,
    limit: Duration,
    failure: Mutex<Option<BoxError>>,
}

impl Watch {
    /// What the body failed with.
    pub fn failure(&self) -> Option<UpstreamError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(match failure.downcast_ref::<Stalled>() {
            Some(Stalled(limit)) => UpstreamError::RequestStalled(*limit),
            None => UpstreamError::RequestBody(chain(&*failure)),
        })
    }
}

/// Closed until upstream says 100, or a second is over.
struct Gate {
    opened: Arc<Opened>,
    patience: Option<Pin<Box<Sleep>>>,
}

#[derive(Default)]
struct Opened {
    open: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Watched {
    /// A body that needs no watching: it is all there.
    pub fn plain(body: Body) -> Watched {
        Watched { body, watch: None, gate: None }
    }

    /// The request with its body watched, and the watch unless the body is all there. With `http1`, a body that its sender
    /// holds back is held back here, too.
    pub fn request(request: Request<Body>, alarm: &Arc<Alarm>, limit: Duration, http1: bool) -> (Request<Watched>, Option<Arc<Watch>>) {
        if !matches!(request.body(), Body::Stream(_)) {
            let mut request = request.map(Watched::plain);
            // The whole body is here, or there is none: nothing to wait for.
            request.headers_mut().remove(EXPECT);
            return (request, None);
        }
        let watch = Arc::new(Watch { alarm: alarm.clone(), limit, failure: Mutex::default() });
        let expects = http1 && expects_continue(request.headers());
        let mut request = request.map(|body| Watched { body, watch: Some(watch.clone()), gate: None });
        if expects {
            let opened = Arc::new(Opened::default());
            request.body_mut().gate = Some(Gate { opened: opened.clone(), patience: None });
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    opened.open();
                }
            });
        }
        (request, Some(watch))
    }

    /// The same for another connection.
    pub fn moved(mut self, alarm: &Arc<Alarm>) -> (Watched, Option<Arc<Watch>>) {
        if let Some(watch) = &self.watch {
            self.watch = Some(Arc::new(Watch { alarm: alarm.clone(), limit: watch.limit, failure: Mutex::default() }));
        }
        let watch = self.watch.clone();
        (self, watch)
    }
}

/// Whether the sender waits for `100 Continue`.
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Opened {
    fn open(&self) {
        self.open.store(true, Ordering::Release);
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waiting.wake();
        }
    }
}

impl Gate {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        *self.opened.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if self.opened.open.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE))).as_mut().poll(cx)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(gate) = &mut self.gate {
            std::task::ready!(gate.poll_open(cx));
            self.gate = None;
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &mut polled
            && let Some(watch) = &self.watch
        {
            // A long upload is no reason to give up while it moves.
            watch.alarm.set(watch.limit);
            if let Some(Err(error)) = frame {
                let failure = std::mem::replace(error, "the request's body broke off".into());
                *watch.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
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
