//! `/api/state/{ctx}`: where a tenant is and whether it runs. No credential. Protocol §6.5.

use http::{Method, Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::faults::TenantState;
use super::reply::{self, Reply, ReplyBody};
use super::{Sandbox, Tenant};

/// NetServer's version, wherever it shows.
pub(super) const RELEASE: &str = "Release_11.10_2026.02.24-02";

/// `asked` is the identifier as it was written.
pub(super) async fn handle(sandbox: &Sandbox, context: &str, asked: &str, request: Request<ReplyBody>) -> Reply {
    if request.method() != Method::GET {
        return reply::wrong_method(request.method());
    }
    sandbox.control().count(|counters| counters.state += 1);
    let faults = sandbox.control().faults();
    if faults.state_down {
        return reply::close();
    }
    let valid_until = seven_digits(sandbox.now().checked_add(SignedDuration::from_mins(10)).unwrap_or_else(|_| sandbox.now()));
    let Some((_, tenant)) = sandbox.tenant(context) else {
        // Assumption: 200 with State Unknown; the state is documented, the status for it was not found.
        let body = json!({
            "ContextIdentifier": asked,
            "Endpoint": "",
            "State": TenantState::Unknown,
            "IsRunning": false,
            "ValidUntil": valid_until,
            "Api": "",
            "Version": "",
        });
        return reply::json(StatusCode::OK, &body);
    };
    let state = faults.state_of(&tenant.context);
    let endpoint = format!("{}/{}", place(sandbox, tenant), tenant.context);
    let body = json!({
        "ContextIdentifier": tenant.context,
        "Endpoint": endpoint,
        "State": state,
        "IsRunning": state.is_running(),
        "ValidUntil": valid_until,
        "Api": format!("{endpoint}/api"),
        "Version": RELEASE,
    });
    reply::json(StatusCode::OK, &body)
}

/// The origin at which a tenant lives now.
pub(super) fn place(sandbox: &Sandbox, tenant: &Tenant) -> String {
    match sandbox.control().faults().moved_to(&tenant.context) {
        None => sandbox.base().to_owned(),
        Some(Some(to)) => to.trim_end_matches('/').to_owned(),
        Some(None) => other_name(sandbox.base()),
    }
}

/// The same port of this machine by its other name.
fn other_name(base: &str) -> String {
    let port = base.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let host = if base.contains("//localhost") { "127.0.0.1" } else { "localhost" };
    port.map_or_else(|| format!("http://{host}"), |port| format!("http://{host}:{port}"))
}

/// As .NET writes it, with seven fraction digits.
fn seven_digits(at: Timestamp) -> String {
    format!("{}.{:07}Z", at.strftime("%Y-%m-%dT%H:%M:%S"), at.subsec_nanosecond().max(0) / 100)
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
    fn times_have_seven_fraction_digits() {
        let at: Timestamp = "2026-02-23T09:52:01.0342965Z".parse().unwrap();
        assert_eq!(seven_digits(at), "2026-02-23T09:52:01.0342965Z");
    }
}
