//! What a user changes of torrents and of the whole engine while they run.

use super::super::activity::{Activity, Next};
use super::Session;
use crate::shard::message::ToShard;
use ringseed_handle::{EngineChange, EngineError, TorrentChange};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{AltSpeed, SetLimit, SetPort, SpeedLimit, TorrentRecord, TorrentSettings};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is wanted of a torrent, as a change leaves it.
pub(super) struct Changed {
    upload_limit: SpeedLimit,
    download_limit: SpeedLimit,
    sequential: bool,
    settings: Arc<TorrentSettings>,
}

impl Session {
    /// What a torrent is with a change; `None` for an unknown one.
    pub(super) fn changed_as(&self, torrent_id: TorrentId, change: &TorrentChange) -> Option<Changed> {
        let torrent = self.torrents.get(self.ids.get(&torrent_id)?)?;
        let mut settings = torrent.settings.clone();
        if let Some(change) = &change.settings {
            change(Arc::make_mut(&mut settings), &torrent.entry.metainfo);
        }
        let sequential = torrent.entry.sequential.load(Ordering::Relaxed);
        Some(Changed {
            upload_limit: change.upload.of(torrent.upload_limit),
            download_limit: change.download.of(torrent.download_limit),
            sequential: change.sequential.unwrap_or(sequential),
            settings,
        })
    }

    /// The record of a torrent as it is with a change.
    pub(super) fn record_as(&self, torrent_id: TorrentId, changed: &Changed) -> Option<TorrentRecord> {
        let record = self.record(torrent_id)?;
        let TorrentSettings { active_at, forced, .. } = record.settings;
        let settings = TorrentSettings { active_at, forced, ..TorrentSettings::clone(&changed.settings) };
        let Changed { upload_limit, download_limit, sequential, .. } = *changed;
        Some(TorrentRecord { settings, upload_limit, download_limit, sequential, ..record })
    }

    /// Lets a change hold that is stored. `in_turn`: it has to wait for its turn in the queue again.
    pub(super) fn apply_change(&mut self, torrent_id: TorrentId, changed: Changed, in_turn: bool) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let before = torrent.entry.sequential.load(Ordering::Relaxed);
        let (was_done, runs) = (torrent.is_done(), torrent.activity == Activity::Running);
        let Changed { upload_limit, download_limit, sequential, settings } = changed;
        (torrent.upload_limit, torrent.download_limit) = (upload_limit, download_limit);
        torrent.forced &= !in_turn;
        let old = std::mem::replace(&mut torrent.settings, settings);
        torrent.apply_settings(sequential);
        torrent.touch();
        let (id, home) = (torrent.id, torrent.entry.home);
        let files = torrent.settings.files != old.files;
        let announces = runs && torrent.settings.tiers != old.tiers;
        // A finished download has let its peers go: it begins anew with what it wants now.
        let reopened = runs && was_done && !torrent.is_done();
        self.share_limits_unsure.insert(id);
        if reopened {
            self.begin_stop(torrent_id, Next::Run);
        } else if sequential != before || files {
            self.send(home, ToShard::Changed(torrent_id));
        }
        if announces {
            self.announce_to_others(torrent_id);
        }
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        if torrent.activity == Activity::Paused && !was_done && torrent.is_done() {
            // No shard has it that would tell so.
            self.move_if_done(torrent_id, false);
        }
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
            resume.put_session(&settings).map_err(|error| self.store_failed(error))?;
        }
        let queues = |settings: &ringseed_storage::SessionSettings| {
            (settings.download_queue, settings.seed_queue, settings.stalled)
        };
        // A new goal may have been reached by any of them.
        self.share_limits_unsure.extend(self.torrents.keys());
        self.queue_due |= queues(&settings) != queues(&self.settings);
        (self.settings, self.limits) = (Arc::new(settings), limits);
        self.parts.store_limits.set_partial_names(self.settings.partial_names);
        self.parts.registry.set_encryption(self.settings.encryption);
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
