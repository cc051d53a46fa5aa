//! One torrent of the session: what the user wants of it, what the shards do with it, what is known of it.

use super::activity::{Activity, Handling, Next};
use super::pieces::Pieces;
use crate::shard::publish::TorrentSample;
use crate::shard::registry::TorrentEntry;
use ringseed_handle::present_bytes;
use ringseed_handle::{PeerStatus, TorrentState, TorrentStatus, TrackerStatus};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::Layout;
use ringseed_proto::swarm::Priority;
use ringseed_proto::units::PieceIndex;
use ringseed_storage::{FilePriority, FileWork, Look, SpeedLimit, TorrentSettings};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// A torrent of the session.
pub struct Torrent {
    /// Number for the RPC.
    pub id: u32,
    /// What the shards share of it.
    pub entry: Arc<TorrentEntry>,
    /// What happens with it.
    pub activity: Activity,
    /// Its pieces: what is served now, and what may be claimed after a crash.
    pub pieces: Pieces,
    /// Directory its files are below.
    pub data_dir: PathBuf,
    /// Payload bytes sent in earlier runs.
    pub uploaded_before: u64,
    /// Payload bytes received in earlier runs.
    pub downloaded_before: u64,
    /// Payload bytes sent and received when this run began.
    pub run_began_at: (u64, u64),
    /// Payload bytes sent and received that were entered last.
    pub entered: (u64, u64),
    /// When it was added.
    pub added_at: SystemTime,
    /// When it was finished.
    pub finished_at: Option<SystemTime>,
    /// What the user wants of it.
    pub settings: Arc<TorrentSettings>,
    /// When payload moved last, in seconds since 1970; 0 for never.
    pub active_at: u64,
    /// Since when it downloads (false) or seeds (true).
    pub running_since: Option<(Instant, bool)>,
    /// It was started over the head of its queue.
    pub forced: bool,
    /// Limit of its upload, as the user set it; the entry has what holds.
    pub upload_limit: SpeedLimit,
    /// Limit of its download, as the user set it; the entry has what holds.
    pub download_limit: SpeedLimit,
    /// Its files changed since they were entered in the resume store, and were not hashed since.
    pub unchecked: bool,
    /// What went wrong with its files last, though it goes on.
    pub warning: Option<String>,
    /// It is not moved to its last directory by itself any more in this run: that has failed.
    pub stays: bool,
    /// It is queued because another torrent downloads a file that both have.
    pub waits: bool,
    /// Trackers are announced to.
    pub announced: bool,
    /// Peers that the user named.
    pub known_peers: Vec<SocketAddr>,
    /// What shards published of it last, each with the shard's number; nothing of those where it has no peers.
    pub samples: Vec<(usize, TorrentSample)>,
    /// Where it tells that it has changed, and whether it has told that since the session looked there.
    pub changes: Changes,
    /// See `changes`.
    pub listed: bool,
    /// Whether its status as last published is so still.
    pub shown: bool,
    /// What the session counts it as; `None` before it looked.
    pub counted_as: Option<CountedAs>,
}

/// The ids of torrents that have changed, each once, since the session looked.
#[derive(Debug, Clone, Default)]
pub struct Changes(Rc<RefCell<Vec<u32>>>);

impl Changes {
    /// Takes them out.
    pub fn take(&self) -> Vec<u32> {
        self.0.take()
    }
}

/// What a torrent counts as in the lists that the session keeps of torrents (`session/census.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedAs {
    /// Its place in the queue.
    pub place: i64,
    /// Whether all that is wanted of it is here: it is in the queue of seeds then.
    pub seed: bool,
    /// Whether it runs, or waits for a place in its queue.
    pub turn: QueueState,
    /// Whether it waits for another torrent.
    pub waits: bool,
    /// Whether its files are handled, or will be ([`Torrent::is_handled`]).
    pub handled: bool,
    /// Payload bytes sent and received in this run.
    pub moved: (u64, u64),
}

