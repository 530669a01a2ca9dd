//! What is stored, what is being fetched, and how both end. One lock, held for a few map operations.
//!
//! `moka` was looked at and left out: here the bound has to hold exactly, a write has to drop a collection at once and for the
//! fetches under way, too, and tests move the time by hand. With that there is little left for it to do, for a dozen crates.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use super::policy::Policy;
use super::question::Key;
use super::rules::Touched;
use crate::clock::Moment;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all answers, heads and keys included.
    pub total: usize,
    /// Bytes of one answer; a larger one passes unstored.
    pub entry: usize,
}

/// One stored answer, as SuperOffice sent it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) status: StatusCode,
    /// Without `Age` and without our own `Cache-Status`.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) policy: Policy,
    /// When it was asked for.
    pub(super) asked: Moment,
}

impl Entry {
    /// Bytes, roughly rounded up.
    fn weight(&self, key: &Key) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        1024 + self.body.len() + 2 * headers + 2 * key.len()
    }
}

/// Where an answer belongs: what a write drops together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) tenant: Arc<str>,
    pub(super) collection: Arc<str>,
}

/// How a fetch ended, for those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The answer is stored.
    Stored,
    /// There is no answer to share: everybody for themselves.
    Unshared,
    /// Whoever fetched went away before there was an answer: somebody else shall.
    Left,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    group: Group,
    weight: usize,
    used: u64,
}

#[derive(Debug)]
struct Flight {
    key: Key,
    group: Group,
    /// A write came meanwhile: what is fetched may be older than that.
    outdated: bool,
    end: watch::Sender<Option<End>>,
}

