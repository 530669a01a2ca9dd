//! The keeper against a scripted source and a hand-moved clock: no sockets, no sleeps but for real waits of a moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::clock::Hand;

const MIN: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

/// No `ValidUntil`.
const FOREVER: u64 = u64::MAX;

struct Script {
    clock: Clock,
    fetches: AtomicUsize,
    /// What the endpoint says: `State`, seconds that it is valid, origin of the API. `None`: nothing.
    says: Mutex<Option<(&'static str, u64, &'static str)>>,
    held: AtomicBool,
    go: Notify,
    left: Mutex<Vec<String>>,
}

impl Source for Script {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<TenantState, StateError>> + Send + '_>> {
        Box::pin(async {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            while self.held.load(Ordering::SeqCst) {
                self.go.notified().await;
            }
            let Some((state, valid, origin)) = *lock(&self.says) else { return Err(StateError::Status(500)) };
            let until = if valid == FOREVER { String::new() } else { (self.now() + Duration::from_secs(valid)).to_string() };
            let json = format!(r#"{{"State":"{state}","ValidUntil":"{until}","Api":"{origin}/Cust1/api"}}"#);
            TenantState::parse(json.as_bytes())
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    fn left(&self, base: &BaseUrl) {
        lock(&self.left).push(base.to_string());
    }

    fn login(&self) -> &BaseUrl {
        unreachable!("no notification comes")
    }

    fn verify<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send + 'a>> {
        unreachable!("no notification comes")
    }
}

struct Bench {
    keeper: Arc<Keeper>,
    script: Arc<Script>,
    hand: Hand,
    clock: Clock,
}

const A: &str = "https://a.superoffice.com";
const B: &str = "https://b.superoffice.com";

impl Bench {
    fn new(says: Option<(&'static str, u64, &'static str)>) -> Bench {
        Bench::pinned_at(says, None)
    }

    fn pinned_at(says: Option<(&'static str, u64, &'static str)>, pinned: Option<&str>) -> Bench {
        Bench::after(says, pinned, None)
    }

    /// With what an earlier process knew.
    fn after(says: Option<(&'static str, u64, &'static str)>, pinned: Option<&str>, memo: Option<&Memo>) -> Bench {
        let (clock, hand) = Clock::manual("2026-02-23T09:52:01Z".parse().unwrap());
        let script = Arc::new(Script {
            clock: clock.clone(),
            fetches: AtomicUsize::new(0),
            says: Mutex::new(says),
            held: AtomicBool::new(false),
            go: Notify::new(),
            left: Mutex::default(),
        });
        let shared = Shared {
            metrics: Arc::default(),
            pace: Pace { min: MIN, max: HOUR },
            clock: clock.clone(),
            permits: Arc::new(Semaphore::new(4)),
            patience: Duration::from_secs(5),
        };
        let hosts = UpstreamHosts::parse(["*.superoffice.com"]).unwrap();
        let pinned = pinned.map(|base| hosts.allow(base.parse().unwrap()).unwrap());
        let keeper = Keeper::start("Cust1", script.clone(), hosts, pinned, Arc::new(shared), memo, false);
        Bench { keeper: Arc::new(keeper), script, hand, clock }
    }

    fn says(&self, says: Option<(&'static str, u64, &'static str)>) {
        *lock(&self.script.says) = says;
    }

    fn fetches(&self) -> usize {
        self.script.fetches.load(Ordering::SeqCst)
    }

    fn ready(&self) -> Option<String> {
        let standing = self.keeper.ready(self.clock.now())?;
        Some(match standing.outage(self.clock.now()) {
            Some(outage) => outage.name.clone(),
            None => standing.base.as_ref().map(ToString::to_string).unwrap_or_default(),
        })
    }

    async fn get(&self) -> Arc<Standing> {
        self.keeper.get().await
    }

    /// Lets the task do what it can do without the clock moving.
    async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    async fn later(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
        self.settle().await;
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..500 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("not in time: {what}");
    }
}

#[tokio::test]
async fn a_thousand_who_want_to_know_cause_one_fetch() {
    let bench = Bench::new(Some(("Running", 600, A)));
    bench.script.held.store(true, Ordering::SeqCst);
    let waiting: Vec<_> = (0..1000)
        .map(|_| {
            let keeper = bench.keeper.clone();
            tokio::spawn(async move { keeper.get().await.base.as_ref().map(ToString::to_string) })
        })
        .collect();
    bench.settle().await;
    bench.script.held.store(false, Ordering::SeqCst);
    bench.script.go.notify_waiters();
    for one in waiting {
        assert_eq!(one.await.unwrap().as_deref(), Some("https://a.superoffice.com/Cust1/api"));
    }
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn a_tenant_in_use_is_asked_about_before_its_state_is_out_of_date_and_an_idle_one_is_not() {
    let bench = Bench::new(Some(("Running", 600, A)));
    bench.get().await;
    bench.later(560).await;
    assert_eq!(bench.fetches(), 1, "kept until ValidUntil");
    assert!(bench.ready().is_some());
    bench.later(15).await;
    bench.until("the second fetch", || bench.fetches() == 2).await;
    assert!(bench.ready().is_some(), "nobody waited");
    bench.later(590).await;
    bench.until("the third", || bench.fetches() == 3).await;
    // From here on it is idle.
    bench.later(600).await;
    bench.later(6000).await;
    assert_eq!(bench.fetches(), 3);
    assert_eq!(bench.ready(), None, "out of date");
    bench.get().await;
    assert_eq!(bench.fetches(), 4);
}

#[tokio::test]
async fn it_is_fetched_neither_too_often_nor_too_rarely() {
    let bench = Bench::new(Some(("Running", 0, A)));
    bench.get().await;
    assert!(bench.ready().is_some(), "valid for nothing is kept for min_interval");
    bench.keeper.hint();
    bench.keeper.hint();
    bench.settle().await;
    assert_eq!(bench.fetches(), 1, "a burst of hints waits");
    bench.says(Some(("Running", 1_000_000, A)));
    bench.later(10).await;
    bench.until("the hints' fetch", || bench.fetches() == 2).await;
    assert!(bench.ready().is_some());
    bench.later(3500).await;
    assert_eq!(bench.fetches(), 2);
    bench.later(75).await;
    bench.until("hourly", || bench.fetches() == 3).await;
}

#[tokio::test]
async fn while_the_endpoint_is_down_the_last_running_state_goes_on() {
    let bench = Bench::new(Some(("Running", 600, A)));
    bench.get().await;
    bench.says(None);
    bench.later(700).await;
    let standing = bench.get().await;
    assert!(standing.base.is_some() && standing.outage(bench.clock.now()).is_none());
    bench.until("the failed fetch", || bench.fetches() >= 2).await;
    let before = bench.fetches();
    let started = Instant::now();
    for _ in 0..100 {
        assert!(bench.get().await.base.is_some());
    }
    assert!(started.elapsed() < Duration::from_secs(1), "nobody waits for what failed");
    assert_eq!(bench.fetches(), before);
}

#[tokio::test]
async fn an_outage_holds_until_it_is_out_of_date_and_ends_when_the_state_says_so() {
    let bench = Bench::new(Some(("OfflineMaintenance", 600, A)));
    let resumed = Arc::new(AtomicUsize::new(0));
    let counted = resumed.clone();
    bench.keeper.on_resume(move || _ = counted.fetch_add(1, Ordering::SeqCst));
    assert!(bench.get().await.outage(bench.clock.now()).is_some());
    assert_eq!(bench.ready().as_deref(), Some("OfflineMaintenance"));
    bench.says(None);
    bench.later(580).await;
    bench.until("the refresh", || bench.fetches() == 2).await;
    bench.settle().await;
    assert_eq!(bench.ready().as_deref(), Some("OfflineMaintenance"), "still believed");
    bench.later(30).await;
    let standing = bench.get().await;
    assert!(standing.outage(bench.clock.now()).is_none() && standing.base.is_some(), "no longer");
    bench.says(Some(("OfflineMaintenance", 600, A)));
    bench.later(60).await;
    bench.until("it blocks again", || bench.keeper.report().outage.is_some()).await;
    assert_eq!(resumed.load(Ordering::SeqCst), 0);
    bench.says(Some(("Running", 600, A)));
    bench.get().await;
    bench.later(580).await;
    bench.until("it runs", || bench.ready().as_deref() == Some("https://a.superoffice.com/Cust1/api")).await;
    assert_eq!(resumed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_421_finds_the_new_place_for_all_who_wait() {
    let bench = Bench::new(Some(("Running", 600, A)));
    let old = bench.get().await.base.clone().unwrap();
    bench.later(60).await;
    bench.says(Some(("Running", 600, B)));
    assert_eq!(bench.keeper.misdirected(&old), Misdirected::Asking);
    assert_eq!(bench.keeper.misdirected(&old), Misdirected::Asking);
    assert_eq!(bench.ready(), None, "new requests wait for the news, too");
    let found = bench.keeper.elsewhere(&old).await.unwrap();
    assert_eq!(found.base.as_ref().unwrap().to_string(), "https://b.superoffice.com/Cust1/api");
    bench.later(60).await;
    assert_eq!(bench.fetches(), 2, "those who waited asked once");
    assert_eq!(found.previous, std::slice::from_ref(&old));
    assert_eq!(bench.fetches(), 2);
    assert_eq!(*lock(&bench.script.left), ["https://a.superoffice.com/Cust1/api"]);
    // A straggler's 421 from the old place needs no fetch.
    assert_eq!(bench.keeper.misdirected(&old), Misdirected::Asking);
    assert!(bench.keeper.elsewhere(&old).await.is_some());
    bench.settle().await;
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn a_421_that_the_state_contradicts_is_the_answer() {
    let bench = Bench::new(Some(("Running", 600, A)));
    let base = bench.get().await.base.clone().unwrap();
    bench.later(60).await;
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Asking);
    assert!(bench.keeper.elsewhere(&base).await.is_none());
    for _ in 0..10 {
        assert_eq!(bench.keeper.misdirected(&base), Misdirected::Stands);
        assert!(bench.ready().is_some(), "nobody waits");
    }
    bench.settle().await;
    assert_eq!(bench.fetches(), 2);
    bench.says(Some(("Running", 600, B)));
    bench.later(10).await;
    bench.until("asked again all the same", || bench.ready().is_some_and(|base| base.starts_with(B))).await;
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test]
async fn a_421_that_the_state_contradicts_again_and_again_holds_nobody_up() {
    let bench = Bench::new(Some(("Running", 600, A)));
    let base = bench.get().await.base.clone().unwrap();
    bench.later(60).await;
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Asking);
    assert!(bench.keeper.elsewhere(&base).await.is_none());
    for fetches in 3..7 {
        assert_eq!(bench.keeper.misdirected(&base), Misdirected::Stands);
        bench.script.held.store(true, Ordering::SeqCst);
        bench.later(10).await;
        bench.until("it is asked about again", || bench.fetches() == fetches).await;
        if fetches % 2 == 0 {
            assert_eq!(bench.keeper.misdirected(&base), Misdirected::Stands, "while the state is asked");
        }
        bench.script.held.store(false, Ordering::SeqCst);
        bench.script.go.notify_waiters();
        bench.settle().await;
        assert_eq!(bench.keeper.misdirected(&base), Misdirected::Stands);
        assert!(bench.ready().is_some(), "nobody waits");
    }
    // When it can be asked at once, it is: the tenant may have moved by now.
    bench.later(10).await;
    bench.settle().await;
    bench.says(Some(("Running", 600, B)));
    bench.later(60).await;
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Asking);
    assert!(bench.keeper.elsewhere(&base).await.is_some());
}

#[tokio::test]
async fn while_the_endpoint_is_down_a_421_holds_up_nobody_else() {
    let bench = Bench::new(Some(("Running", 600, A)));
    let base = bench.get().await.base.clone().unwrap();
    bench.says(None);
    bench.later(60).await;
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Asking);
    assert!(bench.keeper.elsewhere(&base).await.is_none(), "there is no news");
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Asking);
    assert!(bench.ready().is_some(), "others go on");
    assert!(bench.get().await.base.is_some());
    bench.says(Some(("Running", 600, B)));
    bench.later(10).await;
    assert!(bench.keeper.elsewhere(&base).await.is_some(), "but this one waits for the news");
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_holds_up_others_for_a_moment_only() {
    let bench = Bench::new(Some(("Running", 600, A)));
    let base = bench.get().await.base.clone().unwrap();
    bench.later(60).await;
    bench.script.held.store(true, Ordering::SeqCst);
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Asking);
    bench.until("the fetch is on", || bench.fetches() == 2).await;
    bench.later(3).await;
    assert!(bench.get().await.base.is_some());
    let told = tokio::spawn({
        let (keeper, base) = (bench.keeper.clone(), base.clone());
        async move { keeper.elsewhere(&base).await.is_some() }
    });
    bench.settle().await;
    assert!(!told.is_finished(), "who was told that the place is wrong waits");
    bench.says(Some(("Running", 600, B)));
    bench.script.held.store(false, Ordering::SeqCst);
    bench.script.go.notify_waiters();
    assert!(told.await.unwrap());
}

#[tokio::test]
async fn an_outage_that_tells_no_time_is_believed_until_callers_ask_again() {
    let bench = Bench::new(Some(("Suspended", FOREVER, A)));
    bench.get().await;
    bench.later(3590).await;
    assert_eq!(bench.ready().as_deref(), Some("Suspended"));
    bench.says(None);
    bench.later(20).await;
    assert!(bench.get().await.outage(bench.clock.now()).is_none());
}

#[tokio::test]
async fn a_421_during_a_fetch_is_not_answered_by_that_fetch() {
    let bench = Bench::new(Some(("Running", 600, A)));
    let base = bench.get().await.base.clone().unwrap();
    bench.later(60).await;
    bench.script.held.store(true, Ordering::SeqCst);
    bench.keeper.hint();
    bench.until("the fetch is on", || bench.fetches() == 2).await;
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Asking);
    bench.script.held.store(false, Ordering::SeqCst);
    bench.script.go.notify_waiters();
    bench.settle().await;
    bench.says(Some(("Running", 600, B)));
    bench.later(10).await;
    assert!(bench.keeper.elsewhere(&base).await.unwrap().base.as_ref().unwrap().to_string().starts_with(B));
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test]
async fn a_move_to_a_foreign_host_is_refused() {
    let bench = Bench::new(Some(("Running", 600, A)));
    bench.get().await;
    bench.says(Some(("Running", 600, "https://evil.example")));
    bench.later(60).await;
    bench.keeper.hint();
    bench.until("the refusal", || bench.keeper.report().refused.is_some()).await;
    assert!(bench.keeper.report().refused.unwrap().contains("evil.example"));
    assert_eq!(bench.ready().as_deref(), Some("https://a.superoffice.com/Cust1/api"), "the old place is still served");
    assert!(lock(&bench.script.left).is_empty());
}

