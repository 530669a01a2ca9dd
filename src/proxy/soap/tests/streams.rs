//! Bodies: lengths, codings, parts, and how little of them is held.

use std::time::Duration;

use http_body_util::Full;

use super::*;

fn envelope(inner: &str) -> String {
    format!(
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header>$</s:Header><s:Body><X xmlns='{NS}'>{inner}</X></s:Body></s:Envelope>"
    )
}

fn pair(inner: &str) -> (String, String) {
    (envelope(inner).replace('$', ""), envelope(inner).replace('$', INJECTED))
}

#[tokio::test]
async fn a_known_length_stays_known_and_the_headers_say_nothing_old() {
    let (text, expected) = pair("1");
    let mut headers = headers(&[
        ("content-type", "text/xml"),
        ("content-length", "1"),
        ("content-md5", "x"),
        ("expect", "100-continue"),
        ("soapaction", "\"x\""),
    ]);
    let (envelope, body) = open(&mut headers, PATH, Pieces::of(text.as_bytes(), 10).sized()).await.unwrap();
    assert_eq!(headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["content-type", "soapaction"]);
    assert_eq!(body.size_hint().exact(), Some(text.len() as u64), "the body is the caller's own");
    let body = envelope.send(Body::stream(body), &ticket());
    assert_eq!(body.size_hint().exact(), Some(expected.len() as u64));
    assert_eq!(body.collect().await.unwrap().to_bytes(), expected.as_bytes());
}

#[tokio::test]
async fn the_same_envelope_goes_out_again_with_another_ticket() {
    let (text, expected) = pair("1");
    let (envelope, body) = open(&mut xml(), PATH, Pieces::of(text.as_bytes(), 3)).await.unwrap();
    let kept = body.collect().await.unwrap().to_bytes();
    assert_eq!(kept, text.as_bytes());
    for wanted in [TICKET, "other"] {
        let ticket = Ticket { authorization: HeaderValue::from_str(&format!("SOTicket {wanted}")).unwrap(), ..ticket() };
        let body = envelope.send(Body::stream(Full::new(kept.clone())), &ticket);
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(sent, expected.replace("7T:MAA3AGYA&amp;lt;==", &wanted.replace('&', "&amp;")).as_bytes());
    }
}

/// Says how much of it was asked for.
struct Asked(u64, std::sync::Arc<std::sync::atomic::AtomicU64>);

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0 += 1;
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let text = if self.0 == 1 { pair("").0 } else { "x".repeat(1024) };
        Poll::Ready((self.0 <= 1000).then(|| Ok(Frame::data(text.into()))))
    }
}

#[tokio::test]
async fn nothing_behind_the_header_is_waited_for() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = || asked.load(std::sync::atomic::Ordering::Relaxed);
    let (envelope, body) = open(&mut xml(), PATH, Asked(0, asked.clone())).await.unwrap();
    assert_eq!(count(), 1);
    assert!(body.text().len() < 1024);
    let mut body = envelope.send(Body::stream(body), &ticket());
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        frames += 1;
        assert!(frame.unwrap().into_data().unwrap().len() <= 1024 || frames == 1);
        assert!(count() <= frames + 1, "each piece goes on before the next one is asked for");
    }
    assert!(frames >= 1000);
}

