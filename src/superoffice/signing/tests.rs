//! Signing against the vectors; every kind of file that is no private key.

use base64::Engine;
use proptest::prelude::*;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::EncodePrivateKey;
use rsa::traits::PrivateKeyParts;

use super::*;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/vectors/", $name)).as_slice()
    };
}

const XML_2048: &[u8] = vector!("throwaway-2048.rsakeyvalue.xml");
const PKCS1_2048: &[u8] = vector!("throwaway-2048.pkcs1.pem");
const PKCS8_2048: &[u8] = vector!("throwaway-2048.pkcs8.pem");

fn key(bytes: &[u8]) -> Result<SigningKey, KeyError> {
    SigningKey::parse(bytes, None)
}

fn error(bytes: &[u8]) -> KeyError {
    key(bytes).err().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn public(key: &SigningKey) -> String {
    key.public_key_pem().unwrap()
}

fn passphrase(text: &str) -> Option<SecretString> {
    Some(SecretString::from(text))
}

/// The XML with each member passed through `edit`, which may drop it.
fn edited(edit: impl Fn(&str, &str) -> Option<String>) -> String {
    let xml = text(XML_2048);
    let mut out = String::new();
    for name in ["Modulus", "Exponent", "P", "Q", "DP", "DQ", "InverseQ", "D"] {
        let value = xml.split_once(&format!("<{name}>")).unwrap().1.split_once("</").unwrap().0;
        if let Some(value) = edit(name, value) {
            out.push_str(&format!("<{name}>{value}</{name}>"));
        }
    }
    format!("<RSAKeyValue>{out}</RSAKeyValue>")
}

fn only(names: &[&str]) -> String {
    edited(|name, value| names.contains(&name).then(|| value.to_owned()))
}

#[test]
fn all_formats_sign_to_the_vectors() {
    let files = [
        (
            "throwaway-1024",
            vec![vector!("throwaway-1024.rsakeyvalue.xml"), vector!("throwaway-1024.pkcs1.pem"), vector!("throwaway-1024.pkcs8.pem")],
        ),
        ("throwaway-2048", vec![XML_2048, PKCS1_2048, PKCS8_2048]),
    ];
    let vectors: serde_json::Value = serde_json::from_slice(vector!("signing-vectors.json")).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let field = |name: &str| vector[name].as_str().unwrap();
        let token = SystemUserToken::new(field("system_user_token").into());
        let at: Timestamp = "2020-11-30T09:15:59.999Z".parse().unwrap();
        let files = &files.iter().find(|(name, _)| *name == field("key")).unwrap().1;
        for file in files {
            let key = key(file).unwrap();
            assert_eq!((key.bits(), key.is_weak()), if field("key").ends_with("1024") { (1024, true) } else { (2048, false) });
            for _ in 0..2 {
                let signed = key.sign(&token, at).unwrap();
                assert_eq!(signed.expose(), field("signed_system_token"));
                assert_eq!((signed.timestamp(), signed.signature()), (field("utc_timestamp"), field("signature_base64")));
            }
        }
    }
    for (file, pem) in
        [(XML_2048, vector!("throwaway-2048.pub.pem")), (vector!("throwaway-1024.pkcs8.pem"), vector!("throwaway-1024.pub.pem"))]
    {
        assert_eq!(public(&key(file).unwrap()), text(pem));
    }
}

