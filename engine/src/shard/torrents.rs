//! Torrents of a shard: their swarms, and what these ask for.

use super::connections::ConnKey;
use super::grants::RequestGrant;
use super::home::Home;
use super::local::LocalEvent;
use super::message::FromShard;
use super::registry::{TorrentEntry, TorrentPhase};
use super::{Shard, TICK, dialing};
use crate::config::UploadSlots;
use ringseed_net::candidates::Source;
use ringseed_net::shares::Room;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::swarm::{Action, BlockSink, PeerKey, Swarm, SwarmConfig};
use ringseed_proto::units::{Block, PieceIndex, Time};
use ringseed_storage::{PieceBuffers, StorageError};
use slotmap::SecondaryMap;
use std::collections::HashMap;
use std::sync::Arc;

slotmap::new_key_type! {
    /// A torrent of this shard.
    pub struct TorrentKey;
}

/// Where received blocks go.
pub enum Assembly {
    /// Into the buffers of open pieces.
    Open(Box<PieceBuffers>),
    /// Nowhere: the torrent is complete, and its swarm asks for nothing.
    Complete,
}

impl BlockSink for Assembly {
    #[inline]
    fn write(&mut self, piece: PieceIndex, offset_in_piece: u32, data: &[u8]) {
        if let Self::Open(buffers) = self {
            buffers.write(piece, offset_in_piece, data);
        }
    }

    fn discard(&mut self, piece: PieceIndex) {
        if let Self::Open(buffers) = self {
            buffers.discard(piece);
        }
    }
}

/// A torrent as one shard has it.
pub struct ShardTorrent {
    pub entry: Arc<TorrentEntry>,
    pub swarm: Swarm,
    pub assembly: Assembly,
    /// Connections by peer.
    pub peers: SecondaryMap<PeerKey, ConnKey>,
    /// Parts of pieces being brought in or about to be, with the peers that wait for them.
    pub cold: HashMap<Block, Vec<PeerKey>>,
    pub home: Option<Home>,
    /// Connections that may make room for others.
    pub(super) room: Room<ConnKey>,
    /// Dials under way.
    pub dials: usize,
    /// Of those, dials to addresses that peers told.
    pub told_dials: usize,
    /// Connections and pieces at the last publication.
    pub published_peers: usize,
    pub published_have: Option<u32>,
    /// Whether it is in the shard's list of torrents with work.
    pub touched: bool,
    /// When it comes up among the shard's timers.
    pub armed: Option<Time>,
    /// Bytes already added to the entry's totals.
    pub counted: (u64, u64),
    /// What holds its requests back.
    pub(super) grant: RequestGrant,
}

impl ShardTorrent {
    /// Whether the home shard has pieces that it did not publish.
    pub fn home_changed(&self) -> bool {
        self.home.is_some() && self.published_have != Some(self.swarm.have().count_ones())
    }

    /// When something of it happens by time.
    pub fn due(&self, now: Time) -> Option<Time> {
        let downloads = !self.peers.is_empty() && !self.swarm.is_complete();
        let at_home = self.home.as_ref().map(|home| [home.checkpoint_due(), home.dial_due()]);
        let times = [self.swarm.next_timeout(), downloads.then(|| now + TICK)];
        times.into_iter().chain(at_home.into_iter().flatten()).flatten().min()
    }

    /// Whether a complete torrent has nothing here that a new one would not have, and nothing under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.assembly, Assembly::Complete)
            && !self.touched
            && self.peers.is_empty()
            && self.cold.is_empty()
            && self.dials == 0
            && self.published_peers == 0
            && !self.home_changed()
            && self.home.as_ref().is_none_or(Home::is_idle)
    }
}

impl Shard {
    /// The shard's own part of `entry`, made on first use when it is complete.
    pub(super) fn torrent_for(&mut self, entry: &Arc<TorrentEntry>) -> Option<TorrentKey> {
        if let Some(key) = self.by_id.get(&entry.id()) {
            return Some(*key);
        }
        if entry.phase() != TorrentPhase::Seeding {
            return None;
        }
        let count = entry.content.info.layout.piece_count();
        let home = (entry.home == self.context.index).then(|| Home::new(self.now, None));
        Some(self.insert_torrent(entry.clone(), Bitfield::full(count), home))
    }

