//! Strict framing of HTTP/1 in front of hyper, which reads much that two readers could read as two different things: line feeds
//! alone, the same length twice, a length beside chunks. Only what has exactly one reading passes, so that hyper, and whoever
//! stands before or behind us, cannot disagree with the gate on where a request ends. RFC 9112.
//!
//! It follows the bytes of one connection: head, body by its length or its chunks, next head. It keeps none of them but a line
//! that has not come to its end.

mod head;
mod line;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use http::StatusCode;
use memchr::memchr;

use self::head::Head;
use self::line::{has_controls, is_token};

/// Bytes of a chunk's size with its extensions; of what stands behind its data.
const CHUNK_LINE: usize = 256;

/// Bytes of all chunks' extensions in a body: half of what hyper takes.
const EXTENSIONS: usize = 8 << 10;

/// Bytes of the trailers of a body: half of what hyper takes.
const TRAILERS: usize = 8 << 10;

/// Empty lines before a request: one that old clients send behind a body, and one more. RFC 9112 §2.2.
const EMPTY_LINES: u8 = 2;

/// The longest target that hyper takes.
const TARGET: usize = u16::MAX as usize - 1;

/// Why bytes do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A head that could be read in two ways, or in none.
    #[error("{0}")]
    Head(&'static str),
    /// A head of too many bytes or lines.
    #[error("a head of too many bytes or lines")]
    HeadTooLarge,
    /// A target that is too long, or has no end.
    #[error("too long a target")]
    TargetTooLong,
    /// A transfer coding that is not "chunked" alone.
    #[error("another transfer coding than chunked")]
    Coding,
    /// A body whose chunks could be read in two ways, or in none. Its request has begun to be answered.
    #[error("{0}")]
    Body(&'static str),
}

impl Violation {
    /// What says it in an answer.
    pub fn status(self) -> StatusCode {
        match self {
            Violation::Head(_) | Violation::Body(_) => StatusCode::BAD_REQUEST,
            Violation::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Violation::TargetTooLong => StatusCode::URI_TOO_LONG,
            Violation::Coding => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// Bytes that do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many of those before them may: requests that are whole, and what is good of a body.
    pub passed: usize,
    /// Why the others may not. Nothing passes after this.
    pub violation: Violation,
}

/// The state of one connection.
#[derive(Clone, Debug)]
pub struct Gate {
    max_header_size: usize,
    max_headers: usize,
    at: At,
    head: Head,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// Bytes of the line that has not come to its end, and of the head or the trailers before it.
    size: usize,
    /// Lines of the head or the trailers.
    lines: usize,
    /// Bytes of extensions in this body.
    extensions: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A request line, after so many empty lines.
    Start(u8),
    /// A header, or the end of the head.
    Headers,
    /// So much of a body.
    Body(u64),
    /// A chunk's size.
    ChunkSize,
    /// So much of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// A trailer, or the end of them.
    Trailers,
    /// Nothing.
    Refused(Violation),
}

impl Gate {
    /// The bounds of a head: bytes, lines of headers.
    pub fn new(max_header_size: usize, max_headers: usize) -> Gate {
        let head = Head::default();
        Gate { max_header_size, max_headers, at: At::Start(0), head, partial: Vec::new(), size: 0, lines: 0, extensions: 0 }
    }

    /// Looks at the next bytes, and says how many of them may pass. Fewer than all: the last of these ends a request that asks for
    /// another protocol. Who knows that it stays with this one offers the others again.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let (mut done, mut passed) = (0, 0);
        while done < bytes.len() {
            let rest = &bytes[done..];
            match self.at {
                At::Body(left) | At::Chunk(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    done += count;
                    passed = done;
                    let left = left - count as u64;
                    self.at = match self.at {
                        At::Chunk(_) if left == 0 => At::ChunkEnd,
                        At::Chunk(_) => At::Chunk(left),
                        _ if left == 0 => At::Start(0),
                        _ => At::Body(left),
                    };
                }
                before => {
                    match self.line(rest) {
                        Ok(count) => done += count,
                        Err(violation) => {
                            self.at = At::Refused(violation);
                            self.partial = Vec::new();
                            return Err(Refused { passed, violation });
                        }
                    }
                    // Nothing of a head that is refused behind its first line.
                    if self.at != At::Headers {
                        passed = done;
                    }
                    if before == At::Headers && self.at == At::Start(0) && self.head.asks_for_another() {
                        return Ok(done);
                    }
                }
            }
        }
        Ok(done)
    }

    /// The rest of a line, or what there is of it; how many bytes that was.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        if let At::Refused(violation) = self.at {
            return Err(violation);
        }
        let end = memchr(b'\n', bytes);
        let count = end.map_or(bytes.len(), |end| end + 1);
        let room = self.bound().saturating_sub(self.size);
        let fits = &bytes[..count.min(room)];
        let (content, ended) = match end {
            Some(_) if count <= room => (&fits[..count - 1], true),
            _ => (fits, false),
        };
        // The last byte may be the CR of a line end that is still to come.
        let text = content.strip_suffix(b"\r").unwrap_or(content);
        let torn = !content.is_empty() && self.partial.last() == Some(&b'\r');
        if has_controls(text) || torn {
            return Err(self.bad("a control character, or a CR alone"));
        }
        if count > room {
            return Err(self.too_long());
        }
        self.size += count;
        if !ended {
            self.partial.extend_from_slice(content);
            self.beginning()?;
            return Ok(count);
        }
        if self.partial.is_empty() {
            if text.len() == content.len() {
                return Err(self.bad("an LF alone"));
            }
            self.whole(text)?;
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(content);
            if line.pop() != Some(b'\r') {
                return Err(self.bad("an LF alone"));
            }
            self.whole(&line)?;
        }
        Ok(count)
    }

    /// The beginning of a line. hyper does not wait for the end of a head to refuse it, and knows no answer but a bare one.
    fn beginning(&self) -> Result<(), Violation> {
        let text = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        // Only an LF may follow a CR: then all of the line is there.
        let whole = text.len() < self.partial.len();
        match self.at {
            _ if text.is_empty() => Ok(()),
            At::Start(_) if whole => Head::default().request_line(text),
            At::Start(_) => head::request_line(text).map(drop),
            At::Headers if self.lines == self.max_headers => Err(Violation::HeadTooLarge),
            At::Headers if whole => line::field(text).map(drop).map_err(Violation::Head),
            At::Headers => line::name(text).map(drop).map_err(Violation::Head),
            _ => Ok(()),
        }
    }

    /// A whole line, without its end.
    fn whole(&mut self, line: &[u8]) -> Result<(), Violation> {
        self.at = match self.at {
            At::Start(EMPTY_LINES) if line.is_empty() => return Err(Violation::Head("empty lines before a request")),
            At::Start(empty) if line.is_empty() => At::Start(empty + 1),
            At::Start(_) => {
                self.head = Head::default();
                self.head.request_line(line)?;
                self.lines = 0;
                At::Headers
            }
            At::Headers if line.is_empty() => {
                self.size = 0;
                match self.head.end()? {
                    head::Body::None => At::Start(0),
                    head::Body::Length(length) => At::Body(length),
                    head::Body::Chunked => {
                        self.extensions = 0;
                        At::ChunkSize
                    }
                }
            }
            At::Headers => {
                self.lines += 1;
                if self.lines > self.max_headers {
                    return Err(Violation::HeadTooLarge);
                }
                self.head.header(line)?;
                At::Headers
            }
            At::ChunkSize => {
                let (size, extensions) = line::chunk_size(line).map_err(Violation::Body)?;
                self.extensions += extensions;
                if self.extensions > EXTENSIONS {
                    return Err(Violation::Body("too many extensions of chunks"));
                }
                self.size = 0;
                self.lines = 0;
                if size == 0 { At::Trailers } else { At::Chunk(size) }
            }
            At::ChunkEnd if line.is_empty() => {
                self.size = 0;
                At::ChunkSize
            }
            At::ChunkEnd => return Err(Violation::Body("a chunk that is longer than it says")),
            At::Trailers if line.is_empty() => {
                self.size = 0;
                At::Start(0)
            }
            At::Trailers => {
                self.lines += 1;
                if self.lines > self.max_headers {
                    return Err(Violation::Body("too many trailers"));
                }
                line::trailer(line).map_err(Violation::Body)?;
                At::Trailers
            }
            At::Body(_) | At::Chunk(_) | At::Refused(_) => self.at,
        };
        Ok(())
    }

    /// How large what the line belongs to may be.
    fn bound(&self) -> usize {
        match self.at {
            At::ChunkSize => CHUNK_LINE,
            At::ChunkEnd => 2,
            At::Trailers => TRAILERS,
            _ => self.max_header_size,
        }
    }

    fn too_long(&self) -> Violation {
        match self.at {
            At::Start(_) => Violation::TargetTooLong,
            At::ChunkSize => Violation::Body("a chunk's size that is too long"),
            At::ChunkEnd => Violation::Body("a chunk that is longer than it says"),
            At::Trailers => Violation::Body("trailers that are too long"),
            _ => Violation::HeadTooLarge,
        }
    }

    fn bad(&self, why: &'static str) -> Violation {
        match self.at {
            At::Start(_) | At::Headers => Violation::Head(why),
            _ => Violation::Body(why),
        }
    }
}
