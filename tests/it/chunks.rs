//! Whatever pieces a body comes in, both ways: the same bytes arrive.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::bench::{Bench, Setup};
use crate::peer::Stage;
use crate::wire::{Message, Wire, begin};

/// A body in pieces, and how it is written.
#[derive(Clone, Debug)]
struct Plan {
    pieces: Vec<Vec<u8>>,
    /// With a length, or in chunks.
    chunked: bool,
    /// Where the bytes on the wire are torn apart, as parts of a thousand.
    cuts: Vec<usize>,
    /// How chunk sizes are spelled.
    spelling: u8,
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    // Small ones, one about as large as buffers are, and bytes that look like framing.
    let bytes =
        |sizes| (sizes, any::<u8>()).prop_map(|(size, salt): (usize, u8)| (0..size).map(|at| (at * 31 % 251) as u8 ^ salt).collect());
    prop_oneof![
        4 => bytes(1..50usize),
        2 => bytes(1..5_000usize),
        1 => bytes(8_000..70_000usize),
        1 => Just(b"0\r\n\r\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    (vec(piece(), 0..8), any::<bool>(), vec(0..1000usize, 0..6), 0..4u8).prop_map(|(pieces, chunked, mut cuts, spelling)| {
        cuts.sort_unstable();
        Plan { pieces, chunked, cuts, spelling }
    })
}

impl Plan {
    fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// Headers, the empty line, and the body.
    fn framed(&self) -> Vec<u8> {
        if !self.chunked {
            return [format!("Content-Length: {}\r\n\r\n", self.bytes().len()).as_bytes(), &self.bytes()].concat();
        }
        let mut text = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in &self.pieces {
            let size = match self.spelling {
                0 => format!("{:x}", piece.len()),
                1 => format!("{:X}", piece.len()),
                2 => format!("{:06x}", piece.len()),
                _ => format!("{:x};name=\"value\"", piece.len()),
            };
            text.extend([size.as_bytes(), b"\r\n", piece, b"\r\n"].concat());
        }
        text.extend(b"0\r\n\r\n");
        text
    }

    /// Writes a head and the body, torn apart.
    async fn write(&self, wire: &mut Wire, head: &str) {
        let bytes = [head.as_bytes(), &self.framed()].concat();
        let mut from = 0;
        for cut in self.cuts.iter().map(|cut| cut * bytes.len() / 1000).chain([bytes.len()]) {
            wire.say(&bytes[from..cut]).await;
            from = cut;
            // The other side gets a chance to see that much and no more.
            tokio::task::yield_now().await;
        }
    }

    fn assert_arrived(&self, message: &Message) {
        assert!(message.complete && message.body == self.bytes(), "{} bytes came, {self:?}", message.body.len());
        let length = (!self.chunked).then(|| self.bytes().len().to_string());
        assert_eq!(message.one("content-length"), length.as_deref(), "{message:?}");
    }
}

struct Scene {
    bench: Bench,
    stage: Stage,
    ends: Option<(Wire, Wire)>,
}

impl Scene {
    /// One exchange on the connections of the ones before.
    async fn play(&mut self, up: &Plan, down: &Plan) {
        let (mut wire, upstream) = match self.ends.take() {
            Some((wire, upstream)) => (wire, Some(upstream)),
            None => (Wire::to(self.bench.proxy).await, None),
        };
        let head = begin("PUT", "/v1/x", "");
        let receiving = async {
            let mut upstream = match upstream {
                Some(upstream) => upstream,
                None => self.stage.next().await,
            };
            let request = upstream.message().await.unwrap();
            (upstream, request)
        };
        let ((), (mut upstream, request)) = tokio::join!(up.write(&mut wire, &head), receiving);
        up.assert_arrived(&request);
        let ((), answer) = tokio::join!(down.write(&mut upstream, "HTTP/1.1 200 OK\r\n"), wire.answer());
        down.assert_arrived(&answer);
        self.ends = Some((wire, upstream));
    }
}

#[test]
fn any_sequence_of_pieces_arrives_as_the_same_bytes_both_ways() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = runtime.block_on(async {
        let stage = Stage::new().await;
        let bench = Setup::new().api_at(stage.address).set("listen.workers", "1").start().await;
        Scene { bench, stage, ends: None }
    });
    // The same cases at every run.
    let config = Config { cases: 60, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let scene = std::cell::RefCell::new(scene);
    runner
        .run(&(plan(), plan()), |(up, down)| {
            runtime.block_on(scene.borrow_mut().play(&up, &down));
            Ok(())
        })
        .unwrap();
    runtime.block_on(async { drop(scene) });
}
