//! Callers, told by what they send and by what their connections prove.

use http::HeaderName;

use super::*;
use crate::peer::{Certificate, Process};

fn map(lines: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    headers
}

fn client(name: &str) -> Description {
    let (keys, certificates, uids, gids, terms) = Default::default();
    Description { name: name.to_owned(), keys, certificates, uids, gids, terms }
}

fn who(clients: &Clients, headers: &[(&'static str, String)], proof: &Proof) -> Result<Option<String>, Stranger> {
    clients.identify(&map(headers), proof).map(|client| client.name.as_deref().map(str::to_owned))
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn a_key_is_known_in_each_of_its_three_places() {
    let (one, two, old) = (ApiKey::random(), ApiKey::random(), ApiKey::random());
    let erp = Description { keys: vec![one.hash(), old.hash()], ..client("erp") };
    let ci = Description { keys: vec![two.hash()], ..client("ci") };
    let clients = Clients::new(&[erp, ci], None, false);
    let nothing = Proof::default();
    for (key, name) in [(&one, "erp"), (&old, "erp"), (&two, "ci")] {
        let key = key.expose();
        for line in [
            ("authorization", format!("Bearer {key}")),
            ("authorization", format!("bearer  {key} ")),
            ("authorization", basic("anybody", key)),
            ("authorization", basic("", key)),
            ("x-api-key", key.to_owned()),
        ] {
            assert_eq!(who(&clients, &[line], &nothing), Ok(Some(name.to_owned())));
        }
    }
    let same = [("authorization", format!("Bearer {}", one.expose())), ("x-api-key", one.expose().to_owned())];
    assert_eq!(who(&clients, &same, &nothing), Ok(Some("erp".to_owned())));
    let different = [("authorization", format!("Bearer {}", one.expose())), ("x-api-key", two.expose().to_owned())];
    assert_eq!(who(&clients, &different, &nothing), Err(Stranger::WrongKey));
}

#[test]
fn what_is_no_key_of_ours_is_none_and_a_wrong_key_is_refused() {
    let key = ApiKey::random();
    let erp = Description { keys: vec![key.hash()], ..client("erp") };
    let terms = Terms::default();
    let open = Clients::new(std::slice::from_ref(&erp), Some(&terms), false);
    let closed = Clients::new(&[erp], None, false);
    let nothing = Proof::default();
    let key = key.expose();
    let others = [
        "SOTicket 7T:abc".to_owned(),
        "Bearer eyJhbGciOiJSUzI1NiJ9.e30.x".to_owned(),
        basic("me", "secret"),
        "Basic !!".to_owned(),
        "Bearer".to_owned(),
        format!("Bearer {}", &key[..key.len() - 1]),
        format!("Bearer {key}x"),
        format!("Bearer x {key}"),
        key.to_owned(),
        format!("Digest {key}"),
    ];
    for other in others {
        let line = [("authorization", other)];
        assert_eq!(who(&open, &line, &nothing), Ok(None), "{line:?}");
        assert_eq!(who(&closed, &line, &nothing), Err(Stranger::NoClient), "{line:?}");
    }
    let wrong = [("x-api-key", ApiKey::random().expose().to_owned())];
    assert_eq!(who(&open, &wrong, &nothing), Err(Stranger::WrongKey), "not anonymous: its sender thinks that it is somebody");
    assert_eq!(who(&closed, &wrong, &nothing), Err(Stranger::WrongKey));
    assert_eq!(who(&Clients::new(&[], Some(&terms), false), &wrong, &nothing), Ok(None), "nobody has keys");
}

#[test]
fn a_key_counts_before_a_certificate_and_that_before_the_user() {
    let key = ApiKey::random();
    let by_key = Description { keys: vec![key.hash()], ..client("key") };
    let by_certificate = Description { certificates: vec!["dns:erp.example".to_owned(), "cn:erp".to_owned()], ..client("certificate") };
    let by_user = Description { uids: vec![1000], ..client("user") };
    let by_group = Description { gids: vec![100], ..client("group") };
    let clients = Clients::new(&[by_key, by_certificate, by_user, by_group], None, false);
    let proof = |names: &[&str], uid, gid| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = (!names.is_empty()).then_some(Certificate { names });
        Proof::new(certificate, move || Some(Process { uid, gid }))
    };
    let all = proof(&["subject:CN=erp", "cn:erp"], 1000, Some(100));
    let sent = [("x-api-key", key.expose().to_owned())];
    assert_eq!(who(&clients, &sent, &all), Ok(Some("key".to_owned())));
    assert_eq!(who(&clients, &[], &all), Ok(Some("certificate".to_owned())));
    assert_eq!(who(&clients, &[], &proof(&["cn:other"], 1000, Some(100))), Ok(Some("user".to_owned())));
    assert_eq!(who(&clients, &[], &proof(&[], 1001, Some(100))), Ok(Some("group".to_owned())));
    assert_eq!(who(&clients, &[], &proof(&["cn:other"], 1001, Some(101))), Err(Stranger::NoClient));
    assert_eq!(who(&clients, &[], &proof(&[], 1001, None)), Err(Stranger::NoClient));
    assert_eq!(who(&clients, &[], &Proof::default()), Err(Stranger::NoClient));
}

#[test]
fn without_clients_everybody_is_anonymous_and_nobody_is_asked() {
    let clients = Clients::new(&[], Some(&Terms::default()), false);
    let proof = Proof::new(None, || panic!("nobody wants to know"));
    assert_eq!(who(&clients, &[], &proof), Ok(None));
    let keys_only = Clients::new(&[Description { keys: vec![ApiKey::random().hash()], ..client("erp") }], None, false);
    assert_eq!(who(&keys_only, &[], &proof), Err(Stranger::NoClient));
}

#[test]
fn a_hash_is_written_and_read_and_a_key_is_recognised_where_a_hash_belongs() {
    let key = ApiKey::random();
    assert_eq!(key.expose().len(), 8 + 43);
    assert_ne!(key.expose(), ApiKey::random().expose());
    let hash = key.hash();
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!(hash.to_string().to_uppercase().replace("SHA256", "sha256").parse(), Ok(hash));
    assert_eq!(key.expose().parse::<KeyHash>(), Err(BadKeyHash::Key));
    for bad in ["", "sha256:", "sha256:00", "md5:00", &format!("{hash}0"), &hash.to_string().replace(':', "")] {
        assert_eq!(bad.parse::<KeyHash>(), Err(BadKeyHash::Other), "{bad}");
    }
    // As `printf %s KEY | sha256sum` has it.
    let known = "soproxy_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let found = key::offered(&map(&[("x-api-key", known.to_owned())]));
    let key::Offered::Key(found) = found else { panic!("it is a key") };
    assert_eq!(found.to_string(), "sha256:755503ea67dc91d006feda949e8a5d94b287df814ad5b6228850198e78170c36");
}

#[test]
fn many_keys_are_all_found() {
    let keys: Vec<ApiKey> = (0..200).map(|_| ApiKey::random()).collect();
    let all: Vec<Description> =
        keys.iter().enumerate().map(|(at, key)| Description { keys: vec![key.hash()], ..client(&format!("c{at}")) }).collect();
    let clients = Clients::new(&all, None, false);
    for (at, key) in keys.iter().enumerate() {
        let found = who(&clients, &[("x-api-key", key.expose().to_owned())], &Proof::default());
        assert_eq!(found, Ok(Some(format!("c{at}"))));
    }
}
