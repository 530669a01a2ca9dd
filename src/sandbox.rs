//! An embedded SuperOffice Online: login service, tenant state and web API, with faults on demand.
//!
//! Used by people (`soproxy sandbox`) and by the integration tests. It knows nothing of the proxy and shares no code with
//! it beyond the clock: it checks signatures, reads envelopes and signs tokens in its own way, so that a mistake on one
//! side does not hide on the other. Facts are those of the protocol page; where that page found nothing, a comment says
//! what was assumed.
//!
//! One service answers for all hosts: `/login/…` (`login`), `/api/state/{ctx}` (`state`), `/{ctx}/api/…` (`webapi`),
//! `/{ctx}/CS/…` (`service`), `/{ctx}/Remote/…` (`remote`), and `/_sandbox/…`, the control endpoint ([`control`]). Paths are taken without regard to case, as IIS
//! does.

mod coding;
pub mod control;
pub mod demo;
mod document;
mod door;
mod echo;
mod entities;
pub mod faults;
pub mod feed;
mod filter;
mod jwt;
mod login;
mod odata;
mod patch;
mod place;
mod present;
pub mod push;
mod remote;
pub mod reply;
mod service;
mod soap;
mod state;
mod throttle;
mod tickets;
mod token;
mod url;
mod webapi;
mod xml;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::header::{DATE, HeaderValue, SERVER};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jiff::{SignedDuration, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment};

pub use control::{Control, Counters};
pub use document::content_byte;
pub use faults::{Coding, Faults, JwtFault, LoginFault, TenantState, Unauthorized};
pub use login::Refusal;
pub use push::{Change, Push, PushToken, Received};
pub use throttle::Throttle;

use reply::{CloseConnection, Reply, ReplyBody};
use token::ApplicationKey;

/// What a sandbox is made of.
pub struct Options {
    /// How long a ticket lives after its last accepted use.
    pub ticket_lifetime: Duration,
    /// The sandbox's clock minus the machine's.
    pub clock_skew: SignedDuration,
    /// What is wrong from the beginning.
    pub faults: Faults,
    /// The origin that its documents and tokens name; `None` is `http://{address}`.
    pub public_url: Option<String>,
    /// The customers it serves.
    pub tenants: Vec<Tenant>,
    /// A State Change URL: where every move and state of a tenant is pushed to, once the sandbox serves.
    pub push_to: Option<String>,
    /// Where its time comes from; delays on demand are real time all the same.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ticket_lifetime: Duration::from_secs(6 * 3600),
            clock_skew: SignedDuration::ZERO,
            faults: Faults::default(),
            public_url: None,
            tenants: demo::tenants(),
            push_to: None,
            clock: Clock::system(),
        }
    }
}

/// A customer of the sandbox, and the application that it has approved.
#[derive(Clone)]
pub struct Tenant {
    /// Context identifier.
    pub context: String,
    /// The company's name.
    pub company: String,
    /// The database's serial, ten digits.
    pub serial: String,
    /// The application's name.
    pub application: String,
    /// The system user token of the approval.
    pub system_user_token: String,
    /// The application's client secret.
    pub client_secret: String,
    /// The application's public key, SPKI PEM.
    pub public_key_pem: String,
}

/// A handle on one embedded SuperOffice Online; clones are the same one.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    base: String,
    tenants: Vec<(Tenant, ApplicationKey)>,
    clock: Clock,
    clock_skew: SignedDuration,
    push_to: Option<String>,
    /// What is to be pushed, until somebody serves.
    changes: Mutex<Option<UnboundedReceiver<(String, Change)>>>,
    control: Control,
}

impl Sandbox {
    /// A sandbox that will be reached at `address` (which gives its URLs, unless `public_url` does).
    pub fn new(options: Options, address: SocketAddr) -> Sandbox {
        let base = options.public_url.map_or_else(|| local_url(address), |url| url.trim_end_matches('/').to_owned());
        let (told, changes) = options.push_to.as_ref().map(|_| unbounded_channel()).unzip();
        let control = Control::new(options.faults, options.ticket_lifetime, &options.tenants, told);
        let with_key = |tenant: Tenant| {
            let key = ApplicationKey::new(&tenant.public_key_pem);
            (tenant, key)
        };
        let tenants = options.tenants.into_iter().map(with_key).collect();
        let Options { clock, clock_skew, push_to, .. } = options;
        Sandbox(Arc::new(Inner { base, tenants, clock, clock_skew, push_to, changes: Mutex::new(changes), control }))
    }

    /// Faults, tickets and counters; the same that the control endpoint works on.
    pub fn control(&self) -> &Control {
        &self.0.control
    }

