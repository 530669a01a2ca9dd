//! `/api/state/{ctx}`: where a tenant is and whether it runs. No credential. Protocol §6.5.

use http::{Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::faults::TenantState;
use super::reply::{self, Reply, ReplyBody};
use super::{Sandbox, place};

/// NetServer's version, wherever it shows.
pub(super) const RELEASE: &str = "Release_11.10_2026.02.24-02";

/// `asked` is the identifier as it was written.
pub(super) async fn handle(sandbox: &Sandbox, context: &str, asked: &str, request: Request<ReplyBody>) -> Reply {
    if request.method() != Method::GET {
        return reply::wrong_method(request.method());
    }
    let known = sandbox.tenant(context).map(|(_, tenant)| tenant);
    let name = known.map_or("unknown", |tenant| tenant.context.as_str());
    sandbox.control().count(|counters| {
        counters.state += 1;
        *counters.states.entry(name.to_owned()).or_default() += 1;
    });
    let slow = sandbox.control().faults().state_slow;
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    // What is true when the answer is made, not what was true when it was asked for.
    let faults = sandbox.control().faults();
    if faults.state_down {
        return reply::close();
    }
    if faults.state_garbled {
        return reply::html(StatusCode::OK, "SuperOffice", "We are making some improvements. Please try again later.");
    }
    let valid_until = seven_digits(sandbox.now().checked_add(faults.valid_for).unwrap_or_else(|_| sandbox.now()));
    let Some(tenant) = known else {
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
    let endpoint = format!("{}/{}", place::of(sandbox, tenant), tenant.context);
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

/// As .NET writes it, with seven fraction digits.
fn seven_digits(at: Timestamp) -> String {
    format!("{}.{:07}Z", at.strftime("%Y-%m-%dT%H:%M:%S"), at.subsec_nanosecond().max(0) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_seven_fraction_digits() {
        let at: Timestamp = "2026-02-23T09:52:01.0342965Z".parse().unwrap();
        assert_eq!(seven_digits(at), "2026-02-23T09:52:01.0342965Z");
    }
}
