//! Links: at once and while it streams is the same, what `all` does is undone, what has no links stays byte for byte, and no
//! body grows beyond what its links are worth.

use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response};
use soproxy::proxy::links::{Addresses, Homes, Links, Mode};
use soproxy::superoffice::origin::UpstreamHosts;

use super::support::{Pieces, contains, knobs, now, read};

static HOMES: LazyLock<Arc<Homes>> = LazyLock::new(|| {
    let base = |url: &str| url.parse().expect("a base");
    let previous = [base("https://online1.superoffice.com/Cust12345"), base("https://ONLINE2.superoffice.com:443/cust12345")];
    Arc::new(Homes::new(&base("https://online2.superoffice.com/Cust12345"), &previous))
});
static HOSTS: LazyLock<UpstreamHosts> = LazyLock::new(|| UpstreamHosts::parse(["*.superoffice.com"]).expect("a pattern"));

/// How a caller reaches the tenant.
#[derive(Clone)]
struct Caller {
    ours: &'static str,
    aliases: &'static [&'static str],
    shared: bool,
    shared_aliases: &'static [&'static str],
}

const CALLERS: [Caller; 6] = [
    Caller { ours: "http://localhost:8080/Cust12345", aliases: &["http://127.0.0.1:8080/Cust12345"], shared: false, shared_aliases: &[] },
    Caller { ours: "http://127.0.0.1:8081", aliases: &["http://localhost:8080/Cust12345"], shared: true, shared_aliases: &["https://intranet.example"] },
    Caller { ours: "https://crm.example/so/Cust12345", aliases: &["https://crm.example/so", "https://crm.example"], shared: false, shared_aliases: &[] },
    Caller { ours: "http://[::1]:8080/Cust12345", aliases: &[], shared: false, shared_aliases: &[] },
    Caller { ours: "https://cust12345.localhost", aliases: &["https://cust12345.localhost/~", "https://cust12345.localhost/api"], shared: false, shared_aliases: &[] },
    // No address that could stand in a body.
    Caller { ours: "http://a\"b", aliases: &[], shared: false, shared_aliases: &[] },
];

impl Addresses for Caller {
    fn ours(&self) -> String {
        self.ours.to_owned()
    }

    fn is_shared(&self) -> bool {
        self.shared
    }

    fn aliases(&self) -> Vec<String> {
        self.aliases.iter().map(|&alias| alias.to_owned()).collect()
    }

    fn shared_aliases(&self) -> Vec<String> {
        self.shared_aliases.iter().map(|&alias| alias.to_owned()).collect()
    }
}

/// What a link may become longer by: ours, with a marker.
const LONGER: usize = 40;

