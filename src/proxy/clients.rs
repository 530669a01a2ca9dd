//! Who is calling, and what that caller may do.
//!
//! A caller is known by what it sends (an API key) or by what its connection proves (a certificate, the user or group it runs as);
//! the first of these that is a client's counts, in that order. Whoever is no client is anonymous, where that is allowed.

mod key;
mod limit;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

pub use self::key::{ApiKey, BadKeyHash, KeyHash};
use self::key::{Keys, Offered};
use self::limit::Limit;
use super::policy::Rules;
use crate::peer::Proof;

/// A client as it is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The table's name.
    pub name: String,
    /// What its API keys hash to; two while one replaces the other.
    pub keys: Vec<KeyHash>,
    /// Names in certificates, spelled as [`crate::peer::Certificate`] has them.
    pub certificates: Vec<String>,
    /// Users whose processes it is.
    pub uids: Vec<u32>,
    /// Groups whose processes it is, on Unix sockets.
    pub gids: Vec<u32>,
    /// What it may do.
    pub terms: Terms,
}

/// What a caller may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Which tenants, methods and paths.
    pub rules: Rules,
    /// Calls per second.
    pub rate: Option<f64>,
}

/// A caller that may do something.
#[derive(Debug)]
pub struct Client {
    /// Its name; `None` is everybody without one.
    pub name: Option<Arc<str>>,
    /// Which tenants, methods and paths it may use.
    pub rules: Rules,
    limit: Option<Limit>,
}

/// All of them.
#[derive(Debug)]
pub struct Clients {
    named: Vec<Arc<Client>>,
    keys: Keys,
    certificates: HashMap<String, usize>,
    uids: BTreeMap<u32, usize>,
    gids: BTreeMap<u32, usize>,
    anonymous: Option<Arc<Client>>,
    /// Whether what would be refused is only reported.
    report: bool,
    /// Everybody, where it is only reported that nobody may.
    anybody: Arc<Client>,
}

/// A caller that is no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// It sent a key that is none of ours, or several.
    #[error("the API key that was sent is not, or no longer, a client's")]
    WrongKey,
    /// It showed nothing that is a client's.
    #[error(
        "only known clients are served: send an API key (Authorization: Bearer, X-Api-Key, or the password of Basic), or use a certificate, user or group that is a client's"
    )]
    NoClient,
}

impl Client {
    fn new(name: Option<&str>, terms: &Terms) -> Arc<Client> {
        let limit = terms.rate.map(Limit::new);
        Arc::new(Client { name: name.map(Into::into), rules: terms.rules.clone(), limit })
    }

    /// Counts a call against its rate. `Err`: how long until the next one may come.
    pub fn take_turn(&self, now: Duration) -> Result<(), Duration> {
        self.limit.as_ref().map_or(Ok(()), |limit| limit.take(now))
    }
}

impl Clients {
    /// `anonymous` is what callers without a name may do; `None`: nothing. With `report` nobody is refused.
    pub fn new(clients: &[Description], anonymous: Option<&Terms>, report: bool) -> Clients {
        let named: Vec<_> = clients.iter().map(|client| Client::new(Some(&client.name), &client.terms)).collect();
        let mut keys = Keys::default();
        let (mut certificates, mut uids, mut gids) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        for (at, client) in clients.iter().enumerate() {
            client.keys.iter().for_each(|key| keys.add(key, at));
            certificates.extend(client.certificates.iter().map(|name| (name.clone(), at)));
            uids.extend(client.uids.iter().map(|uid| (*uid, at)));
            gids.extend(client.gids.iter().map(|gid| (*gid, at)));
        }
        let anonymous = anonymous.map(|terms| Client::new(None, terms));
        Clients { named, keys, certificates, uids, gids, anonymous, report, anybody: Client::new(None, &Terms::default()) }
    }

    /// Whether what is refused is only reported.
    pub fn only_reports(&self) -> bool {
        self.report
    }

    /// Who sent a request with these headers, over a connection that proves this.
    pub fn identify(&self, headers: &HeaderMap, proof: &Proof) -> Result<&Arc<Client>, Stranger> {
        if self.named.is_empty() {
            return self.anonymous.as_ref().ok_or(Stranger::NoClient);
        }
        match key::offered(headers) {
            Offered::Nothing => {}
            Offered::Key(key) => return self.named(self.keys.find(&key)).ok_or(Stranger::WrongKey),
            Offered::Several => return Err(Stranger::WrongKey),
        }
        let by_proof = self.by_certificate(proof).or_else(|| self.by_process(proof));
        self.named(by_proof).or(self.anonymous.as_ref()).ok_or(Stranger::NoClient)
    }

    /// Whoever cannot be told, where it is only reported what would be refused.
    pub fn anybody(&self) -> &Arc<Client> {
        &self.anybody
    }

    fn by_certificate(&self, proof: &Proof) -> Option<usize> {
        proof.certificate()?.names.iter().find_map(|name| self.certificates.get(name)).copied()
    }

    fn by_process(&self, proof: &Proof) -> Option<usize> {
        if self.uids.is_empty() && self.gids.is_empty() {
            return None;
        }
        let process = proof.process()?;
        let by_group = || self.gids.get(&process.gid?);
        self.uids.get(&process.uid).or_else(by_group).copied()
    }

    fn named(&self, at: Option<usize>) -> Option<&Arc<Client>> {
        self.named.get(at?)
    }
}

#[cfg(test)]
mod tests;
