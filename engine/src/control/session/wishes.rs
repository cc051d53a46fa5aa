//! What a user changes of torrents and of the whole engine while they run.

use super::super::handle::{EngineChange, EngineError, TorrentChange};
use super::super::torrent::{Activity, Next};
use super::Session;
use crate::shard::message::ToShard;
use ringseed_proto::units::InfoHash;
use ringseed_storage::{AltSpeed, SetLimit, SetPort, TorrentRecord, Wishes};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Session {
    /// Changes what is wanted of a torrent: it holds at once and is saved.
    pub(super) fn change_torrent(
        &mut self,
        info_hash: InfoHash,
        change: TorrentChange,
    ) -> Result<(), EngineError> {
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        let upload_limit = change.upload.of(torrent.upload_limit);
        let download_limit = change.download.of(torrent.download_limit);
        let before = torrent.entry.sequential.load(Ordering::Relaxed);
        let sequential = change.sequential.unwrap_or(before);
        let (files, tiers) = (torrent.wishes.files.clone(), torrent.tiers().to_vec());
        let (mut wishes, active_at) = (torrent.wishes.clone(), torrent.active_at);
        if let Some(change) = change.wishes {
            change(Arc::make_mut(&mut wishes));
        }
        // It holds once it is stored.
        if let Some(record) = self.record(info_hash) {
            let wishes = Wishes { active_at, ..Wishes::clone(&wishes) };
            let record = TorrentRecord { wishes, upload_limit, download_limit, sequential, ..record };
            self.save_settings(&[record])?;
        }
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        (torrent.upload_limit, torrent.download_limit) = (upload_limit, download_limit);
        torrent.forced &= !change.in_turn;
        torrent.wishes = wishes;
        let was_done = torrent.is_done();
        torrent.apply_wishes(sequential);
        torrent.status = None;
        let id = torrent.id;
        self.goals_unsure.insert(id);
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        let home = torrent.entry.home;
        let files = torrent.wishes.files != files;
        let announces = torrent.activity == Activity::Running && torrent.tiers() != tiers;
        // A finished download has let its peers go: it begins anew with what it wants now.
        let reopened = torrent.activity == Activity::Running && was_done && !torrent.is_done();
        if reopened {
            self.begin_stop(info_hash, Next::Run);
        } else if sequential != before || files {
            self.send(home, ToShard::Changed(info_hash));
        }
        if announces {
            self.announce_to_others(info_hash);
        }
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        if torrent.activity == Activity::Paused && !was_done && torrent.is_done() {
            // No shard has it that would tell so.
            self.move_if_done(info_hash, false);
        }
        self.queue_due = true;
        Ok(())
    }

    /// Changes what holds for the whole engine, and saves it.
    pub(super) fn change_engine(&mut self, change: EngineChange) -> Result<(), EngineError> {
        let mut settings = (*self.settings).clone();
        if let Some(change) = change.settings {
            change(&mut settings);
        }
        let schedule = |alt: &AltSpeed| (alt.by_clock, alt.begin, alt.end, alt.days);
        let rescheduled = schedule(&settings.alt_speed) != schedule(&self.settings.alt_speed);
        if rescheduled {
            // What was switched by hand was between two ends of the old one.
            settings.alt_speed.switched = None;
        }
        let configured = &self.parts.settings;
        let mut limits = self.limits;
        limits.upload = change.upload.of(limits.upload);
        limits.download = change.download.of(limits.download);
        if limits.upload != self.limits.upload {
            settings.upload = Some(SetLimit { configured: configured.upload_rate_max, limit: limits.upload });
        }
        if limits.download != self.limits.download {
            settings.download =
                Some(SetLimit { configured: configured.download_rate_max, limit: limits.download });
        }
        let listeners = match change.listen_port {
            Some(port) => {
                settings.port = Some(SetPort { configured: configured.listen_port.exact(), port });
                self.open_port(port)?
            }
            None => None,
        };
        if let Some(resume) = self.parts.resume.clone() {
            resume.put_session(&settings).map_err(|error| self.store_failed(&error))?;
        }
        let queues = |settings: &ringseed_storage::SessionSettings| {
            (settings.download_queue, settings.seed_queue, settings.stalled)
        };
        // A new goal may have been reached by any of them.
        self.goals_unsure.extend(self.torrents.keys());
        self.queue_due |= queues(&settings) != queues(&self.settings);
        (self.settings, self.limits) = (Arc::new(settings), limits);
        self.parts.store_limits.set_partial_names(self.settings.partial_names);
        self.apply_limits();
        if rescheduled {
            self.follow_clock();
        }
        self.apply_blocklist();
        if let Some(listeners) = listeners {
            self.listen_on(listeners);
        }
        Ok(())
    }

    /// Lets the blocklist hold when it is wanted.
    pub(super) fn apply_blocklist(&self) {
        let list = self.blocklist.clone().filter(|_| self.settings.blocklist_on);
        self.parts.registry.blocklist.store(list);
    }
}