#[tokio::test]
async fn compressed_ones_go_on_plain() {
    use std::io::Write;
    let (text, expected) = pair(&"0123456789".repeat(50_000));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    for size in [1, 100, 1_000_000] {
        let mut headers = headers(&[("content-type", "text/xml"), ("content-encoding", "gzip"), ("content-length", "9")]);
        assert!(sent(&mut headers, Pieces::of(&gzip, size).sized()).await.unwrap() == expected.as_bytes(), "{size}");
        assert_eq!(headers.len(), 1);
    }
    let coded = |coding: &str| headers(&[("content-type", "text/xml"), ("content-encoding", coding)]);
    for (coding, body) in [("zstd", &gzip[..]), ("gzip, gzip", &gzip), ("gzip", text.as_bytes())] {
        let refused = sent(&mut coded(coding), Pieces::of(body, 100)).await.unwrap_err();
        assert_eq!(refused.code(), "bad_envelope", "{coding}");
    }
    // What breaks later breaks off: it never looks whole.
    let (envelope, body) = open(&mut coded("gzip"), PATH, Pieces::of(&gzip[..gzip.len() - 9], 10)).await.unwrap();
    let body = envelope.send(Body::stream(body), &ticket());
    assert!(body.size_hint().exact().is_none());
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn a_caller_that_breaks_off_or_stands_still_is_told_so() {
    let beginning = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header>";
    let broken = |error: BoxError| Pieces { error: Some(error), ..Pieces::new([beginning]) };
    assert_eq!(sent(&mut xml(), broken("reset".into())).await, Err(ProxyError::BodyIncomplete));
    let stalled = Stalled(Duration::from_secs(60));
    assert_eq!(sent(&mut xml(), broken(stalled.into())).await, Err(ProxyError::BodyTimeout(stalled.0)));
    let (text, _) = pair("1");
    let body = Pieces { error: Some("reset".into()), ..Pieces::of(text.as_bytes(), 50) };
    let (envelope, body) = open(&mut xml(), PATH, body).await.unwrap();
    assert!(envelope.send(Body::stream(body), &ticket()).collect().await.is_err());
}

#[tokio::test]
async fn trailers_go_on() {
    let (text, _) = pair("1");
    let body = Pieces { trailers: Some(headers(&[("x-sum", "1")])), ..Pieces::new([text]) };
    let (envelope, body) = open(&mut xml(), PATH, body).await.unwrap();
    let body = envelope.send(Body::stream(body), &ticket());
    assert_eq!(body.collect().await.unwrap().trailers().unwrap()["x-sum"], "1");
}

fn mtom(start: &str) -> HeaderMap {
    headers(&[(
        "content-type",
        &format!("multipart/related; type=\"application/xop+xml\"; boundary=\"uuid:5+id=1\"{start}; start-info=\"text/xml\""),
    )])
}

const ROOT: &str = "Content-ID: <http://tempuri.org/0>\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: application/xop+xml;charset=utf-8;type=\"text/xml\"";
const FILE: &str = "Content-ID: <http://tempuri.org/1>\r\nContent-Transfer-Encoding: binary\r\nContent-Type: application/octet-stream";

#[tokio::test]
async fn the_root_part_of_mtom_gets_them_and_the_others_stay() {
    let (root, rewritten) = pair("<xop:Include xmlns:xop='urn:xop' href='cid:1'/>");
    let file = "<s:Envelope>\0\r\n--uuid:5+id=12\r\n<s:Header/>";
    let first =
        |root: &str| format!("\r\n--uuid:5+id=1 \r\n{ROOT}\r\n\r\n{root}\r\n--uuid:5+id=1\r\n{FILE}\r\n\r\n{file}\r\n--uuid:5+id=1--\r\n");
    let second = |root: &str| {
        format!(
            "--uuid:5+id=1\r\n\r\nnot this\r\n--uuid:5+id=1\r\n{FILE}\r\n\r\n{file}\r\n--uuid:5+id=1\r\n{ROOT}\r\n\r\n{root}\r\n--uuid:5+id=1--"
        )
    };
    for size in [1, 2, 7, 10_000] {
        for start in ["", "; start=\"<http://tempuri.org/0>\""] {
            let sent = sent(&mut mtom(start), Pieces::of(first(&root).as_bytes(), size)).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&sent), first(&rewritten));
        }
        let sent = sent(&mut mtom("; start=\"<http://tempuri.org/0>\""), Pieces::of(second(&root).as_bytes(), size)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&sent), second(&rewritten));
    }
}

#[tokio::test]
async fn parts_that_cannot_be_read_are_refused() {
    let (root, _) = pair("");
    let part = |headers: &str, content: &str| format!("--uuid:5+id=1\r\n{headers}\r\n\r\n{content}\r\n--uuid:5+id=1--");
    for (start, text) in [
        ("; start=\"<other>\"", part(ROOT, &root)),
        ("", part("Content-Transfer-Encoding: base64", &root)),
        ("", part("Content-Type: application/xop+xml; charset=utf-16", &root)),
        ("", part("Content-Length: 5", &root)),
        ("", part(ROOT, &root[..root.len() / 2])),
        ("", part(ROOT, "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'>\r\n--uuid:5+id=1\r\n\r\n<s:Body><x/></s:Body>")),
        ("", root.clone()),
        ("; start=\"<b>\"", part("Content-ID: <a>", &"x".repeat(HELD))),
    ] {
        let refused = sent(&mut mtom(start), Pieces::of(text.as_bytes(), 1000)).await.unwrap_err();
        assert_eq!(refused.code(), "bad_envelope", "{text:.300}");
    }
}

#[test]
fn descriptions_are_known_by_their_query() {
    for query in ["wsdl", "WSDL", "singleWsdl", "xsd=xsd0", "wsdl=wsdl0&x"] {
        assert!(describes(Some(query)), "{query}");
    }
    for query in ["", "x=wsdl", "wsdls", "a&wsdl"] {
        assert!(!describes(Some(query)), "{query}");
    }
    assert!(!describes(None));
}

#[tokio::test]
async fn utf_16_is_refused_with_a_sentence() {
    let (text, _) = pair("1");
    for (mark, unit) in [
        ("\u{feff}", u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ("", u16::to_le_bytes),
        ("\u{feff}", u16::to_be_bytes),
        ("", u16::to_be_bytes),
    ] {
        let utf16: Vec<u8> = format!("{mark}{text}").encode_utf16().flat_map(unit).collect();
        let refused = sent(&mut headers(&[("content-type", "text/xml")]), Pieces::of(&utf16, 1)).await.unwrap_err();
        assert!(refused.to_string().ends_with("it is written in UTF-16: send it as UTF-8"), "{refused}");
    }
}
