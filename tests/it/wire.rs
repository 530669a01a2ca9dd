//! HTTP by hand: bytes go out as they are written, and what comes in is shown as it came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soproxy::sandbox::demo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::TENANT;
use crate::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(10);

/// One end of a connection.
pub struct Wire<S = TcpStream> {
    pub stream: S,
    unread: Vec<u8>,
    end: Option<End>,
}

/// How the other end ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In good order: all that was sent has come.
    Closed,
    /// By a reset.
    Reset,
}

/// A request or an answer, headers in their order.
#[derive(Clone, Debug)]
pub struct Message {
    /// The request line or the status line.
    pub first: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What came behind the last chunk.
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to the end that its framing promised.
    pub complete: bool,
}

impl Message {
    /// All values of one header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that may be there once at most.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// All header names in lower case, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    }

    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status line: {:?}", self.first))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The code of the proxy's own error, if it is one.
    pub fn error(&self) -> Option<&str> {
        self.one("x-soproxy-error")
    }
}

impl Wire {
    pub async fn to(address: SocketAddr) -> Wire {
        Wire::of(TcpStream::connect(address).await.unwrap())
    }

    pub fn of(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        Wire::over(stream)
    }

    /// Ends the connection as a program does that is killed with data unread, or a machine that forgot the connection.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn over(stream: S) -> Wire<S> {
        Wire { stream, unread: Vec::new(), end: None }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Says that nothing more will be said; what comes is still read.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// A GET of the first tenant: `get("/v1/x", "Accept: a\r\n")`; the connection stays open.
    pub async fn get(&mut self, rest: &str, headers: &str) -> Message {
        self.say(request("GET", rest, headers)).await;
        self.answer().await
    }

    /// One more read; false at the end of the connection.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer));
        let read = read.await.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?} after {:?}", String::from_utf8_lossy(&self.unread)));
        match read {
            Ok(0) => self.end = Some(End::Closed),
            Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            Err(_) => self.end = Some(End::Reset),
        }
        self.end.is_none()
    }

    /// Reads until `mark` has come, and gives all up to its end; to the end of the connection when it never comes.
    pub async fn until(&mut self, mark: &str) -> String {
        String::from_utf8_lossy(&self.bytes_until(mark).await).into_owned()
    }

    pub async fn bytes_until(&mut self, mark: &str) -> Vec<u8> {
        loop {
            let found = self.unread.windows(mark.len()).position(|window| window == mark.as_bytes());
            if let Some(at) = found {
                return self.unread.drain(..at + mark.len()).collect();
            }
            if !self.more().await {
                return std::mem::take(&mut self.unread);
            }
        }
    }

    /// Reads on until the other end ends the connection, and tells how.
    pub async fn end(&mut self) -> End {
        while self.end.is_none() && self.more().await {}
        self.end.unwrap()
    }

    /// Whether nothing comes for a while, neither bytes nor the end.
    pub async fn is_quiet(&mut self) -> bool {
        self.unread.is_empty() && tokio::time::timeout(Duration::from_millis(80), self.more()).await.is_err()
    }

    /// Everything to the end of the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// The head of the next request or answer, and no body: what HEAD is answered with.
    pub async fn only_head(&mut self) -> Option<Message> {
        let head = self.until("\r\n\r\n").await;
        let head = head.strip_suffix("\r\n\r\n")?;
        let (first, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let headers = lines.lines().filter_map(header).collect();
        Some(Message { first: first.to_owned(), headers, body: Vec::new(), trailers: Vec::new(), complete: true })
    }

    /// The next request or answer as a whole; `None` when the connection ends before its head does.
    pub async fn message(&mut self) -> Option<Message> {
        let mut message = self.only_head().await?;
        let answer = message.first.starts_with("HTTP/");
        if answer && (matches!(message.status(), 204 | 304) || message.status() < 200) {
            return Some(message);
        }
        if message.one("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            self.chunks(&mut message).await;
        } else if let Some(length) = message.one("content-length") {
            let length = length.parse().unwrap();
            while self.unread.len() < length && self.more().await {}
            let there = length.min(self.unread.len());
            message.body = self.unread.drain(..there).collect();
            message.complete = there == length;
        } else if answer {
            message.complete = self.end().await == End::Closed;
            message.body = std::mem::take(&mut self.unread);
        }
        Some(message)
    }

    async fn chunks(&mut self, message: &mut Message) {
        loop {
            let size = self.until("\r\n").await;
            let Ok(size) = usize::from_str_radix(size.trim().split(';').next().unwrap_or_default(), 16) else {
                message.complete = false;
                return;
            };
            if size == 0 {
                loop {
                    let line = self.until("\r\n").await;
                    message.complete = line.ends_with("\r\n");
                    let Some((name, value)) = line.split_once(':') else { return };
                    message.trailers.push((name.to_owned(), value.trim().to_owned()));
                }
            }
            while self.unread.len() < size.saturating_add(2) && self.more().await {}
            let there = size.min(self.unread.len());
            message.body.extend(self.unread.drain(..there));
            self.unread.drain(..2.min(self.unread.len()));
        }
    }

    /// The next answer, which has to come.
    pub async fn answer(&mut self) -> Message {
        self.message().await.expect("an answer")
    }

    /// The head of the answer to a HEAD request; nothing follows it.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }
}

