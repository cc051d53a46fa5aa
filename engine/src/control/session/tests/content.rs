//! Torrents of a few small files, with their data.

use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::PieceIndex;
use ringseed_storage::partial_path;
use sha1::{Digest, Sha1};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// Bytes of a piece.
const PIECE: usize = 16 << 10;
/// The files of a torrent: its first piece lies in the first alone, the second in both.
const FILES: [(&str, usize); 2] = [("first", PIECE + 100), ("second", PIECE + 2000)];

/// A torrent and its data.
pub struct Content {
    pub id: TorrentId,
    pub metainfo: Arc<Metainfo>,
    /// All bytes of it.
    bytes: Vec<u8>,
}

impl Content {
    /// The torrent of this number and folder. `source` makes another torrent of the same files.
    pub fn new(number: u8, source: &str) -> Content {
        let length: usize = FILES.iter().map(|(_, length)| length).sum();
        let bytes: Vec<u8> =
            (0..length).map(|at| (at * 7 + at / 251) as u8 ^ number.wrapping_mul(37)).collect();
        let hashes: Vec<u8> = bytes.chunks(PIECE).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
        let mut torrent = b"d8:announce18:http://tracker/ann4:infod5:filesl".to_vec();
        for (name, length) in FILES {
            let file = format!("d6:lengthi{length}e4:pathl{}:{name}ee", name.len());
            torrent.extend_from_slice(file.as_bytes());
        }
        torrent.extend_from_slice(format!("e4:name2:t{number}12:piece lengthi{PIECE}e").as_bytes());
        torrent.extend_from_slice(format!("6:pieces{}:", hashes.len()).as_bytes());
        torrent.extend_from_slice(&hashes);
        torrent.extend_from_slice(format!("6:source{}:{source}ee", source.len()).as_bytes());
        let metainfo = Arc::new(Metainfo::parse(&torrent).expect("a torrent"));
        Content { id: metainfo.id(), metainfo, bytes }
    }

    pub fn layout(&self) -> &Layout {
        &self.metainfo.info.layout
    }

    /// Puts its whole files below a directory.
    pub fn put(&self, directory: &Path) -> io::Result<()> {
        for file in &self.layout().files {
            let path = directory.join(&file.path);
            let bytes = &self.bytes[file.offset as usize..(file.offset + file.length) as usize];
            write_at(&path, 0, bytes)?;
        }
        Ok(())
    }

    /// Writes one piece to where `layout` has it below a directory, and what of it belongs to incomplete files to those.
    pub fn put_piece(&self, layout: &Layout, directory: &Path, piece: u32) -> io::Result<()> {
        let begin = layout.piece_offset(PieceIndex(piece));
        let end = begin + u64::from(layout.piece_len(PieceIndex(piece)));
        for file in &layout.files {
            let (from, to) = (begin.max(file.offset), end.min(file.offset + file.length));
            if from < to {
                let path = on_disk(layout, directory, &file.path);
                write_at(&path, from - file.offset, &self.bytes[from as usize..to as usize])?;
            }
        }
        Ok(())
    }
}

/// The right pieces of a torrent whose files are called as `layout` says below a directory.
pub fn verify(metainfo: &Metainfo, layout: &Layout, directory: &Path) -> Bitfield {
    let mut bytes = vec![0; layout.total_length as usize];
    for file in &layout.files {
        if let Ok(found) = fs::read(on_disk(layout, directory, &file.path)) {
            let length = found.len().min(file.length as usize);
            bytes[file.offset as usize..][..length].copy_from_slice(&found[..length]);
        }
    }
    let mut have = Bitfield::new(layout.piece_count());
    for (piece, bytes) in bytes.chunks(PIECE).enumerate() {
        if metainfo
            .info
            .piece_hash(PieceIndex(piece as u32))
            .is_some_and(|hash| *hash == *Sha1::digest(bytes))
        {
            have.set(piece as u32);
        }
    }
    have
}

/// The path of a file as it is on disk: with its own name, or that of an incomplete one.
fn on_disk(layout: &Layout, directory: &Path, file: &Path) -> PathBuf {
    let own = directory.join(file);
    let partial = partial_path(layout)(file).map(|partial| directory.join(partial));
    partial.filter(|partial| !own.exists() && partial.exists()).unwrap_or(own)
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    fs::create_dir_all(path.parent().expect("a folder"))?;
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(bytes, offset)
}
