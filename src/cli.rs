//! The commands: their definitions, and one file for each that does more than call `app`.

mod admin;
mod check;
mod client;
mod config;
mod healthcheck;
mod logging;
mod man;
mod operate;
mod policy;
mod run;
mod sandbox;
#[cfg(target_os = "linux")]
mod service;
mod status;
mod ticket;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::{Config, Problems, Tenant};
use crate::server::Handed;
use crate::superoffice::login::LoginError;
use crate::{confine, log, reload, shutdown};

/// An authenticating reverse proxy for SuperOffice CRM Online.
///
/// Applications send plain requests to http://127.0.0.1:8080/Cust12345/api/v1/…; soproxy forwards them to the right
/// SuperOffice host with a valid ticket, which it gets and renews by itself.
#[derive(Debug, Parser)]
#[command(name = "soproxy", version, max_term_width = 100)]
pub struct Cli {
    /// The configuration file
    #[arg(long, short, global = true, default_value = "proxy.toml", env = "SOPROXY_CONFIG", value_name = "FILE")]
    config: PathBuf,

    /// Let the process be dumped and traced; its memory holds keys and tickets
    ///
    /// The kernel writes a core file with the rights of the process: what `run` leaves to one needs --no-confine as well, unless the
    /// kernel hands cores to a program (core_pattern begins with a pipe). The limit of a core's size stays as it is: `ulimit -c`.
    #[arg(long, global = true)]
    allow_core: bool,

    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve
    ///
    /// SIGTERM stops in order: not ready any more, and still serving for `shutdown_delay`; then no new connections, and `grace` for what
    /// is in flight; then exit code 0. A second one stops at once. SIGHUP reads the configuration anew, and so does a change of
    /// proxy.toml, of a file in tenants.d beside it, or of a secret's file. SIGUSR1 opens the log file
    /// anew. The process confines itself to what the configuration names when it starts.
    Run(run::Args),
    /// Serve an embedded SuperOffice Online and the proxy in front of it, without any configuration
    Sandbox(Box<sandbox::Args>),
    /// Validate everything that `run` would use; exit code 0 when all is well
    Check {
        /// Also do one exchange and one User/currentPrincipal call per tenant
        #[arg(long)]
        online: bool,
    },
    /// Do one exchange and print the ticket
    Ticket(ticket::Args),
    /// Print a tenant's signed system token, for use in other tools
    Sign {
        /// The tenant's name in the configuration
        tenant: String,
    },
    /// Show the configuration that is in force, or its schema
    #[command(subcommand)]
    Config(config::Command),
    /// Make API keys for clients
    Client(client::Args),
    /// Ask a running proxy whether it is live; exit code 0 when it is
    Healthcheck(healthcheck::Args),
    /// Wait until a running proxy is ready; exit code 0 when it is
    ///
    /// It need not run yet. Quiet, unless it takes too long.
    Wait(wait::Args),
    /// Ask a running proxy to stop, as SIGTERM does
    ///
    /// With `wait` this is for jobs beside which soproxy runs: `soproxy wait && job; soproxy shutdown`.
    Shutdown(wait::ShutdownArgs),
    /// Show how a running proxy and its tenants stand
    Status(status::Args),
    /// Have a running proxy read its configuration anew, and say what came of it
    Reload(operate::ReloadArgs),
    /// Have a running proxy fetch another ticket now
    Renew(operate::TenantArgs),
    /// Have a running proxy drop a tenant's ticket, also from the store; the next request fetches another
    Forget(operate::TenantArgs),
    /// Show or set what a running proxy logs
    LogLevel(operate::LogLevelArgs),
    /// Rules of what callers may do
    #[command(subcommand)]
    Policy(policy::Command),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all pages
    Man {
        /// Write one page per command, and soproxy.toml(5), into this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// What the program ends with. clap ends with the same for arguments that it cannot read; 78 is `EX_CONFIG` of sysexits(3).
pub const EXIT_CODES: [(u8, &str); 4] = [
    (0, "all is well; of `run`: it was stopped"),
    (1, "something failed: an exchange, an address that is taken, a proxy that is not ready"),
    (2, "the arguments cannot be used, or name a tenant that there is not"),
    (78, "the configuration cannot be used: to start again does not help before it is corrected"),
];

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration: exit code 78.
    #[error("the configuration cannot be used\n\n{0}")]
    Config(#[from] Problems),
    /// A value that is only found to be wrong when it is used: exit code 78.
    #[error("{0}")]
    Setting(String),
    /// A tenant that the configuration does not have: exit code 2.
    #[error("no tenant {name:?} in {file}; there are: {known}")]
    UnknownTenant {
        /// As asked for.
        name: String,
        /// The configuration.
        file: String,
        /// What there is.
        known: String,
    },
    /// An argument that cannot be used: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The proxy cannot start.
    #[error("cannot start: {0}")]
    Start(#[from] StartError),
    /// An exchange failed.
    #[error("{0}")]
    Exchange(#[from] crate::ticket::ExchangeFailure),
    /// Signing failed.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// A file or a stream.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Anything else, as a sentence.
    #[error("{0}")]
    Other(String),
}

impl CliError {
    /// One of [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::UnknownTenant { .. } | CliError::Usage(_) => 2,
            CliError::Config(_) | CliError::Setting(_) | CliError::Start(StartError::Tenant { .. }) => 78,
            _ => 1,
        }
    }
}

/// Runs one command. Each makes a runtime, and with it threads, when it needs one: `run` has something to do before.
pub fn run(cli: Cli) -> Result<ExitCode, CliError> {
    if !cli.allow_core
        && let Err(error) = confine::dumps::forbid()
    {
        eprintln!("warning: core dumps cannot be switched off: {error}");
    }
    let file = cli.config;
    match cli.command {
        Command::Run(args) => run::run(file, args),
        Command::Sandbox(args) => on_runtime(sandbox::run(*args)),
        Command::Check { online } => on_runtime(check::run(&file, online)),
        Command::Ticket(args) => on_runtime(async { ticket::run(&Config::load(&file)?, args).await }),
        Command::Sign { tenant } => ticket::sign(&Config::load(&file)?, &tenant),
        Command::Config(command) => config::run(&file, command),
        Command::Client(args) => client::run(args),
        Command::Healthcheck(args) => on_runtime(healthcheck::run(&file, args)),
        Command::Wait(args) => on_runtime(wait::wait(&file, args)),
        Command::Shutdown(args) => on_runtime(wait::shutdown(&file, args)),
        Command::Status(args) => on_runtime(status::run(&file, args)),
        Command::Reload(args) => on_runtime(operate::reload(&file, args)),
        Command::Renew(args) => on_runtime(operate::renew(&file, args)),
        Command::Forget(args) => on_runtime(operate::forget(&file, args)),
        Command::LogLevel(args) => on_runtime(operate::log_level(&file, args)),
        Command::Policy(command) => policy::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "soproxy", &mut script);
            say(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir } => man::run(&Cli::command(), dir.as_deref()),
    }
}

/// Makes a runtime, with its threads, for one command.
fn on_runtime(command: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| CliError::Other(format!("no runtime: {error}")))?.block_on(command)
}

