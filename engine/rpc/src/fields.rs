//! `torrent-get`: each field of the specification from a torrent's snapshot.

use super::base64;
use ringseed_api::{File, FileStats, Peer, Status, TrackerStats, Trackers};
use ringseed_handle::Ranks;
use ringseed_handle::present_bytes;
use ringseed_handle::{
    EngineSnapshot, PeerStatus, ShareLimitMode, TorrentState, TorrentStatus, TrackerStatus,
};
use ringseed_net::opening::Obfuscation;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::Layout;
use ringseed_proto::tracker::http::scrape_url;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

/// Writes the arguments of `torrent-get`: torrents with the fields wanted, as objects or as a table whose first row
/// names its columns, and the ids of removed ones. Fields that there are not are left out.
///
/// # Errors
/// None that is known: JSON is written to memory.
pub(super) fn write(
    snapshot: &EngineSnapshot,
    torrents: &[Arc<TorrentStatus>],
    fields: &[String],
    table: bool,
    removed: Option<&[u32]>,
) -> serde_json::Result<Vec<u8>> {
    let around = Around::new(snapshot, fields);
    let rows = Rows { torrents, fields, table, around: &around };
    let mut text = Vec::with_capacity(torrents.len() * fields.len() * 24 + 64);
    let mut serializer = serde_json::Serializer::new(&mut text);
    let mut answer = serializer.serialize_map(None)?;
    if let Some(removed) = removed {
        answer.serialize_entry("removed", removed)?;
    }
    answer.serialize_entry("torrents", &rows)?;
    SerializeMap::end(answer)?;
    Ok(text)
}

/// Writes torrents with the fields wanted as a list of objects.
///
/// # Errors
/// None that is known: JSON is written to memory.
pub(super) fn write_rows(
    snapshot: &EngineSnapshot,
    torrents: &[Arc<TorrentStatus>],
    fields: &[String],
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Rows { torrents, fields, table: false, around: &Around::new(snapshot, fields) })
}

/// All torrents of an answer.
struct Rows<'a> {
    torrents: &'a [Arc<TorrentStatus>],
    fields: &'a [String],
    table: bool,
    around: &'a Around<'a>,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(None)?;
        if self.table {
            // Whether a field exists does not depend on the torrent.
            let known = |name: &&String| {
                self.torrents.first().is_none_or(|torrent| field(torrent, name, self.around).is_some())
            };
            rows.serialize_element(&self.fields.iter().filter(known).collect::<Vec<_>>())?;
        }
        for torrent in self.torrents {
            rows.serialize_element(&Row { torrent, all: self })?;
        }
        rows.end()
    }
}

/// One torrent of an answer.
struct Row<'a> {
    torrent: &'a TorrentStatus,
    all: &'a Rows<'a>,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.all.fields.iter();
        let mut fields = fields.filter_map(|name| Some((name, field(self.torrent, name, self.all.around)?)));
        if self.all.table {
            return serializer.collect_seq(fields.map(|(_, value)| value));
        }
        let mut row = serializer.serialize_map(None)?;
        fields.try_for_each(|(name, value)| row.serialize_entry(name, &value))?;
        row.end()
    }
}

/// What fields of a torrent need of the whole engine.
struct Around<'a> {
    snapshot: &'a EngineSnapshot,
    /// Places in the queue, when they are asked for.
    places: Option<Ranks<'a, (i64, u32)>>,
}

impl<'a> Around<'a> {
    fn new(snapshot: &'a EngineSnapshot, fields: &[String]) -> Self {
        let wanted = fields.iter().any(|name| name == "queuePosition");
        Self { snapshot, places: wanted.then(|| snapshot.queue.ranks()) }
    }
}

