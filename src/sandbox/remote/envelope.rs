//! Envelopes of the SOAP services: requests read into a tree, answers written as WCF writes them. Written apart from the
//! product's own reader and writer.

use bytes::BytesMut;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use xml::reader::{EventReader, ParserConfig, XmlEvent};

use crate::sandbox::echo::hex;
use crate::sandbox::reply::ReplyBody;

pub(super) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(super) const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const MAX_DEPTH: usize = 64;

/// No genuine envelope is as large, but for a file in it.
const MOST: usize = 1024 * 1024;
/// A text that is longer is a file: only its beginning is kept.
const LONG: usize = 64 * 1024;

/// What came, without the longest text in it.
pub(super) struct Taken {
    pub bytes: BytesMut,
    /// Length and SHA-256 of the text that was too long.
    pub file: Option<(u64, String)>,
}

/// Reads a body of any length; `None` when it breaks off, or is too much to be kept.
pub(super) async fn take(mut body: ReplyBody) -> Option<Taken> {
    let (mut bytes, mut run) = (BytesMut::new(), 0);
    let mut file: Option<(u64, Sha256)> = None;
    let mut done: Option<(u64, String)> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        let mut rest = &data[..];
        while !rest.is_empty() {
            // Up to the next bracket it is all the same text.
            let length = rest.iter().position(|byte| matches!(byte, b'<' | b'>'));
            let (text, behind) = rest.split_at(length.unwrap_or(rest.len()));
            if file.is_none() && done.is_none() && run + text.len() > LONG {
                let begun = &bytes[bytes.len() - run..];
                file = Some((run as u64, Sha256::new_with_prefix(begun)));
            }
            match &mut file {
                Some((length, hash)) => {
                    *length += text.len() as u64;
                    hash.update(text);
                }
                None => {
                    bytes.extend_from_slice(text);
                    run += text.len();
                }
            }
            if let Some((bracket, others)) = behind.split_first() {
                if let Some((length, hash)) = file.take() {
                    done = Some((length, hex(&hash.finalize())));
                }
                bytes.extend_from_slice(&[*bracket]);
                run = 0;
                rest = others;
            } else {
                rest = behind;
            }
            if bytes.len() > MOST {
                return None;
            }
        }
    }
    Some(Taken { bytes, file: done })
}

/// An element with what is in it.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub namespace: String,
    pub name: String,
    pub nil: bool,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// The only child of this name.
    pub(super) fn child(&self, namespace: &str, name: &str) -> Result<Option<&Element>, String> {
        let mut found = self.children.iter().filter(|child| child.is(namespace, name));
        let first = found.next();
        match found.next() {
            Some(_) => Err(format!("Multiple elements with name '{name}' and namespace '{namespace}' found.")),
            None => Ok(first),
        }
    }
}

/// Reads a document.
pub(super) fn read(body: &[u8]) -> Result<Element, String> {
    let config = ParserConfig::new().cdata_to_characters(true).ignore_comments(true).max_entity_expansion_length(0);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    for event in EventReader::new_with_config(body, config) {
        match event.map_err(|error| error.to_string())? {
            XmlEvent::Doctype { .. } => return Err("DTD is prohibited in this XML document.".to_owned()),
            XmlEvent::StartElement { name, attributes, .. } => {
                let nil = attributes.iter().any(|attribute| {
                    attribute.name.namespace.as_deref() == Some(XSI) && attribute.name.local_name == "nil" && attribute.value == "true"
                });
                let (namespace, name) = (name.namespace.unwrap_or_default(), name.local_name);
                open.push(Element { namespace, name, nil, ..Element::default() });
                if open.len() > MAX_DEPTH {
                    return Err("the document is too deep".to_owned());
                }
            }
            XmlEvent::Characters(more) | XmlEvent::Whitespace(more) => {
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&more);
                }
            }
            XmlEvent::EndElement { .. } => {
                let Some(done) = open.pop() else { break };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            _ => {}
        }
    }
    root.ok_or_else(|| "Root element is missing.".to_owned())
}

/// What an answer says besides its body.
pub(super) struct Outcome<'a> {
    pub soap: &'a str,
    pub namespace: &'a str,
    /// The exception's type and text.
    pub exception: Option<(&'a str, &'a str)>,
    /// As the request had it: number, and code.
    pub time_zone: (String, String),
}

/// An answer. `body` is one element.
pub(super) fn answer(outcome: &Outcome<'_>, body: &str) -> String {
    let Outcome { soap, namespace, exception, time_zone } = outcome;
    let header = |name: &str, inner: &str| format!("<h:{name} xmlns:h=\"{namespace}\" xmlns=\"{namespace}\" xmlns:i=\"{XSI}\"{inner}");
    let exception_info = match exception {
        None => header("ExceptionInfo", " i:nil=\"true\"/>"),
        Some((kind, text)) => header(
            "ExceptionInfo",
            &format!(
                "><Message>{text}</Message><StackTrace>   at SuperOffice.Services.Implementation</StackTrace><FriendlyText>{text}</FriendlyText>\
                 <ExceptionType>{kind}</ExceptionType><Source>SuperOffice.Services.Implementation</Source>\
                 <InnerException i:nil=\"true\"/><Parameters/></h:ExceptionInfo>",
                text = escape(text),
                kind = escape(kind)
            ),
        ),
    };
    let (number, code) = time_zone;
    let zone = format!(
        "><SoTimeZoneId>{}</SoTimeZoneId><SoTimeZoneLocationCode>{}</SoTimeZoneLocationCode></h:TimeZone>",
        escape(number),
        escape(code)
    );
    let all = [
        exception_info,
        header("ExtraInfo", "/>"),
        format!("<h:Succeeded xmlns:h=\"{namespace}\">{}</h:Succeeded>", exception.is_none()),
        header("TimeZone", &zone),
    ];
    format!("<s:Envelope xmlns:s=\"{soap}\"><s:Header>{}</s:Header><s:Body>{body}</s:Body></s:Envelope>", all.concat())
}

/// A fault of WCF's own, for what never reaches SuperOffice's code.
pub(super) fn fault(soap: &str, code: &str, text: &str) -> String {
    const DISPATCHER: &str = "http://schemas.microsoft.com/ws/2005/05/addressing/none";
    let text = escape(text);
    let fault = if soap == SOAP12 {
        format!(
            "<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value xmlns:a=\"{DISPATCHER}\">a:{code}</s:Value></s:Subcode></s:Code>\
             <s:Reason><s:Text xml:lang=\"en-US\">{text}</s:Text></s:Reason>"
        )
    } else {
        format!("<faultcode xmlns:a=\"{DISPATCHER}\">a:{code}</faultcode><faultstring xml:lang=\"en-US\">{text}</faultstring>")
    };
    format!("<s:Envelope xmlns:s=\"{soap}\"><s:Body><s:Fault>{fault}</s:Fault></s:Body></s:Envelope>")
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\r', "&#13;")
}
