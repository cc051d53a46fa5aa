//! Which torrents a request is for, and which ones are gone.

use super::limits::{REMOVED_LIFE, REMOVED_MAX};
use crate::control::{EngineSnapshot, TorrentState, TorrentStatus};
use ringseed_api::{Id, Ids};
use ringseed_proto::units::InfoHash;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// The word for torrents that changed lately.
const RECENTLY_ACTIVE: &str = "recently-active";

/// Whether a request asks for the torrents that changed lately.
pub(super) fn is_recently_active(ids: Option<&Ids>) -> bool {
    matches!(ids, Some(Ids::One(Id::Hash(text))) if text == RECENTLY_ACTIVE)
}

/// The torrents that a request names, in the order of the snapshot. Unknown ones are left out.
pub(super) fn select(snapshot: &EngineSnapshot, ids: Option<&Ids>) -> Vec<Arc<TorrentStatus>> {
    let list = match ids {
        None => return snapshot.torrents.clone(),
        Some(_) if is_recently_active(ids) => {
            return snapshot.torrents.iter().filter(|torrent| is_active(torrent)).cloned().collect();
        }
        Some(Ids::One(id)) => std::slice::from_ref(id),
        Some(Ids::Many(list)) => list,
    };
    let mut numbers = HashSet::new();
    let mut hashes = HashSet::new();
    for id in list {
        match id {
            Id::Number(number) => numbers.extend(u32::try_from(*number)),
            Id::Hash(text) => hashes.extend(text.parse::<InfoHash>()),
        }
    }
    let named = |torrent: &&Arc<TorrentStatus>| {
        numbers.contains(&torrent.id) || hashes.contains(&torrent.info_hash())
    };
    snapshot.torrents.iter().filter(named).cloned().collect()
}

/// What may have changed lately. Pieces of news without a trace in the snapshot make no torrent active.
fn is_active(torrent: &TorrentStatus) -> bool {
    let lately = |time: std::time::SystemTime| time.elapsed().is_ok_and(|age| age < REMOVED_LIFE);
    matches!(torrent.state, TorrentState::Checking(_) | TorrentState::Downloading)
        || torrent.download_rate + torrent.upload_rate > 0
        || !torrent.peers.is_empty()
        || lately(torrent.added_at)
        || torrent.finished_at.is_some_and(lately)
}

/// Remembers torrents that went away between two looks, for a while.
#[derive(Default)]
pub(super) struct Removals {
    known: HashSet<u32>,
    gone: VecDeque<(Instant, u32)>,
    states: HashMap<u32, (TorrentState, Instant)>,
}

impl Removals {
    /// Looks at a snapshot. Returns the ids that are gone, and those whose state changed lately.
    pub(super) fn look(&mut self, snapshot: &EngineSnapshot, now: Instant) -> (Vec<u32>, HashSet<u32>) {
        let current: HashSet<u32> = snapshot.torrents.iter().map(|torrent| torrent.id).collect();
        let gone: Vec<u32> = self.known.difference(&current).copied().collect();
        for id in gone {
            self.states.remove(&id);
            self.gone.push_back((now, id));
        }
        while self.gone.len() > REMOVED_MAX
            || self.gone.front().is_some_and(|(since, _)| now.duration_since(*since) >= REMOVED_LIFE)
        {
            self.gone.pop_front();
        }
        self.known = current;
        let mut changed = HashSet::new();
        for torrent in &snapshot.torrents {
            let (state, since) =
                self.states.entry(torrent.id).or_insert_with(|| (torrent.state.clone(), now));
            if *state != torrent.state {
                (*state, *since) = (torrent.state.clone(), now);
            }
            if now.duration_since(*since) < REMOVED_LIFE {
                changed.insert(torrent.id);
            }
        }
        (self.gone.iter().map(|(_, id)| *id).collect(), changed)
    }
}
