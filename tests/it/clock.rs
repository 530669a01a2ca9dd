//! Clocks that differ from the login service's, and machines that were suspended.

use std::time::Duration;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use soproxy::sandbox::LoginFault;

use crate::bench::{Bench, Setup, TENANT};
use crate::login::{Act, Login, Token, any_api, denied, granted, http, jwk, jwks, no_secrets, soap, unavailable};
use crate::logs::Logs;

const WHO: &str = "/api/v1/User/currentPrincipal";
const HOUR: Duration = Duration::from_secs(3600);

async fn served(bench: &Bench) {
    let answer = bench.get(WHO).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_clock_that_differs_is_corrected() {
    let minutes = SignedDuration::from_mins;
    for (skew, first, told) in [
        // Within what the sandbox takes, but beyond the leeway for the token's times.
        (minutes(10), 1, true),
        (minutes(-10), 1, true),
        // Refused, and retried once at once.
        (minutes(20), 2, true),
        (minutes(180), 2, true),
        (minutes(-180), 2, true),
        (minutes(23 * 60), 2, true),
        (minutes(-23 * 60), 2, true),
        (SignedDuration::from_secs(30), 1, false),
        (SignedDuration::ZERO, 1, false),
    ] {
        // The other twin shares all but the shape of the reply.
        let twins = if skew == minutes(180) { &["soap", "rest"][..] } else { &["soap"] };
        for twin in twins {
            let logs = Logs::capture();
            let (mut setup, hand) = Setup::new().set("renewal.prefetch", "false").set("superoffice.exchange", twin).manual_clock();
            setup.options.clock_skew = skew;
            let bench = setup.start().await;
            served(&bench).await;
            assert_eq!(bench.exchanges(), first, "{skew} {twin}");
            assert_eq!(bench.sandbox.control().counters().exchanges_refused, first - 1, "{skew} {twin}");
            let warnings = |about: &str| logs.warnings().iter().filter(|line| line.contains(about)).count();
            assert_eq!(warnings("this machine's clock differs"), usize::from(told), "{skew} {twin}");
            // What was learnt is kept: the next renewals need one exchange each, and no second warning.
            for times in 1..=2 {
                bench.sandbox.control().revoke_tickets(Some(TENANT));
                hand.advance(Duration::from_secs(3));
                served(&bench).await;
                assert_eq!(bench.exchanges(), first + times, "{skew} {twin}");
            }
            assert_eq!(warnings("this machine's clock differs"), usize::from(told), "{skew} {twin}");
            no_secrets(&logs.text());
        }
    }
}

#[tokio::test]
async fn a_skew_that_changes_is_learnt_anew() {
    let (mut setup, hand) = Setup::new().set("renewal.prefetch", "false").manual_clock();
    setup.options.faults.clock_skew = SignedDuration::from_hours(3);
    let bench = setup.start().await;
    served(&bench).await;
    assert_eq!(bench.exchanges(), 2);
    bench.sandbox.control().change_faults(|faults| faults.clock_skew = SignedDuration::from_hours(-2));
    bench.sandbox.control().revoke_tickets(None);
    hand.advance(Duration::from_secs(3));
    served(&bench).await;
    assert_eq!(bench.exchanges(), 4);
}

#[tokio::test]
async fn more_than_a_day_is_not_believed() {
    for hours in [25, -25, 24 * 400] {
        let logs = Logs::capture();
        let (mut setup, hand) = Setup::new().set("renewal.prefetch", "false").manual_clock();
        setup.options.clock_skew = SignedDuration::from_hours(hours);
        let bench = setup.start().await;
        unavailable(&bench.get(WHO).await, "InvalidTimestamp, the signature's time was refused: check this machine's clock");
        assert_eq!(bench.exchanges(), 2, "retried once, and not for ever");
        hand.advance(Duration::from_secs(2));
        bench.until("the next attempt", async || bench.exchanges() == 4).await;
        assert!(logs.warnings().iter().any(|line| line.contains("more than a day off ours and is not believed")), "{hours} h");
    }
}

/// When the signed system token of an exchange says it was signed.
fn signed_at(request: &str) -> Timestamp {
    let token = request.split_once("SignedSystemToken>").unwrap().1.split('<').next().unwrap();
    let time = token.rsplit('.').nth(1).unwrap();
    let time = strtime::parse("%Y%m%d%H%M", time).unwrap().to_datetime().unwrap();
    TimeZone::UTC.to_timestamp(time).unwrap()
}

/// An answer with a `Date` so far from ours.
fn dated(status: &str, ahead: SignedDuration, headers: &str, body: &str) -> Act {
    let date = std::time::SystemTime::try_from(Timestamp::now().checked_add(ahead).unwrap()).unwrap();
    Act::send(http(status, &format!("date: {}\r\n{headers}", httpdate::fmt_http_date(date)), body))
}

fn body_of(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The first exchange gets the script's answer, the second is looked at: how many minutes is its time ahead of ours?
async fn minutes_ahead(login: &Login, setup: Setup) -> i64 {
    let (setup, hand) = setup.set("superoffice.login_timeout", "200ms").set("renewal.prefetch", "false").manual_clock();
    let bench = setup.start().await;
    bench.get(WHO).await;
    if login.exchanges() < 2 {
        hand.advance(Duration::from_secs(3));
        bench.until("a second exchange", async || login.exchanges() >= 2).await;
    }
    let second = signed_at(&login.seen().exchanges[1]);
    // The timestamp has whole minutes, and a few seconds have passed.
    (second.duration_since(Timestamp::now()).as_secs_f64() / 60.0).round() as i64
}

async fn minutes_ahead_after(first: Act) -> i64 {
    let api = any_api().await;
    let login = Login::start(first).await;
    minutes_ahead(&login, login.with_api(&api)).await
}

fn about(found: i64, minutes: i64) -> bool {
    (found - minutes).abs() <= 1
}

#[tokio::test]
async fn only_a_genuine_answer_of_the_exchange_tells_the_time() {
    let ahead = SignedDuration::from_hours(3);
    let refusal = body_of(&soap(&denied("Denied")));
    let timestamp = body_of(&soap(&denied("InvalidTimestamp")));
    let xml = "content-type: text/xml\r\n";
    // Genuine.
    for reply in [&refusal, &timestamp] {
        let found = minutes_ahead_after(dated("200 OK", ahead, xml, reply)).await;
        assert!(about(found, 180), "{found} minutes after {reply}");
    }
    // A day is too much; nor is it a time.
    for act in [
        dated("200 OK", SignedDuration::from_hours(25), xml, &timestamp),
        Act::send(http("200 OK", "date: tomorrow\r\n", &timestamp)),
        Act::send(http("200 OK", "", &timestamp)),
    ] {
        let found = minutes_ahead_after(act).await;
        assert!(about(found, 0), "{found} minutes");
    }
    // No exchange answers.
    for (what, act) in [
        ("an HTML page", dated("200 OK", ahead, "content-type: text/html\r\n", "<html><title>Down</title></html>")),
        ("an HTML error page", dated("503 Service Unavailable", ahead, "content-type: text/html\r\n", "<html></html>")),
        ("a redirect", dated("302 Found", ahead, "location: /\r\n", "")),
        ("nothing", dated("200 OK", ahead, xml, "")),
        ("a SOAP envelope of another kind", dated("200 OK", ahead, xml, &refusal.replace("partnersystemuser/0.1", "x"))),
        ("half an answer", {
            let Act::Send(bytes) = dated("200 OK", ahead, xml, &refusal) else { unreachable!() };
            Act::send(&bytes[..bytes.len() - 20])
        }),
        ("plain words", dated("502 Bad Gateway", ahead, "", "Bad Gateway")),
    ] {
        let found = minutes_ahead_after(act).await;
        assert!(about(found, 0), "{what}: {found} minutes");
    }
}

/// Other answers of the same host do not count.
#[tokio::test]
async fn neither_the_keys_nor_the_state_tell_the_time() {
    let ahead = SignedDuration::from_hours(3);
    let Act::Send(keys) = jwks(&[jwk(serde_json::json!({}))]) else { unreachable!() };
    // The token is verified, hence asks for the keys, and is refused after all.
    let login = Login::start(Act::send(soap(&granted(&Token::good().of("ticket", "").sign())))).await;
    login.on_jwks(dated("200 OK", ahead, "", &body_of(&keys)));
    login.on_state(dated("200 OK", ahead, "", "{}"));
    let found = minutes_ahead(&login, Setup::new().login_at(login.address())).await;
    assert!(about(found, 0), "{found} minutes");
    let seen = login.seen();
    assert!(seen.jwks >= 1 && seen.state >= 1, "both were asked");
}

#[tokio::test]
async fn after_a_suspend_a_ticket_is_judged_again_before_it_is_used() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    for times in 2..=4 {
        hand.suspend(7 * HOUR);
        served(&bench).await;
        assert_eq!(bench.exchanges(), times);
    }
    assert_eq!(bench.sandbox.control().counters().unauthorized, 0, "no request was sent with an expired ticket");
}

#[tokio::test]
async fn a_body_sent_right_after_a_suspend_goes_out_once() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    hand.suspend(7 * HOUR);
    let calls = bench.sandbox.control().counters().api_calls;
    let answer = bench.call(http::Method::POST, "/api/v1/_sandbox/echo", vec![7; 200_000]).await;
    assert_eq!(answer.json()["BodyLength"], 200_000);
    assert_eq!(bench.sandbox.control().counters().api_calls, calls + 1);
}

