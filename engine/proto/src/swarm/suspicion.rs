//! Finds out who sends bad data, and whether it is the torrent that is wrong.
//!
//! A piece that one address alone has sent and that has a bad hash is a strike against it. A bad piece of several makes
//! all of them suspects: each then gets pieces of its own, where a bad hash is a strike and good ones clear. Who comes
//! under suspicion again and again has to deliver more good pieces alone each time, so that a sender that corrupts only
//! now and then is found too, and one that is honest never is.
//!
//! When the right piece is known, its blocks say who had sent which of them wrong ([`super::evidence`]): that is a strike,
//! too, and all others of that piece are cleared.
//!
//! Two strikes, or one that confirms a suspicion for another piece, ban an address for an hour. One bad piece alone bans
//! nobody: a seed with one rotten sector has everything else.
//!
//! The same wrong bytes of one piece from two addresses mean that the torrent's hash of it is wrong: that is no strike
//! against either, within bounds.
//!
//! Addresses are hosts: of IPv6 the /64, or a liar would come back with the next of its 2^64 addresses.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use smallvec::SmallVec;

use super::evidence::Verdict;
use super::limits::{
    BAN_TIME, BANNED_MAX, FAILED_PIECES_MAX, FAILED_SENDERS_MAX, PARDONS_MAX, PROBATION_PIECES_MAX,
    SUSPECTS_MAX,
};
use crate::peer_address::host;
use crate::units::{PieceIndex, Time};

/// SHA-1 of what came in place of a piece.
type Digest = [u8; 20];

#[derive(Debug, Clone, Default)]
struct Record {
    /// Good pieces to deliver alone before it is cleared; 0 when it is.
    owes: u32,
    /// Times it came under suspicion.
    times: u32,
    /// The last piece for which it came under suspicion together with others.
    shared: Option<PieceIndex>,
    /// Bad pieces that it sent alone.
    strikes: SmallVec<[(PieceIndex, Digest); 2]>,
    /// Strikes that were taken back since another address had sent the same.
    pardons: u32,
}

impl Record {
    fn convicts(&self) -> bool {
        match self.strikes[..] {
            [] => false,
            [(piece, _)] => self.shared.is_some_and(|shared| shared != piece),
            _ => true,
        }
    }
}

/// Addresses under suspicion and banned ones, and pieces whose hash seems to be wrong.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    records: HashMap<IpAddr, Record>,
    /// Until when each is banned.
    banned: HashMap<IpAddr, Time>,
    /// Who has sent what in place of pieces that one address alone had sent.
    failed: HashMap<PieceIndex, SmallVec<[(IpAddr, Digest); 2]>>,
    /// Pieces of which two addresses have sent the same wrong bytes.
    wrong: BTreeSet<PieceIndex>,
}

impl Suspicion {
    /// A piece of these senders (hosts) had a bad hash, `digest`. Returns the address to ban when that
    /// proves it.
    pub(super) fn failed(
        &mut self,
        now: Time,
        piece: PieceIndex,
        digest: Digest,
        senders: &[IpAddr],
    ) -> Option<IpAddr> {
        if let &[only] = senders {
            return self.failed_alone(now, piece, digest, only);
        }
        for &sender in senders {
            if self.banned.contains_key(&sender) || !self.make_room(sender) {
                continue;
            }
            let record = self.records.entry(sender).or_default();
            record.owes = (1 << record.times.min(16)).min(PROBATION_PIECES_MAX);
            record.times += 1;
            record.shared = Some(piece);
        }
        None
    }

    fn failed_alone(
        &mut self,
        now: Time,
        piece: PieceIndex,
        digest: Digest,
        sender: IpAddr,
    ) -> Option<IpAddr> {
        if self.failed.len() < FAILED_PIECES_MAX || self.failed.contains_key(&piece) {
            let known = self.failed.entry(piece).or_default();
            let counted = known.len() >= FAILED_SENDERS_MAX || known.contains(&(sender, digest));
            if !counted {
                known.push((sender, digest));
            }
            if known.iter().any(|&(other, same)| same == digest && other != sender) {
                let is_new = self.wrong.insert(piece);
                // A piece is pardoned once, however often it is asked for again. What comes when no more senders fit has
                // so many that agree that it counts for none.
                if counted && !is_new {
                    return None;
                }
                return self.pardon(now, piece, digest, sender);
            }
        }
        if !self.make_room(sender) {
            return None;
        }
        self.strike(now, piece, digest, sender)
    }

