//! What to do when a connection cannot be accepted. It waits in the kernel's queue meanwhile, and is not lost.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// Between two lines in the log about the same.
const SILENCE: Duration = Duration::from_secs(5);

/// Of one listener.
#[derive(Debug)]
pub struct Patience {
    next: Duration,
    told: Option<Instant>,
    untold: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { next: FIRST, told: None, untold: 0 }
    }
}

impl Patience {
    /// How long to wait before the next attempt; longer each time, so that a machine that has run out of something is not kept busy
    /// with that. `None`: only that one connection failed, the next may be there.
    pub fn failed(&mut self, error: &Error) -> Option<Duration> {
        use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            tracing::debug!(%error, "a connection ended before it was accepted");
            return None;
        }
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= SILENCE) {
            // Out of file descriptors, mostly; connections that end make room again.
            tracing::warn!(%error, attempts = self.untold, "cannot accept connections, they wait");
            self.told = Some(Instant::now());
            self.untold = 0;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Some(wait)
    }

    /// One was accepted.
    pub fn succeeded(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_begin_anew_after_a_success() {
        let (mut patience, full) = (Patience::default(), Error::from_raw_os_error(24));
        let waits: Vec<u128> = (0..9).filter_map(|_| patience.failed(&full)).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(patience.failed(&ErrorKind::ConnectionAborted.into()), None);
        assert_eq!(patience.untold, 8, "the log was told once");
        patience.succeeded();
        assert_eq!(patience.failed(&full), Some(FIRST));
    }
}
