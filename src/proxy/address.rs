//! How callers address us: what a tenant's own URLs begin with for this caller, and what else they may begin with.
//!
//! Links in answers are made to begin with [`Address::ours`], so that a client that follows one stays here; links in request
//! bodies are recognised by it and by its aliases.

mod network;

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};

pub use self::network::Network;
use super::route::Way;
use crate::superoffice::origin::BaseUrl;

/// A listener: whom it serves, and what it is called from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Door {
    /// The one tenant it serves; `None` serves all.
    pub tenant: Option<Arc<str>>,
    /// Its own `public_url`.
    pub public_url: Option<BaseUrl>,
    /// Where it is bound; a Unix socket has no address that could stand in a link.
    pub address: Option<SocketAddr>,
    /// It speaks TLS.
    pub tls: bool,
}

impl Door {
    /// Whether this tenant is reached through it.
    fn leads_to(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|name| name.eq_ignore_ascii_case(tenant))
    }
}

/// What is said about our addresses, for all listeners.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// By the index that a connection tells.
    pub doors: Arc<[Door]>,
    /// `listen.hosts`
    pub hosts: Vec<String>,
    /// `listen.public_url`
    pub public_url: Option<BaseUrl>,
    /// `listen.trusted_proxies`
    pub trusted_proxies: Vec<Network>,
    /// `listen.default_tenant`
    pub default_tenant: Option<String>,
}

/// The two ends of a connection, and the door it came through.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The caller's address, or that of a proxy before us; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The address it connected to.
    pub local: Option<SocketAddr>,
    /// By TLS.
    pub tls: bool,
    /// The listener.
    pub listener: usize,
}

static PLAIN: Door = Door { tenant: None, public_url: None, address: None, tls: false };

impl Front {
    /// The door of a listener.
    pub fn door(&self, listener: usize) -> &Door {
        self.doors.get(listener).unwrap_or(&PLAIN)
    }

    /// How a request addressed a tenant. Keeps what is needed of the request, before its headers are stripped; no text is made
    /// until somebody asks.
    pub fn address<'a>(&'a self, parts: &Parts, ends: Ends, tenant: &'a str, way: Way<'a>) -> Address<'a> {
        let door = self.door(ends.listener);
        let public = door.public_url.is_some() || self.public_url.is_some();
        let (mut called, mut forwarded) = (Called::default(), None);
        if !public {
            called = Called { authority: parts.uri.authority().cloned(), host: parts.headers.get(HOST).cloned() };
            let trusted = |peer: SocketAddr| self.trusted_proxies.iter().any(|network| network.contains(peer.ip()));
            if ends.peer.is_some_and(trusted) {
                forwarded = Some(Box::new(Forwarded::new(&parts.headers)));
            }
        }
        Address { front: self, door, tenant, way, local: ends.local, tls: ends.tls, called, forwarded }
    }
}

/// How one request addressed its tenant.
#[derive(Clone, Debug)]
pub struct Address<'a> {
    front: &'a Front,
    door: &'a Door,
    /// The tenant's name.
    tenant: &'a str,
    way: Way<'a>,
    local: Option<SocketAddr>,
    tls: bool,
    called: Called,
    forwarded: Option<Box<Forwarded>>,
}

/// What the caller called us.
#[derive(Clone, Debug, Default)]
struct Called {
    /// Of an absolute-form target, or `:authority`: counts more than `Host`. RFC 9112 §3.2.2.
    authority: Option<Authority>,
    host: Option<HeaderValue>,
}

/// What a trusted proxy says that its caller called it.
#[derive(Clone, Debug)]
struct Forwarded {
    host: Option<HeaderValue>,
    proto: Option<HeaderValue>,
    prefix: Option<HeaderValue>,
}

impl Forwarded {
    fn new(headers: &HeaderMap) -> Forwarded {
        let line = |name: &str| headers.get(name).cloned();
        Forwarded { host: line("x-forwarded-host"), proto: line("x-forwarded-proto"), prefix: line("x-forwarded-prefix") }
    }

    fn host(&self) -> Option<&str> {
        first(self.host.as_ref()?).filter(|host| is_authority(host))
    }

    fn proto(&self) -> Option<&'static str> {
        let proto = first(self.proto.as_ref()?)?;
        ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(proto))
    }

    /// Without its last slash.
    fn prefix(&self) -> Option<&str> {
        let prefix = first(self.prefix.as_ref()?)?.trim_end_matches('/');
        is_plain_path(prefix).then_some(prefix)
    }
}

