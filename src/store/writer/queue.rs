//! Who waits to be written, and who has failed. Plain data; never locked while anything is written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::Source;
use crate::store::Identity;
use crate::superoffice::signing::SigningKey;
use crate::ticket::backoff;

#[derive(Default)]
pub(super) struct Queue {
    entries: BTreeMap<u64, Entry>,
    /// The entry of each tenant.
    ids: BTreeMap<Identity, u64>,
    last_id: u64,
    /// Those that are to be written, in the order in which they changed.
    ready: VecDeque<u64>,
    /// Those whose writing failed, and when to try again.
    later: BTreeMap<u64, Instant>,
    /// How many entries have failed.
    failing: usize,
    /// Nothing new is taken, and nothing is begun after this.
    until: Option<Instant>,
    /// One job is out.
    busy: bool,
    /// The thread is gone.
    pub(super) ended: bool,
}

pub(super) struct Entry {
    identity: Arc<Identity>,
    source: Source,
    queued: bool,
    failures: u32,
    written: Option<Arc<Written>>,
}

/// What was written the last time: the same need not be written again.
pub(super) struct Written {
    pub(super) key: Arc<SigningKey>,
    pub(super) digest: [u8; 32],
}

/// One writing.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) identity: Arc<Identity>,
    pub(super) source: Source,
    pub(super) written: Option<Arc<Written>>,
}

impl Queue {
    /// A tenant has one entry: the latest takes the place of the one before, which is given back, and goes on with what that
    /// had written. So a file has one writer, and a reload that changes nothing writes nothing.
    pub(super) fn attach(&mut self, identity: Identity, source: Source) -> (u64, Option<Entry>) {
        let before = self.ids.get(&identity).copied().and_then(|id| self.detach(id));
        self.last_id += 1;
        self.ids.insert(identity.clone(), self.last_id);
        let written = before.as_ref().and_then(|before| before.written.clone());
        let entry = Entry { identity: Arc::new(identity), source, queued: false, failures: 0, written };
        self.entries.insert(self.last_id, entry);
        (self.last_id, before)
    }

    pub(super) fn detach(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.ids.remove(&entry.identity);
        self.later.remove(&id);
        self.failing -= usize::from(entry.failures > 0);
        Some(entry)
    }

    /// Whether the thread should look. One that has failed keeps its time: a full disk is not hammered.
    pub(super) fn changed(&mut self, id: u64) -> bool {
        if self.until.is_some() || self.later.contains_key(&id) {
            return false;
        }
        match self.entries.get_mut(&id) {
            Some(entry) if !entry.queued => {
                entry.queued = true;
                self.ready.push_back(id);
                true
            }
            _ => false,
        }
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<Job> {
        if self.until.is_some_and(|until| now >= until) {
            return None;
        }
        let due: Vec<u64> = self.later.iter().filter(|(_, due)| **due <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.later.remove(&id);
            self.queue(id);
        }
        while let Some(id) = self.ready.pop_front() {
            // One that is detached may still stand in the line.
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.queued = false;
            self.busy = true;
            return Some(Job { id, identity: entry.identity.clone(), source: entry.source.clone(), written: entry.written.clone() });
        }
        None
    }

    fn queue(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.queued) {
            entry.queued = true;
            self.ready.push_back(id);
        }
    }

    /// When the next one that failed is to be tried again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }

    /// Whether that was the last that failed.
    pub(super) fn succeeded(&mut self, id: u64, written: Option<Written>) -> bool {
        self.busy = false;
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        entry.written = written.map(Arc::new).or(entry.written.take());
        let had_failed = std::mem::take(&mut entry.failures) > 0;
        self.failing -= usize::from(had_failed);
        had_failed && self.failing == 0
    }

    /// Whether that is the first that fails: one line tells of a full disk, not one for each tenant and try.
    pub(super) fn failed(&mut self, id: u64, now: Instant, jitter: f64) -> bool {
        self.busy = false;
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        entry.failures += 1;
        let newly = entry.failures == 1;
        self.later.insert(id, now + backoff(entry.failures, jitter));
        self.failing += usize::from(newly);
        newly && self.failing == 1
    }

    /// How many tenants' last writing failed.
    pub(super) fn failing(&self) -> usize {
        self.failing
    }

    /// Everybody is to be written, once, until then.
    pub(super) fn finish(&mut self, until: Instant) {
        if self.until.is_some() {
            return;
        }
        self.later.clear();
        let all: Vec<u64> = self.entries.keys().copied().collect();
        for id in all {
            self.queue(id);
        }
        self.until = Some(until);
    }

    /// Nobody is written any more.
    pub(super) fn stop(&mut self) {
        if self.until.is_none() {
            self.ready.clear();
            self.later.clear();
            self.until = Some(Instant::now());
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until || self.ready.is_empty())
    }

    /// How many tenants' latest is not written.
    pub(super) fn unsaved(&self) -> usize {
        let ready = self.ready.iter().filter(|id| self.entries.contains_key(id)).count();
        ready + self.later.len() + usize::from(self.busy)
    }
}
