//! A request's head: what its lines say of where the request ends. RFC 9112 §3, §6.

use super::line::{field, length, same};
use super::{TARGET, Violation, is_token};

/// What has been read of a head.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    old: bool,
    connect: bool,
    upgrade: bool,
    chunked: bool,
    length: Option<u64>,
    host: Host,
    /// Of an absolute target, until `Host` has been compared with it.
    authority: Option<Box<[u8]>>,
}

/// What is known of `Host`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Host {
    #[default]
    Missing,
    There,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

impl Head {
    /// Method, target, version.
    pub(super) fn request_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let Some((method, target, version)) = request_line(line)? else { return Err(NO_REQUEST_LINE) };
        self.old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(NO_REQUEST_LINE),
        };
        if target.len() > TARGET {
            return Err(Violation::TargetTooLong);
        }
        self.connect = method == b"CONNECT";
        if target[0] != b'/' && target != b"*" && !self.connect {
            self.authority = Some(authority(target)?.into());
        }
        Ok(())
    }

    /// A header.
    pub(super) fn header(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (name, value) = field(line).map_err(Violation::Head)?;
        match name.len() {
            4 if same(name, "host") => self.host(value),
            7 if same(name, "upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if same(name, "content-length") => self.content_length(name, value),
            17 if same(name, "transfer-encoding") => self.transfer_encoding(name, value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Violation> {
        if std::mem::replace(&mut self.host, Host::There) == Host::There {
            return Err(Violation::Head("several lines of Host"));
        }
        match &self.authority {
            Some(authority) if !without_port(authority).eq_ignore_ascii_case(without_port(value)) => {
                Err(Violation::Head("a target for another host than Host says"))
            }
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        if self.chunked {
            return Err(Violation::Head("both Content-Length and Transfer-Encoding"));
        }
        if name.contains(&b'_') {
            return Err(Violation::Head("a header that some read as Content-Length"));
        }
        if self.length.is_some() {
            return Err(Violation::Head("several lines of Content-Length"));
        }
        self.length = Some(length(value).ok_or(Violation::Head("a Content-Length that is no plain number"))?);
        Ok(())
    }

    fn transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        if self.length.is_some() {
            return Err(Violation::Head("both Content-Length and Transfer-Encoding"));
        }
        if self.old {
            return Err(Violation::Head("Transfer-Encoding in HTTP/1.0"));
        }
        if name.contains(&b'_') {
            return Err(Violation::Head("a header that some read as Transfer-Encoding"));
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Violation::Coding);
        }
        self.chunked = true;
        Ok(())
    }

    /// The empty line.
    pub(super) fn end(&mut self) -> Result<Body, Violation> {
        if self.host == Host::Missing && !self.old {
            return Err(Violation::Head("an HTTP/1.1 request without Host"));
        }
        self.authority = None;
        Ok(match self.length {
            _ if self.chunked => Body::Chunked,
            None | Some(0) => Body::None,
            Some(length) => Body::Length(length),
        })
    }

    /// Whether something else than HTTP/1 may follow.
    pub(super) fn asks_for_another(&self) -> bool {
        self.connect || (self.upgrade && !self.old)
    }
}

const NO_REQUEST_LINE: Violation = Violation::Head("a request line that is not a method, a target and a version with one blank between");

/// Method, target, and what there is of the version.
type RequestLine<'l> = (&'l [u8], &'l [u8], &'l [u8]);

/// `None`: not even its beginning has come. What cannot become a request line is
/// refused however little of it there is.
pub(super) fn request_line(line: &[u8]) -> Result<Option<RequestLine<'_>>, Violation> {
    let Some(end) = line.iter().position(|byte| !is_token(&[*byte])) else { return Ok(None) };
    let (method, rest) = line.split_at(end);
    let [b' ', rest @ ..] = rest else { return Err(NO_REQUEST_LINE) };
    let Some(end) = rest.iter().position(|byte| *byte <= b' ') else { return Ok(None) };
    let (target, rest) = rest.split_at(end);
    let [b' ', version @ ..] = rest else { return Err(NO_REQUEST_LINE) };
    if method.is_empty() || target.is_empty() || ![b"HTTP/1.1", b"HTTP/1.0"].iter().any(|known| known.starts_with(version)) {
        return Err(match version.starts_with(b"HTTP/") && !method.is_empty() && !target.is_empty() {
            true => Violation::Head("another version than HTTP/1.1 and HTTP/1.0"),
            false => NO_REQUEST_LINE,
        });
    }
    Ok(Some((method, target, version)))
}

/// The authority of an absolute target.
fn authority(target: &[u8]) -> Result<&[u8], Violation> {
    let bad = Violation::Head("a target that is neither a path nor a plain URL");
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    });
    let rest = rest.ok_or(bad)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..end];
    // Whose name and password these would be nobody knows.
    if authority.is_empty() || authority.contains(&b'@') { Err(bad) } else { Ok(authority) }
}

/// Without the port that need not be written.
fn without_port(authority: &[u8]) -> &[u8] {
    authority.strip_suffix(b":80").or_else(|| authority.strip_suffix(b":443")).unwrap_or(authority)
}
