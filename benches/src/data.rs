//! The torrent that benchmarks seed: deterministic data on disk and its metainfo file, made once.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use ringseed_loadtest::blast::{Hex, SplitMix};
use sha1::{Digest, Sha1};

/// A generated single-file torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestTorrent {
    /// The `.torrent` file.
    pub metainfo: PathBuf,
    /// Directory that holds the data file.
    pub dir: PathBuf,
    /// Name of the data file.
    pub name: String,
    /// Identity, lower-case hexadecimal.
    pub info_hash: String,
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
        fs::create_dir_all(dir)?;
        let name = format!("ringseed-bench-{total}-{piece_length}.bin");
        let metainfo = dir.join(format!("{name}.torrent"));
        let file = dir.join(&name);
        // The metainfo file is written last: with it the data is complete.
        if !(metainfo.exists() && fs::metadata(&file).is_ok_and(|m| m.len() == total)) {
            let hashes = generate(&file, total, piece_length)?;
            let info = info_dictionary(&name, total, piece_length, &hashes);
            fs::write(&metainfo, [b"d4:info", info.as_slice(), b"e"].concat())?;
        }
        let bytes = fs::read(&metainfo)?;
        let info = bytes.get(7..bytes.len().saturating_sub(1)).unwrap_or_default();
        let info_hash = Hex(&Sha1::digest(info)).to_string();
        Ok(TestTorrent { metainfo, dir: dir.to_path_buf(), name, info_hash, piece_length, total })
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

/// Writes the data and returns the concatenated piece hashes.
fn generate(path: &Path, total: u64, piece_length: u32) -> io::Result<Vec<u8>> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut piece = vec![0; piece_length as usize];
    let mut hashes = Vec::new();
    let mut left = total;
    while left > 0 {
        let length = left.min(u64::from(piece_length));
        let bytes = &mut piece[..length as usize];
        fill(bytes, total - left);
        hashes.extend_from_slice(&Sha1::digest(&*bytes));
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

/// The bencoded `info` of a single file (BEP 3).
fn info_dictionary(name: &str, total: u64, piece_length: u32, hashes: &[u8]) -> Vec<u8> {
    let head = format!(
        "d6:lengthi{total}e4:name{}:{name}12:piece lengthi{piece_length}e6:pieces{}:",
        name.len(),
        hashes.len()
    );
    [head.as_bytes(), hashes, b"e"].concat()
}
