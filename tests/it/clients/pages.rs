//! Web pages of listed origins: browsers are answered as CORS asks, and all other pages are refused.

use super::{Door, FINE, FORBIDDEN, STRANGER, client, line, outcome};
use crate::bench::Setup;
use crate::wire::{Message, OK, request};

const ORIGIN: &str = "https://app.example";
const OTHERS: [&str; 8] = [
    "https://evil.example",
    "null",
    "",
    "http://app.example",
    "https://app.example:444",
    "https://app.example.evil.example",
    "https://app.example/",
    "https://APP.example",
];

fn setup() -> Setup {
    Setup::new().set("cors.origins", &format!("{ORIGIN},http://localhost:3000"))
}

fn origin(name: &str) -> String {
    format!("Origin: {name}\r\n")
}

fn question(origin: &str) -> String {
    let lines =
        format!("Origin: {origin}\r\nAccess-Control-Request-Method: PATCH\r\nAccess-Control-Request-Headers: x-api-key,content-type\r\n");
    request("OPTIONS", "/v1/x", &format!("{lines}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n"))
}

/// The page may read this answer, and nobody else's page.
fn assert_marked(answer: &Message) {
    assert_eq!(answer.one("access-control-allow-origin"), Some(ORIGIN), "{answer:?}");
    assert_eq!(answer.one("access-control-expose-headers"), Some("*"));
    assert_eq!(answer.one("access-control-allow-credentials"), None);
    assert!(answer.all("vary").contains(&"Origin"), "{answer:?}");
}

fn assert_unmarked(answer: &Message) {
    assert!(!answer.names().iter().any(|name| name.starts_with("access-control-")), "{answer:?}");
}

#[tokio::test]
async fn a_browser_that_asks_for_a_listed_page_needs_no_key_and_troubles_nobody() {
    let (_, table) = client("erp", "read_only = true");
    let door = Door::of(setup(), &table).await;
    let answer = door.send(question(ORIGIN)).await;
    assert_eq!(outcome(&answer), (204, ""));
    assert_marked(&answer);
    assert_eq!(answer.one("access-control-allow-methods"), Some("PATCH"));
    assert_eq!(answer.one("access-control-allow-headers"), Some("x-api-key,content-type"));
    assert!(answer.one("access-control-max-age").is_some());
    assert_eq!(door.seen.count(), 0);
    // It tells nothing about what is there.
    for path in ["/nobody/api/v1/x", "/", "/Cust12345/secret"] {
        let other = door.send(question(ORIGIN).replace("/Cust12345/api/v1/x", path)).await;
        assert_eq!((&other.first, other.names()), (&answer.first, answer.names()), "{path}");
    }
    for other in OTHERS {
        let refused = door.send(question(other)).await;
        assert_eq!(outcome(&refused), STRANGER, "{other}");
        assert_unmarked(&refused);
    }
    assert_eq!(door.seen.count(), 0);
}

