//! Where in an envelope the credentials go, and what makes room for them.

use std::ops::Range;

use super::Bad;
use super::content;
use super::service::Service;
use super::walk::{Element, Step, Walk, attribute};

/// SOAP 1.1 and 1.2.
pub(super) const ENVELOPES: [&str; 2] = ["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"];

const NO_ENVELOPE: Bad = Bad("a SOAP envelope was expected");
const NO_BODY: Bad = Bad("it has no Body");

/// What is to be done with an envelope.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Credentials that the caller sent.
    pub(super) cuts: Vec<Range<usize>>,
    /// Where ours go.
    pub(super) place: Option<Place>,
    /// What the Body says of the service; else what the caller's credentials say.
    pub(super) service: Option<Service>,
}

/// Where credentials go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the Header's start tag, which ends here.
    Header(usize),
    /// The same, but the tag is `<s:Header/>`: it ends here, and has this name.
    Empty(usize, Range<usize>),
    /// There is no Header: it goes here, and this is the name of the Envelope.
    None(usize, Range<usize>),
}

/// Goes through the beginning of an envelope while it comes: up to the first element of its Body.
pub(super) struct Scan {
    walk: Walk,
    from: usize,
    /// The Envelope's name and namespace.
    envelope: Option<(Range<usize>, &'static str)>,
    within: Within,
    /// What of the caller's credentials is open: where it begins, and how many elements are around it.
    cut: Option<(usize, usize)>,
    plan: Plan,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Header,
    Body,
    Other,
}

/// A part of an envelope.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Body,
    Other,
}

/// The namespace of the envelope that this element is.
pub(super) fn envelope(namespace: &str, local: &[u8]) -> Option<&'static str> {
    ENVELOPES.into_iter().find(|known| *known == namespace).filter(|_| local == b"Envelope")
}

/// What an element of an Envelope is.
pub(super) fn part(envelope: &str, namespace: &str, local: &[u8]) -> Result<Part, Bad> {
    match local {
        b"Header" | b"Body" if namespace != envelope => Err(Bad("its Header or Body is in another namespace than its Envelope")),
        b"Header" => Ok(Part::Header),
        b"Body" => Ok(Part::Body),
        _ => Ok(Part::Other),
    }
}

fn is_credential(local: &[u8]) -> bool {
    local == b"ApplicationToken" || local == b"Credentials"
}

impl Scan {
    /// Of an envelope that begins here.
    pub(super) fn new(from: usize) -> Scan {
        Scan { walk: Walk::new(from), from, envelope: None, within: Within::Other, cut: None, plan: Plan::default() }
    }

    /// How far it has come.
    pub(super) fn place(&self) -> usize {
        self.walk.place()
    }

    /// Reads on in the same text, which may have grown. `None` if more is needed.
    pub(super) fn go(&mut self, text: &[u8]) -> Result<Option<Plan>, Bad> {
        while let Some(step) = self.walk.next(text)? {
            let complete = match step {
                Step::Start(element) => self.start(text, element)?,
                Step::End { depth, end } => self.end(depth, end)?,
                Step::Text(range) if self.envelope.is_none() && !text[range.clone()].trim_ascii().is_empty() => return Err(NO_ENVELOPE),
                Step::Data(_) if self.envelope.is_none() => return Err(NO_ENVELOPE),
                Step::Instruction(range) if range.start == self.from => declaration(&text[range])?,
                _ => false,
            };
            if complete {
                return Ok(Some(std::mem::take(&mut self.plan)));
            }
        }
        Ok(None)
    }

    /// Whether everything is known.
    fn start(&mut self, text: &[u8], element: Element) -> Result<bool, Bad> {
        if element.depth > 2 || self.cut.is_some() {
            return Ok(false);
        }
        let (namespace, local) = self.walk.meaning(text, &element)?;
        let Some((_, soap)) = &self.envelope else {
            let soap = envelope(namespace, local).ok_or(NO_ENVELOPE)?;
            if element.empty {
                return Err(NO_BODY);
            }
            self.envelope = Some((element.name, soap));
            return Ok(false);
        };
        if element.depth == 2 && self.within == Within::Body {
            self.plan.service = Service::of(namespace).or(self.plan.service.take());
            return Ok(true);
        }
        let credential = is_credential(local);
        if credential && self.plan.service.is_none() {
            self.plan.service = Service::of(namespace);
        }
        if element.depth == 1 {
            match part(soap, namespace, local)? {
                Part::Header => {
                    if self.plan.place.is_some() {
                        return Err(Bad("it has two Headers"));
                    }
                    self.within = if element.empty { Within::Other } else { Within::Header };
                    self.plan.place = Some(match element.empty {
                        true => Place::Empty(element.range.end, element.name),
                        false => Place::Header(element.range.end),
                    });
                    return Ok(false);
                }
                Part::Body => {
                    self.within = Within::Body;
                    if let (None, Some((name, _))) = (&self.plan.place, &self.envelope) {
                        self.plan.place = Some(Place::None(element.range.start, name.clone()));
                    }
                    return Ok(element.empty);
                }
                // SuperOffice's documentation shows credentials here, without a Header: they are taken for what was meant.
                Part::Other => self.within = Within::Other,
            }
        } else if self.within != Within::Header {
            return Ok(false);
        }
        if credential {
            match element.empty {
                true => self.plan.cuts.push(element.range),
                false => self.cut = Some((element.range.start, element.depth)),
            }
        }
        Ok(false)
    }

    fn end(&mut self, depth: usize, end: usize) -> Result<bool, Bad> {
        if let Some((start, around)) = self.cut
            && around == depth
        {
            self.plan.cuts.push(start..end);
            self.cut = None;
        }
        match (depth, self.within) {
            (0, _) => Err(NO_BODY),
            (1, Within::Body) => Ok(true),
            (1, _) => {
                self.within = Within::Other;
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}

/// What an XML declaration says; not that it completes anything.
fn declaration(text: &[u8]) -> Result<bool, Bad> {
    let Some(mut rest) = text.strip_prefix(b"<?xml").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace)) else {
        return Ok(false);
    };
    rest = &rest[..rest.len() - 2];
    while let Some((name, value, behind)) = attribute(rest)? {
        if name == b"encoding" {
            content::readable(value)?;
        }
        rest = behind;
    }
    Ok(false)
}
