//! Requests and answers through the cache, on a hand-moved clock.

mod collapsing;
mod writes;

use http::header::{ACCEPT, HeaderName, PRAGMA, RANGE};
use http_body::Frame;
use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::*;
use crate::clock::Hand;

const LIMITS: Limits = Limits { total: 1 << 20, entry: 64 << 10 };
const PATH: &str = "/api/v1/List/Category/Items";
const NO_CACHE: (&str, &str) = ("cache-control", "no-cache");

/// A cache and what goes around it.
struct World {
    cache: Arc<Cache>,
    clock: Clock,
    hand: Hand,
    rules: Rules,
}

/// A body that a test feeds.
struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>);

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

type Feeder = mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>;

fn fed() -> (Feeder, Body) {
    let (feeder, fed) = mpsc::unbounded_channel();
    (feeder, Body::stream(Fed(fed)))
}

fn data(bytes: impl Into<Bytes>) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(bytes.into()))
}

fn request(method: Method, headers: &[(&str, &str)]) -> http::request::Parts {
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    for (name, value) in headers {
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    request.into_parts().0
}

fn response(status: u16, headers: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    response
}

/// As SuperOffice answers.
fn good(body: &'static str) -> Response<Body> {
    let headers = [
        NO_CACHE,
        ("pragma", "no-cache"),
        ("expires", "-1"),
        ("content-type", "application/json"),
        ("x-powered-by", "a"),
        ("x-powered-by", "b"),
    ];
    response(200, &headers, full(body))
}

/// Lets every task do what it can.
async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn text<B>(response: Response<B>) -> String
where
    B: HttpBody<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn status<B>(response: &Response<B>) -> &str {
    response.headers()[CACHE_STATUS].to_str().unwrap()
}

impl World {
    fn new() -> World {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        let rules = Rules::new([("/api/v1/MDOList/*", Duration::from_secs(600)), ("/api/v1/List/*", Duration::from_secs(600))]).unwrap();
        World { cache: Cache::new(LIMITS), clock, hand, rules }
    }

    async fn ask_for(&self, tenant: &str, target: &str, parts: &http::request::Parts) -> Found {
        let rule = self.rules.find(target.split('?').next().unwrap()).unwrap();
        self.cache.ask(rule, &Asked { tenant: &tenant.into(), identity: 1, target, parts }, &self.clock).await
    }

    async fn ask(&self, headers: &[(&str, &str)]) -> Found {
        self.ask_for("cust1", PATH, &request(Method::GET, headers)).await
    }

    async fn hit(&self, headers: &[(&str, &str)]) -> Response<Body> {
        match self.ask(headers).await {
            Found::Answer(response) => response,
            other => panic!("{other:?}"),
        }
    }

    async fn lead(&self, headers: &[(&str, &str)]) -> Box<Lead> {
        match self.ask(headers).await {
            Found::Lead(lead) => lead,
            other => panic!("{other:?}"),
        }
    }

    async fn pass(&self, headers: &[(&str, &str)]) -> Pass {
        match self.ask(headers).await {
            Found::Pass(pass) => pass,
            other => panic!("{other:?}"),
        }
    }

    /// Asks, gets this from upstream, and reads it to its end.
    async fn fetch(&self, headers: &[(&str, &str)], upstream: Response<Body>) -> (String, String) {
        let answer = self.lead(headers).await.answered(upstream, self.clock.now());
        let said = status(&answer).to_owned();
        let body = text(answer).await;
        settled().await;
        (said, body)
    }
}

#[tokio::test]
async fn what_was_fetched_once_answers_until_its_time_is_over() {
    let world = World::new();
    assert_eq!(world.fetch(&[], good("[1]")).await, ("soproxy; fwd=uri-miss; stored".to_owned(), "[1]".to_owned()));
    world.hand.advance(Duration::from_millis(90_700));
    let hit = world.hit(&[]).await;
    assert_eq!((hit.status(), &hit.headers()[AGE], status(&hit)), (StatusCode::OK, &HeaderValue::from(90), "soproxy; hit; ttl=509"));
    assert_eq!(hit.headers()[CACHE_CONTROL], "no-cache", "what SuperOffice says to others stays");
    assert_eq!(hit.headers()[PRAGMA], "no-cache");
    assert_eq!(hit.headers().get_all("x-powered-by").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(hit.headers()[DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(text(hit).await, "[1]");
    world.hand.advance(Duration::from_secs(509));
    world.hit(&[]).await;
    world.hand.advance(Duration::from_millis(300));
    assert_eq!(world.fetch(&[], good("[2]")).await, ("soproxy; fwd=stale; stored".to_owned(), "[2]".to_owned()));
    assert_eq!(text(world.hit(&[]).await).await, "[2]");
}

#[tokio::test]
async fn a_machine_that_slept_does_not_serve_what_is_old() {
    let world = World::new();
    world.fetch(&[], good("[1]")).await;
    world.hand.suspend(Duration::from_secs(601));
    world.lead(&[]).await;
}

#[tokio::test]
async fn other_callers_languages_and_tenants_have_answers_of_their_own() {
    let world = World::new();
    world.fetch(&[("so-language", "de")], good("de")).await;
    for other in [&[][..], &[("so-language", "no")], &[("so-language", "de"), ("accept", "application/xml")], &[("SO_Language", "de")]] {
        world.lead(other).await.failed();
    }
    let german = request(Method::GET, &[("so-language", "de"), ("user-agent", "another")]);
    assert!(matches!(world.ask_for("cust1", PATH, &german).await, Found::Answer(_)));
    for (tenant, target) in [("cust2", PATH), ("cust1", "/api/v1/List/Category/items"), ("cust1", "/api/v1/List/Category/Items?x")] {
        assert!(matches!(world.ask_for(tenant, target, &german).await, Found::Lead(_)), "{tenant} {target}");
    }
    let rule = world.rules.find(PATH).unwrap();
    let other = Asked { tenant: &"cust1".into(), identity: 2, target: PATH, parts: &german };
    assert!(matches!(world.cache.ask(rule, &other, &world.clock).await, Found::Lead(_)));
    assert_eq!(world.cache.identity(b"a"), world.cache.identity(b"a"));
    assert_ne!(world.cache.identity(b"a"), world.cache.identity(b"b"));
}

#[tokio::test]
async fn what_has_a_validator_is_confirmed_instead_of_fetched() {
    let world = World::new();
    let modified = "Mon, 23 Feb 2026 09:52:04 GMT";
    let validators = [NO_CACHE, ("etag", "\"a\""), ("last-modified", modified), ("x", "old")];
    world.fetch(&[], response(200, &validators, full("[1]"))).await;
    world.hand.advance(Duration::from_secs(600));
    let lead = world.lead(&[("if-none-match", "\"mine\""), ("if-modified-since", "yesterday")]).await;
    let mut headers = request(Method::GET, &[("if-none-match", "\"mine\""), ("accept", "x")]).headers;
    lead.prepare(&mut headers);
    assert_eq!(headers, request(Method::GET, &[("accept", "x"), ("if-none-match", "\"a\""), ("if-modified-since", modified)]).headers);
    world.hand.advance(Duration::from_secs(3));
    let answer = lead.answered(response(304, &[("etag", "\"a\""), ("x", "new")], Body::Empty), world.clock.now());
    assert_eq!((answer.status(), status(&answer)), (StatusCode::OK, "soproxy; fwd=stale; fwd-status=304; stored"));
    assert_eq!((&answer.headers()["x"], &answer.headers()[AGE]), (&HeaderValue::from_static("new"), &HeaderValue::from(3)));
    assert_eq!(text(answer).await, "[1]");
    world.hand.advance(Duration::from_secs(596));
    let hit = world.hit(&[]).await;
    assert_eq!((&hit.headers()["x"], status(&hit)), (&HeaderValue::from_static("new"), "soproxy; hit; ttl=1"));

    // A 304 need not name the validator again; and one that names another has confirmed nothing.
    world.hand.advance(Duration::from_secs(600));
    let answer = world.lead(&[]).await.answered(response(304, &[], Body::Empty), world.clock.now());
    assert_eq!(status(&answer), "soproxy; fwd=stale; fwd-status=304; stored");
    world.hand.advance(Duration::from_secs(600));
    let answer = world.lead(&[]).await.answered(response(304, &[("etag", "\"b\"")], Body::Empty), world.clock.now());
    assert_eq!(status(&answer), "soproxy; fwd=stale; fwd-status=304");
    assert_eq!(text(answer).await, "[1]");
    let mut headers = HeaderMap::new();
    world.lead(&[]).await.prepare(&mut headers);
    assert!(headers.is_empty());
}

#[tokio::test]
async fn a_caller_that_has_the_answer_is_told_so() {
    let world = World::new();
    let upstream = response(200, &[("etag", "\"a\""), ("content-type", "text/plain"), ("vary", "accept")], full("[1]"));
    // Its condition is not upstream's: the answer to it could not be stored for others.
    let (said, body) = world.fetch(&[("if-none-match", "\"a\"")], upstream).await;
    assert_eq!((said.as_str(), body.as_str()), ("soproxy; fwd=uri-miss; stored", "[1]"));
    let hit = world.hit(&[("if-none-match", "W/\"a\"")]).await;
    assert_eq!((hit.status(), status(&hit)), (StatusCode::NOT_MODIFIED, "soproxy; hit; ttl=600"));
    assert!(hit.headers().contains_key(ETAG) && hit.headers().contains_key(VARY) && !hit.headers().contains_key("content-type"));
    assert_eq!(text(hit).await, "");
    assert_eq!(world.hit(&[("if-none-match", "\"b\"")]).await.status(), StatusCode::OK);
    world.hand.advance(Duration::from_secs(600));
    let answer = world.lead(&[("if-none-match", "\"a\"")]).await.answered(response(304, &[], Body::Empty), world.clock.now());
    assert_eq!((answer.status(), status(&answer)), (StatusCode::NOT_MODIFIED, "soproxy; fwd=stale; fwd-status=304; stored"));
}

#[tokio::test]
async fn head_is_answered_from_what_get_brought() {
    let world = World::new();
    let head = request(Method::HEAD, &[]);
    let Found::Pass(pass) = world.ask_for("cust1", PATH, &head).await else { panic!("HEAD brings nothing to store") };
    assert_eq!(status(&pass.answered(response(200, &[], Body::Empty))), "soproxy; fwd=uri-miss");
    world.fetch(&[], good("[1]")).await;
    let Found::Answer(hit) = world.ask_for("cust1", PATH, &head).await else { panic!("stored") };
    assert_eq!(hit.headers().get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["3"]);
    assert_eq!(text(hit).await, "");
}

#[tokio::test]
async fn a_caller_that_wants_it_fresh_gets_it_fresh_and_others_profit() {
    let world = World::new();
    world.fetch(&[], response(200, &[NO_CACHE, ("etag", "\"a\"")], full("[1]"))).await;
    for (number, wish) in ["no-cache", "max-age=0", "No-Cache"].into_iter().enumerate() {
        let lead = world.lead(&[("cache-control", wish)]).await;
        let mut headers = HeaderMap::new();
        lead.prepare(&mut headers);
        assert_eq!(headers[IF_NONE_MATCH], "\"a\"", "{wish}");
        let body = ["[2]", "[3]", "[4]"][number];
        let answer = lead.answered(response(200, &[NO_CACHE, ("etag", "\"a\"")], full(body)), world.clock.now());
        assert_eq!(status(&answer), "soproxy; fwd=request; stored");
        assert_eq!(text(answer).await, body);
        settled().await;
        assert_eq!(text(world.hit(&[]).await).await, body);
    }
    world.lead(&[("pragma", "no-cache")]).await.failed();
    let pass = world.pass(&[("cache-control", "no-store")]).await;
    assert_eq!(status(&pass.answered(good("[5]"))), "soproxy; fwd=request");
    assert_eq!(text(world.hit(&[]).await).await, "[4]");
    // Young enough, or not.
    world.hand.advance(Duration::from_secs(61));
    assert!(matches!(world.ask(&[("cache-control", "max-age=61")]).await, Found::Answer(_)));
    assert_eq!(world.lead(&[("cache-control", "max-age=60")]).await.forwarded, "request");
}

#[tokio::test]
async fn requests_that_are_none_of_its_business_pass() {
    let world = World::new();
    world.fetch(&[], good("[1]")).await;
    for (name, value) in [(RANGE.as_str(), "bytes=0-1"), ("if-match", "*"), ("cookie", "a=b"), ("x-http-method-override", "DELETE")] {
        assert_eq!(status(&world.pass(&[(name, value)]).await.answered(good("[2]"))), "soproxy; fwd=bypass", "{name}");
    }
    let Found::Pass(pass) = world.ask_for("cust1", PATH, &request(Method::POST, &[])).await else { panic!("POST") };
    assert_eq!(status(&pass.answered(good("[2]"))), "soproxy; fwd=method");
    let nearer = response(200, &[("cache-status", "edge; hit")], Body::Empty);
    let passed = world.pass(&[("cookie", "a=b")]).await.answered(nearer);
    assert_eq!(passed.headers().get_all(CACHE_STATUS).iter().collect::<Vec<_>>(), ["edge; hit", "soproxy; fwd=bypass"]);
}

#[tokio::test]
async fn what_must_not_be_stored_passes_and_replaces_nothing_by_itself() {
    let world = World::new();
    for (status, headers) in [
        (200, ("set-cookie", "a=b")),
        (200, ("cache-control", "no-store")),
        (200, ("cache-control", "private")),
        (200, ("vary", "*")),
        (404, NO_CACHE),
        (401, NO_CACHE),
        (429, ("cache-control", "max-age=60")),
        (500, NO_CACHE),
        (304, NO_CACHE),
    ] {
        let said = world.fetch(&[], response(status, &[headers], full("x"))).await;
        assert_eq!(said, (format!("soproxy; fwd=uri-miss; fwd-status={status}"), "x".to_owned()));
    }
    assert_eq!(world.cache.size().0, 0);
    // An error leaves what is stored; an answer that cannot be stored does away with it.
    world.fetch(&[], good("[1]")).await;
    world.fetch(&[NO_CACHE], response(500, &[], full("x"))).await;
    assert_eq!(text(world.hit(&[]).await).await, "[1]");
    world.fetch(&[NO_CACHE], response(404, &[], full("x"))).await;
    world.lead(&[]).await;
}

#[tokio::test]
async fn what_vary_names_is_compared() {
    let world = World::new();
    let vary = [NO_CACHE, ("vary", "Accept-Encoding, X-Area")];
    world.fetch(&[("x-area", "a"), ("accept-encoding", "gzip, br")], response(200, &vary, full("a"))).await;
    assert_eq!(text(world.hit(&[("x-area", "a"), ("accept-encoding", "br,gzip")]).await).await, "a");
    let lead = world.lead(&[("x-area", "b"), ("accept-encoding", "gzip, br")]).await;
    assert_eq!(status(&lead.answered(response(200, &vary, full("b")), world.clock.now())), "soproxy; fwd=vary-miss; stored");
    // A caller that cannot read gzip never gets it, whether `Vary` says so or not.
    world.fetch(&[("accept", "x"), ("accept-encoding", "gzip")], response(200, &[("content-encoding", "gzip")], full("z"))).await;
    assert!(matches!(world.ask(&[("accept", "x")]).await, Found::Lead(_)));
    assert!(request(Method::GET, &[("accept", "x")]).headers.contains_key(ACCEPT));
}

#[tokio::test]
async fn an_empty_answer_is_an_answer() {
    let world = World::new();
    world.fetch(&[], response(204, &[NO_CACHE], Body::Empty)).await;
    let hit = world.hit(&[]).await;
    assert_eq!((hit.status(), hit.body().is_end_stream()), (StatusCode::NO_CONTENT, true));
}

/// Ten users of a client that reads nine lists whenever it opens a window, every two minutes of an eight-hour day. Four times a day
/// somebody changes a list.
#[tokio::test]
async fn a_day_of_a_chatty_client_costs_a_fraction_of_the_calls() {
    let world = World::new();
    let (mut asked, mut fetched) = (0, 0);
    for minute in (0..480).step_by(2) {
        for _user in 0..10 {
            for list in 0..9 {
                asked += 1;
                let target = format!("/api/v1/MDOList/list{list}");
                let parts = request(Method::GET, &[]);
                if let Found::Lead(lead) = world.ask_for("cust1", &target, &parts).await {
                    fetched += 1;
                    _ = text(lead.answered(good("[]"), world.clock.now())).await;
                    settled().await;
                }
            }
        }
        if minute % 120 == 60 {
            world.cache.written("cust1", &Method::PUT, "/api/v1/List/3/Items/1", None, Some(StatusCode::OK));
        }
        world.hand.advance(Duration::from_secs(120));
    }
    // Without the cache SuperOffice sees 21,600 calls; ten minutes make 48 rounds of nine of them, and the writes shift the last one.
    assert_eq!((asked, fetched), (21_600, 9 * 49));
}

/// Upstream's own bodies can be relayed: that this compiles is the test.
#[test]
fn upstreams_answers_fit() {
    _ = |lead: Box<Lead>, answer: Response<crate::upstream::Answer>, now| lead.answered(answer, now);
}
