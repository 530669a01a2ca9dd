//! Tokens: what is not signed is never accepted, and what is signed only for its tenant, issuer, audience and time.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use rsa::PrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use secrecy::ExposeSecret;
use serde_json::Value;
use soproxy::superoffice::jwt::{Expected, ExpectedNotice, verify, verify_notice};
use soproxy::superoffice::keys::VerificationKeys;
use soproxy::superoffice::{CLAIM_PREFIX, ContextId};

use super::support::knobs;

const NOW: i64 = 1_700_000_000;
const LEEWAY: u64 = 300;
const LOGIN: &str = "https://sod.superoffice.com";

/// What is accepted.
const CLAIMS: &str = r#"{"http://schemes.superoffice.net/identity/ctx":"Cust12345","http://schemes.superoffice.net/identity/serial":"1801550193",
    "http://schemes.superoffice.net/identity/ticket":"7T:ZAA2ADMA","nbf":1699999000,"exp":"1700000600","iss":"SuperOffice AS","aud":"spn:1801550193"}"#;

static CONTEXT: LazyLock<ContextId> = LazyLock::new(|| "Cust12345".parse().expect("an identifier"));
static KEYS: LazyLock<VerificationKeys> =
    LazyLock::new(|| VerificationKeys::from_file(include_bytes!("../../../src/sandbox/keys/login.crt")).expect("a certificate"));
static SIGNING: LazyLock<EncodingKey> = LazyLock::new(|| {
    let key = PrivateKey::from_pkcs8_pem(include_str!("../../../src/sandbox/keys/login.pkcs8.pem")).expect("a key");
    EncodingKey::from_rsa_der(key.to_pkcs1_der().expect("a key").as_bytes())
});

/// The first byte says what is fuzzed: a whole token, its claims, or its header.
pub fn check(data: &[u8]) {
    let ([what], text) = knobs(data);
    let now = Timestamp::from_second(NOW).expect("a time");
    let leeway = Duration::from_secs(LEEWAY);
    let expected = Expected { context: &CONTEXT, now, leeway };
    let notice = ExpectedNotice { login: LOGIN, now, leeway };
    match what % 4 {
        0 => {
            let token = String::from_utf8_lossy(text);
            // The fuzzer has never seen a signature of this key.
            assert!(verify(&token, &KEYS, &expected).is_err(), "a token out of nothing was accepted");
            assert!(verify_notice(&token, &KEYS, &notice).is_err(), "a notice out of nothing was accepted");
        }
        3 => {
            let token = signed(text, CLAIMS.as_bytes());
            if verify(&token, &KEYS, &expected).is_ok() {
                let header: Value = serde_json::from_slice(text).expect("a header");
                assert_eq!(header["alg"], "RS256");
                assert!(header.get("crit").is_none());
            }
        }
        _ => {
            let token = signed(br#"{"typ":"JWT","alg":"RS256"}"#, text);
            let told = match verify(&token, &KEYS, &expected) {
                Ok(claims) => {
                    assert!(!claims.ticket.expose_secret().trim().is_empty(), "an empty ticket");
                    assert!(claims.context.eq_ignore_ascii_case("Cust12345"), "another tenant: {}", claims.context);
                    let read = Claims(serde_json::from_slice(text).expect("claims"));
                    read.judge(&claims.serial);
                    format!("{claims:?}")
                }
                Err(error) => error.to_string(),
            };
            assert!(told.chars().count() < 1000, "a text that grows with the token");
            if let Ok(named) = verify_notice(&token, &KEYS, &notice) {
                let read = Claims(serde_json::from_slice(text).expect("claims"));
                let issuer = read.all("iss");
                let known = |issuer: &String| issuer == "SuperOffice AS" || issuer.trim_end_matches('/').eq_ignore_ascii_case(LOGIN);
                assert!(issuer.first().is_some_and(known), "a notice of another issuer: {issuer:?}");
                assert_eq!(named, read.all("ctx").into_iter().next());
                read.times(false);
            }
        }
    }
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &SIGNING, Algorithm::RS256).expect("a signature");
    format!("{message}.{signature}")
}

/// Claims, read once more and in another way.
struct Claims(Value);

impl Claims {
    /// All values of a claim that are not empty, as texts.
    fn all(&self, name: &str) -> Vec<String> {
        let given = |name: &str| self.0.get(name).filter(|value| !value.is_null());
        let own = self.0.get(format!("{CLAIM_PREFIX}{name}"));
        let value = match own {
            Some(Value::Null) => None,
            Some(value) => Some(value),
            None => given(name),
        };
        let values = match value {
            Some(Value::Array(values)) => values.clone(),
            Some(value) => vec![value.clone()],
            None => Vec::new(),
        };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            _ => None,
        };
        values.iter().filter_map(text).filter(|text| !text.is_empty()).collect()
    }

    fn judge(&self, serial: &str) {
        assert_eq!(self.all("iss").first().map(String::as_str), Some("SuperOffice AS"));
        assert_eq!(self.all("serial").first().map(String::as_str), Some(serial));
        assert!(self.all("aud").contains(&format!("spn:{serial}")), "another audience: {:?}", self.all("aud"));
        assert!(self.all("ctx")[0].eq_ignore_ascii_case("Cust12345"));
        self.times(true);
    }

    fn times(&self, needed: bool) {
        let number = |name: &str| self.all(name).first().map(|text| text.parse::<f64>().expect("a number"));
        let (expires, begins) = (number("exp"), number("nbf"));
        assert!(expires.is_some() || !needed, "it never expires");
        let (now, leeway) = (NOW as f64, LEEWAY as f64);
        assert!(expires.is_none_or(|expires| now - leeway < expires), "it expired at {expires:?}");
        assert!(begins.is_none_or(|begins| begins < now + leeway + 1.0), "it is not valid before {begins:?}");
    }
}
