//! Every check of a token, and every way to get past it.

use jiff::SignedDuration;
use proptest::prelude::*;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PublicKeyParts;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Sha256, Sha384};

use super::*;
use crate::superoffice::SystemUserToken;

const PRIVATE: &str = include_str!("../../../tests/vectors/throwaway-2048.pkcs8.pem");
const PUBLIC: &str = include_str!("../../../tests/vectors/throwaway-2048.pub.pem");
const STRANGER: &[u8] = include_bytes!("../../../tests/vectors/certs/sod.crt");

/// The mirroring token's times, protocol §5.3.
const NBF: i64 = 1_631_791_466;
const EXP: i64 = 1_631_791_826;

fn private() -> rsa::PrivateKey {
    rsa::PrivateKey::from_pkcs8_pem(PRIVATE).unwrap()
}

fn keys() -> VerificationKeys {
    VerificationKeys::from_file(PUBLIC.as_bytes()).unwrap()
}

fn jwks(members: Value) -> VerificationKeys {
    let private = private();
    let base64 = |number: Box<[u8]>| URL_SAFE_NO_PAD.encode(number);
    let mut key = json!({ "kty": "RSA", "n": base64(private.n_bytes()), "e": base64(private.e_bytes()) });
    for (name, value) in members.as_object().unwrap() {
        key[name] = value.clone();
    }
    VerificationKeys::from_jwks(json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn sign(header: &Value, payload: &Value) -> String {
    let message = format!("{}.{}", part(header), part(payload));
    let signature = private().pkcs1v15_sign::<Sha256>(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn name(claim: &str) -> String {
    format!("{CLAIM}{claim}", CLAIM = crate::superoffice::CLAIM_PREFIX)
}

/// A payload as protocol §5.2 has it.
fn payload() -> Value {
    json!({
        "sub": "Some App",
        name("identityprovider"): "superid",
        name("email"): "Some App",
        name("upn"): "Some App",
        name("is_administrator"): "True",
        name("system_token"): ["Some App-8k8Q7DmBgo", "Some App-pzqc70604i"],
        name("ctx"): "Cust26759",
        name("company_name"): "Tonys Developer Network",
        name("serial"): "1801550193",
        name("ticket"): "7T:ZAA2ADMA",
        name("netserver_url"): "https://sod.superoffice.com/Cust26759/Remote/Services86/",
        name("webapi_url"): "https://sod.superoffice.com/Cust26759/api/",
        "iat": "1631791526", "nbf": NBF, "exp": EXP, "iss": "SuperOffice AS", "aud": "spn:1801550193",
    })
}

/// The payload with one claim set, or removed by null.
fn with(claim: &str, value: Value) -> Value {
    let mut payload = payload();
    let claim = if payload.get(claim).is_some() { claim.to_owned() } else { name(claim) };
    match value {
        Value::Null => drop(payload.as_object_mut().unwrap().remove(&claim)),
        value => payload[claim] = value,
    }
    payload
}

fn header() -> Value {
    json!({ "typ": "JWT", "alg": "RS256", "x5t": "Frf7jD-asGiFqADGTmTJfEq16Yw" })
}

fn at(now: i64, token: &str, keys: &VerificationKeys) -> Result<SystemUserClaims, JwtError> {
    let context: ContextId = "cust26759".parse().unwrap();
    let now = Timestamp::from_second(now).unwrap();
    verify(token, keys, &Expected { context: &context, now, leeway: Duration::from_secs(300) })
}

fn check(payload: &Value) -> Result<SystemUserClaims, JwtError> {
    at(NBF + 60, &sign(&header(), payload), &keys())
}

fn failure(payload: &Value) -> JwtError {
    check(payload).err().unwrap()
}

fn header_failure(header: &Value) -> JwtError {
    at(NBF + 60, &sign(header, &payload()), &keys()).err().unwrap()
}

#[test]
fn a_good_token_gives_its_claims() {
    let claims = check(&payload()).unwrap();
    assert_eq!(claims.ticket.expose_secret(), "7T:ZAA2ADMA");
    assert_eq!((claims.context.as_str(), claims.serial.as_str()), ("Cust26759", "1801550193"));
    assert_eq!((claims.expires.as_second(), claims.not_before.map(Timestamp::as_second)), (EXP, Some(NBF)));
    assert_eq!((claims.subject.as_deref(), claims.associate_id), (Some("Some App"), None));
    assert_eq!((claims.identity_provider.as_deref(), claims.company_name.as_deref()), (Some("superid"), Some("Tonys Developer Network")));
    assert_eq!(claims.webapi_url.as_deref(), Some("https://sod.superoffice.com/Cust26759/api/"));
    assert_eq!(claims.netserver_url.as_deref(), Some("https://sod.superoffice.com/Cust26759/Remote/Services86/"));
    assert_eq!(
        claims.system_tokens.iter().map(SystemUserToken::expose).collect::<Vec<_>>(),
        ["Some App-8k8Q7DmBgo", "Some App-pzqc70604i"]
    );
}

#[test]
fn claims_are_read_liberally() {
    for payload in [
        with("exp", json!(EXP.to_string())),
        with("exp", json!(EXP as f64 + 0.5)),
        with("exp", json!(format!("{EXP}.25"))),
        with("nbf", json!(NBF.to_string())),
        with("nbf", Value::Null),
        with("aud", json!(["other", "spn:1801550193"])),
        with("serial", json!(1_801_550_193)),
        with("ctx", json!("CUST26759")),
        with("system_token", json!("one")),
        with("system_token", Value::Null),
        with("associateid", json!(5)),
    ] {
        assert_eq!(check(&payload).err(), None, "{payload}");
    }
    assert_eq!(check(&with("associateid", json!(5))).unwrap().associate_id.as_deref(), Some("5"));
    assert_eq!(check(&with("system_token", json!("one"))).unwrap().system_tokens.len(), 1);
    // Bare names, when the prefixed ones are not there.
    let mut bare = serde_json::Map::new();
    for (claim, value) in payload().as_object().unwrap() {
        bare.insert(claim.replace(crate::superoffice::CLAIM_PREFIX, ""), value.clone());
    }
    assert_eq!(check(&Value::Object(bare.clone())).unwrap().ticket.expose_secret(), "7T:ZAA2ADMA");
    bare.insert(name("ctx"), json!("Other"));
    assert!(matches!(failure(&Value::Object(bare)), JwtError::Context { .. }));
    let token = format!("\u{feff} \r\n{}\r\n ", sign(&header(), &payload()));
    assert!(at(NBF, &token, &keys()).is_ok());
}

#[test]
fn each_check_has_its_own_error() {
    let issuer = |seen: &str| JwtError::Issuer { expected: "SuperOffice AS".to_owned(), seen: seen.to_owned() };
    let audience = |seen: &str| JwtError::Audience { expected: "spn:1801550193".to_owned(), seen: seen.to_owned() };
    let context = |seen: &str| JwtError::Context { expected: "cust26759".to_owned(), seen: seen.to_owned() };
    let time = |name: &'static str| JwtError::Malformed { name, kind: "time in seconds since 1970" };
    for (claim, value, expected) in [
        ("iss", json!("https://sod.superoffice.com"), issuer("https://sod.superoffice.com")),
        ("iss", json!("superoffice as"), issuer("superoffice as")),
        ("iss", Value::Null, issuer("nothing")),
        ("aud", json!("spn:1"), audience("spn:1")),
        ("aud", json!("1801550193"), audience("1801550193")),
        ("aud", json!(["a", "b\u{7}"]), audience("a, b")),
        ("aud", json!({ "spn:1801550193": 1 }), audience("nothing")),
        ("aud", Value::Null, audience("nothing")),
        ("serial", Value::Null, JwtError::Missing("serial")),
        ("serial", json!(" "), JwtError::Missing("serial")),
        ("ctx", json!("Cust1"), context("Cust1")),
        ("ctx", Value::Null, context("nothing")),
        ("exp", Value::Null, JwtError::Missing("exp")),
        ("exp", json!("soon"), time("exp")),
        ("exp", json!(1e300), time("exp")),
        ("exp", json!(i64::MAX), time("exp")),
        ("exp", json!("NaN"), time("exp")),
        ("nbf", json!("inf"), time("nbf")),
        ("ticket", Value::Null, JwtError::NoTicket),
        ("ticket", json!(""), JwtError::NoTicket),
        ("ticket", json!(" \n"), JwtError::NoTicket),
        ("ticket", json!({}), JwtError::NoTicket),
    ] {
        let error = failure(&with(claim, value.clone()));
        assert_eq!(error, expected, "{claim} {value}");
        assert!(!error.wants_fresh_keys());
        assert!(!format!("{error} {error:?}").contains("7T:"));
    }
    assert_eq!(failure(&json!([1])), JwtError::NotAToken("its payload is not a JSON object"));
    let words = failure(&with("iss", json!("x".repeat(1000)))).to_string();
    assert!(words.len() < 200, "{words}");
}

#[test]
fn times_are_judged_with_leeway_both_ways() {
    let token = sign(&header(), &payload());
    for (now, expected) in [(NBF - 301, "early"), (NBF - 300, "good"), (EXP, "good"), (EXP + 299, "good"), (EXP + 300, "late")] {
        let seen = match at(now, &token, &keys()) {
            Ok(_) => "good",
            Err(JwtError::Expired { .. }) => "late",
            Err(JwtError::NotYetValid { .. }) => "early",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(seen, expected, "{now}");
    }
    let context: ContextId = "Cust26759".parse().unwrap();
    let expired = |now: Timestamp, leeway| verify(&token, &keys(), &Expected { context: &context, now, leeway }).err();
    let exp = Timestamp::from_second(EXP).unwrap();
    assert!(matches!(expired(exp, Duration::ZERO), Some(JwtError::Expired { .. })));
    assert_eq!(expired(exp - SignedDuration::from_nanos(1), Duration::ZERO), None);
    for now in [Timestamp::MIN, Timestamp::MAX] {
        assert_eq!(expired(now, Duration::MAX), None);
    }
    let words = expired(Timestamp::MAX, Duration::from_secs(300)).unwrap().to_string();
    assert!(words.contains("2021-09-16T11:30:26Z") && words.contains("300s"), "{words}");
}

#[test]
fn only_rs256_is_accepted() {
    let algorithm = |seen: &str| JwtError::Algorithm(seen.to_owned());
    for alg in ["none", "None", "HS256", "RS384", "RS512", "PS256", "ES256", "rs256", ""] {
        assert_eq!(header_failure(&json!({ "alg": alg })), algorithm(alg));
    }
    assert_eq!(header_failure(&json!({})), algorithm("none"));
    assert_eq!(header_failure(&json!({ "alg": 256 })), algorithm("none"));
    // The classic three, made as an attacker would.
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&payload()));
    assert_eq!(at(NBF, &unsigned, &keys()).err(), Some(algorithm("none")));
    let message = format!("{}.{}", part(&json!({ "alg": "HS256" })), part(&payload()));
    let secret = jsonwebtoken::EncodingKey::from_secret(PUBLIC.as_bytes());
    let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
    assert_eq!(at(NBF, &format!("{message}.{mac}"), &keys()).err(), Some(algorithm("HS256")));
    let relabelled = format!("{}.{}", part(&header()), part(&payload()));
    let mac = jsonwebtoken::crypto::sign(relabelled.as_bytes(), &secret, Algorithm::HS256).unwrap();
    assert!(matches!(at(NBF, &format!("{relabelled}.{mac}"), &keys()), Err(JwtError::NoKey { .. })));
    let sha384 = URL_SAFE_NO_PAD.encode(private().pkcs1v15_sign::<Sha384>(relabelled.as_bytes()).unwrap());
    assert!(matches!(at(NBF, &format!("{relabelled}.{sha384}"), &keys()), Err(JwtError::NoKey { .. })));
}

#[test]
fn a_signature_covers_every_part() {
    let token = sign(&header(), &payload());
    let parts: Vec<&str> = token.split('.').collect();
    let other = part(&with("ctx", json!("Cust1")));
    let other_header = part(&json!({ "alg": "RS256" }));
    let cut = &parts[2][..parts[2].len() - 2];
    for forged in [
        format!("{}.{other}.{}", parts[0], parts[2]),
        format!("{other_header}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{cut}", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 256])),
        format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 255])),
    ] {
        let error = at(NBF, &forged, &keys()).err().unwrap();
        assert!(matches!(error, JwtError::NoKey { tried: 1, known: 1, .. }) && error.wants_fresh_keys(), "{error}");
    }
}

