//! What is searched for, and the search: written apart from the product's own redaction, so that a mistake in one does not hide
//! in the other.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// So many bytes of a secret in a row are a part of it.
const PART: usize = 12;

#[derive(Default)]
pub struct Cage {
    parts: HashSet<Vec<u8>>,
    whole: Vec<String>,
}

/// The ways in which a secret may be written.
pub fn spellings(secret: &str) -> Vec<String> {
    let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;");
    let lazy = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let dotnet = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027");
    let debug = format!("{secret:?}");
    let percent: String = secret
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let bytes = format!("{:?}", secret.as_bytes());
    let mut all = vec![
        secret.to_owned(),
        xml,
        lazy,
        json,
        dotnet,
        debug[1..debug.len() - 1].to_owned(),
        percent,
        hex.to_uppercase(),
        hex,
        bytes[1..bytes.len() - 1].to_owned(),
    ];
    for before in ["", "x", "xy"] {
        let text = format!("{before}{secret}");
        for digits in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
            // Without what depends on its surroundings.
            all.push(digits[usize::from(!before.is_empty()) * 4..digits.len() - 4].to_owned());
        }
    }
    all
}

impl Cage {
    pub fn add(&mut self, secret: &str) {
        for spelling in spellings(secret) {
            match spelling.len() {
                ..PART => self.whole.push(spelling),
                _ => self.parts.extend(spelling.as_bytes().windows(PART).map(<[u8]>::to_vec)),
            }
        }
    }

    /// The private numbers of a key: as they stand there, in hexadecimal, and as a list of bytes.
    pub fn add_key(&mut self, xml: &str) {
        for name in ["D", "P", "Q", "DP", "DQ", "InverseQ"] {
            let number = xml.split_once(&format!("<{name}>")).unwrap().1.split('<').next().unwrap().trim();
            let bytes = STANDARD.decode(number).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = format!("{bytes:?}");
            for form in [number.to_owned(), hex.to_uppercase(), hex, list] {
                // A run of zeros, say, is no part of a key.
                self.parts.extend(form.as_bytes().windows(PART + 4).map(|part| part[..PART].to_vec()));
            }
        }
    }

    /// The first secret that a text gives away, with what is around it.
    pub fn find(&self, text: &str) -> Option<String> {
        let bytes = text.as_bytes();
        let around = |at: usize| String::from_utf8_lossy(&bytes[at.saturating_sub(60)..bytes.len().min(at + 60)]).into_owned();
        if let Some(at) = bytes.windows(PART).position(|part| self.parts.contains(part)) {
            return Some(around(at));
        }
        // Tickets, and tokens with a header of their own, whatever is in them.
        let whole = self.whole.iter().map(String::as_str).chain(["7T:", "7T%3A", "7T\\u003a", "eyJ0eXAi", "eyJhbGci"]);
        whole.into_iter().find_map(|secret| text.find(secret)).map(around)
    }

    #[track_caller]
    pub fn search(&self, what: &str, text: &str) {
        if let Some(found) = self.find(text) {
            panic!("{what} gives a secret away: …{found}…");
        }
    }
}
