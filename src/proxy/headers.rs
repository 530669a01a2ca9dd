//! Header policy: what is stripped from a request, injected into it, and scrubbed from an answer.
//!
//! The order is the security argument: strip what the caller sent (so that it can neither be merged with ours nor, by
//! `Connection: authorization`, make ours disappear), and inject last.

mod leaks;

use http::Version;
use http::header::{
    ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};

pub use self::leaks::take as take_leaks;
use super::error::ERROR_HEADER;
use crate::ticket::Ticket;

/// Names a request in the log and to its caller.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Carries the client secret. Protocol §6.1.
pub const SO_APP_TOKEN: HeaderName = HeaderName::from_static("so-apptoken");

/// What a header means for one hop or for us; most mean nothing, and are told by their length alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Goes on.
    EndToEnd,
    /// Hop-by-hop (RFC 9110 §7.6.1), with those that only proxies ever made up. `Trailer` is not one of them: it announces
    /// what comes after the body, end to end.
    Hop,
    /// Names further hop-by-hop headers.
    Connection,
    /// What a caller must not say: ours alone, or about the way it came.
    Ours,
}

fn kind(name: &str) -> Kind {
    match name {
        "connection" => Kind::Connection,
        "te" | "upgrade" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "proxy-authenticate" | "proxy-authorization" => {
            Kind::Hop
        }
        "host" | "forwarded" | "so-apptoken" | "authorization" | "x-api-key" | "x-rewrite-url" | "x-original-url" => Kind::Ours,
        _ if name.starts_with("x-forwarded-") => Kind::Ours,
        // IIS folds `_` and `-`, so `SO_AppToken` would shadow ours.
        _ if name.contains('_') => match kind(&name.replace('_', "-")) {
            Kind::Ours => Kind::Ours,
            _ => Kind::EndToEnd,
        },
        _ => Kind::EndToEnd,
    }
}

/// Removes from a request what does not go upstream: hop-by-hop headers, the caller's own credentials in any spelling,
/// SuperOffice's session cookies, `Host` (the client sets upstream's), what claims to come from proxies before us, and the
/// headers by which add-ons of IIS take another path than the one in the request line.
pub fn strip(headers: &mut HeaderMap) {
    if remove(headers, |kind| kind != Kind::EndToEnd) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    filter_cookies(headers);
}

/// Sets what goes upstream with every request: the ticket, the client secret, and our line in `Via`.
pub fn inject(headers: &mut HeaderMap, version: Version, ticket: &Ticket) {
    add_via(headers, version);
    headers.insert(AUTHORIZATION, ticket.authorization.clone());
    headers.insert(SO_APP_TOKEN, ticket.app_token.clone());
}

/// Removes from an answer what does not go to the caller: hop-by-hop headers, SuperOffice's session cookies (they belong to
/// the proxy's session, which all callers share), advice to use another server, and an error name that only we may give.
pub fn scrub(headers: &mut HeaderMap, version: Version) {
    remove(headers, |kind| matches!(kind, Kind::Hop | Kind::Connection));
    headers.remove(ERROR_HEADER);
    headers.remove(ALT_SVC);
    if let Entry::Occupied(cookies) = headers.entry(SET_COOKIE) {
        let kept: Vec<HeaderValue> = cookies.iter().filter(|value| !is_session_cookie(value.as_bytes())).cloned().collect();
        cookies.remove_entry_mult().1.for_each(drop);
        for value in kept {
            headers.append(SET_COOKIE, value);
        }
    }
    add_via(headers, version);
}

/// HTTP/2 callers may split `Cookie` into lines; HTTP/1.1 has room for one. RFC 9113 §8.2.3.
pub fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Takes out what `unwanted` says, and what `Connection` names. Whether `TE: trailers` was among it.
fn remove(headers: &mut HeaderMap, unwanted: fn(Kind) -> bool) -> bool {
    // One pass over the names, most of which are wanted; no more names are removed at once than fit here.
    let mut found: [Option<HeaderName>; 8] = Default::default();
    let mut trailers = false;
    loop {
        let (mut count, mut connection) = (0, false);
        for name in headers.keys() {
            let kind = kind(name.as_str());
            if kind != Kind::EndToEnd && unwanted(kind) && count < found.len() {
                connection |= kind == Kind::Connection;
                trailers |= *name == TE && headers.get_all(TE).iter().any(wants_trailers);
                found[count] = Some(name.clone());
                count += 1;
            }
        }
        if connection {
            remove_named(headers);
        }
        for name in found[..count].iter_mut().filter_map(Option::take) {
            headers.remove(name);
        }
        if count < found.len() {
            return trailers;
        }
    }
}

