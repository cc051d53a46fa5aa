//! What is kept about one torrent between runs, and its form on disk.

use super::super::confined::FileStamp;
use super::torrent_settings::{ShareLimitMode, TorrentSettings};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Whether a torrent is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Started whenever the engine is.
    #[default]
    Running,
    /// Stopped by the user.
    Paused,
}

/// A limit of a rate that can be turned off without forgetting its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpeedLimit {
    /// Bytes per second; 0 lets nothing through.
    pub rate: u64,
    /// Whether it holds.
    pub on: bool,
}

impl SpeedLimit {
    /// The rate that holds; `None` is no limit.
    pub fn effective(self) -> Option<u64> {
        self.on.then_some(self.rate)
    }
}

impl From<Option<u64>> for SpeedLimit {
    fn from(rate: Option<u64>) -> SpeedLimit {
        SpeedLimit { rate: rate.unwrap_or(0), on: rate.is_some() }
    }
}

/// A torrent of the session.
#[derive(Debug, Clone, PartialEq)]
pub struct TorrentRecord {
    /// The torrent, the key.
    pub torrent_id: TorrentId,
    /// The torrent file.
    pub metainfo: Vec<u8>,
    /// Directory its files are below.
    pub data_dir: PathBuf,
    /// Whether it is to run.
    pub state: RunState,
    /// Pieces that were verified and made durable.
    pub have: Bitfield,
    /// Payload bytes sent, over all runs.
    pub uploaded: u64,
    /// Payload bytes received, over all runs.
    pub downloaded: u64,
    /// When it was added, to the second.
    pub added_at: SystemTime,
    /// When it was finished, to the second.
    pub finished_at: Option<SystemTime>,
    /// What else the user wants of it.
    pub settings: TorrentSettings,
    /// Fetch pieces in order.
    pub sequential: bool,
    /// Limit of its upload.
    pub upload_limit: SpeedLimit,
    /// Limit of its download.
    pub download_limit: SpeedLimit,
    /// The engine stopped in good order after the last change: file stamps are exact. Without it, files
    /// may have been written after the stamps were taken.
    pub clean_shutdown: bool,
    /// Size and time of each file when this was written; empty when not known.
    pub stamps: Vec<FileStamp>,
}

impl TorrentRecord {
    /// A new running torrent without any pieces.
    pub fn new(torrent_id: TorrentId, metainfo: Vec<u8>, data_dir: PathBuf, pieces: u32) -> TorrentRecord {
        TorrentRecord {
            torrent_id,
            metainfo,
            data_dir,
            state: RunState::Running,
            have: Bitfield::new(pieces),
            uploaded: 0,
            downloaded: 0,
            added_at: SystemTime::now(),
            finished_at: None,
            settings: TorrentSettings::default(),
            sequential: false,
            upload_limit: SpeedLimit::default(),
            download_limit: SpeedLimit::default(),
            clean_shutdown: false,
            stamps: Vec::new(),
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            data_dir: StoredPath::from(self.data_dir.as_path()),
            state: self.state,
            added_at: seconds(self.added_at),
            finished_at: self.finished_at.map(seconds),
            settings: self.settings.clone(),
            sequential: self.sequential,
            seed_ratio: None,
            upload_limit: self.upload_limit,
            download_limit: self.download_limit,
            clean_shutdown: self.clean_shutdown,
        }
    }
}

/// The part that seldom changes, as JSON. Fields that a later version adds have defaults, fields that it drops
/// are ignored, so either version reads the other's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) data_dir: StoredPath,
    #[serde(default)]
    pub(super) state: RunState,
    #[serde(default)]
    pub(super) added_at: u64,
    #[serde(default)]
    pub(super) finished_at: Option<u64>,
    #[serde(default, rename = "wishes")]
    settings: TorrentSettings,
    #[serde(default)]
    pub(super) sequential: bool,
    /// As the first version wrote the ratio goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed_ratio: Option<f64>,
    #[serde(default)]
    pub(super) upload_limit: SpeedLimit,
    #[serde(default)]
    pub(super) download_limit: SpeedLimit,
    #[serde(default)]
    pub(super) clean_shutdown: bool,
}

impl Settings {
    /// `record` with what these settings say.
    pub(super) fn into_record(mut self, record: TorrentRecord) -> TorrentRecord {
        let settings = self.settings();
        TorrentRecord {
            data_dir: self.data_dir.into(),
            state: self.state,
            added_at: time(self.added_at),
            finished_at: self.finished_at.map(time),
            settings,
            sequential: self.sequential,
            upload_limit: self.upload_limit,
            download_limit: self.download_limit,
            clean_shutdown: self.clean_shutdown,
            ..record
        }
    }

