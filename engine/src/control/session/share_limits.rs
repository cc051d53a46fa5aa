//! When a torrent has seeded enough: its ratio, the time without upload, the time of seeding.

use super::super::activity::Activity;
use super::super::torrent::Torrent;
use super::Session;
use ringseed_handle::{ShareRatio, verified_bytes};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{SessionSettings, ShareLimitMode};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the clock and the queues are looked at.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How often all torrents are looked at for share limits of time, which are in minutes.
const TIMES_INTERVAL: Duration = Duration::from_secs(10);

impl Session {
    /// Pauses torrents that have reached a share limit: those that move are looked at always, others now and then.
    pub(super) fn check_share_limits(&mut self) {
        let (now, unix) = (self.now(), self.parts.clock.unix());
        if now.duration_since(self.clock_looked_at) >= CLOCK_INTERVAL {
            self.clock_looked_at = now;
            self.follow_clock();
            self.queue_due |= self.settings.download_queue.on
                || self.settings.seed_queue.on
                || !self.census.waiting.is_empty();
        }
        let unsure = std::mem::take(&mut self.share_limits_unsure);
        let all = now.duration_since(self.times_looked_at) >= TIMES_INTERVAL;
        let limit = |torrent: &Torrent| {
            let seeds = torrent.activity == Activity::Running && torrent.is_done();
            let limit = if seeds { reached(torrent, &self.settings, (now, unix)) } else { None };
            Some((torrent.entry.id(), limit?))
        };
        let reached: Vec<(TorrentId, &str)> = match all {
            true => self.torrents.values().filter_map(limit).collect(),
            false => {
                let ids: HashSet<&u32> = unsure.iter().chain(self.sampled.iter().flatten()).collect();
                ids.into_iter().filter_map(|id| self.torrents.get(id)).filter_map(limit).collect()
            }
        };
        if all {
            self.times_looked_at = now;
        }
        for (torrent_id, limit) in &reached {
            tracing::info!(torrent = %torrent_id, "{limit} reached: pausing");
            if let Some(torrent) = self.torrent(torrent_id) {
                Arc::make_mut(&mut torrent.settings).limit_reached = true;
            }
        }
        for (torrent_id, error) in self.pause(reached.into_iter().map(|(torrent_id, _)| torrent_id).collect())
        {
            tracing::error!(%error, torrent = %torrent_id, "cannot save the pause");
        }
    }
}

/// The limit that a seeding torrent has reached at this moment, which is also told in seconds since 1970.
fn reached(
    torrent: &Torrent,
    session: &SessionSettings,
    (now, unix): (Instant, u64),
) -> Option<&'static str> {
    let settings = &torrent.settings;
    let ratio = match settings.ratio_mode {
        ShareLimitMode::Session => session.ratio_on.then_some(session.ratio),
        ShareLimitMode::Own => Some(settings.ratio),
        ShareLimitMode::Never => None,
    };
    let verified = verified_bytes(&torrent.entry.content.info.layout, torrent.pieces.live());
    let shared = ShareRatio::new(torrent.uploaded(), torrent.downloaded(), verified);
    if ratio.is_some_and(|ratio| shared.reaches(ratio)) {
        return Some("seed ratio");
    }
    let (since, _) = torrent.running_since?;
    let running = now.saturating_duration_since(since).as_secs();
    let idle = match settings.idle_mode {
        ShareLimitMode::Session => session.idle.get(),
        ShareLimitMode::Own => Some(settings.idle_minutes),
        ShareLimitMode::Never => None,
    };
    // A start counts as activity: a torrent that was idle before is given its time again.
    let quiet = unix.saturating_sub(torrent.active_at).min(running);
    if idle.is_some_and(|minutes| quiet >= u64::from(minutes) * 60) {
        return Some("idle seeding limit");
    }
    let seeded = settings.seconds_seeding + running;
    let minutes = settings.seed_minutes(session);
    minutes.is_some_and(|minutes| seeded >= minutes.saturating_mul(60)).then_some("seeding time")
}
