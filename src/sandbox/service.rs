//! `/{ctx}/CS/…`: SuperOffice Service, where CRMScripts answer, such as `/Cust12345/CS/scripts/customer.fcgi?action=safeParse`.
//!
//! Assumptions, because little was found: Service takes the same credentials as the API, and stands behind the same door (421, 503,
//! 401). Every path is a script, and what a script says is the echo of the call, with its own absolute address.

use http::Request;

use super::echo;
use super::present::{self, Wishes};
use super::reply::{Reply, ReplyBody};
use super::webapi::{self, Call};
use super::{Sandbox, door, place};

/// `path` is `[ctx, "CS", …]`, decoded.
pub(super) async fn handle(sandbox: &Sandbox, path: &[String], request: Request<ReplyBody>) -> Reply {
    let Some((index, tenant)) = sandbox.tenant(&path[0]) else { return sandbox.not_found(request.uri()) };
    webapi::arrived(sandbox).await;
    let wishes = Wishes::of(request.headers(), &sandbox.control().faults());
    let refused = door::turned_away(sandbox, tenant, &request).or_else(|| door::unauthorized(sandbox, index, request.headers()));
    let mut reply = match refused {
        Some(reply) => reply,
        None => {
            let (head, body) = request.into_parts();
            let service = format!("{}/{}/CS", place::of_links(sandbox, tenant), tenant.context);
            let rest: String = path[2..].iter().map(|segment| format!("/{segment}")).collect();
            let call = Call { sandbox, index, tenant, api: service.clone(), head };
            let extra = [("Action", call.query().get("action").into()), ("Self", format!("{service}{rest}").into())];
            echo::handle(&call, body, extra).await
        }
    };
    reply = present::finish(reply, &wishes).await;
    webapi::dress(&mut reply);
    reply
}
