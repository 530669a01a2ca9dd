//! A client that follows links stays on the proxy, by whatever address it came.

use std::net::SocketAddr;

use serde_json::Value;

use super::JSON;
use crate::bench::{Bench, Setup, TENANT};
use crate::wire::{Message, ask};

/// A client and the address it was given.
struct Client {
    to: SocketAddr,
    /// What every link has to begin with, before `/api`.
    base: String,
    /// The path at the proxy that this stands for.
    path: &'static str,
    /// `Host` and whatever else it sends, or a front before the proxy.
    headers: String,
}

const PATH: &str = "/Cust12345";

impl Client {
    fn new(to: SocketAddr, base: impl Into<String>, path: &'static str, headers: &str) -> Client {
        Client { to, base: base.into(), path, headers: format!("{headers}\r\n") }
    }

    async fn call(&self, method: &str, url: &str, body: &str) -> Message {
        let rest = url.strip_prefix(&self.base).unwrap_or_else(|| panic!("{url} does not begin with {}", self.base));
        assert!(rest.starts_with("/api"), "{url}");
        let length = if body.is_empty() { String::new() } else { format!("{JSON}Content-Length: {}\r\n", body.len()) };
        let accept = "Accept: application/json\r\n";
        let answer = ask(self.to, format!("{method} {}{rest} HTTP/1.1\r\n{}{accept}{length}\r\n{body}", self.path, self.headers)).await;
        assert!((200..300).contains(&answer.status()), "{url}: {answer:?}");
        answer
    }

    async fn get(&self, url: &str) -> Value {
        self.call("GET", url, "").await.json()
    }

    /// Everywhere that links lead to, from the address alone.
    async fn tour(&self) {
        let listing = self.get(&format!("{}/api", self.base)).await;
        let v1 = listing["v1"].as_str().unwrap();
        assert_eq!(v1, format!("{}/api/v1/", self.base));

        let (mut page, mut rows, mut pages) = (format!("{v1}Archive/Contact?$top=25&$select=name"), 0, 0);
        loop {
            let list = self.get(&page).await;
            assert!(list["odata.metadata"].as_str().unwrap().starts_with(v1), "{list}");
            (rows, pages) = (rows + list["value"].as_array().unwrap().len(), pages + 1);
            match list["odata.nextLink"].as_str() {
                Some(next) => next.clone_into(&mut page),
                None => break,
            }
        }
        assert_eq!((rows, pages), (60, 3));

        for path in ["Contact/3", "Person/7"] {
            let links = self.get(&format!("{v1}{path}")).await["_Links"].clone();
            assert_eq!(links["Self"], format!("{v1}{path}"));
            for link in links.as_object().unwrap().values() {
                self.get(link.as_str().unwrap()).await;
            }
        }

        let made = self.call("POST", &format!("{v1}Contact"), r#"{"Name":"New"}"#).await;
        let place = made.one("location").unwrap();
        assert_eq!(self.get(place).await["Name"], "New");
        let changed = self.call("PUT", place, r#"{"Name":"Newer"}"#).await;
        let place = changed.one("content-location").unwrap();
        assert_eq!(self.get(place).await["Name"], "Newer");
        assert_eq!(self.call("DELETE", place, "").await.status(), 204);
    }
}

fn host(host: impl std::fmt::Display) -> String {
    format!("Host: {host}")
}

async fn tour_all(clients: impl IntoIterator<Item = Client>) {
    for client in clients {
        client.tour().await;
    }
}

#[tokio::test]
async fn by_path_host_listener_and_default() {
    let bench = Setup::new().set("listen.default_tenant", TENANT).set("listen.hosts", "soproxy").listener(TENANT).start().await;
    let (proxy, door) = (bench.proxy, bench.doors[0]);
    let port = proxy.port();
    tour_all([
        Client::new(proxy, format!("http://{proxy}{PATH}"), PATH, &host(proxy)),
        Client::new(proxy, format!("http://localhost:{port}{PATH}"), PATH, &host(format!("localhost:{port}"))),
        Client::new(proxy, format!("http://localhost:{port}/cUST12345"), "/cUST12345", &host(format!("localhost:{port}"))),
        Client::new(proxy, format!("http://soproxy{PATH}"), PATH, &host("soproxy")),
        Client::new(proxy, format!("http://cust12345.localhost:{port}"), "", &host(format!("cust12345.localhost:{port}"))),
        Client::new(proxy, "http://cust12345.soproxy", "", &host("cust12345.soproxy")),
        Client::new(proxy, format!("http://{proxy}"), "", &host(proxy)),
        Client::new(door, format!("http://{door}"), "", &host(door)),
        Client::new(door, format!("http://{door}{PATH}"), PATH, &host(door)),
    ])
    .await;
}

#[tokio::test]
async fn by_a_public_address() {
    let mut setup = Setup::new().set("listen.public_url", "https://crm.example.com/so/").set("listen.trusted_proxies", "127.0.0.1");
    setup.more += &format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntenant = \"{TENANT}\"\n");
    setup.more += &format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntenant = \"{TENANT}\"\npublic_url = \"https://cust.example.com\"\n");
    let bench = setup.start().await;
    let [plain, named] = bench.doors[..] else { panic!("{:?}", bench.doors) };
    let public = format!("https://crm.example.com/so{PATH}");
    let forwarded = "Host: localhost\r\nX-Forwarded-Host: other.example.com\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /other";
    tour_all([
        Client::new(bench.proxy, &public, PATH, &host(bench.proxy)),
        Client::new(bench.proxy, &public, PATH, forwarded),
        Client::new(bench.proxy, &public, PATH, &host("cust12345.localhost")),
        Client::new(plain, &public, PATH, &host(plain)),
        Client::new(named, "https://cust.example.com", "", &host(named)),
        Client::new(named, "https://cust.example.com", "", forwarded),
    ])
    .await;
}

