//! Answers are rewritten while they come, for callers of every protocol, with constant memory.

use std::io::Write;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use soproxy::sandbox::feed;

use super::{JSON, entity, in_mode, ours, pass};
use crate::bench::{TENANT, collect, open};
use crate::binary::Home;
use crate::h2;
use crate::memory::high_water;
use crate::peer::Stage;
use crate::wire::{End, Wire, request};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n";

fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[tokio::test]
async fn the_first_part_arrives_while_upstream_has_not_sent_the_rest() {
    for mode in ["known", "all"] {
        let stage = Stage::new().await;
        let bench = in_mode(mode).api_at(stage.address).start().await;
        let (theirs, ours) = (format!("http://{}/{TENANT}", stage.address), ours(&bench));
        let mut caller = Wire::to(bench.proxy).await;
        caller.say(request("GET", "/v1/x", "").replace("localhost", &bench.proxy.to_string())).await;
        let (mut upstream, _) = stage.request().await;
        upstream.say(format!("{CHUNKED}\r\n")).await;
        assert!(caller.until("\r\n\r\n").await.to_lowercase().contains("transfer-encoding: chunked"), "the head does not wait");
        let (first, second) = theirs.split_at(theirs.len() - 4);
        upstream.say(chunk(format!(r#"{{"odata.id":"{theirs}/a","odata.nextLink":"{first}"#))).await;
        assert!(caller.until("\"odata.nextLink\":\"\r\n").await.contains(&format!("\"{ours}/a\"")));
        assert!(caller.is_quiet().await, "what may become an address waits, and nothing else does");
        upstream.say(chunk(format!("{second}/b\""))).await;
        let rest = caller.until("/b\"").await;
        assert!(rest.contains(&ours) && !rest.contains(&theirs), "{rest}");
        upstream.say([chunk("}"), b"0\r\n\r\n".to_vec()].concat()).await;
        assert!(caller.until("0\r\n\r\n").await.ends_with("0\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_large_compressed_answer_does_not_wait_for_its_end_either() {
    let stage = Stage::new().await;
    let bench = in_mode("all").api_at(stage.address).start().await;
    let theirs = format!("http://{}/{TENANT}", stage.address);
    let mut caller = Wire::to(bench.proxy).await;
    caller.say(request("GET", "/v1/x", "")).await;
    let (mut upstream, _) = stage.request().await;
    // Noise, so that it is large.
    let mut state = 1_u32;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{state:08x}")
    })
    .take(100_000)
    .collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(format!("[{},\"{noise}\"", entity(&theirs)).as_bytes()).unwrap();
    gzip.flush().unwrap();
    let first = std::mem::take(gzip.get_mut());
    upstream.say([format!("{CHUNKED}Content-Encoding: gzip\r\n\r\n").as_bytes(), &chunk(&first)].concat()).await;
    let head = caller.until("\r\n\r\n").await.to_lowercase();
    assert!(head.contains("content-encoding: gzip") && !head.contains("content-length"), "{head}");
    // Some of it, while upstream waits.
    assert!(!caller.until("\r\n").await.is_empty());
    gzip.write_all(b"]").unwrap();
    upstream.say([chunk(gzip.finish().unwrap()), b"0\r\n\r\n".to_vec()].concat()).await;
    assert!(caller.until("\r\n0\r\n\r\n").await.ends_with("\r\n0\r\n\r\n"), "it came to its end");
}

#[tokio::test]
async fn trailers_pass_behind_a_rewritten_body() {
    for mode in ["known", "all"] {
        let passed = pass(mode, "TE: trailers\r\nConnection: TE\r\n", |theirs| {
            let body = [chunk(entity(theirs)), b"0\r\nX-Check: abc\r\n\r\n".to_vec()].concat();
            [format!("{CHUNKED}Trailer: X-Check\r\n\r\n").as_bytes(), &body].concat()
        })
        .await;
        assert!(passed.answer.text().contains(&passed.ours), "{}", passed.answer.text());
        assert_eq!(passed.answer.trailers.len(), 1);
        assert!(passed.answer.trailers[0].0.eq_ignore_ascii_case("x-check") && passed.answer.trailers[0].1 == "abc");
        assert_eq!(passed.answer.one("content-length"), None);
    }
}

#[tokio::test]
async fn callers_that_speak_http2() {
    let bench = in_mode("all").start().await;
    let mut caller = h2::caller(bench.proxy).await;
    for (host, base) in [
        (bench.proxy.to_string(), ours(&bench)),
        (format!("cust12345.localhost:{}", bench.proxy.port()), format!("http://cust12345.localhost:{}/{TENANT}", bench.proxy.port())),
    ] {
        let uri = |path: &str| format!("http://{host}/{TENANT}/api/v1/{path}");
        let answer = caller.send_request(Request::get(uri("Contact/1")).body(h2::whole("")).unwrap()).await.unwrap();
        let answer = collect(answer).await;
        assert_eq!(answer.headers["content-length"].to_str().unwrap(), answer.body.len().to_string());
        let entity = answer.json();
        assert_eq!(entity["_Links"]["Self"], format!("{base}/api/v1/Contact/1"));
        let note = serde_json::json!({ "Name": "A", "Description": format!("see {base}/x") }).to_string();
        let put = Request::put(uri("Contact/1")).header("content-type", "application/json").body(h2::whole(note)).unwrap();
        assert_eq!(collect(caller.send_request(put).await.unwrap()).await.status, 200);
        let stored = bench.sandbox.control().stored(TENANT, "Contact", 1).unwrap();
        assert_eq!(stored["Description"], format!("see {}/{TENANT}/x", bench.sandbox.base()));
        // Without length.
        let feed = caller.send_request(Request::get(uri("_sandbox/feed?rows=3000")).body(h2::whole("")).unwrap()).await.unwrap();
        let feed = collect(feed).await.json();
        assert_eq!(feed["odata.nextLink"], format!("{base}/api/v1/Contact?$skip=3000"));
        assert_eq!(feed["value"][2999]["_Links"]["Self"], format!("{base}/api/v1/Contact/2999"));
    }
}

#[tokio::test]
async fn callers_that_speak_http10() {
    let bench = in_mode("known").start().await;
    for (host, base) in [(String::new(), ours(&bench)), ("Host: localhost\r\n".to_owned(), format!("http://localhost/{TENANT}"))] {
        let ask = async |path: &str| {
            let mut wire = Wire::to(bench.proxy).await;
            wire.say(format!("GET /{TENANT}/api/v1/{path} HTTP/1.0\r\n{host}\r\n")).await;
            let answer = wire.answer().await;
            (answer, wire.end().await)
        };
        let (answer, end) = ask("Contact/1").await;
        assert_eq!((answer.json()["_Links"]["Self"].as_str().unwrap(), end), (format!("{base}/api/v1/Contact/1").as_str(), End::Closed));
        assert_eq!(answer.one("content-length").unwrap(), answer.body.len().to_string());
        let (answer, end) = ask("_sandbox/feed?rows=3000").await;
        assert_eq!((answer.one("content-length"), answer.one("transfer-encoding"), end), (None, None, End::Closed));
        assert_eq!(answer.json()["odata.nextLink"], format!("{base}/api/v1/Contact?$skip=3000"));
    }
    // One that knows neither Content-Length nor chunks upstream.
    let passed = pass("all", "", |theirs| format!("HTTP/1.0 200 OK\r\n{JSON}\r\n{}", entity(theirs)).into_bytes()).await;
    assert!(passed.answer.complete && passed.answer.text() == entity(&passed.ours), "{}", passed.answer.text());
}

/// So many rows of some 115 bytes.
const ROWS: u64 = 600_000;
/// What a process may grow by while they pass.
const ROOM: u64 = 30 * 1024 * 1024;

#[tokio::test]
async fn a_large_list_needs_no_more_memory_than_a_small_one() {
    for (coding, rows) in [("identity", ROWS), ("gzip", ROWS / 4)] {
        let home = Home::new().await.variable("SOPROXY_UPSTREAM__REWRITE_LINKS", "all");
        let arguments = ["sandbox", "--address", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let program = home.spawn(&arguments);
        let (proxy, _) = program.addresses().await;
        let feed = async |rows: u64| {
            let request = Request::get(format!("/{TENANT}/api/v1/_sandbox/feed?rows={rows}"));
            let request = request.header("host", proxy.to_string()).header("accept-encoding", coding);
            open(proxy, request.body(Empty::<Bytes>::new()).unwrap()).await
        };
        collect(feed(20_000).await).await;
        let before = high_water(&program);
        let mut answer = feed(rows).await;
        assert_eq!(answer.status(), 200);
        let mut check = Check { api: format!("http://{proxy}/{TENANT}/api/v1"), next: 0, rows, unread: Vec::new() };
        let mut gunzip = flate2::write::GzDecoder::new(Vec::new());
        while let Some(frame) = answer.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            if coding == "gzip" {
                gunzip.write_all(&data).unwrap();
                let plain = std::mem::take(gunzip.get_mut());
                check.take(&plain);
            } else {
                check.take(&data);
            }
        }
        if coding == "gzip" {
            check.take(&gunzip.finish().unwrap());
        }
        check.end();
        let grown = high_water(&program) - before;
        assert!(grown < ROOM, "{coding}: grew by {} MiB", grown >> 20);
    }
}

/// Compares a feed with what it should be, without keeping it.
struct Check {
    api: String,
    /// The next row; one more than all is what is behind them.
    next: u64,
    rows: u64,
    unread: Vec<u8>,
}

impl Check {
    fn expected(&self) -> String {
        let row = |id: u64| feed::row(&self.api, id);
        match self.next {
            0 => format!("{{\"odata.metadata\":\"{}/Contact/$metadata\",\"value\":[{}", self.api, row(0)),
            next if next < self.rows => format!(",{}", row(next)),
            _ => format!("],\"odata.nextLink\":\"{}/Contact?$skip={}\"}}", self.api, self.rows),
        }
    }

    fn take(&mut self, data: &[u8]) {
        self.unread.extend_from_slice(data);
        let mut at = 0;
        loop {
            let expected = self.expected();
            let Some(came) = self.unread.get(at..at + expected.len()).filter(|_| self.next <= self.rows) else { break };
            assert!(came == expected.as_bytes(), "row {}: {}", self.next, String::from_utf8_lossy(came));
            (at, self.next) = (at + expected.len(), self.next + 1);
        }
        self.unread.drain(..at);
    }

    fn end(&self) {
        assert_eq!((self.next, self.unread.len()), (self.rows + 1, 0));
    }
}
