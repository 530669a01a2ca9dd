//! What survives of one tenant, and its plain text: JSON that lives nowhere but between two buffers that are wiped.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::superoffice::state;
use crate::ticket;

/// The largest plain text, bytes; a record has a few thousand.
pub const MAX_BYTES: usize = 1 << 20;

/// The version of the plain text. Members that may be missing can be added without a new one.
const VERSION: u32 = 1;

/// What survives of one tenant.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The serial of the tenant's database that was seen first.
    pub serial: Option<String>,
    /// Its ticket.
    pub ticket: Option<ticket::Memo>,
    /// Its state.
    pub state: Option<state::Memo>,
}

/// Why a stored record is not used. Holds nothing of what the record holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is no record, or no whole one.
    #[error("it is damaged: {0}")]
    Corrupt(&'static str),
    /// It was written by an older or a newer soproxy.
    #[error("it is of version {0}, which this soproxy does not read")]
    Version(u32),
    /// None of the keys opens it.
    #[error(
        "the application's private key does not open it: it was written with another key, for another tenant or environment, or was altered"
    )]
    Foreign,
}

const JSON: Damage = Damage::Corrupt("what is sealed in it cannot be read");

// Whatever is secret is Base64 here: it has no escapes, so serde_json neither copies nor unescapes it on the way in and out.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    version: u32,
    serial: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ticket: Option<PlainTicket<'a>>,
    #[serde(borrow)]
    state: Option<PlainState<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PlainTicket<'a> {
    value: &'a str,
    secret: &'a str,
    token: &'a str,
    generation: u64,
    issued: Cow<'a, str>,
    last_used: Option<Cow<'a, str>>,
    accepted: bool,
}

#[derive(Serialize, Deserialize)]
struct PlainState<'a> {
    base: Option<Cow<'a, str>>,
    endpoint: Option<Cow<'a, str>>,
    #[serde(default)]
    previous: Vec<Cow<'a, str>>,
    document: Option<Cow<'a, str>>,
    fetched: Cow<'a, str>,
}

/// Read before all else: another version may have other members.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

impl Record {
    /// The plain text; an error if it is larger than [`MAX_BYTES`].
    pub fn encode(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let base64 = |bytes: &[u8]| Zeroizing::new(STANDARD.encode(bytes));
        let texts = self.ticket.as_ref().map(|ticket| {
            (base64(ticket.value.expose_secret().as_bytes()), base64(&ticket.secret), base64(&ticket.token), ticket.issued.to_string())
        });
        let ticket = self.ticket.as_ref().zip(texts.as_ref()).map(|(ticket, (value, secret, token, issued))| PlainTicket {
            value,
            secret,
            token,
            generation: ticket.generation,
            issued: issued.into(),
            last_used: ticket.last_used.map(|used| used.to_string().into()),
            accepted: ticket.accepted,
        });
        let state = self.state.as_ref().map(|state| PlainState {
            base: state.base.as_deref().map(Cow::from),
            endpoint: state.endpoint.as_deref().map(Cow::from),
            previous: state.previous.iter().map(Cow::from).collect(),
            document: state.document.as_ref().map(|document| STANDARD.encode(document).into()),
            fetched: state.fetched.to_string().into(),
        });
        let plain = Plain { version: VERSION, serial: self.serial.as_deref().map(Cow::from), ticket, state };
        // Measured first: a buffer that grows leaves copies of a secret behind.
        let mut length = Count(0);
        serde_json::to_writer(&mut length, &plain)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
        serde_json::to_writer(&mut *bytes, &plain)?;
        Ok(bytes)
    }

    /// Reads a plain text.
    pub fn decode(bytes: &[u8]) -> Result<Record, Damage> {
        // The error's own words repeat what stands where something else should.
        let head: Head = serde_json::from_slice(bytes).map_err(|_| JSON)?;
        if head.version != VERSION {
            return Err(Damage::Version(head.version));
        }
        let plain: Plain<'_> = serde_json::from_slice(bytes).map_err(|_| JSON)?;
        let time = |text: Cow<'_, str>| text.parse::<Timestamp>().map_err(|_| JSON);
        let ticket = plain.ticket.map(|ticket| {
            Ok(ticket::Memo {
                value: secret(ticket.value)?,
                secret: identity(ticket.secret)?,
                token: identity(ticket.token)?,
                generation: ticket.generation,
                issued: time(ticket.issued)?,
                last_used: ticket.last_used.map(time).transpose()?,
                accepted: ticket.accepted,
            })
        });
        let state = plain.state.map(|state| {
            let document = state.document.map(|text| STANDARD.decode(text.as_bytes()).map_err(|_| JSON));
            Ok(state::Memo {
                base: state.base.map(Cow::into_owned),
                endpoint: state.endpoint.map(Cow::into_owned),
                previous: state.previous.into_iter().map(Cow::into_owned).collect(),
                document: document.transpose()?,
                fetched: time(state.fetched)?,
            })
        });
        Ok(Record { serial: plain.serial.map(Cow::into_owned), ticket: ticket.transpose()?, state: state.transpose()? })
    }
}

fn secret(base64: &str) -> Result<SecretString, Damage> {
    let mut bytes = Zeroizing::new(vec![0; base64.len()]);
    let length = STANDARD.decode_slice(base64, &mut bytes).map_err(|_| JSON)?;
    std::str::from_utf8(&bytes[..length]).map(SecretString::from).map_err(|_| JSON)
}

fn identity(base64: &str) -> Result<[u8; 32], Damage> {
    let mut bytes = [0; 33];
    match STANDARD.decode_slice(base64, &mut bytes) {
        Ok(32) => Ok(std::array::from_fn(|at| bytes[at])),
        _ => Err(JSON),
    }
}

/// Counts what is written, up to the bound.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        if self.0 > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the record is larger than 1 MiB"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
