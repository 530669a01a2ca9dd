//! One connection from its first byte to its end: which HTTP it speaks, its time limits, how it rests and how it closes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, ReadBuf};

use super::gate::{Gate, Violation};
use super::handshake::{Greeted, greet};
use super::inbound::{Inbound, Outbound};
use super::listener::Caller;
use super::socket::Socket;
use super::stream::{Plain, Stream};
use super::tls::Tls;
use super::tunnel::carry;
use super::vitals::{LAST_HEAD, Order, Phase, Vitals};
use super::{Ends, Handler, Limits, TunnelTo};
use crate::body::{Body, BoxError};

/// What begins every HTTP/2 connection. RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A caller that was answered before its request's body had come may go on sending for so long: closing at once would reset
/// the connection, and the reset would overtake the answer. RFC 9112 §9.6.
const LINGER: Duration = Duration::from_secs(2);

/// Requests that an HTTP/2 connection may have under way at once.
const STREAMS: u32 = 200;

const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// How connections are spoken to.
#[derive(Clone, Debug)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new(limits: &Limits) -> Protocols {
        let mut http1 = http1::Builder::new();
        // The limit for the head is ours: hyper's costs a timer per request.
        http1.timer(TokioTimer::new()).header_read_timeout(None).half_close(true);
        http1.preserve_header_case(true).title_case_headers(true);
        // More than the gate lets through, which knows a better answer.
        http1.max_header_size(limits.max_header_size + 1024);
        // Setting the default would make hyper allocate.
        if limits.max_headers != 100 {
            http1.max_headers(limits.max_headers);
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(60)));
        let list = u32::try_from(limits.max_header_size).unwrap_or(u32::MAX);
        http2.max_header_list_size(list).adaptive_window(true);
        // At once; more are refused.
        http2.max_concurrent_streams(STREAMS);
        // Streams that the caller resets before they are looked at, that we reset because of an error of the caller's: more end the
        // connection. So do, in h2 itself, too many CONTINUATION frames, and DATA frames that carry next to nothing.
        http2.max_pending_accept_reset_streams(20).max_local_error_reset_streams(100);
        // Of each stream: what waits for a caller that takes nothing.
        http2.max_send_buf_size(64 << 10);
        Protocols { http1, http2 }
    }
}

/// Serves a connection to its end. With `crowded`, one request and no more.
pub(super) async fn serve<H: Handler>(
    stream: Plain,
    tls: Option<Arc<Tls>>,
    caller: Caller,
    mut ends: Ends,
    protocols: Protocols,
    vitals: Arc<Vitals>,
    handler: H,
) {
    std::future::poll_fn(|cx| {
        vitals.alarm.wakes(cx.waker());
        Poll::Ready(())
    })
    .await;
    let (stream, certificate, agreed) = match tls {
        None => (Stream::Plain(stream), None, None),
        // On the heap: a handshake takes much room, and is soon over.
        Some(tls) => match Box::pin(greet(stream, &tls, &vitals)).await {
            Greeted::Tls(stream, certificate, agreed) => (stream, certificate, agreed),
            Greeted::Told(stream) => return Box::pin(linger(stream, &vitals)).await,
            Greeted::Gone => return,
        },
    };
    ends.proof = caller.proof(certificate);
    let mut socket = Socket::new(stream, vitals.clone());
    let Some(spoken) = speaks_http2(&mut socket, &vitals).await else { return };
    let http2 = agreed.unwrap_or(spoken);
    let crowded = ends.crowded;
    let service = answering(handler.clone(), ends, vitals.clone());
    if http2 {
        return multiplexed(socket, &protocols, &vitals, service, crowded).await;
    }
    socket.guard(Gate::new(vitals.limits.max_header_size, vitals.limits.max_headers));
    if let Some((stream, violation)) = sequential(socket, &protocols, &vitals, service, crowded).await {
        Box::pin(refuse(stream, violation, handler.malformed(violation), &vitals)).await;
    }
}

