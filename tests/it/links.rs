//! Links in answers come home to the proxy, whatever it is called; and what is no link, or nothing to be read, is left alone.

mod addresses;
mod back;
mod codings;
mod streams;

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::Stage;
use crate::wire::{Message, Wire, begin};

const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

/// Where this tenant is: `http://127.0.0.1:8090/Cust12345`.
fn theirs(bench: &Bench) -> String {
    format!("{}/{TENANT}", bench.sandbox.base())
}

/// The same at the proxy, for a caller that names its address.
fn ours(bench: &Bench) -> String {
    format!("http://{}/{TENANT}", bench.proxy)
}

fn in_mode(mode: &str) -> Setup {
    Setup::new().set("upstream.rewrite_links", mode)
}

/// From now on.
fn set_mode(bench: &Bench, mode: &str) {
    bench.live.apply(bench.config_with(&[("upstream.rewrite_links", mode)])).unwrap();
}

/// A request by the proxy's own address.
async fn call(bench: &Bench, method: &str, rest: &str, headers: &str, body: impl AsRef<[u8]>) -> Message {
    let body = body.as_ref();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = begin(method, rest, headers).replace("Host: localhost", &format!("Host: {}", bench.proxy));
    let mut wire = Wire::to(bench.proxy).await;
    wire.say([format!("{head}{length}\r\n").as_bytes(), body].concat()).await;
    if method == "HEAD" { wire.only_head().await.unwrap() } else { wire.answer().await }
}

async fn get(bench: &Bench, rest: &str, headers: &str) -> Message {
    call(bench, "GET", rest, headers, "").await
}

/// The sandbox stores this as the first contact's note.
async fn note(bench: &Bench, text: &str) {
    let entity = serde_json::json!({ "Name": "Fjord", "Description": text });
    assert_eq!(call(bench, "PUT", "/v1/Contact/1", JSON, entity.to_string()).await.status(), 200);
    assert_eq!(bench.sandbox.control().stored(TENANT, "Contact", 1).unwrap()["Description"], text);
}

/// What a scripted upstream answered once, and how the proxy passed it on.
struct Passed {
    answer: Message,
    theirs: String,
    ours: String,
    /// What upstream was asked.
    asked: Message,
    sent: Vec<u8>,
}

async fn pass(mode: &str, headers: &str, answer: impl Fn(&str) -> Vec<u8>) -> Passed {
    let stage = Stage::new().await;
    let bench = in_mode(mode).api_at(stage.address).start().await;
    let (ours, theirs) = (ours(&bench), format!("http://{}/{TENANT}", stage.address));
    let sent = answer(&theirs);
    let upstream = async {
        let (mut upstream, asked) = stage.request().await;
        upstream.say(&sent).await;
        asked
    };
    let (answer, asked) = tokio::join!(get(&bench, "/v1/x", headers), upstream);
    Passed { answer, theirs, ours, asked, sent }
}

impl Passed {
    /// The body as upstream sent it.
    fn body(&self) -> &[u8] {
        let head = self.sent.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        &self.sent[head + 4..]
    }

    /// Not a byte of the body is another, and the head tells the same about it.
    fn assert_untouched(&self) {
        let answer = &self.answer;
        assert!(answer.body == self.body(), "{:?} became {:?}", String::from_utf8_lossy(self.body()), answer.text());
        assert_eq!((answer.one("content-length"), answer.complete), (Some(answer.body.len().to_string().as_str()), true));
    }
}