#[tokio::test]
async fn a_short_suspend_costs_nothing_but_a_renewal_that_was_due() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    hand.suspend(HOUR / 2);
    served(&bench).await;
    assert_eq!(bench.exchanges(), 1);
    hand.suspend(HOUR);
    served(&bench).await;
    // The renewing task looks at the wall clock every 30 s.
    hand.advance(Duration::from_secs(31));
    bench.generation(2).await;
    served(&bench).await;
    assert_eq!((bench.exchanges(), bench.sandbox.control().counters().unauthorized), (2, 0));
}

#[tokio::test]
async fn a_suspend_while_login_is_down_ends_in_a_503_and_no_401() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    bench.sandbox.control().change_faults(|faults| faults.login = LoginFault::Down);
    hand.suspend(7 * HOUR);
    unavailable(&bench.get(WHO).await, "cannot be reached");
    assert_eq!(bench.sandbox.control().counters().unauthorized, 0);
    bench.sandbox.control().change_faults(|faults| faults.login = LoginFault::Ok);
    hand.advance(Duration::from_secs(2));
    bench.until("served again", async || bench.get(WHO).await.status == 200).await;
}

/// The minute between two fetches of the keys has passed, too.
#[tokio::test]
async fn a_key_set_is_not_thought_young_after_a_suspend() {
    let (setup, hand) = Setup::new().manual_clock();
    let bench = setup.start().await;
    served(&bench).await;
    bench.sandbox.control().change_faults(|faults| faults.jwt = soproxy::sandbox::JwtFault::RotateKey);
    hand.suspend(7 * HOUR);
    served(&bench).await;
    assert_eq!(bench.sandbox.control().counters().jwks, 2);
}
