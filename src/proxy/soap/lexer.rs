//! XML in tokens, out of a text that is still growing: each byte is looked at once, however small the pieces it comes in.

use std::ops::Range;

use memchr::{memchr, memchr3, memmem};

use super::Bad;

/// One piece of markup, or the text between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Text(Range<usize>),
    /// `<a>`, or `<a/>` if it is empty.
    Start {
        range: Range<usize>,
        empty: bool,
    },
    End(Range<usize>),
    /// What a CDATA section holds.
    Data(Range<usize>),
    /// The whole of `<?…?>`.
    Instruction(Range<usize>),
    Comment,
}

/// The place in a text.
pub(super) struct Lexer {
    /// Where the token begins.
    from: usize,
    /// Up to where its end was looked for.
    at: usize,
    /// In which quotes of a start tag that is.
    quote: Option<u8>,
}

const DATA: &[u8] = b"<![CDATA[";
const BROKEN_TAG: Bad = Bad("it is not well formed: a tag within a tag");

impl Lexer {
    pub(super) fn new(from: usize) -> Lexer {
        Lexer { from, at: from, quote: None }
    }

    /// Where the next token begins.
    pub(super) fn place(&self) -> usize {
        self.from
    }

    /// The next token; `None` if more of the text is needed.
    pub(super) fn next(&mut self, text: &[u8]) -> Result<Option<Token>, Bad> {
        let here = &text[self.from..];
        let from = self.from;
        let token = match here {
            [] | [b'<'] => None,
            [b'<', b'/', ..] => self.until(text, 2, b">").map(Token::End),
            [b'<', b'?', ..] => self.until(text, 2, b"?>").map(Token::Instruction),
            [b'<', b'!', ..] => {
                if here.starts_with(b"<!--") {
                    self.until(text, 4, b"-->").map(|_| Token::Comment)
                } else if here.starts_with(DATA) {
                    self.until(text, DATA.len(), b"]]>").map(|range| Token::Data(range.start + DATA.len()..range.end - 3))
                } else if b"<!--".starts_with(here) || DATA.starts_with(here) {
                    None
                } else {
                    return Err(Bad("it has a DOCTYPE, which SOAP forbids"));
                }
            }
            [b'<', ..] => self.tag(text)?.map(|range| Token::Start { empty: text[range.end - 2] == b'/', range }),
            _ => match memchr(b'<', &text[self.at..]) {
                Some(end) => Some(Token::Text(self.took(self.at + end))),
                None => {
                    self.at = text.len();
                    None
                }
            },
        };
        debug_assert!(token.is_none() || self.from > from);
        Ok(token)
    }

    fn took(&mut self, end: usize) -> Range<usize> {
        let range = self.from..end;
        (self.from, self.at) = (end, end);
        range
    }

    /// The token that begins with so many bytes and ends with these.
    fn until(&mut self, text: &[u8], begin: usize, end: &[u8]) -> Option<Range<usize>> {
        self.at = self.at.max(self.from + begin);
        match memmem::find(&text[self.at..], end) {
            Some(found) => Some(self.took(self.at + found + end.len())),
            None => {
                // The end's own beginning may be there already.
                self.at = self.at.max(text.len().saturating_sub(end.len() - 1));
                None
            }
        }
    }

    fn tag(&mut self, text: &[u8]) -> Result<Option<Range<usize>>, Bad> {
        self.at = self.at.max(self.from + 1);
        while self.at < text.len() {
            let rest = &text[self.at..];
            if let Some(quote) = self.quote {
                let Some(end) = memchr(quote, rest) else {
                    self.at = text.len();
                    break;
                };
                self.at += end + 1;
                self.quote = None;
                continue;
            }
            let Some(next) = memchr3(b'>', b'"', b'\'', rest) else {
                self.at = text.len();
                break;
            };
            self.at += next + 1;
            match rest[next] {
                b'>' if memchr(b'<', &text[self.from + 1..self.at]).is_some() => return Err(BROKEN_TAG),
                b'>' => return Ok(Some(self.took(self.at))),
                quote => self.quote = Some(quote),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<?xml version='1.0'?>\n<!-- <a> - -- --><a:b c='>\"' d=\"/>\"><![CDATA[<x>]] ]]>t&amp;<e f='' /><g/></a:b> ";

    fn tokens(text: &str, step: usize) -> Vec<Token> {
        let mut lexer = Lexer::new(0);
        let mut all = Vec::new();
        for end in (0..=text.len()).step_by(step).chain([text.len()]) {
            while let Some(token) = lexer.next(&text.as_bytes()[..end]).unwrap() {
                all.push(token);
            }
        }
        all
    }

    #[test]
    fn tokens_are_the_same_in_pieces_of_any_size() {
        let whole = tokens(TEXT, TEXT.len());
        let shown = |token: &Token| match token {
            Token::Text(range) | Token::End(range) | Token::Data(range) | Token::Instruction(range) | Token::Start { range, .. } => {
                &TEXT[range.clone()]
            }
            Token::Comment => "comment",
        };
        let texts: Vec<&str> = whole.iter().map(shown).collect();
        assert_eq!(
            texts,
            ["<?xml version='1.0'?>", "\n", "comment", "<a:b c='>\"' d=\"/>\">", "<x>]] ", "t&amp;", "<e f='' />", "<g/>", "</a:b>"]
        );
        let empty: Vec<bool> =
            whole.iter().filter_map(|token| if let Token::Start { empty, .. } = token { Some(*empty) } else { None }).collect();
        assert_eq!(empty, [false, true, true]);
        for step in 1..20 {
            assert_eq!(tokens(TEXT, step), whole, "{step}");
        }
    }

    #[test]
    fn declarations_and_broken_tags_are_refused() {
        for bad in ["<!DOCTYPE a>", "<!ENTITY x 'y'>", "<!-x", "<a <b>", "<a b='<'>", "<![CDATX["] {
            assert!(Lexer::new(0).next(bad.as_bytes()).is_err(), "{bad}");
        }
        for more in ["", "<", "<!", "<!-", "<![CDATA", "<a b='>", "<a b=\">'", "text", "<!-- --", "<?a ?", "</a"] {
            assert_eq!(Lexer::new(0).next(more.as_bytes()), Ok(None), "{more}");
        }
    }
}
