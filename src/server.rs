//! Listeners, connections and their graceful end. Serves the proxy and the admin listener alike; knows no route.

pub mod guard;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::Body;
pub use crate::shutdown::Stop;

/// Who is at the two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The caller's address.
    pub peer: SocketAddr,
    /// Our own address, the one the caller connected to.
    pub local: SocketAddr,
}

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// One request to one answer; never fails.
    fn handle(&self, request: Request<Incoming>, ends: Ends) -> impl Future<Output = Response<Body>> + Send;
}

/// Binds all addresses, or says which one could not be bound. `[::1]` is passed over, with a warning, on a machine
/// without IPv6, as long as another address is there.
pub async fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && address.ip().is_loopback() && addresses.len() > 1 && no_ipv6(&error) => {
                tracing::warn!(%address, %error, "this machine has no IPv6 loopback: listening without it");
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))),
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "none of the addresses can be listened on"));
    }
    Ok(listeners)
}

fn no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

/// Serves until drained (every connection has ended) or aborted.
pub async fn serve(listeners: Vec<TcpListener>, header_read_timeout: Duration, handler: impl Handler, stop: Stop) {
    let connections = TaskTracker::new();
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper enforces no header-read timeout.
    http.http1().timer(TokioTimer::new()).header_read_timeout(header_read_timeout);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(60)));
    let protocol = Protocol { http, patience: header_read_timeout };
    let accepting = TaskTracker::new();
    for listener in listeners {
        accepting.spawn(accept(listener, protocol.clone(), handler.clone(), stop.clone(), connections.clone()));
    }
    accepting.close();
    accepting.wait().await;
    connections.close();
    connections.wait().await;
}

/// How connections are spoken to.
#[derive(Clone)]
struct Protocol {
    http: auto::Builder<TokioExecutor>,
    /// How long a connection may take to come to its first request.
    patience: Duration,
}

async fn accept(listener: TcpListener, protocol: Protocol, handler: impl Handler, stop: Stop, connections: TaskTracker) {
    while let Some(accepted) = stop.drain.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, protocol.clone(), handler.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of file descriptors, mostly; connections that end make room again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, protocol: Protocol, handler: impl Handler, stop: Stop) {
    let Ok(local) = stream.local_addr() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let ends = Ends { peer, local };
    let asked = CancellationToken::new();
    let service = service_fn({
        let asked = asked.clone();
        move |request| {
            asked.cancel();
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(handler.handle(request, ends).await) }
        }
    });
    // hyper's own limit begins only when it knows the version: not for a peer that says nothing, or half of HTTP/2's preface.
    let silent = async {
        if tokio::time::timeout(protocol.patience, asked.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let connection = protocol.http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let leave = async {
        tokio::select! {
            () = stop.drain.cancelled() => {}
            () = silent => {}
        }
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.abort.cancelled() => return,
        () = leave => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = stop.abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "connection ended: {}", crate::body::chain(&*error));
    }
}
