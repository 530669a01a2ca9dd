//! `soproxy policy learn`: from access records to the smallest sensible rules that allow all that they tell of.
//!
//! What SuperOffice answered teaches, and what `policy = "report"` let pass. What soproxy answered itself teaches nothing; what it
//! refused as `not_allowed` is listed, so that the operator decides.

mod proposal;
mod record;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use self::record::Record;
use self::tree::Tree;
use super::normal::Normal;
use super::{Rule, method};

/// What has been learned so far.
#[derive(Debug, Default)]
pub struct Learned {
    callers: BTreeMap<Option<String>, Caller>,
    /// Access records.
    records: u64,
    /// Of these, what soproxy answered itself.
    own: u64,
    /// Lines that are no access records.
    others: u64,
}

/// What one caller did.
#[derive(Debug, Default)]
struct Caller {
    requests: u64,
    tenants: BTreeSet<String>,
    /// By method, in capitals.
    seen: BTreeMap<String, Tree>,
    /// What no rule can allow, or a rule has refused, and how often.
    listed: BTreeMap<String, u64>,
}

impl Learned {
    /// One line of a log.
    pub fn line(&mut self, line: &str) {
        match Record::parse(line) {
            Some(record) => {
                self.records += 1;
                self.record(record);
            }
            None if line.trim().is_empty() => {}
            None => self.others += 1,
        }
    }

    /// How many access records there were.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whose requests have been seen; nobody's name is `None`.
    pub fn callers(&self) -> impl Iterator<Item = Option<&str>> {
        self.callers.keys().map(Option::as_deref)
    }

    fn record(&mut self, record: Record) {
        let refused = record.error.as_deref() == Some("not_allowed");
        if record.error.is_some() && !refused {
            self.own += 1;
            return;
        }
        let method = method::in_capitals(&record.method).into_owned();
        let (Some(path), Some(tenant)) = (record.behind_tenant(), record.tenant.clone()) else {
            // Before a tenant is known, nothing is answered but by soproxy itself. Refusals may not tell theirs.
            if refused {
                let rule = record.refused_by.as_deref().unwrap_or("a rule");
                self.caller(record.client).list(format!("refused by {rule}: {method} {}", record.path));
            } else {
                self.own += 1;
            }
            return;
        };
        let (path, caller) = (path.to_owned(), self.callers.entry(record.client).or_default());
        if refused {
            let rule = record.refused_by.as_deref().unwrap_or("a rule");
            return caller.list(format!("refused by {rule}: {method} {}", tree::generalised(&path)));
        }
        if Normal::of(&path).is_err() {
            return caller.list(format!("allowed by no rule, for it is ambiguous: {method} {path}"));
        }
        if format!("{method} /").parse::<Rule>().is_err() {
            return caller.list(format!("allowed by no rule, for this is no method that one can name: {method} {path}"));
        }
        caller.requests += 1;
        caller.tenants.insert(tenant);
        caller.seen.entry(method).or_default().add(&path);
    }

    fn caller(&mut self, name: Option<String>) -> &mut Caller {
        self.callers.entry(name).or_default()
    }
}

impl Caller {
    fn list(&mut self, what: String) {
        // Whoever tries paths shall not fill the memory.
        if self.listed.len() < 1000 || self.listed.contains_key(&what) {
            *self.listed.entry(what).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests;
