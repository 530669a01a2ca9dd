//! The way home: links in an answer name the address that the caller used, and in `all` mode those in a request's body name
//! SuperOffice's again.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body::Body as HttpBody;

use super::Tenant;
use super::account::Payload;
use super::address::Address;
use super::links::{Addresses, Homes, Links, Mode, Rewritten, Seen};
use super::soap::TicketFaults;
use crate::body::{Body, BoxError};
use crate::server::Inbound;
use crate::superoffice::origin::{BaseUrl, UpstreamHosts};
use crate::superoffice::state::keeper::Standing;

/// SuperOffice's side of one tenant's links: made when it is first needed, and anew when the tenant has moved.
#[derive(Default)]
pub struct KnownHomes(ArcSwapOption<Known>);

struct Known {
    standing: Arc<Standing>,
    homes: Arc<Homes>,
    /// Whether the homes are the web API's bases themselves, because they do not end in `/api`.
    bases: bool,
}

impl KnownHomes {
    fn of(&self, tenant: &Tenant, standing: &Arc<Standing>) -> Option<Arc<Known>> {
        if let Some(known) = &*self.0.load()
            && Arc::ptr_eq(&known.standing, standing)
        {
            return Some(known.clone());
        }
        let base = standing.base.as_ref()?;
        let endpoint = BaseUrl::endpoint(base);
        let bases = endpoint.is_none();
        let current = endpoint.unwrap_or_else(|| BaseUrl::clone(base));
        let mut previous: Vec<BaseUrl> = match bases {
            true => standing.previous.iter().map(|base| BaseUrl::clone(base)).collect(),
            false => standing.previous.iter().filter_map(|base| BaseUrl::endpoint(base)).collect(),
        };
        if !bases {
            // Where the services are, if the state names another place for them.
            previous.extend(standing.endpoint.iter().map(|endpoint| BaseUrl::clone(endpoint)));
            // Before tenants had hosts of their own they lived where one logs in, and some links still say so. Protocol §5.2, §7.4.
            let old: Result<BaseUrl, _> = tenant.keeper.source().login().join(&format!("/{}", tenant.context)).parse();
            previous.extend(old);
        }
        let homes = Arc::new(Homes::new(&current, &previous));
        let known = Arc::new(Known { standing: standing.clone(), homes, bases });
        self.0.store(Some(known.clone()));
        Some(known)
    }
}

/// One request's way home.
pub(super) struct WayHome<'a> {
    pub(super) mode: Mode,
    pub(super) hosts: &'a UpstreamHosts,
    pub(super) tenant: &'a Tenant,
    /// What is carried besides `api`.
    pub(super) routes: &'a [Box<str>],
    /// Whether the API's listing is asked for.
    pub(super) listing: bool,
    pub(super) address: Address<'a>,
}

impl WayHome<'_> {
    /// An answer, in whose head this was seen, as this caller should see it.
    pub(super) async fn home(
        &self,
        seen: Seen,
        standing: &Arc<Standing>,
        method: &Method,
        response: Response<Payload>,
    ) -> Response<Payload> {
        let (head, payload) = response.into_parts();
        match (payload, self.tenant.homes.of(self.tenant, standing)) {
            (Payload::Upstream(body), Some(known)) => {
                let rewritten = self.links(&known).answer(seen, method, Response::from_parts(head, body)).await;
                rewritten.map(|body| Payload::Rewritten(Box::new(body)))
            }
            (payload, _) => Response::from_parts(head, payload),
        }
    }

    /// An answer that was in the cache, or is on its way there, as this caller should see it.
    pub(super) async fn stored<B>(&self, standing: &Arc<Standing>, method: &Method, response: Response<B>) -> Response<Payload>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    {
        let seen = self.mode.look(response.headers());
        match seen.zip(self.tenant.homes.of(self.tenant, standing)) {
            Some((seen, known)) => self.links(&known).answer(seen, method, response).await.map(|body| Payload::Cached(Body::stream(body))),
            None => response.map(|body| Payload::Cached(Body::stream(body))),
        }
    }

    /// Whether a SOAP answer says that the ticket has expired; and the answer as this caller should see it.
    pub(super) async fn judged(
        &self,
        faults: &TicketFaults,
        standing: &Arc<Standing>,
        method: &Method,
        response: Response<Payload>,
    ) -> (bool, Response<Payload>) {
        let (head, body) = match response.into_parts() {
            (head, Payload::Upstream(body)) => (head, body),
            (head, other) => return (false, Response::from_parts(head, other)),
        };
        let (expired, response) = faults.judge(Response::from_parts(head, body)).await;
        let seen = self.mode.look(response.headers()).filter(|_| !expired);
        let rewritten = match seen.zip(self.tenant.homes.of(self.tenant, standing)) {
            Some((seen, known)) => self.links(&known).answer(seen, method, response).await,
            None => response.map(Rewritten::not),
        };
        (expired, rewritten.map(|body| Payload::Soap(Box::new(body))))
    }

    /// A request's body as SuperOffice should see it.
    pub(super) async fn back(
        &self,
        standing: &Arc<Standing>,
        headers: &mut HeaderMap,
        body: Inbound,
    ) -> Result<Rewritten<Inbound>, Inbound> {
        match self.tenant.homes.of(self.tenant, standing) {
            Some(known) => Ok(self.links(&known).request(headers, body).await),
            None => Err(body),
        }
    }

    fn links<'l>(&'l self, known: &'l Known) -> Links<'l, Ours<'l>> {
        let addresses = Ours { address: &self.address, bases: known.bases };
        Links { mode: self.mode, homes: &known.homes, addresses, hosts: self.hosts, routes: self.routes, listing: self.listing }
    }
}

/// What stands for the tenant's homes.
struct Ours<'a> {
    address: &'a Address<'a>,
    bases: bool,
}

impl Ours<'_> {
    fn place(&self, address: String) -> String {
        if self.bases { address + "/api" } else { address }
    }
}

impl Addresses for Ours<'_> {
    fn ours(&self) -> String {
        self.place(self.address.ours())
    }

    fn is_shared(&self) -> bool {
        // Where the homes are bases, `/api` is part of the address.
        !self.bases && self.address.is_shared()
    }

    fn aliases(&self) -> Vec<String> {
        let shared = if self.bases { self.address.shared_aliases() } else { Vec::new() };
        self.address.aliases().into_iter().chain(shared).map(|alias| self.place(alias)).collect()
    }

    fn shared_aliases(&self) -> Vec<String> {
        if self.bases { Vec::new() } else { self.address.shared_aliases() }
    }
}
