//! Headers on their way in and out: credentials, cookies, hop-by-hop, `Via`, `X-Forwarded-*`, `X-Request-Id`.

use http::Request;
use soproxy::sandbox::demo;

use crate::bench::{Bench, Setup, TENANT};
use crate::wire::{OK, Wire, ask, recorder};

/// Headers for one answer of a recording peer.
fn answer_with(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok")
}

#[tokio::test]
async fn a_bare_request_gets_credentials_and_via_and_nothing_else() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    Wire::to(bench.proxy).await.get("/v1/x", "").await;
    let request = seen.last();
    // No Accept-Language above all: without one SuperOffice does not translate, and that is on purpose.
    assert_eq!(request.names(), ["authorization", "host", "so-apptoken", "via"]);
    assert!(request.one("authorization").is_some_and(|ticket| ticket.starts_with("SOTicket 7T:")), "{request:?}");
    assert_eq!(request.one("so-apptoken"), Some(demo::CLIENT_SECRET));
    assert_eq!(request.one("host"), Some(peer.address.to_string().as_str()));
    assert_eq!(request.one("via"), Some("1.1 soproxy"));
}

#[tokio::test]
async fn a_bare_answer_gets_via_an_id_and_a_date_and_nothing_else() {
    let (peer, _) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer = Wire::to(bench.proxy).await.get("/v1/x", "").await;
    assert_eq!(answer.names(), ["content-length", "date", "via", "x-request-id"]);
}

#[tokio::test]
async fn a_callers_language_and_everything_else_of_its_own_passes() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let own = "Accept-Language: nb\r\nSO-Language: *\r\nAccept: application/json;odata=verbose\r\nUser-Agent: Legacy/1.0\r\nIf-Match: \"7\"\r\n\
               X-HTTP-Method-Override: MERGE\r\nRange: bytes=0-9\r\nAccept-Encoding: gzip\r\nSO-TimeZone: 42\r\nReferer: http://x/\r\n";
    Wire::to(bench.proxy).await.get("/v1/x", own).await;
    let request = seen.last();
    for line in own.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(request.one(name), Some(value));
    }
}

#[tokio::test]
async fn credentials_of_the_caller_are_replaced_and_never_merged() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let sandboxed = Bench::start().await;
    for theirs in [
        "Authorization: Basic dXNlcjpwYXNz\r\n",
        "authorization: Bearer theirs\r\nAUTHORIZATION: SOTicket 7T:theirs\r\n",
        "SO-AppToken: theirs\r\n",
        "so-apptoken: theirs\r\nSO-APPTOKEN: theirs\r\n",
        "SO_AppToken: theirs\r\n",
        "so_apptoken: theirs\r\nSo_Apptoken: theirs\r\n",
        "Connection: authorization, so-apptoken\r\n",
        "Connection: SO-AppToken\r\nConnection: Authorization, via\r\nSO_APPTOKEN: theirs\r\n",
        "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n",
    ] {
        assert_eq!(Wire::to(bench.proxy).await.get("/v1/x", theirs).await.status(), 200);
        let request = seen.last();
        assert_eq!(request.names(), ["authorization", "host", "so-apptoken", "via"], "{theirs}");
        assert_eq!(request.one("so-apptoken"), Some(demo::CLIENT_SECRET));
        assert!(!format!("{request:?}").contains("theirs"), "{request:?}");
        // The sandbox joins repeated headers and takes `_` for `-`, as IIS does: anything left over is a 401 there.
        let answer = Wire::to(sandboxed.proxy).await.get("/v1/_sandbox/echo", theirs).await;
        assert_eq!(answer.status(), 200, "{theirs}");
    }
    assert_eq!(sandboxed.sandbox.control().counters().unauthorized, 0);
}

#[tokio::test]
async fn each_tenant_gets_its_own_applications_credentials() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("tenants.Cust54321.api_url", &format!("http://{}/b", peer.address)).start().await;
    Wire::to(bench.proxy).await.get("/v1/x", "").await;
    ask(bench.proxy, "GET /Cust54321/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let all = seen.all();
    assert_eq!(all[0].one("so-apptoken"), Some(demo::CLIENT_SECRET));
    assert_eq!(all[1].one("so-apptoken"), Some(demo::SECOND_CLIENT_SECRET));
    assert_ne!(all[0].one("authorization"), all[1].one("authorization"));
}

