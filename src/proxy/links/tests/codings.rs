//! Bodies on their way: compressed, streaming, broken off, enormous.

use std::io::Read;

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, MultiGzDecoder, ZlibEncoder};
use proptest::prelude::*;

use super::rewriting::{cut, fragments, through};
use super::*;

const THEIRS: &str = "https://online2.superoffice.com/Cust12345";
const CODINGS: [&str; 4] = ["gzip", "deflate", "raw deflate", "br"];

fn all_of(mut read: impl Read) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    read.read_to_end(&mut out).map(|_| out)
}

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    let level = Compression::new(6);
    match coding {
        "gzip" => all_of(GzEncoder::new(plain, level)),
        "deflate" => all_of(ZlibEncoder::new(plain, level)),
        "raw deflate" => all_of(DeflateEncoder::new(plain, level)),
        "br" => all_of(brotli::CompressorReader::new(plain, 4096, 5, 20)),
        _ => Ok(plain.to_vec()),
    }
    .unwrap()
}

fn decode(coding: &str, coded: &[u8]) -> std::io::Result<Vec<u8>> {
    match coding {
        "gzip" => all_of(MultiGzDecoder::new(coded)),
        "deflate" => all_of(flate2::read::ZlibDecoder::new(coded)),
        "raw deflate" => all_of(flate2::read::DeflateDecoder::new(coded)),
        "br" => all_of(brotli::Decompressor::new(coded, 4096)),
        _ => Ok(coded.to_vec()),
    }
}

