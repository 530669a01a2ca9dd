//! The way out: where the proxy is named, what contradicts what, and that its password is shown nowhere.

use super::{one, parse, works};
use crate::config::Config;
use crate::superoffice::origin::BaseUrl;

fn vector(name: &str) -> String {
    format!("\"{}/tests/vectors/outbound/{name}\"", env!("CARGO_MANIFEST_DIR"))
}

/// The proxy that leads to an origin, as it is shown.
fn proxy_to(config: &Config, origin: &str) -> Option<String> {
    let origin: BaseUrl = origin.parse().unwrap();
    config.outbound.proxies.to(&origin).map(ToString::to_string)
}

#[test]
fn the_environment_names_a_proxy_as_for_other_programs() {
    // (variables, proxy, who says so)
    #[allow(clippy::type_complexity)]
    let cases: &[(&[(&str, &str)], Option<&str>, &str)] = &[
        (&[], None, "the environment"),
        (&[("HTTP_PROXY", "http://p:1"), ("http_proxy", "http://p:2")], None, "the environment"),
        (&[("HTTPS_PROXY", "http://p:1")], Some("http://p:1"), "HTTPS_PROXY"),
        (&[("https_proxy", "http://p:1")], Some("http://p:1"), "https_proxy"),
        (&[("https_proxy", "http://p:2"), ("HTTPS_PROXY", "http://p:1")], Some("http://p:1"), "HTTPS_PROXY"),
        (&[("HTTPS_PROXY", "http://p:1"), ("ALL_PROXY", "http://p:2")], Some("http://p:1"), "HTTPS_PROXY"),
        (&[("HTTPS_PROXY", " "), ("all_proxy", "socks5://p:2")], Some("socks5h://p:2"), "all_proxy"),
        (&[("ALL_PROXY", "p:3128")], Some("http://p:3128"), "ALL_PROXY"),
        (&[("HTTPS_PROXY", "alice:secret@p:3128")], Some("http://alice:***@p:3128"), "HTTPS_PROXY"),
        (&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "a.example, .superoffice.com")], None, "HTTPS_PROXY"),
        (&[("HTTPS_PROXY", "p:1"), ("no_proxy", "a.example b.example")], Some("http://p:1"), "HTTPS_PROXY"),
    ];
    for (variables, expected, from) in cases {
        let config = works(&[], variables);
        assert_eq!(proxy_to(&config, "https://sod.superoffice.com").as_deref(), *expected, "{variables:?}");
        assert_eq!(config.outbound.proxy_from, *from);
        assert_eq!(config.warnings, []);
    }
}

#[test]
fn the_configuration_counts_before_the_environment() {
    let variables = [("HTTPS_PROXY", "http://env:1"), ("NO_PROXY", "*")];
    let off = works(&[("upstream", "proxy", "\"off\"")], &variables);
    assert_eq!(proxy_to(&off, "https://sod.superoffice.com"), None);
    let own = works(&[("upstream", "proxy", "\"http://own:2\"")], &variables);
    assert_eq!(proxy_to(&own, "https://sod.superoffice.com").as_deref(), Some("http://own:2"), "NO_PROXY belongs to the environment's");
    let exempt = ("upstream", "no_proxy", "[\"a.example\", \"b.example:8443\"]");
    let both = works(&[exempt], &variables);
    assert_eq!(proxy_to(&both, "https://sod.superoffice.com").as_deref(), Some("http://env:1"), "no_proxy replaces NO_PROXY");
    assert_eq!(proxy_to(&both, "https://b.example:8443"), None);
    assert_eq!(both.outbound.proxies.to_string(), "http://env:1, but not to a.example, b.example:8443");
}

#[test]
fn credentials_come_from_the_url_or_from_settings_of_their_own() {
    let user = ("upstream", "proxy_user", "\"alice\"");
    let password = ("upstream", "proxy_password", "{ env = \"PROXY_PASSWORD\" }");
    let variables = [("PROXY_PASSWORD", "hush:hush"), ("HTTPS_PROXY", "p:1")];
    for changes in [vec![user, password], vec![("upstream", "proxy", "\"http://alice:hush%3ahush@p:1\"")]] {
        let config = works(&changes, &variables);
        let origin: BaseUrl = "https://sod.superoffice.com".parse().unwrap();
        let proxy = config.outbound.proxies.to(&origin).unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic YWxpY2U6aHVzaDpodXNo");
        assert!(!format!("{config:?}").contains("hush"));
    }
}

