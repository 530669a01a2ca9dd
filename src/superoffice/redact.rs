//! Secrets taken out of other people's words: a service may repeat what it was sent, escaped in its own way, and cut off
//! wherever its words were shortened.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// So many bytes in a row of a secret give some of it away; fewer stand in ordinary words.
const PIECE: usize = 8;

/// What stands instead.
const REDACTED: &str = "[redacted]";

/// `text` without `secrets`, and without any piece of one of at least 8 bytes: as it is, escaped as in XML, JSON or a URL, or
/// in Base64.
pub(super) fn redact<'s>(text: &str, secrets: impl IntoIterator<Item = &'s str>) -> String {
    let forms: Vec<Zeroizing<Vec<u8>>> = secrets.into_iter().filter(|secret| !secret.is_empty()).flat_map(forms).collect();
    let pieces: HashSet<&[u8]> = forms.iter().flat_map(|form| form.windows(PIECE)).collect();
    let short: Vec<&[u8]> = forms.iter().map(|form| form.as_slice()).filter(|form| form.len() < PIECE).collect();
    let bytes = text.as_bytes();
    let mut secret = vec![false; bytes.len()];
    for (at, window) in bytes.windows(PIECE).enumerate() {
        if pieces.contains(window) {
            secret[at..at + PIECE].fill(true);
        }
    }
    for form in short {
        memchr::memmem::find_iter(bytes, form).for_each(|at| secret[at..at + form.len()].fill(true));
    }
    let mut words = String::with_capacity(text.len());
    let mut hidden = false;
    for (at, c) in text.char_indices() {
        // A character is hidden as a whole.
        let hide = secret[at..at + c.len_utf8()].contains(&true);
        match (hide, hidden) {
            (true, false) => words.push_str(REDACTED),
            (true, true) => {}
            (false, _) => words.push(c),
        }
        hidden = hide;
    }
    words
}

/// How a secret may be written.
fn forms(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let plain = Zeroizing::new(secret.as_bytes().to_vec());
    let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = xml.replace('"', "&quot;").replace('\'', "&apos;");
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_start_matches('"').trim_end_matches('"').to_owned();
    let careful = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027");
    let slashes = json.replace('/', "\\/");
    let url = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let lower = url.to_ascii_lowercase();
    let mut forms: Vec<_> = [xml, quoted, json, careful, slashes, url, lower].map(|form| Zeroizing::new(form.into_bytes())).into();
    // Base64 depends on where in the whole the secret begins; its first and last digits on what is around it.
    for before in 0..3 {
        let whole = Zeroizing::new([&[0; 2][..before], secret.as_bytes()].concat());
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let digits = Zeroizing::new(engine.encode(&*whole).into_bytes());
            let inner = digits.get(usize::from(before > 0) * 2 + before / 2..digits.len() - 1);
            forms.extend(inner.filter(|inner| inner.len() >= PIECE).map(|inner| Zeroizing::new(inner.to_vec())));
        }
    }
    forms.push(plain);
    forms
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = r#"a<b>&"k4n4r1/0123456789'\end"#;

    #[test]
    fn a_secret_goes_in_every_spelling_and_the_other_words_stay() {
        let base64 = |before: &str| STANDARD.encode(format!("{before}{SECRET}{before}"));
        for spelled in [
            SECRET.to_owned(),
            SECRET.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            serde_json::to_string(SECRET).unwrap(),
            utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string(),
            base64(""),
            base64("x"),
            base64("xy"),
        ] {
            let words = redact(&format!("Unknown token {spelled}, really"), [SECRET, "another secret"]);
            assert!(words.starts_with("Unknown token ") && words.ends_with(", really") && words.contains(REDACTED), "{words}");
            assert!(!words.contains("0123456") && words.len() < 60, "{spelled} became {words}");
        }
        assert_eq!(redact("nothing of the kind", [SECRET, ""]), "nothing of the kind");
    }

    #[test]
    fn a_piece_of_a_secret_goes_as_well_and_a_short_one_as_a_whole() {
        assert_eq!(redact("cut off: k4n4r1/01234", [SECRET]), "cut off: [redacted]");
        assert_eq!(redact("3456789'…", [SECRET]), "[redacted]…");
        assert_eq!(redact("x hush x hus", ["hush"]), "x [redacted] x hus");
        assert_eq!(redact("ææææææææ", ["ææææææææ"]), REDACTED);
    }

    proptest::proptest! {
        #[test]
        fn nothing_of_a_secret_is_left(before in "\\PC{0,12}", secret in "[!-~]{8,40}", after in "\\PC{0,12}", cut in 0..32usize) {
            let piece = &secret[cut.min(secret.len() - 8)..];
            let words = redact(&format!("{before}{piece}{after}"), [&*secret]);
            proptest::prop_assert!(!words.contains(piece));
        }
    }
}
