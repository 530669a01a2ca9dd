//! Whether an answer says that the ticket has expired: `Succeeded` is false, and `ExceptionInfo/ExceptionType` is a listed name.
//!
//! Assumption: which type that is, nobody has recorded. `SoSessionException` is what SuperOffice's own documentation shows for
//! credentials that were not accepted (`SuperOffice.Exceptions.SoSessionException: Authentication failed!`). It is thrown when
//! a session is made for a call, before the call does anything; so such a call can be sent once more.

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Response};
use http_body::Body as HttpBody;

use super::content::{Form, behind_mark};
use super::peek::Peeked;
use super::plan::{self, Part};
use super::related::Root;
use super::service::Service;
use super::walk::{Step, Walk, plain};
use super::{Bad, HELD};
use crate::body::BoxError;
use crate::proxy::links::coding::{Coding, Decoder};

/// `soap_ticket_faults`: the types of exceptions that mean that a ticket has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketFaults(Box<[Box<str>]>);

impl Default for TicketFaults {
    fn default() -> TicketFaults {
        TicketFaults::new(&[TicketFaults::ASSUMED])
    }
}

impl TicketFaults {
    /// What is listed if nobody says otherwise.
    pub const ASSUMED: &'static str = "SoSessionException";

    /// These names; without a dot, in whatever namespace of .NET's.
    pub fn new<S: AsRef<str>>(names: &[S]) -> TicketFaults {
        TicketFaults(names.iter().map(|name| name.as_ref().into()).collect())
    }

    fn has(&self, exception: &str) -> bool {
        let bare = exception.rsplit('.').next().unwrap_or_default();
        self.0.iter().any(|name| **name == *exception || **name == *bare)
    }

    /// Whether an answer says that the ticket has expired; and the answer as it came.
    pub async fn judge<B>(&self, response: Response<B>) -> (bool, Response<Peeked<B>>)
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        let (head, body) = response.into_parts();
        let mut body = Peeked::new(body, None);
        let expired = match Reading::new(&head.headers) {
            Some(reading) if !self.0.is_empty() && !body.is_end_stream() => self.read(reading, &mut body).await,
            _ => false,
        };
        (expired, Response::from_parts(head, body))
    }

    async fn read<B>(&self, mut reading: Reading, body: &mut Peeked<B>) -> bool
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        // Nothing that cannot be read is an expired ticket.
        while let Ok(None) = reading.go(body.text()) {
            if body.text().len() >= HELD || !body.more().await {
                return false;
            }
        }
        reading.succeeded == Some(false) && reading.exception.is_some_and(|exception| self.has(exception.trim()))
    }
}

/// The beginning of one answer.
struct Reading {
    decoder: Option<Decoder>,
    /// How much was decoded.
    taken: usize,
    decoded: Vec<u8>,
    root: Option<Root>,
    walk: Option<Walk>,
    envelope: Option<&'static str>,
    /// The names of elements of the Header that are open, as far as they matter.
    path: Vec<Name>,
    text: String,
    succeeded: Option<bool>,
    exception: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Envelope,
    Header,
    Succeeded,
    ExceptionInfo,
    ExceptionType,
    Other,
}

impl Reading {
    /// Of an answer that may be one of these.
    fn new(headers: &HeaderMap) -> Option<Reading> {
        let root = match Form::of(headers).ok()? {
            Form::Xml => None,
            Form::Related { boundary, start } => Some(Root::new(&boundary, start)),
        };
        let coding =
            headers.get(CONTENT_ENCODING).map_or(Some(Coding::Identity), |coding| Coding::named(coding.as_bytes().trim_ascii()))?;
        let decoder = Decoder::new(coding);
        let (path, text) = (Vec::new(), String::new());
        Some(Reading {
            decoder,
            taken: 0,
            decoded: Vec::new(),
            root,
            walk: None,
            envelope: None,
            path,
            text,
            succeeded: None,
            exception: None,
        })
    }

