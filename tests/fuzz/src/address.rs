//! Where callers say that they reach us (`Host`, `X-Forwarded-*`), and which tenant a path means.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Request};
use soproxy::proxy::address::{Ends, Front, Network};
use soproxy::proxy::route::{Found, Route, Routes, Way};
use soproxy::proxy::target;
use soproxy::superoffice::origin::BaseUrl;

use super::support::knobs;

/// A knob, then lines: path, `Host`, `X-Forwarded-Host`, `-Proto`, `-Prefix`; the path is a network's text, too.
pub fn check(data: &[u8]) {
    let ([knob], text) = knobs(data);
    let mut lines = text.split(|&byte| byte == b'\n');
    let path = lines.next().unwrap_or_default();
    let names = ["host", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix"];
    let headers = names.iter().zip(lines).filter_map(|(name, line)| Some((HeaderName::from_static(name), HeaderValue::from_bytes(line.trim_ascii()).ok()?)));
    let headers: Vec<(HeaderName, HeaderValue)> = headers.collect();
    let Ok(path) = std::str::from_utf8(path) else { return };
    network(path);
    let Ok(mut request) = Request::get(path).body(()) else { return };
    request.headers_mut().extend(headers);
    let trusted = knob & 1 != 0;
    let front = Front {
        trusted_proxies: if trusted { vec!["10.0.0.0/8".parse().expect("a network")] } else { Vec::new() },
        default_tenant: (knob & 2 != 0).then(|| "acme".to_owned()),
        ..Front::default()
    };
    let routes = Routes::new([("Cust12345".to_owned(), "Cust12345"), ("acme".to_owned(), "acme")]);
    let routes = routes.known_as([("Cust12345", "Cust12345"), ("acme", "Cust777")]).carrying(&["CS".to_owned()]).by_default(front.default_tenant.as_deref());
    let (parts, ()) = request.into_parts();
    let (door, host) = (knob & 4 != 0, knob & 8 != 0);
    let found = routes.find(parts.uri.path(), door.then_some("acme"), host.then_some("Cust12345"));
    let (tenant, way) = match found {
        Ok(Found::Carried(matched)) => {
            assert!(!(door && host), "a listener's own tenant was left");
            let path = parts.uri.path();
            assert!(path.ends_with(matched.rest) && (matched.rest.is_empty() || matched.rest.starts_with('/')), "{path}: {}", matched.rest);
            let named = path.to_ascii_lowercase();
            let expected = if door || (!host && matched.way == Way::Default) { "acme" } else if host { "Cust12345" } else { matched.tenant };
            assert_eq!(*matched.tenant, expected);
            if let Way::Path(segment) = matched.way {
                assert!(segment.eq_ignore_ascii_case(matched.tenant), "{segment} is not {}", matched.tenant);
                assert!(named.starts_with(&format!("/{}/", matched.tenant.to_ascii_lowercase())), "{path}");
            }
            let before = &path[..path.len() - matched.rest.len()];
            let last = before.rsplit('/').next().unwrap_or_default();
            let is = |route: &str| last.eq_ignore_ascii_case(route);
            assert!(match matched.route { Route::Api => is("api"), Route::Soap(_) => is("remote"), Route::Further(_) => is("CS") }, "{path}");
            if target::check(path).is_ok() {
                sent_upstream(matched.rest, parts.uri.query());
            }
            (*matched.tenant, matched.way)
        }
        Ok(Found::State { tenant, way }) => (*tenant, way),
        Err(_) => ("acme", Way::Default),
    };
    let peer: SocketAddr = if knob & 16 != 0 { "10.1.2.3:1" } else { "192.0.2.1:1" }.parse().expect("an address");
    let ends = Ends { peer: (knob & 32 == 0).then_some(peer), local: Some("127.0.0.1:8080".parse().expect("an address")), tls: knob & 64 != 0, listener: 0 };
    let address = front.address(&parts, ends, tenant, way);
    let believed = trusted && knob & 16 != 0 && knob & 32 == 0;
    for one in [address.ours()].iter().chain(&address.aliases()).chain(&address.shared_aliases()) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b':' | b'/' | b'[' | b']');
        assert!(one.bytes().all(plain), "{one} means something else in JSON or XML");
        assert!(one.starts_with("http://") || one.starts_with("https://"), "{one}");
        let path = one.splitn(4, '/').nth(3).unwrap_or_default();
        assert!(path.split('/').all(|segment| segment != ".."), "{one}");
    }
    let mut bare = parts.clone();
    ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix"].iter().for_each(|name| _ = bare.headers.remove(*name));
    let without = front.address(&bare, ends, tenant, way);
    assert!(believed || address.ours() == without.ours(), "a stranger was believed");
}

/// What goes upstream is the base and what followed, byte for byte.
fn sent_upstream(rest: &str, query: Option<&str>) {
    let base: BaseUrl = "https://online2.superoffice.com/Cust12345/api".parse().expect("a base");
    let Ok(uri) = target::upstream_uri(&base, rest, query) else { return };
    assert_eq!((uri.host(), uri.scheme_str()), (Some("online2.superoffice.com"), Some("https")));
    assert_eq!(uri.path(), format!("/Cust12345/api{rest}"));
    assert_eq!(uri.query(), query);
}

fn network(text: &str) {
    let Ok(network) = text.parse::<Network>() else { return };
    let (address, prefix) = text.split_once('/').unwrap_or((text, "x"));
    let address = address.parse().expect("an address");
    assert!(network.contains(address), "{text} does not hold {address}");
    if prefix == "0" {
        let other = if address.is_ipv4() { "198.51.100.1" } else { "2001:db8::1" };
        assert!(network.contains(other.parse().expect("an address")), "{text}");
    }
}
