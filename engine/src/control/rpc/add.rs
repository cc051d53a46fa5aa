//! `torrent-add`.

use super::base64;
use super::methods::{Outcome, write};
use super::server::Server;
use crate::control::{AddOutcome, AddTorrent};
use ringseed_api::{AddArgs, Added, AddedTorrent};
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Server {
    pub(super) async fn torrent_add(&self, args: AddArgs) -> Outcome {
        let data_dir = match args.download_dir.as_deref().filter(|dir| !dir.is_empty()) {
            Some(dir) if Path::new(dir).is_absolute() => Some(PathBuf::from(dir)),
            Some(_) => return Err("download directory path is not absolute".to_owned()),
            None => None,
        };
        // Parsing hashes and copies up to 128 MiB, and a file may be on a slow disk: not on this thread.
        let metainfo = tokio::task::spawn_blocking(move || load(&args).map(|metainfo| (metainfo, args)))
            .await
            .map_err(|error| error.to_string())?;
        let (metainfo, args) = metainfo?;
        let metainfo = Arc::new(metainfo);
        let add = AddTorrent {
            data_dir,
            paused: args.paused,
            sequential: args.sequential_download,
            ..AddTorrent::new(metainfo.clone())
        };
        let named = |id| AddedTorrent {
            id,
            name: metainfo.info.name.clone(),
            hash_string: metainfo.info_hash.to_string(),
        };
        match self.handle.add(add).await {
            Ok(AddOutcome::Added(id)) => write(&Added::TorrentAdded(named(id))),
            Ok(AddOutcome::Duplicate(id)) => write(&Added::TorrentDuplicate(named(id))),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The torrent that a request names or carries.
fn load(args: &AddArgs) -> Result<Metainfo, String> {
    let bytes = match (args.metainfo.as_deref(), args.filename.as_deref()) {
        (Some(text), _) if !text.is_empty() => {
            base64::decode(text).ok_or("metainfo is not base64".to_owned())?
        }
        (_, Some(name)) if !name.is_empty() => read_file(name)?,
        _ => return Err("no filename or metainfo specified".to_owned()),
    };
    Metainfo::parse(&bytes).map_err(|error| format!("invalid or corrupt torrent file: {error}"))
}

fn read_file(name: &str) -> Result<Vec<u8>, String> {
    let is = |scheme: &str| name.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if is("http:") || is("https:") {
        return Err("adding by URL is not supported yet; send the torrent file".to_owned());
    }
    if is("magnet:") {
        return Err("magnet links are not supported yet; send the torrent file".to_owned());
    }
    if !Path::new(name).is_absolute() {
        return Err("the path of the torrent file is not absolute".to_owned());
    }
    let broken = |error: std::io::Error| format!("cannot read {name}: {error}");
    let file = std::fs::File::open(name).map_err(broken)?;
    // A device or pipe would never end.
    let metadata = file.metadata().map_err(broken)?;
    if !metadata.is_file() {
        return Err(format!("{name} is not a file"));
    }
    if metadata.len() > TORRENT_BYTES_MAX as u64 {
        return Err(format!("{name} is larger than any torrent file"));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(TORRENT_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(broken)?;
    Ok(bytes)
}
