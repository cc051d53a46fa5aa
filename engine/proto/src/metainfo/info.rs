//! The `info` dictionary: names, lengths and piece hashes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_bytes::ByteBuf;

use super::MetainfoError;
use super::names::{Deduplicator, clean_component, plain_component};
use super::path::TorrentPath;
use super::tree::FileTree;
use crate::bencode::{self, Bounded, Limits, Loose, dict, put_bytes, put_integer};
use crate::hashes::InfoHashes;
use crate::layout::{FileSpec, Layout, LayoutError};
use crate::limits::{FILES_MAX, PATH_BYTES_MAX, PLAIN_NAMES_MAX};
use crate::units::PieceIndex;

/// What a torrent contains. Made from an `info` dictionary, or by [`Info::new`] from parts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The name to show, which is the first name of all paths. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Pieces and files.
    pub layout: Layout,
    /// Only peers from the trackers may be used (BEP 27).
    pub private: bool,
    /// Where a private torrent comes from; makes its info-hash differ between trackers.
    pub source: Option<String>,
    /// Number of files that are stored under another path than the torrent says, because that path was unsafe,
    /// too long or taken.
    pub renamed_files: usize,
    /// Files with the paths that they have by the letter of the torrent, where these are others and can be had.
    plain_paths: Arc<[(usize, PathBuf)]>,
    /// One per piece, or none when they were left out.
    piece_hashes: Box<[[u8; 20]]>,
    /// Bytes of the dictionary this was read from; 0 when it was made from parts.
    encoded_len: usize,
}

/// How padding was named before BEP 47.
pub(crate) const LEGACY_PADDING: &[u8] = b"_____padding_file_";

dict! {
    struct InfoDict {
        b"file tree" => file_tree: FileTree,
        b"name.utf-8" => name_utf8: Loose,
        b"name" => name: Loose,
        b"piece length" => piece_length: i64,
        b"pieces" => pieces: ByteBuf,
        b"length" => length: Loose,
        b"files" => files: Bounded<FileDict, FILES_MAX>,
        b"private" => private: Loose,
        b"source" => source: Loose,
        b"meta version" => meta_version: Loose,
        b"attr" => attr: Loose,
    }
}

dict! {
    struct FileDict {
        b"length" => length: Loose,
        b"path" => path: TorrentPath,
        b"path.utf-8" => path_utf8: TorrentPath,
        b"attr" => attr: Loose,
        b"symlink path" => symlink: Loose,
    }
}

/// What `attr` says of a file (BEP 47).
#[derive(Clone, Copy)]
struct Attributes {
    /// Its bytes are zeros and not stored.
    padding: bool,
    /// A link has no bytes, whatever its length says.
    link: bool,
}

impl Attributes {
    fn of(attr: Option<&Loose>) -> Attributes {
        let has = |wanted: u8| matches!(attr, Some(Loose::Bytes(attr)) if attr.contains(&wanted));
        Attributes { padding: has(b'p'), link: has(b'l') }
    }

    fn length(self, length: Option<Loose>, file: usize) -> Result<u64, MetainfoError> {
        if self.link { Ok(0) } else { file_length(length, file) }
    }
}

impl Info {
    /// Content from its parts.
    ///
    /// # Errors
    /// When the number of hashes is not the number of pieces.
    pub fn new(
        name: String,
        layout: Layout,
        piece_hashes: Vec<[u8; 20]>,
        private: bool,
    ) -> Result<Info, MetainfoError> {
        if piece_hashes.len() != layout.piece_count() as usize {
            return Err(MetainfoError::PieceCount {
                expected: layout.piece_count(),
                found: piece_hashes.len(),
            });
        }
        let piece_hashes = piece_hashes.into();
        Ok(Info {
            name,
            layout,
            private,
            source: None,
            renamed_files: 0,
            plain_paths: Arc::default(),
            piece_hashes,
            encoded_len: 0,
        })
    }

