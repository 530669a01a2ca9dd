//! SOCKS 5 on the way out (RFC 1928, RFC 1929).

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::forwarder::relay;
use super::{CHAIN, HOST, Online, server};
use crate::logs::Logs;
use crate::peer::Peer;

/// A proxy that wants alice, and gives tunnels with this reply.
async fn proxy(to: std::net::SocketAddr, reply: u8) -> (Peer, Arc<Mutex<Vec<u8>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    let peer = Peer::start(move |_, stream| {
        let asked = kept.clone();
        async move { _ = serve(stream, to, reply, &asked).await }
    })
    .await;
    (peer, asked)
}

async fn serve(mut stream: TcpStream, to: std::net::SocketAddr, reply: u8, asked: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut bytes = [0; 256];
    stream.read_exact(&mut bytes[..3]).await?;
    if bytes[..3] != [5, 1, 2] {
        // No method that suits us.
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, 2]).await?;
    let login = b"\x01\x05alice\x04hush";
    stream.read_exact(&mut bytes[..login.len()]).await?;
    stream.write_all(&[1, u8::from(bytes[..login.len()] != *login)]).await?;
    let length = 5 + HOST.len() + 2;
    stream.read_exact(&mut bytes[..length]).await?;
    asked.lock().unwrap().extend_from_slice(&bytes[..length]);
    stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if reply == 0 {
        relay(stream, to, &Mutex::default()).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_socks_proxy_is_told_the_name_and_nothing_else() {
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    let (peer, asked) = proxy(online.front.address, 0).await;
    let bench = online.setup().set("upstream.proxy", &format!("socks5h://alice:hush@{}", peer.address)).start().await;
    let answer = bench.get("/api/v1/User/currentPrincipal").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let wanted = [&[5, 1, 0, 3, HOST.len() as u8], HOST.as_bytes(), &443u16.to_be_bytes()].concat();
    let asked = asked.lock().unwrap();
    assert!(!asked.is_empty() && asked.chunks(wanted.len()).all(|chunk| chunk == wanted), "{asked:?}");
    assert_eq!(online.front.connections(), peer.connections());
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_told_of_in_the_log() {
    let online = Online::start(Some(HOST), server(&CHAIN, false)).await;
    for (login, reply) in [("", 0), ("alice:hush@", 2), ("alice:huss@", 0)] {
        let (peer, _) = proxy(online.front.address, reply).await;
        let logs = Logs::capture();
        let bench = online.setup().set("upstream.proxy", &format!("socks5h://{login}{}", peer.address)).start().await;
        assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.error(), Some("ticket_unavailable"), "{login}{reply}");
        let text = logs.text();
        assert!(text.contains("SOCKS error: ") && text.contains(&peer.address.to_string()) && !text.contains("hus"), "{text}");
    }
    assert_eq!(online.front.connections(), 0);
}
