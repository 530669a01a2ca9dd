//! Sockets that were bound by somebody else: no request is lost when the process behind them is another one.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::bench::TENANT;
use crate::binary::{Home, Program};
use crate::wire::{Message, OK, Wire, recorder, request};

const REQUESTS: usize = 1000;
const RESTARTS: usize = 10;

/// A socket as systemd makes it, which stays open here.
fn socket() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What callers go by.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    restarted: AtomicBool,
}

impl Tally {
    /// Whether one more is to be sent, after a moment.
    async fn another(&self) -> bool {
        tokio::time::sleep(Duration::from_millis(4)).await;
        self.count() < REQUESTS || !self.restarted.load(Ordering::Relaxed)
    }

    fn count(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    fn answered(&self, answer: &Message) {
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.complete);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection per request.
async fn calls(to: SocketAddr, tally: Arc<Tally>) {
    while tally.another().await {
        let mut wire = Wire::of(TcpStream::connect(to).await.expect("somebody listens at all times"));
        wire.say(request("GET", "/v1/x", "Connection: close\r\n")).await;
        tally.answered(&wire.answer().await);
    }
}

/// As many requests over a connection as it is let; nothing is ever sent again.
async fn calls_on(to: SocketAddr, tally: Arc<Tally>) {
    let mut kept: Option<Wire> = None;
    while tally.another().await {
        let mut wire = match kept.take() {
            Some(wire) => wire,
            None => Wire::of(TcpStream::connect(to).await.expect("somebody listens at all times")),
        };
        wire.say(request("POST", "/v1/x", "Content-Length: 0\r\n")).await;
        let answer = wire.answer().await;
        tally.answered(&answer);
        if answer.one("connection") != Some("close") {
            kept = Some(wire);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_across_ten_restarts_are_all_answered() {
    let (listener, address) = socket();
    let (peer, _) = recorder(OK).await;
    let home = Home::new().await.api_at(peer.address);
    let store = home.path("store");
    let home = home
        .variable("SOPROXY_LISTEN__ADDRESS", &address.to_string())
        .variable("SOPROXY_STORE__PATH", store.to_str().unwrap())
        // So that whoever keeps connections hears of it.
        .variable("SOPROXY_LISTEN__SHUTDOWN_DELAY", "100ms");
    let start = || home.spawn_on(listener.try_clone().unwrap(), &["run"], &[]);
    let tally = Arc::new(Tally::default());
    let mut program = start();
    let callers: Vec<_> = (0..6)
        .map(|index| match index % 2 {
            0 => tokio::spawn(calls(address, tally.clone())),
            _ => tokio::spawn(calls_on(address, tally.clone())),
        })
        .collect();
    for _ in 0..RESTARTS {
        program.logged(" serves", 1).await;
        let (before, begun) = (tally.count(), Instant::now());
        while tally.count() < before + 20 {
            assert!(begun.elapsed() < Duration::from_secs(20), "no progress: {}", program.stderr());
            assert!(!callers.iter().any(JoinHandle::is_finished), "a caller failed: {}", program.stderr());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // As systemd does it: the next one is started when the last one has ended.
        program.signal("TERM");
        let output = program.ended().await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(!output.stderr.contains("still in flight"), "{}", output.stderr);
        program = start();
    }
    tally.restarted.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(tally.count() >= REQUESTS);
    program.signal("TERM");
    assert_eq!(program.ended().await.code, 0);
}

#[tokio::test]
async fn a_unix_socket_can_be_handed_over_and_stays() {
    let home = Home::new().await;
    let path = home.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    let home = home.variable("SOPROXY_LISTEN__ADDRESS", &format!("unix:{}", path.display()));
    mode(0o666);
    let output = home.spawn_on(listener.try_clone().unwrap(), &["run"], &[]).ended().await;
    assert!(output.code == 1 && output.stderr.contains("SocketMode=0600"), "more can connect than was configured: {output:?}");
    mode(0o600);
    let program = home.spawn_on(listener, &["run"], &[]);
    let mut wire = Wire::over(tokio::net::UnixStream::connect(&path).await.unwrap());
    assert_eq!(wire.get("/v1/_sandbox/echo", "").await.status(), 200);
    program.signal("TERM");
    let output = program.ended().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(path.exists(), "it is not ours to remove");
}

#[tokio::test]
async fn a_socket_that_the_configuration_does_not_name_is_not_served() {
    let home = Home::new().await;
    let (listener, address) = socket();
    let refused = |program: Program| async {
        let output = program.ended().await;
        assert_eq!(output.code, 1, "{output:?}");
        output.stderr
    };
    let said = refused(home.spawn_on(listener, &["run"], &[])).await;
    for piece in [&address.to_string(), "soproxy.socket", "[listen] address"] {
        assert!(said.contains(piece), "{piece}: {said}");
    }
    // What is no listening socket.
    let (listener, _) = socket();
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let said = refused(home.spawn_on(connected, &["run"], &[])).await;
    assert!(said.contains("number 3") && said.contains("ListenStream"), "{said}");
}

#[tokio::test]
async fn sockets_of_another_process_are_none_of_ours() {
    let home = Home::new().await;
    let program = home.spawn_with(&["run"], &[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
    let (proxy, _) = program.addresses().await;
    let mut wire = Wire::to(proxy).await;
    assert_eq!(wire.get("/v1/_sandbox/echo", "").await.status(), 200, "{TENANT}");
}
