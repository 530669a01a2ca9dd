//! From settings to [`Config`]: reads the secrets and files they refer to, fills in for each tenant what it takes from
//! `[superoffice]`, `[application]` and `[upstream]`, and judges what settings mean together.

mod admin;
mod clients;
mod confine;
mod credentials;
mod doors;
mod listeners;
mod outbound;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;

use super::file::{
    BoundsSettings, CacheSettings, Credentials, Field, LoginSettings, Settings, Sources, SuperOfficeSettings, TenantSettings,
};
use super::secret::{SecretRef, Secrets};
use super::{Config, Problem, Problems, SuperOffice, Tenant};
use crate::proxy::cache::Rules;
use crate::proxy::governor::Bounds;
use crate::superoffice::keys::VerificationKeys;
use crate::superoffice::origin::{BaseUrl, UpstreamHosts};
use crate::superoffice::signing::SigningKey;
use crate::superoffice::{ContextId, Environment, ExchangeKind, SystemUserToken};

/// `problems` are those of reading; they and all found here come together. `public`: others can read the configuration
/// file itself.
pub(super) fn assemble(
    settings: Settings,
    sources: &Sources,
    secrets: Secrets<'_>,
    file: &Path,
    problems: Vec<Problem>,
    public: bool,
) -> Result<Config, Problems> {
    let mut assembly = Assembly::new(sources, secrets, problems);
    let listen = assembly.listen(&settings);
    let listeners = assembly.listeners(&settings);
    let access = assembly.access(&settings);
    let state = assembly.state(&settings.state);
    let admin = assembly.admin(&settings.admin, &settings.tenants);
    assembly.overlaps(&settings);
    let hosts = assembly.upstream_hosts(&settings);
    let tenants = assembly.tenants(&settings, hosts.as_ref());
    let outbound = assembly.outbound(&settings.outbound);
    let cache = assembly.cache(&settings.cache);
    let superoffice = assembly.superoffice(&settings.superoffice, hosts);
    let store = settings.store.optional().map(|path| path.map(|path| assembly.secrets.resolve(&path)));
    let confine = assembly.confine(&settings.confine);
    let files = assembly.secrets.named();
    if public && assembly.literals {
        assembly.warn("", "holds secrets and can be read by other users", "chmod 600, or move the secrets to files of their own");
    }
    let Assembly { problems, warnings, secrets, .. } = assembly;
    let config = || {
        Some(Config {
            file: file.to_owned(),
            listen: listen?,
            listeners: listeners?,
            access: access?,
            admin: admin?,
            upstream: settings.upstream?,
            outbound: outbound?,
            cache: cache?,
            renewal: settings.renewal?,
            state: state?,
            store: store?,
            superoffice: superoffice?,
            log: settings.log?,
            confine: confine?,
            tenants: tenants?,
            files,
            warnings,
            watched: secrets.into_read(),
        })
    };
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    // Whatever is `None` has recorded why; this keeps even a mistake of ours from ending in an empty list.
    config().ok_or_else(|| {
        Problems(vec![sources.problem("", "could not be understood", "please report this with your configuration, without its secrets")])
    })
}

/// Those of one application.
type SigningKeys = Arc<[Arc<SigningKey>]>;

struct Assembly<'a> {
    sources: &'a Sources,
    secrets: Secrets<'a>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Keys by their references and their passphrase's, so that each is read, parsed and complained about once.
    keys: Vec<(Vec<SecretRef>, Option<SecretRef>, Option<SigningKeys>)>,
    /// Verification keys by file.
    verification: BTreeMap<PathBuf, Option<Arc<VerificationKeys>>>,
    /// Secrets' files already warned about.
    exposed: BTreeSet<PathBuf>,
    /// Whether the configuration file itself holds a secret.
    literals: bool,
}

