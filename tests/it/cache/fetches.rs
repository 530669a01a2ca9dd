//! When upstream is asked: once for all who wait, again after a write, or only whether what is stored is still right.

use super::{LIST, MINUTE, NEVER, NO_CACHE, TENANT, Upstream, answer, caching, get, is_hit, said, with_status, write};
use crate::bench::Setup;
use crate::peer::Stage;
use crate::wire::{Wire, ask, begin, request};

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_one_fetch() {
    let stage = Stage::new().await;
    let bench = caching(Setup::new().api_at(stage.address)).start().await;
    let upstream = async {
        let (mut upstream, _) = stage.request().await;
        assert!(stage.is_quiet().await, "nobody else asks");
        upstream.say(answer(NO_CACHE, "[1]")).await;
    };
    let ask = || get(&bench, LIST, "");
    let (a, b, c, d, ()) = tokio::join!(ask(), ask(), ask(), ask(), upstream);
    let mut statuses: Vec<_> = [&a, &b, &c, &d].map(|answer| (answer.text(), said(answer).to_owned())).into();
    statuses.sort();
    let all = |said: &str| ("[1]".to_owned(), said.to_owned());
    let shared = all("soproxy; fwd=uri-miss; collapsed");
    assert_eq!(statuses, [shared.clone(), shared.clone(), shared, all("soproxy; fwd=uri-miss; stored")]);
    assert!(stage.is_quiet().await);
}

#[tokio::test]
async fn another_fetches_when_the_first_goes_away_before_there_is_an_answer() {
    let stage = Stage::new().await;
    let bench = caching(Setup::new().api_at(stage.address)).start().await;
    let mut leader = Wire::to(bench.proxy).await;
    leader.say(request("GET", LIST, "")).await;
    let (abandoned, _) = stage.request().await;
    let upstream = async {
        assert!(stage.is_quiet().await);
        leader.reset();
        let (mut upstream, _) = stage.request().await;
        upstream.say(answer(NO_CACHE, "[2]")).await;
        assert!(stage.is_quiet().await, "one of them asks for the other, too");
    };
    let (a, b, ()) = tokio::join!(get(&bench, LIST, ""), get(&bench, LIST, ""), upstream);
    assert_eq!((a.text().as_str(), b.text().as_str()), ("[2]", "[2]"));
    drop(abandoned);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_fetched_to_its_end_for_those_who_wait() {
    let stage = Stage::new().await;
    let bench = caching(Setup::new().api_at(stage.address)).start().await;
    let mut leader = Wire::to(bench.proxy).await;
    leader.say(request("GET", LIST, "")).await;
    let (mut upstream, _) = stage.request().await;
    let whole = String::from_utf8(answer("Content-Type: text/plain\r\n", "hello")).unwrap();
    upstream.say(&whole[..whole.len() - 2]).await;
    leader.until("hel").await;
    let rest = async {
        leader.reset();
        assert!(stage.is_quiet().await);
        upstream.say(&whole[whole.len() - 2..]).await;
    };
    let (answer, ()) = tokio::join!(get(&bench, LIST, ""), rest);
    assert_eq!((answer.text().as_str(), said(&answer)), ("hello", "soproxy; fwd=uri-miss; collapsed"));
    assert!(is_hit(&get(&bench, LIST, "").await));
}

#[tokio::test]
async fn an_answer_that_cannot_be_shared_lets_each_ask_for_itself_at_once() {
    let stage = Stage::new().await;
    let bench = caching(Setup::new().api_at(stage.address)).start().await;
    let upstream = async {
        let (mut first, _) = stage.request().await;
        assert!(stage.is_quiet().await);
        first.say(with_status("404 Not Found", "", "[1]")).await;
        // Both come, neither waits for the other.
        let (mut second, _) = stage.request().await;
        let (mut third, _) = stage.request().await;
        second.say(answer("", "[2]")).await;
        third.say(answer("", "[3]")).await;
    };
    let (a, b, c, ()) = tokio::join!(get(&bench, LIST, ""), get(&bench, LIST, ""), get(&bench, LIST, ""), upstream);
    let mut texts = [a.text(), b.text(), c.text()];
    texts.sort();
    assert_eq!(texts, ["[1]", "[2]", "[3]"]);
}

#[tokio::test]
async fn what_broke_off_is_not_stored() {
    let upstream = Upstream::new(|_, number| match number {
        0 => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec(),
        _ => answer(NO_CACHE, "whole"),
    })
    .await;
    let bench = upstream.bench().await;
    assert!(!get(&bench, LIST, "").await.complete);
    let second = get(&bench, LIST, "").await;
    assert_eq!((second.text().as_str(), is_hit(&second)), ("whole", false));
}

#[tokio::test]
async fn what_came_in_chunks_is_stored_as_a_whole_and_without_what_only_concerned_its_connection() {
    let upstream = Upstream::new(|_, _| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Kept: 1\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    })
    .await;
    let bench = upstream.bench().await;
    assert_eq!(get(&bench, LIST, "").await.text(), "abcde");
    let hit = get(&bench, LIST, "").await;
    assert_eq!((hit.text().as_str(), hit.one("content-length"), is_hit(&hit)), ("abcde", Some("5"), true));
    assert_eq!((hit.one("x-kept"), hit.one("x-hop"), hit.one("transfer-encoding"), hit.one("connection")), (Some("1"), None, None, None));
}

