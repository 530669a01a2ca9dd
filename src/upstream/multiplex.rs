//! An HTTP/2 connection to upstream, shared by the requests of one worker; a task of its own drives it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;

use super::connect::Connected;
use super::link::{Failed, outcome};
use super::request::Watched;
use crate::alarm::Alarm;

/// Streams at once over one connection; IIS allows 100.
const STREAMS: usize = 100;

/// How long a new connection waits for upstream's SETTINGS.
const SETTINGS: Duration = Duration::from_secs(1);

/// The connection.
#[derive(Clone)]
pub struct Multiplexed {
    sender: http2::SendRequest<Watched>,
    use_: Arc<Use>,
    /// The tick at which it was opened.
    pub opened: u32,
}

#[derive(Debug)]
struct Use {
    /// How many streams upstream takes at once.
    most: watch::Receiver<usize>,
    streams: AtomicUsize,
    rested: AtomicU32,
    /// Upstream said that it takes no more.
    gone: AtomicBool,
}

/// A place among the streams, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Use>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Multiplexed {
    /// Begins HTTP/2 on a fresh connection.
    pub async fn open(connected: Connected, opened: u32) -> Result<Multiplexed, hyper::Error> {
        let mut http = http2::Builder::new(TokioExecutor::new());
        // Until upstream has said how many it takes, one: what is too many would be refused.
        http.initial_max_send_streams(1);
        http.timer(TokioTimer::new()).adaptive_window(true).max_header_list_size(256 * 1024);
        http.keep_alive_interval(Some(Duration::from_secs(60))).keep_alive_timeout(Duration::from_secs(20));
        let (sender, mut connection) = http.handshake(TokioIo::new(connected.stream)).await?;
        let (most, mut settled) = watch::channel(connection.current_max_send_streams());
        tokio::spawn(std::future::poll_fn(move |cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            let now = connection.current_max_send_streams();
            most.send_if_modified(|most| std::mem::replace(most, now) != now);
            polled.map(|ended| {
                if let Err(error) = ended {
                    tracing::debug!("HTTP/2 connection to upstream ended: {}", crate::body::chain(&error));
                }
            })
        }));
        // Upstream says at once how many streams it takes; one that does not gets one at a time.
        let _ = tokio::time::timeout(SETTINGS, settled.changed()).await;
        let use_ =
            Arc::new(Use { most: settled, streams: AtomicUsize::new(0), rested: AtomicU32::new(opened), gone: AtomicBool::new(false) });
        Ok(Multiplexed { sender, use_, opened })
    }

    /// Whether another request fits.
    pub fn has_room(&self) -> bool {
        // More than upstream takes would wait inside hyper, where nobody could tell what became of them.
        !self.is_closed() && self.in_use() < STREAMS.min(*self.use_.most.borrow())
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.use_.gone.load(Ordering::Relaxed) || self.sender.is_closed()
    }

    /// Requests on it now.
    pub fn in_use(&self) -> usize {
        self.use_.streams.load(Ordering::Relaxed)
    }

    /// The tick at which the last request began.
    pub fn rested(&self) -> u32 {
        self.use_.rested.load(Ordering::Relaxed)
    }

    /// A place for one request.
    pub fn place(&self, now: u32) -> Place {
        self.use_.streams.fetch_add(1, Ordering::Relaxed);
        self.use_.rested.store(now, Ordering::Relaxed);
        Place(self.use_.clone())
    }

    /// Sends one request; the alarm rings when no answer comes in time.
    pub async fn send(&mut self, request: Request<Watched>, alarm: &Alarm, limit: Duration) -> Result<Response<Incoming>, Failed> {
        alarm.set(limit);
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = std::future::poll_fn(|cx| {
            alarm.wakes(cx.waker());
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            if alarm.rang() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await;
        outcome(answered, |error| {
            let (unprocessed, gone) = judge(error);
            if gone {
                self.use_.gone.store(true, Ordering::Relaxed);
            }
            !unprocessed
        })
    }
}

/// Whether upstream says that it did not process the request (RFC 9113 §8.7: a stream beyond a GOAWAY's last one, or refused),
/// and whether it takes no more over this connection.
fn judge(error: &hyper::Error) -> (bool, bool) {
    let Some(error) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return (false, false);
    };
    let gone = error.is_go_away() && error.is_remote();
    (gone || (error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)), gone)
}
