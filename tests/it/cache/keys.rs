//! Who shares an answer with whom.

use soproxy::sandbox::demo;

use super::{LIST, NO_CACHE, TENANT, Upstream, answer, get, is_hit};
use crate::wire::{ask, request};

#[tokio::test]
async fn answers_differ_by_what_was_asked_for_and_in_which_language() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let bench = upstream.bench().await;
    let variants = [
        (LIST, ""),
        ("/v1/MDOList/category?flat=True", ""),
        ("/v1/MDOList/category?flat=true", ""),
        ("/v1/MDOList/Category", ""),
        (LIST, "Accept: application/xml\r\n"),
        (LIST, "Accept-Language: no\r\n"),
        (LIST, "SO-Language: no\r\n"),
        (LIST, "SO-Culture: no\r\n"),
        (LIST, "SO-TimeZone: no\r\n"),
        (LIST, "SO_Language: no\r\n"),
        (LIST, "Accept-Encoding: gzip\r\n"),
    ];
    for round in 0..2 {
        for (number, (path, headers)) in variants.iter().enumerate() {
            let answer = get(&bench, path, headers).await;
            assert_eq!((answer.text(), is_hit(&answer)), (format!("[{number}]"), round == 1), "{path} {headers}");
        }
    }
    // What nobody's answer depends on is not told apart.
    let same = get(&bench, LIST, "User-Agent: x\r\nX-Request-Id: 7\r\nAuthorization: Basic eDp5\r\n").await;
    assert_eq!((same.text().as_str(), is_hit(&same)), ("[0]", true));
}

#[tokio::test]
async fn what_vary_names_is_told_apart() {
    let upstream = Upstream::counting("Vary: X-Unit, Accept\r\n").await;
    let bench = upstream.bench().await;
    for (headers, body) in [("X-Unit: a\r\n", "[0]"), ("X-Unit: a\r\n", "[0]"), ("X-Unit: b\r\n", "[1]"), ("", "[2]"), ("", "[2]")] {
        assert_eq!(get(&bench, LIST, headers).await.text(), body, "{headers}");
    }
}

#[tokio::test]
async fn tenants_never_share() {
    let token = |request: &str| {
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with("so-apptoken:")).map(str::to_owned);
        line.unwrap_or_default().split_once(' ').map(|(_, token)| token.to_owned()).unwrap_or_default()
    };
    let upstream = Upstream::new(move |request, _| answer(NO_CACHE, format!("\"{}\"", token(request)))).await;
    // Both live at one address: only the cache could mix them up.
    let api = format!("http://{}/{TENANT}/api", upstream.peer.address);
    let bench = upstream.setup().set("tenants.Cust54321.api_url", &api).start().await;
    for _ in 0..2 {
        for (tenant, secret) in [(TENANT, demo::CLIENT_SECRET), (demo::SECOND_TENANT, demo::SECOND_CLIENT_SECRET)] {
            let answer = ask(bench.proxy, request("GET", LIST, "").replace(TENANT, tenant)).await;
            assert_eq!(answer.text(), format!("\"{secret}\""), "{tenant}");
        }
    }
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn another_application_or_user_does_not_get_what_the_first_has_fetched() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let bench = upstream.bench().await;
    get(&bench, LIST, "").await;
    for change in [("application.client_secret", "another"), ("tenants.Cust12345.system_user_token", "Another App-abc")] {
        bench.live.apply(bench.config_with(&[change])).unwrap();
        // The login service does not know it: there is no ticket, and no answer without one.
        let answer = get(&bench, LIST, "").await;
        assert_eq!((answer.status(), answer.error()), (503, Some("ticket_unavailable")), "{change:?}");
    }
    bench.live.apply(bench.config_with(&[])).unwrap();
    assert!(is_hit(&get(&bench, LIST, "").await), "it is still there for the first");
    assert_eq!(upstream.calls(), 1);
}
