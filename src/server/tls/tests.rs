//! Which files make TLS, and when they are read again.

use std::fs;

use super::*;

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn files(certificate: &str, key: &str) -> Files {
    Files { certificate: vector(certificate), key: Key::File(vector(key)), client_ca: None, require: false }
}

#[test]
fn a_pair_works_in_each_format_of_keys() {
    for (certificate, key) in [("tls/localhost.pem", "tls/localhost.key"), ("tls/renewed.pem", "tls/renewed.key")] {
        let (config, warning) = files(certificate, key).load().unwrap();
        assert_eq!((config.alpn_protocols.len(), warning), (2, None));
    }
    let held = Key::Held(Zeroizing::new(fs::read(vector("tls/renewed.key")).unwrap()));
    let with = Files { key: held, client_ca: Some(vector("tls/client-ca.pem")), ..files("tls/renewed.pem", "") };
    assert!(with.load().is_ok());
    assert!(!format!("{with:?}").contains("PRIVATE"), "{with:?}");
}

#[test]
fn what_is_wrong_is_said_of_the_right_setting() {
    let ca = |name: &str| Files { client_ca: Some(vector(name)), ..files("tls/renewed.pem", "tls/renewed.key") };
    let cases = [
        (files("gone.pem", "tls/renewed.key"), CERTIFICATE, "gone.pem does not exist"),
        (files("tls", "tls/renewed.key"), CERTIFICATE, "cannot be read"),
        (files("tls/renewed.key", "tls/renewed.key"), CERTIFICATE, "holds no PEM certificate"),
        (files("tls/renewed.pem", "gone.key"), KEY, "gone.key does not exist"),
        (files("tls/renewed.pem", "tls/renewed.pem"), KEY, "no private key"),
        (files("tls/renewed.pem", "encrypted.pbes1.pem"), KEY, "no private key"),
        (files("tls/renewed.pem", "throwaway-1024.pkcs8.pem"), KEY, "cannot be used"),
        (files("tls/renewed.pem", "tls/localhost.key"), KEY, "does not fit"),
        (files("tls/renewed.pem", "tls/client.key"), KEY, "does not fit"),
        (ca("gone.pem"), CLIENT_CA, "gone.pem does not exist"),
        (ca("tls/client.key"), CLIENT_CA, "holds no PEM certificate"),
    ];
    for (files, setting, what) in cases {
        let wrong = files.load().unwrap_err();
        assert_eq!(wrong.setting, setting, "{wrong}");
        assert!(wrong.what.contains(what) && !wrong.hint.is_empty(), "{wrong}");
    }
}

#[test]
fn an_expired_certificate_works_with_a_warning() {
    let warning = files("tls/expired.pem", "tls/renewed.key").load().unwrap().1.unwrap();
    assert!(warning.ends_with("expired.pem expired at 2021-01-01T00:00:00Z"), "{warning}");
    let early = SystemTime::UNIX_EPOCH;
    let certificate = certificates(&vector("tls/renewed.pem")).unwrap().remove(0);
    assert!(out_of_date(&certificate, early).unwrap().starts_with("is not valid before"));
}

#[test]
fn no_session_is_resumed_where_callers_are_verified() {
    let with = Files { client_ca: Some(vector("tls/client-ca.pem")), ..files("tls/renewed.pem", "tls/renewed.key") };
    let config = with.load().unwrap().0;
    assert!(!config.session_storage.can_cache() && !config.ticketer.enabled());
    assert_eq!(config.send_tls13_tickets, 0);
}

/// A pair in a directory of its own, as `names[0]` says; and how to put another there.
fn at(dir: &Path, certificate: &str, key: &str) -> Files {
    put(dir, certificate, key);
    let path = |name: &str| dir.join(name);
    Files { certificate: path("tls.crt"), key: Key::File(path("tls.key")), client_ca: None, require: false }
}

fn put(dir: &Path, certificate: &str, key: &str) {
    fs::copy(vector(certificate), dir.join("tls.crt")).unwrap();
    fs::copy(vector(key), dir.join("tls.key")).unwrap();
}

#[test]
fn a_change_is_taken_once_it_rests_and_a_bad_one_never() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(at(dir.path(), "tls/localhost.pem", "tls/localhost.key")).unwrap();
    let first = tls.current();
    let same = |other: &Arc<ServerConfig>| Arc::ptr_eq(other, &tls.current());
    tls.renew(false);
    tls.renew(true);
    assert!(same(&first), "nothing has changed");
    put(dir.path(), "tls/renewed.pem", "tls/renewed.key");
    tls.renew(false);
    assert!(same(&first), "it may still be written");
    tls.renew(false);
    let second = tls.current();
    assert!(!Arc::ptr_eq(&first, &second));
    fs::copy(vector("tls/localhost.pem"), dir.path().join("tls.crt")).unwrap();
    for _ in 0..3 {
        tls.renew(false);
    }
    assert!(same(&second), "half of a pair");
    fs::copy(vector("tls/localhost.key"), dir.path().join("tls.key")).unwrap();
    tls.renew(true);
    let third = tls.current();
    assert!(!Arc::ptr_eq(&second, &third), "at once when it is urgent");
    fs::remove_file(dir.path().join("tls.key")).unwrap();
    tls.renew(true);
    assert!(same(&third));
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    let dir = tempfile::tempdir().unwrap();
    for (name, certificate, key) in [("1", "tls/localhost.pem", "tls/localhost.key"), ("2", "tls/renewed.pem", "tls/renewed.key")] {
        fs::create_dir(dir.path().join(name)).unwrap();
        put(&dir.path().join(name), certificate, key);
    }
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("data")).unwrap();
    };
    link("1");
    let data = dir.path().join("data");
    let files = Files { certificate: data.join("tls.crt"), key: Key::File(data.join("tls.key")), client_ca: None, require: false };
    let tls = Tls::new(files).unwrap();
    let first = tls.current();
    link("2");
    tls.renew(true);
    assert!(!Arc::ptr_eq(&first, &tls.current()));
}
