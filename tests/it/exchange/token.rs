//! The token that an exchange returns: the checks it must pass, and the keys that verify it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{PrivateKey, PublicKey};
use serde_json::json;
use soproxy::clock::Clock;
use soproxy::sandbox::{JwtFault, demo};

use super::WHO;
use crate::bench::{Setup, TENANT};
use crate::login::{Act, Login, Token, any_api, get_of, granted, http, jwk, jwks, no_secrets, soap, unavailable};
use crate::logs::Logs;

#[tokio::test]
async fn a_token_that_fails_a_check_is_refused_and_the_log_says_which() {
    for (fault, check) in [
        (JwtFault::WrongIssuer, "issuer (iss) is Somebody Else AS; expected SuperOffice AS"),
        (JwtFault::WrongAudience, "audience (aud) is spn:1000000001; expected spn:1234567890"),
        (JwtFault::WrongContext, "for the tenant Cust99999 (ctx); Cust12345 was asked for"),
        (JwtFault::Expired, "the token expired at"),
        (JwtFault::BadSignature, "signature is not verified"),
        (JwtFault::NoTicket, "brings no ticket"),
    ] {
        let logs = Logs::capture();
        let (mut setup, hand) = Setup::new().manual_clock();
        setup.options.faults.jwt = fault;
        let bench = setup.start().await;
        unavailable(&bench.get(WHO).await, "token could not be verified");
        assert_eq!(bench.sandbox.control().counters().api_calls, 0, "{fault:?}: its ticket was used");
        let warnings = logs.warnings();
        assert!(warnings.iter().any(|line| line.contains(check)), "{fault:?}: {warnings:?}");
        bench.sandbox.control().change_faults(|faults| faults.jwt = JwtFault::Ok);
        hand.advance(Duration::from_secs(2));
        bench.until("served again", async || bench.get(WHO).await.status == 200).await;
        no_secrets(&logs.text());
    }
}

/// Tokens of a scripted service: what is sent for an exchange, and the check that refuses it, or none.
#[tokio::test]
async fn what_a_token_may_and_may_not_be() {
    let api = any_api().await;
    let good = Token::good;
    let signed = |token: Token| token.sign();
    let exp = (Timestamp::now().as_second() + 300).to_string();
    let table: Vec<(&str, String, Option<&str>)> = vec![
        ("the usual", signed(good()), None),
        ("one system_token", signed(good().of("system_token", "App-x")), None),
        ("several", signed(good().of("system_token", json!(["App-x", "App-y"]))), None),
        ("numbers as text", signed(good().claim("exp", exp.clone()).claim("nbf", "1").claim("iat", "1").of("serial", 1234567890)), None),
        ("the tenant in another case", signed(good().of("ctx", "cust12345")), None),
        ("several audiences", signed(good().claim("aud", json!(["spn:1", "spn:1234567890"]))), None),
        ("white space and BOM", format!("\u{feff} \r\n{}\r\n ", signed(good())), None),
        ("expired within the leeway", signed(good().valid(-20, -4)), None),
        ("expired", signed(good().valid(-20, -6)), Some("expired at")),
        ("soon valid, within the leeway", signed(good().valid(4, 20)), None),
        ("not yet valid", signed(good().valid(6, 20)), Some("not valid before")),
        ("no exp", signed(good().claim("exp", json!(null))), Some("no claim exp")),
        ("an exp that is no number", signed(good().claim("exp", "soon")), Some("claim exp is not a time")),
        ("no issuer", signed(good().claim("iss", json!(null))), Some("issuer (iss) is nothing")),
        ("no tenant", signed(good().of("ctx", "")), Some("(ctx); Cust12345 was asked for")),
        ("an empty ticket", signed(good().of("ticket", " ")), Some("brings no ticket")),
        ("a ticket that no header can carry", signed(good().of("ticket", "7T:\u{1}x")), Some("no header can carry")),
        ("RS384", signed(good().header("alg", "RS384")), Some("algorithm is RS384; only RS256")),
        ("HS256", signed(good().header("alg", "HS256")), Some("algorithm is HS256; only RS256")),
        ("none", format!("{}.", good().header("alg", "none").message()), Some("algorithm is none; only RS256")),
        ("RS256 without a signature", format!("{}.", good().message()), Some("signature is not verified")),
        ("SAML", "PD94bWwgdmVyc2lvbj0iMS4wIj8+".to_owned(), Some("SAML token")),
        ("no token at all", "hello".to_owned(), Some("three parts")),
    ];
    for (what, token, check) in table {
        let logs = Logs::capture();
        let login = Login::start(Act::send(soap(&granted(&token)))).await;
        let bench = login.with_api(&api).start().await;
        let answer = bench.get(WHO).await;
        match check {
            None => assert_eq!(answer.status, 200, "{what}: {answer:?} {:?}", logs.warnings()),
            Some(check) => {
                assert_eq!(answer.status, 503, "{what}: {answer:?}");
                let warnings = logs.warnings();
                assert!(warnings.iter().any(|line| line.contains(check)), "{what}: {warnings:?}");
                no_secrets(answer.text());
            }
        }
        no_secrets(&logs.text());
    }
}

