//! When the next call may go: the hard rate, what SuperOffice's refusals have taught, and the pause that it asked for. Pure
//! functions of time.
//!
//! The hard rate is kept exactly: of any `n` + 1 calls that follow each other, where `n` is the rate's whole part, the last is at
//! least `n` / rate seconds (about one second) after the first. Within that second calls are spaced, but for what a tenth of a
//! second holds, so that a timer that is late does not cost throughput.
//!
//! Refusals are answered as TCP answers losses: the rate is halved, once for all the calls that were under way together, and then
//! grows by the same step every second. After [`HALF`] it is what it was when it was cut; after [`RECOVERED`] nothing is left of it.

use std::collections::VecDeque;
use std::time::Duration;

/// How long it takes to grow back what was cut.
pub(super) const HALF: Duration = Duration::from_secs(30);

/// So long after the last cut there is no more limit.
pub(super) const RECOVERED: Duration = Duration::from_secs(90);

/// Calls per second: no cut goes lower, because one refusal must not stop an application.
pub(super) const FLOOR: f64 = 1.0;

/// Calls per second, per second: what was cut while there was little to do shall not take long to grow.
const SMALLEST_STEP: f64 = 0.2;

/// What may go at once is what the rate allows in this time.
const BURST: Duration = Duration::from_millis(100);

/// Forward only: `now` never goes back.
#[derive(Debug, Default)]
pub(super) struct Pace {
    hard: Option<f64>,
    /// The last calls under the hard rate.
    sent: VecDeque<Duration>,
    /// When the next call is due, were all spaced evenly.
    next: Duration,
    paused_until: Duration,
    slow: Option<Slow>,
    cuts: u32,
}

/// What refusals have taught.
#[derive(Clone, Copy, Debug)]
struct Slow {
    /// Growing starts here.
    from: Duration,
    rate: f64,
    step: f64,
}

impl Slow {
    fn at(&self, at: Duration) -> f64 {
        self.rate + self.step * at.saturating_sub(self.from).as_secs_f64()
    }
}

impl Pace {
    pub(super) fn new(hard: Option<f64>) -> Pace {
        Pace { hard, ..Pace::default() }
    }

    /// Sets the hard rate, in calls per second.
    pub(super) fn set(&mut self, hard: Option<f64>) {
        // What has gone counts for the new rate, too.
        if hard.is_none() {
            self.sent.clear();
        }
        self.hard = hard;
        // What is spaced by the old rate would hold up a faster one.
        self.next = Duration::ZERO;
    }

    /// How often it was cut.
    pub(super) fn cuts(&self) -> u32 {
        self.cuts
    }

    /// Calls per second; `None` is no limit.
    pub(super) fn rate(&self, at: Duration) -> Option<f64> {
        let slow = self.slow.map(|slow| slow.at(at));
        match (self.hard, slow) {
            (Some(hard), Some(slow)) => Some(hard.min(slow)),
            (hard, slow) => hard.or(slow),
        }
    }

    /// For how long no call goes.
    pub(super) fn paused(&self, now: Duration) -> Duration {
        self.paused_until.saturating_sub(now)
    }

    /// When the next call may go; not after `now`: at once.
    pub(super) fn due(&self, now: Duration) -> Duration {
        let mut due = self.paused_until;
        if let Some(hard) = self.hard
            && let Some(first) = self.sent.len().checked_sub(calls(hard)).and_then(|at| self.sent.get(at))
        {
            due = due.max(*first + window(hard));
        }
        if let Some(rate) = self.rate(now.max(due)) {
            due = due.max(self.next.saturating_sub(BURST.saturating_sub(interval(rate))));
        }
        due
    }

    /// A call goes.
    pub(super) fn take(&mut self, now: Duration) {
        if let Some(hard) = self.hard {
            self.sent.push_back(now);
            while self.sent.len() > calls(hard) {
                self.sent.pop_front();
            }
        }
        if let Some(rate) = self.rate(now) {
            self.next = self.next.max(now) + interval(rate);
        }
    }

    /// The call that was to go at `at` did not.
    pub(super) fn give_back(&mut self, at: Duration) {
        if let Some(place) = self.sent.iter().rposition(|sent| *sent == at) {
            self.sent.remove(place);
        }
        if let Some(rate) = self.rate(at) {
            self.next = self.next.saturating_sub(interval(rate));
        }
    }

