//! What the engine tells about itself: immutable snapshots, built on the control thread from what the
//! shards publish, read by anyone without disturbing either.

use crate::Chunked;
use crate::Torrents;
use crate::{BannedPeer, PeerStatus, ShardStatus};
use crate::{ShareRatio, verified_bytes};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{SessionSettings, ShareLimitMode, SpeedLimit, TorrentSettings};
pub use ringseed_storage::{StorageStatus, Totals};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What a torrent is doing.
#[derive(Debug, Clone, PartialEq)]
pub enum TorrentState {
    /// Paused by the user.
    Paused,
    /// Waits for a place in its queue.
    Queued,
    /// Its files are being moved; progress from 0.0 to 1.0.
    Moving(f32),
    /// Files are being hashed; progress from 0.0 to 1.0.
    Checking(f32),
    /// Pieces are missing and being fetched.
    Downloading,
    /// All wanted pieces are here.
    Seeding,
    /// Stopped by an error; the text names what is wrong and what to do.
    Failed(String),
    /// Stopped because data that it had is not there; the text names what is missing and what to do. Nothing is fetched
    /// before the user says so.
    Missing(String),
}

impl TorrentState {
    /// Names of the states, for metrics.
    pub const NAMES: [&str; 8] =
        ["paused", "checking", "downloading", "seeding", "failed", "queued", "moving", "missing"];

    /// Its place in [`TorrentState::NAMES`].
    pub fn place(&self) -> usize {
        match self {
            TorrentState::Paused => 0,
            TorrentState::Checking(_) => 1,
            TorrentState::Downloading => 2,
            TorrentState::Seeding => 3,
            TorrentState::Failed(_) => 4,
            TorrentState::Queued => 5,
            TorrentState::Moving(_) => 6,
            TorrentState::Missing(_) => 7,
        }
    }

    /// Why it is stopped by itself, when it is.
    pub fn error(&self) -> Option<&str> {
        match self {
            TorrentState::Failed(reason) | TorrentState::Missing(reason) => Some(reason),
            _ => None,
        }
    }
}

/// One tracker of a torrent.
#[derive(Debug, Clone)]
pub struct TrackerStatus {
    /// Announce URL.
    pub url: String,
    /// Tier, from 0 (BEP 12).
    pub tier: usize,
    /// What the last announce ended with; empty before the first.
    pub last_result: String,
    /// Whether the last announce succeeded.
    pub ok: bool,
    /// Seeders the tracker reported.
    pub seeders: Option<u32>,
    /// Leechers the tracker reported.
    pub leechers: Option<u32>,
    /// Peers in its last answer.
    pub peers: Option<u32>,
    /// When the next announce is due.
    pub next_announce: Option<SystemTime>,
    /// When the last announce was sent.
    pub last_announce: Option<SystemTime>,
}

impl TrackerStatus {
    /// A tracker that was not announced to yet.
    pub fn unknown(url: &str, tier: usize) -> Self {
        Self {
            url: url.to_owned(),
            tier,
            last_result: String::new(),
            ok: false,
            seeders: None,
            leechers: None,
            peers: None,
            next_announce: None,
            last_announce: None,
        }
    }
}

/// One torrent.
#[derive(Debug, Clone)]
pub struct TorrentStatus {
    /// Number for the RPC, unique while the engine runs.
    pub id: u32,
    /// The metainfo it was added with.
    pub metainfo: Arc<Metainfo>,
    /// Directory its files are below now.
    pub data_dir: PathBuf,
    /// What it is doing.
    pub state: TorrentState,
    /// Pieces that are verified and on disk.
    pub have: Arc<Bitfield>,
    /// Bytes still wanted.
    pub left: u64,
    /// Bytes wanted in all (files that are not skipped).
    pub wanted: u64,
    /// Payload bytes received, over all runs.
    pub downloaded: u64,
    /// Payload bytes sent, over all runs.
    pub uploaded: u64,
    /// Payload bytes per second received.
    pub download_rate: u64,
    /// Payload bytes per second sent.
    pub upload_rate: u64,
    /// Bytes of pieces that failed their hash, and of blocks received twice.
    pub wasted: u64,
    /// When it was added.
    pub added_at: SystemTime,
    /// When it was finished, if it was.
    pub finished_at: Option<SystemTime>,
    /// Connected peers that have everything.
    pub seeds: u32,
    /// Connected peers: more than are listed when there are many.
    pub connected: u32,
    /// Connected peers, of each shard the first 500.
    pub peers: Vec<PeerStatus>,
    /// Addresses that are banned from it for wrong data.
    pub banned: Vec<BannedPeer>,
    /// What is wrong although it goes on: a piece whose hash in the torrent seems to be wrong.
    pub warning: Option<String>,
    /// Whether it can begin no piece before other torrents have given memory back.
    pub waits_for_memory: bool,
    /// Its trackers.
    pub trackers: Vec<TrackerStatus>,
    /// What the user wants of it.
    pub settings: Arc<TorrentSettings>,
    /// Whether it was started over the head of its queue.
    pub forced: bool,
    /// When payload moved last, in seconds since 1970; 0 for never.
    pub active_at: u64,
    /// When anything of it changed last.
    pub changed_at: Instant,
    /// Since when the times in its settings go on.
    pub running_since: Option<Instant>,
    /// Limit of its upload.
    pub upload_limit: SpeedLimit,
    /// Limit of its download.
    pub download_limit: SpeedLimit,
    /// Whether pieces are fetched in order.
    pub sequential: bool,
}

