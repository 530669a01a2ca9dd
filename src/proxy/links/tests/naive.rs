//! The same, written so that it can be seen to be right: every place of the whole text is compared with every spelling.

/// The spellings that are looked for, in lower case, and what to do with one.
pub(in super::super) struct Naive {
    pub(in super::super) spellings: Vec<String>,
}

pub(in super::super) const THEIRS: [&str; 4] = [
    "https://online2.superoffice.com/cust12345",
    "https://online2.superoffice.com:443/cust12345",
    "https://online1.superoffice.com/cust12345",
    "https://online1.superoffice.com:443/cust12345",
];

impl Naive {
    pub(in super::super) fn theirs() -> Naive {
        Naive { spellings: THEIRS.iter().flat_map(|url| [(*url).to_owned(), url.replace('/', "\\/")]).collect() }
    }

    /// `to` gets the spelling, what follows it, and whether it is escaped.
    pub(in super::super) fn replace(&self, text: &[u8], to: impl Fn(&str, &[u8], bool) -> Option<String>) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let rest = &text[at..];
            let fits = |spelling: &&String| {
                rest.len() >= spelling.len()
                    && rest[..spelling.len()].to_ascii_lowercase() == spelling.as_bytes()
                    && ends_there(&rest[spelling.len()..])
            };
            let found = self.spellings.iter().find(fits).and_then(|spelling| {
                let spelled = String::from_utf8(rest[..spelling.len()].to_vec()).unwrap();
                Some((spelling.len(), to(&spelled, &rest[spelling.len()..], spelling.contains('\\'))?))
            });
            match found {
                Some((length, new)) => {
                    out.extend_from_slice(new.as_bytes());
                    at += length;
                }
                None => {
                    out.push(rest[0]);
                    at += 1;
                }
            }
        }
        out
    }

    /// What `known` does within a value.
    pub(in super::super) fn known(&self, text: &[u8], ours: &str) -> Vec<u8> {
        self.replace(text, |_, _, escaped| Some(slashes(ours, escaped)))
    }

    /// What `all` does to a body.
    pub(in super::super) fn all(&self, text: &[u8], ours: &str) -> Vec<u8> {
        self.replace(text, |spelled, rest, escaped| {
            if !spelled.starts_with("https") {
                return None;
            }
            let canonical = slashes("https://online2.superoffice.com/Cust12345", escaped);
            let marker = slashes("/~", escaped);
            if spelled == canonical && !rest.starts_with(marker.as_bytes()) {
                return Some(slashes(ours, escaped));
            }
            let without = spelled.strip_prefix(&slashes("https://", escaped)).unwrap();
            Some(format!("{}{marker}{without}", slashes(ours, escaped)))
        })
    }
}

pub(in super::super) fn slashes(url: &str, escaped: bool) -> String {
    if escaped { url.replace('/', "\\/") } else { url.to_owned() }
}

fn ends_there(rest: &[u8]) -> bool {
    rest.first().is_none_or(|byte| b" \t\r\n\"\\/?#<>()[]{}|^`!&',;\0".contains(byte))
}
