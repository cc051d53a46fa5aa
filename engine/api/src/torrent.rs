//! Torrents: what is asked of them, and what they say.

use super::extension::EarlierArgs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `status` of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Paused, or failed.
    Stopped = 0,
    /// Waits to be checked.
    CheckWait = 1,
    /// Is being checked.
    Check = 2,
    /// Waits to download.
    DownloadWait = 3,
    /// Downloads.
    Download = 4,
    /// Waits to seed.
    SeedWait = 5,
    /// Seeds.
    Seed = 6,
}

/// One way to name a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// The number that it has in this run.
    Number(i64),
    /// Its info-hash in hexadecimal digits.
    Hash(String),
}

/// Which torrents a method is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ids {
    /// One; the text `recently-active` stands for those that changed lately.
    One(Id),
    /// Each of these.
    Many(Vec<Id>),
}

/// Arguments of the methods that only name torrents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdsArgs {
    /// All torrents when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
}

/// Arguments of `torrent-get`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GetArgs {
    /// All torrents when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// Names of the fields wanted.
    #[serde(default)]
    pub fields: Vec<String>,
    /// `objects` (when missing) or `table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// Arguments of `torrent-remove`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RemoveArgs {
    /// All torrents when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// Delete the files, too.
    #[serde(deserialize_with = "loose_bool")]
    pub delete_local_data: bool,
}

/// Arguments of `torrent-add`. One of `filename` and `metainfo` is needed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AddArgs {
    /// Path of a torrent file on the engine's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// A torrent file in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metainfo: Option<String>,
    /// Directory its files go below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_dir: Option<String>,
    /// Add without starting it; on the wire, `start-added-torrents` says so when it is missing.
    #[serde(deserialize_with = "loose_bool")]
    pub paused: bool,
    /// Fetch pieces in order (the name that Transmission 4.1 gives it).
    #[serde(rename = "sequential_download", deserialize_with = "loose_bool")]
    pub sequential_download: bool,
    /// Labels, each without a comma.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Connections at most.
    #[serde(rename = "peer-limit", skip_serializing_if = "Option::is_none")]
    pub peer_limit: Option<u32>,
    /// Files that are fetched, by index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_wanted: Option<Vec<usize>>,
    /// Files that are not fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_unwanted: Option<Vec<usize>>,
    /// Files that come before the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_high: Option<Vec<usize>>,
    /// Files that come after the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_low: Option<Vec<usize>>,
    /// Files that come as usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_normal: Option<Vec<usize>>,
    /// `Cookie` header for fetching `filename` from a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookies: Option<String>,
    /// Priority of the torrent: only 0 is supported.
    #[serde(rename = "bandwidthPriority", skip_serializing_if = "Option::is_none")]
    pub bandwidth_priority: Option<i8>,
    /// Extension: what another client did with it before.
    #[serde(rename = "ringseedEarlier", skip_serializing_if = "Option::is_none")]
    pub earlier: Option<EarlierArgs>,
}

