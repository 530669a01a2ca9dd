//! Who may call: whether clients can be told apart, and whether their rules mean something.

use std::collections::BTreeMap;

use super::Assembly;
use crate::config::Access;
use crate::config::file::{ClientSettings, Field, Settings, TenantSettings, TermsSettings};
use crate::proxy::clients::{Description, Terms};
use crate::proxy::policy::Rules;

impl Assembly<'_> {
    pub(super) fn access(&mut self, all: &Settings) -> Option<Access> {
        let clients: Vec<_> = all.clients.iter().map(|client| self.client(client, &all.tenants)).collect();
        let clients = clients.into_iter().collect::<Option<Vec<_>>>();
        if let Some(clients) = &clients {
            self.told_apart(clients);
        }
        let anonymous = match &all.anonymous {
            Some(settings) => self.terms("anonymous", settings, &all.tenants).map(Some),
            // Who names clients means that nobody else may call.
            None if all.clients.is_empty() => Some(Some(Terms::default())),
            None => Some(None),
        };
        Some(Access { clients: clients?, anonymous: anonymous?, report: all.listen.report?, origins: all.cors.clone()? })
    }

    fn client(&mut self, settings: &ClientSettings, tenants: &[TenantSettings]) -> Option<Description> {
        let key = format!("clients.{}", settings.name);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if settings.name.is_empty() || settings.name.len() > 64 || !settings.name.chars().all(plain) {
            self.problem(&key, "cannot be the name of a client", "use 1 to 64 letters, digits, '-', '_' and '.': it stands in the log");
        }
        let terms = self.terms(&key, &settings.terms, tenants);
        let (keys, certificates) = (all_of(&settings.keys), all_of(&settings.certificates));
        let (uids, gids) = (all_of(&settings.uids), all_of(&settings.gids));
        let (keys, certificates, uids, gids) = (keys?, certificates?, uids?, gids?);
        if keys.is_empty() && certificates.is_empty() && uids.is_empty() && gids.is_empty() {
            let hint = "give it one of keys (`soproxy client new NAME` makes one), certificates, uids or gids";
            self.problem(&key, "can be known by nothing", hint);
        }
        Some(Description { name: settings.name.clone(), keys, certificates, uids, gids, terms: terms? })
    }

    fn terms(&mut self, key: &str, settings: &TermsSettings, tenants: &[TenantSettings]) -> Option<Terms> {
        let named = match &settings.tenants {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Is(names) => {
                let names: Vec<_> = names.iter().map(|name| self.configured(&format!("{key}.tenants"), name, tenants)).collect();
                names.into_iter().collect::<Option<Vec<_>>>().map(Some)
            }
        };
        let read_only = settings.read_only.optional()?.unwrap_or(false);
        let allow = settings.allow.optional()?;
        let rate = settings.rate.optional()?.flatten();
        if read_only && let Some(rule) = allow.iter().flatten().find(|rule| !rule.reads()) {
            let hint = "remove it, or remove read_only and list all that is allowed";
            self.problem(&format!("{key}.allow"), format!("\"{rule}\" allows nothing, because read_only is set"), hint);
        }
        Some(Terms { rules: Rules::new(named?, read_only, allow, all_of(&settings.deny)?), rate })
    }

    /// No key, certificate, user or group may mean two clients.
    fn told_apart(&mut self, clients: &[Description]) {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for client in clients {
            let keys = client.keys.iter().map(|key| ("keys", key.to_string()));
            let certificates = client.certificates.iter().map(|name| ("certificates", name.clone()));
            let uids = client.uids.iter().map(|uid| ("uids", format!("user {uid}")));
            let gids = client.gids.iter().map(|gid| ("gids", format!("group {gid}")));
            for (setting, what) in keys.chain(certificates).chain(uids).chain(gids) {
                if let Some(other) = seen.insert(what.clone(), &client.name).filter(|other| *other != client.name) {
                    let key = format!("clients.{}.{setting}", client.name);
                    self.problem(&key, format!("{what} is already client {other}"), "give it to one client only");
                }
            }
        }
    }
}

fn all_of<T: Clone>(field: &Field<Vec<T>>) -> Option<Vec<T>> {
    Some(field.optional()?.unwrap_or_default())
}
