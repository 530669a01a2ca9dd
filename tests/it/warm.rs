//! Warm start: the real program, its store, and restarts of every kind.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use soproxy::sandbox::demo;

use crate::bench::TENANT;
use crate::binary::{Home, Program, get};
use crate::login::no_secrets;

const ECHO: &str = "/Cust12345/api/v1/_sandbox/echo";
const OTHER: &str = "/Cust54321/api/v1/_sandbox/echo";
const LOST: &str = "costs one exchange";

async fn home() -> Home {
    Home::new().await.variable("SOPROXY_STORE__PATH", "store")
}

/// Starts it, and asks once for each tenant.
async fn served(home: &Home) -> Program {
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    for path in [ECHO, OTHER] {
        let answer = get(proxy, path).await;
        assert_eq!(answer.status, 200, "{answer:?}\n{}", program.stderr());
    }
    program
}

async fn stopped(program: Program) -> String {
    program.signal("TERM");
    let output = program.ended().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    output.stderr
}

fn exchanges(home: &Home) -> u64 {
    home.sandbox.control().counters().exchanges_of(TENANT)
}

/// Waits until the tenant's record is there.
async fn stored(home: &Home, tenant: &str) -> Vec<u8> {
    let path = home.path(&format!("store/{tenant}.sealed"));
    for _ in 0..500 {
        if let Ok(record) = std::fs::read(&path) {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing is stored");
}

#[tokio::test]
async fn a_restart_costs_no_exchange_even_while_the_login_service_is_down() {
    let home = home().await;
    let log = stopped(served(&home).await).await;
    assert_eq!(exchanges(&home), 1, "{log}");
    for name in ["store/cust12345.sealed", "store/cust54321.sealed", "store/lock"] {
        assert_eq!(std::fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::metadata(home.path("store")).unwrap().permissions().mode() & 0o777, 0o700);
    for _ in 0..3 {
        stopped(served(&home).await).await;
    }
    home.sandbox.control().change_faults(|faults| {
        faults.set("login=down").unwrap();
        faults.set("jwks_down=true").unwrap();
        faults.set("state_down=true").unwrap();
    });
    let program = home.spawn(&["run"]);
    let (proxy, admin) = program.addresses().await;
    let answer = get(proxy, ECHO).await;
    assert_eq!(answer.status, 200, "{}", program.stderr());
    let ready = get(admin, "/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["tenants"][TENANT]["generation"]), (200, &1.into()));
    assert_eq!(exchanges(&home), 1);
    assert!(!program.stderr().contains(LOST), "{}", program.stderr());
}

#[tokio::test]
async fn what_is_stored_tells_nobody_anything() {
    let home = home().await;
    stopped(served(&home).await).await;
    let record = stored(&home, "cust12345").await;
    let text = String::from_utf8_lossy(&record).into_owned();
    no_secrets(&text);
    let secrets = [demo::CLIENT_SECRET, demo::SYSTEM_USER_TOKEN, demo::SERIAL, "api/v1", "127.0.0.1", "SOTicket"];
    for secret in secrets {
        assert!(!text.contains(secret) && !text.contains(&STANDARD.encode(secret)), "{secret}");
    }
    // The same again is other bytes: nobody can tell that nothing has changed.
    stopped(served(&home).await).await;
    assert_ne!(stored(&home, "cust12345").await, record);
}

#[tokio::test]
async fn a_killed_proxy_goes_on_with_what_it_had() {
    let home = home().await;
    for round in 0..10 {
        let mut program = served(&home).await;
        stored(&home, "cust12345").await;
        if round == 0 {
            // The first record holds the ticket only once the thread that writes has come to it.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        program.signal("KILL");
        while program.is_running() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!program.stderr().contains(LOST), "{}", program.stderr());
    }
    assert_eq!(exchanges(&home), 1);
}

#[tokio::test]
async fn a_ticket_that_was_refused_is_not_used_again_by_the_next_process() {
    let home = home().await;
    let program = served(&home).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    home.sandbox.control().revoke_tickets(None);
    home.sandbox.control().change_faults(|faults| faults.set("login=down").unwrap());
    let (proxy, _) = program.addresses().await;
    get(proxy, ECHO).await;
    stopped(program).await;
    home.sandbox.control().change_faults(|faults| faults.set("login=ok").unwrap());
    let unauthorized = home.sandbox.control().counters().unauthorized;
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, ECHO).await.status, 200);
    assert_eq!(home.sandbox.control().counters().unauthorized, unauthorized, "the refused one was not sent again");
}

#[tokio::test]
async fn a_store_that_another_process_has_is_left_alone() {
    let home = home().await;
    let first = served(&home).await;
    let second = served(&home).await;
    assert!(second.stderr().contains("in use by another process: going on without"), "{}", second.stderr());
    assert_eq!(exchanges(&home), 2);
    stopped(second).await;
    stopped(first).await;
    stopped(served(&home).await).await;
    assert_eq!(exchanges(&home), 2, "the first one's records are whole");
}

#[tokio::test]
async fn a_record_that_cannot_be_used_is_set_aside_and_costs_one_exchange() {
    let home = home().await;
    stopped(served(&home).await).await;
    let good = stored(&home, "cust12345").await;
    let mut altered = good.clone();
    altered[100] ^= 1;
    let foreign = stored(&home, "cust54321").await;
    for (times, (what, bytes)) in
        [("altered", altered), ("another tenant's", foreign), ("cut off", good[..40].to_vec()), ("empty", Vec::new())]
            .into_iter()
            .enumerate()
    {
        std::fs::write(home.path("store/cust12345.sealed"), bytes).unwrap();
        let program = served(&home).await;
        assert_eq!(exchanges(&home), times as u64 + 2, "{what}");
        let log = stopped(program).await;
        assert_eq!(log.matches(LOST).count(), 1, "{what}: {log}");
        assert!(home.path("store/cust12345.bad").exists());
    }
    // Another key is another application's.
    home.write("privatekey.xml", demo::SECOND_PRIVATE_KEY_XML);
    let program = home.spawn(&["run"]);
    program.logged("does not open it", 1).await;
}

#[tokio::test]
async fn a_pinned_serial_survives_a_restart() {
    let home = home().await;
    stopped(served(&home).await).await;
    home.sandbox.control().revoke_tickets(None);
    home.sandbox.control().change_faults(|faults| faults.set("jwt=other_serial").unwrap());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let answer = get(proxy, ECHO).await;
    assert_eq!(answer.error(), Some("ticket_unavailable"), "{answer:?}\n{}", program.stderr());
    program.logged("all before it had 1234567890", 1).await;
    stopped(program).await;
    let program = home.spawn_with(&["run"], &[("SOPROXY_TENANTS__CUST12345__SERIAL", "1999999999")]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, ECHO).await.status, 200, "{}", program.stderr());
}

#[tokio::test]
async fn a_tenant_that_comes_with_a_reload_is_recalled_too() {
    let home = home().await;
    stopped(served(&home).await).await;
    let with = home.read("proxy.toml");
    let at = with.find("[tenants.Cust12345]").unwrap();
    let end = with[at + 1..].find("\n[").map_or(with.len(), |end| at + 2 + end);
    home.write("proxy.toml", format!("{}{}", &with[..at], &with[end..]));
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, ECHO).await.status, 404);
    home.write("proxy.toml", with);
    program.signal("HUP");
    program.logged("configuration reloaded", 1).await;
    assert_eq!(get(proxy, ECHO).await.status, 200);
    assert_eq!(exchanges(&home), 1);
}

#[tokio::test]
async fn a_store_that_cannot_be_had_is_said_and_does_without() {
    let home = home().await;
    home.write("store", "a file");
    let checked = home.run(&["check"]).await;
    assert!(checked.code == 0 && checked.stderr.contains("the store") && checked.stderr.contains("run would go on without"), "{checked:?}");
    let program = served(&home).await;
    assert!(program.stderr().contains("the store") && program.stderr().contains("going on without"), "{}", program.stderr());
    no_secrets(&program.stderr());
}
