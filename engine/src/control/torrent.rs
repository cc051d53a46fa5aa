//! One torrent of the session: what the user wants of it, what the shards do with it, what is known of it.

use super::snapshot::{PeerStatus, TorrentState, TorrentStatus, TrackerStatus};
use crate::shard::publish::TorrentSample;
use crate::shard::registry::TorrentEntry;
use crate::storage::SpeedLimit;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::Layout;
use ringseed_proto::units::PieceIndex;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// What happens once all shards have let go of a torrent.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// It stays paused.
    Pause,
    /// It runs again.
    Run,
    /// Its files are hashed, then it runs, or is paused when it was.
    Check {
        /// Whether it runs afterwards.
        run: bool,
    },
    /// It stays stopped by this error.
    Fail(String),
    /// It is forgotten.
    Remove,
}

/// What the shards do with a torrent.
#[derive(Debug, Clone, PartialEq)]
pub enum Activity {
    /// Nothing; the user paused it.
    Paused,
    /// Nothing; this error stopped it.
    Failed(String),
    /// Its home shard hashes its files.
    Checking {
        /// Whether it runs afterwards.
        run: bool,
        /// Pieces hashed.
        done: u32,
    },
    /// They serve it, and its home shard downloads what is missing.
    Running,
    /// They let go of it.
    Stopping {
        /// Shards that have not answered yet.
        waiting: Vec<usize>,
        /// What comes then.
        next: Next,
    },
}

/// A torrent of the session.
pub struct Torrent {
    /// Number for the RPC.
    pub id: u32,
    /// What the shards share of it.
    pub entry: Arc<TorrentEntry>,
    /// What happens with it.
    pub activity: Activity,
    /// Pieces on disk.
    pub have: Arc<Bitfield>,
    /// Directory its files are below.
    pub data_dir: PathBuf,
    /// Payload bytes sent in earlier runs.
    pub uploaded_before: u64,
    /// Payload bytes received in earlier runs.
    pub downloaded_before: u64,
    /// When it was added.
    pub added_at: SystemTime,
    /// When it was finished.
    pub finished_at: Option<SystemTime>,
    /// Ratio at which it is paused.
    pub seed_ratio: Option<f64>,
    /// Limit of its upload, as the user set it; the entry has what holds.
    pub upload_limit: SpeedLimit,
    /// Limit of its download, as the user set it; the entry has what holds.
    pub download_limit: SpeedLimit,
    /// Its files changed since they were entered in the resume store, and were not hashed since.
    pub unchecked: bool,
    /// Peers that the user named.
    pub known_peers: Vec<SocketAddr>,
    /// What each shard published of it last.
    pub samples: Vec<Option<TorrentSample>>,
    /// Its status as last published; `None` when it has changed since.
    pub status: Option<Arc<TorrentStatus>>,
}

impl Torrent {
    /// Payload bytes sent over all runs.
    pub fn uploaded(&self) -> u64 {
        self.uploaded_before + self.entry.uploaded.load(Ordering::Relaxed)
    }

    /// Payload bytes received over all runs.
    pub fn downloaded(&self) -> u64 {
        self.downloaded_before + self.entry.downloaded.load(Ordering::Relaxed)
    }

    /// Whether anything was sent or received in this run.
    pub fn has_moved(&self) -> bool {
        self.uploaded() > self.uploaded_before || self.downloaded() > self.downloaded_before
    }

    /// Whether it runs, is complete, and has sent as much as the user wants it to.
    pub fn has_reached_ratio(&self) -> bool {
        self.seed_ratio.is_some_and(|ratio| {
            let size = self.entry.content.info.layout.total_length;
            let base = if self.downloaded() > 0 { self.downloaded() } else { size };
            self.activity == Activity::Running
                && self.have.is_full()
                && self.uploaded() as f64 >= ratio * base as f64
        })
    }

    /// Whether the user wants it to run.
    pub fn wanted_running(&self) -> bool {
        match &self.activity {
            Activity::Paused | Activity::Failed(_) => false,
            Activity::Running => true,
            Activity::Checking { run, .. } => *run,
            Activity::Stopping { next, .. } => matches!(next, Next::Run | Next::Check { run: true }),
        }
    }