    fn insert_torrent(&mut self, entry: Arc<TorrentEntry>, have: Bitfield, home: Option<Home>) -> TorrentKey {
        let settings = &self.context.settings;
        let config = SwarmConfig {
            upload_slots: match settings.upload_slots {
                UploadSlots::Auto => ringseed_proto::swarm::UploadSlots::Auto,
                UploadSlots::Fixed(slots) => ringseed_proto::swarm::UploadSlots::Fixed(slots as usize),
            },
            peers_max: settings.connections_max,
            open_piece_bytes_max: settings.open_piece_bytes_max,
            memory: Some(entry.store.limits().piece_memory().clone()),
            sequential: entry.sequential.load(std::sync::atomic::Ordering::Relaxed),
            listen_port: Some(self.context.listen_port),
            peer_id: Some(self.context.peer_id),
            client_version: format!("Ringseed {}", env!("CARGO_PKG_VERSION")),
            ..SwarmConfig::default()
        };
        let assembly = if have.is_full() {
            Assembly::Complete
        } else {
            let memory = entry.store.limits().piece_memory().clone();
            Assembly::Open(Box::new(PieceBuffers::new(entry.content.info.clone(), memory)))
        };
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut swarm = Swarm::new(config, entry.content.clone(), have, self.seed, self.now);
        if let Some(priorities) = entry.priorities.load_full() {
            swarm.set_file_priorities(self.now, &priorities);
        }
        let torrent_id = entry.id();
        let key = self.torrents.insert(ShardTorrent {
            entry,
            swarm,
            assembly,
            peers: SecondaryMap::new(),
            cold: HashMap::new(),
            home,
            room: Room::default(),
            dials: 0,
            told_dials: 0,
            published_peers: 0,
            published_have: None,
            touched: false,
            armed: None,
            counted: (0, 0),
            grant: RequestGrant::Unlimited,
        });
        self.by_id.insert(torrent_id, key);
        self.touch(key);
        key
    }

    /// Becomes home to a torrent: serves it when `have` is full, downloads the rest otherwise. Its phase is as the session
    /// has set it: by now it may be stopped again.
    pub(super) fn start_torrent(&mut self, entry: Arc<TorrentEntry>, have: Bitfield) {
        if self.by_id.contains_key(&entry.id()) {
            return;
        }
        let complete = have.is_full();
        let home = Home::new(self.now, (!complete).then(|| have.clone()));
        self.insert_torrent(entry, have, Some(home));
    }

    /// Closes the connections of torrents and forgets them. What has no part here is reported at once.
    pub(super) fn stop_torrents(&mut self, torrents: &[TorrentId]) {
        self.checks.cancel(|torrent| torrents.contains(&torrent.id()));
        let mut gone = Vec::with_capacity(torrents.len());
        for torrent_id in torrents {
            match self.by_id.get(torrent_id).copied() {
                Some(key) => self.stop_torrent(key),
                None => gone.push((*torrent_id, None)),
            }
        }
        if !gone.is_empty() {
            self.report(FromShard::Stopped { shard: self.context.index, torrents: gone });
        }
    }

    /// Closes a torrent's connections and forgets it; the home shard reports its durable pieces first.
    pub(super) fn stop_torrent(&mut self, key: TorrentKey) {
        for connection in self.torrents[key].peers.values().copied().collect::<Vec<_>>() {
            self.close(connection);
        }
        self.count_totals(key);
        let torrent = &mut self.torrents[key];
        let unsettled =
            torrent.home.as_ref().is_some_and(|home| home.unsaved || home.syncing || home.writes > 0);
        if unsettled {
            self.stopping.insert(key);
            self.settle(key);
        } else {
            self.forget(key);
        }
    }

    /// Goes on stopping a torrent: pieces being written, then the fdatasync, then the report.
    pub(super) fn settle(&mut self, key: TorrentKey) {
        let Some(torrent) = self.torrents.get(key) else { return };
        let Some(home) = &torrent.home else { return };
        if home.writes > 0 || home.syncing {
            return;
        }
        if home.unsaved {
            self.checkpoint(key);
        } else {
            self.forget(key);
        }
    }