#[tokio::test]
async fn a_tokens_claim_is_better_than_nothing_and_worse_than_the_state() {
    let bench = Bench::new(None);
    assert!(bench.get().await.base.is_none());
    bench.keeper.claim(Some("https://evil.example/Cust1/api/"), None);
    let report = bench.keeper.report();
    assert!(report.unknown.as_ref().is_some_and(|why| why.contains("HTTP 500") && why.contains("evil.example")), "{report:?}");
    bench.keeper.claim(Some("https://b.superoffice.com/Cust1/api/"), None);
    assert_eq!(bench.get().await.base.as_ref().unwrap().to_string(), "https://b.superoffice.com/Cust1/api");
    assert_eq!(bench.keeper.report().unknown, None);
    bench.says(Some(("Running", 600, A)));
    bench.later(10).await;
    bench.get().await;
    bench.until("the state's own", || bench.ready().is_some_and(|base| base.starts_with(A))).await;
    bench.keeper.claim(Some("https://b.superoffice.com/Cust1/api/"), None);
    assert!(bench.ready().unwrap().starts_with(A));
}

#[tokio::test]
async fn a_pinned_tenant_is_asked_about_only_by_name() {
    let bench = Bench::pinned_at(Some(("Suspended", 600, B)), Some("https://a.superoffice.com/Cust1/api"));
    let base = bench.get().await.base.clone().unwrap();
    assert_eq!(bench.keeper.misdirected(&base), Misdirected::Stands);
    bench.later(10_000).await;
    assert_eq!((bench.fetches(), bench.ready().is_some()), (0, true));
    let standing = bench.keeper.state().await.unwrap();
    assert_eq!(standing.state.as_ref().unwrap().name, "Suspended");
    assert_eq!(bench.ready().as_deref(), Some("https://a.superoffice.com/Cust1/api"));
    assert!(bench.keeper.state().await.is_some());
    bench.later(10_000).await;
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn dropping_it_ends_the_task() {
    let bench = Bench::new(Some(("Running", 600, A)));
    bench.get().await;
    let Bench { keeper, script, .. } = bench;
    drop(keeper);
    for _ in 0..100 {
        if Arc::strong_count(&script) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("somebody still holds the source");
}

/// What a process knew that asked so many seconds before the clock of a new bench begins.
async fn memo(says: (&'static str, u64, &'static str), ago: u64) -> Memo {
    let before = Bench::new(Some(says));
    before.get().await;
    let memo = before.keeper.memo().unwrap();
    Memo { fetched: memo.fetched - Duration::from_secs(ago), ..memo }
}

#[tokio::test]
async fn what_an_earlier_process_knew_is_known_at_once() {
    let memo = memo(("Running", FOREVER, A), 600).await;
    let bench = Bench::after(None, None, Some(&memo));
    assert_eq!(bench.ready().unwrap(), format!("{A}/Cust1/api"));
    bench.settle().await;
    assert_eq!(bench.fetches(), 0);
    assert!(bench.keeper.report().name.is_some());
    // It is as old as it was.
    bench.says(Some(("Running", FOREVER, B)));
    bench.later(3600 - 600 - 20).await;
    bench.until("the state is fetched before it is out of date", || bench.ready().is_some_and(|base| base.starts_with(B))).await;
    assert_eq!(bench.fetches(), 1);
    assert_eq!(bench.keeper.now().previous.len(), 1, "links to where it was are known");
    assert_eq!(*lock(&bench.script.left), [format!("{A}/Cust1/api")]);
}

#[tokio::test]
async fn what_is_out_of_date_still_tells_where_requests_go_while_the_endpoint_is_down() {
    let memo = memo(("Running", FOREVER, A), 3 * 3600).await;
    let bench = Bench::after(None, None, Some(&memo));
    assert_eq!(bench.ready(), None);
    assert_eq!(bench.get().await.base.as_ref().unwrap().to_string(), format!("{A}/Cust1/api"));
}

#[tokio::test]
async fn an_outage_is_remembered_as_long_as_it_is_believed() {
    let memo = memo(("Suspended", 100, A), 900).await;
    let bench = Bench::after(None, None, Some(&memo));
    assert_eq!(bench.ready().as_deref(), Some("Suspended"));
    bench.says(Some(("Running", FOREVER, A)));
    bench.later(101).await;
    bench.get().await;
    assert_eq!(bench.ready().unwrap(), format!("{A}/Cust1/api"));
}

#[tokio::test]
async fn what_may_not_be_used_any_more_is_not_remembered() {
    let good = memo(("Running", FOREVER, A), 60).await;
    let elsewhere = Memo { base: Some("https://sod.example.com/Cust1/api".into()), ..good.clone() };
    let to_come = Memo { fetched: good.fetched + Duration::from_secs(3600), ..good.clone() };
    for memo in [elsewhere, to_come] {
        let bench = Bench::after(None, None, Some(&memo));
        assert_eq!(bench.ready(), None);
        assert!(bench.keeper.now().base.is_none());
    }
    let bench = Bench::after(None, Some("https://c.superoffice.com/Cust1/api"), Some(&good));
    assert_eq!(bench.ready().unwrap(), "https://c.superoffice.com/Cust1/api", "the configuration says where it is");
    assert!(bench.keeper.memo().is_none());
    assert!(Bench::new(None).keeper.memo().is_none());
}

#[tokio::test]
async fn a_later_process_is_told_of_every_change() {
    let bench = Bench::new(Some(("Running", 60, A)));
    let told = Arc::new(AtomicUsize::new(0));
    let counter = told.clone();
    bench.keeper.on_change(move || _ = counter.fetch_add(1, Ordering::SeqCst));
    bench.get().await;
    assert_eq!(told.load(Ordering::SeqCst), 1);
    bench.says(Some(("Running", 60, B)));
    bench.later(61).await;
    bench.get().await;
    assert_eq!(told.load(Ordering::SeqCst), 2);
}
