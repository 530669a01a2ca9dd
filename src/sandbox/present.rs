//! How an answer of the API is written: JSON or XML as `Accept` says, compressed or not, with or without `\/`; and how a
//! request's body is read.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::coding::{self, Unreadable};
use super::faults::{Coding, Faults};
use super::reply::{self, Reply, ReplyBody};
use super::xml;

/// The name of an answer's root element, should it be XML: an extension of the reply.
#[derive(Clone, Copy)]
pub(super) struct Root(pub &'static str);

/// What a caller, or a fault, wants of an answer.
pub(super) struct Wishes {
    xml: bool,
    escaped_slashes: bool,
    coding: Coding,
}

impl Wishes {
    pub(super) fn of(headers: &HeaderMap, faults: &Faults) -> Wishes {
        Wishes { xml: prefers_xml(headers), escaped_slashes: faults.escaped_slashes, coding: coding::choose(faults.coding, headers) }
    }
}

/// XML goes before JSON in `Accept`; with neither in it, an answer is JSON.
pub(super) fn prefers_xml(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut best = (false, 0.0);
    for item in accept.split(',') {
        let (media_type, parameters) = item.split_once(';').unwrap_or((item, ""));
        let is_xml = match media_type.trim() {
            "application/xml" | "text/xml" => true,
            "application/json" | "text/json" => false,
            _ => continue,
        };
        let weight = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q=")?.parse::<f32>().ok());
        if weight.unwrap_or(1.0) > best.1 {
            best = (is_xml, weight.unwrap_or(1.0));
        }
    }
    best.0
}

/// The answer as it goes out.
pub(super) async fn finish(mut reply: Reply, wishes: &Wishes) -> Reply {
    // What is made while it is sent stays JSON.
    if is_json(&reply) && wishes.xml && reply.body().size_hint().exact().is_some() {
        reply = to_xml(reply).await;
    } else if is_json(&reply) && wishes.escaped_slashes {
        reply = escape_slashes(reply).await;
    }
    coding::encode(reply, wishes.coding)
}

fn is_json(reply: &Reply) -> bool {
    reply.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

async fn to_xml(reply: Reply) -> Reply {
    let (mut head, body) = reply.into_parts();
    let Some(json) = reply::read(body, usize::MAX).await else { return reply::close() };
    let value: Value = serde_json::from_slice(&json).unwrap_or_default();
    let root = head.extensions.get::<Root>().map_or("root", |root| root.0);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    Response::from_parts(head, reply::boxed(Full::from(xml::write(root, &value))))
}

/// A slash stands in strings alone, so that the bytes can be looked at one by one.
async fn escape_slashes(reply: Reply) -> Reply {
    let escaped = |bytes: &[u8]| -> Bytes {
        let mut out = BytesMut::with_capacity(bytes.len() + bytes.len() / 8);
        for piece in bytes.split_inclusive(|byte| *byte == b'/') {
            match piece.split_last() {
                Some((b'/', before)) => {
                    out.extend_from_slice(before);
                    out.extend_from_slice(b"\\/");
                }
                _ => out.extend_from_slice(piece),
            }
        }
        out.freeze()
    };
    let (head, body) = reply.into_parts();
    if body.size_hint().exact().is_none() {
        let body = body.map_frame(move |frame| frame.map_data(|data| escaped(&data)));
        return Response::from_parts(head, reply::boxed(body));
    }
    let Some(json) = reply::read(body, usize::MAX).await else { return reply::close() };
    Response::from_parts(head, reply::boxed(Full::new(escaped(&json))))
}

/// The document in a request's body: JSON, or XML where the `Content-Type` says so.
pub(super) async fn read(headers: &HeaderMap, body: ReplyBody, limit: usize) -> Result<Value, Box<Reply>> {
    let too_long = || Box::new(reply::aspnet(StatusCode::PAYLOAD_TOO_LARGE, "The request entity is too large for the sandbox."));
    let body = reply::read(body, limit).await.ok_or_else(too_long)?;
    let body = coding::decode(headers, body, limit).map_err(|unreadable| match unreadable {
        Unreadable::TooLong => too_long(),
        Unreadable::Broken => Box::new(invalid("the body is not what its Content-Encoding says")),
        Unreadable::Unknown => {
            Box::new(reply::aspnet(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The sandbox decodes gzip, br and deflate (zlib)."))
        }
    })?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let read = if content_type.split(';').next().unwrap_or_default().trim().ends_with("xml") {
        xml::read(&body)
    } else {
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    };
    read.map_err(|error| Box::new(invalid(&error)))
}

/// ASP.NET's answer to a body that it cannot read. Protocol §6.4.
pub(super) fn invalid(detail: &str) -> Reply {
    reply::json(StatusCode::BAD_REQUEST, &serde_json::json!({ "Message": "The request is invalid.", "MessageDetail": detail }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_unless_xml_is_more_welcome() {
        for (accept, xml) in [
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("application/xml", true),
            ("text/xml; charset=utf-8", true),
            ("application/json, application/xml", false),
            ("application/json;q=0.5, application/xml", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("application/xml;q=0", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_xml(&headers), xml, "{accept:?}");
        }
    }

    #[tokio::test]
    async fn slashes_are_escaped_whole_or_while_streaming() {
        let json = r#"{"a/":"http://h/x","b":1}"#;
        let expected = r#"{"a\/":"http:\/\/h\/x","b":1}"#;
        let frames = json.as_bytes().chunks(3).map(|chunk| Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(chunk))));
        let streamed = tokio_stream_of(frames.collect());
        for body in [reply::boxed(Full::from(json)), streamed] {
            let reply = escape_slashes(Response::new(body)).await;
            assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), expected);
        }
    }

    /// A body of these frames whose length nobody knows.
    fn tokio_stream_of(frames: Vec<Result<http_body::Frame<Bytes>, std::convert::Infallible>>) -> ReplyBody {
        struct Frames(std::vec::IntoIter<Result<http_body::Frame<Bytes>, std::convert::Infallible>>);
        impl Body for Frames {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Ready(self.0.next())
            }
        }
        reply::boxed(Frames(frames.into_iter()))
    }
}
