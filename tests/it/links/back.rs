//! `all`: an entity that is read through the proxy and written back is stored as SuperOffice wrote it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::{JSON, call, get, in_mode, note, ours, theirs};
use crate::bench::{Bench, Setup, TENANT};
use crate::wire::{Message, OK, Wire, ask, recorder};

/// One of the proxy's addresses.
#[derive(Clone, Debug)]
struct Address {
    to: SocketAddr,
    host: String,
    path: &'static str,
}

impl Address {
    fn new(to: SocketAddr, host: impl Into<String>, path: &'static str) -> Address {
        Address { to, host: host.into(), path }
    }

    async fn call(&self, method: &str, headers: &str, body: impl AsRef<[u8]>) -> Message {
        let (Address { host, path, .. }, body) = (self, body.as_ref());
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {path}/api/v1/Contact/1 HTTP/1.1\r\nHost: {host}\r\n{headers}{length}\r\n");
        let answer = ask(self.to, [head.as_bytes(), body].concat()).await;
        assert_eq!(answer.status(), 200, "{method} at {self:?}: {answer:?}");
        answer
    }
}

/// The first contact as it is stored, but for the time of its last change.
fn stored(bench: &Bench) -> Value {
    let mut entity = bench.sandbox.control().stored(TENANT, "Contact", 1).unwrap();
    entity.as_object_mut().unwrap().remove("UpdatedDate");
    entity
}

/// Every spelling that a text may have.
fn spellings(theirs: &str) -> String {
    let (scheme, rest) = theirs.split_once("://").unwrap();
    let (authority, _) = rest.split_once('/').unwrap();
    [
        format!("see {theirs}/api/v1/Contact/2?$select=name, {theirs}, {theirs}/"),
        format!("<a href=\"{theirs}/x\">{theirs}/~{authority}/{TENANT}/x</a> {theirs}/~x {theirs}/{TENANT}/x {theirs}/~"),
        format!("{scheme}://{authority}/cUST12345/x {theirs}6 {theirs}.x HTTP://{rest}/x {scheme}:\\/\\/{authority}\\/{TENANT}\\/x"),
        format!("http://{authority}/Cust54321/x https://{rest}/x https://sod2.superoffice.com/{TENANT}/x {scheme}://{scheme}://{rest}/x"),
    ]
    .join("\n")
}

#[tokio::test]
async fn read_by_one_address_and_written_by_another() {
    let bench = in_mode("all").set("listen.hosts", "soproxy").set("listen.default_tenant", TENANT).start().await;
    let (proxy, port) = (bench.proxy, bench.proxy.port());
    let addresses = [
        Address::new(proxy, proxy.to_string(), "/Cust12345"),
        Address::new(proxy, format!("localhost:{port}"), "/cust12345"),
        Address::new(proxy, format!("cust12345.localhost:{port}"), ""),
        Address::new(proxy, format!("Cust12345.LocalHost:{port}"), "/CUST12345"),
        Address::new(proxy, "soproxy", "/Cust12345"),
        Address::new(proxy, format!("localhost:{port}"), ""),
    ];
    let text = spellings(&theirs(&bench));
    note(&bench, &text).await;
    let before = stored(&bench);
    for read in &addresses {
        for write in &addresses {
            let entity = read.call("GET", "", "").await;
            assert_ne!(entity.json()["Description"], text, "it was rewritten");
            write.call("PUT", JSON, &entity.body).await;
            assert_eq!(stored(&bench), before, "read by {read:?}, written by {write:?}");
        }
    }
}

#[tokio::test]
async fn read_by_a_listener_of_its_own_and_written_by_the_common_one() {
    let bench = in_mode("all").listener(TENANT).start().await;
    let (proxy, door) = (bench.proxy, bench.doors[0]);
    let addresses = [
        Address::new(proxy, proxy.to_string(), "/Cust12345"),
        Address::new(door, door.to_string(), ""),
        Address::new(door, format!("localhost:{}", door.port()), "/Cust12345"),
    ];
    note(&bench, &spellings(&theirs(&bench))).await;
    let before = stored(&bench);
    for read in &addresses {
        for write in &addresses {
            let entity = read.call("GET", "", "").await;
            write.call("PUT", JSON, &entity.body).await;
            assert_eq!(stored(&bench), before, "read by {read:?}, written by {write:?}");
        }
    }
}

#[tokio::test]
async fn by_a_public_url_or_what_a_trusted_proxy_was_called() {
    let forwarded = "X-Forwarded-Host: crm.example.com\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /so\r\n";
    for (setting, value, more, address) in [
        ("listen.public_url", "https://crm.example.com/so", "", "https://crm.example.com/so/Cust12345"),
        ("listen.trusted_proxies", "127.0.0.1", forwarded, "https://crm.example.com/so/Cust12345"),
    ] {
        let bench = in_mode("all").set(setting, value).start().await;
        note(&bench, &spellings(&theirs(&bench))).await;
        let before = stored(&bench);
        let caller = Address::new(bench.proxy, bench.proxy.to_string(), "/Cust12345");
        let entity = caller.call("GET", more, "").await;
        assert!(entity.json()["Description"].as_str().unwrap().starts_with(&format!("see {address}/api")), "{}", entity.text());
        caller.call("PUT", &format!("{JSON}{more}"), &entity.body).await;
        assert_eq!(stored(&bench), before, "{setting}");
    }
}

