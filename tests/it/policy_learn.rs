//! `soproxy policy learn`: from the log of a real proxy to rules that a real proxy takes.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::bench::{collect, open};
use crate::binary::Home;

/// The status, and the code of the proxy's own answer.
async fn call(to: SocketAddr, method: &str, path: &str) -> (u16, Option<String>) {
    let request = Request::builder().method(method).uri(path).header("host", to.to_string()).header("content-type", "application/json");
    let answer = collect(open(to, request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()).await).await;
    (answer.status.as_u16(), answer.error().map(str::to_owned))
}

const CALLS: [(&str, &str); 5] = [
    ("GET", "/Cust12345/api/v1/Contact/5"),
    ("HEAD", "/Cust12345/api/v1/Contact/7"),
    ("GET", "/cust12345/API/v1/Archive//$metadata?$top=secret"),
    ("POST", "/Cust12345/api/v1/Agents/Person/GetPerson"),
    ("GET", "/Cust54321/api/v1/User/currentPrincipal"),
];

async fn what_is_learned_is_what_was_done(format: &str) {
    let home = Home::new().await.variable("SOPROXY_LOG__FORMAT", format);
    let before = home.read("proxy.toml");
    // Nothing is allowed, and all of it reported.
    home.write("proxy.toml", format!("{before}\n[anonymous]\nallow = []\n"));
    let program = home.spawn_with(&["run"], &[("SOPROXY_LISTEN__POLICY", "report")]);
    let (proxy, _) = program.addresses().await;
    let mut answers = Vec::new();
    for (method, path) in CALLS {
        answers.push(call(proxy, method, path).await);
        assert_eq!(answers.last().unwrap().1, None, "{format}: {path}");
    }
    assert_eq!(call(proxy, "GET", "/Cust12345/api/v1/;x").await.1.as_deref(), Some("bad_target"));
    program.signal("TERM");
    let log = program.ended().await.stderr;
    home.write("proxy.log", &log);

    let learned = home.run(&["policy", "learn", "--from", "proxy.log"]).await;
    assert_eq!(learned.code, 0, "{learned:?}\n{log}");
    assert!(learned.stdout.starts_with("# Rules learned from 6 access records; 1 that soproxy answered itself"), "{}", learned.stdout);
    let rules = r#"tenants = ["Cust12345", "Cust54321"]
allow = [
    "GET /API/v1/Archive//$metadata",
    "POST /API/v1/Agents/Person/GetPerson",
    "GET /API/v1/User/currentPrincipal",
    "GET /API/v1/Contact/*",
]
"#;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.to_ascii_lowercase().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let proposed = learned.stdout.split("[anonymous]").nth(1).unwrap().split_once('\n').unwrap().1;
    assert_eq!(sorted(proposed), sorted(rules), "{}", learned.stdout);
    assert!(!learned.stdout.contains("read_only"), "a POST was seen");

    home.write("proxy.toml", format!("{before}\n{}", learned.stdout));
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    for ((method, path), answer) in CALLS.iter().zip(answers) {
        assert_eq!(call(proxy, method, path).await, answer, "{format}: {path}");
    }
    for (method, path) in [
        ("DELETE", "/Cust12345/api/v1/Contact/5"),
        ("GET", "/Cust12345/api/v1/Contact"),
        ("POST", "/Cust12345/api/v1/Agents/Person/SavePerson"),
    ] {
        assert_eq!(call(proxy, method, path).await, (403, Some("not_allowed".to_owned())), "{format}: {method} {path}");
    }
    program.signal("TERM");
    let log = program.ended().await.stderr;
    home.write("proxy.log", log);
    let learned = home.run(&["policy", "learn", "--from", "proxy.log", "--client", "anonymous"]).await;
    assert!(learned.stdout.contains("# 1 time refused by allow: DELETE /api/v1/Contact/*\n"), "{learned:?}");
}

#[tokio::test]
async fn a_log_of_text_teaches_what_was_done() {
    what_is_learned_is_what_was_done("text").await;
}

#[tokio::test]
async fn a_log_of_json_teaches_what_was_done() {
    what_is_learned_is_what_was_done("json").await;
}

#[tokio::test]
async fn what_cannot_teach_is_said() {
    let home = Home::new().await;
    home.write("proxy.log", b"2026-11-23T18:41:22.1Z  INFO soproxy::cli: serves\n\xff\n");
    home.write("one.log", "2026-11-23T18:41:22.1Z  INFO access: GET /Cust1/api/x id=\"1\" tenant=\"Cust1\" client=\"erp\" status=200\n");
    for (arguments, code, says) in [
        (&["--from", "proxy.log"][..], 1, "proxy.log holds no access record"),
        (&["--from", "gone.log"], 1, "gone.log cannot be read"),
        (&["--from", "-"], 1, "- holds no access record"),
        (&["--from", "one.log", "--client", "epr"], 1, "there are: erp"),
        (&[], 2, "--from"),
    ] {
        let output = home.run(&[&["policy", "learn"], arguments].concat()).await;
        assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{output:?}");
        assert!(output.stderr.contains(says), "{output:?}");
    }
    let output = home.run(&["policy", "learn", "--from", "one.log", "--client", "erp"]).await;
    assert!(output.stdout.contains("[clients.erp] # learned from 1 request\ntenants = [\"Cust1\"]\nread_only = true\n"), "{output:?}");
}
