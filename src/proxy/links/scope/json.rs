//! A reader of JSON that knows where it is. It finds no fault with anything: what is no JSON just has no links.

use memchr::memchr2;

use super::{LONGEST_NAME, Run, is_link_name};

/// Deeper nesting passes untouched.
const DEEPEST: usize = 512;

/// The place in a document, or in several one after another.
pub(in super::super) struct Json {
    /// All string values are links.
    listing: bool,
    depth: usize,
    /// One bit for each level: whether it is an object.
    objects: [u64; DEEPEST / 64],
    /// The level of the container that is a link member's value.
    links_from: Option<usize>,
    place: Place,
    /// Whether the next string is a member's name.
    name_next: bool,
    /// Whether the next value is a link member's.
    link_next: bool,
    /// Whether the last byte was a backslash in a string.
    escape: bool,
    /// The name as it is written.
    name: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Name,
    Text {
        link: bool,
    },
    /// Too deep: the rest is not looked at.
    Lost,
}

impl Json {
    pub(super) fn new(listing: bool) -> Json {
        Json {
            listing,
            depth: 0,
            objects: [0; DEEPEST / 64],
            links_from: None,
            place: Place::Between,
            name_next: false,
            link_next: false,
            escape: false,
            name: Vec::new(),
        }
    }

    pub(super) fn next(&mut self, piece: &[u8]) -> Run {
        let mut at = 0;
        while at < piece.len() {
            match self.place {
                Place::Lost => break,
                Place::Between => {
                    self.token(piece[at]);
                    at += 1;
                }
                Place::Text { link: true } => {
                    if at > 0 {
                        return Run { length: at, link: false };
                    }
                    match self.string_end(piece) {
                        // The quote is no link.
                        Some(0) => at = self.leave(0),
                        Some(end) => return Run { length: end, link: true },
                        None => return Run { length: piece.len(), link: true },
                    }
                }
                Place::Text { link: false } => match self.string_end(&piece[at..]) {
                    Some(end) => at = self.leave(at + end),
                    None => break,
                },
                Place::Name => {
                    let end = self.string_end(&piece[at..]);
                    let part = &piece[at..end.map_or(piece.len(), |end| at + end)];
                    let room = (LONGEST_NAME + 1).saturating_sub(self.name.len());
                    self.name.extend_from_slice(&part[..part.len().min(room)]);
                    let Some(end) = end else { break };
                    self.link_next = self.is_link();
                    at = self.leave(at + end);
                }
            }
        }
        Run { length: piece.len(), link: false }
    }

    /// Where the string ends, that is, its closing quote.
    fn string_end(&mut self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if std::mem::take(&mut self.escape) {
                at += 1;
            }
            let found = at + memchr2(b'"', b'\\', text.get(at..)?)?;
            if text[found] == b'"' {
                return Some(found);
            }
            self.escape = true;
            at = found + 1;
            if at == text.len() {
                return None;
            }
        }
    }

    /// Behind the closing quote.
    fn leave(&mut self, quote: usize) -> usize {
        self.place = Place::Between;
        self.name_next = false;
        quote + 1
    }

    fn token(&mut self, byte: u8) {
        match byte {
            b'"' if self.name_next => {
                self.name.clear();
                self.place = Place::Name;
            }
            b'"' => {
                self.place = Place::Text { link: self.listing || self.links_from.is_some() || self.link_next };
                self.link_next = false;
            }
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'}' | b']' => self.close(),
            b',' => {
                self.name_next = self.in_object();
                self.link_next = false;
            }
            b':' => self.name_next = false,
            _ => {}
        }
    }

    fn open(&mut self, object: bool) {
        if self.depth == DEEPEST {
            self.place = Place::Lost;
            return;
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if object {
            self.objects[word] |= bit;
        } else {
            self.objects[word] &= !bit;
        }
        self.depth += 1;
        if std::mem::take(&mut self.link_next) && self.links_from.is_none() {
            self.links_from = Some(self.depth);
        }
        self.name_next = object;
    }

    fn close(&mut self) {
        if self.links_from == Some(self.depth) {
            self.links_from = None;
        }
        self.depth = self.depth.saturating_sub(1);
        self.name_next = false;
        self.link_next = false;
    }

    fn in_object(&self) -> bool {
        self.depth.checked_sub(1).is_some_and(|level| self.objects[level / 64] & (1 << (level % 64)) != 0)
    }

    /// Whether the name that was read is a link's. Names with escapes in them are rare.
    fn is_link(&self) -> bool {
        if self.name.len() > LONGEST_NAME {
            return false;
        }
        if !self.name.contains(&b'\\') {
            return is_link_name(&self.name);
        }
        let quoted = [b"\"", &self.name[..], b"\""].concat();
        serde_json::from_slice::<String>(&quoted).is_ok_and(|name| is_link_name(name.as_bytes()))
    }
}
