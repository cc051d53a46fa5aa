//! What a session tells others: snapshots made of its torrents and of what the shards publish.

use super::super::activity::Activity;
use super::Session;
use crate::shard::publish::ShardSnapshot;
use ringseed_handle::{EngineSnapshot, ShardStatus, TrackerStatus};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Session {
    /// Takes over what a shard published last, when that is new.
    pub(super) fn take_published(&mut self, shard: usize) {
        let published = self.parts.published[shard].load_full();
        if published.sequence == self.sequences[shard] {
            return;
        }
        self.sequences[shard] = published.sequence;
        // Connections in no swarm change nothing of a torrent, and are to be told of as well.
        let around = (published.under_way, published.counters.handshakes);
        self.dirty |= std::mem::replace(&mut self.around[shard], around) != around;
        self.take_samples(shard, &published);
    }

    fn take_samples(&mut self, shard: usize, published: &ShardSnapshot) {
        let unix = self.parts.clock.unix();
        let mut now = HashSet::with_capacity(published.torrents.len());
        for sample in &published.torrents {
            let Some(id) = self.ids.get(&sample.torrent_id) else { continue };
            let Some(torrent) = self.torrents.get_mut(id) else { continue };
            torrent.set_sample(shard, Some(sample.clone()), unix);
            now.insert(*id);
        }
        let before = std::mem::replace(&mut self.sampled[shard], now);
        for id in before.difference(&self.sampled[shard]) {
            if let Some(torrent) = self.torrents.get_mut(id) {
                torrent.set_sample(shard, None, unix);
            }
        }
        self.dirty |= !(before.is_empty() && self.sampled[shard].is_empty());
        for (torrent_id, hashed) in &published.verifying {
            if let Some(torrent) = self.ids.get(torrent_id).and_then(|id| self.torrents.get_mut(id))
                && let Activity::Checking { done, .. } = &mut torrent.activity
            {
                // Shards publish one after the other what they all have hashed.
                *done = (*hashed).max(*done);
                torrent.touch();
                self.dirty = true;
            }
        }
    }

    /// Publishes what the session is now.
    pub(super) fn make_snapshot(&mut self) {
        self.take_changes();
        let now = self.now();
        for id in self.census.take_unshown() {
            let Some(torrent) = self.torrents.get_mut(&id).filter(|torrent| !torrent.is_leaving()) else {
                self.shown.remove(id);
                continue;
            };
            if std::mem::replace(&mut torrent.shown, true) {
                continue;
            }
            let trackers = self.parts.trackers.status(torrent.entry.id());
            self.shown
                .insert(Arc::new(torrent.status(trackers.into_iter().map(tracker_status).collect(), now)));
        }
        let (run, all_runs) = self.totals();
        let snapshot = EngineSnapshot {
            run,
            all_runs,
            connections: self.parts.connections.load(Ordering::Relaxed),
            ready: !self.loading,
            trouble: self.trouble.clone(),
            store_trouble: self.store_trouble(),
            limits: self.limits,
            blocklist_rules: self.blocklist.as_ref().map_or(0, |list| list.rules()),
            settings: self.settings.clone(),
            queue: self.census.order.clone(),
            removed: self.removed.clone(),
            shards: self
                .parts
                .published
                .iter()
                .map(|published| ShardStatus::from(&**published.load()))
                .collect(),
            storage: self.parts.store_limits.status(),
            torrents: self.shown.clone(),
        };
        self.parts.snapshot.store(Arc::new(snapshot));
        self.parts.changed.send_modify(|version| *version += 1);
    }
}

/// What is told of a tracker.
fn tracker_status(state: ringseed_announce::TrackerState) -> TrackerStatus {
    TrackerStatus {
        url: state.url,
        tier: state.tier,
        last_result: state.last_result,
        ok: state.ok,
        seeders: state.seeders,
        leechers: state.leechers,
        peers: state.peers,
        next_announce: state.next_announce,
        last_announce: state.last_announce,
    }
}
