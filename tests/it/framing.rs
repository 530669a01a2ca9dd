//! What a message is made of passes as it is: methods, names and bytes of headers, status lines, lengths, encoded bodies.

use crate::bench::{Bench, Setup};
use crate::peer::{Peer, Stage, settled};
use crate::wire::{Message, OK, Seen, Wire, begin, recorder, request};

/// A header's lines as they were spelled.
fn spelled<'a>(message: &'a Message, name: &str) -> Vec<(&'a str, &'a str)> {
    let lines = message.headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name));
    lines.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A caller's connection to a proxy in front of a recording peer.
async fn staged() -> (Bench, Peer, Seen, Wire) {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.workers", "1").start().await;
    let wire = Wire::to(bench.proxy).await;
    (bench, peer, seen, wire)
}

#[tokio::test]
async fn names_of_headers_keep_their_case_both_ways() {
    let lines = "X-FooBar: 1\r\nSOAPAction: \"x\"\r\neTag: W/\"7\"\r\nx-lower: a\r\nX-SHOUT: b\r\nx-a: 1\r\nX-A: 2\r\nX-a: 3\r\n";
    let (peer, seen) = recorder(&format!("HTTP/1.1 200 OK\r\n{lines}content-LENGTH: 2\r\nSet-cookie: a=1\r\n\r\nok")).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let answer = wire.get("/v1/x", &format!("{lines}ACCEPT: */*\r\nuser-Agent: Legacy\r\nCOOKIE: a=1\r\n")).await;
    for message in [&answer, &seen.last()] {
        for (name, value) in [("X-FooBar", "1"), ("SOAPAction", "\"x\""), ("eTag", "W/\"7\""), ("x-lower", "a"), ("X-SHOUT", "b")] {
            assert_eq!(spelled(message, name), [(name, value)]);
        }
        assert_eq!(spelled(message, "x-a"), [("x-a", "1"), ("X-A", "2"), ("X-a", "3")], "each its own, in their order");
    }
    assert_eq!(
        (spelled(&answer, "content-length"), spelled(&answer, "set-cookie")),
        (vec![("content-LENGTH", "2")], vec![("Set-cookie", "a=1")])
    );
    for (name, value) in [("ACCEPT", "*/*"), ("user-Agent", "Legacy"), ("COOKIE", "a=1")] {
        assert_eq!(spelled(&seen.last(), name), [(name, value)]);
    }
}

#[tokio::test]
async fn unregistered_and_lower_case_methods_pass_as_they_are() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for method in ["MERGE", "PROPFIND", "REPORT", "M-SEARCH", "QUERY", "get", "post", "Merge", "patch", "A!#$%&'*+-.^_`|~0"] {
        for body in ["", "body"] {
            let length = if body.is_empty() { "" } else { "Content-Length: 4\r\n" };
            wire.say(request(method, "/v1/x", length) + body).await;
            assert_eq!(wire.answer().await.text(), "ok", "{method}");
            assert_eq!((seen.last().first.split(' ').next(), seen.last().text().as_str()), (Some(method), body));
        }
    }
}

#[tokio::test]
async fn an_answer_to_head_has_upstreams_length_and_nothing_behind_it() {
    let (_bench, peer, seen, mut wire) = staged().await;
    for (framing, length) in [
        ("Content-Length: 1234\r\n", Some("1234")),
        ("Transfer-Encoding: chunked\r\n", None),
        ("Content-Length: 0\r\n", Some("0")),
        ("", None),
    ] {
        seen.answer_with(&format!("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n{framing}\r\n"));
        for _ in 0..3 {
            wire.say(request("HEAD", "/v1/x", "")).await;
            let head = wire.only_head().await.unwrap();
            assert_eq!((head.status(), head.one("content-length"), head.one("content-type")), (200, length, Some("a/b")), "{framing}");
        }
    }
    assert!(wire.is_quiet().await);
    assert_eq!(peer.connections(), 1, "there was nothing to wait for");
}

