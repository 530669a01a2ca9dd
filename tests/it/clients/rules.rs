//! What a client may do: methods, paths, and how often.

use std::time::Duration;

use super::{Door, FINE, FORBIDDEN, client, line, outcome};
use crate::bench::Setup;
use crate::wire::begin;

#[tokio::test]
async fn who_reads_only_changes_nothing() {
    let (key, table) = client("erp", "read_only = true");
    let door = Door::with(&table).await;
    let key = line(&key);
    for method in ["GET", "OPTIONS"] {
        assert_eq!(outcome(&door.send(begin(method, "/v1/x", &format!("{key}\r\n"))).await), FINE, "{method}");
    }
    let read = door.seen.count();
    for method in ["POST", "PUT", "PATCH", "DELETE", "MERGE", "PROPFIND", "get", "QUERY"] {
        let answer = door.write(method, "/v1/x", &key).await;
        // A server may take `get` for GET.
        if method != "get" {
            assert_eq!(outcome(&answer), FORBIDDEN, "{method}");
        }
    }
    let read = read + usize::from(door.seen.count() > read);
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override", "x-http_method"] {
        for value in ["DELETE", "delete", " POST", "GET, DELETE", ""] {
            let answer = door.get("/v1/x", &format!("{key}{name}: {value}\r\n")).await;
            assert_eq!(outcome(&answer), FORBIDDEN, "{name}: {value}");
        }
        assert_eq!(outcome(&door.write("POST", "/v1/x", &format!("{key}{name}: GET\r\n")).await), FORBIDDEN, "{name}");
    }
    let two = format!("{key}X-HTTP-Method: GET\r\nX-HTTP-Method: DELETE\r\n");
    assert_eq!(outcome(&door.get("/v1/x", &two).await), FORBIDDEN);
    let soap = format!("POST /Cust12345/Remote/Services88/Contact.svc HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: 0\r\n\r\n");
    assert_eq!(outcome(&door.send(soap).await), FORBIDDEN);
    assert_eq!(door.seen.count(), read);
}

