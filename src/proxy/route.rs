//! Who is meant and what is asked for: listener, host and path → tenant, and the part of the path that goes upstream as it is.
//!
//! A request names its tenant in one of four ways, the first that applies: it came by a listener that is bound to one
//! (`/api/v1/…`), its `Host` begins with one (`cust12345.localhost`), its path does (`/Cust12345/api/v1/…`), or there is a
//! default. A request that names two tenants is answered for neither.

mod names;

use self::names::Names;
use super::error::ProxyError;

/// The configured tenants, and what of theirs is carried.
#[derive(Debug)]
pub struct Routes<T> {
    tenants: Names<T>,
    /// Context identifiers that are not their tenant's name, with the places of those who have them.
    contexts: Names<Vec<usize>>,
    /// What may follow the tenant besides `api`.
    further: Box<[Box<str>]>,
    /// Whose paths may begin with `/api`.
    default: Option<usize>,
}

/// How a request said whom it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// By the first segment of its path, as the caller wrote it.
    Path(&'a str),
    /// By the listener it came to.
    Listener,
    /// By its `Host`.
    Host,
    /// Not at all.
    Default,
}

/// Which part of SuperOffice is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// The web API.
    Api,
    /// The SOAP services, `Remote`, as the caller wrote it.
    Soap(&'a str),
    /// One of `upstream.routes`, as the caller wrote it.
    Further(&'a str),
}

/// A request that is carried.
#[derive(Debug, PartialEq, Eq)]
pub struct Matched<'a, T> {
    /// The tenant.
    pub tenant: &'a T,
    /// How it was named.
    pub way: Way<'a>,
    /// What comes first behind the tenant.
    pub route: Route<'a>,
    /// What follows that, byte for byte: empty, or starting with `/`.
    pub rest: &'a str,
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// One that goes upstream.
    Carried(Matched<'a, T>),
    /// `/api/state/{ctx}`, the question how a tenant stands.
    State {
        /// The tenant.
        tenant: &'a T,
        /// How its own paths begin for this caller.
        way: Way<'a>,
    },
}

const NOT_CARRIED: ProxyError =
    ProxyError::BadTarget("only /{contextId}/api/… and /{contextId}/Remote/… are carried, and what upstream.routes lists");

impl<T> Routes<T> {
    /// Tenants by the name that their paths start with.
    pub fn new(tenants: impl IntoIterator<Item = (String, T)>) -> Routes<T> {
        Routes { tenants: Names::new(tenants), contexts: Names::new([]), further: Box::default(), default: None }
    }

    /// Tenants (by name) that SuperOffice knows by this context identifier; where it is the name, nothing is kept.
    pub fn known_as<'n>(mut self, contexts: impl IntoIterator<Item = (&'n str, &'n str)>) -> Routes<T> {
        let mut places: Vec<(&str, usize)> = contexts
            .into_iter()
            .filter(|(name, context)| !name.eq_ignore_ascii_case(context))
            .filter_map(|(name, context)| Some((context, self.tenants.place_of(name)?)))
            .collect();
        let folded = |context: &str| context.to_ascii_lowercase();
        // Stable: the first tenant with an identifier stays the first.
        places.sort_by_key(|(context, _)| folded(context));
        let same = places.chunk_by(|a, b| a.0.eq_ignore_ascii_case(b.0));
        self.contexts = Names::new(same.map(|same| (folded(same[0].0), same.iter().map(|(_, place)| *place).collect())));
        self
    }

    /// What is carried besides `api`.
    pub fn carrying(mut self, further: &[String]) -> Routes<T> {
        self.further = further.iter().map(|route| route.as_str().into()).collect();
        self
    }

    /// The tenant of requests that name none.
    pub fn by_default(mut self, name: Option<&str>) -> Routes<T> {
        self.default = name.and_then(|name| self.tenants.place_of(name));
        self
    }

    /// Matches `/{tenant}/api` and what follows it, and the other ways to say the same. `door` is the tenant of the listener
    /// that the request came to, `host` the one that its `Host` names.
    pub fn find<'a>(&'a self, path: &'a str, door: Option<&str>, host: Option<&str>) -> Result<Found<'a, T>, ProxyError> {
        let (own, way) = match (door, host) {
            (None, None) => return self.by_path(path),
            (Some(door), None) => (door, Way::Listener),
            (None, Some(host)) => (host, Way::Host),
            (Some(door), Some(host)) if door.eq_ignore_ascii_case(host) => (door, Way::Listener),
            (Some(_), Some(_)) => return Err(ProxyError::UnknownTenant),
        };
        // A reload may have taken it away.
        let own = self.tenants.place_of(own).ok_or(ProxyError::UnknownTenant)?;
        if let Some(context) = state_asked(path) {
            return if self.is_called(own, context) { self.state(own, way) } else { Err(ProxyError::UnknownTenant) };
        }
        if let Some(found) = self.behind(own, way, path)? {
            return Ok(found);
        }
        match split_segment(path) {
            Some((name, after)) if self.tenants.place_of(name) == Some(own) => self.behind(own, Way::Path(name), after)?.ok_or(NOT_CARRIED),
            _ => Err(ProxyError::UnknownTenant),
        }
    }

    fn by_path<'a>(&'a self, path: &'a str) -> Result<Found<'a, T>, ProxyError> {
        let (name, after) = split_segment(path).ok_or(ProxyError::UnknownTenant)?;
        if let Some(place) = self.tenants.place_of(name) {
            return self.behind(place, Way::Path(name), after)?.ok_or(NOT_CARRIED);
        }
        if let Some(context) = state_asked(path) {
            let first = || self.contexts.get(context)?.first().copied();
            let place = self.tenants.place_of(context).or_else(first).ok_or(ProxyError::UnknownTenant)?;
            // The other ways are not open to this caller; this one always is.
            let (name, _) = self.tenants.at(place).ok_or(ProxyError::UnknownTenant)?;
            return self.state(place, Way::Path(name));
        }
        let default = self.default.ok_or(ProxyError::UnknownTenant)?;
        self.behind(default, Way::Default, path)?.ok_or(ProxyError::UnknownTenant)
    }

    /// What follows the tenant: `/api`, a further route, or `/~{authority}/{ctx}` before one of them. That is how a link to
    /// another address of the tenant's comes home, so that it can be told from others when it goes out again; it leads where
    /// all links of the tenant's lead. `None` when it is nothing of these.
    fn behind<'a>(&'a self, place: usize, way: Way<'a>, path: &'a str) -> Result<Option<Found<'a, T>>, ProxyError> {
        let Some((segment, rest)) = split_segment(path) else { return Ok(None) };
        if let Some(route) = self.route(segment) {
            return Ok(self.carried(place, way, route, rest));
        }
        if !segment.starts_with('~') {
            return Ok(None);
        }
        let marked = split_segment(rest).and_then(|(context, rest)| Some((context, split_segment(rest)?)));
        let Some((context, (segment, rest))) = marked else { return Ok(None) };
        if !self.is_called(place, context) {
            return Err(ProxyError::BadTarget("the path was marked for another tenant"));
        }
        Ok(self.route(segment).and_then(|route| self.carried(place, way, route, rest)))
    }

    fn carried<'a>(&'a self, place: usize, way: Way<'a>, route: Route<'a>, rest: &'a str) -> Option<Found<'a, T>> {
        let (_, tenant) = self.tenants.at(place)?;
        Some(Found::Carried(Matched { tenant, way, route, rest }))
    }

    fn state<'a>(&'a self, place: usize, way: Way<'a>) -> Result<Found<'a, T>, ProxyError> {
        let (_, tenant) = self.tenants.at(place).ok_or(ProxyError::UnknownTenant)?;
        Ok(Found::State { tenant, way })
    }

    fn route<'a>(&self, segment: &'a str) -> Option<Route<'a>> {
        if segment.eq_ignore_ascii_case("api") {
            return Some(Route::Api);
        }
        if segment.eq_ignore_ascii_case("remote") {
            return Some(Route::Soap(segment));
        }
        self.further.iter().any(|route| route.eq_ignore_ascii_case(segment)).then_some(Route::Further(segment))
    }

    /// Whether this is the tenant's name or context identifier.
    fn is_called(&self, place: usize, name: &str) -> bool {
        self.tenants.place_of(name) == Some(place) || self.contexts.get(name).is_some_and(|places| places.contains(&place))
    }

    /// What is carried besides `api`.
    pub fn further(&self) -> &[Box<str>] {
        &self.further
    }

    /// Whether a tenant has this name.
    pub fn knows(&self, name: &str) -> bool {
        self.tenants.place_of(name).is_some()
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &T> {
        self.tenants.all().map(|(_, tenant)| tenant)
    }
}

/// The context identifier in `/api/state/{ctx}`.
fn state_asked(path: &str) -> Option<&str> {
    let word = |path, word: &str| split_segment(path).filter(|(segment, _)| segment.eq_ignore_ascii_case(word)).map(|(_, rest)| rest);
    let (context, rest) = split_segment(word(word(path, "api")?, "state")?)?;
    (!context.is_empty() && matches!(rest, "" | "/")).then_some(context)
}

/// `/first/rest` → `first`, `/rest`.
fn split_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

#[cfg(test)]
mod tests;
