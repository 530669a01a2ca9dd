//! Envelopes as applications write them, and those that are refused.

use super::*;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// What becomes of the text, in which `{}` stands for what is injected, and `[…]` for what goes.
fn becomes(marked: &str) {
    let (mut sent, mut expected, mut rest) = (String::new(), String::new(), marked);
    while let Some(at) = rest.find(['{', '[']) {
        sent.push_str(&rest[..at]);
        expected.push_str(&rest[..at]);
        if rest[at..].starts_with("{}") {
            expected.push_str(INJECTED);
            rest = &rest[at + 2..];
        } else if rest[at..].starts_with("{+") {
            // What is written around it.
            let end = at + rest[at..].find("+}").unwrap();
            expected.push_str(&rest[at + 2..end].replace('$', INJECTED));
            rest = &rest[end + 2..];
        } else {
            let end = at + rest[at..].find(']').unwrap();
            sent.push_str(&rest[at + 1..end]);
            rest = &rest[end + 1..];
        }
    }
    sent.push_str(rest);
    expected.push_str(rest);
    assert_eq!(whole(&sent), Ok(expected), "{sent}");
}

#[test]
fn a_header_gets_them_and_keeps_what_else_it_has() {
    becomes(&format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<s:Envelope xmlns:s=\"{SOAP11}\" xmlns:n='{NS}'>\n  <s:Header>{{}}\n    \
         <n:TimeZone><n:SoTimeZoneId>1</n:SoTimeZoneId></n:TimeZone>\n  </s:Header>\n  \
         <s:Body><n:GetContact><n:ContactId>5</n:ContactId></n:GetContact></s:Body>\n</s:Envelope>\n"
    ));
}

#[test]
fn stale_ones_make_room_whatever_their_prefix_and_namespace() {
    becomes(&format!(
        "<E:Envelope xmlns:E='{SOAP12}'><E:Header xmlns:a=\"{NS}\">{{}} [<a:ApplicationToken E:mustUnderstand=\"1\">old</a:ApplicationToken>] \
         <a:TimeZone/>[<Credentials xmlns=\"http://www.superoffice.net/ws/crm/NetServer/Services84\"><Ticket>x</Ticket><!-- > --></Credentials>]\
         [<ApplicationToken/>][<a:Credentials><a:Ticket/></a:Credentials>]<x:ApplicationTokens xmlns:x='urn:x'/>\
         <o:Security xmlns:o='urn:o'><a:Credentials>deeper ones are others</a:Credentials></o:Security></E:Header>\
         <E:Body><GetContact xmlns='{NS}'><ApplicationToken>data</ApplicationToken></GetContact></E:Body></E:Envelope>"
    ));
}

#[test]
fn a_header_is_made_where_there_is_none() {
    becomes(&format!(
        "<soap:Envelope xmlns:soap=\"{SOAP11}\"> {{+<soap:Header>$</soap:Header>+}}<soap:Body><GetMyContact xmlns=\"{NS}\"/></soap:Body></soap:Envelope>"
    ));
    becomes(&format!("<Envelope xmlns=\"{SOAP12}\">{{+<Header>$</Header>+}}<Body><a:GetMyContact xmlns:a=\"{NS}\"/></Body></Envelope>"));
}

#[test]
fn an_empty_header_is_opened() {
    // The slash goes, and an end tag comes.
    for (tag, open) in [("<s:Header/>", "<s:Header>"), ("<s:Header a='/>' />", "<s:Header a='/>' >")] {
        let text =
            |header: &str| format!("<s:Envelope xmlns:s='{SOAP11}'>{header}<!-- --><s:Body><n:X xmlns:n='{NS}'/></s:Body></s:Envelope>");
        assert_eq!(whole(&text(tag)), Ok(text(&format!("{open}{INJECTED}</s:Header>"))));
    }
    becomes(&format!("<s:Envelope xmlns:s='{SOAP11}'><s:Header>{{}}</s:Header><s:Body><n:X xmlns:n='{NS}'/></s:Body></s:Envelope>"));
}

#[test]
fn what_stands_before_and_in_the_header_is_no_trap() {
    let text = format!(
        "\u{feff}<?xml version='1.0'?><?pi <s:Header> ?><!-- <s:Header> -->\n<s:Envelope a=\"&lt;s:Header>\" xmlns:s='{SOAP11}' b='>'>\
         <!-- <s:Header/> --><s:Header c=\"it's > this\">$<x><![CDATA[</x></s:Header><s:Body>]]><!-- </s:Header> -->&lt;</x>\
         <y><ApplicationToken>deeper</ApplicationToken></y></s:Header><s:Body><n:X xmlns:n='{NS}'/></s:Body></s:Envelope>"
    );
    assert_eq!(whole(&text.replace('$', "")), Ok(text.replace('$', INJECTED)));
}

