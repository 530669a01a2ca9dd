//! The way of a request: which targets go where, and in which versions of HTTP.

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use soproxy::sandbox::JwtFault;
use tokio::net::TcpStream;

use crate::bench::{Bench, Setup, TENANT};
use crate::wire::{OK, Wire, ask, recorder};

#[tokio::test]
async fn a_plain_request_becomes_an_authenticated_one() {
    let bench = Bench::start().await;
    let answer = bench.get("/api/v1/User/currentPrincipal").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["DatabaseContextIdentifier"], TENANT);
    assert_eq!(answer.headers["via"], "1.1 soproxy");
    assert!(!answer.headers.contains_key("set-cookie"), "SuperOffice's session cookies stay here");
}

#[tokio::test]
async fn any_method_goes_through_with_its_body() {
    let bench = Bench::start().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "MERGE", "X-ODD"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let echo = bench.echo(Request::builder().method(method.clone()), "body").await;
        assert_eq!(echo["Method"], method.as_str());
        assert_eq!(echo["BodyLength"], 4, "{echo}");
        assert_eq!(echo["BodySha256"], "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5");
    }
}

#[tokio::test]
async fn head_is_answered_with_the_length_and_no_body() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(format!("HEAD /{TENANT}/api/v1/Document/1/Content?size=1234 HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let head = wire.head().await.to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("\r\ncontent-length: 1234\r\n"), "{head}");
    let next = wire.get("/v1/_sandbox/echo", "Connection: close\r\n").await;
    assert_eq!(next.status(), 200, "the connection goes on where the head ended");
}

#[tokio::test]
async fn path_and_query_stay_byte_for_byte() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let mut wire = Wire::to(bench.proxy).await;
    for rest in [
        "",
        "/",
        "?",
        "/v1/x?",
        "/v1//x///y/",
        "/v1/a%20b%2B+c",
        "/v1/%C3%A6%c3%a6",
        "/v1/æøå",
        "/v1/Contact?$select=name,city&$filter=name%20eq%20'O''Brien'&%24top=3",
        "/v1/\"quoted\"?r='1'",
        "/v1/Contact('1')/Person[2]|{3}",
        "/v1/a=b,c~!*@:&=+$",
        "/v1/a.b/..c/d../.x",
        "/v1/100%25/%25",
        "/v1/x??a&&b==c&",
        // Nothing is decided by a query, so nothing in it is ambiguous.
        "/v1/x?a=../../b&c=%2e%2f%5c%00&d=/../;%3b%252e%zz%",
    ] {
        let answer = wire.get(rest, "").await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{rest}");
        assert_eq!(seen.last().first, format!("GET /{TENANT}/api{rest} HTTP/1.1"));
    }
}

#[tokio::test]
async fn targets_that_upstream_could_read_otherwise_are_refused() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    for path in [
        "/Cust12345/api/v1/../../Cust54321/api/v1/Contact",
        "/Cust54321/../Cust12345/api/v1/Contact",
        "/Cust12345/api/./v1",
        "/Cust12345/api/..",
        "/./Cust12345/api/v1",
        "/Cust12345/api/%2e%2e/%2e%2e/Cust54321/api",
        "/Cust12345/api/%2E./x",
        "/Cust12345/api/.%2e/x",
        "/Cust12345/api/v1%2f..%2fx",
        "/Cust12345/api/v1%2Fx",
        "/Cust12345/api/v1%5cx",
        "/Cust12345/api/v1%5Cx",
        "/Cust12345/api/v1\\..\\x",
        "/Cust12345/api/x%00.txt",
        "/Cust12345/api/v1/..?$top=1",
        "/Cust12345/api/v1/%252e%252e/x",
        "/Cust12345/api/v1/x%252fy",
        "/Cust12345/api/v1/%25%32%66",
        "/Cust12345/api/v1/x;y=1",
        "/Cust12345/api/v1/x%3By",
        "/Cust12345/api/v1/x%0d%0ay",
        "/Cust12345/api/v1/x%2",
        "/Cust12345/api/v1/x%",
        "/Cust12345/api/v1/%zz",
        "/Cust12345/api/v1/.(S(x))./x",
    ] {
        let answer = ask(bench.proxy, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.error()), (400, Some("bad_target")), "{path}");
    }
    // A NUL as it is, blanks and the like are no request at all: refused before it comes to us.
    for path in ["/Cust12345/api/x\0", "/Cust12345/api/x y", "/Cust12345/api/\u{1}"] {
        let answer = ask(bench.proxy, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status(), 400, "{path:?}");
    }
    assert_eq!(seen.count(), 0, "none of them reached upstream");
}

