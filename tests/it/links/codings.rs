//! Compressed answers: rewritten through their coding, or passed byte for byte; lengths, `ETag`s and breaks are honest.

use std::io::Read;

use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder};

use super::{JSON, answer, call, entity, get, in_mode, note, ours, pass, set_mode, theirs};
use crate::wire::Message;

/// As the sandbox calls them.
const CODINGS: [&str; 4] = ["gzip", "br", "deflate", "raw_deflate"];

fn all_of(mut read: impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    read.read_to_end(&mut out).unwrap();
    out
}

fn decode(coding: &str, coded: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => all_of(MultiGzDecoder::new(coded)),
        "br" => all_of(brotli::Decompressor::new(coded, 4096)),
        "deflate" => all_of(ZlibDecoder::new(coded)),
        "raw_deflate" => all_of(DeflateDecoder::new(coded)),
        _ => coded.to_vec(),
    }
}

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    let level = Compression::new(9);
    match coding {
        "gzip" => all_of(GzEncoder::new(plain, level)),
        "br" => all_of(brotli::CompressorReader::new(plain, 4096, 5, 20)),
        "deflate" => all_of(ZlibEncoder::new(plain, level)),
        "raw_deflate" => all_of(DeflateEncoder::new(plain, level)),
        _ => plain.to_vec(),
    }
}

/// The head of a compressed answer.
fn coded(coding: &str) -> String {
    format!("{JSON}Content-Encoding: {}\r\n", coding.rsplit('_').next().unwrap())
}

fn assert_decodes(answer: &Message, coding: &str, expected: &str) {
    assert!(answer.complete, "{coding}: {}", answer.first);
    assert_eq!(answer.one("content-encoding"), Some(coding.rsplit('_').next().unwrap()));
    let text = decode(coding, &answer.body);
    assert!(text == expected.as_bytes(), "{coding}: {}", String::from_utf8_lossy(&text[..text.len().min(2000)]));
}

#[tokio::test]
async fn lists_of_any_length_are_rewritten_in_their_coding() {
    let bench = in_mode("off").start().await;
    let (theirs, ours) = (theirs(&bench), ours(&bench));
    for rows in [3, 20_000] {
        let path = format!("/v1/_sandbox/feed?rows={rows}");
        set_mode(&bench, "off");
        bench.fault("coding=identity");
        let expected = get(&bench, &path, "").await.text().replace(&theirs, &ours);
        for mode in ["known", "all"] {
            set_mode(&bench, mode);
            for coding in CODINGS {
                bench.fault(&format!("coding={coding}"));
                let answer = get(&bench, &path, "").await;
                assert_decodes(&answer, coding, &expected);
                // As large as this, nobody knows its length before its end.
                let length = (rows < 100).then(|| answer.body.len().to_string());
                assert_eq!(answer.one("content-length"), length.as_deref(), "{coding} {rows}");
                assert_eq!(answer.one("vary"), Some("Accept-Encoding"));
            }
        }
    }
}