    /// Reads an `info` dictionary, which must make up all of the bytes.
    ///
    /// Names are made safe instead of refused, so that the content can be had, and as libtorrent makes them, so that what
    /// other clients have is found: separators are left out, control characters and what is not UTF-8 become `_`; `.` and
    /// `..` are dropped; very long names are cut before their extension; a path that is taken, by a folder or by a file
    /// before it, gets a number. [`Info::plain_paths`] has the paths of clients that keep names as they are. A link (BEP
    /// 47 `attr` `l`) is an attribute of the torrent: it has no bytes and is never made.
    ///
    /// # Errors
    /// When the content cannot be known from it, or a limit is exceeded.
    pub fn parse(bytes: &[u8]) -> Result<Info, MetainfoError> {
        Info::parse_within(bytes, &Limits::TORRENT)
    }

    pub(super) fn parse_within(bytes: &[u8], limits: &Limits) -> Result<Info, MetainfoError> {
        let mut dict: InfoDict = bencode::decode(bytes, limits)?;
        let version = dict.meta_version.as_ref().and_then(Loose::as_unsigned);
        let Some(pieces) = dict.pieces.take() else {
            return Err(if version == Some(2) {
                MetainfoError::OnlyVersion2
            } else {
                MetainfoError::Key("pieces")
            });
        };
        let piece_length = dict.piece_length.ok_or(MetainfoError::Key("piece length"))?;
        let piece_length = u32::try_from(piece_length)
            .map_err(|_| LayoutError::PieceLength(u64::try_from(piece_length).unwrap_or(0)))?;
        let name = match (dict.name_utf8.take(), dict.name.take()) {
            (Some(Loose::Bytes(name)), _) | (_, Some(Loose::Bytes(name))) => name,
            _ => return Err(MetainfoError::Key("name")),
        };
        // A torrent must have some name of its own on disk.
        let root =
            clean_component(&name).unwrap_or_else(|| InfoHashes::of_v1(bytes).id().to_string().into_bytes());
        let plain_root = plain_component(&name).filter(|plain| *plain != root);
        let folder = dict.files.is_some();
        let paths = match dict.files.take() {
            Some(files) => file_list(&root, plain_root.as_deref(), root != name, files.0)?,
            None => {
                let attributes = Attributes::of(dict.attr.as_ref());
                let length = attributes.length(dict.length.take(), 1)?;
                let path = OsString::from_vec(root.clone()).into();
                Paths {
                    files: vec![FileSpec { path, length, padding: attributes.padding }],
                    renamed: usize::from(root != name),
                    plain: plain_root
                        .map(|plain| (0, OsString::from_vec(plain).into()))
                        .into_iter()
                        .collect(),
                }
            }
        };
        let layout = Layout::new(piece_length, paths.files)?;
        if layout.total_length == 0 {
            return Err(MetainfoError::NoContent);
        }
        let disagree = match (&dict.file_tree, version) {
            (Some(tree), Some(2)) => tree.contradiction(&layout, folder),
            (Some(_), _) => Some("there is a file tree, but the version is not 2"),
            (None, Some(2)) => Some("version 2 has no file tree"),
            (None, Some(3..)) => Some("the version is unknown"),
            (None, _) => None,
        };
        if let Some(why) = disagree {
            return Err(MetainfoError::Halves(why));
        }
        let piece_hashes = piece_hashes(&pieces, &layout)?;
        let private = match dict.private {
            Some(Loose::Integer(private)) => private != 0,
            // Taken for private when in doubt: the other way would tell strangers about it.
            Some(Loose::Bytes(private)) => private != b"0" && !private.is_empty(),
            _ => false,
        };
        Ok(Info {
            name: String::from_utf8_lossy(&root).into_owned(),
            layout,
            private,
            source: dict.source.and_then(Loose::into_text),
            renamed_files: paths.renamed,
            plain_paths: paths.plain.into(),
            piece_hashes,
            encoded_len: bytes.len(),
        })
    }

    /// The same content without the hashes of its pieces, which are nearly all of its memory: enough to serve it.
    #[must_use]
    pub fn without_hashes(mut self) -> Info {
        self.piece_hashes = Box::default();
        self
    }

    /// Files, by index, with the paths that they have by the letter of the torrent, where [`Layout::files`] has others and
    /// a file system takes these. Clients that are not built on libtorrent may have them there.
    pub fn plain_paths(&self) -> &[(usize, PathBuf)] {
        &self.plain_paths
    }