    /// Ends a torrent here, and reports what is durable of it: what a failed fdatasync left in doubt is not.
    fn forget(&mut self, key: TorrentKey) {
        self.stopping.remove(&key);
        if self.torrents.contains_key(key) {
            self.count_totals(key);
        }
        if let Some(torrent) = self.torrents.remove(key) {
            let torrent_id = torrent.entry.id();
            self.by_id.remove(&torrent_id);
            let durable = torrent.home.as_ref().and_then(|home| home.durable(&torrent.entry.store));
            let torrents = vec![(torrent_id, durable)];
            self.report(FromShard::Stopped { shard: self.context.index, torrents });
        }
    }

    /// Puts a torrent on the list of those with work in this turn.
    pub(super) fn touch(&mut self, key: TorrentKey) {
        if let Some(torrent) = self.torrents.get_mut(key)
            && !torrent.touched
        {
            torrent.touched = true;
            self.touched.push(key);
        }
    }

    /// Does what a torrent's swarm asks for, then sends what its peers are to be told.
    pub(super) fn serve(&mut self, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        torrent.touched = false;
        self.grant_requests(key, false);
        while let Some(action) = self.torrents.get_mut(key).and_then(|torrent| torrent.swarm.poll_action()) {
            self.act(key, action);
        }
        if let Some(ShardTorrent { swarm, assembly: Assembly::Open(buffers), .. }) = self.torrents.get(key) {
            buffers.check_invariants(|| swarm.open_in_sink());
        }
        if self.torrents.contains_key(key) {
            self.transmit_ready(key);
        }
        let now = self.now;
        if let Some(torrent) = self.torrents.get_mut(key)
            && let Some(due) = torrent.due(now)
        {
            self.timers.arm(key, due, &mut torrent.armed);
        }
    }

    /// Does what is due by time.
    pub(super) fn timers_due(&mut self) {
        while let Some((at, key)) = self.timers.pop(self.now) {
            let Some(torrent) = self.torrents.get_mut(key).filter(|torrent| torrent.armed == Some(at)) else {
                continue;
            };
            torrent.armed = None;
            torrent.swarm.handle_timeout(self.now);
            let checkpoint = torrent.home.as_ref().and_then(Home::checkpoint_due);
            self.grant_requests(key, true);
            if checkpoint.is_some_and(|due| due <= self.now) {
                self.checkpoint(key);
            }
            dialing::dial(self, key);
            self.touch(key);
        }
    }

    fn act(&mut self, key: TorrentKey, action: Action) {
        match action {
            Action::Disconnect { peer, reason } => {
                if let Some(connection) = self.torrents[key].peers.get(peer).copied() {
                    self.refuse(connection, &reason.to_string());
                }
            }
            Action::PieceReady(piece) => self.piece_ready(key, piece),
            Action::PieceDropped(piece) => self.torrents[key].assembly.discard(piece),
            Action::Completed => self.look_at_finished(key),
            Action::PexPeers { from, addrs } => {
                if let Some(home) = &mut self.torrents[key].home {
                    home.candidates.learn(Source::Peer(from), addrs, self.now);
                }
            }
            Action::MetadataWanted => {
                let (shard, torrent_id) = (self.context.index, self.torrents[key].entry.id());
                self.report(FromShard::MetadataWanted { shard, torrent_id });
            }
            Action::Banned(address) => {
                let torrent = self.torrents[key].entry.id();
                tracing::info!(%address, %torrent, "banned a peer that sent pieces with a wrong hash");
                self.counters.bans += 1;
            }
        }
    }

    /// The info dictionary that a swarm asked for.
    pub(super) fn provide_metadata(&mut self, torrent_id: &TorrentId, bytes: Option<Arc<[u8]>>) {
        if let Some(key) = self.by_id.get(torrent_id).copied() {
            self.torrents[key].swarm.provide_metadata(bytes);
            self.touch(key);
        }
    }