#[tokio::test]
async fn the_leeway_is_a_setting() {
    let api = any_api().await;
    for (leeway, status) in [("3m", 503), ("5m", 200)] {
        let login = Login::start(Token::good().valid(-20, -4).reply()).await;
        let bench = login.with_api(&api).set("superoffice.leeway", leeway).start().await;
        assert_eq!(bench.get(WHO).await.status, status, "{leeway}");
    }
}

/// A token of 2020 on a machine that lives in 2020: no clock but the proxy's own is asked.
#[tokio::test]
async fn times_are_judged_by_our_own_clock() {
    for year in ["2020-02-29T12:00:00Z", "2040-02-29T12:00:00Z"] {
        let (clock, _hand) = Clock::manual(year.parse().unwrap());
        let mut setup = Setup::new();
        setup.clock = clock.clone();
        setup.options.clock = clock;
        let bench = setup.start().await;
        assert_eq!(bench.get(WHO).await.status, 200, "{year}");
    }
}

#[tokio::test]
async fn which_keys_of_a_jwks_come_into_question() {
    let api = any_api().await;
    let named = || Token::good().header("x5t", "W9ki20zCkMMsvobizK2O9y1bc1U");
    let plain = Token::good;
    let other = json!({ "kty": "RSA", "n": rsa_modulus_of_another_key(), "e": "AQAB" });
    let table = [
        ("a key without identifiers", named(), vec![jwk(json!({}))], true),
        ("the same x5t", named(), vec![jwk(json!({ "x5t": "W9ki20zCkMMsvobizK2O9y1bc1U" }))], true),
        ("another x5t", named(), vec![jwk(json!({ "x5t": "AAAAAAAAAAAAAAAAAAAAAAAAAAA" }))], false),
        ("another kid", plain().header("kid", "a"), vec![jwk(json!({ "kid": "b" }))], false),
        ("a token that names none", plain(), vec![jwk(json!({ "kid": "b" }))], true),
        ("the second of two", named(), vec![other.clone(), jwk(json!({}))], true),
        ("only somebody else's", named(), vec![other], false),
        ("beside one that is no RSA key", named(), vec![json!({ "kty": "EC" }), jwk(json!({}))], true),
    ];
    for (what, token, keys, good) in table {
        let login = Login::start(token.reply()).await;
        login.on_jwks(jwks(&keys));
        let bench = login.with_api(&api).start().await;
        let answer = bench.get(WHO).await;
        assert_eq!(answer.status == 200, good, "{what}: {answer:?}");
        if !good {
            unavailable(&answer, "token could not be verified");
        }
    }
}

/// Of the sandbox's next key, as its certificate's file does not tell it in a line.
fn rsa_modulus_of_another_key() -> String {
    let key = PrivateKey::from_pkcs8_pem(include_str!("../../../src/sandbox/keys/login-next.pkcs8.pem")).unwrap();
    URL_SAFE_NO_PAD.encode(key.n_bytes())
}

#[tokio::test]
async fn a_rotated_key_is_fetched_but_at_most_once_a_minute() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    bench.generation(1).await;
    assert_eq!(get_of(&bench, demo::SECOND_TENANT, WHO).await.status, 200);
    let control = bench.sandbox.control();
    assert_eq!(control.counters().jwks, 1, "one fetch serves both tenants");
    control.change_faults(|faults| faults.jwt = JwtFault::RotateKey);
    control.revoke_tickets(Some(TENANT));
    hand.advance(Duration::from_secs(10));
    unavailable(&bench.get(WHO).await, "token could not be verified");
    for wait in [2, 4, 6, 10] {
        let before = bench.exchanges();
        hand.advance(Duration::from_secs(wait));
        bench.until("another attempt", async || bench.exchanges() > before).await;
        unavailable(&bench.get(WHO).await, "token could not be verified");
    }
    assert_eq!(control.counters().jwks, 1, "32 s after a fetch the set is not fetched again");
    hand.advance(Duration::from_secs(30));
    bench.until("the new key is known", async || bench.get(WHO).await.status == 200).await;
    assert_eq!(control.counters().jwks, 2);
    // Renewals of the other tenant need no further fetch.
    control.revoke_tickets(None);
    hand.advance(Duration::from_secs(40));
    assert_eq!(get_of(&bench, demo::SECOND_TENANT, WHO).await.status, 200);
    assert_eq!(control.counters().jwks, 2);
}

