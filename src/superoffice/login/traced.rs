//! An exchange as a span.

use std::sync::atomic::{AtomicU16, Ordering};

use super::{Credentials, Login, LoginError, Observer, Step};
use crate::clock::Moment;
use crate::superoffice::http::CallError;
use crate::superoffice::{ExchangeReply, SuperIdCode};
use crate::trace::{Context, Kind, Span};

impl Login {
    /// One exchange as a trace of its own, if anybody wants it: several requests may wait for it, or none.
    pub(super) async fn round_trip(&self, credentials: &Credentials<'_>, observer: Observer<'_>) -> Result<ExchangeReply, LoginError> {
        let Some(traces) = self.caller.traces() else { return self.send(credentials, observer, None).await };
        let (context, began) = (traces.root(), self.clock.now());
        let status = AtomicU16::new(0);
        let watch = |step: Step<'_>| {
            if let Step::Answer(answer) = &step {
                status.store(answer.status.as_u16(), Ordering::Relaxed);
            }
            observer(step);
        };
        let reply = self.send(credentials, &watch, Some(context)).await;
        if context.is_sampled() {
            let took = self.clock.now().mono.saturating_sub(began.mono);
            traces.offer(vec![self.span(credentials, context, began.later(took), began, status.into_inner(), &reply)]);
        }
        reply
    }

    fn span(
        &self,
        credentials: &Credentials<'_>,
        context: Context,
        ended: Moment,
        began: Moment,
        status: u16,
        reply: &Result<ExchangeReply, LoginError>,
    ) -> Span {
        let (started, ended, attributes) = (began.wall, ended.wall, Vec::new());
        let (parent, state, kind, name) = (None, None, Kind::Client, "exchange".into());
        let mut span = Span { context, parent, state, kind, name, started, ended, attributes, failed: false };
        span.note("soproxy.tenant", credentials.context.to_string());
        span.note("http.request.method", "POST");
        span.note("url.full", self.origin.join(self.path()));
        span.note("server.address", self.origin.host().to_owned());
        span.note("server.port", self.origin.port());
        if status > 0 {
            span.note("http.response.status_code", status);
        }
        // No words of the login service: it may repeat what it was sent.
        let error = match reply {
            Ok(ExchangeReply::Token(_)) => return span,
            Ok(ExchangeReply::Refused(words)) => SuperIdCode::find(words).map_or("refused", SuperIdCode::name),
            Err(LoginError::Call(CallError::Timeout(_))) => "timeout",
            Err(LoginError::Call(_)) => "unreachable",
            Err(_) => "no_reply",
        };
        span.note("error.type", error);
        span.failed = true;
        span
    }
}
