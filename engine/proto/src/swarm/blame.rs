//! What a piece's hash says about those who sent it.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::PeerKey;
use super::event::{Action, DisconnectReason};
use super::evidence::WrongCopy;
use super::limits::{FAILED_PIECES_SHOWN_MAX, REFUSED_FIRST, REFUSED_LAST, REFUSED_PIECES_MAX};
use super::machine::{Role, Swarm};
use super::peer::{Peer, Refused};
use crate::hash::BlockDigest;
use crate::units::{PieceIndex, Time};

impl Swarm {
    /// Whether a copy of this piece came wrong before, so that its blocks tell who sent it so: then
    /// [`Swarm::piece_verified`] wants their digests, as it always does for a piece that is wrong.
    #[must_use]
    pub fn compares_blocks(&self, piece: PieceIndex) -> bool {
        self.evidence.holds(piece)
    }

    /// The hash of a piece named by [`Action::PieceReady`] is known: right, or `Err` with the hash of what came. Then its
    /// blocks are wanted again and its senders come under suspicion or are banned. `blocks`: what
    /// [`block_digests`](crate::hash::block_digests) says of it, when it is wrong or its blocks are
    /// [compared](Swarm::compares_blocks); without them a bad sender is found later.
    pub fn piece_verified(
        &mut self,
        now: Time,
        piece: PieceIndex,
        found: Result<(), [u8; 20]>,
        blocks: &[BlockDigest],
    ) {
        let Role::Leeching(picker) = &mut self.role else { return };
        let from = if found.is_err() { picker.senders_of_blocks(piece) } else { Vec::new() };
        let Some(senders) = picker.verified(now, piece, found.is_ok()) else { return };
        let hosts: SmallVec<[IpAddr; 4]> = senders.iter().map(|&(_, address)| address).collect();
        let mut addresses = hosts.clone();
        addresses.sort_unstable();
        addresses.dedup();
        match found {
            Ok(()) => {
                for verdict in self.evidence.judge(piece, blocks) {
                    let bans = self.suspicion.proven(now, piece, &verdict);
                    bans.into_iter().for_each(|address| self.ban(address));
                }
                self.suspicion.passed(piece, &addresses);
            }
            Err(digest) => {
                self.totals.hash_fails += 1;
                self.totals.wasted += u64::from(self.content.info.layout.piece_len(piece));
                if !from.is_empty() && from.len() == blocks.len() {
                    let blocks = blocks.iter().copied().zip(from);
                    self.evidence.keep(WrongCopy::new(piece, digest, hosts, blocks));
                }
                // Of several connections of one address the bad one is known when one has sent the piece alone.
                let is_known = addresses.len() > 1 || senders.len() == 1;
                if is_known && let Some(address) = self.suspicion.failed(now, piece, digest, &addresses) {
                    self.ban(address);
                }
                if let [(only, _)] = senders[..] {
                    self.refuse_piece(now, only, piece);
                }
            }
        }
        self.pump_starved(now);
    }

    /// The caller does not have a piece named by [`Action::PieceReady`]: its blocks are wanted again, and nobody is to
    /// blame.
    pub fn piece_missing(&mut self, now: Time, piece: PieceIndex) {
        let Role::Leeching(picker) = &mut self.role else { return };
        if picker.verified(now, piece, false).is_some() {
            self.pump_starved(now);
        }
    }

    /// The connection is not asked for this piece for a while: it has sent it wrong, alone.
    fn refuse_piece(&mut self, now: Time, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let refused = &mut peer.down.refused;
        let known = refused.iter().position(|refused| refused.piece == piece);
        let times = known.map_or(0, |at| refused[at].times);
        let wait = match self.suspicion.is_wrong(piece) {
            true => REFUSED_LAST,
            false => (REFUSED_FIRST * (1 << times.min(8))).min(REFUSED_LAST),
        };
        let refusal = Refused { piece, until: now + wait, times: times + 1 };
        match known {
            Some(at) => refused[at] = refusal,
            None if refused.len() < REFUSED_PIECES_MAX => refused.push(refusal),
            None => {}
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

    /// A piece that cannot be had for now: every peer that has it has sent it wrong. `None` when there is none, and when its
    /// hash seems to be wrong.
    #[must_use]
    pub fn only_wrong(&self) -> Option<PieceIndex> {
        let Role::Leeching(picker) = &self.role else { return None };
        let is_wrong = |peer: &Peer, piece: PieceIndex, hosts: &[IpAddr]| {
            hosts.contains(&peer.host()) || peer.down.refused.iter().any(|refused| refused.piece == piece)
        };
        let failed = self.suspicion.sent_wrong().take(FAILED_PIECES_SHOWN_MAX);
        let mut failed = failed.filter(|(piece, _)| picker.wants(piece.0));
        let only_wrong = failed.find(|(piece, hosts)| {
            let mut having = self.peers.values().filter(|peer| !peer.closing && peer.have.get(piece.0));
            having.all(|peer| is_wrong(peer, *piece, hosts))
        });
        only_wrong.map(|(piece, _)| piece)
    }

    /// Whether an address is banned, or a piece came wrong that nobody has sent right since.
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
