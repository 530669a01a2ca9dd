//! Secrets that are replaced, tokens of another database, and answers that would give secrets away.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::bench::{Setup, TENANT};
use crate::binary::{Home, get};
use crate::login::no_secrets;
use crate::logs::{Logs, Records};
use crate::peer::{Peer, read_request};

const ECHO: &str = "/Cust12345/api/v1/_sandbox/echo";

/// Longer than any 401 stops another one from being believed.
const QUIET: Duration = Duration::from_secs(1000);

#[tokio::test]
async fn several_secrets_are_tried_in_order_and_what_works_is_remembered() {
    let home = Home::new().await.variable("SOPROXY_RENEWAL__PREFETCH", "false");
    home.write("next_secret", "not-yet-valid-at-superoffice");
    home.edit(
        "proxy.toml",
        "client_secret = { file = \"secrets/client_secret\" }",
        "client_secret = [{ file = \"next_secret\" }, { file = \"secrets/client_secret\" }]",
    );
    home.edit(
        "proxy.toml",
        "private_key = { file = \"privatekey.xml\" }",
        "private_key = [{ file = \"secrets/Cust54321.privatekey.xml\" }, { file = \"privatekey.xml\" }]",
    );
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, ECHO).await.status, 200);
    // Of four pairs: both secrets with the first key, whose signature is then known to be no good, and both with the second.
    let counters = home.sandbox.control().counters();
    assert_eq!((counters.exchanges_of(TENANT), counters.exchanges_refused), (4, 3));
    program.logged("of 2 private keys and 2 client secrets another pair is accepted now: private key 2, client secret 2", 1).await;

    tokio::time::sleep(Duration::from_millis(2100)).await;
    home.sandbox.control().revoke_tickets(Some(TENANT));
    assert_eq!(get(proxy, ECHO).await.status, 200, "the sandbox wants the one right secret");
    let counters = home.sandbox.control().counters();
    assert_eq!((counters.exchanges_of(TENANT), counters.exchanges_refused), (5, 3), "what worked was tried first");

    // None is accepted: said once, for all.
    home.write("secrets/client_secret", "not-valid-any-more-either");
    program.signal("HUP");
    program.logged("configuration reloaded", 1).await;
    let answer = get(proxy, ECHO).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, Some("ticket_unavailable")));
    program.logged("none of 2 private keys and 2 client secrets is accepted", 1).await;
    no_secrets(&program.stderr());
    assert!(!program.stderr().contains("not-valid") && !program.stderr().contains("not-yet-valid"));
    let checked = home.run(&["check"]).await;
    assert!(checked.stdout.contains("RSA-1024, RSA-2048"), "{}", checked.stdout);
}

#[tokio::test]
async fn a_secret_that_is_added_costs_no_exchange_and_one_that_is_taken_out_does() {
    let home = Home::new().await;
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, ECHO).await.status, 200);
    home.write("next_secret", "not-yet-valid-at-superoffice");
    let (one, two) = (
        "client_secret = { file = \"secrets/client_secret\" }",
        "client_secret = [{ file = \"secrets/client_secret\" }, { file = \"next_secret\" }]",
    );
    home.edit("proxy.toml", one, two);
    program.signal("HUP");
    program.logged("configuration reloaded", 1).await;
    assert_eq!(get(proxy, ECHO).await.status, 200);
    assert_eq!(home.sandbox.control().counters().exchanges_of(TENANT), 1);
    home.edit("proxy.toml", two, "client_secret = { file = \"next_secret\" }");
    program.signal("HUP");
    program.logged("configuration reloaded", 2).await;
    assert_eq!(get(proxy, ECHO).await.status, 503, "the ticket of a secret that is not ours any more is not used");
}

