//! The ticket: its value, how long it may be used, and when it is renewed, as pure functions of time and use.
//!
//! SuperOffice's tickets live 6 hours and *slide*: each accepted use resets the window, and each exchange writes a row in
//! the customer's database (protocol §6.2). So a ticket is renewed neither per call nor on a fixed schedule.

pub mod cache;
mod memo;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

pub use self::memo::Memo;
use crate::clock::Moment;

/// A ticket in use. The header values are built once, marked sensitive, and shared by all requests.
pub struct Ticket {
    /// `SOTicket <value>`, ready for `Authorization`.
    pub authorization: HeaderValue,
    /// The client secret that it was got with, ready for `SO-AppToken`: the two go together.
    pub app_token: HeaderValue,
    /// Counts up per tenant; names this ticket in logs and when it is refused.
    pub generation: u64,
    /// When it was issued.
    pub issued: Moment,
    /// Whether it replaces one that upstream refused with a 401.
    pub after_refusal: bool,
}

impl Ticket {
    /// The ticket alone, without its scheme.
    pub fn value(&self) -> &[u8] {
        let line = self.authorization.as_bytes();
        &line[memchr::memchr(b' ', line).map_or(0, |blank| blank + 1)..]
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket {{ generation: {}, [redacted] }}", self.generation)
    }
}

/// A ticket and its history, as another process goes on with it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The ticket.
    pub ticket: Arc<Ticket>,
    /// The tenant's last accepted use ever.
    pub last_used: Option<Moment>,
    /// Whether upstream has accepted this ticket.
    pub accepted: bool,
}

/// What an exchange gives: the header values that calls carry.
pub struct Grant {
    /// `SOTicket <value>`, sensitive.
    pub authorization: HeaderValue,
    /// The client secret that was used, sensitive.
    pub app_token: HeaderValue,
}

/// Why there is no ticket: two texts, and nothing secret in either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{log}")]
pub struct ExchangeFailure {
    /// For counting: one word of a short list, which README tells.
    pub code: &'static str,
    /// For the client: short, without addresses.
    pub wire: String,
    /// For the log: the whole story, with the service's own words and what to do.
    pub log: String,
}

/// How a tenant gets a ticket. The cache knows nothing else about SuperOffice.
pub trait Exchange: Send + Sync + 'static {
    /// One exchange, with its own time limit. Never runs inside a client's request.
    fn exchange(&self) -> Pin<Box<dyn Future<Output = Result<Grant, ExchangeFailure>> + Send + '_>>;

    /// For how long no exchange is worth trying: no error ends the renewing, but some will not go away by themselves.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a client secret is still one of those that exchanges are done with.
    fn owns(&self, app_token: &HeaderValue) -> bool {
        let _ = app_token;
        true
    }

    /// Upstream refuses `ticket`, although it is a fresh one: whether the next exchange will be done with another client secret.
    fn doubt(&self, ticket: &Ticket) -> bool {
        let _ = ticket;
        false
    }
}

/// The three settings that decide when a ticket is renewed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Age at which the ticket of a tenant in use is renewed; `None` relies on sliding.
    pub max_age: Option<Duration>,
    /// How long a ticket lives after its last accepted use.
    pub lifetime: Duration,
    /// How long after its last use an idle tenant's ticket is kept alive.
    pub keep_warm: Duration,
}

/// What the policy judges: one ticket's history.
#[derive(Clone, Copy, Debug)]
pub struct Tenure {
    /// When the ticket was issued.
    pub issued: Moment,
    /// The tenant's last accepted use ever, perhaps of an earlier ticket.
    pub last_used: Option<Moment>,
    /// This ticket's share of random spread, in `0.0..1.0`.
    pub jitter: f64,
}

/// What the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Renew at once.
    Renew,
    /// Look again after this time.
    Wait(Duration),
    /// Nobody needs it: let it lapse.
    Lapse,
}

impl Policy {
    /// Time left before upstream would refuse the ticket: the window slides with each accepted use.
    pub fn time_left(&self, tenure: &Tenure, now: Moment) -> Duration {
        let issued = now.since(tenure.issued);
        self.lifetime.saturating_sub(tenure.last_used.map_or(issued, |used| issued.min(now.since(used))))
    }

    /// How often the ticket would have had to be replaced by its last use, had uses not made its window slide.
    pub fn spared(&self, tenure: &Tenure, now: Moment) -> u64 {
        let Some(used) = tenure.last_used else { return 0 };
        let age = now.since(tenure.issued).saturating_sub(now.since(used));
        let window = self.lifetime.saturating_sub(self.margin());
        u64::try_from(age.as_millis().checked_div(window.as_millis()).unwrap_or_default()).unwrap_or(u64::MAX)
    }

