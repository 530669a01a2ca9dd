//! One tenant at SuperOffice: its way to a ticket, and to its state.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::ContextId;
use super::jwt::SystemUserClaims;
use super::login::{Credentials, Login, Observer};
use super::origin::BaseUrl;
use super::state::keeper::{Keeper, Source};
use super::state::{self, StateError, TenantState};
use crate::ticket::{Exchange, ExchangeFailure, Grant};

/// A tenant at its login service.
pub struct TenantLogin {
    credentials: Credentials,
    /// The client secret for `SO-AppToken`, sensitive.
    app_token: HeaderValue,
    login: Arc<Login>,
    keeper: Arc<Keeper>,
}

/// A grant, and what the token told besides.
pub struct Granted {
    /// For the cache.
    pub grant: Grant,
    /// The verified token's claims.
    pub claims: SystemUserClaims,
}

impl TenantLogin {
    /// A tenant with its credentials; `keeper` knows whether it runs.
    pub fn new(credentials: Credentials, app_token: HeaderValue, login: Arc<Login>, keeper: Arc<Keeper>) -> TenantLogin {
        TenantLogin { credentials, app_token, login, keeper }
    }

    /// One exchange, observed.
    pub async fn obtain(&self, observer: Observer<'_>) -> Result<Granted, ExchangeFailure> {
        let claims = self.login.exchange(&self.credentials, observer).await;
        let claims = claims.map_err(|error| self.without_secrets(error.into()))?;
        self.keeper.claim(claims.webapi_url.as_deref(), claims.netserver_url.as_deref());
        let mut authorization = HeaderValue::from_str(&format!("SOTicket {}", claims.ticket.expose_secret())).map_err(|_| {
            let text = "the token's ticket holds characters that no header can carry".to_owned();
            ExchangeFailure { wire: text.clone(), log: text }
        })?;
        authorization.set_sensitive(true);
        Ok(Granted { grant: Grant { authorization, app_token: self.app_token.clone() }, claims })
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
}

impl Exchange for TenantLogin {
    fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>> {
        Box::pin(async {
            let now = self.login.clock().now();
            if let Some(outage) = self.keeper.now().outage(now) {
                // Nobody can be served, and an exchange would want the tenant's database.
                let text = format!("no ticket while the tenant does not run: {outage}");
                return Err(ExchangeFailure { wire: text.clone(), log: text });
            }
            self.obtain(&|_| {}).await.map(|granted| granted.grant)
        })
    }
}

/// The tenant state endpoint beside a login service.
pub struct StateEndpoint {
    /// The login service.
    pub login: Arc<Login>,
    /// The tenant.
    pub context: ContextId,
}

impl Source for StateEndpoint {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<TenantState, StateError>> + Send + '_>> {
        Box::pin(state::fetch(self.login.caller(), self.login.origin(), &self.context))
    }

    fn now(&self) -> jiff::Timestamp {
        self.login.corrected_now()
    }

    fn left(&self, base: &BaseUrl) {
        self.login.caller().let_go(base);
    }

    fn login(&self) -> &BaseUrl {
        self.login.origin()
    }

    fn verify<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send + 'a>> {
        Box::pin(async { self.login.verify_notice(token).await.map_err(|error| error.to_string()) })
    }
}
