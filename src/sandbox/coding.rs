//! Content codings: answers compressed as `Accept-Encoding` asks (or a fault demands), request bodies decompressed.
//! Protocol §6.7.
//!
//! Assumptions: text, JSON and XML are compressed and nothing else, as IIS does by default; of equally welcome codings gzip is
//! taken; `Vary` comes with compressed answers alone; an `ETag` is the same however its answer is compressed.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};

use super::faults::Coding;
use super::reply::{self, BoxError, Reply, ReplyBody};

/// The coding of an answer to a request with these headers.
pub(super) fn choose(fault: Coding, headers: &HeaderMap) -> Coding {
    if fault != Coding::Asked {
        return fault;
    }
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let asked: Vec<(String, f32)> = values.flat_map(|value| value.split(',')).map(weighed).collect();
    let weight = |name: &str| {
        let of = |name: &str| asked.iter().find(|(asked, _)| asked == name).map(|(_, weight)| *weight);
        of(name).or_else(|| of("*")).unwrap_or(0.0)
    };
    let mut best = (Coding::Identity, 0.0);
    for (coding, name) in [(Coding::Gzip, "gzip"), (Coding::Br, "br"), (Coding::Deflate, "deflate")] {
        if weight(name) > best.1 {
            best = (coding, weight(name));
        }
    }
    best.0
}

/// `gzip;q=0.5`
fn weighed(item: &str) -> (String, f32) {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameters.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse().ok());
    (name.trim().to_ascii_lowercase(), weight.unwrap_or(1.0))
}

/// Compresses an answer that is worth it.
pub(super) fn encode(reply: Reply, coding: Coding) -> Reply {
    let content_type = reply.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_text = ["json", "xml", "text/"].iter().any(|part| content_type.contains(part));
    let name = match coding {
        Coding::Gzip => "gzip",
        Coding::Br => "br",
        Coding::Deflate | Coding::RawDeflate => "deflate",
        Coding::Asked | Coding::Identity => return reply,
    };
    if !is_text || reply.body().is_end_stream() || reply.headers().contains_key(CONTENT_ENCODING) {
        return reply;
    }
    let (mut head, body) = reply.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    head.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    http::Response::from_parts(head, reply::boxed(Encoded { body, encoder: Some(Encoder::new(coding)) }))
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    RawDeflate(DeflateEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> Encoder {
        let level = Compression::default();
        match coding {
            Coding::Br => Encoder::Br(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20))),
            Coding::Deflate => Encoder::Deflate(ZlibEncoder::new(Vec::new(), level)),
            Coding::RawDeflate => Encoder::RawDeflate(DeflateEncoder::new(Vec::new(), level)),
            _ => Encoder::Gzip(GzEncoder::new(Vec::new(), level)),
        }
    }

    /// What comes out for what goes in; often nothing yet.
    fn push(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let out = match self {
            Encoder::Gzip(encoder) => encoder.write_all(data).map(|()| encoder.get_mut())?,
            Encoder::Br(encoder) => encoder.write_all(data).map(|()| encoder.get_mut())?,
            Encoder::Deflate(encoder) => encoder.write_all(data).map(|()| encoder.get_mut())?,
            Encoder::RawDeflate(encoder) => encoder.write_all(data).map(|()| encoder.get_mut())?,
        };
        Ok(std::mem::take(out))
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Br(encoder) => Ok(encoder.into_inner()),
            Encoder::Deflate(encoder) => encoder.finish(),
            Encoder::RawDeflate(encoder) => encoder.finish(),
        }
    }
}

/// A body that is compressed while it is sent.
struct Encoded {
    body: ReplyBody,
    encoder: Option<Encoder>,
}

impl Body for Encoded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while let Some(encoder) = &mut this.encoder {
            let out = match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => encoder.push(&data),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => match this.encoder.take() {
                    Some(encoder) => encoder.finish(),
                    None => break,
                },
            };
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out.into())))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
        Poll::Ready(None)
    }
}

/// Why a request's body cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// 415.
    Unknown,
    /// 413.
    TooLong,
    /// 400.
    Broken,
}

