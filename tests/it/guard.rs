//! Not from a browser, not from the network: who is refused before anything else is looked at.

use std::net::SocketAddr;

use soproxy::config::Config;
use soproxy::sandbox::demo;

use crate::bench::{Bench, Setup, TENANT};
use crate::wire::{Message, OK, ask, recorder};

/// A GET with this `Host` and further header lines.
async fn get(to: SocketAddr, path: &str, host: &str, lines: &str) -> Message {
    ask(to, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).await
}

/// Names that DNS, or whoever answers for it, may point to this machine.
const FOREIGN: [&str; 14] = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "localhost.",
    "foo.localhost",
    "10.1.2.3",
    "0.0.0.0",
    "[::2]",
    "2130706433",
    "localhost@evil.example",
    "soproxy",
    "",
];

const OWN: [&str; 7] = ["localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:1", "127.1.2.3", "[::1]", "[::1]:8080"];

const BROWSERS: [&str; 7] = [
    "Origin: http://evil.example\r\n",
    "Origin: http://localhost:3000\r\n",
    "Origin: null\r\n",
    "Origin:\r\n",
    "Sec-Fetch-Site: cross-site\r\n",
    "Sec-Fetch-Site: same-site\r\n",
    "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
];

#[tokio::test]
async fn the_proxy_answers_to_its_own_names_only() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let path = format!("/{TENANT}/api/v1/x");
    for host in FOREIGN {
        let answer = get(bench.proxy, &path, host, "").await;
        assert_eq!((answer.status(), answer.error()), (403, Some("forbidden_origin")), "{host:?}");
    }
    let twice = get(bench.proxy, &path, "localhost", "Host: evil.example\r\n").await;
    assert!(matches!(twice.status(), 400 | 403), "{twice:?}");
    let none = ask(bench.proxy, format!("GET {path} HTTP/1.1\r\n\r\n")).await;
    assert!(matches!(none.status(), 400 | 403), "{none:?}");
    assert_eq!(seen.count(), 0);
    for host in OWN {
        assert_eq!(get(bench.proxy, &path, host, "").await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn the_proxy_answers_no_web_page() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let path = format!("/{TENANT}/api/v1/x");
    for lines in BROWSERS {
        let answer = get(bench.proxy, &path, "localhost", lines).await;
        assert_eq!((answer.status(), answer.error()), (403, Some("forbidden_origin")), "{lines}");
        assert!(answer.all("access-control-allow-origin").is_empty());
    }
    // What a page can send without asking first, and the question that it asks before the rest.
    let simple = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nOrigin: https://evil.example\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}",
        bench.proxy
    );
    assert_eq!(ask(bench.proxy, simple).await.error(), Some("forbidden_origin"));
    let preflight = format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: {}\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
        bench.proxy
    );
    assert_eq!(ask(bench.proxy, preflight).await.error(), Some("forbidden_origin"));
    let old = format!("GET {path} HTTP/1.0\r\nOrigin: https://evil.example\r\n\r\n");
    assert_eq!(ask(bench.proxy, old).await.error(), Some("forbidden_origin"));
    // A document out of the CRM, opened in a browser, is a page of the proxy's own origin.
    assert_eq!(get(bench.proxy, &path, "localhost", "Sec-Fetch-Site: same-origin\r\n").await.error(), Some("forbidden_origin"));
    assert_eq!(seen.count(), 0);
    for lines in ["Sec-Fetch-Site: none\r\n", "Referer: http://localhost/\r\n"] {
        assert_eq!(get(bench.proxy, &path, "localhost", lines).await.status(), 200, "{lines}");
    }
}

#[tokio::test]
async fn refusing_comes_before_everything_else() {
    let bench = Bench::start().await;
    // Neither which tenants there are nor what is a good target is told to a page.
    for path in ["/nobody/api/v1", "/Cust12345/api/../x", "/"] {
        assert_eq!(get(bench.proxy, path, "evil.example", "").await.error(), Some("forbidden_origin"), "{path}");
    }
}

