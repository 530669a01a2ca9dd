//! `GET /api/state/{ctx}`, answered for SuperOffice: clients that ask before they call, as its best practices want, stay here.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};
use serde_json::Value;

use super::Tenant;
use super::account::Payload;
use super::error::ProxyError;
use crate::body::full;

/// The state as SuperOffice tells it, but that the tenant lives at `home`, where the caller reaches it here.
pub(super) async fn answer(tenant: &Tenant, method: &Method, home: &str) -> Result<Response<Payload>, ProxyError> {
    if method != Method::GET && method != Method::HEAD {
        return Err(ProxyError::MethodNotAllowed("GET, HEAD"));
    }
    let standing = tenant.keeper.state().await;
    let state = standing.as_ref().and_then(|standing| standing.state.as_ref());
    let state = state.ok_or_else(|| ProxyError::TenantAddressUnknown(tenant.keeper.retry_after()))?;
    let mut document = state.document.clone();
    for (name, value) in &mut document {
        let told = value.as_str().is_some_and(|told| !told.is_empty());
        if told && name.eq_ignore_ascii_case("Endpoint") {
            *value = Value::from(home);
        } else if told && name.eq_ignore_ascii_case("Api") {
            *value = Value::from(format!("{home}/api"));
        }
    }
    let mut response = Response::new(Payload::Own(full(Value::Object(document).to_string())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
