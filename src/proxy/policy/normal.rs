//! The one normal form of a path, on which rules are matched: percent-decoded once, in small letters. The original bytes go
//! upstream, so that a path that SuperOffice could take for another one than this has no normal form, and is refused.
//!
//! SuperOffice runs on Windows, IIS and ASP.NET, its scripts behind CGI. What these make of a path: case does not matter; a name
//! that ends in dots or blanks loses them; `name::$DATA` is `name`, and so may `NAME~1` be; ASP.NET cuts `(S(…))` out; and a
//! character that a code page lacks becomes one that looks like it (`／` a slash, `ſ` an s), by tables that differ from one code
//! page to the next. Of what is not ASCII only the letters of Latin-1 pass, therefore.
//!
//! Whether empty segments count, servers do not agree: such a path is judged by both [`Reading`]s.

use crate::proxy::target::{self, DECODED_TWICE};

/// A path in its normal form: empty, or beginning with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal {
    written: String,
    /// Without empty segments, if there are any.
    collapsed: Option<String>,
}

/// One way to read a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// As it is written.
    Written(&'a str),
    /// Without its empty segments.
    Collapsed(&'a str),
}

impl Normal {
    /// The normal form of a path. On failure, why it has none.
    pub fn of(path: &str) -> Result<Normal, &'static str> {
        if !path.is_empty() && !path.starts_with('/') {
            return Err("it does not begin with a slash");
        }
        let written = fold(path)?;
        for segment in written.split('/') {
            check_segment(segment)?;
        }
        let collapsed = (written.contains("//") || written.ends_with('/')).then(|| collapse(&written));
        Ok(Normal { written, collapsed })
    }

    /// As it is written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Without empty segments.
    pub fn collapsed(&self) -> &str {
        self.collapsed.as_deref().unwrap_or(&self.written)
    }

    /// Every way in which a server may read it.
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading<'_>> {
        std::iter::once(Reading::Written(&self.written)).chain(self.collapsed.as_deref().map(Reading::Collapsed))
    }
}

fn collapse(path: &str) -> String {
    path.split('/').filter(|segment| !segment.is_empty()).flat_map(|segment| ["/", segment]).collect()
}

/// Decodes, and makes small letters. For a part of a segment, too: nothing here looks at a segment as a whole.
pub(super) fn fold(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'$' | b',' | b'@');
    // To its end in any case: that way many bytes are looked at in one step.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        return Ok(text.to_ascii_lowercase());
    }
    let decoded = target::decode(text)?;
    if target::is_encoded_again(&decoded) {
        return Err(DECODED_TWICE);
    }
    let decoded = std::str::from_utf8(&decoded).map_err(|_| "it is not UTF-8")?;
    decoded.chars().map(fold_char).collect()
}

fn fold_char(c: char) -> Result<char, &'static str> {
    match c {
        '\\' | ';' => Err("it holds a backslash or a semicolon"),
        // Behind a second decoding, the path would end here.
        '?' | '#' => Err("it holds an encoded question mark or number sign"),
        c if c.is_control() => Err("it holds a control character"),
        c if c.is_ascii() => Ok(c.to_ascii_lowercase()),
        '\u{d7}' | '\u{f7}' => Err(BEYOND),
        '\u{c0}'..='\u{ff}' => c.to_lowercase().next().ok_or(BEYOND),
        _ => Err(BEYOND),
    }
}

const BEYOND: &str = "it holds a character that Windows may take for another one";

/// What can only be said of a segment as a whole. In a rule it may hold `*`.
pub(super) fn check_segment(segment: &str) -> Result<(), &'static str> {
    if segment.ends_with(['.', ' ']) || segment.starts_with(' ') {
        return Err("a segment begins or ends with a blank, or ends with a dot");
    }
    // Rare, one by one and all together.
    if !segment.bytes().fold(false, |found, byte| found | matches!(byte, b':' | b'~' | b'(')) {
        return Ok(());
    }
    if target::is_dot_segment(segment.as_bytes()) {
        return Err("a segment is a dot segment (..:x)");
    }
    if segment.ends_with(':') || segment.contains("::") || segment.contains(":$") {
        return Err("a segment names a stream of a file (name::$DATA)");
    }
    if segment.split('~').skip(1).any(|behind| behind.starts_with(|c: char| c.is_ascii_digit())) {
        return Err("a segment may be a short name (NAME~1)");
    }
    match target::holds_a_session(segment.as_bytes()) {
        true => Err("a segment holds what ASP.NET cuts out ((S(…)))"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
