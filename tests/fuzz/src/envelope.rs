//! SOAP envelopes: the output without what we put in is the input, the caller's credentials do not survive, and the pieces in
//! which it comes do not matter.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use jiff::Timestamp;
use soproxy::body::Body;
use soproxy::clock::Clock;
use soproxy::proxy::error::ProxyError;
use soproxy::proxy::soap::{HELD, TicketFaults, open};
use soproxy::ticket::Ticket;
use xml::reader::{EventReader, XmlEvent};

use super::support::{Pieces, contains, find, knobs, now, read};

const PATH: &str = "/Cust12345/Remote/Services88/Contact.svc";
const APP_TOKEN: &str = "0urAppT0ken<&>";
const TICKET: &str = "7T:0urT1cket&==";
static FAULTS: LazyLock<TicketFaults> = LazyLock::new(TicketFaults::default);

/// Four knobs (form, size of the pieces, coding, path), then the body.
pub fn check(data: &[u8]) {
    let ([form, size, coding, path], text) = knobs(data);
    if contains(text, b"0urAppT0ken") || contains(text, b"0urT1cket") {
        return;
    }
    let hostile = coding % 4 == 3;
    let content_type = ["text/xml", "application/soap+xml; charset=utf-8", "multipart/related; boundary=b", "multipart/related; boundary=\"b\"; start=\"<s>\""];
    let content_type = content_type[usize::from(form % 4)];
    let path = if path % 2 == 0 { PATH } else { "/Cust12345/Remote/Contact.svc" };
    let coded = match coding % 4 {
        0 | 1 => text.to_vec(),
        2 => gzip(text),
        // The body itself is taken for a coding.
        _ => text.to_vec(),
    };
    let coding = ["identity", "identity", "gzip", ["gzip", "deflate", "br"][usize::from(coding >> 2) % 3]][usize::from(coding % 4)];
    let whole = sent(content_type, coding, path, Pieces::whole(&coded));
    let pieces = sent(content_type, coding, path, Pieces::of(&coded, size));
    judged(content_type, coding, &coded, size, hostile);
    // What is wrong with a coding is told at once or later, depending on when it is seen.
    let broken = |sent: Sent| if coding == "identity" { sent } else { sent.and_then(|out| out.map(Some).ok_or_else(String::new)) };
    let (whole, pieces) = (broken(whole), broken(pieces));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert!(whole == pieces, "at once and in pieces of {size}: {}", shown(text)),
        // Where no root part is found, it depends on the pieces which sentence says so.
        (Err(whole), Err(pieces)) if coding == "identity" && form % 4 < 2 => assert_eq!(whole, pieces, "{}", shown(text)),
        (Err(_), Err(_)) => {}
        _ => panic!("at once and in pieces of {size} are two things: {whole:?} {pieces:?} {}", shown(text)),
    }
    let Ok(Some(out)) = whole else { return };
    if coding == "identity" || coded != text {
        compare(text, &out, content_type.starts_with("multipart"));
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory")
}

fn headers(content_type: &'static str, coding: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    if coding != "identity" {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    headers
}

type Sent = Result<Option<Vec<u8>>, String>;

/// What goes upstream; `None` if the body breaks off on its way, and the sentence if it is refused.
fn sent(content_type: &'static str, coding: &'static str, path: &str, body: Pieces) -> Sent {
    let mut headers = headers(content_type, coding);
    match now(open(&mut headers, path, body)) {
        Ok((envelope, body)) => {
            assert!(!headers.contains_key(CONTENT_ENCODING));
            let (clock, _) = Clock::manual(Timestamp::UNIX_EPOCH);
            let authorization = HeaderValue::from_str(&format!("SOTicket {TICKET}")).expect("a value");
            let app_token = HeaderValue::from_static(APP_TOKEN);
            let ticket = Ticket { authorization, app_token, generation: 1, issued: clock.now(), after_refusal: false };
            Ok(read(envelope.send(Body::stream(body), &ticket)))
        }
        Err(error) => {
            assert_eq!(error.code(), "bad_envelope");
            let ProxyError::BadEnvelope(why) = error else { panic!("{error}") };
            Err(why.to_owned())
        }
    }
}

