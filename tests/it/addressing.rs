//! Ways to say which tenant is meant: path, listener, host, default; what else is carried; and what is nobody's.

use std::net::SocketAddr;

use http::Request;

use crate::bench::{Bench, Setup, TENANT, collect};
use crate::binary::Home;
use crate::h2;
use crate::wire::{Message, OK, Wire, ask, recorder};

const OTHER: &str = "Cust54321";
const ECHO: &str = "/api/v1/_sandbox/echo";

async fn get(to: SocketAddr, path: &str, host: &str) -> Message {
    ask(to, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
}

/// Whom the sandbox was asked for.
async fn tenant(to: SocketAddr, path: &str, host: &str) -> String {
    let answer = get(to, path, host).await;
    assert_eq!(answer.status(), 200, "{path} of {host}: {}", answer.text());
    answer.json()["Tenant"].as_str().unwrap().to_owned()
}

/// The proxy's own error.
async fn error(to: SocketAddr, path: &str, host: &str) -> (u16, String) {
    let answer = get(to, path, host).await;
    (answer.status(), answer.error().unwrap_or_default().to_owned())
}

fn unknown() -> (u16, String) {
    (404, "unknown_tenant".to_owned())
}

#[tokio::test]
async fn a_path_names_its_tenant_without_regard_to_case() {
    let bench = Bench::start().await;
    for name in [TENANT, "cust12345", "CUST12345"] {
        assert_eq!(tenant(bench.proxy, &format!("/{name}{ECHO}"), "localhost").await, TENANT);
    }
    assert_eq!(tenant(bench.proxy, &format!("/cust54321{ECHO}"), "localhost").await, OTHER);
    for path in [ECHO, "/nobody/api/v1/x", "/", "/CS/x", "/api/state/nobody", "/~a/Cust12345/api/v1/x"] {
        assert_eq!(error(bench.proxy, path, "localhost").await, unknown(), "{path}");
    }
}

#[tokio::test]
async fn a_listener_may_be_bound_to_one_tenant() {
    let bench = Setup::new().listener("cust54321").listener(TENANT).start().await;
    let [other, first] = bench.doors[..] else { panic!("{:?}", bench.doors) };
    assert_eq!(tenant(other, ECHO, "localhost").await, OTHER);
    assert_eq!(tenant(other, &format!("/CUST54321{ECHO}"), "localhost").await, OTHER);
    assert_eq!(tenant(first, ECHO, &first.to_string()).await, TENANT);
    for path in [format!("/{TENANT}{ECHO}"), "/".to_owned(), "/v1/x".to_owned(), format!("/api/state/{TENANT}")] {
        assert_eq!(error(other, &path, "localhost").await, unknown(), "{path}");
    }
    // The other listener is as it was, and a stranger is a stranger at every one.
    assert_eq!(error(bench.proxy, ECHO, "localhost").await, unknown());
    assert_eq!(tenant(bench.proxy, &format!("/{TENANT}{ECHO}"), "localhost").await, TENANT);
    assert_eq!(error(first, ECHO, "x.evil.example").await, (403, "forbidden_origin".to_owned()));
    // A client of an onsite installation, as old as it may be.
    let old = ask(first, format!("GET {ECHO} HTTP/1.0\r\n\r\n")).await;
    assert_eq!(old.json()["Tenant"], TENANT);
}

#[tokio::test]
async fn a_host_may_begin_with_its_tenant() {
    let bench = Setup::new().set("listen.hosts", "soproxy").listener(OTHER).start().await;
    for host in ["cust12345.localhost", "Cust12345.LOCALHOST:8080", "cust12345.soproxy", "CUST12345.SoProxy:80"] {
        assert_eq!(tenant(bench.proxy, ECHO, host).await, TENANT, "{host}");
        assert_eq!(tenant(bench.proxy, &format!("/cust12345{ECHO}"), host).await, TENANT, "{host}");
        assert_eq!(error(bench.proxy, &format!("/{OTHER}{ECHO}"), host).await, unknown(), "{host}");
    }
    assert_eq!(tenant(bench.proxy, ECHO, "cust54321.localhost").await, OTHER);
    let absolute = format!("GET http://cust12345.localhost{ECHO} HTTP/1.1\r\nHost: cust12345.localhost\r\n\r\n");
    assert_eq!(ask(bench.proxy, absolute).await.json()["Tenant"], TENANT);
    for foreign in ["x.localhost", "x.evil.example", "cust12345.evil.example", "cust12345.localhost.evil.example", "x.cust12345.localhost"]
    {
        assert_eq!(error(bench.proxy, ECHO, foreign).await, (403, "forbidden_origin".to_owned()), "{foreign}");
    }
    // The listener's tenant counts more, and another one's name is no address of it.
    assert_eq!(tenant(bench.doors[0], ECHO, "cust54321.localhost").await, OTHER);
    assert_eq!(error(bench.doors[0], ECHO, "cust12345.localhost").await, unknown());
}

#[tokio::test]
async fn over_http2_the_authority_is_the_host() {
    let bench = Setup::new().listener(OTHER).start().await;
    for (to, host, expected) in [(bench.proxy, "cust12345.localhost", TENANT), (bench.doors[0], "localhost", OTHER)] {
        let request = Request::get(format!("http://{host}{ECHO}")).body(h2::whole("")).unwrap();
        let answer = collect(h2::caller(to).await.send_request(request).await.unwrap()).await;
        assert_eq!(answer.json()["Tenant"], expected, "{host}");
    }
}

#[tokio::test]
async fn one_tenant_may_be_the_default() {
    let bench = Setup::new().set("listen.default_tenant", "cust54321").start().await;
    assert_eq!(tenant(bench.proxy, ECHO, "localhost").await, OTHER);
    assert_eq!(tenant(bench.proxy, &format!("/{TENANT}{ECHO}"), "localhost").await, TENANT);
    assert_eq!(tenant(bench.proxy, ECHO, "cust12345.localhost").await, TENANT);
    for path in ["/nobody/api/v1/x", "/v1/x", "/"] {
        assert_eq!(error(bench.proxy, path, "localhost").await, unknown(), "{path}");
    }
}

#[tokio::test]
async fn all_ways_end_in_one_target_byte_for_byte() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("listen.default_tenant", TENANT).listener(TENANT).start().await;
    let door = bench.doors[0];
    let rest = "/v1//Contact/%24x?$filter=name%20eq%20'a/b'&~=1";
    for (to, prefix, host) in [
        (bench.proxy, "/Cust12345/api", "localhost"),
        (bench.proxy, "/cust12345/API", "localhost"),
        (bench.proxy, "/api", "localhost"),
        (bench.proxy, "/api", "cust12345.localhost"),
        (bench.proxy, "/Cust12345/~sod3.superoffice.com:443/cust12345/api", "localhost"),
        (bench.proxy, "/~sod3.superoffice.com/Cust12345/api", "localhost"),
        (door, "/api", "localhost"),
        (door, "/Cust12345/api", "localhost"),
        (door, "/~127.0.0.1:8090/Cust12345/api", "localhost"),
    ] {
        assert_eq!(get(to, &format!("{prefix}{rest}"), host).await.status(), 200, "{prefix}");
        let line = seen.last().first;
        assert_eq!(line, format!("GET /Cust12345/api{rest} HTTP/1.1"), "{prefix}");
        assert_eq!(seen.last().one("host"), Some(peer.address.to_string().as_str()));
    }
    let before = seen.count();
    for path in ["/Cust12345/~a/Cust54321/api/v1/x", "/Cust12345/~a/nobody/api/v1/x", "/Cust12345/~a/v1/x", "/~a/Cust54321/api/v1/x"] {
        assert_eq!(error(bench.proxy, path, "localhost").await, (400, "bad_target".to_owned()), "{path}");
    }
    assert_eq!(seen.count(), before);
}

