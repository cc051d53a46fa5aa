//! Which torrents a request is for, and which ones are gone.

use ringseed_api::{Id, Ids};
use ringseed_handle::REMOVED_LIFE;
use ringseed_handle::{EngineSnapshot, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
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
        None => return snapshot.torrents.iter().cloned().collect(),
        Some(_) if is_recently_active(ids) => return recently_active(snapshot),
        Some(Ids::One(id)) => std::slice::from_ref(id),
        Some(Ids::Many(list)) => list,
    };
    let find = |id: &Id| match id {
        Id::Number(number) => snapshot.torrents.get(u32::try_from(*number).ok()?),
        Id::Hash(text) => snapshot.torrents.find(&text.parse().ok()?),
    };
    let mut found: Vec<_> = list.iter().filter_map(find).cloned().collect();
    found.sort_unstable_by_key(|torrent| torrent.id);
    found.dedup_by_key(|torrent| torrent.id);
    found
}

/// Torrents of which anything changed lately.
fn recently_active(snapshot: &EngineSnapshot) -> Vec<Arc<TorrentStatus>> {
    match Instant::now().checked_sub(REMOVED_LIFE) {
        Some(then) => snapshot.torrents.changed_since(then),
        None => snapshot.torrents.iter().cloned().collect(),
    }
}

/// The info-hashes of torrents.
pub(super) fn hashes(torrents: &[Arc<TorrentStatus>]) -> Vec<TorrentId> {
    torrents.iter().map(|torrent| torrent.torrent_id()).collect()
}

/// Ids of torrents that were removed lately.
pub(super) fn removed(snapshot: &EngineSnapshot) -> Vec<u32> {
    snapshot.removed.iter().filter(|(at, _)| at.elapsed() < REMOVED_LIFE).map(|(_, id)| *id).collect()
}