#[test]
fn what_is_no_token() {
    let good = sign(&header(), &payload());
    let (rest, _) = good.rsplit_once('.').unwrap();
    for (token, words) in [
        ("", "three parts"),
        ("abc", "three parts"),
        ("a.b", "three parts"),
        (rest, "three parts"),
        (&format!("{good}.x"), "more than three"),
        (&format!("{good}="), "signature is not base64url"),
        (&good.replacen("eyJ", "ey+", 1), "header is not base64url"),
        (&good.replacen('.', ".!", 1), "payload is not base64url"),
        (&format!("e30K.{}", good.split_once('.').unwrap().1), "none"),
        (&format!("W10.{}", good.split_once('.').unwrap().1), "header is not a JSON object"),
        ("PD94bWwgdmVyc2lvbj0i.x.y", "SAML"),
    ] {
        let error = at(NBF, token, &keys()).err().unwrap();
        assert!(error.to_string().contains(words) && !error.wants_fresh_keys(), "{token}: {error}");
    }
    assert_eq!(
        header_failure(&json!({ "alg": "RS256", "crit": ["b64"], "b64": false })),
        JwtError::NotAToken("its header demands an extension (crit)")
    );
}

#[test]
fn keys_are_chosen_by_their_identifiers() {
    let with_header = |header: Value, keys: &VerificationKeys| at(NBF, &sign(&header, &payload()), keys).map(drop);
    let plain = json!({ "alg": "RS256" });
    let named = json!({ "alg": "RS256", "kid": "a", "x5t": "b" });
    for keys in [jwks(json!({})), jwks(json!({ "kid": "a" })), jwks(json!({ "x5t": "b", "kid": "other" })), keys()] {
        assert_eq!(with_header(plain.clone(), &keys), Ok(()));
        assert_eq!(with_header(named.clone(), &keys), Ok(()));
    }
    let missed = with_header(named.clone(), &jwks(json!({ "kid": "c" })));
    assert_eq!(missed, Err(JwtError::NoKey { tried: 0, known: 1, kid: "a".to_owned(), x5t: "b".to_owned() }));
    let stranger = VerificationKeys::from_file(STRANGER).unwrap();
    assert!(matches!(with_header(plain.clone(), &stranger), Err(JwtError::NoKey { tried: 1, .. })));
    // Among several, the right one is found.
    let both = VerificationKeys::from_file(&[STRANGER, PUBLIC.as_bytes()].concat()).unwrap();
    assert_eq!((both.len(), with_header(plain, &both)), (2, Ok(())));
}

