//! Figures (`--nocapture` shows them): what is shared how, and nothing above the rate at the sandbox's own meter.

use std::time::Duration;

use super::calls::{Calls, Clients, GREEDY, MODEST, SECOND};
use crate::bench::{Bench, Setup, TENANT};

const STEP: Duration = Duration::from_millis(25);

fn meter(bench: &Bench) -> u64 {
    bench.sandbox.control().counters().calls_in_a_second.get(TENANT).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_greedy_and_a_modest_client_share_the_rate_and_sixteen_of_one_gain_nothing() {
    let (setup, hand) = Setup::new().set("listen.workers", "1").set("tenants.Cust12345.rate", "20").manual_clock();
    // SuperOffice's own limit is a little above ours.
    let bench = setup.fault("throttle.Cust12345.rate=22").start().await;
    let calls = Calls::of(&bench, hand);
    let (greedy, modest) = (Clients::start(&bench, GREEDY, 16), Clients::start(&bench, MODEST, 1));
    calls.pass(10 * SECOND, STEP).await;
    let ((greedy, refused), (modest, bounced)) = (greedy.count(), modest.count());
    let throttled = bench.sandbox.control().counters().throttled;
    println!(
        "fairness: in 10 s at 20 calls/s, 16 greedy callers got {greedy} answers and a modest one {modest}; \
         at most {} calls in any second at the sandbox's meter (its limit: 22), {throttled} throttled",
        meter(&bench)
    );
    assert_eq!((refused, bounced, throttled), (0, 0, 0));
    // One in seventeen, were they served as they come.
    assert!(modest * 3 > greedy && greedy >= modest, "{greedy} and {modest}");
    assert!(greedy + modest <= 10 * 20 + 2, "{}", greedy + modest);
    assert!(greedy + modest >= 10 * 20 * 3 / 4, "nothing is left unused: {}", greedy + modest);
    assert!(meter(&bench) <= 22, "{}", meter(&bench));
}

/// SuperOffice's limit is known to nobody here, and no bound is set.
#[tokio::test]
async fn an_unknown_limit_is_found_and_no_get_bounces() {
    let (setup, hand) = Setup::new().set("listen.workers", "1").fault("throttle.Cust12345.rate=10").manual_clock();
    let bench = setup.start().await;
    let calls = Calls::of(&bench, hand);
    let (greedy, modest) = (Clients::start(&bench, GREEDY, 8), Clients::start(&bench, MODEST, 1));
    calls.pass(30 * SECOND, 2 * STEP).await;
    let (greedy, modest) = (greedy.count(), modest.count());
    let counters = bench.sandbox.control().counters();
    println!(
        "adaptive: in 30 s before a limit of 10 calls/s, 8 greedy callers got {} answers and a modest one {}; \
         of {} calls {} were throttled, {} of them before their time; {} bounced",
        greedy.0,
        modest.0,
        calls.seen(),
        counters.throttled,
        counters.too_early,
        greedy.1 + modest.1
    );
    assert_eq!((greedy.1, modest.1), (0, 0), "GETs wait");
    // Eight are under way when the first refusal comes, and as many may be at each later one.
    assert!(counters.throttled * 5 < calls.seen(), "{} of {}", counters.throttled, calls.seen());
    assert!(greedy.0 + modest.0 > 30 * 10 / 4, "{} and {}", greedy.0, modest.0);
    assert!(modest.0 * 4 > greedy.0, "{} and {}", greedy.0, modest.0);
}