/// An answer with this body and its length.
fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn entity(url: &str) -> String {
    format!(r#"{{"odata.nextLink":"{url}/api/v1/x?$skip=50","_Links":{{"Self":"{url}/api/v1/x"}},"Note":"see {url}/x"}}"#)
}

#[tokio::test]
async fn known_touches_links_and_not_a_note_that_holds_the_same_url() {
    let bench = in_mode("known").start().await;
    let (theirs, ours) = (theirs(&bench), ours(&bench));
    let text = format!("see {theirs}/api/v1/Contact/2 and <{theirs}>");
    note(&bench, &text).await;

    let read = get(&bench, "/v1/Contact/1", "").await;
    let json = read.json();
    assert_eq!((&json["Description"], &json["_Links"]["Self"]), (&text.clone().into(), &format!("{ours}/api/v1/Contact/1").into()));
    assert_eq!(read.one("content-length").unwrap(), read.body.len().to_string());
    let page = get(&bench, "/v1/Contact?$top=1&$select=name,url/URLAddress", "").await.json();
    assert_eq!(page["odata.metadata"], format!("{ours}/api/v1/Contact/$metadata"));

    let xml = get(&bench, "/v1/Contact/1", "Accept: application/xml\r\n").await;
    assert!(xml.one("content-type").unwrap().starts_with("application/xml"));
    let escaped = text.replace('<', "&lt;").replace('>', "&gt;");
    assert!(xml.text().contains(&format!(">{escaped}</Description>")), "{}", xml.text());
    assert!(xml.text().contains(&format!("<Self type=\"string\">{ours}/api/v1/Contact/1</Self>")), "{}", xml.text());
    assert_eq!(xml.one("content-length").unwrap(), xml.body.len().to_string());
    let page = get(&bench, "/v1/Contact?$top=1", "Accept: text/xml\r\n").await.text();
    assert!(page.contains(&format!("<odata.nextLink type=\"string\">{ours}/api/v1/Contact?$top=1&amp;$skip=1</odata.nextLink>")), "{page}");

    // A request's body is not looked at: what names the proxy is stored so.
    note(&bench, &format!("see {ours}/api/v1/Contact/2")).await;
}

#[tokio::test]
async fn all_is_every_occurrence() {
    let bench = in_mode("all").start().await;
    let (theirs, ours) = (theirs(&bench), ours(&bench));
    note(&bench, &format!("see {theirs}/api/v1/Contact/2 and <{theirs}>")).await;
    for accept in ["", "Accept: application/xml\r\n"] {
        let text = get(&bench, "/v1/Contact/1", accept).await.text();
        assert!(!text.contains(&theirs), "{text}");
        assert!(text.contains(&format!("see {ours}/api/v1/Contact/2 and ")), "{text}");
    }
    bench.fault("escaped_slashes=true");
    let answer = get(&bench, "/v1/Contact/1", "").await;
    assert!(answer.text().contains(&format!("see {ours}/api/v1/Contact/2").replace('/', r"\/")), "{}", answer.text());
    assert_eq!(answer.json()["Description"], format!("see {ours}/api/v1/Contact/2 and <{ours}>"));
}

#[tokio::test]
async fn off_touches_nothing() {
    let passed = pass("off", "Accept-Encoding: zstd, gzip\r\n", |theirs| {
        answer(&format!("{JSON}Location: {theirs}/api/v1/x\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\n"), entity(theirs).as_bytes())
    })
    .await;
    passed.assert_untouched();
    assert_eq!(passed.answer.one("location").unwrap(), format!("{}/api/v1/x", passed.theirs));
    assert_eq!(passed.asked.one("accept-encoding"), Some("zstd, gzip"));
    // Request bodies neither.
    let bench = in_mode("off").start().await;
    note(&bench, &format!("see {}/x", ours(&bench))).await;
    let read = get(&bench, "/v1/Contact/1", "").await.json();
    assert_eq!(read["_Links"]["Self"], format!("{}/api/v1/Contact/1", theirs(&bench)));
}

#[tokio::test]
async fn other_types_attachments_and_parts_pass_byte_for_byte_in_every_mode() {
    for mode in ["known", "all"] {
        for headers in [
            "Content-Type: application/octet-stream\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
            "Content-Type: text/plain\r\n",
            "Content-Type: application/pdf\r\n",
            "Content-Type: application/json; charset=utf-16\r\n",
            "Content-Type: application/json\r\nContent-Disposition: attachment; filename=\"export.json\"\r\n",
            "",
        ] {
            let more = |theirs: &str| format!("{headers}Location: {theirs}\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\n");
            let passed = pass(mode, "", |theirs| answer(&more(theirs), entity(theirs).as_bytes())).await;
            passed.assert_untouched();
            let head = &passed.answer;
            assert_eq!(head.one("location").unwrap(), passed.ours, "a head has links, whatever the body is");
            assert_eq!((head.one("etag"), head.one("accept-ranges")), (Some("\"1\""), Some("bytes")));
        }
        let part = "HTTP/1.1 206 Partial Content\r\nContent-Type: application/json\r\n";
        let passed = pass(mode, "Range: bytes=0-\r\n", |theirs| {
            let body = entity(theirs);
            format!("{part}Content-Range: bytes 0-{}/9999\r\nContent-Length: {}\r\n\r\n{body}", body.len() - 1, body.len()).into_bytes()
        })
        .await;
        assert_eq!(passed.answer.status(), 206);
        passed.assert_untouched();
    }
}

#[tokio::test]
async fn a_head_answer_does_not_tell_a_length_that_get_would_not_have() {
    let bench = in_mode("all").start().await;
    let made = call(&bench, "POST", "/v1/Contact", JSON, r#"{"Name":"A"}"#).await;
    assert_eq!(made.one("location").unwrap(), format!("{}/api/v1/Contact/61", ours(&bench)));
    let head = call(&bench, "HEAD", "/v1/Contact/61", "", "").await;
    let read = get(&bench, "/v1/Contact/61", "").await;
    assert_eq!((head.status(), head.one("etag"), head.one("content-type")), (200, read.one("etag"), read.one("content-type")));
    assert!(head.one("content-length").is_none_or(|length| length == read.body.len().to_string()), "{head:?}");
    // What is never rewritten keeps it.
    let file = call(&bench, "HEAD", "/v1/Document/1/Content?size=5000", "", "").await;
    assert_eq!(file.one("content-length"), Some("5000"));
}
