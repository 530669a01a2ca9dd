//! JWKS documents and key files: what comes out can be asked for a token's key, and no text grows with the document.

use soproxy::superoffice::keys::VerificationKeys;

/// As both; the one that comes over the network is the JWKS.
pub fn check(data: &[u8]) {
    for read in [VerificationKeys::from_jwks(data), VerificationKeys::from_file(data)] {
        match read {
            Ok(keys) => {
                assert!(!keys.is_empty());
                for key in keys.iter() {
                    assert!((2048..=8192).contains(&key.bits()), "{} bits", key.bits());
                    let found = keys.candidates(key.kid(), key.x5t()).any(|candidate| std::ptr::eq(candidate, key));
                    assert!(found, "a key that its own names do not find: {key:?}");
                }
                assert_eq!(keys.candidates(None, None).count(), keys.len(), "a token that names no key may be of any");
            }
            Err(error) => assert!(error.to_string().chars().count() < 1200, "a text that grows with the document: {error}"),
        }
    }
}
