//! What a piece's hash says about those who sent it.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::PeerKey;
use super::event::{Action, DisconnectReason};
use super::limits::REFUSED_PIECES_MAX;
use super::machine::{Role, Swarm};
use crate::units::{PieceIndex, Time};

impl Swarm {
    /// The hash of a piece named by [`Action::PieceReady`] is known: right, or `Err` with the hash of what came. Then its
    /// blocks are wanted again and its senders come under suspicion or are banned.
    pub fn piece_verified(&mut self, now: Time, piece: PieceIndex, found: Result<(), [u8; 20]>) {
        let Role::Leeching(picker) = &mut self.role else { return };
        let Some(senders) = picker.verified(piece, found.is_ok()) else { return };
        let mut addresses: SmallVec<[IpAddr; 4]> = senders.iter().map(|&(_, address)| address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        match found {
            Ok(()) => self.suspicion.passed(piece, &addresses),
            Err(digest) => {
                self.totals.hash_fails += 1;
                self.totals.wasted += u64::from(self.content.info.layout.piece_len(piece));
                if let [(only, _)] = senders[..] {
                    self.refuse_piece(only, piece);
                }
                // Of several connections of one address the bad one is known when one has sent the piece alone.
                let is_known = addresses.len() > 1 || senders.len() == 1;
                if is_known && let Some(address) = self.suspicion.failed(now, piece, digest, &addresses) {
                    self.ban(address);
                }
            }
        }
        self.pump_starved(now);
    }

    /// The caller does not have a piece named by [`Action::PieceReady`]: its blocks are wanted again, and nobody is to
    /// blame.
    pub fn piece_missing(&mut self, now: Time, piece: PieceIndex) {
        let Role::Leeching(picker) = &mut self.role else { return };
        if picker.verified(piece, false).is_some() {
            self.pump_starved(now);
        }
    }

    /// The connection is not asked for this piece again: it has sent it wrong, alone.
    fn refuse_piece(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let refused = &mut peer.down.refused;
        if refused.len() < REFUSED_PIECES_MAX && !refused.contains(&piece) {
            refused.push(piece);
        }
    }

    fn ban(&mut self, address: IpAddr) {
        self.actions.push_back(Action::Banned(address));
        let same = self.peers.iter().filter(|(_, peer)| peer.host() == address);
        let keys: Vec<PeerKey> = same.map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.disconnect(key, DisconnectReason::Banned));
    }

    /// Whether an address is banned from this torrent: it is neither dialled nor accepted.
    #[must_use]
    pub fn is_banned(&self, now: Time, address: IpAddr) -> bool {
        self.suspicion.is_banned(now, address)
    }

    /// The banned addresses, and until when each is.
    pub fn banned(&self, now: Time) -> impl Iterator<Item = (IpAddr, Time)> + '_ {
        self.suspicion.banned(now)
    }

    /// Whether an address is banned, or the hash of a piece seems to be wrong.
    #[must_use]
    pub fn blames(&self) -> bool {
        self.suspicion.blames()
    }

    /// A piece whose hash in the torrent seems to be wrong: several addresses have sent the same other bytes.
    #[must_use]
    pub fn wrong_hash(&self) -> Option<PieceIndex> {
        self.suspicion.wrong_hash()
    }
}