/// What a torrent is to its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueState {
    /// Nothing.
    None,
    /// It runs.
    Runs,
    /// It waits for a place.
    Waits,
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

    /// Payload bytes sent and received in this run.
    pub fn moved(&self) -> (u64, u64) {
        let (uploaded, downloaded) = self.run_began_at;
        (self.uploaded().saturating_sub(uploaded), self.downloaded().saturating_sub(downloaded))
    }

    /// Whether anything was sent or received since that was entered last.
    pub fn has_moved(&self) -> bool {
        (self.uploaded(), self.downloaded()) != self.entered
    }

    /// Whether the user wants it to run.
    pub fn wanted_running(&self) -> bool {
        match &self.activity {
            Activity::Paused | Activity::Failed(_) => false,
            Activity::Running | Activity::Queued => true,
            Activity::Checking { run, .. }
            | Activity::Handling { run, .. }
            | Activity::Missing { run, .. } => *run,
            Activity::Stopping { next, .. } => {
                matches!(
                    next,
                    Next::Miss(_) | Next::Run | Next::Check { run: true } | Next::Handle { run: true, .. }
                )
            }
        }
    }

    /// Whether its files are being moved, renamed or removed, or will be in a moment.
    pub fn is_handled(&self) -> bool {
        matches!(
            self.activity,
            Activity::Handling { .. }
                | Activity::Stopping { next: Next::Handle { .. } | Next::Remove { .. }, .. }
        )
    }

    /// Whether it is being forgotten: nothing begins with it any more.
    pub fn is_leaving(&self) -> bool {
        matches!(self.activity, Activity::Stopping { next: Next::Remove { .. }, .. })
    }

    /// Whether its files are being deleted, or will be in a moment.
    pub fn loses_files(&self) -> bool {
        matches!(self.activity, Activity::Stopping { next: Next::Remove { delete: true }, .. })
    }

    /// Whether their deletion has begun.
    pub fn is_being_deleted(&self) -> bool {
        matches!(&self.activity, Activity::Stopping { waiting, next: Next::Remove { delete: true } } if waiting.is_empty())
    }

    /// The directory that its files go to by themselves once all that is wanted is here.
    pub fn last_directory(&self) -> Option<&PathBuf> {
        self.settings.move_when_done.as_ref().filter(|to| !self.stays && **to != self.data_dir)
    }

    /// Its files are written by somebody else: they are hashed before it runs again.
    pub fn doubt_files(&mut self) {
        self.unchecked = true;
        self.pieces.doubt();
    }

    /// Gives files that are complete the names of complete ones. One that cannot have its name keeps the other, under
    /// which it is found as well.
    pub fn finish_names(&mut self, have: &Bitfield) {
        if let Err(error) = self.entry.store.finish_names(have) {
            tracing::error!(%error, "a complete file cannot be given its name");
            self.warning = Some(format!("a complete file cannot be given its name: {error}"));
            self.touch();
        }
    }

    /// Lets the limits and the order of pieces hold in the entry, where the shards see them.
    pub fn apply_settings(&self, sequential: bool) {
        self.entry.upload_limit.set(self.upload_limit.effective());
        self.entry.download_limit.set(self.download_limit.effective());
        self.entry.sequential.store(sequential, Ordering::Relaxed);
        let peers_max = self.settings.peer_limit.map_or(0, |limit| limit as usize);
        self.entry.peers_max.store(peers_max, Ordering::Relaxed);
        let files = &self.settings.files;
        let priorities = (!files.is_empty()).then(|| Arc::new(files.iter().map(priority).collect()));
        self.entry.priorities.store(priorities);
        self.count_left();
    }

    /// Counts what is missing, of what is wanted and of all.
    pub fn count_left(&self) {
        let layout = &self.entry.content.info.layout;
        let left = missing_bytes(layout, self.pieces.live(), &self.settings.files);
        let missing = if self.settings.files.is_empty() {
            left
        } else {
            missing_bytes(layout, self.pieces.live(), &[])
        };
        self.entry.left.store(left, Ordering::Relaxed);
        self.entry.missing.store(missing, Ordering::Relaxed);
    }

    /// Whether all that is wanted is here.
    pub fn is_done(&self) -> bool {
        self.entry.left.load(Ordering::Relaxed) == 0
    }

    /// Adds the time since the last call to what it has downloaded or seeded, and notes what it does from now on.
    pub fn count_time(&mut self, now: Instant) {
        if let Some((since, seeding)) = self.running_since {
            let seconds = now.duration_since(since).as_secs();
            let kept = since + Duration::from_secs(seconds);
            if seconds > 0 {
                let settings = Arc::make_mut(&mut self.settings);
                let place =
                    if seeding { &mut settings.seconds_seeding } else { &mut settings.seconds_downloading };
                *place += seconds;
            }
            self.running_since = Some((kept, seeding));
        }
        self.running_since = match (&self.activity, self.running_since) {
            (Activity::Running, Some((since, seeding))) if seeding == self.is_done() => {
                Some((since, seeding))
            }
            (Activity::Running, _) => Some((now, self.is_done())),
            _ => None,
        };
    }

    /// Looks whether its data is as it was left, and whether what the user wants of it is there.
    pub fn look(&self) -> Look {
        if self.settings.had_data {
            return self.entry.store.look_for_any();
        }
        let files = &self.settings.files;
        self.entry.store.look(self.pieces.durable(), |file| files.get(file).is_none_or(|wish| wish.wanted))
    }

    /// Its trackers by tier.
    pub fn tiers(&self) -> &[Vec<String>] {
        self.settings.tiers.as_deref().unwrap_or(&self.entry.metainfo.tiers)
    }

    /// Changes what is known of its pieces, and with it what is left.
    pub fn with_pieces<T>(&mut self, change: impl FnOnce(&mut Pieces) -> T) -> T {
        let changed = change(&mut self.pieces);
        self.count_left();
        self.touch();
        changed
    }

    /// Takes over what a shard published; `None` when it has no peers there. `unix` is the time in seconds since 1970.
    pub fn set_sample(&mut self, shard: usize, sample: Option<TorrentSample>, unix: u64) {
        if let Some(have) = sample.as_ref().and_then(|sample| sample.have.as_ref()) {
            self.pieces.publish(have);
            self.count_left();
        }
        let moves = |sample: &TorrentSample| sample.stats.upload_rate + sample.stats.download_rate > 0;
        if sample.as_ref().is_some_and(moves) {
            self.active_at = unix;
        }
        let place = self.samples.iter().position(|(other, _)| *other == shard);
        match (place, sample) {
            (None, None) => return,
            (None, Some(sample)) => self.samples.push((shard, sample)),
            (Some(place), Some(sample)) => self.samples[place].1 = sample,
            (Some(place), None) => {
                self.samples.swap_remove(place);
                // Most torrents have none most of the time.
                self.samples.shrink_to_fit();
            }
        }
        self.touch();
    }

    /// Something of it has changed: it is counted and shown anew. To be called with each change of what
    /// [`Torrent::status`] or [`Torrent::count`] tell.
    pub fn touch(&mut self) {
        self.shown = false;
        if !std::mem::replace(&mut self.listed, true) {
            self.changes.0.borrow_mut().push(self.id);
        }
    }

    /// What it counts as now.
    pub fn count(&self) -> CountedAs {
        CountedAs {
            place: self.settings.queue,
            seed: self.is_done(),
            turn: match self.activity {
                Activity::Running => QueueState::Runs,
                Activity::Queued => QueueState::Waits,
                _ => QueueState::None,
            },
            waits: self.waits,
            handled: self.is_handled(),
            moved: self.moved(),
        }
    }

    /// Its status for snapshots, as of `now`.
    pub fn status(&self, trackers: Vec<TrackerStatus>, now: Instant) -> TorrentStatus {
        let layout = &self.entry.content.info.layout;
        let left = self.entry.left.load(Ordering::Relaxed);
        let state = match &self.activity {
            Activity::Paused => TorrentState::Paused,
            Activity::Queued => TorrentState::Queued,
            // A rename is over in a moment, and is nothing that anybody has to wait for.
            Activity::Handling { run: false, handling: Handling { work: FileWork::Rename(_), .. } }
            | Activity::Stopping {
                next: Next::Handle { work: FileWork::Rename(_), run: false, .. }, ..
            } => TorrentState::Paused,
            Activity::Handling { handling: Handling { work: FileWork::Rename(_), .. }, .. }
            | Activity::Stopping { next: Next::Handle { work: FileWork::Rename(_), .. }, .. }
                if left == 0 =>
            {
                TorrentState::Seeding
            }
            Activity::Handling { handling: Handling { work: FileWork::Rename(_), .. }, .. }
            | Activity::Stopping { next: Next::Handle { work: FileWork::Rename(_), .. }, .. } => {
                TorrentState::Downloading
            }
            Activity::Handling { handling, .. } => TorrentState::Moving(handling.progress.share()),
            Activity::Stopping { next: Next::Handle { .. }, .. } => TorrentState::Moving(0.0),
            // Who takes it for done now would look for its files where they are in a moment no longer.
            Activity::Running if left == 0 && self.last_directory().is_some() => TorrentState::Moving(0.0),
            Activity::Stopping { next: Next::Pause | Next::Remove { .. }, .. } => TorrentState::Paused,
            Activity::Stopping { next: Next::Fail(reason), .. } | Activity::Failed(reason) => {
                TorrentState::Failed(reason.clone())
            }
            Activity::Stopping { next: Next::Miss(reason), .. } | Activity::Missing { reason, .. } => {
                TorrentState::Missing(reason.clone())
            }
            Activity::Checking { done, .. } => {
                TorrentState::Checking(*done as f32 / layout.piece_count().max(1) as f32)
            }
            Activity::Stopping { next: Next::Check { .. }, .. } => TorrentState::Checking(0.0),
            Activity::Running | Activity::Stopping { .. } if left == 0 => TorrentState::Seeding,
            Activity::Running | Activity::Stopping { .. } => TorrentState::Downloading,
        };
        let samples = || self.samples.iter().map(|(_, sample)| sample);
        let peers: Vec<PeerStatus> = samples().flat_map(|sample| sample.peers.iter().cloned()).collect();
        TorrentStatus {
            id: self.id,
            metainfo: self.entry.metainfo.clone(),
            data_dir: self.data_dir.clone(),
            state,
            have: self.pieces.live().clone(),
            left,
            wanted: wanted_bytes(layout, &self.settings.files),
            downloaded: self.downloaded(),
            uploaded: self.uploaded(),
            download_rate: samples().map(|sample| sample.stats.download_rate).sum(),
            upload_rate: samples().map(|sample| sample.stats.upload_rate).sum(),
            wasted: samples().map(|sample| sample.stats.wasted).sum(),
            added_at: self.added_at,
            finished_at: self.finished_at,
            seeds: samples().map(|sample| sample.stats.seeds).sum(),
            peers,
            connected: samples().map(|sample| sample.stats.peers).sum(),
            banned: samples().flat_map(|sample| sample.banned.iter().copied()).collect(),
            warning: self
                .warning
                .clone()
                .or_else(|| samples().find_map(|sample| sample.stats.wrong_hash).map(wrong_hash))
                .or_else(|| samples().find_map(|sample| sample.stats.only_wrong).map(only_wrong)),
            waits_for_memory: samples().any(|sample| sample.stats.waits_for_memory),
            trackers,
            settings: self.settings.clone(),
            forced: self.forced,
            active_at: self.active_at,
            changed_at: now,
            running_since: self.running_since.map(|(since, _)| since),
            upload_limit: self.upload_limit,
            download_limit: self.download_limit,
            sequential: self.entry.sequential.load(Ordering::Relaxed),
        }
    }
}

