//! The configuration of a real program: changed while it serves, and shown.

use crate::bench::{Setup, TENANT};
use crate::binary::{Home, Program, get};

const SECOND: &str = "Cust54321";

async fn status(program: &Program, tenant: &str) -> u16 {
    let (proxy, _) = program.addresses().await;
    get(proxy, &format!("/{tenant}/api/v1/_sandbox/echo")).await.status.as_u16()
}

/// The last line of the log that tells what a reload changed.
fn told(program: &Program) -> String {
    program.stderr().lines().rfind(|line| line.contains("configuration reloaded")).unwrap_or_default().to_owned()
}

/// The second tenant's table, in a file of its own.
fn in_a_file_of_its_own(home: &Home) -> String {
    let text = home.read("proxy.toml");
    let table = text.split_once("[tenants.Cust54321]").unwrap().1;
    format!("[tenants.Cust54321]{}", table.replace("file = \"", "file = \"../secrets/../"))
}

/// Nobody sends a signal: the files alone change, within what a confined process may read.
#[tokio::test]
async fn tenants_come_and_go_with_their_files() {
    let home = Home::new().await;
    let second = in_a_file_of_its_own(&home);
    let whole = home.read("proxy.toml");
    home.write("proxy.toml", whole.split("# This tenant has approved").next().unwrap());
    let program = home.spawn(&["run"]);
    assert_eq!((status(&program, TENANT).await, status(&program, SECOND).await), (200, 404));
    let exchanges = || home.sandbox.control().counters().exchanges_of(TENANT);
    let before = exchanges();

    // The directory comes when the process is confined already; its files may be links, as in a Pod.
    std::fs::create_dir_all(home.path("..1")).unwrap();
    let paths = second.replace("../secrets/../", &format!("{}/", home.path("").display()));
    std::fs::write(home.path("..1/second.toml"), paths).unwrap();
    std::os::unix::fs::symlink("..1", home.path("tenants.d")).unwrap();
    program.logged("configuration reloaded", 1).await;
    assert_eq!((status(&program, TENANT).await, status(&program, SECOND).await), (200, 200));
    assert!(told(&program).contains("tenants.Cust54321: added"), "{}", told(&program));

    // A file that is wrong changes nothing, together with one that is right.
    home.write("proxy.toml", format!("{}\n[upstream]\nrate = 7\n", home.read("proxy.toml")));
    std::fs::write(home.path("..1/wrong.toml"), "[tenants.Cust7]\nsystem_user_token = ").unwrap();
    program.logged("the configuration stays as it was", 1).await;
    let log = program.stderr();
    assert!(log.contains("tenants.d/wrong.toml:2:") && !log.contains("rate"), "{log}");
    assert_eq!(status(&program, SECOND).await, 200);
    std::fs::remove_file(home.path("..1/wrong.toml")).unwrap();
    program.logged("configuration reloaded", 2).await;
    assert!(told(&program).contains("upstream.rate: \"off\" → 7"), "{}", told(&program));

    std::fs::remove_file(home.path("tenants.d")).unwrap();
    home.write(
        "proxy.toml",
        format!("{}\n[log]\nlevel = \"debug\"\n[listen]\ngrace = \"5s\"\nmax_uri = \"1KiB\"\n", home.read("proxy.toml")),
    );
    program.logged("configuration reloaded", 3).await;
    assert_eq!((status(&program, TENANT).await, status(&program, SECOND).await), (200, 404));
    for change in ["tenants.Cust54321: removed", "log.level: \"info\" → \"debug\"", "listen.grace: \"30s\" → \"5s\"", "listen.max_uri: "]
    {
        assert!(told(&program).contains(change), "{change} is not in {}", told(&program));
    }
    assert_eq!(exchanges(), before, "a tenant that stays keeps its ticket");
    program.signal("HUP");
    program.logged("nothing changed", 1).await;
}

#[tokio::test]
async fn a_report_tells_what_changed_and_what_waits_for_the_next_start() {
    let bench = Setup::new().start().await;
    let apply = |changes: &[(&str, &str)]| bench.live.apply(bench.config_with(changes)).unwrap();
    assert_eq!(apply(&[]).to_string(), "nothing changed");
    let report = apply(&[("listen.grace", "5s"), ("listen.max_uri", "1KiB"), ("log.level", "debug"), ("upstream.rate", "5")]);
    let changes = [
        "listen.max_uri: \"16KiB\" → \"1KiB\"",
        "listen.grace: \"30s\" → \"5s\"",
        "log.level: \"info\" → \"debug\"",
        "upstream.rate: \"off\" → \"5\"",
    ];
    assert_eq!(report.changes, changes);
    assert_eq!(report.at_next_start, ["listen.grace"]);
    // It still waits, whatever else changes.
    let report = apply(&[("listen.grace", "5s")]);
    assert_eq!(report.changes.len(), 3, "{report}");
    assert_eq!(report.at_next_start, ["listen.grace"]);
    assert_eq!(apply(&[]).at_next_start, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_shown_is_a_configuration_itself() {
    let home = Home::new().await;
    std::fs::create_dir(home.path("tenants.d")).unwrap();
    home.write("tenants.d/second.toml", in_a_file_of_its_own(&home));
    let whole = home.read("proxy.toml");
    home.write("proxy.toml", whole.split("# This tenant has approved").next().unwrap());
    let shown = home.run(&["config", "show"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let plain = shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "address = \"127.0.0.1:0\" # SOPROXY_LISTEN__ADDRESS ",
        "grace = \"30s\" # default ",
        "client_secret = { file = \"secrets/client_secret\" } # proxy.toml:",
        "client_secret = { file = \"tenants.d/../secrets/../secrets/Cust54321.client_secret\" } # tenants.d/second.toml:3 ",
    ] {
        assert!(plain.contains(line), "{line:?} is not in {}", shown.stdout);
    }
    assert!(shown.stderr.contains("tenants.d/second.toml:4"), "warnings, too: {}", shown.stderr);
    // The same configuration once more, from what was shown.
    std::fs::remove_dir_all(home.path("tenants.d")).unwrap();
    std::fs::create_dir(home.path("tenants.d")).unwrap();
    home.write("shown.toml", &shown.stdout);
    let again = home.run(&["config", "show", "--config", "shown.toml"]).await;
    let values = |text: &str| text.lines().map(|line| line.split("  #").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&again.stdout), values(&shown.stdout));
    let check = home.run(&["check", "--config", "shown.toml"]).await;
    assert!(check.code == 0 && check.stdout.contains(SECOND), "{check:?}");
    // JSON has the same; and what is wrong is shown as well, with where it is.
    let json: serde_json::Value = serde_json::from_str(&home.run(&["config", "show", "--json"]).await.stdout).unwrap();
    let grace = json.as_array().unwrap().iter().find(|setting| setting["key"] == "listen.grace").unwrap();
    assert_eq!((&grace["value"], &grace["source"]), (&"30s".into(), &"default".into()));
    let wrong = home.run_with(&["config", "show", "--set"], &[("SOPROXY_LISTEN__GRACE", "soon")]).await;
    assert_ne!(wrong.code, 0);
    assert!(wrong.stdout.contains("grace = \"soon\"") && wrong.stdout.contains("# SOPROXY_LISTEN__GRACE, wrong\n"), "{}", wrong.stdout);
    assert!(wrong.stderr.contains("listen.grace (SOPROXY_LISTEN__GRACE): \"soon\" is no duration"), "{}", wrong.stderr);
    assert!(!wrong.stdout.contains("# default"));
}
