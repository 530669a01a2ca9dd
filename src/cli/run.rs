//! `soproxy run`: serves, once the process has taken from itself what serving does not need.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, on_runtime, prepare_log, serve};
use crate::admin::Confinement;
use crate::config::Config;
use crate::confine::{self, Mounts, Needs, Plan, State};
use crate::server::Handed;
use crate::store::Store;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the process all its rights: no Landlock, no seccomp, no no_new_privs
    ///
    /// For tracing and profiling, and for programs that give secrets when nobody knows what they need; else [confine] names
    /// what is missing. `soproxy check` shows what a confined process may reach.
    #[arg(long)]
    no_confine: bool,
}

/// Reads the configuration with all rights, gives up those that are not needed from then on, and only then makes the first thread.
pub fn run(file: PathBuf, args: Args) -> Result<ExitCode, CliError> {
    let handed = Handed::take()?;
    let config = Config::load(&file)?;
    prepare_log(&config)?;
    if let Some(store) = &config.store {
        // What is not there cannot be left open to us. Why it cannot be made is said by whoever opens it.
        let _ = Store::make_directory(store);
    }
    #[cfg(target_os = "linux")]
    let service = super::service::Service::of_this_process(config.listen.shutdown_delay + config.listen.grace);
    let mut confinement = None;
    if args.no_confine {
        tracing::info!("not confined: --no-confine");
    } else {
        let state = confine::apply(&plan(&config));
        if state.failed() {
            tracing::warn!("confined: {state}")
        } else {
            tracing::info!("confined: {state}")
        }
        let (holds, lacks) = state.told();
        confinement = Some(Confinement { holds, lacks });
    }
    on_runtime(serve(handed, config, Some(file), |app| {
        confinement.into_iter().for_each(|confinement| app.confined(confinement));
        #[cfg(target_os = "linux")]
        if let Some(service) = service {
            service.attend(app);
        }
        Ok(())
    }))
}

/// What `check` tells: whether a core can be dumped, what holds for `run` on this machine, and what it may reach. It is tried, not
/// guessed.
pub fn report(config: &Config) -> String {
    let plan = plan(config);
    let dumps = if confine::dumps::are_forbidden() { "off" } else { "allowed" };
    let attempt = confine::attempt(plan.clone());
    let holds = attempt.as_ref().map_or_else(|error| format!("by nothing; it cannot be tried: {error}"), State::to_string);
    let mut text = format!("core dumps: {dumps}\nrun is confined: {holds}\n");
    let lists = [
        ("reads", &plan.read),
        ("reads, of the system", &plan.system),
        ("writes", &plan.write),
        ("makes sockets in", &plan.sockets),
        ("executes", &plan.execute),
    ];
    for (what, paths) in lists.into_iter().filter(|(_, paths)| !paths.is_empty()) {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        text.push_str(&format!("  {what}: {}\n", paths.join(" ")));
    }
    text
}

fn plan(config: &Config) -> Plan {
    if cfg!(not(target_os = "linux")) {
        return Plan::default();
    }
    Plan::new(&needs(config, |name| std::env::var_os(name)), &Mounts::of_this_process())
}

/// All that the configuration names, and what the environment adds.
fn needs(config: &Config, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Needs {
    let mut files = vec![config.file.clone()];
    files.extend(config.files.iter().cloned());
    files.extend(variable("SSL_CERT_FILE").map(PathBuf::from));
    let mut read = config.confine.read.clone();
    // A reload may name more credentials than the start did.
    read.extend(variable("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from));
    read.extend(variable("SSL_CERT_DIR").iter().flat_map(std::env::split_paths));
    let listeners = config.listeners.iter().flat_map(|listener| &listener.sockets);
    let admin = config.admin.iter().flat_map(|admin| &admin.sockets);
    Needs {
        files,
        read,
        write: config.confine.write.iter().chain(&config.store).cloned().collect(),
        sockets: config.listen.sockets.iter().chain(listeners).chain(admin).map(|place| place.path.clone()).collect(),
        execute: config.confine.execute.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;

    #[test]
    fn everything_that_a_configuration_names_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["token", "secret"] {
            std::fs::write(dir.path().join(name), "value").unwrap();
        }
        let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/throwaway-2048.rsakeyvalue.xml");
        let text = format!(
            "[superoffice]\nenvironment = \"sod\"\n[application]\nclient_secret = {{ credential = \"secret\" }}\n\
             private_key = {{ file = \"{}\" }}\n[tenants.Cust1]\nsystem_user_token = {{ file = \"token\" }}\n\
             [listen]\naddress = \"unix:/run/a/s\"\n[[listeners]]\naddress = \"unix:/run/b/s\"\n\
             [admin]\naddress = \"unix:/run/c/s\"\n\
             [confine]\nread = [\"more\", \"/abs\"]\nwrite = \"w\"\nexecute = \"/usr/bin/vault\"\n",
            key.display()
        );
        let file = dir.path().join("proxy.toml");
        let credentials = dir.path().to_str().unwrap().to_owned();
        let config = Config::parse(&text, &file, [("CREDENTIALS_DIRECTORY".to_owned(), credentials.clone())]).unwrap();
        let variable = |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(OsString::from(&credentials)),
            "SSL_CERT_FILE" => Some(OsString::from("/roots/all.pem")),
            "SSL_CERT_DIR" => Some(OsString::from("/one:/two")),
            _ => None,
        };
        let needs = needs(&config, variable);
        let here = |name: &str| dir.path().join(name);
        for file in [here("proxy.toml"), here("token"), here("secret"), key, "/roots/all.pem".into()] {
            assert!(needs.files.contains(&file), "{file:?} is not in {:?}", needs.files);
        }
        assert_eq!(needs.read, [here("more"), "/abs".into(), dir.path().to_owned(), "/one".into(), "/two".into()]);
        assert_eq!(needs.write, [here("w")]);
        assert_eq!(needs.sockets, [Path::new("/run/a/s"), Path::new("/run/b/s"), Path::new("/run/c/s")]);
        assert_eq!(needs.execute, [Path::new("/usr/bin/vault")]);
        assert!(config.warnings.iter().any(|warning| warning.key == "confine.read" && warning.what.contains("does not exist")));
    }
}
