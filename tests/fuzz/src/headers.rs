//! Headers on the way in and out: nothing foreign survives, what is end-to-end stays byte for byte, twice is once.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::Version;
use jiff::Timestamp;
use soproxy::clock::Clock;
use soproxy::proxy::headers;
use soproxy::ticket::Ticket;

use super::support::knobs;

/// Lines of `name: value`.
pub fn check(data: &[u8]) {
    let ([version], text) = knobs(data);
    let version = [Version::HTTP_11, Version::HTTP_2, Version::HTTP_10][usize::from(version % 3)];
    let came: HeaderMap = text.split(|&byte| byte == b'\n').filter_map(line).collect();
    request(&came, version);
    answer(&came, version);
    trailers(&came);
    other(&came);
}

fn line(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

/// As IIS reads a name.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// What a caller must not say in any spelling.
fn is_ours(name: &str) -> bool {
    let name = folded(name);
    ["host", "forwarded", "so-apptoken", "authorization", "x-rewrite-url", "x-original-url"].contains(&&*name) || name.starts_with("x-forwarded-")
}

fn is_hop(name: &str) -> bool {
    const HOPS: [&str; 8] =
        ["connection", "te", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding", "proxy-authenticate", "proxy-authorization"];
    HOPS.contains(&name)
}

/// Whether `Connection` names it.
fn is_named(came: &HeaderMap, name: &str) -> bool {
    came.get_all("connection").iter().any(|value| {
        String::from_utf8_lossy(value.as_bytes()).split(',').any(|named| named.trim_matches([' ', '\t']).eq_ignore_ascii_case(name))
    })
}

fn is_session(cookie: &[u8]) -> bool {
    let cookie = String::from_utf8_lossy(cookie).trim().to_ascii_lowercase();
    let name = cookie.split('=').next().unwrap_or_default().trim();
    name == "soonline" || name.starts_with("arraffinity")
}

fn all<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h HeaderValue> {
    headers.get_all(name).iter().collect()
}

fn request(came: &HeaderMap, version: Version) {
    let mut went = came.clone();
    headers::strip(&mut went);
    for name in went.keys() {
        assert!(!is_ours(name.as_str()), "{name} survives");
        assert!(*name == "te" || !is_hop(name.as_str()), "{name} survives");
        assert!(*name == "te" || !is_named(came, name.as_str()), "{name} survives, which Connection names");
    }
    let te = all(&went, &HeaderName::from_static("te"));
    assert!(te.is_empty() || te == ["trailers"], "{te:?}");
    for cookie in went.get_all("cookie").iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';')) {
        assert!(!is_session(cookie), "a session cookie survives");
    }
    for name in came.keys().filter(|name| !is_ours(name.as_str()) && !is_hop(name.as_str()) && !is_named(came, name.as_str())) {
        if *name == "cookie" {
            cookies(came, &went);
        } else {
            assert_eq!(all(&went, name), all(came, name), "{name} changed");
        }
    }
    let mut twice = went.clone();
    headers::strip(&mut twice);
    assert_eq!(twice, went, "stripped twice is not stripped once");

    let (clock, _) = Clock::manual(Timestamp::UNIX_EPOCH);
    let ours = HeaderValue::from_static("SOTicket 7T:ours");
    let secret = HeaderValue::from_static("our-secret");
    let (authorization, app_token) = (ours.clone(), secret.clone());
    let ticket = Ticket { authorization, app_token, generation: 1, issued: clock.now(), after_refusal: false };
    headers::inject(&mut went, version, &ticket);
    let called = |wanted: &str| went.iter().filter(|(name, _)| folded(name.as_str()) == wanted).map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(called("authorization"), [&ours]);
    assert_eq!(called("so-apptoken"), [&secret]);
    assert_eq!(went.get(AUTHORIZATION), Some(&ours));
}