    /// SuperOffice refused a call that had gone after `seen` cuts: no call goes for `pause`, and fewer do afterwards. `measured`:
    /// how many went per second.
    pub(super) fn refused(&mut self, now: Duration, pause: Duration, measured: f64, seen: u32) {
        self.paused_until = self.paused_until.max(now + pause);
        // Of the calls that were under way together one is enough.
        if seen == self.cuts {
            let before = self.rate(now).map_or(measured, |allowed| measured.min(allowed));
            let step = (before / 2.0 / HALF.as_secs_f64()).max(SMALLEST_STEP);
            self.slow = Some(Slow { from: self.paused_until, rate: (before / 2.0).max(FLOOR), step });
            // One bit less than there are: the governor needs it.
            self.cuts = (self.cuts + 1) & (u32::MAX >> 1);
            self.next = self.paused_until;
        } else if let Some(slow) = &mut self.slow {
            // A second without a call teaches nothing.
            slow.from = slow.from.max(self.paused_until);
        }
    }

    /// Forgets what is over. Whether nothing limits any more, but perhaps the hard rate.
    pub(super) fn recovered(&mut self, now: Duration) -> bool {
        if self.slow.is_some_and(|slow| now >= slow.from + RECOVERED) {
            self.slow = None;
        }
        self.slow.is_none() && self.paused_until <= now
    }

    /// How long a call waits at least that `ahead` others go before, if it waits no longer than `at_most`.
    pub(super) fn wait(&self, now: Duration, ahead: usize, at_most: Duration) -> Duration {
        let first = self.due(now).saturating_sub(now);
        // The rate grows meanwhile: the last is the highest.
        first + self.rate(now + at_most).map_or(Duration::ZERO, |rate| seconds(ahead as f64 / rate))
    }
}

/// How many calls the window holds: the hard rate's whole part, at least one.
fn calls(hard: f64) -> usize {
    (hard.floor() as usize).max(1)
}

/// How long the window is.
fn window(hard: f64) -> Duration {
    seconds(calls(hard) as f64 / hard)
}

fn interval(rate: f64) -> Duration {
    seconds(1.0 / rate)
}

