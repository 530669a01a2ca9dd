//! The cache against a scripted exchange and a hand-moved clock: no sockets, no sleeps.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;

use http::HeaderValue;
use jiff::Timestamp;

use super::brake::CURES;
use super::*;
use crate::clock::Hand;
use crate::ticket::Grant;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub(super) struct Script {
    exchanges: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    down: AtomicBool,
    /// While set, exchanges wait for `go`.
    held: AtomicBool,
    go: Notify,
}

impl Script {
    pub(super) fn count(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
        self.go.notify_waiters();
    }
}

impl Exchange for Script {
    fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>> {
        Box::pin(async {
            self.exchanges.fetch_add(1, Ordering::SeqCst);
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            while self.held.load(Ordering::SeqCst) {
                self.go.notified().await;
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            if self.down.load(Ordering::SeqCst) {
                return Err(ExchangeFailure { code: "down", wire: "login is down".into(), log: "login is down, says the log".into() });
            }
            Ok(Grant { authorization: HeaderValue::from_static("SOTicket t"), app_token: HeaderValue::from_static("s") })
        })
    }
}

pub(super) struct Bench {
    pub(super) script: Arc<Script>,
    hand: Hand,
    clock: Clock,
    pub(super) tickets: Arc<Tickets>,
}

fn shared(max_age: Option<Duration>, permits: usize) -> (Shared, Hand) {
    let (clock, hand) = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
    let policy = Policy { max_age, lifetime: 6 * HOUR, keep_warm: 24 * HOUR };
    (Shared { policy, clock, permits: Arc::new(Semaphore::new(permits)), patience: Duration::from_secs(30), metrics: Arc::default() }, hand)
}

fn bench_with(max_age: Option<Duration>, prefetch: bool, down: bool) -> Bench {
    let (shared, hand) = shared(max_age, 4);
    let script = Arc::new(Script::default());
    script.down.store(down, Ordering::SeqCst);
    let clock = shared.clock.clone();
    let tickets = Arc::new(Tickets::start("Cust1", script.clone(), shared, None, prefetch));
    Bench { script, hand, clock, tickets }
}

pub(super) fn bench() -> Bench {
    bench_with(Some(HOUR), false, false)
}

/// Lets every task run until it waits.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

impl Bench {
    /// Moves on in steps, as time does, letting tasks run in between.
    async fn advance(&self, by: Duration) {
        let step = (by / 200).max(Duration::from_millis(100));
        let mut left = by;
        while !left.is_zero() {
            let now = step.min(left);
            self.hand.advance(now);
            left -= now;
            settle().await;
        }
    }