#[test]
fn nothing_shows_the_ticket() {
    let shown = format!("{:?}", check(&payload()).unwrap());
    assert!(shown.contains("Cust26759") && !shown.contains("7T") && !shown.contains("8k8Q7DmBgo"), "{shown}");
}

proptest! {
    #[test]
    fn no_token_makes_it_panic(token in "([A-Za-z0-9_-]{0,20}\\.?){0,5}", junk: String) {
        prop_assert!(at(NBF, &token, &keys()).is_err());
        prop_assert!(at(NBF, &junk, &keys()).is_err());
    }

    #[test]
    fn no_header_or_time_makes_it_panic(header in "\\{\"alg\":\"RS256\",\"(kid|x5t|crit)\":(\"\\PC{0,5}\"|1|null|\\[\\])\\}", exp in any::<f64>(), now in -377_705_023_201i64..253_402_207_200) {
        let token = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), part(&payload()));
        prop_assert!(at(now, &token, &keys()).is_err());
        let claims = claims::Claims::parse(json!({ "exp": exp, "nbf": exp.to_string() }).to_string().as_bytes()).unwrap();
        let _ = (claims.time("exp"), claims.time("nbf"));
    }
}

fn notice(payload: &Value) -> Result<Option<String>, JwtError> {
    let now = Timestamp::from_second(NBF + 60).unwrap();
    let expected = ExpectedNotice { login: "https://sod.superoffice.com/", now, leeway: Duration::from_secs(300) };
    verify_notice(&sign(&header(), payload), &keys(), &expected)
}

