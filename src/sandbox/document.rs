//! `Document/{id}/Content`: down by a generator, up into a hash, both with constant memory. Protocol §7.2.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::echo::hex;
use super::entities::{self, Kind};
use super::reply::{self, Reply, ReplyBody};
use super::webapi::Call;

/// What is stored of an upload up to this size is the content itself; of a larger one, only length and hash.
const KEPT: usize = 4 * 1024 * 1024;
/// The content of a document that was never uploaded.
const DEFAULT_SIZE: u64 = 4096;

/// The byte at `offset` of every generated content.
pub fn content_byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

/// What the world remembers of an upload.
pub(super) struct Upload {
    pub length: u64,
    pub sha256: String,
    pub content: Option<Bytes>,
}

pub(super) async fn content(call: &Call<'_>, id: &str, method: &Method, body: ReplyBody) -> Reply {
    let Some(id) = existing(call, id) else { return entities::not_found(Kind::Document, id) };
    match *method {
        Method::GET => download(call, id),
        Method::PUT => upload(call, id, body).await,
        _ => reply::wrong_method(method),
    }
}

/// `Document/{id}/Length`.
pub(super) fn length(call: &Call<'_>, id: &str) -> Reply {
    let Some(id) = existing(call, id) else { return entities::not_found(Kind::Document, id) };
    let world = call.sandbox.control().world(call.index);
    reply::json(StatusCode::OK, &world.uploads.get(&id).map_or(DEFAULT_SIZE, |upload| upload.length))
}

fn existing(call: &Call<'_>, id: &str) -> Option<u32> {
    let id = id.parse().ok()?;
    call.sandbox.control().world(call.index).get(Kind::Document, id).map(|_| id)
}

fn download(call: &Call<'_>, id: u32) -> Reply {
    let asked = call.query().get("size").map(|size| size.parse::<u64>());
    let Ok(asked) = asked.transpose() else {
        return reply::aspnet(StatusCode::BAD_REQUEST, "size is a number of bytes");
    };
    let world = call.sandbox.control().world(call.index);
    let body = match (asked, world.uploads.get(&id)) {
        (Some(size), _) => reply::boxed(Generated { at: 0, size }),
        (None, None) => reply::boxed(Generated { at: 0, size: DEFAULT_SIZE }),
        (None, Some(Upload { content: Some(content), .. })) => reply::boxed(http_body_util::Full::new(content.clone())),
        (None, Some(upload)) => {
            let text = format!("The sandbox kept of this document only its length, {}, and SHA-256, {}", upload.length, upload.sha256);
            return reply::crm_error(StatusCode::NOT_FOUND, "SoNotFoundException", &text);
        }
    };
    let mut reply = Response::new(body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let name = HeaderValue::from_str(&format!("attachment; filename=\"document-{id}.bin\""));
    reply.headers_mut().extend(name.ok().map(|name| (CONTENT_DISPOSITION, name)));
    reply
}

async fn upload(call: &Call<'_>, id: u32, mut body: ReplyBody) -> Reply {
    let mut length: u64 = 0;
    let mut hash = Sha256::new();
    let mut kept = Some(BytesMut::new());
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => {
                length += data.len() as u64;
                hash.update(&data);
                kept = kept.filter(|kept| kept.len() + data.len() <= KEPT);
                kept.iter_mut().for_each(|kept| kept.extend_from_slice(&data));
            }
            Ok(Err(_trailers)) => {}
            Err(error) => return reply::aspnet(StatusCode::BAD_REQUEST, &format!("The body broke off after {length} bytes: {error}")),
        }
    }
    let upload = Upload { length, sha256: hex(&hash.finalize()), content: kept.map(BytesMut::freeze) };
    let mut world = call.sandbox.control().world(call.index);
    match world.store_upload(id, upload) {
        Ok(()) => reply::empty(StatusCode::NO_CONTENT),
        Err(full) => entities::full(full),
    }
}

/// What `Document/{id}` shows of an upload.
pub(super) fn facts(upload: &Upload) -> Value {
    json!({ "sandbox:contentLength": upload.length.to_string(), "sandbox:contentSha256": upload.sha256 })
}

/// A content that is made while it is sent.
struct Generated {
    at: u64,
    size: u64,
}

/// Whole periods of [`content_byte`], so that a slice of it is the content at any offset.
static CHUNK: LazyLock<Bytes> = LazyLock::new(|| (0..251 * 256).map(content_byte).collect());

impl Body for Generated {
    type Data = Bytes;
    type Error = reply::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, reply::BoxError>>> {
        let left = self.size - self.at;
        if left == 0 {
            return Poll::Ready(None);
        }
        // Every full chunk ends with a period, so each begins at its start.
        let length = left.min(CHUNK.len() as u64);
        self.at += length;
        Poll::Ready(Some(Ok(Frame::data(CHUNK.slice(..length as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn generated_content_is_exact_at_every_offset() {
        for size in [0, 1, 250, 251, 64_255, 64_256, 64_257, 200_000] {
            let bytes = Generated { at: 0, size }.collect().await.unwrap().to_bytes();
            assert_eq!(bytes.len() as u64, size);
            assert!(bytes.iter().zip(0..).all(|(byte, at)| *byte == content_byte(at)), "{size}");
        }
    }
}