/// What is said of a piece that no source has as the torrent describes it.
fn wrong_hash(piece: PieceIndex) -> String {
    format!(
        "piece {piece} cannot be downloaded: several peers have sent the same data, and its hash is not the one in the \
         torrent file, so the torrent file seems to be wrong; the other pieces go on"
    )
}

/// What is said of a piece that no peer has right.
fn only_wrong(piece: PieceIndex) -> String {
    format!(
        "piece {piece} cannot be downloaded for now: every peer that has it has sent wrong data; it is tried again now and \
         then, and the other pieces go on"
    )
}

/// Bytes of the wanted files that are in no piece of `have`; `files` empty means all are wanted.
pub fn missing_bytes(layout: &Layout, have: &Bitfield, files: &[FilePriority]) -> u64 {
    if have.is_full() {
        return 0;
    }
    if files.is_empty() {
        let present: u64 = have.iter_ones().map(|piece| u64::from(layout.piece_len(PieceIndex(piece)))).sum();
        return layout.total_length.saturating_sub(present);
    }
    let wanted =
        layout.files.iter().enumerate().zip(files).filter(|((_, file), wish)| wish.wanted && !file.padding);
    wanted.map(|((index, file), _)| file.length - present_bytes(layout, have, index)).sum()
}

/// Bytes of the wanted files.
fn wanted_bytes(layout: &Layout, files: &[FilePriority]) -> u64 {
    if files.is_empty() {
        return layout.total_length;
    }
    layout.files.iter().zip(files).filter(|(_, wish)| wish.wanted).map(|(file, _)| file.length).sum()
}

/// A file's wish as swarms know it.
fn priority(wish: &FilePriority) -> Priority {
    match (wish.wanted, wish.priority) {
        (false, _) => Priority::Skip,
        (true, ..0) => Priority::Low,
        (true, 0) => Priority::Normal,
        (true, 1..) => Priority::High,
    }
}
