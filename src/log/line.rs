//! How a record stands in the log: one line, as text or as JSON.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{AccessRecord, Query};

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// As JSON, else as text.
    pub json: bool,
    /// What is told of queries.
    pub query: Query,
}

/// Lines that wait to be written, of one thread.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    /// The second that `stamp` stands for.
    second: u64,
    /// `2026-11-23T18:41:22.`
    stamp: Vec<u8>,
}

impl Lines {
    /// One more.
    pub(super) fn add(&mut self, record: &AccessRecord, style: Style) {
        let json = style.json;
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
        if style.query != Query::Off {
            escaped(line, &style.query.shown(record.target.as_ref().and_then(|target| target.query())));
        }
        if json {
            line.push(b'"');
        }
        let mut fields = Fields { line, json };
        // An id is made of characters that need no escape.
        fields.text("id", record.id.to_str().unwrap_or_default());
        if let Some(trace) = record.trace {
            fields.text("trace_id", &trace.to_string());
        }
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
        if !record.connect.is_zero() {
            fields.millis("connect_ms", record.connect);
        }
        if let (Some(sent), Some(answered)) = (record.sent, record.answered) {
            fields.millis("upstream_ms", answered.saturating_sub(sent));
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
