//! Trackers and what they said.

use crate::quantity;
use ringseed_api::TrackerStats;

/// A tracker as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerRow {
    /// Tier from 1.
    pub tier: String,
    /// Announce URL.
    pub url: String,
    /// What it is doing, or its last answer.
    pub status: String,
    /// Its last answer was a failure.
    pub failed: bool,
    /// Seeders of the swarm.
    pub seeds: String,
    /// Leechers of the swarm.
    pub leeches: String,
    /// Peers in its last answer.
    pub peers: String,
    /// Time until the next announce.
    pub next: String,
}

/// Rows at the time `now` (seconds since 1970).
pub fn trackers(stats: &[TrackerStats], now: i64) -> Vec<TrackerRow> {
    let count = |count: i64| if count < 0 { String::new() } else { count.to_string() };
    let row = |tracker: &TrackerStats| {
        let failed = tracker.has_announced && !tracker.last_announce_succeeded;
        TrackerRow {
            tier: (tracker.tier + 1).to_string(),
            url: tracker.announce.clone(),
            status: if tracker.announce_state == 3 {
                "announcing".to_owned()
            } else if failed {
                tracker.last_announce_result.clone()
            } else if tracker.has_announced {
                "working".to_owned()
            } else {
                "not asked yet".to_owned()
            },
            failed,
            seeds: count(tracker.seeder_count),
            leeches: count(tracker.leecher_count),
            peers: if tracker.has_announced {
                tracker.last_announce_peer_count.to_string()
            } else {
                String::new()
            },
            next: if tracker.next_announce_time > 0 {
                quantity::span((tracker.next_announce_time - now).max(0))
            } else {
                String::new()
            },
        }
    };
    stats.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_why_and_a_success_does_not() {
        let failed = TrackerStats {
            has_announced: true,
            last_announce_result: "unregistered torrent".into(),
            seeder_count: -1,
            leecher_count: -1,
            next_announce_time: 160,
            ..TrackerStats::default()
        };
        let fine = TrackerStats { last_announce_succeeded: true, seeder_count: 2, tier: 1, ..failed.clone() };
        let rows = trackers(&[failed, fine], 100);
        assert_eq!(
            (rows[0].status.as_str(), rows[0].seeds.as_str(), rows[0].next.as_str()),
            ("unregistered torrent", "", "1 min 0 s")
        );
        assert!(rows[0].failed && !rows[1].failed);
        assert_eq!(
            (rows[1].status.as_str(), rows[1].seeds.as_str(), rows[1].tier.as_str()),
            ("working", "2", "2")
        );
    }
}
