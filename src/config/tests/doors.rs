//! TLS and Unix sockets: what is taken, and what each mistake is answered with.

use std::path::{Path, PathBuf};

use super::{one, toml, works};
use crate::config::Config;
use crate::server::tls::{Files, Key};
use crate::server::unix::Place;

const CERTIFICATE: (&str, &str, &str) = ("listen", "tls_certificate", "\"tests/vectors/tls/renewed.pem\"");
const KEY: (&str, &str, &str) = ("listen", "tls_key", "{ file = \"tests/vectors/tls/renewed.key\" }");

#[test]
fn a_listener_may_speak_tls_and_ask_for_certificates() {
    let ca = ("listen", "client_ca", "\"tests/vectors/tls/client-ca.pem\"");
    let config = works(&[CERTIFICATE, KEY, ca, ("listen", "require_client_certificate", "true")], &[]);
    let expected = Files {
        certificate: "tests/vectors/tls/renewed.pem".into(),
        key: Key::File("tests/vectors/tls/renewed.key".into()),
        client_ca: Some("tests/vectors/tls/client-ca.pem".into()),
        require: true,
    };
    assert_eq!(config.listen.tls, Some(expected));
    let key = std::fs::read_to_string("tests/vectors/tls/renewed.key").unwrap();
    let config = works(&[CERTIFICATE, ("listen", "tls_key", "{ env = \"TLS_KEY\" }")], &[("TLS_KEY", &key)]);
    assert!(matches!(config.listen.tls.unwrap().key, Key::Held(_)));
}

#[test]
fn an_expired_certificate_is_worth_a_warning() {
    let config = works(&[("listen", "tls_certificate", "\"tests/vectors/tls/expired.pem\""), KEY], &[]);
    let warning = config.warnings.iter().find(|warning| warning.key == "listen.tls_certificate").unwrap();
    assert!(warning.what.contains("expired at 2021"), "{warning}");
}

#[test]
fn unix_sockets_stand_among_the_addresses() {
    let address = ("listen", "address", "[\"127.0.0.1:8080\", \"unix:/run/soproxy/a.sock\"]");
    let config = works(&[address, ("listen", "socket_mode", "\"660\""), ("listen", "socket_owner", "\"root:12\"")], &[]);
    let place = |path: &str, mode, owner| Place { path: PathBuf::from(path), mode, owner };
    assert_eq!(config.listen.addresses.len(), 1);
    assert_eq!(config.listen.sockets, [place("/run/soproxy/a.sock", 0o660, (Some(0), Some(12)))]);
    let text = toml(&[("listen", "address", "\"unix:/run/a\"")]) + "[[listeners]]\naddress = \"unix:/run/b\"\nsocket_owner = \":7\"\n";
    let config = Config::parse(&text, Path::new("proxy.toml"), []).unwrap();
    assert!(config.listen.addresses.is_empty() && config.warnings.is_empty(), "a socket cannot be reached from other machines");
    let [listener] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((listener.sockets.as_slice(), &listener.tenant), ([place("/run/b", 0o600, (None, Some(7)))].as_slice(), &None));
}

