//! Making torrents: piece length, order of files, hashing, the finished [`Metainfo`] (BEP 3).
//!
//! Nothing here opens a file or starts a thread. The caller lists the files, then lets any number of threads
//! hash ranges of pieces with a [`PieceHasher`], which reads through a closure:
//!
//! 1. [`CreatePlan::file`] or [`CreatePlan::folder`];
//! 2. [`CreatePlan::ranges`] shared among threads, [`PieceHasher::hash`] for each range;
//! 3. the hashes in piece order to [`CreatePlan::finish`].

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::hash::{Hasher, update_together};
use crate::layout::{FileSpec, Layout, LayoutError};
use crate::limits::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::metainfo::{LEGACY_PADDING, Metainfo, MetainfoError, encode_info, plain_component};
use crate::units::PieceIndex;

/// Fewest and most bytes of a piece that [`piece_length_for`] chooses.
const AUTOMATIC_RANGE: (u32, u32) = (16 << 10, 16 << 20);
/// Pieces that [`piece_length_for`] aims at: enough to share early, few enough that the torrent file is small.
const AUTOMATIC_PIECES: u64 = 1500;
/// Bytes read at a time while hashing: large reads keep disks busy.
const READ_LEN: usize = 1 << 20;

/// The automatic piece length: a power of two from 16 KiB to 16 MiB that makes at most 1,500 pieces, where that
/// is possible.
pub fn piece_length_for(total: u64) -> u32 {
    let (least, most) = AUTOMATIC_RANGE;
    let wanted = total.div_ceil(AUTOMATIC_PIECES).clamp(least.into(), most.into());
    // In range by the clamp; powers of two at both ends.
    wanted.next_power_of_two() as u32
}

/// What goes into the torrent beside the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Tracker URLs by tier (BEP 12).
    pub tiers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Only peers from the trackers (BEP 27).
    pub private: bool,
    /// Makes the info-hash differ between private trackers.
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that makes the torrent.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<u64>,
}

/// Why a torrent cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Nothing to share.
    #[error("there are no bytes to share")]
    Empty,
    /// A name that clients would have to change, so that they could not find the data again.
    #[error(
        "the name {0:?} cannot be shared: it has control characters or a backslash, is too long, or means padding"
    )]
    Name(PathBuf),
    /// Two entries with one path.
    #[error("{0:?} is listed twice, or as a file and as a folder")]
    Duplicate(PathBuf),
    /// Lengths beyond the limits.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The hashes do not fit the plan.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
}

/// The layout of a torrent to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatePlan {
    layout: Layout,
}

impl CreatePlan {
    /// A torrent of one file. The piece length is automatic when it is `None`.
    ///
    /// # Errors
    /// When the file is empty or its name cannot be shared.
    pub fn file(name: &OsStr, length: u64, piece_length: Option<u32>) -> Result<CreatePlan, CreateError> {
        CreatePlan::new(vec![(PathBuf::from(name), length)], piece_length)
    }

    /// A torrent of the folder `name` with files below it, given by their path relative to it. The files come
    /// in the order of their names, whatever the order of the list.
    ///
    /// # Errors
    /// When all files are empty, or a name cannot be shared.
    pub fn folder(
        name: &OsStr,
        files: impl IntoIterator<Item = (PathBuf, u64)>,
        piece_length: Option<u32>,
    ) -> Result<CreatePlan, CreateError> {
        let mut entries = Vec::new();
        for (path, length) in files {
            if path.is_absolute() || path.as_os_str().is_empty() {
                return Err(CreateError::Name(path));
            }
            entries.push((Path::new(name).join(path), length));
        }
        entries.sort();
        for pair in entries.windows(2) {
            // Sorted by names, what lies below a path directly follows it.
            if pair[1].0.starts_with(&pair[0].0) {
                return Err(CreateError::Duplicate(pair[1].0.clone()));
            }
        }
        CreatePlan::new(entries, piece_length)
    }

    fn new(entries: Vec<(PathBuf, u64)>, piece_length: Option<u32>) -> Result<CreatePlan, CreateError> {
        let mut total = 0u64;
        for (path, length) in &entries {
            if !is_shareable(path) {
                return Err(CreateError::Name(path.clone()));
            }
            total = total.checked_add(*length).ok_or(LayoutError::Overflow)?;
        }
        if total == 0 {
            return Err(CreateError::Empty);
        }
        let piece_length = piece_length.unwrap_or_else(|| piece_length_for(total));
        let specs =
            entries.into_iter().map(|(path, length)| FileSpec { path, length, padding: false }).collect();
        Ok(CreatePlan { layout: Layout::new(piece_length, specs)? })
    }

