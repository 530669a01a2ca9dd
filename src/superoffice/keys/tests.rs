//! Keys from JWKS and from files, against the published certificates.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/vectors/", $name)).as_slice()
    };
}

const CERTIFICATES: [(&[u8], &str, &str); 3] = [
    (vector!("certs/sod.crt"), "sod", "Frf7jD-asGiFqADGTmTJfEq16Yw"),
    (vector!("certs/qaonline.crt"), "qaonline", "SEkDp3Mrkox5gKOdOOlH6hGfEIk"),
    (vector!("certs/online.crt"), "online", "YLYVg9uyt-7Eb9AewAVuYkUdYfM"),
];

/// The JWKS of one environment, derived from its certificate.
fn environment(name: &str) -> Value {
    serde_json::from_slice::<Value>(vector!("certs/jwks.json")).unwrap()[name].clone()
}

fn jwks(document: &Value) -> Result<VerificationKeys, KeysError> {
    VerificationKeys::from_jwks(document.to_string().as_bytes())
}

/// The sod key with other members.
fn key_with(change: impl Fn(&mut Value)) -> Value {
    let mut key = environment("sod")["keys"][0].clone();
    change(&mut key);
    json!({ "keys": [key] })
}

/// Only kty, n and e.
fn bare(members: &[(&str, &str)]) -> VerificationKeys {
    let keys = key_with(|key| {
        *key = json!({ "kty": "RSA", "n": key["n"], "e": key["e"] });
        for (name, value) in members {
            key[*name] = if *name == "x5c" { json!([value]) } else { json!(value) };
        }
    });
    jwks(&keys).unwrap()
}

fn same(a: &VerificationKeys, b: &VerificationKeys) -> bool {
    let numbers = |keys: &VerificationKeys| match keys.0[0].decoding.kind() {
        jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } => (n.clone(), e.clone()),
        jsonwebtoken::DecodingKeyKind::SecretOrDer(_) => panic!("not numbers"),
    };
    numbers(a) == numbers(b)
}

fn certificate_der(pem: &[u8]) -> Vec<u8> {
    crate::superoffice::pem::blocks(str::from_utf8(pem).unwrap())[0].der.clone().unwrap().to_vec()
}

#[test]
fn superoffices_own_certificates() {
    for (pem, name, x5t) in CERTIFICATES {
        let keys = VerificationKeys::from_file(pem).unwrap();
        assert_eq!((keys.len(), keys.0[0].x5t(), keys.0[0].bits()), (1, Some(x5t), 2048), "{name}");
        let der = VerificationKeys::from_file(&certificate_der(pem)).unwrap();
        let set = jwks(&environment(name)).unwrap();
        assert!(same(&keys, &der) && same(&keys, &set));
        assert_eq!((der.0[0].x5t(), set.0[0].x5t()), (Some(x5t), Some(x5t)));
        assert_eq!(set.0[0].thumbprints.len(), 1, "x5t and x5c say the same");
    }
}

#[test]
fn public_keys_and_several_certificates() {
    let sod = VerificationKeys::from_file(CERTIFICATES[0].0).unwrap();
    let spki = VerificationKeys::from_file(vector!("certs/sod.pub.pem")).unwrap();
    assert!(same(&sod, &spki) && spki.0[0].x5t().is_none());
    let der = certificate_der(vector!("certs/sod.pub.pem"));
    assert!(same(&sod, &VerificationKeys::from_file(&der).unwrap()));
    // The RSAPublicKey inside SubjectPublicKeyInfo follows 24 bytes of algorithm.
    let pkcs1 = &der[24..];
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----",
        base64::engine::general_purpose::STANDARD.encode(pkcs1)
    );
    assert!(same(&sod, &VerificationKeys::from_file(pem.as_bytes()).unwrap()));
    assert!(same(&sod, &VerificationKeys::from_file(pkcs1).unwrap()));
    let v3 = VerificationKeys::from_file(vector!("not-a-key/certificate.pem")).unwrap();
    assert!(same(&v3, &VerificationKeys::from_file(vector!("throwaway-2048.pub.pem")).unwrap()));
    let all = CERTIFICATES.map(|(pem, ..)| str::from_utf8(pem).unwrap().replace('\n', "\r\n")).join("\r\n");
    let all = VerificationKeys::from_file(format!("\u{feff}text\r\n{all}\r\n \r\n").as_bytes()).unwrap();
    assert_eq!(all.iter().filter_map(VerificationKey::x5t).collect::<Vec<_>>(), CERTIFICATES.map(|(.., x5t)| x5t));
    // Pinned: no header rules it out.
    assert_eq!(all.candidates(Some("other"), Some("other")).count(), 3);
}