/// Arguments of `torrent-set`; what is missing stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetArgs {
    /// All torrents when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// Upload limit in kB/s; 0 lets nothing through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_limit: Option<u64>,
    /// Whether it holds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub upload_limited: Option<bool>,
    /// Download limit in kB/s; 0 lets nothing through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_limit: Option<u64>,
    /// Whether it holds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub download_limited: Option<bool>,
    /// Fetch pieces in order (the name that Transmission 4.1 gives it, in either form).
    #[serde(
        alias = "sequential_download",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "loose_flag"
    )]
    pub sequential_download: Option<bool>,
    /// Priority of the torrent: only 0 is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth_priority: Option<i8>,
    /// Whether the session's limits hold for it: only true is supported.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub honors_session_limits: Option<bool>,
    /// Bandwidth group; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Labels in place of those it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// New directory of its files, which are moved there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Connections at most.
    #[serde(rename = "peer-limit", skip_serializing_if = "Option::is_none")]
    pub peer_limit: Option<u32>,
    /// Place in the queue, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<usize>,
    /// Its own idle limit in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed_idle_limit: Option<u32>,
    /// Which idle limit holds: 0 the session's, 1 its own, 2 none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed_idle_mode: Option<u8>,
    /// Its own ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed_ratio_limit: Option<f64>,
    /// Which ratio holds: 0 the session's, 1 its own, 2 none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed_ratio_mode: Option<u8>,
    /// Files that are fetched, by index; an empty list means all.
    #[serde(rename = "files-wanted", skip_serializing_if = "Option::is_none")]
    pub files_wanted: Option<Vec<usize>>,
    /// Files that are not fetched.
    #[serde(rename = "files-unwanted", skip_serializing_if = "Option::is_none")]
    pub files_unwanted: Option<Vec<usize>>,
    /// Files that come before the others.
    #[serde(rename = "priority-high", skip_serializing_if = "Option::is_none")]
    pub priority_high: Option<Vec<usize>>,
    /// Files that come after the others.
    #[serde(rename = "priority-low", skip_serializing_if = "Option::is_none")]
    pub priority_low: Option<Vec<usize>>,
    /// Files that come as usual.
    #[serde(rename = "priority-normal", skip_serializing_if = "Option::is_none")]
    pub priority_normal: Option<Vec<usize>>,
    /// Announce URLs, each a new tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracker_add: Option<Vec<String>>,
    /// All trackers: a URL a line, an empty line between tiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracker_list: Option<String>,
    /// Trackers to be removed, by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracker_remove: Option<Vec<usize>>,
    /// Trackers to be replaced: an id and its new URL in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracker_replace: Option<Vec<Value>>,
    /// Extension: minutes of seeding after which it stops; -1 for no such limit.
    #[serde(rename = "ringseedSeedMinutes", skip_serializing_if = "Option::is_none")]
    pub seed_minutes: Option<i64>,
    /// Extension: qBittorrent's category, which is made when there is none of this name; empty for none.
    #[serde(rename = "ringseedCategory", skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What else was given.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Arguments of `torrent-set-location`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationArgs {
    /// All torrents when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// The new directory, absolute.
    pub location: String,
    /// Move the files there; otherwise they are there already.
    #[serde(default, rename = "move", deserialize_with = "loose_bool")]
    pub move_files: bool,
}

/// Arguments of `torrent-rename-path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameArgs {
    /// The torrent; one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// Path of a file or folder as `files` tells it.
    pub path: String,
    /// Its new last name.
    pub name: String,
}

/// A bandwidth group, in `group-get` and `group-set`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether the session's limits hold for its torrents: always.
    #[serde(rename = "honorsSessionLimits")]
    pub honors_session_limits: Option<bool>,
    /// Download limit in kB/s.
    pub speed_limit_down: Option<u64>,
    /// Whether it holds: not supported.
    pub speed_limit_down_enabled: Option<bool>,
    /// Upload limit in kB/s.
    pub speed_limit_up: Option<u64>,
    /// Whether it holds: not supported.
    pub speed_limit_up_enabled: Option<bool>,
}

/// Answer to `torrent-add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Added {
    /// It is new.
    TorrentAdded(AddedTorrent),
    /// It was there already.
    TorrentDuplicate(AddedTorrent),
}

/// What names an added torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedTorrent {
    /// Its number in this run.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its info-hash in lower-case hexadecimal digits.
    pub hash_string: String,
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct File {
    /// Path below the download directory.
    pub name: String,
    /// Bytes in all.
    pub length: u64,
    /// Bytes of verified pieces.
    pub bytes_completed: u64,
}

/// What changes about a file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileStats {
    /// Bytes of verified pieces.
    pub bytes_completed: u64,
    /// Whether it is fetched.
    pub wanted: bool,
    /// -1, 0 or 1.
    pub priority: i8,
}

/// One connected peer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Peer {
    /// IP address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Client name and version.
    pub client_name: String,
    /// Flags in one text: `D` sends to us, `d` could, `U` gets from us, `u` could, `K` would but we do not want,
    /// `?` wants nothing though we would, `E` is encrypted, `I` came in.
    pub flag_str: String,
    /// Share of the pieces it has.
    pub progress: f64,
    /// Bytes per second from it.
    pub rate_to_client: u64,
    /// Bytes per second to it.
    pub rate_to_peer: u64,
    /// It chokes us.
    pub client_is_choked: bool,
    /// We want its pieces.
    pub client_is_interested: bool,
    /// We choke it.
    pub peer_is_choked: bool,
    /// It wants our pieces.
    pub peer_is_interested: bool,
    /// It sends to us.
    pub is_downloading_from: bool,
    /// We send to it.
    pub is_uploading_to: bool,
    /// The connection is encrypted.
    pub is_encrypted: bool,
    /// It connected to us.
    pub is_incoming: bool,
    /// The connection is uTP.
    #[serde(rename = "isUTP")]
    pub is_utp: bool,
}

