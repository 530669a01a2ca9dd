//! Time as the rest of the house sees it: a [`Moment`] is one reading of the monotonic *and* of the wall clock.
//!
//! Two clocks because each lies at times: the monotonic one stands still while a machine is suspended, the wall clock is
//! stepped by people and by NTP. An age is the larger of the two differences, so that a ticket is never thought younger
//! than it is; after a suspend every age is right again at the next look, without anybody having to notice the suspend.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio::sync::watch;

/// Monotonic time begins with this, so that there is a moment for what happened before the process began. Far longer than any
/// ticket lives.
const BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time; the clock was made at 30 days.
    pub mono: Duration,
    /// Wall time as the machine tells it, uncorrected.
    pub wall: Timestamp,
}

impl Moment {
    /// The moment `by` from here, on both clocks.
    pub fn later(self, by: Duration) -> Moment {
        Moment { mono: self.mono + by, wall: self.wall + by }
    }

    /// How long ago `earlier` was: the larger of what the two clocks say, never negative.
    pub fn since(self, earlier: Moment) -> Duration {
        let mono = self.mono.saturating_sub(earlier.mono);
        let wall = Duration::try_from(self.wall.duration_since(earlier.wall)).unwrap_or(Duration::ZERO);
        mono.max(wall)
    }
}

/// Where the time comes from: the system, or (in tests) a hand-moved clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Instant),
    Manual(Arc<watch::Sender<Moment>>),
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Clock {
        Clock(Source::System(Instant::now()))
    }

    /// A clock that stands still until its [`Hand`] moves it.
    pub fn manual(start: Timestamp) -> (Clock, Hand) {
        let moment = Moment { mono: BEFORE, wall: start };
        let sender = Arc::new(watch::Sender::new(moment));
        (Clock(Source::Manual(sender.clone())), Hand(sender))
    }

    /// Reads both clocks.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System(start) => Moment { mono: BEFORE + start.elapsed(), wall: wall() },
            Source::Manual(sender) => *sender.borrow(),
        }
    }

    /// The monotonic half of [`Clock::now`].
    pub fn mono(&self) -> Duration {
        match &self.0 {
            Source::System(start) => BEFORE + start.elapsed(),
            Source::Manual(sender) => sender.borrow().mono,
        }
    }

    /// The moment at which the wall clock showed `wall`, perhaps in an earlier process. `None` when that is still to come: the
    /// clock was set back since, and nobody knows how long ago it was.
    pub fn earlier(&self, wall: Timestamp) -> Option<Moment> {
        let now = self.now();
        let age = Duration::try_from(now.wall.duration_since(wall)).ok()?;
        Some(Moment { mono: now.mono.saturating_sub(age), wall })
    }

    /// Sleeps on the monotonic clock.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System(_) => tokio::time::sleep(duration).await,
            Source::Manual(sender) => {
                let mut moments = sender.subscribe();
                let until = moments.borrow().mono + duration;
                // The sender lives in `self`, so the wait ends only with the time.
                let _ = moments.wait_for(|moment| moment.mono >= until).await;
            }
        }
    }
}

fn wall() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Moves a manual clock.
#[derive(Clone, Debug)]
pub struct Hand(Arc<watch::Sender<Moment>>);

impl Hand {
    /// Both clocks move on together, as in ordinary life.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|moment| {
            moment.mono += by;
            moment.wall += by;
        });
    }

    /// Only the wall clock moves on: what a suspended machine sees when it wakes.
    pub fn suspend(&self, by: Duration) {
        self.0.send_modify(|moment| moment.wall += by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_the_larger_of_both_clocks_and_never_negative() {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        let start = clock.now();
        hand.advance(Duration::from_secs(10));
        assert_eq!(clock.now().since(start), Duration::from_secs(10));
        hand.suspend(Duration::from_secs(3600));
        assert_eq!(clock.now().since(start), Duration::from_secs(3610));
        assert_eq!(start.since(clock.now()), Duration::ZERO);
    }

    #[test]
    fn what_was_before_the_process_has_a_moment_and_what_is_to_come_has_none() {
        let (clock, hand) = Clock::manual(Timestamp::from_second(1_000_000).unwrap());
        let before = clock.earlier(Timestamp::from_second(1_000_000 - 3600).unwrap()).unwrap();
        hand.advance(Duration::from_secs(60));
        assert_eq!(clock.now().mono - before.mono, Duration::from_secs(3660));
        assert_eq!(clock.now().since(before), Duration::from_secs(3660));
        let ages_ago = clock.earlier(Timestamp::UNIX_EPOCH - Duration::from_secs(1 << 30)).unwrap();
        assert_eq!(ages_ago.mono, Duration::ZERO);
        assert_eq!(clock.earlier(clock.now().wall + Duration::from_secs(1)), None);
    }

    #[tokio::test]
    async fn a_manual_sleep_ends_when_the_hand_moves_far_enough() {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
    }
}