#[test]
fn files_that_hold_no_public_key() {
    let error = |bytes: &[u8]| VerificationKeys::from_file(bytes).err().unwrap();
    assert_eq!(error(b" \n"), KeysError::Empty);
    for private in [
        vector!("throwaway-2048.pkcs8.pem"),
        vector!("throwaway-2048.pkcs1.pem"),
        vector!("throwaway-2048.rsakeyvalue.xml"),
        vector!("encrypted.scrypt.pem"),
        vector!("not-a-key/openssh"),
        &certificate_der(vector!("throwaway-2048.pkcs8.pem")),
        &certificate_der(vector!("encrypted.scrypt.pem")),
    ] {
        assert_eq!(error(private), KeysError::PrivateKey);
    }
    assert_eq!(error(vector!("not-a-key/request.pem")), KeysError::Other("PEM of another kind (CERTIFICATE REQUEST)".to_owned()));
    assert_eq!(error(vector!("certs/jwks.json")), KeysError::Other("JSON".to_owned()));
    assert_eq!(error(b"hello"), KeysError::Other("not a certificate in any known format".to_owned()));
    assert_eq!(error(&CERTIFICATES[0].0[..600]), KeysError::Damaged("BEGIN CERTIFICATE without its END".to_owned()));
    assert!(matches!(error(&certificate_der(CERTIFICATES[0].0)[..600]), KeysError::Damaged(_)));
    assert_eq!(
        error(vector!("throwaway-1024.pub.pem")),
        KeysError::NoneUsable("key 1: it has 1024 bits; 2048 to 8192 are needed".to_owned())
    );
    assert!(matches!(error(vector!("not-a-key/bundle.pfx")), KeysError::Damaged(_)));
}

#[test]
fn a_set_is_read_liberally() {
    let text = format!("\u{feff}\r\n{} \n", environment("sod"));
    assert_eq!(VerificationKeys::from_jwks(text.as_bytes()).unwrap().len(), 1);
    let mut mixed = key_with(|_| {});
    let good = mixed["keys"][0].clone();
    mixed["keys"] = json!([
        { "kty": "EC", "crv": "P-256" }, { "kty": "oct", "k": "c2VjcmV0" }, 7, {},
        { "kty": "RSA", "use": "enc", "n": good["n"], "e": good["e"] },
        { "kty": "RSA", "alg": "RS512", "n": good["n"], "e": good["e"] },
        { "kty": "RSA", "key_ops": ["encrypt"], "n": good["n"], "e": good["e"] },
        { "kty": "RSA", "n": "AQAB", "e": "AQAB" }, { "kty": "RSA", "n": "?", "e": "AQAB" }, { "kty": "RSA", "n": good["n"], "e": "AQ" },
        { "kty": "rsa", "key_ops": ["verify"], "n": format!("{}==", good["n"].as_str().unwrap()), "e": "AQAB" },
    ]);
    assert_eq!(jwks(&mixed).unwrap().len(), 1);
    // Only the certificate says which key it is.
    let from_chain = jwks(&key_with(|key| *key = json!({ "kty": "RSA", "x5c": key["x5c"] }))).unwrap();
    assert!(same(&from_chain, &jwks(&environment("sod")).unwrap()));
}

