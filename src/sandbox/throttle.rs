//! Throttling: how many calls of each tenant come per second, and the refusal of those that are too many.
//!
//! SuperOffice announces throttling and documents neither a figure nor an answer (protocol §6.7): 429 with `Retry-After` is assumed,
//! 503 with it can be chosen. A call that is refused does not count against the rate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::reply::{self, Reply};
use super::{Sandbox, Tenant};

const SECOND: Duration = Duration::from_secs(1);

/// How a tenant is throttled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    /// Calls that are answered in any one second (for less than 1: in the time that one takes); 0 refuses all.
    pub rate: f64,
    /// 429 or 503.
    pub status: u16,
    /// What the refusal's `Retry-After` says, rounded up to seconds; `None` has none.
    #[serde(with = "super::faults::span::optional")]
    pub retry_after: Option<Duration>,
    /// `Retry-After` is a date.
    pub date: bool,
}

impl Default for Throttle {
    fn default() -> Throttle {
        // What users report.
        Throttle { rate: 10.0, status: 429, retry_after: Some(SECOND), date: false }
    }
}

impl Throttle {
    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        if self.status != 429 && self.status != 503 {
            return Some(format!("throttle: status {} is neither 429 nor 503", self.status));
        }
        let sane = self.rate.is_finite() && self.rate >= 0.0;
        (!sane).then(|| format!("throttle: {} is no rate", self.rate))
    }

    /// How many calls in which time.
    fn window(&self) -> (usize, Duration) {
        let calls = self.rate.floor().max(1.0);
        (calls as usize, Duration::from_secs_f64((calls / self.rate).min(86_400.0)))
    }
}

/// The meters of all tenants.
#[derive(Debug, Default)]
pub(super) struct Meters(Mutex<BTreeMap<String, Meter>>);

/// What one tenant's calls did lately.
#[derive(Debug, Default)]
struct Meter {
    /// Calls within the last second.
    came: VecDeque<Duration>,
    /// Calls that were not refused.
    answered: VecDeque<Duration>,
    /// Until when callers have been told to wait.
    wait_until: Duration,
}

/// What a call meant to its meter.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    /// Calls within a second, this one included.
    in_a_second: u64,
    refused: bool,
    /// It came although its tenant had been told to wait.
    too_early: bool,
}

impl Meters {
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn read(&self, tenant: &str, throttle: Option<&Throttle>, now: Duration) -> Reading {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.entry(tenant.to_owned()).or_default().read(throttle, now)
    }
}

impl Meter {
    fn read(&mut self, throttle: Option<&Throttle>, now: Duration) -> Reading {
        self.came.push_back(now);
        while self.came.front().is_some_and(|came| *came + SECOND <= now) {
            self.came.pop_front();
        }
        let mut reading = Reading { in_a_second: self.came.len() as u64, refused: false, too_early: now < self.wait_until };
        let Some(throttle) = throttle else {
            self.answered.clear();
            return reading;
        };
        let (calls, time) = if throttle.rate > 0.0 { throttle.window() } else { (0, SECOND) };
        while self.answered.front().is_some_and(|answered| *answered + time <= now) {
            self.answered.pop_front();
        }
        reading.refused = self.answered.len() >= calls;
        if reading.refused {
            let wait = throttle.retry_after.map_or(Duration::ZERO, whole);
            self.wait_until = self.wait_until.max(now + wait);
        } else {
            self.answered.push_back(now);
        }
        reading
    }
}

/// As `Retry-After` says it.
fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// Counts a call, and refuses it if there were too many.
pub(super) fn refused(sandbox: &Sandbox, tenant: &Tenant) -> Option<Reply> {
    let control = sandbox.control();
    let throttle = control.faults().throttle_of(&tenant.context).cloned();
    let reading = control.meters.read(&tenant.context, throttle.as_ref(), sandbox.moment().mono);
    control.count(|counters| {
        *counters.calls.entry(tenant.context.clone()).or_default() += 1;
        let most = counters.calls_in_a_second.entry(tenant.context.clone()).or_default();
        *most = reading.in_a_second.max(*most);
        counters.throttled += u64::from(reading.refused);
        counters.too_early += u64::from(reading.too_early);
    });
    let throttle = throttle.filter(|_| reading.refused)?;
    let status = StatusCode::from_u16(throttle.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut reply = reply::aspnet(status, "Too many requests; try again later.");
    if let Some(wait) = throttle.retry_after.map(whole) {
        let at = || {
            let at = sandbox.now().checked_add(SignedDuration::try_from(wait).ok()?).ok()?;
            // A date has no fractions: a second later is early enough.
            let at = at.checked_add(SignedDuration::from_secs(i64::from(at.subsec_nanosecond() > 0))).ok()?;
            SystemTime::try_from(at).ok().map(httpdate::fmt_http_date)
        };
        let text = if throttle.date { at() } else { None }.unwrap_or_else(|| wait.as_secs().to_string());
        reply::header(&mut reply, "retry-after", &text);
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_meter_answers_as_many_as_the_rate_in_any_second() {
        let throttle = Throttle { rate: 2.0, retry_after: Some(ms(1500)), ..Throttle::default() };
        let mut meter = Meter::default();
        let mut read = |at| {
            let reading = meter.read(Some(&throttle), ms(at));
            (reading.in_a_second, reading.refused, reading.too_early)
        };
        assert_eq!(read(10_000), (1, false, false));
        assert_eq!(read(10_900), (2, false, false));
        assert_eq!(read(10_999), (3, true, false));
        assert_eq!(read(11_000), (3, false, true), "the first is a second ago; callers should have waited for two");
        assert_eq!(read(11_500), (4, true, true));
        assert_eq!(read(13_500), (1, false, false));
    }

    #[test]
    fn rates_below_one_and_none_at_all() {
        let slow = Throttle { rate: 0.5, ..Throttle::default() };
        let mut meter = Meter::default();
        let refused: Vec<bool> = [0, 1000, 1999, 2000, 3999, 4000].map(|at| meter.read(Some(&slow), ms(at)).refused).into();
        assert_eq!(refused, [false, true, true, false, true, false]);
        let none = Throttle { rate: 0.0, ..Throttle::default() };
        assert!(Meter::default().read(Some(&none), ms(0)).refused);
        assert!(!Meter::default().read(None, ms(0)).refused);
    }
}
