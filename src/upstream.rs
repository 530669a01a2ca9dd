//! The HTTP client: connections, proxies on the way, trusted roots, pools, timeouts. Follows no redirect, knows no header policy, and never sends
//! a request twice: one that was not begun when its pooled connection turned out to be closed is sent over another, and one
//! that upstream cannot have read is given back as [`UpstreamError::Unread`] for the caller to decide.

mod answer;
mod connect;
mod identity;
mod link;
mod multiplex;
mod pins;
mod pool;
pub mod proxies;
pub mod proxy;
mod relay;
mod request;
mod socket;
pub mod tls;
mod tunnel;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST, HeaderValue, TE};
use http::uri::Parts;
use http::{Request, Response, Uri, Version};

pub use self::answer::Answer;
use self::connect::{Connected, Connector};
pub use self::link::Tunnel;
use self::link::{Failed, Link};
use self::multiplex::Multiplexed;
use self::pool::{Ages, Host, Pool};
use self::proxies::Proxies;
use self::request::{Watch, Watched};
use self::tls::Tls;
use crate::alarm::Alarms;
use crate::body::{Body, chain};
use crate::metrics::Metrics;
use crate::superoffice::origin::BaseUrl;

/// What the client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Name and TCP.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From the last byte of the request that moved to the answer's head.
    pub response: Duration,
    /// How long an answer's body may stand still.
    pub body: Duration,
    /// How long an unused connection is kept; shorter than IIS' 120 s.
    pub idle: Duration,
    /// How old a connection may get, so that changes in DNS are followed.
    pub max_age: Duration,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or it broke before the answer's head was there.
    #[error("{0}")]
    Unreachable(String),
    /// A pooled connection had died before upstream could read anything of the request.
    #[error("{0}")]
    Unread(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The caller's own request body failed: it went away, or it exceeded a limit.
    #[error("the request's body broke off: {0}")]
    RequestBody(String),
    /// The caller's own request body stood still.
    #[error("nothing came of the request's body for {0:?}")]
    RequestStalled(Duration),
}

/// What an upgrade came to.
pub enum Upgraded {
    /// 101: HTTP is over on this connection.
    Tunnel(Response<()>, Tunnel),
    /// An ordinary answer.
    Refused(Response<Answer>),
}

/// The client; its clones share their connections.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    connector: Connector,
    settings: Settings,
    pool: Pool,
    alarms: Alarms,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// A client with pools of its own, one per worker, that counts its connections in `metrics`. Needs a tokio runtime.
    pub fn new(tls: Tls, proxies: Proxies, settings: Settings, workers: usize, metrics: Arc<Metrics>) -> Upstream {
        let limits = [settings.response, settings.body, settings.idle, settings.max_age];
        let shortest = limits.into_iter().filter(|limit| !limit.is_zero()).min().unwrap_or_default();
        let alarms = Alarms::start(shortest);
        let pool = Pool::new(workers, Ages { idle: alarms.ticks(settings.idle), age: alarms.ticks(settings.max_age) });
        let inner = Arc::new(Inner { connector: Connector::new(tls, proxies, &settings), settings, pool, alarms, metrics });
        tokio::spawn(reap(Arc::downgrade(&inner), (shortest / 2).clamp(Duration::from_millis(50), Duration::from_secs(5))));
        Upstream(inner)
    }

    /// Sends one request with an absolute URI.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Answer>, UpstreamError> {
        let (mut parts, body) = request.into_parts();
        let mut uri = parts.uri.into_parts();
        let unfit = |error: &dyn std::fmt::Display| UpstreamError::Unreachable(format!("not a URL to send to: {error}"));
        let target = uri.path_and_query.take();
        let origin = Uri::from_parts(uri_of_origin(uri)).map_err(|error| unfit(&error))?;
        let origin: BaseUrl = origin.to_string().parse().map_err(|error| unfit(&error))?;
        parts.uri = target.map_or_else(Uri::default, Uri::from);
        let mut waited = Duration::ZERO;
        self.send_to(&origin, Request::from_parts(parts, body), &mut waited).await
    }

    /// How many connections rest, by authority.
    pub fn resting(&self) -> BTreeMap<String, usize> {
        self.0.pool.resting()
    }

    /// Closes the connections that rest to `origin`; those in use are closed when they would come to rest.
    pub fn let_go(&self, origin: &BaseUrl) {
        self.0.pool.let_go(origin);
    }

    /// Sends one request, whose URI is path and query alone, to an origin; adds to `waited` how long it waited for a new
    /// connection. No `async fn`, so that the request is not kept twice.
    pub fn send_to(
        &self,
        origin: &BaseUrl,
        request: Request<Body>,
        waited: &mut Duration,
    ) -> impl Future<Output = Result<Response<Answer>, UpstreamError>> + Send {
        let inner = &self.0;
        let host = inner.pool.host(origin);
        let first = match host.take(inner.pool.limits(), inner.alarms.now()) {
            Some(link) => Ok(inner.over_fresh_link(link, &host, request)),
            None => Err(Waiting::Fresh(Box::new(request))),
        };
        async move {
            let waiting = match first {
                Ok(first) => match first.await {
                    Ok(answer) => return Ok(answer),
                    Err(Sent::Failed(error)) => return Err(error),
                    Err(Sent::NotBegun(waiting)) => waiting,
                },
                Err(waiting) => waiting,
            };
            // On the heap, so that the way that nearly all requests go stays small.
            Box::pin(inner.otherwise(origin, &host, waiting, waited)).await
        }
    }

    /// Sends a request that asks for another protocol, over a connection of its own.
    pub async fn upgrade(&self, origin: &BaseUrl, request: Request<Body>, waited: &mut Duration) -> Result<Upgraded, UpstreamError> {
        let inner = &self.0;
        let host = inner.pool.host(origin);
        let unreachable = |error: hyper::Error| UpstreamError::Unreachable(chain(&error));
        let connected = inner.connect(origin, true, Instant::now(), waited).await?;
        let link = Link::open(connected, inner.alarms.add(), inner.alarms.now(), true).await.map_err(unreachable)?;
        let mut link = Box::new(link);
        let (mut request, _) = Watched::request(request, link.alarm(), inner.settings.response, true);
        request.headers_mut().insert(HOST, host.name.clone());
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        let sent = link.begin(request, inner.settings.response);
        let response = link.answered(sent).await.map_err(|failed| inner.failure(failed, false, None))?;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            let tunnel = link.tunnel().await;
            let tunnel = tunnel.ok_or_else(|| UpstreamError::Unreachable("the connection ended behind a 101".to_owned()))?;
            return Ok(Upgraded::Tunnel(response.map(drop), tunnel));
        }
        Ok(Upgraded::Refused(response.map(|body| Answer::of_link(body, link, host, inner.clone()))))
    }
}