    /// Without what changes by itself while a torrent runs.
    pub(super) fn steady(mut self) -> Settings {
        let TorrentSettings { seconds_downloading, seconds_seeding, active_at, .. } = &mut self.settings;
        (*seconds_downloading, *seconds_seeding, *active_at) = (0, 0, 0);
        self
    }

    /// What the user wants, also when the first version wrote it.
    pub(super) fn settings(&mut self) -> TorrentSettings {
        let mut settings = std::mem::take(&mut self.settings);
        if let Some(ratio) = self.seed_ratio {
            (settings.ratio_mode, settings.ratio) = (ShareLimitMode::Own, ratio);
        }
        settings
    }
}

/// A path: text where it is, bytes where it is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredPath {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&Path> for StoredPath {
    fn from(path: &Path) -> StoredPath {
        match path.to_str() {
            Some(text) => StoredPath::Text(text.into()),
            None => StoredPath::Bytes(path.as_os_str().as_bytes().into()),
        }
    }
}

impl From<StoredPath> for PathBuf {
    fn from(stored: StoredPath) -> PathBuf {
        match stored {
            StoredPath::Text(text) => text.into(),
            StoredPath::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

/// Paths in other records as [`StoredPath`]: JSON has no text for each of them.
pub(super) mod stored_path {
    use super::StoredPath;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::{Path, PathBuf};

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        StoredPath::from(path).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        StoredPath::deserialize(deserializer).map(PathBuf::from)
    }
}

/// As [`stored_path`] for one that may not be there.
pub(super) mod stored_path_option {
    use super::StoredPath;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::PathBuf;

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(StoredPath::from).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<StoredPath>::deserialize(deserializer)?.map(PathBuf::from))
    }
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The part that changes every second: uploaded, downloaded, number of pieces (little endian), then the bits.
pub(super) fn encode_pieces(have: &Bitfield, uploaded: u64, downloaded: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + have.as_bytes().len());
    bytes.extend_from_slice(&uploaded.to_le_bytes());
    bytes.extend_from_slice(&downloaded.to_le_bytes());
    bytes.extend_from_slice(&have.len().to_le_bytes());
    bytes.extend_from_slice(have.as_bytes());
    bytes
}

/// Replaces the totals in an encoded record; false when it is none.
pub(super) fn patch_totals(bytes: &mut [u8], uploaded: u64, downloaded: u64) -> bool {
    let Some(totals) = bytes.first_chunk_mut::<16>() else { return false };
    totals[..8].copy_from_slice(&uploaded.to_le_bytes());
    totals[8..].copy_from_slice(&downloaded.to_le_bytes());
    true
}

/// What was sent and received, of an encoded record; `None` when it is none.
pub(super) fn totals(bytes: &[u8]) -> Option<(u64, u64)> {
    let (uploaded, rest) = bytes.split_first_chunk()?;
    let downloaded = rest.first_chunk()?;
    Some((u64::from_le_bytes(*uploaded), u64::from_le_bytes(*downloaded)))
}

pub(super) fn decode_pieces(bytes: &[u8]) -> Option<(Bitfield, u64, u64)> {
    let (uploaded, rest) = bytes.split_first_chunk()?;
    let (downloaded, rest) = rest.split_first_chunk()?;
    let (pieces, bits) = rest.split_first_chunk()?;
    let have = Bitfield::from_bytes(u32::from_le_bytes(*pieces), bits).ok()?;
    Some((have, u64::from_le_bytes(*uploaded), u64::from_le_bytes(*downloaded)))
}

pub(super) fn encode_stamps(stamps: &[FileStamp]) -> Vec<u8> {
    stamps
        .iter()
        .flat_map(|stamp| [stamp.size.to_le_bytes(), stamp.modified_ns.to_le_bytes()])
        .flatten()
        .collect()
}

pub(super) fn decode_stamps(bytes: &[u8]) -> Option<Vec<FileStamp>> {
    let (stamps, rest) = bytes.as_chunks::<16>();
    let stamp = |bytes: &[u8; 16]| {
        let (size, time) = bytes.split_at(8);
        Some(FileStamp {
            size: u64::from_le_bytes(size.try_into().ok()?),
            modified_ns: i64::from_le_bytes(time.try_into().ok()?),
        })
    };
    rest.is_empty().then(|| stamps.iter().map(stamp).collect()).flatten()
}