/// Takes out what `Connection` names.
fn remove_named(headers: &mut HeaderMap) {
    let ordinary =
        |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close");
    if headers.get_all(CONNECTION).iter().all(ordinary) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // `TE` is named wherever it is sent, and stays when it says trailers.
        .filter(|name| *name != TE)
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// The protocol that a request asks to go on with, RFC 9110 §7.8. Never `h2c`: behind that, requests would pass unseen.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let (protocol, None) = (protocols.next()?, protocols.next()) else { return None };
    let is_upgrade = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"upgrade");
    let asked = headers.get_all(CONNECTION).iter().any(|value| value.as_bytes().split(|&byte| byte == b',').any(is_upgrade));
    let http = |name: &[u8]| {
        let name = name.trim_ascii().to_ascii_lowercase();
        name.starts_with(b"h2") || name.starts_with(b"http") || name.starts_with(b"tls")
    };
    (asked && !protocol.as_bytes().split(|&byte| byte == b',').any(http)).then(|| protocol.clone())
}

/// Whether a body, if there is one, came as it was meant: in chunks and in no other transfer coding, once. RFC 9112 §6.1.
pub fn is_plainly_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Leaves one length to an answer whose body is of this length, or none when that is not known: a length beside
/// `Transfer-Encoding` is not the body's, and several that agree are one. RFC 9112 §6.3.
pub fn settle_length(headers: &mut HeaderMap, length: Option<u64>) {
    let Entry::Occupied(mut claimed) = headers.entry(CONTENT_LENGTH) else { return };
    match length {
        None => _ = claimed.remove_entry_mult(),
        Some(length) => {
            let mut values = claimed.iter();
            let digits = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
            let plain = values.next().is_some_and(digits) && values.next().is_none();
            if !plain {
                claimed.insert(HeaderValue::from(length));
            }
        }
    }
}

/// Removes from trailers what is not theirs to say: framing, routing, credentials. RFC 9110 §6.5.1.
pub fn scrub_trailers(trailers: &mut HeaderMap) {
    const OTHERS: [HeaderName; 8] = [TRAILER, SET_COOKIE, COOKIE, VIA, ALT_SVC, RETRY_AFTER, ERROR_HEADER, REQUEST_ID];
    let theirs =
        |name: &HeaderName| kind(name.as_str()) == Kind::EndToEnd && !name.as_str().starts_with("content-") && !OTHERS.contains(name);
    let unwanted: Vec<HeaderName> = trailers.keys().filter(|name| !theirs(name)).cloned().collect();
    for name in unwanted {
        trailers.remove(name);
    }
}

