//! Torrents as qBittorrent tells them.

use ringseed_handle::{EngineSnapshot, PeerStatus, ShareLimitMode, TorrentState, TorrentStatus};
use ringseed_net::opening::Obfuscation;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// Seconds that stand for "never" and "endless".
const ENDLESS: i64 = 8_640_000;

/// What a torrent does, in qBittorrent's words.
pub(super) fn state(torrent: &TorrentStatus) -> &'static str {
    let done = torrent.left == 0;
    match &torrent.state {
        TorrentState::Paused if done => "stoppedUP",
        TorrentState::Paused => "stoppedDL",
        TorrentState::Queued if done => "queuedUP",
        TorrentState::Queued => "queuedDL",
        TorrentState::Moving(_) => "moving",
        TorrentState::Checking(_) if done => "checkingUP",
        TorrentState::Checking(_) => "checkingDL",
        TorrentState::Downloading if torrent.forced => "forcedDL",
        TorrentState::Downloading if torrent.download_rate > 0 => "downloading",
        TorrentState::Downloading => "stalledDL",
        TorrentState::Seeding if torrent.forced => "forcedUP",
        TorrentState::Seeding if torrent.upload_rate > 0 => "uploading",
        TorrentState::Seeding => "stalledUP",
        TorrentState::Missing(_) => "missingFiles",
        TorrentState::Failed(_) => "error",
    }
}

/// Whether a torrent is in one of qBittorrent's lists.
pub(super) fn is_listed(torrent: &TorrentStatus, filter: &str) -> bool {
    let state = state(torrent);
    let moves = torrent.upload_rate + torrent.download_rate > 0;
    match filter {
        "downloading" => state.ends_with("DL") || state == "downloading",
        "seeding" => matches!(state, "uploading" | "stalledUP" | "forcedUP" | "queuedUP" | "checkingUP"),
        "completed" => torrent.left == 0,
        "paused" | "stopped" => state.starts_with("stopped"),
        "resumed" | "running" | "active_or_idle" => !state.starts_with("stopped"),
        "active" => moves,
        "inactive" => !moves,
        "stalled" => state.starts_with("stalled"),
        "stalled_uploading" => state == "stalledUP",
        "stalled_downloading" => state == "stalledDL",
        "checking" => state.starts_with("checking"),
        "moving" => state == "moving",
        "errored" => matches!(state, "error" | "missingFiles"),
        _ => true,
    }
}

