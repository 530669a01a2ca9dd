//! `tenants`: whoever may not use them all does not learn which ones there are.

use super::{Door, FINE, FORBIDDEN, OTHER, Records, client, line, outcome, recorded, told};
use crate::bench::{Bench, Setup, TENANT};
use crate::wire::{Message, ask};

async fn get(bench: &Bench, path: &str, host: &str, headers: &str) -> Message {
    ask(bench.proxy, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")).await
}

/// Two tenants; the client may use the first.
async fn bench(setup: Setup) -> (Bench, Records, String) {
    let (key, table) = client("erp", &format!("tenants = [\"{}\"]", TENANT.to_ascii_lowercase()));
    let (bench, records) = recorded(setup, &table).await;
    (bench, records, line(&key))
}

#[tokio::test]
async fn its_own_tenant_is_served_however_it_is_addressed() {
    let (bench, _, key) = bench(Setup::new()).await;
    for (path, host) in [
        ("/Cust12345/api/v1/_sandbox/echo", "localhost"),
        ("/CUST12345/api/v1/_sandbox/echo", "localhost"),
        ("/api/v1/_sandbox/echo", "cust12345.localhost"),
        ("/api/state/Cust12345", "localhost"),
        ("/api/state/cust12345", "CUST12345.localhost"),
    ] {
        assert_eq!(get(&bench, path, host, &key).await.status(), 200, "{path} {host}");
    }
}

#[tokio::test]
async fn a_forbidden_tenant_and_one_that_does_not_exist_are_answered_the_same() {
    let (bench, records, key) = bench(Setup::new()).await;
    let nobody = "Cust99999";
    let paths = [
        "/{}/api/v1/Contact/1",
        "/{}/api",
        "/{}/api/",
        "/{}",
        "/{}/",
        "/{}/secret",
        "/{}/CS/x",
        "/{}/Remote/Services88/Contact.svc",
        "/{}/Remote/Services88/Contact.svc?wsdl",
        "/{}/~sod.superoffice.com/{}/api/v1/x",
        "/{}/~sod.superoffice.com/Cust12345/api/v1/x",
        "/Cust12345/~sod.superoffice.com/{}/api/v1/x",
        "/~sod.superoffice.com/{}/api/v1/x",
        "/api/state/{}",
        "/api/state/{}/",
        "/{}/api/state/{}",
        "/{}/api/../x",
    ];
    for path in paths {
        let known = get(&bench, &path.replace("{}", OTHER), "localhost", &key).await;
        let unknown = get(&bench, &path.replace("{}", nobody), "localhost", &key).await;
        assert_eq!(told(&known).0, told(&unknown).0, "{path}");
        assert_eq!(told(&known), told(&unknown), "{path}");
        assert!(known.status() >= 400, "{path}");
    }
    for path in ["/api/v1/x", "/api/state/{}", "/{}/api/v1/x", "/Cust12345/api/v1/x", "/x"] {
        let host = |name: &str| format!("{name}.localhost");
        let known = get(&bench, &path.replace("{}", OTHER), &host(OTHER), &key).await;
        let unknown = get(&bench, &path.replace("{}", nobody), &host(nobody), &key).await;
        assert_eq!(told(&known), told(&unknown), "{path} by its host");
        assert!(known.status() >= 400, "{path}");
    }
    // By any method: none is more talkative.
    for method in ["OPTIONS", "HEAD", "POST", "PROPFIND", "TRACE"] {
        let request = |name: &str| format!("{method} /{name}/api/v1/x HTTP/1.0\r\nHost: localhost\r\n{key}Content-Length: 0\r\n\r\n");
        let (known, unknown) = (bench.raw(&request(OTHER)).await, bench.raw(&request(nobody)).await);
        assert_eq!(known.lines().next(), unknown.lines().next(), "{method}");
    }
    let log = records.first(paths.len() * 2).await;
    for record in &log[..2] {
        assert_eq!((&record["refused_by"], &record["status"]), (&"tenants".into(), &403.into()), "{record}");
    }
}

#[tokio::test]
async fn a_listener_and_a_default_that_are_anothers_give_nothing_away() {
    let (bench, _, key) = bench(Setup::new().listener(OTHER).set("listen.default_tenant", OTHER)).await;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{key}\r\n");
    for path in [
        "/api/v1/x",
        "/Cust54321/api/v1/x",
        "/nobody/api/v1/x",
        "/Cust54321/secret",
        "/nobody/secret",
        "/api/state/Cust54321",
        "/secret",
        "/",
    ] {
        let answer = ask(bench.doors[0], request(path)).await;
        assert_eq!(outcome(&answer), FORBIDDEN, "{path}");
        assert_eq!(outcome(&ask(bench.proxy, request(path)).await), FORBIDDEN, "{path} where it is the default");
    }
    assert_eq!(ask(bench.proxy, request("/Cust12345/api/v1/_sandbox/echo")).await.status(), 200);
    assert_eq!(ask(bench.doors[0], request("/Cust12345/api/v1/_sandbox/echo")).await.status(), 403);
}

#[tokio::test]
async fn its_own_tenants_mistakes_are_explained() {
    let (bench, _, key) = bench(Setup::new()).await;
    for path in ["/Cust12345/secret", "/Cust12345/api/a%2fb", "/cust12345/CS"] {
        assert_eq!(outcome(&get(&bench, path, "localhost", &key).await), (400, "bad_target"), "{path}");
    }
    assert_eq!(outcome(&get(&bench, "/secret", "cust12345.localhost", &key).await).0, 403);
}

#[tokio::test]
async fn whoever_may_use_all_is_told_that_there_is_no_such_tenant() {
    let (key, table) = client("erp", "read_only = true");
    let door = Door::with(&table).await;
    let answer = get(&door.bench, "/nobody/api/v1/x", "localhost", &line(&key)).await;
    assert_eq!(outcome(&answer), (404, "unknown_tenant"));
    assert_eq!(outcome(&door.get("/v1/x", &line(&key)).await), FINE);
}

#[tokio::test]
async fn no_tenants_at_all_means_none() {
    let (key, table) = client("erp", "tenants = []");
    let door = Door::with(&table).await;
    assert_eq!(outcome(&door.get("/v1/x", &line(&key)).await), FORBIDDEN);
    assert_eq!(door.seen.count(), 0);
}
