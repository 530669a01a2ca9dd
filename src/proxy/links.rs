//! Links in answers come home to the proxy, and in `all` mode those in request bodies go back out as SuperOffice wrote them.
//!
//! *Theirs* is a tenant's address at SuperOffice, `https://online2.superoffice.com/Cust12345`, now and before it moved.
//! *Ours* is where the caller reaches the same tenant, `http://localhost:8080/Cust12345`.
//!
//! `all` can be undone: what is spelled exactly as theirs is now becomes ours, and any other spelling (an earlier host, the
//! port written, capitals) becomes ours, a marker, and that spelling: `http://localhost:8080/Cust12345/~online1.superoffice.com/Cust12345`.
//! Such a path is a way to the tenant like any other. In a request's body both become again what they were.
//! Where other things may live at our address (`http://localhost:8080` is the default tenant's only before `/api` and the like),
//! neither direction touches what is not the tenant's: a link to the intranet's wiki must not become SuperOffice's in the CRM.
//!
//! A body is read ahead, up to [`AHEAD`] bytes, if its length is known or it is compressed. One that is whole then and has no
//! links goes on just as it came, with all its headers. Larger ones are rewritten while they stream: their length is not
//! known, and if they are compressed they are compressed anew, so that their content is the same but not their bytes.

pub(super) mod coding;
mod find;
mod flow;
mod headers;
mod homes;
mod rewriter;
mod rule;
mod scope;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as HttpBody;

use self::coding::{Coding, Decoder, Encoder};
use self::find::Starts;
use self::flow::Ahead;
pub use self::flow::Rewritten;
use self::headers::Format;
pub use self::headers::Seen;
pub use self::homes::Homes;
use self::rewriter::Rewriter;
use self::rule::{Place, Rule};
use self::scope::Scope;
use self::stream::{PIECE, Stream};
use crate::body::BoxError;
use crate::superoffice::origin::UpstreamHosts;

/// `rewrite_links`: which links in bodies are rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// None; headers neither. Only descriptions of SOAP services are, as by `Known`.
    Off,
    /// In JSON and XML: values of `odata.*` members, `_Links`, the API listing, and the descriptions of SOAP services.
    #[default]
    Known,
    /// Every occurrence of the tenant's own base URLs in JSON and XML, and the reverse in request bodies.
    All,
}

impl Mode {
    /// What of an answer with this head may have to be rewritten; `None`, as for most: nothing, and it goes on just as it is.
    pub fn look(self, headers: &HeaderMap) -> Option<Seen> {
        Some(headers::look(headers)).filter(|seen| self != Mode::Off && (seen.links || seen.body.is_some()))
    }
}

/// How much of a body is read before its head is sent on.
pub const AHEAD: usize = 128 * 1024;

/// How large a compressed body that was read ahead may be once it is decoded; larger ones are rewritten while they stream.
const PLAIN: usize = 2 * 1024 * 1024;

/// Where a caller reaches a tenant. Asked only when there is something to be rewritten: most answers have nothing.
pub trait Addresses {
    /// The address that this caller used, without a slash at its end.
    fn ours(&self) -> String;

    /// Whether that is the tenant's only before `/api` and the like: other things may live there, too.
    fn is_shared(&self) -> bool;

    /// The other addresses by which the same tenant is reached: they, too, are never stored at SuperOffice.
    fn aliases(&self) -> Vec<String>;

    /// Those of them that are shared.
    fn shared_aliases(&self) -> Vec<String>;
}

/// One request's rewriting, there and back.
pub struct Links<'a, A> {
    /// What is rewritten.
    pub mode: Mode,
    /// SuperOffice's side of the tenant.
    pub homes: &'a Arc<Homes>,
    /// Our side.
    pub addresses: A,
    /// The hosts that an address behind a marker may name.
    pub hosts: &'a UpstreamHosts,
    /// What is carried besides `api`.
    pub routes: &'a [Box<str>],
    /// Whether this is a request for the API's listing, or for the description of a SOAP service: any of their values may be a
    /// link.
    pub listing: bool,
}

#[derive(Clone, Copy)]
enum Direction {
    Answer,
    Request,
}

/// Leaves in a request's `Accept-Encoding` the codings that an answer can be rewritten through.
pub fn accept_encoding(headers: &mut HeaderMap) {
    if headers.contains_key(ACCEPT_ENCODING) {
        headers::accept(headers);
    }
}

