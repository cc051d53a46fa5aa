//! The torrent of a run: deterministic data on disk and its metainfo file, made once.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use ringseed_proto::{
    create::{CreateOptions, CreatePlan},
    hashes::SwarmHash,
    metainfo::Metainfo,
};
use sha1::{Digest, Sha1};

use crate::blast::SplitMix;

/// A generated single-file torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestTorrent {
    /// The `.torrent` file.
    pub metainfo: PathBuf,
    /// Directory that holds the data file.
    pub dir: PathBuf,
    /// Name of the data file.
    pub name: String,
    /// Identity.
    pub info_hash: SwarmHash,
    /// Bytes per piece.
    pub piece_length: u32,
    /// Bytes in all.
    pub total: u64,
}

impl TestTorrent {
    /// The data file.
    pub fn file(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// The torrent of `total` bytes in `dir`, generated unless a complete one of the same shape is there.
    ///
    /// # Errors
    /// The directory cannot be written, or is full.
    pub fn prepare(dir: &Path, total: u64, piece_length: u32) -> io::Result<TestTorrent> {
        // rTorrent refuses torrents without a tracker when its DHT is off; nobody listens there.
        TestTorrent::with_tiers(dir, total, piece_length, &[vec!["http://127.0.0.1:9/announce".to_owned()]])
    }

    /// The same with the trackers of `tiers`. One that is there already keeps those it was made with.
    ///
    /// # Errors
    /// The directory cannot be written, or is full.
    pub fn with_tiers(
        dir: &Path,
        total: u64,
        piece_length: u32,
        tiers: &[Vec<String>],
    ) -> io::Result<TestTorrent> {
        fs::create_dir_all(dir)?;
        let name = format!("ringseed-bench-{total}-{piece_length}.bin");
        let metainfo = dir.join(format!("{name}.torrent"));
        let file = dir.join(&name);
        // The metainfo file is written last: with it the data is complete.
        if !(metainfo.exists() && fs::metadata(&file).is_ok_and(|m| m.len() == total)) {
            let plan =
                CreatePlan::file(name.as_ref(), total, Some(piece_length)).map_err(io::Error::other)?;
            let hashes = generate(&file, total, piece_length)?;
            let options = CreateOptions { tiers: tiers.to_vec(), private: true, ..CreateOptions::default() };
            let made = plan.finish(&hashes, options).map_err(io::Error::other)?;
            fs::write(&metainfo, made.to_bytes())?;
        }
        let info_hash = Metainfo::parse(&fs::read(&metainfo)?).map_err(io::Error::other)?.hashes.swarm_hash();
        Ok(TestTorrent { metainfo, dir: dir.to_path_buf(), name, info_hash, piece_length, total })
    }

    /// Number of pieces.
    pub fn pieces(&self) -> u32 {
        // `CreatePlan` makes no torrent with more pieces than fit.
        self.total.div_ceil(u64::from(self.piece_length)) as u32
    }

    /// Reads the data once, so that it lies in the page cache.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn warm(&self) -> io::Result<()> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(self.file())?);
        let mut chunk = vec![0; 1 << 20];
        while file.read(&mut chunk)? > 0 {}
        Ok(())
    }
}

/// Writes the data and returns the piece hashes.
fn generate(path: &Path, total: u64, piece_length: u32) -> io::Result<Vec<[u8; 20]>> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut piece = vec![0; piece_length as usize];
    let mut hashes = Vec::new();
    let mut left = total;
    while left > 0 {
        let length = left.min(u64::from(piece_length));
        let bytes = &mut piece[..length as usize];
        fill(bytes, total - left);
        hashes.push(Sha1::digest(&*bytes).into());
        file.write_all(bytes)?;
        left -= length;
    }
    // Dirty pages would be written back during the measurement.
    file.into_inner()?.sync_all()?;
    Ok(hashes)
}

/// Incompressible bytes that depend only on their place.
fn fill(bytes: &mut [u8], offset: u64) {
    let mut rng = SplitMix::new(offset ^ 0x5eed);
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&rng.next_u64().to_le_bytes()[..word.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_matches_its_metainfo_and_is_made_once() {
        let dir = tempfile::tempdir().expect("directory");
        let torrent = TestTorrent::prepare(dir.path(), 100_000, 32_768).expect("prepared");
        let metainfo = Metainfo::parse(&fs::read(&torrent.metainfo).expect("read")).expect("valid");
        assert_eq!(metainfo.info.name, torrent.name);
        let data = fs::read(torrent.file()).expect("read");
        let hashes: Vec<[u8; 20]> = data.chunks(32_768).map(|piece| Sha1::digest(piece).into()).collect();
        assert_eq!(metainfo.info.piece_hashes(), hashes);
        let written = fs::metadata(torrent.file()).and_then(|m| m.modified()).expect("time");
        assert_eq!(TestTorrent::prepare(dir.path(), 100_000, 32_768).expect("again"), torrent);
        assert_eq!(fs::metadata(torrent.file()).and_then(|m| m.modified()).expect("time"), written);
    }
}
