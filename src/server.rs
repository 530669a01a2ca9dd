//! Listeners, connections and their graceful end. Serves the proxy and the admin listener alike; knows no route.
//!
//! A [`Listener`] is TCP or a Unix socket, with or without TLS. A connection is `handshake`'s, if it begins with one, and then
//! `connection`'s: one `stream` below one `socket`.

mod connection;
mod crew;
pub mod gate;
pub mod guard;
#[cfg_attr(not(unix), path = "server/handed/elsewhere.rs")]
mod handed;
mod handshake;
mod inbound;
mod listener;
#[cfg_attr(not(target_os = "linux"), path = "server/neighbour/elsewhere.rs")]
mod neighbour;
mod patience;
mod place;
mod socket;
mod stream;
pub mod tls;
mod tunnel;
#[cfg_attr(not(unix), path = "server/unix/elsewhere.rs")]
pub mod unix;
mod vitals;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio_util::task::TaskTracker;

use self::connection::Protocols;
pub use self::crew::{Census, Crew};
use self::gate::Violation;
pub use self::handed::Handed;
pub use self::inbound::Inbound;
use self::listener::Accepted;
pub use self::listener::{Listener, bind, bind_or_take, bind_or_take_unix, bind_unix, tls_of};
use self::patience::Patience;
pub use self::tunnel::Tunnel;
use self::vitals::{Order, PARK, Registry, Vitals};
use crate::alarm::Alarms;
use crate::body::{Body, BoxError};
use crate::peer::Proof;
pub use crate::shutdown::Stop;

/// Connections beyond the limit that are at least told so; more are closed at once.
const ANSWERED: usize = 100;

/// Who is at the two ends of a connection.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The caller's address; nothing has one on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Our own address, the one the caller connected to.
    pub local: Option<SocketAddr>,
    /// The connection is encrypted.
    pub tls: bool,
    /// What it proves about the caller.
    pub proof: Proof,
    /// Which of the listeners given to [`serve`] accepted it.
    pub listener: usize,
    /// There are more connections than there may be.
    pub crowded: bool,
}

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// What its answers' bodies are.
    type Body: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static;

    /// One request to one answer; never fails. The request is boxed because it goes from hand to hand. An answer of 101 may carry a [`TunnelTo`] among its extensions.
    fn handle(&self, request: Box<Request<Inbound>>, ends: Ends) -> impl Future<Output = Response<Self::Body>> + Send;

    /// What a request is answered that could be read in two ways, and therefore is not read at all; `None`: a bare status.
    fn malformed(&self, _violation: Violation) -> Option<Response<Body>> {
        None
    }
}

/// What a connection may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `header_read_timeout`
    pub header_read: Duration,
    /// `idle_timeout`: without a request.
    pub idle: Duration,
    /// `body_timeout`: a request's body that does not come, an answer that is not taken.
    pub body: Duration,
    /// `max_header_size`, bytes.
    pub max_header_size: usize,
    /// `max_headers`, lines.
    pub max_headers: usize,
    /// `max_connections`: one more is answered once, and closed.
    pub max_connections: usize,
}

/// How many connections are still taken out of a listener's queue at the end: more than it holds at once.
const QUEUE: usize = 4096;

/// A tunnel on its way from a handler to the connection, as an extension of the answer.
#[derive(Clone, Debug)]
pub struct TunnelTo(Arc<Mutex<Option<Tunnel>>>);

impl TunnelTo {
    /// Packs it.
    pub fn new(tunnel: Tunnel) -> TunnelTo {
        TunnelTo(Arc::new(Mutex::new(Some(tunnel))))
    }

    fn take(&self) -> Option<Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves until drained (every connection has ended) or aborted. Connections go to the crew, or stay in this runtime.
pub async fn serve(listeners: Vec<Listener>, limits: Limits, crew: Option<Crew>, handler: impl Handler, stop: Stop) {
    let shared = Arc::new(Shared {
        protocols: Protocols::new(&limits),
        // Often enough for connections to come to rest soon: buffers that many of them hold at once stay with the heap.
        alarms: Alarms::start(limits.header_read.min(limits.idle).min(limits.body).min(PARK * 8)),
        limits: Arc::new(limits),
        crew,
        connections: TaskTracker::new(),
        registry: Registry::default(),
    });
    let accepting = TaskTracker::new();
    let speaking = tls_of(&listeners);
    if !speaking.is_empty() {
        accepting.spawn(tls::watch(speaking, stop.clone()));
    }
    for (index, listener) in listeners.into_iter().enumerate() {
        accepting.spawn(accept(listener, index, shared.clone(), handler.clone(), stop.clone()));
    }
    accepting.close();
    tokio::select! {
        () = accepting.wait() => {}
        () = stop.leaving.cancelled() => shared.registry.tell(Order::Leave),
    }
    accepting.wait().await;
    shared.registry.tell(Order::Drain);
    shared.connections.close();
    tokio::select! {
        () = shared.connections.wait() => {}
        () = stop.abort.cancelled() => {
            shared.registry.tell(Order::Abort);
            shared.connections.wait().await;
        }
    }
}

/// What the connections of one server have in common.
struct Shared {
    protocols: Protocols,
    alarms: Alarms,
    limits: Arc<Limits>,
    crew: Option<Crew>,
    connections: TaskTracker,
    registry: Registry,
}

async fn accept(listener: Listener, index: usize, shared: Arc<Shared>, handler: impl Handler, stop: Stop) {
    let mut patience = Patience::default();
    while let Some(accepted) = stop.drain.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(accepted) => {
                patience.succeeded();
                admit(accepted, index, &shared, handler.clone());
            }
            Err(error) => {
                if let Some(wait) = patience.failed(&error) {
                    stop.drain.run_until_cancelled(tokio::time::sleep(wait)).await;
                }
            }
        }
    }
    if !listener.is_held() {
        // With the socket goes its queue: who stands in it would be reset.
        // Bounded, because others may go on filling it.
        for _ in 0..QUEUE {
            let Some(Ok(accepted)) = listener.accept_queued().await else { break };
            admit(accepted, index, &shared, handler.clone());
        }
    }
}

/// Gives a connection its place, if there is one.
fn admit(accepted: Accepted, listener: usize, shared: &Arc<Shared>, handler: impl Handler) {
    let open = shared.connections.len();
    if open >= shared.limits.max_connections + ANSWERED {
        return;
    }
    let Accepted { stream, peer, local, tls, caller } = accepted;
    let crowded = open >= shared.limits.max_connections;
    let ends = Ends { peer, local, tls: tls.is_some(), proof: Proof::default(), listener, crowded };
    let vitals = Arc::new(Vitals::new(shared.limits.clone(), shared.alarms.add()));
    shared.registry.add(&vitals);
    let (protocols, place) = (shared.protocols.clone(), shared.connections.token());
    let Some(crew) = &shared.crew else {
        tokio::spawn(async move {
            let _place = place;
            connection::serve(stream, tls, caller, ends, protocols, vitals, handler).await;
        });
        return;
    };
    // From this runtime's reactor to that of the worker.
    let Ok(stream) = stream.leave() else { return };
    crew.give(move |load| {
        let Ok(stream) = stream.arrive() else { return };
        tokio::spawn(async move {
            let _held = (place, load);
            connection::serve(stream, tls, caller, ends, protocols, vitals, handler).await;
        });
    });
}