#[tokio::test]
async fn in_xml_with_escaped_slashes_compressed_and_in_small_chunks() {
    let bench = in_mode("all").start().await;
    note(&bench, &spellings(&theirs(&bench))).await;
    let before = stored(&bench);
    let caller = Address::new(bench.proxy, bench.proxy.to_string(), "/Cust12345");

    let xml = caller.call("GET", "Accept: application/xml\r\n", "").await;
    caller.call("PUT", "Content-Type: application/xml\r\n", &xml.body).await;
    assert_eq!(stored(&bench), before, "XML");

    bench.fault("escaped_slashes=true");
    let escaped = caller.call("GET", "", "").await;
    assert!(escaped.text().contains(&ours(&bench).replace('/', r"\/")), "{}", escaped.text());
    caller.call("PUT", JSON, &escaped.body).await;
    assert_eq!(stored(&bench), before, "escaped slashes");

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&escaped.body).unwrap();
    caller.call("PUT", &format!("{JSON}Content-Encoding: gzip\r\n"), gzip.finish().unwrap()).await;
    assert_eq!(stored(&bench), before, "gzip");

    let mut wire = Wire::to(bench.proxy).await;
    let chunks: Vec<u8> = escaped.body.iter().flat_map(|byte| [b"1\r\n", &[*byte][..], b"\r\n"].concat()).collect();
    let head = crate::wire::begin("PUT", "/v1/Contact/1", &format!("{JSON}Transfer-Encoding: chunked\r\n\r\n"));
    wire.say([head.as_bytes(), &chunks, b"0\r\n\r\n"].concat()).await;
    assert_eq!(wire.answer().await.status(), 200);
    assert_eq!(stored(&bench), before, "chunks of one byte");
}

#[tokio::test]
async fn what_is_sent_a_second_time_is_the_same() {
    let bench = in_mode("all").may_move().set("state.min_interval", "50ms").start().await;
    note(&bench, &spellings(&theirs(&bench))).await;
    let before = stored(&bench);
    let entity = get(&bench, "/v1/Contact/1", "").await;
    bench.fault("unauthorized.next=1");
    // A ticket younger than two seconds is not doubted: the first attempt may be the one that is refused.
    let mut status = 401;
    for _ in 0..2 {
        status = call(&bench, "PUT", "/v1/Contact/1", JSON, &entity.body).await.status();
    }
    assert_eq!((status, stored(&bench)), (200, before.clone()));
    bench.fault("moved.Cust12345=null");
    assert_eq!(call(&bench, "PUT", "/v1/Contact/1", JSON, &entity.body).await.status(), 200);
    assert_eq!(bench.sandbox.control().counters().misdirected, 1);
    assert_eq!(stored(&bench), before);
}

