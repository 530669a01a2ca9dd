//! What the readers of both twins' replies have in common.

use secrecy::ExposeSecret;
use soproxy::superoffice::{ExchangeReply, ReplyError};

use super::support::{contains, knobs};

/// How one of the twins reads a reply.
pub type Parse = fn(u16, Option<&str>, Option<&str>, &[u8]) -> Result<ExchangeReply, ReplyError>;

/// The longest text about a reply: 300 characters of the service's own words, and ours around them.
const LONGEST: usize = 600;

/// A token is only ever what stands in the reply of a server that says 2xx; and no text about a reply grows with it.
pub fn check(parse: Parse, data: &[u8]) {
    let ([status, kind], body) = knobs(data);
    let status = [200, 200, 200, 302, 400, 401, 403, 500, 503, 204][usize::from(status % 10)];
    let kind = [None, Some("text/xml; charset=utf-8"), Some("application/json"), Some("text/html"), Some("\u{e5}")][usize::from(kind % 5)];
    let location = std::str::from_utf8(body).ok().filter(|_| status == 302);
    match parse(status, kind, location, body) {
        Ok(ExchangeReply::Token(token)) => {
            let token = token.expose_secret();
            assert!((200..300).contains(&status), "a token with HTTP {status}");
            assert!(!token.is_empty() && token.trim() == token, "{token:?}");
            let reply = String::from_utf8_lossy(body).to_ascii_lowercase();
            // UTF-16 has a zero in each of these letters.
            let letters: String = reply.chars().filter(|c| *c != '\0').collect();
            assert!(letters.contains("issuccessful") || letters.contains('\\'), "nobody said that it was successful");
            let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
            let escaped = contains(body, b"&")
                || contains(body, b"\\")
                || contains(body, b"[CDATA[")
                || contains(body, b"\0")
                || contains(body, b"<!--")
                || contains(body, b"<?");
            assert!(!plain || escaped || contains(body, token.as_bytes()), "a token that is not in the reply: {token}");
        }
        Ok(ExchangeReply::Refused(words)) => assert!(words.chars().count() <= LONGEST, "{} characters", words.len()),
        Err(error) => {
            let told = error.to_string();
            assert!(told.chars().count() <= LONGEST, "{} characters: {told}", told.len());
            assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "control characters in a log line: {told:?}");
        }
    }
}
