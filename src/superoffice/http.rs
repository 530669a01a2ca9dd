//! Small calls to SuperOffice's own services (login, keys, tenant state): one request, one whole answer, limits on both.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;

use super::origin::BaseUrl;
use crate::body::Body;
use crate::trace::Collector;
use crate::upstream::{Upstream, UpstreamError};

/// No genuine answer is larger.
const LARGEST: usize = 1 << 20;

/// A whole answer.
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, or what came of it.
    pub body: Bytes,
    /// The body ended before it should have.
    pub cut_off: bool,
}

/// No answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Not in time.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// More than a mebibyte.
    #[error("an answer of more than {LARGEST} bytes")]
    TooLarge,
}

/// Calls with a total time limit each.
#[derive(Clone)]
pub struct Caller {
    upstream: Upstream,
    timeout: Duration,
    traces: Option<Arc<Collector>>,
}

impl Caller {
    /// Calls over `upstream`, each of at most `timeout` from start to end.
    pub fn new(upstream: Upstream, timeout: Duration) -> Caller {
        Caller { upstream, timeout, traces: None }
    }

    /// The same, for whoever makes spans of calls.
    pub fn traced(self, traces: Option<Arc<Collector>>) -> Caller {
        Caller { traces, ..self }
    }

    /// Where spans go, if anybody wants them.
    pub fn traces(&self) -> Option<&Arc<Collector>> {
        self.traces.as_ref()
    }

    /// Nobody shall use the connections that rest to this origin.
    pub fn let_go(&self, origin: &BaseUrl) {
        self.upstream.let_go(origin);
    }

    /// Sends and collects. Redirects are answers like any other.
    pub async fn call(&self, request: Request<Body>) -> Result<Answer, CallError> {
        tokio::time::timeout(self.timeout, self.whole(request)).await.unwrap_or(Err(CallError::Timeout(self.timeout)))
    }

    async fn whole(&self, request: Request<Body>) -> Result<Answer, CallError> {
        let response = self.upstream.send(request).await.map_err(|error| match error {
            UpstreamError::Timeout(limit) => CallError::Timeout(limit),
            other => CallError::Unreachable(other.to_string()),
        })?;
        let (head, body) = response.into_parts();
        let mut body = Limited::new(body, LARGEST);
        let mut collected = Vec::new();
        let mut cut_off = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => collected.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(CallError::TooLarge),
                Err(_) => {
                    cut_off = true;
                    break;
                }
            }
        }
        Ok(Answer { status: head.status, headers: head.headers, body: collected.into(), cut_off })
    }
}

impl Answer {
    /// `Content-Type`, when it is text.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// `Location`, when it is text.
    pub fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }

    /// `Date`, RFC 9110 §6.6.1.
    pub fn date(&self) -> Option<Timestamp> {
        let date = httpdate::parse_http_date(self.headers.get(DATE)?.to_str().ok()?).ok()?;
        Timestamp::try_from(date).ok()
    }
}
