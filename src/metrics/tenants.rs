//! What is counted of each tenant, by its name: a reload that makes a tenant anew goes on counting where the last one ended.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::counters::{Cells, Named, add, get};
use crate::shard::Shards;

/// So many tenants are told apart; what is more is counted together.
pub const MOST: usize = 500;

/// The name of all that are beyond [`MOST`].
const OTHER: &str = "(other)"; // no context identifier, and no table, is called like this

/// What an exchange that gave a ticket is counted under.
const SUCCESS: &str = "";

/// All tenants that were counted.
#[derive(Debug)]
pub(super) struct Tenants {
    workers: usize,
    codes: &'static [&'static str],
    /// Requests that are no tenant's.
    nobody: Arc<TenantCounts>,
    all: Mutex<BTreeMap<Arc<str>, Arc<TenantCounts>>>,
}

/// One tenant's counters.
#[derive(Debug)]
pub struct TenantCounts {
    name: Arc<str>,
    codes: &'static [&'static str],
    /// A worker that has nothing to do with a tenant has no counters of it.
    shards: Shards<OnceLock<Arc<Cells>>>,
    refusals: AtomicU64,
    avoided: AtomicU64,
    exchanges: Named,
}

impl TenantCounts {
    fn new(name: &str, workers: usize, codes: &'static [&'static str]) -> Arc<TenantCounts> {
        Arc::new(TenantCounts {
            name: name.into(),
            codes,
            shards: Shards::new(workers, OnceLock::new),
            refusals: AtomicU64::new(0),
            avoided: AtomicU64::new(0),
            exchanges: Named::default(),
        })
    }

    /// What it is called in labels: its name, or that of all who are too many.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This worker's counters of its requests.
    pub fn here(&self) -> &Arc<Cells> {
        self.shards.here().get_or_init(|| Arc::new(Cells::new(self.codes)))
    }

    /// SuperOffice has refused a call because there were too many.
    pub fn refused(&self) {
        add(&self.refusals, 1);
    }

    /// So many renewals more were not needed.
    pub fn avoided(&self, renewals: u64) {
        add(&self.avoided, renewals);
    }

    pub(super) fn exchanged(&self, failure: Option<&'static str>) {
        self.exchanges.add(failure.unwrap_or(SUCCESS));
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Cells> {
        self.shards.iter().filter_map(OnceLock::get).map(|cells| &**cells)
    }

    /// Refusals, and renewals that were not needed.
    pub(super) fn few(&self) -> (u64, u64) {
        (get(&self.refusals), get(&self.avoided))
    }

    /// How often exchanges succeeded, and how often they failed with which code.
    pub(super) fn exchanges(&self) -> (u64, BTreeMap<&'static str, u64>) {
        let mut all = self.exchanges.all();
        (all.remove(SUCCESS).unwrap_or_default(), all)
    }
}

impl Tenants {
    pub(super) fn new(workers: usize, codes: &'static [&'static str]) -> Tenants {
        Tenants { workers, codes, nobody: TenantCounts::new("", workers, codes), all: Mutex::default() }
    }

    pub(super) fn nobody(&self) -> &Arc<TenantCounts> {
        &self.nobody
    }

    pub(super) fn get(&self, name: &str) -> Arc<TenantCounts> {
        let mut all = self.lock();
        let name = if all.contains_key(name) || all.len() < MOST { name } else { OTHER };
        if let Some(known) = all.get(name) {
            return known.clone();
        }
        let counts = TenantCounts::new(name, self.workers, self.codes);
        all.insert(counts.name.clone(), counts.clone());
        counts
    }

    /// Those that are gone make room, if there is none left for new ones. To whoever reads it, a tenant that comes back is
    /// like one of a process that was restarted.
    pub(super) fn make_room(&self) {
        let mut all = self.lock();
        if all.len() >= MOST {
            all.retain(|_, counts| Arc::strong_count(counts) > 1);
        }
    }

    /// Those without a tenant first.
    pub(super) fn all(&self) -> Vec<Arc<TenantCounts>> {
        std::iter::once(self.nobody.clone()).chain(self.lock().values().cloned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<TenantCounts>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_is_made_anew_goes_on_counting() {
        let tenants = Tenants::new(1, &[]);
        tenants.get("a").refused();
        tenants.get("a").refused();
        assert_eq!(tenants.get("a").few(), (2, 0));
        tenants.make_room();
        assert_eq!(tenants.get("a").few(), (2, 0), "there is room");
    }

    #[test]
    fn whoever_is_too_much_is_counted_together_until_others_are_gone() {
        let tenants = Tenants::new(0, &[]);
        let mut held: Vec<_> = (0..MOST).map(|number| tenants.get(&format!("Cust{number}"))).collect();
        assert_eq!((held[MOST - 1].name(), tenants.get("a").name(), tenants.get("b").name()), ("Cust499", OTHER, OTHER));
        assert_eq!(tenants.all().len(), 2 + MOST, "nobody's and the others'");
        tenants.make_room();
        assert_eq!(tenants.get("a").name(), OTHER);
        held.truncate(100);
        tenants.make_room();
        assert_eq!((tenants.get("a").name(), tenants.get("Cust99").name()), ("a", "Cust99"));
    }
}