    /// Files in torrent order and pieces.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All pieces in ranges of about `bytes`, to be taken by threads one after the other.
    pub fn ranges(&self, bytes: u64) -> impl Iterator<Item = Range<u32>> + use<> {
        let step = u32::try_from(bytes / u64::from(self.layout.piece_length)).unwrap_or(u32::MAX).max(1);
        let count = self.layout.piece_count();
        (0..count).step_by(step as usize).map(move |first| first..first.saturating_add(step).min(count))
    }

    /// The torrent, from the hashes of all pieces in order.
    ///
    /// # Errors
    /// When the number of hashes is not the number of pieces.
    pub fn finish(&self, hashes: &[[u8; 20]], options: CreateOptions) -> Result<Metainfo, CreateError> {
        let info_bytes = encode_info(&self.layout, hashes, options.private, options.source.as_deref());
        let bare = [b"d4:info", &info_bytes[..], b"e"].concat();
        let mut metainfo = Metainfo::parse(&bare)?;
        metainfo.tiers = options.tiers;
        metainfo.tiers.retain(|tier| !tier.is_empty());
        metainfo.web_seeds = options.web_seeds;
        metainfo.comment = options.comment;
        metainfo.created_by = options.created_by;
        metainfo.creation_date = options.creation_date;
        Ok(metainfo)
    }
}

/// Whether every client stores the path as it is.
fn is_shareable(path: &Path) -> bool {
    let mut names = path.components();
    names.all(|part| match part {
        Component::Normal(name) => {
            let name = name.as_bytes();
            let text = std::str::from_utf8(name);
            // A backslash is a separator only in text: in other encodings it may be half of a character.
            let odd = |name: &str| name.contains(|c: char| c == '\\' || c.is_ascii_control());
            plain_component(name).as_deref() == Some(name)
                && !text.is_ok_and(odd)
                && !name.iter().any(|byte| *byte < 0x20)
                && !name.starts_with(LEGACY_PADDING)
        }
        _ => false,
    }) && path.as_os_str().len() <= PATH_BYTES_MAX
        && path.components().count() <= PATH_DEPTH_MAX
}

/// Hashes pieces, two at a time. Each thread has its own; they share nothing but the layout.
#[derive(Debug)]
pub struct PieceHasher<'a> {
    layout: &'a Layout,
    buffers: [Vec<u8>; 2],
}

/// A piece being read from its start.
struct Reading {
    piece: PieceIndex,
    /// Bytes of it read.
    read: u32,
    hasher: Hasher,
}

impl<'a> PieceHasher<'a> {
    /// A hasher with two buffers of 1 MiB.
    pub fn new(layout: &'a Layout) -> PieceHasher<'a> {
        PieceHasher { layout, buffers: [vec![0; READ_LEN], vec![0; READ_LEN]] }
    }

    /// The hashes of a range of pieces in order; pieces that there are not are left out.
    ///
    /// `read(file, offset, buffer)` fills the whole buffer from the file of that index, or fails, which also is
    /// how hashing is cancelled. Padding is not read. `progress(bytes)` is called after each part that was
    /// hashed.
    ///
    /// # Errors
    /// The first error of `read`.
    pub fn hash<E>(
        &mut self,
        pieces: Range<u32>,
        mut read: impl FnMut(usize, u64, &mut [u8]) -> Result<(), E>,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<[u8; 20]>, E> {
        let end = pieces.end.min(self.layout.piece_count());
        let mut hashes = Vec::with_capacity(end.saturating_sub(pieces.start) as usize);
        let begin = |piece| Reading { piece: PieceIndex(piece), read: 0, hasher: Hasher::new() };
        for first in (pieces.start..end).step_by(2) {
            // Without a second piece its part is empty, and its digest is not taken.
            let (mut one, mut two) = (begin(first), begin(first + 1));
            loop {
                let [buffer_one, buffer_two] = &mut self.buffers;
                let part_one = fill(self.layout, &mut one, buffer_one, &mut read)?;
                let part_two = match two.piece.0 < end {
                    true => fill(self.layout, &mut two, buffer_two, &mut read)?,
                    false => &[],
                };
                let length = part_one.len() + part_two.len();
                if length == 0 {
                    break;
                }
                update_together(&mut [(&mut one.hasher, part_one), (&mut two.hasher, part_two)]);
                progress(length as u64);
            }
            hashes.push(one.hasher.finish());
            if two.piece.0 < end {
                hashes.push(two.hasher.finish());
            }
        }
        Ok(hashes)
    }
}

/// Reads the next part of a piece: as much as `buffer` holds, nothing at its end.
fn fill<'b, E>(
    layout: &Layout,
    reading: &mut Reading,
    buffer: &'b mut [u8],
    read: &mut impl FnMut(usize, u64, &mut [u8]) -> Result<(), E>,
) -> Result<&'b [u8], E> {
    let mut filled = 0;
    for span in layout.spans(reading.piece, reading.read, buffer.len() as u32) {
        let part = &mut buffer[filled..filled + span.length as usize];
        if span.padding {
            part.fill(0);
        } else {
            read(span.file, span.offset, part)?;
        }
        filled += part.len();
    }
    reading.read += filled as u32;
    Ok(&buffer[..filled])
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use sha1::{Digest, Sha1};