#[test]
fn sets_without_a_usable_key() {
    for (text, words) in [
        ("", "it is empty"),
        ("{\"keys\":", "not well formed"),
        ("<html>", "not well formed"),
        ("[]", "no list"),
        ("{\"keys\":{}}", "no list"),
        ("{\"keys\":[]}", "there are none"),
        ("{\"keys\":[{\"kty\":\"EC\"}]}", "key 1: it is for EC, not for RSA"),
        ("{\"keys\":[{\"kty\":\"RSA\"}]}", "key 1: it has no n and e"),
    ] {
        let error = VerificationKeys::from_jwks(text.as_bytes()).err().unwrap().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    // The only set ever published is of a 1024-bit test key whose x5c is no certificate.
    let small = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xff; 128]);
    let error = jwks(&json!({ "keys": [{ "kty": "RSA", "n": small, "e": "AQAB", "x5c": ["MIGf"] }] })).err().unwrap();
    assert_eq!(error, KeysError::NoneUsable("key 1: it has 1024 bits; 2048 to 8192 are needed".to_owned()));
}

#[test]
fn only_a_differing_identifier_of_the_same_kind_rules_a_key_out() {
    let x5t = "Frf7jD-asGiFqADGTmTJfEq16Yw";
    let hex = "16B7FB8C3F9AB06885A800C64E64C97C4AB5E98C";
    let padded = "Frf7jD+asGiFqADGTmTJfEq16Yw=";
    let x5c = environment("sod")["keys"][0]["x5c"][0].as_str().unwrap().to_owned();
    let chain: &[(&str, &str)] = &[("x5c", &x5c)];
    for (own, kid, theirs, expected) in [
        (&[][..], None, None, true),
        (&[], Some("a"), Some("b"), true),
        (&[("kid", "a")], None, None, true),
        (&[("kid", "a")], Some("a"), None, true),
        (&[("kid", "a")], Some("A"), None, false),
        (&[("kid", "a")], Some("b"), None, false),
        (&[("kid", "a")], None, Some(x5t), true),
        (&[("x5t", x5t)], None, Some(x5t), true),
        (&[("x5t", x5t)], None, Some("other"), false),
        (&[("x5t", x5t)], Some("b"), None, true),
        (&[("x5t", x5t)], Some(x5t), None, true),
        (&[("x5t", x5t)], Some(hex), None, true),
        (&[("x5t", hex)], None, Some(padded), true),
        (&[("x5t", padded)], None, Some(x5t), true),
        (&[("kid", x5t)], None, Some(x5t), true),
        (&[("kid", hex)], Some("b"), Some(x5t), true),
        (&[("kid", "a"), ("x5t", x5t)], Some("a"), Some("other"), true),
        (&[("kid", "a"), ("x5t", x5t)], Some("b"), Some(x5t), true),
        (&[("kid", "a"), ("x5t", x5t)], Some("b"), Some("other"), false),
        (&[("kid", "a"), ("x5t", x5t)], Some("b"), None, false),
        (chain, None, Some(x5t), true),
        (chain, None, Some("other"), false),
        (&[("x5c", "AQID")], None, Some("other"), true),
        (&[("x5c", "not base64!")], None, Some("other"), true),
        (&[("kid", ""), ("x5t", "")], Some("a"), Some("b"), true),
    ] {
        assert_eq!(bare(own).candidates(kid, theirs).count() == 1, expected, "{own:?} against {kid:?} {theirs:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = VerificationKeys::from_file(&bytes);
        let _ = VerificationKeys::from_jwks(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..940, with in prop::collection::vec(any::<u8>(), 1..4)) {
        let mut bytes = certificate_der(CERTIFICATES[0].0);
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at.min(end)..end, with);
        let _ = VerificationKeys::from_file(&bytes);
    }

    #[test]
    fn no_identifier_makes_it_panic(id: String) {
        let _ = bare(&[("kid", "a"), ("x5t", "b")]).candidates(Some(&id), Some(&id)).count();
    }
}
