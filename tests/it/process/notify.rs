//! What a service manager hears.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::binary::{Home, Program};

/// A service manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn new(home: &Home) -> Manager {
        let socket = UnixDatagram::bind(home.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Manager(socket)
    }

    /// The next message that says this; those before it are passed over.
    fn hears(&self, assignment: &str, program: &Program) -> String {
        let mut buffer = [0; 4096];
        let mut heard = String::new();
        loop {
            let count = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("{assignment}: {error}\n{heard}\n{}", program.stderr()));
            let message = String::from_utf8_lossy(&buffer[..count]);
            if message.lines().any(|line| line == assignment) {
                return message.into_owned();
            }
            heard.push_str(&message);
        }
    }
}

fn monotonic() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_hears_of_start_reload_and_stop_and_that_all_is_well() {
    let home = Home::new().await;
    let manager = Manager::new(&home);
    let socket = home.path("notify");
    let home = home.variable("SOPROXY_LISTEN__SHUTDOWN_DELAY", "2s").variable("SOPROXY_LISTEN__GRACE", "3s");
    let program = home.spawn_with(&["run"], &[("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "60000")]);
    let ready = manager.hears("READY=1", &program);
    assert!(ready.contains("of 2 tenants can be served"), "bound is ready; tickets may come later: {ready}");
    manager.hears("STATUS=2 of 2 tenants can be served", &program);
    for _ in 0..3 {
        manager.hears("WATCHDOG=1", &program);
    }
    program.addresses().await;

    let before = monotonic();
    program.signal("HUP");
    let reloading = manager.hears("RELOADING=1", &program);
    let at: i64 = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap().parse().unwrap();
    assert!((before..=monotonic()).contains(&at), "systemd takes an earlier one for the answer to something else: {before} {reloading}");
    assert!(manager.hears("READY=1", &program).contains("STATUS=2 of 2 tenants can be served\n"));

    home.edit("proxy.toml", "[application]", "[applications]");
    program.signal("HUP");
    manager.hears("RELOADING=1", &program);
    let ready = manager.hears("READY=1", &program);
    assert!(ready.contains("cannot be used"), "a reload that failed is over, too: {ready}");

    program.signal("TERM");
    let stopping = manager.hears("STOPPING=1", &program);
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=20000000\n"), "delay, grace and a rest: {stopping}");
    manager.hears("WATCHDOG=1", &program);
    program.signal("TERM");
    let output = program.ended().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("confined"), "{}", output.stderr);
}

#[tokio::test]
async fn a_manager_that_cannot_be_reached_is_no_reason_not_to_serve() {
    let home = Home::new().await;
    let program = home.spawn_with(&["run"], &[("NOTIFY_SOCKET", "/gone/notify")]);
    program.addresses().await;
    assert!(program.stderr().contains("NOTIFY_SOCKET"), "{}", program.stderr());
}
