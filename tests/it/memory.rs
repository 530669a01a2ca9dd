//! Large bodies pass with constant memory: measured on the real program, by the high-water mark that Linux keeps of it.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use sha2::{Digest, Sha256};
use soproxy::sandbox::content_byte;

use crate::bench::{collect, open};
use crate::binary::{Home, Program, get};

const SIZE: u64 = 300 * 1024 * 1024;
/// What a process may grow by while that passes.
const ROOM: u64 = 30 * 1024 * 1024;

/// The most memory that a process has had at once, bytes.
pub fn high_water(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Pattern bytes, so long that any piece of a body is a slice of it.
fn pattern() -> Bytes {
    (0..251 * 8192).map(content_byte).collect()
}

/// A body without declared length, made while it is sent.
struct Upload {
    pattern: Bytes,
    left: u64,
    /// What goes before and behind it.
    around: [&'static str; 2],
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let before = std::mem::take(&mut self.around[0]);
        if !before.is_empty() {
            return std::task::Poll::Ready(Some(Ok(Frame::data(before.into()))));
        }
        let length = self.left.min(251 * 256);
        self.left -= length;
        if length == 0 {
            let behind = std::mem::take(&mut self.around[1]);
            return std::task::Poll::Ready((!behind.is_empty()).then(|| Ok(Frame::data(behind.into()))));
        }
        let frame = (length > 0).then(|| Ok(Frame::data(self.pattern.slice(..length as usize))));
        std::task::Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

async fn started(home: &Home) -> (Program, SocketAddr) {
    let program = home.spawn(&["sandbox", "--address", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, "/Cust12345/api/v1/Document/1/Content?size=5000000").await.body.len(), 5_000_000);
    (program, proxy)
}

#[tokio::test]
async fn a_large_download_needs_no_more_memory_than_a_small_one() {
    let home = Home::new().await;
    let (program, proxy) = started(&home).await;
    let before = high_water(&program);
    let uri = format!("/Cust12345/api/v1/Document/1/Content?size={SIZE}");
    let mut answer = open(proxy, Request::get(uri).header("host", "localhost").body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["content-length"].to_str().unwrap()), (200, SIZE.to_string().as_str()));
    let pattern = pattern();
    let mut at: u64 = 0;
    while let Some(frame) = answer.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        let start = (at % 251) as usize;
        assert!(data == pattern[start..start + data.len()], "other bytes than were sent, near {at}");
        at += data.len() as u64;
    }
    assert_eq!(at, SIZE);
    let grown = high_water(&program) - before;
    assert!(grown < ROOM, "grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn a_large_upload_needs_no_more_memory_than_a_small_one() {
    let home = Home::new().await;
    let (program, proxy) = started(&home).await;
    let before = high_water(&program);
    let pattern = pattern();
    let body = Upload { pattern: pattern.clone(), left: SIZE, around: ["", ""] };
    let uri = "/Cust12345/api/v1/Document/1/Content";
    let request = Request::builder().method(Method::PUT).uri(uri).header("host", "localhost").body(body).unwrap();
    let answer = collect(open(proxy, request).await).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let grown = high_water(&program) - before;
    assert!(grown < ROOM, "grew by {} MiB", grown >> 20);

    let mut hash = Sha256::new();
    let mut left = SIZE as usize;
    while left > 0 {
        let length = left.min(pattern.len());
        hash.update(&pattern[..length]);
        left -= length;
    }
    let expected: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let document = get(proxy, "/Cust12345/api/v1/Document/1").await;
    assert!(document.text().contains(&expected), "other bytes than were sent: {}", document.text());
    assert!(document.text().contains(&SIZE.to_string()), "{}", document.text());
}

#[tokio::test]
async fn a_large_envelope_needs_no_more_memory_than_a_small_one() {
    let home = Home::new().await;
    let (program, proxy) = started(&home).await;
    let before = high_water(&program);
    let pattern: Bytes = (0..251 * 512).map(|at: u32| b"QUJDREVGR0hJ"[at as usize % 12]).collect();
    let around = [
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>\
         <SetPersonImage xmlns='http://www.superoffice.net/ws/crm/NetServer/Services88'><PersonId>2</PersonId><Image>",
        "</Image></SetPersonImage></s:Body></s:Envelope>",
    ];
    let request = Request::builder()
        .method(Method::POST)
        .uri("/Cust12345/Remote/Services88/Person.svc")
        .header("host", "localhost")
        .header("content-type", "text/xml")
        .header("soapaction", "http://www.superoffice.net/ws/crm/NetServer/Services88/Person/SetPersonImage");
    let answer = collect(open(proxy, request.body(Upload { pattern, left: SIZE, around }).unwrap()).await).await;
    assert!(answer.status == 200 && answer.text().contains(">true</h:Succeeded>"), "{answer:?}");
    let grown = high_water(&program) - before;
    assert!(grown < ROOM, "grew by {} MiB", grown >> 20);
    let person = get(proxy, "/Cust12345/api/v1/Person/2").await;
    assert!(person.text().contains(&SIZE.to_string()), "{}", person.text());
}
