//! From the numbers of a key file to a key: sizes first, then whether they fit together.

use rsa::traits::PrivateKeyParts;
use rsa::{BoxedUint, PrivateKey};
use zeroize::Zeroizing;

use super::{KeyError, MAX_BITS, MIN_BITS};

/// The numbers as a file has them, big-endian, leading zeros or not.
#[derive(Clone, Copy, Default)]
pub(super) struct Numbers<'a> {
    pub(super) n: &'a [u8],
    pub(super) e: &'a [u8],
    pub(super) d: &'a [u8],
    pub(super) p: Option<&'a [u8]>,
    pub(super) q: Option<&'a [u8]>,
    pub(super) dp: Option<&'a [u8]>,
    pub(super) dq: Option<&'a [u8]>,
    pub(super) q_inverse: Option<&'a [u8]>,
}

/// Builds the key. Primes that are missing are computed.
pub(super) fn assemble(numbers: Numbers<'_>) -> Result<PrivateKey, KeyError> {
    let (n, e, d) = (trimmed(numbers.n), trimmed(numbers.e), trimmed(numbers.d));
    let bits = bits(n);
    if bits < MIN_BITS {
        return Err(KeyError::TooShort(bits));
    }
    if bits > MAX_BITS {
        return Err(KeyError::TooLong(bits));
    }
    // What follows relies on these; the arithmetic below is made for numbers in range.
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(KeyError::Inconsistent("the modulus is even"));
    }
    if e.len() > 5 || e.last().is_none_or(|last| last % 2 == 0) || e == [1] {
        return Err(KeyError::Inconsistent("the exponent is out of range"));
    }
    if d.is_empty() || d == [1] || (d.len(), d) >= (n.len(), n) {
        return Err(KeyError::Inconsistent("D is out of range"));
    }
    let known = numbers.p.zip(numbers.q).map(|(p, q)| vec![uint(p), uint(q)]);
    let computed = known.is_none();
    if computed && uint(e) <= BoxedUint::from(65_536u64) {
        return Err(KeyError::PrimesMissing);
    }
    let build = |primes| {
        PrivateKey::from_components(uint(n), uint(e), uint(d), primes)
            .map_err(|_| KeyError::Inconsistent("modulus, exponents and primes are not of one key"))
    };
    let mut key = build(known.unwrap_or_default())?;
    if computed && !fits(&key, &numbers) {
        // Which of two computed primes is called P is the file's choice.
        key = build(key.primes().iter().rev().map(|prime| prime.as_ref().clone()).collect())?;
    }
    if !fits(&key, &numbers) {
        return Err(KeyError::Inconsistent("P, Q, DP, DQ or InverseQ is of another key"));
    }
    Ok(key)
}

/// Whether what the file has besides modulus and exponents is what follows from them.
fn fits(key: &PrivateKey, numbers: &Numbers<'_>) -> bool {
    let same = |given: Option<&[u8]>, number: Option<&BoxedUint>| match (given, number) {
        (None, _) => true,
        (Some(given), Some(number)) => trimmed(given) == trimmed(&Zeroizing::new(number.to_be_bytes())),
        (Some(_), None) => false,
    };
    let [p, q] = key.primes() else { return false };
    same(numbers.p, Some(p))
        && same(numbers.q, Some(q))
        && same(numbers.dp, key.dp())
        && same(numbers.dq, key.dq())
        && same(numbers.q_inverse, key.crt_coefficient().as_ref())
}

/// The length of a number, bits.
fn bits(number: &[u8]) -> usize {
    let number = trimmed(number);
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn uint(number: &[u8]) -> BoxedUint {
    BoxedUint::from_be_slice_vartime(trimmed(number))
}
