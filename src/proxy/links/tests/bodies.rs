//! `known`: which values are links, in JSON and XML.

use proptest::prelude::*;

use super::naive::{Naive, slashes};
use super::rewriting::{cut, fragments, through};
use super::*;

const THEIRS: &str = "https://online2.superoffice.com/Cust12345";

fn known(format: Format, listing: bool, pieces: &[Vec<u8>]) -> String {
    let world = World::new();
    let links = Links { listing, ..world.links(Mode::Known) };
    let mut rewriter = links.rewriter(format, Direction::Answer).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        if rewriter.push(piece, &mut out) {
            out.extend_from_slice(piece);
        }
    }
    rewriter.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// `@` stands for theirs where it is to be rewritten, `~` where it is not.
fn check(format: Format, listing: bool, text: &str) {
    let before = text.replace(['@', '~'], THEIRS);
    let after = text.replace('@', OURS).replace('~', THEIRS);
    let bytes = before.clone().into_bytes();
    assert_eq!(known(format, listing, std::slice::from_ref(&bytes)), after);
    let pieces: Vec<Vec<u8>> = bytes.iter().map(|&byte| vec![byte]).collect();
    assert_eq!(known(format, listing, &pieces), after, "byte by byte");
}

#[test]
fn links_in_json() {
    for text in [
        r#"{"odata.metadata":"@/api/v1/Archive/$metadata","value":[{"Url":"~/x"}],"odata.nextLink":"@/api/v1/x?$skip=50"}"#,
        r#"{"_Links":{"Self":"@/api/v1/Contact/3","Rel":"@","Deep":[{"a":{"b":"@"}},"@",3]},"Description":"~"}"#,
        r#"[{"_Links" : { "Self" : "@" } , "x":"~"},{"x":"~","_Links":null,"y":"~"}]"#,
        r#"{"_Links":"@","b":"~"}"#,
        r#"{"a":"_Links","b":"~","c":"odata.id","d":"~"}"#,
        r#"{"a":["odata.id","~"],"odata.id":["@",["@",{"c":"@"}]],"d":["~"]}"#,
        r#"{"odata.count":17,"b":"~"}"#,
        r#"{"odata.x":true,"b":{"c":"~"},"odata.y":null}"#,
        r#"{"a\"odata.id":"~","\"":"~"}"#,
        r#"{"b":"\\","odata.id":"@"}"#,
        r#"{"b":"\"","odata.id":"\"@\" and @","c":"\\\"~"}"#,
        r#"{"~":"~","_Links":{"~":"@"},"x":"~"}"#,
        r#"{"a":{"_Links":{"a":{}},"b":"~"},"c":"~"}"#,
        r#"{"_links":{"self":{"href":"@"}},"odatax":"~","myodata.id":"~","ODATA.id":"~"}"#,
        "{\"odata.id\":\"@\"}\n{\"a\":\"~\"}\n{\"odata.id\":\"@\"}",
        r#""~"#,
        r#"]]}}{"odata.id":"@","a":"~"}"#,
        r#"{"odata.id":"@"#,
    ] {
        check(Format::Json, false, text);
    }
    // An @ in a name.
    for name in ["@odata.id", "Contact@odata.navigationLink", r"odata\u002enextLink", r"_\u004cinks", r"\u0040odata.id"] {
        let [before, after] = [THEIRS, OURS].map(|url| format!(r#"{{"{name}":"{url}/x","b":"{THEIRS}"}}"#));
        assert_eq!(known(Format::Json, false, &[before.into_bytes()]), after);
    }
}

#[test]
fn any_spelling_becomes_ours() {
    for spelled in [
        "https://online1.superoffice.com/Cust12345",
        "HTTPS://ONLINE2.superoffice.com:443/CUST12345",
        r"https:\/\/online1.superoffice.com:443\/cust12345",
    ] {
        let body = format!(r#"{{"odata.id":"{spelled}"}}"#);
        let expected = format!(r#"{{"odata.id":"{}"}}"#, slashes(OURS, spelled.contains('\\')));
        assert_eq!(known(Format::Json, false, &[body.into_bytes()]), expected);
    }
}

#[test]
fn addresses_and_imports_of_a_description() {
    for text in [
        "<?xml version=\"1.0\"?><wsdl:definitions targetNamespace=\"http://www.superoffice.net/ws/crm/NetServer/Services88\" \
         xmlns:soap='http://schemas.xmlsoap.org/wsdl/soap/'><wsdl:import namespace='urn:x' location='@/Remote/Services88/Contact.svc?wsdl=wsdl0'/>\
         <xs:import schemaLocation=\"@/Remote/Services88/Contact.svc?xsd=xsd0\" namespace=\"http://www.superoffice.net/ws\"/>\
         <xs:include schemaLocation='https://www.w3.org/x.xsd'/><!-- ~ --><soap:address location=\"@/Remote/Services88/Contact.svc\"/>\
         <soap12:address location = '@/Remote/Services88/Contact.svc' /></wsdl:definitions>",
        "<soap:address location=\"https://online2.superoffice.com/Cust123456/Remote/Services88/Contact.svc\"/>",
    ] {
        check(Format::Xml, true, text);
    }
}

#[test]
fn all_values_of_the_listing() {
    check(Format::Json, true, r#"{"Contact":"@/api/v1/Contact","~":{"a":["@",{"b":"@"}]}}"#);
    check(Format::Xml, true, r#"<a x="@"><b>@</b><!--~--><c><![CDATA[@]]></c>@</a>"#);
}

#[test]
fn what_is_too_deep_passes_untouched() {
    for (depth, rewritten) in [(512, true), (513, false)] {
        let text = |url: &str| format!("{}{{\"odata.id\":\"{url}\"}}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let expected = text(if rewritten { OURS } else { THEIRS });
        assert_eq!(known(Format::Json, false, &[text(THEIRS).into_bytes()]), expected);
    }
    let name = "x".repeat(300) + "@odata.id";
    let text = format!(r#"{{"{name}":"{THEIRS}","odata.id":1,"a":"{THEIRS}"}}"#);
    assert_eq!(known(Format::Json, false, &[text.clone().into_bytes()]), text);
}

#[test]
fn links_in_xml() {
    for text in [
        "<Contact><Name>~</Name><_Links><Self>@/api</Self><x a=\"@\" b='@'/></_Links><Url>~</Url></Contact>",
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"~>\">]><a xmlns=\"~\"><odata.nextLink>@</odata.nextLink><b>~</b></a>",
        "<a><d:odata.id xmlns:d='x'>@</d:odata.id ><_x005F_Links>@</_x005F_Links><p:_Links href=\"@\"/><b c='~'>~</b></a>",
        "<a><_Links/><b>~</b><_Links a='/'></_Links><b>~</b></a>",
        "<a><_Links><![CDATA[@]]x]]><!-- ~ --><?pi ~?><b><c/>@</b></_Links><![CDATA[~<_Links>~]]>~</a>",
        "<a><!--<_Links>-- ~--><b>~</b></a>",
        "<a><odata.x>@ and &quot;@&quot; &amp; @</odata.x></a>~",
        "<odata.count>3</odata.count><b>~</b>",
        "<a><Links>~</Links><x_Links>~</x_Links></a>",
        "<_Links><b>@",
        "</a></a><_Links>@</_Links>~<",
    ] {
        check(Format::Xml, false, text);
    }
    let [before, after] = [THEIRS, OURS].map(|url| format!("<a><_x0040_odata.id>{url}</_x0040_odata.id><b>{THEIRS}</b></a>"));
    assert_eq!(known(Format::Xml, false, &[before.into_bytes()]), after);
}

/// A document, made so that what becomes of it is known.
#[derive(Clone, Debug)]
enum Json {
    Plain(&'static str),
    Text(Vec<u8>),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

fn json() -> impl Strategy<Value = Json> {
    // Nothing that ends a string, or makes its end none.
    let text = fragments().prop_map(|text| {
        let mut escaped = Vec::new();
        for (at, &byte) in text.iter().enumerate() {
            if byte == b'"' || byte == b'\\' && text.get(at + 1) != Some(&b'/') {
                escaped.push(b'\\');
            }
            escaped.push(byte);
        }
        Json::Text(escaped)
    });
    let leaf = prop_oneof![
        1 => proptest::sample::select(&["1", "-2.5e3", "true", "null", r#""\\""#, r#""odata.id""#, r#""_Links""#][..]).prop_map(Json::Plain),
        4 => text,
    ];
    const NAMES: &[&str] =
        &["a", "odata.id", "@odata.context", "x@odata.id", "_Links", "Links", r"odata\u002eid", r#"_Links\""#, r"\\", "value", "Self", ""];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::List),
            proptest::collection::vec((proptest::sample::select(NAMES), inner), 0..5).prop_map(Json::Object),
        ]
    })
}

impl Json {
    /// As text; what is a link goes through `link`.
    fn write(&self, is_link: bool, link: &dyn Fn(&[u8]) -> Vec<u8>, out: &mut Vec<u8>) {
        match self {
            Json::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Json::Text(text) => {
                out.push(b'"');
                out.extend(if is_link { link(text) } else { text.clone() });
                out.push(b'"');
            }
            Json::List(items) => {
                out.extend_from_slice(b"[ ");
                for (at, item) in items.iter().enumerate() {
                    out.extend_from_slice(if at > 0 { b"," } else { b"" });
                    item.write(is_link, link, out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    out.extend_from_slice(if at > 0 { b" , " } else { b"\n" });
                    out.extend_from_slice(format!("\"{name}\" : ").as_bytes());
                    let named = matches!(*name, "odata.id" | "@odata.context" | "x@odata.id" | "_Links" | r"odata\u002eid");
                    value.write(is_link || named, link, out);
                }
                out.push(b'}');
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn json_in_pieces_is_as_the_naive_way(json in json(), listing in any::<bool>(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        json.write(listing, &|text| text.to_vec(), &mut before);
        let naive = Naive::theirs();
        json.write(listing, &|text| naive.known(text, OURS), &mut after);
        let after = String::from_utf8(after).unwrap();
        prop_assert_eq!(known(Format::Json, listing, &[before.clone()]), after.clone());
        prop_assert_eq!(known(Format::Json, listing, &cut(&before, &cuts)), after);
    }

    #[test]
    fn xml_in_pieces_is_as_at_once(text in xml(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let whole = known(Format::Xml, false, &[text.clone().into_bytes()]);
        prop_assert_eq!(known(Format::Xml, false, &cut(text.as_bytes(), &cuts)), whole.clone());
        let bytes: Vec<Vec<u8>> = text.bytes().map(|byte| vec![byte]).collect();
        prop_assert_eq!(known(Format::Xml, false, &bytes), whole);
    }

    #[test]
    fn anything_at_all_comes_out_the_same_in_pieces(text in fragments(), bytes in proptest::collection::vec(any::<u8>(), 0..40), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let text = [bytes, text].concat();
        let world = World::new();
        for format in [Format::Json, Format::Xml] {
            let run = |pieces: &[Vec<u8>]| through(&world, Mode::Known, format, Direction::Answer, pieces);
            prop_assert_eq!(run(&cut(&text, &cuts)), run(std::slice::from_ref(&text)));
        }
    }
}

fn xml() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "<a>",
        "</a>",
        "<_Links>",
        "</_Links>",
        "<odata.id>",
        "</odata.id>",
        "<b c=\"",
        "\">",
        "<p:_Links x='",
        "'/>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "]",
        "<?x",
        "?>",
        "<!DOCTYPE",
        "<",
        ">",
        "/",
        "https://online2.superoffice.com/Cust12345",
        "https://online1.superoffice.com:443/Cust12345",
        "https://online2",
        "text",
    ];
    proptest::collection::vec(proptest::sample::select(PARTS), 0..16).prop_map(|parts| parts.concat())
}