#[tokio::test]
async fn a_body_with_nothing_to_rewrite_passes_byte_for_byte() {
    for mode in ["known", "all"] {
        for coding in ["identity", "gzip", "br", "deflate", "raw_deflate"] {
            let digests = "Content-MD5: x\r\nDigest: x\r\nAccept-Ranges: bytes\r\nETag: \"1\"\r\n";
            let text = |theirs: &str| entity(&theirs.replace("Cust12345", "Cust54321"));
            let passed = pass(mode, "", |theirs| answer(&(coded(coding) + digests), &encode(coding, text(theirs).as_bytes()))).await;
            passed.assert_untouched();
            for name in ["content-md5", "digest", "accept-ranges", "etag"] {
                assert!(passed.answer.one(name).is_some(), "{coding} {name}");
            }
            // Its digests are wrong once it is rewritten; its tag is not.
            let passed = pass(mode, "", |theirs| answer(&(coded(coding) + digests), &encode(coding, entity(theirs).as_bytes()))).await;
            let head = &passed.answer;
            assert_eq!(head.one("content-length").unwrap(), head.body.len().to_string());
            assert_eq!((head.one("content-md5"), head.one("digest"), head.one("accept-ranges")), (None, None, None));
            assert_eq!(head.one("etag"), Some("\"1\""));
            let text = String::from_utf8(decode(coding, &head.body)).unwrap();
            assert_eq!(text.matches(&passed.ours).count(), if mode == "all" { 3 } else { 2 }, "{text}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_its_coding_passes_as_it_came() {
    for coding in CODINGS {
        let good = |theirs: &str| encode(coding, entity(theirs).as_bytes());
        let passed = pass("all", "", |theirs| answer(&coded(coding), &good(theirs)[..good(theirs).len() - 2])).await;
        passed.assert_untouched();
        let passed = pass("all", "", |theirs| answer(&coded(coding), entity(theirs).as_bytes())).await;
        passed.assert_untouched();
        let large = |theirs: &str| format!("[{}]", vec![entity(theirs); 2000].join(","));
        let passed = pass("all", "", |theirs| answer(&coded(coding), large(theirs).as_bytes())).await;
        passed.assert_untouched();
    }
    for other in ["zstd", "gzip, gzip", "exi"] {
        let head = format!("{JSON}Content-Encoding: {other}\r\n");
        let passed = pass("all", "Accept-Encoding: br;q=0.5, zstd, gzip\r\n", |theirs| answer(&head, entity(theirs).as_bytes())).await;
        passed.assert_untouched();
        assert_eq!(passed.answer.one("content-encoding"), Some(other));
        assert_eq!(passed.asked.one("accept-encoding"), Some("br;q=0.5, gzip"), "what cannot be read is not asked for");
    }
}

#[tokio::test]
async fn a_tag_that_was_read_is_good_for_conditions() {
    for (mode, coding) in [("known", "identity"), ("all", "identity"), ("all", "gzip"), ("known", "br")] {
        let bench = in_mode(mode).start().await;
        note(&bench, &format!("see {}/x", theirs(&bench))).await;
        bench.fault(&format!("coding={coding}"));
        let read = get(&bench, "/v1/Contact/1", "").await;
        let text = String::from_utf8(decode(coding, &read.body)).unwrap();
        assert!(text.contains(&ours(&bench)), "it is rewritten: {text}");
        let tag = read.one("etag").unwrap().to_owned();
        assert!(tag.starts_with('"'), "strong: {tag}");

        let same = get(&bench, "/v1/Contact/1", &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((same.status(), same.body.len(), same.one("etag")), (304, 0, Some(tag.as_str())));
        let guarded = format!("{JSON}If-Match: {tag}\r\n");
        let written = call(&bench, "PUT", "/v1/Contact/1", &guarded, text.replace("Fjord", "Vik")).await;
        assert_eq!(written.status(), 200);
        assert_ne!(written.one("etag").unwrap(), tag);
        assert_eq!(call(&bench, "PUT", "/v1/Contact/1", &guarded, &text).await.status(), 412, "there is a newer one");
        let changed = get(&bench, "/v1/Contact/1", &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((changed.status(), changed.one("etag")), (200, written.one("etag")));
    }
}

/// In chunks of some size, without the last one of no bytes.
fn chunked(headers: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Texts that no coding makes small.
fn noise(size: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", state >> 32)
    };
    (0..size / 8).map(|_| next()).collect()
}

#[tokio::test]
async fn what_upstream_breaks_off_is_broken_off() {
    let cases = [("off", "identity"), ("all", "identity"), ("all", "gzip"), ("known", "br"), ("all", "deflate"), ("all", "raw_deflate")];
    for (mode, coding) in cases {
        for size in [0, 400_000] {
            let body = |theirs: &str| encode(coding, (entity(theirs) + &noise(size)).as_bytes());
            // Before its length, before its last chunk; and, where a coding tells, before that one's end.
            let short = pass(mode, "", |theirs| {
                let mut bytes = answer(&coded(coding), &body(theirs));
                bytes.truncate(bytes.len() - 5);
                bytes
            })
            .await;
            assert!(!short.answer.complete, "{coding} {size}");
            let unfinished = pass(mode, "", |theirs| chunked(&coded(coding), &body(theirs), 4096)).await;
            assert!(!unfinished.answer.complete && !unfinished.answer.body.is_empty(), "{coding} {size}");
            if coding != "identity" && size > 0 {
                let ended = |theirs: &str| {
                    let body = body(theirs);
                    [chunked(&coded(coding), &body[..body.len() - 5], 4096), b"0\r\n\r\n".to_vec()].concat()
                };
                assert!(!pass(mode, "", ended).await.answer.complete, "{coding}: a large one looked whole");
            }
        }
    }
}

#[tokio::test]
async fn chunks_may_end_anywhere() {
    for coding in ["identity", "gzip", "br", "deflate", "raw_deflate"] {
        for size in [1, 2, 3, 7] {
            for mode in ["known", "all"] {
                let text = |theirs: &str| format!("[{0},{0},{1}]", entity(theirs), entity(theirs).replace('/', r"\/"));
                let passed = pass(mode, "", |theirs| {
                    [chunked(&coded(coding), &encode(coding, text(theirs).as_bytes()), size), b"0\r\n\r\n".to_vec()].concat()
                })
                .await;
                let (theirs, ours) = (&passed.theirs, &passed.ours);
                let mut expected = text(theirs).replace(theirs, ours).replace(&theirs.replace('/', r"\/"), &ours.replace('/', r"\/"));
                if mode == "known" {
                    for [theirs, ours] in [[theirs.clone(), ours.clone()], [theirs, ours].map(|url| url.replace('/', r"\/"))] {
                        expected = expected.replace(&format!("see {ours}"), &format!("see {theirs}"));
                    }
                }
                assert!(passed.answer.complete);
                assert_eq!(String::from_utf8(decode(coding, &passed.answer.body)).unwrap(), expected, "{coding} {size} {mode}");
            }
        }
    }
}