impl TorrentStatus {
    /// What it is called in the engine.
    pub fn torrent_id(&self) -> TorrentId {
        self.metainfo.id()
    }

    /// The directory that its files are for: that which they go to when they are complete, if they are elsewhere.
    pub fn download_dir(&self) -> &Path {
        self.settings.move_when_done.as_ref().unwrap_or(&self.data_dir)
    }

    /// Where its files are being moved to.
    pub fn moving_to(&self) -> Option<&Path> {
        match (&self.state, &self.settings.file_work) {
            (TorrentState::Moving(_), Some(work)) => work.directory().map(PathBuf::as_path),
            _ => None,
        }
    }

    /// Its trackers by tier.
    pub fn tiers(&self) -> &[Vec<String>] {
        self.settings.tiers.as_deref().unwrap_or(&self.metainfo.tiers)
    }

    /// Seconds it has downloaded and seeded.
    pub fn seconds(&self) -> (u64, u64) {
        let more = self.running_since.map_or(0, |since| since.elapsed().as_secs());
        let (downloading, seeding) = (self.settings.seconds_downloading, self.settings.seconds_seeding);
        match self.left {
            0 => (downloading, seeding + more),
            _ => (downloading + more, seeding),
        }
    }

    /// Whether it is a stopped seed that has reached a share limit: its ratio, or one of idling or of time that stopped it.
    pub fn is_finished(&self, settings: &SessionSettings) -> bool {
        matches!(self.state, TorrentState::Paused)
            && self.left == 0
            && (self.settings.limit_reached
                || self.ratio_limit(settings).is_some_and(|goal| self.ratio().reaches(goal)))
    }

    /// The ratio at which it stops seeding.
    pub fn ratio_limit(&self, settings: &SessionSettings) -> Option<f64> {
        match self.settings.ratio_mode {
            ShareLimitMode::Session => settings.ratio_on.then_some(settings.ratio),
            ShareLimitMode::Own => Some(self.settings.ratio),
            ShareLimitMode::Never => None,
        }
    }

    /// Its share ratio.
    pub fn ratio(&self) -> ShareRatio {
        ShareRatio::new(self.uploaded, self.downloaded, self.verified())
    }

    /// Bytes of it in verified pieces.
    pub fn verified(&self) -> u64 {
        verified_bytes(&self.metainfo.info.layout, &self.have)
    }

    /// Minutes without upload after which it stops seeding.
    pub fn idle_goal(&self, settings: &SessionSettings) -> Option<u32> {
        match self.settings.idle_mode {
            ShareLimitMode::Session => settings.idle.get(),
            ShareLimitMode::Own => Some(self.settings.idle_minutes),
            ShareLimitMode::Never => None,
        }
    }

    /// Share of the wanted bytes that is here, 0.0 to 1.0.
    pub fn progress(&self) -> f64 {
        if self.wanted == 0 { 1.0 } else { 1.0 - self.left as f64 / self.wanted as f64 }
    }
}

/// Limits of the whole engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineLimits {
    /// Of all uploads together.
    pub upload: SpeedLimit,
    /// Of all downloads together.
    pub download: SpeedLimit,
}

/// The whole engine at one moment.
#[derive(Debug, Clone, Default)]
pub struct EngineSnapshot {
    /// All torrents by ascending id.
    pub torrents: Torrents,
    /// Open peer connections.
    pub connections: usize,
    /// Whether every torrent of the resume store is loaded.
    pub ready: bool,
    /// Why nothing can be sent or received, when that is so.
    pub trouble: Option<Arc<str>>,
    /// Why nothing can be stored at the moment, when the resume store cannot be used.
    pub store_trouble: Option<Arc<str>>,
    /// The limits as they were set; alternative ones hold over them when they are on.
    pub limits: EngineLimits,
    /// What was done in this run, also for torrents that are gone.
    pub run: Totals,
    /// What was done over all runs.
    pub all_runs: Totals,
    /// Rules of the blocklist that is loaded.
    pub blocklist_rules: usize,
    /// What the user wants of the session.
    pub settings: Arc<SessionSettings>,
    /// Torrents removed lately, oldest first, with when that was.
    pub removed: Arc<Vec<(Instant, u32)>>,
    /// All torrents in the order of the queue: [`TorrentSettings::queue`] and the id.
    pub queue: Chunked<(i64, u32)>,
    /// What each shard did since it started.
    pub shards: Vec<ShardStatus>,
    /// What was read and written.
    pub storage: StorageStatus,
}