/// Reads as much as it takes to tell HTTP/2's preface from anything else. `None`: the caller went away, or never spoke.
async fn speaks_http2(socket: &mut Socket, vitals: &Arc<Vitals>) -> Option<bool> {
    let (mut seen, mut count, mut hurried) = ([0_u8; PREFACE.len()], 0, false);
    while count < PREFACE.len() && PREFACE.starts_with(&seen[..count]) {
        let read = std::future::poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut seen[count..]);
            match Pin::new(&mut *socket).poll_read(cx, &mut buffer) {
                Poll::Ready(read) => Poll::Ready(read.map_or(0, |()| buffer.filled().len())),
                Poll::Pending if vitals.hurries(&mut hurried) => Poll::Ready(0),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        if read == 0 {
            return None;
        }
        count += read;
    }
    let http2 = count == PREFACE.len() && seen == *PREFACE;
    socket.unread(Bytes::copy_from_slice(&seen[..count]));
    Some(http2)
}

/// How hyper's part of a connection ended.
enum End {
    /// By itself.
    Closed(hyper::Result<()>),
    /// Nothing is in flight, and nothing came for a while.
    Rests,
    /// A head that did not come to its end.
    HeadTimeout,
    /// A head that must not be read.
    Refused,
    /// The caller takes nothing, or we were told to stop.
    Dropped,
}

/// HTTP/1: one request after the other; to the end, or to one that is refused.
async fn sequential<S, B>(
    mut socket: Socket,
    protocols: &Protocols,
    vitals: &Arc<Vitals>,
    service: S,
    crowded: bool,
) -> Option<(Stream, Violation)>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Data = Bytes, Error = BoxError> + 'static,
{
    let mut http1 = protocols.http1.clone();
    if crowded {
        http1.keep_alive(false);
    }
    // During a drain a connection rests once more, to see that nothing came.
    let (mut hurried, mut last) = (false, false);
    loop {
        // On the heap, so that a connection at rest is small.
        let mut http = Box::new(http1.serve_connection(TokioIo::new(socket), service.clone()));
        let end = std::future::poll_fn(|cx| {
            if let Poll::Ready(ended) = Pin::new(&mut *http).poll(cx) {
                return Poll::Ready(End::Closed(ended));
            }
            // Those before it have their answers.
            if vitals.refused.load(Ordering::Relaxed) && vitals.phase() != Phase::Busy && vitals.flushed.load(Ordering::Relaxed) {
                return Poll::Ready(End::Refused);
            }
            // hyper, told to expect half-closes, would wait for the rest of a head.
            if vitals.phase() == Phase::Head && vitals.ended.load(Ordering::Relaxed) {
                return Poll::Ready(End::Dropped);
            }
            match (vitals.order(), vitals.phase()) {
                (Order::Abort, _) => return Poll::Ready(End::Dropped),
                (Order::Drain, Phase::Idle) if !last && vitals.flushed.load(Ordering::Relaxed) => return Poll::Ready(End::Rests),
                _ => {}
            }
            let late = if vitals.phase() == Phase::Head { vitals.hurries(&mut hurried) } else { vitals.alarm.rang() };
            if late {
                return Poll::Ready(match vitals.phase() {
                    Phase::Head => End::HeadTimeout,
                    Phase::Idle if vitals.flushed.load(Ordering::Relaxed) => End::Rests,
                    Phase::Idle | Phase::Busy => End::Dropped,
                });
            }
            Poll::Pending
        })
        .await;
        // What is not named here is dropped here; an empty `read_buf` would keep all of its buffer.
        let http1::Parts { io, read_buf, .. } = http.into_parts();
        socket = io.into_inner();
        match end {
            End::Rests => {
                if read_buf.is_empty() {
                    drop(read_buf);
                } else {
                    socket.again(read_buf);
                }
                if !rested(&mut socket, vitals).await {
                    Box::pin(socket.into_stream().close(LINGER)).await;
                    return None;
                }
                if vitals.order() == Order::Drain {
                    last = true;
                    vitals.alarm.set(LAST_HEAD.min(vitals.limits.header_read));
                }
            }
            // On the heap: most connections never come here at the same time.
            End::Closed(ended) => {
                Box::pin(close(socket, read_buf, ended, vitals)).await;
                return None;
            }
            End::HeadTimeout => {
                let mut stream = socket.into_stream();
                // If it cannot be said at once, or in the midst of another answer, it is not said.
                if vitals.flushed.load(Ordering::Relaxed) {
                    stream.try_write(TIMEOUT);
                }
                Box::pin(linger(stream, vitals)).await;
                return None;
            }
            End::Refused => return socket.refused().map(|violation| (socket.into_stream(), violation)),
            End::Dropped => return None,
        }
    }
}

