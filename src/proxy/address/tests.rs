//! What links begin with, by whom, how and through whom we were called.

use http::Request;
use proptest::prelude::*;

use super::*;

const LOCAL: &str = "127.0.0.1:8080";

/// A request for `uri` from this machine, with these headers, to a listener at `LOCAL`.
struct Called {
    front: Front,
    uri: &'static str,
    headers: Vec<(&'static str, String)>,
    peer: &'static str,
    local: &'static str,
    way: Way<'static>,
    tls: bool,
}

impl Called {
    fn by(headers: &[(&'static str, &str)]) -> Called {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Called {
            front: Front::default(),
            uri: "/cust12345/api/v1",
            headers,
            peer: "10.0.0.7:5000",
            local: LOCAL,
            way: Way::Path("cust12345"),
            tls: false,
        }
    }

    fn of<R>(&self, read: impl FnOnce(&Address<'_>) -> R) -> R {
        let mut request = Request::builder().uri(self.uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let ends = Ends { peer: self.peer.parse().ok(), local: self.local.parse().ok(), tls: self.tls, listener: 0 };
        let address = self.front.address(&parts, ends, "Cust12345", self.way);
        parts.headers.clear();
        read(&address)
    }

    fn ours(&self) -> String {
        self.of(|address| address.ours())
    }
}

fn url(text: &str) -> Option<BaseUrl> {
    Some(text.parse().unwrap())
}

#[test]
fn it_is_the_origin_as_the_caller_wrote_it_and_the_segment_too() {
    for host in ["localhost:8080", "LocalHost:8080", "127.0.0.1", "[::1]:8080", "[::1]", "soproxy", "crm_1.example.org:81"] {
        assert_eq!(Called::by(&[("host", host)]).ours(), format!("http://{host}/cust12345"));
    }
    let absolute = Called { uri: "http://LOCALHOST:8080/cust12345/api", ..Called::by(&[("host", "127.0.0.1:8080")]) };
    assert_eq!(absolute.ours(), "http://LOCALHOST:8080/cust12345");
    assert_eq!(Called::by(&[]).ours(), "http://127.0.0.1:8080/cust12345", "HTTP/1.0");
    assert_eq!(Called { tls: true, ..Called::by(&[("host", "localhost:8443")]) }.ours(), "https://localhost:8443/cust12345");
    assert_eq!(Called { tls: true, ..Called::by(&[]) }.ours(), "https://127.0.0.1:8080/cust12345");
    assert_eq!(Called { local: "", ..Called::by(&[]) }.ours(), "http://localhost/cust12345", "a Unix socket");
    assert_eq!(Called { local: "[::ffff:10.0.0.1]:8080", ..Called::by(&[]) }.ours(), "http://10.0.0.1:8080/cust12345");
    assert_eq!(Called { local: "[fd00::1]:8080", ..Called::by(&[]) }.ours(), "http://[fd00::1]:8080/cust12345");
    for way in [Way::Listener, Way::Host, Way::Default] {
        assert_eq!(Called { way, ..Called::by(&[("host", "a.localhost:8080")]) }.ours(), "http://a.localhost:8080");
    }
}

#[test]
fn what_is_no_plain_authority_is_not_repeated() {
    for odd in
        ["localhost:80\"x", "localhost:x", "localhost:80/evil", "localhost:123456", "a b", "[::1", "[x]", "u@localhost", "a'b", "", ":80"]
    {
        assert_eq!(Called::by(&[("host", odd)]).ours(), "http://127.0.0.1:8080/cust12345", "{odd}");
    }
}

#[test]
fn only_trusted_proxies_are_believed() {
    let lines = [
        ("host", "127.0.0.1:8080"),
        ("x-forwarded-host", "crm.example.com"),
        ("x-forwarded-proto", "HTTPS"),
        ("x-forwarded-prefix", "/crm/"),
    ];
    let mut called = Called::by(&lines);
    assert_eq!(called.ours(), "http://127.0.0.1:8080/cust12345");
    called.front.trusted_proxies = vec!["10.0.0.0/24".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!(called.ours(), "https://crm.example.com/crm/cust12345");
    assert_eq!(Called { peer: "[::ffff:10.0.0.9]:1", ..called }.ours(), "https://crm.example.com/crm/cust12345");
    let mut called = Called::by(&lines);
    called.front.trusted_proxies = vec!["10.0.0.0/24".parse().unwrap()];
    for stranger in ["10.0.1.7:1", "[::1]:1", "127.0.0.1:1"] {
        called.peer = stranger;
        assert_eq!(called.ours(), "http://127.0.0.1:8080/cust12345", "{stranger}");
    }
}

#[test]
fn of_a_list_the_first_counts_and_what_is_odd_does_not() {
    let with = |name: &'static str, value: &str| {
        let mut called = Called::by(&[("host", "h"), (name, value)]);
        called.front.trusted_proxies = vec!["10.0.0.7".parse().unwrap()];
        called.ours()
    };
    assert_eq!(with("x-forwarded-host", " a.example:444 , b.example"), "http://a.example:444/cust12345");
    assert_eq!(with("x-forwarded-proto", "https,http"), "https://h/cust12345");
    assert_eq!(with("x-forwarded-prefix", "/a/b~1, /c"), "http://h/a/b~1/cust12345");
    for odd in ["", ",a.example", "a b", "a/b", "http://a", "a\"", "a&b"] {
        assert_eq!(with("x-forwarded-host", odd), "http://h/cust12345", "{odd}");
    }
    for odd in ["ftp", "javascript", "", "https:"] {
        assert_eq!(with("x-forwarded-proto", odd), "http://h/cust12345", "{odd}");
    }
    for odd in ["", "/", "a", "//a", "/a//b", "/..", "/a/./b", "/a?b", "/a\"", "/a%2f", "/a b", "https://a/"] {
        assert_eq!(with("x-forwarded-prefix", odd), "http://h/cust12345", "{odd}");
    }
}

#[test]
fn a_public_url_overrides_all_and_the_doors_own_comes_first() {
    let mut called = Called::by(&[("host", "localhost:8080"), ("x-forwarded-host", "evil.example")]);
    called.front.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap()];
    called.front.public_url = url("https://crm.example.com/so/");
    assert_eq!(called.ours(), "https://crm.example.com/so/cust12345");
    for (way, ours) in [
        (Way::Default, "https://crm.example.com/so"),
        // Behind that address nobody knows the listener or the host any more.
        (Way::Listener, "https://crm.example.com/so/Cust12345"),
        (Way::Host, "https://crm.example.com/so/Cust12345"),
    ] {
        called.way = way;
        assert_eq!(called.ours(), ours);
    }
    called.front.doors = [Door { tenant: Some("Cust12345".into()), public_url: url("https://c.example"), ..Door::default() }].into();
    assert_eq!(Called { way: Way::Listener, ..called }.ours(), "https://c.example");
}

#[test]
fn every_other_address_is_an_alias() {
    let mut called = Called::by(&[("host", "LOCALHOST:8080")]);
    called.front.hosts = vec!["soproxy".to_owned()];
    let aliases = called.of(|address| address.aliases());
    for alias in [
        "http://127.0.0.1:8080/cust12345",
        "http://[::1]:8080/cust12345",
        "http://soproxy:8080/cust12345",
        "http://soproxy/cust12345",
        "https://soproxy/cust12345",
        "http://cust12345.localhost:8080",
        "http://cust12345.soproxy:8080",
        "https://cust12345.soproxy",
        "http://cust12345.localhost:8080/cust12345",
    ] {
        assert!(aliases.iter().any(|have| have == alias), "{alias}: {aliases:#?}");
    }
    assert!(!aliases.iter().any(|have| have == "http://localhost:8080/cust12345"), "that is ours");
    assert!(!aliases.iter().any(|have| have == "http://127.0.0.1:8080"), "other tenants live there, too");
    assert!(aliases.is_sorted_by_key(|alias| std::cmp::Reverse(alias.len())), "{aliases:#?}");
}

#[test]
fn where_a_tenant_is_alone_the_origin_is_an_alias() {
    let has = |called: &Called, alias: &str| called.of(|address| address.aliases().iter().any(|have| have == alias));
    let shares = |called: &Called, alias: &str| called.of(|address| address.shared_aliases().iter().any(|have| have == alias));
    let mut bound = Called { way: Way::Listener, ..Called::by(&[("host", "localhost:8080")]) };
    bound.front.doors = [Door { tenant: Some("Cust12345".into()), public_url: url("https://C.example"), ..Door::default() }].into();
    assert!(
        shares(&bound, "http://127.0.0.1:8080")
            && has(&bound, "http://127.0.0.1:8080/cust12345")
            && has(&bound, "https://c.example/cust12345")
    );
    let mut default = Called::by(&[("host", "localhost:8080")]);
    default.front.default_tenant = Some("cust12345".to_owned());
    assert!(shares(&default, "http://localhost:8080") && shares(&default, "http://[::1]:8080"));
    assert!(!has(&default, "http://localhost:8080") && !default.of(|address| address.is_shared()));
    default.way = Way::Default;
    assert!(default.of(|address| address.is_shared()));
    default.way = Way::Host;
    assert!(!default.of(|address| address.is_shared()));
    default.front.default_tenant = Some("other".to_owned());
    assert!(!shares(&default, "http://localhost:8080"));
    let eighty = Called { local: "127.0.0.1:80", ..Called::by(&[("host", "localhost")]) };
    assert!(has(&eighty, "http://localhost:80/cust12345") && has(&eighty, "http://127.0.0.1/cust12345"));
}

#[test]
fn the_addresses_of_other_listeners_are_aliases_too() {
    let door = |tenant: Option<&str>, address: &str| Door {
        tenant: tenant.map(Into::into),
        address: Some(address.parse().unwrap()),
        ..Door::default()
    };
    let mut called = Called::by(&[("host", "localhost:8080")]);
    called.front.hosts = vec!["soproxy".to_owned()];
    called.front.doors = [
        door(None, LOCAL),
        door(Some("cust12345"), "127.0.0.1:8082"),
        door(Some("Other"), "127.0.0.1:8083"),
        Door { public_url: url("https://c.example"), ..door(Some("Cust12345"), "10.0.0.1:8084") },
    ]
    .into();
    let aliases = called.of(|address| [address.aliases(), address.shared_aliases()].concat());
    let has = |alias: &str| aliases.iter().any(|have| have == alias);
    for alias in [
        "http://localhost:8082",
        "http://127.0.0.1:8082/cust12345",
        "http://soproxy:8082",
        "http://cust12345.localhost:8082",
        "http://10.0.0.1:8084",
        "https://c.example",
        "https://c.example/cust12345",
    ] {
        assert!(has(alias), "{alias}: {aliases:#?}");
    }
    for other in ["http://localhost:8083", "http://localhost:8083/cust12345", "http://127.0.0.1:8080", "http://10.0.0.1:8080"] {
        assert!(!has(other), "{other}");
    }
    // What is at the host's other ports may be somebody else's.
    called.way = Way::Listener;
    let aliases = called.of(|address| [address.aliases(), address.shared_aliases()].concat());
    assert!(!aliases.iter().any(|have| have == "http://soproxy" || have == "https://soproxy"), "{aliases:#?}");
    assert!(aliases.iter().any(|have| have == "https://soproxy/cust12345"));
}

proptest! {
    /// Whatever callers and proxies say, what we put into documents is a URL, and holds nothing that means something there.
    #[test]
    fn ours_is_always_a_plain_base(host in "[ -~]{0,12}", forwarded in "[ -~]{0,12}", prefix in "/?[ -~]{0,8}", proto in "https?|[ -~]{0,5}") {
        let mut called = Called::by(&[("x-forwarded-proto", &proto), ("x-forwarded-host", &forwarded), ("x-forwarded-prefix", &prefix), ("host", &host)]);
        called.front.trusted_proxies = vec!["10.0.0.7".parse().unwrap()];
        let ours = called.ours();
        prop_assert!(ours.parse::<BaseUrl>().is_ok(), "{}", ours);
        prop_assert!(!ours.contains(['"', '\'', '<', '>', '&', '\\', '?', '#', '@', ' ']), "{}", ours);
        prop_assert!(ours.ends_with("/cust12345"));
    }
}