    pub(super) async fn use_now(&self) -> Arc<Ticket> {
        let ticket = self.tickets.get().await.unwrap();
        self.tickets.used(&ticket, self.clock.now());
        settle().await;
        ticket
    }
}

#[tokio::test]
async fn all_waiters_on_a_cold_tenant_share_one_exchange() {
    let bench = bench();
    bench.script.hold(true);
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let tickets = bench.tickets.clone();
            tokio::spawn(async move { tickets.get().await.map(|ticket| ticket.generation) })
        })
        .collect();
    settle().await;
    bench.script.hold(false);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), 1);
    }
    assert_eq!(bench.script.count(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_nothing() {
    let bench = bench();
    bench.script.hold(true);
    let impatient = tokio::spawn({
        let tickets = bench.tickets.clone();
        async move { tickets.get().await.map(|_| ()) }
    });
    settle().await;
    impatient.abort();
    settle().await;
    bench.script.hold(false);
    assert_eq!(bench.tickets.get().await.unwrap().generation, 1);
    assert_eq!(bench.script.count(), 1);
}

#[tokio::test]
async fn a_tenant_in_use_is_renewed_hourly_and_not_per_call() {
    let bench = bench();
    for _ in 0..30 {
        bench.use_now().await;
        bench.advance(Duration::from_secs(600)).await;
    }
    // 5 hours of use, a renewal an hour (and up to 5 % later).
    assert!((4..=6).contains(&bench.script.count()), "{}", bench.script.count());
}

#[tokio::test]
async fn an_idle_tenant_is_kept_warm_for_a_day_and_then_lapses() {
    let bench = bench();
    bench.use_now().await;
    bench.advance(2 * HOUR).await;
    assert_eq!(bench.script.count(), 2, "used since it was issued: renewed at max_age");
    bench.advance(40 * HOUR).await;
    let renewals = bench.script.count();
    assert!((4..=6).contains(&renewals), "once per 6 h for the rest of the day, not {renewals} times");
    bench.advance(40 * HOUR).await;
    assert_eq!(bench.script.count(), renewals, "then never again");
    bench.use_now().await;
    assert_eq!(bench.script.count(), renewals + 1, "but on demand");
}

#[tokio::test]
async fn the_first_use_of_an_old_ticket_renews_it_in_the_background() {
    let bench = bench_with(Some(HOUR), true, false);
    settle().await;
    bench.advance(3 * HOUR).await;
    assert_eq!(bench.script.count(), 1, "never used: not renewed");
    assert_eq!(bench.use_now().await.generation, 1, "and yet served at once");
    assert_eq!(bench.tickets.get().await.unwrap().generation, 2);
}

#[tokio::test]
async fn never_relies_on_sliding() {
    let bench = bench_with(None, false, false);
    for _ in 0..20 {
        bench.use_now().await;
        bench.advance(HOUR).await;
    }
    assert_eq!(bench.script.count(), 1, "20 hours of use, each within the window");
    bench.advance(5 * HOUR).await;
    assert_eq!(bench.script.count(), 2, "idle for nearly 6 h");
}

#[tokio::test]
async fn failures_back_off_and_cold_callers_are_told_at_once() {
    let bench = bench_with(Some(HOUR), true, true);
    settle().await;
    let unavailable = bench.tickets.get().await.unwrap_err();
    assert_eq!(unavailable.failure.wire, "login is down");
    assert!(unavailable.retry_after <= Duration::from_millis(1150));
    for _ in 0..1000 {
        assert!(bench.tickets.get().await.is_err());
    }
    assert_eq!(bench.script.count(), 1, "callers cause no exchanges while the wait is on");
    bench.advance(Duration::from_secs(600)).await;
    let tries = bench.script.count();
    assert!((10..=18).contains(&tries), "1, 2, 4 … 60 s: {tries} tries in 10 minutes");
    let waits = bench.tickets.status();
    assert!(!waits.can_serve());
    bench.script.down.store(false, Ordering::SeqCst);
    bench.advance(Duration::from_secs(70)).await;
    assert_eq!(bench.tickets.get().await.unwrap().generation, 1, "no error ends the loop");
    assert!(bench.tickets.status().can_serve());
}

#[tokio::test]
async fn a_live_ticket_serves_while_login_is_down_until_it_has_truly_expired() {
    let bench = bench();
    bench.use_now().await;
    bench.script.down.store(true, Ordering::SeqCst);
    bench.advance(5 * HOUR).await;
    assert_eq!(bench.use_now().await.generation, 1);
    bench.advance(5 * HOUR).await;
    assert_eq!(bench.tickets.get().await.unwrap().generation, 1, "each accepted use resets the window");
    bench.advance(2 * HOUR).await;
    assert!(bench.tickets.get().await.is_err());
    assert!(!bench.tickets.status().can_serve());
}

#[tokio::test]
async fn after_a_suspend_a_run_out_ticket_is_not_used() {
    let bench = bench();
    assert_eq!(bench.use_now().await.generation, 1);
    bench.hand.suspend(8 * HOUR);
    assert_eq!(bench.tickets.get().await.unwrap().generation, 2);
}

#[tokio::test]
async fn a_thousand_refusals_of_one_generation_cause_one_exchange() {
    let bench = bench();
    let ticket = bench.use_now().await;
    bench.advance(Duration::from_secs(10)).await;
    for _ in 0..1000 {
        assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
    }
    assert_eq!(bench.tickets.newer_than(1).await.unwrap().generation, 2);
    assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing, "a late 401 takes the newer ticket");
    assert_eq!(bench.tickets.newer_than(1).await.unwrap().generation, 2);
    settle().await;
    assert_eq!(bench.script.count(), 2);
}

#[tokio::test]
async fn a_young_ticket_is_not_doubted() {
    let bench = bench();
    let ticket = bench.use_now().await;
    bench.hand.advance(Duration::from_millis(1900));
    assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Stands);
    bench.hand.advance(Duration::from_millis(200));
    assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
}

