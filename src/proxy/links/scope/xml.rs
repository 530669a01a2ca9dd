//! A reader of XML that knows where it is. It finds no fault with anything: what is no XML just has no links.
//!
//! Assumption: how SuperOffice writes links in XML was not found. A JSON member `x` is taken to be an element whose local name
//! is `x`, with any prefix, and with characters that names cannot hold written as .NET does (`_x0040_odata.id`, `_x005F_Links`);
//! links are texts and attribute values of it and of what is in it.

use memchr::memchr;

use super::{LONGEST_NAME, Run, is_link_name};

/// The place in a document.
pub(in super::super) struct Xml {
    /// All texts and attribute values are links.
    listing: bool,
    /// Of open elements, however many there are.
    depth: u64,
    /// The depth of the element that holds links.
    links_from: Option<u64>,
    place: Place,
    /// What was read of a name, or of what follows `<!`.
    name: Vec<u8>,
    /// Whether the tag's last byte was a slash.
    slash: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// Behind `<`.
    Open,
    /// In a start tag's name.
    Name,
    /// Behind it.
    Tag,
    /// In an attribute's value, with its quote.
    Value(u8),
    EndTag,
    /// Behind `<!`.
    Bang,
    Comment {
        dashes: u8,
    },
    Data {
        brackets: u8,
    },
    Instruction {
        question: bool,
    },
    /// In `<!DOCTYPE …>`.
    Declaration {
        brackets: u32,
        quote: u8,
    },
}

impl Xml {
    pub(super) fn new(listing: bool) -> Xml {
        Xml { listing, depth: 0, links_from: None, place: Place::Text, name: Vec::new(), slash: false }
    }

    fn in_link(&self) -> bool {
        self.listing || self.links_from.is_some()
    }

    pub(super) fn next(&mut self, piece: &[u8]) -> Run {
        let mut at = 0;
        while at < piece.len() {
            let rest = &piece[at..];
            // A link's value: it is a run of its own.
            let value_end = match self.place {
                Place::Text if self.in_link() => Some(memchr(b'<', rest)),
                Place::Value(quote) if self.in_link() => Some(memchr(quote, rest)),
                Place::Data { brackets: 2 } if rest[0] == b'>' => None,
                Place::Data { .. } if self.in_link() => Some(memchr(b']', rest)),
                _ => None,
            };
            match value_end {
                Some(Some(0)) => {
                    self.byte(rest[0]);
                    at += 1;
                }
                Some(_) if at > 0 => return Run { length: at, link: false },
                Some(end) => {
                    if let Place::Data { brackets } = &mut self.place {
                        *brackets = 0;
                    }
                    return Run { length: end.unwrap_or(piece.len()), link: true };
                }
                None => at += self.skip(rest),
            }
        }
        Run { length: piece.len(), link: false }
    }

    /// Reads on where no links are; how many bytes.
    fn skip(&mut self, rest: &[u8]) -> usize {
        let dull = match self.place {
            Place::Text => memchr(b'<', rest),
            Place::Value(quote) => memchr(quote, rest),
            Place::EndTag => memchr(b'>', rest),
            Place::Comment { dashes: 0 } => memchr(b'-', rest),
            _ => Some(0),
        };
        match dull {
            Some(0) => {
                self.byte(rest[0]);
                1
            }
            dull => dull.unwrap_or(rest.len()),
        }
    }

