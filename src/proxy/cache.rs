//! The list cache: an answer that SuperOffice gave to one caller is given to the next who asks the same.
//!
//! Opt-in by path ([`Rules`]). `ttl` overrides SuperOffice's `no-cache` there and nothing else: the rest is RFC 9111 (see
//! `policy`). What tells answers apart is the tenant, the credential, the target and the headers that the API reads, never a
//! secret text ([`Asked`]); whatever else `Vary` names has to be the same, too. Bodies are kept as SuperOffice sent them, so links
//! are brought home for each caller anew.
//!
//! Whoever asks first for something [leads](Lead) and is sent on to SuperOffice; those who ask for it meanwhile wait for that
//! answer. A task takes it (`relay`), so that nobody depends on how fast the leader reads or whether it stays. When there is
//! nothing to share, because the answer must not be stored or there is none, those who waited go on their own; when the leader
//! went away before there was an answer, one of them leads. Nobody waits a third time.
//!
//! A write drops its collection (`rules`) when it has been answered, and what is being fetched at that time is not stored.

mod policy;
mod question;
mod relay;
mod rules;
mod store;
mod write;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, VARY,
};
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use tokio::sync::watch;

use policy::{Policy, Worth, updated};
pub use question::Asked;
use question::{Conditions, Key, Wish, same_tag};
pub use relay::{Content, Reader};
use relay::{Destination, relay};
use rules::Touched;
pub use rules::{BadPattern, Rule, Rules};
pub use store::Limits;
use store::{End, Entry, Group, Store};
pub use write::Write;

use crate::body::{Body, BoxError, full};
use crate::clock::{Clock, Moment};

/// What the cache did. RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a 304 tells of a stored answer. RFC 9110 §15.4.5, and for `Age` RFC 9111.
const OF_A_304: [HeaderName; 7] = [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY];

/// How often a request waits for somebody else's before it goes on its own.
const WAITS: usize = 2;

/// The whole cache, for all tenants.
#[derive(Debug)]
pub struct Cache {
    store: Mutex<Store>,
    secrets: RandomState,
}

/// What the cache has for a request.
#[derive(Debug)]
pub enum Found {
    /// The answer.
    Answer(Response<Body>),
    /// Nothing: upstream is asked, and its answer goes through [`Lead::answered`].
    Lead(Box<Lead>),
    /// Nothing: upstream is asked, and its answer goes through [`Pass::answered`].
    Pass(Pass),
}

/// The right and the duty to fetch for others, too.
#[derive(Debug)]
pub struct Lead {
    cache: Arc<Cache>,
    key: Key,
    number: u64,
    ttl: Duration,
    tenant: Arc<str>,
    parts: http::request::Parts,
    asked: Moment,
    /// What upstream is asked to confirm.
    stale: Option<Arc<Entry>>,
    conditions: Conditions,
    forwarded: &'static str,
    ended: bool,
}

/// A request that the cache has nothing to do with any more.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    forwarded: &'static str,
}

/// What is looked for.
struct Question<'a> {
    rule: &'a Rule,
    asked: &'a Asked<'a>,
    key: Key,
    wish: Wish,
}

/// What one look into the store gives.
enum Look {
    Found(Found),
    Follow(watch::Receiver<Option<End>>),
}

impl Cache {
    /// Empty.
    pub fn new(limits: Limits) -> Arc<Cache> {
        Arc::new(Cache { store: Mutex::new(Store::new(limits)), secrets: RandomState::new() })
    }

    /// Other limits, from now on.
    pub fn set(&self, limits: Limits) {
        self.lock().set(limits);
    }

