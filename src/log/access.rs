//! Access records: one line per request, formatted by the thread that answered it into a buffer of its own, and written by
//! a thread that does nothing else. A request never waits for whoever reads the log.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};

use crate::clock::{Clock, Moment};
use crate::shard::Shards;
use crate::superoffice::origin::AllowedBase;
use crate::ticket::Ticket;

/// Lines are written in batches, this long after the first of a batch.
const DELAY: Duration = Duration::from_millis(40);

/// What may wait per worker; when nobody reads the log, lines beyond it are dropped and counted.
const ROOM: usize = 1 << 20;

/// Where access records go. What is there when it is dropped, or finished, is still written.
#[derive(Debug)]
pub struct AccessLog {
    json: bool,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    thread: Thread,
}

/// What the writing thread sees.
#[derive(Debug)]
struct Shared {
    lines: Shards<Mutex<Lines>>,
    /// Something waits to be written.
    pending: AtomicBool,
    /// Nothing more will come.
    finished: AtomicBool,
    dropped: AtomicU64,
    /// Those of `dropped` that were told of.
    told: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// The second that `stamp` stands for.
    second: u64,
    /// `2026-11-23T18:41:22.`
    stamp: Vec<u8>,
}

impl AccessLog {
    /// Writes to `sink` from a thread of its own, as text or as JSON.
    pub fn start(workers: usize, json: bool, sink: impl Write + Send + 'static) -> std::io::Result<Arc<AccessLog>> {
        let shared = Arc::new(Shared {
            lines: Shards::new(workers, Mutex::default),
            pending: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            told: AtomicU64::new(0),
        });
        let writing = shared.clone();
        let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writing.write_to(sink))?;
        let thread = writer.thread().clone();
        Ok(Arc::new(AccessLog { json, shared, writer: Mutex::new(Some(writer)), thread }))
    }

    fn add(&self, record: &AccessRecord) {
        let shared = &*self.shared;
        {
            let mut lines = lock(shared.lines.here());
            if lines.bytes.len() > ROOM {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            lines.add(record, self.json);
        }
        if !shared.pending.load(Ordering::Relaxed) && !shared.pending.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }

    /// How many records were lost so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what waits, and returns when that is done. Nothing is written afterwards.
    pub fn finish(&self) {
        self.shared.finished.store(true, Ordering::Release);
        self.thread.unpark();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic of the writing thread has told of itself.
            let _ = writer.join();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Not waited for: whoever drops the last record may be a worker.
        self.shared.finished.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Shared {
    fn write_to(&self, mut sink: impl Write) {
        loop {
            let finished = self.finished.load(Ordering::Acquire);
            if !self.pending.load(Ordering::Acquire) && !finished {
                std::thread::park();
                continue;
            }
            if !finished {
                std::thread::sleep(DELAY);
            }
            // Before it is looked at what there is: a line that comes later sets it again.
            self.pending.store(false, Ordering::Release);
            self.write_all(&mut sink);
            if finished {
                return;
            }
        }
    }

    fn write_all(&self, sink: &mut impl Write) {
        for lines in self.lines.iter() {
            let bytes = std::mem::take(&mut lock(lines).bytes);
            // There is nobody to tell that the log cannot be written.
            let _ = sink.write_all(&bytes);
        }
        let _ = sink.flush();
        let dropped = self.dropped.load(Ordering::Relaxed);
        match dropped - self.told.swap(dropped, Ordering::Relaxed) {
            0 => {}
            lines => tracing::warn!(lines, "access records dropped: the log is not read fast enough"),
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the log tells about one request: written when its answer's body has ended, or when the record is dropped because
/// the caller went away. The query is left out: it holds personal data more often than not.
#[derive(Debug)]
pub struct AccessRecord {
    /// `X-Request-Id`
    pub id: HeaderValue,
    /// The method.
    pub method: Method,
    /// The target as the caller wrote it.
    pub target: Option<PathAndQuery>,
    /// The client, if it has a name.
    pub client: Option<Arc<str>>,
    /// The rule that refused the request.
    pub refused_by: Option<String>,
    /// The rule that would have refused it, were rules enforced.
    pub would_refuse: Option<String>,
    /// The tenant, once matched.
    pub tenant: Option<Arc<str>>,
    /// The ticket that was used last.
    pub ticket: Option<Arc<Ticket>>,
    /// Where it was sent.
    pub upstream: Option<AllowedBase>,
    /// The answer's status; `None` when the caller went away before.
    pub status: Option<StatusCode>,
    /// The code of an error of the proxy's own.
    pub error: Option<&'static str>,
    /// What caused it, for the log only.
    pub cause: Option<String>,
    /// Why the request was sent again.
    pub sent_twice: Option<&'static str>,
    /// How long it took to get a ticket.
    pub ticket_wait: Duration,
    /// How long it waited for its turn.
    pub queue_wait: Duration,
    /// How long it waited for a new connection to upstream; nothing when one was there.
    pub connect: Duration,
    /// When it was handed to upstream the last time, from its arrival.
    pub sent: Option<Duration>,
    /// When the head of upstream's answer to that was there, from its arrival.
    pub answered: Option<Duration>,
    /// From the request's arrival to the answer's head.
    pub first_byte: Option<Duration>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Bytes that the caller sent through a tunnel.
    pub received: Option<u64>,
    /// Whether the answer's body went out to its end.
    pub complete: bool,
    /// When the request arrived.
    pub started: Moment,
    clock: Clock,
    log: Option<Arc<AccessLog>>,
}

impl AccessRecord {
    /// Starts a record at the request's arrival.
    pub fn start(
        id: HeaderValue,
        method: Method,
        target: Option<PathAndQuery>,
        clock: &Clock,
        log: Option<Arc<AccessLog>>,
    ) -> AccessRecord {
        AccessRecord {
            id,
            method,
            target,
            client: None,
            refused_by: None,
            would_refuse: None,
            tenant: None,
            ticket: None,
            upstream: None,
            status: None,
            error: None,
            cause: None,
            sent_twice: None,
            ticket_wait: Duration::ZERO,
            queue_wait: Duration::ZERO,
            connect: Duration::ZERO,
            sent: None,
            answered: None,
            first_byte: None,
            bytes: 0,
            received: None,
            complete: false,
            started: clock.now(),
            clock: clock.clone(),
            log,
        }
    }

    /// The time since the request's arrival.
    pub fn elapsed(&self) -> Duration {
        self.clock.mono().saturating_sub(self.started.mono)
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.add(self);
        }
    }
}

impl Lines {
    fn add(&mut self, record: &AccessRecord, json: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.as_secs() != self.second || self.stamp.is_empty() {
            self.second = now.as_secs();
            let second = i64::try_from(self.second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            self.stamp = second.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string().trim_end_matches('Z').as_bytes().to_vec();
        }
        let line = &mut self.bytes;
        line.extend_from_slice(if json { b"{\"timestamp\":\"" } else { b"" });
        line.extend_from_slice(&self.stamp);
        line.push(b'.');
        digits(line, u64::from(now.subsec_micros()), 6);
        line.extend_from_slice(if json { b"Z\",\"level\":\"INFO\",\"message\":\"" } else { b"Z  INFO access: " });
        escaped(line, record.method.as_str());
        line.push(b' ');
        escaped(line, record.target.as_ref().map_or("*", |target| target.path()));
        if json {
            line.push(b'"');
        }
        let mut fields = Fields { line, json };
        // An id is made of characters that need no escape.
        fields.text("id", record.id.to_str().unwrap_or_default());
        if let Some(client) = &record.client {
            fields.text("client", client);
        }
        if let Some(rule) = &record.refused_by {
            fields.text("refused_by", rule);
        }
        if let Some(rule) = &record.would_refuse {
            fields.text("would_refuse", rule);
        }
        if let Some(tenant) = &record.tenant {
            fields.text("tenant", tenant);
        }
        if let Some(ticket) = &record.ticket {
            fields.number("generation", ticket.generation);
        }
        if let Some(upstream) = &record.upstream {
            fields.text("upstream", upstream.authority().as_str());
        }
        if let Some(status) = record.status {
            fields.number("status", u64::from(status.as_u16()));
        }
        if let Some(error) = record.error {
            fields.text("error", error);
        }
        if let Some(cause) = &record.cause {
            fields.text("cause", cause);
        }
        if let Some(cause) = record.sent_twice {
            fields.text("sent_twice", cause);
        }
        if !record.complete {
            fields.name("broken_off");
            fields.line.extend_from_slice(b"true");
        }
        fields.number("bytes", record.bytes);
        if let Some(received) = record.received {
            fields.number("received", received);
        }
        fields.millis("ticket_ms", record.ticket_wait);
        if !record.queue_wait.is_zero() {
            fields.millis("queue_ms", record.queue_wait);
        }
        if let Some(first_byte) = record.first_byte {
            fields.millis("first_byte_ms", first_byte);
        }
        fields.millis("total_ms", record.elapsed());
        line.extend_from_slice(if json { b",\"target\":\"access\"}\n" } else { b"\n" });
    }
}

/// The fields of one line.
struct Fields<'a> {
    line: &'a mut Vec<u8>,
    json: bool,
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        self.line.extend_from_slice(if self.json { b",\"" } else { b" " });
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(if self.json { b"\":" } else { b"=" });
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.line.push(b'"');
        escaped(self.line, value);
        self.line.push(b'"');
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        digits(self.line, value, 1);
    }

    /// Milliseconds with three decimals.
    fn millis(&mut self, name: &str, value: Duration) {
        self.name(name);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        digits(self.line, micros / 1000, 1);
        self.line.push(b'.');
        digits(self.line, micros % 1000, 3);
    }
}

/// A number with at least so many digits.
fn digits(line: &mut Vec<u8>, mut value: u64, least: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while value > 0 || text.len() - at < least {
        at -= 1;
        text[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
    line.extend_from_slice(&text[at..]);
}

/// A text as it stands between quotes, in JSON and in the text form alike: one line, whatever is in it.
fn escaped(line: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend_from_slice(&[b'\\', c as u8]),
            // What does not print: a terminal might obey it, or show it as something else (C1 controls, bidi marks).
            c if c != '\'' && c.escape_debug().len() > 1 => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    line.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        /// Waits for the writing thread.
        fn text(&self) -> String {
            for _ in 0..500 {
                let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
                if !text.is_empty() {
                    return text;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("nothing was written");
        }
    }

    fn record(log: &Arc<AccessLog>, target: &'static str) -> AccessRecord {
        let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let target = Some(PathAndQuery::from_static(target));
        let record = AccessRecord::start(HeaderValue::from_static("id-1"), Method::GET, target, &clock, Some(log.clone()));
        hand.advance(Duration::from_micros(12_034_005));
        record
    }

    #[test]
    fn a_line_of_json_is_json_whatever_is_in_it() {
        let sink = Sink::default();
        let log = AccessLog::start(1, true, sink.clone()).unwrap();
        let mut one = record(&log, "/Cust1/api/v1/\"x?secret=1");
        one.cause = Some("it said 'no', \"no\\\",\nand\u{7f}\u{9b}\u{202e}\u{e0041} left — ü".to_owned());
        (one.status, one.sent_twice, one.bytes) = (Some(StatusCode::OK), Some("ticket refused"), 70);
        drop(one);
        let line: serde_json::Value = serde_json::from_str(sink.text().trim_end()).unwrap();
        assert_eq!(line["message"], "GET /Cust1/api/v1/\"x");
        assert_eq!(line["cause"], "it said 'no', \"no\\\",\nand\u{7f}\u{9b}\u{202e}\u{e0041} left — ü");
        assert_eq!((&line["status"], &line["bytes"], &line["broken_off"]), (&200.into(), &70.into(), &true.into()));
        assert_eq!((&line["total_ms"], &line["ticket_ms"]), (&12_034.005.into(), &0.0.into()));
        assert_eq!((&line["sent_twice"], &line["id"], &line["target"]), (&"ticket refused".into(), &"id-1".into(), &"access".into()));
        line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }

    #[test]
    fn what_waits_at_the_end_is_written() {
        let sink = Sink::default();
        let log = AccessLog::start(1, false, sink.clone()).unwrap();
        for _ in 0..100 {
            drop(record(&log, "/a"));
        }
        log.finish();
        assert_eq!(sink.text().lines().count(), 100);
    }

    #[test]
    fn a_line_of_text_is_one_line() {
        let sink = Sink::default();
        let log = AccessLog::start(1, false, sink.clone()).unwrap();
        let mut one = record(&log, "/a");
        (one.cause, one.complete) = (Some("two\nlines\u{9b}2J".to_owned()), true);
        drop(one);
        let text = sink.text();
        let (stamp, rest) = text.split_once("Z  INFO access: ").unwrap();
        assert_eq!(stamp.len(), "2026-11-23T18:41:22.123456".len());
        assert_eq!(rest, "GET /a id=\"id-1\" cause=\"two\\u000alines\\u009b2J\" bytes=0 ticket_ms=0.000 total_ms=12034.005\n");
    }
}