/// A line of `torrents/info`, and an entry of `sync/maindata`.
pub(super) fn torrent(
    torrent: &TorrentStatus,
    snapshot: &EngineSnapshot,
    place: usize,
) -> Map<String, Value> {
    let hash = torrent.torrent_id().to_string();
    let (downloading, seeding) = torrent.seconds();
    let leeches = torrent.connected.saturating_sub(torrent.seeds);
    let known = |of: fn(&ringseed_handle::TrackerStatus) -> Option<u32>| {
        torrent.trackers.iter().filter_map(of).max().map_or(-1, i64::from)
    };
    let working =
        torrent.trackers.iter().find(|tracker| tracker.ok).map_or("", |tracker| tracker.url.as_str());
    let added = unix(Some(torrent.added_at));
    let done = torrent.wanted.saturating_sub(torrent.left);
    let limit = |limit: ringseed_handle::SpeedLimit| limit.effective().map_or(-1, |rate| rate as i64);
    let eta = match torrent.left.checked_div(torrent.download_rate) {
        Some(seconds) if torrent.state == TorrentState::Downloading => (seconds as i64).min(ENDLESS),
        _ => ENDLESS,
    };
    let progress = match torrent.state {
        TorrentState::Checking(progress) => f64::from(progress),
        _ => torrent.progress(),
    };
    let value = json!({
        "added_on": added,
        "amount_left": torrent.left,
        "auto_tmm": false,
        "availability": if torrent.left == 0 { -1.0 } else { f64::from(torrent.seeds) },
        "category": torrent.settings.category,
        "comment": torrent.metainfo.comment.as_deref().unwrap_or(""),
        "completed": done,
        "completion_on": unix(torrent.finished_at).max(if torrent.finished_at.is_none() { -1 } else { 0 }),
        "content_path": content_path(torrent),
        "dl_limit": limit(torrent.download_limit),
        "dlspeed": torrent.download_rate,
        "download_path": incomplete_path(torrent),
        "downloaded": torrent.downloaded,
        "downloaded_session": torrent.downloaded,
        "eta": eta,
        "f_l_piece_prio": false,
        "force_start": torrent.forced,
        "has_metadata": true,
        "hash": hash,
        "inactive_seeding_time_limit": idle_limit(torrent),
        "infohash_v1": hash,
        "infohash_v2": "",
        "last_activity": if torrent.active_at > 0 { torrent.active_at as i64 } else { added },
        "magnet_uri": format!("magnet:?xt=urn:btih:{hash}"),
        "max_inactive_seeding_time": torrent.idle_goal(&snapshot.settings).map_or(-1, i64::from),
        "max_ratio": torrent.ratio_limit(&snapshot.settings).unwrap_or(-1.0),
        "max_seeding_time": torrent
            .settings
            .seed_minutes(&snapshot.settings)
            .map_or(-1, |minutes| i64::try_from(minutes).unwrap_or(i64::MAX)),
        "name": shown_name(torrent),
        "num_complete": known(|tracker| tracker.seeders),
        "num_incomplete": known(|tracker| tracker.leechers),
        "num_leechs": leeches,
        "num_seeds": torrent.seeds,
        "popularity": 0.0,
        "priority": place + 1,
        "private": torrent.metainfo.info.private,
        "progress": progress,
        "ratio": torrent.ratio().of_qbittorrent(),
        "ratio_limit": ratio_limit(torrent),
        "reannounce": 0,
        "root_path": root_path(torrent),
        "save_path": torrent.download_dir().to_string_lossy(),
        "seeding_time": seeding,
        "seeding_time_limit": seeding_limit(torrent),
        "seen_complete": -1,
        "seq_dl": torrent.sequential,
        "size": torrent.wanted,
        "state": state(torrent),
        "super_seeding": false,
        "tags": torrent.settings.labels.join(", "),
        "time_active": downloading + seeding,
        "total_size": torrent.metainfo.info.layout.total_length,
        "tracker": working,
        "trackers_count": torrent.tiers().iter().map(Vec::len).sum::<usize>(),
        "up_limit": limit(torrent.upload_limit),
        "uploaded": torrent.uploaded,
        "uploaded_session": torrent.uploaded,
        "upspeed": torrent.upload_rate,
    });
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// `torrents/properties`.
pub(super) fn properties(torrent: &TorrentStatus) -> Value {
    let info = &torrent.metainfo.info;
    let (downloading, seeding) = torrent.seconds();
    let limit = |limit: ringseed_handle::SpeedLimit| limit.effective().map_or(-1, |rate| rate as i64);
    let average = |bytes: u64| bytes.checked_div(downloading + seeding).unwrap_or(0);
    json!({
        "addition_date": unix(Some(torrent.added_at)),
        "comment": torrent.metainfo.comment.as_deref().unwrap_or(""),
        "completion_date": torrent.finished_at.map_or(-1, |at| unix(Some(at))),
        "created_by": torrent.metainfo.created_by.as_deref().unwrap_or(""),
        "creation_date": torrent.metainfo.creation_date.map_or(-1, |date| date as i64),
        "dl_limit": limit(torrent.download_limit),
        "dl_speed": torrent.download_rate,
        "dl_speed_avg": average(torrent.downloaded),
        "download_path": incomplete_path(torrent),
        "eta": ENDLESS,
        "has_metadata": true,
        "hash": torrent.torrent_id().to_string(),
        "infohash_v1": torrent.torrent_id().to_string(),
        "infohash_v2": "",
        "is_private": info.private,
        "private": info.private,
        "last_seen": -1,
        "name": shown_name(torrent),
        "nb_connections": torrent.connected,
        "nb_connections_limit": torrent.settings.peer_limit.map_or(-1, i64::from),
        "peers": torrent.connected.saturating_sub(torrent.seeds),
        "peers_total": torrent.trackers.iter().filter_map(|tracker| tracker.leechers).max().unwrap_or(0),
        "piece_size": info.layout.piece_length,
        "pieces_have": torrent.have.count_ones(),
        "pieces_num": info.layout.piece_count(),
        "reannounce": 0,
        "save_path": torrent.download_dir().to_string_lossy(),
        "seeding_time": seeding,
        "seeds": torrent.seeds,
        "seeds_total": torrent.trackers.iter().filter_map(|tracker| tracker.seeders).max().unwrap_or(0),
        "share_ratio": torrent.ratio().of_qbittorrent(),
        "time_elapsed": downloading + seeding,
        "total_downloaded": torrent.downloaded,
        "total_downloaded_session": torrent.downloaded,
        "total_size": info.layout.total_length,
        "total_uploaded": torrent.uploaded,
        "total_uploaded_session": torrent.uploaded,
        "total_wasted": torrent.wasted,
        "up_limit": limit(torrent.upload_limit),
        "up_speed": torrent.upload_rate,
        "up_speed_avg": average(torrent.uploaded),
    })
}

/// `torrents/files`.
pub(super) fn files(torrent: &TorrentStatus) -> Value {
    let layout = &torrent.metainfo.info.layout;
    let file = |(index, file): (usize, &ringseed_proto::layout::FileEntry)| {
        let wish = torrent.settings.file(index);
        let priority = match (wish.wanted, wish.priority) {
            (false, _) => 0,
            (true, 1..) => 6,
            (true, _) => 1,
        };
        let here = ringseed_handle::present_bytes(layout, &torrent.have, index);
        let pieces = layout.pieces_of_file(index);
        json!({
            "availability": if torrent.left == 0 { 1.0 } else { f64::from(torrent.seeds) },
            "index": index,
            "is_seed": torrent.left == 0,
            "name": file.path.to_string_lossy(),
            "piece_range": [pieces.start, pieces.end.saturating_sub(1)],
            "priority": priority,
            "progress": if file.length == 0 { 1.0 } else { here as f64 / file.length as f64 },
            "size": file.length,
        })
    };
    Value::Array(layout.files.iter().enumerate().map(file).collect())
}

/// `torrents/trackers`.
pub(super) fn trackers(torrent: &TorrentStatus) -> Value {
    let own = |name: &str| {
        json!({"url": name, "status": 0, "tier": -1, "num_peers": 0, "num_seeds": 0, "num_leeches": 0,
            "num_downloaded": 0, "msg": ""})
    };
    let mut list = vec![own("** [DHT] **"), own("** [PeX] **"), own("** [LSD] **")];
    for (tier, urls) in torrent.tiers().iter().enumerate() {
        for url in urls {
            let known = torrent.trackers.iter().find(|tracker| tracker.url == *url);
            let count = |count: Option<u32>| count.map_or(-1, i64::from);
            list.push(match known {
                Some(tracker) => json!({
                    "url": url, "tier": tier, "msg": if tracker.ok { "" } else { &tracker.last_result },
                    "status": match (tracker.ok, tracker.last_result.is_empty()) {
                        (true, _) => 2,
                        (false, true) => 1,
                        (false, false) => 4,
                    },
                    "num_seeds": count(tracker.seeders), "num_leeches": count(tracker.leechers),
                    "num_peers": count(tracker.peers), "num_downloaded": -1,
                }),
                None => json!({"url": url, "tier": tier, "msg": "", "status": 1, "num_seeds": -1,
                    "num_leeches": -1, "num_peers": -1, "num_downloaded": -1}),
            });
        }
    }
    Value::Array(list)
}

/// An entry of `sync/torrentPeers`.
pub(super) fn peer(peer: &PeerStatus) -> Value {
    let mut flags = String::new();
    if peer.am_interested {
        flags.push(if peer.peer_choking { 'd' } else { 'D' });
    }
    if peer.peer_interested {
        flags.push(if peer.am_choking { 'u' } else { 'U' });
    }
    if peer.incoming {
        flags.push('I');
    }
    match peer.obfuscation {
        Obfuscation::None => {}
        Obfuscation::Handshake => flags.push('e'),
        Obfuscation::Stream => flags.push('E'),
    }
    json!({
        "client": peer.client, "connection": "BT", "country": "", "country_code": "", "dl_speed": peer.download_rate,
        "downloaded": 0, "files": "", "flags": flags, "flags_desc": "", "ip": peer.address.ip().to_string(),
        "peer_id_client": "", "port": peer.address.port(), "progress": peer.progress, "relevance": 0.0,
        "up_speed": peer.upload_rate, "uploaded": 0,
    })
}

/// The directory of incomplete files, for a torrent whose files are there.
fn incomplete_path(torrent: &TorrentStatus) -> String {
    match torrent.download_dir() == torrent.data_dir {
        true => String::new(),
        false => torrent.data_dir.to_string_lossy().into_owned(),
    }
}

/// The file of a torrent of one file, the folder of any other, where they are now.
fn content_path(torrent: &TorrentStatus) -> String {
    let files = &torrent.metainfo.info.layout.files;
    let below = match &files[..] {
        [only] => only.path.as_path(),
        [first, ..] => first.path.iter().next().map_or(std::path::Path::new(""), std::path::Path::new),
        [] => std::path::Path::new(&torrent.metainfo.info.name),
    };
    torrent.data_dir.join(below).to_string_lossy().into_owned()
}

/// The name that the user gave it, or its own.
fn shown_name(torrent: &TorrentStatus) -> &str {
    match torrent.settings.name.as_str() {
        "" => &torrent.metainfo.info.name,
        name => name,
    }
}

/// The folder that a torrent's files are in, when it has one.
fn root_path(torrent: &TorrentStatus) -> String {
    let mut parts =
        torrent.metainfo.info.layout.files.first().map(|file| file.path.iter()).into_iter().flatten();
    match (parts.next(), parts.next()) {
        (Some(folder), Some(_)) => torrent.data_dir.join(folder).to_string_lossy().into_owned(),
        _ => String::new(),
    }
}

/// -2 the session's goal, -1 none.
fn ratio_limit(torrent: &TorrentStatus) -> f64 {
    match torrent.settings.ratio_mode {
        ShareLimitMode::Session => -2.0,
        ShareLimitMode::Own => torrent.settings.ratio,
        ShareLimitMode::Never => -1.0,
    }
}

fn idle_limit(torrent: &TorrentStatus) -> i64 {
    match torrent.settings.idle_mode {
        ShareLimitMode::Session => -2,
        ShareLimitMode::Own => torrent.settings.idle_minutes.into(),
        ShareLimitMode::Never => -1,
    }
}

fn seeding_limit(torrent: &TorrentStatus) -> i64 {
    let none = if torrent.settings.seed_time_never { -1 } else { -2 };
    torrent.settings.seed_minutes.map_or(none, |minutes| i64::try_from(minutes).unwrap_or(i64::MAX))
}

/// Seconds since 1970; 0 for never.
fn unix(time: Option<SystemTime>) -> i64 {
    time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs() as i64)
}