/// A wrong client secret: exchanges succeed, calls are answered 401 for ever.
#[tokio::test]
async fn refused_fresh_tickets_are_braked() {
    let bench = bench_with(Some(HOUR), true, false);
    settle().await;
    for second in 0..7200 {
        let ticket = bench.tickets.get().await.unwrap();
        if bench.tickets.refused(&ticket, false) == Refusal::Renewing {
            let newer = bench.tickets.newer_than(ticket.generation).await.unwrap();
            assert_eq!(bench.tickets.refused(&newer, true), Refusal::Stands);
        }
        if second == 60 {
            assert!(!bench.tickets.status().can_serve(), "readiness says so");
        }
        bench.hand.advance(Duration::from_secs(1));
        settle().await;
    }
    // 30 s, 1, 2, 4, 8 min, then every 15 min.
    assert!((8..=16).contains(&bench.script.count()), "{} exchanges in two hours", bench.script.count());
}

/// As above, but with bodies too large to be replayed: nothing tells whether a renewal was the cure.
#[tokio::test]
async fn refusals_without_replay_are_braked_too() {
    let bench = bench_with(Some(HOUR), true, false);
    settle().await;
    for _ in 0..3600 {
        let ticket = bench.tickets.get().await.unwrap();
        bench.tickets.refused(&ticket, false);
        bench.hand.advance(Duration::from_secs(1));
        settle().await;
    }
    assert!(bench.script.count() <= 12, "{} exchanges in an hour", bench.script.count());
}

/// One path is refused whatever the ticket, the others are served.
#[tokio::test]
async fn a_path_that_is_always_refused_does_not_storm() {
    let bench = bench();
    for _ in 0..3600 {
        let ticket = bench.use_now().await;
        if bench.tickets.refused(&ticket, false) == Refusal::Renewing {
            let newer = bench.tickets.newer_than(ticket.generation).await.unwrap();
            bench.tickets.refused(&newer, true);
        }
        bench.hand.advance(Duration::from_secs(1));
        settle().await;
    }
    assert!(bench.script.count() <= 12, "{} exchanges in an hour", bench.script.count());
    assert!(bench.tickets.status().can_serve(), "the tenant is served");
}

/// Callers that come seldom: each finds the pause over.
#[tokio::test]
async fn slow_callers_are_braked_too() {
    for (every, most) in [(61, 60), (1200, 35)] {
        let bench = bench_with(Some(HOUR), true, false);
        settle().await;
        let start = bench.clock.now();
        while bench.clock.now().since(start) < 10 * HOUR {
            let ticket = bench.tickets.get().await.unwrap();
            if bench.tickets.refused(&ticket, false) == Refusal::Renewing {
                let newer = bench.tickets.newer_than(ticket.generation).await.unwrap();
                bench.tickets.refused(&newer, true);
            }
            bench.hand.advance(Duration::from_secs(every));
            settle().await;
        }
        assert!(bench.script.count() <= most, "{} exchanges in ten hours, a call every {every} s", bench.script.count());
    }
}

/// One of two servers behind upstream's balancer always says 401: renewing seems to be the cure each time.
#[tokio::test]
async fn cures_that_do_not_last_are_braked() {
    let bench = bench();
    bench.use_now().await;
    for _ in 0..1600 {
        bench.hand.advance(Duration::from_millis(2200));
        let ticket = bench.tickets.get().await.unwrap();
        if bench.tickets.refused(&ticket, false) == Refusal::Renewing {
            let newer = bench.tickets.newer_than(ticket.generation).await.unwrap();
            bench.tickets.used(&newer, bench.clock.now());
            bench.tickets.cured();
        }
        settle().await;
    }
    assert!(bench.script.count() <= 12, "{} exchanges in an hour", bench.script.count());
}

