//! What is remembered of a tenant's state over a restart.

use jiff::Timestamp;

/// What was known of a tenant: addresses as text, to be judged anew by whoever takes them up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// The base where requests went.
    pub base: Option<String>,
    /// The tenant's endpoint.
    pub endpoint: Option<String>,
    /// Bases that it had before.
    pub previous: Vec<String>,
    /// The state endpoint's JSON as it was told.
    pub document: Option<Vec<u8>>,
    /// When the state was told.
    pub fetched: Timestamp,
}
