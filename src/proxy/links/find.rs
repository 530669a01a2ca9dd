//! Where an absolute URL may stand in a text: the cheap search that nearly every body ends with.

use memchr::Memchr;

/// Whether something stands at a place, when the text may go on behind what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    Yes(T),
    No,
    /// It depends on what comes next.
    More,
}

impl<T> Step<T> {
    pub(super) fn then<U>(self, next: impl FnOnce(T) -> Step<U>) -> Step<U> {
        match self {
            Step::Yes(value) => next(value),
            Step::No => Step::No,
            Step::More => Step::More,
        }
    }
}

/// A text and whether it ends where it ends.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) last: bool,
}

impl Text<'_> {
    /// `pattern` at `at` without regard to case, each of its slashes written `\/` if `escaped`; the place behind it.
    pub(super) fn eat(self, mut at: usize, pattern: &str, escaped: bool) -> Step<usize> {
        for &wanted in pattern.as_bytes() {
            if escaped && wanted == b'/' {
                match self.bytes.get(at) {
                    Some(b'\\') => at += 1,
                    Some(_) => return Step::No,
                    None => return self.end(),
                }
            }
            match self.bytes.get(at) {
                Some(byte) if byte.eq_ignore_ascii_case(&wanted) => at += 1,
                Some(_) => return Step::No,
                None => return self.end(),
            }
        }
        Step::Yes(at)
    }

    /// Whether a path segment ends at `at`. Nothing that could be read as a longer segment, or a longer port or host, ends
    /// one; a full stop neither, although it may end a sentence.
    pub(super) fn boundary(self, at: usize) -> Step<usize> {
        match self.bytes.get(at) {
            Some(b'-' | b'_' | b'.' | b'~' | b'%' | b':' | b'@' | b'=' | b'+' | b'$' | b'*' | 0x80..) => Step::No,
            Some(byte) if byte.is_ascii_alphanumeric() => Step::No,
            None if !self.last => Step::More,
            _ => Step::Yes(at),
        }
    }

    /// What is asked for begins with all that is there.
    pub(super) fn end<T>(self) -> Step<T> {
        if self.last { Step::No } else { Step::More }
    }
}

/// Where a URL begins that has its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The scheme's first byte.
    pub(super) at: usize,
    /// The authority's first byte.
    pub(super) authority: usize,
    pub(super) https: bool,
    /// Whether its slashes are.
    pub(super) escaped: bool,
}

/// The URLs of a text from left to right.
pub(super) struct Starts<'a> {
    text: &'a [u8],
    /// Slashes are rare in JSON, and to look for one byte costs a fraction of what a longer text does.
    slashes: Memchr<'a>,
}

impl<'a> Starts<'a> {
    pub(super) fn new(text: &'a [u8]) -> Starts<'a> {
        Starts { text, slashes: memchr::memchr_iter(b'/', text) }
    }

    /// The next that begins at `from` or later.
    pub(super) fn next(&mut self, from: usize) -> Option<Start> {
        loop {
            let slash = self.slashes.next()?;
            let (before, rest) = (self.text.get(from..slash).unwrap_or_default(), &self.text[slash..]);
            let (before, length, escaped) = match before {
                [before @ .., b':'] if rest.starts_with(b"//") => (before, 2, false),
                [before @ .., b':', b'\\'] if rest.starts_with(br"/\/") => (before, 3, true),
                _ => continue,
            };
            if let Some((at, https)) = scheme(before) {
                return Some(Start { at: from + at, authority: slash + length, https, escaped });
            }
        }
    }
}

/// The scheme that a text ends with.
fn scheme(before: &[u8]) -> Option<(usize, bool)> {
    let ends = |name: &[u8]| before.len().checked_sub(name.len()).filter(|&at| before[at..].eq_ignore_ascii_case(name));
    ends(b"https").map(|at| (at, true)).or_else(|| ends(b"http").map(|at| (at, false)))
}

/// Where a URL's scheme and slashes begin that the text's end cuts off, at `from` or later.
pub(super) fn cut_off(text: &[u8], from: usize) -> Option<usize> {
    const WHOLE: [&[u8]; 4] = [b"https://", br"https:\/\/", b"http://", br"http:\/\/"];
    let from = from.max((text.len() + 1).saturating_sub(WHOLE[1].len()));
    let begins = |rest: &[u8]| WHOLE.iter().any(|whole| rest.len() < whole.len() && whole[..rest.len()].eq_ignore_ascii_case(rest));
    (from..text.len()).find(|&at| begins(&text[at..]))
}
