//! The gate before hyper: its verdict does not depend on the pieces, and what passes is framed the same by another reader.

use soproxy::server::gate::{Gate, Violation};

use super::support::{contains, knobs};

const HEAD: usize = 2048;
const LINES: usize = 16;

/// A knob, the size of the pieces, then the bytes of a connection.
pub fn check(data: &[u8]) {
    let ([size], stream) = knobs(data);
    let (whole, verdict) = through(stream, usize::MAX);
    for size in [1, usize::from(size).max(2)] {
        let (passed, other) = through(stream, size);
        // Of several reasons, the one that is seen first is told.
        assert_eq!(other.map(is_of_body), verdict.map(is_of_body), "in pieces of {size}: {}", String::from_utf8_lossy(stream));
        assert!(passed >= whole, "fewer bytes pass in pieces of {size}");
        assert!(verdict.is_some() || passed == stream.len());
    }
    read(&stream[..whole]);
    assert!(verdict.is_some() || whole == stream.len());
}

fn is_of_body(violation: Violation) -> bool {
    matches!(violation, Violation::Body(_))
}

/// How many bytes passed, and why no more did.
fn through(stream: &[u8], size: usize) -> (usize, Option<Violation>) {
    let mut gate = Gate::new(HEAD, LINES);
    let mut passed = 0;
    for piece in stream.chunks(size.min(stream.len().max(1))) {
        let mut done = 0;
        while done < piece.len() {
            match gate.take(&piece[done..]) {
                Ok(count) => {
                    assert!(count > 0 && done + count <= piece.len(), "the gate does not get on");
                    done += count;
                }
                Err(refused) => {
                    assert_eq!(gate.take(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").map_err(|refused| refused.passed), Err(0), "it opens again");
                    return (passed + done + refused.passed, Some(refused.violation));
                }
            }
        }
        passed += done;
    }
    (passed, None)
}

/// All of it, however many calls that takes.
fn offer(gate: &mut Gate, mut bytes: &[u8]) -> Result<(), Violation> {
    while !bytes.is_empty() {
        let count = gate.take(bytes).map_err(|refused| refused.violation)?;
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Whether a request may begin here, and nothing else.
fn is_between(gate: &Gate) -> bool {
    // An empty line would end a head, and the rest would go on with a line that has begun: one may stand before a request.
    let good = offer(&mut gate.clone(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").and(offer(&mut gate.clone(), b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    let bad = offer(&mut gate.clone(), b"\x01\r\n");
    good.is_ok() && matches!(bad, Err(Violation::Head(_)))
}

/// Reads what passed, by httparse and the words of RFC 9112. Where a request ends for them, it does for the gate.
fn read(passed: &[u8]) {
    let (mut gate, mut stream) = (Gate::new(HEAD, LINES), passed);
    loop {
        let before = stream;
        while let Some(rest) = stream.strip_prefix(b"\r\n") {
            stream = rest;
        }
        let mut lines = [httparse::EMPTY_HEADER; LINES];
        let mut request = httparse::Request::new(&mut lines);
        // What httparse refuses, hyper does: after that, there are no more requests.
        let Ok(head) = request.parse(stream) else { return };
        let head = match head {
            httparse::Status::Partial => return,
            httparse::Status::Complete(head) => head,
        };
        let all = |name: &str| {
            request
                .headers
                .iter()
                .filter(|line| line.name.replace('_', "-").eq_ignore_ascii_case(name))
                .map(|line| line.value)
                .collect::<Vec<_>>()
        };
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "two ways to frame a request: {}", String::from_utf8_lossy(stream));
        assert!(all("host").len() == 1 || (request.version == Some(0) && all("host").is_empty()), "not one Host");
        assert!(!stream[..head].windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r'), "an LF alone");
        assert!(!stream[..head].windows(2).any(|two| two[0] == b'\r' && two[1] != b'\n'), "a CR alone");
        stream = &stream[head..];
        if let [length] = lengths[..] {
            let length: usize = std::str::from_utf8(length).expect("digits").parse().expect("a number");
            if length > stream.len() {
                return;
            }
            stream = &stream[length..];
        } else if let [coding] = codings[..] {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            match chunks(stream) {
                Some(rest) => stream = rest,
                None => return,
            }
        }
        let request = &before[..before.len() - stream.len()];
        assert_eq!(offer(&mut gate, request), Ok(()), "what passed once is refused");
        assert!(is_between(&gate), "another end of a request: {}", String::from_utf8_lossy(request));
    }
}

/// What stands behind a chunked body; `None` if it does not end.
fn chunks(mut stream: &[u8]) -> Option<&[u8]> {
    loop {
        if !contains(stream, b"\r\n") {
            return None;
        }
        let (at, size) = match httparse::parse_chunk_size(stream).ok()? {
            httparse::Status::Complete(found) => found,
            httparse::Status::Partial => return None,
        };
        stream = &stream[at..];
        if size == 0 {
            let ended = stream.starts_with(b"\r\n") || contains(stream, b"\r\n\r\n");
            if !ended {
                return None;
            }
            let mut lines = [httparse::EMPTY_HEADER; LINES];
            return match httparse::parse_headers(stream, &mut lines).ok()? {
                httparse::Status::Complete((end, _)) => Some(&stream[end..]),
                httparse::Status::Partial => None,
            };
        }
        let size = usize::try_from(size).ok()?;
        let rest = stream.get(size..)?;
        match rest {
            [b'\r', b'\n', behind @ ..] => stream = behind,
            // The line that should be empty has not come to its end.
            _ if rest.len() <= 2 && !rest.contains(&b'\n') => return None,
            _ => panic!("a chunk that is longer than it says"),
        }
    }
}
