//! The program confines itself: what holds for its threads, what it still can, and what it cannot. Where this kernel has no
//! Landlock or no seccomp that part is left out, and says so.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::bench::TENANT;
use crate::binary::{Home, Program, get};
use crate::tls;

/// What the log says of it.
async fn confined(program: &Program) -> String {
    program.logged("confined", 1).await;
    program.stderr().lines().find(|line| line.contains("confined")).unwrap().to_owned()
}

/// Whether files are out of reach; a remark if they are not.
async fn has_landlock(program: &Program) -> bool {
    let state = confined(program).await;
    let has = state.contains("Landlock ABI");
    if !has {
        eprintln!("skipped: {state}");
    }
    has
}

async fn served(program: &Program) -> u16 {
    let (proxy, _) = program.addresses().await;
    get(proxy, &format!("/{TENANT}/api/v1/_sandbox/echo")).await.status.as_u16()
}

/// One line of each thread's status.
fn of_all_threads(program: &Program, name: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", program.pid())).unwrap();
    let status = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    status.map(|text| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()).collect()
}

fn core_limit(process: &str) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap().trim().to_owned()
}

#[tokio::test]
async fn every_thread_of_a_running_proxy_is_confined() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    assert_eq!(served(&program).await, 200);
    let state = confined(&program).await;
    assert!(state.contains("no_new_privs"), "{state}");
    let threads = of_all_threads(&program, "NoNewPrivs:");
    assert!(threads.len() > 2 && threads.iter().all(|one| one == "1"), "{threads:?}");
    if state.contains(" seccomp") && !state.contains("no seccomp") {
        let threads = of_all_threads(&program, "Seccomp:");
        assert!(threads.iter().all(|mode| mode == "2"), "{threads:?}");
    } else {
        eprintln!("skipped: {state}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_told_not_to_is_not_confined() {
    let home = Home::new().await;
    let program = home.spawn(&["run", "--no-confine"]);
    assert_eq!(served(&program).await, 200);
    let own = |name: &str| {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    };
    for name in ["NoNewPrivs:", "Seccomp:", "Seccomp_filters:"] {
        let threads = of_all_threads(&program, name);
        assert!(threads.iter().all(|one| *one == own(name)), "{name} {threads:?}");
    }
    assert!(confined(&program).await.contains("not confined"));
}

#[tokio::test]
async fn a_core_is_not_dumped_unless_that_is_allowed() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    assert_eq!(served(&program).await, 200);
    assert_eq!(core_limit(&program.pid().to_string()).split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
    let program = home.spawn(&["run", "--allow-core"]);
    assert_eq!(served(&program).await, 200);
    assert_eq!(core_limit(&program.pid().to_string()), core_limit("self"), "as it was inherited");
    for (arguments, expected) in [(&["check"][..], "core dumps: off\n"), (&["--allow-core", "check"], "core dumps: allowed\n")] {
        let output = home.run(arguments).await;
        assert!(output.stdout.contains(expected), "{output:?}");
    }
}

#[tokio::test]
async fn a_confined_proxy_finds_names_and_trusts_the_machines_roots() {
    let home = Home::new().await;
    // The roots of this "machine", in a place of their own, and read when the process is confined already.
    let roots = tempfile::tempdir().unwrap();
    let file = roots.path().join("roots.pem");
    std::fs::copy(tls::vectors("ca.pem"), &file).unwrap();
    let api: std::net::SocketAddr = home.sandbox.base().trim_start_matches("http://").parse().unwrap();
    let front = tls::front(api, tls::acceptor(&[], rustls::DEFAULT_VERSIONS)).await;
    let (login, host) = (format!("http://localhost:{}", api.port()), format!("localhost:{}", front.address.port()));
    let home = home
        .variable("SSL_CERT_FILE", file.to_str().unwrap())
        .variable("SOPROXY_SUPEROFFICE__LOGIN_URL", &login)
        .variable("SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS", &format!("{host},{api}"))
        .variable("SOPROXY_TENANTS__CUST12345__API_URL", &format!("https://{host}/{TENANT}/api"));
    let program = home.spawn(&["run"]);
    assert_eq!(served(&program).await, 200, "{}", program.stderr());
    assert!(front.connections() > 0);
    confined(&program).await;
}

#[tokio::test]
async fn a_reload_reads_what_was_named_at_start_and_its_neighbours() {
    let home = Home::new().await;
    // As Kubernetes mounts a secret: the directory behind `..data` is replaced as a whole.
    let secret = home.read("secrets/client_secret");
    std::fs::create_dir_all(home.path("mounted/..1")).unwrap();
    std::fs::write(home.path("mounted/..1/client_secret"), "not-the-secret").unwrap();
    symlink("..1", home.path("mounted/..data")).unwrap();
    symlink("..data/client_secret", home.path("mounted/client_secret")).unwrap();
    home.edit("proxy.toml", "secrets/client_secret", "mounted/client_secret");
    let program = home.spawn(&["run"]);
    assert_eq!(served(&program).await, 503);
    confined(&program).await;
    std::fs::create_dir(home.path("mounted/..2")).unwrap();
    std::fs::write(home.path("mounted/..2/client_secret"), &secret).unwrap();
    symlink("..2", home.path("mounted/..new")).unwrap();
    std::fs::rename(home.path("mounted/..new"), home.path("mounted/..data")).unwrap();
    std::fs::remove_dir_all(home.path("mounted/..1")).unwrap();
    program.signal("HUP");
    program.logged("configuration reloaded", 1).await;
    assert_eq!(served(&program).await, 200);
    // A file that nobody had named, where others were.
    home.write("secrets/new", &secret);
    home.edit("proxy.toml", "mounted/client_secret", "secrets/new");
    program.signal("HUP");
    program.logged("configuration reloaded", 2).await;
    assert_eq!(served(&program).await, 200);
}

#[tokio::test]
async fn a_reload_that_names_a_file_elsewhere_is_refused_and_says_what_to_do() {
    let home = Home::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = home.read("secrets/client_secret");
    let there = elsewhere.path().join("client_secret");
    std::fs::write(&there, &secret).unwrap();
    let good = home.read("proxy.toml");
    let moved = good.replace("secrets/client_secret", there.to_str().unwrap());
    assert!(good != moved);
    let program = home.spawn(&["run"]);
    assert_eq!(served(&program).await, 200);
    home.write("proxy.toml", &moved);
    program.signal("HUP");
    if has_landlock(&program).await {
        program.logged("the configuration stays as it was", 1).await;
        let log = program.stderr();
        for text in ["application.client_secret (proxy.toml:", "cannot be read: Permission denied", "need a restart", "[confine] read"] {
            assert!(log.contains(text), "{text:?} is not in {log}");
        }
        assert!(!log.contains(secret.trim()));
    } else {
        program.logged("configuration reloaded", 1).await;
    }
    assert_eq!(served(&program).await, 200);
    drop(program);
    // What it says helps: a restart, `[confine] read`, or --no-confine.
    let restarted = home.spawn(&["run"]);
    assert_eq!(served(&restarted).await, 200);
    drop(restarted);
    for (arguments, read) in [(&["run"][..], elsewhere.path().to_str().unwrap()), (&["run", "--no-confine"], "")] {
        home.write("proxy.toml", &good);
        let program = home.spawn_with(arguments, &[("SOPROXY_CONFINE__READ", read)]);
        assert_eq!(served(&program).await, 200);
        home.write("proxy.toml", &moved);
        program.signal("HUP");
        program.logged("configuration reloaded", 1).await;
        assert_eq!(served(&program).await, 200);
    }
}

#[tokio::test]
async fn a_certificate_that_moves_elsewhere_is_not_taken_and_the_log_says_why() {
    let home = Home::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["localhost.pem", "localhost.key", "renewed.pem", "renewed.key"] {
        std::fs::copy(tls::vectors(name), home.path(name)).unwrap();
        std::fs::copy(tls::vectors(name), elsewhere.path().join(name)).unwrap();
    }
    let home = home.variable("SOPROXY_LISTEN__TLS_CERTIFICATE", "localhost.pem").variable("SOPROXY_LISTEN__TLS_KEY__FILE", "localhost.key");
    let program = home.spawn(&["run"]);
    program.addresses().await;
    if !has_landlock(&program).await {
        return;
    }
    symlink(elsewhere.path().join("renewed.pem"), home.path("link")).unwrap();
    std::fs::rename(home.path("link"), home.path("localhost.pem")).unwrap();
    program.logged("the listener's certificate stays as it was", 1).await;
    assert!(program.stderr().contains("[confine] read"), "{}", program.stderr());
    // In the same directory it is.
    for name in ["pem", "key"] {
        std::fs::rename(home.path(&format!("renewed.{name}")), home.path(&format!("localhost.{name}"))).unwrap();
    }
    program.logged("the listener's certificate was read anew", 1).await;
}

#[tokio::test]
async fn a_confined_proxy_makes_and_removes_its_sockets() {
    let home = Home::new().await;
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("proxy.sock");
    let home = home.variable("SOPROXY_LISTEN__ADDRESS", &format!("127.0.0.1:0,unix:{}", path.display()));
    // One of a run that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut program = home.spawn(&["run"]);
    assert_eq!(served(&program).await, 200);
    std::os::unix::net::UnixStream::connect(&path).unwrap();
    confined(&program).await;
    assert!(program.is_running());
    program.signal("TERM");
    assert_eq!(program.ended().await.code, 0);
    assert_eq!(std::fs::read_dir(sockets.path()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn check_tells_what_a_confined_proxy_may_reach() {
    let sockets = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/s", sockets.path().display());
    let home = Home::new().await.variable("SOPROXY_LISTEN__ADDRESS", &address).variable("SOPROXY_CONFINE__EXECUTE", "/usr/bin/env");
    let output = home.run_with(&["check"], &[("SOPROXY_CONFINE__WRITE", "secrets,not-there")]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let real = |path: &Path| path.canonicalize().unwrap().display().to_string();
    let directory = real(&home.path(""));
    let lines = [
        "run is confined: no_new_privs".to_owned(),
        format!("  reads: {directory}"),
        "  reads, of the system: ".to_owned(),
        format!("  writes: {directory}/secrets"),
        format!("  makes sockets in: {}", real(sockets.path())),
        "  executes: ".to_owned(),
    ];
    for line in lines {
        assert!(output.stdout.lines().any(|said| said.starts_with(&line)), "{line:?} is not in {}", output.stdout);
    }
    assert!(output.stderr.contains("not-there does not exist"), "{}", output.stderr);
    // To tell it is not to do it.
    assert_eq!(home.run(&["check", "--online"]).await.code, 0);
}

#[tokio::test]
async fn a_change_of_what_may_be_reached_waits_for_the_next_start() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    assert_eq!(served(&program).await, 200);
    let text = home.read("proxy.toml");
    home.write("proxy.toml", format!("{text}\n[confine]\nread = [\"/tmp\"]\n"));
    program.signal("HUP");
    program.logged("[confine] changed: that takes effect at the next start", 1).await;
}
