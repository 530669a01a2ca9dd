//! Bytes to text, and text to the few words that fit a log line: what key files and replies have in common.
//!
//! Both pass through editors, shells and gateways on their way here, so byte order marks and UTF-16 are ordinary.

use zeroize::Zeroizing;

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotText {
    /// They end inside a character.
    CutOff,
    /// They are something else.
    Binary,
}

/// Reads UTF-8 with or without a byte order mark, or UTF-16; without white space and marks around it. The result is wiped
/// when dropped, since it may be a key or a token.
pub(super) fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, NotText> {
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes)?,
        [0, second, ..] if *second != 0 => utf16(bytes, u16::from_be_bytes)?,
        _ => match str::from_utf8(bytes) {
            Ok(text) => return Ok(Zeroizing::new(trim(text).to_owned())),
            Err(error) if error.error_len().is_none() => return Err(NotText::CutOff),
            Err(_) => return Err(NotText::Binary),
        },
    };
    Ok(Zeroizing::new(trim(&text).to_owned()))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, NotText> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = Zeroizing::new(String::with_capacity(pairs.len() * 3));
    let mut lone = None;
    for (index, decoded) in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).enumerate() {
        match decoded {
            Ok(c) => text.push(c),
            Err(_) => lone = lone.or(Some(index)),
        }
    }
    match lone {
        Some(_) => Err(NotText::Binary),
        None if !rest.is_empty() => Err(NotText::CutOff),
        None => Ok(text),
    }
}

/// Without white space and byte order marks at either end.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// At most `limit` characters on one line, without control characters and without those that reorder a terminal's text.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    let mut words = String::new();
    let mut length = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if length > 0 {
            words.push(' ');
            length += 1;
        }
        for c in word.chars().filter(|c| !is_invisible(*c)) {
            if length >= limit {
                words.truncate(words.trim_end().len());
                words.push('…');
                return words;
            }
            words.push(c);
            length += 1;
        }
    }
    words.truncate(words.trim_end().len());
    words
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_bytes(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn every_common_encoding_is_read() {
        let want = "<å€😀>";
        for bytes in [
            want.as_bytes().to_vec(),
            format!("\u{feff} {want}\r\n").into_bytes(),
            utf16_bytes(&format!("\u{feff}{want}\r\n"), u16::to_le_bytes),
            utf16_bytes(&format!("\u{feff}{want}"), u16::to_be_bytes),
            utf16_bytes(want, u16::to_le_bytes),
            utf16_bytes(want, u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).map(|text| text.to_string()), Ok(want.to_owned()), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_text() {
        assert_eq!(decode(b"ab\xe2\x82").err(), Some(NotText::CutOff));
        assert_eq!(decode(b"ab\xff\xffcd").err(), Some(NotText::Binary));
        assert_eq!(decode(b"\xff\xfea\0b").err(), Some(NotText::CutOff));
        assert_eq!(decode(b"\xff\xfe\x00\xd8a\0").err(), Some(NotText::Binary));
    }

    #[test]
    fn words_are_one_short_line() {
        assert_eq!(shorten("  a\r\n\tb\u{0}c \u{1b}[31m\u{202e}x ", 300), "a b c [31mx");
        assert_eq!(shorten("abcdef", 3), "abc…");
        assert_eq!(shorten("åäö", 3), "åäö");
        assert_eq!(shorten("ab cd", 3), "ab…");
        assert_eq!(shorten(" \u{200b} ", 5), "");
        assert!(shorten(&"x ".repeat(1000), 300).chars().count() <= 301);
    }
}
