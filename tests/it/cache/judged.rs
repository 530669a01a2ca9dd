//! What comes before the cache, and what comes behind it: whether a request may be answered, and whose links it gets.

use std::io::Read;

use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};

use super::{LIST, NO_CACHE, RULE, TENANT, Upstream, answer, caching, get, is_hit};
use crate::bench::Setup;
use crate::wire::{Message, ask, request};

#[tokio::test]
async fn web_pages_and_foreign_hosts_are_refused_whatever_is_stored() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let bench = upstream.bench().await;
    get(&bench, LIST, "").await;
    assert!(is_hit(&get(&bench, LIST, "").await));
    let page = get(&bench, LIST, "Origin: https://evil.example\r\n").await;
    let host = ask(bench.proxy, request("GET", LIST, "").replace("Host: localhost", "Host: evil.example")).await;
    for refused in [page, host] {
        assert_eq!((refused.error(), refused.one("cache-status")), (Some("forbidden_origin"), None), "{refused:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_does_not_run_is_not_answered_for() {
    let (setup, hand) = caching(Setup::new()).manual_clock();
    let bench = setup.start().await;
    get(&bench, LIST, "").await;
    assert!(is_hit(&get(&bench, LIST, "").await));
    bench.fault("state.Cust12345=OfflineMaintenance");
    // A 503 makes the proxy ask for the state.
    hand.advance(std::time::Duration::from_secs(30));
    get(&bench, "/v1/Contact/1", "").await;
    bench.until("the outage is known", async || get(&bench, "/v1/Contact/1", "").await.error() == Some("tenant_not_running")).await;
    let answer = get(&bench, LIST, "").await;
    assert_eq!((answer.error(), answer.one("cache-status")), (Some("tenant_not_running"), None));
}

/// By an address of the caller's choice.
async fn by(bench: &crate::bench::Bench, host: &str, headers: &str) -> Message {
    ask(bench.proxy, request("GET", LIST, headers).replace("Host: localhost", &format!("Host: {host}"))).await
}

#[tokio::test]
async fn each_caller_gets_links_of_its_own_out_of_one_fetch() {
    for gzip in [false, true] {
        let upstream = Upstream::new(move |request, _| {
            let host = request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned)).unwrap();
            let body = format!(r#"{{"_Links":{{"Self":"http://{host}/{TENANT}/api/v1/x"}}}}"#);
            let mut coded = Vec::new();
            GzEncoder::new(body.as_bytes(), Compression::fast()).read_to_end(&mut coded).unwrap();
            match gzip {
                true => answer(&format!("{NO_CACHE}Content-Encoding: gzip\r\n"), coded),
                false => answer(NO_CACHE, body),
            }
        })
        .await;
        let bench = upstream.bench().await;
        let port = bench.proxy.port();
        for host in ["localhost", "127.0.0.1", "localhost"] {
            let host = format!("{host}:{port}");
            let answer = by(&bench, &host, "Accept-Encoding: gzip\r\n").await;
            let mut text = String::new();
            match gzip {
                true => _ = GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap(),
                false => text = answer.text(),
            }
            assert_eq!(text, format!(r#"{{"_Links":{{"Self":"http://{host}/{TENANT}/api/v1/x"}}}}"#), "gzip: {gzip}");
            assert_eq!(answer.one("content-length").unwrap(), answer.body.len().to_string());
        }
        assert_eq!(upstream.calls(), 1);
    }
}

#[tokio::test]
async fn a_link_mode_that_a_reload_sets_is_that_of_stored_answers_too() {
    let upstream = Upstream::new(|request, _| {
        let host = request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned)).unwrap();
        answer(NO_CACHE, format!(r#"{{"Note":"http://{host}/{TENANT}/api/v1/x"}}"#))
    })
    .await;
    let bench = upstream.bench().await;
    assert!(bench.more.contains(RULE));
    let first = get(&bench, LIST, "").await.text();
    assert!(first.contains(&upstream.peer.address.to_string()), "{first}");
    bench.live.apply(bench.config_with(&[("upstream.rewrite_links", "all")])).unwrap();
    let second = get(&bench, LIST, "").await;
    assert!(is_hit(&second));
    assert_eq!(second.text(), format!(r#"{{"Note":"http://localhost/{TENANT}/api/v1/x"}}"#));
}