#[tokio::test]
async fn who_reads_only_gets_no_tunnel() {
    let ((reader, first), (writer, second)) = (client("reader", "read_only = true"), client("writer", ""));
    let door = Door::with(&(first + &second)).await;
    let wish = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    door.get("/hub", &(line(&reader) + wish)).await;
    let sent = door.seen.last();
    assert_eq!((sent.one("upgrade"), sent.one("connection")), (None, None), "{sent:?}");
    door.get("/hub", &(line(&writer) + wish)).await;
    assert_eq!(door.seen.last().one("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn what_is_allowed_and_not_denied_passes() {
    let rules = "allow = [\"GET /api/v1/**\", \"POST /api/v1/Agents/*/Get*\", \"* /Remote/Services88/Contact.svc\"]\n\
                 deny = [\"GET,HEAD /api/v1/Person/**\", \"* /**/Secret*\"]";
    let (key, table) = client("erp", rules);
    let door = Door::with(&table).await;
    let key = line(&key);
    let cases = [
        ("GET", "/v1/Contact/1", ""),
        ("GET", "/V1/contact/1?x=/Person/1", ""),
        ("OPTIONS", "/v1/Contact", "allow"),
        ("DELETE", "/v1/Contact/1", "allow"),
        ("POST", "/v1/Agents/Contact/GetContactEntity", ""),
        ("POST", "/v1/agents/contact/getcontactentity", ""),
        ("POST", "/v1/Agents/Contact/SaveContactEntity", "allow"),
        ("POST", "/v1/Agents/Contact/x/GetContactEntity", "allow"),
        ("GET", "/v1/Person/1", "deny \"GET,HEAD /api/v1/Person/**\""),
        ("GET", "/v1/%50erson/1", "deny \"GET,HEAD /api/v1/Person/**\""),
        ("GET", "/v1//PERSON/1", "deny \"GET,HEAD /api/v1/Person/**\""),
        ("GET", "/v1/Contact/secretary", "deny \"* /**/Secret*\""),
        ("GET", "/v2/Contact/1", "allow"),
        ("GET", "", "allow"),
    ];
    let mut passed = 0;
    for (number, (method, rest, rule)) in cases.into_iter().enumerate() {
        let answer = door.send(begin(method, rest, &format!("{key}Content-Length: 0\r\n\r\n"))).await;
        assert_eq!(outcome(&answer), if rule.is_empty() { FINE } else { FORBIDDEN }, "{method} {rest}");
        passed += usize::from(rule.is_empty());
        assert_eq!(door.seen.count(), passed, "{method} {rest}");
        let record = door.records.nth(number + 1).await;
        assert_eq!(record.get("refused_by").and_then(|rule| rule.as_str()).unwrap_or_default(), rule, "{method} {rest}");
        if !rule.is_empty() {
            assert_eq!(answer.one("content-type"), Some("application/problem+json"));
            assert!(!answer.text().contains("deny") && !answer.text().contains("Person"), "the rule is for the log: {}", answer.text());
        }
    }
    for target in ["/v1/Contact/../Person/1", "/v1/Contact/%2e%2e/Person/1", "/v1/%2550erson/1", "/v1/x;/Person", "/v1/a%2fPerson/1"] {
        assert_eq!(outcome(&door.get(target, &key).await), (400, "bad_target"), "{target}");
    }
    for name in ["X-Original-URL", "X-Rewrite-Url"] {
        let answer = door.get("/v1/Contact/1", &format!("{key}{name}: /Cust12345/api/v1/Person/1\r\n")).await;
        assert_eq!(outcome(&answer), FORBIDDEN, "{name}");
    }
    assert_eq!(door.seen.count(), passed);
}

#[tokio::test]
async fn what_is_allowed_goes_upstream_byte_for_byte() {
    let (key, table) = client("erp", "allow = [\"GET /api/v1/**\"]");
    let door = Door::with(&table).await;
    let rest = "/V1//Contact/%24x%41?$filter=name%20eq%20'a/b'";
    assert_eq!(outcome(&door.get(rest, &line(&key)).await), FINE);
    assert_eq!(door.seen.last().first, format!("GET /Cust12345/api{rest} HTTP/1.1"));
}

#[tokio::test]
async fn more_calls_than_a_clients_rate_are_told_when_to_come_back() {
    let ((erp, first), (ci, second), (free, third)) = (client("erp", "rate = 2"), client("ci", "rate = 0.1"), client("free", ""));
    let (setup, hand) = Setup::new().manual_clock();
    let door = Door::of(setup, &(first + &second + &third + "[anonymous]\nrate = 1\n")).await;
    let (erp, ci, free) = (line(&erp), line(&ci), line(&free));
    for _ in 0..2 {
        assert_eq!(outcome(&door.get("/v1/x", &erp).await), FINE);
    }
    let refused = door.get("/v1/x", &erp).await;
    assert_eq!(outcome(&refused), (429, "client_rate_exceeded"));
    assert_eq!(refused.one("retry-after"), Some("1"));
    assert_eq!(door.records.nth(3).await["refused_by"], "rate");
    // Each has its own, and those without a name share one.
    assert_eq!(outcome(&door.get("/v1/x", &ci).await), FINE);
    assert_eq!(door.get("/v1/x", &ci).await.one("retry-after"), Some("10"));
    assert_eq!(outcome(&door.get("/v1/x", "").await), FINE);
    assert_eq!(door.get("/v1/x", "").await.status(), 429);
    for _ in 0..5 {
        assert_eq!(outcome(&door.get("/v1/x", &free).await), FINE);
    }
    let before = door.seen.count();
    hand.advance(Duration::from_millis(500));
    assert_eq!(outcome(&door.get("/v1/x", &erp).await), FINE);
    assert_eq!(door.get("/v1/x", &erp).await.status(), 429);
    assert_eq!(door.seen.count(), before + 1);
}

#[tokio::test]
async fn what_a_rule_refuses_does_not_count_against_the_rate() {
    let (key, table) = client("erp", "rate = 1\nread_only = true");
    let (setup, _hand) = Setup::new().manual_clock();
    let door = Door::of(setup, &table).await;
    for _ in 0..3 {
        assert_eq!(outcome(&door.write("POST", "/v1/x", &line(&key)).await), FORBIDDEN);
    }
    assert_eq!(outcome(&door.get("/v1/x", &line(&key)).await), FINE);
}

#[tokio::test]
async fn what_is_cached_obeys_the_rules_as_well() {
    let (all, first) = client("all", "");
    let (some, second) = client("some", "deny = [\"GET /api/v1/MDOList/**\"]");
    let (slow, third) = client("slow", "rate = 0.01");
    let tables = first + &second + &third + "[[cache]]\npaths = [\"/api/v1/MDOList/*\"]\nttl = \"10m\"\n";
    let door = Door::with(&tables).await;
    let list = "/v1/MDOList/category";
    assert_eq!(outcome(&door.get(list, &line(&all)).await), FINE);
    let hit = door.get(list, &line(&all)).await;
    assert!(hit.one("cache-status").is_some_and(|said| said.contains("hit")), "{hit:?}");
    for spelling in [list, "/v1/mdolist/category", "/v1/MDOList//category"] {
        let refused = door.get(spelling, &line(&some)).await;
        assert_eq!((outcome(&refused), refused.one("cache-status")), (FORBIDDEN, None), "{spelling}");
    }
    assert_eq!(outcome(&door.get(list, "").await), super::STRANGER);
    assert_eq!(outcome(&door.get(list, &line(&slow)).await), FINE);
    assert_eq!(door.get(list, &line(&slow)).await.status(), 429);
    assert_eq!(door.seen.count(), 1);
}