#[tokio::test]
async fn after_a_quiet_time_a_401_is_believed_at_once() {
    let bench = bench();
    for _ in 0..10 {
        let ticket = bench.use_now().await;
        bench.advance(Duration::from_secs(10)).await;
        assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
        let newer = bench.tickets.newer_than(ticket.generation).await.unwrap();
        bench.tickets.used(&newer, bench.clock.now());
        bench.tickets.cured();
        bench.advance(Duration::from_secs(1200)).await;
    }
}

#[tokio::test]
async fn a_run_out_ticket_that_the_policy_lets_lapse_is_fetched_on_demand() {
    let (mut shared, hand) = shared(Some(HOUR), 4);
    shared.policy = Policy { max_age: Some(HOUR), lifetime: Duration::from_secs(5), keep_warm: Duration::ZERO };
    let (script, clock) = (Arc::new(Script::default()), shared.clock.clone());
    let tickets = Arc::new(Tickets::start("Cust1", script.clone(), shared, None, false));
    let bench = Bench { script, hand, clock, tickets };
    for generation in 1..=3 {
        assert_eq!(bench.use_now().await.generation, generation);
        bench.advance(Duration::from_secs(60)).await;
    }
}

#[tokio::test]
async fn readiness_lets_a_request_try_once_the_pause_is_over() {
    let bench = bench_with(Some(HOUR), true, false);
    settle().await;
    bench.advance(Duration::from_secs(3)).await;
    let ticket = bench.tickets.get().await.unwrap();
    assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
    let newer = bench.tickets.newer_than(1).await.unwrap();
    bench.tickets.refused(&newer, true);
    assert!(!bench.tickets.status().can_serve());
    bench.advance(Duration::from_secs(31)).await;
    assert!(bench.tickets.status().can_serve() && bench.tickets.status().refused.is_some());
}

#[tokio::test]
async fn a_panic_in_an_exchange_is_a_failure_like_any_other() {
    struct Panics(AtomicUsize);
    impl Exchange for Panics {
        fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>> {
            Box::pin(async {
                match self.0.fetch_add(1, Ordering::SeqCst) {
                    0 => panic!("on purpose"),
                    _ => Script::default().exchange().await,
                }
            })
        }
    }
    let (shared, hand) = shared(Some(HOUR), 1);
    let tickets = Tickets::start("Cust1", Arc::new(Panics(AtomicUsize::new(0))), shared, None, true);
    assert_eq!(tickets.get().await.unwrap_err().failure.wire, "the exchange broke off");
    hand.advance(Duration::from_secs(2));
    settle().await;
    assert_eq!(tickets.get().await.unwrap().generation, 1);
}

#[tokio::test]
async fn a_renewal_that_was_the_cure_releases_the_brake() {
    let bench = bench();
    for generation in 1..=u64::from(CURES) {
        let ticket = bench.use_now().await;
        assert_eq!(ticket.generation, generation);
        bench.hand.advance(Duration::from_secs(3));
        assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
        let newer = bench.tickets.newer_than(generation).await.unwrap();
        bench.tickets.used(&newer, bench.clock.now());
        bench.tickets.cured();
    }
}

#[tokio::test]
async fn a_doubted_ticket_is_better_than_none() {
    let bench = bench();
    let ticket = bench.use_now().await;
    bench.advance(Duration::from_secs(10)).await;
    bench.script.down.store(true, Ordering::SeqCst);
    assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
    assert!(bench.tickets.newer_than(1).await.is_err(), "the refused request itself is told that there is no ticket");
    assert_eq!(bench.tickets.get().await.unwrap().generation, 1, "others go on: perhaps the 401 was not about the ticket");
    bench.script.down.store(false, Ordering::SeqCst);
    bench.advance(Duration::from_secs(3)).await;
    assert_eq!(bench.tickets.get().await.unwrap().generation, 2);
}

