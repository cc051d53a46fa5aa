//! A bound for how often one address may do something, in memory that does not grow.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use ringseed_proto::units::Time;

use crate::limits::QUOTA_CELLS;

/// Bits of a cell that count; the others are the minute it counts in, modulo 256.
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

/// What each address may do so many times a minute: an IPv4 address, or the /64 of an IPv6 one, for a client has all of that.
///
/// Addresses share [`QUOTA_CELLS`] counters by a keyed hash. Two that fall on one counter share a quota until the
/// process ends; nobody can aim at another, and no address makes memory grow.
pub(crate) struct Quota {
    per_minute: u32,
    key: RandomState,
    cells: Box<[AtomicU32]>,
}

impl Quota {
    /// At most `per_minute` times; 0 is no bound.
    pub(crate) fn new(per_minute: u32) -> Quota {
        let cells = if per_minute == 0 { 0 } else { QUOTA_CELLS };
        Quota {
            per_minute: per_minute.min(COUNT_MAX - 1),
            key: RandomState::new(),
            cells: (0..cells).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Counts once more; false when it was too often in this minute.
    pub(crate) fn admit(&self, now: Time, client: IpAddr) -> bool {
        if self.cells.is_empty() {
            return true;
        }
        let hash = match client.to_canonical() {
            IpAddr::V4(ip) => self.key.hash_one(ip.octets()),
            IpAddr::V6(ip) => self.key.hash_one(&ip.octets()[..8]),
        };
        let minute = (now.micros() / 60_000_000) as u32 & 0xff;
        let cell = &self.cells[hash as usize % self.cells.len()];
        let next = |value: u32| {
            let count = if value >> COUNT_BITS == minute { value & COUNT_MAX } else { 0 };
            minute << COUNT_BITS | (count + 1).min(COUNT_MAX)
        };
        // Two threads at once may count one instead of two: it is a quota, not an account.
        let value = next(cell.load(Ordering::Relaxed));
        cell.store(value, Ordering::Relaxed);
        value & COUNT_MAX <= self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admitted(quota: &Quota, second: u64, client: &str, times: usize) -> usize {
        let now = Time::after_epoch(Duration::from_secs(second));
        (0..times).filter(|_| quota.admit(now, client.parse().unwrap())).count()
    }

    #[test]
    fn a_minute_has_so_many_and_the_next_as_many_again() {
        let quota = Quota::new(10);
        assert_eq!(admitted(&quota, 60, "192.0.2.1", 25), 10);
        assert_eq!(admitted(&quota, 119, "192.0.2.1", 5), 0);
        assert_eq!(admitted(&quota, 120, "192.0.2.1", 25), 10);
        // Minutes are known modulo 256; the counter of one that looks the same would be old by hours.
        assert_eq!(admitted(&quota, 120 + 60, "::ffff:192.0.2.1", 25), 10);
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let quota = Quota::new(10);
        let sum: usize = (0..30).map(|n| admitted(&quota, 0, &format!("2001:db8::{n:x}"), 1)).sum();
        assert_eq!(sum, 10);
        // Of 50 others some may share its counter, not all.
        let others = (0..50).filter(|n| admitted(&quota, 0, &format!("2001:db8:0:{:x}::1", n + 1), 1) == 1);
        assert!(others.count() > 25);
    }

    #[test]
    fn zero_is_no_bound() {
        assert_eq!(admitted(&Quota::new(0), 0, "192.0.2.1", 1000), 1000);
    }
}
