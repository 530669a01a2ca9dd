//! The one table of the proxy's own errors: code, status, and the texts for the client.
//!
//! An answer is `application/problem+json` (RFC 9457) with `X-Soproxy-Error: <code>`, and carries the members of
//! SuperOffice's own error body (protocol §6.4) too, so that a legacy client shows something sensible.

use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::body::{Body, full};
use crate::superoffice::Outage;

/// Names the error to the client; never passed on from upstream.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("x-soproxy-error");

/// The methods that are carried, as `Allow` lists them; others that nobody has registered pass too.
pub const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// An answer of the proxy's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The request names no configured tenant, or two of them.
    #[error(
        "no such tenant here: the path starts with the context identifier of a configured tenant, /Cust12345/api/v1/…; or with /api/ where a listener, the Host or listen.default_tenant names one"
    )]
    UnknownTenant,
    /// The target is not carried, or could mean different things to us and to upstream.
    #[error("{0}")]
    BadTarget(&'static str),
    /// The target is longer than `max_uri`.
    #[error("the request's target is longer than the {0} bytes that this proxy takes")]
    UriTooLong(usize),
    /// A head that could be read in two ways.
    #[error("the request cannot be read in one way only, and is not read at all: {0}")]
    MalformedRequest(&'static str),
    /// More than `max_header_size` or `max_headers`.
    #[error("the request's head has more bytes or lines than this proxy takes")]
    HeaderTooLarge,
    /// A transfer coding that is not "chunked".
    #[error("the request's body comes in another transfer coding than chunked")]
    UnsupportedCoding,
    /// A SOAP envelope that credentials cannot be put into.
    #[error("this SOAP envelope cannot be given a ticket: {0}")]
    BadEnvelope(&'static str),
    /// CONNECT or TRACE, or anything but what is allowed here.
    #[error("this method is not taken here, only {0}; and soproxy is no forward proxy: send plain requests for /{{contextId}}/api/… to it")]
    MethodNotAllowed(&'static str),
    /// The request's body exceeds `max_body`.
    #[error("the request's body is larger than the {0} bytes that this proxy takes")]
    BodyTooLarge(u64),
    /// The caller broke off its own request's body.
    #[error("the request's body ended before it was complete")]
    BodyIncomplete,
    /// The caller's own request body stood still.
    #[error("nothing came of the request's body for {0:?}")]
    BodyTimeout(Duration),
    /// No usable ticket, and none to be had now.
    #[error("no ticket for this tenant: {reason}")]
    TicketUnavailable {
        /// Why, for the client.
        reason: String,
        /// When the next exchange is due.
        retry_after: Duration,
    },
    /// The tenant's state says that it does not run.
    #[error("{0}")]
    TenantNotRunning(Outage),
    /// The tenant's state says that it is gone.
    #[error("{0}")]
    TenantDeleted(Outage),
    /// It is not known where the tenant's web API is.
    #[error("the address of this tenant's web API is not known")]
    TenantAddressUnknown(Duration),
    /// No connection to SuperOffice's web API, or it broke before the answer.
    #[error("SuperOffice's web API cannot be reached")]
    UpstreamUnreachable,
    /// No answer in time.
    #[error("SuperOffice's web API did not answer within {0:?}")]
    UpstreamTimeout(Duration),
    /// From a browser, or for another host.
    #[error("{0}")]
    ForbiddenOrigin(String),
    /// Nobody knows this caller.
    #[error("{0}")]
    Unauthenticated(String),
    /// What this caller may do does not include it.
    #[error("this client may not do this here; the proxy's log names the rule")]
    NotAllowed,
    /// More calls than this caller may make; and when to come back.
    #[error("this client makes more calls than it may")]
    RateExceeded(Duration),
    /// A mistake of ours.
    #[error("the proxy failed; its log has a line with this request's id")]
    Internal,
    /// The proxy is being stopped.
    #[error("the proxy is shutting down")]
    ShuttingDown,
    /// More requests in flight than `max_requests`, or too long a line before the tenant; and when to come back.
    #[error("too many requests at once")]
    Overloaded(Duration),
    /// More connections than `max_connections`.
    #[error("too many connections at once")]
    TooManyConnections,
}

impl ProxyError {
    /// Every code with its status, as README lists them.
    pub const TABLE: [(&'static str, u16); 25] = [
        ("bad_target", 400),
        ("body_incomplete", 400),
        ("malformed_request", 400),
        ("client_unauthenticated", 401),
        ("forbidden_origin", 403),
        ("not_allowed", 403),
        ("unknown_tenant", 404),
        ("method_not_allowed", 405),
        ("body_timeout", 408),
        ("tenant_deleted", 410),
        ("body_too_large", 413),
        ("uri_too_long", 414),
        ("bad_envelope", 415),
        ("client_rate_exceeded", 429),
        ("header_too_large", 431),
        ("internal_error", 500),
        ("unsupported_coding", 501),
        ("upstream_unreachable", 502),
        ("overloaded", 503),
        ("shutting_down", 503),
        ("tenant_address_unknown", 503),
        ("tenant_not_running", 503),
        ("ticket_unavailable", 503),
        ("too_many_connections", 503),
        ("upstream_timeout", 504),
    ];

    /// The codes alone.
    pub const CODES: [&'static str; Self::TABLE.len()] = {
        let mut codes = [""; Self::TABLE.len()];
        let mut at = 0;
        while at < codes.len() {
            codes[at] = Self::TABLE[at].0;
            at += 1;
        }
        codes
    };

    /// What a request to a tenant that does not run gets.
    pub fn outage(outage: &Outage) -> ProxyError {
        match outage.deleted {
            true => ProxyError::TenantDeleted(outage.clone()),
            false => ProxyError::TenantNotRunning(outage.clone()),
        }
    }

    /// The code, as in `X-Soproxy-Error`.
    pub fn code(&self) -> &'static str {
        match self {
            ProxyError::UnknownTenant => "unknown_tenant",
            ProxyError::BadTarget(_) => "bad_target",
            ProxyError::UriTooLong(_) => "uri_too_long",
            ProxyError::MalformedRequest(_) => "malformed_request",
            ProxyError::HeaderTooLarge => "header_too_large",
            ProxyError::UnsupportedCoding => "unsupported_coding",
            ProxyError::BadEnvelope(_) => "bad_envelope",
            ProxyError::MethodNotAllowed(_) => "method_not_allowed",
            ProxyError::BodyTooLarge(_) => "body_too_large",
            ProxyError::BodyIncomplete => "body_incomplete",
            ProxyError::BodyTimeout(_) => "body_timeout",
            ProxyError::TicketUnavailable { .. } => "ticket_unavailable",
            ProxyError::TenantNotRunning(_) => "tenant_not_running",
            ProxyError::TenantDeleted(_) => "tenant_deleted",
            ProxyError::TenantAddressUnknown(_) => "tenant_address_unknown",
            ProxyError::UpstreamUnreachable => "upstream_unreachable",
            ProxyError::UpstreamTimeout(_) => "upstream_timeout",
            ProxyError::ForbiddenOrigin(_) => "forbidden_origin",
            ProxyError::Unauthenticated(_) => "client_unauthenticated",
            ProxyError::NotAllowed => "not_allowed",
            ProxyError::RateExceeded(_) => "client_rate_exceeded",
            ProxyError::Internal => "internal_error",
            ProxyError::ShuttingDown => "shutting_down",
            ProxyError::Overloaded(_) => "overloaded",
            ProxyError::TooManyConnections => "too_many_connections",
        }
    }

    /// The status, from the table.
    pub fn status(&self) -> StatusCode {
        let code = self.code();
        let status = ProxyError::TABLE.iter().find(|row| row.0 == code).map(|row| row.1);
        status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn title(&self) -> &'static str {
        match self {
            ProxyError::UnknownTenant => "Unknown tenant",
            ProxyError::BadTarget(_) => "Target not carried",
            ProxyError::UriTooLong(_) => "Target too long",
            ProxyError::MalformedRequest(_) => "Malformed request",
            ProxyError::HeaderTooLarge => "Head too large",
            ProxyError::UnsupportedCoding => "Transfer coding not supported",
            ProxyError::BadEnvelope(_) => "SOAP envelope not carried",
            ProxyError::MethodNotAllowed(_) => "Method not allowed",
            ProxyError::BodyTooLarge(_) => "Body too large",
            ProxyError::BodyIncomplete => "Body incomplete",
            ProxyError::BodyTimeout(_) => "Body timed out",
            ProxyError::TicketUnavailable { .. } => "No ticket",
            ProxyError::TenantNotRunning(_) => "Tenant not running",
            ProxyError::TenantDeleted(_) => "Tenant deleted",
            ProxyError::TenantAddressUnknown(_) => "Tenant's address unknown",
            ProxyError::UpstreamUnreachable => "Upstream unreachable",
            ProxyError::UpstreamTimeout(_) => "Upstream timed out",
            ProxyError::ForbiddenOrigin(_) => "Not from here",
            ProxyError::Unauthenticated(_) => "Not a known client",
            ProxyError::NotAllowed => "Not allowed",
            ProxyError::RateExceeded(_) => "Too many calls",
            ProxyError::Internal => "Internal error",
            ProxyError::ShuttingDown => "Shutting down",
            ProxyError::Overloaded(_) => "Overloaded",
            ProxyError::TooManyConnections => "Too many connections",
        }
    }

    /// When the client may try again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            ProxyError::TicketUnavailable { retry_after, .. } | ProxyError::TenantAddressUnknown(retry_after) => Some(*retry_after),
            ProxyError::TenantNotRunning(outage) => Some(outage.retry_after),
            ProxyError::Overloaded(retry_after) | ProxyError::RateExceeded(retry_after) => Some(*retry_after),
            ProxyError::ShuttingDown | ProxyError::TooManyConnections => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The whole answer.
    pub fn response(&self, request_id: &str) -> Response<Body> {
        let (code, status, detail) = (self.code(), self.status(), self.to_string());
        let problem = json!({
            "type": format!("urn:soproxy:error:{code}"),
            "title": self.title(),
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
            "request_id": request_id,
            "Error": true,
            "ErrorType": code,
            "ErrorMessage": detail,
            "ErrorSource": "soproxy",
        });
        let mut response = Response::new(full(format!("{problem:#}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ERROR_HEADER, HeaderValue::from_static(code));
        if let Some(wait) = self.retry_after() {
            // Whole seconds, rounded up: earlier would be too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil().max(1.0) as u64));
        }
        if matches!(self, ProxyError::UnsupportedCoding | ProxyError::MethodNotAllowed(ALLOWED)) {
            // Where this request ends is for the next one to guess, and behind CONNECT anything may come: there shall be no next one.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let ProxyError::Unauthenticated(_) = self {
            // A legacy client sends its password only when it is asked to.
            for challenge in ["Bearer realm=\"soproxy\"", "Basic realm=\"soproxy\", charset=\"UTF-8\""] {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        if let ProxyError::MethodNotAllowed(allowed) = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_serves_both_new_and_old_clients() {
        let error = ProxyError::TicketUnavailable { reason: "login is down".into(), retry_after: Duration::from_millis(1200) };
        let response = error.response("abc");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[ERROR_HEADER], "ticket_unavailable");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status"], 503);
        assert_eq!(body["Error"], true);
        assert_eq!(body["ErrorMessage"], body["detail"]);
        assert_eq!(body["request_id"], "abc");
    }

    fn outage(deleted: bool) -> Outage {
        Outage { name: "Suspended".into(), meaning: "it is", deleted, retry_after: Duration::from_secs(60) }
    }

    #[test]
    fn every_error_stands_in_the_table() {
        let all = [
            ProxyError::UnknownTenant,
            ProxyError::UriTooLong(1),
            ProxyError::MalformedRequest(""),
            ProxyError::HeaderTooLarge,
            ProxyError::UnsupportedCoding,
            ProxyError::BadEnvelope(""),
            ProxyError::BodyTimeout(Duration::ZERO),
            ProxyError::TooManyConnections,
            ProxyError::BadTarget(""),
            ProxyError::MethodNotAllowed(ALLOWED),
            ProxyError::BodyTooLarge(1),
            ProxyError::BodyIncomplete,
            ProxyError::TicketUnavailable { reason: String::new(), retry_after: Duration::ZERO },
            ProxyError::UpstreamUnreachable,
            ProxyError::UpstreamTimeout(Duration::ZERO),
            ProxyError::ForbiddenOrigin(String::new()),
            ProxyError::ShuttingDown,
            ProxyError::Overloaded(Duration::ZERO),
            ProxyError::outage(&outage(false)),
            ProxyError::outage(&outage(true)),
            ProxyError::TenantAddressUnknown(Duration::ZERO),
            ProxyError::Unauthenticated(String::new()),
            ProxyError::NotAllowed,
            ProxyError::RateExceeded(Duration::ZERO),
            ProxyError::Internal,
        ];
        assert_eq!(all.len(), ProxyError::TABLE.len());
        for error in all {
            assert!(error.status() != 500 || error == ProxyError::Internal, "{}", error.code());
        }
    }
}