#[tokio::test]
async fn a_bounded_number_of_exchanges_runs_at_once() {
    let (shared, _hand) = shared(Some(HOUR), 3);
    let script = Arc::new(Script::default());
    script.hold(true);
    let all: Vec<_> = (0..20).map(|n| Tickets::start(&format!("Cust{n}"), script.clone(), shared.clone(), None, true)).collect();
    settle().await;
    assert_eq!(script.at_once.load(Ordering::SeqCst), 3);
    script.hold(false);
    for tickets in &all {
        tickets.get().await.unwrap();
    }
    assert_eq!((script.count(), script.most_at_once.load(Ordering::SeqCst)), (20, 3));
}

#[tokio::test]
async fn there_is_a_task_only_while_there_is_something_to_do() {
    let bench = bench();
    let running = || matches!(*lock(&bench.tickets.slot.renewer), Renewer::Running(_));
    assert!(!running(), "nobody has asked for a ticket yet");
    for uses in 1..=3 {
        bench.use_now().await;
        assert!(running(), "the ticket will have to be renewed");
        bench.advance(40 * HOUR).await;
        assert!(!running(), "and then lapses, for the time no. {uses}");
    }
    let ticket = bench.use_now().await;
    bench.advance(Duration::from_secs(10)).await;
    bench.script.down.store(true, Ordering::SeqCst);
    assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
    bench.advance(Duration::from_secs(3600)).await;
    assert!(running(), "failures do not end it");
}

#[tokio::test]
async fn a_removed_tenant_keeps_nobody_waiting() {
    let bench = bench();
    bench.script.hold(true);
    let waiter = tokio::spawn({
        let slot = bench.tickets.slot.clone();
        async move { slot.wait_for(|_, _| true, false).await.map(|_| ()) }
    });
    settle().await;
    drop(bench.tickets);
    assert!(waiter.await.unwrap().unwrap_err().failure.wire.contains("removed"));
}

/// A ticket of another process: issued and last used so long ago.
fn kept(clock: &Clock, issued: Duration, used: Option<Duration>) -> Kept {
    let ago = |age: Duration| clock.earlier(clock.now().wall - age).unwrap();
    let (authorization, app_token) = (HeaderValue::from_static("SOTicket kept"), HeaderValue::from_static("s"));
    let ticket = Arc::new(Ticket { authorization, app_token, generation: 7, issued: ago(issued), after_refusal: false });
    Kept { ticket, last_used: used.map(ago), accepted: true }
}

fn warm(issued: Duration, used: Option<Duration>, prefetch: bool) -> Bench {
    let (shared, hand) = shared(Some(HOUR), 4);
    let script = Arc::new(Script::default());
    let clock = shared.clock.clone();
    let tickets = Arc::new(Tickets::start("Cust1", script.clone(), shared, Some(kept(&clock, issued, used)), prefetch));
    Bench { script, hand, clock, tickets }
}

#[tokio::test]
async fn a_ticket_of_another_process_serves_without_an_exchange_and_is_renewed_in_its_time() {
    let bench = warm(HOUR / 2, Some(HOUR / 4), true);
    settle().await;
    let ticket = bench.tickets.get().await.unwrap();
    assert_eq!((ticket.generation, ticket.authorization.as_bytes(), bench.script.count()), (7, &b"SOTicket kept"[..], 0));
    bench.advance(HOUR / 2 + HOUR / 10).await;
    assert_eq!(bench.script.count(), 1, "it was used since it was issued, so max_age counts from then");
    assert_eq!(bench.tickets.get().await.unwrap().generation, 8);
}

