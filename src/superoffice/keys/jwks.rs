//! The JWKS document (RFC 7517), read liberally: a live one of SuperOffice's was never published. Protocol §5.5.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{KeysError, Unusable, VerificationKey, file, normal, thumbprint, usable};
use crate::superoffice::pem::LENIENT;
use crate::superoffice::text;

const MAX_LENGTH: usize = 1024 * 1024;

pub(super) fn read(bytes: &[u8]) -> Result<Vec<VerificationKey>, KeysError> {
    if bytes.len() > MAX_LENGTH {
        return Err(KeysError::TooLarge(bytes.len()));
    }
    let text = text::decode(bytes).map_err(|_| KeysError::NotJwks("it is not text".to_owned()))?;
    if text.is_empty() {
        return Err(KeysError::NotJwks("it is empty".to_owned()));
    }
    let document: Value = serde_json::from_str(&text)
        .map_err(|error| KeysError::NotJwks(format!("JSON that is not well formed at line {}, column {}", error.line(), error.column())))?;
    let Some(keys) = document.get("keys").and_then(Value::as_array) else {
        return Err(KeysError::NotJwks("it has no list \"keys\"".to_owned()));
    };
    usable(keys.iter().map(|key| read_key(key.as_object().ok_or(Unusable::Broken("it is no JSON object"))?)))
}

fn read_key(jwk: &Map<String, Value>) -> Result<VerificationKey, Unusable> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let other = |said: &str| text::shorten(said, 40);
    match member("kty") {
        Some(kty) if kty.eq_ignore_ascii_case("RSA") => {}
        kty => return Err(Unusable::Algorithm(other(kty.unwrap_or("an unknown algorithm")))),
    }
    for (name, wanted) in [("use", "sig"), ("alg", "RS256")] {
        if let Some(said) = member(name).filter(|said| !said.eq_ignore_ascii_case(wanted)) {
            return Err(Unusable::Purpose(other(said)));
        }
    }
    if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return Err(Unusable::Purpose("other operations".to_owned()));
    }
    // The published example's `x5c` is no certificate; it then identifies nothing.
    let first = jwk.get("x5c").and_then(|chain| chain.get(0)).and_then(Value::as_str);
    let first = first.and_then(|base64| LENIENT.decode(base64.split_ascii_whitespace().collect::<String>()).ok());
    let certificate = first.and_then(|der| file::certificate_key(&der).ok().map(|key| (key, thumbprint(&der))));
    let mut key = match (member("n"), member("e")) {
        (Some(n), Some(e)) => VerificationKey::new(&number(n)?, &number(e)?)?,
        _ => certificate.as_ref().map(|(key, _)| key.clone()).ok_or(Unusable::Broken("it has no n and e"))?,
    };
    key.kid = member("kid").map(str::to_owned);
    key.thumbprints = member("x5t").map(normal).into_iter().chain(certificate.map(|(_, thumbprint)| thumbprint)).collect();
    key.thumbprints.dedup();
    Ok(key)
}

/// base64url without padding (RFC 7518 §6.3.1); with padding, or in the ordinary alphabet, it is plain enough as well.
fn number(text: &str) -> Result<Vec<u8>, Unusable> {
    let bare = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    URL_SAFE_NO_PAD.decode(bare).map_err(|_| Unusable::Broken("its n or e is not base64url"))
}
