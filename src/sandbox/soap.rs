//! The SOAP twin's envelope: the request read by namespace, replies and faults as WCF writes them. Protocol §3.
//!
//! Written apart from the product's own writer and reader, so that a mistake in one does not hide in the other.

use xml::reader::{EventReader, ParserConfig, XmlEvent};

use super::login::Exchange;

/// The namespace of the service's own elements.
pub(super) const SERVICE: &str = "http://www.superoffice.com/superid/partnersystemuser/0.1";
/// The only `SOAPAction` there is.
pub(super) const ACTION: &str = "http://www.superoffice.com/superid/partnersystemuser/0.1/IPartnerSystemUserService/Authenticate";
const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const MAX_DEPTH: usize = 32;

/// A SOAP fault: code (with the prefix `s` or `a` declared) and text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: &'static str,
    pub text: String,
}

fn fault(code: &'static str, text: impl Into<String>) -> Fault {
    Fault { code, text: text.into() }
}

/// Reads an `AuthenticationRequest` in its envelope.
pub(super) fn read(body: &[u8]) -> Result<Exchange, Fault> {
    let mut exchange = Exchange::default();
    let mut path: Vec<(String, String)> = Vec::new();
    let mut text = String::new();
    let mut requested = false;
    let config = ParserConfig::new().cdata_to_characters(true).ignore_comments(true).max_entity_expansion_length(0);
    for event in EventReader::new_with_config(body, config) {
        match event.map_err(|error| unreadable(&error.to_string()))? {
            // WCF reads no document with a DTD.
            XmlEvent::Doctype { .. } => return Err(unreadable("DTD is prohibited in this XML document.")),
            XmlEvent::StartElement { name, attributes, .. } => {
                let namespace = name.namespace.unwrap_or_default();
                path.push((namespace, name.local_name));
                text.clear();
                if path.len() > MAX_DEPTH {
                    return Err(unreadable("the document is too deep"));
                }
                check_envelope(&path)?;
                requested |= is_at(&path, &[(SOAP11, "Envelope"), (SOAP11, "Body"), (SERVICE, "AuthenticationRequest")]);
                let nil = |name: &xml::name::OwnedName| name.namespace.as_deref() == Some(XSI) && name.local_name == "nil";
                if attributes.iter().any(|attribute| nil(&attribute.name) && attribute.value != "false" && attribute.value != "0") {
                    // A nil element holds no text; whatever follows is not looked at.
                    path.last_mut().into_iter().for_each(|last| last.1.push_str(" nil"));
                }
            }
            XmlEvent::Characters(more) | XmlEvent::Whitespace(more) => text.push_str(&more),
            XmlEvent::EndElement { .. } => {
                take(&mut exchange, &path, &mut text)?;
                path.pop();
            }
            _ => {}
        }
    }
    if !requested {
        // An empty Body, or one with another element in it.
        return Err(fault(
            "a:DeserializationFailed",
            "The formatter threw an exception while trying to deserialize the message: Error in deserializing body of request message for operation 'Authenticate'.",
        ));
    }
    Ok(exchange)
}

fn unreadable(why: &str) -> Fault {
    fault("s:Client", format!("The message could not be read: {why}"))
}

fn is_at(path: &[(String, String)], expected: &[(&str, &str)]) -> bool {
    path.len() == expected.len() && path.iter().zip(expected).all(|(have, want)| (have.0.as_str(), have.1.as_str()) == *want)
}

fn check_envelope(path: &[(String, String)]) -> Result<(), Fault> {
    match path {
        [(namespace, local)] if local != "Envelope" || namespace.is_empty() => {
            Err(unreadable(&format!("the root element is '{local}', not a SOAP 1.1 envelope")))
        }
        [(namespace, _)] if namespace != SOAP11 => Err(fault(
            "s:VersionMismatch",
            format!("The envelope version of the incoming message ({namespace}) does not match that of the encoder ({SOAP11})."),
        )),
        _ => Ok(()),
    }
}

fn take(exchange: &mut Exchange, path: &[(String, String)], text: &mut String) -> Result<(), Fault> {
    let text = std::mem::take(text);
    let field = |section, expected: &[(&str, &str)]| {
        let mut whole = vec![(SOAP11, "Envelope"), (SOAP11, section)];
        whole.extend(expected);
        is_at(path, &whole)
    };
    if field("Header", &[(SERVICE, "ApplicationToken")]) {
        exchange.application_token = Some(text);
    } else if field("Header", &[(SERVICE, "ContextIdentifier")]) {
        exchange.context = Some(text);
    } else if field("Body", &[(SERVICE, "AuthenticationRequest"), (SERVICE, "SignedSystemToken")]) {
        exchange.signed_system_token = Some(text);
    } else if field("Body", &[(SERVICE, "AuthenticationRequest"), (SERVICE, "ReturnTokenType")]) {
        exchange.saml = match text.as_str() {
            "Jwt" => false,
            "Saml" => true,
            // The schema's enumeration; `JWT` is the REST twin's spelling.
            other => {
                return Err(fault(
                    "a:DeserializationFailed",
                    format!("Invalid enum value '{other}' cannot be deserialized into type 'TokenType'."),
                ));
            }
        };
    }
    Ok(())
}