    /// The origin that documents and tokens name, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.0.base
    }

    /// The origin of a tenant that has moved to this machine's other loopback name.
    pub fn other_base(&self) -> String {
        place::other_name(self.base())
    }

    /// Accepts and serves HTTP/1.1 and h2c until `stop`; then connections have a quarter of a second to finish.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        let changes = self.0.changes.lock().ok().and_then(|mut changes| changes.take());
        if let Some(changes) = changes {
            let pushing = self.clone().push_changes(changes);
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(pushing).await });
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => _ = connections.spawn(self.clone().connection(stream, stop.clone())),
                    // Out of file descriptors, mostly: others must end first.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        _ = tokio::time::timeout(Duration::from_millis(250), all).await;
    }

    async fn connection(self, stream: TcpStream, stop: CancellationToken) {
        _ = stream.set_nodelay(true);
        let service = service_fn(move |request| self.clone().reply_or_close(request));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => {}
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                _ = connection.await;
            }
        }
    }

    // Boxed, because the compiler cannot show that the future is `Send` for every lifetime in it.
    fn reply_or_close(self, request: Request<Incoming>) -> Pin<Box<dyn Future<Output = std::io::Result<Reply>> + Send>> {
        Box::pin(async move {
            let reply = self.handle(request).await;
            match reply.extensions().get::<CloseConnection>() {
                Some(_) => Err(std::io::ErrorKind::ConnectionAborted.into()),
                None => Ok(reply),
            }
        })
    }

    /// The whole service. A reply with the extension [`CloseConnection`] stands for a connection closed without a word.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        self.answer(request.map(reply::boxed)).await
    }

    async fn answer(&self, request: Request<ReplyBody>) -> Reply {
        let path = url::segments(request.uri().path());
        let lower: Vec<String> = path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        let mut reply = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [""] => reply::full(StatusCode::OK, "text/plain; charset=utf-8", self.welcome()),
            ["_sandbox", ..] => control::handle(self, &lower[1..], request).await,
            ["login", ..] => login::handle(self, &path[1..], request).await,
            ["api", "state", context] => state::handle(self, context, &path[2], request).await,
            [_, "api", ..] => webapi::handle(self, &path, request).await,
            [_, "cs", _, ..] => service::handle(self, &path, request).await,
            [_, "remote", _, _] => remote::handle(self, &path, request).await,
            _ => self.not_found(request.uri()),
        };
        let date = SystemTime::try_from(self.now()).map(httpdate::fmt_http_date);
        if let Some(date) = date.ok().and_then(|date| HeaderValue::from_str(&date).ok()) {
            reply.headers_mut().insert(DATE, date);
        }
        reply.headers_mut().insert(SERVER, HeaderValue::from_static("Microsoft-IIS/10.0"));
        reply
    }

    /// ASP.NET's answer to a path that nobody serves.
    fn not_found(&self, uri: &Uri) -> Reply {
        let text = format!("No HTTP resource was found that matches the request URI '{}{uri}'.", self.base());
        reply::aspnet(StatusCode::NOT_FOUND, &text)
    }

    fn tenant(&self, context: &str) -> Option<(usize, &Tenant)> {
        let all = self.0.tenants.iter().map(|(tenant, _)| tenant).enumerate();
        all.into_iter().find(|(_, tenant)| tenant.context.eq_ignore_ascii_case(context))
    }

    fn application_key(&self, tenant: usize) -> &ApplicationKey {
        &self.0.tenants[tenant].1
    }

    /// The time that the sandbox believes.
    fn now(&self) -> Timestamp {
        let wall = self.moment().wall;
        let skew = self.0.clock_skew.saturating_add(self.control().faults().clock_skew);
        wall.checked_add(skew).unwrap_or(wall)
    }

    /// Both clocks, for ages; a skew changes no age.
    fn moment(&self) -> Moment {
        self.0.clock.now()
    }

    fn welcome(&self) -> String {
        let base = self.base();
        let mut text = format!(
            "The soproxy sandbox: an embedded SuperOffice Online, for testing.\n\n\
             {base}/login/services/PartnerSystemUserService.svc?wsdl\n{base}/login/.well-known/openid-configuration\n\
             {base}/_sandbox/faults\n{base}/_sandbox/counters\n\nTenants:\n"
        );
        for (tenant, _) in &self.0.tenants {
            text.push_str(&format!("{base}/{}/api/v1/   {base}/api/state/{}   {}\n", tenant.context, tenant.context, tenant.company));
        }
        text
    }
}

/// A URL by which this machine reaches what is bound to `address`.
fn local_url(mut address: SocketAddr) -> String {
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || address.ip() == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("http://{address}")
}

/// Binds an address and gives what [`Sandbox::new`] and [`Sandbox::serve`] need of it.
pub async fn start(options: Options, address: SocketAddr, stop: CancellationToken) -> std::io::Result<Sandbox> {
    let listener = TcpListener::bind(address).await?;
    let sandbox = Sandbox::new(options, listener.local_addr()?);
    tokio::spawn(sandbox.clone().serve(listener, stop));
    Ok(sandbox)
}

#[cfg(test)]
mod tests;
