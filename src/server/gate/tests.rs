//! What passes and what does not; and that neither how the bytes come nor who reads them behind the gate makes a difference.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::AsyncWriteExt;

use super::*;

/// All bytes, in pieces of these lengths, by turns: how many passed, and why no more did.
fn judge(bytes: &[u8], pieces: &[usize]) -> Result<(), Violation> {
    let mut gate = Gate::new(1000, 10);
    ends(&mut gate, bytes, pieces).1
}

/// The same; and where requests ended.
fn ends(gate: &mut Gate, bytes: &[u8], pieces: &[usize]) -> (Vec<usize>, Result<(), Violation>) {
    let (mut ends, mut at, mut pieces) = (Vec::new(), 0, pieces.iter().cycle());
    while at < bytes.len() {
        let piece = (*pieces.next().unwrap()).clamp(1, bytes.len() - at);
        let mut taken = 0;
        while taken < piece {
            match gate.take(&bytes[at + taken..at + piece]) {
                Ok(count) => taken += count,
                Err(refused) => {
                    assert_eq!(gate.take(b"GET / HTTP/1.1\r\n"), Err(Refused { passed: 0, violation: refused.violation }), "for good");
                    return (ends, Err(refused.violation));
                }
            }
        }
        at += piece;
        if gate.at == At::Start(0) && gate.partial.is_empty() {
            ends.push(at);
        }
    }
    (ends, Ok(()))
}

fn whole(text: impl AsRef<[u8]>) -> Result<(), Violation> {
    judge(text.as_ref(), &[usize::MAX])
}

