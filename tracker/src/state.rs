//! The swarms in a file, so that a restart does not empty them.
//!
//! The file is [`MAGIC`], the time it was written at (seconds since 1970, u64, big-endian), and records. It is
//! written beside its place and moved there: there is the old one or the new one, never a part.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::announce_service::Record;
use crate::limits::STATE_BYTES_MAX;
use crate::shared::Shared;

const MAGIC: &[u8; 16] = b"ringseed swarms1";

/// Writes all swarms.
///
/// # Errors
/// When the file cannot be written; then the old one is as it was.
pub(crate) fn save(shared: &Shared, path: &Path) -> io::Result<()> {
    let new = path.with_extension("new");
    let file = File::create(&new)?;
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
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Takes the swarms of a file; returns how many peers came back. No file is no swarms.
///
/// # Errors
/// When it cannot be read or is no such file. What came before a damaged place is kept.
pub(crate) fn load(shared: &Shared, path: &Path) -> io::Result<usize> {
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
