//! The listeners: how far they reach, whom they serve, and whether they get in each other's way.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Assembly;
use crate::config::file::{Field, ListenerSettings, Settings, StateSettings, TenantSettings, nearest};
use crate::config::{BoundListener, Listen, State};

const ANYBODY: &str = "callers without a name are served here, so whoever reaches this address reads and writes the tenants' data";

impl Assembly<'_> {
    pub(super) fn listen(&mut self, all: &Settings) -> Option<Listen> {
        let settings = &all.listen;
        if let Some(addresses) = &settings.door.addresses {
            self.reach("listen.address", "listen", &addresses.tcp, anonymous(all), ANYBODY);
            self.in_the_clear("listen", &addresses.tcp, matches!(settings.made.certificate, Field::Absent), all);
        }
        let default_tenant = match &settings.default_tenant {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(name) => self.configured("listen.default_tenant", name, &all.tenants).map(Some),
        };
        let tls = self.tls("listen", &settings.made);
        let sockets = self.sockets("listen", settings.door.addresses.as_ref(), &settings.made.socket);
        Some(Listen {
            addresses: settings.door.addresses.clone()?.tcp,
            sockets: sockets?,
            tls: tls?,
            hosts: settings.door.hosts.clone()?,
            insecure_allow_anonymous: settings.door.insecure_allow_anonymous?,
            default_tenant: default_tenant?,
            public_url: settings.public_url.optional()?,
            trusted_proxies: settings.trusted_proxies.clone()?,
            limits: settings.limits.clone()?,
            max_uri: settings.max_uri?,
            max_body: settings.max_body?,
            max_requests: settings.max_requests?,
            shutdown_delay: settings.shutdown_delay?,
            grace: settings.grace?,
            workers: settings.workers?,
        })
    }

    pub(super) fn listeners(&mut self, all: &Settings) -> Option<Vec<BoundListener>> {
        let found: Vec<_> = all.listeners.iter().enumerate().map(|(index, settings)| self.listener(index, settings, all)).collect();
        found.into_iter().collect()
    }

    fn listener(&mut self, index: usize, settings: &ListenerSettings, all: &Settings) -> Option<BoundListener> {
        let table = format!("listeners[{index}]");
        let key = |name: &str| format!("{table}.{name}");
        if let Some(addresses) = &settings.addresses {
            self.reach(&key("address"), "listen", &addresses.tcp, anonymous(all), ANYBODY);
            self.in_the_clear(&table, &addresses.tcp, matches!(settings.door.certificate, Field::Absent), all);
        }
        let tenant = match &settings.tenant {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(name) => self.configured(&key("tenant"), name, &all.tenants).map(Some),
        };
        let tls = self.tls(&table, &settings.door);
        let sockets = self.sockets(&table, settings.addresses.as_ref(), &settings.door.socket);
        Some(BoundListener {
            addresses: settings.addresses.clone()?.tcp,
            sockets: sockets?,
            tls: tls?,
            tenant: tenant?,
            public_url: settings.public_url.optional()?,
        })
    }

    /// A tenant's name as its table spells it.
    pub(super) fn configured(&mut self, key: &str, name: &str, tenants: &[TenantSettings]) -> Option<String> {
        if let Some(tenant) = tenants.iter().find(|tenant| tenant.name.eq_ignore_ascii_case(name)) {
            return Some(tenant.name.clone());
        }
        let names: Vec<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let hint = match (nearest(name, names.iter().copied()), names.as_slice()) {
            (Some(near), _) => format!("did you mean \"{near}\"?"),
            (None, []) => format!("add a table [tenants.{name}]"),
            (None, [first, ..]) => format!("write the name of a [tenants.…] table, such as \"{first}\""),
        };
        self.problem(key, format!("{name:?} is no configured tenant"), hint);
        None
    }

    /// The push listener may be wide: it serves nothing, and believes nothing but a verified token.
    pub(super) fn state(&mut self, settings: &StateSettings) -> Option<State> {
        let (min_interval, max_interval) = (settings.min_interval, settings.max_interval);
        if max_interval.zip(min_interval).is_some_and(|(max, min)| max < min) {
            self.problem("state.max_interval", "is shorter than min_interval", "write at least what min_interval says");
        }
        Some(State { min_interval: min_interval?, max_interval: max_interval?, push_addresses: settings.push_addresses.clone()? })
    }

    /// Keys that pass the network as they are can be read on their way.
    fn in_the_clear(&mut self, table: &str, addresses: &[SocketAddr], plain: bool, all: &Settings) {
        let keys = all.clients.iter().any(|client| matches!(client.keys, Field::Is(_)));
        let wide = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(wide) = wide.filter(|_| plain && keys) {
            let what = format!("API keys reach {wide} in plain text, and so does everything else");
            self.warn(&format!("{table}.address"), what, "set tls_certificate and tls_key, or have something before it that speaks TLS");
        }
    }

    /// A listener that other machines can reach must say that it means it, unless it serves nobody without a name. `allowed`: the
    /// inner `None` is such a one.
    pub(super) fn reach(&mut self, key: &str, section: &str, addresses: &[SocketAddr], allowed: Option<Option<bool>>, means: &str) {
        let Some(wide) = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) else { return };
        let what = format!("{wide} can be reached from other machines");
        match allowed {
            Some(Some(true)) => self.warn(key, what, means),
            Some(Some(false)) => {
                let named = match section {
                    "listen" => " let only named clients in ([clients.NAME], no [anonymous], policy = \"enforce\"),",
                    _ => " set token,",
                };
                let hint = format!(
                    "{means}. Use 127.0.0.1,{named} or, when something else keeps strangers away, set insecure_allow_anonymous = true in [{section}]"
                );
                self.problem(key, what, hint);
            }
            Some(None) | None => {}
        }
    }

    pub(super) fn overlaps(&mut self, settings: &Settings) {
        let named = |key: &str, addresses: Option<&Vec<SocketAddr>>| -> Vec<(String, SocketAddr)> {
            addresses.into_iter().flatten().map(|address| (key.to_owned(), *address)).collect()
        };
        let mut places = vec![("listen.address".to_owned(), settings.listen.door.addresses.as_ref())];
        for (index, listener) in settings.listeners.iter().enumerate() {
            places.push((format!("listeners[{index}].address"), listener.addresses.as_ref()));
        }
        let admin = settings.admin.door.addresses.as_ref().and_then(Option::as_ref);
        places.push(("admin.address".to_owned(), admin));
        let mut sockets: Vec<(&str, &PathBuf)> = Vec::new();
        for (key, path) in
            places.iter().flat_map(|(key, places)| places.iter().flat_map(move |places| places.unix.iter().map(move |path| (key, path))))
        {
            if let Some((other, _)) = sockets.iter().find(|(_, earlier)| *earlier == path) {
                self.problem(key, format!("unix:{} is already taken by {other}", path.display()), "give each listener a socket of its own");
            }
            sockets.push((key, path));
        }
        let mut all: Vec<_> = places.iter().flat_map(|(key, places)| named(key, places.map(|places| &places.tcp))).collect();
        all.extend(named("state.push_address", settings.state.push_addresses.as_ref().and_then(Option::as_ref)));
        for (index, (key, address)) in all.iter().enumerate() {
            if let Some((other, _)) = all[..index].iter().find(|(_, earlier)| overlap(*earlier, *address)) {
                self.problem(key, format!("{address} is already taken by {other}"), "give each listener an address or a port of its own");
            }
        }
    }
}

/// What `insecure_allow_anonymous` says; the inner `None`: it does not matter, because every caller must be a named client.
fn anonymous(all: &Settings) -> Option<Option<bool>> {
    let named = !all.clients.is_empty() && all.anonymous.is_none() && all.listen.report == Some(false);
    if named { Some(None) } else { all.listen.door.insecure_allow_anonymous.map(Some) }
}

/// Whether one address would keep the other from being bound. Port 0 is any free port.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, other: IpAddr| wide == other || wide.is_unspecified() && wide.is_ipv4() == other.is_ipv4();
    a.port() == b.port() && a.port() != 0 && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}