fn wants_trailers(te: &HeaderValue) -> bool {
    te.as_bytes().split(|&byte| byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// `version` is that of the message as it was received. RFC 9110 §7.6.3.
/// Our line in `Via`.
pub fn add_via(headers: &mut HeaderMap, version: Version) {
    let line = match version {
        Version::HTTP_2 => "2.0 soproxy",
        Version::HTTP_11 => "1.1 soproxy",
        _ => "1.0 soproxy",
    };
    headers.append(VIA, HeaderValue::from_static(line));
}

/// Whether a cookie (`name=…`) is one of SuperOffice's own: `SOOnline`, `ARRAffinity`, `ARRAffinitySameSite`. Protocol §6.7.
fn is_session_cookie(cookie: &[u8]) -> bool {
    let name = cookie.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
    let is_affinity = name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case(b"ARRAffinity"));
    is_affinity || name.eq_ignore_ascii_case(b"SOOnline")
}

/// Takes SuperOffice's own cookies out of `Cookie` lines; the others keep their bytes.
fn filter_cookies(headers: &mut HeaderMap) {
    let dirty = |value: &HeaderValue| value.as_bytes().split(|&byte| byte == b';').any(is_session_cookie);
    if !headers.get_all(COOKIE).iter().any(dirty) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let kept: Vec<&[u8]> = line.as_bytes().split(|&byte| byte == b';').filter(|cookie| !is_session_cookie(cookie)).collect();
        let line = kept.join(&b';');
        if let Ok(value) = HeaderValue::from_bytes(line.trim_ascii())
            && !value.is_empty()
        {
            headers.append(COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn list(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_callers_credentials_are_stripped_in_any_spelling() {
        let mut headers = map(&[
            ("Authorization", "Basic x"),
            ("SO-AppToken", "y"),
            ("SO_AppToken", "z"),
            ("X-Api-Key", "k"),
            ("X_API_KEY", "k"),
            ("so_apptoken", "z"),
            ("Proxy-Authorization", "q"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X_Forwarded_Host", "evil"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Original-URL", "/Cust99999/api/v1/x"),
            ("X_Rewrite_URL", "/Cust99999/api/v1/x"),
            ("Host", "localhost"),
            ("SO-Language", "en"),
            ("Accept", "a"),
            ("Accept", "b"),
        ]);
        strip(&mut headers);
        let mut left = list(&headers);
        left.sort();
        assert_eq!(left, [("accept", "a"), ("accept", "b"), ("so-language", "en")]);
    }

    #[test]
    fn connection_cannot_remove_what_we_inject() {
        let mut headers = map(&[
            ("Connection", "close, authorization, X-Mine, so-apptoken"),
            ("Connection", "via"),
            ("X-Mine", "1"),
            ("Keep-Alive", "5"),
            ("TE", "gzip, Trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
        ]);
        strip(&mut headers);
        let (clock, _) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let (authorization, app_token) = (HeaderValue::from_static("SOTicket 7T:abc"), HeaderValue::from_static("secret"));
        let ticket = Ticket { authorization, app_token, generation: 1, issued: clock.now(), after_refusal: false };
        inject(&mut headers, Version::HTTP_11, &ticket);
        assert_eq!(
            list(&headers),
            [("te", "trailers"), ("via", "1.1 soproxy"), ("authorization", "SOTicket 7T:abc"), ("so-apptoken", "secret")]
        );
    }

    #[test]
    fn session_cookies_pass_in_neither_direction() {
        let mut headers = map(&[
            ("Cookie", "a=1; SOOnline=x; b=\"2;\"; ARRAffinity=y; ARRAffinitySameSite=z"),
            ("Cookie", "SOOnline=1"),
            ("Cookie", "SOOnlineX=1"),
        ]);
        strip(&mut headers);
        assert_eq!(list(&headers), [("cookie", "a=1; b=\"2;\""), ("cookie", "SOOnlineX=1")]);

        let mut headers = map(&[
            ("Set-Cookie", "SOOnline=x; path=/; HttpOnly"),
            ("Set-Cookie", "mine=SOOnline=; path=/"),
            ("Set-Cookie", "ARRAffinity=q;Path=/;Domain=sod.superoffice.com"),
            ("Set-Cookie", "other=2"),
            ("X-Soproxy-Error", "unknown_tenant"),
            ("Connection", "X-Hop"),
            ("X-Hop", "1"),
            ("Via", "1.0 arr"),
        ]);
        scrub(&mut headers, Version::HTTP_10);
        assert_eq!(
            list(&headers),
            [("via", "1.0 arr"), ("via", "1.0 soproxy"), ("set-cookie", "mine=SOOnline=; path=/"), ("set-cookie", "other=2")]
        );
    }

    #[test]
    fn split_cookies_are_joined() {
        let mut headers = map(&[("Cookie", "a=1"), ("Accept", "x"), ("Cookie", "b=2; c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_clean_request_keeps_every_header() {
        let lines = [("accept", "*/*"), ("cookie", "a=1;  b=2"), ("x-request-id", "7"), ("accept-encoding", "gzip")];
        let mut headers = map(&lines);
        strip(&mut headers);
        assert_eq!(list(&headers), lines);
    }
}
