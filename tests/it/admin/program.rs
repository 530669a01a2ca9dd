//! The real program, confined, asked by the real program.

use std::os::unix::fs::PermissionsExt;

use crate::binary::{Home, Output, get};

#[track_caller]
fn good(output: Output) -> String {
    assert_eq!(output.code, 0, "{}\n{}", output.stdout, output.stderr);
    output.stdout
}

#[track_caller]
fn bad(output: &Output, what: &str) {
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(what), "{output:?}");
}

#[track_caller]
fn misused(output: &Output, what: &str) {
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains(what), "{output:?}");
}

#[tokio::test]
async fn an_operator_does_everything_over_a_unix_socket() {
    let mut home = Home::new().await.variable("SOPROXY_STORE__PATH", "store");
    let socket = home.path("admin.sock");
    let place = format!("unix:{}", socket.display());
    home = home.variable("SOPROXY_ADMIN__ADDRESS", &place).variable("SOPROXY_ADMIN__SOCKET_MODE", "0660");
    // Nobody is there yet.
    bad(&home.run(&["wait", "--timeout", "200ms"]).await, "cannot be reached");
    bad(&home.run(&["status"]).await, "cannot be reached");
    let waiting = home.spawn(&["wait", "--timeout", "20s", "--tenant", "cust12345"]);
    let program = home.spawn(&["run"]);
    let waited = waiting.ended().await;
    assert_eq!((waited.code, waited.stdout.as_str(), waited.stderr.as_str()), (0, "", ""), "it is quiet");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o660);
    bad(&home.run(&["wait", "--timeout", "200ms", "--tenant", "nobody"]).await, "there is no tenant \"nobody\"");
    assert_eq!(home.run(&["wait", "--tenant", "no/body"]).await.code, 2);
    good(home.run(&["healthcheck", "--ready", "--address", &place]).await);

    let table = good(home.run(&["status"]).await);
    assert!(table.contains("ready; 0 requests in flight") && table.contains(&format!("admin at {place}")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("Cust12345  ready  1 ")), "{table}");
    let status: serde_json::Value = serde_json::from_str(&good(home.run(&["status", "--json"]).await)).unwrap();
    assert!(status["confinement"]["holds"].to_string().contains("no_new_privs"), "{status}");
    assert_eq!(status["pid"], program.pid());

    assert_eq!(good(home.run(&["log-level"]).await), "info\n");
    assert_eq!(good(home.run(&["log-level", "info,soproxy=debug"]).await).trim().len(), "info,soproxy=debug".len());
    program.logged("the log level was set", 1).await;
    misused(&home.run(&["log-level", "loud"]).await, "is no log level");
    assert_eq!(good(home.run(&["log-level", "configured"]).await), "info\n");
    assert!(program.stderr().contains("at the Unix socket"), "who asked is told: {}", program.stderr());

    assert!(good(home.run(&["reload"]).await).starts_with("reloaded\n"));
    home.edit("proxy.toml", "[application]", "[applications]");
    bad(&home.run(&["reload"]).await, "applications");
    let status: serde_json::Value = serde_json::from_str(&good(home.run(&["status", "--json"]).await)).unwrap();
    assert_eq!((&status["reloads"]["applied"], &status["reloads"]["failed"], &status["ready"]), (&1.into(), &1.into(), &true.into()));
    assert!(status["reloads"]["failure"]["reason"].as_str().unwrap().contains("applications"), "{status}");
    let ready = good(home.run(&["healthcheck", "--ready"]).await);
    assert!(ready.contains("reload_failed"), "it is ready all the same: {ready}");
    home.edit("proxy.toml", "[applications]", "[application]");

    assert!(good(home.run(&["renew", "Cust12345"]).await).contains("generation 2"));
    misused(&home.run(&["renew", "nobody"]).await, "there is no tenant");
    assert!(good(home.run(&["forget", "cust54321"]).await).contains("generation 1 is forgotten"));
    assert!(good(home.run(&["forget", "cust54321"]).await).contains("no ticket"));
    let exchanges = |tenant: &str| home.sandbox.control().counters().exchanges_of(tenant);
    assert_eq!((exchanges("Cust12345"), exchanges("Cust54321")), (2, 1));

    assert_eq!(good(home.run(&["shutdown", "--wait"]).await), "stopped\n");
    assert_eq!(program.ended().await.code, 0);
    assert!(!socket.exists());
    // What was forgotten is not in the store; what was not is.
    let again = home.spawn(&["run"]);
    good(home.run(&["wait", "--tenant", "Cust54321"]).await);
    good(home.run(&["wait", "--tenant", "Cust12345"]).await);
    let renewed = async || (exchanges("Cust12345"), exchanges("Cust54321"));
    for _ in 0..500 {
        if renewed().await == (2, 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(renewed().await, (2, 2));
    assert_eq!(good(home.run(&["shutdown"]).await), "draining\n");
    assert_eq!(again.ended().await.code, 0);
}

#[tokio::test]
async fn the_commands_show_the_token_and_a_new_one_holds_after_a_reload() {
    let home = Home::new().await;
    home.write("token", "the-first-admin-token\n");
    home.write("proxy.toml", home.read("proxy.toml") + "\n[admin]\ntoken = { file = \"token\" }\n");
    let program = home.spawn(&["run"]);
    let (_, admin) = program.addresses().await;
    let address = admin.to_string();
    let run = async |arguments: &[&str]| home.run(&[arguments, &["--address", &address]].concat()).await;
    good(run(&["wait"]).await);
    good(run(&["status"]).await);
    assert_eq!(get(admin, "/status").await.status, 401);
    home.write("other", "not-the-admin-token");
    bad(&run(&["status", "--token-file", "other"]).await, "admin.token");
    bad(&run(&["wait", "--tenant", "Cust12345", "--token-file", "other"]).await, "admin.token");
    // Whether it is ready it tells everybody, also one whose token is no more the right one.
    good(run(&["wait", "--token-file", "other"]).await);
    good(run(&["healthcheck", "--ready", "--token-file", "other"]).await);
    bad(&run(&["shutdown", "--token-file", "gone"]).await, "gone cannot be read");
    // A secret's file that changes is followed, this one, too.
    home.write("token", "the-second-admin-token");
    program.logged("configuration reloaded", 1).await;
    good(run(&["status"]).await);
    home.write("old", "the-first-admin-token");
    bad(&run(&["status", "--token-file", "old"]).await, "admin.token");
    // Health needs none, and a token that cannot be read does not matter for it.
    std::fs::remove_file(home.path("token")).unwrap();
    good(run(&["healthcheck"]).await);
    good(run(&["healthcheck", "--ready"]).await);
    home.write("new", "the-second-admin-token");
    good(run(&["shutdown", "--wait", "--token-file", "new"]).await);
    assert_eq!(program.ended().await.code, 0);
}
