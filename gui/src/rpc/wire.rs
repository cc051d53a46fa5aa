//! What the torrent table reads of each torrent: a lean part of `torrent-get`'s answer, for lists may be long.

use serde::Deserialize;

/// An answer, read in one go into the type that is expected.
#[derive(Debug, Deserialize)]
pub(super) struct Answer<T> {
    /// `success`, or what went wrong.
    pub(super) result: String,
    /// What was asked for; missing when it failed.
    pub(super) arguments: Option<T>,
}

/// Answer to `torrent-get`.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct TorrentList<T> {
    /// The torrents.
    pub(super) torrents: Vec<T>,
    /// Ids of those that are gone.
    #[serde(default)]
    pub(super) removed: Vec<u32>,
}

/// Fields of [`Listed`] that change while a torrent runs.
pub(super) const CHANGING: &[&str] = &[
    "id",
    "name",
    "hashString",
    "status",
    "error",
    "errorString",
    "totalSize",
    "sizeWhenDone",
    "leftUntilDone",
    "percentDone",
    "metadataPercentComplete",
    "recheckProgress",
    "rateDownload",
    "rateUpload",
    "downloadedEver",
    "uploadedEver",
    "uploadRatio",
    "eta",
    "peersConnected",
    "peersSendingToUs",
    "peersGettingFromUs",
    "addedDate",
    "doneDate",
    "labels",
    "downloadDir",
    "queuePosition",
];

/// What is asked for besides [`CHANGING`] when everything is asked for.
pub(super) const SLOW: &[&str] = &["trackerStats"];

/// A torrent of the table: a third of [`ringseed_api::Torrent`], for there may be ten thousand, all read anew each
/// second. Beside that type it tells what was left out (`None`) from what is empty.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listed {
    /// Number in this run of the engine.
    pub id: u32,
    /// Name.
    pub name: String,
    /// Info-hash in hexadecimal digits.
    pub hash_string: String,
    /// A [`ringseed_api::Status`].
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
    /// Share of the metadata that is here: below 1 for a magnet link that still looks for it.
    pub metadata_percent_complete: Option<f64>,
    /// Share that is checked.
    pub recheck_progress: f64,
    /// Bytes per second received.
    pub rate_download: u64,
    /// Bytes per second sent.
    pub rate_upload: u64,
    /// Payload bytes received.
    pub downloaded_ever: u64,
    /// Payload bytes sent.
    pub uploaded_ever: u64,
    /// Uploaded over downloaded, negative when nothing can be said.
    pub upload_ratio: f64,
    /// Seconds, negative when unknown.
    pub eta: i64,
    /// Connected peers.
    pub peers_connected: u32,
    /// Peers that send to us.
    pub peers_sending_to_us: u32,
    /// Peers that we send to.
    pub peers_getting_from_us: u32,
    /// Seconds since 1970.
    pub added_date: i64,
    /// Seconds since 1970, 0 while it is not done.
    pub done_date: i64,
    /// Labels.
    pub labels: Vec<String>,
    /// Directory its files are below.
    pub download_dir: String,
    /// Place in the queue, from 0.
    pub queue_position: i64,
    /// Trackers; only there when everything was asked for.
    pub tracker_stats: Option<Vec<ListedTracker>>,
}

/// A tracker of a torrent of the table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListedTracker {
    /// Host and port with scheme.
    pub host: String,
    /// Seeders of the swarm, -1 when unknown.
    pub seeder_count: i64,
    /// Leechers of the swarm, -1 when unknown.
    pub leecher_count: i64,
}