#[test]
fn the_documentations_own_sample_is_taken_for_what_was_meant() {
    becomes(&format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SOAP-ENV:Envelope\n xmlns:SOAP-ENV=\"{SOAP12}\"\n xmlns:Contact=\"{NS}\">\n  \
         [<Contact:ApplicationToken>1234567-1234-9876</Contact:ApplicationToken>]\n  [<Contact:Credentials>\n    \
         <Contact:Ticket>7T:1234abcxyzExample==</Contact:Ticket>\n  </Contact:Credentials>]\n \
         {{+<SOAP-ENV:Header>$</SOAP-ENV:Header>+}}<SOAP-ENV:Body>\n   <Contact:GetContact>\n    \
         <Contact:ContactId>0</Contact:ContactId>\n   </Contact:GetContact>\n\n </SOAP-ENV:Body>\n</SOAP-ENV:Envelope>"
    ));
}

/// The version that the injected elements are of.
fn version(lines: &[(&'static str, &str)], path: &str, text: &str) -> String {
    let sent = async {
        let mut headers = headers(lines);
        let (envelope, body) = open(&mut headers, path, Pieces::new([text.to_owned()])).await?;
        let body = envelope.send(Body::stream(body), &ticket());
        Ok::<_, ProxyError>(String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    let sent = match block(sent) {
        Ok(sent) => sent,
        Err(error) => return error.to_string(),
    };
    let spaces: Vec<&str> =
        sent.match_indices(" xmlns=\"").map(|(at, found)| sent[at + found.len()..].split('"').next().unwrap()).collect();
    assert_eq!(spaces[0], spaces[1]);
    spaces[0].rsplit('/').next().unwrap().to_owned()
}

#[test]
fn the_version_is_the_bodys_else_the_callers_credentials_else_the_actions_else_the_paths() {
    let services = |version: u8| format!("http://www.superoffice.net/ws/crm/NetServer/Services{version}");
    let action = format!("\"{}/Contact/GetContact\"", services(85));
    let text = |stale: &str, body: &str| {
        format!("<s:Envelope xmlns:s='{SOAP11}'><s:Header>{stale}</s:Header><s:Body>{body}</s:Body></s:Envelope>")
    };
    let stale = format!("<ApplicationToken xmlns='{}'/>", services(86));
    let body = format!("<GetContact xmlns='{}'/>", services(87));
    let asked = [("soapaction", action.as_str())];
    assert_eq!(version(&asked, "/Remote/Services84/C.svc", &text(&stale, &body)), "Services87");
    assert_eq!(version(&asked, "/Remote/Services84/C.svc", &text(&stale, "<x:GetContact xmlns:x='urn:x'/>")), "Services86");
    assert_eq!(version(&asked, "/Remote/Services84/C.svc", &text(&stale, "  ")), "Services86");
    assert_eq!(version(&asked, "/Remote/Services84/C.svc", &text("", "<x/>")), "Services85");
    assert_eq!(version(&[], "/Remote/Services84/C.svc", &text("", "")), "Services84");
    assert!(version(&[], "/Remote/C.svc", &text("", "")).contains("which version of the services"));
}

#[test]
fn what_cannot_be_read_for_certain_is_refused_with_a_sentence() {
    let soap = |inner: &str| format!("<s:Envelope xmlns:s='{SOAP11}'>{inner}</s:Envelope>");
    for (text, words) in [
        ("<!DOCTYPE x [<!ENTITY t 'y'>]><a/>".to_owned(), "DOCTYPE"),
        (soap("<!DOCTYPE x>"), "DOCTYPE"),
        ("<html/>".into(), "a SOAP envelope was expected"),
        ("{\"a\": 1}<".into(), "a SOAP envelope was expected"),
        ("<Envelope/>".into(), "a SOAP envelope was expected"),
        ("<s:Envelope xmlns:s='urn:other'><s:Body/></s:Envelope>".into(), "a SOAP envelope was expected"),
        (format!("<s:Envelope xmlns:s='{SOAP11}'/>"), "no Body"),
        (soap("<s:Header/>"), "no Body"),
        (soap("<s:Header/><s:Header/>"), "two Headers"),
        (soap("<Header/><s:Body/>"), "another namespace"),
        (soap(&format!("<x:Body xmlns:x='{SOAP12}'/>")), "another namespace"),
        (soap("<s:Header></s:Body>"), "not well formed"),
        (soap("<s:Header><p:x/>").replace("</s:Envelope>", ""), "not well formed"),
        (format!("<s:Envelope xmlns:s='{SOAP11}'><s:Header>"), "ends in its Header"),
        (String::new(), "ends in its Header"),
        ("<?xml version='1.0' encoding='utf-16'?>".into(), "UTF-16"),
        ("<?xml version='1.0' encoding='shift_jis'?>".into(), "an encoding that is not read here"),
        (soap(&format!("<s:Header>{}", " ".repeat(HELD))), "within 64 KiB"),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.contains(words), "{refusal:?} for {:.80}", text);
    }
}

#[test]
fn other_encodings_that_have_ascii_in_them_pass() {
    let text = format!(
        "<?xml version='1.0' encoding='ISO-8859-1'?><s:Envelope xmlns:s='{SOAP11}'><s:Header><x>\u{e5}</x></s:Header><s:Body><X xmlns='{NS}'/></s:Body></s:Envelope>"
    );
    let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let sent = block(sent(&mut xml(), Pieces::of(&latin, 7))).unwrap();
    let sent: String = sent.into_iter().map(char::from).collect();
    assert_eq!(sent, text.replace("<s:Header>", &format!("<s:Header>{INJECTED}")));
}
