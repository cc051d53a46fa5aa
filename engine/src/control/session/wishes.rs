//! What a user changes of torrents and of the whole engine while they run.

use super::super::handle::{EngineChange, EngineError, TorrentChange};
use super::Session;
use crate::shard::message::ToShard;
use ringseed_proto::units::InfoHash;
use std::sync::atomic::Ordering;

impl Session {
    /// Changes what is wanted of a torrent: it holds at once and is saved.
    pub(super) fn change_torrent(
        &mut self,
        info_hash: InfoHash,
        change: TorrentChange,
    ) -> Result<(), EngineError> {
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        torrent.upload_limit = change.upload.of(torrent.upload_limit);
        torrent.download_limit = change.download.of(torrent.download_limit);
        let before = torrent.entry.sequential.load(Ordering::Relaxed);
        let sequential = change.sequential.unwrap_or(before);
        torrent.apply_wishes(sequential);
        torrent.status = None;
        let home = torrent.entry.home;
        if sequential != before {
            self.send(home, ToShard::Changed(info_hash));
        }
        self.save_settings(info_hash)
    }

    /// Changes what holds for the whole engine until it ends; the next start takes its settings again.
    pub(super) fn change_engine(&mut self, change: EngineChange) {
        self.limits.upload = change.upload.of(self.limits.upload);
        self.limits.download = change.download.of(self.limits.download);
        self.parts.upload_limit.set(self.limits.upload.effective());
        self.parts.download_limit.set(self.limits.download.effective());
    }
}
