//! API keys: where they may stand, whom they stand for, and what whoever has none gets.

use http::Request;

use super::{Door, FINE, STRANGER, basic, client, line, outcome, own_path};
use crate::bench::{Setup, collect};
use crate::h2;
use crate::logs::Logs;
use crate::wire::{Wire, request};
use soproxy::proxy::clients::ApiKey;

#[tokio::test]
async fn a_key_is_known_in_three_places_and_goes_nowhere() {
    let logs = Logs::capture();
    let (key, table) = client("erp", "");
    let door = Door::with(&table).await;
    let text = key.expose();
    let ways = [
        format!("Authorization: Bearer {text}\r\n"),
        format!("AUTHORIZATION: bearer   {text} \r\n"),
        format!("x-api-key: {text}\r\n"),
        basic("anybody", text),
        basic("", text),
        format!("Authorization: Bearer {text}\r\nX-Api-Key: {text}\r\n"),
        format!("X-Api-Key: {text}\r\nX-Api-Key: {text}\r\n"),
        format!("X-Api-Key: {text}\r\nX_Api_Key: {text}\r\nx-api_key: {text}\r\n"),
        format!("X-Api-Key: {text}\r\nAuthorization: Bearer of.another.kind\r\n"),
        format!("X-Api-Key: {text}\r\nConnection: x-api-key, authorization\r\n"),
    ];
    for (number, way) in ways.iter().enumerate() {
        assert_eq!(outcome(&door.get("/v1/x", way).await), FINE, "{way}");
        let sent = door.seen.last();
        assert!(sent.one("authorization").is_some_and(|ticket| ticket.starts_with("SOTicket ")), "{sent:?}");
        assert!(!format!("{sent:?}").contains("soproxy_"), "{sent:?}");
        assert!(!sent.names().iter().any(|name| name.replace('_', "-") == "x-api-key"), "{sent:?}");
        assert_eq!(door.records.nth(number + 1).await["client"], "erp");
    }
    // What stands behind a body is no less a header.
    let trailing = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\n{}Transfer-Encoding: chunked\r\nTrailer: x-api-key\r\n\r\n2\r\n{{}}\r\n0\r\nX-Api-Key: {text}\r\n\
         X_Api_Key: {text}\r\nAuthorization: Bearer {text}\r\n\r\n",
        own_path(),
        line(&key)
    );
    assert_eq!(outcome(&door.send(trailing).await), FINE);
    assert!(!format!("{:?}", door.seen.last().trailers).contains("soproxy_"), "{:?}", door.seen.last().trailers);
    door.records.first(ways.len() + 1).await;
    assert!(!door.records.text().contains(text) && !logs.text().contains(text), "the key stands in a log");
}

#[tokio::test]
async fn whoever_is_no_client_is_refused_and_nothing_goes_upstream() {
    let logs = Logs::capture();
    let ((key, erp), (other, ci)) = (client("erp", ""), client("ci", ""));
    let door = Door::with(&(erp + &ci)).await;
    let (text, wrong) = (key.expose(), ApiKey::random());
    let ways = [
        String::new(),
        line(&wrong),
        format!("Authorization: Bearer {}\r\n", wrong.expose()),
        basic("erp", wrong.expose()),
        // Two that contradict each other.
        format!("{}X-Api-Key: {}\r\n", line(&key), other.expose()),
        format!("Authorization: Bearer {text}\r\nX-Api-Key: {}\r\n", wrong.expose()),
        // At places where keys do not stand.
        basic(text, ""),
        basic("erp", "secret"),
        format!("X_Api_Key: {text}\r\n"),
        format!("Cookie: x-api-key={text}\r\n"),
        format!("Proxy-Authorization: Bearer {text}\r\n"),
        format!("Authorization: {text}\r\n"),
        format!("Authorization: SOTicket {text}\r\n"),
        // Nearly one.
        format!("X-Api-Key: {}\r\n", &text[..text.len() - 1]),
        format!("X-Api-Key: {text}A\r\n"),
        format!("X-Api-Key: {text}, {text}\r\n"),
        format!("X-Api-Key: {}\r\n", key.hash()),
        format!("X-Api-Key: {}\r\n", text.replace("soproxy_", "SOPROXY_")),
    ];
    for (number, way) in ways.iter().enumerate() {
        let answer = door.get("/v1/x", way).await;
        assert_eq!(outcome(&answer), STRANGER, "{way}");
        assert_eq!(answer.one("content-type"), Some("application/problem+json"));
        let challenges = answer.all("www-authenticate");
        assert_eq!(challenges, ["Bearer realm=\"soproxy\"", "Basic realm=\"soproxy\", charset=\"UTF-8\""]);
        let body = answer.json();
        assert_eq!((&body["status"], &body["code"]), (&401.into(), &"client_unauthenticated".into()));
        assert!(!answer.text().contains(text) && !answer.text().contains(wrong.expose()));
        let record = door.records.nth(number + 1).await;
        assert_eq!((&record["refused_by"], &record["client"]), (&"client".into(), &serde_json::Value::Null), "{record}");
    }
    let asked = door.get(&format!("/v1/x?x-api-key={text}"), "").await;
    assert_eq!(outcome(&asked), STRANGER);
    door.records.first(ways.len() + 1).await;
    assert_eq!(door.seen.count(), 0);
    for key in [&key, &wrong, &other] {
        assert!(!door.records.text().contains(key.expose()), "a key stands in the access log");
        assert!(!logs.warnings().join("\n").contains(key.expose()), "a key stands in the log");
    }
}

