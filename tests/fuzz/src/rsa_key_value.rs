//! Private keys: whatever is taken for one signs, and what its public half verifies; no message tells anything of a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rsa::PublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::pkcs1v15::Pkcs1v15Sign;
use sha2::{Digest, Sha256};
use soproxy::superoffice::SystemUserToken;
use soproxy::superoffice::signing::{MAX_BITS, MIN_BITS, SigningKey};

/// Larger keys take seconds, and are no other code.
const LONGEST: usize = 2600;

/// No passphrase is given: whoever writes an encrypted key chooses how slow it is to open.
pub fn check(data: &[u8]) {
    if data.len() > LONGEST {
        return;
    }
    let key = match SigningKey::parse(data, None) {
        Ok(key) => key,
        Err(error) => {
            let told = format!("{error} {error:?}");
            assert!(told.chars().count() < 1200, "a text that grows with the key: {told}");
            return secret_free(data, &told);
        }
    };
    assert!((MIN_BITS..=MAX_BITS).contains(&key.bits()), "{} bits", key.bits());
    secret_free(data, &format!("{key:?}"));
    let token = SystemUserToken::new("App-8k8Q7DmBgo".to_owned().into());
    let signed = key.sign(&token, Timestamp::UNIX_EPOCH).expect("a key that was accepted signs");
    let signature = STANDARD.decode(signed.signature()).expect("base64");
    let message = signed.expose().rsplit_once('.').expect("three parts").0;
    let public = PublicKey::from_public_key_pem(&key.public_key_pem().expect("a public half")).expect("a public key");
    let verified = public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), &signature);
    assert!(verified.is_ok(), "its own public half does not verify what it signed");
}

/// No run of base64 that is longer than any word of ours is repeated.
fn secret_free(data: &[u8], told: &str) {
    let text = String::from_utf8_lossy(data);
    let runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/')))
        // A label is in capitals, and no longer than 64 of them.
        .filter(|run| run.len() >= 48 && run[..48].contains(|c: char| c.is_ascii_lowercase()));
    for run in runs {
        assert!(!told.contains(&run[..48]), "{told:?} repeats what stands in the key: {run}");
    }
}
