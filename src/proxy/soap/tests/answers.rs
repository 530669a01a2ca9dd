//! Which answers mean that a ticket has expired; and that all pass as they came.

use http::Response;

use super::*;

fn answer(succeeded: &str, exception: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header>\
         <h:ExceptionInfo xmlns:h=\"{NS}\" xmlns=\"{NS}\"><Message>no &lt; yes</Message><StackTrace>{}</StackTrace>{exception}<Source i:nil=\"true\" \
         xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"/></h:ExceptionInfo><h:ExtraInfo xmlns:h=\"{NS}\"/>\
         <h:Succeeded xmlns:h=\"{NS}\">{succeeded}</h:Succeeded><h:TimeZone xmlns:h=\"{NS}\"/></s:Header>\
         <s:Body><GetContactResponse xmlns=\"{NS}\"/></s:Body></s:Envelope>",
        "at X()\n".repeat(100)
    )
}

async fn judged(faults: &TicketFaults, lines: &[(&'static str, &str)], body: Pieces) -> (bool, Vec<u8>) {
    let mut response = Response::new(body);
    *response.headers_mut() = headers(lines);
    let (expired, response) = faults.judge(response).await;
    (expired, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

const XML: [(&str, &str); 1] = [("content-type", "text/xml; charset=utf-8")];
const EXPIRED: &str = "<ExceptionType>SuperOffice.Exceptions.SoSessionException</ExceptionType>";

async fn expired(text: &str) -> bool {
    let mut all = Vec::new();
    for size in [1, 64, text.len().max(1)] {
        let (expired, body) = judged(&TicketFaults::default(), &XML, Pieces::of(text.as_bytes(), size).sized()).await;
        assert_eq!(String::from_utf8_lossy(&body), text);
        all.push(expired);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    all[0]
}

#[tokio::test]
async fn a_listed_type_in_a_call_that_did_not_succeed_is_an_expired_ticket() {
    for exception in [
        EXPIRED,
        "<ExceptionType>SoSessionException</ExceptionType>",
        "<ExceptionType>\n So<![CDATA[Session]]>&#69;xception</ExceptionType>",
    ] {
        assert!(expired(&answer("false", exception)).await, "{exception}");
        assert!(expired(&answer(" 0 ", exception)).await);
        assert!(
            expired(&answer("false", exception).replace("schemas.xmlsoap.org/soap/envelope/", "www.w3.org/2003/05/soap-envelope")).await
        );
        assert!(expired(&format!("\u{feff}<?xml version=\"1.0\"?>\n{}", answer("false", exception))).await);
    }
}

#[tokio::test]
async fn nothing_else_is() {
    let inner = format!("<ExceptionType>SoSentryException</ExceptionType><InnerException>{EXPIRED}</InnerException>");
    let inner_first = format!("<InnerException>{EXPIRED}</InnerException><ExceptionType>SoSentryException</ExceptionType>");
    let plain = answer("false", EXPIRED);
    for text in [
        answer("true", EXPIRED),
        answer("1", EXPIRED),
        answer("", EXPIRED),
        answer("False?", EXPIRED),
        answer("false", "<ExceptionType>SuperOffice.Exceptions.SoSentryException</ExceptionType>"),
        answer("false", "<ExceptionType>SoSessionException2</ExceptionType>"),
        answer("false", "<ExceptionType>SoSessionException.Other</ExceptionType>"),
        answer("false", ""),
        answer("false", "<ExceptionType/>"),
        answer("false", &inner),
        answer("false", &inner_first),
        answer("false", &format!("<!-- {EXPIRED} -->")),
        answer("false", &EXPIRED.replace("<ExceptionType>", "<ExceptionType xmlns='urn:x'>")),
        plain.replace(NS, "urn:other"),
        plain.replace("s:Header", "s:Heading"),
        plain.replace("h:Succeeded", "h:Success"),
        plain.replace("h:ExceptionInfo", "h:Exception"),
        plain.replace("<s:Header>", "<s:Header/><s:Body>").replace("</s:Header>", "</s:Body>"),
        plain[..plain.find("<h:Succeeded").unwrap()].to_owned(),
        format!("<!DOCTYPE x>{plain}"),
        format!("<s:Envelope xmlns:s='urn:x'>{plain}</s:Envelope>"),
        answer("false", EXPIRED).replace("no &lt; yes", &"x".repeat(HELD)),
        "<html>500</html>".into(),
        String::new(),
    ] {
        assert!(!expired(&text).await, "{text:.300}");
    }
}

#[tokio::test]
async fn the_list_is_the_operators() {
    let faults = TicketFaults::new(&["My.TicketGone", "Gone"]);
    let with = |name: &str| Pieces::new([answer("false", &format!("<ExceptionType>{name}</ExceptionType>"))]);
    for (name, counts) in
        [("My.TicketGone", true), ("Other.TicketGone", false), ("TicketGone", false), ("X.Gone", true), ("Gone", true), ("gone", false)]
    {
        assert_eq!(judged(&faults, &XML, with(name)).await.0, counts, "{name}");
    }
    assert!(!judged(&TicketFaults::new::<&str>(&[]), &XML, with("SoSessionException")).await.0);
}

#[tokio::test]
async fn compressed_and_multipart_answers_are_read_and_pass_as_they_came() {
    use std::io::Write;
    let text = answer("false", EXPIRED);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    for size in [1, 10, 10_000] {
        let lines = [XML[0], ("content-encoding", "gzip")];
        assert_eq!(judged(&TicketFaults::default(), &lines, Pieces::of(&gzip, size)).await, (true, gzip.clone()));
    }
    let parts = format!("\r\n--b\r\nContent-ID: <0>\r\n\r\n{text}\r\n--b--");
    let lines = [("content-type", "multipart/related; boundary=b; start=\"<0>\"")];
    assert_eq!(judged(&TicketFaults::default(), &lines, Pieces::new([parts.clone()])).await, (true, parts.into_bytes()));
    for lines in [[("content-type", "text/html")], [("content-type", "application/json")]] {
        assert_eq!(judged(&TicketFaults::default(), &lines, Pieces::new([text.clone()])).await, (false, text.clone().into_bytes()));
    }
    let broken = Pieces { error: Some("reset".into()), ..Pieces::new(["<s:Env"]) };
    let mut response = Response::new(broken);
    *response.headers_mut() = xml();
    let (expired, response) = TicketFaults::default().judge(response).await;
    assert!(!expired && response.into_body().collect().await.is_err(), "what breaks off is broken off");
}
