//! State-change notifications, as a receiver sees them.

use http_body_util::Empty;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// A receiver that answers 202, and what it received.
async fn receiver() -> (String, UnboundedReceiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/superoffice/state-change", listener.local_addr().unwrap());
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    sender.send((format!("{} {}", head.method, head.uri), serde_json::from_slice(&body).unwrap())).unwrap();
                    Ok::<_, std::convert::Infallible>(Response::builder().status(202).body(Empty::<Bytes>::new()).unwrap())
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, receiver)
}

#[tokio::test]
async fn a_notification_is_the_documented_one() {
    let (url, mut received) = receiver().await;
    let running = running(Options::default()).await;
    let body = json!({ "tenant": "cust12345", "change": "Move", "url": url }).to_string();
    let told = running.call(Method::POST, "/_sandbox/push", &[], body).await;
    assert_eq!((told.status, told.json()), (StatusCode::OK, json!([{ "Status": 202, "Body": "" }])));
    let (request, mut body) = received.recv().await.unwrap();
    assert_eq!(request, "POST /superoffice/state-change");
    let token = body["Token"].take();
    let expected = json!({
        "ChangeType": 5, "ContextIdentifier": "Cust12345", "VersionName": "Release_11.10_2026.02.24-02", "FileVersion": "11.10.721.0",
        "Token": null, "PublicEndpoint": running.sandbox.base().trim_start_matches("http://"),
    });
    assert_eq!(body, expected);
    let claims = claims(token.as_str().unwrap());
    assert_eq!(claims["iss"], running.sandbox.base());

    let push = Push { times: 20, change: Change::Suspend, ..Push::new(demo::TENANT, Change::Move, &url) };
    assert!(running.sandbox.push(&push).await.unwrap().iter().all(|answer| answer.status == 202));
    for _ in 0..20 {
        let (_, body) = received.recv().await.unwrap();
        assert_eq!((&body["ChangeType"], body.get("PublicEndpoint")), (&json!(2), None));
    }
    assert_eq!(running.sandbox.control().counters().pushed, 21);
}

#[tokio::test]
async fn tokens_of_notifications_can_be_wrong() {
    let running = running(Options::default()).await;
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&running.get("/login/.well-known/jwks").await.body).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwks.keys[0]).unwrap();
    for (token, expected) in [
        (PushToken::Ok, "Cust12345"),
        (PushToken::Forged, "InvalidSignature"),
        (PushToken::WrongIssuer, "InvalidIssuer"),
        (PushToken::WrongTenant, "Cust99999"),
        (PushToken::Expired, "ExpiredSignature"),
    ] {
        let push = Push { token, ..Push::new(demo::TENANT, Change::Move, "") };
        let body: Value = serde_json::from_slice(&running.sandbox.notification(&push).unwrap()).unwrap();
        let token = body["Token"].as_str().unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        validation.set_issuer(&[running.sandbox.base()]);
        validation.validate_nbf = true;
        let found = match jsonwebtoken::decode::<Value>(token, &key, &validation) {
            Err(error) => format!("{:?}", error.kind()),
            Ok(data) => data.claims["http://schemes.superoffice.net/identity/ctx"].as_str().unwrap().to_owned(),
        };
        assert_eq!(found, expected);
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.x5t.as_deref(), jwks.keys[0].common.x509_sha1_fingerprint.as_deref(), "a forgery names the real key");
    }
    let none = Push { token: PushToken::None, ..Push::new(demo::TENANT, Change::Move, "") };
    let body: Value = serde_json::from_slice(&running.sandbox.notification(&none).unwrap()).unwrap();
    assert_eq!(body.get("Token"), None);
}

#[tokio::test]
async fn moves_and_states_are_pushed_by_themselves() {
    let (url, mut received) = receiver().await;
    let running = running(Options { push_to: Some(url), ..Options::default() }).await;
    let control = running.sandbox.control();
    let mut next = async || {
        let (_, body) = received.recv().await.unwrap();
        (body["ChangeType"].clone(), body["ContextIdentifier"].clone())
    };
    control.change_faults(|faults| faults.set("state.Cust54321=OfflineMaintenance").unwrap());
    assert_eq!(next().await, (json!(0), json!("Cust54321")));
    let change = r#"{"moved":{"Cust12345":null},"latency":"1ms"}"#;
    assert_eq!(running.call(Method::POST, "/_sandbox/faults", &[], change).await.status, StatusCode::OK);
    assert_eq!(next().await, (json!(5), json!("Cust12345")));
    control.reset();
    let both = [next().await, next().await];
    assert_eq!(both, [(json!(5), json!("Cust12345")), (json!(3), json!("Cust54321"))]);
    let asked = running.call(Method::POST, "/_sandbox/push", &[], r#"{"tenant":"Cust12345","change":1}"#).await;
    assert_eq!((asked.status, next().await.0), (StatusCode::OK, json!(1)), "the URL need not be told again");
}

#[tokio::test]
async fn pushes_that_cannot_be_sent_are_told() {
    let running = running(Options::default()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = format!(r#"{{"tenant":"Cust12345","change":"Move","url":"http://{closed}/"}}"#);
    for (body, words) in [
        (r#"{"tenant":"Cust12345","change":"Move"}"#, "no url"),
        (r#"{"tenant":"Cust1","change":"Move","url":"http://127.0.0.1:1/"}"#, "unknown tenant"),
        (r#"{"tenant":"Cust12345","change":"Moved","url":"http://127.0.0.1:1/"}"#, "no change"),
        (r#"{"tenant":"Cust12345","change":5,"url":"https://127.0.0.1:1/"}"#, "no http://"),
        (r#"{"tenant":"Cust12345","change":5,"token":"false"}"#, "unknown variant"),
        (&closed, "efused"),
    ] {
        let answer = running.call(Method::POST, "/_sandbox/push", &[], body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text().contains(words), "{body}: {}", answer.text());
    }
    assert_eq!(running.call(Method::GET, "/_sandbox/push", &[], "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}