/// Waits for the next request without any buffer. `false`: there will be none.
async fn rested(socket: &mut Socket, vitals: &Arc<Vitals>) -> bool {
    vitals.alarm.set(vitals.limits.idle);
    std::future::poll_fn(|cx| {
        match vitals.order() {
            Order::Abort => Poll::Ready(false),
            // What has come before shall be answered: to close now would reset the connection below it.
            Order::Drain => Poll::Ready(socket.has_bytes()),
            _ if vitals.alarm.rang() => Poll::Ready(false),
            _ => socket.poll_readable(cx).map(|()| true),
        }
    })
    .await
}

/// hyper is done with the connection: a tunnel, or its end.
async fn close(mut socket: Socket, unread: Bytes, ended: hyper::Result<()>, vitals: &Arc<Vitals>) {
    let behind = socket.behind();
    let stream = socket.into_stream();
    let tunnel = vitals.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (ended, tunnel) {
        (Ok(()), Some(tunnel)) => {
            let sent = if unread.is_empty() { behind } else { [unread, behind].concat().into() };
            carry(stream, sent, tunnel, vitals).await;
        }
        (Err(error), _) if vitals.close_delimited.load(Ordering::Relaxed) && !error.is_parse() => {
            // Only a reset tells an HTTP/1.0 caller that the answer was not whole.
            tracing::debug!("connection ended: {}", crate::body::chain(&error));
            stream.reset();
        }
        (ended, _) => {
            if let Err(error) = &ended {
                tracing::debug!("connection ended: {}", crate::body::chain(error));
            }
            if vitals.unread.load(Ordering::Relaxed) || ended.is_err_and(|error| error.is_parse()) {
                linger(stream, vitals).await;
            } else {
                stream.close(LINGER).await;
            }
        }
    }
}

/// Answers a request that cannot be read, and closes: where the next one would begin nobody knows.
async fn refuse(mut stream: Stream, violation: Violation, answer: Option<Response<Body>>, vitals: &Arc<Vitals>) {
    tracing::debug!("request refused, connection closed: {violation}");
    let answer = answer.unwrap_or_else(|| {
        let mut bare = Response::new(Body::Empty);
        *bare.status_mut() = violation.status();
        bare
    });
    stream.try_write(&last_words(&answer));
    linger(stream, vitals).await;
}

