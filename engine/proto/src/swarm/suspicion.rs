//! Finds out who sends bad data.
//!
//! A bad piece of one sender convicts it. A bad piece of several makes all of them suspects: each then
//! gets pieces of its own, where one bad hash convicts and good ones clear. Who comes under suspicion
//! again and again has to deliver more good pieces alone each time, so that a sender that corrupts only
//! now and then is found too, and one that is honest never is.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::limits::{BANNED_MAX, PROBATION_PIECES_MAX, SUSPECTS_MAX};

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Good pieces to deliver alone before it is cleared; 0 when it is.
    owes: u32,
    /// Times it came under suspicion.
    times: u32,
}

/// Addresses under suspicion and banned ones.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    records: HashMap<IpAddr, Record>,
    banned: HashSet<IpAddr>,
}

impl Suspicion {
    /// A piece of these senders had a bad hash. Returns the address to ban when that proves it.
    pub(super) fn failed(&mut self, senders: &[IpAddr]) -> Option<IpAddr> {
        if let &[only] = senders {
            self.records.remove(&only);
            if self.banned.len() < BANNED_MAX {
                self.banned.insert(only);
            }
            return Some(only);
        }
        for &sender in senders {
            if self.banned.contains(&sender) {
                continue;
            }
            if self.records.len() >= SUSPECTS_MAX {
                self.records.retain(|_, record| record.owes > 0);
            }
            if self.records.len() < SUSPECTS_MAX || self.records.contains_key(&sender) {
                let record = self.records.entry(sender).or_insert(Record { owes: 0, times: 0 });
                record.owes = (1 << record.times.min(16)).min(PROBATION_PIECES_MAX);
                record.times += 1;
            }
        }
        None
    }

    /// A piece of these senders had a good hash.
    pub(super) fn passed(&mut self, senders: &[IpAddr]) {
        if let [only] = senders
            && let Some(record) = self.records.get_mut(only)
        {
            record.owes = record.owes.saturating_sub(1);
        }
    }

    #[inline]
    pub(super) fn is_suspect(&self, ip: IpAddr) -> bool {
        !self.records.is_empty() && self.records.get(&ip).is_some_and(|record| record.owes > 0)
    }

    pub(super) fn is_banned(&self, ip: IpAddr) -> bool {
        !self.banned.is_empty() && self.banned.contains(&ip)
    }

    pub(super) fn banned_count(&self) -> usize {
        self.banned.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_sender_is_banned_at_once() {
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.failed(&[ip(1)]), Some(ip(1)));
        assert!(suspicion.is_banned(ip(1)) && !suspicion.is_suspect(ip(1)));
    }

    #[test]
    fn of_several_only_the_bad_one_is_banned_in_the_end() {
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.failed(&[ip(1), ip(2)]), None);
        assert!(suspicion.is_suspect(ip(1)) && suspicion.is_suspect(ip(2)));
        suspicion.passed(&[ip(1), ip(2)]);
        assert!(suspicion.is_suspect(ip(1)), "a shared piece clears nobody");
        suspicion.passed(&[ip(1)]);
        assert!(!suspicion.is_suspect(ip(1)));
        assert_eq!(suspicion.failed(&[ip(2)]), Some(ip(2)));
        assert!(!suspicion.is_banned(ip(1)));
    }

    #[test]
    fn repeated_suspicion_takes_longer_to_clear() {
        let mut suspicion = Suspicion::default();
        for round in 0..8 {
            suspicion.failed(&[ip(1), ip(round + 2)]);
            let mut needed = 0;
            while suspicion.is_suspect(ip(1)) {
                suspicion.passed(&[ip(1)]);
                needed += 1;
            }
            assert_eq!(needed, (1 << round).min(PROBATION_PIECES_MAX));
        }
    }
}
