//! The tickets the sandbox has issued: each lives a window after its last accepted use, several side by side. Protocol §6.2.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Moment;

/// More than any test or person needs; the one that was used longest ago makes room.
const MOST: usize = 10_000;

pub(super) struct Tickets {
    lifetime: Duration,
    rows: Mutex<HashMap<String, Row>>,
}

struct Row {
    tenant: usize,
    used: Moment,
}

impl Tickets {
    pub(super) fn new(lifetime: Duration) -> Tickets {
        Tickets { lifetime, rows: Mutex::default() }
    }

    /// A new ticket, `7T:` and base64 of UTF-16LE `hex;number;context`. Protocol §6.1.
    pub(super) fn issue(&self, context: &str, tenant: usize, now: Moment) -> String {
        let text = format!("{:032x};{};{context}", rand::random::<u128>(), rand::random::<u32>());
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let ticket = format!("7T:{}", STANDARD.encode(utf16));
        let mut rows = self.rows();
        if rows.len() >= MOST {
            let oldest = rows.iter().max_by_key(|(_, row)| now.since(row.used)).map(|(ticket, _)| ticket.clone());
            oldest.into_iter().for_each(|ticket| _ = rows.remove(&ticket));
        }
        rows.insert(ticket.clone(), Row { tenant, used: now });
        ticket
    }

    /// Whether `ticket` is this tenant's and alive; if so its window begins anew.
    pub(super) fn accept(&self, ticket: &str, tenant: usize, now: Moment) -> bool {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(ticket) else { return false };
        if now.since(row.used) >= self.lifetime {
            rows.remove(ticket);
            return false;
        }
        if row.tenant != tenant {
            return false;
        }
        row.used = now;
        true
    }

    /// Ends all tickets, or one tenant's; how many there were.
    pub(super) fn revoke(&self, tenant: Option<usize>) -> usize {
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|_, row| tenant.is_some_and(|tenant| tenant != row.tenant));
        before - rows.len()
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_ticket_slides_with_use_and_belongs_to_one_tenant() {
        let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let tickets = Tickets::new(Duration::from_secs(100));
        let first = tickets.issue("Cust1", 0, clock.now());
        let second = tickets.issue("Cust1", 0, clock.now());
        assert_ne!(first, second);
        for _ in 0..3 {
            hand.advance(Duration::from_secs(99));
            assert!(tickets.accept(&first, 0, clock.now()));
            assert!(!tickets.accept(&first, 1, clock.now()));
        }
        assert!(!tickets.accept(&second, 0, clock.now()), "was never used");
        hand.advance(Duration::from_secs(100));
        assert!(!tickets.accept(&first, 0, clock.now()));
    }

    #[test]
    fn a_ticket_looks_like_a_real_one_and_can_be_revoked() {
        let (clock, _hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let tickets = Tickets::new(Duration::from_secs(100));
        let ticket = tickets.issue("Cust26759", 0, clock.now());
        let bytes = STANDARD.decode(ticket.strip_prefix("7T:").unwrap()).unwrap();
        let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let text = String::from_utf16(&units).unwrap();
        assert_eq!(text.split(';').count(), 3);
        assert!(text.ends_with(";Cust26759"));

        let other = tickets.issue("Cust2", 1, clock.now());
        assert_eq!(tickets.revoke(Some(0)), 1);
        assert!(!tickets.accept(&ticket, 0, clock.now()));
        assert!(tickets.accept(&other, 1, clock.now()));
        assert_eq!(tickets.revoke(None), 1);
    }

    #[test]
    fn there_is_an_end_to_how_many_are_kept() {
        let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let tickets = Tickets::new(Duration::from_secs(100_000));
        let oldest = tickets.issue("Cust1", 0, clock.now());
        hand.advance(Duration::from_secs(1));
        (0..MOST).for_each(|_| _ = tickets.issue("Cust1", 0, clock.now()));
        assert!(!tickets.accept(&oldest, 0, clock.now()));
        assert_eq!(tickets.revoke(None), MOST);
    }
}