    fn strike(&mut self, now: Time, piece: PieceIndex, digest: Digest, sender: IpAddr) -> Option<IpAddr> {
        let record = self.records.entry(sender).or_default();
        // The same bytes again prove nothing new: the same rotten sector, or the same wrong hash.
        if !record.strikes.contains(&(piece, digest)) {
            record.strikes.push((piece, digest));
        }
        if !record.convicts() || self.banned.contains_key(&sender) {
            return None;
        }
        record.owes = 0;
        if self.banned.len() >= BANNED_MAX {
            let soonest = self.banned.iter().min_by_key(|(_, until)| **until).map(|(ip, _)| *ip);
            soonest.map(|ip| self.banned.remove(&ip));
        }
        self.banned.insert(sender, now + BAN_TIME);
        Some(sender)
    }

    /// Takes back the strikes for these bytes, and bans that rested on them. An address may be pardoned a few times
    /// only: several that send the same wrong bytes for piece after piece are bad together.
    fn pardon(&mut self, now: Time, piece: PieceIndex, digest: Digest, latest: IpAddr) -> Option<IpAddr> {
        let senders = self.failed.get(&piece).cloned().unwrap_or_default();
        for (sender, _) in senders.into_iter().filter(|&(sender, same)| same == digest && sender != latest) {
            let Some(record) = self.records.get_mut(&sender) else { continue };
            if record.pardons >= PARDONS_MAX {
                continue;
            }
            let before = record.strikes.len();
            record.strikes.retain(|strike| *strike != (piece, digest));
            record.pardons += u32::from(record.strikes.len() < before);
            if !record.convicts() {
                self.banned.remove(&sender);
            }
        }
        if !self.make_room(latest) {
            return None;
        }
        let record = self.records.entry(latest).or_default();
        if record.pardons >= PARDONS_MAX {
            return self.strike(now, piece, digest, latest);
        }
        record.pardons += 1;
        record.strikes.retain(|strike| *strike != (piece, digest));
        None
    }

    /// Whether there is room for a record of this address; forgets cleared ones, and then one of those that owe nothing
    /// and have a single strike: that alone bans nobody, and nothing else would ever clear it.
    fn make_room(&mut self, sender: IpAddr) -> bool {
        if self.records.len() < SUSPECTS_MAX || self.records.contains_key(&sender) {
            return true;
        }
        self.records.retain(|_, record| record.owes > 0 || !record.strikes.is_empty());
        if self.records.len() >= SUSPECTS_MAX {
            let single =
                self.records.iter().find(|(_, record)| record.owes == 0 && record.strikes.len() == 1);
            if let Some(address) = single.map(|(address, _)| *address) {
                self.records.remove(&address);
            }
        }
        self.records.len() < SUSPECTS_MAX
    }

    /// The blocks of a wrong copy of a piece were compared with the right ones. Returns addresses to ban.
    pub(super) fn proven(
        &mut self,
        now: Time,
        piece: PieceIndex,
        verdict: &Verdict,
    ) -> SmallVec<[IpAddr; 4]> {
        for host in &verdict.innocent {
            if let Some(record) = self.records.get_mut(host)
                && record.shared == Some(piece)
            {
                record.shared = None;
                record.owes = 0;
                record.times = record.times.saturating_sub(1);
            }
        }
        let mut bans = SmallVec::new();
        for &host in &verdict.guilty {
            // The same rotten sectors make other bytes of a piece where others have sent some of its blocks.
            let known = self
                .records
                .get(&host)
                .is_some_and(|record| record.strikes.iter().any(|(other, _)| *other == piece));
            if !known && self.make_room(host) {
                bans.extend(self.strike(now, piece, verdict.digest, host));
            }
        }
        bans
    }

    /// A piece of these senders had a good hash.
    pub(super) fn passed(&mut self, piece: PieceIndex, senders: &[IpAddr]) {
        self.failed.remove(&piece);
        self.wrong.remove(&piece);
        if let [only] = senders
            && let Some(record) = self.records.get_mut(only)
        {
            record.owes = record.owes.saturating_sub(1);
        }
    }

    /// Ends bans whose time is over; to be called about once a second.
    pub(super) fn expire(&mut self, now: Time) {
        let records = &mut self.records;
        self.banned.retain(|ip, until| {
            let keep = *until > now;
            if !keep {
                records.remove(ip);
            }
            keep
        });
    }

    #[inline]
    pub(super) fn is_suspect(&self, ip: IpAddr) -> bool {
        !self.records.is_empty() && self.records.get(&host(ip)).is_some_and(|record| record.owes > 0)
    }

    pub(super) fn is_banned(&self, now: Time, ip: IpAddr) -> bool {
        !self.banned.is_empty() && self.banned.get(&host(ip)).is_some_and(|&until| until > now)
    }

