//! The I/O edge of the exchange: sign → send → parse → verify. Classifies every failure; caches and schedules nothing
//! but what belongs to one login service: its public keys and how far its clock is from ours.

mod traced;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use super::http::{Answer, CallError, Caller};
use super::jwt::{self, JwtError, SystemUserClaims};
use super::keys::VerificationKeys;
use super::origin::BaseUrl;
use super::signing::{KeyError, SignedSystemToken, SigningKey};
use super::{ContextId, ExchangeKind, ExchangeReply, ExchangeRequest, ReplyError, SuperIdCode, SystemUserToken, rest, soap};
use crate::body::{empty, full};
use crate::clock::{Clock, Moment};
use crate::ticket::ExchangeFailure;
use crate::trace::{Context, TRACEPARENT};

/// Protocol §1.3.
const JWKS_PATH: &str = "/login/.well-known/jwks";

/// After a successful fetch, the key set is not fetched again for this long.
const KEYS_AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// A `Date` further off than this says more about the server than about our clock.
const LARGEST_SKEW: SignedDuration = SignedDuration::from_hours(24);

/// Beyond this the operator should know.
const NOTABLE_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What one tenant brings to an exchange.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The tenant.
    pub context: &'a ContextId,
    /// Its system user token.
    pub system_user_token: &'a SystemUserToken,
    /// The application's client secret.
    pub client_secret: &'a str,
    /// The application's private key.
    pub signing_key: &'a SigningKey,
}

/// Which of the credentials may be to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// None: others would fail in the same way.
    Other,
    /// The private key, whatever the client secret is.
    Key,
    /// The private key or the client secret.
    Any,
}

/// One login service.
pub struct Login {
    origin: BaseUrl,
    kind: ExchangeKind,
    caller: Caller,
    clock: Clock,
    leeway: Duration,
    keys: Keys,
    /// Theirs minus ours, milliseconds.
    skew: AtomicI64,
    skew_told: AtomicBool,
    /// When keys were last fetched for a notification.
    strangers: Mutex<Option<Moment>>,
}

/// How a login service is spoken to.
pub struct Settings {
    /// `https://sod.superoffice.com`
    pub origin: BaseUrl,
    /// Which twin.
    pub kind: ExchangeKind,
    /// For `exp` and `nbf`.
    pub leeway: Duration,
    /// Keys from a file; `None` fetches the login service's JWKS.
    pub keys: Option<Arc<VerificationKeys>>,
}

enum Keys {
    File(Arc<VerificationKeys>),
    Jwks {
        current: ArcSwapOption<VerificationKeys>,
        /// When the set was last fetched with success; held while it is fetched, so that one fetch serves all.
        fetched: Mutex<Option<Moment>>,
    },
}

