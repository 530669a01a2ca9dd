//! SOAP applications: credentials in envelopes, tickets that SOAP answers say have expired, descriptions.

mod ways;

use std::time::Duration;

use http::{Method, Request};
use soproxy::sandbox::demo;

use crate::bench::{Answer, Bench, Setup, TENANT};
use crate::peer::Stage;
use crate::wire::{Wire, assert_no_secret};

const NS: &str = "http://www.superoffice.net/ws/crm/NetServer/Services88";
const PATH: &str = "/Cust12345/Remote/Services88/Contact.svc";

fn envelope(header: &str, body: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:n=\"{NS}\">{header}<s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// A call as an application of old sends it.
async fn call(bench: &Bench, operation: &str, header: &str, body: &str) -> Answer {
    let (agent, _) = operation.split_once('/').unwrap();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/{TENANT}/Remote/Services88/{agent}.svc"))
        .header("host", bench.proxy.to_string())
        .header("content-type", "text/xml; charset=utf-8")
        .header("soapaction", format!("\"{NS}/{operation}\""));
    bench.send(request.body(envelope(header, body).into()).unwrap()).await
}

async fn get_contact(bench: &Bench) -> Answer {
    call(bench, "Contact/GetContact", "", "<n:GetContact><n:ContactId>3</n:ContactId></n:GetContact>").await
}

const SAVE: &str =
    "<n:SaveContactEntity><n:ContactEntity><n:ContactId>3</n:ContactId><n:Name>New</n:Name></n:ContactEntity></n:SaveContactEntity>";

fn succeeded(answer: &Answer) -> bool {
    answer.text().contains(">true</h:Succeeded>")
}

#[tokio::test]
async fn applications_of_old_work_whatever_credentials_they_send() {
    let bench = Bench::start().await;
    let stale = "<n:ApplicationToken>old</n:ApplicationToken><n:Credentials><n:Ticket>7T:old</n:Ticket></n:Credentials>";
    for header in ["", "<s:Header/>", &format!("<s:Header>{stale}</s:Header>"), stale] {
        let answer = call(&bench, "Contact/GetContact", header, "<n:GetContact><n:ContactId>3</n:ContactId></n:GetContact>").await;
        assert!(answer.status == 200 && succeeded(&answer) && answer.text().contains("<ContactId>3</ContactId>"), "{answer:?}");
    }
    assert!(succeeded(&call(&bench, "SoPrincipal/GetSystemInfo", "", "<n:GetSystemInfo/>").await));
    assert!(succeeded(&call(&bench, "Contact/SaveContactEntity", "", SAVE).await));
    assert_eq!(bench.sandbox.control().stored(TENANT, "Contact", 3).unwrap()["Name"], "New");
}

#[tokio::test]
async fn credentials_are_in_the_envelope_alone_and_the_length_is_right() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let text = envelope("<s:Header><n:TimeZone/></s:Header>", "<n:GetMyContact/>");
    let mut wire = Wire::to(bench.proxy).await;
    let head = format!(
        "POST {PATH}?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nSOAPAction: \"x\"\r\nAuthorization: SOTicket mine\r\n\
         Content-MD5: x\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    wire.say(head + &text).await;
    let (mut upstream, asked) = stage.request().await;
    assert_eq!(asked.first, format!("POST {PATH}?a=b HTTP/1.1"));
    for name in ["authorization", "so-apptoken", "content-md5", "transfer-encoding"] {
        assert_eq!(asked.all(name), Vec::<&str>::new(), "{name}");
    }
    assert_eq!((asked.one("soapaction"), asked.one("via")), (Some("\"x\""), Some("1.1 soproxy")));
    assert_eq!(asked.one("content-length"), Some(asked.body.len().to_string().as_str()));
    let sent = asked.text();
    let (before, after) = text.split_once("<n:TimeZone/>").unwrap();
    let token =
        format!("<ApplicationToken xmlns=\"{NS}\">{}</ApplicationToken><Credentials xmlns=\"{NS}\"><Ticket>7T:", demo::CLIENT_SECRET);
    assert!(
        sent.starts_with(&format!("{before}{token}")) && sent.ends_with(&format!("</Ticket></Credentials><n:TimeZone/>{after}")),
        "{sent}"
    );
    upstream.say("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<a/>").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.body.as_slice(), answer.one("content-length")), (200, &b"<a/>"[..], Some("4")));
}

#[tokio::test]
async fn an_expired_ticket_told_in_soap_is_renewed_and_the_call_repeated() {
    for told in ["SuperOffice.Exceptions.SoSessionException", "http_401"] {
        let (setup, hand) = Setup::new().manual_clock();
        let bench = setup.fault(&format!("soap_ticket={told}")).start().await;
        assert!(succeeded(&get_contact(&bench).await));
        let before = bench.exchanges();
        hand.advance(Duration::from_secs(10));
        bench.sandbox.control().revoke_tickets(None);
        let answer = call(&bench, "Contact/SaveContactEntity", "", SAVE).await;
        assert!(succeeded(&answer), "{told}: {answer:?}");
        let counters = bench.sandbox.control().counters();
        assert_eq!((counters.soap["Contact.SaveContactEntity"], counters.unauthorized), (2, 1));
        assert_eq!(bench.exchanges(), before + 1);
    }
}