#[tokio::test]
async fn a_token_of_another_database_is_refused_until_an_operator_says_so() {
    let logs = Logs::capture();
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 200);
    bench.fault("jwt=other_serial");
    bench.sandbox.control().revoke_tickets(Some(TENANT));
    hand.advance(QUIET);
    let answer = bench.get("/api/v1/_sandbox/echo").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, Some("ticket_unavailable")));
    assert!(answer.text().contains("another database"), "{answer:?}");
    let told = logs.warnings().join("\n");
    assert!(told.contains("serial 1999999999; all before it had 1234567890") && told.contains("serial = \"1999999999\""), "{told}");
    let exchanges = bench.exchanges();
    assert_eq!(exchanges, 2);
    // Each exchange would be a row in that database: for a while there is none.
    for _ in 0..5 {
        hand.advance(Duration::from_secs(70));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 503);
    }
    assert_eq!(bench.exchanges(), exchanges);
    // A reload alone does not make it right, though it makes it be looked at again.
    bench.live.apply(bench.config_with(&[])).unwrap();
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 503);
    bench.until("the exchange after the reload", async || bench.exchanges() == exchanges + 1).await;
    bench.live.apply(bench.config_with(&[("tenants.Cust12345.serial", "1999999999")])).unwrap();
    bench.until("service", async || bench.get("/api/v1/_sandbox/echo").await.status == 200).await;
    // What was said once holds.
    bench.live.apply(bench.config_with(&[])).unwrap();
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 200);
    bench.fault("jwt=ok");
    bench.sandbox.control().revoke_tickets(Some(TENANT));
    hand.advance(QUIET);
    assert_eq!(bench.get("/api/v1/_sandbox/echo").await.status, 503, "the first database has become the foreign one");
}

#[tokio::test]
async fn an_answer_does_not_give_away_the_ticket_or_the_client_secret() {
    let mirror = Peer::start(|_, mut stream| async move {
        let request = read_request(&mut stream).await;
        let sent = |name: &str| {
            let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap();
            line.split_once(": ").unwrap().1.trim_start_matches("SOTicket ").to_owned()
        };
        let (ticket, secret) = (sent("authorization"), sent("so-apptoken"));
        let escaped = ticket.replace(':', "%3A").replace('+', "%2b").replace('/', "%2F").replace('=', "%3D");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Mine\r\nX-Request: SOTicket {ticket}\r\nX-Token: {secret}\r\nLocation: /login?t={escaped}\r\nX-Plain: a\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Mine: t={ticket};\r\n\r\n"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let logs = Logs::capture();
    let mut setup = Setup::new().api_at(mirror.address);
    let records = Records::of(&mut setup);
    let bench = setup.start().await;
    let raw = format!("GET /{TENANT}/api/v1/Contact/1 HTTP/1.1\r\nHost: {}\r\nTE: trailers\r\nConnection: close, te\r\n\r\n", bench.proxy);
    let answer = bench.raw(&raw).await;
    assert!(
        answer.contains("200 OK") && answer.to_lowercase().contains("x-plain: a") && answer.to_lowercase().contains("x-sum: 1"),
        "{answer}"
    );
    no_secrets(&answer);
    assert!(!answer.contains("7T%3A"), "{answer}");
    let told = logs.warnings().into_iter().filter(|line| line.contains("gave away")).collect::<Vec<_>>().join("\n");
    for name in ["x-request", "x-token", "location", "x-mine"] {
        assert!(told.contains(name), "{name}: {told}");
    }
    no_secrets(&told);
    no_secrets(&records.with("gave away").await);
}

/// The first secret is good, the second is not yet: a call that is always refused is no reason to exchange again and again.
#[tokio::test]
async fn a_second_secret_that_is_not_valid_yet_makes_no_storm_of_401s() {
    let home = Home::new().await;
    home.write("next_secret", "not-yet-valid-at-superoffice");
    let (one, two) = (
        "client_secret = { file = \"secrets/client_secret\" }",
        "client_secret = [{ file = \"secrets/client_secret\" }, { file = \"next_secret\" }]",
    );
    home.edit("proxy.toml", one, two);
    let program = home.spawn(&["run"]);
    let (proxy, _) = program.addresses().await;
    assert_eq!(get(proxy, ECHO).await.status, 200);
    home.sandbox.control().change_faults(|faults| faults.set("unauthorized=always").unwrap());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    for _ in 0..20 {
        assert_eq!(get(proxy, ECHO).await.status, 401);
    }
    let counters = home.sandbox.control().counters();
    let good = counters.exchanges_of(TENANT) - counters.exchanges_refused;
    assert!(good <= 3, "the first, one because of a 401, and one that looks for another secret: {good}");
    program.logged("no further renewal because of a 401 for now", 1).await;
}
