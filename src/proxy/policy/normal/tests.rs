//! What the normal form of a path is, and that everybody else would see the same: a second normalisation, of another shape, and a
//! model of a server like IIS.

use super::*;
use crate::proxy::target::check;

#[test]
fn the_normal_form_is_decoded_once_and_in_small_letters() {
    let of = |path| Normal::of(path).unwrap().written;
    assert_eq!(of("/API/v1/%43ont%61ct"), "/api/v1/contact");
    assert_eq!(of("/api/100%25/My%20List/%C3%85se/ÆØÅ"), "/api/100%/my list/åse/æøå");
    assert_eq!(of(""), "");
    assert_eq!(of("/api/$metadata,x'(1)!*@+&=|a:b/2026-01-01T10:00/~x"), "/api/$metadata,x'(1)!*@+&=|a:b/2026-01-01t10:00/~x");
}

#[test]
fn empty_segments_make_a_second_reading() {
    let readings = |path| {
        let normal = Normal::of(path).unwrap();
        (normal.written().to_owned(), normal.collapsed().to_owned(), normal.readings().count())
    };
    assert_eq!(readings("/a//B/"), ("/a//b/".into(), "/a/b".into(), 2));
    assert_eq!(readings("/"), ("/".into(), String::new(), 2));
    assert_eq!(readings("/a/b"), ("/a/b".into(), "/a/b".into(), 1));
}

#[test]
fn what_windows_may_take_for_another_path_has_no_normal_form() {
    for path in [
        "/a/x.",
        "/a./b",
        "/a/x%20",
        "/a%20/b",
        "/%20a",
        "/a/..",
        "/.",
        "/a::$DATA",
        "/a:$I30:$INDEX_ALLOCATION/b",
        "/a:",
        "/A%3a%3a$data",
        "/SCRIPT~1/x",
        "/(S(x))/a",
        "/a(x(1)S(2))b",
        "/a%28F%28",
        "/\u{17f}",
        "/%c5%bf",
        "/\u{212a}",
        "/\u{130}",
        "/\u{131}",
        "/\u{ff21}",
        "/\u{ff0f}",
        "/\u{ff05}2e",
        "/\u{2215}",
        "/\u{2044}",
        "/\u{2216}",
        "/\u{221e}",
        "/\u{101}",
        "/a\u{30a}",
        "/\u{200b}",
        "/\u{a0}",
        "/\u{3000}",
        "/\u{178}",
        "/\u{85}",
        "/%c2%85",
        "/%e5",
        "/%c3",
        "/%c0%ae",
        "/a%3fb",
        "/a%23b",
        "/a;b",
        "/a%3bb",
        "/a\\b",
        "/a%5cb",
        "/a%2fb",
        "/a%2eb",
        "/a%0ab",
        "/a%7f",
        "/%252e",
        "/%25%32e",
        "/%2",
        "/%zz",
        "a",
        "*",
    ] {
        assert!(Normal::of(path).is_err(), "{path}: {:?}", Normal::of(path));
    }
}

/// The same, made otherwise: split first, then each segment decoded by hand, byte for byte, then folded by its characters.
fn otherwise(path: &str) -> Option<Vec<String>> {
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let decode = |segment: &str| {
        let mut bytes = segment.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            decoded.push(match byte {
                b'%' => u8::from_str_radix(std::str::from_utf8(&[bytes.next()?, bytes.next()?]).ok()?, 16).ok()?,
                byte => byte,
            });
        }
        Some(String::from_utf8(decoded).ok()?.to_lowercase())
    };
    segments.map(decode).collect()
}

