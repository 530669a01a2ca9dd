//! The body of an answer: it drives the connection it comes from, and gives it back when it has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::Inner;
use super::link::Link;
use super::multiplex::Place;
use super::pool::Host;
use crate::alarm::Alarm;
use crate::body::BoxError;

/// The body.
pub struct Answer {
    body: Incoming,
    from: From,
    limit: Duration,
}

enum From {
    /// HTTP/1.1, and where the connection rests afterwards.
    Link(Box<Link>, Arc<Host>, Arc<Inner>),
    /// HTTP/2.
    Stream(Arc<Alarm>, #[expect(dead_code, reason = "held until the answer has ended")] Place),
    /// It has ended.
    Nothing,
}

impl Answer {
    /// The body of an answer over HTTP/1.1.
    pub(super) fn of_link(body: Incoming, link: Box<Link>, host: Arc<Host>, inner: Arc<Inner>) -> Answer {
        let limit = inner.settings.body;
        link.alarm().set(limit);
        let mut answer = Answer { body, from: From::Link(link, host, inner), limit };
        if answer.body.is_end_stream() {
            answer.finish();
        }
        answer
    }

    /// The body of an answer over HTTP/2.
    pub(super) fn of_stream(body: Incoming, alarm: Arc<Alarm>, place: Place, limit: Duration) -> Answer {
        alarm.set(limit);
        Answer { body, from: From::Stream(alarm, place), limit }
    }

    /// Gives the connection back, if it can be used again.
    fn finish(&mut self) {
        if let From::Link(mut link, host, inner) = std::mem::replace(&mut self.from, From::Nothing)
            && link.rests()
        {
            host.put(link, inner.pool.limits(), inner.alarms.now());
        }
    }

    fn alarm(&self) -> Option<&Arc<Alarm>> {
        match &self.from {
            From::Link(link, ..) => Some(link.alarm()),
            From::Stream(alarm, _) => Some(alarm),
            From::Nothing => None,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let body = &mut this.body;
        let polled = match &mut this.from {
            From::Link(link, ..) => link.poll_with(cx, |cx| Pin::new(&mut *body).poll_frame(cx)),
            From::Stream(alarm, _) => {
                alarm.wakes(cx.waker());
                Pin::new(body).poll_frame(cx)
            }
            From::Nothing => Pin::new(body).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if this.body.is_end_stream() {
                    this.finish();
                } else if let Some(alarm) = this.alarm() {
                    alarm.set(this.limit);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                // The connection is in an unknown state: closed.
                this.from = From::Nothing;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => {
                if this.alarm().is_some_and(|alarm| alarm.rang()) {
                    this.from = From::Nothing;
                    return Poll::Ready(Some(Err(format!("upstream's answer stood still for {:?}", this.limit).into())));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