#[test]
fn a_notifications_token_is_superoffices_and_of_this_time() {
    for issuer in ["https://sod.superoffice.com", "https://SOD.superoffice.com/", "SuperOffice AS"] {
        let payload = json!({ "iss": issuer, "nbf": NBF, "exp": EXP, name("ctx"): "Cust26759" });
        assert_eq!(notice(&payload), Ok(Some("Cust26759".to_owned())), "{issuer}");
    }
    assert_eq!(notice(&json!({ "iss": "SuperOffice AS" })), Ok(None), "nobody has recorded one");
    for (bad, what) in [
        (json!({}), "no issuer"),
        (json!({ "iss": "https://online.superoffice.com" }), "another environment"),
        (json!({ "iss": "SuperOffice AS", "exp": NBF - 300 }), "too old"),
        (json!({ "iss": "SuperOffice AS", "nbf": NBF + 3600 }), "too young"),
    ] {
        assert!(notice(&bad).is_err(), "{what}");
    }
    let stranger = VerificationKeys::from_file(STRANGER).unwrap();
    let expected = ExpectedNotice { login: "x", now: Timestamp::from_second(NBF).unwrap(), leeway: Duration::ZERO };
    assert!(matches!(verify_notice(&sign(&header(), &payload()), &stranger, &expected), Err(JwtError::NoKey { .. })));
}