/// Serves until a signal says stop, and logs to `log`. `started` is told the bound proxy.
async fn serve(
    handed: Handed,
    config: Config,
    file: Option<PathBuf>,
    (log, arguments): (logging::Log, logging::Args),
    started: impl FnOnce(&App) -> Result<(), CliError>,
) -> Result<ExitCode, CliError> {
    log.start()?;
    let served = serve_until_stopped(handed, config, file, log.access(), arguments, started).await;
    log.finish();
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve_until_stopped(
    handed: Handed,
    mut config: Config,
    file: Option<PathBuf>,
    access_log: Arc<log::AccessLog>,
    arguments: logging::Args,
    started: impl FnOnce(&App) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let tenants = config.tenants.len();
    let watched = std::mem::take(&mut config.watched);
    let app = App::build_on(handed, config, Clock::system(), Some(access_log)).await?;
    shutdown::on_signals(app.stop())?;
    if let Some(file) = file {
        let live = app.live();
        reload::follow(file, watched, app.reloads(), move |mut config| {
            arguments.override_in(&mut config.log);
            live.apply(config)
        })?;
    }
    let (addresses, admin, push) = (app.addresses(), app.admin_addresses(), app.push_addresses());
    let push = (!push.is_empty()).then_some(push).map(tracing::field::debug);
    let sockets = app.sockets();
    let sockets = (!sockets.is_empty()).then_some(sockets).map(tracing::field::debug);
    let admin_sockets = app.admin_sockets();
    let admin_sockets = (!admin_sockets.is_empty()).then_some(admin_sockets).map(tracing::field::debug);
    tracing::info!(?addresses, sockets, ?admin, admin_sockets, push, tenants, "soproxy {} serves", env!("CARGO_PKG_VERSION"));
    started(&app)?;
    app.run().await;
    Ok(())
}

/// For commands that are no server: what is worth a warning goes to standard error.
fn log_warnings() -> Result<(), CliError> {
    log::init("soproxy=warn", log::Format::Text, None).map_err(CliError::Other)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn say(text: &str) -> Result<(), CliError> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Finds a tenant by name, without regard to case.
fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Tenant, CliError> {
    config.tenants.iter().find(|tenant| tenant.name.eq_ignore_ascii_case(name)).ok_or_else(|| CliError::UnknownTenant {
        name: name.to_owned(),
        file: config.file.display().to_string(),
        known: config.tenants.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
