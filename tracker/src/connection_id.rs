//! UDP connection ids without a table: they prove that the client receives at the address it sends from.
//!
//! An id is 4 bytes of the second in which it was given and 4 bytes of a keyed hash over that second and the
//! client's address. The key is the operating system's randomness and lives as long as the process.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use ringseed_proto::units::Time;

use crate::limits::CONNECTION_ID_LIFETIME_S;

/// Gives connection ids and checks them. Clones share the key, so one worker's ids are good at another's.
#[derive(Clone)]
pub struct ConnectionIds {
    // SipHash-1-3 under a random 128-bit key.
    key: RandomState,
}

impl ConnectionIds {
    /// Ids under a new key.
    pub fn new() -> ConnectionIds {
        ConnectionIds { key: RandomState::new() }
    }

    /// The id for a client at this address, from now on valid for two minutes. `now` counts from the tracker's start.
    pub fn issue(&self, now: Time, client: IpAddr) -> u64 {
        let second = second(now);
        u64::from(second) << 32 | u64::from(self.proof(second, client))
    }

    /// Whether this client was given this id in the last two minutes.
    pub fn is_valid(&self, now: Time, client: IpAddr, id: u64) -> bool {
        let [given, proof] = [(id >> 32) as u32, id as u32];
        // None are from the future: the subtraction wraps to something large.
        let in_time = second(now).wrapping_sub(given) <= CONNECTION_ID_LIFETIME_S;
        // One comparison of all bits, always made: its time says nothing about how many were right.
        let difference = std::hint::black_box(self.proof(given, client) ^ proof);
        in_time & (difference == 0)
    }

    fn proof(&self, second: u32, client: IpAddr) -> u32 {
        let mut hash = self.key.build_hasher();
        hash.write_u32(second);
        match client.to_canonical() {
            IpAddr::V4(ip) => hash.write(&ip.octets()),
            IpAddr::V6(ip) => hash.write(&ip.octets()),
        }
        hash.finish() as u32
    }
}

impl Default for ConnectionIds {
    fn default() -> ConnectionIds {
        ConnectionIds::new()
    }
}

/// Whole seconds; modulo 2^32, which is 136 years.
fn second(time: Time) -> u32 {
    (time.micros() / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::after_epoch(Duration::from_secs(seconds))
    }

    const CLIENTS: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "::1"];

    #[test]
    fn an_id_is_valid_for_two_minutes_and_not_before() {
        let ids = ConnectionIds::new();
        for client in CLIENTS {
            let client = client.parse().unwrap();
            let id = ids.issue(at(1000), client);
            for (now, valid) in [(999, false), (1000, true), (1120, true), (1121, false), (900_000, false)] {
                assert_eq!(ids.is_valid(at(now), client, id), valid, "at {now}");
            }
        }
    }

    #[test]
    fn an_id_is_valid_at_its_address_only() {
        let ids = ConnectionIds::new();
        for from in CLIENTS {
            for to in CLIENTS {
                let id = ids.issue(at(5), from.parse().unwrap());
                assert_eq!(ids.is_valid(at(5), to.parse().unwrap(), id), from == to);
            }
        }
        let mapped = ids.issue(at(5), "::ffff:192.0.2.1".parse().unwrap());
        assert!(ids.is_valid(at(5), "192.0.2.1".parse().unwrap(), mapped), "one client, two kinds of socket");
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let ids = ConnectionIds::new();
        let client = "192.0.2.1".parse().unwrap();
        let id = ids.issue(at(50), client);
        for bit in 0..64 {
            assert!(!ids.is_valid(at(60), client, id ^ 1 << bit), "bit {bit}");
        }
    }

    #[test]
    fn keys_differ_and_clones_agree() {
        let ids = ConnectionIds::new();
        let client = "192.0.2.1".parse().unwrap();
        // Two of 32 bits being equal by chance is once in 10^9; sixteen times over, never.
        let same = (0..16).filter(|&n| ids.issue(at(n), client) == ConnectionIds::new().issue(at(n), client));
        assert!(same.count() < 16);
        assert!(ids.clone().is_valid(at(1), client, ids.issue(at(1), client)));
    }
}