#[test]
fn mistakes_are_told_with_a_hint() {
    let long = format!("\"unix:/{}\"", "x".repeat(120));
    let ca = |file: &'static str| ("listen", "client_ca", file);
    // (settings, key, what, hint)
    type Case<'c> = (Vec<(&'c str, &'c str, &'c str)>, &'c str, &'c str, &'c str);
    let cases: Vec<Case<'_>> = vec![
        (vec![CERTIFICATE], "tls_certificate", "has no key", "set tls_key"),
        (vec![KEY], "tls_key", "has no certificate", "set tls_certificate"),
        (vec![ca("\"x.pem\"")], "client_ca", "is set without TLS", "set tls_certificate and tls_key"),
        (vec![("listen", "require_client_certificate", "true")], "require_client_certificate", "is set without TLS", "over TLS only"),
        (
            vec![CERTIFICATE, KEY, ("listen", "require_client_certificate", "true")],
            "require_client_certificate",
            "is set without client_ca",
            "authorities",
        ),
        (vec![("listen", "tls_certificate", "\"gone.pem\""), KEY], "tls_certificate", "gone.pem does not exist", "PEM chain"),
        (vec![CERTIFICATE, ("listen", "tls_key", "{ file = \"gone.key\" }")], "tls_key", "gone.key does not exist", "create the file"),
        (vec![CERTIFICATE, ("listen", "tls_key", "{ env = \"NOPE\" }")], "tls_key", "NOPE is not set", "set NOPE"),
        (vec![CERTIFICATE, ("listen", "tls_key", "{ file = \"Cargo.toml\" }")], "tls_key", "no private key", "PKCS#8"),
        (
            vec![CERTIFICATE, ("listen", "tls_key", "{ file = \"tests/vectors/tls/localhost.key\" }")],
            "tls_key",
            "does not fit the certificate in",
            "come as a pair",
        ),
        (vec![CERTIFICATE, KEY, ca("\"Cargo.toml\"")], "client_ca", "holds no PEM certificate", "authorities"),
        (vec![("listen", "address", "\"unix:soproxy.sock\"")], "address", "is no absolute path", "the whole path"),
        (vec![("listen", "address", "\"unix:/run/\"")], "address", "ends in no name", "the whole path"),
        (vec![("listen", "address", &long)], "address", "is too long", "107 bytes"),
        (vec![("listen", "address", "[\"unix:/run/a\", \"unix:/run/a\"]")], "address", "is already taken by listen.address", "its own"),
        (vec![("listen", "socket_mode", "\"0888\"")], "socket_mode", "is no mode", "octal"),
        (vec![("listen", "socket_mode", "\"1777\"")], "socket_mode", "is no mode", "octal"),
        (vec![("listen", "socket_mode", "600")], "socket_mode", "must be a string", "in quotes"),
        (vec![("listen", "socket_owner", "\"root\"")], "socket_owner", "without a Unix socket", "unix:"),
        (vec![("listen", "socket_owner", "\"nobody-has-this-name\"")], "socket_owner", "there is no user", "the number"),
        (vec![("listen", "socket_owner", "\":\"")], "socket_owner", "is no user and group", "user:group"),
        (vec![("state", "push_address", "\"unix:/run/a\"")], "", "is no IP address", "127.0.0.1"),
    ];
    for (changes, key, what, hint) in cases {
        let problem = one(&changes, &[]);
        assert!(key.is_empty() || problem.key == format!("listen.{key}"), "{problem}");
        assert!(problem.what.contains(what) && problem.hint.contains(hint), "{problem}");
    }
}

#[test]
fn the_admin_listener_may_be_a_unix_socket() {
    let admin = |changes: &[(&str, &str, &str)]| works(changes, &[]).admin.unwrap();
    let place = |mode, owner| crate::server::unix::Place { path: "/run/a/s".into(), mode, owner };
    let address = ("admin", "address", "\"unix:/run/a/s\"");
    let plain = admin(&[address]);
    assert_eq!((plain.addresses.len(), plain.sockets), (0, vec![place(0o600, (None, None))]));
    let shared = admin(&[address, ("admin", "socket_mode", "\"0660\""), ("admin", "socket_owner", "\":7\"")]);
    assert_eq!(shared.sockets, [place(0o660, (None, Some(7)))]);
    let both = admin(&[("admin", "address", "[\"127.0.0.1:0\", \"unix:/run/a/s\"]")]);
    assert_eq!((both.addresses.len(), both.sockets.len()), (1, 1));
    assert!(works(&[("admin", "address", "\"off\"")], &[]).admin.is_none());
    let taken = one(&[("listen", "address", "\"unix:/run/a/s\""), address], &[]);
    assert!(taken.key == "admin.address" && taken.what.contains("already taken by listen.address"), "{taken}");
    assert_eq!(one(&[("admin", "socket_owner", "\"root\"")], &[]).key, "admin.socket_owner");
}
