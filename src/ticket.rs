//! The ticket: its value, how long it may be used, and when it is renewed, as pure functions of time and use.
//!
//! SuperOffice's tickets live 6 hours and *slide*: each accepted use resets the window, and each exchange writes a row in
//! the customer's database (protocol §6.2). So a ticket is renewed neither per call nor on a fixed schedule.

pub mod cache;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::HeaderValue;

use crate::clock::Moment;
use crate::superoffice::origin::BaseUrl;

/// A ticket in use. The header value is built once, marked sensitive, and shared by all requests.
pub struct Ticket {
    /// `SOTicket <value>`, ready for `Authorization`.
    pub authorization: HeaderValue,
    /// The tenant's web API: the only place this ticket goes.
    pub base: BaseUrl,
    /// Counts up per tenant; names this ticket in logs and when it is refused.
    pub generation: u64,
    /// When it was issued.
    pub issued: Moment,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket {{ generation: {}, base: {}, [redacted] }}", self.generation, self.base)
    }
}

/// What an exchange gives: a ticket's header value and the base it belongs to.
pub struct Grant {
    /// `SOTicket <value>`, sensitive.
    pub authorization: HeaderValue,
    /// The tenant's web API.
    pub base: BaseUrl,
}

/// Why there is no ticket: two texts, and nothing secret in either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{log}")]
pub struct ExchangeFailure {
    /// For the client: short, without addresses.
    pub wire: String,
    /// For the log: the whole story, with the service's own words and what to do.
    pub log: String,
}

/// How a tenant gets a ticket. The cache knows nothing else about SuperOffice.
pub trait Exchange: Send + Sync + 'static {
    /// One exchange, with its own time limit. Never runs inside a client's request.
    fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>>;
}

/// The three settings that decide when a ticket is renewed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Age at which the ticket of a tenant in use is renewed; `None` relies on sliding.
    pub max_age: Option<Duration>,
    /// How long a ticket lives after its last accepted use.
    pub lifetime: Duration,
    /// How long after its last use an idle tenant's ticket is kept alive.
    pub keep_warm: Duration,
}
