//! `torrent-get`: each field of the specification from a torrent's snapshot.

use super::base64;
use crate::control::{PeerStatus, TorrentState, TorrentStatus, TrackerStatus};
use ringseed_api::{File, FileStats, Peer, Status, TrackerStats, Trackers};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::Layout;
use ringseed_proto::tracker::http::scrape_url;
use ringseed_proto::units::PieceIndex;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// The torrents with the fields wanted, as objects or as a table whose first row names its columns. Fields
/// that there are not are left out.
pub(super) fn encode(torrents: &[Arc<TorrentStatus>], fields: &[String], table: bool) -> Value {
    let row = |torrent: &TorrentStatus| {
        fields.iter().filter_map(|name| Some((name.clone(), field(torrent, name)?))).collect::<Vec<_>>()
    };
    if !table {
        let object =
            |torrent: &Arc<TorrentStatus>| Value::Object(row(torrent).into_iter().collect::<Map<_, _>>());
        return Value::Array(torrents.iter().map(object).collect());
    }
    // Whether a field exists does not depend on the torrent.
    let names: Vec<Value> = match torrents.first() {
        Some(torrent) => row(torrent).into_iter().map(|(name, _)| Value::String(name)).collect(),
        None => fields.iter().cloned().map(Value::String).collect(),
    };
    let values = |torrent: &Arc<TorrentStatus>| {
        Value::Array(row(torrent).into_iter().map(|(_, value)| value).collect())
    };
    Value::Array(std::iter::once(Value::Array(names)).chain(torrents.iter().map(values)).collect())
}

