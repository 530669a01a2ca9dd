//! Links in answers, and how answers and bodies are written.

use std::io::{Read, Write};

use super::*;

const API: &str = "/Cust12345/api/v1";

impl Running {
    async fn tenant_call(&self, ticket: &str, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let authorization = format!("SOTicket {ticket}");
        let mut all = vec![("authorization", authorization.as_str()), ("so-apptoken", demo::CLIENT_SECRET)];
        all.extend(headers);
        self.call(method, path, &all, body).await
    }
}

fn faulty(texts: &[&str]) -> Options {
    let mut faults = Faults::default();
    texts.iter().for_each(|text| faults.set(text).unwrap());
    Options { faults, ..Options::default() }
}

#[tokio::test]
async fn links_are_in_bodies_and_headers_and_lead_somewhere() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let api = format!("{}{API}", running.sandbox.base());
    let made = running.api(&ticket, Method::POST, "Contact", r#"{"Name":"A"}"#).await;
    assert_eq!((made.status, made.headers["location"].to_str().unwrap()), (StatusCode::OK, format!("{api}/Contact/61").as_str()));
    for (method, body) in [(Method::PUT, r#"{"Name":"B"}"#), (Method::PATCH, r#"{"Name":"C"}"#)] {
        let changed = running.api(&ticket, method, "Contact/61", body).await;
        assert_eq!(changed.headers["content-location"].to_str().unwrap(), format!("{api}/Contact/61"));
    }
    for path in ["Contact/1", "Person/7", "Document/3"] {
        let links = running.api(&ticket, Method::GET, path, "").await.json()["_Links"].clone();
        for (name, link) in links.as_object().unwrap() {
            assert!(link.as_str().unwrap().starts_with(&api), "{link}");
            assert_eq!(running.api(&ticket, Method::GET, link.as_str().unwrap(), "").await.status, StatusCode::OK, "{name} of {path}");
        }
    }
    let persons = running.api(&ticket, Method::GET, "Contact/3/Persons?$top=2&$select=personId", "").await.json();
    let ids = |page: &Value| page["value"].as_array().unwrap().iter().map(|row| row["personId"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(&persons), [3, 63]);
    let rest = running.api(&ticket, Method::GET, persons["odata.nextLink"].as_str().unwrap(), "").await.json();
    assert_eq!((ids(&rest), rest.get("odata.nextLink")), (vec![123], None));
}

#[tokio::test]
async fn old_links_name_what_they_are_told_to() {
    let running = running(faulty(&["moved.Cust12345=home", "old_links.Cust12345=https://sod2.superoffice.com:443"])).await;
    let ticket = running.ticket().await;
    let api = "https://sod2.superoffice.com:443/Cust12345/api/v1";
    let page = running.api(&ticket, Method::GET, "Contact?$top=1", "").await.json();
    assert_eq!(page["odata.metadata"], format!("{api}/Contact/$metadata"));
    assert_eq!(page["odata.nextLink"], format!("{api}/Contact?$top=1&$skip=1"));
    let made = running.api(&ticket, Method::POST, "Contact", r#"{"Name":"A"}"#).await;
    assert_eq!(made.headers["location"].to_str().unwrap(), format!("{api}/Contact/61"));
    let listing = running.call(Method::GET, "/Cust12345/api", &[("accept", "application/json")], "").await.json();
    assert_eq!(listing["v1"], format!("{api}/"));
    assert_eq!(running.get("/api/state/Cust12345").await.json()["Api"], format!("{}/Cust12345/api", running.sandbox.base()));
}

#[tokio::test]
async fn what_was_written_is_stored_as_it_was_written() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let text = "see http://127.0.0.1:1/Cust12345/api/v1/Contact/2 & <https://sod2.superoffice.com:443/Cust12345/>";
    let body =
        json!({ "Name": "A", "Description": text, "Urls": [{ "Value": "http://x/Cust12345/" }], "_Links": { "Self": "http://evil" } });
    assert_eq!(running.api(&ticket, Method::PUT, "Contact/1", body.to_string()).await.status, StatusCode::OK);
    let stored = running.sandbox.control().stored("cust12345", "contact", 1).unwrap();
    assert_eq!(
        (&stored["Description"], &stored["Urls"][0]["Value"], stored.get("_Links")),
        (&json!(text), &json!("http://x/Cust12345/"), None)
    );
    assert_eq!(running.get("/_sandbox/stored/Cust12345/Contact/1").await.json(), stored);
    for path in ["Cust12345/Contact/999", "Cust1/Contact/1", "Cust12345/Nope/1", "Cust12345/Contact/x"] {
        assert_eq!(running.get(&format!("/_sandbox/stored/{path}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn slashes_are_escaped_on_demand() {
    let running = running(faulty(&["escaped_slashes=true"])).await;
    let ticket = running.ticket().await;
    for path in ["Contact/1", "_sandbox/feed?rows=300"] {
        let answer = running.api(&ticket, Method::GET, path, "").await;
        let text = answer.text();
        assert!(text.contains(r"http:\/\/127.0.0.1:") && !text.replace(r"\/", "").contains('/'), "{path}");
        assert!(answer.json().to_string().contains("/Cust12345/api/v1/Contact/1"));
    }
}

#[tokio::test]
async fn xml_is_given_and_taken() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let xml = [("accept", "application/xml"), ("content-type", "application/xml")];
    let call = async |method: Method, path: &str, body: &str| {
        running.tenant_call(&ticket, method, &format!("{API}/{path}"), &xml, body.to_owned()).await
    };
    let contact = call(Method::GET, "Contact/1", "").await;
    assert_eq!(contact.headers["content-type"], "application/xml; charset=utf-8");
    let text = contact.text();
    let link = format!("<_Links type=\"object\"><Archive type=\"string\">{}{API}/Contact</Archive>", running.sandbox.base());
    assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?><Contact type=\"object\">") && text.contains(&link), "{text}");

    let before = running.sandbox.control().stored(demo::TENANT, "Contact", 1).unwrap();
    let changed = text.replace("Fjord Shipping", "R&amp;D Shipping");
    assert_eq!(call(Method::PUT, "Contact/1", &changed).await.status, StatusCode::OK);
    let mut after = running.sandbox.control().stored(demo::TENANT, "Contact", 1).unwrap();
    assert_eq!(after["Name"], "R&D Shipping");
    after["Name"] = before["Name"].clone();
    after["UpdatedDate"] = before["UpdatedDate"].clone();
    assert_eq!(after, before);
    assert_eq!(call(Method::PUT, "Contact/1", "<no").await.status, StatusCode::BAD_REQUEST);

    let list = call(Method::GET, "Contact?$top=1&$select=name", "").await.text();
    let next = format!("<odata.nextLink type=\"string\">{}{API}/Contact?$top=1&amp;$select=name&amp;$skip=1</", running.sandbox.base());
    assert!(list.contains(&next), "{list}");
    let listing = running.call(Method::GET, "/Cust12345/api", &xml[..1], "").await.text();
    assert!(listing.contains(&format!("<v1 type=\"string\">{}{API}/</v1>", running.sandbox.base())), "{listing}");
    let missing = call(Method::GET, "Contact/999", "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text().contains("<Error type=\"boolean\">true</Error>"));
}

#[tokio::test]
async fn answers_are_compressed_as_asked_or_demanded() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let get = async |path: &str, accept: &str| {
        running.tenant_call(&ticket, Method::GET, &format!("{API}/{path}"), &[("accept-encoding", accept)], "").await
    };
    let plain = running.api(&ticket, Method::GET, "Contact/1", "").await;
    assert!(plain.headers.contains_key("content-length") && !plain.headers.contains_key("vary"));
    let packed = get("Contact/1", "deflate, gzip").await;
    assert_eq!(
        (packed.headers["content-encoding"].to_str().unwrap(), packed.headers["vary"].to_str().unwrap()),
        ("gzip", "Accept-Encoding")
    );
    assert_eq!((packed.headers.get("content-length"), &packed.headers["etag"]), (None, &plain.headers["etag"]));
    let unpacked = |body: &Bytes| {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut out).unwrap();
        out
    };
    assert_eq!(unpacked(&packed.body), plain.body);
    let feed = get("_sandbox/feed?rows=5000", "gzip").await;
    assert_eq!(unpacked(&feed.body), running.api(&ticket, Method::GET, "_sandbox/feed?rows=5000", "").await.body);
    let binary = get("Document/1/Content?size=9", "gzip").await;
    assert_eq!((binary.body.len(), binary.headers.get("content-encoding")), (9, None));

    for (fault, accept, coding) in [("identity", "gzip", None), ("br", "gzip", Some("br")), ("raw_deflate", "", Some("deflate"))] {
        running.sandbox.control().change_faults(|faults| faults.set(&format!("coding={fault}")).unwrap());
        let answer = get("Contact/1", accept).await;
        assert_eq!(answer.headers.get("content-encoding").map(|coding| coding.to_str().unwrap()), coding);
    }
}

