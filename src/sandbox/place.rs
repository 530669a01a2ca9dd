//! Where a tenant is: the origin of its host, who asked for another one, and what its links name. Protocol §6.5.
//!
//! Assumption, because only its text was found: the body of a 421 is ASP.NET's `Message`.

use http::{Request, StatusCode};

use super::reply::{self, Reply};
use super::{Sandbox, Tenant};

/// The origin at which a tenant is now.
pub(super) fn of(sandbox: &Sandbox, tenant: &Tenant) -> String {
    match sandbox.control().faults().moved_to(&tenant.context) {
        None | Some(Some("home")) => sandbox.base().to_owned(),
        Some(Some(to)) => to.trim_end_matches('/').to_owned(),
        Some(None) => sandbox.other_base(),
    }
}

/// What stands in front of `/Cust12345` in the tenant's links.
pub(super) fn of_links(sandbox: &Sandbox, tenant: &Tenant) -> String {
    let old = sandbox.control().faults().old_links_of(&tenant.context).map(str::to_owned);
    old.unwrap_or_else(|| of(sandbox, tenant))
}

/// The 421 for a request that is addressed to another host than the tenant's. A tenant that never moved is at every name that
/// leads here: what the sandbox is called by others is not known to it.
pub(super) fn misdirected<B>(sandbox: &Sandbox, tenant: &Tenant, request: &Request<B>) -> Option<Reply> {
    sandbox.control().faults().moved_to(&tenant.context)?;
    if is_addressed_to(request, &of(sandbox, tenant)) {
        return None;
    }
    sandbox.control().count(|counters| counters.misdirected += 1);
    Some(reply::aspnet(StatusCode::MISDIRECTED_REQUEST, "Wrong subdomain used to access tenant"))
}

/// The request's authority (HTTP/2, absolute form), else its `Host`, is that of `place`.
fn is_addressed_to<B>(request: &Request<B>, place: &str) -> bool {
    let host = || request.headers().get("host").and_then(|host| host.to_str().ok());
    let asked = request.uri().authority().map(|authority| authority.as_str()).or_else(host).unwrap_or_default();
    let default_port = if place.starts_with("https:") { ":443" } else { ":80" };
    let bare = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    bare(asked) == bare(authority(place))
}

/// `host:port` of an origin.
pub(super) fn authority(origin: &str) -> &str {
    origin.split_once("//").map_or(origin, |(_, rest)| rest).split('/').next().unwrap_or_default()
}

/// The same port of this machine by its other name.
pub(super) fn other_name(base: &str) -> String {
    let port = base.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let host = if base.contains("//localhost") { "127.0.0.1" } else { "localhost" };
    port.map_or_else(|| format!("http://{host}"), |port| format!("http://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_name_of_this_machine() {
        for (base, other) in [
            ("http://127.0.0.1:8090", "http://localhost:8090"),
            ("http://[::1]:8090", "http://localhost:8090"),
            ("http://localhost:8090", "http://127.0.0.1:8090"),
            ("http://sandbox", "http://localhost"),
        ] {
            assert_eq!(other_name(base), other);
        }
    }

    #[test]
    fn the_authority_decides_and_a_default_port_may_be_left_out() {
        let addressed =
            |uri: &str, host: &str, place: &str| is_addressed_to(&Request::get(uri).header("host", host).body(()).unwrap(), place);
        assert!(addressed("/x", "localhost:8090", "http://LOCALHOST:8090"));
        assert!(addressed("/x", "a.example:80", "http://a.example"));
        assert!(addressed("/x", "a.example", "https://a.example:443"));
        assert!(addressed("http://a.example/x", "b.example", "http://a.example"));
        assert!(!addressed("http://a.example/x", "b.example", "http://b.example"));
        assert!(!addressed("/x", "a.example:443", "http://a.example"));
        assert!(!addressed("/x", "localhost", "http://localhost:8090"));
    }
}