/// A request's body without its `Content-Encoding`, if it is no longer than `limit`.
pub(super) fn decode(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, Unreadable> {
    let coding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("identity").trim().to_ascii_lowercase();
    let source: Box<dyn Read + '_> = match coding.as_str() {
        "identity" | "" => return Ok(body),
        "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(&body[..])),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(&body[..])),
        "br" => Box::new(brotli::Decompressor::new(&body[..], 4096)),
        _ => return Err(Unreadable::Unknown),
    };
    let mut out = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut out).map_err(|_| Unreadable::Broken)?;
    if out.len() > limit { Err(Unreadable::TooLong) } else { Ok(out.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http_body_util::BodyExt;

    fn chosen(accept: &str) -> Coding {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap())]);
        choose(Coding::Asked, &headers)
    }

    #[test]
    fn the_most_welcome_coding_is_taken_and_gzip_among_equals() {
        assert_eq!(choose(Coding::Asked, &HeaderMap::new()), Coding::Identity);
        for (accept, coding) in [
            ("", Coding::Identity),
            ("gzip, deflate, br", Coding::Gzip),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", Coding::Br),
            ("DEFLATE", Coding::Deflate),
            ("gzip;q=0, br; q=0", Coding::Identity),
            ("gzip;q=0, *", Coding::Br),
            ("zstd, identity", Coding::Identity),
        ] {
            assert_eq!(chosen(accept), coding, "{accept:?}");
        }
        assert_eq!(choose(Coding::Br, &HeaderMap::new()), Coding::Br);
    }

    #[tokio::test]
    async fn what_is_encoded_is_decoded_to_the_same() {
        let text = "{\"odata.metadata\":\"http://127.0.0.1:8090/Cust12345/api/v1/Person/$metadata\"}".repeat(500);
        for coding in [Coding::Gzip, Coding::Br, Coding::Deflate, Coding::RawDeflate] {
            let reply = encode(reply::full(StatusCode::OK, "application/json", text.clone()), coding);
            assert_eq!(reply.headers()[VARY], "Accept-Encoding");
            let (head, body) = reply.into_parts();
            let encoded = body.collect().await.unwrap().to_bytes();
            assert!(encoded.len() < text.len() / 10, "{coding:?}");
            let decoded = match coding {
                Coding::RawDeflate => {
                    let mut out = Vec::new();
                    flate2::read::DeflateDecoder::new(&encoded[..]).read_to_end(&mut out).unwrap();
                    out.into()
                }
                _ => decode(&head.headers, encoded, text.len()).unwrap(),
            };
            assert_eq!(decoded, text.as_bytes(), "{coding:?}");
        }
    }

    #[test]
    fn what_is_not_worth_it_is_left_alone() {
        for reply in [reply::empty(StatusCode::NO_CONTENT), reply::full(StatusCode::OK, "application/octet-stream", "x")] {
            assert!(!encode(reply, Coding::Gzip).headers().contains_key(CONTENT_ENCODING));
        }
    }

    #[test]
    fn bodies_that_cannot_be_decoded() {
        let headers = |coding| HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
        let zeros = Encoder::new(Coding::Gzip);
        let bomb = |mut encoder: Encoder| {
            let mut out = encoder.push(&[0; 100_000]).unwrap();
            out.extend(encoder.finish().unwrap());
            Bytes::from(out)
        };
        let bomb = bomb(zeros);
        assert_eq!(decode(&headers("gzip"), bomb.clone(), 100_000).map(|out| out.len()), Ok(100_000));
        assert_eq!(decode(&headers("gzip"), bomb.clone(), 99_999), Err(Unreadable::TooLong));
        assert_eq!(decode(&headers("gzip"), bomb.slice(..bomb.len() - 9), 100_000), Err(Unreadable::Broken));
        assert_eq!(decode(&headers("gzip"), Bytes::from("plain"), 99), Err(Unreadable::Broken));
        assert_eq!(decode(&headers("zstd"), bomb, 99), Err(Unreadable::Unknown));
    }
}
