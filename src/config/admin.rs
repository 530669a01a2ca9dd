//! `[admin]`: what the running proxy knows of it, and what those who ask that proxy read of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::secret::{SecretError, Secrets};
use super::texts::Text;
use super::{Config, Problem, Problems, environment, file};
use crate::server::unix;

/// The listener for those who run the proxy.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `address`: one or a list.
    pub addresses: Vec<SocketAddr>,
    /// The Unix sockets in `address`, with `socket_mode` and `socket_owner`.
    pub sockets: Vec<unix::Place>,
    /// `hosts`, as for `[listen]`.
    pub hosts: Vec<String>,
    /// `insecure_allow_anonymous`
    pub insecure_allow_anonymous: bool,
    /// `token`: what whoever asks for more than health must show.
    pub token: Option<SecretString>,
    /// `ready_when`
    pub ready_when: ReadyWhen,
}

/// When the proxy is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyWhen {
    /// When at least one tenant can be served.
    Any,
    /// When all can.
    All,
    /// When these can, by the names of their tables.
    Tenants(Vec<String>),
}

/// Where the admin listener is, for those who ask it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminPlaces {
    /// IP addresses.
    pub tcp: Vec<SocketAddr>,
    /// Unix sockets.
    pub unix: Vec<PathBuf>,
}

impl Config {
    /// Only where the admin listener is: no secret is read, and a mistake elsewhere in the file does not matter.
    /// Empty when it is off.
    pub fn load_admin_addresses(file: &Path) -> Result<AdminPlaces, Problems> {
        let env = environment();
        let (settings, _, problems) = Config::admin_settings(file, &env)?;
        match settings.door.addresses {
            Some(Some(file::Places { tcp, unix })) => Ok(AdminPlaces { tcp, unix }),
            Some(None) => Ok(AdminPlaces::default()),
            None => Err(Problems(problems)),
        }
    }

    /// Only the admin listener's token, if it has one: no other secret is read, and a mistake elsewhere does not matter.
    pub fn load_admin_token(file: &Path) -> Result<Option<SecretString>, Problems> {
        let env = environment();
        let (settings, sources, problems) = Config::admin_settings(file, &env)?;
        let reference = match settings.token {
            file::Field::Absent => return Ok(None),
            file::Field::Wrong => return Err(Problems(problems)),
            file::Field::Is(reference) => reference,
        };
        let secrets = Secrets::new(file.parent().unwrap_or(Path::new("")), &env).running(true);
        let problem = |error: SecretError| Problems(vec![sources.problem("admin.token", error.to_string(), error.hint())]);
        secrets.text(&reference).map(Some).map_err(problem)
    }

    /// `[admin]` alone, and what is wrong with it.
    fn admin_settings(file: &Path, env: &BTreeMap<String, String>) -> Result<(file::AdminSettings, file::Sources, Vec<Problem>), Problems> {
        let text = Text { label: file.display().to_string(), text: std::fs::read_to_string(file).unwrap_or_default(), public: false };
        let (settings, sources, mut problems) = file::read(&[text], env).map_err(Problems)?;
        problems.retain(|problem| problem.key.starts_with("admin"));
        Ok((settings.admin, sources, problems))
    }
}
