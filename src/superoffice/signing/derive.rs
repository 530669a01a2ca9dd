//! Keys for other uses, derived from the application's private key: who holds it needs no second secret.

use aws_lc_rs::hkdf;
use rsa::PrivateKey;
use rsa::traits::PrivateKeyParts;
use zeroize::Zeroizing;

use super::KeyError;

/// Names what the primes are taken for, so that no other use of the same primes can meet this one.
const LABEL: &[u8] = b"soproxy derived key v1";

/// HKDF-SHA256 over the primes, which are the same in every file of one key.
pub(super) fn derive(key: &PrivateKey, salt: &[u8], purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut derived = Zeroizing::new([0; 32]);
    let random = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&material(key));
    let purpose = [LABEL, &[0], purpose];
    let expanded = random.expand(&purpose, hkdf::HKDF_SHA256).and_then(|output| output.fill(&mut *derived));
    expanded.map_err(|_| KeyError::Operation)?;
    Ok(derived)
}

/// The primes, the smaller first, each behind its length. Not D: it has two representations, and which one a file holds is
/// its writer's choice, as is the order of the primes.
fn material(key: &PrivateKey) -> Zeroizing<Vec<u8>> {
    let mut primes: Vec<_> = key.primes().iter().map(|prime| Zeroizing::new(prime.to_be_bytes())).collect();
    let trimmed = |prime: &[u8]| prime.iter().position(|byte| *byte != 0).unwrap_or(prime.len());
    primes.sort_by(|one, other| {
        let (one, other) = (&one[trimmed(one)..], &other[trimmed(other)..]);
        (one.len(), one).cmp(&(other.len(), other))
    });
    // Of its full size at once: what grows leaves copies behind.
    let mut material = Zeroizing::new(Vec::with_capacity(primes.iter().map(|prime| 4 + prime.len()).sum()));
    for prime in &primes {
        let prime = &prime[trimmed(prime)..];
        material.extend_from_slice(&(prime.len() as u32).to_be_bytes());
        material.extend_from_slice(prime);
    }
    material
}
