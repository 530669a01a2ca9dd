//! What is remembered of a ticket over a restart.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;

/// A ticket and its history, as they outlive the process: wall time, because no other clock does.
#[derive(Clone)]
pub struct Memo {
    /// The ticket alone, without its scheme.
    pub value: SecretString,
    /// SHA-256 of the client secret that it was got with: with another one it is of no use.
    pub secret: [u8; 32],
    /// SHA-256 of the system user token that it was got with.
    pub token: [u8; 32],
    /// Its generation.
    pub generation: u64,
    /// When it was issued.
    pub issued: Timestamp,
    /// The tenant's last accepted use ever, perhaps of an earlier ticket.
    pub last_used: Option<Timestamp>,
    /// Whether upstream has accepted this very ticket.
    pub accepted: bool,
}

impl fmt::Debug for Memo {
    /// Without the identities, too: the hash of a short secret can be searched for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memo { generation, issued, last_used, accepted, .. } = self;
        write!(f, "Memo {{ generation: {generation}, issued: {issued}, last_used: {last_used:?}, accepted: {accepted}, [redacted] }}")
    }
}
