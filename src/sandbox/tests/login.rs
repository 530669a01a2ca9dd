//! Exchanges, tickets and the endpoints beside them.

use jiff::SignedDuration;

use super::*;
use crate::clock::Clock;

const PATH: &str = "/login/services/PartnerSystemUserService.svc";
const ACTION: &str = "http://www.superoffice.com/superid/partnersystemuser/0.1/IPartnerSystemUserService/Authenticate";

fn envelope(secret: &str, context: &str, signed: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:t="http://www.superoffice.com/superid/partnersystemuser/0.1">
<e:Header><t:ApplicationToken>{secret}</t:ApplicationToken><t:ContextIdentifier>{context}</t:ContextIdentifier></e:Header>
<e:Body><t:AuthenticationRequest><t:SignedSystemToken>{}</t:SignedSystemToken><t:ReturnTokenType>Jwt</t:ReturnTokenType>
</t:AuthenticationRequest></e:Body></e:Envelope>"#,
        signed.replace('&', "&amp;")
    )
}

#[tokio::test]
async fn both_twins_give_a_token_that_verifies_and_a_ticket_that_opens() {
    let running = running(Options::default()).await;
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&running.get("/login/.well-known/jwks").await.body).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwks.keys[0]).unwrap();
    let now = Timestamp::now();
    let tenants = [
        (demo::TENANT, demo::CLIENT_SECRET, demo::SYSTEM_USER_TOKEN, demo::PRIVATE_KEY_XML, demo::SERIAL),
        (
            demo::SECOND_TENANT,
            demo::SECOND_CLIENT_SECRET,
            demo::SECOND_SYSTEM_USER_TOKEN,
            demo::SECOND_PRIVATE_KEY_XML,
            demo::SECOND_SERIAL,
        ),
    ];
    for (context, secret, token, key_xml, serial) in tenants {
        let signed = signed(token, key_xml, now);
        let rest = running.exchange(secret, context, &signed).await.json();
        assert_eq!((&rest["IsSuccessful"], &rest["ErrorMessage"]), (&json!(true), &Value::Null));

        let headers = [("content-type", "text/xml;charset=UTF-8"), ("soapaction", ACTION)];
        let soap = running.call(Method::POST, &PATH.to_uppercase(), &headers, envelope(secret, context, &signed)).await;
        assert_eq!(soap.status, StatusCode::OK);
        let soap = soap.text();
        assert!(soap.contains("<IsSuccessful>true</IsSuccessful>"), "{soap}");
        let soap_token = soap.split("<Token>").nth(1).unwrap().split('<').next().unwrap();

        for jwt in [rest["Token"].as_str().unwrap(), soap_token] {
            let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
            validation.set_issuer(&["SuperOffice AS"]);
            validation.set_audience(&[format!("spn:{serial}")]);
            let verified = jsonwebtoken::decode::<Value>(jwt, &key, &validation).unwrap();
            assert_eq!(verified.header.x5t.as_deref(), jwks.keys[0].common.x509_sha1_fingerprint.as_deref());
            let claim = |name: &str| verified.claims[format!("http://schemes.superoffice.net/identity/{name}")].clone();
            assert_eq!((claim("ctx"), claim("serial")), (json!(context), json!(serial)));
            assert_eq!(claim("system_token")[0], token);
            assert_eq!(claim("webapi_url"), format!("{}/{context}/api/", running.sandbox.base()));
            assert!(verified.claims["iat"].is_string());
            let [nbf, exp] = ["nbf", "exp"].map(|name| verified.claims[name].as_i64().unwrap());
            assert_eq!(exp - nbf, 360);

            let authorization = format!("sOtIcKeT {}", claim("ticket").as_str().unwrap());
            let headers = [("authorization", authorization.as_str()), ("so-apptoken", secret)];
            let path = format!("/{}/API/v1/user/currentprincipal", context.to_lowercase());
            let principal = running.call(Method::GET, &path, &headers, "").await;
            assert_eq!(principal.status, StatusCode::OK);
            assert_eq!(principal.json()["DatabaseContextIdentifier"], context);
        }
        assert_eq!(running.sandbox.control().counters().exchanges_of(context), 2);
    }
}

#[tokio::test]
async fn refusals_come_with_200_and_superids_words() {
    let running = running(Options::default()).await;
    let now = Timestamp::now();
    let good = signed(demo::SYSTEM_USER_TOKEN, demo::PRIVATE_KEY_XML, now);
    let late = signed(demo::SYSTEM_USER_TOKEN, demo::PRIVATE_KEY_XML, now - SignedDuration::from_mins(17));
    let of_another = signed(demo::SECOND_SYSTEM_USER_TOKEN, demo::PRIVATE_KEY_XML, now);
    let by_another = signed(demo::SYSTEM_USER_TOKEN, demo::SECOND_PRIVATE_KEY_XML, now);
    let secret = demo::CLIENT_SECRET;
    for (secret, context, signed, name) in [
        ("wrong", demo::TENANT, good.as_str(), "Denied (4)"),
        ("", demo::TENANT, &good, "Denied (4)"),
        (secret, "Cust99999", &good, "Denied (4)"),
        (secret, demo::SECOND_TENANT, &good, "Denied (4)"),
        (secret, demo::TENANT, &of_another, "Denied (4)"),
        (secret, demo::TENANT, &by_another, "InvalidSignature (7)"),
        (secret, demo::TENANT, &good[..good.len() - 4], "InvalidSignature (7)"),
        (secret, demo::TENANT, "nonsense", "InvalidSignature (7)"),
        (secret, demo::TENANT, &late, "InvalidTimestamp (6)"),
    ] {
        let answer = running.exchange(secret, context, signed).await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = answer.json();
        assert_eq!((&answer["IsSuccessful"], &answer["Token"]), (&json!(false), &Value::Null));
        assert!(answer["ErrorMessage"].as_str().unwrap().contains(name), "{answer} is not {name}");
    }
    assert_eq!(running.sandbox.control().counters().exchanges["unknown"], 1);
    assert_eq!(running.sandbox.control().counters().exchanges_refused, 9);
}

