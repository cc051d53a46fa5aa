//! How a torrent gets from one activity to another.

use super::super::activity::{Activity, Findings, Next};
use super::{Session, has_data};
use crate::limits::REMOVED_MAX;
use crate::shard::checks::Check;
use crate::shard::message::ToShard;
use crate::shard::registry::TorrentPhase;
use ringseed_announce::{TrackedTorrent, TransferTotals};
use ringseed_handle::EngineError;
use ringseed_handle::REMOVED_LIFE;
use ringseed_net::candidates::Source;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::Look;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Session {
    /// Hashes the files of a torrent that no shard runs.
    pub(super) fn begin_check(&mut self, torrent_id: TorrentId, run: bool) {
        if self.resume_work(torrent_id, run) || !self.make_whole(torrent_id, true, run) {
            return;
        }
        let shards = self.parts.shards.len();
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let check = Check::new(torrent.entry.clone());
        let found = Findings::new(check.clone(), shards);
        torrent.activity = Activity::Checking { run, done: 0, found };
        // Until it is done: a check that a pause ends early has told nothing about the files.
        torrent.unchecked = true;
        torrent.pieces.doubt();
        torrent.touch();
        torrent.entry.store.forgive();
        self.broadcast(|| ToShard::Check(check.clone()));
    }

    /// Starts a torrent that no shard runs: files that nobody vouches for are hashed first. One whose data is missing
    /// stays stopped.
    pub(super) fn begin(&mut self, torrent_id: TorrentId) {
        if self.resume_work(torrent_id, true) {
            return;
        }
        // It may have been completed and then stopped before it was moved.
        if self.is_vouched_for(torrent_id) && !self.move_if_done(torrent_id, true) {
            self.begin_run(torrent_id);
        }
    }

    /// Whether a torrent that no shard runs may run as its files are: otherwise they are being hashed from now on, or it
    /// stays stopped because they are missing.
    fn is_vouched_for(&mut self, torrent_id: TorrentId) -> bool {
        let Some(look) = self.look(torrent_id, true) else { return false };
        let Some(torrent) = self.torrent(&torrent_id) else { return false };
        let vouched = look == Look::AsLeft && !(torrent.unchecked && has_data(&torrent.entry));
        if !vouched {
            self.begin_check(torrent_id, true);
        }
        vouched
    }

    /// Looks at the files of a torrent that no shard runs. `None` when data of it is missing: then it stays stopped.
    /// `run`: whether it runs once the data is back.
    pub(super) fn look(&mut self, torrent_id: TorrentId, run: bool) -> Option<Look> {
        if !self.make_whole(torrent_id, false, run) {
            return None;
        }
        match self.torrent(&torrent_id)?.look() {
            Look::Missing(error) => {
                self.miss(torrent_id, error.to_string(), run);
                None
            }
            look => Some(look),
        }
    }

    /// Lets a torrent that has got its place in a queue run.
    pub(super) fn run_queued(&mut self, torrent_id: TorrentId) {
        if !self.hold_back(torrent_id)
            && self.is_vouched_for(torrent_id)
            && !self.move_if_done(torrent_id, true)
        {
            self.run_now(torrent_id);
        }
    }

    /// Queues a torrent that has to wait for another one that has the same files. Gives whether it has to.
    pub(super) fn hold_back(&mut self, torrent_id: TorrentId) -> bool {
        let waits = self.admit(torrent_id);
        let Some(torrent) = self.torrent(&torrent_id) else { return false };
        let waited = std::mem::replace(&mut torrent.waits, waits.is_some());
        let Some(why) = waits else {
            if waited {
                torrent.warning = None;
            }
            return false;
        };
        torrent.activity = Activity::Queued;
        torrent.warning = Some(why);
        torrent.touch();
        // The other one writes its files meanwhile.
        torrent.doubt_files();
        true
    }

    /// Data of a torrent that no shard runs is missing: it stays stopped, and what was known of it is kept.
    pub(super) fn miss(&mut self, torrent_id: TorrentId, reason: String, run: bool) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        tracing::warn!(torrent = %torrent_id, reason, "data of the torrent is missing");
        torrent.activity = Activity::Missing { reason, run };
        torrent.running_since = None;
        torrent.touch();
    }

    /// An error has ended what was done with a torrent that no shard runs. One that was paused stays that, so that it does
    /// not begin to run at the next start.
    pub(super) fn fail(&mut self, torrent_id: TorrentId, reason: String, run: bool) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.touch();
        if run {
            torrent.activity = Activity::Failed(reason);
        } else {
            torrent.activity = Activity::Paused;
            torrent.warning = Some(reason);
        }
    }

    /// Lets the shards run a torrent that none runs, when its queue has a place for it.
    pub(super) fn begin_run(&mut self, torrent_id: TorrentId) {
        let (downloads, seeds) = (self.settings.download_queue.on, self.settings.seed_queue.on);
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let queued = if torrent.is_done() { seeds } else { downloads };
        if queued && !torrent.forced {
            torrent.activity = Activity::Queued;
            torrent.touch();
            self.queue_due = true;
        } else {
            self.run_now(torrent_id);
        }
    }

    /// Lets the shards run a torrent that none runs.
    pub(super) fn run_now(&mut self, torrent_id: TorrentId) {
        if self.hold_back(torrent_id) {
            return;
        }
        let (now, wall) = (self.now(), self.parts.clock.wall());
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.activity = Activity::Running;
        torrent.touch();
        torrent.count_time(now);
        let id = torrent.id;
        self.share_limits_unsure.insert(id);
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        if torrent.is_done() && torrent.finished_at.is_none() {
            torrent.finished_at = Some(wall);
        }
        if torrent.pieces.durable().is_full() && !torrent.settings.was_whole {
            Arc::make_mut(&mut torrent.settings).was_whole = true;
        }
        let entry = torrent.entry.clone();
        let have = torrent.pieces.durable().clone();
        if let Err(error) = entry.store.create_empty_files(have.is_full()) {
            torrent.activity = Activity::Failed(error.to_string());
            torrent.running_since = None;
            return;
        }
        let known_peers = torrent.known_peers.clone();
        if have.is_full() {
            // Every shard serves it once somebody asks; there is nothing to be told before.
            entry.set_phase(TorrentPhase::Seeding);
        } else {
            entry.set_phase(TorrentPhase::Downloading);
            self.send(entry.home, ToShard::Start { torrent: entry.clone(), have: Bitfield::clone(&have) });
        }
        self.send_peers(torrent_id, Source::User, known_peers);
        if self.torrent(&torrent_id).is_some_and(|torrent| !torrent.announced) {
            self.announce(torrent_id);
        }
    }

    /// Remembers removals for clients that ask what changed lately.
    pub(super) fn note_removals(&mut self, list: &[TorrentId]) {
        let now = self.now();
        let ids: Vec<_> =
            list.iter().filter_map(|torrent_id| Some((now, *self.ids.get(torrent_id)?))).collect();
        let removed = Arc::make_mut(&mut self.removed);
        removed.retain(|(at, _)| now.duration_since(*at) < REMOVED_LIFE);
        removed.extend(ids);
        removed.drain(..removed.len().saturating_sub(REMOVED_MAX));
    }

    /// Announces a torrent to the trackers that it has now.
    pub(super) fn announce(&mut self, torrent_id: TorrentId) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.announced = true;
        let (entry, tiers) = (torrent.entry.clone(), torrent.tiers().to_vec());
        let (uploaded, downloaded) = (torrent.uploaded_before, torrent.downloaded_before);
        let (swarm_hash, private) = (entry.metainfo.hashes.swarm_hash(), entry.metainfo.info.private);
        let tracked = TrackedTorrent { torrent_id, swarm_hash, tiers, private };
        let totals = move || {
            let missing = entry.missing.load(Ordering::Relaxed);
            TransferTotals {
                uploaded: uploaded + entry.uploaded.load(Ordering::Relaxed),
                downloaded: downloaded + entry.downloaded.load(Ordering::Relaxed),
                left: missing,
                partial_seed: missing > 0 && entry.left.load(Ordering::Relaxed) == 0,
            }
        };
        self.parts.trackers.start(tracked, Box::new(totals));
    }

    /// Announces a running torrent to the trackers that it has now: those that it had go on counting. First all shards count
    /// what they moved, or those that are left would hear too little, and new ones would count it.
    pub(super) fn announce_to_others(&mut self, torrent_id: TorrentId) {
        self.counting.insert(torrent_id, (0..self.parts.shards.len()).collect());
        self.broadcast(|| ToShard::Count(torrent_id));
    }

    /// A shard has counted what it moved of a torrent.
    pub(super) fn counted_torrent(&mut self, shard: usize, torrent_id: TorrentId) {
        let Some(waiting) = self.counting.get_mut(&torrent_id) else { return };
        waiting.remove(&shard);
        if !waiting.is_empty() {
            return;
        }
        self.counting.remove(&torrent_id);
        // The announcer knows no torrent that has stopped since.
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let tiers = torrent.tiers().to_vec();
        self.parts.trackers.set_trackers(torrent_id, tiers);
    }

    /// Has all shards let go of a torrent; trackers are told once they have counted what they moved, and `next` follows.
    pub(super) fn begin_stop(&mut self, torrent_id: TorrentId, next: Next) {
        let (shards, now) = ((0..self.parts.shards.len()).collect(), self.now());
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.entry.set_phase(TorrentPhase::Stopped);
        torrent.touch();
        if let Activity::Stopping { next: planned, .. } = &mut torrent.activity {
            // The shards are letting go already.
            if planned.is_replaced_by(&next) {
                *planned = next;
            }
            return;
        }
        torrent.count_time(now);
        torrent.activity = Activity::Stopping { waiting: shards, next };
        torrent.running_since = None;
        self.queue_due = true;
        self.stops.push(torrent_id);
    }

    /// Counts how long torrents have run until now.
    pub(super) fn count_times(&mut self, list: &[TorrentId]) {
        let now = self.now();
        for torrent_id in list {
            if let Some(torrent) = self.torrent(torrent_id) {
                torrent.count_time(now);
            }
        }
    }

    /// Pauses a torrent of which that is stored.
    pub(super) fn pause_stored(&mut self, torrent_id: TorrentId) {
        if let Some(torrent) = self.torrent(&torrent_id) {
            torrent.touch();
            torrent.forced = false;
            if std::mem::take(&mut torrent.waits) {
                torrent.warning = None;
            }
            match &mut torrent.activity {
                Activity::Paused => {}
                Activity::Failed(_) | Activity::Missing { .. } | Activity::Queued => {
                    torrent.activity = Activity::Paused;
                }
                Activity::Handling { run, .. } => *run = false,
                Activity::Stopping { next: Next::Handle { run, .. }, .. } => *run = false,
                Activity::Stopping { next: Next::Remove { .. }, .. } => {}
                Activity::Checking { .. } | Activity::Running | Activity::Stopping { .. } => {
                    self.begin_stop(torrent_id, Next::Pause);
                }
            }
        }
    }

    /// Starts a torrent of which that is stored. `later`: one that is paused has its turn after the command.
    ///
    /// # Errors
    /// When it is being removed.
    pub(super) fn resume_stored(
        &mut self,
        torrent_id: TorrentId,
        now: bool,
        later: bool,
    ) -> Result<(), EngineError> {
        if let Some(torrent) = self.torrent(&torrent_id) {
            torrent.touch();
            torrent.forced |= now;
            Arc::make_mut(&mut torrent.settings).limit_reached = false;
            if !torrent.waits {
                // Whoever starts it has seen what was wrong, and what failed is tried again.
                (torrent.warning, torrent.stays) = (None, false);
            }
            match &mut torrent.activity {
                Activity::Paused if later => {
                    // As one that every shard has let go of, and that runs again.
                    torrent.activity = Activity::Stopping { waiting: Vec::new(), next: Next::Run };
                    let home = torrent.entry.home;
                    self.let_go.push_back((home, torrent_id));
                }
                Activity::Paused => self.begin(torrent_id),
                // What failed may have changed under us: look at the files before serving them.
                Activity::Failed(_) => {
                    if !self.resume_work(torrent_id, true) && self.look(torrent_id, true).is_some() {
                        self.begin_check(torrent_id, true);
                    }
                }
                Activity::Missing { .. } => {
                    torrent.entry.store.forgive();
                    self.begin(torrent_id);
                }
                Activity::Checking { run, .. } | Activity::Handling { run, .. } => *run = true,
                Activity::Running => _ = self.move_if_done(torrent_id, true),
                Activity::Queued if now => self.run_queued(torrent_id),
                Activity::Queued => {}
                Activity::Stopping { next: Next::Handle { run, .. }, .. } => *run = true,
                // It is hashed first, as was answered.
                Activity::Stopping { next: Next::Check { run }, .. } => *run = true,
                Activity::Stopping { next: Next::Remove { .. }, .. } => {
                    return Err(EngineError::UnknownTorrent(torrent_id));
                }
                Activity::Stopping { next, .. } => *next = Next::Run,
            }
        }
        Ok(())
    }

    pub(super) fn verify(&mut self, torrent_id: TorrentId) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let run = torrent.wanted_running();
        match torrent.activity {
            Activity::Paused | Activity::Failed(_) | Activity::Missing { .. } | Activity::Queued => {
                self.begin_check(torrent_id, run);
            }
            Activity::Checking { .. } | Activity::Handling { .. } => {}
            Activity::Stopping { next: Next::Handle { .. } | Next::Remove { .. }, .. } => {}
            Activity::Running | Activity::Stopping { .. } => self.begin_stop(torrent_id, Next::Check { run }),
        }
    }
}
