//! A figure: what a chatty client's day costs with and without the cache. Shown by `cargo test --test it chatty -- --nocapture`.

use crate::bench::Setup;
use crate::wire::Wire;

use super::{MINUTE, TENANT};

/// What it asks for each minute: who it is, and the lists of its form.
const ASKED: [&str; 4] = ["/v1/User/currentPrincipal", "/v1/MDOList/category", "/v1/MDOList/business", "/v1/MDOList/country"];

/// Requests of the client, and calls that reached upstream.
async fn day(ttl: Option<&str>) -> (u64, u64) {
    let (mut setup, hand) = Setup::new().manual_clock();
    if let Some(ttl) = ttl {
        setup.more = format!("[[cache]]\npaths = [\"/api/v1/User/currentPrincipal\", \"/api/v1/MDOList/*\"]\nttl = \"{ttl}\"\n");
    }
    let bench = setup.start().await;
    let mut client = Wire::to(bench.proxy).await;
    let mut asked = 0;
    for _ in 0..24 * 60 {
        for path in ASKED {
            let answer = client.get(path, "").await;
            assert_eq!(answer.status(), 200, "{path}: {answer:?}");
            asked += 1;
        }
        hand.advance(MINUTE);
    }
    (asked, bench.sandbox.control().counters().calls[TENANT])
}

#[tokio::test]
async fn a_chatty_day_costs_each_list_once_in_a_ttl() {
    let (asked, without) = day(None).await;
    // A ticket that was refused is replaced, and its request sent again: a few calls at most.
    assert!(without >= asked, "{without}");
    for (ttl, times) in [("10m", 144), ("1h", 24)] {
        let (_, with) = day(Some(ttl)).await;
        println!("{asked} requests in a day: {without} upstream calls without the cache, {with} with ttl = {ttl}");
        let least = times * ASKED.len() as u64;
        assert!((least..=least + 24).contains(&with), "{ttl}: {with}");
    }
}
