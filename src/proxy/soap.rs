//! SOAP applications: the ticket and the application token go into the envelope's Header, and an answer's Header may say that
//! the ticket has expired. Protocol §7.6.
//!
//! Of a request no more is held than the envelope up to the first element of its Body, at most [`HELD`] bytes; from the end of
//! what is changed on it streams as it came. What is written is `<ApplicationToken>` and `<Credentials>`, each with a namespace
//! of its own, so that it does not matter which prefixes and defaults the caller declared. Elements of these names that the
//! caller sent, in whatever namespace, make room for them. All other bytes stay.
//!
//! What cannot be read for certain is refused and never guessed at: other encodings than those that have ASCII in them, a
//! DOCTYPE, a Header that does not end.
//!
//! Credentials are written for all services, although `SoPrincipal` asks for an application token alone: a Header that a
//! service does not know, and that does not say `mustUnderstand`, is overlooked.

mod answer;
mod content;
mod lexer;
mod peek;
mod plan;
mod related;
mod sent;
mod service;
mod walk;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName};
use http_body::Body as HttpBody;
use zeroize::Zeroizing;

pub use self::answer::TicketFaults;
use self::content::{Form, behind_mark};
pub use self::peek::Peeked;
use self::plan::{Place, Plan, Scan};
use self::related::Root;
use self::sent::Sent;
use self::service::Service;
use super::error::ProxyError;
use super::links::coding::{Coding, Decoder};
use crate::body::{Body, BoxError, Stalled};
use crate::ticket::Ticket;

/// How much of an envelope is held, and looked at, at most.
pub const HELD: usize = 64 * 1024;

/// Why an envelope is not carried, in the words of the answer. Nothing of the envelope is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bad(&'static str);

impl From<Bad> for ProxyError {
    fn from(bad: Bad) -> ProxyError {
        ProxyError::BadEnvelope(bad.0)
    }
}