const CLOSED: &str = "the connection was closed before the request";

/// A request that still needs a connection.
enum Waiting {
    /// As it was given.
    Fresh(Box<Request<Body>>),
    /// Prepared for a connection that turned out to be closed.
    Prepared(Box<Request<Watched>>),
}

/// No answer.
enum Sent {
    /// The connection had ended before.
    NotBegun(Waiting),
    /// For good.
    Failed(UpstreamError),
}

impl Inner {
    /// By any connection that can be had.
    async fn otherwise(
        self: &Arc<Self>,
        origin: &BaseUrl,
        host: &Arc<Host>,
        mut waiting: Waiting,
        waited: &mut Duration,
    ) -> Result<Response<Answer>, UpstreamError> {
        let ages = self.pool.limits();
        // Every round but the last finds a connection that had been closed while it rested.
        loop {
            let shared = host.share(ages, self.alarms.now());
            // Whether a host speaks HTTP/2 is found out by one connection, not by as many as there are requests.
            let asking = shared.is_none() && self.settings.http2 && origin.is_https() && !host.is_known();
            let began = Instant::now();
            let turn = if asking { Some(host.first.lock().await) } else { None };
            let outcome = if let Some(link) = host.take(ages, self.alarms.now()) {
                drop(turn);
                self.over_any_link(link, host, waiting).await
            } else if let Some(shared) = shared.or_else(|| host.share(ages, self.alarms.now())) {
                drop(turn);
                if asking {
                    *waited += began.elapsed();
                }
                self.over_shared(shared, origin, waiting).await
            } else {
                let connected = self.connect(origin, false, began, waited).await?;
                let now = self.alarms.now();
                let outcome = if connected.http2 {
                    let shared = Multiplexed::open(connected, now).await.map_err(|error| UpstreamError::Unreachable(chain(&error)))?;
                    host.put_multiplexed(shared.clone());
                    drop(turn);
                    self.over_shared(shared, origin, waiting).await
                } else {
                    host.speaks_http1();
                    drop(turn);
                    let link = Link::open(connected, self.alarms.add(), now, false).await;
                    let link = Box::new(link.map_err(|error| UpstreamError::Unreachable(chain(&error)))?);
                    self.over_any_link(link, host, waiting).await
                };
                return outcome.map_err(|sent| match sent {
                    Sent::Failed(error) => error,
                    Sent::NotBegun(_) => UpstreamError::Unreachable(CLOSED.to_owned()),
                });
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Sent::Failed(error)) => return Err(error),
                Err(Sent::NotBegun(request)) => waiting = request,
            }
        }
    }

    /// A new connection, counted; `began` is when it was first wanted.
    async fn connect(&self, origin: &BaseUrl, http1_only: bool, began: Instant, waited: &mut Duration) -> Result<Connected, UpstreamError> {
        let connected = self.connector.connect(origin, http1_only).await;
        *waited += began.elapsed();
        let authority = origin.authority().as_str();
        match &connected {
            Ok(connected) => connected.tally.stands(self.metrics.opened(authority, connected.http2)),
            Err(_) => self.metrics.not_opened(authority),
        }
        connected
    }

    fn over_fresh_link(
        self: &Arc<Self>,
        link: Box<Link>,
        host: &Arc<Host>,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Answer>, Sent>> + Send + use<> {
        let (request, watch) = Watched::request(request, link.alarm(), self.settings.response, true);
        self.over_link(link, host, request, watch)
    }

    fn over_link(
        self: &Arc<Self>,
        mut link: Box<Link>,
        host: &Arc<Host>,
        mut request: Request<Watched>,
        watch: Option<Arc<Watch>>,
    ) -> impl Future<Output = Result<Response<Answer>, Sent>> + Send + use<> {
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().insert(HOST, host.name.clone());
        if request.headers().contains_key(TE) {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("TE"));
        }
        let sent = link.begin(request, self.settings.response);
        let (inner, host) = (self.clone(), host.clone());
        async move {
            match link.answered(sent).await {
                Ok(response) => Ok(response.map(|body| Answer::of_link(body, link, host, inner))),
                Err(Failed::Unsent(request)) => Err(Sent::NotBegun(Waiting::Prepared(request))),
                Err(failed) => Err(Sent::Failed(inner.failure(failed, link.reused, watch))),
            }
        }
    }

    /// Whatever it went through before.
    async fn over_any_link(self: &Arc<Self>, link: Box<Link>, host: &Arc<Host>, waiting: Waiting) -> Result<Response<Answer>, Sent> {
        match waiting {
            Waiting::Fresh(request) => self.over_fresh_link(link, host, *request).await,
            Waiting::Prepared(request) => {
                let (request, watch) = moved(*request, link.alarm());
                self.over_link(link, host, request, watch).await
            }
        }
    }

    async fn over_shared(self: &Arc<Self>, mut shared: Multiplexed, origin: &BaseUrl, waiting: Waiting) -> Result<Response<Answer>, Sent> {
        let (alarm, limit) = (self.alarms.add(), self.settings.response);
        let (mut request, watch) = match waiting {
            Waiting::Fresh(request) => Watched::request(*request, &alarm, limit, false),
            Waiting::Prepared(request) => moved(*request, &alarm),
        };
        let target = absolute(origin, request.uri());
        *request.uri_mut() = target.map_err(|error| Sent::Failed(UpstreamError::Unreachable(error.to_string())))?;
        *request.version_mut() = Version::HTTP_2;
        for name in [HOST, CONNECTION, http::header::TRANSFER_ENCODING, http::header::EXPECT] {
            request.headers_mut().remove(name);
        }
        let place = shared.place(self.alarms.now());
        match shared.send(request, &alarm, limit).await {
            Ok(response) => Ok(response.map(|body| Answer::of_stream(body, alarm, place, self.settings.body))),
            Err(Failed::Unsent(request)) => Err(Sent::NotBegun(Waiting::Prepared(request))),
            Err(failed) => Err(Sent::Failed(self.failure(failed, true, watch))),
        }
    }

    fn failure(&self, failed: Failed, reused: bool, watch: Option<Arc<Watch>>) -> UpstreamError {
        match failed {
            Failed::Timeout => UpstreamError::Timeout(self.settings.response),
            Failed::Unsent(_) => UpstreamError::Unreachable(CLOSED.to_owned()),
            Failed::Lost { left, error } => match watch.and_then(|watch| watch.failure()) {
                Some(failure) => failure,
                None if reused && !left => UpstreamError::Unread(chain(&error)),
                None => UpstreamError::Unreachable(chain(&error)),
            },
        }
    }
}

fn moved(request: Request<Watched>, alarm: &Arc<crate::alarm::Alarm>) -> (Request<Watched>, Option<Arc<Watch>>) {
    let (parts, body) = request.into_parts();
    let (body, watch) = body.moved(alarm);
    (Request::from_parts(parts, body), watch)
}

fn uri_of_origin(mut parts: Parts) -> Parts {
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    parts
}

/// What HTTP/2 asks for: scheme and authority beside the target.
fn absolute(origin: &BaseUrl, target: &Uri) -> Result<Uri, http::Error> {
    let mut parts = Parts::default();
    parts.scheme = Some(origin.scheme().clone());
    parts.authority = Some(origin.authority().clone());
    parts.path_and_query = target.path_and_query().cloned();
    Ok(Uri::from_parts(parts)?)
}

/// Looks after connections at rest for as long as the client lives.
async fn reap(inner: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.pool.reap(inner.alarms.now());
    }
}