    /// When to renew. Two reasons, the earlier counts:
    ///
    /// - the tenant served a request since the ticket was issued, and the ticket is `max_age` old;
    /// - the window is about to run out, and the tenant's last use will then still be younger than `keep_warm`.
    ///
    /// Jitter makes the first up to 5 % later (SuperOffice asks for no more than one exchange an hour) and the second
    /// earlier, so that the tickets of many tenants fetched at once do not fall due at once.
    pub fn plan(&self, tenure: &Tenure, now: Moment) -> Plan {
        let left = self.time_left(tenure, now);
        let old_enough = self.max_age.filter(|_| tenure.used(now)).map(|max_age| {
            let due = max_age + max_age.mul_f64(0.05 * tenure.jitter);
            due.saturating_sub(now.since(tenure.issued))
        });
        // What would come after the window has run out is no reason to wait for it.
        let old_enough = old_enough.filter(|wait| wait.is_zero() || *wait < left);
        let running_out = left.saturating_sub(self.margin().mul_f64(1.0 + tenure.jitter));
        let kept_warm = tenure.last_used.is_some_and(|used| now.since(used) + running_out < self.keep_warm);
        match old_enough.into_iter().chain(kept_warm.then_some(running_out)).min() {
            Some(Duration::ZERO) => Plan::Renew,
            Some(wait) => Plan::Wait(wait),
            None => Plan::Lapse,
        }
    }

    /// How long before the window runs out an idle tenant's ticket is renewed: 5 minutes, or a tenth of a short lifetime.
    fn margin(&self) -> Duration {
        (self.lifetime / 10).min(Duration::from_secs(300))
    }
}

impl Tenure {
    /// Whether this very ticket was used: the last use is no older than the ticket.
    fn used(&self, now: Moment) -> bool {
        self.last_used.is_some_and(|used| now.since(used) <= now.since(self.issued))
    }
}

/// Whether an answer shows that upstream accepted the ticket. Conservative: a status that a server, gateway or throttle
/// may give before it looks at the credential (a redirect, 400, 403, 421, 429, 5xx …) does not count, because a window wrongly thought
/// to have slid would let the ticket expire in use.
pub fn accepted(status: http::StatusCode) -> bool {
    matches!(status.as_u16(), 200..=299 | 304 | 404 | 409 | 410 | 412 | 416 | 422)
}

/// The wait after the `failures`th failure in a row (from 1): 1, 2, 4 … 60 s, spread by `jitter` in `0.0..1.0` over ±15 %.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let seconds = 2f64.powi(failures.saturating_sub(1).min(6) as i32).min(60.0);
    Duration::from_secs_f64(seconds * (0.85 + 0.3 * jitter))
}

