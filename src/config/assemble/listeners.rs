//! The two listeners: how far they reach, and whether they get in each other's way.

use std::net::{IpAddr, SocketAddr};

use super::Assembly;
use crate::config::file::{Door, ListenSettings, Settings};
use crate::config::{Admin, Listen};

impl Assembly<'_> {
    pub(super) fn listen(&mut self, settings: &ListenSettings) -> Option<Listen> {
        if let Some(addresses) = &settings.door.addresses {
            let means = "soproxy does not ask its callers who they are, so whoever reaches this address reads and writes the tenants' data";
            self.reach("listen", addresses, settings.door.insecure_allow_anonymous, means);
        }
        Some(Listen {
            addresses: settings.door.addresses.clone()?,
            hosts: settings.door.hosts.clone()?,
            insecure_allow_anonymous: settings.door.insecure_allow_anonymous?,
            limits: settings.limits.clone()?,
            max_uri: settings.max_uri?,
            max_body: settings.max_body?,
            max_requests: settings.max_requests?,
            grace: settings.grace?,
            workers: settings.workers?,
        })
    }

    /// The outer `None` had a problem, the inner is "off".
    pub(super) fn admin(&mut self, settings: &Door<Option<Vec<SocketAddr>>>) -> Option<Option<Admin>> {
        if let Some(Some(addresses)) = &settings.addresses {
            let means = "whoever reaches this address learns the tenants' names and states";
            self.reach("admin", addresses, settings.insecure_allow_anonymous, means);
        }
        let admin = |addresses| {
            Some(Admin { addresses, hosts: settings.hosts.clone()?, insecure_allow_anonymous: settings.insecure_allow_anonymous? })
        };
        match settings.addresses.clone()? {
            Some(addresses) => admin(addresses).map(Some),
            None => Some(None),
        }
    }

    /// A listener that other machines can reach must say that it means it.
    fn reach(&mut self, section: &str, addresses: &[SocketAddr], allowed: Option<bool>, means: &str) {
        let Some(wide) = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) else { return };
        let (key, what) = (format!("{section}.address"), format!("{wide} can be reached from other machines"));
        match allowed {
            Some(true) => self.warn(&key, what, means),
            Some(false) => {
                let hint = format!(
                    "{means}. Use 127.0.0.1, or, when something else keeps strangers away, set insecure_allow_anonymous = true in [{section}]"
                );
                self.problem(&key, what, hint);
            }
            None => {}
        }
    }

    pub(super) fn overlaps(&mut self, settings: &Settings) {
        let listen = settings.listen.door.addresses.iter().flatten().map(|address| ("listen.address", *address));
        let admin = settings.admin.addresses.iter().flatten().flatten().map(|address| ("admin.address", *address));
        let all: Vec<(&str, SocketAddr)> = listen.chain(admin).collect();
        for (index, (key, address)) in all.iter().enumerate() {
            if let Some((other, _)) = all[..index].iter().find(|(_, earlier)| overlap(*earlier, *address)) {
                self.problem(key, format!("{address} is already taken by {other}"), "give each listener an address or a port of its own");
            }
        }
    }
}

/// Whether one address would keep the other from being bound. Port 0 is any free port.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, other: IpAddr| wide == other || wide.is_unspecified() && wide.is_ipv4() == other.is_ipv4();
    a.port() == b.port() && a.port() != 0 && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}
