//! `torrent-add`.

use super::arguments::{ArgumentError, PathError, absolute_as, checked_labels, checked_name};
use super::base64;
use super::error::{MethodError, TorrentFileError, Unsupported};
use super::methods::{Outcome, write};
use super::names;
use super::server::Server;
use super::set::FileLists;
use super::trackers::check_url;
use ringseed_announce::{FetchRequest, fetch};
use ringseed_api::{AddArgs, Added, AddedTorrent, EarlierArgs};
use ringseed_handle::{AddOutcome, AddTorrent, Earlier, Found, TorrentSettings};
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Longest end of a name that stands for an incomplete file, bytes; those of clients have 4 to 6.
const SUFFIX_BYTES_MAX: usize = 16;

impl Server {
    pub(super) async fn torrent_add(&self, args: AddArgs, paused_given: bool) -> Outcome {
        if args.bandwidth_priority.is_some_and(|priority| priority != 0) {
            tracing::debug!("a torrent is added without the priority that was asked for: all have the same");
        }
        let data_dir = args.download_dir.as_deref().filter(|dir| !dir.is_empty());
        let data_dir = data_dir.map(|dir| absolute_as("download directory path", dir)).transpose()?;
        let fetched = match args.filename.as_deref() {
            Some(url) if args.metainfo.as_deref().is_none_or(str::is_empty) && is_url(url) => {
                let request = FetchRequest {
                    url,
                    cookies: args.cookies.as_deref(),
                    local: self.info.fetch_local,
                    route: &self.info.route,
                    trust: &self.info.trust,
                    bytes_max: TORRENT_BYTES_MAX,
                };
                Some(
                    fetch(&request)
                        .await
                        .map_err(|error| MethodError::Fetch { url: url.to_owned(), error })?,
                )
            }
            _ => None,
        };
        // Parsing hashes and copies up to 128 MiB, and a file may be on a slow disk: not on this thread.
        let metainfo =
            tokio::task::spawn_blocking(move || load(&args, fetched).map(|metainfo| (metainfo, args)))
                .await?;
        let (metainfo, args) = metainfo?;
        let metainfo = Arc::new(metainfo);
        let session = self.handle.snapshot().settings.clone();
        let (files, count) = (FileLists::of_add(&args), metainfo.info.layout.files.len());
        files.check(count)?;
        let mut settings = TorrentSettings {
            labels: checked_labels(&args.labels)?,
            peer_limit: args.peer_limit,
            ..TorrentSettings::default()
        };
        files.apply(&mut settings, count);
        let mut earlier = args.earlier.unwrap_or_default();
        settings.name = checked_name(&earlier.name)?;
        let found = found(&mut earlier)?;
        settings.renames = names::renames(&metainfo.info.layout, &earlier.names)?;
        if !earlier.trackers.is_empty() {
            earlier.trackers.iter().flatten().try_for_each(|url| check_url(url))?;
            settings.tiers = Some(std::mem::take(&mut earlier.trackers));
        }
        settings.seconds_downloading = earlier.seconds_downloading;
        settings.seconds_seeding = earlier.seconds_seeding;
        let add = AddTorrent {
            data_dir: data_dir.or_else(|| session.download_dir.clone()),
            paused: if paused_given { args.paused } else { !session.start_added },
            sequential: args.sequential_download,
            settings,
            earlier: Earlier {
                uploaded: earlier.uploaded,
                downloaded: earlier.downloaded,
                added_at: known_time(earlier.added_date),
                finished_at: known_time(earlier.done_date),
                had_data: earlier.had_data,
            },
            found,
            ..AddTorrent::new(metainfo.clone())
        };
        let named = |id| AddedTorrent {
            id,
            name: metainfo.info.name.clone(),
            hash_string: metainfo.id().to_string(),
        };
        match self.handle.add(add).await? {
            AddOutcome::Added(id) => {
                let file = args.filename.filter(|name| Path::new(name).is_absolute());
                if let Some(name) = file.filter(|_| session.delete_torrent_files) {
                    delete(name).await;
                }
                write(&Added::TorrentAdded(named(id)))
            }
            AddOutcome::Duplicate(id) => write(&Added::TorrentDuplicate(named(id))),
        }
    }
}

/// Deletes an added torrent file, on a disk that may be slow.
async fn delete(name: String) {
    let deleted =
        tokio::task::spawn_blocking(move || std::fs::remove_file(&name).map_err(|error| (error, name)));
    if let Ok(Err((error, name))) = deleted.await {
        tracing::warn!(%error, name, "cannot delete an added torrent file");
    }
}

/// Where another client left the data.
fn found(earlier: &mut EarlierArgs) -> Result<Option<Found>, MethodError> {
    let dir = match earlier.incomplete_dir.as_str() {
        "" => None,
        dir => Some(absolute_as("the incomplete directory", dir)?),
    };
    let partial_suffix = std::mem::take(&mut earlier.partial_suffix);
    if partial_suffix.len() > SUFFIX_BYTES_MAX || partial_suffix.contains(['/', '\0']) {
        return Err(ArgumentError::PartialSuffix.into());
    }
    Ok((dir.is_some() || !partial_suffix.is_empty()).then_some(Found { dir, partial_suffix }))
}

/// A time in seconds since 1970, when it is one that can have been.
fn known_time(seconds: u64) -> Option<SystemTime> {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    (seconds > 0 && at <= SystemTime::now()).then_some(at)
}

/// The torrent that a request names or carries.
fn load(args: &AddArgs, fetched: Option<Vec<u8>>) -> Result<Metainfo, MethodError> {
    let bytes = match (args.metainfo.as_deref(), args.filename.as_deref()) {
        _ if fetched.is_some() => fetched.unwrap_or_default(),
        (Some(text), _) if !text.is_empty() => base64::decode(text).ok_or(TorrentFileError::NotBase64)?,
        (_, Some(name)) if !name.is_empty() => read_file(name)?,
        _ => return Err(TorrentFileError::NotGiven.into()),
    };
    Ok(Metainfo::parse(&bytes).map_err(TorrentFileError::Corrupt)?)
}

fn begins(name: &str, scheme: &str) -> bool {
    name.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

fn is_url(name: &str) -> bool {
    begins(name, "http:") || begins(name, "https:")
}

fn read_file(name: &str) -> Result<Vec<u8>, MethodError> {
    if begins(name, "magnet:") {
        return Err(Unsupported::Magnet.into());
    }
    if !Path::new(name).is_absolute() {
        return Err(PathError::NotAbsolute("the path of the torrent file").into());
    }
    let broken = |error: std::io::Error| TorrentFileError::Unreadable { name: name.to_owned(), error };
    let file = std::fs::File::open(name).map_err(broken)?;
    // A device or pipe would never end.
    let metadata = file.metadata().map_err(broken)?;
    if !metadata.is_file() {
        return Err(TorrentFileError::NotAFile(name.to_owned()).into());
    }
    if metadata.len() > TORRENT_BYTES_MAX as u64 {
        return Err(TorrentFileError::TooLarge(name.to_owned()).into());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(TORRENT_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(broken)?;
    Ok(bytes)
}
