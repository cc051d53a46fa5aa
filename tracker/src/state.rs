//! The swarms in a file, so that a restart does not empty them.
//!
//! The file is [`MAGIC`], the time it was written at (seconds since 1970, u64, big-endian), and records. It is
//! written beside its place and moved there: there is the old one or the new one, never a part.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::announce_service::Record;
use crate::limits::STATE_BYTES_MAX;
use crate::shared::Shared;

const MAGIC: &[u8; 16] = b"ringseed swarms1";

/// Writes all swarms.
///
/// # Errors
/// When the file cannot be written; then the old one is as it was, and nothing of the new one stays.
pub(crate) fn save(shared: &Shared, path: &Path) -> io::Result<()> {
    regular(path)?;
    let new = beside(path, ".new");
    let saved = write(shared, &new).and_then(|()| fs::rename(&new, path));
    if saved.is_err() {
        // What a full disk has room for is in the way of everybody else's.
        let _ = fs::remove_file(&new);
    }
    saved
}

/// Refuses what is there and no file, like a device or a pipe: reading could take for ever, and it is not ours to replace.
fn regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is not a regular file")),
        _ => Ok(()),
    }
}

fn write(shared: &Shared, new: &Path) -> io::Result<()> {
    let file = File::create(new)?;
    let mut out = BufWriter::new(&file);
    out.write_all(MAGIC)?;
    out.write_all(&unix_s().to_be_bytes())?;
    let mut part = Vec::new();
    for at in 0..shared.shards.len() {
        part.clear();
        // Writing happens outside of the lock.
        shared.shards.dump(at, shared.now(), &mut part);
        out.write_all(&part)?;
    }
    out.flush()?;
    drop(out);
    file.sync_all()
}

/// Takes the swarms of the last run, as far as they can be read: they are a cache, clients announce again. A damaged
/// file is moved aside, to the same name with `.damaged` behind it, for whoever wants to know what happened to it.
pub(crate) fn restore(shared: &Shared, path: &Path) {
    let error = match load(shared, path) {
        Ok(peers) => return tracing::info!(peers, "the swarms of the last run are back"),
        Err(error) => error,
    };
    let (peers, aside, name) = (shared.shards.peers(), beside(path, ".damaged"), path.display());
    if error.kind() != io::ErrorKind::InvalidData {
        return tracing::warn!("cannot read the swarms in {name}: {error}; starting without them");
    }
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            peers,
            "cannot read all of the swarms in {name}: {error}; starting with those that could be read; the file is \
             now {}",
            aside.display()
        ),
        Err(rename) => tracing::warn!(
            peers,
            "cannot read all of the swarms in {name}: {error}; starting with those that could be read; the file \
             cannot be moved aside ({rename}) and will be replaced"
        ),
    }
}

/// The path with something behind its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Takes the swarms of a file; returns how many peers came back. No file is no swarms.
///
/// # Errors
/// When it cannot be read or is no such file. What came before a damaged place is kept.
fn load(shared: &Shared, path: &Path) -> io::Result<usize> {
    regular(path)?;
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(STATE_BYTES_MAX).read_to_end(&mut bytes)?;
    let damaged =
        || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged or no state of this tracker");
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (written, mut rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    // A clock that was set back makes no time negative.
    let away = Duration::from_secs(unix_s().saturating_sub(u64::from_be_bytes(*written)));
    while !rest.is_empty() {
        let record = Record::read(&mut rest).map_err(|_| damaged())?;
        shared.shards.restore(shared.now(), away, &record);
    }
    Ok(shared.shards.peers())
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
