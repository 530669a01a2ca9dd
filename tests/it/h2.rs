//! Callers that speak HTTP/2 without TLS, by prior knowledge.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bench::{Answer, Setup, TENANT, collect};
use crate::peer::{Peer, Stage};
use crate::wire::{End, OK, Wire, recorder};

pub type Caller = SendRequest<Feed>;

/// A body that is sent as it is fed; an error in it resets the stream.
pub struct Feed(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Feed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(frame)) if frame.data_ref().is_some_and(|data| data == BREAK) => {
                Poll::Ready(Some(Err(std::io::Error::other("broken off"))))
            }
            Poll::Ready(frame) => Poll::Ready(frame.map(Ok)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

const BREAK: &[u8] = b"(it breaks off here)";

/// What makes a body break off.
pub fn broken_off() -> Frame<Bytes> {
    Frame::data(Bytes::from_static(BREAK))
}

pub fn feed() -> (mpsc::UnboundedSender<Frame<Bytes>>, Feed) {
    let (feed, body) = mpsc::unbounded_channel();
    (feed, Feed(body))
}

/// A body that is all there.
pub fn whole(bytes: impl Into<Bytes>) -> Feed {
    let (feed, body) = self::feed();
    let bytes = bytes.into();
    if !bytes.is_empty() {
        feed.send(Frame::data(bytes)).unwrap();
    }
    body
}

pub async fn caller(proxy: SocketAddr) -> Caller {
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A path of the first tenant's.
pub fn uri(proxy: SocketAddr, rest: &str) -> String {
    format!("http://{proxy}/{TENANT}/api{rest}")
}

/// The first bytes of an answer's body, which have to come.
async fn beginning(answer: &mut Response<Incoming>) -> Bytes {
    let frame = timeout(Duration::from_secs(5), answer.frame()).await.expect("within 5 s");
    frame.unwrap().unwrap().into_data().unwrap()
}

/// Answers every request with its body's bytes, reversed.
async fn mirror() -> Peer {
    Peer::start(|_, stream| async move {
        let mut wire = Wire::of(stream);
        while let Some(mut request) = wire.message().await {
            request.body.reverse();
            wire.say(format!(
                "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: {}\r\n\r\n",
                request.body.len()
            ))
            .await;
            wire.say(&request.body).await;
        }
    })
    .await
}

#[tokio::test]
async fn many_streams_at_once_keep_their_bodies_apart() {
    let peer = mirror().await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let caller = caller(bench.proxy).await;
    let mut streams = JoinSet::new();
    for number in 0..100usize {
        let (mut caller, uri) = (caller.clone(), uri(bench.proxy, &format!("/v1/{number}")));
        streams.spawn(async move {
            let body: Vec<u8> = (0..number * 700).map(|at| ((at + number) * 31 % 251) as u8).collect();
            let (feed, sent) = feed();
            for chunk in body.chunks(1500) {
                feed.send(Frame::data(Bytes::copy_from_slice(chunk))).unwrap();
            }
            drop(feed);
            let answer: Answer = collect(caller.send_request(Request::post(uri).body(sent).unwrap()).await.unwrap()).await;
            assert_eq!(answer.status, 200);
            assert!(answer.body.iter().rev().eq(&body), "stream {number}");
            for hop in ["connection", "keep-alive", "transfer-encoding"] {
                assert!(!answer.headers.contains_key(hop), "{hop} is not for HTTP/2");
            }
        });
    }
    while let Some(stream) = streams.join_next().await {
        stream.unwrap();
    }
}

#[tokio::test]
async fn a_request_becomes_one_of_http_1_1() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut caller = caller(bench.proxy).await;
    let request = Request::builder().method("PROPFIND").uri(uri(bench.proxy, "/v1/x?a=b")).header("X-Odd", "1").header("x-odd", "2");
    let request = request.header("cookie", "a=1").header("cookie", "SOOnline=x").header("cookie", "b=2");
    let answer = collect(caller.send_request(request.body(whole("")).unwrap()).await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    let request = seen.last();
    assert_eq!(request.first, format!("PROPFIND /{TENANT}/api/v1/x?a=b HTTP/1.1"));
    assert_eq!(
        (request.all("x-odd"), request.one("cookie")),
        (vec!["1", "2"], Some("a=1; b=2")),
        "HTTP/1.1 has room for one line of cookies"
    );
    assert_eq!(request.one("host"), Some(peer.address.to_string().as_str()));
    assert_eq!((request.one("transfer-encoding"), request.one("content-length")), (None, None), "there is no body");
    assert!(request.headers.iter().all(|(name, _)| !name.starts_with(':')));
    // Of a body whose length nobody tells.
    let (feed, body) = feed();
    let answer = tokio::spawn(caller.send_request(Request::post(uri(bench.proxy, "/v1/x")).body(body).unwrap()));
    feed.send(Frame::data("body".into())).unwrap();
    drop(feed);
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert_eq!((seen.last().text().as_str(), seen.last().one("transfer-encoding")), ("body", Some("chunked")));
    // And of one whose length is told.
    let request = Request::post(uri(bench.proxy, "/v1/x")).header("content-length", "4");
    caller.send_request(request.body(whole("body")).unwrap()).await.unwrap();
    assert_eq!((seen.last().one("content-length"), seen.last().one("transfer-encoding")), (Some("4"), None));
}

#[tokio::test]
async fn the_authority_is_guarded_as_host_is() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut caller = caller(bench.proxy).await;
    let path = format!("/{TENANT}/api/v1/x");
    for (authority, header) in [
        ("evil.example", None),
        ("localhost.evil.example:80", None),
        ("localhost", Some(("host", "evil.example"))),
        ("localhost", Some(("origin", "null"))),
    ] {
        let mut request = Request::get(format!("http://{authority}{path}"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = collect(caller.send_request(request.body(whole("")).unwrap()).await.unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (403, Some("forbidden_origin")), "{authority} {header:?}");
    }
    assert_eq!(seen.count(), 0);
    let answer = caller.send_request(Request::get(format!("http://localhost{path}")).body(whole("")).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn head_and_empty_answers_end_with_their_headers() {
    let (peer, _) = recorder("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut caller = caller(bench.proxy).await;
    for _ in 0..2 {
        let answer = collect(caller.send_request(Request::head(uri(bench.proxy, "/v1/x")).body(whole("")).unwrap()).await.unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
        assert_eq!(answer.headers["content-length"], "1234");
    }
    let (peer, _) = recorder("HTTP/1.1 204 No Content\r\nETag: \"1\"\r\n\r\n").await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut caller = self::caller(bench.proxy).await;
    let answer = collect(caller.send_request(Request::delete(uri(bench.proxy, "/v1/x")).body(whole("")).unwrap()).await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
}

#[tokio::test]
async fn a_stream_that_the_caller_resets_cancels_its_request_alone() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut caller = caller(bench.proxy).await;
    let get = || Request::get(uri(bench.proxy, "/v1/x")).body(whole("")).unwrap();
    let kept = tokio::spawn(caller.send_request(get()));
    let (mut kept_up, _) = stage.request().await;
    // While upstream thinks.
    let thinking = tokio::spawn(caller.send_request(get()));
    let (mut up, _) = stage.request().await;
    thinking.abort();
    up.end().await;
    // In the middle of the answer.
    let answer = tokio::spawn(caller.send_request(get()));
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
    let mut answer = answer.await.unwrap().unwrap();
    assert_eq!(beginning(&mut answer).await, "partial");
    drop(answer);
    up.end().await;
    // In the middle of the request.
    let (feed, body) = feed();
    let answer = tokio::spawn(caller.send_request(Request::post(uri(bench.proxy, "/v1/x")).body(body).unwrap()));
    feed.send(Frame::data("partial".into())).unwrap();
    let mut up = stage.next().await;
    up.until("partial").await;
    feed.send(broken_off()).unwrap();
    let rest = up.rest().await;
    assert!(!rest.contains("0\r\n\r\n"), "upstream must not take a part for the whole: {rest:?}");
    assert!(answer.await.unwrap().is_err());
    kept_up.say(OK).await;
    assert_eq!(collect(kept.await.unwrap().unwrap()).await.text(), "ok", "the others go on");
}

#[tokio::test]
async fn a_connection_that_ends_cancels_all_its_requests() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let stream = TcpStream::connect(bench.proxy).await.unwrap().into_std().unwrap();
    let plug = stream.try_clone().unwrap();
    let stream = TokioIo::new(TcpStream::from_std(stream).unwrap());
    let (mut caller, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let mut ups = Vec::new();
    for _ in 0..3 {
        tokio::spawn(caller.send_request(Request::get(uri(bench.proxy, "/v1/x")).body(whole("")).unwrap()));
        ups.push(stage.request().await.0);
    }
    plug.shutdown(std::net::Shutdown::Both).unwrap();
    for mut up in ups {
        up.end().await;
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_hold_up_the_others() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut caller = caller(bench.proxy).await;
    let unread = tokio::spawn(caller.send_request(Request::get(uri(bench.proxy, "/v1/x")).body(whole("")).unwrap()));
    let (mut up, _) = stage.request().await;
    up.say("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n").await;
    let unread = unread.await.unwrap().unwrap();
    // As much as anybody takes.
    let chunk = vec![b'x'; 1 << 20];
    while timeout(Duration::from_millis(200), up.say(&chunk)).await.is_ok() {}
    let other = tokio::spawn(caller.send_request(Request::get(uri(bench.proxy, "/v1/x")).body(whole("")).unwrap()));
    let (mut second, _) = stage.request().await;
    second.say(OK).await;
    assert_eq!(collect(other.await.unwrap().unwrap()).await.text(), "ok");
    drop(unread);
    assert!(matches!(up.end().await, End::Closed | End::Reset));
}

#[tokio::test]
async fn an_early_answer_reaches_an_http_2_caller_whole() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut caller = caller(bench.proxy).await;
    let (feed, body) = feed();
    let answer = tokio::spawn(caller.send_request(Request::post(uri(bench.proxy, "/v1/x")).body(body).unwrap()));
    feed.send(Frame::data(vec![b'x'; 200_000].into())).unwrap();
    let mut up = stage.next().await;
    up.until("xxx").await;
    up.say("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much").await;
    let answer = collect(answer.await.unwrap().unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text(), answer.error()), (413, "too much", None));
    // The connection is as good as before.
    let next = tokio::spawn(caller.send_request(Request::get(uri(bench.proxy, "/v1/x")).body(whole("")).unwrap()));
    let (mut second, _) = stage.request().await;
    second.say(OK).await;
    assert_eq!(next.await.unwrap().unwrap().status(), 200);
    drop(feed);
}