#[tokio::test]
async fn hop_by_hop_headers_of_a_request_end_here() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let theirs = "Connection: keep-alive, X-Mine ,, Accept-Charset\r\nConnection: x-other\r\nX-Mine: 1\r\nX-Other: 2\r\nAccept-Charset: utf-8\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X-T\r\nUpgrade: websocket\r\n\
                  Proxy-Authenticate: Basic\r\nX-Kept: yes\r\n";
    assert_eq!(Wire::to(bench.proxy).await.get("/v1/x", theirs).await.status(), 200);
    assert_eq!(seen.last().names(), ["authorization", "host", "so-apptoken", "trailer", "via", "x-kept"]);
}

#[tokio::test]
async fn hop_by_hop_headers_of_an_answer_end_here() {
    let theirs = "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers2\r\n\
                  Trailer: X-T\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\nAlt-Svc: h3=\":443\"\r\nX-Soproxy-Error: unknown_tenant\r\n\
                  X-Kept: yes\r\n";
    let (peer, _) = recorder(&answer_with(theirs)).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer = Wire::to(bench.proxy).await.get("/v1/x", "").await;
    assert_eq!(answer.status(), 200);
    // X-Soproxy-Error among them: only our own answers may carry it.
    assert_eq!(answer.names(), ["content-length", "date", "trailer", "via", "x-kept", "x-request-id"]);
}

#[tokio::test]
async fn session_cookies_pass_in_neither_direction() {
    let theirs = "Set-Cookie: SOOnline=abc; path=/; HttpOnly\r\nSet-Cookie: mine=1; Path=/\r\nSet-Cookie: ARRAffinity=x;Path=/\r\n\
                  Set-Cookie: ARRAffinitySameSite=y;Path=/\r\nset-cookie: SOOnlineTheme=dark\r\nSet-Cookie: soonline=z\r\n";
    let (peer, seen) = recorder(&answer_with(theirs)).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let cookies = "Cookie: a=1; SOOnline=x; b=2; ARRAffinity=y;ARRAffinitySameSite=z; c=SOOnline\r\nCookie: ARRAffinity=q\r\n";
    let answer = Wire::to(bench.proxy).await.get("/v1/x", cookies).await;
    assert_eq!(answer.all("set-cookie"), ["mine=1; Path=/", "SOOnlineTheme=dark"]);
    assert_eq!(seen.last().all("cookie"), ["a=1; b=2; c=SOOnline"]);
    Wire::to(bench.proxy).await.get("/v1/x", "Cookie: SOOnline=x\r\n").await;
    assert!(seen.last().all("cookie").is_empty());
    Wire::to(bench.proxy).await.get("/v1/x", "Cookie: a=1;  b=\"2\"\r\n").await;
    assert_eq!(seen.last().all("cookie"), ["a=1;  b=\"2\""], "what holds none of them keeps its bytes");
}

#[tokio::test]
async fn via_is_appended_both_ways() {
    let (peer, seen) = recorder(&answer_with("Via: 1.0 arr\r\n")).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer = Wire::to(bench.proxy).await.get("/v1/x", "Via: 1.1 before\r\n").await;
    assert_eq!(seen.last().all("via"), ["1.1 before", "1.1 soproxy"]);
    assert_eq!(answer.all("via"), ["1.0 arr", "1.1 soproxy"]);
}

const FORWARDED: &str = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /x\r\n\
                         X_Forwarded_For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n";

#[tokio::test]
async fn x_forwarded_of_the_caller_is_dropped_and_none_is_added() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    Wire::to(bench.proxy).await.get("/v1/x", FORWARDED).await;
    assert_eq!(seen.last().names(), ["authorization", "host", "so-apptoken", "via"]);
}

#[tokio::test]
async fn x_forwarded_of_our_own_is_added_when_configured() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).set("upstream.forwarded", "true").start().await;
    Wire::to(bench.proxy).await.get("/v1/x", FORWARDED).await;
    let request = seen.last();
    assert_eq!(request.one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.one("x-forwarded-host"), Some("localhost"));
    assert_eq!(request.one("x-forwarded-proto"), Some("http"));
    assert_eq!(request.headers.iter().filter(|(name, _)| name.to_lowercase().contains("forwarded")).count(), 3);
}

