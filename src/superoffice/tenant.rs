//! One tenant at SuperOffice: its way to a ticket, and to its state.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::application::{Application, Pair, secret_value};
use super::jwt::SystemUserClaims;
use super::login::{Blame, Credentials, Login, Observer, Step};
use super::origin::BaseUrl;
use super::redact::redact;
use super::serial;
use super::state::keeper::{Keeper, Source};
use super::state::{self, StateError, TenantState};
use super::{ContextId, SystemUserToken};
use crate::clock::Moment;
use crate::ticket::{Exchange, ExchangeFailure, Grant, Ticket};

/// After a token of another database no exchange is tried for this long: each writes a row there. A reload ends the wait.
const FOREIGN_PAUSE: Duration = Duration::from_secs(900);

/// What makes a tenant of a login service.
pub struct Identity {
    /// The context identifier.
    pub context: ContextId,
    /// Its system user token.
    pub system_user_token: SystemUserToken,
    /// The application that it approved.
    pub application: Arc<Application>,
    /// The serial of its database.
    pub pin: Arc<serial::Pin>,
    /// The serial that an operator says is right.
    pub serial: Option<String>,
}

/// A tenant at its login service.
pub struct TenantLogin {
    identity: Identity,
    login: Arc<Login>,
    keeper: Arc<Keeper>,
    /// The places of client secrets with which exchanges succeed and calls fail.
    doubted: Mutex<Vec<usize>>,
    /// The last token of another database, and when it came.
    foreign: Mutex<Option<(ExchangeFailure, Moment)>>,
}

/// A grant, and what the token told besides.
pub struct Granted {
    /// For the cache.
    pub grant: Grant,
    /// The verified token's claims.
    pub claims: SystemUserClaims,
}

impl TenantLogin {
    /// A tenant; `keeper` knows whether it runs.
    pub fn new(identity: Identity, login: Arc<Login>, keeper: Arc<Keeper>) -> TenantLogin {
        TenantLogin { identity, login, keeper, doubted: Mutex::default(), foreign: Mutex::default() }
    }

    /// What makes it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its login service.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// One exchange, observed; while one secret replaces another as many as it takes. A refused one costs no row.
    pub async fn obtain(&self, observer: Observer<'_>) -> Result<Granted, ExchangeFailure> {
        let Identity { context, system_user_token, application, .. } = &self.identity;
        let doubted = lock(&self.doubted).clone();
        let mut refused: Option<ExchangeFailure> = None;
        let mut unfit_keys = Vec::new();
        for pair in application.pairs(&doubted) {
            if unfit_keys.contains(&pair.key_at) {
                continue;
            }
            let credentials = Credentials { context, system_user_token, client_secret: pair.secret.expose(), signing_key: pair.key };
            // What was signed is as good as a secret for some minutes.
            let signatures = Mutex::new(Vec::new());
            let watch = |step: Step<'_>| {
                if let Step::Signed(signed) = &step {
                    lock(&signatures).push(signed.signature().to_owned());
                }
                observer(step);
            };
            match self.login.exchange(&credentials, &watch).await {
                Ok(claims) => {
                    if refused.is_some() && application.accepted(pair) {
                        let (application, place) = (application.choice().unwrap_or_default(), pair.place(application));
                        tracing::info!(tenant = %context, "of {application} another pair is accepted now: {place}");
                    }
                    return self.grant(claims, pair);
                }
                Err(error) => {
                    let blame = error.blame();
                    let failure = self.without_secrets(error.into(), &lock(&signatures));
                    match blame {
                        Blame::Other => return Err(failure),
                        Blame::Key => unfit_keys.push(pair.key_at),
                        Blame::Any => {}
                    }
                    // What the one that worked before is refused with tells most.
                    refused.get_or_insert(failure);
                }
            }
        }
        let mut refused = refused.unwrap_or_else(|| ExchangeFailure { code: "refused", wire: String::new(), log: String::new() });
        if let Some(choice) = application.choice() {
            refused.log = format!("{} (none of {choice} is accepted)", refused.log);
        }
        Err(refused)
    }

    fn grant(&self, claims: SystemUserClaims, pair: Pair<'_>) -> Result<Granted, ExchangeFailure> {
        let Identity { pin, serial, .. } = &self.identity;
        if let Err(changed) = pin.judge(&claims.serial, serial.as_deref()) {
            let wire = "the login service's token is of another database than those before it; the proxy's log says what to do".to_owned();
            let log = format!(
                "{changed}: the ticket is not used. If SuperOffice has replaced this tenant's database, say so by `serial = {:?}` in its table, and reload; if not, find out who answers in its place",
                changed.seen
            );
            let failure = ExchangeFailure { code: "foreign_database", wire, log };
            *lock(&self.foreign) = Some((failure.clone(), self.login.clock().now()));
            return Err(failure);
        }
        self.keeper.claim(claims.webapi_url.as_deref(), claims.netserver_url.as_deref());
        let authorization = Zeroizing::new([b"SOTicket ", claims.ticket.expose_secret().as_bytes()].concat());
        let authorization = secret_value(authorization).ok_or_else(|| {
            let text = "the token's ticket holds characters that no header can carry".to_owned();
            ExchangeFailure { code: "ticket_unusable", wire: text.clone(), log: text }
        })?;
        Ok(Granted { grant: Grant { authorization, app_token: pair.secret.header().clone() }, claims })
    }

    /// The login service's own words are told to callers and to the log, and may repeat what it was sent.
    fn without_secrets(&self, failure: ExchangeFailure, signatures: &[String]) -> ExchangeFailure {
        let Identity { system_user_token, application, .. } = &self.identity;
        let hide = |text: &str| {
            let secrets = application.secrets().iter().map(|secret| secret.expose());
            redact(text, secrets.chain([system_user_token.expose()]).chain(signatures.iter().map(String::as_str)))
        };
        let (wire, log) = (hide(&failure.wire), format!("{} ({})", hide(&failure.log), self.login.origin()));
        ExchangeFailure { wire, log, ..failure }
    }
}

impl Exchange for TenantLogin {
    fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>> {
        Box::pin(async {
            let now = self.login.clock().now();
            if let Some(outage) = self.keeper.now().outage(now) {
                // Nobody can be served, and an exchange would want the tenant's database.
                let text = format!("no ticket while the tenant does not run: {outage}");
                return Err(ExchangeFailure { code: "tenant_not_running", wire: text.clone(), log: text });
            }
            if let Some((failure, at)) = lock(&self.foreign).clone()
                && now.since(at) < FOREIGN_PAUSE
            {
                return Err(failure);
            }
            self.obtain(&|_| {}).await.map(|granted| granted.grant)
        })
    }

    fn doubt(&self, ticket: &Ticket) -> bool {
        let secrets = self.identity.application.secrets();
        let Some(at) = secrets.iter().position(|secret| *secret.header() == ticket.app_token) else { return false };
        let mut doubted = lock(&self.doubted);
        // One that comes back although it is doubted: the login service accepted none of the others.
        let another = !doubted.contains(&at) && doubted.len() + 1 < secrets.len();
        if another {
            doubted.push(at);
        } else {
            // All were tried. After the pause that follows, all may be tried once more.
            doubted.clear();
        }
        another
    }

    fn pause(&self) -> Duration {
        let now = self.login.clock().now();
        let foreign = lock(&self.foreign);
        foreign.as_ref().map_or(Duration::ZERO, |(_, at)| FOREIGN_PAUSE.saturating_sub(now.since(*at)))
    }

    fn owns(&self, app_token: &HeaderValue) -> bool {
        self.identity.application.secrets().iter().any(|secret| secret.header() == app_token)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