    /// How many answers are stored, and about how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        self.lock().size()
    }

    /// How many answers had to make room for others so far.
    pub fn evicted(&self) -> u64 {
        self.lock().evicted()
    }

    /// A number for a credential; it tells nothing of it, and is another one in each process.
    pub fn identity(&self, secret: &[u8]) -> u64 {
        self.secrets.hash_one(secret)
    }

    /// Looks for an answer, and waits for one that is being fetched.
    pub async fn ask(self: &Arc<Cache>, rule: &Rule, asked: &Asked<'_>, clock: &Clock) -> Found {
        let readable = asked.parts.method == Method::GET || asked.parts.method == Method::HEAD;
        let wish = match asked.wish() {
            _ if !readable => return Found::Pass(Pass { forwarded: "method" }),
            Wish::Pass => return Found::Pass(Pass { forwarded: "bypass" }),
            Wish::NoStore => return Found::Pass(Pass { forwarded: "request" }),
            wish => wish,
        };
        let question = Question { rule, asked, wish, key: asked.key() };
        let mut collapsed = false;
        for waits in 0.. {
            let mut end = match self.look(&question, clock.now(), collapsed, waits < WAITS) {
                Look::Found(found) => return found,
                Look::Follow(end) => end,
            };
            // The sender is dropped only after it has told the end.
            let end = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
            collapsed = end == Some(End::Stored);
            if end == Some(End::Unshared) {
                break;
            }
        }
        Found::Pass(Pass { forwarded: "uri-miss" })
    }

    fn look(self: &Arc<Cache>, question: &Question<'_>, now: Moment, collapsed: bool, may_wait: bool) -> Look {
        let Question { rule, asked, key, wish } = question;
        loop {
            // Judged without the lock; whether it is still the one that is stored is seen to below.
            let entry = self.lock().get(key);
            let worth = entry.as_ref().map(|entry| entry.policy.worth(asked, now.since(entry.asked)));
            let (stale, forwarded) = match (&entry, worth) {
                (Some(entry), Some(Worth::Fresh)) if *wish == Wish::Any => {
                    return Look::Found(Found::Answer(entry.answer(asked, now, collapsed)));
                }
                (Some(_), Some(Worth::Other)) => (None, "vary-miss"),
                // It would have been good enough but for the caller's wish.
                (Some(entry), _) if *wish == Wish::Reload || !entry.policy.age(now.since(entry.asked)).1.is_zero() => {
                    (Some(entry), "request")
                }
                (Some(entry), _) => (Some(entry), "stale"),
                (None, _) => (None, "uri-miss"),
            };
            if asked.parts.method != Method::GET {
                return Look::Found(Found::Pass(Pass { forwarded }));
            }
            let mut store = self.lock();
            if store.get(key).as_ref().map(Arc::as_ptr) != entry.as_ref().map(Arc::as_ptr) {
                continue;
            }
            if *wish == Wish::Any
                && let Some(end) = store.follow(key)
            {
                return match may_wait {
                    true => Look::Follow(end),
                    false => Look::Found(Found::Pass(Pass { forwarded })),
                };
            }
            let group = Group { tenant: asked.tenant.clone(), collection: rule.collection.clone() };
            let number = store.begin(key, group);
            drop(store);
            let stale = stale.filter(|entry| entry.headers.contains_key(ETAG) || entry.headers.contains_key(LAST_MODIFIED)).cloned();
            return Look::Found(Found::Lead(Box::new(Lead {
                cache: self.clone(),
                key: key.clone(),
                number,
                ttl: rule.ttl,
                tenant: asked.tenant.clone(),
                conditions: Conditions::of(&asked.parts.headers),
                parts: asked.kept(),
                asked: now,
                stale,
                forwarded,
                ended: false,
            })));
        }
    }

    /// A request has been answered that may have written: drops what is cached of its collection. `status`: `None` when there
    /// was no answer, so that nobody knows what became of it. `path`: behind the tenant, of any service. `action`: of a SOAP call.
    /// How many answers were dropped.
    pub fn written(&self, tenant: &str, method: &Method, path: &str, action: Option<&str>, status: Option<StatusCode>) -> usize {
        // Only a refusal is certain to have changed nothing. RFC 9111 §4.4 asks for less.
        if status.is_some_and(|status| status.is_client_error()) {
            return 0;
        }
        Touched::by(method, path, action).map_or(0, |touched| self.lock().touched(tenant, &touched))
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn answer(&self, asked: &Asked<'_>, now: Moment, collapsed: bool) -> Response<Body> {
        let (_, left) = self.policy.age(now.since(self.asked));
        let status = match collapsed {
            // Forwarded, but together with somebody else's.
            true => "soproxy; fwd=uri-miss; collapsed".to_owned(),
            false => format!("soproxy; hit; ttl={}", left.as_secs()),
        };
        self.response(&asked.parts.method, &Conditions::of(&asked.parts.headers), now, &status)
    }

    fn response(&self, method: &Method, conditions: &Conditions, now: Moment, status: &str) -> Response<Body> {
        let (age, _) = self.policy.age(now.since(self.asked));
        let mut response = Response::new(Body::Empty);
        if self.status == StatusCode::OK && conditions.met_by(&self.headers) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            for name in OF_A_304 {
                for value in self.headers.get_all(&name) {
                    response.headers_mut().append(name.clone(), value.clone());
                }
            }
        } else {
            *response.status_mut() = self.status;
            *response.headers_mut() = self.headers.clone();
            if method == Method::HEAD {
                let may_have_body = !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
                if may_have_body {
                    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
                }
            } else {
                *response.body_mut() = full(self.body.clone());
            }
        }
        response.headers_mut().insert(AGE, HeaderValue::from(age.as_secs()));
        note(response.headers_mut(), status);
        response
    }
}

impl Lead {
    /// Readies the headers that go upstream: instead of the caller's conditions those of what is stored.
    pub fn prepare(&self, headers: &mut HeaderMap) {
        headers.remove(IF_NONE_MATCH);
        headers.remove(IF_MODIFIED_SINCE);
        if let Some(stale) = &self.stale {
            for (ours, theirs) in [(IF_NONE_MATCH, ETAG), (IF_MODIFIED_SINCE, LAST_MODIFIED)] {
                headers.extend(stale.headers.get(theirs).map(|value| (ours, value.clone())));
            }
        }
    }

