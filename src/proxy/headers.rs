//! Header policy: what is stripped from a request, injected into it, and scrubbed from an answer.
//!
//! The order is the security argument: strip what the caller sent (so that it can neither be merged with ours nor, by
//! `Connection: authorization`, make ours disappear), and inject last.

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, Entry, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, TE, VIA};

use super::error::ERROR_HEADER;
use crate::ticket::Ticket;

/// Carries the client secret. Protocol §6.1.
pub const SO_APP_TOKEN: HeaderName = HeaderName::from_static("so-apptoken");

/// Hop-by-hop headers (RFC 9110 §7.6.1), with those that only proxies ever made up.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Removes from a request what does not go upstream: hop-by-hop headers, the caller's own credentials in any spelling,
/// SuperOffice's session cookies, `Host` (the client sets upstream's), what claims to come from proxies before us, and the
/// headers by which add-ons of IIS take another path than the one in the request line.
pub fn strip(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // IIS folds `_` and `-`, so `SO_AppToken` would shadow ours.
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| is_ours_alone(name.as_str())).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
    filter_cookies(headers);
}

fn is_ours_alone(name: &str) -> bool {
    if name.contains('_') {
        return is_ours_alone(&name.replace('_', "-"));
    }
    matches!(name, "authorization" | "so-apptoken" | "host" | "forwarded" | "x-original-url" | "x-rewrite-url")
        || name.starts_with("x-forwarded-")
}

/// Sets what goes upstream with every request: the ticket, the client secret, and our line in `Via`.
pub fn inject(headers: &mut HeaderMap, ticket: &Ticket, app_token: &HeaderValue) {
    add_via(headers);
    headers.insert(AUTHORIZATION, ticket.authorization.clone());
    headers.insert(SO_APP_TOKEN, app_token.clone());
}

/// Removes from an answer what does not go to the caller: hop-by-hop headers, SuperOffice's session cookies (they belong to
/// the proxy's session, which all callers share), advice to use another server, and an error name that only we may give.
pub fn scrub(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(ERROR_HEADER);
    headers.remove("alt-svc");
    if let Entry::Occupied(cookies) = headers.entry(SET_COOKIE) {
        let kept: Vec<HeaderValue> = cookies.iter().filter(|value| !is_session_cookie(value.as_bytes())).cloned().collect();
        cookies.remove_entry_mult().1.for_each(drop);
        for value in kept {
            headers.append(SET_COOKIE, value);
        }
    }
    add_via(headers);
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

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let trailers = headers.get_all(TE).iter().any(wants_trailers);
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    for name in named {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn wants_trailers(te: &HeaderValue) -> bool {
    te.as_bytes().split(|&byte| byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn add_via(headers: &mut HeaderMap) {
    headers.append(VIA, HeaderValue::from_static("1.1 soproxy"));
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
        assert_eq!(list(&headers), [("so-language", "en"), ("accept", "a"), ("accept", "b")]);
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
        let ticket = Ticket {
            authorization: HeaderValue::from_static("SOTicket 7T:abc"),
            base: crate::superoffice::origin::UpstreamHosts::parse(["a"]).unwrap().allow("https://a/Cust1/api".parse().unwrap()).unwrap(),
            generation: 1,
            issued: clock.now(),
            after_refusal: false,
        };
        inject(&mut headers, &ticket, &HeaderValue::from_static("secret"));
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
        scrub(&mut headers);
        assert_eq!(
            list(&headers),
            [("via", "1.0 arr"), ("via", "1.1 soproxy"), ("set-cookie", "mine=SOOnline=; path=/"), ("set-cookie", "other=2")]
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
