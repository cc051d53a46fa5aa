//! What is kept beside the resume store, so that one bad page does not lose all torrents: for each its torrent file and a
//! small record as JSON, in `torrents/` of the same directory. Nothing of it is read while the store is whole.
//!
//! A record has what the user wants of a torrent and where its files are, and nothing about its pieces: those are hashed
//! after the store was made anew. Each file is written under another name, synced and renamed.

use super::error::CopyError;
use super::record::Settings;
use super::{SessionSettings, TorrentRecord};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Name of the directory.
const DIRECTORY: &str = "torrents";
/// Name of the session's settings in it.
const SESSION: &str = "session.json";
/// Largest record in bytes: a priority for each of 2^20 files takes 4 MiB as JSON.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// A torrent's record.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Payload bytes sent over all runs, when this was written.
    #[serde(default)]
    uploaded: u64,
    /// Payload bytes received over all runs, when this was written.
    #[serde(default)]
    downloaded: u64,
    #[serde(flatten)]
    settings: Settings,
}

/// The directory beside the store.
#[derive(Debug)]
pub(super) struct Beside {
    dir: PathBuf,
}

impl Beside {
    pub(super) fn of(store: &Path) -> Beside {
        Beside { dir: store.with_file_name(DIRECTORY) }
    }

    fn place(&self, torrent_id: TorrentId, extension: &str) -> PathBuf {
        self.dir.join(format!("{torrent_id}.{extension}"))
    }

    /// The torrents that there is anything of, in order.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub(super) fn torrent_ids(&self) -> io::Result<Vec<TorrentId>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = PathBuf::from(entry?.file_name());
            let known = [Some(OsStr::new("json")), Some(OsStr::new("torrent"))].contains(&name.extension());
            let torrent_id = name.file_stem().and_then(OsStr::to_str).filter(|_| known).and_then(parse_hash);
            found.extend(torrent_id);
        }
        found.sort_unstable_by_key(|torrent_id: &TorrentId| torrent_id.0);
        found.dedup();
        Ok(found)
    }

    /// A torrent, with none of its pieces.
    ///
    /// # Errors
    /// When a file of it is missing or wrong.
    pub(super) fn read(&self, torrent_id: TorrentId) -> Result<TorrentRecord, CopyError> {
        let path = self.place(torrent_id, "json");
        let bytes = read(&path, RECORD_BYTES_MAX)?;
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| CopyError::Record { path, error })?;
        let (metainfo, pieces) = self.read_metainfo(torrent_id)?;
        let Record { uploaded, downloaded, settings } = record;
        let new = TorrentRecord::new(torrent_id, metainfo, PathBuf::new(), pieces);
        Ok(TorrentRecord { uploaded, downloaded, ..settings.into_record(new) })
    }

    /// A torrent file and its number of pieces.
    ///
    /// # Errors
    /// As [`Beside::read`].
    pub(super) fn read_metainfo(&self, torrent_id: TorrentId) -> Result<(Vec<u8>, u32), CopyError> {
        let path = self.place(torrent_id, "torrent");
        let bytes = read(&path, TORRENT_BYTES_MAX)?;
        let metainfo = match Metainfo::parse(&bytes) {
            Ok(metainfo) => metainfo,
            Err(error) => return Err(CopyError::Metainfo { path, error }),
        };
        if metainfo.id() != torrent_id {
            return Err(CopyError::OtherTorrent { path, torrent_id: metainfo.id() });
        }
        Ok((bytes, metainfo.info.layout.piece_count()))
    }

    /// Whether there is a torrent file of this length.
    pub(super) fn has_metainfo(&self, torrent_id: TorrentId, length: usize) -> bool {
        let found = fs::symlink_metadata(self.place(torrent_id, "torrent"));
        found.is_ok_and(|found| found.is_file() && found.len() == length as u64)
    }

    /// Keeps a torrent file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write_metainfo(&self, torrent_id: TorrentId, metainfo: &[u8]) -> io::Result<()> {
        self.write(&self.place(torrent_id, "torrent"), metainfo)
    }

    /// Keeps a torrent's record. One that says the same is left as it is: times that run on, and totals that have not
    /// doubled, are not worth a write.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write_record(
        &self,
        torrent_id: TorrentId,
        settings: Settings,
        uploaded: u64,
        downloaded: u64,
    ) -> io::Result<()> {
        let path = self.place(torrent_id, "json");
        let old = read(&path, RECORD_BYTES_MAX).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let near = |new: u64, old: u64| new >= old && new / 2 <= old.max(1 << 20);
        if old.is_some_and(|old: Record| {
            near(uploaded, old.uploaded)
                && near(downloaded, old.downloaded)
                && old.settings.steady() == settings.clone().steady()
        }) {
            return Ok(());
        }
        self.write(&path, &serde_json::to_vec_pretty(&Record { uploaded, downloaded, settings })?)
    }

    /// The session's settings; `None` when they were never kept.
    ///
    /// # Errors
    /// When the file is there and wrong.
    pub(super) fn read_session(&self) -> Result<Option<SessionSettings>, CopyError> {
        let path = self.dir.join(SESSION);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read(&path, RECORD_BYTES_MAX)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| CopyError::Record { path, error })
    }

    /// Keeps the session's settings, unless they are there already.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write_session(&self, settings: &SessionSettings) -> io::Result<()> {
        match self.read_session() {
            Ok(Some(old)) if old == *settings => Ok(()),
            _ => self.write(&self.dir.join(SESSION), &serde_json::to_vec_pretty(settings)?),
        }
    }

    /// Forgets torrents. When this returns, no power cut brings them back.
    ///
    /// # Errors
    /// When a file is there and cannot be removed; the others are.
    pub(super) fn remove(&self, torrents: &[TorrentId]) -> io::Result<()> {
        let (mut removed, mut failed) = (false, None);
        for torrent_id in torrents {
            for extension in ["json", "torrent"] {
                match fs::remove_file(self.place(*torrent_id, extension)) {
                    Ok(()) => removed = true,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => failed = Some(error),
                }
            }
        }
        if removed {
            self.sync()?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn sync(&self) -> io::Result<()> {
        match File::open(&self.dir) {
            Ok(dir) => dir.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Torrent files may hold the keys of private trackers.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let new = path.with_extension("new");
        let written = File::create(&new)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

/// All of a file, when it is no larger than `most`.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, CopyError> {
    let failed = |error: io::Error| CopyError::Unreadable { path: path.to_path_buf(), error };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most {
        return Err(CopyError::TooLarge { path: path.to_path_buf(), bytes_max: most });
    }
    Ok(bytes)
}

fn parse_hash(hex: &str) -> Option<TorrentId> {
    let bytes = hex.as_bytes();
    if bytes.len() != 40 || !hex.is_ascii() {
        return None;
    }
    let mut hash = [0; 20];
    for (place, digits) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
        *place = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(TorrentId(hash))
}