#[tokio::test]
async fn only_the_api_of_a_configured_tenant_is_carried() {
    let bench = Bench::start().await;
    for (path, status, code) in [
        ("/", 404, "unknown_tenant"),
        ("*", 404, "unknown_tenant"),
        ("/favicon.ico", 404, "unknown_tenant"),
        ("/Cust99999/api/v1/Contact/1", 404, "unknown_tenant"),
        ("/Cust12345x/api/v1/Contact/1", 404, "unknown_tenant"),
        ("//Cust12345/api/v1/Contact/1", 404, "unknown_tenant"),
        ("/Cust12345%20/api/v1/Contact/1", 404, "unknown_tenant"),
        ("/%43ust12345/api/v1/Contact/1", 404, "unknown_tenant"),
        ("/api/state/Cust99999", 404, "unknown_tenant"),
        ("/login/.well-known/jwks", 404, "unknown_tenant"),
        ("/_sandbox/faults", 404, "unknown_tenant"),
        ("/Cust12345", 400, "bad_target"),
        ("/Cust12345/", 400, "bad_target"),
        ("/Cust12345/other", 400, "bad_target"),
        ("/Cust12345/apis/v1", 400, "bad_target"),
        ("/Cust12345//api/v1", 400, "bad_target"),
        ("/Cust12345/WebClient/x", 400, "bad_target"),
    ] {
        let method = if path == "*" { "OPTIONS" } else { "GET" };
        let answer = ask(bench.proxy, format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.error()), (status, Some(code)), "{path}");
    }
    assert_eq!(bench.sandbox.control().counters().api_calls, 0);
}

#[tokio::test]
async fn a_tenant_is_matched_without_regard_to_case_and_goes_to_its_own_base() {
    let bench = Bench::start().await;
    for (path, tenant, target) in [
        ("/Cust12345/api/v1/_sandbox/echo", "Cust12345", "/Cust12345/api/v1/_sandbox/echo"),
        ("/CUST12345/API/v1/_sandbox/Echo", "Cust12345", "/Cust12345/api/v1/_sandbox/Echo"),
        ("/cust54321/api/v1/_sandbox/echo?A=b", "Cust54321", "/Cust54321/api/v1/_sandbox/echo?A=b"),
    ] {
        let answer = ask(bench.proxy, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status(), 200, "{path}");
        let echo = answer.json();
        assert_eq!((echo["Tenant"].as_str(), echo["Target"].as_str()), (Some(tenant), Some(target)));
    }
}

#[tokio::test]
async fn api_url_goes_before_the_state_endpoint_which_is_not_asked_then() {
    let (peer, seen) = recorder(OK).await;
    let bench =
        Setup::new().api_at(peer.address).set("tenants.Cust54321.api_url", &format!("http://{}/a/b/api/", peer.address)).start().await;
    assert_eq!(bench.get("/api/v1/x").await.status, 200);
    let answer = ask(bench.proxy, "GET /Cust54321/api/v1/y HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.status(), 200);
    let lines: Vec<String> = seen.all().into_iter().map(|request| request.first).collect();
    assert_eq!(lines, ["GET /Cust12345/api/v1/x HTTP/1.1", "GET /a/b/api/v1/y HTTP/1.1"]);
    assert_eq!(seen.last().one("host"), Some(peer.address.to_string().as_str()));
    assert_eq!(bench.sandbox.control().counters().state, 0);
}

#[tokio::test]
async fn without_api_url_the_state_endpoint_says_where_at_start_and_after_a_421() {
    let (peer, seen) = recorder(OK).await;
    let setup = Setup::new().set("superoffice.upstream_hosts", &peer.address.to_string()).set("state.min_interval", "50ms");
    let bench = setup.start().await;
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 200);
    assert_eq!(bench.sandbox.control().counters().state, 2, "one for each tenant");
    // The tenant moves, and its old place says so.
    bench.sandbox.control().change_faults(|faults| _ = faults.moved.insert(TENANT.into(), Some(format!("http://{}", peer.address))));
    bench
        .until("the new place is used", async || {
            bench.get("/api/v1/x").await;
            seen.count() > 0
        })
        .await;
    assert!(bench.sandbox.control().counters().state > 2);
    assert_eq!(seen.last().first, "GET /Cust12345/api/v1/x HTTP/1.1");
}

#[tokio::test]
async fn without_a_state_endpoint_the_tokens_webapi_url_is_used() {
    let bench = Setup::new().fault("state_down=true").start().await;
    assert_eq!(bench.get("/api/v1/User/currentPrincipal").await.status, 200);
    let counters = bench.sandbox.control().counters();
    assert!(counters.state >= 1, "it was asked first");
    assert_eq!(bench.sandbox.control().faults().jwt, JwtFault::Ok);
}

#[tokio::test]
async fn a_place_outside_upstream_hosts_gets_no_ticket() {
    let (peer, seen) = recorder(OK).await;
    let moved = format!("moved.Cust12345=http://{}", peer.address);
    let bench = Setup::new().fault(&moved).set("state.min_interval", "50ms").start().await;
    // The token still names the old place, which is listed and says so itself.
    let answer = bench.get("/api/v1/x").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (421, None));
    assert_eq!((seen.count(), peer.connections()), (0, 0));
}