/// The last answer of a connection, as it is written.
fn last_words(answer: &Response<Body>) -> Vec<u8> {
    let status = answer.status();
    let mut words = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default()).into_bytes();
    for (name, value) in answer.headers().iter().filter(|(name, _)| **name != CONNECTION) {
        let start = words.len();
        words.extend_from_slice(name.as_str().as_bytes());
        // As hyper spells them.
        words[start..].split_mut(|byte| *byte == b'-').filter_map(<[u8]>::first_mut).for_each(|first| first.make_ascii_uppercase());
        words.extend_from_slice(b": ");
        words.extend_from_slice(value.as_bytes());
        words.extend_from_slice(b"\r\n");
    }
    let body = match answer.body() {
        Body::Full(body) => body,
        _ => &Bytes::new(),
    };
    let date = httpdate::fmt_http_date(SystemTime::now());
    words.extend_from_slice(format!("Date: {date}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    words.extend_from_slice(body);
    words
}

/// Says that nothing more will come, and takes what still comes for a while.
async fn linger(mut stream: Stream, vitals: &Arc<Vitals>) {
    let aborted = std::future::poll_fn(|cx| {
        vitals.alarm.wakes(cx.waker());
        if vitals.order() == Order::Abort { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::select! {
        _ = tokio::time::timeout(LINGER, stream.drain()) => {}
        () = aborted => {}
    }
}

/// HTTP/2: any number of requests at once.
async fn multiplexed<S, B>(socket: Socket, protocols: &Protocols, vitals: &Arc<Vitals>, service: S, crowded: bool)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>,
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
{
    vitals.multiplexed.store(true, Ordering::Relaxed);
    vitals.alarm.set(vitals.limits.header_read);
    let mut http = Box::pin(protocols.http2.serve_connection(TokioIo::new(socket), service));
    let mut told = false;
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!("connection ended: {}", crate::body::chain(&error));
                }
                return Poll::Ready(());
            }
            let late = vitals.alarm.rang();
            if vitals.order() == Order::Abort {
                return Poll::Ready(());
            }
            if late && vitals.phase() == Phase::Busy {
                if vitals.overdue() {
                    return Poll::Ready(());
                }
                continue;
            }
            if vitals.is_abused() {
                tracing::debug!("connection closed: most requests are given up");
                return Poll::Ready(());
            }
            if !told && (late || vitals.order() == Order::Drain || (crowded && vitals.phase() == Phase::Busy)) {
                told = true;
                if vitals.phase() != Phase::Busy {
                    vitals.alarm.set(LINGER);
                }
                http.as_mut().graceful_shutdown();
                continue;
            }
            // A caller that does not close after GOAWAY is closed, once nothing is in flight.
            if late && told {
                return Poll::Ready(());
            }
            return Poll::Pending;
        }
    })
    .await;
}

/// Hands each request to the handler, and keeps the books. A closure, because a future without a name would have to be boxed
/// for every request.
fn answering<H: Handler>(
    handler: H,
    ends: Ends,
    vitals: Arc<Vitals>,
) -> impl Service<Request<Incoming>, Response = Response<Outbound<H::Body>>, Error = Infallible, Future: Send> + Clone {
    Books(move |request: Request<Incoming>| {
        let (handler, vitals, ends) = (handler.clone(), vitals.clone(), ends.clone());
        let ongoing = vitals.begin();
        let old = request.version() < Version::HTTP_11;
        vitals.close_delimited.store(old, Ordering::Relaxed);
        let request = Box::new(request.map(|body| Inbound::new(body, &vitals)));
        async move {
            let mut response = handler.handle(request, ends).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS
                && let Some(tunnel) = response.extensions_mut().remove::<TunnelTo>()
            {
                *vitals.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = tunnel.take();
            }
            let http1 = !vitals.multiplexed.load(Ordering::Relaxed) && response.status() != StatusCode::SWITCHING_PROTOCOLS;
            if http1 && (vitals.abandoned.load(Ordering::Relaxed) || vitals.order() != Order::None) {
                // Nobody will read the rest of the request's body, and behind it hyper does not look for another request; or the
                // process is being stopped, and the caller shall send its next request to another one.
                response.headers_mut().entry(CONNECTION).or_insert(HeaderValue::from_static("close"));
            }
            if old && response.body().size_hint().exact().is_none() {
                // The end of the connection is the end of the body.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                *response.version_mut() = Version::HTTP_10;
            }
            Ok(response.map(|body| Outbound::new(body, ongoing)))
        }
    })
}

/// hyper's `service_fn` cannot be cloned.
#[derive(Clone)]
struct Books<F>(F);

impl<F, R, B> Service<Request<Incoming>> for Books<F>
where
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Result<Response<B>, Infallible>>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = R;

    fn call(&self, request: Request<Incoming>) -> R {
        (self.0)(request)
    }
}
