//! What came of a run: the table for people, and what does not add up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::conductor::get;
use super::ledger::{Kind, Ledger, Outcome, Row};
use crate::bench::TENANT;

/// What the sandbox and the proxy counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    exchanges: u64,
    states: u64,
    api_calls: u64,
    misdirected: u64,
    not_running: u64,
    unauthorized: u64,
    moved: u64,
    refused: u64,
    lost: u64,
}

impl Counted {
    pub async fn now(sandbox: SocketAddr, admin: SocketAddr) -> Counted {
        let counters = get(sandbox, "/_sandbox/counters").await.json();
        let metrics = get(admin, "/metrics").await;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let sent_twice = |cause: &str| {
            let name = format!("soproxy_sent_twice_total{{cause=\"{cause}\"}} ");
            let line = metrics.text().lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
        };
        Counted {
            exchanges: number(&counters["exchanges"][TENANT]),
            states: number(&counters["states"][TENANT]),
            api_calls: number(&counters["api_calls"]),
            misdirected: number(&counters["misdirected"]),
            not_running: number(&counters["not_running"]),
            unauthorized: number(&counters["unauthorized"]),
            moved: sent_twice("tenant moved"),
            refused: sent_twice("ticket refused"),
            lost: sent_twice("connection lost"),
        }
    }

    pub fn since(self, before: Counted) -> Counted {
        Counted {
            exchanges: self.exchanges - before.exchanges,
            states: self.states - before.states,
            api_calls: self.api_calls - before.api_calls,
            misdirected: self.misdirected - before.misdirected,
            not_running: self.not_running - before.not_running,
            unauthorized: self.unauthorized - before.unauthorized,
            moved: self.moved - before.moved,
            refused: self.refused - before.refused,
            lost: self.lost - before.lost,
        }
    }
}

/// A run, and how it ended.
pub struct Numbers {
    pub title: String,
    pub rows: BTreeMap<Kind, Row>,
    pub counted: Counted,
    pub took: Duration,
    pub min_interval: Duration,
    pub moves: usize,
    pub outages: usize,
    pub longest_goodbye: Duration,
    pub longest_news: [Duration; 2],
    pub slowest: Duration,
    pub created: usize,
    pub callers: usize,
    pub connections: u64,
    pub upstream_connections: usize,
    pub wrong: Vec<String>,
}

impl Numbers {
    fn total(&self) -> Row {
        let add = |a: Row, b: &Row| Row {
            all: a.all + b.all,
            right: a.right + b.right,
            not_running: a.not_running + b.not_running,
            unavailable: a.unavailable + b.unavailable,
            misdirected: a.misdirected + b.misdirected,
            wrong: a.wrong + b.wrong,
        };
        self.rows.values().fold(Row::default(), add)
    }

    /// Whether any request was answered with 421 at all.
    pub fn told_of_moves(&self) -> bool {
        self.counted.misdirected > 0
    }

    /// How often the state may have been fetched.
    fn states_allowed(&self) -> u64 {
        (self.took.as_micros() / self.min_interval.as_micros()) as u64 + 1
    }

    /// Holds the sums of both sides against each other.
    pub fn add_up(&mut self, ledger: &Ledger) {
        let (total, counted) = (self.total(), self.counted);
        let own = ledger.count(|entry| entry.kind == Kind::State || entry.outcome == Outcome::NotRunning) as u64;
        let equal = [
            ("calls that SuperOffice saw", counted.api_calls, total.all - own + counted.moved + counted.refused + counted.lost),
            ("421s: sent again, or told the caller", counted.misdirected, counted.moved + total.misdirected),
            ("503s of SuperOffice's", counted.not_running, total.unavailable),
            ("exchanges", counted.exchanges, 0),
            ("401s", counted.unauthorized + counted.refused, 0),
            ("connections lost", counted.lost, 0),
        ];
        for (what, seen, expected) in equal {
            if seen != expected {
                self.wrong.push(format!("{what}: {seen} instead of {expected}"));
            }
        }
        if counted.states > self.states_allowed() {
            self.wrong.push(format!("{} fetches of the state, {} are allowed", counted.states, self.states_allowed()));
        }
    }

    pub fn print(&self) {
        println!("\n# {}", self.title);
        println!("{:<34}{:>9}{:>9}{:>9}{:>9}{:>6}{:>7}", "", "requests", "right", "503 ours", "503 SO's", "421", "wrong");
        let line = |name: &str, row: &Row| {
            let Row { all, right, not_running, unavailable, misdirected, wrong } = row;
            println!("{name:<34}{all:>9}{right:>9}{not_running:>9}{unavailable:>9}{misdirected:>6}{wrong:>7}");
        };
        self.rows.iter().for_each(|(kind, row)| line(kind.name(), row));
        line("all", &self.total());
        let Counted { states, misdirected, moved, exchanges, .. } = self.counted;
        println!(
            "{} moves, {} times in maintenance; {:.1?}; the slowest request took {:.0?}",
            self.moves, self.outages, self.took, self.slowest
        );
        println!("{misdirected} answers of 421: {moved} requests sent again, {} uploads told so", self.total().misdirected);
        println!("{states} fetches of the state ({} allowed), {exchanges} exchanges for moves", self.states_allowed());
        println!("{} contacts created, each once, and nothing else", self.created);
        println!("{} connections of {} callers, {} to SuperOffice", self.connections, self.callers, self.upstream_connections);
        println!("the last connection to the place before was closed at most {:.0?} after a move", self.longest_goodbye);
        println!("callers heard of maintenance after {:.0?} at most, of its end after {:.0?}", self.longest_news[0], self.longest_news[1]);
        for wrong in self.wrong.iter().take(20) {
            println!("WRONG: {wrong}");
        }
        println!("answered wrongly, or not adding up: {}", self.wrong.len());
    }
}
