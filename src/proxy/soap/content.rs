//! How a body is written: XML or the parts of a `multipart/related`, and in which characters.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::Bad;

/// What a `Content-Type` says of an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The body is the envelope.
    Xml,
    /// MTOM, or SOAP with attachments: a part is, the first one or the one of this `Content-ID`.
    Related { boundary: Vec<u8>, start: Option<String> },
}

const NO_XML: Bad = Bad("a SOAP envelope was expected: text/xml, application/soap+xml or multipart/related");

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Result<Form, Bad> {
        // Whoever says nothing means XML: the envelope itself is looked at, too.
        let Some(value) = headers.get(CONTENT_TYPE).map(|value| value.as_bytes()) else { return Ok(Form::Xml) };
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        match &essence[..] {
            b"text/xml" | b"application/soap+xml" | b"application/xml" | b"application/xop+xml" => {
                parameter(value, "charset").map_or(Ok(()), |charset| readable(charset.as_bytes()))?;
                Ok(Form::Xml)
            }
            b"multipart/related" => {
                let boundary = parameter(value, "boundary").filter(|boundary| !boundary.is_empty() && boundary.len() <= 70);
                let boundary = boundary.ok_or(Bad("its multipart/related has no boundary"))?.into_bytes();
                Ok(Form::Related { boundary, start: parameter(value, "start") })
            }
            _ => Err(NO_XML),
        }
    }
}

/// Refuses what is not written in a superset of ASCII: there, markup would be other bytes.
pub(super) fn readable(charset: &[u8]) -> Result<(), Bad> {
    const KNOWN: [&str; 6] = ["utf-8", "utf8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"];
    match KNOWN.iter().any(|known| charset.eq_ignore_ascii_case(known.as_bytes())) {
        true => Ok(()),
        false if charset.to_ascii_lowercase().starts_with(b"utf-16") => Err(UTF16),
        false => Err(Bad("it is written in an encoding that is not read here: send it as UTF-8")),
    }
}

const UTF16: Bad = Bad("it is written in UTF-16: send it as UTF-8");

/// Where an envelope begins behind a byte order mark; `None` if more is needed.
pub(super) fn behind_mark(text: &[u8]) -> Result<Option<usize>, Bad> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    match text {
        [0xfe | 0xff, ..] | [0, ..] | [_, 0, ..] => Err(UTF16),
        [b'\xef', ..] if text.len() < 3 && MARK.starts_with(text) => Ok(None),
        [] | [_] => Ok(None),
        _ if text.starts_with(MARK) => Ok(Some(3)),
        _ => Ok(Some(0)),
    }
}

/// A parameter of a header's value, without its quotes.
pub(super) fn parameter(value: &[u8], name: &str) -> Option<String> {
    let mut rest = &value[memchr::memchr(b';', value)? + 1..];
    loop {
        let equals = memchr::memchr2(b'=', b';', rest)?;
        if rest[equals] == b';' {
            rest = &rest[equals + 1..];
            continue;
        }
        let found = rest[..equals].trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        let written = rest[equals + 1..].trim_ascii_start();
        let (text, behind) = match written.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = memchr::memchr(b';', written).unwrap_or(written.len());
                (written[..end].trim_ascii().to_vec(), &written[end..])
            }
        };
        if found {
            return String::from_utf8(text).ok();
        }
        rest = &behind[memchr::memchr(b';', behind)? + 1..];
    }
}

/// Up to the closing quote, and what is behind it.
fn unquote(quoted: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut text, mut at) = (Vec::new(), 0);
    loop {
        match *quoted.get(at)? {
            b'"' => return Some((text, &quoted[at + 1..])),
            b'\\' => {
                text.push(*quoted.get(at + 1)?);
                at += 2;
            }
            byte => {
                text.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn form(content_type: &'static str) -> Result<Form, Bad> {
        Form::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]))
    }

    #[test]
    fn content_types_of_envelopes() {
        assert_eq!(Form::of(&HeaderMap::new()), Ok(Form::Xml));
        for xml in [
            "text/xml",
            "Text/XML ; charset=\"UTF-8\"",
            "application/soap+xml; action=\"a;charset=x\"; charset=utf-8",
            "text/xml;charset=iso-8859-1",
        ] {
            assert_eq!(form(xml), Ok(Form::Xml), "{xml}");
        }
        let related = r#"multipart/related; type="application/xop+xml";start="<a@b>";boundary="uuid:1\;+id=2";start-info="text/xml""#;
        assert_eq!(form(related), Ok(Form::Related { boundary: b"uuid:1;+id=2".to_vec(), start: Some("<a@b>".into()) }));
        for bad in [
            "text/plain",
            "application/json",
            "multipart/related",
            "multipart/related; boundary=\"x",
            "text/xml; charset=utf-16",
            "text/xml;charset=utf-7",
        ] {
            assert!(form(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn marks() {
        assert_eq!(behind_mark(b"<s"), Ok(Some(0)));
        assert_eq!(behind_mark(b"\xef\xbb\xbf"), Ok(Some(3)));
        for more in [&b""[..], b"<", b"\xef", b"\xef\xbb"] {
            assert_eq!(behind_mark(more), Ok(None), "{more:?}");
        }
        for other in [&b"\xff\xfe<\0"[..], b"\xfe\xff\0<", b"\0<", b"<\0s\0", b"\xff"] {
            assert_eq!(behind_mark(other), Err(UTF16), "{other:?}");
        }
    }
}