/// What a server like IIS sees, which looks only after it has decoded: slashes both ways, dot segments, parameters, the ends of
/// names, what is decoded once more, characters that look like others. In two readings: empty segments kept, and left out.
fn as_a_server_may_see_it(path: &str) -> Option<[Vec<String>; 2]> {
    let decode = |text: &[u8]| {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
            // Leniently: what is no escape stays.
            match digits
                .filter(|digits| text[at] == b'%' && !digits.starts_with('+'))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            {
                Some(byte) => (decoded.push(byte), at += 3),
                None => (decoded.push(text[at]), at += 1),
            };
        }
        decoded
    };
    let once = decode(path.as_bytes());
    let twice = decode(&once);
    let text = String::from_utf8(twice).ok()?;
    let looks_like = |c: char| match c {
        '\\' | '\u{2215}' | '\u{2044}' | '\u{2216}' | '\u{ff0f}' | '\u{ff3c}' => '/',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap(),
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        '\u{a0}' | '\u{3000}' => ' ',
        c => c,
    };
    let text: String = text.chars().map(looks_like).flat_map(char::to_lowercase).collect();
    let text = text.split(['?', '#', '\0']).next().unwrap_or_default();
    let see = |keep: bool| {
        let mut seen: Vec<String> = Vec::new();
        for segment in text.strip_prefix('/').unwrap_or(text).split('/') {
            let segment = segment.split(';').next().unwrap_or_default().split("::$").next().unwrap_or_default();
            match segment {
                "." => {}
                ".." => drop(seen.pop()),
                "" if !keep => {}
                _ => seen.push(segment.trim_end_matches(['.', ' ']).to_owned()),
            }
        }
        seen
    };
    Some([see(true), see(false)])
}

fn segments(path: &str) -> Vec<String> {
    match path.strip_prefix('/') {
        Some(path) => path.split('/').map(str::to_owned).collect(),
        None => Vec::new(),
    }
}

fn nobody_sees_another_path(path: &str) {
    let Ok(normal) = Normal::of(path) else { return };
    assert_eq!(check(path), Ok(()), "what has a normal form is carried: {path:?}");
    assert_eq!(Some(segments(normal.written())), otherwise(path), "another normalisation of {path:?}");
    let [written, collapsed] = as_a_server_may_see_it(path).expect("UTF-8");
    assert_eq!(segments(normal.written()), written, "what a server sees of {path:?}");
    assert_eq!(segments(normal.collapsed()), collapsed, "what a server that drops empty segments sees of {path:?}");
}

#[test]
fn paths_that_everybody_sees_alike_are_not_refused() {
    for path in ["/api/v1/Contact/5", "/api/v1/Archive//$metadata", "/Remote/Services88/Contact.svc", "/api/v1/%C3%A6/100%25/My%20List"] {
        assert!(Normal::of(path).is_ok(), "{path}");
        nobody_sees_another_path(path);
    }
}

#[test]
fn a_stream_of_a_dot_segment_has_no_normal_form() {
    for path in ["/..:%c3%bb%65/", "/a/..:x", "/.:x"] {
        assert!(Normal::of(path).is_err(), "{path}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(600))]

    #[test]
    fn two_normalisations_and_a_server_agree(
        path in "(/|(%(2[0-9A-Fa-f]|25|3[0-9a-f]|4[0-9]|5[cC]|6[0-9]|7[0-9aF]|c3%[89ab][0-9a-f]|c[015]|e0|ff|u00))|[a-cA-C.;:~(S)$ %0-9]|[é\u{17f}\u{ff0f}\\\\]|\\.\\.){0,12}"
    ) {
        nobody_sees_another_path(&format!("/{path}"));
    }

    #[test]
    fn they_agree_on_mostly_plain_paths(path in "(/([a-zA-Z0-9$.,'@-]{0,6}|%4[1-9]|%20|%25|%c3%85){0,4}){1,6}") {
        nobody_sees_another_path(&path);
    }

    #[test]
    fn they_agree_whatever_it_is(path in "/\\PC{0,24}") {
        nobody_sees_another_path(&path);
    }

    /// What is carried and has no normal form is only what Windows would read otherwise.
    #[test]
    fn a_plain_path_that_is_carried_has_a_normal_form(path in "(/[a-zA-Z0-9$,'@!*+&=|_-]([a-zA-Z0-9$.,'@!*+&=|_-]|%4[1-9]){0,6}[a-z0-9]){1,6}/?") {
        proptest::prop_assert_eq!(check(&path), Ok(()));
        proptest::prop_assert!(Normal::of(&path).is_ok());
    }
}
