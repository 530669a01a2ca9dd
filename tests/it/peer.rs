//! Scripted peers: servers that stall, reset, truncate and lie.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wire::{Message, Wire};

/// A listener that hands each connection to a script. Dropping it stops it.
pub struct Peer {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Peer {
    pub async fn start<S, F>(script: S) -> Peer
    where
        S: Fn(usize, TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(counted.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Peer { address, connections, accepting }
    }

    /// Answers every request of every connection with these bytes, and closes.
    pub async fn answering(bytes: impl Into<Vec<u8>>) -> Peer {
        let bytes: Arc<[u8]> = bytes.into().into();
        Peer::start(move |_, mut stream| {
            let bytes = bytes.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
            }
        })
        .await
    }

    /// Answers each connection's request with `first`, and with `rest` when told to go on; then closes.
    pub async fn gated(first: &'static str, rest: &'static str) -> (Peer, Arc<Notify>) {
        let go_on = Arc::new(Notify::new());
        let gate = go_on.clone();
        let peer = Peer::start(move |_, mut stream| {
            let gate = gate.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(first.as_bytes()).await;
                gate.notified().await;
                let _ = stream.write_all(rest.as_bytes()).await;
            }
        })
        .await;
        (peer, go_on)
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Upstream as the test itself plays it, line by line: it takes each connection in its turn.
pub struct Stage {
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Stage {
    pub async fn new() -> Stage {
        Stage::at("127.0.0.1:0").await
    }

    pub async fn at(address: &str) -> Stage {
        let listener = TcpListener::bind(address).await.unwrap();
        Stage { address: listener.local_addr().unwrap(), listener }
    }

    /// The next connection, which has to come.
    pub async fn next(&self) -> Wire {
        Wire::of(self.accept().await)
    }

    pub async fn accept(&self) -> TcpStream {
        timeout(Duration::from_secs(10), self.listener.accept()).await.expect("a connection comes").unwrap().0
    }

    /// The next connection, and its first request.
    pub async fn request(&self) -> (Wire, Message) {
        let mut wire = self.next().await;
        let request = wire.message().await.expect("a request");
        (wire, request)
    }

    /// Whether no further connection comes for a while.
    pub async fn is_quiet(&self) -> bool {
        timeout(Duration::from_millis(80), self.listener.accept()).await.is_err()
    }
}

/// No event tells that a connection lies in the pool again, or that the end which upstream put to it has come. Both take no
/// time to speak of, but for the next request they may come too late.
pub async fn settled() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// An address where connecting leads nowhere: a listener whose queue is full, so that it answers nobody.
pub struct Deaf {
    pub address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    pub async fn at(address: SocketAddr) -> std::io::Result<Deaf> {
        let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
        socket.bind(address)?;
        let listener = socket.listen(1)?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        while let Ok(connected) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            queue.push(connected?);
        }
        Ok(Deaf { address, _listener: listener, _queue: queue })
    }
}

/// Reads one request: its head, and as many bytes of body as `Content-Length` says.
pub async fn read_request(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text[..end].lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if seen.len() >= end + 4 + length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
        }
    }
}