fn get(lines: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn chunked(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn what_has_one_reading_passes() {
    for text in [
        get(""),
        get("Content-Length: 0\r\n"),
        get("X:\r\nY: \t a\tb \t\r\nZ: \u{e9}\r\n"),
        get("Content-Length: 5\r\n") + "h\0\r\ne" + &get("content-length:\t7 \r\n") + "1234567" + &get(""),
        "\r\n\r\n".to_owned() + &get("") + "\r\n" + &get(""),
        "GET /x HTTP/1.0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://A:80/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(),
        chunked("0\r\n\r\n") + &chunked("5\r\nhello\r\n0a;x=\"y\"\r\n0123456789\r\n0;last\r\nX: y\r\n\r\n") + &get(""),
    ] {
        assert_eq!(whole(&text), Ok(()), "{text:?}");
    }
}

#[test]
fn a_head_with_two_readings_does_not_pass() {
    for head in [
        get("Content-Length: 5\r\nContent-Length: 5\r\n"),
        get("Content-Length: 5, 5\r\n"),
        get("Content-Length: +5\r\n"),
        get("Content-Length:\r\n"),
        get("Content-Length: 05\r\n"),
        get("Content-Length: 1000000000000000000\r\n"),
        get("Content_Length: 5\r\n"),
        get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        get("Transfer_Encoding: chunked\r\n"),
        "GET /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        get("X: a\rb\r\n"),
        get("X: a\nY: b\r\n"),
        get("X: a\0\r\n"),
        get("X: a\u{7f}\r\n"),
        get("X: a\r\n b\r\n"),
        get("X: a\r\n\tb\r\n"),
        get("X : a\r\n"),
        get(": a\r\n"),
        get("X\r\n"),
        get("\u{e9}: a\r\n"),
        get("Host: a\r\n"),
        "GET /x HTTP/1.1\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(),
        "GET http://a:81/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://b@a/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x  HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(),
        "GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x\ty HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        " GET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x http/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /x\r\n".to_owned(),
        "GET /x\r".to_owned(),
        "\r\n\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".to_owned(),
    ] {
        let refused = whole(&head);
        assert!(matches!(refused, Err(Violation::Head(_))), "{head:?}: {refused:?}");
        // And nothing of it passes, but what stands before it does.
        let before = get("Content-Length: 1\r\n") + "x";
        let refused = Gate::new(1000, 10).take((before.clone() + &head).as_bytes()).unwrap_err();
        let empty = head.len() - head.trim_start_matches("\r\n").len();
        assert_eq!(refused.passed, before.len() + empty.min(4), "{head:?}");
    }
}

#[test]
fn only_chunked_alone_is_a_transfer_coding() {
    for coding in ["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "xchunked", "\"chunked\"", "chunked;q=1", "identity", ""] {
        assert_eq!(whole(get(&format!("Transfer-Encoding: {coding}\r\n"))), Err(Violation::Coding), "{coding}");
    }
    assert_eq!(whole(get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")), Err(Violation::Coding));
}

#[test]
fn chunks_with_two_readings_do_not_pass() {
    for body in [
        "\r\n",
        "x\r\n",
        "0x5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        " 5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "5 ;x\r\nhello\r\n",
        "5\nhello\r\n",
        "5;a\nb\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "0000000000000005\r\nhello\r\n",
        "ffffffffffffffffff\r\n",
        "5\r\nhello",
        "5\r\nhello\n0\r\n\r\n",
        "4\r\nhello\r\n",
        "0\r\n\n",
        "0\r\nX : y\r\n",
        "0\r\n X: y\r\n",
        "0\r\nContent-Length: 5\r\n",
        "0\r\nTransfer_Encoding: chunked\r\n",
        "0\r\nhost: b\r\n",
    ] {
        // A body that has not come to its end is no violation, and no request either.
        let (ended, refused) = ends(&mut Gate::new(1000, 10), chunked(body).as_bytes(), &[usize::MAX]);
        assert!(matches!(refused, Err(Violation::Body(_))) != (body == "5\r\nhello") && ended.is_empty(), "{body:?}: {refused:?}");
    }
    let endless = format!("5;{}\r\nhello\r\n", "x".repeat(250)).repeat(40);
    assert_eq!(whole(chunked(&endless)), Err(Violation::Body("too many extensions of chunks")));
    for (line, why) in [("X: y\r\n", "too many trailers"), (&*format!("X: {}\r\n", "y".repeat(1000)), "trailers that are too long")] {
        assert_eq!(whole(chunked(&format!("0\r\n{}\r\n", line.repeat(11)))), Err(Violation::Body(why)));
    }
}

#[test]
fn a_head_is_bounded_to_the_byte_and_to_the_line() {
    let fixed = get("X: \r\n").len();
    for (size, verdict) in [(1000, Ok(())), (1001, Err(Violation::HeadTooLarge))] {
        assert_eq!(whole(get(&format!("X: {}\r\n", "x".repeat(size - fixed)))), verdict);
    }
    for (count, verdict) in [(9, Ok(())), (10, Err(Violation::HeadTooLarge))] {
        assert_eq!(whole(get(&"X: y\r\n".repeat(count))), verdict, "Host is the tenth");
    }
    assert_eq!(whole(format!("GET /{}", "x".repeat(1000))), Err(Violation::TargetTooLong));
    assert_eq!(whole(get(&"x".repeat(1000))), Err(Violation::HeadTooLarge));
}

#[test]
fn what_follows_a_wish_for_another_protocol_waits() {
    let wish = get("Connection: upgrade\r\nUpgrade: websocket\r\n");
    let mut gate = Gate::new(1000, 10);
    assert_eq!(gate.take((wish.clone() + "\u{81}\0\n").as_bytes()), Ok(wish.len()));
    // It was answered with no 101: what follows is HTTP, or nothing.
    assert_eq!(gate.clone().take(get("").as_bytes()), Ok(get("").len()));
    assert!(gate.take("\u{81}\0\n".as_bytes()).is_err());
    // With a body it is no wish that is granted.
    let text = get("Upgrade: websocket\r\nContent-Length: 2\r\n") + "ok" + &get("");
    assert_eq!(Gate::new(1000, 10).take(text.as_bytes()), Ok(text.len()));
}

/// A request as a strict writer writes it.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let head = (
        select(vec!["GET", "POST", "M-SEARCH"]),
        "/[!-~&&[^#\"<>`^\\\\{}|]]{0,20}",
        vec(("[A-Za-z-]{1,12}", "[ -~\t\u{80}-\u{ff}]{0,20}"), 0..5),
    );
    let body = prop_oneof![
        Just(None),
        vec(any::<u8>(), 0..40).prop_map(|body| Some(vec![body])),
        vec(vec(any::<u8>(), 1..40), 2..4).prop_map(Some)
    ];
    (head, body).prop_map(|((method, target, lines), body)| {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        for (name, value) in lines {
            // Not what means something to the framing, or ends the connection.
            if name.len() != 10
                && name.len() != 14
                && name.len() != 17
                && !["host", "upgrade", "expect"].contains(&&*name.to_ascii_lowercase())
            {
                bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        match body.as_deref() {
            None => bytes.extend_from_slice(b"\r\n"),
            Some([body]) => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
            }
            Some(chunks) => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    })
}

/// What an attacker puts somewhere into requests.
const POISON: [&str; 26] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "_",
    "0",
    "5",
    "\r\n\r\n",
    "0\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 50\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Host: b\r\n",
    "HTTP/1.0",
    "HTTP/1.1\r\n",
    "GET /y ",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "5\r\nhello\r\n",
    "Connection: close\r\n",
];

/// Requests, some of them damaged.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let harm = (any::<Index>(), 0..3_usize, select(POISON.to_vec()));
    (vec(request(), 1..4), vec(harm, 0..3)).prop_map(|(requests, harms)| {
        let mut bytes = requests.concat();
        for (place, gone, poison) in harms {
            // Mostly where it matters: at the beginning of a line.
            let starts: Vec<usize> = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b"\r\n").map(|(at, _)| at + 2).collect();
            let at = if gone == 0 && !starts.is_empty() { *place.get(&starts) } else { place.index(bytes.len()) };
            let end = (at + gone).min(bytes.len());
            bytes.splice(at..end, poison.bytes());
        }
        bytes
    })
}

/// What hyper makes of bytes: requests with their bodies, those that did not come to their end without.
fn read_by_hyper(bytes: &[u8]) -> Vec<(String, Option<Bytes>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let requests = seen.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.ok().map(|body| body.to_bytes());
            seen.borrow_mut().push((format!("{} {} {:?}", head.method, head.uri, head.headers), body));
            Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    runtime.block_on(async {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        let _ = hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(far), service).await;
    });
    requests.take()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn how_the_bytes_come_makes_no_difference(bytes in damaged(), pieces in vec(1..30_usize, 1..6)) {
        // Of several faults in a line, which one is named may depend on what came first.
        prop_assert_eq!(judge(&bytes, &pieces).is_ok(), whole(&bytes).is_ok());
        prop_assert_eq!(judge(&bytes, &[1]).is_ok(), whole(&bytes).is_ok());
    }

    #[test]
    fn everything_that_a_strict_writer_writes_passes(requests in vec(request(), 1..5), pieces in vec(1..50_usize, 1..6)) {
        let bytes = requests.concat();
        prop_assert_eq!(judge(&bytes, &pieces), Ok(()));
        prop_assert_eq!(read_by_hyper(&bytes).len(), requests.len());
    }

    /// hyper reads the whole as it reads the parts into which the gate cuts it: each is one request, and ends where it ends.
    #[test]
    fn what_passes_is_framed_by_hyper_as_by_the_gate(bytes in damaged()) {
        let (ended, verdict) = ends(&mut Gate::new(64 << 10, 100), &bytes, &[1]);
        let end = ended.last().copied().unwrap_or(0);
        // Some of a request that has not come to its end may follow.
        let all = if verdict.is_ok() { &bytes[..] } else { &bytes[..end] };
        let (mut start, mut parts) = (0, Vec::new());
        for end in ended {
            let mut part = read_by_hyper(&bytes[start..end]);
            prop_assert!(part.len() <= 1 && part.iter().all(|(_, body)| body.is_some()), "{:?}", part);
            parts.append(&mut part);
            start = end;
        }
        let whole: Vec<_> = read_by_hyper(all).into_iter().filter(|(_, body)| body.is_some()).collect();
        // hyper may end earlier: a target that is no URI, a request that closes.
        prop_assert!(whole.len() <= parts.len(), "{:?} {:?}", whole, parts);
        prop_assert_eq!(&whole[..], &parts[..whole.len()]);
    }
}