/// One field; `None` when the specification has none of this name.
fn field(torrent: &TorrentStatus, name: &str) -> Option<Value> {
    let info = &torrent.metainfo.info;
    let layout = &info.layout;
    let (error, error_text) = error(torrent);
    let peers = |wanted: fn(&PeerStatus) -> bool| torrent.peers.iter().filter(|peer| wanted(peer)).count();
    Some(match name {
        "activityDate" => json!(if torrent.upload_rate + torrent.download_rate > 0 {
            unix(Some(SystemTime::now()))
        } else {
            unix(torrent.finished_at)
        }),
        "addedDate" | "startDate" => json!(unix(Some(torrent.added_at))),
        "availability" => json!([]),
        "bandwidthPriority" => json!(0),
        "comment" => json!(torrent.metainfo.comment.as_deref().unwrap_or("")),
        "corruptEver" => json!(torrent.wasted),
        "creator" => json!(torrent.metainfo.created_by.as_deref().unwrap_or("")),
        "dateCreated" => json!(torrent.metainfo.creation_date.unwrap_or(0)),
        "desiredAvailable" => json!(desired_available(torrent)),
        "doneDate" => json!(unix(torrent.finished_at)),
        "downloadDir" => json!(torrent.data_dir.to_string_lossy()),
        "downloadLimit" => json!(torrent.download_limit.rate / 1000),
        "downloadLimited" => json!(torrent.download_limit.on),
        "downloadedEver" => json!(torrent.downloaded),
        "editDate" => json!(0),
        "error" => json!(error),
        "errorString" => json!(error_text),
        "eta" => json!(eta(torrent)),
        "etaIdle" => json!(-1),
        "file-count" => json!(layout.files.len()),
        "fileStats" => Value::Array(
            completed(layout, &torrent.have)
                .map(|bytes_completed| json!(FileStats { bytes_completed, wanted: true, priority: 0 }))
                .collect(),
        ),
        "files" => Value::Array(
            layout
                .files
                .iter()
                .zip(completed(layout, &torrent.have))
                .map(|(file, bytes_completed)| {
                    let name = file.path.to_string_lossy().into_owned();
                    json!(File { name, length: file.length, bytes_completed })
                })
                .collect(),
        ),
        "group" => json!(""),
        "hashString" => json!(torrent.info_hash().to_string()),
        "haveUnchecked" => json!(0),
        "haveValid" => json!(have_bytes(layout, &torrent.have)),
        "honorsSessionLimits" => json!(true),
        "id" => json!(torrent.id),
        "isFinished" => json!(
            matches!(torrent.state, TorrentState::Paused)
                && torrent.left == 0
                && torrent.seed_ratio.is_some_and(|limit| torrent.ratio() >= limit)
        ),
        "isPrivate" => json!(info.private),
        "isStalled" => json!(
            matches!(torrent.state, TorrentState::Downloading | TorrentState::Seeding)
                && torrent.download_rate + torrent.upload_rate == 0
        ),
        "labels" => json!([]),
        "leftUntilDone" => json!(torrent.left),
        "magnetLink" => json!(magnet(torrent)),
        "manualAnnounceTime" => json!(-1),
        "maxConnectedPeers" | "peer-limit" => json!(crate::limits::TORRENT_CONNECTIONS_MAX),
        "metadataPercentComplete" => json!(1.0),
        "name" => json!(info.name),
        "peers" => Value::Array(torrent.peers.iter().map(|peer| json!(peer_of(peer))).collect()),
        "peersConnected" => json!(torrent.peers.len()),
        "peersFrom" => json!({
            "fromCache": 0, "fromDht": 0, "fromLpd": 0, "fromLtep": 0, "fromPex": 0,
            "fromIncoming": peers(|peer| peer.incoming),
            "fromTracker": peers(|peer| !peer.incoming),
        }),
        "peersGettingFromUs" => json!(peers(|peer| peer.upload_rate > 0)),
        "peersSendingToUs" => json!(peers(|peer| peer.download_rate > 0)),
        "percentComplete" => json!(share(have_bytes(layout, &torrent.have), layout.total_length)),
        "percentDone" => json!(torrent.progress()),
        "pieceCount" => json!(layout.piece_count()),
        "pieceSize" => json!(layout.piece_length),
        "pieces" => json!(base64::encode(torrent.have.as_bytes())),
        "primary-mime-type" => json!("application/octet-stream"),
        "priorities" => json!(vec![0; layout.files.len()]),
        "queuePosition" => json!(torrent.id),
        "rateDownload" => json!(torrent.download_rate),
        "rateUpload" => json!(torrent.upload_rate),
        "recheckProgress" => json!(match torrent.state {
            TorrentState::Checking(progress) => progress,
            _ => 0.0,
        }),
        "secondsDownloading" => json!(seconds_between(Some(torrent.added_at), torrent.finished_at)),
        "secondsSeeding" => json!(torrent.finished_at.map_or(0, |since| seconds_between(Some(since), None))),
        "seedIdleLimit" => json!(30),
        "seedIdleMode" => json!(0),
        "seedRatioLimit" => json!(torrent.seed_ratio.unwrap_or(2.0)),
        "seedRatioMode" => json!(u8::from(torrent.seed_ratio.is_some())),
        "sequentialDownload" | "sequential_download" => json!(torrent.sequential),
        "sizeWhenDone" => json!(torrent.wanted),
        "source" => json!(info.source.as_deref().unwrap_or("")),
        "status" => json!(status(&torrent.state) as u8),
        "torrentFile" => json!(""),
        "totalSize" => json!(layout.total_length),
        "trackerList" => json!(tracker_list(&torrent.metainfo.tiers)),
        "trackerStats" => Value::Array(
            (0..).zip(&torrent.trackers).map(|(id, tracker)| json!(tracker_stats(id, tracker))).collect(),
        ),
        "trackers" => Value::Array(
            (0..).zip(&torrent.trackers).map(|(id, tracker)| json!(tracker_of(id, tracker))).collect(),
        ),
        "uploadLimit" => json!(torrent.upload_limit.rate / 1000),
        "uploadLimited" => json!(torrent.upload_limit.on),
        "uploadRatio" => {
            json!(if torrent.uploaded == 0 && torrent.downloaded == 0 { -1.0 } else { torrent.ratio() })
        }
        "uploadedEver" => json!(torrent.uploaded),
        // Transmission 3 and 4.0 write 0 and 1 here.
        "wanted" => json!(vec![1; layout.files.len()]),
        "webseeds" => json!(torrent.metainfo.web_seeds),
        "webseedsSendingToUs" => json!(0),
        _ => return None,
    })
}

