//! Keys and rules change with a reload, for connections that are open as well; and clients take turns.

use http::Request;

use super::{Door, FINE, FORBIDDEN, STRANGER, client, line, outcome};
use crate::bench::{Setup, collect};
use crate::h2;
use crate::peer::Stage;
use crate::wire::{Wire, request};

#[tokio::test]
async fn a_reload_changes_rules_for_a_connection_that_is_open() {
    let (key, table) = client("erp", "");
    let mut door = Door::with(&table).await;
    let key = line(&key);
    let mut wire = Wire::to(door.bench.proxy).await;
    assert_eq!(outcome(&wire.get("/v1/x", &key).await), FINE);
    for (rules, expected) in
        [("deny = [\"* /**\"]", FORBIDDEN), ("read_only = true", FINE), ("tenants = [\"Cust54321\"]", FORBIDDEN), ("", FINE)]
    {
        door.reload(&format!("{table}{rules}\n"));
        assert_eq!(outcome(&wire.get("/v1/x", &key).await), expected, "{rules}");
    }
}

#[tokio::test]
async fn one_key_replaces_another_and_a_revoked_one_opens_nothing() {
    let ((old, _), (new, _)) = (client("erp", ""), client("erp", ""));
    let both = format!("[clients.erp]\nkeys = [\"{}\", \"{}\"]\n", old.hash(), new.hash());
    let mut door = Door::with(&both).await;
    let mut wire = Wire::to(door.bench.proxy).await;
    let mut caller = h2::caller(door.bench.proxy).await;
    for key in [&old, &new] {
        assert_eq!(outcome(&wire.get("/v1/x", &line(key)).await), FINE);
    }
    assert_eq!(door.records.nth(2).await["client"], "erp");
    let mut over_http2 = async |key: &str| {
        let request = Request::get(h2::uri(door.bench.proxy, "/api/v1/x")).header("x-api-key", key).body(h2::whole("")).unwrap();
        collect(caller.send_request(request).await.unwrap()).await.status
    };
    assert_eq!(over_http2(old.expose()).await, 200);
    let one = format!("[clients.erp]\nkeys = [\"{}\"]\n", new.hash());
    door.bench.more = one;
    door.bench.live.apply(door.bench.config_with(&[])).unwrap();
    assert_eq!(over_http2(old.expose()).await, 401);
    assert_eq!(over_http2(new.expose()).await, 200);
    assert_eq!(outcome(&wire.get("/v1/x", &line(&old)).await), STRANGER);
    assert_eq!(outcome(&wire.get("/v1/x", &line(&new)).await), FINE);
    // The client goes, and with it whatever it may.
    let (_, another) = client("ci", "");
    door.reload(&another);
    assert_eq!(outcome(&wire.get("/v1/x", &line(&new)).await), STRANGER);
}

#[tokio::test]
async fn the_first_client_closes_the_door_to_others_and_the_last_opens_it() {
    let (key, table) = client("erp", "");
    let mut door = Door::with("").await;
    let mut wire = Wire::to(door.bench.proxy).await;
    assert_eq!(outcome(&wire.get("/v1/x", "").await), FINE);
    door.reload(&table);
    assert_eq!(outcome(&wire.get("/v1/x", "").await), STRANGER);
    assert_eq!(outcome(&wire.get("/v1/x", &line(&key)).await), FINE);
    door.reload("");
    assert_eq!(outcome(&wire.get("/v1/x", "").await), FINE);
}

#[tokio::test]
async fn a_listener_that_others_reach_stays_closed_to_those_without_a_name() {
    let (key, table) = client("erp", "");
    let mut door = Door::of(Setup::new().set("listen.address", "0.0.0.0:0"), &table).await;
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], door.bench.proxy.port()));
    // The addresses of the new settings are for the next start; those that are bound are what counts until then.
    for (tables, changes) in [
        ("", &[("listen.address", "127.0.0.1:0")][..]),
        (&*format!("{table}[anonymous]\n"), &[("listen.address", "127.0.0.1:0")]),
        (&*table, &[("listen.address", "127.0.0.1:0"), ("listen.policy", "report")]),
    ] {
        door.bench.more = tables.to_owned();
        let applied = door.bench.live.apply(door.bench.config_with(changes));
        assert!(applied.is_err(), "{tables} {changes:?}");
        assert_eq!(outcome(&crate::wire::ask(to, request("GET", "/v1/x", "")).await), STRANGER);
        assert_eq!(outcome(&crate::wire::ask(to, request("GET", "/v1/x", &line(&key))).await), FINE);
    }
    // Whoever says that it is meant gets it.
    door.bench.more = String::new();
    let meant = [("listen.address", "127.0.0.1:0"), ("listen.insecure_allow_anonymous", "true")];
    door.bench.live.apply(door.bench.config_with(&meant)).unwrap();
    assert_eq!(outcome(&crate::wire::ask(to, request("GET", "/v1/x", "")).await), FINE);
}

#[tokio::test]
async fn clients_at_one_address_take_turns() {
    let stage = Stage::new().await;
    let ((greedy, first), (modest, second)) = (client("greedy", ""), client("modest", ""));
    let mut setup = Setup::new().api_at(stage.address).set("upstream.max_concurrent", "1");
    setup.more += &(first + &second);
    let bench = setup.start().await;
    let mut wires = Vec::new();
    for (number, key) in [&greedy, &greedy, &greedy, &greedy, &modest].into_iter().enumerate() {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(request("GET", &format!("/v1/{number}"), &line(key))).await;
        wires.push(wire);
        crate::citizen::calls::pause().await;
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        let (mut up, asked) = stage.request().await;
        order.push(asked.first.split(' ').nth(1).and_then(|target| target.rsplit('/').next()?.parse::<usize>().ok()).unwrap());
        up.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    }
    for wire in &mut wires {
        assert_eq!(wire.answer().await.status(), 200);
    }
    assert!(
        order.iter().position(|number| *number == 4).unwrap() <= 2,
        "whoever came last, but is alone, does not wait for all: {order:?}"
    );
}