    use super::*;
    use crate::hashes::InfoHashes;

    #[test]
    fn automatic_piece_lengths_are_powers_of_two_in_range() {
        assert_eq!(piece_length_for(0), 16 << 10);
        assert_eq!(piece_length_for(1), 16 << 10);
        assert_eq!(piece_length_for(256 << 20), 256 << 10);
        assert_eq!(piece_length_for(u64::MAX), 16 << 20);
        for shift in 0..64 {
            let total = 1u64 << shift;
            let length = piece_length_for(total);
            assert!(length.is_power_of_two());
            assert!(length == 16 << 20 || total.div_ceil(length.into()) <= AUTOMATIC_PIECES);
        }
    }

    fn contents() -> Vec<(PathBuf, Vec<u8>)> {
        let bytes = |n: usize, seed: usize| (0..n).map(|at| (at * 31 + seed * 7) as u8).collect::<Vec<_>>();
        vec![
            ("z/last".into(), bytes(70_000, 1)),
            ("a.txt".into(), bytes(5, 2)),
            ("empty".into(), vec![]),
            ("b-before-slash".into(), bytes(3_000_000, 3)),
            ("b/nested/größe".into(), bytes(16384, 4)),
        ]
    }

    fn plan() -> CreatePlan {
        let files = contents().into_iter().map(|(path, bytes)| (path, bytes.len() as u64));
        CreatePlan::folder(OsStr::new("top"), files, Some(65536)).unwrap()
    }

    fn content_of(plan: &CreatePlan, file: usize) -> Vec<u8> {
        let path = plan.layout().files[file].path.strip_prefix("top").unwrap();
        contents().into_iter().find(|(name, _)| name == path).unwrap().1
    }

    fn hash_range(plan: &CreatePlan, range: Range<u32>, progress: &mut u64) -> Vec<[u8; 20]> {
        let read = |file: usize, offset: u64, buffer: &mut [u8]| {
            let bytes = content_of(plan, file);
            buffer.copy_from_slice(&bytes[offset as usize..offset as usize + buffer.len()]);
            Ok::<(), Infallible>(())
        };
        PieceHasher::new(plan.layout()).hash(range, read, |bytes| *progress += bytes).unwrap()
    }

