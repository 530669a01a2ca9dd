//! `[clients.NAME]`, `[anonymous]` and `[cors]`: who may call, and what they may do.

use figment::value::Value;

use super::field::Field;
use super::reader::{Reader, Table};
use super::source::Sources;
use super::{CLIENTS, kinds};
use crate::proxy::clients::KeyHash;
use crate::proxy::policy::Rule;

/// `[clients.NAME]`
pub struct ClientSettings {
    /// The table's name.
    pub name: String,
    /// `keys`
    pub keys: Field<Vec<KeyHash>>,
    /// `certificates`
    pub certificates: Field<Vec<String>>,
    /// `uids`
    pub uids: Field<Vec<u32>>,
    /// `gids`
    pub gids: Field<Vec<u32>>,
    /// The rest.
    pub terms: TermsSettings,
}

/// What a caller may do.
pub struct TermsSettings {
    /// `tenants`
    pub tenants: Field<Vec<String>>,
    /// `read_only`
    pub read_only: Field<bool>,
    /// `allow`
    pub allow: Field<Vec<Rule>>,
    /// `deny`
    pub deny: Field<Vec<Rule>>,
    /// `rate`; `None` inside is "off".
    pub rate: Field<Option<f64>>,
}

/// All of `[clients.*]`.
pub fn clients<'v>(sources: &'v Sources, reader: &mut Reader<'v>) -> Vec<ClientSettings> {
    let value = sources.values().and_then(|values| values.get(CLIENTS));
    let Some(clients) = value.and_then(Value::as_dict) else {
        if value.is_some() {
            reader.problem(CLIENTS, "must be a table of clients", "begin each client with [clients.NAME] on a line of its own");
        }
        return Vec::new();
    };
    clients.iter().map(|(name, value)| client(name, reader.named(CLIENTS, name, value))).collect()
}

fn client(name: &str, mut table: Table<'_, '_>) -> ClientSettings {
    let settings = ClientSettings {
        name: name.to_owned(),
        keys: table.read("keys", kinds::key_hashes),
        certificates: table.read("certificates", kinds::certificate_names),
        uids: table.read("uids", kinds::ids),
        gids: table.read("gids", kinds::ids),
        terms: terms(&mut table),
    };
    table.finish();
    settings
}

/// `[anonymous]`, if it is there: even an empty one means something.
pub fn anonymous<'v>(sources: &'v Sources, reader: &mut Reader<'v>) -> Option<TermsSettings> {
    let mut table = reader.section("anonymous");
    let settings = terms(&mut table);
    table.finish();
    sources.values()?.contains_key("anonymous").then_some(settings)
}

fn terms(table: &mut Table<'_, '_>) -> TermsSettings {
    TermsSettings {
        tenants: table.read("tenants", kinds::list(|name| Ok(name.to_owned()))),
        read_only: table.read("read_only", kinds::flag),
        allow: table.read("allow", kinds::rules),
        deny: table.read("deny", kinds::rules),
        rate: table.read("rate", kinds::unless("off", kinds::rate)),
    }
}

/// `[cors]`: its `origins`.
pub fn cors(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut table = reader.section("cors");
    let origins = table.need("origins", kinds::origins);
    table.finish();
    origins
}
