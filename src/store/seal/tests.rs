//! Sealed records: what opens, and everything that does not.

use std::slice;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::record::tests::full;
use super::*;

macro_rules! key {
    ($name:literal) => {
        LazyLock::new(|| {
            let file = include_bytes!(concat!("../../../tests/vectors/", $name));
            Arc::new(SigningKey::parse(file, None).unwrap())
        })
    };
}

static ONE: LazyLock<Arc<SigningKey>> = key!("throwaway-1024.pkcs8.pem");
static OTHER: LazyLock<Arc<SigningKey>> = key!("throwaway-2048.pkcs8.pem");

fn identity(tenant: &str, context: &str, login: &str) -> Identity {
    Identity::new(tenant, &context.parse().unwrap(), &login.parse().unwrap()).unwrap()
}

fn mine() -> Identity {
    identity("Main", "Cust12345", "https://online.superoffice.com")
}

fn sealed(generation: u64) -> Vec<u8> {
    seal(&ONE, &mine(), full(generation).encode().unwrap()).unwrap()
}

fn open_one(bytes: &[u8]) -> Result<Record, Damage> {
    open(slice::from_ref(&ONE), &mine(), bytes)
}

#[test]
fn what_was_sealed_opens_with_any_of_the_keys_that_may_fit() {
    let sealed = sealed(7);
    for keys in [vec![ONE.clone()], vec![OTHER.clone(), ONE.clone()]] {
        let record = open(&keys, &mine(), &sealed).unwrap();
        assert_eq!(*record.encode().unwrap(), *full(7).encode().unwrap());
    }
    for keys in [vec![], vec![OTHER.clone()]] {
        assert_eq!(open(&keys, &mine(), &sealed).unwrap_err(), Damage::Foreign);
    }
}

#[test]
fn nothing_of_it_can_be_read_and_no_two_are_alike() {
    let (one, two) = (sealed(7), sealed(7));
    let (salt, nonce) = (SALT..NONCE, NONCE..HEADER);
    assert_ne!(one[salt.clone()], two[salt]);
    assert_ne!(one[nonce.clone()], two[nonce]);
    for piece in [&b"hush"[..], b"Cust12345", b"superoffice", b"version", b"1234567890"] {
        assert!(!one.windows(piece.len()).any(|window| window == piece));
    }
}

#[test]
fn a_record_of_another_tenant_or_environment_does_not_open() {
    let sealed = sealed(7);
    for (tenant, context, login) in [
        ("Other", "Cust12345", "https://online.superoffice.com"),
        ("Main", "Cust54321", "https://online.superoffice.com"),
        ("Main", "Cust12345", "https://sod.superoffice.com"),
        ("MainCust", "12345", "https://online.superoffice.com"),
    ] {
        assert_eq!(open(slice::from_ref(&ONE), &identity(tenant, context, login), &sealed).unwrap_err(), Damage::Foreign);
    }
    assert!(open(slice::from_ref(&ONE), &identity("MAIN", "cust12345", "https://ONLINE.superoffice.com/"), &sealed).is_ok());
}

#[test]
fn names_that_are_no_names_of_tenants_make_no_file() {
    for name in ["", "..", "a/b", "a.b", "å", "a\0"] {
        assert!(Identity::new(name, &"Cust1".parse().unwrap(), &"https://a".parse().unwrap()).is_err(), "{name}");
    }
}

#[test]
fn one_altered_bit_anywhere_and_it_does_not_open() {
    let sealed = sealed(7);
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1 << (at % 8);
        let damage = open_one(&altered).unwrap_err();
        match at {
            _ if at < MAGIC.len() => assert!(matches!(damage, Damage::Corrupt(_))),
            _ if at < SALT => assert_eq!(damage, Damage::Version(u32::from(altered[at]))),
            _ => assert_eq!(damage, Damage::Foreign),
        }
    }
}

#[test]
fn cut_off_or_prolonged_anywhere_it_does_not_open() {
    let mut sealed = sealed(7);
    for length in 0..sealed.len() {
        let damage = open_one(&sealed[..length]).unwrap_err();
        assert_eq!(damage == Damage::Foreign, length >= HEADER + TAG, "{length}: {damage}");
    }
    sealed.push(0);
    assert_eq!(open_one(&sealed).unwrap_err(), Damage::Foreign);
}

#[test]
fn what_is_sealed_well_but_is_no_record_is_damaged() {
    let sealed = |plain: &[u8]| seal(&ONE, &mine(), Zeroizing::new(plain.to_vec())).unwrap();
    assert!(matches!(open_one(&sealed(b"{}")).unwrap_err(), Damage::Corrupt(_)));
    assert!(matches!(open_one(&sealed(b"")).unwrap_err(), Damage::Corrupt(_)));
    assert_eq!(open_one(&sealed(b"{\"version\":99}")).unwrap_err(), Damage::Version(99));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, headed: bool) {
        let mut sealed = if headed { [&MAGIC[..], &[VERSION]].concat() } else { Vec::new() };
        sealed.extend_from_slice(&bytes);
        prop_assert!(open_one(&sealed).is_err());
    }

    #[test]
    fn no_other_bytes_in_its_place_open(at: prop::sample::Index, with in prop::collection::vec(any::<u8>(), 1..40)) {
        let sealed = sealed(7);
        let at = at.index(sealed.len());
        let mut altered = sealed.clone();
        for (place, byte) in altered[at..].iter_mut().zip(&with) {
            *place = *byte;
        }
        prop_assume!(altered != sealed);
        prop_assert!(open_one(&altered).is_err());
    }
}
