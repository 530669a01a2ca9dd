//! The root part of a `multipart/related` body: where its envelope begins. RFC 2387; MTOM.

use memchr::memmem;

use super::Bad;

/// Looks for the root part while the body comes.
pub(super) struct Root {
    /// `CR LF -- boundary`
    delimiter: Vec<u8>,
    /// Its `Content-ID`; the first part's does not matter if none is named.
    start: Option<String>,
    /// Where a part's headers begin, once its delimiter was seen.
    part: Option<usize>,
    /// Up to where was looked.
    at: usize,
    found: Option<usize>,
}

const NO_PART: Bad = Bad("its multipart/related has no root part");
const CODED: Bad = Bad("its root part is in a transfer encoding or has a length of its own: send it as 8bit or binary");

impl Root {
    pub(super) fn new(boundary: &[u8], start: Option<String>) -> Root {
        let delimiter = [b"\r\n--", boundary].concat();
        Root { delimiter, start: start.map(|start| bare(&start).to_owned()), part: None, at: 0, found: None }
    }

    /// Where the envelope begins; `None` if more of the body is needed.
    pub(super) fn go(&mut self, text: &[u8]) -> Result<Option<usize>, Bad> {
        while self.found.is_none() {
            let Some(part) = self.part else {
                if !self.delimited(text)? {
                    return Ok(None);
                }
                continue;
            };
            // A part without headers begins with the empty line itself.
            let Some(end) = memmem::find(&text[self.at..], b"\r\n\r\n") else {
                self.at = self.at.max(text.len().saturating_sub(3));
                return Ok(None);
            };
            let end = self.at + end;
            let headers = &text[(part + 2).min(end)..end];
            self.at = end + 2;
            self.part = None;
            if self.is_root(headers) {
                plain(headers)?;
                self.found = Some(end + 4);
            }
        }
        Ok(self.found)
    }

    /// Finds the next delimiter: whether it is there.
    fn delimited(&mut self, text: &[u8]) -> Result<bool, Bad> {
        let bare = &self.delimiter[2..];
        // The first one needs no line before it.
        let found = match text.get(..bare.len()) {
            _ if self.at > 0 => None,
            None => return Ok(false),
            Some(begin) => (begin == bare).then_some(bare.len()),
        };
        let found = found.or_else(|| memmem::find(&text[self.at..], &self.delimiter).map(|found| self.at + found + self.delimiter.len()));
        let Some(behind) = found else {
            self.at = self.at.max(text.len().saturating_sub(self.delimiter.len() - 1));
            return Ok(false);
        };
        // Blanks may follow, and then the line ends.
        let Some(line) = memmem::find(&text[behind..], b"\r\n") else {
            return if text.len() - behind > 256 { Err(NO_PART) } else { Ok(false) };
        };
        match text[behind..behind + line].trim_ascii() {
            b"" => {
                self.part = Some(behind + line);
                self.at = behind + line;
                Ok(true)
            }
            b"--" => Err(NO_PART),
            // Another boundary, which begins like ours.
            _ => {
                self.at = behind;
                Ok(true)
            }
        }
    }

    fn is_root(&self, headers: &[u8]) -> bool {
        let id = |line: &[u8]| field(line, "content-id").map(|id| bare(&String::from_utf8_lossy(id)).to_owned());
        self.start.as_ref().is_none_or(|start| lines(headers).find_map(id).as_ref() == Some(start))
    }

    /// Whether another part begins in what was taken for the root.
    pub(super) fn is_left(&self, taken: &[u8]) -> bool {
        memmem::find(taken, &self.delimiter).is_some()
    }
}

fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id)
}

fn lines(headers: &[u8]) -> impl Iterator<Item = &[u8]> {
    headers.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii)
}

fn field<'h>(line: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let (have, value) = line.split_at(memchr::memchr(b':', line)?);
    have.trim_ascii().eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
}

/// Refuses a part whose bytes are not those of the envelope.
fn plain(headers: &[u8]) -> Result<(), Bad> {
    for line in lines(headers) {
        let coding = field(line, "content-transfer-encoding").map(<[u8]>::to_ascii_lowercase);
        if coding.is_some_and(|coding| ![&b"7bit"[..], b"8bit", b"binary"].contains(&&coding[..]))
            || field(line, "content-length").is_some()
        {
            return Err(CODED);
        }
        if let Some(charset) = field(line, "content-type").and_then(|value| super::content::parameter(value, "charset")) {
            super::content::readable(charset.as_bytes())?;
        }
    }
    Ok(())
}