/// What tenants without settings of their own take. `Absent` where nothing is set.
struct Shared<'s> {
    login_url: Field<BaseUrl>,
    verification_keys: Field<Option<Arc<VerificationKeys>>>,
    client_secrets: Field<Arc<[SecretString]>>,
    credentials: &'s Credentials,
    exchange: Option<ExchangeKind>,
    bounds: &'s BoundsSettings,
    queue_timeout: Option<Duration>,
}

impl<'a> Assembly<'a> {
    fn new(sources: &'a Sources, secrets: Secrets<'a>, problems: Vec<Problem>) -> Assembly<'a> {
        let (warnings, keys, verification, exposed) = Default::default();
        Assembly { sources, secrets, problems, warnings, keys, verification, exposed, literals: false }
    }

    fn problem(&mut self, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        let problem = self.sources.problem(key, what, hint);
        // A shared setting may be read for several tenants.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn warn(&mut self, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(self.sources.problem(key, what, hint));
    }

    /// With the origin of every overridden login URL.
    fn upstream_hosts(&mut self, settings: &Settings) -> Option<UpstreamHosts> {
        let mut hosts = settings.superoffice.upstream_hosts.clone()?;
        let logins = std::iter::once(&settings.login).chain(settings.tenants.iter().map(|tenant| &tenant.login));
        for login in logins {
            if let Field::Is(url) = &login.login_url {
                hosts.also(url);
            }
        }
        if hosts == UpstreamHosts::default() {
            let hint = "name the hosts of the web API, such as [\"*.superoffice.com\"]";
            self.problem("superoffice.upstream_hosts", "is empty: no ticket could be sent anywhere", hint);
        }
        Some(hosts)
    }

    fn superoffice(&mut self, settings: &SuperOfficeSettings, hosts: Option<UpstreamHosts>) -> Option<SuperOffice> {
        let ca_pem = match &settings.ca_file {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(path) => self.ca_file(path).map(Some),
        };
        Some(SuperOffice {
            upstream_hosts: hosts?,
            ca_pem: ca_pem?,
            leeway: settings.leeway?,
            login_timeout: settings.login_timeout?,
            soap_ticket_faults: settings.soap_ticket_faults.clone()?,
        })
    }

    fn ca_file(&mut self, path: &Path) -> Option<Vec<u8>> {
        let key = "superoffice.ca_file";
        let bytes = self.secrets.file(path).map_err(|error| self.problem(key, error.to_string(), error.hint())).ok()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        if certificates.is_ok_and(|found| !found.is_empty()) {
            return Some(bytes.to_vec());
        }
        let what = format!("{} holds no PEM certificate that can be read", path.display());
        let hint = "a PEM certificate begins with -----BEGIN CERTIFICATE-----; `openssl x509 -inform der -in FILE` makes one of a DER file";
        self.problem(key, what, hint);
        None
    }

    /// The rules of all tables, in the order of the file: the first that fits a path counts.
    fn cache(&mut self, tables: &[CacheSettings]) -> Option<Rules> {
        let read: Option<Vec<_>> = tables.iter().map(|table| Some((table.paths.as_ref()?, table.ttl?))).collect();
        let patterns = read?.into_iter().flat_map(|(paths, ttl)| paths.iter().map(move |path| (path.as_str(), ttl)));
        Rules::new(patterns).map_err(|error| self.problem("cache", error.to_string(), "see [[cache]] in proxy.toml.example")).ok()
    }

    fn tenants(&mut self, settings: &Settings, hosts: Option<&UpstreamHosts>) -> Option<Vec<Tenant>> {
        self.names(&settings.tenants, settings.upstream.as_ref().map_or(&[], |upstream| upstream.routes.as_slice()));
        let shared = Shared {
            login_url: self.login_url("superoffice", &settings.login),
            verification_keys: self.verification_keys("superoffice", &settings.login),
            client_secrets: self.client_secrets("application", &settings.application),
            credentials: &settings.application,
            exchange: settings.superoffice.exchange,
            bounds: &settings.bounds,
            queue_timeout: settings.upstream.as_ref().map(|upstream| upstream.queue_timeout),
        };
        // Keys that no tenant uses are checked as well.
        self.application_keys(&settings.application);
        self.missing(settings);
        let tenants: Vec<_> = settings.tenants.iter().map(|tenant| self.tenant(tenant, &shared, hosts)).collect();
        tenants.into_iter().collect()
    }

    /// `routes`: further first segments that mean something.
    fn names(&mut self, tenants: &[TenantSettings], routes: &[String]) {
        if tenants.is_empty() && !self.problems.iter().any(|problem| problem.key == "tenants") {
            self.problem("tenants", "there is no tenant", "add a table such as [tenants.Cust12345] with its system_user_token");
        }
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for name in tenants.iter().map(|tenant| tenant.name.as_str()) {
            let key = format!("tenants.{name}");
            if name.parse::<ContextId>().is_err() {
                let hint = "use 1 to 64 letters, digits, '-' and '_': the name is the first part of the tenant's paths";
                self.problem(&key, "cannot be the name of a tenant", hint);
            }
            let taken = ["api", "superoffice"].into_iter().chain(routes.iter().map(String::as_str));
            if let Some(word) = taken.into_iter().find(|word| word.eq_ignore_ascii_case(name)) {
                let hint =
                    format!("paths that begin with /{word}/ mean something else: give the table another name, and set its `context`");
                self.problem(&key, "cannot be the name of a tenant", hint);
            }
            if let Some(other) = seen.insert(name.to_ascii_lowercase(), name) {
                let hint = "SuperOffice's paths do not tell upper from lower case: rename one, and set its `context`";
                self.problem(&key, format!("differs from {other} in upper and lower case only"), hint);
            }
        }
    }

    /// What nobody set although some tenant takes it from the shared sections: one problem each, not one per tenant.
    fn missing(&mut self, settings: &Settings) {
        let absent = |own: &dyn Fn(&TenantSettings) -> bool| settings.tenants.is_empty() || settings.tenants.iter().any(own);
        let application = &settings.application;
        if is_absent(&application.client_secrets) && absent(&|tenant| is_absent(&tenant.credentials.client_secrets)) {
            self.lacks("application.client_secret", "the Developer Portal shows it as Client Secret (application token)");
        }
        if is_absent(&application.private_keys) && absent(&|tenant| is_absent(&tenant.credentials.private_keys)) {
            self.lacks("application.private_key", "the key the Developer Portal gave once, such as { file = \"privatekey.xml\" }");
        }
        let unset = |login: &LoginSettings| is_absent(&login.environment) && is_absent(&login.login_url);
        if unset(&settings.login) && absent(&|tenant| unset(&tenant.login)) {
            self.lacks("superoffice.environment", "write \"sod\", \"qaonline\" or \"online\", or set login_url instead");
        }
    }

    fn lacks(&mut self, key: &str, hint: &str) {
        let section = key.split('.').next().unwrap_or_default();
        self.problem(key, "is missing", format!("set it in [{section}]: {hint}"));
    }

    fn tenant(&mut self, settings: &TenantSettings, shared: &Shared<'_>, hosts: Option<&UpstreamHosts>) -> Option<Tenant> {
        let table = format!("tenants.{}", settings.name);
        let token = settings.system_user_token.as_ref();
        let token = token.and_then(|reference| self.secret(&format!("{table}.system_user_token"), reference));
        let context = match &settings.context {
            Field::Absent => settings.name.parse().ok(),
            Field::Wrong => None,
            Field::Is(text) => text.parse().map_err(|error| self.no_context(&table, &error)).ok(),
        };
        let api_url = self.api_url(&table, &settings.api_url, hosts);
        let login_url = self.login_url(&table, &settings.login).or(&shared.login_url);
        let verification_keys = self.verification_keys(&table, &settings.login).or(&shared.verification_keys);
        let client_secrets = self.client_secrets(&table, &settings.credentials).or(&shared.client_secrets);
        let signing_keys = self.tenant_keys(&table, &settings.credentials, shared.credentials);
        let serial = settings.serial.optional();
        Some(Tenant {
            name: settings.name.clone(),
            context: context?,
            login_url: login_url.found()?,
            exchange: shared.exchange?,
            verification_keys: verification_keys.found()?,
            system_user_token: SystemUserToken::new(token?),
            client_secrets: client_secrets.found()?,
            signing_keys: signing_keys?,
            api_url: api_url?,
            serial: serial?,
            bounds: bounds(&settings.bounds, shared)?,
        })
    }

    fn no_context(&mut self, table: &str, error: &impl ToString) {
        self.problem(&format!("{table}.context"), error.to_string(), "write it as SuperOffice does, such as \"Cust12345\"");
    }

    fn api_url(&mut self, table: &str, url: &Field<BaseUrl>, hosts: Option<&UpstreamHosts>) -> Option<Option<BaseUrl>> {
        match url {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(url) => match hosts?.check(url) {
                Ok(()) => Some(Some(url.clone())),
                Err(refused) => {
                    let hint = "a ticket is only sent to hosts in upstream_hosts of [superoffice], over https: correct the URL or add its host there";
                    self.problem(&format!("{table}.api_url"), refused.to_string(), hint);
                    None
                }
            },
        }
    }

    /// `login_url`, else the one of `environment`; both at once contradict each other.
    fn login_url(&mut self, table: &str, settings: &LoginSettings) -> Field<BaseUrl> {
        match (&settings.login_url, &settings.environment) {
            (Field::Is(_), Field::Is(_)) => {
                self.problem(&format!("{table}.login_url"), "cannot be set together with `environment`", "remove one of the two");
                Field::Wrong
            }
            (Field::Is(url), Field::Absent) => Field::Is(url.clone()),
            (Field::Absent, Field::Is(environment)) => environment_url(*environment),
            (Field::Absent, Field::Absent) => Field::Absent,
            (Field::Wrong, _) | (_, Field::Wrong) => Field::Wrong,
        }
    }

    fn verification_keys(&mut self, table: &str, settings: &LoginSettings) -> Field<Option<Arc<VerificationKeys>>> {
        let path = match &settings.verification_keys {
            Field::Absent => return Field::Absent,
            Field::Wrong => return Field::Wrong,
            Field::Is(None) => return Field::Is(None),
            Field::Is(Some(path)) => path,
        };
        if !self.verification.contains_key(path) {
            let keys = self.read_verification_keys(&format!("{table}.verification_keys"), path);
            self.verification.insert(path.clone(), keys.map(Arc::new));
        }
        match self.verification.get(path) {
            Some(Some(keys)) => Field::Is(Some(keys.clone())),
            _ => Field::Wrong,
        }
    }

    fn read_verification_keys(&mut self, key: &str, path: &Path) -> Option<VerificationKeys> {
        let bytes = self.secrets.file(path).map_err(|error| self.problem(key, error.to_string(), error.hint())).ok()?;
        let hint = "name the certificate of the environment's login service, or write \"jwks\"";
        VerificationKeys::from_file(&bytes).map_err(|error| self.problem(key, format!("{}: {error}", path.display()), hint)).ok()
    }
}

/// Each bound is overridden by itself. `None` had a problem.
fn bounds(own: &BoundsSettings, shared: &Shared<'_>) -> Option<Bounds> {
    Some(Bounds {
        rate: own.rate.clone().or(&shared.bounds.rate).found()?,
        max_concurrent: own.max_concurrent.clone().or(&shared.bounds.max_concurrent).found()?,
        queue_timeout: shared.queue_timeout?,
    })
}

fn environment_url(environment: Environment) -> Field<BaseUrl> {
    environment.login_url().parse().map_or(Field::Wrong, Field::Is)
}

fn is_absent<T>(field: &Field<T>) -> bool {
    matches!(field, Field::Absent)
}
