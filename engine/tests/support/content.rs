//! Content for transfers: generated files and their torrents.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files below a directory, with their torrent.
pub struct Content {
    /// The directory that holds the torrent's file or directory.
    pub dir: PathBuf,
    /// The torrent file.
    pub torrent: PathBuf,
    /// Name of the file or directory.
    pub name: String,
    /// Info-hash in hex.
    pub info_hash: String,
    /// Bytes in all.
    pub length: u64,
}

/// Fills a file with bytes that no two places have in common.
pub fn fill(path: &Path, length: u64, seed: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(path).unwrap());
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut left = length;
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let take = left.min(8) as usize;
        file.write_all(&state.to_le_bytes()[..take]).unwrap();
        left -= take as u64;
    }
    file.flush().unwrap();
}

/// One file.
pub fn single(dir: &Path, length: u64, piece_size: &str, tracker: &str) -> Content {
    let name = "single file.bin";
    fill(&dir.join(name), length, 1);
    torrent_of(dir, name, length, piece_size, tracker)
}

/// A directory with an empty file, a nested folder, a non-ASCII name, and piece boundaries inside files.
pub fn multi(dir: &Path, piece_size: &str, tracker: &str) -> Content {
    let name = "Sammlung – 集";
    let base = dir.join(name);
    let files: &[(&str, u64)] = &[
        ("a/b/c/tief.bin", 3_333_333),
        ("empty.txt", 0),
        ("größe 大小.dat", 1_000_001),
        ("one byte", 1),
        ("z last.bin", 5_000_000),
    ];
    for (number, (path, length)) in files.iter().enumerate() {
        fill(&base.join(path), *length, number as u64 + 10);
    }
    torrent_of(dir, name, files.iter().map(|(_, length)| length).sum(), piece_size, tracker)
}

/// Makes the torrent of `name` below `dir`.
pub fn torrent_of(dir: &Path, name: &str, length: u64, piece_size: &str, tracker: &str) -> Content {
    let torrent = dir.join(format!("{}.torrent", name.len()));
    let status = Command::new(env!("CARGO_BIN_EXE_ringseed"))
        .args(["create", "--quiet", "--force", "--piece-size", piece_size, "--tracker", tracker, "-o"])
        .arg(&torrent)
        .arg(dir.join(name))
        .output()
        .unwrap();
    assert!(status.status.success(), "create: {}", String::from_utf8_lossy(&status.stderr));
    let metainfo = ringseed_proto::metainfo::Metainfo::parse(&fs::read(&torrent).unwrap()).unwrap();
    Content {
        dir: dir.to_path_buf(),
        torrent,
        name: name.to_owned(),
        info_hash: metainfo.id().to_string(),
        length,
    }
}

/// Compares everything below `dir` with the content, byte by byte.
pub fn assert_same(content: &Content, dir: &Path) {
    compare(&content.dir.join(&content.name), &dir.join(&content.name), true);
}

/// As [`assert_same`], for clients that do not create empty files.
pub fn assert_same_but_empty_files(content: &Content, dir: &Path) {
    compare(&content.dir.join(&content.name), &dir.join(&content.name), false);
}

fn compare(expected: &Path, actual: &Path, empty_files: bool) {
    let what = fs::metadata(expected).unwrap();
    if !empty_files && what.is_file() && what.len() == 0 {
        return;
    }
    let found = fs::metadata(actual).unwrap_or_else(|error| panic!("{}: {error}", actual.display()));
    assert_eq!(what.is_dir(), found.is_dir(), "{}", actual.display());
    if what.is_dir() {
        for entry in fs::read_dir(expected).unwrap() {
            let name = entry.unwrap().file_name();
            compare(&expected.join(&name), &actual.join(&name), empty_files);
        }
        return;
    }
    assert_eq!(what.len(), found.len(), "length of {}", actual.display());
    let (expected_bytes, actual_bytes) = (fs::read(expected).unwrap(), fs::read(actual).unwrap());
    let differs = expected_bytes.iter().zip(&actual_bytes).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{} differs at that byte", actual.display());
}
