//! Manual pages: soproxy(1) and one per command, made from the command definitions, and soproxy.toml(5), made from
//! `proxy.toml.example`.

mod settings;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use jiff::Timestamp;

use super::{CliError, EXIT_CODES, say};

/// What is true of all commands: sections of pairs, of which the first is what is explained.
const FILES: [(&str, &str); 6] = [
    ("proxy.toml", "The configuration, soproxy.toml(5); another file by --config or SOPROXY_CONFIG."),
    ("/etc/soproxy/proxy.toml", "That of the service, soproxy.service. It starts once this file is there."),
    ("/etc/soproxy/credentials/", "Files for LoadCredential= of the service, which { credential = \"NAME\" } reads."),
    ("/var/lib/soproxy/", "For [store] path: the service can write it."),
    ("/var/log/soproxy/", "For log files: the service can write it."),
    ("/run/soproxy/", "For Unix sockets: the service can make them there."),
];

const ENVIRONMENT: [(&str, &str); 8] = [
    ("SOPROXY_CONFIG", "The configuration file, instead of proxy.toml."),
    ("SOPROXY_SECTION__KEY", "Replaces a key of the configuration: SOPROXY_LISTEN__ADDRESS; a list is written with commas."),
    ("HTTPS_PROXY, ALL_PROXY, NO_PROXY", "The proxy on the way out, unless [upstream] proxy says otherwise."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Trusted roots, instead of the system's."),
    ("CREDENTIALS_DIRECTORY", "Where { credential = \"NAME\" } is, set by LoadCredential= of a service."),
    ("LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES", "Sockets that are bound already; each becomes the listener that has its address."),
    ("NOTIFY_SOCKET", "Who is told of start, reload, stop and status: sd_notify(3)."),
    ("WATCHDOG_USEC, WATCHDOG_PID", "How often the same is told that all workers are well."),
];

/// What `run` makes of signals.
const SIGNALS: [(&str, &str); 3] = [
    (
        "SIGTERM, SIGINT",
        "Stops in order: not ready any more, and serving as ever for listen.shutdown_delay, but that answers end their connections; then no new \
         connections, and listen.grace for what is in flight. A second one drops what is in flight.",
    ),
    ("SIGHUP", "Reads the configuration anew. One that cannot be used changes nothing, and the log says why."),
    ("SIGUSR1", "Opens log files anew."),
];

/// Commands to try, and what they do.
type Examples = &'static [(&'static str, &'static str)];

/// By the name of the page.
const EXAMPLES: [(&str, Examples); 18] = [
    (
        "soproxy",
        &[
            ("soproxy sandbox", "Try it out, without any configuration."),
            ("soproxy check --online", "Validate proxy.toml, and do an exchange and a call for each tenant."),
            ("soproxy run --config /etc/soproxy/proxy.toml", "Serve."),
        ],
    ),
    (
        "soproxy-run",
        &[
            ("soproxy run --config /etc/soproxy/proxy.toml", "Serve."),
            ("SOPROXY_LOG__LEVEL=debug soproxy run", "Serve, and tell more."),
            ("systemd-socket-activate -l 127.0.0.1:8080 soproxy run", "Serve at a socket that is bound already."),
        ],
    ),
    ("soproxy-sandbox", &[("soproxy sandbox --fault login=down", "See what becomes of callers while the login service is down.")]),
    ("soproxy-check", &[("soproxy check --online", "Validate, and do an exchange and a call for each tenant.")]),
    (
        "soproxy-ticket",
        &[
            ("soproxy ticket Cust12345", "A ticket, for use in a script."),
            ("soproxy ticket Cust12345 --explain", "Each step of the exchange."),
        ],
    ),
    ("soproxy-sign", &[("soproxy sign Cust12345", "The signed system token.")]),
    ("soproxy-client-new", &[("soproxy client new erp", "A key for the client erp, and the lines that let it in.")]),
    ("soproxy-healthcheck", &[("soproxy healthcheck --ready", "Exit code 0 when requests can be served.")]),
    (
        "soproxy-wait",
        &[
            ("soproxy wait && run-the-job; code=$?; soproxy shutdown; exit $code", "A job beside which the proxy runs."),
            ("soproxy wait --tenant Cust12345 --timeout 5m", "Until this tenant can be served."),
        ],
    ),
    ("soproxy-shutdown", &[("soproxy shutdown --wait", "Stop in order, and return when it has.")]),
    ("soproxy-status", &[("soproxy status --json | jq .reloads", "What came of the reloads.")]),
    ("soproxy-reload", &[("soproxy reload", "Read the configuration anew, and print what changed or what is wrong.")]),
    ("soproxy-renew", &[("soproxy renew Cust12345", "Another ticket, now.")]),
    ("soproxy-log-level", &[("soproxy log-level info,soproxy=debug", "Tell more."), ("soproxy log-level configured", "As before.")]),
    ("soproxy-config-show", &[("soproxy config show --set", "What is set, and where.")]),
    ("soproxy-config-schema", &[("soproxy config schema > proxy.schema.json", "For the line #:schema ./proxy.schema.json of proxy.toml.")]),
    ("soproxy-policy-learn", &[("soproxy policy learn --from soproxy.log", "Rules for the callers in a log.")]),
    (
        "soproxy-completions",
        &[("soproxy completions bash > /usr/share/bash-completion/completions/soproxy", "Completions for all users of bash.")],
    ),
];

/// Prints soproxy(1), or writes all pages into `dir`.
pub fn run(command: &Command, dir: Option<&Path>) -> Result<ExitCode, CliError> {
    let date = date();
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let Some(dir) = dir else {
        say(&page(&command, &date)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(dir)?;
    for (name, page) in pages(&command, &date)? {
        std::fs::write(dir.join(name), page)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Today, or what whoever builds a package says, so that it is the same each time.
fn date() -> String {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|epoch| epoch.parse().ok());
    let time = epoch.and_then(|epoch| Timestamp::from_second(epoch).ok()).unwrap_or_else(Timestamp::now);
    time.strftime("%Y-%m-%d").to_string()
}

/// Every page with the name of its file.
fn pages(command: &Command, date: &str) -> io::Result<Vec<(String, String)>> {
    let mut pages = vec![("soproxy.toml.5".to_owned(), settings::page(date, &source()))];
    let mut commands = vec![command];
    while let Some(command) = commands.pop() {
        pages.push((format!("{}.1", name(command)), page(command, date)?));
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()));
    }
    Ok(pages)
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn source() -> String {
    format!("soproxy {}", env!("CARGO_PKG_VERSION"))
}

fn page(command: &Command, date: &str) -> io::Result<String> {
    let (mut text, man, name) = (Vec::new(), Man::new(command.clone()), name(command));
    title(name, "1", date, &source(), "User Commands").to_writer(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    let whole = name == "soproxy";
    let codes = EXIT_CODES.map(|(code, meaning)| (code.to_string(), format!("{meaning}.")));
    section(&mut roff, "EXIT STATUS", codes.iter().map(|(code, meaning)| (code.as_str(), meaning.as_str())));
    if whole || name == "soproxy-run" {
        section(&mut roff, "SIGNALS", SIGNALS);
    }
    if whole {
        section(&mut roff, "ENVIRONMENT", ENVIRONMENT);
        section(&mut roff, "FILES", FILES);
    }
    if let Some((_, examples)) = EXAMPLES.iter().find(|(page, _)| *page == name) {
        section(&mut roff, "EXAMPLES", examples.iter().copied());
    }
    let also = if whole { "soproxy.toml(5), systemd.socket(5)" } else { "soproxy(1), soproxy.toml(5)" };
    roff.control("SH", ["SEE ALSO"]).text([roman(also)]);
    roff.to_writer(&mut text)?;
    Ok(tidied(&String::from_utf8_lossy(&text)))
}

/// The first line of a page.
fn title(name: &str, section: &str, date: &str, source: &str, manual: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", [&*name.to_uppercase(), section, date, source, manual]);
    roff
}

/// A section of things and what is to be said of them.
fn section<'a>(roff: &mut Roff, heading: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [heading]);
    for (what, text) in pairs {
        roff.control("TP", []).text([bold(what)]).text([Inline::from(text)]);
    }
}

/// Without the blanks that the generator leaves at the ends of lines, nor what each part repeats for itself.
fn tidied(page: &str) -> String {
    let (mut text, mut begun) = (String::new(), false);
    for line in page.lines().map(str::trim_end) {
        // Each part begins with the same definitions.
        let preamble = line.starts_with(".ie ") || line.starts_with(".el ");
        if preamble && begun {
            continue;
        }
        begun |= line.starts_with(".TH ");
        // A break beside an empty line is none.
        match line {
            ".br" if text.ends_with("\n\n") => continue,
            "" if text.ends_with("\n.br\n") => text.truncate(text.len() - ".br\n".len()),
            _ => {}
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_a_page_and_each_page_its_sections() {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let pages = pages(&command, "2026-01-02").unwrap();
        let page = |name: &str| &pages.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("there is no {name}")).1;
        assert!(pages.iter().all(|(_, page)| page.contains(".TH SOPROXY") && page.contains(" 2026-01-02 ")));
        for (name, text) in pages.iter().filter(|(name, _)| name.ends_with(".1")) {
            for (code, meaning) in EXIT_CODES {
                assert!(text.contains(&format!("\\fB{code}\\fR\n{}", meaning.replace('-', "\\-"))), "{name}: {code}: {text}");
            }
            assert_eq!(text.matches(".ie ").count(), 1, "{name}: {text}");
        }
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS", "SIGNALS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
            assert!(page("soproxy.1").contains(&format!(".SH {heading}\n")), "{heading}");
        }
        assert!(page("soproxy-run.1").contains("SIGHUP"));
        // Examples of commands that there are.
        for (name, examples) in EXAMPLES {
            page(&format!("{name}.1"));
            for (line, _) in examples {
                // What the shell does with it is not ours.
                for part in line.split(['>', '&', '|', ';']).filter(|part| part.contains("soproxy ")) {
                    let words = part.split_whitespace().skip_while(|word| *word != "soproxy");
                    assert!(Cli::command().try_get_matches_from(words).is_ok(), "{line}");
                }
            }
        }
    }
}
