//! Lists are cached: what may be, for whom, for how long, and what the answers say of it.

mod day;
mod fetches;
mod judged;
mod keys;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soproxy::clock::Hand;
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, Setup, TENANT};
use crate::peer::{Peer, read_request};
use crate::wire::{Message, Wire, ask, begin, request};

const RULE: &str = "[[cache]]\npaths = [\"/api/v1/MDOList/*\", \"/api/v1/List/*\"]\nttl = \"10m\"\n";
const LIST: &str = "/v1/MDOList/category";

/// What SuperOffice says of caching, whatever it answers.
const NO_CACHE: &str = "Content-Type: application/json\r\nCache-Control: no-cache\r\nPragma: no-cache\r\nExpires: -1\r\n";

/// Instead of an answer: there is none, and the connection stays.
const NEVER: &str = "never";

const MINUTE: Duration = Duration::from_secs(60);

/// An upstream that answers each request by a script, and remembers it.
struct Upstream {
    peer: Peer,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// `answer`: of the request's head, and how many came before.
    async fn new<A: Into<Vec<u8>>>(answer: impl Fn(&str, usize) -> A + Send + Sync + 'static) -> Upstream {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, answer, number) = (asked.clone(), Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let peer = Peer::start(move |_, mut stream| {
            let (seen, answer, number) = (seen.clone(), answer.clone(), number.clone());
            async move {
                let request = read_request(&mut stream).await;
                let bytes: Vec<u8> = answer(&request, number.fetch_add(1, Ordering::SeqCst)).into();
                seen.lock().unwrap().push(request);
                if bytes == NEVER.as_bytes() {
                    std::future::pending::<()>().await;
                }
                let _ = stream.write_all(&bytes).await;
            }
        })
        .await;
        Upstream { peer, asked }
    }

    /// Each answer says which one it is, under these headers.
    async fn counting(headers: &'static str) -> Upstream {
        Upstream::new(move |_, number| answer(headers, &format!("[{number}]"))).await
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The last request.
    fn last(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }

    /// A proxy before it that caches lists.
    fn setup(&self) -> Setup {
        caching(Setup::new().api_at(self.peer.address))
    }

    async fn bench(&self) -> Bench {
        self.setup().start().await
    }

    /// The same, with a hand on the clock.
    async fn timed(&self) -> (Bench, Hand) {
        let (setup, hand) = self.setup().manual_clock();
        (setup.start().await, hand)
    }
}

fn caching(mut setup: Setup) -> Setup {
    setup.more += RULE;
    setup
}

/// 200 with this body, after which the connection ends.
fn answer(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    with_status("200 OK", headers, body)
}

fn with_status(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

async fn get(bench: &Bench, rest: &str, headers: &str) -> Message {
    ask(bench.proxy, request("GET", rest, headers)).await
}

async fn head(bench: &Bench, rest: &str, headers: &str) -> Message {
    let mut wire = Wire::to(bench.proxy).await;
    wire.say(request("HEAD", rest, headers)).await;
    wire.only_head().await.unwrap()
}

async fn write(bench: &Bench, method: &str, rest: &str) -> Message {
    ask(bench.proxy, begin(method, rest, "Content-Length: 2\r\n\r\n{}")).await
}

/// What the proxy says it did.
fn said(answer: &Message) -> &str {
    answer.one("cache-status").unwrap_or_default()
}

fn is_hit(answer: &Message) -> bool {
    said(answer).starts_with("soproxy; hit")
}

#[tokio::test]
async fn nothing_is_cached_unless_it_is_configured() {
    let upstream = Upstream::counting("Cache-Control: max-age=600\r\n").await;
    let bench = Setup::new().api_at(upstream.peer.address).start().await;
    for number in 0..2 {
        let answer = get(&bench, LIST, "").await;
        assert_eq!(answer.text(), format!("[{number}]"));
        assert_eq!((answer.one("age"), answer.one("cache-status")), (None, None));
    }
}

#[tokio::test]
async fn the_ttl_overrides_no_cache_for_these_paths_only() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let (bench, hand) = upstream.timed().await;
    for path in [LIST, "/v1/List/Sale/Items?x=1"] {
        let first = get(&bench, path, "").await;
        hand.advance(9 * MINUTE);
        let second = get(&bench, path, "").await;
        assert_eq!((second.text(), is_hit(&first), is_hit(&second)), (first.text(), false, true), "{path}");
        // What SuperOffice says to its callers they are told.
        assert_eq!(second.one("cache-control"), Some("no-cache"));
        hand.advance(2 * MINUTE);
        assert_ne!(get(&bench, path, "").await.text(), first.text(), "{path}: for ten minutes and no longer");
    }
    for path in ["/v1/Contact/1", "/v1/MDOLists/category", "/v2/MDOList/category", "/v1/MDOList"] {
        let before = upstream.calls();
        for _ in 0..2 {
            let answer = get(&bench, path, "").await;
            assert_eq!((answer.one("age"), answer.one("cache-status")), (None, None), "{path}");
        }
        assert_eq!(upstream.calls(), before + 2, "{path}");
    }
}