    /// The same content with [`Info::plain_paths`].
    #[must_use]
    pub fn with_plain_paths(mut self) -> Info {
        for (file, path) in self.plain_paths.iter() {
            self.layout.files[*file].path.clone_from(path);
        }
        self.plain_paths = Arc::default();
        self
    }

    /// Whether the hashes of its pieces are there, so that it can be checked.
    pub fn has_hashes(&self) -> bool {
        self.piece_hashes.len() == self.layout.piece_count() as usize
    }

    /// Bytes of the dictionary this was read from; 0 when it was made from parts.
    pub fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    /// Whether a piece whose bytes have this SHA-1 is the right one. Never, when there is no such piece or the hashes were
    /// left out.
    pub fn verify(&self, piece: PieceIndex, digest: &[u8; 20]) -> bool {
        self.piece_hash(piece) == Some(digest)
    }

    /// The SHA-1 of a piece, when there is such a piece and hashes were not left out.
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<&[u8; 20]> {
        self.piece_hashes.get(piece.0 as usize)
    }

    /// All SHA-1 values in piece order; none when they were left out.
    pub fn piece_hashes(&self) -> &[[u8; 20]] {
        &self.piece_hashes
    }
}

fn piece_hashes(bytes: &[u8], layout: &Layout) -> Result<Box<[[u8; 20]]>, MetainfoError> {
    let (hashes, rest) = bytes.as_chunks::<20>();
    if !rest.is_empty() {
        return Err(MetainfoError::PiecesLength(bytes.len()));
    }
    let expected = layout.piece_count();
    if hashes.len() != expected as usize {
        return Err(MetainfoError::PieceCount { expected, found: hashes.len() });
    }
    Ok(hashes.into())
}

/// `file` counts from 1.
fn file_length(length: Option<Loose>, file: usize) -> Result<u64, MetainfoError> {
    match length {
        Some(Loose::Integer(length)) => {
            u64::try_from(length).map_err(|_| MetainfoError::NegativeLength { file })
        }
        _ => Err(MetainfoError::FileLength { file }),
    }
}

/// Where files lie.
struct Paths {
    files: Vec<FileSpec>,
    /// How many of them lie elsewhere than the torrent says.
    renamed: usize,
    /// As [`Info::plain_paths`].
    plain: Vec<(usize, PathBuf)>,
}

/// The files below the folder `root`, which is `plain_root` by the letter of the torrent when that is another.
fn file_list(
    root: &[u8],
    plain_root: Option<&[u8]>,
    root_changed: bool,
    files: Vec<FileDict>,
) -> Result<Paths, MetainfoError> {
    let mut taken = Deduplicator::default();
    let mut specs = Vec::with_capacity(files.len());
    let mut changed = Vec::with_capacity(files.len());
    let mut plain: Vec<(usize, PathBuf)> = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let number = index + 1;
        let attributes = Attributes::of(file.attr.as_ref());
        let length = attributes.length(file.length, number)?;
        let mut paths = [file.path_utf8, file.path].into_iter().flatten();
        let path = match paths.find(|path| *path != TorrentPath::NotAList) {
            None if attributes.padding => {
                let joined = format!(".pad/{length}").into_bytes();
                TorrentPath::Names { joined, changed: false, plain: None, padding: true }
            }
            Some(path) => path,
            None => return Err(MetainfoError::FilePath { file: number }),
        };
        let (joined, path_changed, plain_path, named_padding) = match path {
            TorrentPath::Names { joined, changed, plain, padding } => (joined, changed, plain, padding),
            TorrentPath::TooLong => return Err(MetainfoError::PathTooLong { file: number }),
            TorrentPath::Invalid | TorrentPath::NotAList => {
                return Err(MetainfoError::FilePath { file: number });
            }
        };
        let wanted = [root, b"/", &joined].concat();
        if wanted.len() > PATH_BYTES_MAX {
            return Err(MetainfoError::PathTooLong { file: number });
        }
        if !taken.enter_folders(&wanted) {
            return Err(MetainfoError::TooManyFolders);
        }
        // Without a target it is an empty file like any other.
        let link =
            attributes.link && matches!(&file.symlink, Some(Loose::List(target)) if !target.is_empty());
        let padding = attributes.padding || named_padding || link;
        if !padding && plain.len() <= PLAIN_NAMES_MAX && (plain_path.is_some() || plain_root.is_some()) {
            let path = [plain_root.unwrap_or(root), b"/", plain_path.as_ref().unwrap_or(&joined)].concat();
            plain.push((index, OsString::from_vec(path).into()));
        }
        changed.push(root_changed || path_changed);
        specs.push(FileSpec { path: OsString::from_vec(wanted).into(), length, padding });
    }
    let known = plain.len();
    let mut renamed = 0;
    for (index, (spec, changed)) in specs.iter_mut().zip(changed).enumerate() {
        let path = OsString::from_vec(taken.claim(spec.path.as_os_str().as_bytes())).into();
        if spec.padding {
            continue;
        }
        let wanted = std::mem::replace(&mut spec.path, path);
        let numbered = wanted != spec.path;
        let has_plain = plain[..known].binary_search_by_key(&index, |(file, _)| *file).is_ok();
        if numbered && !has_plain && plain.len() <= PLAIN_NAMES_MAX {
            plain.push((index, wanted));
        }
        renamed += usize::from(changed || numbered);
    }
    Ok(Paths { plain: usable_plain(&specs, plain), files: specs, renamed })
}

