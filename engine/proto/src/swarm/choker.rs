//! Who may request: the policy, without the peers.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::PeerKey;
use super::config::UploadSlots;
use super::fairness::Turns;
use super::limits::{OPTIMISTIC, SEED_QUOTA, SEED_TURN_MIN, SLOT_RATE, SLOTS_START};
use super::rng::Rng;
use crate::units::Time;

/// An interested peer, as the policy sees it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) key: PeerKey,
    /// Its canonical address.
    pub(super) address: IpAddr,
    pub(super) unchoked: bool,
    pub(super) optimistic: bool,
    /// Bytes it gave us in the last 20 seconds.
    pub(super) received: u64,
    /// Bytes we gave it in the last 20 seconds.
    pub(super) sent: u64,
    /// Bytes we gave it since it was unchoked.
    pub(super) given: u64,
    pub(super) unchoked_at: Time,
    pub(super) waiting_since: Time,
    pub(super) connected: Time,
    pub(super) snubbed: bool,
}

/// The class of a peer that has a slot of a seed and takes nothing.
const IDLE: u8 = 3;

/// Orders `candidates` so that the first `slots` are those to unchoke, the optimistic ones marked.
/// `rotate` says that the time of the optimistic ones is over.
pub(super) fn rank_leeching(
    candidates: &mut [Candidate],
    slots: usize,
    rotate: bool,
    now: Time,
    rng: &mut Rng,
) {
    candidates.sort_by_key(|peer| (peer.snubbed, Reverse(peer.received), peer.waiting_since, peer.key));
    let optimistic = (slots / 5).max(1).min(slots);
    let regular = slots - optimistic;
    if candidates.len() <= slots {
        candidates.iter_mut().for_each(|peer| peer.optimistic = false);
        return;
    }
    // Who gives gets, whatever its address; among the others addresses take turns.
    let earned = candidates.iter().take_while(|peer| !peer.snubbed && peer.received > 0).count().min(regular);
    let mut turns = Turns::new(slots);
    candidates[..earned].iter().for_each(|peer| _ = turns.next(peer.address));
    turns.arrange(&mut candidates[earned..], |peer| peer.address, |peer, turn| (peer.snubbed, turn));
    let mut turns = Turns::new(slots);
    candidates[..regular].iter().for_each(|peer| _ = turns.next(peer.address));
    let rest = &mut candidates[regular..];
    // Who earned no regular slot draws for the optimistic ones; new peers have nothing to give yet and
    // get three tickets (BEP 3). Until the rotation those that have one keep it.
    let mut tickets: Vec<u64> = Vec::with_capacity(rest.len());
    for peer in rest.iter() {
        let new = now.saturating_since(peer.connected) < OPTIMISTIC * 2;
        let draws = if new { 3 } else { 1 };
        let best = (0..draws).map(|_| rng.next() >> 1).max().unwrap_or(0);
        tickets.push(if peer.optimistic && !rotate { u64::MAX } else { best });
    }
    let mut order: Vec<usize> = (0..rest.len()).collect();
    order.sort_by_key(|&at| Reverse(tickets[at]));
    turns.arrange(&mut order, |&at| rest[at].address, |_, turn| turn);
    let mut ranked: Vec<Candidate> = order.iter().map(|&at| rest[at].clone()).collect();
    for (at, peer) in ranked.iter_mut().enumerate() {
        peer.optimistic = at < optimistic;
    }
    rest.clone_from_slice(&ranked);
    candidates[..regular].iter_mut().for_each(|peer| peer.optimistic = false);
}

