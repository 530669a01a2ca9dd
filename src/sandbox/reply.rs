//! Replies as IIS, WCF and ASP.NET word them, and the two ways of not giving a proper one: cut off, and no answer at all.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use serde_json::json;

/// What goes wrong in a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every reply.
pub type ReplyBody = UnsyncBoxBody<Bytes, BoxError>;
pub(super) type Reply = Response<ReplyBody>;

/// Marks a reply that is none: whoever serves the connection closes it without a word.
#[derive(Clone, Copy, Debug)]
pub struct CloseConnection;

pub(super) fn boxed<B>(body: B) -> ReplyBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A request's body as a whole; `None` when it is longer than `limit` or breaks off.
pub(super) async fn read(mut body: ReplyBody, limit: usize) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes.freeze())
}

pub(super) fn full(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(boxed(Full::new(body.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(text) => full(status, "application/json; charset=utf-8", text),
        Err(error) => full(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", error.to_string()),
    }
}

pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(boxed(Full::new(Bytes::new())));
    *reply.status_mut() = status;
    reply
}

/// The error body of the REST API. Protocol §6.4.
pub(super) fn crm_error(status: StatusCode, error_type: &str, message: &str) -> Reply {
    let body = json!({
        "Error": true,
        "ErrorType": error_type,
        "ErrorMessage": message,
        "ErrorSource": "SuperOffice.Services.Implementation",
    });
    json(status, &body)
}

/// The error body of ASP.NET Web API, for what never reaches SuperOffice's own code. Protocol §6.4.
pub(super) fn aspnet(status: StatusCode, message: &str) -> Reply {
    json(status, &json!({ "Message": message }))
}

/// `405`, as ASP.NET says it.
pub(super) fn wrong_method(method: &http::Method) -> Reply {
    let text = format!("The requested resource does not support http method '{method}'.");
    aspnet(StatusCode::METHOD_NOT_ALLOWED, &text)
}

/// An IIS error page.
pub(super) fn html(status: StatusCode, title: &str, text: &str) -> Reply {
    let page = format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\r\n\
         <HTML><HEAD><TITLE>{title}</TITLE>\r\n\
         <META HTTP-EQUIV=\"Content-Type\" Content=\"text/html; charset=us-ascii\"></HEAD>\r\n\
         <BODY><h2>{title}</h2>\r\n<hr><p>{text}</p>\r\n</BODY></HTML>\r\n"
    );
    full(status, "text/html; charset=us-ascii", page)
}

/// No answer: the connection is closed.
pub(super) fn close() -> Reply {
    let mut reply = empty(StatusCode::BAD_GATEWAY);
    reply.extensions_mut().insert(CloseConnection);
    reply
}

/// The same reply, announced in full length and cut off half-way.
pub(super) async fn truncated(reply: Reply) -> Reply {
    let (mut head, body) = reply.into_parts();
    let Some(bytes) = read(body, usize::MAX).await else { return close() };
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = Half { bytes: Some(bytes.slice(..bytes.len() / 2)), pause: None };
    Response::from_parts(head, boxed(half))
}

pub(super) fn header(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().append(HeaderName::from_static(name), value);
    }
}

/// A body that sends its bytes, lets them out, and breaks.
struct Half {
    bytes: Option<Bytes>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Half {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // Without the pause the error would overtake what was sent before it.
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(30))));
        std::task::ready!(pause.as_mut().poll(cx));
        Poll::Ready(Some(Err("cut off on purpose".into())))
    }
}
