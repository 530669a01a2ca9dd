//! The SOAP twin: golden envelope and hostile replies.

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::superoffice::ContextId;

fn context() -> ContextId {
    "Cust12345".parse().unwrap()
}

fn parse(status: u16, body: &str) -> Result<ExchangeReply, ReplyError> {
    parse_reply(status, Some("text/xml; charset=utf-8"), None, body.as_bytes())
}

fn token(reply: Result<ExchangeReply, ReplyError>) -> String {
    match reply {
        Ok(ExchangeReply::Token(token)) => token.expose_secret().to_owned(),
        Ok(ExchangeReply::Refused(words)) => panic!("refused: {words}"),
        Err(error) => panic!("{error}"),
    }
}

fn refused(reply: Result<ExchangeReply, ReplyError>) -> String {
    match reply {
        Ok(ExchangeReply::Refused(words)) => words,
        Ok(ExchangeReply::Token(_)) => panic!("a token"),
        Err(error) => panic!("{error}"),
    }
}

fn failed(reply: Result<ExchangeReply, ReplyError>) -> ReplyError {
    reply.err().unwrap()
}

/// WCF's habit, protocol §3.4.
fn wcf(inner: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><AuthenticationResponse \
         xmlns=\"http://www.superoffice.com/superid/partnersystemuser/0.1\">{inner}</AuthenticationResponse></s:Body></s:Envelope>"
    )
}

#[test]
fn the_envelope_is_the_golden_one() {
    let context = context();
    let request = ExchangeRequest {
        application_token: "se<cr&et>\"'",
        context: &context,
        signed_system_token: "Åpp & Näme-2d2D5KmBji.202011300915.a+b/c==",
    };
    let body = request_body(&request).unwrap();
    assert_eq!(str::from_utf8(&body).unwrap(), include_str!("../../../tests/golden/exchange-request.xml"));
}

#[test]
fn what_xml_cannot_carry_is_refused_by_name() {
    let context = context();
    for (bad, code) in [("a\0", 0), ("\u{1b}", 0x1b), ("\u{ffff}", 0xffff)] {
        let request = ExchangeRequest { application_token: bad, context: &context, signed_system_token: "x" };
        assert_eq!(request_body(&request), Err(Unsendable { field: "client_secret", code }));
        let request = ExchangeRequest { application_token: "x", context: &context, signed_system_token: bad };
        assert_eq!(request_body(&request), Err(Unsendable { field: "system_user_token", code }));
    }
}

#[test]
fn tokens_are_found_however_they_are_dressed() {
    let plain = wcf("<IsSuccessful>true</IsSuccessful><Token>eyJ0.e30.c2ln</Token><ErrorMessage/>");
    let dressed = "\n<?xml version='1.0' encoding='utf-8' standalone='yes'?>\n<!-- proxy --><SOAP:Envelope xmlns:SOAP='http://schemas.xmlsoap.org/soap/envelope/' \
        xmlns:q='http://www.superoffice.com/superid/partnersystemuser/0.1' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'>\
        <SOAP:Header><x/></SOAP:Header><SOAP:Body>\n <q:AuthenticationResponse>\n <q:ErrorMessage i:nil='true'/>\
        <q:Token>\n\u{feff} <![CDATA[eyJ0.]]>e30.c2ln \n</q:Token><q:IsSuccessful> 1 </q:IsSuccessful></q:AuthenticationResponse></SOAP:Body></SOAP:Envelope>\n";
    let soap12 = plain.replace("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope");
    for reply in [&plain, dressed, &soap12, &format!("\u{feff}{plain}")] {
        assert_eq!(token(parse(200, reply)), "eyJ0.e30.c2ln", "{reply}");
    }
    let utf16: Vec<u8> =
        format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-16\"?>{plain}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(token(parse_reply(200, None, None, &utf16)), "eyJ0.e30.c2ln");
}

#[test]
fn refusals_carry_the_services_words() {
    for (inner, words) in [
        (
            "<IsSuccessful>false</IsSuccessful><Token/><ErrorMessage>The supplied timestamp is invalid</ErrorMessage>",
            "The supplied timestamp is invalid",
        ),
        ("<IsSuccessful>0</IsSuccessful><ErrorMessage>Exception:&#10;a &lt;b&gt;\u{9d}c</ErrorMessage>", "Exception: a <b> c"),
        ("<ErrorMessage>x</ErrorMessage>", "x"),
        ("<IsSuccessful/><Token>t</Token>", ""),
        ("", ""),
        ("<IsSuccessful>true</IsSuccessful>", "the reply says IsSuccessful=true but brings no token"),
        (
            "<IsSuccessful>true</IsSuccessful><Token> \u{feff} </Token><ErrorMessage>odd</ErrorMessage>",
            "the reply says IsSuccessful=true but brings no token: odd",
        ),
        (
            "<IsSuccessful>true</IsSuccessful><Token xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'/>",
            "the reply says IsSuccessful=true but brings no token",
        ),
        // A stranger's elements of the same name are not the service's.
        ("<IsSuccessful xmlns='urn:x'>true</IsSuccessful><Token>t</Token>", ""),
    ] {
        for status in [200, 500] {
            if status == 200 || !inner.contains("true</IsSuccessful>") || inner.contains("urn:x") {
                assert_eq!(refused(parse(status, &wcf(inner))), words, "{inner}");
            }
        }
    }
    let long = refused(parse(200, &wcf(&format!("<ErrorMessage>{}</ErrorMessage>", "at X.Y() ".repeat(500)))));
    assert!(long.chars().count() <= 301 && long.ends_with('…'));
}