/// As [`rank_leeching`] for a seed: two thirds of the slots go round, each peer keeping its slot until it
/// got its share; the rest goes to those that take fastest.
pub(super) fn rank_seeding(candidates: &mut [Candidate], slots: usize, now: Time) {
    candidates.iter_mut().for_each(|peer| peer.optimistic = false);
    if candidates.len() <= slots {
        return;
    }
    candidates.sort_by_key(|peer| (Reverse(peer.sent), peer.waiting_since, peer.key));
    let fastest = slots / 3;
    let class_of = |peer: &Candidate| {
        let turn = now.saturating_since(peer.unchoked_at);
        let idle = peer.unchoked && turn >= SEED_TURN_MIN && peer.sent == 0;
        let served = peer.unchoked && turn >= SEED_TURN_MIN && peer.given >= SEED_QUOTA;
        let class = match (peer.unchoked, idle, served) {
            (_, true, _) => IDLE,
            (_, _, true) => 2,
            (true, ..) => 0,
            (false, ..) => 1,
        };
        let since = if peer.unchoked { peer.unchoked_at } else { peer.waiting_since };
        (class, since, peer.key)
    };
    candidates[fastest..].sort_by_key(class_of);
    // Addresses take turns; who takes nothing comes after all others.
    let mut turns = Turns::new(slots);
    candidates[..fastest].iter().for_each(|peer| _ = turns.next(peer.address));
    let rest = &mut candidates[fastest..];
    turns.arrange(rest, |peer| peer.address, |peer, turn| (class_of(peer).0 == IDLE, turn));
}

/// How many slots there are.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    setting: UploadSlots,
    auto: usize,
    /// Upload rate and slots before the last growth.
    before: Option<(u64, usize)>,
    peak: u64,
    hold_until: Time,
}

impl Slots {
    pub(super) fn new(setting: UploadSlots) -> Slots {
        Slots { setting, auto: SLOTS_START, before: None, peak: 0, hold_until: Time::ZERO }
    }

    pub(super) fn count(&self) -> usize {
        match self.setting {
            UploadSlots::Auto => self.auto,
            UploadSlots::Fixed(count) => count,
        }
    }

    /// As many slots as `rate`, in bytes per second, pays for at [`SLOT_RATE`] each, at once: hundreds of peers
    /// at a fast link would otherwise wait for many rounds of [`Slots::measure`]. Never fewer than before.
    pub(super) fn earn(&mut self, rate: u64) {
        let paid = usize::try_from(rate / SLOT_RATE).unwrap_or(usize::MAX);
        if paid > self.auto {
            self.auto = paid;
            self.before = None;
        }
    }