#[tokio::test]
async fn nothing_else_is_said_to_a_stranger() {
    let (_, table) = client("erp", "");
    let door = Door::of(Setup::new().set("listen.max_uri", "200").listener("Cust54321"), &table).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(300));
    let requests = [
        long.as_str(),
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /nobody/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /Cust12345/api/../x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /Cust12345/secret HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api/state/Cust12345 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api/state/nobody HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api/v1/x HTTP/1.1\r\nHost: Cust12345.localhost\r\n\r\n",
        "GET /api/v1/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /Cust12345/api/v1/x HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n",
        "OPTIONS /Cust12345/api/v1/x HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        "TRACE /Cust12345/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /Cust12345/api/v1/x HTTP/1.0\r\n\r\n",
        "POST /Cust12345/Remote/Services88/Contact.svc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    ];
    let first = door.get("/v1/x", "").await;
    for request in requests {
        let answer = door.send(request).await;
        assert_eq!(outcome(&answer), STRANGER, "{request}");
        let (mut shown, mut expected) = (answer.json(), first.json());
        (shown["request_id"], expected["request_id"]) = Default::default();
        assert_eq!(shown, expected, "{request}");
    }
    let bound = crate::wire::ask(door.bench.doors[0], "GET /api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(outcome(&bound), STRANGER, "at a listener with a tenant of its own");
    assert_eq!(door.seen.count(), 0);
}

#[tokio::test]
async fn each_of_pipelined_requests_is_judged_by_its_own_key() {
    let ((erp, first), (reader, second)) = (client("erp", ""), client("reader", "read_only = true"));
    let door = Door::with(&(first + &second)).await;
    let (full, less, wrong) = (line(&erp), line(&reader), line(&ApiKey::random()));
    let sent = [
        ("POST", full.as_str(), 200),
        ("GET", "", 401),
        ("POST", &less, 403),
        ("GET", &less, 200),
        ("GET", &wrong, 401),
        ("POST", "", 401),
        ("DELETE", &full, 200),
        ("DELETE", &less, 403),
    ];
    let mut wire = Wire::to(door.bench.proxy).await;
    let all: String = sent.iter().map(|(method, key, _)| request(method, "/v1/x", &format!("{key}Content-Length: 0\r\n"))).collect();
    wire.say(all).await;
    for (method, key, status) in sent {
        assert_eq!(wire.answer().await.status(), status, "{method} {key}");
    }
    assert_eq!(door.seen.count(), 3);
    let names: Vec<_> = door.records.first(8).await.iter().map(|record| record["client"].as_str().map(str::to_owned)).collect();
    let named = |name: &str| Some(name.to_owned());
    let expected = [named("erp"), None, named("reader"), named("reader"), None, None, named("erp"), named("reader")];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn each_stream_of_http2_is_judged_by_its_own_key() {
    let ((erp, first), (reader, second)) = (client("erp", ""), client("reader", "read_only = true"));
    let door = Door::with(&(first + &second)).await;
    let mut caller = h2::caller(door.bench.proxy).await;
    let mut answers = Vec::new();
    let wrong = ApiKey::random();
    for (key, method, status) in [
        (Some(&erp), "POST", 200),
        (None, "GET", 401),
        (Some(&reader), "POST", 403),
        (Some(&reader), "GET", 200),
        (Some(&wrong), "GET", 401),
    ] {
        let mut request = Request::builder().method(method).uri(h2::uri(door.bench.proxy, "/api/v1/x"));
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {}", key.expose()));
        }
        answers.push((caller.send_request(request.body(h2::whole("")).unwrap()), status));
    }
    for (answer, status) in answers {
        assert_eq!(collect(answer.await.unwrap()).await.status, status);
    }
    assert_eq!(door.seen.count(), 2);
}

#[tokio::test]
async fn a_client_as_old_as_http10_is_known_by_its_key() {
    let (key, table) = client("erp", "read_only = true");
    let door = Door::with(&table).await;
    let path = own_path();
    for (method, key, status) in
        [("GET", basic("old", key.expose()), 200), ("GET", line(&key), 200), ("POST", line(&key), 403), ("GET", String::new(), 401)]
    {
        let answer = door.send(format!("{method} {path} HTTP/1.0\r\n{key}Content-Length: 0\r\n\r\n")).await;
        assert_eq!(answer.status(), status, "{method} {key}");
    }
}

#[tokio::test]
async fn whoever_has_no_name_may_what_anonymous_says() {
    let (key, table) = client("erp", "");
    let door = Door::with(&(table + "[anonymous]\nallow = [\"GET /api/v1/User/currentPrincipal\"]\n")).await;
    let (allowed, other) = ("/v1/User/currentPrincipal", "/v1/Contact/1");
    assert_eq!(outcome(&door.get(allowed, "").await), FINE);
    assert_eq!(outcome(&door.get(other, "").await), super::FORBIDDEN);
    assert_eq!(outcome(&door.get(other, &line(&key)).await), FINE);
    // What other programs send is no key of ours, and goes nowhere.
    let foreign = "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\nX-Api-Key: of-another-product\r\n";
    assert_eq!(outcome(&door.get(allowed, foreign).await), FINE);
    assert!(!format!("{:?}", door.seen.last()).contains("another-product"));
    assert_eq!(outcome(&door.get(allowed, &line(&ApiKey::random())).await), STRANGER, "whoever sends a key means to be somebody");
    let records = door.records.first(5).await;
    let said = |key: &str| records.iter().filter_map(|record| record.get(key)?.as_str()).collect::<Vec<_>>();
    assert_eq!((said("client"), said("refused_by").len()), (vec!["erp"], 2), "{records:?}");
    assert!(said("refused_by").contains(&"allow"), "{records:?}");
}

#[tokio::test]
async fn an_empty_anonymous_lets_everybody_in_and_without_clients_anonymous_has_rules() {
    let (_, table) = client("erp", "");
    let open = Door::with(&(table + "[anonymous]\n")).await;
    assert_eq!(outcome(&open.write("DELETE", "/v1/Contact/1", "").await), FINE);
    let ruled = Door::with("[anonymous]\nread_only = true\n").await;
    assert_eq!(outcome(&ruled.get("/v1/x", "").await), FINE);
    assert_eq!(outcome(&ruled.write("DELETE", "/v1/x", "").await), super::FORBIDDEN);
    assert_eq!(outcome(&ruled.get("/v1/x", &line(&ApiKey::random())).await), FINE, "nobody has keys here");
    assert!(!format!("{:?}", ruled.seen.last()).contains("soproxy_"));
}

#[tokio::test]
async fn the_admin_listener_asks_for_no_key() {
    let (_, table) = client("erp", "");
    let door = Door::with(&table).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert!(matches!(door.bench.admin(path).await.status.as_u16(), 200 | 503), "{path}");
    }
}
