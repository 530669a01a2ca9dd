//! Envelopes made of parts of which it is known what becomes of them: nothing has to be read to know the whole.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use xml::reader::{EventReader, XmlEvent};

use super::*;

/// A text, and what becomes of it.
#[derive(Clone, Debug, Default)]
struct Made {
    sent: String,
    expected: String,
}

impl Made {
    fn kept(&mut self, text: &str) {
        self.sent.push_str(text);
        self.expected.push_str(text);
    }

    fn cut(&mut self, text: &str) {
        self.sent.push_str(text);
    }

    fn added(&mut self, text: &str) {
        self.expected.push_str(text);
    }
}

/// What may stand anywhere between elements.
fn between() -> impl Strategy<Value = String> {
    let piece = select(vec![
        " ",
        "\r\n\t",
        "<!-- <s:Header/> > -->",
        "<!---->",
        "<?pi ApplicationToken='>' ??>",
        "<!-- </s:Header><s:Body><x> -->",
    ]);
    vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

/// Other elements of a Header.
fn other() -> impl Strategy<Value = String> {
    select(vec![
        "<n:TimeZone><n:SoTimeZoneId>1</n:SoTimeZoneId></n:TimeZone>",
        "<x xmlns='urn:x' a='>' b=\"/>'\"><![CDATA[<ApplicationToken>]] ></s:Header>]]></x>",
        "<n:ExtraInfo><n:Credentials><n:Ticket>deep</n:Ticket></n:Credentials>&#60;</n:ExtraInfo>",
        "<applicationtoken/>",
        "<n:ApplicationTokens>å€😀</n:ApplicationTokens>",
        "text &amp; <![CDATA[]]>",
        "<a><b><c/><d></d ></b></a>",
    ])
    .prop_map(str::to_owned)
}

/// Credentials of the caller's.
fn stale() -> impl Strategy<Value = String> {
    select(vec![
        "<n:ApplicationToken>old</n:ApplicationToken>",
        "<ApplicationToken\n/>",
        "<ApplicationToken xmlns=\"http://www.superoffice.net/ws/crm/NetServer/Services88\" a='>'>&lt;</ApplicationToken>",
        "<n:Credentials><n:Ticket>7T:old</n:Ticket></n:Credentials>",
        "<q:Credentials xmlns:q='urn:q'><ApplicationToken><Credentials/></ApplicationToken><![CDATA[</q:Credentials>]]></q:Credentials >",
    ])
    .prop_map(str::to_owned)
}

/// Parts of a Header: what stays and what goes.
fn parts() -> impl Strategy<Value = Vec<(String, bool)>> {
    vec(
        prop_oneof![between().prop_map(|text| (text, true)), other().prop_map(|text| (text, true)), stale().prop_map(|text| (text, false))],
        0..6,
    )
}

fn envelope() -> impl Strategy<Value = Made> {
    let outside = (
        select(vec!["", "\u{feff}"]),
        select(vec!["", "<?xml version=\"1.0\"?>", "<?xml version='1.0' encoding=\"utf-8\" standalone='yes' ?>"]),
        between(),
        select(vec!["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"]),
        select(vec!["", "s:", "SOAP-ENV:", "n-1.å:"]),
        select(vec![" a='>'", "", " b=\"it's\" \r\n c = 'x'"]),
    );
    let header = prop_oneof![
        Just(None),
        select(vec!["", " ", " xml:id='/>' "]).prop_map(|blank| Some((blank.to_owned(), None))),
        (select(vec!["", " ", " a=\"/\""]), parts()).prop_map(|(blank, parts)| Some((blank.to_owned(), Some(parts)))),
    ];
    let body = select(vec![
        "<n:GetContact><n:ContactId>5</n:ContactId></n:GetContact>",
        " <!-- <x> --><GetContact xmlns='http://www.superoffice.net/ws/crm/NetServer/Services88'><ApplicationToken>data</ApplicationToken></GetContact>\n",
        "",
        " ",
        "<x/>",
    ]);
    // Stray credentials, as the documentation has them.
    let strays = vec((option::of(stale()), between()), 0..3);
    (outside, strays, header, between(), body, option::of("[a-z ]{0,40}")).prop_map(|(outside, strays, header, gap, body, tail)| {
        let (mark, declaration, before, soap, prefix, attributes) = outside;
        let own = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{}", prefix.trim_end_matches(':')) };
        let mut made = Made::default();
        made.kept(&format!("{mark}{declaration}{before}<{prefix}Envelope{attributes} {own}=\"{soap}\" xmlns:n='{NS}'>"));
        for (stray, between) in strays {
            stray.iter().for_each(|stray| made.cut(stray));
            made.kept(&between);
        }
        match header {
            None => made.added(&format!("<{prefix}Header>{INJECTED}</{prefix}Header>")),
            Some((blank, parts)) => {
                made.kept(&format!("<{prefix}Header{blank}"));
                match parts {
                    None => {
                        made.cut("/>");
                        made.added(&format!(">{INJECTED}</{prefix}Header>"));
                    }
                    Some(parts) => {
                        made.kept(">");
                        made.added(INJECTED);
                        parts.iter().for_each(|(text, stays)| if *stays { made.kept(text) } else { made.cut(text) });
                        made.kept(&format!("</{prefix}Header>"));
                    }
                }
                made.kept(&gap);
            }
        }
        made.kept(&format!("<{prefix}Body>{body}</{prefix}Body></{prefix}Envelope>{}", tail.unwrap_or_default().replace(|c| c != ' ', "")));
        made
    })
}

/// The credentials in a Header, as another reader of XML sees them.
fn credentials(text: &str) -> Vec<(String, String)> {
    let (mut path, mut found): (Vec<String>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    for event in EventReader::new(text.trim_start_matches('\u{feff}').as_bytes()) {
        match event.unwrap_or_else(|error| panic!("{error}: {text}")) {
            XmlEvent::StartElement { name, .. } => {
                path.push(name.local_name.clone());
                let at: Vec<&str> = path.iter().map(String::as_str).collect();
                if matches!(at[..], ["Envelope", "Header", "ApplicationToken"] | ["Envelope", "Header", "Credentials", "Ticket"]) {
                    found.push((name.namespace.unwrap_or_default(), String::new()));
                }
            }
            XmlEvent::EndElement { .. } => _ = path.pop(),
            XmlEvent::Characters(text) if path.len() > 2 && matches!(path[path.len() - 1].as_str(), "ApplicationToken" | "Ticket") => {
                if path[1] == "Header"
                    && (path.len() == 3 || path[2] == "Credentials")
                    && let Some(last) = found.last_mut()
                {
                    last.1.push_str(&text);
                }
            }
            _ => {}
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn in_pieces_of_any_size_the_same_becomes_of_it_as_of_its_parts(made in envelope(), sizes in vec(1usize..40, 1..20)) {
        let (mut pieces, mut rest, mut turn) = (Vec::new(), made.sent.as_bytes(), sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*turn.next().unwrap()));
            pieces.push(Bytes::copy_from_slice(piece));
            rest = behind;
        }
        let in_pieces = block(sent(&mut xml(), Pieces::new(pieces))).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&in_pieces), made.expected.as_str(), "{}", made.sent);
        prop_assert_eq!(whole(&made.sent).unwrap(), made.expected);
    }

    #[test]
    fn another_reader_finds_our_credentials_in_it_and_no_others(made in envelope()) {
        let expected = [(NS.to_owned(), APP_TOKEN.to_owned()), (NS.to_owned(), TICKET.to_owned())];
        prop_assert_eq!(credentials(&whole(&made.sent).unwrap()), expected);
    }

    #[test]
    fn whatever_comes_it_is_carried_or_refused(text in "(<|>|/|!|\\?|s:Envelope|s:Header|s:Body|ApplicationToken| xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'|'|\"|=|--|\\[CDATA\\[|\\]\\]|&|;|[ -~]|\\PC){0,40}", size in 1usize..10) {
        let parts = "multipart/related; boundary=b; start=\"<s>\"";
        for content_type in ["text/xml", parts] {
            let sent = block(sent(&mut headers(&[("content-type", content_type)]), Pieces::of(text.as_bytes(), size)));
            if let Err(error) = sent {
                prop_assert_eq!(error.code(), "bad_envelope");
            }
        }
    }

    #[test]
    fn no_error_tells_anything_of_the_envelope(made in envelope(), at in 0usize..1000) {
        let secret = "S3CR3T";
        let text = made.sent.replace("old", secret);
        let mut cut = at.min(text.len());
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        if let Err(error) = whole(&format!("{}<<{secret}", &text[..cut])) {
            let told = format!("{error} {error:?}");
            prop_assert!(!told.contains(secret));
        }
    }
}