/// "After a successful fetch": one that failed is repeated with the next attempt.
#[tokio::test]
async fn a_failed_fetch_of_the_keys_is_repeated_with_the_next_attempt() {
    let logs = Logs::capture();
    let (setup, hand) = Setup::new().fault("jwks_down=true").manual_clock();
    let bench = setup.start().await;
    unavailable(&bench.get(WHO).await, "public keys cannot be fetched");
    bench.sandbox.control().change_faults(|faults| faults.jwks_down = false);
    hand.advance(Duration::from_secs(2));
    bench.until("served", async || bench.get(WHO).await.status == 200).await;
    no_secrets(&logs.text());
}

#[tokio::test]
async fn a_jwks_that_is_none_is_a_503() {
    let api = any_api().await;
    for (what, act) in [
        ("HTML", Act::send(http("200 OK", "content-type: text/html\r\n", "<html>no</html>"))),
        ("500", Act::send(http("500 Oops", "", "{}"))),
        ("no keys", jwks(&[])),
        ("a stall", Act::Stall),
        ("a reset", Act::Reset),
        ("a redirect", Act::send(http("302 Found", &format!("location: http://{}/\r\n", api.address), ""))),
    ] {
        let login = Login::start(Token::good().reply()).await;
        login.on_jwks(act);
        let (setup, hand) = login.with_api(&api).set("superoffice.login_timeout", "150ms").manual_clock();
        let bench = setup.start().await;
        let before = api.connections();
        unavailable(&bench.get(WHO).await, "public keys cannot be fetched");
        assert_eq!(api.connections(), before, "{what}");
        login.on_jwks(jwks(&[jwk(json!({}))]));
        hand.advance(Duration::from_secs(2));
        bench.until("served", async || bench.get(WHO).await.status == 200).await;
    }
}

#[tokio::test]
async fn a_live_ticket_serves_while_the_jwks_is_down() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    bench.generation(1).await;
    bench.sandbox.control().change_faults(|faults| {
        faults.jwks_down = true;
        faults.jwt = JwtFault::RotateKey;
    });
    for _ in 0..4 {
        assert_eq!(bench.get(WHO).await.status, 200);
        hand.advance(Duration::from_secs(3600));
    }
    bench.until("a renewal was tried", async || bench.exchanges() >= 2).await;
    assert_eq!(bench.get(WHO).await.status, 200);
    assert_eq!(bench.sandbox.control().counters().unauthorized, 0);
}

#[tokio::test]
async fn keys_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let der = {
        let base64: String = demo::LOGIN_CERTIFICATE_PEM.lines().filter(|line| !line.starts_with("-----")).collect();
        STANDARD.decode(base64).unwrap()
    };
    for (name, bytes, good) in [
        ("certificate.pem", demo::LOGIN_CERTIFICATE_PEM.as_bytes(), true),
        ("certificate.der", &der[..], true),
        ("wrong-certificate.pem", include_bytes!("../../../src/sandbox/keys/login-next.crt"), false),
        ("wrong-key.pem", demo::PUBLIC_KEY_PEM.as_bytes(), false),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let bench = Setup::new().set("superoffice.verification_keys.file", path.to_str().unwrap()).start().await;
        let answer = bench.get(WHO).await;
        match good {
            true => assert_eq!(answer.status, 200, "{name}: {answer:?}"),
            false => unavailable(&answer, "token could not be verified"),
        }
        assert_eq!(bench.sandbox.control().counters().jwks, 0, "{name}: nobody is asked for keys");
    }
    // The public key alone, PEM.
    let path = dir.path().join("public.pem");
    std::fs::write(&path, public_key_pem_of_the_login_service()).unwrap();
    let bench = Setup::new().set("superoffice.verification_keys.file", path.to_str().unwrap()).start().await;
    assert_eq!(bench.get(WHO).await.status, 200);
}

fn public_key_pem_of_the_login_service() -> String {
    let key = PrivateKey::from_pkcs8_pem(include_str!("../../../src/sandbox/keys/login.pkcs8.pem")).unwrap();
    PublicKey::from(&key).to_public_key_pem(LineEnding::LF).unwrap()
}