#[tokio::test]
async fn redirects_are_passed_on_and_not_followed() {
    let (elsewhere, followed) = recorder(OK).await;
    let location = format!("http://{}/Cust12345/api/v1/y", elsewhere.address);
    let (peer, seen) = recorder(&format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer = bench.get("/api/v1/x").await;
    assert_eq!((answer.status.as_u16(), answer.headers["location"].to_str().unwrap()), (307, location.as_str()));
    assert_eq!((seen.count(), followed.count()), (1, 0));
}

#[tokio::test]
async fn absolute_form_targets_are_carried_when_they_name_us() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let target = format!("http://{}/{TENANT}/api/v1/x?y", bench.proxy);
    let answer = ask(bench.proxy, format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", bench.proxy)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(seen.last().first, "GET /Cust12345/api/v1/x?y HTTP/1.1");
    assert_eq!(seen.last().one("host"), Some(peer.address.to_string().as_str()));
    for (host, status, code) in [("evil.example", 403, "forbidden_origin"), ("localhost", 400, "malformed_request")] {
        let answer = ask(bench.proxy, format!("GET http://evil.example/Cust12345/api/v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.error()), (status, Some(code)));
    }
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn connect_and_trace_are_refused() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    for request in [
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n".to_owned(),
        format!("CONNECT {} HTTP/1.1\r\nHost: {}\r\n\r\n", peer.address, peer.address),
        "TRACE /Cust12345/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        // What a client does that takes soproxy for a forward proxy.
        "CONNECT sod2.superoffice.com:443 HTTP/1.1\r\nHost: sod2.superoffice.com:443\r\n\r\n".to_owned(),
    ] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(format!("{request}GET /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let answer = wire.answer().await;
        assert_eq!(wire.rest().await, "", "nothing that comes behind it is read");
        assert_eq!((answer.status(), answer.error()), (405, Some("method_not_allowed")), "{request}");
        assert!(answer.one("allow").is_some_and(|allow| allow.contains("GET") && !allow.contains("CONNECT") && !allow.contains("TRACE")));
    }
    assert_eq!((seen.count(), peer.connections()), (0, 0));
}

#[tokio::test]
async fn http_1_0_without_host_is_served() {
    let (peer, seen) = recorder("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let answer = bench.raw(&format!("GET /{TENANT}/api/v1/x HTTP/1.0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "an old client knows no chunks: {answer}");
    assert_eq!(seen.last().first, "GET /Cust12345/api/v1/x HTTP/1.1");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_served_and_upstream_sees_http_1_1() {
    let bench = Bench::start().await;
    let stream = TcpStream::connect(bench.proxy).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |number: usize| {
        let mut sender = sender.clone();
        let uri = format!("http://{}/{TENANT}/api/v1/_sandbox/echo?n={number}", bench.proxy);
        let body = "x".repeat(number * 1000);
        let request = Request::post(uri).version(Version::HTTP_2).header("authorization", "Basic eDp5").body(Full::new(body.into()));
        async move {
            let answer = sender.send_request(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let echo: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(echo["Target"], format!("/Cust12345/api/v1/_sandbox/echo?n={number}"));
            assert_eq!((echo["Version"].as_str(), echo["BodyLength"].as_u64()), (Some("HTTP/1.1"), Some(number as u64 * 1000)));
        }
    };
    tokio::join!(ask(0), ask(1), ask(2), ask(100));
}

#[tokio::test]
async fn one_connection_carries_many_requests_in_order() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(bench.proxy).await;
    let request = |number: u32| format!("GET /{TENANT}/api/v1/_sandbox/echo?n={number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.say((0..5).map(request).collect::<String>()).await;
    for number in 0..5 {
        assert_eq!(wire.answer().await.json()["Target"], format!("/Cust12345/api/v1/_sandbox/echo?n={number}"));
    }
}

#[tokio::test]
async fn a_body_has_one_length_whatever_the_caller_claims() {
    let (peer, seen) = recorder(OK).await;
    let bench = Setup::new().api_at(peer.address).start().await;
    let smuggled = "0\r\n\r\nGET /Cust54321/api/v1/secret HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for framing in [
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", smuggled.len()),
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", smuggled.len()),
        "Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n".to_owned(),
    ] {
        let mut wire = Wire::to(bench.proxy).await;
        wire.say(format!("POST /{TENANT}/api/v1/x HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n{smuggled}")).await;
        let answer = wire.answer().await;
        assert!(matches!(answer.status(), 400 | 501), "{framing}: {answer:?}");
    }
    for request in seen.all() {
        assert_eq!(request.one("content-length").is_some(), request.one("transfer-encoding").is_none(), "{request:?}");
        assert!(request.first.contains(&format!("/{TENANT}/")) || request.body.is_empty(), "{request:?}");
    }
}