fn status(state: &TorrentState) -> Status {
    match state {
        TorrentState::Paused | TorrentState::Failed(_) => Status::Stopped,
        TorrentState::Checking(_) => Status::Check,
        TorrentState::Downloading => Status::Download,
        TorrentState::Seeding => Status::Seed,
    }
}

/// A local error, or what trackers say when none of them works.
fn error(torrent: &TorrentStatus) -> (u8, &str) {
    if let TorrentState::Failed(why) = &torrent.state {
        return (3, why);
    }
    let failed = torrent.trackers.iter().find(|tracker| !tracker.ok && !tracker.last_result.is_empty());
    match failed {
        Some(tracker) if !torrent.trackers.iter().any(|tracker| tracker.ok) => (2, &tracker.last_result),
        _ => (0, ""),
    }
}

/// Seconds until done; -1 when there is nothing to wait for, -2 when it cannot be told.
fn eta(torrent: &TorrentStatus) -> i64 {
    match torrent.state {
        TorrentState::Downloading => match torrent.left.checked_div(torrent.download_rate) {
            Some(seconds) => i64::try_from(seconds).unwrap_or(i64::MAX),
            None => -2,
        },
        _ => -1,
    }
}

/// Bytes still missing that some connected peer has.
fn desired_available(torrent: &TorrentStatus) -> u64 {
    if torrent.seeds > 0 { torrent.left } else { 0 }
}

fn have_bytes(layout: &Layout, have: &Bitfield) -> u64 {
    // The last piece alone may be shorter than the others.
    let count = u64::from(have.count_ones());
    let bytes = count * u64::from(layout.piece_length);
    match layout.piece_count().checked_sub(1) {
        Some(last) if have.get(last) => {
            bytes - u64::from(layout.piece_length) + u64::from(layout.piece_len(PieceIndex(last)))
        }
        _ => bytes,
    }
}

/// Bytes of each file that lie in verified pieces.
fn completed<'a>(layout: &'a Layout, have: &'a Bitfield) -> impl Iterator<Item = u64> + 'a {
    let full = have.count_ones() == have.len();
    (0..layout.files.len()).map(move |index| {
        let file = &layout.files[index];
        if full {
            return file.length;
        }
        let piece_length = u64::from(layout.piece_length);
        layout
            .pieces_of_file(index)
            .filter(|piece| have.get(*piece))
            .map(|piece| {
                let start = u64::from(piece) * piece_length;
                let end = start + u64::from(layout.piece_len(PieceIndex(piece)));
                end.min(file.offset + file.length).saturating_sub(start.max(file.offset))
            })
            .sum()
    })
}

fn peer_of(peer: &PeerStatus) -> Peer {
    let mut flags = String::new();
    match (peer.am_interested, peer.peer_choking) {
        (true, false) => flags.push(if peer.download_rate > 0 { 'D' } else { 'd' }),
        (true, true) => flags.push('d'),
        (false, false) => flags.push('K'),
        (false, true) => {}
    }
    match (peer.peer_interested, peer.am_choking) {
        (true, false) => flags.push('U'),
        (true, true) => flags.push('u'),
        (false, false) => flags.push('?'),
        (false, true) => {}
    }
    if peer.incoming {
        flags.push('I');
    }
    Peer {
        address: peer.address.ip().to_string(),
        port: peer.address.port(),
        client_name: peer.client.clone(),
        flag_str: flags,
        progress: f64::from(peer.progress),
        rate_to_client: peer.download_rate,
        rate_to_peer: peer.upload_rate,
        client_is_choked: peer.peer_choking,
        client_is_interested: peer.am_interested,
        peer_is_choked: peer.am_choking,
        peer_is_interested: peer.peer_interested,
        is_downloading_from: peer.download_rate > 0,
        is_uploading_to: peer.upload_rate > 0,
        is_encrypted: false,
        is_incoming: peer.incoming,
        is_utp: false,
    }
}