    /// Reads on in a body, which may have grown. `None` if more is needed.
    fn go(&mut self, body: &[u8]) -> Result<Option<()>, Bad> {
        let Some(decoder) = &mut self.decoder else { return self.read(&body[..body.len().min(HELD)]) };
        let mut decoded = std::mem::take(&mut self.decoded);
        let mut input = &body[self.taken..];
        while decoded.len() < HELD {
            let before = (decoded.len(), input.len());
            let room = HELD - decoded.len();
            decoder.decode(&mut input, &mut decoded, room).map_err(|_| Bad("not in its coding"))?;
            if (decoded.len(), input.len()) == before {
                break;
            }
        }
        self.taken = body.len() - input.len();
        let step = self.read(&decoded);
        let full = decoded.len() >= HELD;
        self.decoded = decoded;
        match step {
            Ok(None) if full => Err(Bad("too long")),
            step => step,
        }
    }

    fn read(&mut self, text: &[u8]) -> Result<Option<()>, Bad> {
        if self.walk.is_none() {
            let begin = match &mut self.root {
                Some(root) => root.go(text)?,
                None => Some(0),
            };
            let Some(begin) = begin else { return Ok(None) };
            let Some(mark) = behind_mark(&text[begin..])? else { return Ok(None) };
            self.walk = Some(Walk::new(begin + mark));
        }
        let Some(mut walk) = self.walk.take() else { return Ok(None) };
        let step = self.walk(&mut walk, text);
        self.walk = Some(walk);
        step
    }

    fn walk(&mut self, walk: &mut Walk, text: &[u8]) -> Result<Option<()>, Bad> {
        while let Some(step) = walk.next(text)? {
            match step {
                Step::Start(element) => {
                    let (namespace, local) = walk.meaning(text, &element)?;
                    let Some(name) = self.name(namespace, local)? else { return Ok(Some(())) };
                    self.text.clear();
                    if !element.empty {
                        self.path.push(name);
                    }
                }
                Step::End { .. } => {
                    let name = self.path.pop();
                    match name {
                        // It is said only once, and everything is said in the Header.
                        Some(Name::Succeeded) => self.succeeded = Some(!matches!(self.text.trim(), "false" | "0")),
                        Some(Name::ExceptionType) => self.exception = Some(std::mem::take(&mut self.text)),
                        Some(Name::Header | Name::Envelope) | None => return Ok(Some(())),
                        _ => {}
                    }
                    if self.succeeded == Some(true) || (self.succeeded.is_some() && self.exception.is_some()) {
                        return Ok(Some(()));
                    }
                }
                Step::Text(range) if self.matters() => self.text.push_str(&plain(&text[range])?),
                Step::Data(range) if self.matters() => self.text.push_str(&String::from_utf8_lossy(&text[range])),
                _ => {}
            }
        }
        Ok(None)
    }

    fn matters(&self) -> bool {
        matches!(self.path.last(), Some(Name::Succeeded | Name::ExceptionType))
    }

    /// What an element is; `None` if it is the Body, before which everything is said.
    fn name(&mut self, namespace: &str, local: &[u8]) -> Result<Option<Name>, Bad> {
        let services = || Service::of(namespace).is_some();
        Ok(Some(match (&self.path[..], local) {
            ([], _) => {
                self.envelope = plan::envelope(namespace, local);
                self.envelope.ok_or(Bad("no envelope"))?;
                Name::Envelope
            }
            ([Name::Envelope], _) => match plan::part(self.envelope.unwrap_or_default(), namespace, local)? {
                Part::Header => Name::Header,
                Part::Body => return Ok(None),
                Part::Other => Name::Other,
            },
            ([.., Name::Header], b"Succeeded") if services() => Name::Succeeded,
            ([.., Name::Header], b"ExceptionInfo") if services() => Name::ExceptionInfo,
            // Those of inner exceptions lie deeper.
            ([.., Name::ExceptionInfo], b"ExceptionType") if services() => Name::ExceptionType,
            _ => Name::Other,
        }))
    }
}
