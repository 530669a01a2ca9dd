//! Envelopes and answers, whole and in pieces.

mod answers;
mod envelopes;
mod properties;
mod streams;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use jiff::Timestamp;

use super::*;
use crate::clock::Clock;

const NS: &str = "http://www.superoffice.net/ws/crm/NetServer/Services88";
const PATH: &str = "/Cust12345/Remote/Services88/Contact.svc";
/// A secret with everything that must be escaped.
const APP_TOKEN: &str = "f2398a3a<&>\"'\t]]>";
const TICKET: &str = "7T:MAA3AGYA&lt;==";
/// What is injected of them.
const INJECTED: &str = concat!(
    "<ApplicationToken xmlns=\"http://www.superoffice.net/ws/crm/NetServer/Services88\">f2398a3a&lt;&amp;&gt;\"'&#9;]]&gt;",
    "</ApplicationToken><Credentials xmlns=\"http://www.superoffice.net/ws/crm/NetServer/Services88\">",
    "<Ticket>7T:MAA3AGYA&amp;lt;==</Ticket></Credentials>"
);

/// A body in these pieces, then perhaps trailers, or an error.
struct Pieces {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    error: Option<BoxError>,
    sized: bool,
}

impl Pieces {
    fn new<P: Into<Bytes>>(pieces: impl IntoIterator<Item = P>) -> Pieces {
        Pieces { pieces: pieces.into_iter().map(Into::into).collect(), trailers: None, error: None, sized: false }
    }

    /// The same with a length that is known.
    fn sized(self) -> Pieces {
        Pieces { sized: true, ..self }
    }

    /// In pieces of a size.
    fn of(text: &[u8], size: usize) -> Pieces {
        Pieces::new(text.chunks(size).map(Bytes::copy_from_slice))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none() && self.error.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum()) } else { SizeHint::default() }
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}

fn xml() -> HeaderMap {
    headers(&[(CONTENT_TYPE.as_str(), "text/xml; charset=utf-8")])
}

fn ticket() -> Ticket {
    let (clock, _) = Clock::manual(Timestamp::UNIX_EPOCH);
    let authorization = HeaderValue::from_str(&format!("SOTicket {TICKET}")).unwrap();
    let app_token = HeaderValue::from_str(APP_TOKEN).unwrap();
    Ticket { authorization, app_token, generation: 1, issued: clock.now(), after_refusal: false }
}

/// What goes upstream of a body.
async fn sent(headers: &mut HeaderMap, body: Pieces) -> Result<Vec<u8>, ProxyError> {
    let (envelope, body) = open(headers, PATH, body).await?;
    let body = envelope.send(Body::stream(body), &ticket());
    Ok(body.collect().await.unwrap().to_bytes().to_vec())
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The same of a text that is all there, in XML.
fn whole(text: &str) -> Result<String, ProxyError> {
    let sent = block(sent(&mut xml(), Pieces::new([text.to_owned()])))?;
    Ok(String::from_utf8(sent).unwrap())
}

/// The sentence with which a text is refused.
fn refusal(text: &str) -> &'static str {
    match whole(text) {
        Err(ProxyError::BadEnvelope(why)) => why,
        other => panic!("{other:?} for {text}"),
    }
}