/// One field; `None` when the specification has none of this name.
fn field(torrent: &TorrentStatus, name: &str, around: &Around<'_>) -> Option<Value> {
    let settings = &torrent.settings;
    let info = &torrent.metainfo.info;
    let layout = &info.layout;
    let (error, error_text) = error(torrent);
    let peers = |wanted: fn(&PeerStatus) -> bool| torrent.peers.iter().filter(|peer| wanted(peer)).count();
    Some(match name {
        "activityDate" => json!(torrent.active_at),
        "addedDate" | "startDate" => json!(unix(Some(torrent.added_at))),
        "availability" => json!(availability(torrent)),
        "bannedPeers" => torrent
            .banned
            .iter()
            .map(|peer| json!({"address": peer.address, "until": unix(Some(peer.until))}))
            .collect(),
        "bandwidthPriority" => json!(0),
        "comment" => json!(torrent.metainfo.comment.as_deref().unwrap_or("")),
        "corruptEver" => json!(torrent.wasted),
        "creator" => json!(torrent.metainfo.created_by.as_deref().unwrap_or("")),
        "dateCreated" => json!(torrent.metainfo.creation_date.unwrap_or(0)),
        "desiredAvailable" => json!(desired_available(torrent)),
        "doneDate" => json!(unix(torrent.finished_at)),
        "downloadDir" => json!(torrent.download_dir().to_string_lossy()),
        "downloadLimit" => json!(torrent.download_limit.rate.div_ceil(1000)),
        "downloadLimited" => json!(torrent.download_limit.on),
        "downloadedEver" => json!(torrent.downloaded),
        "editDate" => json!(settings.edited_at),
        "error" => json!(error),
        "errorString" => json!(error_text),
        "eta" => json!(eta(torrent)),
        "etaIdle" => json!(eta_idle(torrent, around.snapshot)),
        "file-count" => json!(layout.files.len()),
        "fileStats" => Value::Array(
            completed(layout, &torrent.have)
                .enumerate()
                .map(|(index, bytes_completed)| {
                    let wish = settings.file(index);
                    json!(FileStats { bytes_completed, wanted: wish.wanted, priority: wish.priority })
                })
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
        "group" => json!(settings.group),
        "hashString" => json!(torrent.torrent_id().to_string()),
        "haveUnchecked" => json!(0),
        "haveValid" => json!(torrent.verified()),
        "honorsSessionLimits" => json!(true),
        "id" => json!(torrent.id),
        "isFinished" => json!(torrent.is_finished(&around.snapshot.settings)),
        "isPrivate" => json!(info.private),
        "isStalled" => json!(
            matches!(torrent.state, TorrentState::Downloading | TorrentState::Seeding)
                && torrent.download_rate + torrent.upload_rate == 0
        ),
        "labels" => json!(settings.labels),
        "leftUntilDone" => json!(torrent.left),
        "magnetLink" => json!(magnet(torrent)),
        "manualAnnounceTime" => json!(-1),
        "maxConnectedPeers" | "peer-limit" => {
            json!(settings.peer_limit.unwrap_or(ringseed_net::limits::TORRENT_CONNECTIONS_MAX as u32))
        }
        "metadataPercentComplete" => json!(1.0),
        "name" => json!(info.name),
        "peers" => Value::Array(torrent.peers.iter().map(|peer| json!(peer_of(peer))).collect()),
        "peersConnected" => json!(torrent.connected),
        "peersFrom" => json!({
            "fromCache": 0, "fromDht": 0, "fromLpd": 0, "fromLtep": 0, "fromPex": 0,
            "fromIncoming": peers(|peer| peer.incoming),
            "fromTracker": peers(|peer| !peer.incoming),
        }),
        "peersGettingFromUs" => json!(peers(|peer| peer.upload_rate > 0)),
        "peersSendingToUs" => json!(peers(|peer| peer.download_rate > 0)),
        "percentComplete" => json!(share(torrent.verified(), layout.total_length)),
        "percentDone" => json!(torrent.progress()),
        "pieceCount" => json!(layout.piece_count()),
        "pieceSize" => json!(layout.piece_length),
        "pieces" => json!(base64::encode(torrent.have.as_bytes())),
        "primary-mime-type" => json!("application/octet-stream"),
        "priorities" => {
            json!((0..layout.files.len()).map(|file| settings.file(file).priority).collect::<Vec<_>>())
        }
        "queuePosition" => {
            let place = around.places.as_ref().and_then(|places| places.of((settings.queue, torrent.id)));
            json!(place.unwrap_or(0))
        }
        "rateDownload" => json!(torrent.download_rate),
        "rateUpload" => json!(torrent.upload_rate),
        "recheckProgress" => json!(match torrent.state {
            TorrentState::Checking(progress) => progress,
            _ => 0.0,
        }),
        "ringseedCategory" => json!(settings.category),
        "ringseedCurrentDir" => json!(torrent.data_dir.to_string_lossy()),
        "ringseedMoveProgress" => json!(match torrent.state {
            TorrentState::Moving(progress) => progress,
            _ => -1.0,
        }),
        "ringseedMoveTo" => {
            json!(torrent.moving_to().map_or_else(String::new, |to| to.to_string_lossy().into()))
        }
        "ringseedSeedMinutes" => json!(settings.seed_minutes.map_or(-1, |minutes| minutes as i64)),
        "secondsDownloading" => json!(torrent.seconds().0),
        "secondsSeeding" => json!(torrent.seconds().1),
        "seedIdleLimit" => json!(settings.idle_minutes),
        "seedIdleMode" => json!(mode(settings.idle_mode)),
        "seedRatioLimit" => json!(settings.ratio),
        "seedRatioMode" => json!(mode(settings.ratio_mode)),
        "sequentialDownload" | "sequential_download" => json!(torrent.sequential),
        "sizeWhenDone" => json!(torrent.wanted),
        "source" => json!(info.source.as_deref().unwrap_or("")),
        "status" => json!(status(torrent) as u8),
        "torrentFile" => json!(""),
        "totalSize" => json!(layout.total_length),
        "trackerList" => json!(tracker_list(torrent.tiers())),
        "trackerStats" => {
            Value::Array(trackers(torrent).map(|(id, tracker)| json!(tracker_stats(id, &tracker))).collect())
        }
        "trackers" => {
            Value::Array(trackers(torrent).map(|(id, tracker)| json!(tracker_of(id, &tracker))).collect())
        }
        "uploadLimit" => json!(torrent.upload_limit.rate.div_ceil(1000)),
        "uploadLimited" => json!(torrent.upload_limit.on),
        "uploadRatio" => json!(torrent.ratio().of_transmission()),
        "uploadedEver" => json!(torrent.uploaded),
        // Transmission 3 and 4.0 write 0 and 1 here.
        "wanted" => {
            let wanted = |file| u8::from(settings.file(file).wanted);
            json!((0..layout.files.len()).map(wanted).collect::<Vec<_>>())
        }
        "waitsForMemory" => json!(torrent.waits_for_memory),
        "webseeds" => json!(torrent.metainfo.web_seeds),
        "webseedsSendingToUs" => json!(0),
        _ => return None,
    })
}

fn status(torrent: &TorrentStatus) -> Status {
    match torrent.state {
        TorrentState::Paused | TorrentState::Failed(_) | TorrentState::Missing(_) => Status::Stopped,
        TorrentState::Queued if torrent.left == 0 => Status::SeedWait,
        TorrentState::Queued => Status::DownloadWait,
        TorrentState::Checking(_) => Status::Check,
        // Stopped or seeding with nothing left is done to those who fetch the files then.
        TorrentState::Downloading | TorrentState::Moving(_) => Status::Download,
        TorrentState::Seeding => Status::Seed,
    }
}

fn mode(mode: ShareLimitMode) -> u8 {
    match mode {
        ShareLimitMode::Session => 0,
        ShareLimitMode::Own => 1,
        ShareLimitMode::Never => 2,
    }
}

/// The trackers with their ids, which are their places in the list of all tiers. One that was not announced to yet
/// has nothing to tell.
fn trackers(torrent: &TorrentStatus) -> impl Iterator<Item = (u32, TrackerStatus)> + '_ {
    let tiers = torrent.tiers().iter().enumerate();
    let urls = tiers.flat_map(|(tier, urls)| urls.iter().map(move |url| (tier, url)));
    (0..).zip(urls).map(|(id, (tier, url))| {
        let known = torrent.trackers.iter().find(|tracker| tracker.url == *url);
        (id, known.cloned().unwrap_or_else(|| TrackerStatus::unknown(url, tier)))
    })
}

