//! A scripted proxy on the way out. Whatever host it is asked for, its tunnels lead to one address; it keeps what it saw.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::peer::Peer;

/// What it does with CONNECT.
#[derive(Clone)]
pub enum Script {
    /// Says this, and is a tunnel then.
    Tunnel(String),
    /// The same, each byte by itself.
    Bytewise(String),
    /// Says this, and nothing more.
    Says(String),
    /// Says this again and again after a first line.
    Endless(&'static str),
    /// Ends the connection.
    Hangs,
    /// A tunnel for who says this, 407 for others.
    Wants(&'static str),
}

pub const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

pub struct Forwarder {
    pub peer: Peer,
    seen: Arc<Mutex<Vec<String>>>,
    carried: Arc<Mutex<Vec<u8>>>,
}

impl Forwarder {
    pub async fn start(to: SocketAddr, script: Script) -> Forwarder {
        Forwarder::behind(None, to, script).await
    }

    /// With an acceptor it is itself spoken to by TLS.
    pub async fn behind(tls: Option<TlsAcceptor>, to: SocketAddr, script: Script) -> Forwarder {
        let (seen, carried) = <(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<u8>>>)>::default();
        let kept = (seen.clone(), carried.clone());
        let peer = Peer::start(move |_, stream| {
            let (script, tls, (seen, carried)) = (script.clone(), tls.clone(), kept.clone());
            async move {
                stream.set_nodelay(true).unwrap();
                match tls {
                    None => serve(stream, to, script, seen, carried).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, to, script, seen, carried).await;
                        }
                    }
                }
            }
        })
        .await;
        Forwarder { peer, seen, carried }
    }

    /// What it was sent before it answered.
    pub fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// All that it carried towards upstream.
    pub fn carried(&self) -> String {
        String::from_utf8_lossy(&self.carried.lock().unwrap()).into_owned()
    }
}

async fn serve<S>(mut stream: S, to: SocketAddr, script: Script, seen: Arc<Mutex<Vec<String>>>, carried: Arc<Mutex<Vec<u8>>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // One by one: nothing behind the head is taken for a part of it.
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    seen.lock().unwrap().push(head.clone());
    let answer = match script {
        Script::Tunnel(answer) => answer,
        Script::Bytewise(answer) => {
            let (last, first) = answer.as_bytes().split_last().unwrap();
            for byte in first {
                stream.write_all(&[*byte]).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            String::from_utf8(vec![*last]).unwrap()
        }
        Script::Wants(login) if head.contains(&format!("\r\nProxy-Authorization: {login}\r\n")) => OK.to_owned(),
        Script::Wants(_) => {
            let refusal =
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno";
            return until_gone(stream, refusal).await;
        }
        Script::Says(answer) => return until_gone(stream, &answer).await,
        Script::Endless(line) => {
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream.write_all(line.as_bytes()).await.is_ok() {}
            return;
        }
        Script::Hangs => return,
    };
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    relay(stream, to, &carried).await;
}

/// Says something and waits until nobody listens.
async fn until_gone<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &str) {
    _ = stream.write_all(answer.as_bytes()).await;
    _ = stream.flush().await;
    _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Carries bytes both ways until one side ends.
pub async fn relay<S: AsyncRead + AsyncWrite + Unpin>(stream: S, to: SocketAddr, carried: &Mutex<Vec<u8>>) {
    let Ok(upstream) = TcpStream::connect(to).await else { return };
    let (mut up, mut to_up) = upstream.into_split();
    let (mut down, mut to_down) = tokio::io::split(stream);
    let upwards = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = down.read(&mut buffer).await {
            carried.lock().unwrap().extend_from_slice(&buffer[..read]);
            if to_up.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        _ = to_up.shutdown().await;
    };
    let downwards = async {
        _ = tokio::io::copy(&mut up, &mut to_down).await;
        _ = to_down.shutdown().await;
    };
    tokio::join!(upwards, downwards);
}
