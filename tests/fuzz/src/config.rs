//! Settings: whatever stands in the file and in the variables, every mistake has a hint, and no message tells a secret.

use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use soproxy::config::{Config, Problem};

use super::support::{contains, knobs};

/// A secret that stands in a variable to which a setting refers.
const BY_REFERENCE: &str = "CANARY-f2398a3a-by-reference";
/// One that stands in the file.
const INLINE: &str = "CANARY-7b1dd01e-inline";

/// A knob, a file, and behind a line `%%` the variables, `NAME=value`; where there is `@@`, the file goes on behind its secrets.
pub fn check(data: &[u8]) {
    let ([knob], text) = knobs(data);
    let Ok(text) = std::str::from_utf8(text) else { return };
    if contains(text.as_bytes(), b"CANARY") || opens_something(text) {
        return;
    }
    let (file, variables) = text.split_once("%%\n").unwrap_or((text, ""));
    let mut env: Vec<(String, String)> = variables.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    env.push(("SECRET".to_owned(), BY_REFERENCE.to_owned()));
    let file = match knob % 3 {
        0 => file.to_owned(),
        1 => secrets(&file.replacen("@@", "\n", 1), &format!("{INLINE:?}")),
        _ => {
            let (before, after) = file.split_once("@@").unwrap_or((file, ""));
            format!("{before}\n[application]\nclient_secret = {INLINE:?}\nprivate_key = {INLINE:?}{after}")
        }
    };
    let known = knob % 3 == 0 || is_only_secret(&file);
    match Config::parse(&file, Path::new("nowhere/proxy.toml"), env) {
        Ok(config) => {
            told(&config.warnings, known);
            assert!(!format!("{config:?}").contains("CANARY"), "a secret in Debug");
            assert!(!config.tenants.is_empty() || config.listeners.is_empty());
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            told(&problems.0, known);
            assert!(!problems.to_string().contains(BY_REFERENCE));
            assert!(!known || !problems.to_string().contains(INLINE), "{problems}");
        }
    }
}

fn secrets(file: &str, secret: &str) -> String {
    let reference = "{ env = \"SECRET\" }";
    format!("{file}\n[application]\nclient_secret = {secret}\nprivate_key = {reference}\nprivate_key_passphrase = {reference}\n[tenants.Cust12345]\nsystem_user_token = {reference}\n")
}

fn told(problems: &[Problem], known: bool) {
    for problem in problems {
        assert!(!problem.what.trim().is_empty() && !problem.source.is_empty(), "{problem:?}");
        assert!(!problem.hint.trim().is_empty(), "no hint: {problem:?}");
        let told = format!("{problem} {problem:?}");
        assert!(!told.contains(BY_REFERENCE), "{problem}");
        assert!(!known || !told.contains(INLINE), "{problem}");
    }
}

/// Settings may name files, and are read: none outside of a directory that is not there.
fn opens_something(text: &str) -> bool {
    text.contains(['/', '\\']) || text.contains("..") || text.contains("CREDENTIALS_DIRECTORY")
}

/// Whether the file is no TOML, or has its secret nowhere but where secrets are.
fn is_only_secret(file: &str) -> bool {
    fn places(dict: &Dict, path: &str, found: &mut Vec<String>) {
        for (key, value) in dict {
            let path = format!("{path}.{key}");
            if key.contains("CANARY") {
                found.push(path.clone());
            }
            inside(value, &path, found);
        }
    }
    fn inside(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Dict(_, dict) => places(dict, path, found),
            Value::Array(_, values) => values.iter().for_each(|value| inside(value, path, found)),
            Value::String(_, text) if text.contains("CANARY") => found.push(path.to_owned()),
            _ => {}
        }
    }
    let Ok(dict) = Toml::from_str::<Dict>(file.trim_start_matches('\u{feff}')) else { return true };
    let mut found = Vec::new();
    places(&dict, "", &mut found);
    let secret = |path: &String| [".client_secret", ".private_key", ".private_key_passphrase", ".system_user_token"].iter().any(|name| path.ends_with(name));
    found.iter().all(|path| secret(path) && (path.starts_with(".application.") || path.starts_with(".tenants.")))
}