/// Why an exchange failed. `Display` is the log's text.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// Our own key cannot sign.
    #[error("signing failed: {0}")]
    Sign(Arc<KeyError>),
    /// The request cannot be written, for instance because a secret holds a character that XML cannot carry.
    #[error("the exchange request cannot be written: {0}")]
    Request(String),
    /// No answer.
    #[error("the login service {0}")]
    Call(#[from] CallError),
    /// An answer that is no reply.
    #[error("the login service's answer is no exchange reply: {0}")]
    Reply(#[from] ReplyError),
    /// The service refused, in its own words.
    #[error("the login service refused the exchange: {words}{}", advice(*.code))]
    Refused {
        /// The recognised code.
        code: Option<SuperIdCode>,
        /// `ErrorMessage`, shortened.
        words: String,
    },
    /// The login service's public keys cannot be had: no answer.
    #[error("the login service {0} (asked for its public keys)")]
    KeysCall(CallError),
    /// The login service's public keys cannot be had: an answer without them.
    #[error("the login service's public keys cannot be fetched: {0}")]
    Keys(String),
    /// The token failed a check.
    #[error("the login service's token was refused: {0}")]
    Token(Arc<JwtError>),
}

fn advice(code: Option<SuperIdCode>) -> String {
    match code {
        Some(code) => format!(" [{}: {}]", code.name(), code.advice()),
        None => " [check context, client_secret, system_user_token and private_key: do they belong to one application and environment?]"
            .to_owned(),
    }
}

impl LoginError {
    /// Whether another private key or client secret may be accepted. Assumptions, because no refusal is on record: what no
    /// code explains may be about either, and so may an error status by which servers tell that they do not know somebody.
    pub fn blame(&self) -> Blame {
        match self {
            LoginError::Sign(_) | LoginError::Refused { code: Some(SuperIdCode::InvalidSignature), .. } => Blame::Key,
            LoginError::Request(_) | LoginError::Refused { code: None | Some(SuperIdCode::Denied), .. } => Blame::Any,
            LoginError::Reply(ReplyError::Status { status: 401 | 403, .. }) => Blame::Any,
            _ => Blame::Other,
        }
    }

    /// For counting, as README lists it.
    fn code(&self) -> &'static str {
        match self {
            LoginError::Sign(_) | LoginError::Request(_) => "credentials_unusable",
            LoginError::Call(CallError::Timeout(_)) | LoginError::KeysCall(CallError::Timeout(_)) => "login_timeout",
            LoginError::Call(_) | LoginError::KeysCall(_) => "login_unreachable",
            LoginError::Reply(_) => "reply_unreadable",
            LoginError::Refused { code, .. } => match code {
                None => "refused",
                Some(SuperIdCode::Revoked) => "refused_revoked",
                Some(SuperIdCode::InvalidRedirectUrl) => "refused_invalid_redirect_url",
                Some(SuperIdCode::Expired) => "refused_expired",
                Some(SuperIdCode::Denied) => "refused_denied",
                Some(SuperIdCode::NeedsReapproval) => "refused_needs_reapproval",
                Some(SuperIdCode::InvalidTimestamp) => "refused_invalid_timestamp",
                Some(SuperIdCode::InvalidSignature) => "refused_invalid_signature",
            },
            LoginError::Keys(_) => "keys_unavailable",
            LoginError::Token(_) => "token_invalid",
        }
    }

    /// The client's text: whose fault it is and the code, no addresses.
    fn wire(&self) -> String {
        match self {
            LoginError::Sign(_) | LoginError::Request(_) => "the proxy's own credentials cannot be used".to_owned(),
            LoginError::Call(CallError::Timeout(_)) => "the login service does not answer in time".to_owned(),
            LoginError::KeysCall(CallError::Timeout(_)) => {
                "the login service does not answer in time: its public keys cannot be fetched".to_owned()
            }
            LoginError::KeysCall(_) => "the login service cannot be reached: its public keys cannot be fetched".to_owned(),
            LoginError::Call(_) => "the login service cannot be reached".to_owned(),
            LoginError::Reply(_) => "the login service answers with something that is no exchange reply".to_owned(),
            LoginError::Refused { code: Some(code), .. } => {
                format!("the login service refused the exchange: {}, {}", code.name(), code.advice())
            }
            LoginError::Refused { code: None, words } if words.is_empty() => "the login service refused the exchange".to_owned(),
            LoginError::Refused { code: None, words } => format!("the login service refused the exchange: {words}"),
            LoginError::Keys(_) => "the login service's public keys cannot be fetched".to_owned(),
            LoginError::Token(_) => "the login service's token could not be verified".to_owned(),
        }
    }
}

impl From<LoginError> for ExchangeFailure {
    fn from(error: LoginError) -> ExchangeFailure {
        ExchangeFailure { code: error.code(), wire: error.wire(), log: error.to_string() }
    }
}

