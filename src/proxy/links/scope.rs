//! Which parts of a body may be rewritten.

mod json;
mod xml;

/// A reader of bodies in pieces, which says where links are.
pub(super) enum Scope {
    /// Anywhere.
    All,
    /// Where SuperOffice is known to put them, in JSON.
    Json(json::Json),
    /// The same in XML.
    Xml(xml::Xml),
}

/// The first part of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) length: usize,
    /// Whether it is, or belongs to, a value that links may be in. It goes to the value's end, or the piece's. Between two
    /// values there is always something else.
    pub(super) link: bool,
}

impl Scope {
    /// `listing`: all string values are links.
    pub(super) fn json(listing: bool) -> Scope {
        Scope::Json(json::Json::new(listing))
    }

    pub(super) fn xml(listing: bool) -> Scope {
        Scope::Xml(xml::Xml::new(listing))
    }

    /// Reads on; `piece` is not empty.
    pub(super) fn next(&mut self, piece: &[u8]) -> Run {
        match self {
            Scope::All => Run { length: piece.len(), link: true },
            Scope::Json(json) => json.next(piece),
            Scope::Xml(xml) => xml.next(piece),
        }
    }
}

/// Whether a member or element of this name holds links: `odata.nextLink`, `@odata.id`, `x@odata.navigationLink`, `_Links`.
fn is_link_name(name: &[u8]) -> bool {
    const ODATA: &[u8] = b"odata.";
    name.starts_with(ODATA)
        || name.eq_ignore_ascii_case(b"_Links")
        || memchr::memchr_iter(b'@', name).any(|at| name[at + 1..].starts_with(ODATA))
}

/// Names longer than this are no link names.
const LONGEST_NAME: usize = 256;
