//! What shards and trackers report.

use super::super::activity::{Activity, Next};
use super::super::pieces::Pieces;
use super::Session;
use crate::shard::checks::Check;
use crate::shard::message::{CheckError, DurablePieces, FromShard, ToShard};
use ringseed_announce::AnnounceUpdate;
use ringseed_net::candidates::Source;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::FileWork;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long torrents are gone on with before others have their turn on the control thread.
const TURN_MAX: Duration = Duration::from_millis(5);

impl Session {
    /// A message of a shard.
    pub fn on_shard(&mut self, message: FromShard) {
        self.dirty = true;
        if self.is_ending() {
            return self.on_last_report(message);
        }
        self.on_report(message);
    }

    pub(super) fn on_report(&mut self, message: FromShard) {
        match message {
            FromShard::Checked { check, result } => self.checked(&check, result),
            FromShard::Durable(torrent_id, durable) => self.made_durable(torrent_id, durable),
            FromShard::Completed { torrent_id, missing } => self.completed(torrent_id, missing),
            FromShard::MetadataWanted { shard, torrent_id } => {
                let bytes = self.stored_metainfo(torrent_id).map(|metainfo| metainfo.info_bytes);
                if let Err(error) = &bytes {
                    tracing::warn!(%error, torrent = %torrent_id, "cannot read the metadata that a peer asks for");
                }
                self.send(shard, ToShard::Metadata(torrent_id, bytes.ok()));
            }
            FromShard::Failed(torrent_id, error) => {
                let reason = error.to_string();
                if let Some(torrent) = self.torrent(&torrent_id) {
                    torrent.unchecked |= error.is_data_loss() && !error.is_missing();
                }
                let next = if error.is_missing() { Next::Miss(reason) } else { Next::Fail(reason) };
                self.begin_stop(torrent_id, next);
            }
            FromShard::Stopped { shard, torrents } => self.all_stopped(shard, torrents),
            // Waited for when the session ends.
            FromShard::Counted { .. } => {}
            FromShard::CountedTorrent { shard, torrent_id } => self.counted_torrent(shard, torrent_id),
            FromShard::Ended { shard } => {
                self.ended.insert(shard);
            }
        }
    }

    /// What the home shard of a torrent has made durable: it is stored with the next progress.
    pub(super) fn made_durable(&mut self, torrent_id: TorrentId, durable: DurablePieces) {
        let DurablePieces { pieces, settled } = durable;
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.finish_names(&pieces);
        if torrent.with_pieces(|known| known.made_durable(pieces, settled)) {
            self.unsaved.insert(torrent_id);
        }
    }

    /// All that is wanted of a torrent is here; `missing` bytes of the others are not.
    fn completed(&mut self, torrent_id: TorrentId, missing: u64) {
        let (now, wall) = (self.now(), self.parts.clock.wall());
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.entry.left.store(0, Ordering::Relaxed);
        torrent.entry.missing.store(missing, Ordering::Relaxed);
        torrent.count_time(now);
        torrent.touch();
        // A download of some files completes again at each start.
        let first = torrent.finished_at.is_none();
        if first {
            torrent.finished_at = Some(wall);
        }
        // Trackers count a download once, when all of it is here: a part that was wanted is none, and neither is a
        // piece that was repaired.
        if missing == 0 && !torrent.settings.was_whole {
            Arc::make_mut(&mut torrent.settings).was_whole = true;
            self.parts.trackers.completed(torrent_id);
        }
        self.queue_due = true;
        let records: Vec<_> = self.record(torrent_id).into_iter().collect();
        if let Err(error) = self.save_settings(&records) {
            tracing::error!(%error, torrent = %torrent_id, "cannot save that it was finished");
            self.owed.insert(torrent_id);
        }
        let run = self.torrent(&torrent_id).is_some_and(|torrent| torrent.wanted_running());
        self.move_if_done(torrent_id, run);
    }

    /// A shard's part of a check: when it is the last, the torrent goes on.
    pub(super) fn checked(&mut self, check: &Arc<Check>, part: Result<Bitfield, CheckError>) {
        let torrent_id = check.torrent.id();
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let Activity::Checking { run, found, .. } = &mut torrent.activity else { return };
        if !Arc::ptr_eq(&found.check, check) {
            return; // one that was called off
        }
        found.add(part);
        if found.waiting > 0 {
            return;
        }
        // What was hashed has to be what is there: somebody may have written to it meanwhile.
        let (run, result) = (*run, found.result.clone());
        let result = result.and_then(|have| match torrent.entry.store.vouch(&found.stamps) {
            Ok(()) => Ok(have),
            Err(error) => Err(error.into()),
        });
        torrent.touch();
        match result {
            Ok(have) => {
                (torrent.warning, torrent.stays) = (None, false);
                if have.is_full() {
                    for (path, more) in torrent.entry.store.longer_files() {
                        let path = path.display();
                        tracing::warn!(torrent = %torrent_id, "{path} is longer than the torrent says by {more} bytes");
                    }
                }
                torrent.finish_names(&have);
                torrent.with_pieces(|pieces| pieces.found(have));
                torrent.unchecked = false;
                if torrent.settings.had_data {
                    Arc::make_mut(&mut torrent.settings).had_data = false;
                }
                torrent.activity = Activity::Paused;
                self.flush_found(torrent_id);
                if !self.move_if_done(torrent_id, run) && run {
                    self.begin_run(torrent_id);
                }
            }
            Err(error) => self.check_failed(torrent_id, error.to_string(), run),
        }
        self.save_or_log(torrent_id);
    }