#[tokio::test]
async fn repeated_headers_keep_their_order_both_ways() {
    let (peer, seen) = recorder(&answer_with("X-A: 1\r\nX-B: b\r\nX-A: 2\r\nWarning: 199 - \"x\"\r\nX-A: 3\r\nX-Empty:\r\n")).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer =
        Wire::to(bench.proxy).await.get("/v1/x", "Accept: a\r\nX-Other: o\r\nAccept: b;q=0.5\r\nAccept: c, d\r\nX-Empty:\r\n").await;
    assert_eq!(seen.last().all("accept"), ["a", "b;q=0.5", "c, d"]);
    assert_eq!(seen.last().all("x-empty"), [""]);
    assert_eq!(answer.all("x-a"), ["1", "2", "3"]);
    assert_eq!(answer.all("x-empty"), [""]);
}

#[tokio::test]
async fn status_reason_and_body_of_upstream_pass_as_they_are() {
    for (status, body) in
        [(200, "ok"), (201, "{}"), (202, ""), (400, "{\"Message\":\"x\"}"), (403, "no"), (404, ""), (409, "c"), (500, "e"), (503, "IIS")]
    {
        let (peer, _) =
            recorder(&format!("HTTP/1.1 {status} Reason\r\nContent-Type: text/odd\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let answer = Wire::to(bench.proxy).await.get("/v1/x", "").await;
        assert_eq!((answer.status(), answer.text().as_str(), answer.one("content-type")), (status, body, Some("text/odd")));
        assert_eq!(answer.error(), None, "upstream's own errors are not ours");
    }
    for status in [204, 304] {
        let (peer, _) = recorder(&format!("HTTP/1.1 {status} Reason\r\nETag: \"1\"\r\n\r\n")).await;
        let bench = Setup::new().api_at(peer.address).start().await;
        let mut wire = Wire::to(bench.proxy).await;
        for _ in 0..2 {
            let answer = wire.get("/v1/x", "").await;
            assert_eq!((answer.status(), answer.one("etag"), answer.one("content-length")), (status, Some("\"1\""), None));
        }
    }
}

#[tokio::test]
async fn a_request_id_of_the_callers_is_kept_when_it_is_short_and_plain() {
    let (peer, seen) = recorder(&answer_with("X-Request-Id: upstreams\r\n")).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let longest = "x".repeat(64);
    for good in ["1", "a-B_9", "0f8fad5b-d9cb-469f-a165-70867728950e", longest.as_str()] {
        let answer = Wire::to(bench.proxy).await.get("/v1/x", &format!("X-Request-Id: {good}\r\n")).await;
        assert_eq!(answer.one("x-request-id"), Some(good), "ours goes before upstream's");
        assert_eq!(seen.last().one("x-request-id"), Some(good));
    }
    let mut given = Vec::new();
    let too_long = "x".repeat(65);
    for bad in ["", "a b", "a.b", "a/b", "é", "<script>", too_long.as_str()] {
        let answer = Wire::to(bench.proxy).await.get("/v1/x", &format!("X-Request-Id: {bad}\r\n")).await;
        let id = answer.one("x-request-id").unwrap().to_owned();
        assert!(id != bad && id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{bad:?} gave {id:?}");
        given.push(id);
    }
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 7, "every request has an id of its own");
}

#[tokio::test]
async fn the_proxys_own_errors_have_the_request_id_too() {
    let bench = Bench::start().await;
    let request = Request::get("/nobody/api/v1/x").header("host", "localhost").header("x-request-id", "my-id");
    let answer = bench.send(request.body("".into()).unwrap()).await;
    assert_eq!(answer.headers["x-request-id"], "my-id");
    assert_eq!(answer.json()["request_id"], "my-id");
    let answer = ask(bench.proxy, format!("GET /{TENANT}/api/v1/x HTTP/1.1\r\nHost: evil.example\r\n\r\n")).await;
    assert_eq!(answer.json()["request_id"], answer.one("x-request-id").unwrap());
}

#[tokio::test]
async fn a_post_without_a_body_says_so() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    for (method, length) in [("POST", true), ("PUT", true), ("PATCH", true), ("GET", false), ("DELETE", false)] {
        let answer = ask(bench.proxy, format!("{method} /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status(), 200);
        let request = seen.last();
        assert_eq!(request.all("content-length"), if length { vec!["0"] } else { vec![] }, "{method}");
    }
}