#[test]
fn what_is_wrong_is_told_without_its_secrets() {
    let cert = ("upstream", "client_certificate", &*vector("client.pem"));
    let key = |name: &str| format!("{{ file = {} }}", vector(name));
    let (server_key, encrypted, text) = (key("server.key"), key("client.encrypted.key"), key("client.pem"));
    let no_cert = vector("client.key");
    let good_key = key("client.key");
    // (changes, variables, key, what, hint)
    #[allow(clippy::type_complexity)]
    let cases: &[(&[(&str, &str, &str)], &[(&str, &str)], &str, &str, &str)] = &[
        (&[("upstream", "proxy", "\"of\"")], &[], "upstream.proxy", "does not say how", "\"off\""),
        (&[("upstream", "proxy", "\"http://a:hush/hush@p:1\"")], &[], "upstream.proxy", "", "%-encoded"),
        (&[("upstream", "proxy", "1")], &[], "upstream.proxy", "must be a string", "http://"),
        (&[], &[("HTTPS_PROXY", "socks4://a:hush@p")], "upstream.proxy", "names a proxy that cannot be used", "\"off\" for none"),
        (&[("upstream", "proxy_password", "\"hush\"")], &[], "upstream.proxy_password", "without proxy_user", "set proxy_user"),
        (
            &[("upstream", "proxy_user", "\"a:b\""), ("upstream", "proxy", "\"http://p\"")],
            &[],
            "upstream.proxy_user",
            "holds a colon",
            "the proxy knows",
        ),
        (&[("upstream", "proxy_user", "\"a\"")], &[("HTTPS_PROXY", "a:hush@p")], "upstream.proxy_user", "HTTPS_PROXY holds", "remove"),
        (&[("upstream", "no_proxy", "[\"https://a.example\"]")], &[], "upstream.no_proxy", "is no host", "10.0.0.0/8"),
        (&[("upstream", "pins", "[\"sha1/x\"]")], &[], "upstream.pins", "\"sha1/x\" is no sha256/", "openssl"),
        (&[cert], &[], "upstream.client_certificate", "without client_key", "private key"),
        (&[("upstream", "client_key", &good_key)], &[], "upstream.client_key", "without client_certificate", "set client_certificate"),
        (&[cert, ("upstream", "client_key", &server_key)], &[], "upstream.client_key", "is not the key", "first certificate"),
        (&[cert, ("upstream", "client_key", &encrypted)], &[], "upstream.client_key", "encrypted", "decrypts"),
        (&[cert, ("upstream", "client_key", &text)], &[], "upstream.client_key", "no private key", "BEGIN PRIVATE KEY"),
        (
            &[("upstream", "client_certificate", &no_cert), ("upstream", "client_key", &good_key)],
            &[],
            "upstream.client_certificate",
            "no PEM certificate",
            "certificate first",
        ),
    ];
    for (changes, variables, key, what, hint) in cases {
        let problem = one(changes, variables);
        assert_eq!(problem.key, *key, "{problem:?}");
        assert!(problem.what.contains(what) && problem.hint.contains(hint), "{problem:?}");
        assert!(!format!("{problem:?}").contains("hush"), "{problem:?}");
    }
    let variable = one(&[], &[("https_proxy", "ftp://p")]);
    assert_eq!(variable.source, "https_proxy");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let changes = [
        ("upstream", "proxy", "\"x://y\""),
        ("upstream", "no_proxy", "\"a b\""),
        ("upstream", "proxy_password", "{ env = \"GONE\" }"),
        ("upstream", "client_key", "{ file = \"gone\" }"),
        ("upstream", "pins", "[\"x\"]"),
    ];
    let mut keys: Vec<String> = parse(&changes, &[]).unwrap_err().into_iter().map(|problem| problem.key).collect();
    keys.sort();
    assert_eq!(keys, ["client_key", "no_proxy", "pins", "proxy", "proxy_password"].map(|key| format!("upstream.{key}")));
}

#[test]
fn an_entry_of_no_proxy_that_only_others_understand_is_a_warning() {
    let config = works(&[], &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "a*b,superoffice.com")]);
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(warning.source == "NO_PROXY" && warning.what.contains("\"a*b\""), "{warning:?}");
    assert_eq!(proxy_to(&config, "https://sod.superoffice.com"), None);
}

#[test]
fn a_certificate_and_its_key_are_read() {
    let key = format!("{{ file = {} }}", vector("client.key"));
    let config = works(&[("upstream", "client_certificate", &vector("client.pem")), ("upstream", "client_key", &key)], &[]);
    assert!(config.outbound.identity.is_some());
    assert!(format!("{:?}", config.outbound).contains("elided"));
}
