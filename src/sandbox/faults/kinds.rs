//! What a fault can be: the values of its members.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sandbox::login::Refusal;

/// What the login service does with an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LoginFault {
    /// Its work.
    #[default]
    Ok,
    /// Closes the connection without an answer.
    Down,
    /// Answers after a while.
    Slow {
        /// The while.
        #[serde(with = "super::span::unsigned")]
        delay: Duration,
    },
    /// 200, and an HTML page.
    Garbled,
    /// 500, and an HTML page.
    #[serde(rename = "html_500")]
    Html500,
    /// 500, and a SOAP fault (the REST twin: ASP.NET's `Message`).
    SoapFault,
    /// 200, and nothing.
    Empty,
    /// A good reply that ends half-way.
    Truncated,
    /// 302 to a login page.
    Redirect,
    /// 200, and `IsSuccessful` false.
    Refuse {
        /// SuperID's name for the reason.
        code: Refusal,
    },
}

/// API calls that are answered 401 whatever they carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Unauthorized {
    /// None.
    #[default]
    Off,
    /// All.
    Always,
    /// So many more.
    Next(u32),
}

/// What is wrong with the tokens of good exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JwtFault {
    /// Nothing.
    #[default]
    Ok,
    /// `iss` is somebody else.
    WrongIssuer,
    /// `aud` is another serial.
    WrongAudience,
    /// Another database answers: its serial, and `aud` with it.
    OtherSerial,
    /// `ctx` is another tenant.
    WrongContext,
    /// Its times are an hour back.
    Expired,
    /// The signature is of other bytes.
    BadSignature,
    /// There is no ticket claim.
    NoTicket,
    /// Signed with a new key, which the JWKS publishes from now on.
    RotateKey,
}

/// A tenant's state. Protocol §6.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // SuperOffice's own names
pub enum TenantState {
    Unknown,
    Provisioning,
    #[default]
    Running,
    Deleted,
    Suspended,
    OnlineMaintenance,
    OfflineMaintenance,
    ProvisioningFailed,
    Deleting,
    DeleteFailed,
    MigrationPending,
}

impl TenantState {
    /// `IsRunning`.
    pub fn is_running(self) -> bool {
        matches!(self, TenantState::Running | TenantState::OnlineMaintenance)
    }

    /// Whether the API can be called. Assumption: that the state service does not know a tenant says nothing about its API.
    pub fn serves(self) -> bool {
        self.is_running() || self == TenantState::Unknown
    }
}

/// How the API's answers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// As `Accept-Encoding` asks.
    #[default]
    Asked,
    /// Not at all.
    Identity,
    /// `gzip`.
    Gzip,
    /// `br`.
    Br,
    /// `deflate` as the standard has it, in zlib's wrapping.
    Deflate,
    /// `deflate` without the wrapping, as old versions of IIS sent it.
    RawDeflate,
}