fn tracker_of(id: u32, tracker: &TrackerStatus) -> Trackers {
    Trackers {
        announce: tracker.url.clone(),
        id,
        scrape: scrape_url(&tracker.url, &[])
            .map(|url| url.trim_end_matches('?').to_owned())
            .unwrap_or_default(),
        sitename: sitename(host(&tracker.url)),
        tier: u32::try_from(tracker.tier).unwrap_or(u32::MAX),
    }
}

fn tracker_stats(id: u32, tracker: &TrackerStatus) -> TrackerStats {
    let Trackers { announce, scrape, sitename, tier, .. } = tracker_of(id, tracker);
    let announced = unix(tracker.last_announce);
    // An announce that told the numbers stands in for a scrape; clients show them only then.
    let counted = tracker.seeders.is_some() || tracker.leechers.is_some();
    TrackerStats {
        announce,
        announce_state: u8::from(tracker.next_announce.is_some()),
        download_count: -1,
        has_announced: !tracker.last_result.is_empty(),
        has_scraped: counted,
        last_scrape_succeeded: counted,
        last_scrape_time: if counted { announced } else { 0 },
        last_scrape_start_time: if counted { announced } else { 0 },
        next_scrape_time: if counted { unix(tracker.next_announce) } else { 0 },
        host: host(&tracker.url).to_owned(),
        id,
        is_backup: tracker.next_announce.is_none() && !tracker.ok,
        last_announce_result: tracker.last_result.clone(),
        last_announce_start_time: announced,
        last_announce_succeeded: tracker.ok,
        last_announce_time: if tracker.last_result.is_empty() { 0 } else { announced },
        leecher_count: tracker.leechers.map_or(-1, i64::from),
        next_announce_time: unix(tracker.next_announce),
        scrape,
        seeder_count: tracker.seeders.map_or(-1, i64::from),
        sitename,
        tier,
        ..TrackerStats::default()
    }
}

/// Scheme, host and port of a URL, as Transmission shows them.
fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |end| start + end);
    &url[..end]
}

/// The part of a host name before its public suffix: `example` of `http://tracker.example.org:80`.
fn sitename(host: &str) -> String {
    let name = host.split_once("://").map_or(host, |(_, name)| name);
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    let labels: Vec<&str> = name.split('.').collect();
    match labels[..] {
        [.., site, suffix] if suffix.bytes().all(|byte| byte.is_ascii_alphabetic()) => site.to_owned(),
        _ => name.to_owned(),
    }
}

/// Announce URLs, one a line, an empty line between tiers.
fn tracker_list(tiers: &[Vec<String>]) -> String {
    tiers.iter().map(|tier| tier.join("\n")).collect::<Vec<_>>().join("\n\n")
}

fn magnet(torrent: &TorrentStatus) -> String {
    let mut link = format!("magnet:?xt=urn:btih:{}&dn=", torrent.info_hash());
    percent(&mut link, &torrent.metainfo.info.name);
    for url in torrent.metainfo.tiers.iter().flatten() {
        link.push_str("&tr=");
        percent(&mut link, url);
    }
    link
}

/// Appends a text with all but RFC 3986's unreserved characters as `%XX`.
fn percent(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// Seconds since 1970; 0 for never.
fn unix(time: Option<SystemTime>) -> i64 {
    time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Seconds from a moment to another, or to now.
fn seconds_between(from: Option<SystemTime>, to: Option<SystemTime>) -> i64 {
    (unix(Some(to.unwrap_or_else(SystemTime::now))) - unix(from)).max(0)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