#[tokio::test]
async fn nothing_else_is_overridden() {
    for (status, headers) in [
        ("200 OK", "Cache-Control: no-store\r\n"),
        ("200 OK", "Cache-Control: private\r\n"),
        ("200 OK", "Set-Cookie: session=1\r\n"),
        ("200 OK", "Vary: *\r\n"),
        ("200 OK", "Cache-Control: max-age=0\r\n"),
        ("404 Not Found", ""),
        ("403 Forbidden", ""),
        ("302 Found", "Location: /elsewhere\r\n"),
        ("500 Internal Server Error", ""),
    ] {
        let upstream = Upstream::new(move |_, number| with_status(status, headers, format!("[{number}]"))).await;
        let bench = upstream.bench().await;
        for number in 0..2 {
            let answer = get(&bench, LIST, "").await;
            assert_eq!((answer.text(), is_hit(&answer)), (format!("[{number}]"), false), "{status} {headers}");
        }
    }
    // What says for itself how long it is fresh is believed.
    let upstream = Upstream::new(|_, _| with_status("404 Not Found", "Cache-Control: max-age=60\r\n", "none")).await;
    let (bench, hand) = upstream.timed().await;
    for (after, calls) in [(0, 1), (59, 1), (2, 2)] {
        hand.advance(Duration::from_secs(after));
        assert_eq!((get(&bench, LIST, "").await.status(), upstream.calls()), (404, calls));
    }
}

#[tokio::test]
async fn only_get_is_stored_and_only_get_and_head_are_answered() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let bench = upstream.bench().await;
    get(&bench, LIST, "").await;
    assert!(is_hit(&get(&bench, LIST, "").await));
    for number in 1..3 {
        let options = ask(bench.proxy, request("OPTIONS", LIST, "")).await;
        assert_eq!((options.text(), said(&options)), (format!("[{number}]"), "soproxy; fwd=method"));
    }
    for number in 3..5 {
        assert_eq!(
            ask(bench.proxy, begin("GET", LIST, "Content-Length: 2\r\n\r\n{}")).await.text(),
            format!("[{number}]"),
            "it has a body"
        );
    }
    for number in 5..7 {
        assert_eq!(write(&bench, "POST", "/v1/List/x").await.text(), format!("[{number}]"));
    }
}

#[tokio::test]
async fn age_and_cache_status_tell_where_an_answer_is_from() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let (bench, hand) = upstream.timed().await;
    let first = get(&bench, LIST, "").await;
    assert_eq!((said(&first), first.one("age")), ("soproxy; fwd=uri-miss; stored", None));
    hand.advance(MINUTE);
    let second = get(&bench, LIST, "").await;
    assert_eq!((said(&second), second.one("age")), ("soproxy; hit; ttl=540", Some("60")));
    assert_eq!(second.one("content-type"), Some("application/json"));
    assert!(second.one("x-request-id").is_some_and(|id| first.one("x-request-id") != Some(id)), "it is an answer of its own");
    hand.advance(10 * MINUTE);
    let third = get(&bench, LIST, "").await;
    assert_eq!((said(&third), third.one("age")), ("soproxy; fwd=stale; stored", None));
}

#[tokio::test]
async fn head_is_answered_from_what_get_has_stored() {
    let upstream = Upstream::counting("Content-Type: text/plain\r\nETag: \"a\"\r\n").await;
    let bench = upstream.bench().await;
    assert_eq!(head(&bench, LIST, "").await.status(), 200);
    assert_eq!(upstream.calls(), 1, "and stores nothing itself");
    get(&bench, LIST, "").await;
    let answer = head(&bench, LIST, "").await;
    assert_eq!((answer.status(), answer.one("content-length"), answer.one("etag")), (200, Some("3"), Some("\"a\"")));
    assert_eq!((is_hit(&answer), upstream.calls()), (true, 2));
}

#[tokio::test]
async fn conditional_requests_are_answered_from_the_cache() {
    let upstream = Upstream::counting("ETag: \"a\"\r\nLast-Modified: Mon, 23 Feb 2026 09:52:00 GMT\r\nContent-Type: text/plain\r\n").await;
    let bench = upstream.bench().await;
    let first = get(&bench, LIST, "If-None-Match: \"a\"\r\n").await;
    assert_eq!((first.status(), first.text().as_str()), (200, "[0]"), "the whole list was fetched, for all");
    assert!(!upstream.last().to_ascii_lowercase().contains("if-none-match"), "{}", upstream.last());
    for (condition, status) in [
        ("If-None-Match: \"a\"", 304),
        ("If-None-Match: W/\"a\"", 304),
        ("If-None-Match: \"b\", \"a\"", 304),
        ("If-None-Match: \"b\"", 200),
        ("If-Modified-Since: Mon, 23 Feb 2026 09:52:00 GMT", 304),
        ("If-Modified-Since: Mon, 23 Feb 2026 09:51:59 GMT", 200),
    ] {
        let answer = get(&bench, LIST, &format!("{condition}\r\n")).await;
        assert_eq!((answer.status(), answer.one("etag"), is_hit(&answer)), (status, Some("\"a\""), true), "{condition}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn what_is_stored_outlives_a_reload_and_rules_change_with_it() {
    let upstream = Upstream::counting(NO_CACHE).await;
    let mut bench = upstream.bench().await;
    get(&bench, LIST, "").await;
    bench.live.apply(bench.config_with(&[("listen.max_body", "1MiB")])).unwrap();
    assert!(is_hit(&get(&bench, LIST, "").await));
    bench.more.clear();
    bench.live.apply(bench.config_with(&[])).unwrap();
    let answer = get(&bench, LIST, "").await;
    assert_eq!((answer.text().as_str(), answer.one("cache-status")), ("[1]", None));
    bench.more = "[[cache]]\npaths = \"/api/v1/Other/*\"\nttl = \"1m\"\n".to_owned();
    bench.live.apply(bench.config_with(&[])).unwrap();
    get(&bench, "/v1/Other/x", "").await;
    assert!(is_hit(&get(&bench, "/v1/Other/x", "").await));
}
