//! Links in headers, and what headers say about whether a body may be rewritten.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, LINK, LOCATION,
};

use super::coding::Coding;
use super::find::{Start, Starts, Step, Text};
use super::homes::Homes;

const ODATA_ENTITY_ID: HeaderName = HeaderName::from_static("odata-entityid");

/// Rewrites `Location` and its like. `ours` is asked for only if a header points to one of theirs.
pub(super) fn rewrite(headers: &mut HeaderMap, homes: &Homes, mut ours: impl FnMut() -> Option<String>) {
    for (name, value) in headers.iter_mut() {
        let url = |url: &str| home(url, homes).and_then(|target| target.at(&ours()?));
        let changed = if *name == LOCATION || *name == CONTENT_LOCATION || *name == ODATA_ENTITY_ID {
            value.to_str().ok().and_then(url)
        } else if *name == LINK {
            value.to_str().ok().and_then(|links| in_brackets(links, url))
        } else {
            None
        };
        if let Some(changed) = changed.and_then(|changed| HeaderValue::try_from(changed).ok()) {
            *value = changed;
        }
    }
}

/// A reference to something of theirs.
struct Target<'a> {
    /// What follows the base.
    rest: &'a str,
    /// The base's path, if that is all there was of it.
    path: Option<&'a str>,
}

impl Target<'_> {
    /// The same as ours; `None` if it is right as it is.
    fn at(self, ours: &str) -> Option<String> {
        let Some(path) = self.path else { return Some(format!("{ours}{}", self.rest)) };
        let authority = ours.find("://").map_or(0, |at| at + 3);
        let ours = ours[authority..].find('/').map_or("", |at| &ours[authority + at..]);
        let slash = if ours.is_empty() && !self.rest.starts_with('/') { "/" } else { "" };
        (!ours.eq_ignore_ascii_case(path)).then(|| format!("{ours}{slash}{}", self.rest))
    }
}

fn home<'a>(url: &'a str, homes: &Homes) -> Option<Target<'a>> {
    let text = Text { bytes: url.as_bytes(), last: true };
    let rest = |end: usize| Some(&url[end..]).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    let absolute = |start| match homes.any(text, start) {
        Step::Yes(end) => rest(end).map(|rest| Target { rest, path: None }),
        _ => None,
    };
    if url.starts_with("//") {
        let start = |https| Start { at: 0, authority: 2, https, escaped: false };
        return absolute(start(true)).or_else(|| absolute(start(false)));
    }
    if url.starts_with('/') {
        return match text.eat(0, homes.path(), false) {
            Step::Yes(end) => rest(end).map(|rest| Target { rest, path: Some(&url[..end]) }),
            _ => None,
        };
    }
    Starts::new(text.bytes).next(0).filter(|start| start.at == 0 && !start.escaped).and_then(absolute)
}

/// `Link`: the references in `<…>`, but for those in quotes.
fn in_brackets(links: &str, mut url: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let (mut out, mut done, mut at) = (String::new(), 0, 0);
    while let Some(open) = links[at..].find(['<', '"']).map(|open| at + open) {
        let quoted = links.as_bytes()[open] == b'"';
        let rest = &links[open + 1..];
        let Some(length) = (if quoted { quoted_length(rest) } else { rest.find('>') }) else { break };
        if !quoted && let Some(changed) = url(rest[..length].trim()) {
            out.push_str(&links[done..=open]);
            out.push_str(&changed);
            done = open + 1 + length;
        }
        at = open + 1 + length + 1;
    }
    (done > 0).then(|| out + &links[done..])
}

/// Up to the closing quote.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// What a body is written in, if it may be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
}

/// What matters here about a head, seen in one pass: most heads have nothing to be rewritten.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Whether there is a header that may hold links.
    pub(super) links: bool,
    /// Format and coding of the body, if it may be rewritten. A file, or a part of something, may not.
    pub(super) body: Option<(Format, Coding)>,
}

pub(super) fn look(headers: &HeaderMap) -> Seen {
    let (mut content_type, mut coding) = (None, None);
    let (mut links, mut untouched) = (false, false);
    for (name, value) in headers {
        if *name == CONTENT_TYPE {
            untouched |= content_type.replace(value).is_some();
        } else if *name == CONTENT_ENCODING {
            untouched |= coding.replace(value).is_some();
        } else if *name == CONTENT_DISPOSITION {
            let kind = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
            untouched |= kind.trim_ascii().eq_ignore_ascii_case(b"attachment");
        } else if *name == CONTENT_RANGE {
            untouched = true;
        } else {
            links |= *name == LOCATION || *name == CONTENT_LOCATION || *name == LINK || *name == ODATA_ENTITY_ID;
        }
    }
    let format = content_type.filter(|_| !untouched).and_then(|value| format(value.as_bytes()));
    let coding = coding.map_or(Some(Coding::Identity), |coding| Coding::named(coding.as_bytes().trim_ascii()));
    Seen { links, body: format.zip(coding) }
}

fn format(content_type: &[u8]) -> Option<Format> {
    // How SuperOffice says it.
    if content_type == b"application/json; charset=utf-8" {
        return Some(Format::Json);
    }
    let mut parts = content_type.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let essence = parts.next()?;
    let (kind, name) = essence.split_at(essence.iter().position(|&byte| byte == b'/')?);
    let (name, suffix) = (&name[1..], name.rsplit(|&byte| byte == b'+').next().filter(|suffix| suffix.len() < name.len()));
    let plain = kind.eq_ignore_ascii_case(b"application") || kind.eq_ignore_ascii_case(b"text");
    let is = |format: &[u8]| plain && name.eq_ignore_ascii_case(format) || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(format));
    let format = if is(b"json") {
        Format::Json
    } else if is(b"xml") {
        Format::Xml
    } else {
        return None;
    };
    // All three are ASCII wherever URLs are.
    let readable = |charset: &[u8]| [&b"utf-8"[..], b"us-ascii", b"iso-8859-1"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    let fits = |part: &[u8]| {
        let Some(equals) = part.iter().position(|&byte| byte == b'=') else { return true };
        let (name, value) = (part[..equals].trim_ascii(), part[equals + 1..].trim_ascii());
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        !name.eq_ignore_ascii_case(b"charset") || readable(bare)
    };
    parts.all(fits).then_some(format)
}

/// What was said about a body's bytes, which now may be others. `ETag` stays, a strong one too: it is SuperOffice's name for
/// the entity, and must be right in `If-Match`.
pub(super) fn changed(headers: &mut HeaderMap, length: Option<usize>) {
    const DIGESTS: [HeaderName; 4] = [
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
    ];
    for name in DIGESTS {
        headers.remove(name);
    }
    headers.remove(ACCEPT_RANGES);
    match length {
        Some(length) => _ = headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => _ = headers.remove(CONTENT_LENGTH),
    }
}

/// Leaves in `Accept-Encoding` what bodies can be rewritten through.
pub(super) fn accept(headers: &mut HeaderMap) {
    let name = |coding: &[u8]| {
        let name = coding.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        Coding::named(name).is_some()
    };
    let lines = headers.get_all(ACCEPT_ENCODING);
    let codings = || lines.iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    if codings().all(name) {
        return;
    }
    let kept: Vec<&[u8]> = codings().filter(|coding| name(coding)).collect();
    let kept = if kept.is_empty() { b"identity".to_vec() } else { kept.join(&b", "[..]) };
    if let Ok(kept) = HeaderValue::from_bytes(&kept) {
        headers.insert(ACCEPT_ENCODING, kept);
    }
}
