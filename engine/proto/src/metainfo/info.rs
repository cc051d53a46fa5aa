//! The `info` dictionary: names, lengths and piece hashes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use serde_bytes::ByteBuf;

use super::MetainfoError;
use super::names::{Deduplicator, clean_component};
use super::path::TorrentPath;
use crate::bencode::{self, Bounded, Limits, Loose, dict, put_bytes, put_integer};
use crate::layout::{FileSpec, Layout, LayoutError};
use crate::limits::{FILES_MAX, PATH_BYTES_MAX};
use crate::units::{InfoHash, PieceIndex};

/// What a torrent contains. Made from an `info` dictionary, or by [`Info::new`] from parts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The name to show. Bytes that are not UTF-8 are replaced; on disk they are kept (see [`Layout::files`]).
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
    /// One per piece, or none when they were left out.
    piece_hashes: Box<[[u8; 20]]>,
    /// Bytes of the dictionary this was read from; 0 when it was made from parts.
    encoded_len: usize,
}

/// How padding was named before BEP 47.
pub(crate) const LEGACY_PADDING: &[u8] = b"_____padding_file_";

dict! {
    struct InfoDict {
        b"name.utf-8" => name_utf8: Loose,
        b"name" => name: Loose,
        b"piece length" => piece_length: i64,
        b"pieces" => pieces: ByteBuf,
        b"length" => length: Loose,
        b"files" => files: Bounded<FileDict, FILES_MAX>,
        b"private" => private: Loose,
        b"source" => source: Loose,
        b"meta version" => meta_version: Loose,
    }
}

dict! {
    struct FileDict {
        b"length" => length: Loose,
        b"path" => path: TorrentPath,
        b"path.utf-8" => path_utf8: TorrentPath,
        b"attr" => attr: Loose,
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
        Ok(Info { name, layout, private, source: None, renamed_files: 0, piece_hashes, encoded_len: 0 })
    }

    /// Reads an `info` dictionary, which must make up all of the bytes.
    ///
    /// Names are made safe instead of refused, so that the content can be had: separators, control characters
    /// and NUL become `_`; empty names, `.` and `..` inside a path are dropped; names over 255 bytes are cut
    /// before their extension; a path that is taken, by a file or by a folder, gets a number. Bytes that are not
    /// UTF-8 stay as they are. A link (BEP 47 `attr` `l`) is an ordinary file; links are never made.
    ///
    /// # Errors
    /// When the content cannot be known from it, or a limit is exceeded.
    pub fn parse(bytes: &[u8]) -> Result<Info, MetainfoError> {
        Info::parse_within(bytes, &Limits::TORRENT)
    }

    pub(super) fn parse_within(bytes: &[u8], limits: &Limits) -> Result<Info, MetainfoError> {
        let mut dict: InfoDict = bencode::decode(bytes, limits)?;
        let Some(pieces) = dict.pieces.take() else {
            let version = dict.meta_version.as_ref().and_then(Loose::as_unsigned);
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
            (Some(Loose::Bytes(name)), _) if !name.is_empty() => name,
            (_, Some(Loose::Bytes(name))) => name,
            _ => return Err(MetainfoError::Key("name")),
        };
        // A torrent must have some name of its own on disk.
        let root = clean_component(&name).unwrap_or_else(|| InfoHash::of(bytes).to_string().into_bytes());
        let (files, renamed_files) = match dict.files.take() {
            Some(files) => file_list(&root, root != name, files.0)?,
            None => {
                let length = file_length(dict.length.take(), 1)?;
                let spec = FileSpec { path: OsString::from_vec(root.clone()).into(), length, padding: false };
                (vec![spec], usize::from(root != name))
            }
        };
        let layout = Layout::new(piece_length, files)?;
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
            renamed_files,
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

    /// Whether the hashes of its pieces are there, so that it can be checked.
    pub fn has_hashes(&self) -> bool {
        self.piece_hashes.len() == self.layout.piece_count() as usize
    }

    /// Bytes of the dictionary this was read from; 0 when it was made from parts.
    pub fn encoded_len(&self) -> usize {
        self.encoded_len
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
    // Some programs give a torrent without bytes one hash, of nothing.
    if expected == 0 && hashes.len() == 1 {
        return Ok(Box::default());
    }
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

/// The files below the folder `root`, and how many of them lie elsewhere than the torrent says.
fn file_list(
    root: &[u8],
    root_changed: bool,
    files: Vec<FileDict>,
) -> Result<(Vec<FileSpec>, usize), MetainfoError> {
    let mut taken = Deduplicator::default();
    let mut renamed = 0;
    let mut specs = Vec::with_capacity(files.len());
    for (file, number) in files.into_iter().zip(1..) {
        let length = file_length(file.length, number)?;
        let attr_padding = matches!(&file.attr, Some(Loose::Bytes(attr)) if attr.contains(&b'p'));
        let mut paths = [file.path_utf8, file.path].into_iter().flatten();
        let (joined, changed, padding) = match paths.find(|path| *path != TorrentPath::Invalid) {
            Some(TorrentPath::Names { joined, changed, padding }) => (joined, changed, padding),
            Some(TorrentPath::TooLong) => return Err(MetainfoError::PathTooLong { file: number }),
            _ if attr_padding => (format!(".pad/{length}").into_bytes(), false, true),
            _ => return Err(MetainfoError::FilePath { file: number }),
        };
        let wanted = [root, b"/", &joined].concat();
        if wanted.len() > PATH_BYTES_MAX {
            return Err(MetainfoError::PathTooLong { file: number });
        }
        let padding = padding || attr_padding;
        // Padding is never stored, so that it may have any name.
        let path = if padding {
            wanted
        } else {
            let path = taken.claim(&wanted).ok_or(MetainfoError::TooManyFolders)?;
            renamed += usize::from(root_changed || changed || path != wanted);
            path
        };
        specs.push(FileSpec { path: OsString::from_vec(path).into(), length, padding });
    }
    Ok((specs, renamed))
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
