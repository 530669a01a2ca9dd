//! The REST twin of the exchange: request document and reply. Protocol §4.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::reply::{self, Answer, Fields, MAX_WORDS};
use super::text;
use super::{ExchangeReply, ExchangeRequest, ReplyError};

/// Where it is posted to, below the login service's origin. Protocol §4.
pub const PATH: &str = "/Login/api/PartnerSystemUser/Authenticate";

/// The `Content-Type` header, and the `Accept` header too.
pub const CONTENT_TYPE: &str = "application/json";

/// The document, UTF-8. It holds two secrets and is wiped when dropped.
pub fn request_body(request: &ExchangeRequest<'_>) -> Zeroizing<Vec<u8>> {
    // One allocation of the largest possible size: growing would leave copies of the secrets behind.
    let values = request.application_token.len() + request.context.as_str().len() + request.signed_system_token.len();
    let mut body = Zeroizing::new(Vec::with_capacity(256 + 6 * values));
    body.extend_from_slice(b"{\"SignedSystemToken\":");
    quote(&mut body, request.signed_system_token);
    body.extend_from_slice(b",\"ApplicationToken\":");
    quote(&mut body, request.application_token);
    body.extend_from_slice(b",\"ContextIdentifier\":");
    quote(&mut body, request.context.as_str());
    body.extend_from_slice(b",\"ReturnTokenType\":\"JWT\"}");
    body
}

fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Reads an HTTP answer. The service's words are shortened; a location shows no query.
///
/// Assumptions, since no answer was ever published: names in any case; `IsSuccessful` as a boolean, as its text or as a
/// number; anything null or missing; an HTTP error may carry the same document, or ASP.NET's `{"Message": …}`.
pub fn parse_reply(status: u16, content_type: Option<&str>, location: Option<&str>, body: &[u8]) -> Result<ExchangeReply, ReplyError> {
    let answer = Answer { status, content_type, location, body };
    let text = answer.text()?;
    if !text.starts_with(['{', '[', '"']) {
        return Err(answer.no_document(&text, "a JSON object was"));
    }
    let reply: Value = serde_json::from_str(&text).map_err(|error| {
        if error.is_eof() {
            answer.truncated()
        } else if error.to_string().contains("recursion limit") {
            ReplyError::TooLarge { status, what: "too deep".to_owned() }
        } else {
            answer.malformed(format!("JSON that is not well formed at line {}, column {}", error.line(), error.column()))
        }
    })?;
    match reply {
        Value::Object(members) => read_members(&members, &answer),
        _ if answer.is_success() => Err(answer.malformed("a JSON object was expected")),
        _ => Err(ReplyError::Status { status, words: "a JSON body without a message".to_owned() }),
    }
}

fn read_members(members: &Map<String, Value>, answer: &Answer<'_>) -> Result<ExchangeReply, ReplyError> {
    let said = member(members, "IsSuccessful");
    let successful = match said {
        None => None,
        Some(Value::Bool(said)) => Some(*said),
        Some(Value::String(text)) if text::trim(text).is_empty() => None,
        Some(Value::String(text)) => reply::boolean(text),
        Some(other) => reply::boolean(&other.to_string()),
    };
    if successful.is_none() && said.is_some_and(|said| said != "") {
        return Err(answer.malformed("IsSuccessful is neither true nor false"));
    }
    let message = ["ErrorMessage", "Message"].iter().find_map(|name| text_of(members, name));
    let token = text_of(members, "Token");
    if successful.is_none() && !answer.is_success() {
        let others = ["error_description", "error", "title"].iter().find_map(|name| text_of(members, name));
        let words = message.or(others).map(|message| text::shorten(&message, MAX_WORDS));
        let words = words.unwrap_or_else(|| "a JSON body without a message".to_owned());
        return Err(ReplyError::Status { status: answer.status, words });
    }
    if successful.is_none() && message.is_none() && token.is_none() {
        return Err(answer.malformed("a JSON object with neither IsSuccessful nor Token nor ErrorMessage"));
    }
    Fields { successful, token, message }.judge(answer)
}

/// The member of that name, in any case, unless it is null.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let any_case = || members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|found| found.1);
    members.get(name).or_else(any_case).filter(|value| !value.is_null())
}

fn text_of(members: &Map<String, Value>, name: &str) -> Option<Zeroizing<String>> {
    match member(members, name)? {
        Value::String(text) if !text::trim(text).is_empty() => Some(Zeroizing::new(text.clone())),
        Value::Number(number) => Some(Zeroizing::new(number.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