/// One step of an exchange, for whoever wants to explain it.
pub enum Step<'a> {
    /// The signed system token was made.
    Signed(&'a SignedSystemToken),
    /// This is about to be sent (it holds the client secret and the signed token).
    Request {
        /// Where to.
        url: &'a str,
        /// The envelope or JSON.
        body: &'a [u8],
    },
    /// This came back (it may hold the JWT).
    Answer(&'a Answer),
    /// How far the login service's clock is ahead of ours.
    Skew(SignedDuration),
    /// The timestamp was refused; once more with the corrected time.
    Again,
}

/// Watches the steps of an exchange.
pub type Observer<'a> = &'a (dyn Fn(Step<'_>) + Send + Sync);

impl Login {
    /// A login service that nothing is known of yet.
    pub fn new(settings: Settings, caller: Caller, clock: Clock) -> Login {
        let keys = match settings.keys {
            Some(keys) => Keys::File(keys),
            None => Keys::Jwks { current: ArcSwapOption::empty(), fetched: Mutex::new(None) },
        };
        let Settings { origin, kind, leeway, .. } = settings;
        let (skew, skew_told, strangers) = Default::default();
        Login { origin, kind, caller, clock, leeway, keys, skew, skew_told, strangers }
    }

    /// The origin, for the tenant state endpoint beside the login service.
    pub fn origin(&self) -> &BaseUrl {
        &self.origin
    }

    /// The caller, for the same purpose.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The machine's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How far the login service's clock is ahead of ours, as far as its answers have told.
    pub fn skew(&self) -> SignedDuration {
        SignedDuration::from_millis(self.skew.load(Ordering::Relaxed))
    }

    /// Our wall clock, corrected by what the login service's `Date` told.
    pub fn corrected_now(&self) -> Timestamp {
        let now = self.clock.now().wall;
        now.checked_add(self.skew()).unwrap_or(now)
    }

    /// One exchange. A refused timestamp is retried once at once, with the corrected time.
    pub async fn exchange(&self, credentials: &Credentials<'_>, observer: Observer<'_>) -> Result<SystemUserClaims, LoginError> {
        self.have_keys().await?;
        let mut reply = self.round_trip(credentials, observer).await?;
        if let ExchangeReply::Refused(words) = &reply
            && SuperIdCode::find(words) == Some(SuperIdCode::InvalidTimestamp)
        {
            observer(Step::Again);
            reply = self.round_trip(credentials, observer).await?;
        }
        match reply {
            ExchangeReply::Token(token) => self.verify(token.expose_secret(), credentials.context).await,
            ExchangeReply::Refused(words) => Err(LoginError::Refused { code: SuperIdCode::find(&words), words }),
        }
    }

    fn path(&self) -> &'static str {
        match self.kind {
            ExchangeKind::Soap => soap::PATH,
            ExchangeKind::Rest => rest::PATH,
        }
    }

    async fn send(
        &self,
        credentials: &Credentials<'_>,
        observer: Observer<'_>,
        trace: Option<Context>,
    ) -> Result<ExchangeReply, LoginError> {
        let now = self.corrected_now();
        let signed = credentials.signing_key.sign(credentials.system_user_token, now).map_err(|error| LoginError::Sign(Arc::new(error)))?;
        observer(Step::Signed(&signed));
        let exchange = ExchangeRequest {
            application_token: credentials.client_secret,
            context: credentials.context,
            signed_system_token: signed.expose(),
        };
        let body = match self.kind {
            ExchangeKind::Soap => soap::request_body(&exchange).map_err(|error| LoginError::Request(error.to_string()))?,
            ExchangeKind::Rest => rest::request_body(&exchange),
        };
        let url = self.origin.join(self.path());
        observer(Step::Request { url: &url, body: &body });
        let request = match self.kind {
            ExchangeKind::Soap => Request::post(&url).header(CONTENT_TYPE, soap::CONTENT_TYPE).header("SOAPAction", soap::SOAP_ACTION),
            ExchangeKind::Rest => Request::post(&url).header(CONTENT_TYPE, rest::CONTENT_TYPE).header(ACCEPT, rest::CONTENT_TYPE),
        };
        // The body wipes itself once it is sent.
        let mut request = request.body(full(Bytes::from_owner(body))).map_err(|error| LoginError::Request(error.to_string()))?;
        if let Some(trace) = trace {
            request.headers_mut().insert(TRACEPARENT, trace.header());
        }
        let sent = self.clock.now().wall;
        let answer = self.caller.call(request).await?;
        observer(Step::Answer(&answer));
        let status = answer.status.as_u16();
        if answer.cut_off {
            return Err(ReplyError::Truncated { status, length: answer.body.len() }.into());
        }
        let parse = match self.kind {
            ExchangeKind::Soap => soap::parse_reply,
            ExchangeKind::Rest => rest::parse_reply,
        };
        let reply = match parse(status, answer.content_type(), answer.location(), &answer.body) {
            // A refusal that SuperID words as a fault or an error status is a refusal all the same.
            Err(ReplyError::Fault { text: words, .. } | ReplyError::Status { words, .. }) if SuperIdCode::find(&words).is_some() => {
                ExchangeReply::Refused(words)
            }
            reply => reply?,
        };
        self.note_date(&answer, sent, observer);
        Ok(reply)
    }

    /// Learns the skew from a genuine answer. The channel is trusted: TLS is always verified, else it is loopback.
    fn note_date(&self, answer: &Answer, sent: Timestamp, observer: Observer<'_>) {
        if !self.origin.is_https() && !self.origin.is_loopback() {
            return;
        }
        let Some(theirs) = answer.date() else { return };
        // The answer was made at some time between sending and now; the middle is the best guess.
        let received = self.clock.now().wall;
        let skew = theirs.duration_since(sent) / 2 + theirs.duration_since(received) / 2;
        if skew.abs() > LARGEST_SKEW {
            tracing::warn!(login = %self.origin, skew_seconds = skew.as_secs(), "the login service's Date is more than a day off ours and is not believed: check this machine's clock");
            return;
        }
        // `Date` has whole seconds, and how long the answer was on its way is not known: less than that is no skew.
        let doubt = SignedDuration::from_secs(2) + received.duration_since(sent) / 2;
        let skew = if skew.abs() < doubt { SignedDuration::ZERO } else { skew };
        let notable = skew.abs() > NOTABLE_SKEW;
        if notable && !self.skew_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(login = %self.origin, skew_seconds = skew.as_secs(), "this machine's clock differs from the login service's; signing and validating with the corrected time. Set the clock right");
        } else if !notable {
            self.skew_told.store(false, Ordering::Relaxed);
        }
        self.skew.store(i64::try_from(skew.as_millis()).unwrap_or(0), Ordering::Relaxed);
        observer(Step::Skew(skew));
    }

    async fn verify(&self, token: &str, context: &ContextId) -> Result<SystemUserClaims, LoginError> {
        self.verify_by(|keys| {
            let expected = jwt::Expected { context, now: self.corrected_now(), leeway: self.leeway };
            jwt::verify(token, keys, &expected)
        })
        .await
    }

    /// Verifies a state-change notification's token: which tenant it names, if any.
    ///
    /// Strangers can send these, so they have the public keys fetched once a minute at most, whatever comes of it.
    pub async fn verify_notice(&self, token: &str) -> Result<Option<String>, LoginError> {
        let login = self.origin.to_string();
        let check = |keys: &VerificationKeys| {
            let expected = jwt::ExpectedNotice { login: &login, now: self.corrected_now(), leeway: self.leeway };
            jwt::verify_notice(token, keys, &expected)
        };
        let known = || match &self.keys {
            Keys::File(keys) => Some(keys.clone()),
            Keys::Jwks { current, .. } => current.load_full(),
        };
        let judge = |keys: Option<Arc<VerificationKeys>>| match keys.map(|keys| check(&keys)) {
            Some(Err(error)) if error.wants_fresh_keys() => Err(LoginError::Token(Arc::new(error))),
            Some(judged) => Ok(judged.map_err(|error| LoginError::Token(Arc::new(error)))),
            None => Err(LoginError::Keys("they were asked for a moment ago, in vain".to_owned())),
        };
        if let Ok(judged) = judge(known()) {
            return judged;
        }
        // Held while they are fetched: genuine ones that come meanwhile need the same keys.
        let mut last = self.strangers.lock().await;
        let wanting = match judge(known()) {
            Ok(judged) => return judged,
            Err(wanting) => wanting,
        };
        let now = self.clock.now();
        if last.is_some_and(|last| now.since(last) < KEYS_AT_MOST_EVERY) {
            return Err(wanting);
        }
        *last = Some(now);
        self.verify_by(check).await
    }

    async fn verify_by<T>(&self, check: impl Fn(&VerificationKeys) -> Result<T, JwtError>) -> Result<T, LoginError> {
        let refused = |error: JwtError| LoginError::Token(Arc::new(error));
        let (current, fetched) = match &self.keys {
            Keys::File(keys) => return check(keys).map_err(refused),
            Keys::Jwks { current, fetched } => (current, fetched),
        };
        let known = current.load_full();
        if let Some(keys) = &known {
            match check(keys) {
                Err(error) if error.wants_fresh_keys() => {}
                checked => return checked.map_err(refused),
            }
        }
        let mut fetched = fetched.lock().await;
        let newer = current.load_full();
        // Somebody else fetched while we waited, or the set is too young to be fetched again.
        let replaced = newer.as_ref().map(Arc::as_ptr) != known.as_ref().map(Arc::as_ptr);
        let recent = fetched.is_some_and(|at| self.clock.now().since(at) < KEYS_AT_MOST_EVERY);
        let keys = match newer {
            Some(keys) if replaced || recent => keys,
            _ => {
                let keys = Arc::new(self.fetch_keys().await?);
                *fetched = Some(self.clock.now());
                current.store(Some(keys.clone()));
                keys
            }
        };
        drop(fetched);
        check(&keys).map_err(refused)
    }

    /// Fetches the keys before the first exchange: one whose token cannot be verified would be a row in the customer's
    /// database for nothing.
    async fn have_keys(&self) -> Result<(), LoginError> {
        if let Keys::Jwks { current, fetched } = &self.keys
            && current.load().is_none()
        {
            let mut fetched = fetched.lock().await;
            if current.load().is_none() {
                current.store(Some(Arc::new(self.fetch_keys().await?)));
                *fetched = Some(self.clock.now());
            }
        }
        Ok(())
    }

    async fn fetch_keys(&self) -> Result<VerificationKeys, LoginError> {
        let request = Request::get(self.origin.join(JWKS_PATH)).header(ACCEPT, "application/json").body(empty());
        let request = request.map_err(|error| LoginError::Keys(error.to_string()))?;
        let answer = self.caller.call(request).await.map_err(LoginError::KeysCall)?;
        if !answer.status.is_success() {
            return Err(LoginError::Keys(format!("HTTP {} from {JWKS_PATH}", answer.status.as_u16())));
        }
        VerificationKeys::from_jwks(&answer.body).map_err(|error| LoginError::Keys(error.to_string()))
    }
}
