//! SuperOffice's hosts, between which the tenant moves: doors to the one sandbox that know who stands in them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One host; dropping it closes it for new connections.
pub struct Place {
    /// `host:port`, as its own links name it.
    pub authority: String,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    open: AtomicUsize,
    all: AtomicUsize,
}

impl Place {
    /// A host that is called by this name.
    pub fn open(listener: TcpListener, name: &str, sandbox: SocketAddr) -> Place {
        let authority = format!("{name}:{}", listener.local_addr().unwrap().port());
        let seen = Arc::<Seen>::default();
        let counted = seen.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let seen = counted.clone();
                seen.open.fetch_add(1, Ordering::SeqCst);
                seen.all.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    if let Ok(inside) = TcpStream::connect(sandbox).await {
                        pass(caller, inside).await;
                    }
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Place { authority, seen, accepting }
    }

    /// Connections that are open now.
    pub fn open_now(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Connections that ever were.
    pub fn ever(&self) -> usize {
        self.seen.all.load(Ordering::SeqCst)
    }
}

/// Both ways until both have ended. An answer that comes while its request is still on its way arrives, as it does from servers.
async fn pass(mut caller: TcpStream, mut inside: TcpStream) {
    let _ = (caller.set_nodelay(true), inside.set_nodelay(true));
    let ((mut from_caller, mut to_caller), (mut from_inside, mut to_inside)) = (caller.split(), inside.split());
    let there = async {
        if copy(&mut from_caller, &mut to_inside).await.is_err() {
            let _ = copy(&mut from_caller, &mut sink()).await;
        }
        let _ = to_inside.shutdown().await;
    };
    let back = async {
        let _ = copy(&mut from_inside, &mut to_caller).await;
        let _ = to_caller.shutdown().await;
    };
    tokio::join!(there, back);
}

impl Drop for Place {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
