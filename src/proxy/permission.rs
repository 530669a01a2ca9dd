//! The steps of the pipeline that ask who is calling and whether that caller may: they refuse, or only report it.

use std::sync::Arc;

use http::request::Parts;

use super::clients::Client;
use super::error::ProxyError;
use super::policy::Asked;
use super::{Proxy, Tenant};
use crate::log::AccessRecord;
use crate::server::Ends;

impl Proxy {
    /// Who is calling.
    pub(super) fn known(&self, parts: &Parts, ends: &Ends, record: &mut AccessRecord) -> Result<&Arc<Client>, ProxyError> {
        if ends.crowded {
            return Err(ProxyError::TooManyConnections);
        }
        let clients = &self.settings.clients;
        match clients.identify(&parts.headers, &ends.proof) {
            Ok(client) => {
                record.client = client.name.clone();
                Ok(client)
            }
            Err(stranger) => {
                self.refuse("client", ProxyError::Unauthenticated(stranger.to_string()), record)?;
                Ok(clients.anybody())
            }
        }
    }

    /// Whether a caller may know of this tenant.
    pub(super) fn may_address(&self, client: &Client, tenant: &Tenant, record: &mut AccessRecord) -> Result<(), ProxyError> {
        if client.rules.may_address(&tenant.name) { Ok(()) } else { self.refuse("tenants", ProxyError::NotAllowed, record) }
    }

    /// Whether a caller may send this request, to this path behind the tenant, now.
    pub(super) fn may_ask(
        &self,
        client: &Client,
        tenant: &Tenant,
        parts: &Parts,
        path: &str,
        record: &mut AccessRecord,
    ) -> Result<(), ProxyError> {
        if !client.rules.is_open() {
            let asked = Asked { tenant: &tenant.name, method: &parts.method, headers: &parts.headers, path };
            if let Err(refusal) = client.rules.judge(&asked) {
                self.refuse(&refusal.to_string(), ProxyError::NotAllowed, record)?;
            }
        }
        client.take_turn(record.started.mono).or_else(|wait| self.refuse("rate", ProxyError::RateExceeded(wait), record))
    }

    /// Who may not use all tenants does not learn which ones there are: neither that one is unknown, nor what is wrong with a
    /// target of another's. `meant`: the tenant that the request names otherwise than by its path.
    #[cold]
    pub(super) fn unsaid(
        &self,
        client: &Client,
        meant: Option<&str>,
        path: &str,
        error: ProxyError,
        record: &mut AccessRecord,
    ) -> ProxyError {
        let named = || meant.or_else(|| path.strip_prefix('/')?.split('/').next());
        let own = || error != ProxyError::UnknownTenant && named().is_some_and(|name| client.rules.may_address(name));
        if !client.rules.names_tenants() || own() {
            return error;
        }
        self.refuse("tenants", ProxyError::NotAllowed, record).err().unwrap_or(error)
    }

    fn refuse(&self, rule: &str, error: ProxyError, record: &mut AccessRecord) -> Result<(), ProxyError> {
        if self.settings.clients.only_reports() {
            // The first is the one that would have refused it.
            record.would_refuse.get_or_insert_with(|| rule.to_owned());
            return Ok(());
        }
        record.refused_by = Some(rule.to_owned());
        Err(error)
    }
}