#[tokio::test]
async fn further_routes_are_carried_when_they_are_listed() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("upstream.routes", "CS,x.y").listener(TENANT).start().await;
    for (to, path, target) in [
        (bench.proxy, "/Cust12345/CS/scripts/customer.fcgi?action=a%2Fb", "/Cust12345/CS/scripts/customer.fcgi?action=a%2Fb"),
        (bench.proxy, "/cust12345/cs", "/Cust12345/cs"),
        (bench.proxy, "/cust12345/X.Y//z", "/Cust12345/X.Y//z"),
        (bench.doors[0], "/CS/?", "/Cust12345/CS/?"),
    ] {
        assert_eq!(get(to, path, "localhost").await.status(), 200, "{path}");
        assert_eq!(seen.last().first, format!("GET {target} HTTP/1.1"));
        assert!(seen.last().one("authorization").is_some_and(|value| value.starts_with("SOTicket ")), "as the web API's");
    }
    let posted = ask(bench.proxy, "POST /Cust12345/CS/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!((posted.status(), seen.last().text().as_str()), (200, "hi"));
    for path in ["/Cust12345/Remotes/Services88/x.svc", "/Cust12345/CSx", "/Cust12345/C", "/Cust12345/CS/../api"] {
        assert_eq!(error(bench.proxy, path, "localhost").await, (400, "bad_target".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn beside_a_web_api_of_another_form_nothing_is_known() {
    let (peer, seen) = recorder(OK).await;
    let base = format!("http://{}/webapi", peer.address);
    let setup = Setup::new().api_at(peer.address).set("tenants.Cust12345.api_url", &base).set("upstream.routes", "CS");
    let bench = setup.start().await;
    let answer = get(bench.proxy, "/Cust12345/CS/x", "localhost").await;
    assert_eq!((answer.status(), answer.error()), (400, Some("bad_target")));
    assert!(answer.text().contains("does not end in /api"), "{}", answer.text());
    assert_eq!(seen.count(), 0);
    assert_eq!(get(bench.proxy, "/Cust12345/api/v1/x", "localhost").await.status(), 200);
}

#[tokio::test]
async fn a_reload_changes_defaults_and_routes_at_once_and_listeners_stay() {
    let (peer, seen) = recorder(OK).await;
    let mut bench = Setup::new().api_at(peer.address).set("listen.workers", "1").listener(OTHER).listener(TENANT).start().await;
    assert_eq!(error(bench.proxy, "/api/v1/x", "localhost").await, unknown());
    assert_eq!(error(bench.proxy, "/Cust12345/CS/x", "localhost").await.0, 400);
    bench.live.apply(bench.config_with(&[("listen.default_tenant", TENANT), ("upstream.routes", "CS")])).unwrap();
    assert_eq!(get(bench.proxy, "/api/v1/x", "localhost").await.status(), 200);
    assert_eq!(get(bench.proxy, "/Cust12345/CS/x", "localhost").await.status(), 200);
    assert_eq!(peer.connections(), 1, "the way out is the same one");
    bench.live.apply(bench.config_with(&[])).unwrap();
    assert_eq!(error(bench.proxy, "/api/v1/x", "localhost").await, unknown());
    assert_eq!(seen.count(), 2);
    // Listeners are bound at the start, and keep their tenants.
    bench.more = String::new();
    bench.live.apply(bench.config_with(&[])).unwrap();
    assert_eq!(tenant(bench.doors[0], ECHO, "localhost").await, OTHER);
    assert_eq!(get(bench.doors[1], "/api/v1/x", "localhost").await.status(), 200);
}

#[tokio::test]
async fn connections_of_all_listeners_count() {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).listener(TENANT).set("listen.max_connections", "1").start().await;
    let mut first = Wire::to(bench.doors[0]).await;
    first.say("GET /api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(first.answer().await.status(), 200);
    assert_eq!(error(bench.proxy, "/Cust12345/api/v1/x", "localhost").await, (503, "too_many_connections".to_owned()));
}

#[tokio::test]
async fn the_program_binds_all_of_them_and_says_when_they_would_change() {
    let home = Home::new().await;
    let settings = home.read("proxy.toml");
    let bound = "[[listeners]]\naddress = \"127.0.0.1:0\"\ntenant = \"cust12345\"\n";
    home.write("proxy.toml", format!("{settings}\n{bound}"));
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    let serves = program.stderr().lines().find(|line| line.contains("serves")).unwrap().to_owned();
    let mut found = serves.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').filter_map(|word| word.parse::<SocketAddr>().ok());
    let door = found.find(|address| *address != proxy).expect(&serves);
    assert_eq!(tenant(door, ECHO, "localhost").await, TENANT);
    // A listener and its tenant go: nobody else is served in its place.
    home.write("proxy.toml", settings.replace(&format!("[tenants.{TENANT}]"), "[tenants.Nordlys]\ncontext = \"Cust12345\""));
    program.signal("HUP");
    program.logged("[[listeners]] (but for what is in the files of TLS) changed: that takes effect at the next start", 1).await;
    program.logged("configuration reloaded", 1).await;
    assert_eq!(error(door, ECHO, "localhost").await, unknown());
    assert_eq!(tenant(proxy, &format!("/nordlys{ECHO}"), "localhost").await, TENANT);
    assert_eq!(tenant(proxy, ECHO, "Nordlys.localhost").await, TENANT);
    assert_eq!(error(proxy, ECHO, "cust12345.localhost").await, (403, "forbidden_origin".to_owned()));
}
