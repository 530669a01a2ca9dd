//! What is counted of connections to upstream, by whom they lead to. Connections are rare, so a lock does no harm.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use super::counters::{add, get};

/// So many are told apart. SuperOffice has some dozens.
const MOST: usize = 100;

/// The protocols, in the order of `opened`.
pub(super) const PROTOCOLS: [&str; 2] = ["http/1.1", "h2"];

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<BTreeMap<Box<str>, Arc<Connections>>>);

/// The connections to one.
#[derive(Debug, Default)]
pub(super) struct Connections {
    opened: [AtomicU64; PROTOCOLS.len()],
    closed: AtomicU64,
    failed: AtomicU64,
}

impl Connections {
    /// By protocol.
    pub(super) fn opened(&self) -> [u64; PROTOCOLS.len()] {
        [get(&self.opened[0]), get(&self.opened[1])]
    }

    pub(super) fn closed(&self) -> u64 {
        get(&self.closed)
    }

    pub(super) fn failed(&self) -> u64 {
        get(&self.failed)
    }
}

/// A connection that is open, until this is dropped.
#[derive(Debug)]
pub struct Open(Arc<Connections>);

impl Drop for Open {
    fn drop(&mut self) {
        add(&self.0.closed, 1);
    }
}

impl Upstreams {
    pub(super) fn opened(&self, authority: &str, http2: bool) -> Open {
        let connections = self.get(authority);
        add(&connections.opened[usize::from(http2)], 1);
        Open(connections)
    }

    pub(super) fn failed(&self, authority: &str) {
        add(&self.get(authority).failed, 1);
    }

    pub(super) fn all(&self) -> BTreeMap<Box<str>, Arc<Connections>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn get(&self, authority: &str) -> Arc<Connections> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if all.contains_key(authority) || all.len() < MOST { authority } else { "other" };
        all.entry(name.into()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_is_closed_once_it_is_dropped() {
        let upstreams = Upstreams::default();
        let (one, two) = (upstreams.opened("a", false), upstreams.opened("a", true));
        upstreams.failed("b");
        drop(one);
        let all = upstreams.all();
        assert_eq!((all["a"].opened(), all["a"].closed(), all["b"].failed()), ([1, 1], 1, 1));
        drop(two);
        assert_eq!(all["a"].closed(), 2);
        (0..200).for_each(|number| upstreams.failed(&number.to_string()));
        assert_eq!(upstreams.all().len(), MOST + 1);
        assert_eq!(upstreams.all()["other"].failed(), 200 - 98);
    }
}
