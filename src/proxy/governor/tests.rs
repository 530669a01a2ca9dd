//! Callers side by side, on a hand-moved clock and on many threads.

use std::sync::atomic::AtomicUsize;

use jiff::Timestamp;

use super::*;
use crate::clock::Hand;

const FREE: Bounds = Bounds { rate: None, max_concurrent: None, queue_timeout: Duration::from_secs(30) };

fn manual(bounds: Bounds) -> (Arc<Governor>, Clock, Hand) {
    let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
    (Governor::new(bounds, clock.clone(), 2), clock, hand)
}

fn caller(name: &str) -> Caller {
    Caller::Name(name.into())
}

impl Governor {
    fn asked(self: &Arc<Governor>, name: &str) -> Turn {
        let now = self.clock.now();
        self.ask(|| caller(name), now, now)
    }

    async fn turn(self: &Arc<Governor>, name: &str) -> Result<Permit, Refused> {
        match self.asked(name) {
            Turn::Go(permit) => Ok(permit),
            Turn::Wait(waiting) => waiting.await,
            Turn::Refused(refused) => Err(refused),
        }
    }

    fn goes(self: &Arc<Governor>) -> Permit {
        match self.asked("a") {
            Turn::Go(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn waits(self: &Arc<Governor>) -> Waiting {
        match self.asked("a") {
            Turn::Wait(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn is_free(&self) -> bool {
        self.mode.load(Ordering::Relaxed) & 1 == 0
    }
}

/// Lets every task do what it can.
async fn settled() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn steps(hand: &Hand, time: Duration, step: Duration) {
    let mut gone = Duration::ZERO;
    while gone < time {
        settled().await;
        hand.advance(step);
        gone += step;
    }
    settled().await;
}

fn is_ready<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A client that has `parallel` calls open at all times, and thinks for a while after each.
fn client(governor: &Arc<Governor>, clock: &Clock, name: &'static str, parallel: usize, thinks: Duration) -> Arc<AtomicUsize> {
    let served = Arc::new(AtomicUsize::new(0));
    for _ in 0..parallel {
        let (governor, clock, served) = (governor.clone(), clock.clone(), served.clone());
        tokio::spawn(async move {
            loop {
                if governor.turn(name).await.is_ok() {
                    served.fetch_add(1, Ordering::Relaxed);
                }
                clock.sleep(thinks.max(Duration::from_millis(1))).await;
            }
        });
    }
    served
}

#[tokio::test]
async fn a_greedy_and_a_modest_client_share_the_rate_evenly() {
    let (governor, clock, hand) = manual(Bounds { rate: Some(10.0), ..FREE });
    let greedy = client(&governor, &clock, "greedy", 40, Duration::ZERO);
    let modest = client(&governor, &clock, "modest", 1, Duration::ZERO);
    steps(&hand, Duration::from_secs(60), Duration::from_millis(20)).await;
    let (greedy, modest) = (greedy.load(Ordering::Relaxed), modest.load(Ordering::Relaxed));
    assert!((590..=601).contains(&(greedy + modest)), "{greedy} + {modest} of 600");
    assert!(modest >= 280, "the modest one, with one call at a time, got {modest}; the greedy one, with 40, {greedy}");
}

#[tokio::test]
async fn what_a_modest_client_leaves_the_greedy_one_gets() {
    let (governor, clock, hand) = manual(Bounds { rate: Some(10.0), ..FREE });
    let greedy = client(&governor, &clock, "greedy", 40, Duration::ZERO);
    let modest = client(&governor, &clock, "modest", 1, Duration::from_secs(1));
    steps(&hand, Duration::from_secs(60), Duration::from_millis(20)).await;
    let (greedy, modest) = (greedy.load(Ordering::Relaxed), modest.load(Ordering::Relaxed));
    // It waits for one call of the greedy one and for its own turn: a second and a fifth for each of its calls.
    assert!(modest >= 47, "{modest}");
    assert!((590..=601).contains(&(greedy + modest)), "{greedy} + {modest} of 600");
}

#[tokio::test]
async fn without_bounds_and_refusals_a_call_only_passes() {
    let (governor, _, _) = manual(FREE);
    for _ in 0..1000 {
        let now = governor.clock.now();
        let turn = governor.ask(|| panic!("nobody has to know who calls"), now, now);
        assert!(matches!(turn, Turn::Go(Permit { counted: None, cuts: 0 })));
    }
    assert_eq!(governor.standing(), Standing { rate: None, paused: Duration::ZERO, waiting: 0, cuts: 0 });
}

#[tokio::test]
async fn a_refusal_slows_all_callers_down_and_is_forgotten_in_the_end() {
    let (governor, _, hand) = manual(FREE);
    let permits: Vec<Permit> = (0..20).map(|_| governor.goes()).collect();
    permits.iter().take(12).for_each(|permit| governor.refused(permit, Duration::from_secs(2)));
    assert_eq!(governor.standing(), Standing { rate: Some(10.0), paused: Duration::from_secs(2), waiting: 0, cuts: 1 });
    let mut other = match governor.asked("somebody else") {
        Turn::Wait(waiting) => waiting,
        turn => panic!("{turn:?}"),
    };
    hand.advance(Duration::from_millis(1990));
    settled().await;
    assert!(is_ready(&mut other).is_none());
    hand.advance(Duration::from_millis(10));
    settled().await;
    let permit = is_ready(&mut other).unwrap().unwrap();
    // Of those that were under way before the cut, no other halves again; of those after it, one does.
    governor.refused(&permits[15], Duration::from_secs(1));
    assert_eq!(governor.standing().cuts, 1);
    governor.refused(&permit, Duration::from_secs(1));
    assert_eq!(governor.standing().cuts, 2);
    assert!(!governor.is_free());
    hand.advance(Duration::from_secs(92));
    assert!(matches!(governor.asked("a"), Turn::Go(_)));
    assert!(governor.is_free(), "{:?}", governor.standing());
}

#[tokio::test]
async fn a_wait_that_cannot_end_in_time_is_refused_at_once_and_says_when_to_come_back() {
    let (governor, clock, hand) = manual(Bounds { rate: Some(2.0), max_concurrent: None, queue_timeout: Duration::from_secs(3) });
    let _now = governor.goes();
    let _waiting: Vec<Waiting> = (0..6).map(|_| governor.waits()).collect();
    let Turn::Refused(refused) = governor.asked("a") else { panic!("it would have to wait for 3.5 s") };
    assert_eq!(refused.retry_after, Duration::from_millis(3500));
    // Somebody else's turn comes sooner.
    assert!(matches!(governor.asked("b"), Turn::Wait(_)));
    // A pause that is too long is too long for everybody.
    let (paused, _, _) = manual(Bounds { queue_timeout: Duration::from_secs(3), ..FREE });
    paused.refused(&paused.goes(), Duration::from_secs(60));
    let Turn::Refused(refused) = paused.asked("a") else { panic!("the pause is a minute") };
    assert_eq!(refused.retry_after, Duration::from_secs(60));
    // One that has waited already has less time left.
    let arrived = clock.now();
    hand.advance(Duration::from_millis(2999));
    assert!(matches!(governor.ask(|| caller("c"), arrived, clock.now()), Turn::Refused(_)));
}

#[tokio::test]
async fn who_waits_too_long_is_sent_home_in_time() {
    let (governor, _, hand) = manual(Bounds { rate: None, max_concurrent: Some(1), queue_timeout: Duration::from_secs(5) });
    let held = governor.goes();
    let mut waiting = governor.waits();
    hand.advance(Duration::from_secs(3));
    settled().await;
    let mut later = governor.waits();
    hand.advance(Duration::from_secs(2));
    settled().await;
    assert!(matches!(is_ready(&mut waiting), Some(Err(Refused { .. }))));
    assert!(is_ready(&mut later).is_none());
    drop(held);
    assert!(matches!(is_ready(&mut later), Some(Ok(_))));
    assert_eq!(governor.standing().waiting, 0);
}

#[tokio::test]
async fn who_goes_away_leaves_the_line_and_gives_its_turn_back() {
    let (governor, _, hand) = manual(Bounds { max_concurrent: Some(1), ..FREE });
    let held = governor.goes();
    let (first, mut second, third) = (governor.waits(), governor.waits(), governor.waits());
    drop(first);
    drop(held);
    // The second has its turn, unseen; it goes away with it, and the third has it.
    assert_eq!(governor.standing().waiting, 1);
    let permit = is_ready(&mut second).unwrap().unwrap();
    drop(second);
    drop(permit);
    let mut fourth = governor.waits();
    drop(third);
    assert!(matches!(is_ready(&mut fourth), Some(Ok(_))));

    // The same with a rate: the turn that was not used is not lost.
    governor.set(Bounds { rate: Some(0.5), ..FREE });
    let _gone = governor.goes();
    let mut next = [governor.waits(), governor.waits(), governor.waits()].into_iter();
    hand.advance(Duration::from_secs(2));
    settled().await;
    drop(next.next());
    settled().await;
    assert!(matches!(is_ready(&mut next.next().unwrap()), Some(Ok(_))));
    assert!(is_ready(&mut next.next().unwrap()).is_none());
}

#[tokio::test]
async fn other_bounds_count_at_once_for_those_who_wait() {
    let (governor, _, _) = manual(Bounds { rate: Some(0.1), ..FREE });
    let _gone = governor.goes();
    let mut waiting = governor.waits();
    governor.set(Bounds { rate: Some(100.0), ..FREE });
    assert!(matches!(is_ready(&mut waiting), Some(Ok(_))));
    governor.set(FREE);
    assert!(governor.is_free());
}

#[tokio::test]
async fn a_call_that_was_refused_keeps_its_place() {
    let (governor, clock, hand) = manual(FREE);
    let arrived = clock.now();
    let permit = governor.goes();
    hand.advance(Duration::from_millis(100));
    governor.refused(&permit, Duration::from_secs(1));
    let mut later = governor.waits();
    let Turn::Wait(mut again) = governor.ask(|| caller("a"), arrived, clock.now()) else { panic!("a pause is on") };
    hand.advance(Duration::from_secs(1));
    settled().await;
    assert!(matches!(is_ready(&mut again), Some(Ok(_))));
    assert!(is_ready(&mut later).is_none());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// As the workers do it: several threads, each with a runtime of its own.
#[test]
fn ten_thousand_wait_on_several_threads_and_nobody_is_forgotten() {
    let bounds = Bounds { rate: None, max_concurrent: Some(3), queue_timeout: Duration::from_secs(300) };
    let governor = Governor::new(bounds, Clock::system(), 4);
    let (under_way, most, served) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((under_way, most, served));
    let threads: Vec<_> = (0..4usize)
        .map(|thread| {
            let (governor, counts) = (governor.clone(), counts.clone());
            std::thread::spawn(move || {
                runtime().block_on(async move {
                    let calls = (0..2500usize).map(|number| {
                        let (governor, counts) = (governor.clone(), counts.clone());
                        tokio::spawn(async move {
                            let turn = governor.turn(["a", "b", "c"][number % 3]);
                            // Every fourth goes away, at any time.
                            let permit = match number % 4 {
                                0 => match tokio::time::timeout(Duration::from_micros(number as u64 * 7), turn).await {
                                    Ok(permit) => permit,
                                    Err(_) => return,
                                },
                                _ => turn.await,
                            };
                            let permit = permit.unwrap();
                            let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                            counts.1.fetch_max(now, Ordering::SeqCst);
                            if (number + thread) % 5 == 0 {
                                tokio::task::yield_now().await;
                            }
                            counts.0.fetch_sub(1, Ordering::SeqCst);
                            counts.2.fetch_add(1, Ordering::SeqCst);
                            drop(permit);
                        })
                    });
                    for call in calls.collect::<Vec<_>>() {
                        call.await.unwrap();
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(counts.1.load(Ordering::SeqCst) <= 3);
    assert!(counts.2.load(Ordering::SeqCst) >= 7500);
    let state = governor.lock();
    assert_eq!((state.under_way, state.line.len()), (0, 0));
}

#[test]
fn who_waits_goes_although_the_thread_that_kept_the_time_has_ended() {
    let (governor, _, hand) = manual(Bounds { rate: Some(1.0), ..FREE });
    let (first, second) = (runtime(), runtime());
    let (_gone, waiting) = first.block_on(async { (governor.goes(), governor.waits()) });
    let other = {
        let _there = second.enter();
        governor.waits()
    };
    drop(first);
    // Not the dropped runtime's business any more.
    drop(waiting);
    assert!(governor.lock().ushered);
    second.block_on(async move {
        let waits = tokio::spawn(other);
        settled().await;
        hand.advance(Duration::from_secs(1));
        // Nobody would wake it otherwise, and the test would not end.
        tokio::time::timeout(Duration::from_secs(20), waits).await.unwrap().unwrap().unwrap();
        settled().await;
    });
    assert!(!governor.lock().ushered);
    drop(second);
}
