//! The SOAP 1.1 twin of the exchange: request envelope and reply. Protocol §3.

use zeroize::Zeroizing;

use super::document::{self, DocumentError, Element};
use super::reply::{self, Answer, Fields, MAX_WORDS};
use super::text;
use super::{ExchangeReply, ExchangeRequest, ReplyError};

/// Where it is posted to, below the login service's origin. Protocol §3.1.
pub const PATH: &str = "/login/services/PartnerSystemUserService.svc";

/// The `SOAPAction` header, unquoted as in all of SuperOffice's samples. Protocol §3.1.
pub const SOAP_ACTION: &str = "http://www.superoffice.com/superid/partnersystemuser/0.1/IPartnerSystemUserService/Authenticate";

/// The `Content-Type` header.
pub const CONTENT_TYPE: &str = "text/xml;charset=UTF-8";

/// The namespace of the service's own elements. Protocol §3.3.
pub const NAMESPACE: &str = "http://www.superoffice.com/superid/partnersystemuser/0.1";

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const ENVELOPE_12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// A value that XML 1.0 cannot carry, escaped or not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} holds the character U+{code:04X}, which SOAP cannot carry: is it a stray one? (exchange = \"rest\" can carry it)")]
pub struct Unsendable {
    /// The setting it comes from.
    pub field: &'static str,
    /// The character's number.
    pub code: u32,
}

/// The envelope, UTF-8. It holds two secrets and is wiped when dropped.
pub fn request_body(request: &ExchangeRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Unsendable> {
    // One allocation of the largest possible size: growing would leave copies of the secrets behind.
    let values = request.application_token.len() + request.context.as_str().len() + request.signed_system_token.len();
    let mut body = Zeroizing::new(Vec::with_capacity(1024 + 6 * values));
    body.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<s:Envelope xmlns:s=\"");
    body.extend_from_slice(ENVELOPE.as_bytes());
    body.extend_from_slice(b"\" xmlns:t=\"");
    body.extend_from_slice(NAMESPACE.as_bytes());
    body.extend_from_slice(b"\"><s:Header><t:ApplicationToken>");
    escape(&mut body, request.application_token, "client_secret")?;
    body.extend_from_slice(b"</t:ApplicationToken><t:ContextIdentifier>");
    escape(&mut body, request.context.as_str(), "context")?;
    body.extend_from_slice(b"</t:ContextIdentifier></s:Header><s:Body><t:AuthenticationRequest><t:SignedSystemToken>");
    escape(&mut body, request.signed_system_token, "system_user_token")?;
    body.extend_from_slice(
        b"</t:SignedSystemToken><t:ReturnTokenType>Jwt</t:ReturnTokenType></t:AuthenticationRequest></s:Body></s:Envelope>",
    );
    Ok(body)
}

fn escape(out: &mut Vec<u8>, text: &str, field: &'static str) -> Result<(), Unsendable> {
    for c in text.chars() {
        match c {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            // A parser turns a bare one into a line feed.
            '\r' => out.extend_from_slice(b"&#13;"),
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            c => return Err(Unsendable { field, code: c.into() }),
        }
    }
    Ok(())
}

/// Reads an HTTP answer. The service's words are shortened; a location shows no query.
pub fn parse_reply(status: u16, content_type: Option<&str>, location: Option<&str>, body: &[u8]) -> Result<ExchangeReply, ReplyError> {
    let answer = Answer { status, content_type, location, body };
    let text = answer.text()?;
    if !text.starts_with('<') {
        return Err(answer.no_document(&text, "a SOAP envelope was"));
    }
    let root = document::read(&text).map_err(|error| match error {
        DocumentError::Truncated => answer.truncated(),
        DocumentError::Doctype => answer.malformed("it has a DOCTYPE, which SOAP forbids"),
        DocumentError::Limit(what) => ReplyError::TooLarge { status, what: what.to_owned() },
        DocumentError::Syntax { line, column } => answer.malformed(format!("XML that is not well formed at line {line}, column {column}")),
    })?;
    let soap = [ENVELOPE, ENVELOPE_12].into_iter().find(|soap| root.is(soap, "Envelope"));
    let Some(soap) = soap else {
        return Err(answer.malformed(format!("a SOAP envelope was expected, not an element {}", shown(&root))));
    };
    let Some(soap_body) = root.children.iter().find(|child| child.is(soap, "Body")) else {
        return Err(answer.malformed("the SOAP envelope has no Body"));
    };
    if let Some(fault) = soap_body.children.iter().find(|child| child.is(soap, "Fault")) {
        return Err(read_fault(fault));
    }
    match soap_body.children.iter().find(|child| child.is(NAMESPACE, "AuthenticationResponse")) {
        Some(response) => read_response(response, &answer)?.judge(&answer),
        None => {
            let found = soap_body.children.first().map_or("nothing".to_owned(), shown);
            Err(answer.malformed(format!("the SOAP body holds {found} instead of AuthenticationResponse")))
        }
    }
}

/// SOAP 1.1's `faultcode` and `faultstring`, or 1.2's `Code/Value` and `Reason/Text`.
fn read_fault(fault: &Element) -> ReplyError {
    let words = |old: &str, path: [&str; 2]| {
        let new = || fault.children.iter().find(|c| c.name == path[0])?.children.iter().find(|c| c.name == path[1]);
        let found = fault.children.iter().find(|child| child.name == old).or_else(new);
        let words = found.map(|found| text::shorten(&found.text, MAX_WORDS)).unwrap_or_default();
        if words.is_empty() { "(none)".to_owned() } else { words }
    };
    ReplyError::Fault { code: words("faultcode", ["Code", "Value"]), text: words("faultstring", ["Reason", "Text"]) }
}

fn read_response(response: &Element, answer: &Answer<'_>) -> Result<Fields, ReplyError> {
    let field = |name: &'static str| -> Result<Option<Zeroizing<String>>, ReplyError> {
        let mut found = response.named(name).filter(|child| child.is(NAMESPACE, name));
        let first = found.next();
        if found.next().is_some() {
            return Err(answer.malformed(format!("{name} occurs twice")));
        }
        Ok(first.filter(|first| !first.nil).map(|first| first.text.clone()))
    };
    let successful = match field("IsSuccessful")?.filter(|text| !text::trim(text).is_empty()) {
        None => None,
        Some(text) => Some(reply::boolean(&text).ok_or_else(|| answer.malformed("IsSuccessful is neither true nor false"))?),
    };
    Ok(Fields { successful, token: field("Token")?, message: field("ErrorMessage")? })
}

fn shown(element: &Element) -> String {
    text::shorten(&format!("{{{}}}{}", element.namespace.as_deref().unwrap_or_default(), element.name), MAX_WORDS)
}

#[cfg(test)]
mod tests;