    #[test]
    fn a_made_torrent_parses_to_its_plan() {
        let plan = plan();
        let files: Vec<_> = plan.layout().files.iter().map(|file| file.path.to_str().unwrap()).collect();
        let wanted = ["top/a.txt", "top/b/nested/größe", "top/b-before-slash", "top/empty", "top/z/last"];
        assert_eq!(files, wanted);

        let mut progress = 0;
        let mut hashes = Vec::new();
        let ranges: Vec<_> = plan.ranges(200_000).collect();
        assert!(ranges.len() > 2);
        for range in ranges {
            hashes.extend(hash_range(&plan, range, &mut progress));
        }
        assert_eq!(progress, plan.layout().total_length);
        // The same bytes in one go.
        let whole: Vec<u8> = (0..files.len()).flat_map(|file| content_of(&plan, file)).collect();
        let expected: Vec<[u8; 20]> = whole.chunks(65536).map(|piece| Sha1::digest(piece).into()).collect();
        assert_eq!(hashes, expected);

        let options = CreateOptions {
            tiers: vec![vec!["http://a/announce".into()], vec![], vec!["udp://b".into()]],
            web_seeds: vec!["http://w/".into()],
            private: true,
            source: Some("S".into()),
            comment: Some("c".into()),
            created_by: Some("Ringseed".into()),
            creation_date: Some(1),
        };
        let torrent = plan.finish(&hashes, options).unwrap();
        assert_eq!(&torrent.info.layout, plan.layout());
        assert_eq!(torrent.info.name, "top");
        assert_eq!(torrent.info.source.as_deref(), Some("S"));
        assert!(torrent.info.private);
        assert_eq!(torrent.info.renamed_files, 0);
        assert_eq!(torrent.tiers.len(), 2);
        assert_eq!(torrent.info.piece_hashes(), expected);
        assert_eq!(Metainfo::parse(&torrent.to_bytes()).unwrap(), torrent);
    }

    #[test]
    fn a_single_file_has_canonical_bytes() {
        let plan = CreatePlan::file(OsStr::new("a"), 3, None).unwrap();
        let torrent = plan.finish(&[[b'h'; 20]], CreateOptions::default()).unwrap();
        let info = b"d6:lengthi3e4:name1:a12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhe";
        assert_eq!(&torrent.info_bytes[..], info);
        assert_eq!(torrent.hashes, InfoHashes::of_v1(info));
        assert_eq!(torrent.to_bytes(), [b"d4:info", &info[..], b"e"].concat());
    }

    #[test]
    fn a_folder_of_one_file_stays_a_folder() {
        let plan = CreatePlan::folder(OsStr::new("t"), [(PathBuf::from("a"), 3)], None).unwrap();
        let torrent = plan.finish(&[[0; 20]], CreateOptions::default()).unwrap();
        assert_eq!(torrent.info.layout.files[0].path, Path::new("t/a"));
    }

    #[test]
    fn wrong_hash_counts_are_refused() {
        let plan = CreatePlan::file(OsStr::new("a"), 3, None).unwrap();
        let result = plan.finish(&[], CreateOptions::default());
        let expected = MetainfoError::PieceCount { expected: 1, found: 0 };
        assert_eq!(result, Err(CreateError::Metainfo(expected)));
    }

    #[test]
    fn what_others_could_not_store_is_refused() {
        let folder = |path: &str| CreatePlan::folder(OsStr::new("t"), [(PathBuf::from(path), 1)], None);
        for path in [
            "a\nb",
            "a\\b",
            "/etc/passwd",
            "../x",
            "",
            "_____padding_file_0",
            &"x".repeat(256),
            &"a/".repeat(101),
        ] {
            assert!(matches!(folder(path), Err(CreateError::Name(_))), "{path}");
        }
        assert!(matches!(CreatePlan::file(OsStr::new(".."), 1, None), Err(CreateError::Name(_))));
        assert_eq!(CreatePlan::file(OsStr::new("a"), 0, None), Err(CreateError::Empty));
        assert_eq!(CreatePlan::folder(OsStr::new("t"), [], None), Err(CreateError::Empty));
        for (one, two) in [("a", "a"), ("a/b", "a")] {
            let files = [(PathBuf::from(one), 1), (PathBuf::from("a.c"), 1), (PathBuf::from(two), 1)];
            let result = CreatePlan::folder(OsStr::new("t"), files, None);
            assert!(matches!(result, Err(CreateError::Duplicate(_))));
        }
        assert!(matches!(CreatePlan::file(OsStr::new("a"), 1, Some(0)), Err(CreateError::Layout(_))));
        assert!(matches!(CreatePlan::file(OsStr::new("a"), u64::MAX, None), Err(CreateError::Layout(_))));
    }

    #[test]
    fn a_failing_read_stops_the_hashing() {
        let plan = plan();
        let mut reads = 0;
        let read = |_: usize, _: u64, _: &mut [u8]| {
            reads += 1;
            if reads == 3 { Err("gone") } else { Ok(()) }
        };
        let result = PieceHasher::new(plan.layout()).hash(0..u32::MAX, read, |_| ());
        assert_eq!(result, Err("gone"));
        assert_eq!(reads, 3);
    }
}
