//! Several who ask for the same at once: whatever becomes of the first, the others get their answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;

use super::*;

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Shared(String),
    Lead,
    Alone,
}

impl World {
    /// Callers that ask now; who is to lead says so and fails.
    async fn crowd(self: &Arc<World>, number: usize) -> Vec<JoinHandle<Got>> {
        let one = |_| {
            let world = self.clone();
            tokio::spawn(async move {
                match world.ask(&[]).await {
                    Found::Answer(answer) => {
                        assert_eq!(status(&answer), "soproxy; fwd=uri-miss; collapsed");
                        Got::Shared(text(answer).await)
                    }
                    Found::Lead(lead) => {
                        settled().await;
                        lead.failed();
                        Got::Lead
                    }
                    Found::Pass(_) => Got::Alone,
                }
            })
        };
        let crowd = (0..number).map(one).collect();
        settled().await;
        crowd
    }
}

async fn all(crowd: Vec<JoinHandle<Got>>) -> Vec<Got> {
    let mut got = Vec::new();
    for one in crowd {
        got.push(one.await.unwrap());
    }
    got
}

#[tokio::test]
async fn a_thousand_at_once_are_one_call() {
    let world = Arc::new(World::new());
    let lead = world.lead(&[]).await;
    let crowd = world.crowd(1000).await;
    assert!(crowd.iter().all(|one| !one.is_finished()));
    let answer = lead.answered(good("[1]"), world.clock.now());
    assert_eq!(all(crowd).await, vec![Got::Shared("[1]".to_owned()); 1000]);
    assert_eq!(text(answer).await, "[1]");
}

#[tokio::test]
async fn when_the_first_fails_the_others_go_on_their_own() {
    let world = Arc::new(World::new());
    let lead = world.lead(&[]).await;
    let crowd = world.crowd(20).await;
    lead.failed();
    assert_eq!(all(crowd).await, vec![Got::Alone; 20]);
    // The same for an answer that cannot be shared.
    let lead = world.lead(&[]).await;
    let crowd = world.crowd(20).await;
    let answer = lead.answered(response(500, &[], full("x")), world.clock.now());
    assert_eq!(all(crowd).await, vec![Got::Alone; 20]);
    assert_eq!(text(answer).await, "x");
}

#[tokio::test]
async fn when_the_first_goes_away_before_its_answer_another_leads() {
    let world = Arc::new(World::new());
    let lead = world.lead(&[]).await;
    let crowd = world.crowd(20).await;
    drop(lead);
    let got = all(crowd).await;
    // The one that leads fails in turn, and nobody tries a third time.
    assert_eq!((got.iter().filter(|got| **got == Got::Lead).count(), got.iter().filter(|got| **got == Got::Alone).count()), (1, 19));
}

#[tokio::test]
async fn nobody_waits_more_than_twice() {
    let world = Arc::new(World::new());
    let lead = world.lead(&[]).await;
    let waits = tokio::spawn({
        let world = world.clone();
        async move { matches!(world.ask(&[]).await, Found::Pass(_)) }
    });
    let group = Group { tenant: "cust1".into(), collection: "list".into() };
    let mut number = lead.number;
    for _ in 0..2 {
        settled().await;
        assert!(!waits.is_finished());
        // Whoever leads goes away, and somebody quicker leads again.
        let mut store = world.cache.lock();
        store.end(number, End::Left);
        number = store.begin(&lead.key, group.clone());
    }
    assert!(waits.await.unwrap());
}

#[tokio::test]
async fn a_first_caller_that_leaves_in_the_middle_or_reads_nothing_keeps_nobody() {
    for leaves in [true, false] {
        let world = Arc::new(World::new());
        let (feeder, body) = fed();
        let lead = world.lead(&[]).await;
        let crowd = world.crowd(20).await;
        let mut answer = Some(lead.answered(response(200, &[NO_CACHE], body), world.clock.now()));
        feeder.send(data("[1")).unwrap();
        settled().await;
        if leaves {
            answer = None;
        }
        feeder.send(data("]")).unwrap();
        drop(feeder);
        assert_eq!(all(crowd).await, vec![Got::Shared("[1]".to_owned()); 20]);
        if let Some(answer) = answer {
            assert_eq!(text(answer).await, "[1]");
        }
        assert_eq!(world.cache.size().0, 1);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_is_broken_for_the_first_and_the_others_ask_themselves() {
    let world = Arc::new(World::new());
    let (feeder, body) = fed();
    let lead = world.lead(&[]).await;
    let crowd = world.crowd(5).await;
    let answer = lead.answered(response(200, &[NO_CACHE], body), world.clock.now());
    feeder.send(data("[1")).unwrap();
    feeder.send(Err("reset".into())).unwrap();
    assert_eq!(all(crowd).await, vec![Got::Alone; 5]);
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "[1");
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "reset");
    assert_eq!(world.cache.size().0, 0);
}