    /// What home shards have made durable of torrents before they let go of them.
    pub(super) fn made_durable_at_stop(&mut self, torrents: Vec<(TorrentId, Option<DurablePieces>)>) {
        for (torrent_id, durable) in torrents {
            if let Some(durable) = durable {
                self.made_durable(torrent_id, durable);
            }
        }
    }

    /// A shard has let go of torrents.
    fn all_stopped(&mut self, shard: usize, torrents: Vec<(TorrentId, Option<DurablePieces>)>) {
        // What it published before is not to be taken for something newer later on.
        self.take_published(shard);
        let stopped: Vec<TorrentId> = torrents.iter().map(|(torrent_id, _)| *torrent_id).collect();
        self.made_durable_at_stop(torrents);
        self.let_go.extend(stopped.into_iter().map(|torrent_id| (shard, torrent_id)));
        self.catch_up();
    }

    /// Whether there is work that was put off.
    pub fn is_behind(&self) -> bool {
        !self.let_go.is_empty()
    }

    /// Goes on with torrents that shards have let go of. Thousands may be let go of at once, and what follows may look at
    /// their files: after a while others have their turn. A torrent that waits here is stopping still.
    pub fn catch_up(&mut self) {
        let began = self.now();
        while self.now().duration_since(began) < TURN_MAX
            && let Some((shard, torrent_id)) = self.let_go.pop_front()
        {
            self.stopped(shard, torrent_id);
        }
        self.dirty = true;
    }

    fn stopped(&mut self, shard: usize, torrent_id: TorrentId) {
        let unix = self.parts.clock.unix();
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.set_sample(shard, None, unix);
        let Activity::Stopping { waiting, next } = &mut torrent.activity else { return };
        waiting.retain(|other| *other != shard);
        if !waiting.is_empty() {
            return;
        }
        let next = std::mem::replace(next, Next::Pause);
        torrent.with_pieces(Pieces::stopped);
        // Of a pause or a start all else is stored already: many torrents at once cost one transaction.
        let stored = match next {
            Next::Pause => true,
            // One that ran before has counted its time, and may have been finished.
            Next::Run => !torrent.announced,
            _ => false,
        };
        let unsaved = !stored || torrent.has_moved() || !torrent.pieces.is_stamped();
        // Now that all shards have counted what they moved. After a rename it goes on at once, which is nothing to trackers.
        let leaves = !matches!(next, Next::Handle { work: FileWork::Rename(_), .. });
        torrent.announced &= !leaves;
        if leaves {
            self.parts.trackers.stop(torrent_id);
        }
        // Another torrent may have waited for that.
        self.queue_due = true;
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        match next {
            Next::Pause => {
                // What failed just before is tried again when it is started.
                torrent.entry.store.forgive();
                torrent.activity = Activity::Paused;
            }
            Next::Fail(reason) => torrent.activity = Activity::Failed(reason),
            Next::Miss(reason) => self.miss(torrent_id, reason, true),
            Next::Run => {
                // It may begin with a move, which would wait for the shards of one that is stopping.
                torrent.activity = Activity::Paused;
                self.begin(torrent_id);
            }
            Next::Check { run } => self.begin_check(torrent_id, run),
            Next::Handle { work, run, again } => self.begin_files(torrent_id, work, run, again),
            Next::Remove { delete } => {
                match delete {
                    true => self.delete_files(torrent_id),
                    false => self.forget(torrent_id),
                }
                return self.go_on_with_held();
            }
        }
        if unsaved {
            self.owed.insert(torrent_id);
        }
    }

    /// The end of a torrent that no shard has and that was removed.
    pub(super) fn forget(&mut self, torrent_id: TorrentId) {
        self.parts.registry.remove(&torrent_id);
        if let Some(id) = self.ids.get(&torrent_id).copied() {
            self.take_out(id);
        }
        self.queue_due = true;
        for ticket in self.leaving.remove(&torrent_id).unwrap_or_default() {
            self.give_up(ticket);
        }
    }

    /// Peers or news from trackers.
    pub fn on_announce(&mut self, update: AnnounceUpdate) {
        let AnnounceUpdate::Peers { torrent_id, peers } = update;
        self.send_peers(torrent_id, Source::Tracker, peers);
    }

    pub(super) fn send_peers(&mut self, torrent_id: TorrentId, source: Source, peers: Vec<SocketAddr>) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.touch();
        let home = torrent.entry.home;
        if !peers.is_empty() {
            self.send(home, ToShard::Peers(torrent_id, source, peers));
        }
    }
}
