//! The login service's reply over REST.

use super::exchange;

/// See [`exchange::check`].
pub fn check(data: &[u8]) {
    exchange::check(soproxy::superoffice::rest::parse_reply, data);
}