#[derive(Debug)]
pub(super) struct Store {
    limits: Limits,
    slots: HashMap<Key, Slot>,
    /// The longest unused first.
    used: BTreeMap<u64, Key>,
    groups: HashMap<Group, HashSet<Key>>,
    bytes: usize,
    flights: HashMap<u64, Flight>,
    /// The fetches that others may wait for.
    leading: HashMap<Key, u64>,
    numbers: u64,
    /// How many had to make room for others.
    evicted: u64,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Store {
        Store {
            limits,
            slots: HashMap::new(),
            used: BTreeMap::new(),
            groups: HashMap::new(),
            bytes: 0,
            flights: HashMap::new(),
            leading: HashMap::new(),
            numbers: 0,
            evicted: 0,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn set(&mut self, limits: Limits) {
        self.limits = limits;
        self.shrink();
    }

    /// How many answers are stored, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    /// How many answers had to make room for others so far.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<Arc<Entry>> {
        self.numbers += 1;
        let slot = self.slots.get_mut(key)?;
        self.used.remove(&slot.used);
        slot.used = self.numbers;
        self.used.insert(slot.used, key.clone());
        Some(slot.entry.clone())
    }

    /// Whether it is stored now; it is not if it is too large.
    fn put(&mut self, key: &Key, group: Group, entry: Arc<Entry>) -> bool {
        self.remove(key);
        let weight = entry.weight(key);
        if entry.body.len() > self.limits.entry || weight > self.limits.total {
            return false;
        }
        self.numbers += 1;
        self.bytes += weight;
        self.used.insert(self.numbers, key.clone());
        self.groups.entry(group.clone()).or_default().insert(key.clone());
        self.slots.insert(key.clone(), Slot { entry, group, weight, used: self.numbers });
        self.shrink();
        true
    }

    fn shrink(&mut self) {
        while self.bytes > self.limits.total
            && let Some((_, key)) = self.used.pop_first()
        {
            self.remove(&key);
            self.evicted += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let Some(slot) = self.slots.remove(key) else { return };
        self.used.remove(&slot.used);
        self.bytes -= slot.weight;
        if let Some(keys) = self.groups.get_mut(&slot.group) {
            keys.remove(key);
            if keys.is_empty() {
                self.groups.remove(&slot.group);
            }
        }
    }

    /// Somebody else who fetches the same.
    pub(super) fn follow(&self, key: &Key) -> Option<watch::Receiver<Option<End>>> {
        let flight = self.flights.get(self.leading.get(key)?)?;
        Some(flight.end.subscribe())
    }

    /// A fetch begins; others may wait for it if it is the first. Its number.
    pub(super) fn begin(&mut self, key: &Key, group: Group) -> u64 {
        self.numbers += 1;
        self.leading.entry(key.clone()).or_insert(self.numbers);
        let flight = Flight { key: key.clone(), group, outdated: false, end: watch::Sender::new(None) };
        self.flights.insert(self.numbers, flight);
        self.numbers
    }

    /// A fetch has brought an answer that may be stored. Whether it was.
    pub(super) fn bring(&mut self, number: u64, entry: Arc<Entry>) -> bool {
        let Some(flight) = self.flights.get(&number) else { return false };
        let (key, group) = (flight.key.clone(), flight.group.clone());
        let stored = !flight.outdated && self.put(&key, group, entry);
        self.end(number, if stored { End::Stored } else { End::Unshared });
        stored
    }

    /// A fetch has ended.
    pub(super) fn end(&mut self, number: u64, end: End) {
        let Some(flight) = self.flights.remove(&number) else { return };
        if self.leading.get(&flight.key) == Some(&number) {
            self.leading.remove(&flight.key);
        }
        flight.end.send_replace(Some(end));
    }

    /// A write has been answered: nothing that is older is told any more. How many answers were dropped.
    pub(super) fn touched(&mut self, tenant: &str, touched: &Touched) -> usize {
        let hit = |group: &Group| *group.tenant == *tenant && touched.is(&group.collection);
        for (number, flight) in self.flights.iter_mut().filter(|(_, flight)| hit(&flight.group)) {
            flight.outdated = true;
            // Whoever comes now fetches anew.
            if self.leading.get(&flight.key) == Some(number) {
                self.leading.remove(&flight.key);
            }
        }
        let groups: Vec<Group> = self.groups.keys().filter(|group| hit(group)).cloned().collect();
        let keys: Vec<Key> = groups.iter().filter_map(|group| self.groups.remove(group)).flatten().collect();
        keys.iter().for_each(|key| self.remove(key));
        keys.len()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use jiff::Timestamp;

    use super::super::question::Asked;
    use super::*;

    fn entry(bytes: usize) -> Arc<Entry> {
        let parts = http::Request::new(()).into_parts().0;
        let asked = Asked { tenant: &"c".into(), identity: 0, target: "/", parts: &parts };
        let ttl = std::time::Duration::from_secs(60);
        let policy = Policy::of(&asked, StatusCode::OK, &HeaderMap::new(), ttl).unwrap();
        let asked = Moment { mono: ttl, wall: Timestamp::UNIX_EPOCH };
        Arc::new(Entry { status: StatusCode::OK, headers: HeaderMap::new(), body: vec![0; bytes].into(), policy, asked })
    }

    fn key(number: usize) -> Key {
        number.to_le_bytes().to_vec().into()
    }

    fn group(tenant: &str, collection: &str) -> Group {
        Group { tenant: tenant.into(), collection: collection.into() }
    }

    #[test]
    fn the_longest_unused_goes_first_and_too_large_ones_stay_out() {
        let mut store = Store::new(Limits { total: 10_000, entry: 5_000 });
        assert!(!store.put(&key(9), group("a", "list"), entry(5_001)));
        for number in 0..4 {
            assert!(store.put(&key(number), group("a", "list"), entry(1_400)));
        }
        assert!(store.get(&key(0)).is_some());
        assert!(store.put(&key(4), group("a", "list"), entry(1_000)));
        assert_eq!([0, 1, 2, 3, 4].map(|number| store.get(&key(number)).is_some()), [true, false, true, true, true]);
        store.set(Limits { total: 0, entry: 0 });
        assert_eq!(store.size(), (0, 0));
    }

    proptest::proptest! {
        #[test]
        fn the_bound_holds_whatever_happens(
            steps in proptest::collection::vec((0u8..6, 0usize..8, 0usize..4_000), 1..200),
        ) {
            let limits = Limits { total: 12_000, entry: 3_000 };
            let mut store = Store::new(limits);
            for (step, number, size) in steps {
                let group = group(["a", "b"][number % 2], ["list", "mdolist", "x"][number % 3]);
                match step {
                    0 | 1 => {
                        let flight = store.begin(&key(number), group);
                        store.bring(flight, entry(size));
                    }
                    2 => _ = store.begin(&key(number), group),
                    3 => _ = store.get(&key(number)),
                    4 => store.remove(&key(number)),
                    _ => {
                        let touched = Touched::by(&Method::POST, "/api/v1/List/1", None).unwrap();
                        store.touched("a", &touched);
                        proptest::prop_assert!(store.slots.values().all(|slot| &*slot.group.tenant != "a" || &*slot.group.collection == "x"));
                    }
                }
                proptest::prop_assert!(store.bytes <= limits.total);
                let weights: usize = store.slots.values().map(|slot| slot.weight).sum();
                let grouped: usize = store.groups.values().map(HashSet::len).sum();
                proptest::prop_assert_eq!((store.bytes, store.used.len(), grouped), (weights, store.slots.len(), store.slots.len()));
                proptest::prop_assert!(store.leading.values().all(|number| store.flights.contains_key(number)));
            }
        }
    }
}
