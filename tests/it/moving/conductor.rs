//! Who moves the tenant and stops it, over the sandbox's control endpoint, while the callers go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use super::ledger::{Change, Entry, Event, Kind, Ledger, Outcome};
use super::places::Place;
use crate::bench::{Answer, TENANT, collect, open};

/// How long what has to happen may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// An outage lasts until so many were told.
const TOLD: usize = 40;

pub struct Conductor {
    pub sandbox: SocketAddr,
    /// Where notifications go, if SuperOffice sends them.
    pub push: Option<SocketAddr>,
    pub places: Vec<Place>,
    pub ledger: Arc<Ledger>,
    pub events: Vec<Event>,
    /// The longest that connections to the place before were there after a move.
    pub longest_goodbye: Duration,
    /// The longest that it took until the first caller was told of an outage; and of its end.
    pub longest_news: [Duration; 2],
}

impl Conductor {
    pub fn new(sandbox: SocketAddr, push: Option<SocketAddr>, places: Vec<Place>, ledger: Arc<Ledger>) -> Conductor {
        Conductor { sandbox, push, places, ledger, events: Vec::new(), longest_goodbye: Duration::ZERO, longest_news: Default::default() }
    }

    /// Spreads so many of both over so many requests.
    pub async fn conduct(&mut self, requests: usize, moves: usize, outages: usize) {
        let all = moves + outages;
        let mut moved = 0;
        for nth in 0..all {
            let due = requests * (nth + 1) / (all + 1);
            while self.ledger.answered() < due {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let is_outage = (1..=outages).any(|outage| nth == outage * all / (outages + 1));
            if is_outage {
                self.outage().await;
            } else {
                moved += 1;
                self.move_to(moved).await;
            }
            // No request sees two moves: it would be sent again for the first alone.
            let now = Instant::now();
            if self.until(|| self.ledger.is_past(now)).await.is_none() {
                self.ledger.wrong("a request takes longer than 10 s".to_owned());
            }
        }
    }

    async fn move_to(&mut self, nth: usize) {
        let (from, to) = ((nth - 1) % self.places.len(), nth % self.places.len());
        let change = self.change(json!({ "moved": { TENANT: format!("http://{}", self.places[to].authority) } }), "Move").await;
        self.events.push(Event::Move(change));
        match self.until(|| self.places[from].open_now() == 0).await {
            Some(after) => self.longest_goodbye = self.longest_goodbye.max(after),
            None => {
                self.ledger.wrong(format!("move {nth}: {} connections to the place before are still open", self.places[from].open_now()))
            }
        }
    }

    async fn outage(&mut self) {
        let begin = self.change(json!({ "state": { TENANT: "OfflineMaintenance" } }), "Upgrade").await;
        let told = |entry: &Entry| entry.outcome == Outcome::NotRunning && entry.answered >= begin.before;
        let first = self.until(|| self.ledger.count(told) > 0).await;
        let enough = self.until(|| self.ledger.count(told) >= TOLD).await;
        let end = self.change(json!({ "state": { TENANT: "Running" } }), "Upgrade").await;
        let served = |entry: &Entry| entry.outcome == Outcome::Right && entry.kind != Kind::State && entry.sent >= end.after;
        let back = self.until(|| self.ledger.count(served) > 0).await;
        match (first, enough, back) {
            (Some(first), Some(_), Some(back)) => self.longest_news = [self.longest_news[0].max(first), self.longest_news[1].max(back)],
            all => self.ledger.wrong(format!("an outage that callers were not told of, or not of its end: {all:?}")),
        }
        self.events.push(Event::Outage { begin, end });
    }

    async fn until(&self, holds: impl Fn() -> bool) -> Option<Duration> {
        let started = Instant::now();
        while !holds() {
            if started.elapsed() > PATIENCE {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Some(started.elapsed())
    }

    async fn change(&self, faults: Value, told_as: &str) -> Change {
        let before = Instant::now();
        ask(self.sandbox, Method::POST, "/_sandbox/faults", faults).await;
        let after = Instant::now();
        if let Some(push) = self.push {
            let url = format!("http://{push}/superoffice/state-change");
            ask(self.sandbox, Method::POST, "/_sandbox/push", json!({ "tenant": TENANT, "change": told_as, "url": url })).await;
        }
        Change { before, after }
    }
}

/// One request to the sandbox itself, or to the proxy's admin listener.
pub async fn ask(to: SocketAddr, method: Method, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let request = Request::builder().method(method).uri(path).header("host", to.to_string()).body(Full::new(body)).unwrap();
    let answer = collect(open(to, request).await).await;
    assert!(answer.status.is_success() || answer.status == 404, "{answer:?}");
    answer
}

pub async fn get(to: SocketAddr, path: &str) -> Answer {
    ask(to, Method::GET, path, Value::Null).await
}
