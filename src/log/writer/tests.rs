//! Records that go through the writing thread.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};

use super::*;
use crate::clock::Clock;

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
fn phases_and_the_query_are_told_when_they_are_known_and_asked_for() {
    let sink = Sink::default();
    let writer = Writer::new(1);
    let log = AccessLog::new(writer.clone(), Style { json: true, query: super::super::Query::Names });
    // What is told before the thread is there waits for it.
    let mut one = record(&log, "/a?$top=3&name=x");
    (one.connect, one.sent, one.answered) = (Duration::from_millis(3), Some(Duration::from_millis(5)), Some(Duration::from_micros(15_250)));
    drop(one);
    (&*writer).write_all(b"an event\n").unwrap();
    writer.start(Stream(sink.clone())).unwrap();
    let text = sink.text();
    let (line, event) = text.split_once('\n').unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["message"], event), (&"GET /a?$top&name".into(), "an event\n"));
    assert_eq!((&line["connect_ms"], &line["upstream_ms"]), (&3.0.into(), &10.25.into()));
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
