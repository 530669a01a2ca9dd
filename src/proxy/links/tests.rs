//! Tests of the whole room; each file's properties are beside the naive way to do the same.

mod answers;
mod bodies;
mod codings;
mod naive;
mod rewriting;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::*;
use crate::superoffice::origin::BaseUrl;

pub(super) const OURS: &str = "http://localhost:8080/Cust12345";

/// One caller's view.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) ours: &'static str,
    pub(super) aliases: Vec<&'static str>,
    pub(super) shared: bool,
    pub(super) shared_aliases: Vec<&'static str>,
}

impl Addresses for Caller {
    fn ours(&self) -> String {
        self.ours.to_owned()
    }

    fn aliases(&self) -> Vec<String> {
        self.aliases.iter().map(|&alias| alias.to_owned()).collect()
    }

    fn is_shared(&self) -> bool {
        self.shared
    }

    fn shared_aliases(&self) -> Vec<String> {
        self.shared_aliases.iter().map(|&alias| alias.to_owned()).collect()
    }
}

pub(super) fn base(url: &str) -> BaseUrl {
    url.parse().unwrap()
}

pub(super) fn homes() -> Arc<Homes> {
    let previous = [base("https://online1.superoffice.com/Cust12345"), base("https://ONLINE2.superoffice.com:443/cust12345")];
    Arc::new(Homes::new(&base("https://online2.superoffice.com/Cust12345"), &previous))
}

pub(super) fn hosts() -> UpstreamHosts {
    UpstreamHosts::parse(["*.superoffice.com"]).unwrap()
}

/// A tenant and a caller.
pub(super) struct World {
    pub(super) homes: Arc<Homes>,
    pub(super) hosts: UpstreamHosts,
    pub(super) caller: Caller,
    pub(super) routes: Vec<Box<str>>,
}

impl World {
    pub(super) fn new() -> World {
        World {
            homes: homes(),
            hosts: hosts(),
            caller: Caller { ours: OURS, aliases: vec!["http://127.0.0.1:8080/Cust12345"], shared: false, shared_aliases: vec![] },
            routes: vec!["CS".into()],
        }
    }

    pub(super) fn at(ours: &'static str, aliases: &[&'static str]) -> World {
        World { caller: Caller { ours, aliases: aliases.to_vec(), shared: false, shared_aliases: vec![] }, ..World::new() }
    }

    pub(super) fn links(&self, mode: Mode) -> Links<'_, Caller> {
        Links { mode, homes: &self.homes, addresses: self.caller.clone(), hosts: &self.hosts, routes: &self.routes, listing: false }
    }
}

/// A body in pieces, as upstream might send it.
#[derive(Default)]
pub(super) struct Source {
    pub(super) pieces: VecDeque<Piece>,
    /// The length that it declares.
    pub(super) length: Option<u64>,
}

pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    Pause,
    Broken,
}

impl Source {
    pub(super) fn of(pieces: impl IntoIterator<Item = impl Into<Bytes>>) -> Source {
        Source { pieces: pieces.into_iter().map(|piece| Piece::Data(piece.into())).collect(), length: None }
    }

    /// All that was declared comes.
    pub(super) fn declared(mut self) -> Source {
        let length = |piece: &Piece| if let Piece::Data(data) = piece { data.len() as u64 } else { 0 };
        self.length = Some(self.pieces.iter().map(length).sum());
        self
    }

    pub(super) fn then(mut self, piece: Piece) -> Source {
        self.pieces.push_back(piece);
        self
    }
}

impl HttpBody for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match self.pieces.pop_front() {
            None => None,
            Some(Piece::Data(data)) => {
                self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data)))
            }
            Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Piece::Broken) => Some(Err("broken off".into())),
            Some(Piece::Pause) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

pub(super) fn answer(lines: &[(&'static str, &str)], body: Source) -> Response<Source> {
    let mut response = Response::new(body);
    for (name, value) in lines {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    response
}

/// The data of a body, and how it ended.
pub(super) async fn read<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin>(mut body: B) -> (Vec<u8>, Result<Option<HeaderMap>, String>) {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => return (all, Err(error.to_string())),
            Ok(frame) => match frame.into_data() {
                Ok(data) => all.extend_from_slice(&data),
                Err(frame) => return (all, Ok(frame.into_trailers().ok())),
            },
        }
    }
    (all, Ok(None))
}

impl<A: Addresses> Links<'_, A> {
    /// An answer as the pipeline has it rewritten.
    pub(super) async fn answered<B>(&self, method: &Method, response: Response<B>) -> Response<Rewritten<B>>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        match self.mode.look(response.headers()) {
            Some(seen) => self.answer(seen, method, response).await,
            None => response.map(|body| Ahead::nothing(body).into()),
        }
    }
}

pub(super) async fn get(links: &Links<'_, Caller>, lines: &[(&'static str, &str)], body: Source) -> (HeaderMap, Vec<u8>) {
    let (parts, body) = links.answered(&Method::GET, answer(lines, body)).await.into_parts();
    let (body, end) = read(body).await;
    end.unwrap();
    (parts.headers, body)
}