/// How long 401s cause no renewal after the `renewals`th that a 401 caused (from 1): 30 s, doubling, to 15 min.
pub fn brake(renewals: u32) -> Duration {
    Duration::from_secs(30 << renewals.saturating_sub(1).min(5)).min(Duration::from_secs(900))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const HOUR: u64 = 3600;

    fn at(seconds: u64) -> Moment {
        Moment { mono: Duration::from_secs(seconds), wall: Timestamp::from_second(seconds as i64).unwrap() }
    }

    fn hours(policy_max_age: Option<u64>) -> Policy {
        Policy {
            max_age: policy_max_age.map(|h| Duration::from_secs(h * HOUR)),
            lifetime: Duration::from_secs(6 * HOUR),
            keep_warm: Duration::from_secs(24 * HOUR),
        }
    }

    /// The table of the policy: (what, max_age, issued, last used, now, plan); times in seconds, no jitter.
    #[test]
    fn the_policy_table() {
        let wait = |seconds| Plan::Wait(Duration::from_secs(seconds));
        let h = HOUR;
        let table = [
            ("in use, young: at max_age", Some(1), 0, Some(60), 60, wait(h - 60)),
            ("in use, max_age old: now", Some(1), 0, Some(60), h, Plan::Renew),
            ("in use, older than max_age: now", Some(1), 0, Some(3 * h), 3 * h, Plan::Renew),
            ("idle since it was issued: shortly before 6 h", Some(1), h, Some(h - 1), 2 * h, wait(5 * h - 300)),
            ("idle, nearly run out, used within 24 h: now", Some(1), h, Some(h - 1), 7 * h - 300, Plan::Renew),
            ("idle, nearly run out, last use 25 h ago: lapse", Some(1), 26 * h, Some(7 * h), 32 * h - 300, Plan::Lapse),
            ("idle, used 20 h ago, but 25 h ago when it would be due: lapse", Some(1), 26 * h, Some(6 * h), 26 * h, Plan::Lapse),
            ("never used at all: lapse", Some(1), 0, None, 10, Plan::Lapse),
            ("never: in use, old: sliding is relied on", None, 0, Some(20 * h), 20 * h, wait(6 * h - 300)),
            ("never: not used for nearly 6 h: now", None, 0, Some(2 * h), 8 * h - 300, Plan::Renew),
            ("run out while the machine slept, used within 24 h: now", Some(1), 0, Some(10), 20 * h, Plan::Renew),
        ];
        for (what, max_age, issued, last_used, now, plan) in table {
            let tenure = Tenure { issued: at(issued), last_used: last_used.map(at), jitter: 0.0 };
            assert_eq!(hours(max_age).plan(&tenure, at(now)), plan, "{what}");
        }
    }

    #[test]
    fn a_max_age_beyond_the_lifetime_is_not_waited_for() {
        let policy = Policy { max_age: Some(Duration::from_secs(HOUR)), lifetime: Duration::from_secs(10), keep_warm: Duration::ZERO };
        let tenure = Tenure { issued: at(0), last_used: Some(at(0)), jitter: 0.0 };
        assert_eq!(policy.plan(&tenure, at(1)), Plan::Lapse);
        assert_eq!(policy.plan(&tenure, at(60)), Plan::Lapse);
        let warm = Policy { keep_warm: Duration::from_secs(HOUR), ..policy };
        assert_eq!(warm.plan(&tenure, at(1)), Plan::Wait(Duration::from_secs(8)));
        assert_eq!(warm.plan(&tenure, at(60)), Plan::Renew);
    }

    #[test]
    fn each_accepted_use_resets_the_window() {
        let policy = hours(Some(1));
        let mut tenure = Tenure { issued: at(0), last_used: None, jitter: 0.0 };
        assert_eq!(policy.time_left(&tenure, at(5 * HOUR)), Duration::from_secs(HOUR));
        tenure.last_used = Some(at(5 * HOUR));
        assert_eq!(policy.time_left(&tenure, at(5 * HOUR)), Duration::from_secs(6 * HOUR));
        assert_eq!(policy.time_left(&tenure, at(11 * HOUR)), Duration::ZERO);
        tenure.issued = at(5 * HOUR + 1);
        assert_eq!(policy.time_left(&tenure, at(11 * HOUR)), Duration::from_secs(1), "a use of an earlier ticket does not count");
    }

    #[test]
    fn renewals_are_spared_by_uses_behind_the_end_of_the_first_window() {
        let spared =
            |used: Option<u64>, now| hours(None).spared(&Tenure { issued: at(HOUR), last_used: used.map(at), jitter: 0.0 }, at(now));
        assert_eq!(spared(None, 20 * HOUR), 0);
        assert_eq!(spared(Some(6 * HOUR), 6 * HOUR), 0);
        assert_eq!(spared(Some(7 * HOUR), 7 * HOUR), 1);
        assert_eq!(spared(Some(7 * HOUR), 12 * HOUR), 1, "since then nobody has needed it");
        assert_eq!(spared(Some(25 * HOUR), 25 * HOUR), 4);
    }

    #[test]
    fn short_lifetimes_have_short_margins() {
        let policy = Policy { max_age: None, lifetime: Duration::from_secs(10), keep_warm: Duration::from_secs(HOUR) };
        let tenure = Tenure { issued: at(0), last_used: Some(at(0)), jitter: 0.0 };
        assert_eq!(policy.plan(&tenure, at(0)), Plan::Wait(Duration::from_secs(9)));
        assert_eq!(policy.plan(&tenure, at(9)), Plan::Renew);
    }

    proptest::proptest! {
        #[test]
        fn jitter_never_renews_a_used_ticket_before_max_age_nor_lets_it_run_out(jitter in 0.0..1.0f64, age in 0..6 * HOUR) {
            let tenure = Tenure { issued: at(0), last_used: Some(at(0)), jitter };
            let plan = hours(Some(1)).plan(&tenure, at(age));
            proptest::prop_assert!(age >= HOUR || plan != Plan::Renew);
            proptest::prop_assert!(age < HOUR + HOUR / 20 || plan == Plan::Renew);
        }
    }

    #[test]
    fn backoff_doubles_to_a_minute_and_the_brake_to_a_quarter_of_an_hour() {
        let seconds: Vec<u64> = (1..=8).map(|n| backoff(n, 0.5).as_secs_f64().round() as u64).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(backoff(1, 0.0) < backoff(1, 0.99));
        let seconds: Vec<u64> = (1..=7).map(|n| brake(n).as_secs()).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 900, 900]);
    }

    #[test]
    fn what_counts_as_accepted() {
        let status = |code| http::StatusCode::from_u16(code).unwrap();
        assert!([200, 204, 304, 404, 412].map(status).into_iter().all(accepted));
        assert!(![302, 400, 401, 403, 421, 429, 500, 502, 503].map(status).into_iter().any(accepted));
    }
}
