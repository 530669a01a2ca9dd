//! Every metric ([`table`]), what counts ([`Metrics`], handed down, not global), and how it is written ([`exposition`]).
//!
//! What a request counts is its worker's own: some relaxed additions, no lock, no cache line that another core writes. What is
//! not counted but simply is (tickets, pools, the process) is looked at when somebody asks: `admin::metrics`.

mod counters;
pub mod exposition;
mod labels;
pub mod table;
mod tenants;
mod upstreams;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub use self::counters::{Cells, Ended, Sum};
use self::counters::{Histogram, Named, add};
pub use self::labels::{Cause, Lookup, Push};
use self::labels::{PHASES, STORED};
use self::tenants::Tenants;
pub use self::tenants::{MOST, TenantCounts};
pub use self::upstreams::Open;
use self::upstreams::Upstreams;
use crate::shard::Shards;

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    shards: Shards<Counters>,
    codes: &'static [&'static str],
    tenants: Tenants,
    upstreams: Upstreams,
    exchanges: Histogram,
    state_fetches: Named,
    stored: [AtomicU64; STORED.len()],
}

/// One worker's.
#[derive(Debug, Default)]
struct Counters {
    causes: [AtomicU64; Cause::ALL.len()],
    pushes: [AtomicU64; Push::ALL.len()],
    lookups: [AtomicU64; Lookup::ALL.len()],
    phases: [Histogram; PHASES.len()],
    tunnels: AtomicU64,
    tunnels_ended: AtomicU64,
}

/// Where the time of a request that went upstream was spent.
#[derive(Clone, Copy, Debug)]
pub struct Phases {
    /// Waiting for its turn.
    pub queue: Duration,
    /// Waiting for a ticket or a state.
    pub ticket: Duration,
    /// Waiting for a new connection.
    pub connect: Duration,
    /// From its last sending to the head of the answer, if there was one; as elsewhere with the connecting in it.
    pub first_byte: Option<Duration>,
    /// From its arrival to the last byte.
    pub total: Duration,
}

impl Metrics {
    /// `codes`: those that errors can have.
    pub fn new(workers: usize, codes: &'static [&'static str]) -> Metrics {
        Metrics {
            shards: Shards::new(workers, Counters::default),
            codes,
            tenants: Tenants::new(workers, codes),
            upstreams: Upstreams::default(),
            exchanges: Histogram::default(),
            state_fetches: Named::default(),
            stored: Default::default(),
        }
    }

    /// The counters of a tenant: always the same for a name.
    pub fn tenant(&self, name: &str) -> Arc<TenantCounts> {
        self.tenants.get(name)
    }

    /// Tenants are about to be replaced by others: those that are gone make room, if there is none.
    pub fn make_room(&self) {
        self.tenants.make_room();
    }

    /// A request has ended that was no tenant's.
    pub fn untold(&self, ended: &Ended<'_>) {
        self.tenants.nobody().here().request(ended);
    }

    /// A request that went upstream has ended.
    pub fn phases(&self, phases: &Phases) {
        let here = &self.shards.here().phases;
        here[0].observe(phases.queue);
        here[1].observe(phases.ticket);
        here[2].observe(phases.connect);
        if let Some(first_byte) = phases.first_byte {
            here[3].observe(first_byte);
        }
        here[4].observe(phases.total);
    }

    /// A request is sent once more.
    pub fn sent_twice(&self, cause: Cause) {
        add(&self.shards.here().causes[cause as usize], 1);
    }

    /// A notification came.
    pub fn pushed(&self, push: Push) {
        add(&self.shards.here().pushes[push as usize], 1);
    }

    /// The list cache was asked.
    pub fn looked_up(&self, lookup: Lookup) {
        add(&self.shards.here().lookups[lookup as usize], 1);
    }

    /// A connection has become a tunnel.
    pub fn tunnel_began(&self) {
        add(&self.shards.here().tunnels, 1);
    }

    /// … and is over.
    pub fn tunnel_ended(&self) {
        add(&self.shards.here().tunnels_ended, 1);
    }

    /// A connection to upstream stands.
    pub fn opened(&self, authority: &str, http2: bool) -> Open {
        self.upstreams.opened(authority, http2)
    }

    /// A connection to upstream could not be had.
    pub fn not_opened(&self, authority: &str) {
        self.upstreams.failed(authority);
    }

    /// An exchange is over; how it failed, if it did.
    pub fn exchanged(&self, tenant: &TenantCounts, failure: Option<&'static str>, took: Duration) {
        tenant.exchanged(failure);
        self.exchanges.observe(took);
    }

    /// A tenant's state was asked for: `ok`, or why it was not told.
    pub fn state_fetched(&self, result: &'static str) {
        self.state_fetches.add(result);
    }

    /// A tenant's record was written to the store, or could not be.
    pub fn stored(&self, success: bool) {
        add(&self.stored[usize::from(!success)], 1);
    }
}

impl Default for Metrics {
    /// For whoever looks at none.
    fn default() -> Metrics {
        Metrics::new(0, &[])
    }
}