/// The cookies that are not SuperOffice's own, in their order.
fn cookies(came: &HeaderMap, went: &HeaderMap) {
    let kept = |headers: &HeaderMap| -> Vec<Vec<u8>> {
        let lines = headers.get_all("cookie").iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
        lines.filter(|cookie| !is_session(cookie)).map(|cookie| cookie.trim_ascii().to_vec()).filter(|cookie| !cookie.is_empty()).collect()
    };
    assert_eq!(kept(went), kept(came), "other cookies changed");
    let dirty = came.get_all("cookie").iter().any(|line| line.as_bytes().split(|&byte| byte == b';').any(is_session));
    if !dirty {
        assert_eq!(all(went, &http::header::COOKIE), all(came, &http::header::COOKIE));
    }
}

fn answer(came: &HeaderMap, version: Version) {
    let mut went = came.clone();
    headers::scrub(&mut went, version);
    for name in went.keys() {
        assert!(!is_hop(name.as_str()), "{name} survives");
        assert!(*name == "via" || !is_named(came, name.as_str()), "{name} survives, which Connection names");
        assert!(*name != "x-soproxy-error" && *name != "alt-svc", "{name} survives");
    }
    assert!(!went.get_all("set-cookie").iter().any(|cookie| is_session(cookie.as_bytes())), "a session cookie survives");
    assert!(went.get_all("via").iter().next_back().is_some_and(|via| via.as_bytes().ends_with(b" soproxy")));
    let end_to_end = |name: &&HeaderName| !is_hop(name.as_str()) && !is_named(came, name.as_str()) && !["via", "x-soproxy-error", "alt-svc"].contains(&name.as_str());
    for name in came.keys().filter(end_to_end) {
        let kept: Vec<&HeaderValue> = all(came, name).into_iter().filter(|value| *name != "set-cookie" || !is_session(value.as_bytes())).collect();
        assert_eq!(all(&went, name), kept, "{name} changed");
    }
    let mut twice = went.clone();
    headers::scrub(&mut twice, version);
    twice.remove("via");
    went.remove("via");
    assert_eq!(twice, went, "scrubbed twice is not scrubbed once");
}

fn trailers(came: &HeaderMap) {
    let mut went = came.clone();
    headers::scrub_trailers(&mut went);
    for name in went.keys() {
        assert!(!is_ours(name.as_str()) && !is_hop(name.as_str()) && !name.as_str().starts_with("content-"), "{name} survives in trailers");
        assert!(!["trailer", "set-cookie", "cookie", "via", "x-request-id", "x-soproxy-error"].contains(&name.as_str()), "{name} survives in trailers");
        assert_eq!(all(&went, name), all(came, name), "{name} changed");
    }
}

fn other(came: &HeaderMap) {
    if let Some(protocol) = headers::upgrade(came) {
        let protocol = String::from_utf8_lossy(protocol.as_bytes()).to_ascii_lowercase();
        assert!(!protocol.split(',').any(|name| ["h2", "http", "tls"].iter().any(|bad| name.trim().starts_with(bad))), "{protocol}");
        assert!(is_named(came, "upgrade"), "an upgrade that nobody asked for");
    }
    let codings = all(came, &http::header::TRANSFER_ENCODING);
    if headers::is_plainly_chunked(came) && !codings.is_empty() {
        assert!(codings.len() == 1 && codings[0].as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    }
    for length in [None, Some(7)] {
        let mut settled = came.clone();
        headers::settle_length(&mut settled, length);
        let claimed: Vec<&[u8]> = settled.get_all("content-length").iter().map(HeaderValue::as_bytes).collect();
        assert!(claimed.len() <= usize::from(length.is_some()));
        assert!(claimed.iter().all(|claimed| !claimed.is_empty() && claimed.iter().all(u8::is_ascii_digit)), "{claimed:?}");
    }
    let mut joined = came.clone();
    headers::join_cookies(&mut joined);
    assert!(all(&joined, &http::header::COOKIE).len() <= 1 || all(came, &http::header::COOKIE) == all(&joined, &http::header::COOKIE));
}
