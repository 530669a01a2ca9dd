//! Who may call: clients and their keys, what each may do, and web pages.

mod changes;
mod keys;
mod pages;
mod program;
mod report;
mod rules;
mod tenants;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use soproxy::log::AccessLog;
use soproxy::proxy::clients::ApiKey;

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::Peer;
use crate::wire::{Message, OK, Seen, ask, begin, recorder, request};

const OTHER: &str = "Cust54321";

/// A client's table, with a new key.
fn client(name: &str, rules: &str) -> (ApiKey, String) {
    let key = ApiKey::random();
    let table = format!("[clients.{name}]\nkeys = [\"{}\"]\n{rules}\n", key.hash());
    (key, table)
}

/// The header line by which most clients send it.
fn line(key: &ApiKey) -> String {
    format!("X-Api-Key: {}\r\n", key.expose())
}

/// A proxy that keeps its access records, before an upstream that says OK and remembers.
struct Door {
    bench: Bench,
    seen: Seen,
    records: Records,
    _peer: Peer,
}

impl Door {
    async fn with(tables: &str) -> Door {
        Door::of(Setup::new(), tables).await
    }

    async fn of(setup: Setup, tables: &str) -> Door {
        let (peer, seen) = recorder(OK).await;
        let (bench, records) = recorded(setup.api_at(peer.address), tables).await;
        Door { bench, seen, records, _peer: peer }
    }

    async fn send(&self, bytes: impl AsRef<[u8]>) -> Message {
        ask(self.bench.proxy, bytes).await
    }

    async fn get(&self, rest: &str, headers: &str) -> Message {
        self.send(request("GET", rest, headers)).await
    }

    /// A request with a small body.
    async fn write(&self, method: &str, rest: &str, headers: &str) -> Message {
        self.send(begin(method, rest, &format!("{headers}Content-Length: 2\r\n\r\n{{}}"))).await
    }

    /// Changes the tables, as a reload does.
    fn reload(&mut self, tables: &str) {
        tables.clone_into(&mut self.bench.more);
        self.bench.live.apply(self.bench.config_with(&[])).unwrap();
    }
}

async fn recorded(mut setup: Setup, tables: &str) -> (Bench, Records) {
    let records = Records::default();
    setup.access_log = Some(AccessLog::start(1, true, records.clone()).unwrap());
    setup.more += tables;
    (setup.start().await, records)
}

/// The access log.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<u8>>>);

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Records {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The first so many, as soon as they are there.
    async fn first(&self, number: usize) -> Vec<Value> {
        for _ in 0..500 {
            let text = self.text();
            if text.matches('\n').count() >= number {
                let mut all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                // Each worker's lines are written together.
                all.sort_by_key(|record| record["timestamp"].as_str().map(str::to_owned));
                all.truncate(number);
                return all;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("not {number} records within 5 s: {}", self.text());
    }

    /// The last of so many.
    async fn nth(&self, number: usize) -> Value {
        self.first(number).await.pop().unwrap()
    }
}

/// Status and the proxy's own error.
fn outcome(answer: &Message) -> (u16, &str) {
    (answer.status(), answer.error().unwrap_or_default())
}

const STRANGER: (u16, &str) = (401, "client_unauthenticated");
const FORBIDDEN: (u16, &str) = (403, "not_allowed");
const FINE: (u16, &str) = (200, "");

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// All that two answers could be told apart by, but for what is each request's own.
fn told(answer: &Message) -> (String, Vec<String>, String) {
    let id = answer.one("x-request-id").unwrap_or_default().to_owned();
    (answer.first.clone(), answer.names(), answer.text().replace(&id, "ID"))
}

fn path(tenant: &str) -> String {
    format!("/{tenant}/api/v1/x")
}

fn own_path() -> String {
    path(TENANT)
}