/// Four knobs (mode, caller, size of the pieces, coding), then the body.
pub fn check(data: &[u8]) {
    let ([mode, caller, size, coding], text) = knobs(data);
    let caller = CALLERS[usize::from(caller) % CALLERS.len()].clone();
    let links = Links {
        mode: if mode & 1 == 0 { Mode::Known } else { Mode::All },
        homes: &HOMES,
        addresses: caller,
        hosts: &HOSTS,
        routes: &["CS".into()],
        listing: mode & 4 != 0,
    };
    let content_type = if mode & 2 == 0 { "application/json; charset=utf-8" } else { "text/xml" };
    in_headers(&links, text);
    match coding % 3 {
        0 => plain(&links, content_type, text, size),
        1 => compressed(&links, content_type, text, size),
        _ => hostile(&links, content_type, ["gzip", "deflate", "br"][usize::from(coding >> 2) % 3], text, size),
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// An answer's body as the caller gets it, and its headers.
fn answered(links: &Links<'_, Caller>, content_type: &'static str, coding: Option<&'static str>, body: Pieces) -> (HeaderMap, Option<Vec<u8>>) {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert("content-md5", HeaderValue::from_static("x"));
    response.headers_mut().extend(coding.map(|coding| (CONTENT_ENCODING, HeaderValue::from_static(coding))));
    let seen = links.mode.look(response.headers()).expect("it is looked at");
    let (parts, body) = now(links.answer(seen, &Method::GET, response)).into_parts();
    (parts.headers, read(body))
}

fn asked(links: &Links<'_, Caller>, content_type: &'static str, body: Pieces) -> Vec<u8> {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    read(now(links.request(&mut headers, body))).expect("it does not break off")
}

fn plain(links: &Links<'_, Caller>, content_type: &'static str, text: &[u8], size: u8) {
    let (headers, whole) = answered(links, content_type, None, Pieces::whole(text));
    let (_, pieces) = answered(links, content_type, None, Pieces::of(text, size));
    let (whole, pieces) = (whole.expect("it does not break off"), pieces.expect("it does not break off"));
    assert!(whole == pieces, "at once, and in pieces of {size}:\n{}\n{}", shown(&whole), shown(&pieces));
    judge(text, &whole);
    assert_eq!(headers.contains_key("content-md5"), whole == text, "a digest of other bytes");
    if links.mode == Mode::All && asked(links, content_type, Pieces::whole(text)) == text {
        let back = asked(links, content_type, Pieces::of(&whole, size));
        assert!(back == text, "there and back:\n{}\n{}\n{}", shown(text), shown(&whole), shown(&back));
        assert!(asked(links, content_type, Pieces::whole(&whole)) == text, "back at once:\n{}", shown(text));
    }
    if links.mode == Mode::All {
        // Whatever a caller sends, ours does not reach SuperOffice where it is the tenant's.
        let back = asked(links, content_type, Pieces::of(text, size));
        assert!(back == asked(links, content_type, Pieces::whole(text)), "a request in pieces of {size}: {}", shown(text));
        let ours = links.addresses.ours;
        if !links.addresses.shared && !ours.contains('"') && contains(text, format!("\"{ours}/api\"").as_bytes()) {
            assert!(!contains(&back, format!("\"{ours}/api\"").as_bytes()), "{}", shown(&back));
        }
    }
}

/// What becomes of a text is bounded, and nothing becomes of one without links.
fn judge(text: &[u8], out: &[u8]) {
    let lower = text.to_ascii_lowercase();
    let links = lower.windows(4).filter(|window| *window == b"http").count();
    assert!(out.len() <= text.len() + links * LONGER, "{} bytes became {}", text.len(), out.len());
    let host = contains(&lower, b"online2.superoffice.com") || contains(&lower, b"online1.superoffice.com");
    assert!(host || out == text, "a change, and no link:\n{}\n{}", shown(text), shown(out));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory")
}

fn gunzip(coded: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if !coded.is_empty() {
        MultiGzDecoder::new(coded).read_to_end(&mut text).expect("gzip");
    }
    text
}

/// Through gzip the same becomes of a text as without.
fn compressed(links: &Links<'_, Caller>, content_type: &'static str, text: &[u8], size: u8) {
    let (_, bare) = answered(links, content_type, None, Pieces::whole(text));
    let coded = gzip(text);
    let bare = bare.expect("it does not break off");
    for body in [Pieces::whole(&coded), Pieces::of(&coded, size)] {
        let (_, out) = answered(links, content_type, Some("gzip"), body);
        let out = out.expect("it does not break off");
        assert!(gunzip(&out) == bare, "through gzip: {}\n{}", shown(&gunzip(&out)), shown(&bare));
        if bare == text {
            assert!(out == coded, "compressed anew, without a link");
        }
    }
}

/// The text is taken for a coding: what is none goes on as it came, and what is one does not become unreadable.
fn hostile(links: &Links<'_, Caller>, content_type: &'static str, coding: &'static str, text: &[u8], size: u8) {
    let (_, whole) = answered(links, content_type, Some(coding), Pieces::whole(text));
    let (_, pieces) = answered(links, content_type, Some(coding), Pieces::of(text, size));
    // It is all read ahead.
    let whole = whole.expect("it does not break off");
    assert!(pieces.as_deref() == Some(&whole), "in pieces of {size} another body in {coding}");
    if coding == "gzip" && whole != text {
        // What stands behind the last member is overlooked.
        let mut plain = Vec::new();
        let _ = MultiGzDecoder::new(text).read_to_end(&mut plain);
        judge(&plain, &gunzip(&whole));
    }
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type)), (CONTENT_ENCODING, HeaderValue::from_static(coding))]);
    let _ = read(now(links.request(&mut headers, Pieces::of(text, size))));
}

/// `Location` and `Link` with these bytes.
fn in_headers(links: &Links<'_, Caller>, text: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    for name in [LOCATION, LINK] {
        let mut response = Response::new(Pieces::whole(b""));
        response.headers_mut().insert(name.clone(), value.clone());
        let seen = links.mode.look(response.headers()).expect("it is looked at");
        let response = now(links.answer(seen, &Method::GET, response));
        let out = response.headers()[&name].as_bytes();
        let most = text.len() + (text.iter().filter(|byte| **byte == b'<').count() + 1) * LONGER;
        assert!(out.len() <= most, "{} bytes became {}", text.len(), out.len());
        let lower = text.to_ascii_lowercase();
        assert!(out == text || contains(&lower, b"/cust12345"), "{} became {}", shown(text), shown(out));
    }
}
