//! The login service's reply over SOAP.

use super::exchange;

/// See [`exchange::check`].
pub fn check(data: &[u8]) {
    exchange::check(soproxy::superoffice::soap::parse_reply, data);
}
