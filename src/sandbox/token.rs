//! The signed system token as the login service checks it: taken apart from the right, signature, timestamp. Protocol §2.1.
//!
//! Written apart from the product's own signer, so that a mistake in one does not hide in the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::DecodePublicKey;
use rsa::signature::Verifier;
use sha2::Sha256;

use super::login::Refusal;

/// How far a timestamp may be off. Assumption: the real tolerance was not found (protocol §2.2).
const TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// The public half of an application's key.
pub(super) struct ApplicationKey(Option<VerifyingKey<Sha256>>);

impl ApplicationKey {
    /// From an SPKI PEM. A text that is none makes a key that verifies nothing.
    pub(super) fn new(pem: &str) -> ApplicationKey {
        ApplicationKey(rsa::PublicKey::from_public_key_pem(pem).ok().map(VerifyingKey::new))
    }
}

/// The system user token in a signed one, when signature and time are right.
pub(super) fn verify<'a>(signed: &'a str, key: &ApplicationKey, now: Timestamp) -> Result<&'a str, Refusal> {
    // From the right, because an application's name may hold dots; signature and timestamp hold none.
    let (signed_part, signature) = signed.rsplit_once('.').ok_or(Refusal::InvalidSignature)?;
    let (token, timestamp) = signed_part.rsplit_once('.').ok_or(Refusal::InvalidSignature)?;
    let signature = STANDARD.decode(signature).map_err(|_| Refusal::InvalidSignature)?;
    let signature = Signature::try_from(signature.as_slice()).map_err(|_| Refusal::InvalidSignature)?;
    let key = key.0.as_ref().ok_or(Refusal::InvalidSignature)?;
    key.verify(signed_part.as_bytes(), &signature).map_err(|_| Refusal::InvalidSignature)?;

    let signed_at = instant(timestamp).ok_or(Refusal::InvalidTimestamp)?;
    if now.duration_since(signed_at).abs() > TOLERANCE {
        return Err(Refusal::InvalidTimestamp);
    }
    Ok(token)
}

/// `yyyyMMddHHmm`, UTC, twelve digits.
fn instant(text: &str) -> Option<Timestamp> {
    if text.len() != 12 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text[from..to].parse::<i8>().ok();
    let year = text[..4].parse().ok()?;
    let time = DateTime::new(year, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, 0, 0).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use super::super::demo;
    use super::*;

    // From the protocol page's self-made vectors, checked there with openssl: not made by this code or the product's.
    const VECTOR: &str = "Åpp Näme-2d2D5KmBji.202011300915.QIf9zsYvVyMWbzaY68Ne4/amKY9l3W49CRb8rZMGbv/jHtrJYFJ2svX6iDzbZUUwbjkddw6PjRT5OjELffHAFDcgDYfb2kLT01z/30TOMOZsWM7QpGd46yHLXlzZPqftxcmJ2j694SzQxpfJjxdDiECGh4re+QvwaEyTc1gTqzI=";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn key() -> ApplicationKey {
        ApplicationKey::new(demo::SECOND_PUBLIC_KEY_PEM)
    }

    #[test]
    fn a_good_token_within_a_quarter_of_an_hour() {
        for now in ["2020-11-30T09:00:00Z", "2020-11-30T09:15:30Z", "2020-11-30T09:30:00Z"] {
            assert_eq!(verify(VECTOR, &key(), at(now)), Ok("Åpp Näme-2d2D5KmBji"), "{now}");
        }
        for now in ["2020-11-30T08:59:59Z", "2020-11-30T09:30:01Z"] {
            assert_eq!(verify(VECTOR, &key(), at(now)), Err(Refusal::InvalidTimestamp), "{now}");
        }
    }

    #[test]
    fn anything_touched_is_an_invalid_signature() {
        let now = at("2020-11-30T09:15:00Z");
        let stripped = VECTOR.trim_end_matches('=');
        for bad in [
            "",
            "a.b",
            &VECTOR.replace("0915", "0916"),
            &VECTOR.replace("2d2D5", "2d2D6"),
            &VECTOR.replace("QIf9", "QIg9"),
            stripped,
            &format!("{VECTOR}\n"),
            &format!(" {VECTOR}"),
        ] {
            assert_eq!(verify(bad, &key(), now), Err(Refusal::InvalidSignature), "{bad}");
        }
        assert_eq!(verify(VECTOR, &ApplicationKey::new(demo::PUBLIC_KEY_PEM), now), Err(Refusal::InvalidSignature));
        assert_eq!(verify(VECTOR, &ApplicationKey::new("no key"), now), Err(Refusal::InvalidSignature));
    }

    #[test]
    fn timestamps() {
        assert_eq!(instant("202011300915"), Some(at("2020-11-30T09:15:00Z")));
        for bad in ["20201130915", "2020113009155", "202013300915", "202011300960", "+20011300915", "2020-11-3009"] {
            assert_eq!(instant(bad), None, "{bad}");
        }
    }
}
