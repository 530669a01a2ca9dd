//! What a request's head and connection say about the caller: its name for the request, and what is told about it upstream.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::address;
use super::headers::REQUEST_ID;
use crate::server::Ends;

/// The part of a connection's ends that says how we were addressed.
pub(super) fn both(ends: &Ends) -> address::Ends {
    address::Ends { peer: ends.peer, local: ends.local, tls: ends.tls, listener: ends.listener }
}

/// The caller's own `X-Request-Id` when it is short and plain, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |id: &&HeaderValue| {
        let id = id.as_bytes();
        !id.is_empty() && id.len() <= 64 && id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_')
    };
    let fresh = || {
        let mut digits = [0; 16];
        let number: u64 = rand::random();
        for (at, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
        }
        HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("-"))
    };
    headers.get(REQUEST_ID).filter(plain).cloned().unwrap_or_else(fresh)
}

/// `X-Forwarded-For`, `-Proto` and `-Host` of our own.
pub(super) fn forwarded(parts: &Parts, ends: &Ends) -> Vec<(HeaderName, HeaderValue)> {
    let proto = if ends.tls { "https" } else { "http" };
    let mut lines = vec![(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(proto))];
    if let Some(peer) = ends.peer.and_then(|peer| HeaderValue::from_str(&peer.ip().to_canonical().to_string()).ok()) {
        lines.push((HeaderName::from_static("x-forwarded-for"), peer));
    }
    let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = authority.or_else(|| parts.headers.get(HOST).cloned()) {
        lines.push((HeaderName::from_static("x-forwarded-host"), host));
    }
    lines
}
