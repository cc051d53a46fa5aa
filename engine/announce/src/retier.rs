//! Other trackers for a torrent that is announced: those that stay are left as they are.

use super::counts::Base;
use super::leaving::TELLING;
use super::schedule::{State, cut};
use super::tier::{Tier, TierId, TierPhase, Tracker};
use ringseed_proto::hashes::TorrentId;
use tokio::time::Instant;

/// A tracker before the edit, until a tier takes it.
struct Old {
    tracker: Tracker,
    /// It is the one that its tier, which was at this place, is about.
    serving: Option<usize>,
    /// The tier whose announce to it is in flight.
    asked: Option<TierId>,
    /// Its tier has `completed` to tell it.
    completed: bool,
}

impl State {
    /// Announces a torrent to these trackers from now on. A tier goes on when the tracker that serves it stays; other
    /// tiers begin with a tracker that knows us, when they have one.
    pub(super) fn set_trackers(&mut self, torrent_id: TorrentId, tiers: Vec<Vec<String>>, now: Instant) {
        let Some(mut torrent) = self.torrents.remove(&torrent_id) else { return };
        let (totals, swarm_hash) = (torrent.totals(), torrent.swarm_hash);
        let base = Base::at(totals);
        let (mut shells, mut hosts, mut pool) = (Vec::new(), Vec::new(), Vec::new());
        for mut tier in std::mem::take(&mut torrent.tiers) {
            let running = matches!(tier.phase, TierPhase::Running(_));
            hosts.push(tier.host());
            for (place, tracker) in std::mem::take(&mut tier.trackers).into_iter().enumerate() {
                let serves = place == tier.current;
                pool.push(Old {
                    serving: serves.then_some(shells.len()),
                    asked: (serves && running).then_some(tier.id),
                    completed: serves && tier.completed_pending && tier.phase != TELLING,
                    tracker,
                });
            }
            shells.push(Some(tier));
        }
        let lists = cut(tiers);
        // First of all, so that no tier takes from another what that one goes on with.
        let mut going_on = Vec::with_capacity(lists.len());
        for urls in &lists {
            let goes_on = |old: &Old| {
                old.serving.is_some_and(|place| shells[place].is_some()) && urls.contains(&old.tracker.text)
            };
            going_on.push(pool.iter().position(goes_on).map(|place| {
                let Old { tracker, serving, .. } = pool.remove(place);
                (serving.and_then(|place| shells[place].take()), tracker)
            }));
        }
        let mut begin = Vec::new();
        for (urls, going_on) in lists.into_iter().zip(going_on) {
            let (shell, first) = going_on.unzip();
            let (mut trackers, mut new) = (Vec::from_iter(first), Vec::new());
            for url in urls {
                if trackers.iter().any(|tracker| tracker.text == url) {
                    continue;
                }
                match pool.iter().position(|old| old.tracker.text == url) {
                    Some(place) => trackers.push(pool.remove(place).tracker),
                    None => new.push(Tracker::new(url, base)),
                }
            }
            self.jitter.shuffle(&mut new);
            let more = !new.is_empty();
            trackers.extend(new);
            torrent.tiers.push(match shell.flatten() {
                Some(shell) => {
                    let tier = shell.with(trackers);
                    if more && tier.is_failing() && matches!(tier.phase, TierPhase::Waiting(_)) {
                        begin.push(tier.id);
                    }
                    tier
                }
                None => {
                    let tier = Tier::of(self.tier_id(), trackers);
                    begin.push(tier.id);
                    tier
                }
            });
        }
        for (tier, host) in shells.into_iter().zip(hosts) {
            if let Some(tier) = tier {
                self.unschedule(torrent_id, tier.id, tier.phase, host.as_ref());
            }
        }
        self.unqueue_farewells(&mut torrent, torrent_id);
        self.torrents.insert(torrent_id, torrent);
        self.changed.insert(torrent_id);
        for old in pool {
            self.leave_tracker((torrent_id, swarm_hash), old.tracker, old.asked, old.completed, totals, now);
        }
        for tier in begin {
            self.schedule(torrent_id, tier, Some(now));
        }
    }
}
