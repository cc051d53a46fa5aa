//! What a session tells others: snapshots made of its torrents and of what the shards publish.

use super::super::snapshot::{EngineSnapshot, ShardStatus, TrackerStatus};
use super::super::torrent::{Activity, Next};
use super::Session;
use crate::shard::publish::ShardSnapshot;
use ringseed_proto::units::InfoHash;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Session {
    /// Takes over what a shard published.
    pub(super) fn take_samples(&mut self, shard: usize, published: &ShardSnapshot) {
        let mut sampled: HashMap<InfoHash, _> =
            published.torrents.iter().map(|sample| (sample.info_hash, sample)).collect();
        for torrent in self.torrents.values_mut() {
            let sample = sampled.remove(&torrent.entry.info_hash()).cloned();
            if sample.is_some() || torrent.samples[shard].is_some() {
                torrent.set_sample(shard, sample);
                self.dirty = true;
            }
        }
        for (info_hash, hashed) in &published.verifying {
            if let Some(torrent) = self.ids.get(info_hash).and_then(|id| self.torrents.get_mut(id))
                && let Activity::Checking { done, .. } = &mut torrent.activity
            {
                *done = *hashed;
                torrent.status = None;
                self.dirty = true;
            }
        }
    }

    /// Publishes what the session is now.
    pub(super) fn make_snapshot(&mut self) {
        let announcer = &self.parts.announcer;
        let torrents: Vec<_> = self
            .torrents
            .values_mut()
            .filter(|torrent| !matches!(torrent.activity, Activity::Stopping { next: Next::Remove, .. }))
            .map(|torrent| {
                let info_hash = torrent.entry.info_hash();
                torrent.status(|| announcer.status(info_hash).into_iter().map(TrackerStatus::from).collect())
            })
            .collect();
        let snapshot = EngineSnapshot {
            download_rate: torrents.iter().map(|torrent| torrent.download_rate).sum(),
            upload_rate: torrents.iter().map(|torrent| torrent.upload_rate).sum(),
            connections: self.parts.connections.load(Ordering::Relaxed),
            ready: true,
            limits: self.limits,
            shards: self
                .parts
                .published
                .iter()
                .map(|published| ShardStatus::from(&**published.load()))
                .collect(),
            storage: self.parts.store_limits.status(),
            torrents,
        };
        self.parts.snapshot.store(Arc::new(snapshot));
        self.parts.changed.send_modify(|version| *version += 1);
    }
}