#[tokio::test]
async fn a_ticket_of_another_process_slides_with_its_last_use() {
    let bench = warm(HOUR * 10, Some(HOUR * 5), false);
    assert_eq!(bench.tickets.ready(bench.clock.now()).unwrap().generation, 7, "used five hours ago, though issued ten hours ago");
    settle().await;
    assert_eq!(bench.script.count(), 1, "long older than max_age: renewed at once, without anybody waiting");

    let bench = warm(HOUR * 10, Some(HOUR * 7), false);
    settle().await;
    assert!(bench.tickets.ready(bench.clock.now()).is_none(), "run out");
    assert_eq!(bench.script.count(), 0);
    assert_eq!(bench.tickets.get().await.unwrap().authorization.as_bytes(), b"SOTicket t");
}

#[tokio::test]
async fn what_another_process_needs_is_told_when_it_changes() {
    let bench = bench();
    let told = Arc::new(AtomicUsize::new(0));
    let count = || told.load(Ordering::SeqCst);
    let counter = told.clone();
    bench.tickets.on_change(move || _ = counter.fetch_add(1, Ordering::SeqCst));
    assert!(bench.tickets.kept().is_none());
    bench.use_now().await;
    let first = count();
    assert!((1..=2).contains(&first), "the ticket, and its first use: {first}");
    let kept = bench.tickets.kept().unwrap();
    assert!(kept.accepted && kept.last_used.is_some() && kept.ticket.generation == 1);
    for _ in 0..100 {
        bench.use_now().await;
        bench.advance(Duration::from_secs(2)).await;
    }
    assert!(count() <= first + 1, "uses are told of now and then only");
    bench.advance(HOUR * 2 / 3).await;
    bench.use_now().await;
    bench.advance(Duration::from_secs(60)).await;
    assert!(count() > first);
    let ticket = bench.use_now().await;
    let before = count();
    assert_eq!(bench.tickets.refused(&ticket, false), Refusal::Renewing);
    assert!(count() > before && bench.tickets.kept().is_none(), "a ticket that was refused is of no use to anybody");
}

/// Exchanges succeed with any client secret, calls only with the last one.
struct Secrets {
    exchanges: AtomicUsize,
    secret: AtomicUsize,
    count: usize,
}

const SECRETS: [&str; 3] = ["first", "second", "third"];

impl Exchange for Secrets {
    fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>> {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        let app_token = HeaderValue::from_static(SECRETS[self.secret.load(Ordering::SeqCst)]);
        Box::pin(async { Ok(Grant { authorization: HeaderValue::from_static("SOTicket t"), app_token }) })
    }

    fn doubt(&self, ticket: &Ticket) -> bool {
        assert_eq!(ticket.app_token, SECRETS[self.secret.load(Ordering::SeqCst)]);
        let next = self.secret.load(Ordering::SeqCst) + 1;
        self.secret.store(next % self.count, Ordering::SeqCst);
        next < self.count
    }
}

#[tokio::test]
async fn a_client_secret_that_only_exchanges_accept_makes_room_for_the_next_one() {
    let (shared, hand) = shared(Some(HOUR), 4);
    let script = Arc::new(Secrets { exchanges: AtomicUsize::new(0), secret: AtomicUsize::new(0), count: 3 });
    let tickets = Tickets::start("Cust1", script.clone(), shared, None, false);
    let first = tickets.get().await.unwrap();
    hand.advance(Duration::from_secs(5));
    assert_eq!(tickets.refused(&first, false), Refusal::Renewing);
    let second = tickets.newer_than(1).await.unwrap();
    assert_eq!(second.app_token, "first", "one 401 may be about the ticket");
    assert_eq!(tickets.refused(&second, true), Refusal::Renewing);
    let third = tickets.newer_than(2).await.unwrap();
    assert_eq!(third.app_token, "second");
    assert_eq!(tickets.refused(&third, false), Refusal::Renewing, "without any pause");
    let last = tickets.newer_than(3).await.unwrap();
    assert_eq!(last.app_token, "third");
    assert_eq!(script.exchanges.load(Ordering::SeqCst), 4);
    // None of them is any good: then it is as with a single one.
    assert_eq!(tickets.refused(&last, false), Refusal::Stands);
    assert!(tickets.status().refused.is_some());
}
