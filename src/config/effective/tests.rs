//! What is shown of a configuration, and what is told of a change.

use std::path::Path;

use super::*;
use crate::config::Config;
use crate::sandbox::demo;

fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    demo::write_config(dir.path(), "http://127.0.0.1:9").unwrap();
    for (name, text) in files {
        put(dir.path(), name, text);
    }
    dir
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn load(dir: &Path) -> Config {
    Config::load(&dir.join("proxy.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn told(now: &Config, before: &Config) -> Vec<String> {
    now.effective.changes(&before.effective).iter().map(ToString::to_string).collect()
}

#[test]
fn a_change_is_told_key_by_key() {
    let dir = home(&[]);
    let before = load(dir.path());
    assert_eq!(told(&load(dir.path()), &before), Vec::<String>::new());
    let text = std::fs::read_to_string(dir.path().join("proxy.toml")).unwrap();
    let more = "[upstream]\nrate = 10\n[store]\npath = \"kept\"\n[clients.erp]\nuids = 5\n[[cache]]\npaths = \"/api/v1/List/*\"\nttl = \"1h\"\n\
                [anonymous]\n";
    put(dir.path(), "proxy.toml", &(text.clone() + more));
    let now = load(dir.path());
    let expected =
        ["anonymous: added", "cache[0]: added", "clients.erp: added", "store.path: not set → \"kept\"", "upstream.rate: \"off\" → 10"];
    assert_eq!(told(&now, &before), expected);
    let back = [
        "anonymous: removed",
        "cache[0]: removed",
        "clients.erp: removed",
        "store.path: \"kept\" → not set",
        "upstream.rate: 10 → \"off\"",
    ];
    assert_eq!(told(&before, &now), back);
    put(dir.path(), "proxy.toml", &text.replace("[tenants.Cust54321]", "[tenants.Cust54321]\nrate = 2"));
    put(dir.path(), "tenants.d/x.toml", "[tenants.Cust1]\nsystem_user_token = \"s3cret\"\n");
    assert_eq!(told(&load(dir.path()), &before), ["tenants.Cust1: added", "tenants.Cust54321.rate: not set → 2"]);
    assert_eq!(load(dir.path()).effective.without_tenants().changes(&before.effective.without_tenants()), []);
}

#[test]
fn of_a_secret_it_is_told_that_it_changed_and_nothing_else() {
    let dir = home(&[]);
    let before = load(dir.path());
    put(dir.path(), "secrets/Cust54321.client_secret", "s3cret-two");
    let file = load(dir.path());
    assert_eq!(told(&file, &before), ["tenants.Cust54321.client_secret: changed"], "what is in its file");
    let text = std::fs::read_to_string(dir.path().join("proxy.toml")).unwrap();
    let reference = "{ file = \"secrets/Cust54321.client_secret\" }";
    put(dir.path(), "proxy.toml", &text.replace(reference, "\"s3cret-two\""));
    let literal = load(dir.path());
    assert_eq!(told(&literal, &file), [format!("tenants.Cust54321.client_secret: {reference} → \"…\"")]);
    put(dir.path(), "proxy.toml", &text.replace(reference, "\"s3cret-three\""));
    let other = load(dir.path());
    assert_eq!(told(&other, &literal), ["tenants.Cust54321.client_secret: changed"]);
    assert!(!format!("{:?}", other.effective).contains("s3cret"));
    // Of what is no secret, but in a file, too.
    put(
        dir.path(),
        "proxy.toml",
        &text.replace("[superoffice]", "[superoffice]\nverification_keys = { file = \"SuperOfficeFederatedLogin.crt\" }"),
    );
    let pinned = load(dir.path());
    let pem = std::fs::read_to_string(dir.path().join("SuperOfficeFederatedLogin.crt")).unwrap();
    put(dir.path(), "SuperOfficeFederatedLogin.crt", &(pem + "\n"));
    assert_eq!(told(&load(dir.path()), &pinned), ["superoffice.verification_keys: changed"]);
}

fn lines(view: &View) -> Vec<String> {
    let lines = |table: &Table| {
        table.settings.iter().map(|setting| format!("{} {} # {}", table.header, setting.line(), setting.source)).collect::<Vec<_>>()
    };
    view.tables.iter().flat_map(lines).collect()
}

#[test]
fn it_is_shown_with_its_sources_also_when_it_is_wrong() {
    let dir = home(&[
        ("tenants.d/b.toml", "\n[tenants.Cust7]\nsystem_user_token = { file = \"token\" }\nclient_secert = \"s3cret\"\n"),
        ("tenants.d/token", "s3cret"),
    ]);
    let file = dir.path().join("proxy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    put(dir.path(), "proxy.toml", &(text + "[upstream]\nproxy = \"http://u:s3cret@proxy:1\"\nrate = \"s\"\n[clients.\"a b\"]\nuids = 5\n"));
    let view = Config::view(&file).unwrap();
    let shown = lines(&view).join("\n").replace(&format!("{}/", dir.path().display()), "");
    for line in [
        "[listen] grace = \"30s\" # default",
        "[superoffice] login_url = \"http://127.0.0.1:9\" # proxy.toml:5",
        "[tenants.Cust7] system_user_token = { file = \"tenants.d/token\" } # tenants.d/b.toml:3",
        "[tenants.Cust7] client_secert = \"…\" # tenants.d/b.toml:4",
        "[upstream] proxy = \"http://…@proxy:1\" # proxy.toml:",
        "[clients.\"a b\"] uids = 5 # proxy.toml:",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains("s3cret"), "{shown}");
    let keys: Vec<&str> = view.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert!(keys.contains(&"upstream.rate") && keys.contains(&"tenants.Cust7.client_secert"), "{keys:?}");
    // Broken as a whole, it cannot be shown.
    put(dir.path(), "tenants.d/c.toml", "nonsense");
    assert!(Config::view(&file).is_err_and(|problems| problems.0[0].source.ends_with("tenants.d/c.toml:1:9")));
}

#[test]
fn the_defaults_are_all_of_them() {
    let shown: Vec<(String, String)> =
        defaults().iter().flat_map(|table| &table.settings).map(|setting| (setting.key.clone(), toml_value(&setting.value))).collect();
    let mut known: Vec<(String, String)> = crate::config::known_keys().into_iter().filter(|(_, default)| !default.is_empty()).collect();
    known.sort();
    let mut sorted = shown.clone();
    sorted.sort();
    assert_eq!(sorted, known);
}