/// One tracker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trackers {
    /// Announce URL.
    pub announce: String,
    /// Number in the torrent.
    pub id: u32,
    /// Scrape URL; empty when there is none.
    pub scrape: String,
    /// Host for display.
    pub sitename: String,
    /// Tier, from 0.
    pub tier: u32,
}

/// One tracker and what it said. Times are seconds since 1970, 0 for never.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrackerStats {
    /// Announce URL.
    pub announce: String,
    /// 0 inactive, 1 waiting, 2 queued, 3 active.
    pub announce_state: u8,
    /// Finished downloads, -1 when unknown.
    pub download_count: i64,
    /// Whether it has been announced to.
    pub has_announced: bool,
    /// Whether it has been scraped.
    pub has_scraped: bool,
    /// Host and port for display.
    pub host: String,
    /// Number in the torrent.
    pub id: u32,
    /// Whether it only stands in for another.
    pub is_backup: bool,
    /// Peers in the last answer.
    pub last_announce_peer_count: u32,
    /// What the last announce ended with.
    pub last_announce_result: String,
    /// When it was sent.
    pub last_announce_start_time: i64,
    /// Whether it succeeded.
    pub last_announce_succeeded: bool,
    /// When it ended.
    pub last_announce_time: i64,
    /// Whether it got no answer.
    pub last_announce_timed_out: bool,
    /// As for announces.
    pub last_scrape_result: String,
    /// As for announces.
    pub last_scrape_start_time: i64,
    /// As for announces.
    pub last_scrape_succeeded: bool,
    /// As for announces.
    pub last_scrape_time: i64,
    /// As for announces.
    pub last_scrape_timed_out: bool,
    /// Leechers, -1 when unknown.
    pub leecher_count: i64,
    /// When the next announce is due.
    pub next_announce_time: i64,
    /// When the next scrape is due.
    pub next_scrape_time: i64,
    /// As `announce_state`.
    pub scrape_state: u8,
    /// Scrape URL; empty when there is none.
    pub scrape: String,
    /// Seeders, -1 when unknown.
    pub seeder_count: i64,
    /// Host for display.
    pub sitename: String,
    /// Tier, from 0.
    pub tier: u32,
}