#[tokio::test]
async fn answers_without_a_body_are_framed_as_such() {
    let (_bench, peer, seen, mut wire) = staged().await;
    // IIS is fond of `Content-Length: 0` where nothing can be.
    for (status, theirs, length) in [
        ("204 No Content", "", None),
        ("204 No Content", "Content-Length: 0\r\n", None),
        ("304 Not Modified", "", None),
        // A length is allowed there (RFC 9110 §8.6) and says nothing that is needed; hyper leaves it out.
        ("304 Not Modified", "Content-Length: 1234\r\n", None),
        ("205 Reset Content", "Content-Length: 0\r\n", Some("0")),
        ("200 OK", "Content-Length: 0\r\n", Some("0")),
    ] {
        seen.answer_with(&format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\n{theirs}\r\n"));
        for _ in 0..3 {
            let answer = wire.get("/v1/x", "If-None-Match: \"1\"\r\n").await;
            assert_eq!((&answer.first[9..12], answer.one("etag")), (&status[..3], Some("\"1\"")));
            assert_eq!((answer.one("content-length"), answer.one("transfer-encoding")), (length, None), "{status} {theirs}");
        }
    }
    assert!(wire.is_quiet().await);
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn ranges_pass() {
    let (_bench, _peer, seen, mut wire) = staged().await;
    let parts =
        "\r\n--b\r\nContent-Type: a/b\r\nContent-Range: bytes 0-1/9\r\n\r\n01\r\n--b\r\nContent-Range: bytes 4-5/9\r\n\r\n45\r\n--b--\r\n";
    for (status, headers, body) in [
        ("206 Partial Content", "Content-Range: bytes 2-4/9\r\n", "234"),
        ("206 Partial Content", "Content-Type: multipart/byteranges; boundary=b\r\n", parts),
        ("416 Range Not Satisfiable", "Content-Range: bytes */9\r\n", ""),
    ] {
        seen.answer_with(&format!("HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()));
        let answer = wire.get("/v1/x", "Range: bytes=0-1,4-5\r\nIf-Range: \"7\"\r\n").await;
        assert_eq!((answer.first[9..].trim(), answer.text().as_str()), (status, body));
        let (name, value) = headers.trim().split_once(": ").unwrap();
        assert_eq!((answer.one(name), answer.one("accept-ranges")), (Some(value), Some("bytes")));
        assert_eq!((seen.last().one("range"), seen.last().one("if-range")), (Some("bytes=0-1,4-5"), Some("\"7\"")));
    }
}

#[tokio::test]
async fn conditional_requests_pass() {
    let (_bench, _peer, seen, mut wire) = staged().await;
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for status in ["304 Not Modified", "412 Precondition Failed", "428 Precondition Required"] {
        let length = if status.starts_with("304") { "" } else { "Content-Length: 0\r\n" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nETag: W/\"x\"\r\nLast-Modified: {date}\r\nVary: Accept, SO-Language\r\nDate: {date}\r\n{length}\r\n"
        );
        seen.answer_with(&answer);
        let theirs = [
            ("If-None-Match", "\"a\", W/\"b\""),
            ("If-Match", "*"),
            ("If-Modified-Since", date),
            ("If-Unmodified-Since", "yesterday, or so"),
            ("Cache-Control", "no-cache"),
        ];
        let lines: String = theirs.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let answer = wire.get("/v1/x", &lines).await;
        assert_eq!(answer.first[9..].trim(), status);
        for (name, value) in [("etag", "W/\"x\""), ("last-modified", date), ("vary", "Accept, SO-Language"), ("date", date)] {
            assert_eq!(answer.one(name), Some(value), "{status}");
        }
        for (name, value) in theirs {
            assert_eq!(seen.last().one(name), Some(value));
        }
    }
}

#[tokio::test]
async fn encoded_bodies_are_left_alone() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    // Not what the coding says, and nobody looks.
    let body: Vec<u8> = [0x1f, 0x8b, 8, 0].into_iter().chain((0..3000u32).map(|at| (at * 31 % 256) as u8)).collect();
    for coding in ["gzip", "br", "zstd, gzip"] {
        for chunked in [false, true] {
            let framed = |head: &str| {
                let mut bytes = head.as_bytes().to_vec();
                if chunked {
                    bytes.extend(format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()).bytes());
                    bytes.extend(&body);
                    bytes.extend(b"\r\n0\r\n\r\n");
                } else {
                    bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                    bytes.extend(&body);
                }
                bytes
            };
            let headers = format!("Accept-Encoding: {coding}\r\nContent-Encoding: {coding}\r\n");
            let mut wire = Wire::to(bench.proxy).await;
            wire.say(framed(&begin("POST", "/v1/x", &headers))).await;
            let (mut up, seen) = stage.request().await;
            up.say(framed(&format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-MD5: x\r\n"))).await;
            let answer = wire.answer().await;
            for message in [&seen, &answer] {
                assert!(message.complete && message.body == body, "{coding}, chunked: {chunked}");
                assert_eq!(message.one("content-encoding"), Some(coding));
                let length = (!chunked).then(|| body.len().to_string());
                assert_eq!(message.one("content-length"), length.as_deref(), "as it was given, or not");
                assert_eq!(message.one("transfer-encoding"), chunked.then_some("chunked"));
            }
            // Upstream is not asked for what no link could be found in.
            let asked = coding.trim_start_matches("zstd, ");
            assert_eq!((seen.one("accept-encoding"), answer.one("content-md5")), (Some(asked), Some("x")));
            drop(up);
            settled().await;
        }
    }
}

#[tokio::test]
async fn the_status_line_passes_with_its_reason() {
    let (_bench, _peer, seen, mut wire) = staged().await;
    for line in ["200 Alt Gut", "299 Miscellaneous", "409 Conflict", "429 Slow Down", "599 x", "200 "] {
        seen.answer_with(&format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"));
        let answer = wire.get("/v1/x", "").await;
        assert_eq!(answer.status().to_string(), line[..3]);
        // Nobody can tell an empty reason from the usual one.
        assert!(answer.first[9..] == *line || line == "200 ", "{:?} became {:?}", line, answer.first);
    }
}

#[tokio::test]
async fn bytes_beyond_ascii_pass_in_values() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    // A name in UTF-8, and the same in Latin-1.
    let lines = [&b"x-utf: \xc3\x86r\xc3\xb8\r\n"[..], b"x-latin: \xc6r\xf8 \xff\r\n", b"x-tab: a\tb\r\n"];
    let contains = |message: &[u8], line: &[u8]| message.windows(line.len()).any(|window| window == line);
    wire.say([begin("GET", "/v1/x", "").as_bytes(), &lines.concat(), b"\r\n"].concat()).await;
    let mut up = stage.next().await;
    let request = up.bytes_until("\r\n\r\n").await;
    up.say([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", &lines.concat()[..], b"\r\nok"].concat()).await;
    let answer = wire.bytes_until("\r\n\r\n").await;
    for line in lines {
        let line = &line[..line.len() - 2];
        assert!(contains(&request, line) && contains(&answer, line), "{:?}", String::from_utf8_lossy(line));
    }
}

#[tokio::test]
async fn an_answer_has_one_framing_whatever_upstream_claims() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    for (framing, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "2\r\nok\r\n0\r\n\r\n"),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "ok\n"),
        ("Content-Length: 2, 2\r\n", "ok"),
        ("Transfer-Encoding: chunked, identity\r\n", "2\r\nok\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
    ] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(request("GET", "/v1/x", "")).await;
        let (mut up, _) = stage.request().await;
        up.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{body}")).await;
        drop(up);
        let answer = wire.message().await.unwrap_or_else(|| panic!("no answer to {framing}"));
        if answer.status() == 200 {
            assert_eq!(
                (answer.all("content-length").len() + answer.all("transfer-encoding").len(), answer.complete),
                (1, true),
                "{answer:?}"
            );
            assert!(answer.text() == "ok" || answer.text() == body, "{framing}: {answer:?}");
        } else {
            assert_eq!((answer.status(), answer.error()), (502, Some("upstream_unreachable")), "{framing}");
        }
        settled().await;
    }
}