    /// Upstream's answer, without what only concerned that hop, as the caller gets it; it is stored on its way, if it may be.
    pub fn answered<B>(mut self, response: Response<B>, now: Moment) -> Response<Content<B>>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let forwarded = self.forwarded;
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(stale) = self.stale.take()
        {
            return self.confirmed(&stale, response.headers(), now).map(Content::Stored);
        }
        let (mut head, body) = response.into_parts();
        let status = head.status;
        let known = body.size_hint().exact();
        let most = self.cache.lock().limits().entry;
        let fits = known.is_none_or(|length| length <= most as u64);
        let policy = if fits { Policy::of(&self.asked(), status, &head.headers, self.ttl) } else { None };
        let Some(policy) = policy else {
            // What is stored is not what upstream says now; an error says nothing of it.
            if !status.is_server_error() {
                self.cache.lock().remove(&self.key);
            }
            self.end(End::Unshared);
            note(&mut head.headers, &format!("soproxy; fwd={forwarded}; fwd-status={}", status.as_u16()));
            return Response::from_parts(head, Content::Upstream(body));
        };
        let headers = stored(&head.headers, now);
        note(&mut head.headers, &format!("soproxy; fwd={forwarded}; stored"));
        let entry = Entry { status, headers, body: Bytes::new(), policy, asked: self.asked };
        let arriving = Arriving { lead: self, entry };
        if body.is_end_stream() {
            arriving.whole(Bytes::new());
            return Response::from_parts(head, Content::Upstream(body));
        }
        Response::from_parts(head, Content::Relayed(relay(body, most, arriving)))
    }

    /// There is no answer: those who wait go on their own. To drop it says instead that the caller went away.
    pub fn failed(mut self) {
        self.end(End::Unshared);
    }

    /// Upstream says that what is stored is still right.
    fn confirmed(mut self, stale: &Entry, confirmed: &HeaderMap, now: Moment) -> Response<Body> {
        let tag = |headers: &HeaderMap| headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let same = tag(&stale.headers).zip(tag(confirmed)).is_none_or(|(old, new)| same_tag(&old, &new));
        let headers = stored(&updated(&stale.headers, confirmed), now);
        let policy = Policy::of(&self.asked(), stale.status, &headers, self.ttl).filter(|_| same);
        let forwarded = format!("soproxy; fwd={}; fwd-status=304", self.forwarded);
        let Some(policy) = policy else {
            self.cache.lock().remove(&self.key);
            self.end(End::Unshared);
            return stale.response(&Method::GET, &self.conditions, now, &forwarded);
        };
        let entry = Entry { status: stale.status, headers, body: stale.body.clone(), policy, asked: self.asked };
        let entry = Arc::new(entry);
        let stored = self.bring(entry.clone());
        entry.response(&Method::GET, &self.conditions, now, &format!("{forwarded}{}", if stored { "; stored" } else { "" }))
    }

    fn asked(&self) -> Asked<'_> {
        Asked { tenant: &self.tenant, identity: 0, target: "", parts: &self.parts }
    }

    fn bring(&mut self, entry: Arc<Entry>) -> bool {
        self.ended = true;
        self.cache.lock().bring(self.number, entry)
    }

    fn end(&mut self, end: End) {
        if !std::mem::replace(&mut self.ended, true) {
            self.cache.lock().end(self.number, end);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(End::Left);
    }
}

impl Pass {
    /// Upstream's answer as the caller gets it.
    pub fn answered<B>(self, mut response: Response<B>) -> Response<Content<B>> {
        let status = format!("soproxy; fwd={}", self.forwarded);
        note(response.headers_mut(), &status);
        response.map(Content::Upstream)
    }
}

impl Asked<'_> {
    /// What policies look at.
    fn kept(&self) -> http::request::Parts {
        let mut kept = http::Request::new(()).into_parts().0;
        kept.method = self.parts.method.clone();
        kept.headers = self.parts.headers.clone();
        kept
    }
}

/// An answer that is being fetched.
struct Arriving {
    lead: Lead,
    entry: Entry,
}

impl Destination for Arriving {
    fn whole(mut self, body: Bytes) {
        self.entry.body = body;
        self.lead.bring(Arc::new(self.entry));
    }

    fn past(mut self) {
        self.lead.end(End::Unshared);
    }
}

/// The head that is kept of an answer.
fn stored(headers: &HeaderMap, now: Moment) -> HeaderMap {
    let mut headers = headers.clone();
    if !headers.contains_key(DATE) {
        // Else every answer out of the cache would get the date of its day.
        let date = SystemTime::try_from(now.wall).ok().map(httpdate::fmt_http_date);
        headers.extend(date.and_then(|date| HeaderValue::from_str(&date).ok()).map(|date| (DATE, date)));
    }
    headers
}

/// Says what the cache did, after what caches nearer to SuperOffice say.
fn note(headers: &mut HeaderMap, status: &str) {
    headers.extend(HeaderValue::from_str(status).ok().map(|status| (CACHE_STATUS, status)));
}

#[cfg(test)]
mod tests;
