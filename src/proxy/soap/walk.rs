//! A way through a document that is still growing: its elements with their namespaces, and what is between them.

use std::ops::Range;

use super::Bad;
use super::lexer::{Lexer, Token};

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Start(Element),
    /// The end tag of an element that has `depth` others around it, and where it ends.
    End {
        depth: usize,
        end: usize,
    },
    /// Text as it is written, with its references.
    Text(Range<usize>),
    /// Text that has none.
    Data(Range<usize>),
    Instruction(Range<usize>),
    Comment,
}

/// A start tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) range: Range<usize>,
    /// The name as it is written.
    pub(super) name: Range<usize>,
    /// How many elements are around it.
    pub(super) depth: usize,
    /// Whether it is its own end, too.
    pub(super) empty: bool,
}

/// The place in a document.
pub(super) struct Walk {
    lexer: Lexer,
    open: Vec<Open>,
    /// The namespaces that open elements declare: prefix (none is the default) and name.
    declared: Vec<(Box<[u8]>, Box<str>)>,
    /// Whether the last element is open only because it may still be asked about.
    done: bool,
}

struct Open {
    name: Range<usize>,
    /// How many namespaces were declared before it.
    declared: usize,
}

impl Walk {
    pub(super) fn new(from: usize) -> Walk {
        Walk { lexer: Lexer::new(from), open: Vec::new(), declared: Vec::new(), done: false }
    }

    /// Where the next step begins.
    pub(super) fn place(&self) -> usize {
        self.lexer.place()
    }

    /// `None` if more of the text is needed.
    pub(super) fn next(&mut self, text: &[u8]) -> Result<Option<Step>, Bad> {
        if std::mem::take(&mut self.done) {
            self.close();
        }
        let Some(token) = self.lexer.next(text)? else { return Ok(None) };
        Ok(Some(match token {
            Token::Text(range) => Step::Text(range),
            Token::Data(range) => Step::Data(range),
            Token::Instruction(range) => Step::Instruction(range),
            Token::Comment => Step::Comment,
            Token::Start { range, empty } => {
                let (name, depth) = (self.start(text, range.start + 1..range.end - 1 - usize::from(empty))?, self.open.len() - 1);
                self.done = empty;
                Step::Start(Element { range, name, depth, empty })
            }
            Token::End(range) => {
                let name = text[range.start + 2..range.end - 1].trim_ascii_end();
                match self.open.last() {
                    Some(open) if &text[open.name.clone()] == name => self.close(),
                    _ => return Err(Bad("it is not well formed: an end tag without its start tag")),
                }
                Step::End { depth: self.open.len(), end: range.end }
            }
        }))
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.declared.truncate(open.declared);
        }
    }

    /// Reads what is between the brackets of a start tag.
    fn start(&mut self, text: &[u8], tag: Range<usize>) -> Result<Range<usize>, Bad> {
        let length = name_length(&text[tag.clone()])?;
        let name = tag.start..tag.start + length;
        self.open.push(Open { name: name.clone(), declared: self.declared.len() });
        let mut rest = &text[name.end..tag.end];
        while let Some((attribute, value, behind)) = attribute(rest)? {
            let prefix = match attribute {
                b"xmlns" => Some(&b""[..]),
                _ => attribute.strip_prefix(b"xmlns:"),
            };
            if let Some(prefix) = prefix {
                self.declared.push((prefix.into(), plain(value)?.into()));
            }
            rest = behind;
        }
        Ok(name)
    }

    /// The namespace and the local name of the element that was started last.
    pub(super) fn meaning<'t>(&self, text: &'t [u8], element: &Element) -> Result<(&str, &'t [u8]), Bad> {
        let name = &text[element.name.clone()];
        let (prefix, local) = match memchr::memchr(b':', name) {
            Some(colon) => (&name[..colon], &name[colon + 1..]),
            None => (&name[..0], name),
        };
        let declared = self.declared.iter().rev().find(|(have, _)| **have == *prefix);
        match declared {
            Some((_, namespace)) => Ok((namespace, local)),
            None if prefix.is_empty() => Ok(("", local)),
            None => Err(Bad("it is not well formed: a prefix that is not declared")),
        }
    }
}

