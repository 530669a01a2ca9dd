//! Listeners: TCP or a Unix socket, with or without TLS. What they accept knows who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::handed::Handed;
use super::neighbour;
use super::stream::Plain;
use super::tls::Tls;
use super::unix::{self, Place, UnixDoor, UnixStream};
use crate::peer::{Certificate, Process, Proof};

/// Bound, and not yet serving.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    /// A service manager has it, too: it goes on listening when this process does not.
    held: bool,
    tls: Option<Arc<Tls>>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixDoor),
}

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) stream: Plain,
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) caller: Caller,
}

/// How to find out which process is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller {
    /// The kernel said so.
    Told(Process),
    /// The kernel may be asked.
    Neighbour { peer: SocketAddr, local: SocketAddr },
    /// It is on another machine, or nobody knows.
    Stranger,
}

impl Caller {
    /// What the connection proves, with the certificate that was verified.
    pub(super) fn proof(self, certificate: Option<Certificate>) -> Proof {
        match self {
            Caller::Told(process) => Proof::new(certificate, move || Some(process)),
            Caller::Neighbour { peer, local } => Proof::new(certificate, move || neighbour::process(peer, local)),
            Caller::Stranger if certificate.is_none() => Proof::default(),
            Caller::Stranger => Proof::new(certificate, || None),
        }
    }
}

/// Binds all addresses, or says which one could not be bound. `[::1]` is passed over, with a warning, on a machine
/// without IPv6, as long as another address is there.
pub async fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<Listener>> {
    bind_or_take(addresses, &mut Handed::default()).await
}

/// The same, but for what was handed over bound already.
pub async fn bind_or_take(addresses: &[SocketAddr], handed: &mut Handed) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        if let Some(listener) = handed.tcp(address) {
            listeners.push(Listener { kind: Kind::Tcp(TcpListener::from_std(listener)?), held: true, tls: None });
            continue;
        }
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(Listener { kind: Kind::Tcp(listener), held: false, tls: None }),
            Err(error) if address.is_ipv6() && address.ip().is_loopback() && addresses.len() > 1 && no_ipv6(&error) => {
                tracing::warn!(%address, %error, "this machine has no IPv6 loopback: listening without it");
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))),
        }
    }
    if listeners.is_empty() && !addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "none of the addresses can be listened on"));
    }
    Ok(listeners)
}

/// The TLS of some listeners, each once.
pub fn tls_of(listeners: &[Listener]) -> Vec<Arc<Tls>> {
    let mut all: Vec<Arc<Tls>> = Vec::new();
    for tls in listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        if !all.iter().any(|known| Arc::ptr_eq(known, tls)) {
            all.push(tls.clone());
        }
    }
    all
}

/// Binds a Unix socket; its file goes when the listener does.
pub fn bind_unix(place: &Place) -> io::Result<Listener> {
    bind_or_take_unix(place, &mut Handed::default())
}

/// The same, unless it was handed over bound already: then its file stays.
pub fn bind_or_take_unix(place: &Place, handed: &mut Handed) -> io::Result<Listener> {
    if let Some(listener) = handed.unix(place)? {
        return Ok(Listener { kind: Kind::Unix(UnixDoor::held(listener, place)?), held: true, tls: None });
    }
    let door = UnixDoor::bind(place).map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {place}: {error}")))?;
    Ok(Listener { kind: Kind::Unix(door), held: false, tls: None })
}

fn no_ipv6(error: &io::Error) -> bool {
    // It has no kind of its own.
    let no_such_family = if cfg!(windows) { 10047 } else { 97 };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(no_such_family)
}

impl Listener {
    /// The same, speaking TLS.
    pub fn speaking(self, tls: Option<Arc<Tls>>) -> Listener {
        Listener { tls, ..self }
    }

    /// Its TLS, if it speaks that.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Where it is bound, if that is TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    /// Its file, if it is a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Tcp(_) => None,
            Kind::Unix(door) => Some(door.path()),
        }
    }

    /// Whether others go on listening when this is closed.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// The next connection that is there already.
    pub(super) async fn accept_queued(&self) -> Option<io::Result<Accepted>> {
        // What came a moment ago the runtime need not know of yet.
        tokio::task::yield_now().await;
        tokio::time::timeout(Duration::ZERO, self.accept()).await.ok()
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let tls = self.tls.clone();
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "no TCP_NODELAY");
                }
                let local = stream.local_addr().ok();
                let caller = match local {
                    Some(local) if peer.ip().to_canonical().is_loopback() => Caller::Neighbour { peer, local },
                    _ => Caller::Stranger,
                };
                Ok(Accepted { stream: Plain::Tcp(stream), peer: Some(peer), local, tls, caller })
            }
            Kind::Unix(door) => {
                let (stream, process) = door.accept().await?;
                let caller = process.map_or(Caller::Stranger, Caller::Told);
                Ok(Accepted { stream: Plain::Unix(stream), peer: None, local: None, tls, caller })
            }
        }
    }
}

/// A stream on its way from one runtime to another.
pub(super) enum Moving {
    Tcp(std::net::TcpStream),
    Unix(unix::Moving),
}

impl Plain {
    /// Takes it out of this runtime's reactor.
    pub(super) fn leave(self) -> io::Result<Moving> {
        match self {
            Plain::Tcp(stream) => stream.into_std().map(Moving::Tcp),
            Plain::Unix(stream) => stream.into_std().map(Moving::Unix),
        }
    }
}

impl Moving {
    /// Hands it to that of the runtime where this is called.
    pub(super) fn arrive(self) -> io::Result<Plain> {
        match self {
            Moving::Tcp(stream) => TcpStream::from_std(stream).map(Plain::Tcp),
            Moving::Unix(stream) => UnixStream::from_std(stream).map(Plain::Unix),
        }
    }
}