#[test]
fn faults() {
    let fault = |code: &str, text: &str| ReplyError::Fault { code: code.to_owned(), text: text.to_owned() };
    let old = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault><faultcode xmlns:a=\"http://x\">a:InternalServiceFault</faultcode>\
        <faultstring xml:lang=\"en-US\">The server was unable to process the request.\r\n</faultstring><detail><x/></detail></s:Fault></s:Body></s:Envelope>";
    assert_eq!(failed(parse(500, old)), fault("a:InternalServiceFault", "The server was unable to process the request."));
    let new = "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Body><e:Fault><e:Code><e:Value>e:Sender</e:Value></e:Code>\
        <e:Reason><e:Text xml:lang='en'>No</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>";
    assert_eq!(failed(parse(400, new)), fault("e:Sender", "No"));
    let bare = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault/></s:Body></s:Envelope>";
    assert_eq!(failed(parse(200, bare)), fault("(none)", "(none)"));
}

#[test]
fn hostile_and_broken_replies() {
    let good = wcf("<IsSuccessful>true</IsSuccessful><Token>t</Token>");
    let malformed = |reply: Result<ExchangeReply, ReplyError>| match failed(reply) {
        ReplyError::Malformed { what, .. } => what,
        other => panic!("{other}"),
    };
    let bomb = format!("<!DOCTYPE s [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>{}", good.replace(">t<", ">&b;<"));
    assert_eq!(malformed(parse(200, &bomb)), "it has a DOCTYPE, which SOAP forbids");
    assert_eq!(
        malformed(parse(200, &format!("<!DOCTYPE s SYSTEM \"http://169.254.169.254/\">{good}"))),
        "it has a DOCTYPE, which SOAP forbids"
    );
    assert_eq!(malformed(parse(200, "plain words")), "a SOAP envelope was expected");
    assert_eq!(malformed(parse(200, "{\"IsSuccessful\":true}")), "a SOAP envelope was expected");
    assert_eq!(malformed(parse(200, "<Envelope/>")), "a SOAP envelope was expected, not an element {}Envelope");
    assert!(malformed(parse(200, &good.replace("</Token>", "</Tokens>"))).contains("not well formed at line 1"));
    assert_eq!(malformed(parse(200, &good.replace("true", "maybe"))), "IsSuccessful is neither true nor false");
    assert_eq!(malformed(parse(200, &good.replace("<Token>t", "<Token>u</Token><Token>t"))), "Token occurs twice");
    assert!(
        malformed(parse(200, &good.replace("AuthenticationResponse", "AuthenticateResponse")))
            .ends_with("AuthenticateResponse instead of AuthenticationResponse")
    );
    assert_eq!(
        malformed(parse(200, "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"/>")),
        "the SOAP envelope has no Body"
    );
    let empty_body = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body/></s:Envelope>";
    assert_eq!(malformed(parse(200, empty_body)), "the SOAP body holds nothing instead of AuthenticationResponse");
    let deep = wcf(&format!("{}{}", "<a>".repeat(1000), "</a>".repeat(1000)));
    assert!(matches!(failed(parse(200, &deep)), ReplyError::TooLarge { .. }));
    assert_eq!(failed(parse(200, "")), ReplyError::Empty { status: 200 });
    assert_eq!(failed(parse(502, "Bad\r\nGateway")), ReplyError::Status { status: 502, words: "Bad Gateway".to_owned() });
    assert!(matches!(failed(parse(500, &good)), ReplyError::Status { status: 500, .. }));
    assert!(matches!(failed(parse_reply(503, Some("text/html"), None, b"<html><title>x</title>")), ReplyError::Html { status: 503, .. }));
    let moved = parse_reply(302, None, Some("https://x.example/y?SAMLRequest=z"), b"");
    assert_eq!(failed(moved), ReplyError::Redirect { status: 302, location: "https://x.example/y".to_owned() });
}

#[test]
fn a_reply_cut_anywhere_is_truncated() {
    let whole = wcf("<IsSuccessful>true</IsSuccessful><Token>åäö</Token><ErrorMessage/>").into_bytes();
    for end in 1..whole.len() {
        let reply = parse_reply(200, None, None, &whole[..end]);
        assert_eq!(failed(reply), ReplyError::Truncated { status: 200, length: end }, "{end}");
    }
}

proptest! {
    #[test]
    fn any_text_survives_the_envelope(secret in "[\\t\\n\\r -\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]{0,40}", signed in "[&<>\"'\\]\\r\\n a-c]{0,40}") {
        let context = context();
        let request = ExchangeRequest { application_token: &secret, context: &context, signed_system_token: &signed };
        let body = request_body(&request).unwrap();
        prop_assert!(body.capacity() >= body.len());
        let root = document::read(str::from_utf8(&body).unwrap()).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(root.children[0].children[0].text.as_str(), secret);
        prop_assert_eq!(root.children[0].children[1].text.as_str(), "Cust12345");
        prop_assert_eq!(root.children[1].children[0].children[0].text.as_str(), signed);
    }

    #[test]
    fn no_bytes_make_it_panic(status: u16, body: Vec<u8>) {
        let _ = parse_reply(status, None, None, &body);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..300, with: Vec<u8>) {
        let mut body = wcf("<IsSuccessful>true</IsSuccessful><Token>åäö</Token><ErrorMessage/>").into_bytes();
        let at = at.min(body.len());
        let end = (at + with.len()).min(body.len());
        body.splice(at..end, with);
        let _ = parse_reply(200, None, None, &body);
    }
}