/// The plain paths, when all of them can be had at once and they are few enough to be kept.
fn usable_plain(files: &[FileSpec], mut plain: Vec<(usize, PathBuf)>) -> Vec<(usize, PathBuf)> {
    if plain.is_empty() || plain.len() > PLAIN_NAMES_MAX {
        return Vec::new();
    }
    plain.sort_unstable_by_key(|(file, _)| *file);
    let path = |index: usize| -> &[u8] {
        let place = plain.binary_search_by_key(&index, |(file, _)| *file);
        place.map_or(&files[index].path, |place| &plain[place].1).as_os_str().as_bytes()
    };
    let stored = || (0..files.len()).filter(|index| !files[*index].padding).map(path);
    let mut taken = Deduplicator::exact();
    let room = stored().all(|path| path.len() <= PATH_BYTES_MAX && taken.enter_folders(path));
    if room && stored().all(|path| taken.claim(path) == path) { plain } else { Vec::new() }
}

/// The bytes of an `info` dictionary for new content; paths begin with the torrent's name. One file directly
/// under no folder makes a single-file torrent.
pub(crate) fn encode_info(
    layout: &Layout,
    piece_hashes: &[[u8; 20]],
    private: bool,
    source: Option<&str>,
) -> Vec<u8> {
    let names = |path: &Path| -> Vec<Vec<u8>> {
        let name = |part| match part {
            Component::Normal(name) => Some(name.as_bytes().to_vec()),
            _ => None,
        };
        path.components().filter_map(name).collect()
    };
    let root = layout.files.first().map(|file| names(&file.path)).unwrap_or_default();
    let single = layout.files.len() == 1 && root.len() == 1;
    let mut out = Vec::with_capacity(piece_hashes.len() * 20 + layout.files.len() * 64 + 256);
    out.push(b'd');
    if !single {
        put_bytes(&mut out, b"files");
        out.push(b'l');
        for file in &layout.files {
            out.push(b'd');
            if file.padding {
                put_bytes(&mut out, b"attr");
                put_bytes(&mut out, b"p");
            }
            put_bytes(&mut out, b"length");
            put_integer(&mut out, file.length);
            put_bytes(&mut out, b"path");
            out.push(b'l');
            names(&file.path).iter().skip(1).for_each(|name| put_bytes(&mut out, name));
            out.extend_from_slice(b"ee");
        }
        out.push(b'e');
    } else {
        put_bytes(&mut out, b"length");
        put_integer(&mut out, layout.total_length);
    }
    put_bytes(&mut out, b"name");
    put_bytes(&mut out, root.first().map(Vec::as_slice).unwrap_or_default());
    put_bytes(&mut out, b"piece length");
    put_integer(&mut out, layout.piece_length.into());
    put_bytes(&mut out, b"pieces");
    put_bytes(&mut out, piece_hashes.as_flattened());
    if private {
        put_bytes(&mut out, b"private");
        put_integer(&mut out, 1);
    }
    if let Some(source) = source {
        put_bytes(&mut out, b"source");
        put_bytes(&mut out, source.as_bytes());
    }
    out.push(b'e');
    out
}