/// Whether a service's description is asked for, or a part of one: `?wsdl`, `?singleWsdl`, `?xsd=xsd0`. Its links lead to the
/// service.
pub fn describes(query: Option<&str>) -> bool {
    let first = query.unwrap_or_default().split(['=', '&']).next().unwrap_or_default();
    ["wsdl", "singlewsdl", "xsd", "disco"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// A request's envelope, ready to be sent with any ticket.
pub struct Envelope {
    before: Bytes,
    after: Bytes,
    /// How much of the body they stand for.
    instead: usize,
    service: Service,
}

/// Reads a request's body as far as is needed to know where its credentials go. The body that comes back is the caller's own,
/// from its first byte, without its content coding; what the headers said of length and coding is taken out. `path` tells which
/// version of the services is meant, if nothing else does.
pub async fn open<B>(headers: &mut HeaderMap, path: &str, body: B) -> Result<(Envelope, Peeked<B>), ProxyError>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    let mut reading = Reading::new(Form::of(headers)?);
    let mut body = Peeked::new(body, Decoder::new(coding(headers)?));
    let envelope = loop {
        let text = body.text();
        let most = &text[..text.len().min(HELD)];
        if let Some(plan) = reading.go(most)? {
            let asked = || Service::asked(headers, path);
            let service = plan.service.or_else(asked).ok_or(Bad("it does not tell which version of the services is meant"))?;
            break Envelope::new(most, plan, service)?;
        }
        if text.len() >= HELD {
            return Err(Bad("its Header does not end, or its Body does not begin, within 64 KiB").into());
        }
        if !body.more().await {
            return Err(match body.error() {
                None => Bad("it ends in its Header").into(),
                Some(error) => broken(&error),
            });
        }
    };
    for name in [CONTENT_LENGTH, CONTENT_ENCODING].into_iter().chain(DIGESTS) {
        headers.remove(name);
    }
    // The body has begun: nobody waits for leave any more.
    headers.remove(EXPECT);
    Ok((envelope, body))
}

const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

fn coding(headers: &HeaderMap) -> Result<Coding, Bad> {
    let mut all = headers.get_all(CONTENT_ENCODING).iter();
    let coding = all.next().map_or(Some(Coding::Identity), |coding| Coding::named(coding.as_bytes().trim_ascii()));
    coding.filter(|_| all.next().is_none()).ok_or(Bad("it comes in a content coding that is not read here: send it as it is, or as gzip"))
}

fn broken(error: &BoxError) -> ProxyError {
    if error.is::<super::links::coding::Undecodable>() {
        return Bad("it is not in the coding that its Content-Encoding names").into();
    }
    error.downcast_ref::<Stalled>().map_or(ProxyError::BodyIncomplete, |Stalled(limit)| ProxyError::BodyTimeout(*limit))
}

/// Looks for the envelope, and then at it.
struct Reading {
    root: Option<Root>,
    scan: Option<(usize, Scan)>,
}

impl Reading {
    fn new(form: Form) -> Reading {
        let root = match form {
            Form::Xml => None,
            Form::Related { boundary, start } => Some(Root::new(&boundary, start)),
        };
        Reading { root, scan: None }
    }

    fn go(&mut self, text: &[u8]) -> Result<Option<Plan>, Bad> {
        let (from, scan) = match &mut self.scan {
            Some(scan) => scan,
            None => {
                let begin = match &mut self.root {
                    Some(root) => root.go(text)?,
                    None => Some(0),
                };
                let Some(begin) = begin else { return Ok(None) };
                let Some(mark) = behind_mark(&text[begin..])? else { return Ok(None) };
                let from = begin + mark;
                self.scan.insert((from, Scan::new(from)))
            }
        };
        let plan = scan.go(text)?;
        match &self.root {
            Some(root) if plan.is_some() && root.is_left(&text[*from..scan.place()]) => Err(Bad("its root part ends before its envelope")),
            _ => Ok(plan),
        }
    }
}

impl Envelope {
    /// What becomes of the beginning of a body.
    fn new(text: &[u8], plan: Plan, service: Service) -> Result<Envelope, Bad> {
        let Plan { cuts, place, .. } = plan;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let at = match &place {
            Some(Place::Header(at) | Place::Empty(at, _) | Place::None(at, _)) => *at,
            None => return Err(Bad("it has no Body")),
        };
        let instead = cuts.last().map_or(at, |cut| cut.end.max(at));
        let kept = |from: usize, to: usize, out: &mut Vec<u8>| {
            let mut done = from;
            for cut in cuts.iter().filter(|cut| from <= cut.start && cut.end <= to) {
                out.extend_from_slice(&text[done..cut.start]);
                done = cut.end;
            }
            out.extend_from_slice(&text[done..to]);
        };
        match place {
            Some(Place::Empty(end, name)) => {
                kept(0, end - 2, &mut before);
                before.push(b'>');
                after = [b"</", &text[name], b">"].concat();
            }
            Some(Place::None(at, name)) => {
                kept(0, at, &mut before);
                let name = &text[name];
                let prefix = &name[..memchr::memchr(b':', name).map_or(0, |colon| colon + 1)];
                before.extend_from_slice(&[b"<", prefix, b"Header>"].concat());
                after = [b"</", prefix, b"Header>"].concat();
            }
            _ => kept(0, at, &mut before),
        }
        kept(at, instead, &mut after);
        Ok(Envelope { before: before.into(), after: after.into(), instead, service })
    }

    /// What goes upstream: `body` is what was opened, or the same once more.
    pub fn send(&self, body: Body, ticket: &Ticket) -> Body {
        Body::stream(Sent { head: self.head(ticket.value(), ticket.app_token.as_bytes()), instead: self.instead, body })
    }

    fn head(&self, ticket: &[u8], app_token: &[u8]) -> Bytes {
        let namespace = self.service.namespace();
        // One allocation of the largest possible size: growing would leave copies of the secrets behind.
        let most = self.before.len() + self.after.len() + 2 * namespace.len() + 256 + LONGEST_REFERENCE * (ticket.len() + app_token.len());
        let mut head = Zeroizing::new(Vec::with_capacity(most));
        head.extend_from_slice(&self.before);
        head.extend_from_slice(b"<ApplicationToken xmlns=\"");
        head.extend_from_slice(namespace.as_bytes());
        head.extend_from_slice(b"\">");
        escape(app_token, &mut head);
        head.extend_from_slice(b"</ApplicationToken><Credentials xmlns=\"");
        head.extend_from_slice(namespace.as_bytes());
        head.extend_from_slice(b"\"><Ticket>");
        escape(ticket, &mut head);
        head.extend_from_slice(b"</Ticket></Credentials>");
        head.extend_from_slice(&self.after);
        Bytes::from_owner(head)
    }
}

/// `&amp;`, and `&#127;` for what is one byte; longer characters have shorter references, byte by byte.
const LONGEST_REFERENCE: usize = 6;

/// Text that means the same in every encoding that has ASCII in it.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            ' '..='~' => out.push(c as u8),
            other => out.extend_from_slice(format!("&#{};", u32::from(other)).as_bytes()),
        }
    }
}