#[tokio::test]
async fn a_large_answer_passes_unstored_whether_it_says_its_length_or_not() {
    let world = Arc::new(World::new());
    let lead = world.lead(&[]).await;
    let crowd = world.crowd(5).await;
    let large = vec![b'x'; LIMITS.entry + 1];
    let answer = lead.answered(response(200, &[NO_CACHE], full(large.clone())), world.clock.now());
    assert!(matches!(answer.body(), Content::Upstream(_)));
    assert_eq!(all(crowd).await, vec![Got::Alone; 5]);

    let (feeder, body) = fed();
    let lead = world.lead(&[]).await;
    let crowd = world.crowd(5).await;
    let answer = lead.answered(response(200, &[NO_CACHE], body), world.clock.now());
    let chunk = Bytes::from(vec![b'x'; 16 << 10]);
    for _ in 0..64 {
        feeder.send(data(chunk.clone())).unwrap();
    }
    assert_eq!(all(crowd).await, vec![Got::Alone; 5], "as soon as it is known");
    drop(feeder);
    assert_eq!(text(answer).await.len(), 1 << 20);
    assert_eq!(world.cache.size().0, 0);
}

/// Counts what is taken of it, and is endless.
struct Endless(Arc<AtomicUsize>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.fetch_add(4096, Ordering::Relaxed);
        std::task::Poll::Ready(Some(data(vec![0; 4096])))
    }
}

#[tokio::test]
async fn what_is_not_stored_is_taken_only_as_fast_as_it_is_read_and_ends_with_its_reader() {
    let world = World::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let endless = Body::stream(Endless(taken.clone()));
    let mut answer = world.lead(&[]).await.answered(response(200, &[NO_CACHE], endless), world.clock.now()).into_body();
    settled().await;
    assert!(taken.load(Ordering::Relaxed) <= LIMITS.entry + (72 << 10), "{taken:?}");
    for _ in 0..1000 {
        answer.frame().await.unwrap().unwrap();
    }
    assert!((4_096_000..4_096_000 + LIMITS.entry + (72 << 10)).contains(&taken.load(Ordering::Relaxed)));
    assert_eq!(Arc::strong_count(&taken), 2);
    drop(answer);
    settled().await;
    assert_eq!(Arc::strong_count(&taken), 1);
}

#[tokio::test]
async fn trailers_pass_and_such_an_answer_is_not_stored() {
    let world = World::new();
    let (feeder, body) = fed();
    let answer = world.lead(&[]).await.answered(response(200, &[NO_CACHE], body), world.clock.now());
    let trailers = request(Method::GET, &[("x-sum", "1")]).headers;
    feeder.send(data("[1]")).unwrap();
    feeder.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(feeder);
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers(), Some(&trailers));
    assert_eq!(whole.to_bytes(), "[1]");
    settled().await;
    assert_eq!(world.cache.size().0, 0);
}

#[tokio::test]
async fn a_length_that_was_announced_stays_announced() {
    let world = World::new();
    let answer = world.lead(&[]).await.answered(good("[12345]"), world.clock.now());
    assert_eq!(answer.body().size_hint().exact(), Some(7));
    assert_eq!(text(answer).await, "[12345]");
}

#[test]
fn whatever_the_pieces_and_the_pace_the_bytes_are_the_same() {
    let piece = || (0usize..40_000, 0u8..3, proptest::bool::ANY);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pieces = proptest::collection::vec(piece(), 0..6);
    proptest::proptest!(proptest::test_runner::Config::with_cases(64), |(pieces in pieces)| {
        runtime.block_on(async {
            let world = World::new();
            let (feeder, body) = fed();
            let mut answer = world.lead(&[]).await.answered(response(200, &[NO_CACHE], body), world.clock.now()).into_body();
            let pieces: Vec<(Vec<u8>, u8, bool)> =
                (0..).zip(pieces).map(|(number, (length, yields, reads))| (vec![number; length], yields, reads)).collect();
            let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.0.clone()).collect();
            let mut read: Vec<u8> = Vec::new();
            for (bytes, yields, reads) in pieces {
                feeder.send(data(bytes)).unwrap();
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                if reads && let Some(frame) = answer.frame().await {
                    read.extend(frame.unwrap().into_data().unwrap());
                }
            }
            drop(feeder);
            read.extend(answer.collect().await.unwrap().to_bytes());
            assert!(read == whole);
            settled().await;
            assert_eq!(world.cache.size().0, usize::from(whole.len() <= LIMITS.entry));
            if whole.len() <= LIMITS.entry {
                let stored = world.hit(&[]).await.into_body().collect().await.unwrap().to_bytes();
                assert!(stored == whole);
            }
        });
    });
}