/// A torrent as a client of `torrent-get` reads it in the form `objects`. Fields that were not asked for have
/// their default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Torrent {
    /// Its number in this run.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its info-hash in lower-case hexadecimal digits.
    pub hash_string: String,
    /// A [`Status`].
    pub status: u8,
    /// 0 none, 1 tracker warning, 2 tracker error, 3 local error.
    pub error: u8,
    /// What is wrong.
    pub error_string: String,
    /// Bytes in all.
    pub total_size: u64,
    /// Bytes wanted.
    pub size_when_done: u64,
    /// Bytes wanted and missing.
    pub left_until_done: u64,
    /// Share of the wanted bytes that is here.
    pub percent_done: f64,
    /// Share of the files that is checked.
    pub recheck_progress: f64,
    /// Bytes per second received.
    pub rate_download: u64,
    /// Bytes per second sent.
    pub rate_upload: u64,
    /// Payload bytes received.
    pub downloaded_ever: u64,
    /// Payload bytes sent.
    pub uploaded_ever: u64,
    /// Uploaded over downloaded; -1 when nothing can be said.
    pub upload_ratio: f64,
    /// Seconds; -1 for not available, -2 for unknown.
    pub eta: i64,
    /// Directory its files are below.
    pub download_dir: String,
    /// Seconds since 1970.
    pub added_date: i64,
    /// Seconds since 1970, 0 when it is not done.
    pub done_date: i64,
    /// Free text of the author.
    pub comment: String,
    /// Program that made the torrent.
    pub creator: String,
    /// Whether peers come from its trackers only.
    pub is_private: bool,
    /// Pieces.
    pub piece_count: u32,
    /// Bytes per piece.
    pub piece_size: u32,
    /// Bit field of verified pieces in base64.
    pub pieces: String,
    /// Connected peers.
    pub peers_connected: u32,
    /// Peers that send to us.
    pub peers_sending_to_us: u32,
    /// Peers that we send to.
    pub peers_getting_from_us: u32,
    /// Peers.
    pub peers: Vec<Peer>,
    /// Labels.
    pub labels: Vec<String>,
    /// Place in the queue, from 0.
    pub queue_position: u32,
    /// Upload limit in kB/s.
    pub upload_limit: u64,
    /// Whether it holds.
    pub upload_limited: bool,
    /// Download limit in kB/s.
    pub download_limit: u64,
    /// Whether it holds.
    pub download_limited: bool,
    /// Its own ratio goal.
    pub seed_ratio_limit: f64,
    /// Which ratio goal holds: 0 the session's, 1 its own, 2 none.
    pub seed_ratio_mode: u8,
    /// Whether a goal ended its seeding.
    pub is_finished: bool,
    /// When payload moved last, seconds since 1970.
    pub activity_date: i64,
    /// Seconds it has seeded.
    pub seconds_seeding: i64,
    /// Files.
    pub files: Vec<File>,
    /// What changes about files.
    pub file_stats: Vec<FileStats>,
    /// Trackers and what they said.
    pub tracker_stats: Vec<TrackerStats>,
}

/// A flag as clients write it: true, false, 0 or 1.
pub(crate) fn loose_bool<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Ok(flag),
        Value::Number(number) if number.as_i64() == Some(0) => Ok(false),
        Value::Number(number) if number.as_i64() == Some(1) => Ok(true),
        _ => Err(serde::de::Error::custom("expected true or false")),
    }
}

/// As [`loose_bool`], for a flag that may be missing.
pub(crate) fn loose_flag<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<bool>, D::Error> {
    loose_bool(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_in_three_forms() {
        let ids = |text: &str| serde_json::from_str::<IdsArgs>(text).unwrap().ids;
        assert_eq!(ids("{}"), None);
        assert_eq!(ids(r#"{"ids":7}"#), Some(Ids::One(Id::Number(7))));
        assert_eq!(ids(r#"{"ids":"recently-active"}"#), Some(Ids::One(Id::Hash("recently-active".into()))));
        let many = Ids::Many(vec![Id::Number(1), Id::Hash("aa".into())]);
        assert_eq!(ids(r#"{"ids":[1,"aa"]}"#), Some(many));
        assert!(serde_json::from_str::<IdsArgs>(r#"{"ids":{}}"#).is_err());
    }

    #[test]
    fn flags_may_be_numbers() {
        let args: AddArgs = serde_json::from_str(r#"{"paused":1,"download-dir":"/d"}"#).unwrap();
        assert!(args.paused && args.download_dir.as_deref() == Some("/d"));
        assert!(serde_json::from_str::<AddArgs>(r#"{"paused":2}"#).is_err());
    }

    #[test]
    fn what_is_set_is_told_from_what_is_missing_and_what_is_unknown() {
        let args: SetArgs =
            serde_json::from_str(r#"{"ids":1,"uploadLimited":1,"sequential_download":false,"nonsense":[]}"#)
                .unwrap();
        assert_eq!((args.upload_limited, args.download_limited), (Some(true), None));
        assert_eq!((args.sequential_download, args.upload_limit), (Some(false), None));
        assert_eq!(args.other.keys().collect::<Vec<_>>(), ["nonsense"]);
        assert!(serde_json::from_str::<SetArgs>(r#"{"uploadLimit":-1}"#).is_err());
    }

    #[test]
    fn added_is_named_by_its_outcome() {
        let torrent = AddedTorrent { id: 1, name: "n".into(), hash_string: "h".into() };
        assert_eq!(
            serde_json::to_string(&Added::TorrentDuplicate(torrent)).unwrap(),
            r#"{"torrent-duplicate":{"id":1,"name":"n","hashString":"h"}}"#
        );
    }
}
