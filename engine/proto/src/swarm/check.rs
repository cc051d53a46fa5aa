//! What must hold between any two calls.

use super::machine::{Role, Swarm};
use super::peer::Peer;

impl Swarm {
    /// Checks everything that must hold between two calls, at a cost far above that of any call; does
    /// nothing without `debug_assertions`.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let unchoked = self.peers.values().filter(|peer| !peer.up.am_choking).count();
        assert_eq!(unchoked, self.unchoked);
        for (key, peer) in &self.peers {
            let queued = self.ready.iter().filter(|&&other| other == key).count();
            assert_eq!(queued, usize::from(peer.queued), "a peer is queued once or not at all");
            assert!(peer.up.requests.len() <= self.config.incoming_requests_max as usize);
            assert!(peer.up.haves_told <= self.stored_log.len());
            assert!(peer.up.requests.iter().all(|block| self.have.get(block.piece.0)));
        }
        match &self.role {
            Role::Seeding => assert!(self.have.is_full()),
            Role::Leeching(picker) => {
                picker.check_invariants();
                self.check_counts(picker);
            }
        }
    }

    fn check_counts(&self, picker: &super::picker::Picker) {
        assert_eq!(self.peers.values().filter(|peer| peer.counted_as_seed).count(), picker.seeds as usize);
        let mut owed = 0;
        for peer in self.peers.values() {
            let blocks = peer.down.asked.iter().map(|asked| asked.block);
            let arriving = peer.down.arriving.filter(|arriving| arriving.counted);
            for block in blocks.chain(arriving.map(|arriving| arriving.block)) {
                assert!(picker.owed(&block) > 0, "{block:?} is owed but not counted");
                owed += 1;
            }
            if !peer.closing {
                let wanted = peer.have.iter_ones().filter(|&piece| picker.wants(piece)).count();
                assert_eq!(peer.down.interesting as usize, wanted);
                assert_eq!(peer.down.am_interested, wanted > 0);
            }
        }
        assert_eq!(picker.owed_total(), owed, "the picker counts requests that nobody owes");
        let pieces = self.content.info.layout.piece_count();
        let has = |peer: &&Peer, piece| !peer.counted_as_seed && peer.have.get(piece);
        for piece in (0..pieces).step_by(1 + pieces as usize / 64) {
            let copies = self.peers.values().filter(|peer| has(peer, piece)).count();
            assert_eq!(usize::from(picker.availability(piece)), copies);
        }
        let left = (0..pieces).filter(|&piece| picker.wants(piece));
        let left: u64 = left
            .map(|piece| u64::from(self.content.info.layout.piece_len(crate::units::PieceIndex(piece))))
            .sum();
        assert_eq!(left, self.wanted_left);
    }
}
