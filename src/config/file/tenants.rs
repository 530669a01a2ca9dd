//! `[tenants.NAME]`, and what a tenant may override of `[superoffice]`, `[application]` and `[upstream]`.

use std::path::PathBuf;

use figment::value::Value;

use super::field::Field;
use super::reader::{Reader, Table};
use super::source::Sources;
use super::{TENANTS, kinds};
use crate::config::secret::SecretRef;
use crate::superoffice::Environment;
use crate::superoffice::origin::BaseUrl;

/// `[tenants.NAME]`
pub struct TenantSettings {
    /// The table's name.
    pub name: String,
    /// `system_user_token`
    pub system_user_token: Option<SecretRef>,
    /// `context`
    pub context: Field<String>,
    /// `api_url`
    pub api_url: Field<BaseUrl>,
    /// `serial`
    pub serial: Field<String>,
    /// What it overrides of `[application]`.
    pub credentials: Credentials,
    /// What it overrides of `[superoffice]`.
    pub login: LoginSettings,
    /// What it overrides of `[upstream]`.
    pub bounds: BoundsSettings,
}

/// Where the login service is and how its answers are verified.
pub struct LoginSettings {
    /// `environment`
    pub environment: Field<Environment>,
    /// `login_url`
    pub login_url: Field<BaseUrl>,
    /// `verification_keys`; `None` is "jwks".
    pub verification_keys: Field<Option<PathBuf>>,
}

/// An application's secrets.
pub struct Credentials {
    /// `client_secret`, one or several.
    pub client_secrets: Field<Vec<SecretRef>>,
    /// `private_key`, one or several.
    pub private_keys: Field<Vec<SecretRef>>,
    /// `private_key_passphrase`
    pub private_key_passphrase: Field<SecretRef>,
}

/// How much of SuperOffice a tenant may take. `None` inside is "off".
pub struct BoundsSettings {
    /// `rate`
    pub rate: Field<Option<f64>>,
    /// `max_concurrent`
    pub max_concurrent: Field<Option<usize>>,
}

const ENVIRONMENTS: &[(&str, Environment)] =
    &[("sod", Environment::Sod), ("qaonline", Environment::QaOnline), ("online", Environment::Online)];

/// All of `[tenants.*]`.
pub fn tenants<'v>(sources: &'v Sources, reader: &mut Reader<'v>) -> Vec<TenantSettings> {
    let value = sources.values().and_then(|values| values.get(TENANTS));
    let Some(tenants) = value.and_then(Value::as_dict) else {
        if value.is_some() {
            reader.problem("tenants", "must be a table of tenants", "begin each tenant with [tenants.Cust12345] on a line of its own");
        }
        return Vec::new();
    };
    tenants.iter().map(|(name, value)| tenant(name, reader.named(TENANTS, name, value))).collect()
}

fn tenant(name: &str, mut table: Table<'_, '_>) -> TenantSettings {
    let settings = TenantSettings {
        name: name.to_owned(),
        system_user_token: table.need("system_user_token", kinds::secret),
        context: table.read("context", kinds::text),
        api_url: table.read("api_url", kinds::url),
        serial: table.read("serial", kinds::serial),
        credentials: credentials(&mut table),
        login: login(&mut table),
        bounds: bounds(&mut table),
    };
    table.finish();
    settings
}

/// Asks for it.
pub fn login(table: &mut Table<'_, '_>) -> LoginSettings {
    LoginSettings {
        environment: table.read("environment", kinds::choice(ENVIRONMENTS)),
        login_url: table.read("login_url", kinds::login_url),
        verification_keys: table.read("verification_keys", kinds::verification_keys),
    }
}

/// Asks for them.
pub fn credentials(table: &mut Table<'_, '_>) -> Credentials {
    Credentials {
        client_secrets: table.read("client_secret", kinds::secrets),
        private_keys: table.read("private_key", kinds::secrets),
        private_key_passphrase: table.read("private_key_passphrase", kinds::secret),
    }
}

/// Asks for them.
pub fn bounds(table: &mut Table<'_, '_>) -> BoundsSettings {
    BoundsSettings {
        rate: table.read("rate", kinds::unless("off", kinds::rate)),
        max_concurrent: table.read("max_concurrent", kinds::unless("off", kinds::count)),
    }
}