    /// Lets the limits and the order of pieces hold in the entry, where the shards see them.
    pub fn apply_wishes(&self, sequential: bool) {
        self.entry.upload_limit.set(self.upload_limit.effective());
        self.entry.download_limit.set(self.download_limit.effective());
        self.entry.sequential.store(sequential, Ordering::Relaxed);
    }

    /// Takes over what is on disk.
    pub fn set_have(&mut self, have: Bitfield) {
        self.entry.left.store(missing_bytes(&self.entry.content.info.layout, &have), Ordering::Relaxed);
        self.have = Arc::new(have);
        self.status = None;
    }

    /// Takes over what a shard published; `None` when it has no peers there.
    pub fn set_sample(&mut self, shard: usize, sample: Option<TorrentSample>) {
        if let Some(have) = sample.as_ref().and_then(|sample| sample.have.as_ref()) {
            self.have = have.clone();
            self.entry.left.store(missing_bytes(&self.entry.content.info.layout, have), Ordering::Relaxed);
        }
        if sample.is_some() || self.samples[shard].is_some() {
            self.status = None;
        }
        self.samples[shard] = sample;
    }

    /// Its status for snapshots.
    pub fn status(&mut self, trackers: impl FnOnce() -> Vec<TrackerStatus>) -> Arc<TorrentStatus> {
        if let Some(status) = &self.status {
            return status.clone();
        }
        let status = Arc::new(self.build_status(trackers()));
        self.status = Some(status.clone());
        status
    }

    fn build_status(&self, trackers: Vec<TrackerStatus>) -> TorrentStatus {
        let layout = &self.entry.content.info.layout;
        let left = self.entry.left.load(Ordering::Relaxed);
        let state = match &self.activity {
            Activity::Paused => TorrentState::Paused,
            Activity::Stopping { next: Next::Pause | Next::Remove, .. } => TorrentState::Paused,
            Activity::Stopping { next: Next::Fail(reason), .. } | Activity::Failed(reason) => {
                TorrentState::Failed(reason.clone())
            }
            Activity::Checking { done, .. } => {
                TorrentState::Checking(*done as f32 / layout.piece_count().max(1) as f32)
            }
            Activity::Stopping { next: Next::Check { .. }, .. } => TorrentState::Checking(0.0),
            Activity::Running | Activity::Stopping { .. } if left == 0 => TorrentState::Seeding,
            Activity::Running | Activity::Stopping { .. } => TorrentState::Downloading,
        };
        let samples = || self.samples.iter().flatten();
        let peers: Vec<PeerStatus> = samples().flat_map(|sample| sample.peers.iter().cloned()).collect();
        TorrentStatus {
            id: self.id,
            metainfo: self.entry.metainfo.clone(),
            data_dir: self.data_dir.clone(),
            state,
            have: self.have.clone(),
            left,
            wanted: layout.total_length,
            downloaded: self.downloaded(),
            uploaded: self.uploaded(),
            download_rate: samples().map(|sample| sample.stats.download_rate).sum(),
            upload_rate: samples().map(|sample| sample.stats.upload_rate).sum(),
            wasted: samples().map(|sample| sample.stats.wasted).sum(),
            added_at: self.added_at,
            finished_at: self.finished_at,
            seeds: samples().map(|sample| sample.stats.seeds).sum(),
            peers,
            trackers,
            seed_ratio: self.seed_ratio,
            upload_limit: self.upload_limit,
            download_limit: self.download_limit,
            sequential: self.entry.sequential.load(Ordering::Relaxed),
        }
    }
}

/// Bytes of the pieces that are not in `have`.
pub fn missing_bytes(layout: &Layout, have: &Bitfield) -> u64 {
    if have.is_full() {
        return 0;
    }
    let present: u64 = have.iter_ones().map(|piece| u64::from(layout.piece_len(PieceIndex(piece)))).sum();
    layout.total_length.saturating_sub(present)
}
