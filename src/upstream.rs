//! The HTTP client: connector, trusted roots, pool, timeouts. Follows no redirect, repeats nothing, knows no header policy.

mod reads_on;
pub mod tls;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::Instant;
use tower_service::Service;

use self::reads_on::ReadsOn;
use crate::body::{Body, BoxError, chain};

/// The client's timeouts.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Name, TCP and TLS together.
    pub connect: Duration,
    /// From the last byte of the request that moved to the answer's head.
    pub response: Duration,
    /// How long an unused connection is kept; shorter than IIS' 120 s.
    pub idle: Duration,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or it broke before the answer's head was there.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The caller's own request body failed: it went away, or it exceeded a limit.
    #[error("the request's body broke off: {0}")]
    RequestBody(String),
}

/// One pool of connections.
#[derive(Clone)]
pub struct Upstream {
    client: Client<Connector, Watched>,
    response_timeout: Duration,
}

impl Upstream {
    /// A client with a pool of its own. Without a TLS configuration only `http://` works.
    pub fn new(tls: ClientConfig, timeouts: Timeouts) -> Upstream {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(timeouts.idle)
            .timer(TokioTimer::new())
            .build(Connector { https, timeout: timeouts.connect });
        Upstream { client, response_timeout: timeouts.response }
    }

    /// Sends one request with an absolute URI, and gives the answer's head and its streaming body.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, UpstreamError> {
        let (parts, body) = request.into_parts();
        let progress = Arc::new(Progress(Mutex::new((Instant::now(), None))));
        let request = Request::from_parts(parts, Watched { body, progress: progress.clone() });
        let answer = self.client.request(request);
        tokio::pin!(answer);
        loop {
            let deadline = progress.last() + self.response_timeout;
            tokio::select! {
                answered = &mut answer => return answered.map_err(|error| match progress.failure() {
                    Some(failure) => UpstreamError::RequestBody(failure),
                    None => UpstreamError::Unreachable(chain(&error)),
                }),
                // A long upload is no reason to give up while it moves.
                () = tokio::time::sleep_until(deadline) => {
                    if progress.last() + self.response_timeout <= Instant::now() {
                        return Err(UpstreamError::Timeout(self.response_timeout));
                    }
                }
            }
        }
    }
}

/// When the request's body last moved, and what it failed with.
struct Progress(Mutex<(Instant, Option<String>)>);

impl Progress {
    fn last(&self) -> Instant {
        self.lock().0
    }

    fn failure(&self) -> Option<String> {
        self.lock().1.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Instant, Option<String>)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A request body that notes its progress.
struct Watched {
    body: Body,
    progress: Arc<Progress>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            let mut progress = self.progress.lock();
            progress.0 = Instant::now();
            if let Some(Err(error)) = frame {
                progress.1 = Some(error.to_string());
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// TCP and TLS under one timeout.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = ReadsOn<<HttpsConnector<HttpConnector> as Service<Uri>>::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected.map(ReadsOn::new),
                Err(_) => Err(format!("no connection within {timeout:?}").into()),
            }
        })
    }
}
