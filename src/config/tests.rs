//! What a user sees: for each bad input the key, what is wrong, and what to do; for good input the values.

mod access;
mod commands;
mod doors;
mod example;
mod good;
mod lists;
mod outbound;
mod problems;
#[cfg(unix)]
mod tenants_d;

use std::path::Path;

use super::{Config, Problem};

const KEY_2048: &str = include_str!("../../tests/vectors/throwaway-2048.rsakeyvalue.xml");
const KEY_1024: &str = include_str!("../../tests/vectors/throwaway-1024.rsakeyvalue.xml");

/// The smallest configuration that works, with `changes`: (section, key, value as TOML). An empty value removes the key.
fn toml(changes: &[(&str, &str, &str)]) -> String {
    let key = format!("'''{KEY_2048}'''");
    let mut settings = vec![
        ("superoffice", "environment", "\"sod\""),
        ("application", "client_secret", "\"client-secret\""),
        ("application", "private_key", key.as_str()),
        ("tenants.Cust1", "system_user_token", "\"App-token\""),
    ];
    for change in changes {
        settings.retain(|setting| (setting.0, setting.1) != (change.0, change.1));
        settings.push(*change);
    }
    let mut sections: Vec<&str> = Vec::new();
    for (section, ..) in &settings {
        if !sections.contains(section) {
            sections.push(section);
        }
    }
    let mut text = String::new();
    for section in sections {
        text += &format!("[{section}]\n");
        for (_, key, value) in settings.iter().filter(|setting| setting.0 == section && !setting.2.is_empty()) {
            text += &format!("{key} = {value}\n");
        }
    }
    text
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn parse(changes: &[(&str, &str, &str)], variables: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    Config::parse(&toml(changes), Path::new("proxy.toml"), env(variables)).map_err(|problems| problems.0)
}

#[track_caller]
fn works(changes: &[(&str, &str, &str)], variables: &[(&str, &str)]) -> Config {
    parse(changes, variables).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The one problem there is.
#[track_caller]
fn one(changes: &[(&str, &str, &str)], variables: &[(&str, &str)]) -> Problem {
    let problems = parse(changes, variables).err().unwrap_or_default();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}
