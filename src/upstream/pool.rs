//! Connections at rest, one set per worker: the one used last is used first, so that those nobody needs grow old.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;

use super::link::Link;
use super::multiplex::Multiplexed;
use crate::shard::Shards;
use crate::superoffice::origin::BaseUrl;

/// All of them.
pub struct Pool {
    shards: Shards<Mutex<Hosts>>,
    /// In ticks.
    limits: Ages,
}

/// How old connections may get, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// Without a request.
    pub idle: u32,
    /// Since they were opened.
    pub age: u32,
}

#[derive(Default)]
struct Hosts {
    https: HashMap<Box<str>, Arc<Host>>,
    http: HashMap<Box<str>, Arc<Host>>,
}

/// One worker's connections to one host.
pub struct Host {
    /// Its name for `Host`.
    pub name: HeaderValue,
    resting: Mutex<Resting>,
    /// Held while the first connection shows which protocol the host speaks.
    pub first: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Resting {
    #[expect(clippy::vec_box, reason = "a link is boxed all its life: it goes to a request and comes back")]
    links: Vec<Box<Link>>,
    multiplexed: Vec<Multiplexed>,
    /// Whether it was seen which protocol the host speaks.
    known: bool,
}

impl Pool {
    /// An empty pool.
    pub fn new(workers: usize, limits: Ages) -> Pool {
        Pool { shards: Shards::new(workers, Mutex::default), limits }
    }

    /// This worker's connections to `origin`.
    pub fn host(&self, origin: &BaseUrl) -> Arc<Host> {
        let mut hosts = lock(self.shards.here());
        let authority = origin.authority().as_str();
        let named = if origin.is_https() { &mut hosts.https } else { &mut hosts.http };
        if let Some(host) = named.get(authority) {
            return host.clone();
        }
        // An authority is made of characters that a header can hold.
        let name = HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static(""));
        let host = Arc::new(Host { name, resting: Mutex::default(), first: tokio::sync::Mutex::default() });
        named.insert(authority.into(), host.clone());
        host
    }

    /// Forgets all connections to `origin`: whoever still uses one returns it to a place that is gone with it.
    pub fn let_go(&self, origin: &BaseUrl) {
        for shard in self.shards.iter() {
            let mut hosts = lock(shard);
            let named = if origin.is_https() { &mut hosts.https } else { &mut hosts.http };
            named.remove(origin.authority().as_str());
        }
    }

    /// Closes what has rested too long, is too old, or was closed by the peer.
    pub fn reap(&self, now: u32) {
        for shard in self.shards.iter() {
            let hosts: Vec<Arc<Host>> = {
                let hosts = lock(shard);
                hosts.https.values().chain(hosts.http.values()).cloned().collect()
            };
            for host in hosts {
                let mut resting = lock(&host.resting);
                resting.links.retain_mut(|link| self.limits.allow(link, now) && link.rests());
                resting.multiplexed.retain(|connection| self.limits.allow_multiplexed(connection, now));
            }
        }
    }

    /// How many connections have nothing to do, by authority.
    pub fn resting(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for shard in self.shards.iter() {
            let hosts = lock(shard);
            for (authority, host) in hosts.https.iter().chain(&hosts.http) {
                let resting = lock(&host.resting);
                let unused = resting.multiplexed.iter().filter(|connection| !connection.is_closed() && connection.in_use() == 0);
                *counts.entry(String::from(&**authority)).or_default() += resting.links.len() + unused.count();
            }
        }
        counts
    }

    /// How old connections may get.
    pub fn limits(&self) -> Ages {
        self.limits
    }
}

impl Ages {
    fn allow(self, link: &Link, now: u32) -> bool {
        now.saturating_sub(link.rested) <= self.idle && now.saturating_sub(link.opened) <= self.age
    }

    /// One that is in use is only kept from new requests by the one who takes it.
    fn allow_multiplexed(self, connection: &Multiplexed, now: u32) -> bool {
        !connection.is_closed()
            && (connection.in_use() > 0
                || now.saturating_sub(connection.rested()) <= self.idle && now.saturating_sub(connection.opened) <= self.age)
    }
}

impl Host {
    /// The connection that was used last, if there is one that is not too old.
    pub fn take(&self, ages: Ages, now: u32) -> Option<Box<Link>> {
        let mut resting = lock(&self.resting);
        loop {
            let link = resting.links.pop()?;
            if ages.allow(&link, now) {
                return Some(link);
            }
        }
    }

    /// For the next request.
    pub fn put(&self, mut link: Box<Link>, ages: Ages, now: u32) {
        link.rested = now;
        link.reused = true;
        // Nothing is kept with a limit of 0.
        if ages.idle > 0 && now.saturating_sub(link.opened) <= ages.age {
            lock(&self.resting).links.push(link);
        }
    }

    /// A connection that has room for another stream.
    pub fn share(&self, ages: Ages, now: u32) -> Option<Multiplexed> {
        let resting = lock(&self.resting);
        let fits = |connection: &&Multiplexed| connection.has_room() && now.saturating_sub(connection.opened) <= ages.age;
        resting.multiplexed.iter().find(fits).cloned()
    }

    /// Remembers a connection that all may use.
    pub fn put_multiplexed(&self, connection: Multiplexed) {
        let mut resting = lock(&self.resting);
        resting.known = true;
        resting.multiplexed.push(connection);
    }

    /// The host was seen to speak HTTP/1.1.
    pub fn speaks_http1(&self) {
        lock(&self.resting).known = true;
    }

    /// Whether it was seen which protocol it speaks: then nobody waits for another's connection.
    pub fn is_known(&self) -> bool {
        lock(&self.resting).known
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