/// A request of the first tenant's, without a body: `request("GET", "/v1/x", "Accept: a\r\n")`.
pub fn request(method: &str, rest: &str, headers: &str) -> String {
    begin(method, rest, headers) + "\r\n"
}

/// The same up to the empty line, for more headers and a body.
pub fn begin(method: &str, rest: &str, headers: &str) -> String {
    format!("{method} /{TENANT}/api{rest} HTTP/1.1\r\nHost: localhost\r\n{headers}")
}

/// Sends bytes as they are on a connection of its own, and reads one answer.
pub async fn ask(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Message {
    let mut wire = Wire::to(to).await;
    wire.say(bytes).await;
    wire.answer().await
}

/// What a recording peer was sent, and what it says.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<(Vec<Message>, String)>>);

impl Seen {
    pub fn all(&self) -> Vec<Message> {
        self.0.lock().unwrap().0.clone()
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }

    /// The last request.
    pub fn last(&self) -> Message {
        self.all().pop().expect("a request came")
    }

    /// Another answer from now on.
    pub fn answer_with(&self, answer: &str) {
        answer.clone_into(&mut self.0.lock().unwrap().1);
    }
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A peer that gives every request the same answer, keeps connections, and remembers what it was sent.
pub async fn recorder(answer: &str) -> (Peer, Seen) {
    let seen = Seen::default();
    seen.answer_with(answer);
    let shared = seen.clone();
    let peer = Peer::start(move |_, stream| {
        let seen = shared.clone();
        async move {
            let mut wire = Wire::of(stream);
            while let Some(request) = wire.message().await {
                let answer = {
                    let mut seen = seen.0.lock().unwrap();
                    seen.0.push(request);
                    seen.1.clone()
                };
                if wire.stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (peer, seen)
}

/// Fails when a text gives away anything that only the proxy and SuperOffice may know; the beginning of a ticket or of a
/// token, to recognise it by, is no secret.
pub fn assert_no_secret(text: &str) {
    let key = demo::PRIVATE_KEY_XML.split_once("<D>").map_or("<D>", |(_, rest)| &rest[..24]);
    let secrets = [demo::CLIENT_SECRET, demo::SECOND_CLIENT_SECRET, "pzqc70604i", "8k8Q7DmBgo", key];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret:?} stands in {text}");
    }
    let base64 = |c: &char| c.is_ascii_alphanumeric() || "+/=-_".contains(*c);
    for (start, most) in [("7T:", 4), ("eyJ", 4)] {
        for (at, _) in text.match_indices(start) {
            let run = text[at + start.len()..].chars().take_while(base64).count();
            assert!(run <= most, "a secret stands in {text}");
        }
    }
}
