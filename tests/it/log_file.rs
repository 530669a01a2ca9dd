//! The log of the real program, confined as it is: in a file, in which form, and how much of it.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::TENANT;
use crate::binary::{Home, Program, addresses_in, get};

const FILE: &str = "logs/soproxy.log";

async fn home() -> Home {
    Home::new().await.variable("SOPROXY_LOG__FILE", FILE).variable("SOPROXY_LOG__FORMAT", "auto")
}

/// The file's text, once this is in it.
async fn with(home: &Home, text: &str) -> String {
    let started = Instant::now();
    loop {
        let log = fs::read_to_string(home.path(FILE)).unwrap_or_default();
        if log.contains(text) {
            return log;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "not logged: {text:?}\n{log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn serving(home: &Home, arguments: &[&str]) -> (Program, SocketAddr) {
    let program = home.spawn(arguments);
    let (proxy, _) = addresses_in(&with(home, " serves").await);
    (program, proxy)
}

async fn ask(proxy: SocketAddr, query: &str) {
    assert_eq!(get(proxy, &format!("/{TENANT}/api/v1/_sandbox/echo{query}")).await.status, 200);
}

#[tokio::test]
async fn a_log_file_has_everything_and_standard_error_what_is_wrong() {
    let home = home().await.variable("SOPROXY_LOG__QUERY", "names");
    // What an earlier process left of a day that is over.
    fs::create_dir(home.path("logs")).unwrap();
    fs::write(home.path("logs/soproxy-2001-01-01.log"), "old\n").unwrap();
    let (program, proxy) = serving(&home, &["run"]).await;
    ask(proxy, "?$top=3&secretly").await;
    let log = with(&home, "\"target\":\"access\"").await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let record = lines.iter().find(|line| line["target"] == "access").unwrap();
    assert_eq!(record["message"], format!("GET /{TENANT}/api/v1/_sandbox/echo?$top&secretly"));
    assert!(lines.iter().any(|line| line["message"].as_str().unwrap_or_default().contains("confined")), "from the beginning on");
    let stderr = program.stderr();
    let told: Vec<&str> = stderr.lines().filter(|line| line.contains("\"INFO\"")).collect();
    assert_eq!(told.len(), 1, "{stderr}");
    assert!(told[0].contains("the log goes to a file") && told[0].contains(FILE), "{stderr}");
    let started = Instant::now();
    // It is older than 90 days.
    while home.path("logs/soproxy-2001-01-01.log").exists() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As logrotate does it.
    fs::rename(home.path(FILE), home.path("logs/soproxy.log.1")).unwrap();
    program.signal("USR1");
    with(&home, "the log file is opened anew").await;
    ask(proxy, "").await;
    with(&home, "\"target\":\"access\"").await;
    program.signal("TERM");
    assert_eq!(program.ended().await.code, 0);
    assert!(with(&home, "stopped").await.ends_with('\n'));
}

#[tokio::test]
async fn a_disk_that_takes_no_more_stops_no_traffic() {
    let home = home().await.limited("ulimit -f 16");
    let (program, proxy) = serving(&home, &["run"]).await;
    let started = Instant::now();
    while !program.stderr().contains("cannot be written to") {
        assert!(started.elapsed() < Duration::from_secs(10), "{}", program.stderr());
        ask(proxy, "").await;
    }
    ask(proxy, "").await;
    // Somebody makes room.
    let full = fs::read_to_string(home.path(FILE)).unwrap();
    fs::rename(home.path(FILE), home.path("logs/full")).unwrap();
    program.signal("USR1");
    program.logged("is written to again", 1).await;
    assert_eq!(program.stderr().matches("cannot be written to").count(), 1, "it is said once: {}", program.stderr());
    let log = with(&home, "\"target\":\"access\"").await;
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    let halved = full.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    assert!(halved <= 1, "{full}");
}

#[tokio::test]
async fn the_level_changes_with_a_reload_unless_the_command_line_says_it() {
    let home = Home::new().await.variable("SOPROXY_LOG__FORMAT", "auto");
    home.edit("proxy.toml", "[application]", "[log]\nlevel = \"info,access=off\"\n[application]");
    let program = home.spawn(&["run"]);
    let fixed = home.spawn(&["run", "--log", "info,access=warn", "--log-format", "text"]);
    let (first, second) = (program.addresses().await.0, fixed.addresses().await.0);
    ask(first, "?1").await;
    home.edit("proxy.toml", "info,access=off", "info");
    for program in [&program, &fixed] {
        program.signal("HUP");
        program.logged("configuration reloaded", 1).await;
    }
    ask(first, "?2").await;
    ask(second, "").await;
    program.logged("\"target\":\"access\"", 1).await;
    assert!(program.stderr().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", program.stderr());
    fixed.signal("TERM");
    let fixed = fixed.ended().await.stderr;
    assert!(fixed.contains(" INFO soproxy") && !fixed.contains("access:"), "{fixed}");
    let wrong = home.run(&["run", "--log", "loud"]).await;
    assert!(wrong.code == 2 && wrong.stderr.contains("\"loud\" is no log level"), "{wrong:?}");
}

#[tokio::test]
async fn check_says_whether_the_log_can_be_written() {
    let home = Home::new().await.variable("SOPROXY_LOG__KEEP", "30d");
    fs::create_dir(home.path("dir.log")).unwrap();
    for (file, said) in [
        ("logs/soproxy.log", "is less than 90 days"),
        ("dir.log", "cannot be written to"),
        ("none/logs/soproxy.log", "cannot be written to"),
        ("soproxy.log", "is in the configuration's own directory"),
    ] {
        let output = home.run_with(&["check"], &[("SOPROXY_LOG__FILE", file)]).await;
        assert!(output.code == 0 && output.stderr.contains(said), "{file} {output:?}");
    }
    let output = home.run_with(&["check"], &[("SOPROXY_LOG__FILE", "/soproxy.log")]).await;
    assert!(output.code != 0 && output.stderr.contains("is in the root directory"), "{output:?}");
    assert!(!home.path("logs").exists() && !home.path("soproxy.log").exists(), "check makes nothing");
}
