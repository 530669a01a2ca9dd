//! Paths and queries as ASP.NET reads them: percent-decoded, `+` in a query a space, names without regard to case.

/// Percent-decodes; what is no escape stays as it is, what is no UTF-8 is replaced.
pub(super) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let escape = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(hex);
        match escape {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(if byte == b'+' && plus_is_space { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(two: &str) -> Option<u8> {
    two.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u8::from_str_radix(two, 16).ok()).flatten()
}

/// The segments of a path, decoded, without the empty ones at both ends.
pub(super) fn segments(path: &str) -> Vec<String> {
    path.trim_matches('/').split('/').map(|segment| decode(segment, false)).collect()
}

/// A query: the raw pairs, and their decoded values by name.
#[derive(Clone, Copy)]
pub(super) struct Query<'a>(pub &'a str);

impl<'a> Query<'a> {
    fn raw_pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The first value of `name`.
    pub(super) fn get(self, name: &str) -> Option<String> {
        self.raw_pairs().find(|(key, _)| decode(key, true).eq_ignore_ascii_case(name)).map(|(_, value)| decode(value, true))
    }

    /// The same query, byte for byte, except that `name` is `value`.
    pub(super) fn with(self, name: &str, value: &str) -> String {
        let others = self.raw_pairs().filter(|(key, _)| !decode(key, true).eq_ignore_ascii_case(name));
        let mut out: String = others.map(|(key, value)| format!("{key}={value}&")).collect();
        out.push_str(&format!("{name}={value}"));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        for (raw, plus, plain) in [
            ("a%20b+c", true, "a b c"),
            ("a+b", false, "a+b"),
            ("100%", true, "100%"),
            ("%zz%+1", false, "%zz%+1"),
            ("%C3%A5%", true, "å%"),
            ("%é", true, "%é"),
        ] {
            assert_eq!(decode(raw, plus), plain, "{raw}");
        }
    }

    #[test]
    fn queries() {
        let query = Query("%24select=email%2FemailAddress&$TOP=5&x");
        assert_eq!(query.get("$select").as_deref(), Some("email/emailAddress"));
        assert_eq!(query.get("$top").as_deref(), Some("5"));
        assert_eq!(query.get("x").as_deref(), Some(""));
        assert_eq!(query.get("$skip"), None);
        assert_eq!(query.with("$skip", "5"), "%24select=email%2FemailAddress&$TOP=5&x=&$skip=5");
        assert_eq!(Query("$skip=5&a=b").with("$skip", "10"), "a=b&$skip=10");
    }
}