fn lines(coding: &str) -> [(&'static str, &str); 3] {
    let name = coding.rsplit(' ').next().unwrap();
    [("content-type", "application/json"), ("content-encoding", name), ("etag", "\"1\"")]
}

/// Noise that no coding makes small, of about this size.
fn noise(size: usize) -> String {
    let mut state = 1_u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    std::iter::repeat_with(|| format!("{:x}", number() * number())).take(size / 15).collect()
}

#[tokio::test]
async fn compressed_bodies_are_rewritten_in_their_coding() {
    let world = World::new();
    let body = |url: &str| format!(r#"{{"odata.id":"{url}","x":"{}"}}"#, "abc ".repeat(1000));
    for coding in CODINGS {
        let coded = encode(coding, body(THEIRS).as_bytes());
        let (headers, answered) = get(&world.links(Mode::Known), &lines(coding), Source::of(coded.chunks(7).map(<[u8]>::to_vec))).await;
        assert_eq!(decode(coding, &answered).unwrap(), body(OURS).into_bytes(), "{coding}");
        assert_eq!(headers[CONTENT_LENGTH].to_str().unwrap(), answered.len().to_string());
        assert_eq!((&headers["etag"], headers.len()), (&HeaderValue::from_static("\"1\""), 4));

        // Nothing to be rewritten: byte for byte.
        let coded = encode(coding, body("https://other.example").as_bytes());
        let (headers, answered) = get(&world.links(Mode::Known), &lines(coding), Source::of([coded.clone()])).await;
        assert_eq!((answered, headers.len()), (coded, 3), "{coding}");
    }
}

#[tokio::test]
async fn gzip_in_several_members_and_with_something_behind_it() {
    let world = World::new();
    let text = format!(r#"{{"odata.id":"{THEIRS}"}}"#);
    let (one, two) = text.split_at(20);
    let coded = [encode("gzip", one.as_bytes()), encode("gzip", two.as_bytes()), vec![0; 3]].concat();
    for pieces in [vec![coded.clone()], coded.iter().map(|&byte| vec![byte]).collect()] {
        let (_, answered) = get(&world.links(Mode::Known), &lines("gzip"), Source::of(pieces)).await;
        assert_eq!(decode("gzip", &answered).unwrap(), text.replace(THEIRS, OURS).into_bytes());
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_passes_as_it_came() {
    let world = World::new();
    let text = format!(r#"{{"odata.id":"{THEIRS}","x":"{}"}}"#, noise(1000));
    for coding in CODINGS {
        let coded = encode(coding, text.as_bytes());
        let mut corrupt = coded.clone();
        let middle = corrupt.len() / 2;
        corrupt[middle..].fill(0xff);
        for broken in [coded[..coded.len() - 3].to_vec(), coded[..1].to_vec(), corrupt, text.clone().into_bytes()] {
            let (headers, answered) = get(&world.links(Mode::Known), &lines(coding), Source::of([broken.clone()])).await;
            assert_eq!((answered, headers.len()), (broken, 3), "{coding}");
        }
        // Too large to be read ahead, and not in its coding from the start.
        let large = noise(2 * AHEAD);
        let (headers, answered) = get(&world.links(Mode::Known), &lines(coding), Source::of([large.clone(), large.clone()])).await;
        assert_eq!((answered, headers.len()), ((large.clone() + &large).into_bytes(), 3), "{coding}");
    }
}

#[tokio::test]
async fn a_large_body_that_ends_too_early_does_not_look_whole() {
    let world = World::new();
    let text = format!(r#"{{"odata.id":"{THEIRS}","x":"{}"}}"#, noise(6 * AHEAD));
    for coding in CODINGS {
        let coded = encode(coding, text.as_bytes());
        assert!(coded.len() > 2 * AHEAD);
        let cases = [
            Source::of([coded[..coded.len() - 3].to_vec()]),
            Source::of([coded[..2 * AHEAD].to_vec()]).then(Piece::Broken),
            Source::of([coded[..2 * AHEAD].to_vec(), vec![0xff; AHEAD]]),
        ];
        for source in cases {
            let response = world.links(Mode::Known).answered(&Method::GET, answer(&lines(coding), source)).await;
            let (answered, end) = read(response.into_body()).await;
            assert!(end.is_err(), "{coding}");
            assert!(decode(coding, &answered).is_err(), "{coding}: the coding, too, is not whole");
        }
    }
}

#[tokio::test]
async fn what_came_before_a_break_is_passed_on() {
    let world = World::new();
    let text = format!(r#"{{"odata.id":"{THEIRS}/"#);
    let short = [("content-type", "application/json")];
    let mut source = Source::of([text.clone()]).then(Piece::Broken);
    source.length = Some(1000);
    let response = world.links(Mode::Known).answered(&Method::GET, answer(&short, source)).await;
    assert_eq!(read(response.into_body()).await, (text.clone().into_bytes(), Err("broken off".to_owned())));
    // Streaming: also what was not decided yet.
    let source = Source::of([format!("{text}\",\"odata.id\":\"https://onli")]).then(Piece::Broken);
    let response = world.links(Mode::Known).answered(&Method::GET, answer(&short, source)).await;
    let expected = format!("{}\",\"odata.id\":\"https://onli", text.replace(THEIRS, OURS));
    assert_eq!(read(response.into_body()).await, (expected.into_bytes(), Err("broken off".to_owned())));
}

#[tokio::test]
async fn trailers_pass() {
    let world = World::new();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checked", HeaderValue::from_static("yes"));
    let text = format!(r#"{{"odata.id":"{THEIRS}"}}"#);
    for coding in ["", "gzip", "br"] {
        for size in [0, 3 * AHEAD] {
            let text = text.clone() + &noise(size);
            let source = Source::of([encode(coding, text.as_bytes())]).then(Piece::Trailers(trailers.clone()));
            let lines = if coding.is_empty() { lines("identity") } else { lines(coding) };
            let response = world.links(Mode::Known).answered(&Method::GET, answer(&lines, source)).await;
            assert_eq!(response.headers().get(CONTENT_LENGTH), None);
            let (answered, end) = read(response.into_body()).await;
            assert_eq!(decode(coding, &answered).unwrap(), text.replace(THEIRS, OURS).into_bytes());
            assert_eq!(end, Ok(Some(trailers.clone())));
        }
    }
}

/// Frames up to the first pause.
async fn until_pause<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin>(body: &mut B) -> Vec<u8> {
    let mut all = Vec::new();
    std::future::poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(cx) {
            all.extend_from_slice(frame.data_ref().unwrap());
        }
        Poll::Ready(())
    })
    .await;
    all
}

#[tokio::test]
async fn what_upstream_sent_so_far_is_not_delayed() {
    let world = World::new();
    let text = r#"{"a":1,"odata.id":"https://online2.superoffice.com/Cust"#;
    let source = Source::of([text]).then(Piece::Pause).then(Piece::Data("12345\"}".into()));
    let response = world.links(Mode::Known).answered(&Method::GET, answer(&lines("identity"), source)).await;
    let mut body = response.into_body();
    assert_eq!(until_pause(&mut body).await, br#"{"a":1,"odata.id":""#);
    assert_eq!(until_pause(&mut body).await, format!("{OURS}\"}}").into_bytes());

    // Compressed: from the moment on that it is too large to be read ahead.
    let text = noise(4 * AHEAD);
    for coding in CODINGS {
        let coded = encode(coding, text.as_bytes());
        let (one, two) = coded.split_at(coded.len() - 5000);
        let source = Source::of([one.to_vec()]).then(Piece::Pause).then(Piece::Data(two.to_vec().into()));
        let response = world.links(Mode::Known).answered(&Method::GET, answer(&lines(coding), source)).await;
        let mut body = response.into_body();
        let first = until_pause(&mut body).await;
        let mut decoder = Decoder::new(if coding == "br" {
            Coding::Brotli
        } else {
            Coding::named(coding.rsplit(' ').next().unwrap().as_bytes()).unwrap()
        })
        .unwrap();
        let (mut input, mut plain) = (&first[..], Vec::new());
        while !input.is_empty() || plain.len() % PIECE == 0 {
            let before = plain.len();
            decoder.decode(&mut input, &mut plain, PIECE - before % PIECE).unwrap();
            if plain.len() == before {
                break;
            }
        }
        assert!(plain.len() > text.len() - 50_000, "{coding}: {} of {}", plain.len(), text.len());
        let rest = read(body).await.0;
        assert_eq!(decode(coding, &[first, rest].concat()).unwrap(), text.clone().into_bytes(), "{coding}");
    }
}

/// A body made as it is read.
struct Endless {
    left: u64,
    /// Of what was given out.
    given: u64,
    piece: Bytes,
}

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left = self.left.saturating_sub(self.piece.len() as u64);
        self.given += self.piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}

#[test]
fn an_enormous_body_needs_little_memory() {
    let world = World::new();
    let filler = "x".repeat(8000);
    let member = format!(r#"{{"_Links":{{"Self":"{THEIRS}/api"}},"a":"{filler}"}},"#);
    let piece: Bytes = ("[".to_owned() + &member.repeat(8)).into();
    for coding in ["identity", "gzip", "br"] {
        let total: u64 = 48 << 20;
        // As many members of gzip as pieces; brotli has no such thing.
        let (piece, total) = match coding {
            "identity" => (piece.clone(), total),
            "gzip" => (encode("gzip", &piece).into(), total / 100),
            _ => (encode("br", &piece.repeat(300)).into(), 1),
        };
        let source = Endless { left: total, given: 0, piece };
        let rewriter = world.links(Mode::Known).rewriter(Format::Json, Direction::Answer).unwrap();
        let decoder = Decoder::new(Coding::named(coding.as_bytes()).unwrap());
        let mut stream = Stream::new(Ahead::nothing(source), rewriter, decoder);
        let (mut sent, mut most, mut largest) = (0, 0, 0);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            match stream.poll(&mut cx) {
                Poll::Ready(Some(frame)) => {
                    let length = frame.unwrap().into_data().unwrap().len();
                    sent += length as u64;
                    largest = largest.max(length);
                }
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
            most = most.max(stream.buffered());
        }
        assert!(sent > 500, "{coding}: {sent}");
        assert!(most < 300_000 && largest < 200_000, "{coding}: {most} held, {largest} at once");
    }
}

#[tokio::test]
async fn a_bomb_is_decoded_in_bounded_steps() {
    let world = World::new();
    let plain = vec![b' '; 32 << 20];
    for coding in ["gzip", "br"] {
        let coded = encode(coding, &plain);
        assert!(coded.len() < AHEAD);
        let response = world.links(Mode::Known).answered(&Method::GET, answer(&lines(coding), Source::of([coded]))).await;
        let (answered, end) = read(response.into_body()).await;
        end.unwrap();
        assert_eq!(decode(coding, &answered).unwrap().len(), plain.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn in_any_coding_and_pieces_is_as_at_once(
        parts in proptest::collection::vec(fragments(), 1..4),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        coding in 0..CODINGS.len() + 1,
        all in any::<bool>(),
        declared in any::<bool>(),
        pause in any::<bool>(),
    ) {
        let world = World::new();
        let coding = CODINGS.get(coding).copied().unwrap_or("identity");
        let mode = if all { Mode::All } else { Mode::Known };
        let text = [&br#"{"odata.id":""#[..], &parts.join(&b"\",\"_Links\":\""[..])].concat();
        let expected = through(&world, mode, Format::Json, Direction::Answer, std::slice::from_ref(&text));
        let coded = encode(coding, &text);
        let mut source = Source::default();
        for piece in cut(&coded, &cuts) {
            if pause {
                source.pieces.push_back(Piece::Pause);
            }
            source.pieces.push_back(Piece::Data(piece.into()));
        }
        if declared {
            source = source.declared();
        }
        // Once read ahead, once streamed from its first byte.
        let streamed = {
            let rewriter = world.links(mode).rewriter(Format::Json, Direction::Answer).unwrap();
            let pieces = Source::of(cut(&coded, &cuts));
            Rewritten::from(Stream::new(Ahead::nothing(pieces), rewriter, Decoder::new(Coding::named(coding.rsplit(' ').next().unwrap().as_bytes()).unwrap())))
        };
        let run = async {
            let (headers, answered) = get(&world.links(mode), &lines(coding), source).await;
            let (streamed, end) = read(streamed).await;
            end.unwrap();
            (headers, answered, streamed)
        };
        let (headers, answered, streamed) = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run);
        if let Some(length) = headers.get(CONTENT_LENGTH) {
            prop_assert_eq!(length.to_str().unwrap(), answered.len().to_string());
        }
        if expected == text {
            prop_assert_eq!(&answered, &coded, "byte for byte");
        }
        prop_assert_eq!(decode(coding, &answered).unwrap(), expected.clone());
        prop_assert_eq!(decode(coding, &streamed).unwrap(), expected);
    }
}
