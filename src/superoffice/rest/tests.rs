//! The REST twin: request and hostile replies.

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::superoffice::ContextId;

/// One word for the outcome, then its text.
fn parse(status: u16, body: &str) -> (&'static str, String) {
    match parse_reply(status, Some("application/json; charset=utf-8"), None, body.as_bytes()) {
        Ok(ExchangeReply::Token(token)) => ("token", token.expose_secret().to_owned()),
        Ok(ExchangeReply::Refused(words)) => ("refused", words),
        Err(ReplyError::Malformed { what, .. }) => ("malformed", what),
        Err(ReplyError::Status { words, .. }) => ("status", words),
        Err(ReplyError::Html { title, .. }) => ("html", title),
        Err(ReplyError::Empty { .. }) => ("empty", String::new()),
        Err(ReplyError::Truncated { .. }) => ("truncated", String::new()),
        Err(ReplyError::TooLarge { what, .. }) => ("too large", what),
        Err(other) => ("other", other.to_string()),
    }
}

#[test]
fn the_document_is_the_golden_one() {
    let context: ContextId = "Cust12345".parse().unwrap();
    let request = ExchangeRequest {
        application_token: "se<cr&et>\"'",
        context: &context,
        signed_system_token: "Åpp & Näme-2d2D5KmBji.202011300915.a+b/c==",
    };
    assert_eq!(str::from_utf8(&request_body(&request)).unwrap(), include_str!("../../../tests/golden/exchange-request.json"));
}

#[test]
fn replies() {
    let no_token = "the reply says IsSuccessful=true but brings no token";
    for (status, body, outcome, words) in [
        (200, r#"{"IsSuccessful":true,"Token":"eyJ0.e30.c2ln","ErrorMessage":null}"#, "token", "eyJ0.e30.c2ln"),
        (201, "\u{feff} {\"isSuccessful\":\"True\",\"TOKEN\":\" \\n\u{feff}x \"}\r\n", "token", "x"),
        (200, r#"{"issuccessful":1,"token":"x"}"#, "token", "x"),
        (200, r#"{"IsSuccessful":true}"#, "refused", no_token),
        (200, r#"{"IsSuccessful":true,"Token":" "}"#, "refused", no_token),
        (200, r#"{"IsSuccessful":true,"Token":["x"]}"#, "refused", no_token),
        (200, r#"{"IsSuccessful":false,"Token":"x","ErrorMessage":"a\r\n\u0000b"}"#, "refused", "a b"),
        (200, r#"{"IsSuccessful":0,"ErrorMessage":6}"#, "refused", "6"),
        (200, r#"{"IsSuccessful":null,"ErrorMessage":"x"}"#, "refused", "x"),
        (200, r#"{"Token":"x"}"#, "refused", ""),
        (200, r#"{"IsSuccessful":"maybe"}"#, "malformed", "IsSuccessful is neither true nor false"),
        (200, r#"{"IsSuccessful":{}}"#, "malformed", "IsSuccessful is neither true nor false"),
        (200, "{}", "malformed", "a JSON object with neither IsSuccessful nor Token nor ErrorMessage"),
        (200, "[]", "malformed", "a JSON object was expected"),
        (200, "true", "malformed", "a JSON object was expected"),
        (200, "{\"a\" 1}", "malformed", "JSON that is not well formed at line 1, column 6"),
        (200, "{\"IsSuccessful\":true,\"Tok", "truncated", ""),
        (200, "", "empty", ""),
        (200, "<html><title>Sign in</title>", "html", "Sign in"),
        (400, r#"{"IsSuccessful":false,"ErrorMessage":"InvalidSignature"}"#, "refused", "InvalidSignature"),
        (401, r#"{"IsSuccessful":"false","Message":"no"}"#, "refused", "no"),
        (400, r#"{"Message":"The request is invalid."}"#, "status", "The request is invalid."),
        (400, r#"{ "error": "access_denied", "error_description": "Invalid client"}"#, "status", "Invalid client"),
        (500, r#"{"IsSuccessful":true,"Token":"x"}"#, "status", "yet the body says IsSuccessful=true"),
        (500, r#"{"echo":"secret"}"#, "status", "a JSON body without a message"),
        (500, r#"["secret"]"#, "status", "a JSON body without a message"),
        (502, "Bad Gateway", "status", "Bad Gateway"),
    ] {
        assert_eq!(parse(status, body), (outcome, words.to_owned()), "{status} {body}");
    }
}

#[test]
fn limits() {
    assert_eq!(parse(200, &"[".repeat(100_000)), ("too large", "too deep".to_owned()));
    assert_eq!(parse(200, &format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20))).0, "too large");
    let long = parse(200, &format!("{{\"IsSuccessful\":false,\"ErrorMessage\":\"{}\"}}", "x".repeat(5000)));
    assert_eq!(long.1.chars().count(), 301);
}

#[test]
fn each_beginning_of_a_reply_is_truncated() {
    let whole = r#"{"IsSuccessful":true,"Token":"eyJ0\u002B","ErrorMessage":null}"#;
    for end in 1..whole.len() {
        assert_eq!(parse(200, &whole[..end]).0, "truncated", "{}", &whole[..end]);
    }
}

proptest! {
    #[test]
    fn any_text_survives_the_document(secret: String, signed: String) {
        let context: ContextId = "Cust1".parse().unwrap();
        let body = request_body(&ExchangeRequest { application_token: &secret, context: &context, signed_system_token: &signed });
        let read: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(read["ApplicationToken"].as_str(), Some(secret.as_str()));
        prop_assert_eq!(read["SignedSystemToken"].as_str(), Some(signed.as_str()));
    }

    #[test]
    fn no_bytes_make_it_panic(status: u16, body: Vec<u8>) {
        let _ = parse_reply(status, None, None, &body);
    }

    #[test]
    fn no_json_makes_it_panic(status: u16, text in "(\\{|\\}|\\[|\\]|,|:|\"|IsSuccessful|Token|Message|true|1|null|\\\\u|\\PC){0,30}") {
        let _ = parse_reply(status, None, None, text.as_bytes());
    }
}
