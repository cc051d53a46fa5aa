//! What happens by the passing of time: chokes, timeouts, keep-alives, peer exchange.

use std::cmp::Reverse;
use std::net::SocketAddr;

use super::PeerKey;
use super::choker::{Candidate, rank_leeching, rank_seeding};
use super::event::DisconnectReason;
use super::fairness::Turns;
use super::limits::{
    CONTROL_HEAVY, CONTROL_LOOK, KEEP_ALIVE, OPTIMISTIC, RECHOKE, REQUEST_AGE_MAX, SEND_MAX, SILENT_MAX,
    TICK, TICK_IDLE, USELESS_MAX,
};
use super::machine::{Swarm, say_extended};
use super::peer::Peer;
use crate::units::Time;
use crate::wire::Message;
use crate::wire::extension::PexPeer;

/// Times between two ticks that free slots are filled at once; later they wait for the tick.
const REFILLS_MAX: u32 = 64;

impl Swarm {
    /// When [`Swarm::handle_timeout`] wants to be called; `None` when nothing is due ever.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let tick = self.next_tick?;
        Some(if self.waits_for_memory() { tick.min(self.memory_retry) } else { tick })
    }

    /// Does what is due at `now`; harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Time) {
        self.retry_memory(now);
        if self.next_tick.is_none_or(|at| at > now) {
            return;
        }
        let keys: Vec<PeerKey> = self.peers.keys().collect();
        for &key in &keys {
            self.tick_peer(now, key);
        }
        self.drop_useless(now);
        self.bound_talk(now);
        self.suspicion.expire(now);
        self.make_piece_room(now);
        self.exchange_peers(now, &keys);
        self.refills = 0;
        if now >= self.next_rechoke {
            self.rechoke(now);
        } else {
            self.slots.earn(self.totals.up_rate.per_second(now, 1));
            self.fill_free_slots(now);
            self.share_slots(now);
        }
        self.pump_all(now);
        self.queue_all_with_output();
        self.next_tick = if self.peers.is_empty() {
            self.holds_memory().then(|| now + TICK_IDLE)
        } else if self.unchoked > 0 || !self.is_finished() {
            Some(now + TICK)
        } else {
            Some(now + TICK_IDLE)
        };
    }

    fn tick_peer(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else { return };
        if now.saturating_since(peer.last_received) >= SILENT_MAX {
            return self.disconnect(key, DisconnectReason::Silent);
        }
        let stuck = peer.sending_since.is_some_and(|since| now.saturating_since(since) >= SEND_MAX);
        if stuck || peer.control.len() > peer.control_max() {
            return self.disconnect(key, DisconnectReason::NotReading);
        }
        if now.saturating_since(peer.last_sent) >= KEEP_ALIVE && peer.control.is_empty() {
            peer.say(&Message::KeepAlive);
            peer.last_sent = now;
        }
        // In endgame time alone makes blocks available to others.
        peer.down.starved_at = None;
        if !peer.down.is_pending() {
            return;
        }
        let patience = peer.down.pipeline.patience(peer.down.asked.len());
        if now.saturating_since(peer.down.progress) >= patience {
            return self.snub(now, key);
        }
        if let Some(before) = now.micros().checked_sub(REQUEST_AGE_MAX.as_micros() as u64) {
            self.give_up_lost(key, Time(before));
        }
    }

    /// At the peer limit, peers that neither side has any use for make place.
    fn drop_useless(&mut self, now: Time) {
        if self.peers.len() < self.config.peers_max {
            return;
        }
        let useless = |peer: &Peer| peer.useless_since.is_some_and(|since| since + USELESS_MAX <= now);
        let keys: Vec<PeerKey> =
            self.peers.iter().filter(|(_, peer)| useless(peer)).map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.disconnect(key, DisconnectReason::Useless));
    }

    /// Messages that wait, of all swarms together, have a bound: beyond it those go that hold most of it here.
    pub(super) fn bound_talk(&mut self, now: Time) {
        self.control_due = now + CONTROL_LOOK;
        let held = |peer: &Peer| if peer.closing { 0 } else { peer.control_bytes() };
        self.control_share.set(self.peers.values().map(held).sum());
        if !self.control_share.is_over() {
            return;
        }
        let heavy = self.peers.iter().map(|(key, peer)| (held(peer), key));
        let mut heavy: Vec<_> = heavy.filter(|&(bytes, _)| bytes >= CONTROL_HEAVY).collect();
        heavy.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        for (bytes, key) in heavy {
            if !self.control_share.is_over() {
                return;
            }
            self.disconnect(key, DisconnectReason::Heavy);
            self.control_share.set(self.control_share.bytes() - bytes);
        }
    }

    // ---- choking ----

    fn candidates(&self, now: Time) -> Vec<Candidate> {
        let interested = self.peers.iter().filter(|(_, peer)| peer.up.peer_interested && !peer.closing);
        interested
            .map(|(key, peer)| Candidate {
                key,
                address: peer.host(),
                unchoked: !peer.up.am_choking,
                optimistic: peer.up.optimistic,
                received: peer.down.rate.total(now),
                sent: peer.up.rate.total(now),
                given: peer.up.given,
                unchoked_at: peer.up.unchoked_at,
                waiting_since: peer.up.waiting_since,
                connected: peer.connected,
                snubbed: peer.down.snubbed,
            })
            .collect()
    }

    /// Decides anew who may request.
    pub(super) fn rechoke(&mut self, now: Time) {
        self.next_rechoke = now + RECHOKE;
        let mut candidates = self.candidates(now);
        let rate = self.totals.up_rate.per_second(now, 10);
        let waiting = candidates.len().saturating_sub(self.slots.count());
        self.slots.measure(now, rate, waiting);
        let slots = self.slots.count();
        if self.is_finished() {
            rank_seeding(&mut candidates, slots, now);
        } else {
            let rotate = now >= self.next_optimistic;
            if rotate {
                self.next_optimistic = now + OPTIMISTIC;
            }
            rank_leeching(&mut candidates, slots, rotate, now, &mut self.rng);
        }
        let (chosen, rest) = candidates.split_at(slots.min(candidates.len()));
        rest.iter().for_each(|candidate| self.choke(now, candidate.key));
        for candidate in chosen {
            self.peers[candidate.key].up.optimistic = candidate.optimistic;
            self.unchoke(now, candidate.key);
        }
    }

    /// Gives slots that are free to those that wait, at once; to those of addresses with fewest slots first.
    pub(super) fn fill_free_slots(&mut self, now: Time) {
        let free = self.slots.count().saturating_sub(self.unchoked);
        // Peers that take and leave slots all the time must not cost more than so many looks at all peers.
        if free == 0 || self.refills >= REFILLS_MAX {
            return;
        }
        self.refills += 1;
        let seeding = self.is_finished();
        let mut waiting: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.up.am_choking && peer.up.peer_interested && !peer.closing)
            .map(|(key, peer)| {
                let received = if seeding { 0 } else { u64::MAX - peer.down.rate.total(now) };
                (received, peer.up.waiting_since, key, peer.host())
            })
            .collect();
        waiting.sort_unstable();
        if free < waiting.len() {
            let mut turns = Turns::new(self.slots.count());
            let served = self.peers.values().filter(|peer| !peer.up.am_choking && !peer.closing);
            served.for_each(|peer| _ = turns.next(peer.host()));
            turns.arrange(
                &mut waiting,
                |&(.., address)| address,
                // Who gives gets, whatever its address.
                |&(received, ..), turn| (seeding || received == u64::MAX).then_some(turn),
            );
            waiting.truncate(free);
        }
        waiting.into_iter().for_each(|(_, _, key, _)| self.unchoke(now, key));
    }

    /// Between two rounds: addresses that wait and have no slot take one each of those that have most.
    pub(super) fn share_slots(&mut self, now: Time) {
        if self.unchoked < self.slots.count() {
            return;
        }
        let seeding = self.is_finished();
        let mut served: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.up.am_choking && !peer.closing)
            // Who gives us something has earned its slot.
            .map(|(key, peer)| {
                let received = if seeding { 0 } else { peer.down.rate.total(now) };
                (Reverse(received), Reverse(peer.up.rate.total(now)), key, peer.host())
            })
            .collect();
        served.sort_unstable();
        let mut turns = Turns::new(self.slots.count());
        let mut surplus: Vec<_> = served
            .into_iter()
            .filter_map(|(received, sent, key, address)| {
                let (_, turn) = turns.next(address);
                (turn > 0 && received.0 == 0).then_some((Reverse(turn), Reverse(sent), key))
            })
            .collect();
        if surplus.is_empty() {
            return;
        }
        surplus.sort_unstable();
        let waits = |peer: &Peer| peer.up.am_choking && peer.up.peer_interested && !peer.closing;
        let waiting = self.peers.iter().filter(|(_, peer)| waits(peer) && turns.is_new(peer.host()));
        let mut waiting: Vec<_> =
            waiting.map(|(key, peer)| (peer.up.waiting_since, key, peer.host())).collect();
        waiting.sort_unstable();
        waiting.retain(|&(_, _, address)| turns.next(address).1 == 0);
        for ((_, _, from), (_, to, _)) in surplus.into_iter().zip(waiting) {
            self.choke(now, from);
            self.unchoke(now, to);
        }
    }

    // ---- peer exchange ----

    fn exchange_peers(&mut self, now: Time, keys: &[PeerKey]) {
        if !self.exchanges_peers() {
            return;
        }
        let mut shared: Option<Vec<PexPeer>> = None;
        for &key in keys {
            let Some(peer) = self.peers.get(key) else { continue };
            if peer.closing || peer.extensions.ut_pex == 0 || !peer.pex.is_due(now) {
                continue;
            }
            let current = shared.get_or_insert_with(|| shareable(self.peers.values()));
            let peer = &mut self.peers[key];
            let own = listen_addr(peer).unwrap_or(peer.addr);
            if let Some(message) = peer.pex.message(now, current, own) {
                say_extended(&mut peer.control, peer.extensions.ut_pex, |out| message.encode(out));
            }
        }
    }
}

/// Where a peer accepts connections, as far as we know.
fn listen_addr(peer: &Peer) -> Option<SocketAddr> {
    if peer.outgoing {
        return Some(peer.addr);
    }
    let port = peer.extensions.listen_port.filter(|port| *port != 0);
    port.map(|port| SocketAddr::new(peer.addr.ip(), port))
}

fn shareable<'a>(peers: impl Iterator<Item = &'a Peer>) -> Vec<PexPeer> {
    let mut shared: Vec<PexPeer> = peers
        .filter(|peer| !peer.closing && peer.told_pieces)
        .filter_map(|peer| {
            let addr = listen_addr(peer)?;
            Some(PexPeer { addr, seed: peer.is_seed() || peer.upload_only, reachable: peer.outgoing })
        })
        .collect();
    shared.sort_by_key(|peer| peer.addr);
    shared.dedup_by_key(|peer| peer.addr);
    shared
}