#[test]
fn a_token_with_dots_is_split_from_the_right() {
    let signed = key(XML_2048).unwrap().sign(&SystemUserToken::new("a.b.c".into()), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(signed.timestamp(), "197001010000");
    assert!(signed.expose().starts_with("a.b.c.197001010000."));
}

#[test]
fn xml_in_all_its_clothes() {
    let want = public(&key(XML_2048).unwrap());
    let xml = text(XML_2048);
    let tabs = edited(|_, value| Some(format!("\r\n\t\t{}\r\n\t\t{}\r\n\t", &value[..4], value[4..].replace("=", " = "))));
    let zeros = edited(|_, value| {
        let mut number = vec![0, 0];
        number.extend(STANDARD.decode(value).unwrap());
        Some(STANDARD.encode(number))
    });
    let dsig = xml.replace("<RSAKeyValue>", "<KeyValue xmlns='http://www.w3.org/2000/09/xmldsig#'><RSAKeyValue>") + "</KeyValue>";
    for dressed in [
        format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- private -->\r\n{xml}\r\n"),
        tabs,
        zeros,
        dsig,
        edited(|_, value| Some(value.trim_end_matches('=').to_owned())),
        only(&["Modulus", "Exponent", "D"]),
        only(&["Modulus", "Exponent", "D", "P"]),
        only(&["Modulus", "Exponent", "D", "Q", "DQ", "InverseQ"]),
        only(&["Modulus", "Exponent", "D", "DP"]),
        only(&["Modulus", "Exponent", "D", "InverseQ"]),
        only(&["Modulus", "Exponent", "D", "P", "Q"]),
        edited(|name, value| Some(if ["P", "Q", "DP", "DQ", "InverseQ"].contains(&name) { String::new() } else { value.to_owned() })),
    ] {
        assert_eq!(key(dressed.as_bytes()).map(|key| public(&key)), Ok(want.clone()), "{}", dressed.len());
    }
    // Whichever of the primes the file calls P: what remains of the members decides.
    let flipped = edited(|name, _| {
        let from = match name {
            "P" => "Q",
            "Q" => "P",
            "DP" => "DQ",
            "DQ" => "DP",
            "InverseQ" => return None,
            other => other,
        };
        Some(xml.split_once(&format!("<{from}>")).unwrap().1.split_once("</").unwrap().0.to_owned())
    });
    for members in [&["P", "Q", "DP", "DQ"][..], &["P"], &["DP"], &["Q", "DP"]] {
        let mut partial = flipped.clone();
        for name in ["P", "Q", "DP", "DQ"].iter().filter(|name| !members.contains(name)) {
            let (before, rest) = partial.split_once(&format!("<{name}>")).unwrap();
            partial = format!("{before}{}", rest.split_once(&format!("</{name}>")).unwrap().1);
        }
        assert_eq!(key(partial.as_bytes()).map(|key| public(&key)), Ok(want.clone()), "{members:?}");
    }
    for (mark, unit) in [(true, u16::to_le_bytes as fn(u16) -> [u8; 2]), (true, u16::to_be_bytes), (false, u16::to_le_bytes)] {
        let mark = if mark { "\u{feff}" } else { "" };
        let bytes: Vec<u8> = format!("{mark}<?xml version=\"1.0\" encoding=\"utf-16\"?>{xml}").encode_utf16().flat_map(unit).collect();
        assert_eq!(key(&bytes).map(|key| public(&key)), Ok(want.clone()));
    }
}

#[test]
fn pem_and_der_in_all_their_clothes() {
    let want = public(&key(XML_2048).unwrap());
    let parsed = rsa::PrivateKey::from_pkcs1_pem(&text(PKCS1_2048)).unwrap();
    let (pkcs1, pkcs8) = (parsed.to_pkcs1_der().unwrap(), parsed.to_pkcs8_der().unwrap());
    let utf16: Vec<u8> = format!("\u{feff}{}", text(PKCS8_2048)).encode_utf16().flat_map(u16::to_le_bytes).collect();
    for dressed in [
        pkcs1.as_bytes().to_vec(),
        pkcs8.as_bytes().to_vec(),
        utf16,
        format!("\u{feff}{}\r\n\r\n", text(PKCS1_2048).replace('\n', "  \r\n")).into_bytes(),
        format!("Bag Attributes\n    friendlyName: x\n{}", text(PKCS8_2048)).into_bytes(),
        text(PKCS8_2048).replace('\n', "\\n").into_bytes(),
        text(PKCS8_2048).replace('\n', " ").into_bytes(),
        // The certificate first, then the key; and labels mixed up.
        [vector!("not-a-key/certificate.pem"), PKCS8_2048].concat(),
        text(PKCS1_2048).replace("RSA PRIVATE", "PRIVATE").into_bytes(),
        text(PKCS8_2048).replace("PRIVATE", "RSA PRIVATE").into_bytes(),
    ] {
        assert_eq!(SigningKey::parse(&dressed, passphrase("not needed").as_ref()).map(|key| public(&key)), Ok(want.clone()));
    }
    assert_eq!(key(vector!("exponent-3.pkcs1.pem")).map(|key| key.bits()), Ok(1024));
}

#[test]
fn encrypted_keys() {
    let want = public(&key(XML_2048).unwrap());
    for file in [
        vector!("encrypted.aes256-sha256.pem"),
        vector!("encrypted.aes128-sha1.pem"),
        vector!("encrypted.des3-sha1.pem"),
        vector!("encrypted.scrypt.pem"),
    ] {
        assert_eq!(SigningKey::parse(file, passphrase("correct-horse").as_ref()).map(|key| public(&key)), Ok(want.clone()));
        assert_eq!(error(file), KeyError::PassphraseMissing);
        for wrong in ["", "correct horse", "Correct-horse"] {
            assert_eq!(SigningKey::parse(file, passphrase(wrong).as_ref()).err(), Some(KeyError::WrongPassphrase));
        }
    }
    let right = passphrase("correct-horse");
    let pbes1 = SigningKey::parse(vector!("encrypted.pbes1.pem"), right.as_ref()).err().unwrap();
    assert!(matches!(pbes1, KeyError::UnsupportedEncryption(_)), "{pbes1}");
    assert!(pbes1.to_string().contains("openssl pkcs8 -topk8"));
    let old = SigningKey::parse(vector!("encrypted.traditional.pem"), right.as_ref()).err().unwrap();
    assert_eq!(old, KeyError::LegacyEncryption);
    assert!(old.to_string().contains("openssl pkcs8 -topk8"));
}

#[test]
fn what_is_not_a_private_rsa_key_is_named() {
    let der = |pem: &[u8]| crate::superoffice::pem::blocks(&text(pem))[0].der.clone().unwrap().to_vec();
    let pfx = vector!("not-a-key/bundle.pfx");
    for (bytes, expected) in [
        (b"".to_vec(), KeyError::Empty),
        (b"\xef\xbb\xbf \r\n".to_vec(), KeyError::Empty),
        (b"hello".to_vec(), KeyError::Unknown),
        (b"\x00\x01\xff\xfe\x99".to_vec(), KeyError::Unknown),
        (b"{\"kty\":\"RSA\"}".to_vec(), KeyError::Unknown),
        (vec![b'x'; 300_000], KeyError::FileTooLarge(300_000)),
        (vector!("throwaway-2048.pub.pem").to_vec(), KeyError::PublicKey("PEM")),
        (der(vector!("throwaway-2048.pub.pem")), KeyError::PublicKey("DER")),
        (b"ssh-rsa AAAA me@here".to_vec(), KeyError::PublicKey("OpenSSH")),
        (only(&["Modulus", "Exponent"]).into_bytes(), KeyError::PublicKey("<RSAKeyValue> without <D>")),
        (vector!("not-a-key/certificate.pem").to_vec(), KeyError::Certificate),
        (der(vector!("not-a-key/certificate.pem")), KeyError::Certificate),
        (vector!("certs/sod.crt").to_vec(), KeyError::Certificate),
        (der(vector!("certs/sod.crt")), KeyError::Certificate),
        (vector!("not-a-key/request.pem").to_vec(), KeyError::CertificateRequest),
        (der(vector!("not-a-key/request.pem")), KeyError::CertificateRequest),
        (vector!("not-a-key/openssh").to_vec(), KeyError::OpenSsh),
        (b"PuTTY-User-Key-File-3: ssh-rsa\n".to_vec(), KeyError::Putty),
        (pfx.to_vec(), KeyError::Pkcs12),
        (vector!("not-a-key/ec.sec1.pem").to_vec(), KeyError::OtherAlgorithm("elliptic curves")),
        (vector!("not-a-key/ec.pkcs8.pem").to_vec(), KeyError::OtherAlgorithm("elliptic curves")),
        (vector!("not-a-key/ed25519.pem").to_vec(), KeyError::OtherAlgorithm("Ed25519")),
        (vector!("not-a-key/rsa-512.pem").to_vec(), KeyError::TooShort(512)),
        (b"-----BEGIN PGP MESSAGE-----\nAAAA\n-----END PGP MESSAGE-----".to_vec(), KeyError::OtherPem("PGP MESSAGE".to_owned())),
        (b"<configuration/>".to_vec(), KeyError::OtherXml),
        (b"<RSAKeyValue></RSAKeyValue>".to_vec(), KeyError::OtherXml),
        (PKCS8_2048[..900].to_vec(), KeyError::Truncated("this is PEM (BEGIN PRIVATE KEY)".to_owned())),
        (PKCS8_2048[..20].to_vec(), KeyError::Truncated("this is PEM".to_owned())),
        (der(PKCS8_2048)[..900].to_vec(), KeyError::Truncated("this is DER".to_owned())),
        (XML_2048[..900].to_vec(), KeyError::Truncated("this is XML".to_owned())),
        (
            text(PKCS8_2048).replace("MII", "M!I").into_bytes(),
            KeyError::Damaged("this is PEM (BEGIN PRIVATE KEY)".to_owned(), "the text in it is not base64".to_owned()),
        ),
        (
            b"-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----".to_vec(),
            KeyError::Damaged("this is PEM (BEGIN PRIVATE KEY)".to_owned(), "what is in it is no RSA key".to_owned()),
        ),
        (
            edited(|name, value| Some(if name == "DQ" { "?".to_owned() } else { value.to_owned() })).into_bytes(),
            KeyError::Damaged("this is XML".to_owned(), "<DQ> is not base64".to_owned()),
        ),
        (only(&["Modulus", "D"]).into_bytes(), KeyError::Damaged("this is XML".to_owned(), "it has no <Exponent>".to_owned())),
    ] {
        let error = error(&bytes);
        assert_eq!(error, expected);
        assert!(error.to_string().len() < 400, "{error}");
    }
    // Cut where it still has its END line, as a careless copy does.
    let cut = text(PKCS8_2048).lines().enumerate().filter(|(line, _)| *line != 20).map(|(_, line)| line).collect::<Vec<_>>().join("\n");
    assert_eq!(error(cut.as_bytes()), KeyError::Truncated("this is PEM (BEGIN PRIVATE KEY)".to_owned()));
}

#[test]
fn members_that_do_not_fit_together_are_refused() {
    let bump = |value: &str, by: u8| {
        let mut number = STANDARD.decode(value).unwrap();
        *number.last_mut().unwrap() ^= by;
        STANDARD.encode(number)
    };
    for member in ["Modulus", "P", "Q", "DP", "DQ", "InverseQ", "D"] {
        let mixed = edited(|name, value| Some(if name == member { bump(value, 2) } else { value.to_owned() }));
        assert!(matches!(error(mixed.as_bytes()), KeyError::Inconsistent(_)), "{member}");
    }
    for (member, value) in [
        ("Exponent", "AAAA"),
        ("Exponent", "AQ=="),
        ("Exponent", "BA=="),
        ("Exponent", "Aw=="),
        ("D", "AA=="),
        ("D", "AQ=="),
        ("P", "AQ=="),
        ("Q", "AA=="),
    ] {
        let mixed = edited(|name, old| Some(if name == member { value.to_owned() } else { old.to_owned() }));
        assert!(matches!(error(mixed.as_bytes()), KeyError::Inconsistent(_)), "{member} {value}");
    }
    let even = edited(|name, value| Some(if name == "Modulus" { bump(value, 1) } else { value.to_owned() }));
    assert_eq!(error(even.as_bytes()), KeyError::Inconsistent("the modulus is even"));
    // Without primes, a D of another key must not pass either.
    let other = edited(|name, value| match name {
        "D" => Some(bump(value, 2)),
        "Modulus" | "Exponent" => Some(value.to_owned()),
        _ => None,
    });
    assert!(matches!(error(other.as_bytes()), KeyError::Inconsistent(_)));
    let small = rsa::PrivateKey::from_pkcs1_pem(&text(vector!("exponent-3.pkcs1.pem"))).unwrap();
    let base64 = |number: &rsa::BoxedUint| STANDARD.encode(number.to_be_bytes());
    let small =
        format!("<RSAKeyValue><Modulus>{}</Modulus><Exponent>Aw==</Exponent><D>{}</D></RSAKeyValue>", base64(small.n()), base64(small.d()));
    assert_eq!(error(small.as_bytes()), KeyError::PrimesMissing);
    let large =
        format!("<RSAKeyValue><Modulus>{}</Modulus><Exponent>AQAB</Exponent><D>Aw==</D></RSAKeyValue>", STANDARD.encode([0xff; 1025]));
    assert_eq!(error(large.as_bytes()), KeyError::TooLong(8200));
}

#[test]
fn nothing_shows_the_key() {
    let key = key(XML_2048).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey(RSA-2048, [redacted])");
    let signed = key.sign(&SystemUserToken::new("App-secret".into()), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(format!("{signed:?}"), "SignedSystemToken(197001010000, [redacted])");
    fn shared<T: Send + Sync>() {}
    shared::<SigningKey>();
}

/// From RFC 5869's formulas alone, with another implementation of HMAC than the one in use.
#[test]
fn derived_keys_are_hkdf_of_the_sorted_primes() {
    fn hmac(key: &[u8], message: &[&[u8]]) -> Vec<u8> {
        use sha2::Digest;
        let pad = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
        let inner = message.iter().fold(Sha256::new().chain_update(pad(0x36)), |hash, part| hash.chain_update(part)).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
    }
    let rsa = rsa::PrivateKey::from_pkcs1_pem(&text(PKCS1_2048)).unwrap();
    let mut primes: Vec<_> = rsa.primes().iter().map(|prime| prime.to_be_bytes().to_vec()).collect();
    primes.sort();
    let material: Vec<u8> = primes.iter().flat_map(|prime| [&[0, 0, 0, 128], &prime[..]].concat()).collect();
    let random = hmac(b"salt", &[&material]);
    let expected = hmac(&random, &[b"soproxy derived key v1\0", b"purpose", &[1]]);
    assert_eq!(key(PKCS1_2048).unwrap().derive(b"salt", b"purpose").unwrap().as_slice(), expected);
}

#[test]
fn every_file_of_a_key_derives_the_same_and_nothing_else_does() {
    let derived = |file: &[u8], salt: &[u8], purpose: &[u8]| *key(file).unwrap().derive(salt, purpose).unwrap();
    let same = derived(XML_2048, b"salt", b"purpose");
    assert_eq!(derived(PKCS1_2048, b"salt", b"purpose"), same);
    assert_eq!(derived(PKCS8_2048, b"salt", b"purpose"), same);
    // Without primes they are computed; in the other order they are the same primes.
    assert_eq!(derived(only(&["Modulus", "Exponent", "D"]).as_bytes(), b"salt", b"purpose"), same);
    let swapped = only(&["Modulus", "Exponent", "P", "Q", "D"]).replace("P>", "X>").replace("Q>", "P>").replace("X>", "Q>");
    assert_eq!(derived(swapped.as_bytes(), b"salt", b"purpose"), same);
    assert_ne!(derived(XML_2048, b"salz", b"purpose"), same);
    assert_ne!(derived(XML_2048, b"salt", b"purposes"), same);
    assert_ne!(derived(XML_2048, b"", b"purpose"), same);
    assert_ne!(derived(vector!("throwaway-1024.pkcs8.pem"), b"salt", b"purpose"), same);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = key(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(format in 0usize..4, at in 0usize..1700, with in prop::collection::vec(any::<u8>(), 1..4)) {
        let parsed = crate::superoffice::pem::blocks(&text(PKCS8_2048))[0].der.clone().unwrap();
        let mut bytes = [XML_2048, PKCS1_2048, PKCS8_2048, &parsed][format].to_vec();
        let at = at.min(bytes.len() - 1);
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at..end, with);
        let _ = key(&bytes);
    }

    #[test]
    fn no_numbers_make_it_panic(n in prop::collection::vec(any::<u8>(), 128..132), e in prop::collection::vec(any::<u8>(), 0..6), d in prop::collection::vec(any::<u8>(), 0..132), p: Option<Vec<u8>>, q: Option<Vec<u8>>, dp: Option<Vec<u8>>) {
        let mut n = n;
        *n.last_mut().unwrap() |= 1;
        let (p, q, dp) = (p.as_deref(), q.as_deref(), dp.as_deref());
        let numbers = assemble::Numbers { n: &n, e: &e, d: &d, p, q, dp, ..Default::default() };
        prop_assert!(assemble::assemble(numbers).is_err());
        let numbers = assemble::Numbers { n: &n, e: &[1, 0, 1], d: &d, ..Default::default() };
        prop_assert!(assemble::assemble(numbers).is_err());
    }
}