#[tokio::test]
async fn a_compressed_body_is_taken() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let pack = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let put = async |coding: &str, body: Vec<u8>| {
        running.tenant_call(&ticket, Method::PUT, &format!("{API}/Contact/1"), &[("content-encoding", coding)], body).await
    };
    assert_eq!(put("gzip", pack(r#"{"Name":"Packed"}"#)).await.json()["Name"], "Packed");
    assert_eq!(put("gzip", b"{}".to_vec()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(put("zstd", b"{}".to_vec()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let bomb = format!(r#"{{"Name":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(put("gzip", pack(&bomb)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn versions_guard_what_is_written() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let call = async |method: Method, name: &str, value: &str, body: &str| {
        running.tenant_call(&ticket, method, &format!("{API}/Contact/1"), &[(name, value)], body.to_owned()).await
    };
    let first = running.api(&ticket, Method::GET, "Contact/1", "").await.headers["etag"].to_str().unwrap().to_owned();
    assert!(first.starts_with('"'), "strong: {first}");
    let same = call(Method::GET, "if-none-match", &first, "").await;
    assert_eq!((same.status, same.body.len(), same.headers["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, 0, first.as_str()));
    running.sandbox.control().change_faults(|faults| faults.set("old_links.Cust12345=http://old").unwrap());
    let written = call(Method::PUT, "if-match", &first, r#"{"Name":"B"}"#).await;
    assert_eq!(written.status, StatusCode::OK, "a move is no new version");
    assert_ne!(written.headers["etag"].to_str().unwrap(), first);
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(call(method, "if-match", &first, "{}").await.status, StatusCode::PRECONDITION_FAILED);
    }
    assert_eq!(call(Method::GET, "if-none-match", &first, "").await.status, StatusCode::OK);
    let future = "Fri, 01 Jan 2100 00:00:00 GMT";
    assert_eq!(call(Method::GET, "if-modified-since", future, "").await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(call(Method::DELETE, "if-unmodified-since", future, "").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn service_answers_behind_the_same_door() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let path = "/cust12345/cs/scripts/customer.fcgi?action=safeParse&includeId=x";
    let echo = running.tenant_call(&ticket, Method::POST, path, &[], "body").await.json();
    assert_eq!((&echo["Action"], &echo["Method"], &echo["BodyLength"]), (&json!("safeParse"), &json!("POST"), &json!(4)));
    assert_eq!((&echo["Target"], &echo["TicketValid"]), (&json!(path), &json!(true)));
    assert_eq!(echo["Self"], format!("{}/Cust12345/CS/scripts/customer.fcgi", running.sandbox.base()));
    assert_eq!(running.get(path).await.status, StatusCode::UNAUTHORIZED);
    running.sandbox.control().change_faults(|faults| faults.set("state.Cust12345=Suspended").unwrap());
    assert_eq!(running.tenant_call(&ticket, Method::GET, path, &[], "").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