/// The same body as an answer: it goes on as it came, whatever is read in it, and the pieces do not matter.
fn judged(content_type: &'static str, coding: &'static str, body: &[u8], size: u8, broken: bool) {
    let judge = |pieces: Pieces| {
        let mut response = Response::new(pieces);
        *response.headers_mut() = headers(content_type, coding);
        let (expired, response) = now(FAULTS.judge(response));
        assert!(read(response.into_body()).as_deref() == Some(body), "an answer changed on its way");
        expired
    };
    let expired = judge(Pieces::whole(body));
    let in_pieces = judge(Pieces::of(body, size));
    // How much of a broken coding can be read depends on the pieces.
    assert!(in_pieces == expired || broken, "an expired ticket or not: it depends on the pieces");
    assert!(!expired || coding != "identity" || contains(body, b"SoSessionException") || contains(body, b"&") || contains(body, b"CDATA"));
}

fn injected(version: &str) -> String {
    let namespace = format!("http://www.superoffice.net/ws/crm/NetServer/Services{version}");
    format!(
        "<ApplicationToken xmlns=\"{namespace}\">0urAppT0ken&lt;&amp;&gt;</ApplicationToken><Credentials xmlns=\"{namespace}\">\
         <Ticket>7T:0urT1cket&amp;==</Ticket></Credentials>"
    )
}

/// Takes out what was put in, and holds the rest against what came.
fn compare(came: &[u8], went: &[u8], related: bool) {
    const BEGIN: &[u8] = b"<ApplicationToken xmlns=\"http://www.superoffice.net/ws/crm/NetServer/Services";
    let token = find(went, b"0urAppT0ken").expect("our token is in it");
    let at = went[..token].windows(BEGIN.len()).rposition(|window| window == BEGIN).expect("our element is in it");
    let version: String = went[at + BEGIN.len()..].iter().take_while(|byte| **byte != b'"').map(|byte| char::from(*byte)).collect();
    let ours = injected(&version);
    assert!(went[at..].starts_with(ours.as_bytes()), "{}", shown(&went[at..]));
    let (before, after) = (&went[..at], &went[at + ours.len()..]);
    assert!(!contains(after, b"0urAppT0ken") && !contains(after, b"0urT1cket"), "twice");
    let mut ways = vec![[before, after].concat()];
    if let Some((name, rest)) = after.strip_prefix(b"</").and_then(|after| Some(after.split_at(after.iter().position(|byte| *byte == b'>')?))) {
        let rest = &rest[1..];
        // A Header that was not there.
        if let Some(before) = before.strip_suffix(&[b"<", name, b">"].concat()[..]) {
            ways.push([before, rest].concat());
        }
        // One that was there, but empty.
        if let Some(before) = before.strip_suffix(b">") {
            ways.push([before, b"/>", rest].concat());
        }
    }
    let stale = contains(came, b"ApplicationToken") || contains(came, b"Credentials");
    let same = if stale { ways.iter().any(|way| is_cut_from(way, came)) } else { ways.iter().any(|way| way == came) };
    assert!(same, "what went is not what came:\n{}\n{}", shown(came), shown(went));
    if !related {
        another_reader(came, went, &version);
    }
}