    fn byte(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Text, b'<') => Place::Open,
            (Place::Text, _) => Place::Text,
            (Place::Open, b'/') => Place::EndTag,
            (Place::Open, b'?') => Place::Instruction { question: false },
            (Place::Open, b'!') => {
                self.name.clear();
                Place::Bang
            }
            (Place::Open, _) => {
                self.name.clear();
                self.slash = false;
                self.name.push(byte);
                Place::Name
            }
            (Place::Name, b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n') => {
                self.depth += 1;
                if self.links_from.is_none() && self.name.len() <= LONGEST_NAME && is_link_name(&decoded(&self.name)) {
                    self.links_from = Some(self.depth);
                }
                self.tag(byte)
            }
            (Place::Name, _) => {
                if self.name.len() <= LONGEST_NAME {
                    self.name.push(byte);
                }
                Place::Name
            }
            (Place::Tag, _) => self.tag(byte),
            (Place::Value(quote), _) if byte == quote => Place::Tag,
            (Place::Value(quote), _) => Place::Value(quote),
            (Place::EndTag, b'>') => {
                self.close();
                Place::Text
            }
            (Place::EndTag, _) => Place::EndTag,
            (Place::Bang, _) => self.bang(byte),
            (Place::Comment { dashes: 2 }, b'>') => Place::Text,
            (Place::Comment { dashes }, b'-') => Place::Comment { dashes: (dashes + 1).min(2) },
            (Place::Comment { .. }, _) => Place::Comment { dashes: 0 },
            (Place::Data { brackets: 2 }, b'>') => Place::Text,
            (Place::Data { brackets }, b']') => Place::Data { brackets: (brackets + 1).min(2) },
            (Place::Data { .. }, _) => Place::Data { brackets: 0 },
            (Place::Instruction { question: true }, b'>') => Place::Text,
            (Place::Instruction { .. }, _) => Place::Instruction { question: byte == b'?' },
            (Place::Declaration { brackets, quote }, _) if quote != 0 => {
                Place::Declaration { brackets, quote: if byte == quote { 0 } else { quote } }
            }
            (Place::Declaration { brackets: 0, .. }, b'>') => Place::Text,
            (Place::Declaration { brackets, .. }, b'"' | b'\'') => Place::Declaration { brackets, quote: byte },
            (Place::Declaration { brackets, quote }, b'[') => Place::Declaration { brackets: brackets.saturating_add(1), quote },
            (Place::Declaration { brackets, quote }, b']') => Place::Declaration { brackets: brackets.saturating_sub(1), quote },
            (declaration @ Place::Declaration { .. }, _) => declaration,
        };
    }

    fn tag(&mut self, byte: u8) -> Place {
        match byte {
            b'"' | b'\'' => {
                self.slash = false;
                Place::Value(byte)
            }
            b'>' => {
                if self.slash {
                    self.close();
                }
                Place::Text
            }
            _ => {
                self.slash = byte == b'/';
                Place::Tag
            }
        }
    }

    fn bang(&mut self, byte: u8) -> Place {
        self.name.push(byte);
        let begins = |whole: &[u8]| whole.starts_with(&self.name);
        match &self.name[..] {
            b"--" => Place::Comment { dashes: 0 },
            b"[CDATA[" => Place::Data { brackets: 0 },
            _ if begins(b"--") || begins(b"[CDATA[") => Place::Bang,
            _ if byte == b'>' => Place::Text,
            _ => Place::Declaration { brackets: u32::from(byte == b'['), quote: 0 },
        }
    }

    fn close(&mut self) {
        if self.links_from == Some(self.depth) {
            self.links_from = None;
        }
        self.depth = self.depth.saturating_sub(1);
    }
}

/// A name without its prefix, and with .NET's `_xHHHH_` for characters of ASCII read.
fn decoded(name: &[u8]) -> Vec<u8> {
    let local = memchr(b':', name).map_or(name, |colon| &name[colon + 1..]);
    let (mut read, mut at) = (Vec::with_capacity(local.len()), 0);
    while at < local.len() {
        let coded = local.get(at..at + 7).filter(|coded| coded.starts_with(b"_x00") && coded[6] == b'_');
        let code = coded.and_then(|coded| std::str::from_utf8(&coded[4..6]).ok()).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                read.push(code);
                at += 7;
            }
            None => {
                read.push(local[at]);
                at += 1;
            }
        }
    }
    read
}
