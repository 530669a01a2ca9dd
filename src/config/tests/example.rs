//! Keeps `proxy.toml.example` true: it works as it is, and shows every key with its default.

use std::collections::BTreeMap;

use super::{KEY_2048, env};
use crate::config::texts::Text;
use crate::config::{Config, file, known_keys};

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

/// The example with every commented setting in force.
fn uncommented() -> String {
    let setting = |line: &&str| {
        line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
    };
    let shown = |line: &&str| line.starts_with('[') && line.ends_with(']') || setting(line);
    EXAMPLE.lines().map(|line| line.strip_prefix("# ").filter(shown).unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn it_works_once_its_four_values_are_there() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    std::fs::write(dir.path().join("privatekey.xml"), KEY_2048).unwrap();
    std::fs::write(dir.path().join("secrets/Cust12345.token"), "App-token\n").unwrap();
    let file = dir.path().join("proxy.toml");
    let config = Config::parse(EXAMPLE, &file, env(&[("SO_CLIENT_SECRET", "s")])).unwrap();
    let bare = "[superoffice]\nenvironment = \"sod\"\n[application]\nclient_secret = \"s\"\nprivate_key = { file = \"privatekey.xml\" }\n\
                [tenants.Cust12345]\nsystem_user_token = \"App-token\"\n";
    let mut otherwise_empty = Config::parse(bare, &file, []).unwrap();
    (otherwise_empty.warnings, otherwise_empty.watched) = (config.warnings.clone(), config.watched.clone());
    otherwise_empty.files.clone_from(&config.files);
    assert_eq!(format!("{config:?}"), format!("{otherwise_empty:?}"));
}

#[test]
fn it_names_exactly_the_four_values_when_they_are_missing() {
    let problems = Config::parse(EXAMPLE, "proxy.toml".as_ref(), []).unwrap_err();
    let keys: Vec<&str> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["application.client_secret", "application.private_key", "tenants.Cust12345.system_user_token"]);
    assert_eq!(EXAMPLE.matches("\n# (").count(), 4);
}

#[test]
fn it_shows_every_key_and_no_other() {
    let (_, sources, problems) =
        file::read(&[Text { label: "proxy.toml.example".into(), text: uncommented(), public: false }], &BTreeMap::new()).unwrap();
    assert_eq!(problems, []);
    for (key, _) in known_keys() {
        assert!(
            sources.in_file(&key.replace("clients.NAME", "clients.erp").replace("NAME", "Cust12345")),
            "{key} is not in proxy.toml.example"
        );
    }
}

#[test]
fn it_shows_the_defaults() {
    let mut section = String::new();
    let mut shown = BTreeMap::new();
    for line in uncommented().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim_matches(['[', ']']).replace("Cust12345", "NAME").replace("clients.erp", "clients.NAME");
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let twice = shown.insert(format!("{section}.{key}"), value.to_owned());
            assert_eq!(twice, None, "{section}.{key}");
        }
    }
    let known = known_keys();
    assert_eq!(known.len(), shown.len());
    for (key, default) in known {
        assert!(default.is_empty() || shown[&key] == default, "{key}: {} is shown, {default} is true", shown[&key]);
        let explained = EXAMPLE.lines().collect::<Vec<_>>().windows(2).any(|pair| {
            let name = key.rsplit('.').next().unwrap();
            let setting = pair[1].trim_start_matches("# ").starts_with(&format!("{name} = "));
            setting && pair[0].starts_with("# ") && pair[0].ends_with(['.', ')'])
        });
        assert!(explained, "{key} has no sentence before it");
    }
}

#[test]
fn every_default_is_valid_and_every_key_is_known_once() {
    let known = known_keys();
    assert!(known.iter().any(|(key, default)| key == "listen.max_requests" && default == "10000"));
    assert!(known.iter().any(|(key, default)| key == "renewal.max_age" && default == "\"1h\""));
    assert!(known.iter().any(|(key, default)| key == "tenants.NAME.system_user_token" && default.is_empty()));
    let names: std::collections::BTreeSet<_> = known.iter().map(|(key, _)| key).collect();
    assert_eq!(names.len(), known.len(), "{known:#?}");
}