#[tokio::test]
async fn a_listed_page_calls_with_its_key_and_reads_every_answer() {
    let (key, table) = client("erp", "read_only = true\ntenants = [\"Cust12345\"]");
    let door = Door::of(setup(), &table).await;
    let page = format!("{}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n", origin(ORIGIN));
    let theirs =
        "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: x\r\nVary: Accept\r\n";
    door.seen.answer_with(&OK.replace("\r\n\r\n", &format!("\r\n{theirs}\r\n")));
    let answer = door.get("/v1/x", &(line(&key) + &page)).await;
    assert_eq!(outcome(&answer), FINE);
    assert_marked(&answer);
    assert!(answer.all("vary").contains(&"Accept"), "{answer:?}");
    assert_eq!(door.seen.last().one("origin"), None);
    // Errors, too: else the page would not know why.
    let stranger = door.get("/v1/x", &page).await;
    assert_eq!(outcome(&stranger), STRANGER);
    assert_marked(&stranger);
    let forbidden = door.write("POST", "/v1/x", &(line(&key) + &page)).await;
    assert_eq!(outcome(&forbidden), FORBIDDEN);
    assert_marked(&forbidden);
    let unknown = door.send(request("GET", "/v1/x", &(line(&key) + &page)).replace("/Cust12345/", "/nobody/")).await;
    assert_eq!(unknown.status(), 403);
    assert_marked(&unknown);
    // What upstream answers is marked whatever its status.
    door.seen.answer_with("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let missing = door.get("/v1/x", &(line(&key) + &page)).await;
    assert_eq!(missing.status(), 404);
    assert_marked(&missing);
}

#[tokio::test]
async fn other_pages_are_refused_as_before() {
    let door = Door::of(setup(), "").await;
    for other in OTHERS {
        let answer = door.get("/v1/x", &origin(other)).await;
        assert_eq!(outcome(&answer), (403, "forbidden_origin"), "{other}");
        assert_unmarked(&answer);
    }
    let twice = door.get("/v1/x", &(origin(ORIGIN) + &origin(ORIGIN))).await;
    assert_eq!(outcome(&twice), (403, "forbidden_origin"));
    for site in ["cross-site", "same-site", "same-origin"] {
        let nameless = door.get("/v1/x", &format!("Sec-Fetch-Site: {site}\r\n")).await;
        assert_eq!(outcome(&nameless), (403, "forbidden_origin"), "an image or a form says no origin: {site}");
    }
    let rebound = request("GET", "/v1/x", &origin(ORIGIN)).replace("Host: localhost", "Host: app.example");
    assert_eq!(outcome(&door.send(rebound).await), (403, "forbidden_origin"), "by a name that is not ours");
    assert_eq!(door.seen.count(), 0);
    // No page at all.
    let program = door.get("/v1/x", "").await;
    assert_eq!(outcome(&program), FINE);
    assert_unmarked(&program);
}

#[tokio::test]
async fn an_options_that_is_no_question_to_us_goes_upstream() {
    let door = Door::of(setup(), "").await;
    assert_eq!(door.send(request("OPTIONS", "/v1/x", &origin(ORIGIN))).await.status(), 200);
    assert_eq!(door.send(request("OPTIONS", "/v1/x", "Access-Control-Request-Method: PUT\r\n")).await.status(), 200);
    assert_eq!(door.seen.count(), 2);
    assert_eq!(door.seen.last().one("origin"), None);
}

#[tokio::test]
async fn without_listed_origins_no_browser_gets_an_answer() {
    let door = Door::with("").await;
    let answer = door.send(question(ORIGIN)).await;
    assert_eq!(outcome(&answer), (403, "forbidden_origin"));
    assert_unmarked(&answer);
}

#[tokio::test]
async fn a_reload_lists_origins_and_unlists_them() {
    let door = Door::with("").await;
    for (origins, status) in [(ORIGIN, 200), ("http://localhost:3000", 403), ("", 403)] {
        door.bench.live.apply(door.bench.config_with(&[("cors.origins", origins)])).unwrap();
        assert_eq!(door.get("/v1/x", &origin(ORIGIN)).await.status(), status, "{origins}");
    }
}

#[tokio::test]
async fn what_is_cached_is_marked_for_each_page_of_its_own() {
    let tables = "[[cache]]\npaths = [\"/api/v1/MDOList/*\"]\nttl = \"10m\"\n";
    let door = Door::of(setup(), tables).await;
    let list = "/v1/MDOList/category";
    let first = door.get(list, &origin(ORIGIN)).await;
    assert_marked(&first);
    let other = door.get(list, &origin("http://localhost:3000")).await;
    assert_eq!(other.one("access-control-allow-origin"), Some("http://localhost:3000"));
    assert_unmarked(&door.get(list, "").await);
    assert_eq!(outcome(&door.get(list, &origin("https://evil.example")).await), (403, "forbidden_origin"));
    assert_eq!(door.seen.count(), 1);
}
