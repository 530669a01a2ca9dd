//! Secrets that change while the program runs: in files, whichever way they are replaced, and out of other programs.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use soproxy::sandbox::demo;

use crate::bench::TENANT;
use crate::binary::{Home, Program, get};
use crate::peer::Peer;
use crate::wire::{Wire, ask, assert_no_secret};

const SECOND: &str = demo::SECOND_TENANT;
const SECRET: &str = "secrets/Cust54321.client_secret";
const STAYS: &str = "the configuration stays as it was";

async fn status(proxy: SocketAddr, tenant: &str) -> u16 {
    ask(proxy, format!("GET /{tenant}/api/v1/_sandbox/echo HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.status()
}

/// Nobody sends a signal: sooner or later it is like this.
async fn becomes(program: &Program, proxy: SocketAddr, tenant: &str, expected: u16) {
    let started = Instant::now();
    loop {
        let status = status(proxy, tenant).await;
        if status == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{tenant}: {status}, not {expected}\n{}", program.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What Kubernetes does to the files of a secret: a new directory, and one link that leads to it from now on.
fn swap(dir: &Path, version: &str, name: &str, secret: &str) {
    std::fs::create_dir_all(dir.join(version)).unwrap();
    std::fs::write(dir.join(version).join(name), secret).unwrap();
    std::fs::set_permissions(dir.join(version).join(name), std::fs::Permissions::from_mode(0o400)).unwrap();
    symlink(version, dir.join("..data_tmp")).unwrap();
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[tokio::test]
async fn a_secret_that_changes_is_followed_without_a_signal_and_requests_go_on() {
    let (peer, go_on) = Peer::gated("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst", " rest").await;
    let home = Home::new().await.api_at(peer.address);
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let mut download = Wire::to(proxy).await;
    download.say(format!("GET /{TENANT}/api/v1/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    assert!(download.until("first").await.starts_with("HTTP/1.1 200 "));
    becomes(&program, proxy, SECOND, 200).await;

    // In place of the old one, at once; and written over the old one.
    home.write(SECRET, "not-the-secret-any-more");
    becomes(&program, proxy, SECOND, 503).await;
    std::fs::write(home.path(SECRET), demo::SECOND_CLIENT_SECRET).unwrap();
    becomes(&program, proxy, SECOND, 200).await;
    // Missing for a moment.
    std::fs::remove_file(home.path(SECRET)).unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    home.write(SECRET, "wrong-again");
    becomes(&program, proxy, SECOND, 503).await;

    let log = program.stderr();
    let told = log.lines().find(|line| line.contains("a secret's file has changed")).unwrap_or_else(|| panic!("{log}"));
    assert!(told.contains(SECRET), "{told}");
    assert_eq!((log.matches("configuration reloaded").count(), log.matches(STAYS).count()), (3, 0), "{log}");
    assert_eq!(home.sandbox.control().counters().exchanges_of(TENANT), 1, "the ticket of a tenant that did not change is kept");
    go_on.notify_one();
    assert_eq!(download.until(" rest").await, " rest");
    assert_no_secret(&program.stderr());
}

#[tokio::test]
async fn the_volume_of_a_pod_and_the_credentials_of_a_service_are_followed() {
    let home = Home::new().await;
    let (volume, credentials) = (home.path("volume"), home.path("credentials"));
    std::fs::create_dir(&volume).unwrap();
    std::fs::create_dir(&credentials).unwrap();
    swap(&volume, "..2026_01_01", "app", demo::CLIENT_SECRET);
    symlink("..data/app", volume.join("app")).unwrap();
    std::fs::write(credentials.join("second"), demo::SECOND_CLIENT_SECRET).unwrap();
    home.edit("proxy.toml", "{ file = \"secrets/client_secret\" }", "{ file = \"volume/app\" }");
    home.edit("proxy.toml", &format!("{{ file = {SECRET:?} }}"), "{ credential = \"second\" }");
    let home = home.variable("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    becomes(&program, proxy, TENANT, 200).await;
    becomes(&program, proxy, SECOND, 200).await;

    swap(&volume, "..2026_01_02", "app", "not-the-secret-any-more");
    becomes(&program, proxy, TENANT, 503).await;
    assert_eq!(status(proxy, SECOND).await, 200);
    swap(&volume, "..2026_01_03", "app", demo::CLIENT_SECRET);
    std::fs::write(credentials.join("new"), "neither-is-this").unwrap();
    std::fs::rename(credentials.join("new"), credentials.join("second")).unwrap();
    becomes(&program, proxy, TENANT, 200).await;
    becomes(&program, proxy, SECOND, 503).await;
    assert_no_secret(&program.stderr());
}

#[tokio::test]
async fn a_broken_secret_changes_nothing_and_the_next_change_heals_it() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    becomes(&program, proxy, TENANT, 200).await;
    becomes(&program, proxy, SECOND, 200).await;
    home.write(SECRET, " \n");
    program.logged(STAYS, 1).await;
    // Said once, and tried by nobody before something changes or some time has passed.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let log = program.stderr();
    assert!(log.contains(&format!("{SECRET} is empty")) && log.contains("put the value there"), "{log}");
    assert_eq!((log.matches(STAYS).count(), log.matches("configuration reloaded").count()), (1, 0), "{log}");
    for tenant in [TENANT, SECOND] {
        assert_eq!(status(proxy, tenant).await, 200);
        assert_eq!(get(admin, "/readyz").await.json()["tenants"][tenant]["generation"], 1);
    }
    home.write(SECRET, demo::SECOND_CLIENT_SECRET);
    program.logged("configuration reloaded", 1).await;
    for tenant in [TENANT, SECOND] {
        assert_eq!(status(proxy, tenant).await, 200);
        assert_eq!(home.sandbox.control().counters().exchanges_of(tenant), 1, "it is the secret that it was");
    }
    assert_no_secret(&program.stderr());
}

#[tokio::test]
async fn a_command_is_run_at_the_start_and_again_by_hangup() {
    let home = Home::new().await;
    // Where the secret comes from is a matter of the program's: nobody looks at that file.
    home.write("stored", demo::SECOND_CLIENT_SECRET);
    home.write("get", "#!/bin/sh\necho run >> runs\necho private words >&2\ncat \"$1\"\n");
    std::fs::set_permissions(home.path("get"), std::fs::Permissions::from_mode(0o700)).unwrap();
    home.edit("proxy.toml", &format!("{{ file = {SECRET:?} }}"), "{ command = [\"./get\", \"stored\"] }");
    let program = home.spawn(&["run", "--no-confine"]);
    let (proxy, _) = program.addresses().await;
    becomes(&program, proxy, SECOND, 200).await;
    assert_eq!(home.read("runs"), "run\n");

    home.write("stored", "not-the-secret-any-more");
    program.signal("HUP");
    program.logged("configuration reloaded", 1).await;
    becomes(&program, proxy, SECOND, 503).await;
    home.write("stored", demo::SECOND_CLIENT_SECRET);
    program.signal("HUP");
    becomes(&program, proxy, SECOND, 200).await;
    // One that fails changes nothing.
    std::fs::remove_file(home.path("stored")).unwrap();
    program.signal("HUP");
    program.logged(STAYS, 1).await;
    let log = program.stderr();
    assert!(log.contains("the program ./get ended with exit status 1") && log.contains("run it by hand"), "{log}");
    assert!(!log.contains("private words") && !log.contains("stored"), "{log}");
    assert_eq!(status(proxy, SECOND).await, 200);
    assert_eq!(home.read("runs"), "run\n".repeat(4));
    assert_no_secret(&log);
}

#[tokio::test]
async fn a_command_that_hangs_keeps_nobody_waiting_for_the_end() {
    let home = Home::new().await;
    home.write("get", "#!/bin/sh\n[ ! -e hangs ] || sleep 30\necho \"$1\"\n");
    std::fs::set_permissions(home.path("get"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let command = format!("{{ command = [\"./get\", {:?}] }}", demo::SECOND_CLIENT_SECRET);
    home.edit("proxy.toml", &format!("{{ file = {SECRET:?} }}"), &command);
    let program = home.spawn(&["run", "--no-confine"]);
    let (proxy, _) = program.addresses().await;
    becomes(&program, proxy, SECOND, 200).await;
    home.write("hangs", "");
    program.signal("HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(status(proxy, SECOND).await, 200, "nor does a request");
    let started = Instant::now();
    program.signal("TERM");
    assert_eq!(program.ended().await.code, 0);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_confined_process_runs_no_command_again_unless_it_may() {
    let home = Home::new().await;
    home.edit("proxy.toml", &format!("{{ file = {SECRET:?} }}"), &format!("{{ command = [\"cat\", {SECRET:?}] }}"));
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    becomes(&program, proxy, SECOND, 200).await;
    assert!(program.stderr().contains("confine.execute") && program.stderr().contains("not again"), "{}", program.stderr());
    if !program.stderr().contains("seccomp") {
        return eprintln!("skipped: {}", program.stderr());
    }
    program.signal("HUP");
    program.logged(STAYS, 1).await;
    let log = program.stderr();
    assert!(log.contains("cat cannot be started") && log.contains("[confine] execute") && log.contains("--no-confine"), "{log}");
    assert_eq!(status(proxy, SECOND).await, 200, "with what it had");
    drop(program);
    // With what it is linked to, wherever this machine has that.
    let may = "\n[confine]\nexecute = [\"/bin\", \"/usr/bin\", \"/lib\", \"/usr/lib\", \"/lib64\"]\n";
    home.write("proxy.toml", home.read("proxy.toml") + may);
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    home.write(SECRET, "not-the-secret-any-more");
    program.signal("HUP");
    program.logged("configuration reloaded", 1).await;
    becomes(&program, proxy, SECOND, 503).await;
}