/// Whether `less` is `all` without some elements that are called as credentials are.
fn is_cut_from(less: &[u8], all: &[u8]) -> bool {
    // By how many bytes `all` may be ahead at each place.
    let gone = all.len().wrapping_sub(less.len());
    if gone > all.len() {
        return false;
    }
    let mut ahead = vec![false; all.len() + 1];
    let mut places = vec![vec![]; all.len() + 1];
    ahead[0] = true;
    let mut furthest = 0;
    for at in 0..=all.len() {
        for done in std::mem::take(&mut places[at]) {
            ahead[done] = true;
        }
        if at > furthest && ahead.iter().all(|possible| !possible) {
            return false;
        }
        if at == all.len() {
            return ahead[gone];
        }
        if all[at] == b'<' && is_credential(&all[at..]) {
            for (length, _) in all[at..].iter().enumerate().filter(|(_, byte)| **byte == b'>') {
                for done in (0..=gone).filter(|done| ahead[*done] && done + length < gone) {
                    places[at + length + 1].push(done + length + 1);
                    furthest = furthest.max(at + length + 1);
                }
            }
        }
        for (done, possible) in ahead.iter_mut().enumerate() {
            *possible = *possible && at >= done && less.get(at - done) == Some(&all[at]);
        }
    }
    false
}

fn is_credential(tag: &[u8]) -> bool {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/');
    let name = tag[1..].split(ends).next().unwrap_or_default();
    let local = name.splitn(2, |byte| *byte == b':').last().unwrap_or_default();
    local == b"ApplicationToken" || local == b"Credentials"
}

/// What well-formed XML holds before its Body's first element: the credentials, and everything else.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    credentials: Vec<(String, String, String)>,
    rest: Vec<String>,
}

fn xml(text: &[u8]) -> Option<Read> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut read = Read { credentials: Vec::new(), rest: Vec::new() };
    let mut path: Vec<String> = Vec::new();
    let mut within = None;
    let mut body = false;
    for event in EventReader::new(text) {
        let event = event.ok()?;
        if body {
            // All of it has to be well formed, but is forwarded as it came.
            continue;
        }
        match event {
            XmlEvent::StartElement { name, attributes, .. } => {
                path.push(name.local_name.clone());
                let inner = path.len() == 2 || (path.len() == 3 && path[1] == "Header");
                if within.is_none() && inner && (name.local_name == "ApplicationToken" || name.local_name == "Credentials") {
                    within = Some(path.len());
                    read.credentials.push((name.local_name, name.namespace.unwrap_or_default(), String::new()));
                } else if within.is_none() {
                    read.rest.push(format!("<{name:?} {attributes:?}"));
                    body = path.len() == 3 && path[1] == "Body";
                }
            }
            XmlEvent::EndElement { name } => {
                match within {
                    Some(depth) if depth == path.len() => within = None,
                    Some(_) => {}
                    None => read.rest.push(format!("</{}", name.local_name)),
                }
                path.pop();
            }
            XmlEvent::Characters(text) | XmlEvent::CData(text) | XmlEvent::Whitespace(text) => match (within, read.credentials.last_mut()) {
                (Some(_), Some(last)) => last.2.push_str(&text),
                _ => read.rest.push(text),
            },
            _ => {}
        }
    }
    Some(read)
}

/// Another reader of XML, if it can read what came, finds our credentials in what went and no others, and all the rest.
fn another_reader(came: &[u8], went: &[u8], version: &str) {
    if came.len() > HELD {
        return;
    }
    let Some(before) = xml(came) else { return };
    let after = xml(went).unwrap_or_else(|| panic!("well formed came, and not well formed went:\n{}\n{}", shown(came), shown(went)));
    let namespace = format!("http://www.superoffice.net/ws/crm/NetServer/Services{version}");
    let ours = [("ApplicationToken", APP_TOKEN), ("Credentials", TICKET)].map(|(name, value)| (name.to_owned(), namespace.clone(), value.to_owned()));
    assert_eq!(after.credentials, ours, "other credentials than ours in {}", shown(went));
    let mut rest = after.rest;
    if rest.concat() != before.rest.concat() {
        // There is one more Header, with nothing else in it.
        let made = rest.windows(2).position(|pair| pair[0].starts_with('<') && pair[0].contains("Header") && pair[1] == "</Header");
        rest.drain(made.map_or(0..0, |made| made..made + 2));
    }
    assert_eq!(rest.concat(), before.rest.concat(), "{}", shown(went));
}
