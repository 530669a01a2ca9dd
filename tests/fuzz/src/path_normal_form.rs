//! Paths: what passes is the same path for us and for a server that reads paths as IIS and ASP.NET do at their most liberal, and
//! no rule is got around.

use http::{HeaderMap, Method};
use soproxy::proxy::policy::normal::Normal;
use soproxy::proxy::policy::{Asked, Rule, Rules};
use soproxy::proxy::target;

/// A path behind the tenant.
pub fn check(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    if !path.starts_with('/') || path.contains(['?', '#']) || target::check(path).is_err() {
        return;
    }
    let server = server(path);
    // Without rules, too: no step up, and the same number of segments.
    assert!(!server.iter().any(|segment| segment == ".."), "{path:?} leads up");
    assert!(server.len() <= path.split('/').filter(|segment| !segment.is_empty()).count(), "{path:?} has more segments than are seen");
    let Ok(normal) = Normal::of(path) else { return refused(path) };
    assert_eq!(normal.collapsed(), joined(&server), "{path:?} is another path for the server");
    let (written, collapsed) = naive(path);
    assert_eq!((normal.written(), normal.collapsed()), (&*written, &*collapsed), "{path:?} has two normal forms");
    // Once more, it is what it is: a percent sign would have to be written anew.
    if !written.contains('%') {
        assert_eq!(Normal::of(&written).as_ref().map(Normal::written), Ok(&*written), "{path:?}");
    }
    judged(path, &server);
}

fn joined(segments: &[String]) -> String {
    segments.iter().flat_map(|segment| ["/", segment]).collect()
}

fn passes(rules: &Rules, path: &str) -> bool {
    let asked = Asked { tenant: "Cust12345", method: &Method::GET, headers: &HeaderMap::new(), path };
    rules.judge(&asked).is_ok()
}

fn rule(text: &str) -> Rule {
    text.parse().expect("a rule")
}

/// What has no normal form passes no rule.
fn refused(path: &str) {
    assert!(!passes(&Rules::new(None, false, Some(vec![rule("* /**")]), Vec::new()), path), "{path:?}");
    assert!(!passes(&Rules::new(None, false, None, vec![rule("POST /x")]), path), "{path:?}");
}

/// Rules hold for the path that the server sees.
fn judged(path: &str, server: &[String]) {
    let starts = |with: &[&str]| server.len() >= with.len() && server.iter().zip(with).all(|(segment, with)| segment == with);
    let allow = |text: &str| passes(&Rules::new(None, false, Some(vec![rule(text)]), Vec::new()), path);
    let deny = |text: &str| !passes(&Rules::new(None, false, None, vec![rule(text)]), path);
    assert!(!allow("GET /api/v1/**") || starts(&["api", "v1"]), "{path:?} was allowed");
    assert_eq!(deny("* /api/v1/Person/**"), starts(&["api", "v1", "person"]), "{path:?}: deny");
    assert!(!allow("GET /api/v1/Agents/*/Get*") || (starts(&["api", "v1", "agents"]) && server.len() == 5 && server[4].starts_with("get")), "{path:?}");
    assert_eq!(deny("GET /**/å*"), server.last().is_some_and(|last| last.starts_with('å')), "{path:?}");
}

/// The normal form, written anew: decoded once, in small letters; with and without empty segments.
fn naive(path: &str) -> (String, String) {
    let (decoded, _) = decode(path.as_bytes());
    let written = String::from_utf8(decoded).expect("a normal form is UTF-8").to_lowercase();
    let collapsed = written.split('/').filter(|segment| !segment.is_empty()).flat_map(|segment| ["/", segment]).collect();
    (written, collapsed)
}

/// Percent-decoded, and whether there was anything to be decoded. `%uXXXX` is, too.
fn decode(text: &[u8]) -> (Vec<u8>, bool) {
    let (mut out, mut at, mut any) = (Vec::new(), 0, false);
    let number = |digits: Option<&[u8]>| {
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    while at < text.len() {
        let unicode = matches!(text[at..], [b'%', b'u' | b'U', ..]).then(|| number(text.get(at + 2..at + 6)).and_then(char::from_u32)).flatten();
        let byte = if text[at] == b'%' { number(text.get(at + 1..at + 3)).and_then(|byte| u8::try_from(byte).ok()) } else { None };
        if let Some(c) = unicode {
            out.extend_from_slice(c.to_string().as_bytes());
            (at, any) = (at + 6, true);
        } else if let Some(byte) = byte {
            out.push(byte);
            (at, any) = (at + 3, true);
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    (out, any)
}

/// The segments that the most liberal of servers would see: it decodes until nothing is left to decode, takes backslashes for
/// slashes and overlong bytes for what they mean, ends at NUL, cuts out sessions and parameters, drops empty segments and what
/// Windows ignores at a name's end, and steps up.
fn server(path: &str) -> Vec<String> {
    let mut bytes = path.as_bytes().to_vec();
    loop {
        let (decoded, any) = decode(&bytes);
        bytes = decoded;
        if !any {
            break;
        }
    }
    let text = overlong(&bytes);
    let text = text.split('\0').next().unwrap_or_default().replace('\\', "/");
    let text = without_sessions(&text);
    let mut segments: Vec<String> = Vec::new();
    for segment in text.split('/') {
        let segment = segment.split(';').next().unwrap_or_default();
        let segment = segment.split("::$").next().unwrap_or_default();
        if !segment.is_empty() && segment.trim_end_matches(' ') == ".." {
            segments.push("..".to_owned());
            continue;
        }
        let segment = segment.trim_end_matches(['.', ' ']);
        if !segment.is_empty() {
            segments.push(segment.to_lowercase());
        }
    }
    segments
}

/// Text in which ASCII may be written in more bytes than one.
fn overlong(bytes: &[u8]) -> String {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (byte, length) = match bytes[at..] {
            [first @ (0xc0 | 0xc1), second @ 0x80..=0xbf, ..] => ((first & 1) << 6 | (second & 0x3f), 2),
            [0xe0, second @ 0x80..=0x81, third @ 0x80..=0xbf, ..] => ((second & 1) << 6 | (third & 0x3f), 3),
            _ => (bytes[at], 1),
        };
        out.push(byte);
        at += length;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// ASP.NET's `(S(…))`.
fn without_sessions(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some((start, end)) = session(&text) {
        text.replace_range(start..end, "");
    }
    text
}

fn session(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let start = bytes.windows(3).position(|three| three[0] == b'(' && three[1].is_ascii_alphabetic() && three[2] == b'(')?;
    let end = text[start..].find("))")?;
    Some((start, start + end + 2))
}