impl<A: Addresses> Links<'_, A> {
    /// An answer, in whose head this was seen, as this caller should see it.
    pub async fn answer<B>(&self, seen: Seen, method: &Method, response: Response<B>) -> Response<Rewritten<B>>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        let (mut parts, body) = response.into_parts();
        if seen.links {
            headers::rewrite(&mut parts.headers, self.homes, || plain(self.addresses.ours()));
        }
        let whole = !matches!(parts.status, StatusCode::PARTIAL_CONTENT | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let seen = seen.body.filter(|_| whole);
        if method == Method::HEAD && seen.is_some() {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let body = self.body(&mut parts.headers, seen, body, Direction::Answer).await;
        Response::from_parts(parts, body)
    }

    /// A request's body as SuperOffice should see it.
    pub async fn request<B>(&self, headers: &mut HeaderMap, body: B) -> Rewritten<B>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        let seen = if self.mode == Mode::All { headers::look(headers).body } else { None };
        self.body(headers, seen, body, Direction::Request).await
    }

    async fn body<B>(&self, headers: &mut HeaderMap, seen: Option<(Format, Coding)>, body: B, direction: Direction) -> Rewritten<B>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        let Some((format, coding)) = seen.filter(|_| !body.is_end_stream()) else { return Ahead::nothing(body).into() };
        let small = body.size_hint().exact().is_some_and(|length| length <= AHEAD as u64);
        let mut ahead = match coding {
            // Nothing of it waits for the rest.
            Coding::Identity if !small => Ahead::nothing(body),
            _ => Ahead::read(body, AHEAD).await,
        };
        if ahead.whole() {
            let seen = match Decoder::new(coding) {
                None => self.whole(&ahead.data, format, direction),
                Some(decoder) => self.decoded(&ahead.data, decoder, format, direction),
            };
            match seen {
                Whole::Same => return ahead.into(),
                Whole::Changed(bytes) => {
                    ahead.data = bytes.into();
                    headers::changed(headers, (!ahead.has_trailers()).then_some(ahead.data.len()));
                    return ahead.into();
                }
                Whole::TooLarge => {}
            }
        } else if ahead.broken() || !decodes(coding, &ahead.data) {
            return ahead.into();
        }
        let Some(rewriter) = self.rewriter(format, direction) else { return ahead.into() };
        headers::changed(headers, None);
        Stream::new(ahead, rewriter, Decoder::new(coding)).into()
    }

    /// A body that is all there.
    fn whole(&self, plain: &[u8], format: Format, direction: Direction) -> Whole {
        let worth_it = match direction {
            Direction::Answer => self.homes.occur(plain),
            Direction::Request => Starts::new(plain).next(0).is_some(),
        };
        let rewriter = if worth_it { self.rewriter(format, direction) } else { None };
        let Some(mut rewriter) = rewriter else { return Whole::Same };
        let mut out = Vec::with_capacity(plain.len() + 256);
        if rewriter.push(plain, &mut out) {
            return Whole::Same;
        }
        rewriter.finish(&mut out);
        if rewriter.hit() { Whole::Changed(out) } else { Whole::Same }
    }

    /// The same, if it is compressed.
    fn decoded(&self, coded: &[u8], mut decoder: Decoder, format: Format, direction: Direction) -> Whole {
        let (mut input, mut plain) = (coded, Vec::new());
        loop {
            let before = plain.len();
            if decoder.decode(&mut input, &mut plain, PIECE).is_err() {
                return Whole::Same;
            }
            if plain.len() > PLAIN {
                return Whole::TooLarge;
            }
            if plain.len() == before && input.is_empty() {
                break;
            }
        }
        if decoder.end().is_err() {
            return Whole::Same;
        }
        match self.whole(&plain, format, direction) {
            Whole::Changed(plain) => {
                let mut encoder = Encoder::like(&decoder);
                let encoded = encoder.write(&plain).and_then(|()| encoder.finish());
                encoded.map_or(Whole::Same, Whole::Changed)
            }
            same => same,
        }
    }

    /// `None` if the caller's address is none that could stand in a body.
    fn rewriter(&self, format: Format, direction: Direction) -> Option<Rewriter> {
        let (homes, hosts) = (self.homes.clone(), self.hosts.clone());
        let ours = plain(self.addresses.ours())?;
        let place = |shared| move |url| Place { url, shared };
        let ours = Place { url: ours, shared: self.addresses.is_shared() };
        let aliases = || {
            let own = self.addresses.aliases().into_iter().filter_map(plain).map(place(false));
            own.chain(self.addresses.shared_aliases().into_iter().filter_map(plain).map(place(true))).collect::<Vec<Place>>()
        };
        let rule = match (direction, self.mode) {
            (Direction::Request, _) => Rule::back(homes, ours, aliases(), hosts, self.routes),
            (Direction::Answer, Mode::All) => Rule::all(homes, ours, &aliases(), hosts, self.routes),
            (Direction::Answer, _) => Rule::known(homes, ours.url),
        };
        let scope = match (self.mode, format) {
            (Mode::All, _) => Scope::All,
            (_, Format::Json) => Scope::json(self.listing),
            (_, Format::Xml) => Scope::xml(self.listing),
        };
        Some(Rewriter::new(rule, scope))
    }
}

/// What became of a body that is all there.
enum Whole {
    Same,
    Changed(Vec<u8>),
    /// It is, decoded.
    TooLarge,
}

/// Whether a body's beginning is in its coding.
fn decodes(coding: Coding, mut begin: &[u8]) -> bool {
    Decoder::new(coding).is_none_or(|mut decoder| decoder.decode(&mut begin, &mut Vec::new(), PIECE).is_ok())
}

/// An address that can stand in JSON, XML and headers as it is. A caller that names itself otherwise gets theirs.
fn plain(address: String) -> Option<String> {
    let http = address.starts_with("http://") || address.starts_with("https://");
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'<' | b'>' | b'&' | b'?' | b'#');
    (http && !address.ends_with('/') && address.bytes().all(plain)).then_some(address)
}
