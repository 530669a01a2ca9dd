//! Faults on demand, and the control endpoint.

use std::time::Instant;

use super::*;

async fn with(fault: &str) -> Running {
    let mut faults = Faults::default();
    faults.set(fault).unwrap();
    running(Options { faults, ..Options::default() }).await
}

#[tokio::test]
async fn each_way_a_login_service_fails() {
    assert!(with("login=down").await.answer().await.is_none());
    assert!(with("login=truncated").await.answer().await.is_none());
    assert!(with("login_of.Cust12345=down").await.answer().await.is_none());
    assert!(with("login_of.Cust54321=down").await.answer().await.unwrap().text().contains("\"IsSuccessful\":true"));
    for (fault, status, words) in [
        ("login=garbled", StatusCode::OK, "<HTML>"),
        ("login=html_500", StatusCode::INTERNAL_SERVER_ERROR, "<HTML>"),
        ("login=soap_fault", StatusCode::INTERNAL_SERVER_ERROR, "An error has occurred."),
        ("login=empty", StatusCode::OK, ""),
        ("login=redirect", StatusCode::FOUND, "Object moved"),
        ("login.refuse.code=Revoked", StatusCode::OK, "Revoked (1)"),
        ("login.slow.delay=1ms", StatusCode::OK, "\"IsSuccessful\":true"),
    ] {
        let running = with(fault).await;
        let answer = running.answer().await.unwrap();
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(words), "{fault}: {}", answer.text());
        assert_eq!(answer.body.is_empty(), fault == "login=empty");
        assert_eq!(answer.headers.contains_key("location"), fault == "login=redirect");
        assert_eq!(running.sandbox.control().counters().exchanges_of("Cust12345"), 1);
    }
}

impl Running {
    async fn answer(&self) -> Option<Answer> {
        self.try_send(self.demo_exchange()).await
    }

    async fn is_down(&self, path: &str) -> bool {
        self.try_send(self.request(Method::GET, path, &[], "")).await.is_none()
    }
}

#[tokio::test]
async fn a_truncated_reply_announces_more_than_comes() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = with("login=truncated").await;
    let mut stream = tokio::net::TcpStream::connect(running.sandbox.base().trim_start_matches("http://")).await.unwrap();
    let request = b"POST /login/api/partnersystemuser/authenticate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    _ = stream.read_to_string(&mut text).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let announced: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    assert!(!body.is_empty() && body.len() < announced, "{text}");
}

#[tokio::test]
async fn keys_and_state_can_be_down() {
    let running = with("jwks_down=true").await;
    assert!(running.is_down("/login/.well-known/jwks").await);
    assert!(running.is_down("/login/.well-known/openid-configuration").await);
    assert!(!running.is_down("/api/state/Cust12345").await);
    assert!(with("state_down=true").await.is_down("/api/state/Cust12345").await);
}

#[tokio::test]
async fn tokens_can_be_wrong() {
    for (fault, check) in [
        ("ok", "valid"),
        ("wrong_issuer", "InvalidIssuer"),
        ("wrong_audience", "InvalidAudience"),
        ("other_serial", "InvalidAudience"),
        ("wrong_context", "Cust99999"),
        ("expired", "ExpiredSignature"),
        ("bad_signature", "InvalidSignature"),
        ("no_ticket", "no ticket"),
        ("rotate_key", "InvalidSignature"),
    ] {
        let running = running(Options::default()).await;
        let keys =
            async || serde_json::from_slice::<jsonwebtoken::jwk::JwkSet>(&running.get("/login/.well-known/jwks").await.body).unwrap().keys;
        let old = keys().await;
        running.sandbox.control().change_faults(|faults| faults.set(&format!("jwt={fault}")).unwrap());
        let token = running.answer().await.unwrap().json()["Token"].as_str().unwrap().to_owned();
        let decode = |keys: &[jsonwebtoken::jwk::Jwk]| {
            let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
            validation.set_issuer(&["SuperOffice AS"]);
            validation.set_audience(&[format!("spn:{}", demo::SERIAL)]);
            let key = jsonwebtoken::DecodingKey::from_jwk(&keys[0]).unwrap();
            match jsonwebtoken::decode::<Value>(&token, &key, &validation) {
                Err(error) => format!("{:?}", error.kind()),
                Ok(data) if data.claims["http://schemes.superoffice.net/identity/ctx"] != "Cust12345" => "Cust99999".to_owned(),
                Ok(data) if data.claims.get("http://schemes.superoffice.net/identity/ticket").is_none() => "no ticket".to_owned(),
                Ok(_) => "valid".to_owned(),
            }
        };
        assert_eq!(decode(&old), check, "{fault}");
        if fault == "rotate_key" {
            assert_eq!(decode(&keys().await), "valid");
        }
    }
}

