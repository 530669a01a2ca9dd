//! `soproxy config`: what is in force and where it comes from, and what editors are told.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{CliError, say};
use crate::config::effective::{self, Shown, Table, View};
use crate::config::{Config, Problem, Problems, schema};

/// What to do with a configuration.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print what is in force, and where each value comes from; secrets are hidden
    ///
    /// All that `proxy.toml`, the files in `tenants.d`, the environment and the defaults say together, as TOML: the file and line, the
    /// variable, or "default" stands behind each value. A secret shows as "…", or as the place where it is. What is wrong is told on
    /// standard error, and the exit code says so; the rest is shown all the same.
    Show(Show),
    /// Print the JSON Schema of proxy.toml, for editors
    ///
    /// `soproxy config schema > proxy.schema.json` beside proxy.toml, whose first line says `#:schema proxy.schema.json`: Taplo and
    /// the editors that use it, such as Even Better TOML, then check and complete what is written.
    Schema,
}

/// Arguments of `config show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Only the defaults, whatever is configured
    #[arg(long)]
    defaults: bool,

    /// Only what is set, without the defaults
    #[arg(long, conflicts_with = "defaults")]
    set: bool,

    /// As JSON: a list of keys with their values and sources
    #[arg(long)]
    json: bool,
}

/// Prints one of them.
pub fn run(file: &Path, command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Schema => say(&schema::text())?,
        Command::Show(args) => show(file, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(file: &Path, args: &Show) -> Result<(), CliError> {
    let view = match args.defaults {
        true => View { tables: effective::defaults(), problems: Vec::new(), warnings: Vec::new() },
        false => Config::view(file)?,
    };
    let View { mut tables, problems, warnings } = view;
    if args.set {
        tables.iter_mut().for_each(|table| table.settings.retain(|setting| !setting.is_default()));
    }
    // An empty table is shown where one is there: it may mean something.
    tables.retain(|table| !table.settings.is_empty() || !args.set && !args.defaults);
    say(&if args.json { as_json(&tables) } else { as_toml(&tables, &problems) })?;
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
}

/// Sources stand in columns, unless a value is so long that they would be far away.
const COLUMN: usize = 60;

fn as_toml(tables: &[Table], problems: &[Problem]) -> String {
    let mut text = String::new();
    for table in tables {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", table.header);
        let lines: Vec<(String, &Shown)> = table.settings.iter().map(|setting| (setting.line(), setting)).collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width <= COLUMN).max().unwrap_or(0);
        for (line, setting) in lines {
            let wrong = if problems.iter().any(|problem| problem.key == setting.key) { ", wrong" } else { "" };
            let _ = writeln!(text, "{line:width$}  # {}{wrong}", setting.source);
        }
    }
    text
}

fn as_json(tables: &[Table]) -> String {
    let settings = tables.iter().flat_map(|table| &table.settings);
    let listed = settings.map(|setting| json!({ "key": setting.key, "value": setting.value, "source": setting.source }));
    format!("{:#}\n", serde_json::Value::from(listed.collect::<Vec<_>>()))
}