#[tokio::test]
async fn a_clock_that_is_off_shows_in_date_and_refuses_honest_timestamps() {
    let options = Options { clock_skew: SignedDuration::from_mins(-20), ..Options::default() };
    let running = running(options).await;
    let answer = running.try_send(running.demo_exchange()).await.unwrap();
    assert!(answer.text().contains("InvalidTimestamp"));
    let date = httpdate::parse_http_date(answer.headers["date"].to_str().unwrap()).unwrap();
    let behind = std::time::SystemTime::now().duration_since(date).unwrap().as_secs();
    assert!((1199..1210).contains(&behind), "{behind}");

    running.sandbox.control().change_faults(|faults| faults.clock_skew = SignedDuration::from_mins(20));
    assert!(running.try_send(running.demo_exchange()).await.unwrap().text().contains("\"IsSuccessful\":true"));
}

#[tokio::test]
async fn soap_is_taken_as_wcf_takes_it() {
    let running = running(Options::default()).await;
    let body = envelope("a", "b", "c");
    let xml = ("content-type", "text/xml; charset=utf-8");
    let action = ("soapaction", ACTION);
    let post = async |headers: &[(&str, &str)], body: &str| running.call(Method::POST, PATH, headers, body.to_owned()).await;

    assert_eq!(post(&[("content-type", "application/soap+xml"), action], &body).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let quoted = format!("\"{ACTION}\"");
    assert_eq!(post(&[xml, ("soapaction", &quoted)], &body).await.status, StatusCode::OK);
    for (headers, body, code) in [
        (vec![xml], body.as_str(), "a:ActionNotSupported"),
        (vec![xml, ("soapaction", "urn:other")], &body, "a:ActionNotSupported"),
        (vec![xml, action], "<not xml", "s:Client"),
        (vec![xml, action], &body.replace(">Jwt<", ">JWT<"), "a:DeserializationFailed"),
    ] {
        let answer = post(&headers, body).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.text().contains(&format!(">{code}</faultcode>")), "{}", answer.text());
    }
    assert!(running.get(&format!("{PATH}?WSDL")).await.text().contains(&format!("{}{PATH}", running.sandbox.base())));
    assert_eq!(running.get(PATH).await.status, StatusCode::OK);
}

#[tokio::test]
async fn rest_is_taken_as_asp_net_takes_it() {
    let running = running(Options::default()).await;
    let path = "/login/API/partnersystemuser/authenticate";
    let json_type = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(running.get(path).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(running.call(Method::POST, path, &[("content-type", "text/plain")], "{}").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(running.call(Method::POST, path, &json_type, "{").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(running.call(Method::POST, path, &json_type, r#"{"ReturnTokenType":"Bogus"}"#).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(running.call(Method::POST, path, &json_type, "x".repeat(70_000)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(running.call(Method::POST, path, &json_type, "{}").await.text().contains("Denied"));
}

#[tokio::test]
async fn a_ticket_slides_by_the_sandboxs_clock() {
    let (clock, hand) = Clock::manual(Timestamp::now());
    let running = running(Options { clock, ..Options::default() }).await;
    let ticket = running.ticket().await;
    let status = async |ticket: &str| running.api(ticket, Method::GET, "User/currentPrincipal", "").await.status;
    for _ in 0..3 {
        hand.advance(Duration::from_secs(6 * 3600 - 1));
        assert_eq!(status(&ticket).await, StatusCode::OK);
    }
    hand.advance(Duration::from_secs(6 * 3600));
    assert_eq!(status(&ticket).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_documents_beside_the_exchange() {
    let running = running(Options::default()).await;
    let base = running.sandbox.base();
    let discovery = running.get("/login/.well-known/OpenID-Configuration").await.json();
    assert_eq!(discovery["jwks_uri"], format!("{base}/login/.well-known/jwks"));

    let state = running.get("/api/state/cust12345").await.json();
    assert_eq!((&state["ContextIdentifier"], &state["State"], &state["IsRunning"]), (&json!("Cust12345"), &json!("Running"), &json!(true)));
    assert_eq!(state["Api"], format!("{base}/Cust12345/api"));
    let unknown = running.get("/api/state/Cust1").await.json();
    assert_eq!(
        (&unknown["ContextIdentifier"], &unknown["State"], &unknown["IsRunning"]),
        (&json!("Cust1"), &json!("Unknown"), &json!(false))
    );

    let listing = running.call(Method::GET, "/Cust12345/api/", &[("accept", "application/json")], "").await;
    assert_eq!(listing.json()["v1"], format!("{base}/Cust12345/api/v1/"));
    assert!(running.get("/Cust12345/api").await.text().contains("<HTML>"));
    assert_eq!(running.sandbox.control().counters().state, 2);
}