/// How many connected peers have each piece; -1 for what is here. Of peers only the share of pieces is known, so
/// that those with everything count for each piece.
fn availability(torrent: &TorrentStatus) -> Vec<i64> {
    let have = &torrent.have;
    (0..have.len()).map(|piece| if have.get(piece) { -1 } else { i64::from(torrent.seeds) }).collect()
}

/// Seconds until the idle limit ends the seeding; -1 when nothing will.
fn eta_idle(torrent: &TorrentStatus, snapshot: &EngineSnapshot) -> i64 {
    let minutes = torrent.idle_goal(&snapshot.settings);
    let (TorrentState::Seeding, Some(minutes)) = (&torrent.state, minutes) else { return -1 };
    let quiet = unix(Some(SystemTime::now())) - i64::try_from(torrent.active_at).unwrap_or(0);
    let running = torrent.running_since.map_or(0, |since| since.elapsed().as_secs() as i64);
    (i64::from(minutes) * 60 - quiet.min(running)).max(0)
}

/// A local error, which does not have to have stopped it, or what trackers say when none of them works.
fn error(torrent: &TorrentStatus) -> (u8, &str) {
    if let Some(why) = torrent.state.error() {
        return (3, why);
    }
    if let Some(warning) = &torrent.warning {
        return (3, warning);
    }
    // One that was just stopped has its trackers until they were told so.
    if !matches!(torrent.state, TorrentState::Downloading | TorrentState::Seeding) {
        return (0, "");
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

/// Bytes of each file that lie in verified pieces.
fn completed<'a>(layout: &'a Layout, have: &'a Bitfield) -> impl Iterator<Item = u64> + 'a {
    let full = have.count_ones() == have.len();
    (0..layout.files.len()).map(move |index| match full {
        true => layout.files[index].length,
        false => present_bytes(layout, have, index),
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
    let is_encrypted = peer.obfuscation == Obfuscation::Stream;
    if is_encrypted {
        flags.push('E');
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
        is_encrypted,
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
        sitename: sitename(&host(&tracker.url)),
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
        host: host(&tracker.url).into_owned(),
        id,
        is_backup: tracker.next_announce.is_none() && !tracker.ok,
        last_announce_peer_count: tracker.peers.unwrap_or(0),
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

/// Scheme, host and port of a URL, as Transmission shows them; credentials are left out.
fn host(url: &str) -> Cow<'_, str> {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |end| start + end);
    match url[start..end].rsplit_once('@') {
        Some((_, place)) => Cow::Owned(format!("{}{place}", &url[..start])),
        None => Cow::Borrowed(&url[..end]),
    }
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
    let mut link = format!("magnet:?xt=urn:btih:{}&dn=", torrent.torrent_id());
    percent(&mut link, &torrent.metainfo.info.name);
    for url in torrent.tiers().iter().flatten() {
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

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