const NO_NAME: Bad = Bad("it is not well formed: a tag without a name");
const NO_ATTRIBUTE: Bad = Bad("it is not well formed: an attribute that is none");

fn name_length(text: &[u8]) -> Result<usize, Bad> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'=';
    let length = text.iter().position(ends).unwrap_or(text.len());
    let odd = |byte: &u8| matches!(byte, b'"' | b'\'' | b'/' | b'>' | b'&' | b'<') || byte.is_ascii_control();
    if length == 0 || text[..length].iter().any(odd) { Err(NO_NAME) } else { Ok(length) }
}

/// The first attribute of a text: its name, its value, and what is behind it.
#[expect(clippy::type_complexity, reason = "three parts of one text")]
pub(super) fn attribute(text: &[u8]) -> Result<Option<(&[u8], &[u8], &[u8])>, Bad> {
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Ok(None);
    }
    let (name, behind) = text.split_at(name_length(text)?);
    let value = behind.trim_ascii_start().strip_prefix(b"=").ok_or(NO_ATTRIBUTE)?.trim_ascii_start();
    let (quote, value) = value.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\'')).ok_or(NO_ATTRIBUTE)?;
    let end = memchr::memchr(*quote, value).ok_or(NO_ATTRIBUTE)?;
    Ok(Some((name, &value[..end], &value[end + 1..])))
}

/// Text with its references read. There is no DOCTYPE, so there are no others than these.
pub(super) fn plain(written: &[u8]) -> Result<String, Bad> {
    const NO_TEXT: Bad = Bad("it is not well formed: a character or a reference that is none");
    let written = std::str::from_utf8(written).map_err(|_| NO_TEXT)?;
    let (mut text, mut rest) = (String::with_capacity(written.len()), written);
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        let (reference, behind) = rest[at + 1..].split_once(';').ok_or(NO_TEXT)?;
        text.push(match reference {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let code = reference.strip_prefix('#').ok_or(NO_TEXT)?;
                let code = match code.strip_prefix('x') {
                    Some(code) => u32::from_str_radix(code, 16),
                    None => code.parse(),
                };
                code.ok().and_then(char::from_u32).ok_or(NO_TEXT)?
            }
        });
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> Result<Vec<String>, Bad> {
        let (mut walk, mut all) = (Walk::new(0), Vec::new());
        while let Some(step) = walk.next(text.as_bytes())? {
            if let Step::Start(element) = step {
                let (namespace, local) = walk.meaning(text.as_bytes(), &element)?;
                all.push(format!("{}{{{namespace}}}{}", element.depth, String::from_utf8_lossy(local)));
            }
        }
        Ok(all)
    }

    #[test]
    fn namespaces_are_those_in_scope() {
        let text = "<a xmlns='urn:1' xmlns:p = \"urn:2\"><p:b xmlns:p='urn:3'/><p:c\txmlns=''><d/></p:c ><e x:y='z' p:xmlns='no'/></a>";
        assert_eq!(elements(text).unwrap(), ["0{urn:1}a", "1{urn:3}b", "1{urn:2}c", "2{}d", "1{urn:1}e"]);
        assert_eq!(elements("<p:a xmlns:p='&#117;r&#x6E;:&amp;'/>").unwrap(), ["0{urn:&}a"]);
    }

    #[test]
    fn what_is_not_well_formed() {
        for bad in [
            "<a></b>",
            "</a>",
            "<p:a/>",
            "<a b/>",
            "<a b=c/>",
            "<a b='c' d/>",
            "< a/>",
            "<a xmlns='&x;'/>",
            "<a xmlns='&#xD800;'/>",
            "<=a/>",
        ] {
            assert!(elements(bad).is_err(), "{bad}");
        }
    }
}
