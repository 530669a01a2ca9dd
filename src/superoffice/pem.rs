//! PEM as it is found in the wild (RFC 7468, read leniently): text before the block, any line ends and widths, blanks at
//! line ends, and the line ends written as `\n` that environment variables bring.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Base64 with or without its padding.
pub(super) const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What every block begins with.
pub(super) const BEGIN: &str = "-----BEGIN ";

/// One block.
pub(super) struct Block<'a> {
    /// `RSA PRIVATE KEY`, `CERTIFICATE` …; `?` when the BEGIN line itself is cut off.
    pub(super) label: &'a str,
    /// Whether it has the header `Proc-Type: 4,ENCRYPTED` of RFC 1421.
    pub(super) encrypted: bool,
    /// What the base64 says.
    pub(super) der: Result<Zeroizing<Vec<u8>>, Damage>,
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// There is no END line.
    Truncated,
    /// The text between is not base64.
    NotBase64,
}

/// All blocks of a text, in their order.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((label, body)) = after.split_once("-----").filter(|(label, _)| is_label(label)) else {
            // A BEGIN line that is cut off itself.
            found.push(Block { label: "?", encrypted: false, der: Err(Damage::Truncated) });
            rest = after;
            continue;
        };
        let (body, whole) = match body.find("-----") {
            Some(end) => (&body[..end], body[end..].starts_with(&format!("-----END {label}-----"))),
            None => (body, false),
        };
        found.push(Block { label, encrypted: body.contains("ENCRYPTED"), der: if whole { decode(body) } else { Err(Damage::Truncated) } });
        rest = after;
    }
    found
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= 64 && label.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ')
}

fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, Damage> {
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    for line in body.split(['\n', '\r']).filter(|line| !line.contains(':')) {
        let mut chars = line.bytes().peekable();
        while let Some(byte) = chars.next() {
            match byte {
                b'\\' if matches!(chars.peek(), Some(b'n' | b'r')) => drop(chars.next()),
                byte if byte.is_ascii_whitespace() => {}
                byte => base64.push(byte),
            }
        }
    }
    LENIENT.decode(&*base64).map(Zeroizing::new).map_err(|_| Damage::NotBase64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_are_found_whatever_surrounds_them() {
        for text in [
            "-----BEGIN A B-----\nAQID\n-----END A B-----\n",
            "Bag Attributes\r\n  x: y\r\n-----BEGIN A B-----\r\nAQ  \r\nID \r\n-----END A B-----   \r\n\r\n",
            "-----BEGIN A B----- AQID -----END A B-----",
            "-----BEGIN A B-----\\nAQ\\nID\\n-----END A B-----\\n",
            "-----BEGIN A B-----\nComment: x\n\nAQID\n-----END A B-----",
        ] {
            let found = blocks(text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!((found[0].label, found[0].der.as_deref().map(Vec::as_slice)), ("A B", Ok(&[1u8, 2, 3][..])), "{text}");
        }
        let two = blocks("-----BEGIN A-----\nAQ==\n-----END A-----\n-----BEGIN B-----\nProc-Type: 4,ENCRYPTED\n\nAg==\n-----END B-----");
        assert_eq!(two.iter().map(|block| (block.label, block.encrypted)).collect::<Vec<_>>(), [("A", false), ("B", true)]);
    }

    #[test]
    fn damage() {
        let damage = |text| blocks(text).first().and_then(|block| block.der.as_ref().err().copied());
        for cut in [
            "-----BEGIN A",
            "-----BEGIN A-----",
            "-----BEGIN A-----\nAQID",
            "-----BEGIN A-----\nAQID\n-----END",
            "-----BEGIN A-----\nAQID\n-----END B-----",
        ] {
            assert_eq!(damage(cut), Some(Damage::Truncated), "{cut}");
        }
        assert_eq!(damage("-----BEGIN A-----\nA?ID\n-----END A-----"), Some(Damage::NotBase64));
        assert_eq!(damage("no block"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(-----BEGIN |-----END |-----|A|\\\\|\n|:|\\PC){0,40}") {
            let _ = blocks(&text);
        }
    }
}
