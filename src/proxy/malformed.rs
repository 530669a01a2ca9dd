//! The answer to a request that the server's gate did not let through: nobody has read it, so it has no target, no tenant and no
//! line in the access log, but it is counted like any other.

use std::time::Duration;

use http::{HeaderMap, Method, Response};

use super::Proxy;
use super::caller::request_id;
use super::error::ProxyError;
use super::headers::REQUEST_ID;
use crate::body::Body;
use crate::metrics::Ended;
use crate::server::gate::Violation;

impl Proxy {
    /// What such a request is answered. Its own `X-Request-Id`, if it had one, is not known.
    pub fn malformed(&self, violation: Violation) -> Response<Body> {
        let error = match violation {
            Violation::Head(why) | Violation::Body(why) => ProxyError::MalformedRequest(why),
            Violation::HeadTooLarge => ProxyError::HeaderTooLarge,
            Violation::TargetTooLong => ProxyError::UriTooLong(self.settings.max_uri),
            Violation::Coding => ProxyError::UnsupportedCoding,
        };
        let id = request_id(&HeaderMap::new());
        let mut response = error.response(id.to_str().unwrap_or_default());
        response.headers_mut().insert(REQUEST_ID, id);
        // Whatever its method says, nobody has understood it.
        let method = Method::from_bytes(b"-").unwrap_or_default();
        let (status, error) = (Some(response.status()), Some(error.code()));
        self.common.metrics.untold(&Ended { method: &method, status, error, received: 0, sent: 0, took: Duration::ZERO });
        response
    }
}