/// Rounded up, so that no rounding makes it faster. A day is as good as more.
fn seconds(seconds: f64) -> Duration {
    Duration::from_nanos((seconds.clamp(0.0, 86_400.0) * 1e9).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn with(rate: f64) -> Pace {
        Pace::new(Some(rate))
    }

    /// Everything that goes until `until` when there is always something to send.
    fn greedy(pace: &mut Pace, mut now: Duration, until: Duration) -> Vec<Duration> {
        let mut gone = Vec::new();
        while now < until {
            now = now.max(pace.due(now));
            pace.take(now);
            gone.push(now);
        }
        gone.retain(|at| *at < until);
        gone
    }

    #[test]
    fn a_rate_is_used_fully_and_evenly() {
        for (rate, seconds, expected) in [(10.0, 10, 100), (0.5, 10, 5), (2.5, 10, 25), (1000.0, 2, 2000)] {
            let gone = greedy(&mut with(rate), SECOND, SECOND * (1 + seconds)).len();
            // Once at the start a tenth of a second's worth goes at once; the window makes up for it.
            assert!((expected..=expected + 1).contains(&gone), "{rate}: {gone}");
        }
        let gone = greedy(&mut with(10.0), SECOND, SECOND * 3);
        assert!(gone.windows(2).all(|two| two[1] - two[0] >= ms(100)), "{gone:?}");
    }

    #[test]
    fn a_rate_that_is_lowered_counts_what_has_gone() {
        let mut pace = with(10.0);
        (0..10).for_each(|at| pace.take(SECOND + ms(100) * at));
        let last = ms(1900);
        pace.set(Some(5.0));
        // Of the ten that have gone the fifth last shall be a second ago.
        assert_eq!(pace.due(last), last - ms(400) + SECOND);
        pace.set(None);
        assert_eq!(pace.due(last), Duration::ZERO);
    }

    #[test]
    fn a_timer_that_is_late_costs_no_throughput() {
        let mut pace = with(100.0);
        let mut now = SECOND;
        let mut gone = 0;
        while now < SECOND * 11 {
            while pace.due(now) <= now {
                pace.take(now);
                gone += 1;
            }
            now += ms(37);
        }
        assert!((900..=1000).contains(&gone), "{gone}");
    }

    #[test]
    fn a_refusal_halves_once_for_all_that_were_under_way() {
        let mut pace = Pace::default();
        let now = SECOND * 100;
        assert_eq!((pace.rate(now), pace.due(now) <= now), (None, true));
        pace.refused(now, ms(2000), 40.0, 0);
        pace.refused(now + ms(10), ms(2000), 40.0, 0);
        assert_eq!(pace.due(now + ms(10)), now + ms(2010));
        assert_eq!(pace.rate(now), Some(20.0));
        pace.refused(now + ms(2500), SECOND, 19.0, 1);
        assert_eq!(pace.rate(now + ms(3500)), Some(9.5));
        // A rate that was little used is cut from what was used, but never below the floor.
        pace.refused(now + ms(5000), SECOND, 0.0, 2);
        assert_eq!(pace.rate(now + ms(6000)), Some(FLOOR));
        assert_eq!(pace.cuts(), 3);
    }

    #[test]
    fn it_recovers_step_by_step_to_what_it_was_and_then_is_forgotten() {
        let mut pace = Pace::default();
        pace.refused(Duration::ZERO, SECOND, 60.0, 0);
        let rates: Vec<f64> = (1..=91).map(|at| pace.rate(SECOND * at).unwrap()).collect();
        assert!(rates.windows(2).all(|two| (two[1] - two[0] - 1.0).abs() < 1e-6), "{rates:?}");
        assert_eq!((rates[0], rates[30]), (30.0, 60.0));
        assert!(!pace.recovered(SECOND * 90));
        assert!(pace.recovered(SECOND * 91));
        assert_eq!(pace.rate(SECOND * 91), None);
    }

    #[test]
    fn the_hard_rate_stays_what_it_is() {
        let mut pace = with(5.0);
        pace.refused(Duration::ZERO, SECOND, 4.0, 0);
        assert_eq!(pace.rate(SECOND), Some(2.0));
        assert_eq!(pace.rate(SECOND * 80), Some(5.0));
        assert!(pace.recovered(SECOND * 200));
        assert_eq!(pace.rate(SECOND * 200), Some(5.0));
    }

    /// SuperOffice with a limit of its own, and an application that always has something to send.
    #[test]
    fn a_greedy_client_settles_below_an_unknown_limit() {
        let limit = 10;
        let mut pace = Pace::default();
        let (mut sent, mut refused): (Vec<Duration>, u32) = (Vec::new(), 0);
        let mut good = 0;
        let mut now = SECOND;
        while now < SECOND * 600 {
            if pace.recovered(now) || pace.due(now) <= now {
                let seen = pace.cuts();
                pace.take(now);
                sent.push(now);
                let last_second = sent.iter().rev().take_while(|at| **at + SECOND > now).count();
                if last_second > limit {
                    refused += 1;
                    pace.refused(now, SECOND, last_second as f64, seen);
                } else {
                    good += 1;
                }
            }
            now += ms(5);
        }
        let rate = f64::from(good) / 600.0;
        assert!(rate > 0.7 * limit as f64, "{rate} of {limit} per second get through");
        assert!(refused * 50 < good, "{refused} refused of {good}");
    }

    proptest::proptest! {
        #[test]
        fn never_above_the_rate_over_any_window(
            rate in proptest::prop_oneof![0.05f64..3.0, 3.0f64..300.0],
            steps in proptest::collection::vec((0u64..2_000_000, proptest::bool::weighted(0.1)), 1..400),
        ) {
            let mut pace = with(rate);
            let mut now = Duration::from_secs(7);
            let mut gone: Vec<Duration> = Vec::new();
            for (micros, back) in steps {
                now += Duration::from_micros(micros) / (rate.ceil() as u32);
                if pace.due(now) <= now {
                    pace.take(now);
                    match back {
                        true => pace.give_back(now),
                        false => gone.push(now),
                    }
                }
            }
            let n = calls(rate);
            for window in gone.windows(n + 1) {
                let took = (window[n] - window[0]).as_secs_f64();
                proptest::prop_assert!(n as f64 / took <= rate + 1e-6, "{n} calls in {took} s at {rate}");
            }
        }

        #[test]
        fn whoever_waits_for_its_due_time_may_go_then(rate in 0.05f64..500.0, pauses in proptest::collection::vec(0u64..3000, 1..100)) {
            let mut pace = with(rate);
            let mut now = SECOND;
            for pause in pauses {
                now += ms(pause);
                let due = pace.due(now);
                proptest::prop_assert!(due <= now + window(rate), "no longer than a window: {:?}", due - now);
                now = now.max(due);
                proptest::prop_assert!(pace.due(now) <= now);
                pace.take(now);
            }
        }
    }
}