#[tokio::test]
async fn what_has_a_validator_is_confirmed_and_not_fetched_again() {
    let upstream = Upstream::new(|request, _| match request.to_ascii_lowercase().contains("if-none-match: \"a\"") {
        true => with_status("304 Not Modified", "ETag: \"a\"\r\nX-Confirmed: yes\r\n", ""),
        false => answer(&format!("{NO_CACHE}ETag: \"a\"\r\n"), "[1]"),
    })
    .await;
    let (bench, hand) = upstream.timed().await;
    get(&bench, LIST, "").await;
    hand.advance(11 * MINUTE);
    let confirmed = get(&bench, LIST, "").await;
    assert_eq!((confirmed.status(), confirmed.text().as_str(), confirmed.one("x-confirmed")), (200, "[1]", Some("yes")));
    assert_eq!(said(&confirmed), "soproxy; fwd=stale; fwd-status=304; stored");
    hand.advance(9 * MINUTE);
    assert!(is_hit(&get(&bench, LIST, "").await), "it is fresh again");
    assert_eq!(upstream.calls(), 2);
    // A caller that has it already hears no more than that.
    hand.advance(2 * MINUTE);
    let known = get(&bench, LIST, "If-None-Match: \"a\"\r\n").await;
    assert_eq!((known.status(), known.body.len(), upstream.calls()), (304, 0, 3));
}