#[tokio::test]
async fn a_storm_of_401s_always_or_a_few_and_latency() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let statuses = async |n: usize| {
        let mut statuses = Vec::new();
        for _ in 0..n {
            statuses.push(running.api(&ticket, Method::GET, "User/currentPrincipal", "").await.status.as_u16());
        }
        statuses
    };
    running.sandbox.control().change_faults(|faults| faults.unauthorized = Unauthorized::Next(2));
    assert_eq!(statuses(4).await, [401, 401, 200, 200]);
    assert_eq!(running.sandbox.control().faults(), Faults::default());
    running.sandbox.control().change_faults(|faults| faults.unauthorized = Unauthorized::Always);
    assert_eq!(statuses(2).await, [401, 401]);
    let late = Faults { latency: Duration::from_millis(60), ..Faults::default() };
    running.sandbox.control().set_faults(late);
    let start = Instant::now();
    assert_eq!(statuses(1).await, [200]);
    assert!(start.elapsed() >= Duration::from_millis(60));
    let counters = running.sandbox.control().counters();
    assert_eq!((counters.api_calls, counters.unauthorized), (7, 4));
}

#[tokio::test]
async fn a_tenant_that_calls_too_often_is_told_when_to_come_back() {
    let second = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    let (clock, hand) = Clock::manual(second + Duration::from_millis(500));
    let date = httpdate::fmt_http_date(SystemTime::try_from(second + Duration::from_secs(6)).unwrap());
    let running = running(Options { clock, ..Options::default() }).await;
    let ticket = running.ticket().await;
    let call = async || running.api(&ticket, Method::GET, "User/currentPrincipal", "").await;
    running.sandbox.control().change_faults(|faults| {
        faults.merge(json!({ "throttle": { "cust12345": { "rate": 2, "retry_after": "1500ms" } } })).unwrap();
    });
    let answers = [call().await, call().await, call().await];
    assert_eq!(answers.each_ref().map(|answer| answer.status.as_u16()), [200, 200, 429]);
    assert_eq!(answers[2].headers["retry-after"], "2");
    hand.advance(Duration::from_secs(1));
    assert_eq!(call().await.status, StatusCode::OK);
    hand.advance(Duration::from_secs(1));
    for (fault, status, retry_after) in [
        (json!({ "rate": 0, "status": 503, "retry_after": "3s" }), 503, Some("3")),
        (json!({ "rate": 0, "date": true, "retry_after": "3s" }), 429, Some(date.as_str())),
        (json!({ "rate": 0, "retry_after": null }), 429, None),
    ] {
        running.sandbox.control().change_faults(|faults| faults.merge(json!({ "throttle": { "cust12345": fault } })).unwrap());
        let answer = call().await;
        assert_eq!((answer.status.as_u16(), answer.headers.get("retry-after").map(|after| after.to_str().unwrap())), (status, retry_after));
    }
    let counters = running.sandbox.control().counters();
    assert_eq!((counters.calls["Cust12345"], counters.calls_in_a_second["Cust12345"]), (7, 3));
    // One came a second after it had been told to wait for two, and two right after they had been told to wait for three.
    assert_eq!((counters.throttled, counters.too_early), (4, 3));
}

