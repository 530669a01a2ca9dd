//! Sockets that a service manager has bound and hands over: systemd's socket activation (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! A socket becomes the listener whose address it has, and nothing else: so it has the rules that the configuration was judged by,
//! and TLS where that says so. The service manager keeps it, too: connections that nobody accepts while this process stops
//! wait for the next one.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::unix::Place;

/// Those that no listener has taken yet.
#[derive(Debug, Default)]
pub struct Handed(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    /// Its number and what the service manager calls it, for messages.
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(SocketAddr, TcpListener),
    Unix(PathBuf, UnixListener),
}

impl Handed {
    /// What this process was started with. To be called once, before any program is run, which else would inherit it.
    pub fn take() -> io::Result<Handed> {
        let mine = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
        if !mine {
            return Ok(Handed::default());
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).map(|index| {
            let number = format!("number {}", index + 3);
            let name = names.next().map_or(number.clone(), |name| format!("{number}, {name}"));
            let kind = Kind::of(&mut given, index).map_err(|error| {
                io::Error::new(error.kind(), format!("the socket that was handed over ({name}) cannot be used: {error}"))
            })?;
            Ok(Socket { name, kind })
        });
        sockets.collect::<io::Result<_>>().map(Handed)
    }

    /// The one that is bound to this address.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.0.iter().position(|socket| matches!(&socket.kind, Kind::Tcp(bound, _) if *bound == address))?;
        match self.0.swap_remove(at).kind {
            Kind::Tcp(_, listener) => Some(listener),
            Kind::Unix(..) => None,
        }
    }

    /// The one that has this path. An error if more users can connect than the configuration was judged by: whoever connects may use it.
    pub fn unix(&mut self, place: &Place) -> io::Result<Option<UnixListener>> {
        let Some(at) = self.0.iter().position(|socket| matches!(&socket.kind, Kind::Unix(path, _) if *path == place.path)) else {
            return Ok(None);
        };
        match self.0.swap_remove(at).kind {
            Kind::Unix(path, listener) => {
                let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
                if mode & !place.mode != 0 {
                    let what = format!(
                        "more users than its socket_mode {:04o} allows can connect to {place}, which was handed over with {mode:04o}: set SocketMode={:04o} in the socket's unit, or socket_mode in the configuration",
                        place.mode, place.mode
                    );
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
                }
                Ok(Some(listener))
            }
            Kind::Tcp(..) => Ok(None),
        }
    }

    /// An error if there is any that nothing has taken.
    pub fn all_taken(self) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let left: Vec<String> = self.0.iter().map(Socket::to_string).collect();
        let what = "no listener of the configuration has this address, and who may call there was not decided: name it in the configuration \
                    ([listen] address, [[listeners]] address, [admin] address or [state] push_address), or take it out of the socket's unit";
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a socket was handed over at {}: {what}", left.join(" and at "))))
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp(address, _) => write!(f, "{address} ({})", self.name),
            Kind::Unix(path, _) => write!(f, "unix:{} ({})", path.display(), self.name),
        }
    }
}

impl Kind {
    fn of(given: &mut ListenFd, index: usize) -> io::Result<Kind> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "it is no stream socket that listens (Accept=no, ListenStream=)");
        if let Ok(Some(listener)) = given.take_tcp_listener(index) {
            socket_acceptconn(&listener)?.then_some(()).ok_or_else(wrong)?;
            listener.set_nonblocking(true)?;
            return Ok(Kind::Tcp(listener.local_addr()?, listener));
        }
        let listener = given.take_unix_listener(index).ok().flatten().ok_or_else(wrong)?;
        socket_acceptconn(&listener)?.then_some(()).ok_or_else(wrong)?;
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
        let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no path"))?;
        Ok(Kind::Unix(path, listener))
    }
}