    /// What tasks have reported.
    pub(super) fn on_local(&mut self, event: LocalEvent) {
        match event {
            LocalEvent::Hashed(pieces) => pieces.into_iter().for_each(|hashed| self.hashed(hashed)),
            LocalEvent::PieceWritten { torrent, piece, result } => self.piece_written(torrent, piece, result),
            LocalEvent::Synced { torrent, have, result } => self.synced(torrent, have, result),
            LocalEvent::Finished { torrent, result } => self.looked_at_finished(torrent, result),
            LocalEvent::BroughtIn { torrent, part, result } => self.brought_in(torrent, part, result),
            LocalEvent::Checked { check, result } => self.checked(&check, result),
            LocalEvent::Dialled { torrent, address, told, result } => {
                self.on_dialled(torrent, address, told, result);
            }
        }
    }

    /// Looks whether files that are served or downloaded were truncated, deleted, replaced or changed by somebody.
    pub(super) fn check_files(&mut self) {
        let in_use = |torrent: &ShardTorrent| match torrent.entry.phase() {
            TorrentPhase::Stopped => false,
            TorrentPhase::Downloading => torrent.home.is_some(),
            TorrentPhase::Seeding => !torrent.peers.is_empty(),
        };
        let keys: Vec<TorrentKey> =
            self.torrents.iter().filter(|(_, torrent)| in_use(torrent)).map(|(key, _)| key).collect();
        for key in keys {
            if let Some(error) = self.torrents[key].entry.store.check_in_use().into_iter().next() {
                self.fail_torrent(key, error);
            }
        }
    }

    /// Stops a torrent that cannot go on and says why. Others go on.
    pub(super) fn fail_torrent(&mut self, key: TorrentKey, error: StorageError) {
        let Some(torrent) = self.torrents.get(key) else { return };
        if torrent.entry.phase() == TorrentPhase::Stopped {
            return; // it failed before, or is being stopped
        }
        torrent.entry.set_phase(TorrentPhase::Stopped);
        let torrent_id = torrent.entry.id();
        tracing::warn!(torrent = %torrent_id, %error, "torrent stopped by an error");
        for connection in torrent.peers.values().copied().collect::<Vec<_>>() {
            self.close(connection);
        }
        self.report(FromShard::Failed(torrent_id, error));
    }

    /// Takes over what changed in a torrent's entry and its swarm has a copy of.
    pub(super) fn entry_changed(&mut self, torrent_id: &TorrentId) {
        let Some(key) = self.by_id.get(torrent_id).copied() else { return };
        let torrent = &mut self.torrents[key];
        torrent.swarm.set_sequential(torrent.entry.sequential.load(std::sync::atomic::Ordering::Relaxed));
        let priorities = torrent.entry.priorities.load_full();
        torrent.swarm.set_file_priorities(self.now, priorities.as_ref().map_or(&[], |list| list.as_slice()));
        // Files that are wanted again make a finished download one that can finish again.
        if let Some(home) = &mut torrent.home
            && !torrent.swarm.is_finished()
        {
            home.completed = false;
        }
        self.touch(key);
    }

    /// Adds the bytes that moved since the last call to the torrent's totals.
    pub(super) fn count_totals(&mut self, key: TorrentKey) {
        use std::sync::atomic::Ordering::Relaxed;
        let torrent = &mut self.torrents[key];
        let moved = torrent.swarm.moved();
        let (uploaded, downloaded) = std::mem::replace(&mut torrent.counted, moved);
        torrent.entry.uploaded.fetch_add(moved.0 - uploaded, Relaxed);
        torrent.entry.downloaded.fetch_add(moved.1 - downloaded, Relaxed);
    }

    /// How many connections a torrent may have: downloads keep to their limit, a complete torrent serves
    /// whoever comes.
    pub(super) fn connections_per_torrent(&self, entry: &TorrentEntry) -> usize {
        match entry.phase() {
            TorrentPhase::Seeding => self.context.settings.connections_max,
            _ => match entry.peers_max.load(std::sync::atomic::Ordering::Relaxed) {
                0 => self.context.settings.torrent_connections_max,
                own => own,
            },
        }
    }
}