#[tokio::test]
async fn a_tenant_that_moved_is_served_only_where_it_is() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    running.sandbox.control().change_faults(|faults| faults.set("moved.Cust12345=null").unwrap());
    let answer = running.api(&ticket, Method::GET, "Contact/1", "").await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(answer.text().contains("Wrong subdomain used to access tenant"));
    let api = running.get("/api/state/Cust12345").await.json()["Api"].as_str().unwrap().to_owned();
    assert!(api.starts_with("http://localhost:"), "{api}");
    // This machine's name for itself may be an IPv6 address first; the Host is what counts.
    let authority = api.trim_start_matches("http://").split('/').next().unwrap();
    let authorization = format!("SOTicket {ticket}");
    let headers = [("host", authority), ("authorization", &authorization), ("so-apptoken", demo::CLIENT_SECRET)];
    let answer = running.call(Method::GET, "/Cust12345/api/v1/Contact/1", &headers, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["_Links"]["Self"], format!("{api}/v1/Contact/1"));
    assert_eq!(running.get("/api/state/Cust54321").await.json()["Api"], format!("{}/Cust54321/api", running.sandbox.base()));
}

#[tokio::test]
async fn the_control_endpoint() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let send =
        async |method: Method, path: &str, body: &str| running.call(method, &format!("/_sandbox/{path}"), &[], body.to_owned()).await;

    let changed = send(Method::POST, "faults", r#"{"login":"down","state":{"Cust12345":"Suspended"}}"#).await;
    assert_eq!(changed.json()["login"], "down");
    let changed = send(Method::POST, "faults", r#"{"state":{"Cust54321":"Deleted"},"unauthorized":{"next":2}}"#).await.json();
    assert_eq!(changed["login"], "down");
    assert_eq!(changed["state"], json!({ "Cust12345": "Suspended", "Cust54321": "Deleted" }));
    let before = running.sandbox.control().faults();
    for bad in ["", "[]", r#"{"logn":"down"}"#, r#"{"login":"sideways"}"#, r#"{"state":{"Cust1":"Running"}}"#] {
        let answer = send(Method::POST, "faults", bad).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(answer.json()["Message"].is_string());
    }
    assert_eq!(running.sandbox.control().faults(), before);
    let replaced = send(Method::PUT, "faults", r#"{"latency":"5ms"}"#).await.json();
    assert_eq!((&replaced["login"], &replaced["latency"]), (&json!("ok"), &json!("5ms")));
    assert_eq!(send(Method::DELETE, "faults", "").await.json(), send(Method::GET, "faults", "").await.json());
    assert_eq!(running.sandbox.control().faults(), Faults::default());

    assert_eq!(send(Method::POST, "revoke-tickets?tenant=Cust54321", "").await.json(), json!({ "Revoked": 0 }));
    assert_eq!(send(Method::POST, "revoke-tickets?tenant=Cust1", "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(running.api(&ticket, Method::DELETE, "Contact/1", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(send(Method::POST, "revoke-tickets", "").await.json(), json!({ "Revoked": 1 }));
    assert_eq!(running.api(&ticket, Method::GET, "Contact/1", "").await.status, StatusCode::UNAUTHORIZED);

    let counters = send(Method::GET, "counters", "").await.json();
    let expected = json!({
        "exchanges": { "Cust12345": 1 }, "exchanges_refused": 0, "jwks": 0, "state": 0, "states": {}, "api_calls": 2,
        "calls": { "Cust12345": 2 }, "calls_in_a_second": { "Cust12345": 2 }, "throttled": 0, "too_early": 0,
        "unauthorized": 1, "soap": {}, "misdirected": 0, "not_running": 0, "pushed": 0,
    });
    assert_eq!(counters, expected);
    assert_eq!(send(Method::POST, "reset", "").await.status, StatusCode::OK);
    assert_eq!(running.sandbox.control().counters(), Counters::default());
    let ticket = running.ticket().await;
    assert_eq!(running.api(&ticket, Method::GET, "Contact/1", "").await.status, StatusCode::OK);
    assert_eq!(send(Method::GET, "reset", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(Method::GET, "nothing", "").await.status, StatusCode::NOT_FOUND);
}