const FORWARDED: &str = "X-Forwarded-Host: crm.example.com\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /so/";

fn forwarded(bench: &Bench, lines: &str) -> String {
    format!("Host: {}\r\n{lines}", bench.proxy)
}

#[tokio::test]
async fn by_what_a_trusted_proxy_was_called() {
    let bench = Setup::new().set("listen.trusted_proxies", "10.0.0.0/8, 127.0.0.0/8").listener(TENANT).start().await;
    let (proxy, door) = (bench.proxy, bench.doors[0]);
    let two = "X-Forwarded-Host: a.example.com:8443, b.example.com\r\nX-Forwarded-Proto: https, http\r\nX-Forwarded-For: 1.2.3.4";
    tour_all([
        Client::new(proxy, format!("https://crm.example.com/so{PATH}"), PATH, &forwarded(&bench, FORWARDED)),
        Client::new(proxy, format!("https://{proxy}{PATH}"), PATH, &forwarded(&bench, "X-Forwarded-Proto: https")),
        Client::new(proxy, format!("https://a.example.com:8443{PATH}"), PATH, &forwarded(&bench, two)),
        Client::new(proxy, format!("http://{proxy}{PATH}"), PATH, &forwarded(&bench, "X-Forwarded-Host: a b\"\r\nX-Forwarded-Proto: ftp")),
        Client::new(door, "https://crm.example.com/so", "", &forwarded(&bench, FORWARDED)),
    ])
    .await;
}

#[tokio::test]
async fn what_an_untrusted_one_says_is_not_believed() {
    for trusted in ["", "10.0.0.0/8"] {
        let setup = if trusted.is_empty() { Setup::new() } else { Setup::new().set("listen.trusted_proxies", trusted) };
        let bench = setup.start().await;
        Client::new(bench.proxy, format!("http://{}{PATH}", bench.proxy), PATH, &forwarded(&bench, FORWARDED)).tour().await;
    }
}
