//! What is known of a torrent's pieces: two accounts with two writers.
//!
//! *Live* is what shards publish: pieces that are written and served, shown to users and counted for trackers. *Durable*
//! is what survives a power cut: the home shard reports it after an `fdatasync`, a check finds it, the loader reads it.
//! Only the durable account is ever stored.
//!
//! File stamps (size and time) belong to the durable pieces that they are stored with. They are taken when the files hold
//! just those pieces and nothing is being written; while there is more in the files than the durable account says, none
//! are stored, and the next start hashes the files.

use ringseed_proto::bitfield::Bitfield;
use ringseed_storage::{FileStamp, TorrentStore};
use std::sync::Arc;

/// The pieces of one torrent.
#[derive(Debug, Clone)]
pub struct Pieces {
    live: Arc<Bitfield>,
    durable: Arc<Bitfield>,
    /// The store's count of writes while its files held just the durable pieces; `None` when they hold more, or when
    /// nobody knows.
    settled: Option<u64>,
    /// The count at which the stamps were taken that are in the resume store; `None` when there are none to be trusted.
    stamped: Option<u64>,
    /// The pieces that the last check found may be in memory only.
    unflushed: bool,
}

/// What is to be stored of a torrent's stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StampUpdate {
    /// Those that are stored belong to the durable pieces.
    Keep,
    /// These, taken at this count of writes.
    Set(u64, Vec<FileStamp>),
    /// None: the next start has to hash the files.
    Clear,
}

impl StampUpdate {
    /// What to enter; `None` leaves what there is.
    pub fn stamps(&self) -> Option<&[FileStamp]> {
        match self {
            StampUpdate::Keep => None,
            StampUpdate::Set(_, stamps) => Some(stamps),
            StampUpdate::Clear => Some(&[]),
        }
    }
}

impl Pieces {
    /// Those of a new torrent without any data.
    pub fn none(count: u32) -> Pieces {
        let none = Arc::new(Bitfield::new(count));
        Pieces { live: none.clone(), durable: none, settled: Some(0), stamped: None, unflushed: false }
    }

    /// Those that were stored. `trusted`: the files are as their stored stamps say, or cannot be looked at now.
    pub fn stored(have: Bitfield, trusted: bool) -> Pieces {
        let have = Arc::new(have);
        let count = trusted.then_some(0);
        Pieces { live: have.clone(), durable: have, settled: count, stamped: count, unflushed: false }
    }

    /// Pieces that can be served now.
    pub fn live(&self) -> &Arc<Bitfield> {
        &self.live
    }

    /// Pieces that may be claimed after any crash.
    pub fn durable(&self) -> &Arc<Bitfield> {
        &self.durable
    }

    /// Takes over what a shard published. It may be older than what was reported since: while a torrent runs pieces only
    /// become more.
    pub fn publish(&mut self, live: &Arc<Bitfield>) {
        if live.count_ones() > self.live.count_ones() {
            self.live = live.clone();
        }
    }

    /// Takes over what the home shard has made durable. Gives whether that is anything new to be stored.
    pub fn made_durable(&mut self, pieces: Bitfield, settled: Option<u64>) -> bool {
        let same = *self.durable == pieces;
        if !same {
            self.durable = Arc::new(pieces);
            if self.durable.count_ones() > self.live.count_ones() {
                self.live = self.durable.clone();
            }
        }
        let known = std::mem::replace(&mut self.settled, settled);
        !same || known != settled || (settled.is_some() && self.stamped != settled)
    }

    /// No shard has the torrent any more: what was not made durable does not count.
    pub fn stopped(&mut self) {
        self.live = self.durable.clone();
    }

    /// The files are about to be hashed, or others took their place: nothing vouches for them.
    pub fn doubt(&mut self) {
        self.settled = None;
    }

    /// Takes over what a check found. The files may hold it in memory only, until [`Pieces::flushed`].
    pub fn found(&mut self, pieces: Bitfield) {
        self.durable = Arc::new(pieces);
        self.live = self.durable.clone();
        // The files are known by other stamps now than those that are stored, if a failing store kept any.
        (self.settled, self.stamped, self.unflushed) = (None, None, true);
    }

    /// Whether what the last check found may be in memory only.
    pub fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// What the last check found is on disk; `settled` is the store's count of writes before it was brought there.
    pub fn flushed(&mut self, settled: u64) {
        self.unflushed = false;
        self.settled = self.settled.or(Some(settled));
    }

    /// The same data is behind another store now, which counts its writes from 0; its stamps may be others.
    pub fn reopened(&mut self, old: &TorrentStore) {
        let known = self.settled == Some(old.writes_begun());
        (self.settled, self.stamped) = (known.then_some(0), None);
    }

    /// Whether the stamps that are stored belong to the durable pieces as they are.
    pub fn is_stamped(&self) -> bool {
        self.settled.is_some() && self.stamped == self.settled && !self.unflushed
    }

    /// What is to be stored of the stamps beside the durable pieces.
    pub fn stamp_update(&self, store: &TorrentStore) -> StampUpdate {
        let Some(settled) = self.settled.filter(|_| !self.unflushed) else { return StampUpdate::Clear };
        if self.stamped == Some(settled) {
            return StampUpdate::Keep;
        }
        // A write that begins while stamps are taken makes them worthless.
        let stamps = (store.writes_begun() == settled).then(|| store.stamps());
        match stamps.filter(|_| store.writes_begun() == settled) {
            Some(stamps) => StampUpdate::Set(settled, stamps),
            None => StampUpdate::Clear,
        }
    }

    /// Notes that this is stored by now.
    pub fn note_stored(&mut self, update: &StampUpdate) {
        match update {
            StampUpdate::Keep => {}
            StampUpdate::Set(count, _) => self.stamped = Some(*count),
            StampUpdate::Clear => self.stamped = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(count: u32) -> Bitfield {
        let mut bits = Bitfield::new(10);
        (0..count).for_each(|piece| _ = bits.set(piece));
        bits
    }

    #[test]
    fn what_shards_publish_is_shown_and_never_stored() {
        let mut pieces = Pieces::none(10);
        pieces.made_durable(bits(3), None);
        pieces.publish(&Arc::new(bits(7)));
        assert_eq!((pieces.live().count_ones(), pieces.durable().count_ones()), (7, 3));
    }

    #[test]
    fn what_was_published_before_a_report_does_not_take_it_back() {
        let mut pieces = Pieces::none(10);
        let published = Arc::new(bits(9));
        assert!(pieces.made_durable(Bitfield::full(10), Some(10)));
        pieces.publish(&published);
        assert!(pieces.live().is_full() && pieces.durable().is_full());
    }

    #[test]
    fn a_stop_takes_back_what_was_not_made_durable() {
        let mut pieces = Pieces::none(10);
        pieces.made_durable(bits(3), None);
        pieces.publish(&Arc::new(bits(7)));
        pieces.stopped();
        assert_eq!(pieces.live().count_ones(), 3);
    }

    #[test]
    fn a_report_that_changes_nothing_is_not_stored_again() {
        let mut pieces = Pieces::none(10);
        assert!(pieces.made_durable(bits(3), Some(3)));
        pieces.note_stored(&StampUpdate::Set(3, Vec::new()));
        assert!(!pieces.made_durable(bits(3), Some(3)));
        assert!(
            pieces.made_durable(bits(3), None),
            "something is being written: the stamps are worth nothing"
        );
    }
}