#[tokio::test]
async fn the_admin_listener_is_guarded_alike() {
    let bench = Bench::start().await;
    let admin = bench.admin.unwrap();
    for path in ["/livez", "/readyz"] {
        for host in FOREIGN {
            let answer = get(admin, path, host, "").await;
            assert_eq!(answer.status(), 403, "{host:?}");
            assert!(!answer.text().contains(TENANT));
        }
        for lines in BROWSERS {
            assert_eq!(get(admin, path, "localhost", lines).await.status(), 403, "{lines}");
        }
    }
    for host in OWN {
        assert_eq!(get(admin, "/livez", host, "").await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn configured_hosts_are_names_too_each_for_its_own_listener() {
    let bench = Setup::new().set("listen.hosts", "soproxy,Crm.Example.org").set("admin.hosts", "admin.internal").start().await;
    let path = format!("/{TENANT}/api/v1/_sandbox/echo");
    for host in ["soproxy", "SOPROXY:8080", "crm.example.org", "localhost"] {
        assert_eq!(get(bench.proxy, &path, host, "").await.status(), 200, "{host}");
    }
    for host in ["admin.internal", "example.org", "a.crm.example.org", "crm.example.org.evil"] {
        assert_eq!(get(bench.proxy, &path, host, "").await.error(), Some("forbidden_origin"), "{host}");
    }
    let admin = bench.admin.unwrap();
    assert_eq!(get(admin, "/livez", "admin.internal:8081", "").await.status(), 200);
    assert_eq!(get(admin, "/livez", "soproxy", "").await.status(), 403);
    let answer = get(bench.proxy, &path, "soproxy", "Origin: http://soproxy\r\n").await;
    assert_eq!(answer.error(), Some("forbidden_origin"), "a known name is no licence for pages");
}

fn parse(settings: &[(&str, &str)]) -> Result<Config, String> {
    let text = demo::proxy_toml("http://127.0.0.1:9", "127.0.0.1:0", "127.0.0.1:0");
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(&text, std::path::Path::new("proxy.toml"), settings).map_err(|problems| problems.to_string())
}

#[tokio::test]
async fn a_listener_wider_than_loopback_must_say_so() {
    for section in ["LISTEN", "ADMIN"] {
        let (address, allow) = (format!("SOPROXY_{section}__ADDRESS"), format!("SOPROXY_{section}__INSECURE_ALLOW_ANONYMOUS"));
        for wide in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "127.0.0.1:0,0.0.0.0:0", "[::ffff:192.0.2.1]:0"] {
            let refused = parse(&[(&address, wide)]).map(|_| ()).unwrap_err();
            let key = format!("{}.address", section.to_lowercase());
            assert!(refused.contains(&key) && refused.contains("insecure_allow_anonymous = true"), "{wide}: {refused}");
            let allowed = parse(&[(&address, wide), (&allow, "true")]).unwrap();
            assert!(allowed.warnings.iter().any(|warning| warning.key == key), "allowed, and still told: {:?}", allowed.warnings);
        }
        for narrow in ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(parse(&[(&address, narrow)]).is_ok(), "{narrow}");
        }
    }
}

#[tokio::test]
async fn a_listener_that_may_be_wide_serves_and_is_guarded_all_the_same() {
    let bench = Setup::new().set("listen.address", "0.0.0.0:0").set("listen.insecure_allow_anonymous", "true").start().await;
    let here = SocketAddr::from(([127, 0, 0, 1], bench.proxy.port()));
    let path = format!("/{TENANT}/api/v1/_sandbox/echo");
    assert_eq!(get(here, &path, &here.to_string(), "").await.status(), 200);
    assert_eq!(get(here, &path, "evil.example", "").await.error(), Some("forbidden_origin"));
    assert_eq!(get(here, &path, "0.0.0.0", "").await.error(), Some("forbidden_origin"));
    // The bound address is a name of the listener's, whatever it is; another address of the same network is not.
    if let Some(own) = own_address() {
        let there = SocketAddr::new(own, bench.proxy.port());
        assert_eq!(get(there, &path, &there.to_string(), "").await.status(), 200);
        assert_eq!(get(there, &path, "192.0.2.77", "").await.error(), Some("forbidden_origin"));
    }
}

/// The address by which this machine would reach others, if it has one. Nothing is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}