#[tokio::test]
async fn a_save_that_failed_for_another_reason_is_not_repeated() {
    for (fault, exception) in [
        ("soap_exception=SuperOffice.Exceptions.SoSentryException", "SoSentryException"),
        ("soap_ticket=SuperOffice.Exceptions.SoOtherException", "SoOtherException"),
    ] {
        let (setup, hand) = Setup::new().manual_clock();
        let bench = setup.fault(fault).start().await;
        assert!(bench.get("/api/v1/Contact/1").await.status == 200);
        let before = bench.exchanges();
        hand.advance(Duration::from_secs(10));
        if fault.starts_with("soap_ticket") {
            bench.sandbox.control().revoke_tickets(None);
        }
        let answer = call(&bench, "Contact/SaveContactEntity", "", SAVE).await;
        assert!(!succeeded(&answer) && answer.text().contains(exception), "{answer:?}");
        assert_eq!(bench.sandbox.control().counters().soap["Contact.SaveContactEntity"], 1);
        assert_eq!(bench.exchanges(), before);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_again_gets_the_answer_as_it_came_and_the_next_call_succeeds() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    assert!(succeeded(&get_contact(&bench).await));
    hand.advance(Duration::from_secs(10));
    bench.sandbox.control().revoke_tickets(None);
    let large = format!("<n:SetPersonImage><n:PersonId>2</n:PersonId><n:Image>{}</n:Image></n:SetPersonImage>", "QUJD".repeat(20_000));
    let answer = call(&bench, "Person/SetPersonImage", "", &large).await;
    assert!(!succeeded(&answer) && answer.text().contains("SoSessionException"), "{answer:?}");
    assert_eq!(bench.sandbox.control().counters().soap["Person.SetPersonImage"], 1);
    bench.generation(2).await;
    assert!(succeeded(&call(&bench, "Person/SetPersonImage", "", &large).await));
}

#[tokio::test]
async fn what_no_ticket_can_be_put_into_is_refused_with_a_sentence() {
    let bench = Bench::start().await;
    let utf16: Vec<u8> = envelope("", "<n:GetMyContact/>").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content_type, body, words) in [
        ("text/xml; charset=utf-16", utf16.clone(), "UTF-16"),
        ("text/xml", utf16, "UTF-16"),
        ("text/xml", b"<!DOCTYPE a><a/>".to_vec(), "DOCTYPE"),
        ("application/json", b"{}".to_vec(), "a SOAP envelope was expected"),
        ("text/xml", b"<s:Envelope".to_vec(), "ends in its Header"),
    ] {
        let request = Request::post(PATH).header("host", bench.proxy.to_string()).header("content-type", content_type);
        let answer = bench.send(request.body(body.into()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (415, Some("bad_envelope")), "{answer:?}");
        assert!(answer.text().contains(words), "{answer:?}");
        assert_no_secret(answer.text());
    }
    assert_eq!(bench.sandbox.control().counters().api_calls, 0);
}

#[tokio::test]
async fn descriptions_lead_to_the_proxy() {
    let bench = Bench::start().await;
    let ours = format!("http://{}/{TENANT}/Remote/Services88/Person.svc", bench.proxy);
    let wsdl = bench.get("/Remote/Services88/Person.svc?wsdl").await;
    assert!(wsdl.text().contains(&format!("<soap:address location=\"{ours}\"/>")), "{}", wsdl.text());
    assert!(wsdl.text().contains(&format!("schemaLocation=\"{ours}?xsd=xsd0\"")));
    assert!(!wsdl.text().contains(bench.sandbox.base()));
    assert!(wsdl.text().contains(&format!("targetNamespace=\"{NS}\"")));
    assert_eq!(bench.get("/Remote/Services88/Person.svc?xsd=xsd0").await.status, 200);
}

#[tokio::test]
async fn the_root_of_mtom_gets_them_and_its_parts_arrive() {
    let stage = Stage::new().await;
    let bench = Setup::new().api_at(stage.address).start().await;
    let root = envelope("<s:Header></s:Header>", "<n:GetMyContact/>");
    let body = format!("--b\r\nContent-ID: <0>\r\n\r\n{root}\r\n--b\r\nContent-ID: <1>\r\n\r\n<s:Header></s:Header>\0\r\n--b--\r\n");
    let request = Request::post(PATH)
        .header("host", bench.proxy.to_string())
        .header("content-type", "multipart/related; type=\"application/xop+xml\"; boundary=b; start=\"<0>\"");
    let (answer, asked) = tokio::join!(bench.send(request.body(body.clone().into()).unwrap()), async {
        let (mut upstream, asked) = stage.request().await;
        upstream.say("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
        asked.text()
    });
    assert_eq!(answer.status, 202);
    let injected = asked.split("<s:Header>").nth(1).unwrap().split("</s:Header>").next().unwrap();
    assert!(injected.starts_with("<ApplicationToken") && injected.ends_with("</Credentials>"), "{asked}");
    assert_eq!(asked.replacen(injected, "", 1), body);
}
