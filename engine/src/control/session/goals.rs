//! When a torrent has seeded enough: its ratio, the time without upload, the time of seeding.

use super::super::activity::Activity;
use super::super::torrent::Torrent;
use super::Session;
use ringseed_handle::unix_now;
use ringseed_handle::{ShareRatio, verified_bytes};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{GoalMode, SessionSettings};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the clock and the queues are looked at.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How often all torrents are looked at for goals of time, which are in minutes.
const TIMES_INTERVAL: Duration = Duration::from_secs(10);

impl Session {
    /// Pauses torrents that have reached a goal: those that move are looked at always, others now and then.
    pub(super) fn look_at_goals(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.clock_looked_at) >= CLOCK_INTERVAL {
            self.clock_looked_at = now;
            self.follow_clock();
            self.queue_due |= self.settings.download_queue.on
                || self.settings.seed_queue.on
                || !self.census.waiting.is_empty();
        }
        let unsure = std::mem::take(&mut self.goals_unsure);
        let all = now.duration_since(self.times_looked_at) >= TIMES_INTERVAL;
        let goal = |torrent: &Torrent| {
            let seeds = torrent.activity == Activity::Running && torrent.is_done();
            let goal = if seeds { reached(torrent, &self.settings, now) } else { None };
            Some((torrent.entry.id(), goal?))
        };
        let reached: Vec<(TorrentId, &str)> = match all {
            true => self.torrents.values().filter_map(goal).collect(),
            false => {
                let ids: HashSet<&u32> = unsure.iter().chain(self.sampled.iter().flatten()).collect();
                ids.into_iter().filter_map(|id| self.torrents.get(id)).filter_map(goal).collect()
            }
        };
        if all {
            self.times_looked_at = now;
        }
        for (torrent_id, goal) in &reached {
            tracing::info!(torrent = %torrent_id, "{goal} reached: pausing");
            if let Some(torrent) = self.torrent(torrent_id) {
                Arc::make_mut(&mut torrent.wishes).limit_reached = true;
            }
        }
        for (torrent_id, error) in self.pause(reached.into_iter().map(|(torrent_id, _)| torrent_id).collect())
        {
            tracing::error!(%error, torrent = %torrent_id, "cannot save the pause");
        }
    }
}

/// The goal that a seeding torrent has reached.
fn reached(torrent: &Torrent, settings: &SessionSettings, now: Instant) -> Option<&'static str> {
    let wishes = &torrent.wishes;
    let ratio = match wishes.ratio_mode {
        GoalMode::Session => settings.ratio_on.then_some(settings.ratio),
        GoalMode::Own => Some(wishes.ratio),
        GoalMode::Never => None,
    };
    let verified = verified_bytes(&torrent.entry.content.info.layout, torrent.pieces.live());
    let shared = ShareRatio::new(torrent.uploaded(), torrent.downloaded(), verified);
    if ratio.is_some_and(|ratio| shared.reaches(ratio)) {
        return Some("seed ratio");
    }
    let (since, _) = torrent.running_since?;
    let running = now.saturating_duration_since(since).as_secs();
    let idle = match wishes.idle_mode {
        GoalMode::Session => settings.idle.get(),
        GoalMode::Own => Some(wishes.idle_minutes),
        GoalMode::Never => None,
    };
    // A start counts as activity: a torrent that was idle before is given its time again.
    let quiet = unix_now().saturating_sub(torrent.active_at).min(running);
    if idle.is_some_and(|minutes| quiet >= u64::from(minutes) * 60) {
        return Some("idle seeding limit");
    }
    let seeded = wishes.seconds_seeding + running;
    let minutes = wishes.seed_minutes(settings);
    minutes.is_some_and(|minutes| seeded >= minutes.saturating_mul(60)).then_some("seeding time")
}