    /// At each rechoke: `rate` is what we upload at present in bytes per second, `waiting` how many
    /// interested peers have no slot. More slots are tried as long as that brings more, and whenever the
    /// unchoked peers leave a tenth of what was once measured unused.
    pub(super) fn measure(&mut self, now: Time, rate: u64, waiting: usize) {
        self.peak = rate.max(self.peak - self.peak / 100);
        if waiting == 0 {
            self.before = None;
            return;
        }
        let unused = rate < self.peak - self.peak / 10;
        let paid = self.before.is_none_or(|(before, _)| rate > before + before / 33);
        if !paid && !unused && now >= self.hold_until {
            // The last growth brought nothing: take it back and try again in a while.
            if let Some((_, slots)) = self.before.take() {
                let paid = usize::try_from(rate / SLOT_RATE).unwrap_or(usize::MAX);
                self.auto = slots.max(SLOTS_START).max(paid);
            }
            self.hold_until = now + OPTIMISTIC * 4;
        } else if unused || now >= self.hold_until {
            self.before = Some((rate, self.auto));
            self.auto += (self.auto / 4).max(4).min(waiting.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slotmap::SlotMap;

    use super::*;

    fn candidates(count: usize) -> Vec<Candidate> {
        let mut keys: SlotMap<PeerKey, ()> = SlotMap::with_key();
        (0..count)
            .map(|n| Candidate {
                key: keys.insert(()),
                address: [10, 0, n as u8, 1].into(),
                unchoked: false,
                optimistic: false,
                received: 0,
                sent: 0,
                given: 0,
                unchoked_at: Time::ZERO,
                waiting_since: Time(n as u64),
                connected: Time::ZERO,
                snubbed: false,
            })
            .collect()
    }

    #[test]
    fn tit_for_tat_rewards_those_who_give() {
        let mut peers = candidates(20);
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.received = if n % 2 == 0 { 1000 + n as u64 } else { 0 };
        }
        peers[18].snubbed = true;
        let now = Time::ZERO + Duration::from_secs(300);
        rank_leeching(&mut peers, 10, true, now, &mut Rng::new(5));
        assert!(peers[..8].iter().all(|peer| peer.received > 0 && !peer.snubbed && !peer.optimistic));
        assert_eq!(peers.iter().filter(|peer| peer.optimistic).count(), 2);
        assert!(peers[8].optimistic && peers[9].optimistic);
    }

    #[test]
    fn optimistic_slots_stay_until_they_rotate_and_reach_everybody() {
        let mut peers = candidates(12);
        let mut rng = Rng::new(9);
        let now = Time::ZERO + Duration::from_secs(300);
        let mut lucky = std::collections::HashSet::new();
        for round in 0..200 {
            rank_leeching(&mut peers, 5, round % 3 == 0, now, &mut rng);
            let chosen = peers[4].key;
            assert!(peers[4].optimistic);
            lucky.insert(chosen);
            rank_leeching(&mut peers, 5, false, now, &mut rng);
            assert_eq!(peers[4].key, chosen);
        }
        assert!(lucky.len() >= 8, "only {} peers were ever lucky", lucky.len());
    }

    #[test]
    fn a_seed_gives_everybody_a_turn() {
        let mut peers = candidates(30);
        let mut now = Time::ZERO;
        let mut served = std::collections::HashSet::new();
        for _ in 0..200 {
            now = now + Duration::from_secs(10);
            rank_seeding(&mut peers, 6, now);
            for (rank, peer) in peers.iter_mut().enumerate() {
                let unchoke = rank < 6;
                if unchoke && !peer.unchoked {
                    (peer.unchoked_at, peer.given) = (now, 0);
                } else if !unchoke && peer.unchoked {
                    peer.waiting_since = now;
                }
                peer.unchoked = unchoke;
                peer.sent = if unchoke { 20 << 20 } else { 0 };
                peer.given += peer.sent;
                if unchoke {
                    served.insert(peer.key);
                }
            }
        }
        assert_eq!(served.len(), 30);
    }

    #[test]
    fn a_seed_takes_the_slot_of_one_that_takes_nothing() {
        let mut peers = candidates(4);
        peers[0].unchoked = true;
        let idle = peers[0].key;
        rank_seeding(&mut peers, 2, Time::ZERO + SEED_TURN_MIN);
        assert_eq!(peers[3].key, idle);
    }

    #[test]
    fn many_of_one_address_leave_the_one_of_another_its_slot() {
        let now = Time::ZERO + Duration::from_secs(300);
        for n in [0, 499, 999] {
            let mut peers = candidates(1000);
            peers.iter_mut().for_each(|peer| peer.address = [10, 0, 0, 1].into());
            peers[n].address = [10, 0, 1, 1].into();
            let (other, has) =
                (peers[n].key, |peers: &[Candidate], key| peers.iter().any(|peer| peer.key == key));
            // The others have all the slots, and take something.
            for peer in peers.iter_mut().filter(|peer| peer.key != other).take(50) {
                (peer.unchoked, peer.sent, peer.given) = (true, 1000, 1000);
            }
            let mut seeding = peers.clone();
            rank_seeding(&mut seeding, 50, now);
            assert!(has(&seeding[..50], other));
            for peer in peers.iter_mut().filter(|peer| peer.key != other).take(100) {
                peer.optimistic = true;
            }
            rank_leeching(&mut peers, 50, false, now, &mut Rng::new(3));
            assert!(has(&peers[..50], other));
        }
    }

    #[test]
    fn auto_slots_grow_while_it_pays_and_then_hold() {
        let mut slots = Slots::new(UploadSlots::Auto);
        let mut now = Time::ZERO;
        let capacity = 120;
        for _ in 0..200 {
            now = now + Duration::from_secs(10);
            let rate = 100_000 * slots.count().min(capacity) as u64;
            slots.measure(now, rate, 1000);
        }
        assert!((capacity - 10..=capacity * 2).contains(&slots.count()), "{}", slots.count());
        assert_eq!(Slots::new(UploadSlots::Fixed(3)).count(), 3);
    }

    #[test]
    fn a_fast_link_pays_for_its_slots_at_once() {
        let mut slots = Slots::new(UploadSlots::Auto);
        slots.earn(SLOT_RATE * 700);
        assert_eq!(slots.count(), 700);
        slots.earn(SLOT_RATE);
        assert_eq!(slots.count(), 700, "what was earned stays until a growth that brings nothing");
        // Growth that brings nothing is taken back, but never what the rate pays for.
        let mut now = Time::ZERO;
        for _ in 0..30 {
            now = now + Duration::from_secs(10);
            slots.measure(now, SLOT_RATE * 700, 1000);
            assert!(slots.count() >= 700);
        }
    }
}