    /// Banned addresses, and until when.
    pub(super) fn banned(&self, now: Time) -> impl Iterator<Item = (IpAddr, Time)> + '_ {
        self.banned.iter().map(|(&ip, &until)| (ip, until)).filter(move |&(_, until)| until > now)
    }

    /// Whether there is anything to tell: bans, or pieces that came wrong.
    pub(super) fn blames(&self) -> bool {
        !self.banned.is_empty() || !self.failed.is_empty()
    }

    /// Pieces that came wrong from one host alone and were not right since, with those hosts.
    pub(super) fn sent_wrong(&self) -> impl Iterator<Item = (PieceIndex, SmallVec<[IpAddr; 2]>)> + '_ {
        let failed = self.failed.iter().filter(|(piece, _)| !self.wrong.contains(piece));
        failed.map(|(&piece, senders)| (piece, senders.iter().map(|&(host, _)| host).collect()))
    }

    /// Whether the hash of this piece in the torrent seems to be wrong.
    pub(super) fn is_wrong(&self, piece: PieceIndex) -> bool {
        self.wrong.contains(&piece)
    }

    /// The first piece whose hash in the torrent seems to be wrong.
    pub(super) fn wrong_hash(&self) -> Option<PieceIndex> {
        self.wrong.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000);

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// `senders` had sent bytes of their own in place of a piece.
    fn fail(suspicion: &mut Suspicion, piece: u32, senders: &[IpAddr]) -> Option<IpAddr> {
        let mut digest = [0; 20];
        if let IpAddr::V4(first) = senders[0] {
            digest[0] = first.octets()[3];
        }
        suspicion.failed(NOW, PieceIndex(piece), digest, senders)
    }

    #[test]
    fn one_bad_piece_bans_nobody_and_two_do_for_an_hour() {
        let mut suspicion = Suspicion::default();
        for _ in 0..5 {
            assert_eq!(fail(&mut suspicion, 3, &[ip(1)]), None, "the same rotten sector again");
        }
        assert_eq!(fail(&mut suspicion, 4, &[ip(1)]), Some(ip(1)));
        assert!(suspicion.is_banned(NOW, ip(1)) && !suspicion.is_suspect(ip(1)));
        assert!(suspicion.is_banned(NOW, "::ffff:10.0.0.1".parse().unwrap()), "another form of the same");
        assert!(!suspicion.is_banned(NOW, ip(2)));
        let later = NOW + BAN_TIME;
        assert!(!suspicion.is_banned(later, ip(1)));
        suspicion.expire(later);
        assert_eq!((suspicion.banned(NOW).count(), suspicion.records.len()), (0, 0));
        assert_eq!(fail(&mut suspicion, 5, &[ip(1)]), None, "it begins anew");
    }

    #[test]
    fn other_wrong_bytes_of_the_same_piece_are_another_strike() {
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.failed(NOW, PieceIndex(1), [1; 20], &[ip(1)]), None);
        assert_eq!(suspicion.failed(NOW, PieceIndex(1), [2; 20], &[ip(1)]), Some(ip(1)));
    }

    #[test]
    fn a_wrong_hash_in_the_torrent_bans_nobody() {
        let mut suspicion = Suspicion::default();
        let wrong = |suspicion: &mut Suspicion, piece, sender| {
            suspicion.failed(NOW, PieceIndex(piece), [9; 20], &[sender])
        };
        assert_eq!(suspicion.failed(NOW, PieceIndex(7), [9; 20], &[ip(1), ip(2)]), None);
        assert_eq!((wrong(&mut suspicion, 7, ip(1)), suspicion.wrong_hash()), (None, None));
        for sender in [2, 3, 4] {
            assert_eq!(wrong(&mut suspicion, 7, ip(sender)), None);
            assert_eq!(suspicion.wrong_hash(), Some(PieceIndex(7)));
        }
        assert_eq!(suspicion.banned(NOW).count(), 0);
        // It was not wrong after all.
        suspicion.passed(PieceIndex(7), &[ip(5)]);
        assert_eq!(suspicion.wrong_hash(), None);
    }

    #[test]
    fn seeds_that_send_pieces_with_wrong_hashes_again_and_again_are_not_banned() {
        let mut suspicion = Suspicion::default();
        for _ in 0..3 * PARDONS_MAX {
            for piece in [7, 8] {
                for sender in 1..=FAILED_SENDERS_MAX as u8 + 4 {
                    assert_eq!(suspicion.failed(NOW, PieceIndex(piece), [9; 20], &[ip(sender)]), None);
                }
            }
        }
        assert_eq!(suspicion.banned(NOW).count(), 0);
        assert!(suspicion.is_wrong(PieceIndex(7)) && suspicion.is_wrong(PieceIndex(8)));
    }

    #[test]
    fn a_ban_that_rested_on_a_wrong_hash_is_lifted() {
        let mut suspicion = Suspicion::default();
        assert_eq!(fail(&mut suspicion, 1, &[ip(1), ip(9)]), None);
        assert_eq!(suspicion.failed(NOW, PieceIndex(7), [9; 20], &[ip(1)]), Some(ip(1)));
        assert_eq!(suspicion.failed(NOW, PieceIndex(7), [9; 20], &[ip(2)]), None);
        assert_eq!(suspicion.banned(NOW).count(), 0);
    }

    #[test]
    fn addresses_that_agree_on_piece_after_piece_are_bad_together() {
        let mut suspicion = Suspicion::default();
        for piece in 0..PARDONS_MAX + 3 {
            for sender in [1, 2] {
                suspicion.failed(NOW, PieceIndex(piece), [9; 20], &[ip(sender)]);
            }
        }
        assert!(suspicion.is_banned(NOW, ip(1)) && suspicion.is_banned(NOW, ip(2)));
    }

    #[test]
    fn a_host_of_ipv6_is_banned_with_all_its_addresses() {
        let mut suspicion = Suspicion::default();
        let host = host("2001:db8:1:2::1".parse().unwrap());
        assert_eq!(fail(&mut suspicion, 1, &[host]), None);
        assert_eq!(fail(&mut suspicion, 2, &[host]), Some(host));
        assert!(suspicion.is_banned(NOW, "2001:db8:1:2:3:4:5:6".parse().unwrap()));
        assert!(!suspicion.is_banned(NOW, "2001:db8:1:3::1".parse().unwrap()));
    }

    #[test]
    fn thousands_with_one_bad_piece_each_leave_room_for_new_suspects() {
        let mut suspicion = Suspicion::default();
        let address = |n: u32| IpAddr::from((0x0b00_0000 + n).to_be_bytes());
        for n in 0..SUSPECTS_MAX as u32 {
            assert_eq!(fail(&mut suspicion, n, &[address(n)]), None);
        }
        let bad = address(1 << 20);
        assert_eq!(fail(&mut suspicion, 1, &[bad]), None);
        assert_eq!(fail(&mut suspicion, 2, &[bad]), Some(bad));
        assert!(suspicion.records.len() <= SUSPECTS_MAX);
    }

    #[test]
    fn of_several_only_the_bad_one_is_banned_in_the_end() {
        let mut suspicion = Suspicion::default();
        assert_eq!(fail(&mut suspicion, 1, &[ip(1), ip(2)]), None);
        assert!(suspicion.is_suspect(ip(1)) && suspicion.is_suspect(ip(2)));
        suspicion.passed(PieceIndex(2), &[ip(1), ip(2)]);
        assert!(suspicion.is_suspect(ip(1)), "a shared piece clears nobody");
        suspicion.passed(PieceIndex(3), &[ip(1)]);
        assert!(!suspicion.is_suspect(ip(1)));
        assert_eq!(fail(&mut suspicion, 4, &[ip(2)]), Some(ip(2)), "it confirms the suspicion");
        assert!(!suspicion.is_banned(NOW, ip(1)));
    }

    #[test]
    fn a_sender_whose_block_was_wrong_has_a_strike_and_the_others_are_cleared() {
        let mut suspicion = Suspicion::default();
        for piece in [1, 2] {
            assert_eq!(fail(&mut suspicion, piece, &[ip(1), ip(2)]), None);
            assert!(suspicion.is_suspect(ip(1)) && suspicion.is_suspect(ip(2)));
            let verdict = Verdict {
                digest: [piece as u8; 20],
                guilty: SmallVec::from_slice(&[ip(2)]),
                innocent: SmallVec::from_slice(&[ip(1)]),
            };
            let bans = suspicion.proven(NOW, PieceIndex(piece), &verdict);
            assert_eq!(bans[..], if piece == 1 { vec![] } else { vec![ip(2)] });
            assert!(!suspicion.is_suspect(ip(1)));
        }
        assert_eq!(suspicion.records[&ip(1)].times, 0);
    }

    #[test]
    fn repeated_suspicion_takes_longer_to_clear() {
        let mut suspicion = Suspicion::default();
        for round in 0..8 {
            fail(&mut suspicion, round, &[ip(1), ip(round as u8 + 2)]);
            let mut needed = 0;
            while suspicion.is_suspect(ip(1)) {
                suspicion.passed(PieceIndex(100), &[ip(1)]);
                needed += 1;
            }
            assert_eq!(needed, (1 << round).min(PROBATION_PIECES_MAX));
        }
    }
}