impl Address<'_> {
    /// What the tenant's URLs begin with for this caller, without a slash at the end: `http://localhost:8080/Cust12345`, where
    /// `/api` follows.
    pub fn ours(&self) -> String {
        let mut ours = self.origin();
        if let Some(segment) = self.segment() {
            ours.push('/');
            ours.push_str(segment);
        }
        ours
    }

    /// Whether other things than the tenant may live there, so that it is the tenant's only before `/api` and the like.
    pub fn is_shared(&self) -> bool {
        self.segment().is_none() && self.way != Way::Host
    }

    /// What else they may begin with, at any listener; they mean the same without regard to case.
    pub fn aliases(&self) -> Vec<String> {
        self.others().0
    }

    /// And the origins that are the tenant's only before `/api` and the like, because it is the default or the listener's own.
    pub fn shared_aliases(&self) -> Vec<String> {
        self.others().1
    }

    /// Both, the longest first.
    fn others(&self) -> (Vec<String>, Vec<String>) {
        let is_default = self.front.default_tenant.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(self.tenant));
        let alone = |door: &Door| door.tenant.is_some() || is_default;
        let public = self.door.public_url.iter().chain(&self.front.public_url).map(ToString::to_string);
        let mut others = (Vec::new(), Vec::new());
        self.names_at((self.local, self.tls), public.chain([self.origin()]), alone(self.door), &mut others);
        for door in self.front.doors.iter().filter(|door| door.leads_to(self.tenant)) {
            self.names_at((door.address, door.tls), door.public_url.iter().map(ToString::to_string), alone(door), &mut others);
        }
        let ours = self.ours();
        for all in [&mut others.0, &mut others.1] {
            all.iter_mut().for_each(|alias| alias.make_ascii_lowercase());
            all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            all.dedup();
            all.retain(|alias| !alias.eq_ignore_ascii_case(&ours));
        }
        others
    }

    /// What the tenant's URLs may begin with at one of our own addresses, which is called `more` besides; and with `alone` the
    /// origins themselves.
    fn names_at(
        &self,
        (local, tls): (Option<SocketAddr>, bool),
        more: impl Iterator<Item = String>,
        alone: bool,
        (all, shared): &mut (Vec<String>, Vec<String>),
    ) {
        let tenant = self.tenant;
        let scheme = if tls { "https" } else { "http" };
        let usual = if tls { 443 } else { 80 };
        let below = |origin: &String| format!("{origin}/{tenant}");
        let Some(local) = local else {
            let more: Vec<String> = more.collect();
            all.extend(more.iter().map(below));
            if alone {
                shared.extend(more);
            }
            return;
        };
        let port = local.port();
        let at = |host: &str| format!("{scheme}://{host}:{port}");
        let own = SocketAddr::new(local.ip().to_canonical(), port);
        let mut origins = vec![at("localhost"), at("127.0.0.1"), at("[::1]"), format!("{scheme}://{own}")];
        let mut named = vec![at(&format!("{tenant}.localhost"))];
        // Who else is at the ports of a front before us is not known: there, only what names the tenant is ours.
        let mut fronts = Vec::new();
        for host in &self.front.hosts {
            origins.push(at(host));
            fronts.extend(["http", "https"].map(|scheme| format!("{scheme}://{host}")));
            let without_port = ["http", "https"].map(|scheme| format!("{scheme}://{tenant}.{host}"));
            named.extend(without_port.into_iter().chain([at(&format!("{tenant}.{host}"))]));
        }
        if port == usual {
            let port = format!(":{port}");
            let bare =
                |all: &[String]| -> Vec<String> { all.iter().filter_map(|one| one.strip_suffix(&port)).map(str::to_owned).collect() };
            origins.extend(bare(&origins));
            named.extend(bare(&named));
        }
        origins.extend(more);
        all.extend(origins.iter().chain(&fronts).chain(&named).map(below));
        all.extend(named);
        if alone {
            shared.extend(origins);
        }
    }

    /// Scheme, host, port, and the path that a proxy before us takes away.
    fn origin(&self) -> String {
        if let Some(url) = self.door.public_url.as_ref().or(self.front.public_url.as_ref()) {
            return url.to_string();
        }
        let forwarded = self.forwarded.as_deref();
        let scheme = forwarded.and_then(Forwarded::proto).unwrap_or(if self.tls { "https" } else { "http" });
        let prefix = forwarded.and_then(Forwarded::prefix).unwrap_or_default();
        match forwarded.and_then(Forwarded::host).or_else(|| self.called()) {
            Some(host) => format!("{scheme}://{host}{prefix}"),
            None => match self.local {
                Some(local) => format!("{scheme}://{}{prefix}", SocketAddr::new(local.ip().to_canonical(), local.port())),
                None => format!("{scheme}://localhost{prefix}"),
            },
        }
    }

    fn called(&self) -> Option<&str> {
        let authority = self.called.authority.as_ref().map(Authority::as_str);
        let host = || self.called.host.as_ref()?.to_str().ok();
        authority.or_else(host).filter(|host| is_authority(host))
    }

    /// The tenant's part of the path, where there is one.
    fn segment(&self) -> Option<&str> {
        match self.way {
            Way::Path(segment) => Some(segment),
            // The public address of all listeners does not tell which listener or host it was; the path always does.
            Way::Listener if self.door.public_url.is_none() => self.front.public_url.is_some().then_some(self.tenant),
            Way::Host => (self.door.public_url.is_some() || self.front.public_url.is_some()).then_some(self.tenant),
            Way::Listener | Way::Default => None,
        }
    }
}

/// The first of a list's elements: what the proxy nearest to the client said.
fn first(list: &HeaderValue) -> Option<&str> {
    list.to_str().ok()?.split(',').next().map(str::trim)
}

/// A host with or without a port, in characters that mean nothing in JSON, XML or HTML.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let bracketed = || host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = !host.is_empty() && host.bytes().all(plain) || bracketed().is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    is_host && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// `/a/b`: no empty segments, none of dots, and nothing that has to be decoded or escaped. Empty is no path.
fn is_plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~');
    let fits = |segment: &str| !segment.is_empty() && segment.bytes().all(plain) && !segment.bytes().all(|byte| byte == b'.');
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(fits))
}

#[cfg(test)]
mod tests;
