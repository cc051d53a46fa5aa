//! Which torrents a request is for, and which ones are gone.

use crate::control::{EngineSnapshot, TorrentStatus};
use crate::limits::REMOVED_LIFE;
use ringseed_api::{Id, Ids};
use ringseed_proto::units::InfoHash;
use std::collections::HashSet;
use std::sync::Arc;

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

/// Whether anything of it changed lately.
fn is_active(torrent: &TorrentStatus) -> bool {
    torrent.changed_at.elapsed() < REMOVED_LIFE
}

/// Ids of torrents that were removed lately.
pub(super) fn removed(snapshot: &EngineSnapshot) -> Vec<u32> {
    snapshot.removed.iter().filter(|(at, _)| at.elapsed() < REMOVED_LIFE).map(|(_, id)| *id).collect()
}
