//! One tenant's way to a ticket: an exchange, and beside it the question where the tenant's web API lives.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::jwt::SystemUserClaims;
use super::login::{Credentials, Login, Observer};
use super::origin::{AllowedBase, BaseUrl, UpstreamHosts};
use super::state;
use crate::ticket::{Exchange, ExchangeFailure, Grant};

/// A tenant at its login service.
pub struct TenantLogin {
    credentials: Credentials,
    login: Arc<Login>,
    hosts: UpstreamHosts,
    /// `api_url` from the configuration: then nobody is asked.
    api_url: Option<AllowedBase>,
    /// What the state endpoint said last; better than the token's claim when the endpoint is down.
    last_state: Mutex<Option<AllowedBase>>,
}

/// A grant, and what the token told besides.
pub struct Granted {
    /// For the cache.
    pub grant: Grant,
    /// The verified token's claims.
    pub claims: SystemUserClaims,
}

impl TenantLogin {
    /// A tenant whose web API must be in `hosts`.
    pub fn new(credentials: Credentials, login: Arc<Login>, hosts: UpstreamHosts, api_url: Option<AllowedBase>) -> TenantLogin {
        TenantLogin { credentials, login, hosts, api_url, last_state: Mutex::new(None) }
    }

    /// One exchange, observed.
    pub async fn obtain(&self, observer: Observer<'_>) -> Result<Granted, ExchangeFailure> {
        let (claims, state) = tokio::join!(self.login.exchange(&self.credentials, observer), self.base_by_state());
        let claims = claims.map_err(|error| self.without_secrets(error.into()))?;
        let base = match state {
            Ok(base) => base,
            Err(why) => self.base_without_state(&claims, &why)?,
        };
        let mut authorization = HeaderValue::from_str(&format!("SOTicket {}", claims.ticket.expose_secret())).map_err(|_| {
            let text = "the token's ticket holds characters that no header can carry".to_owned();
            ExchangeFailure { wire: text.clone(), log: text }
        })?;
        authorization.set_sensitive(true);
        Ok(Granted { grant: Grant { authorization, base }, claims })
    }

    /// `api_url`, else what the state endpoint says.
    async fn base_by_state(&self) -> Result<AllowedBase, String> {
        if let Some(base) = &self.api_url {
            return Ok(base.clone());
        }
        let state = state::fetch(self.login.caller(), self.login.origin(), &self.credentials.context).await;
        let base = state.and_then(|state| state.api_base()).map_err(|error| error.to_string())?;
        let base =
            self.hosts.allow(base).map_err(|refused| format!("the tenant state endpoint names a host that is refused: {refused}"))?;
        *self.remembered() = Some(base.clone());
        Ok(base)
    }

    /// The last state known, else the token's `webapi_url` (which is being phased out; protocol §1.6, §5.2).
    fn base_without_state(&self, claims: &SystemUserClaims, why: &str) -> Result<AllowedBase, ExchangeFailure> {
        let context = &self.credentials.context;
        if let Some(base) = self.remembered().clone() {
            tracing::warn!(tenant = %context, upstream = %base, "{why}; going on with the address known so far");
            return Ok(base);
        }
        let claimed = claims.webapi_url.as_deref().unwrap_or_default();
        let allowed = match claimed.parse::<BaseUrl>() {
            Ok(base) => self.hosts.allow(base).map_err(|refused| format!("the token's webapi_url is refused: {refused}")),
            Err(_) => Err("the token has no usable webapi_url".to_owned()),
        };
        match allowed {
            Ok(base) => {
                tracing::warn!(tenant = %context, upstream = %base, "{why}; using the token's webapi_url");
                Ok(base)
            }
            Err(refused) => Err(ExchangeFailure {
                wire: "the address of this tenant's web API is not known".to_owned(),
                log: format!(
                    "the address of {context}'s web API is not known: {why}; {refused}. Set tenants.{context}.api_url, or list the host in superoffice.upstream_hosts if it is SuperOffice's"
                ),
            }),
        }
    }

    /// The login service's own words are told to callers and to the log, and may repeat what it was sent.
    fn without_secrets(&self, failure: ExchangeFailure) -> ExchangeFailure {
        let hide = |text: String| {
            let secrets = [self.credentials.system_user_token.expose(), self.credentials.client_secret.expose_secret()];
            secrets.into_iter().filter(|secret| !secret.is_empty()).fold(text, |text, secret| {
                let escaped = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                text.replace(secret, "[redacted]").replace(&escaped, "[redacted]")
            })
        };
        ExchangeFailure { wire: hide(failure.wire), log: hide(format!("{} ({})", failure.log, self.login.origin())) }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Option<AllowedBase>> {
        self.last_state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange for TenantLogin {
    fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>> {
        Box::pin(async { self.obtain(&|_| {}).await.map(|granted| granted.grant) })
    }
}