/// The reply: a token, or the words of a refusal.
pub(super) fn reply(result: Result<&str, &str>) -> String {
    let (success, token, error) = match result {
        Ok(token) => (true, element("Token", token), "<ErrorMessage/>".to_owned()),
        Err(words) => (false, "<Token/>".to_owned(), element("ErrorMessage", words)),
    };
    format!(
        "<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body><AuthenticationResponse xmlns=\"{SERVICE}\">\
         <IsSuccessful>{success}</IsSuccessful>{token}{error}</AuthenticationResponse></s:Body></s:Envelope>"
    )
}

/// A fault's envelope.
pub(super) fn fault_envelope(fault: &Fault) -> String {
    format!(
        "<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body><s:Fault>\
         <faultcode xmlns:a=\"http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher\">{}</faultcode>\
         <faultstring xml:lang=\"en-US\">{}</faultstring></s:Fault></s:Body></s:Envelope>",
        fault.code,
        escape(&fault.text)
    )
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The service's description, with its address at `base`.
pub(super) fn wsdl(base: &str) -> String {
    include_str!("soap/service.wsdl").replace("{base}", &escape(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The request of SuperOffice's documentation, protocol §3.2.
    const SAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
  <SOAP-ENV:Envelope xmlns:ns0="http://schemas.xmlsoap.org/soap/envelope/"
                     xmlns:ns1="http://www.superoffice.com/superid/partnersystemuser/0.1"
                     xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
                     xmlns:tns="http://www.superoffice.com/superid/partnersystemuser/0.1"
                     xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/">
    <SOAP-ENV:Header>
      <tns:ApplicationToken>secret</tns:ApplicationToken>
      <tns:ContextIdentifier>Cust12345</tns:ContextIdentifier>
    </SOAP-ENV:Header>
    <ns0:Body>
      <ns1:AuthenticationRequest>
        <ns1:SignedSystemToken>R&amp;D App-x.202001010000.abc=</ns1:SignedSystemToken>
        <ns1:ReturnTokenType>Jwt</ns1:ReturnTokenType>
      </ns1:AuthenticationRequest>
    </ns0:Body>
  </SOAP-ENV:Envelope>"#;

    #[test]
    fn the_documented_request_is_read() {
        let expected = Exchange {
            application_token: Some("secret".into()),
            context: Some("Cust12345".into()),
            signed_system_token: Some("R&D App-x.202001010000.abc=".into()),
            saml: false,
        };
        assert_eq!(read(SAMPLE.as_bytes()), Ok(expected));
    }

    #[test]
    fn elements_of_other_namespaces_places_or_with_nil_do_not_count() {
        let other = SAMPLE.replace("xmlns:tns=\"http://www.superoffice.com/superid/partnersystemuser/0.1\"", "xmlns:tns=\"urn:other\"");
        let read_other = read(other.as_bytes()).unwrap();
        assert_eq!((read_other.application_token, read_other.context), (None, None));
        let misplaced = SAMPLE.replace("SOAP-ENV:Header", "SOAP-ENV:Head");
        assert_eq!(read(misplaced.as_bytes()).unwrap().context, None);
        let nil = SAMPLE.replace("<ns1:SignedSystemToken>", "<ns1:SignedSystemToken xsi:nil=\"true\">");
        assert_eq!(read(nil.as_bytes()).unwrap().signed_system_token, None);
    }

    #[test]
    fn what_is_no_request_gets_a_fault() {
        let code = |text: &str| read(text.as_bytes()).unwrap_err().code;
        for bad in [
            "",
            "{}",
            "<html/>",
            "<Envelope/>",
            &SAMPLE[..400],
            &SAMPLE.replace("R&amp;D", "R&D"),
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        ] {
            assert_eq!(code(bad), "s:Client", "{bad}");
        }
        assert_eq!(code(&SAMPLE.replace(SOAP11, "http://www.w3.org/2003/05/soap-envelope")), "s:VersionMismatch");
        assert_eq!(code(&SAMPLE.replace(">Jwt<", ">JWT<")), "a:DeserializationFailed");
        assert_eq!(code(&SAMPLE.replace("AuthenticationRequest", "AuthenticateRequest")), "a:DeserializationFailed");
    }

    #[test]
    fn replies_are_well_formed_and_escaped() {
        for text in
            [reply(Ok("a.b.c")), reply(Err("no <&> \n way")), fault_envelope(&fault("s:Client", "<&>")), wsdl("http://127.0.0.1:8090")]
        {
            assert!(EventReader::new(text.as_bytes()).into_iter().all(|event| event.is_ok()), "{text}");
        }
        assert!(wsdl("http://h:1").contains("location=\"http://h:1/login/services/PartnerSystemUserService.svc\""));
    }
}