#[tokio::test]
async fn a_write_to_the_same_collection_drops_what_is_stored_of_it() {
    let upstream = Upstream::new(|request, number| match request.contains("refused") {
        true => with_status("403 Forbidden", "", ""),
        false => answer(NO_CACHE, format!("[{number}]")),
    })
    .await;
    let bench = upstream.bench().await;
    for (method, path, drops) in [
        ("POST", "/v1/MDOList/category", true),
        ("PUT", "/v1/List/Category/Items/3", true),
        ("PATCH", "/v1/mdolist/x", true),
        ("DELETE", "/v1/List/Category/Items/3", true),
        ("POST", "/v1/Agents/List/SaveCategory", true),
        ("POST", "/v1/Agents/List/GetCategories", false),
        ("PUT", "/v1/Contact/1", false),
        ("PUT", "/v1/List/refused", false),
    ] {
        get(&bench, LIST, "").await;
        assert!(is_hit(&get(&bench, LIST, "").await));
        write(&bench, method, path).await;
        assert_eq!(is_hit(&get(&bench, LIST, "").await), !drops, "{method} {path}");
    }
    // A SOAP application's write, too, and one that nobody knows the end of.
    let soap = format!(
        "POST /{TENANT}/Remote/Services88/List.svc HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nSOAPAction: \"urn:x/List/SaveCategory\"\r\nContent-Length: 90\r\n\r\n"
    );
    let envelope = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body/></s:Envelope>";
    let soap = soap.replace("90", &envelope.len().to_string()) + envelope;
    ask(bench.proxy, soap).await;
    assert!(!is_hit(&get(&bench, LIST, "").await), "SOAP");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_drops_it_too() {
    let upstream = Upstream::new(|request, number| match request.starts_with("PUT") {
        true => Vec::new(),
        false => answer(NO_CACHE, format!("[{number}]")),
    })
    .await;
    let bench = upstream.bench().await;
    get(&bench, LIST, "").await;
    assert_eq!(write(&bench, "PUT", "/v1/List/x").await.status(), 502);
    assert!(!is_hit(&get(&bench, LIST, "").await));
}

#[tokio::test]
async fn a_write_whose_caller_goes_away_drops_it_too() {
    let upstream = Upstream::new(|request, number| match request.starts_with("PUT") {
        true => NEVER.into(),
        false => answer(NO_CACHE, format!("[{number}]")),
    })
    .await;
    let bench = upstream.bench().await;
    get(&bench, LIST, "").await;
    let mut writer = Wire::to(bench.proxy).await;
    writer.say(begin("PUT", "/v1/List/x", "Content-Length: 2\r\n\r\n{}")).await;
    bench.until("SuperOffice has read it, and may have done it", async || upstream.calls() == 2).await;
    assert!(is_hit(&get(&bench, LIST, "").await));
    writer.reset();
    bench.until("it is dropped", async || !is_hit(&get(&bench, LIST, "").await)).await;
}

#[tokio::test]
async fn what_is_stored_takes_no_more_than_its_room() {
    let upstream = Upstream::new(|request, _| {
        let size = request.split_once("size=").and_then(|(_, rest)| rest.split([' ', '&']).next()?.parse().ok()).unwrap_or(0);
        answer("Content-Type: text/plain\r\n", vec![b'x'; size])
    })
    .await;
    let bench = upstream.setup().set("upstream.cache_size", "1MiB").start().await;
    let large = format!("{LIST}?size=200000");
    for _ in 0..2 {
        let answer = get(&bench, &large, "").await;
        assert_eq!((answer.body.len(), is_hit(&answer)), (200_000, false), "one answer takes an eighth at most");
    }
    let list = |number: usize| format!("{LIST}?size=100000&n={number}");
    for number in 0..15 {
        get(&bench, &list(number), "").await;
        assert!(is_hit(&get(&bench, &list(number), "").await), "{number}");
    }
    assert!(is_hit(&get(&bench, &list(14), "").await) && is_hit(&get(&bench, &list(8), "").await), "the last are there");
    assert!(!is_hit(&get(&bench, &list(0), "").await), "the longest unused had to go");
    // More room, and less again, by a reload.
    bench.live.apply(bench.config_with(&[("upstream.cache_size", "2MiB")])).unwrap();
    assert!(is_hit(&get(&bench, &list(14), "").await));
    for number in 20..28 {
        get(&bench, &list(number), "").await;
    }
    assert!(is_hit(&get(&bench, &list(14), "").await));
    for number in 20..28 {
        assert!(is_hit(&get(&bench, &list(number), "").await), "{number}");
    }
    bench.live.apply(bench.config_with(&[("upstream.cache_size", "1MiB")])).unwrap();
    assert!(!is_hit(&get(&bench, &list(14), "").await) && is_hit(&get(&bench, &list(27), "").await));
}

#[tokio::test]
async fn a_caller_that_wants_nothing_stored_is_obeyed() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let bench = upstream.bench().await;
    get(&bench, LIST, "").await;
    for (number, headers) in ["Cache-Control: no-cache\r\n", "Pragma: no-cache\r\n", "Cache-Control: max-age=0\r\n"].iter().enumerate() {
        let answer = get(&bench, LIST, headers).await;
        assert_eq!((answer.text(), said(&answer)), (format!("[{}]", number + 1), "soproxy; fwd=request; stored"), "{headers}");
    }
    let hit = get(&bench, LIST, "").await;
    assert_eq!((hit.text().as_str(), is_hit(&hit)), ("[3]", true), "what it got is there for the others");
    let unstored = get(&bench, LIST, "Cache-Control: no-store\r\n").await;
    assert_eq!((unstored.text().as_str(), said(&unstored)), ("[4]", "soproxy; fwd=request"));
    assert_eq!(get(&bench, LIST, "").await.text(), "[3]");
}