#[tokio::test]
async fn links_to_where_the_tenant_lived_before_come_home_too() {
    for mode in ["known", "all"] {
        let setup = in_mode(mode).may_move().set("state.min_interval", "50ms");
        let bench = setup.start().await;
        let (old, new) = (theirs(&bench), format!("{}/{TENANT}", bench.sandbox.other_base()));
        let ours = ours(&bench);
        assert_eq!(get(&bench, "/v1/Contact/1", "").await.json()["_Links"]["Self"], format!("{ours}/api/v1/Contact/1"));
        bench.fault("moved.Cust12345=null");
        assert_eq!(get(&bench, "/v1/Contact/1", "").await.json()["_Links"]["Self"], format!("{ours}/api/v1/Contact/1"), "the new place");

        // Links that say where it was.
        bench.fault(&format!("old_links.Cust12345={}", bench.sandbox.base()));
        let link = get(&bench, "/v1/Contact?$top=1", "").await.json()["odata.nextLink"].as_str().unwrap().to_owned();
        let authority = bench.sandbox.base().strip_prefix("http://").unwrap();
        let expected = if mode == "all" { format!("{ours}/~{authority}/{TENANT}/api/v1/") } else { format!("{ours}/api/v1/") };
        assert!(link.starts_with(&expected), "{link}");
        let followed = get(&bench, link.split_once("/api").unwrap().1, "").await;
        assert_eq!(followed.status(), 200, "{followed:?}");
        // Just as it is written, marker and all.
        let path = link.strip_prefix(&format!("http://{}", bench.proxy)).unwrap();
        let followed = ask(bench.proxy, format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", bench.proxy)).await;
        assert_eq!((followed.status(), followed.json()["value"].as_array().map(Vec::len)), (200, Some(1)), "{followed:?}");
        let made = call(&bench, "POST", "/v1/Contact", JSON, r#"{"Name":"A"}"#).await;
        assert_eq!(made.one("location").unwrap(), format!("{ours}/api/v1/Contact/61"), "headers need no marker: nobody stores them");

        if mode == "all" {
            // Texts of both times, read and written back.
            note(&bench, &format!("{} | {} | {old}:80/x", spellings(&old), spellings(&new))).await;
            let before = stored(&bench);
            let entity = get(&bench, "/v1/Contact/1", "").await;
            assert!(!entity.text().contains(&format!("see {old}")) && !entity.text().contains(&format!("see {new}")), "{}", entity.text());
            assert_eq!(call(&bench, "PUT", "/v1/Contact/1", JSON, &entity.body).await.status(), 200);
            assert_eq!(stored(&bench), before);
        }
    }
}

#[tokio::test]
async fn a_port_that_need_not_be_written_may_be() {
    // For a while the tenant is at a port that is its scheme's own: nobody is asked there.
    for (mode, host) in [("known", "http://127.0.0.2"), ("known", "https://localhost"), ("all", "http://127.0.0.2")] {
        let setup = in_mode(mode).set("superoffice.upstream_hosts", "127.0.0.2,localhost").fault("valid_for=1m");
        let (setup, hand) = setup.fault(&format!("moved.Cust12345={host}")).manual_clock();
        let bench = setup.start().await;
        bench.until("its place is known", async || bench.states() > 0).await;
        bench.fault("moved.Cust12345=home");
        hand.advance(Duration::from_secs(61));
        assert_eq!(get(&bench, "/v1/Contact/1", "").await.status(), 200);
        let port = if host.starts_with("https") { ":443" } else { ":80" };
        for spelled in [host.to_owned(), format!("{host}{port}"), host.replace("local", "LOCAL")] {
            bench.fault(&format!("old_links.Cust12345={spelled}"));
            let link = get(&bench, "/v1/Contact/1", "").await.json()["_Links"]["Self"].clone();
            let marked = format!("{}/~{}/{TENANT}/api/v1/Contact/1", ours(&bench), spelled.split_once("//").unwrap().1);
            let plain = format!("{}/api/v1/Contact/1", ours(&bench));
            assert_eq!(link, if mode == "all" { marked } else { plain }, "{spelled}");
        }
        if mode == "all" {
            note(&bench, &format!("{host}{port}/{TENANT}/x {host}/{TENANT} {host}:8080/{TENANT}")).await;
            let before = stored(&bench);
            let entity = get(&bench, "/v1/Contact/1", "").await;
            assert_eq!(call(&bench, "PUT", "/v1/Contact/1", JSON, &entity.body).await.status(), 200);
            assert_eq!(stored(&bench), before);
        }
    }
}

#[tokio::test]
async fn a_head_says_the_truth_about_a_body_that_went_back() {
    let (peer, seen) = recorder(OK).await;
    let bench = in_mode("all").api_at(peer.address).start().await;
    let (theirs, ours) = (format!("http://{}/{TENANT}", peer.address), ours(&bench));
    let body = |url: &str| json!({ "a": format!("{url}/x") }).to_string();

    let digest = "Content-MD5: x\r\nIf-Match: \"1\"\r\n";
    assert_eq!(call(&bench, "PUT", "/v1/x", &format!("{JSON}{digest}"), body(&ours)).await.status(), 200);
    let request = seen.last();
    assert_eq!((request.text(), request.one("content-length").unwrap()), (body(&theirs), body(&theirs).len().to_string().as_str()));
    assert_eq!((request.one("content-md5"), request.one("if-match")), (None, Some("\"1\"")));

    // Nothing to be changed: just as it came.
    let other = body("http://other.example");
    assert_eq!(call(&bench, "PUT", "/v1/x", &format!("{JSON}{digest}"), &other).await.status(), 200);
    let request = seen.last();
    assert_eq!((request.text(), request.one("content-length").unwrap()), (other.clone(), other.len().to_string().as_str()));
    assert_eq!(request.one("content-md5"), Some("x"));

    // What is no JSON or XML is not looked at, however it is called.
    let form = body(&ours);
    assert_eq!(call(&bench, "PUT", "/v1/x", "Content-Type: text/plain\r\n", &form).await.status(), 200);
    assert_eq!(seen.last().text(), form);

    // A large one goes through while it comes.
    let large = |url: &str| format!("[{}]", vec![body(url); 10_000].join(","));
    assert_eq!(call(&bench, "PUT", "/v1/x", JSON, large(&ours)).await.status(), 200);
    let request = seen.last();
    assert!(request.complete && request.text() == large(&theirs), "{} bytes", request.body.len());
    assert_eq!(request.one("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn known_and_off_send_bodies_as_they_came() {
    for mode in ["known", "off"] {
        let (peer, seen) = recorder(OK).await;
        let bench = Setup::new().set("upstream.rewrite_links", mode).api_at(peer.address).start().await;
        let body = format!(r#"{{"_Links":{{"Self":"{}/x"}}}}"#, ours(&bench));
        assert_eq!(call(&bench, "PUT", "/v1/x", JSON, &body).await.status(), 200);
        assert_eq!(seen.last().text(), body);
    }
}
