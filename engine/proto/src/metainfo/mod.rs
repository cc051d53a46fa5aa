//! Torrent files: what they say about the content, and where it is announced (BEP 3, 12, 19, 27, 47).

mod info;
mod names;
mod path;
mod tree;

use std::sync::Arc;

pub use info::Info;
pub(crate) use info::{LEGACY_PADDING, encode_info};
pub(crate) use names::plain_component;

use crate::bencode::{self, BencodeError, Limits, Loose, dict, put_bytes, put_integer};
use crate::hashes::{InfoHashes, TorrentId};
use crate::layout::LayoutError;
use crate::limits::{FOLDERS_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, TRACKERS_MAX, URL_BYTES_MAX};

/// A torrent file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// The hashes of `info_bytes`.
    pub hashes: InfoHashes,
    /// The content.
    pub info: Arc<Info>,
    /// The exact bytes of the `info` dictionary, which `ut_metadata` (BEP 9) serves; none when they were left out
    /// ([`Metainfo::stub`]).
    pub info_bytes: Arc<[u8]>,
    /// Tracker URLs by tier (BEP 12); no tier is empty and no URL comes twice.
    pub tiers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Free text of the author.
    pub comment: Option<String>,
    /// The program that made the torrent.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<u64>,
}

/// Why a torrent file or an `info` dictionary cannot be used. Files are counted from 1, as people do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Not bencoded, or beyond the limits of the decoder.
    #[error("not a torrent file: {0}")]
    Bencode(#[from] BencodeError),
    /// The outermost value has no dictionary `info`.
    #[error("not a torrent file: it has no info dictionary")]
    NoInfo,
    /// A key without which there is no torrent, or one of the wrong type.
    #[error("the torrent has no valid {0:?}")]
    Key(&'static str),
    /// `meta version` 2 without the version 1 part (BEP 52).
    #[error("this is a BitTorrent v2 torrent; only v1 and hybrid torrents are supported")]
    OnlyVersion2,
    /// A file without a length.
    #[error("file {file} of the torrent has no valid length")]
    FileLength {
        /// Counted from 1.
        file: usize,
    },
    /// A file whose length is below zero.
    #[error("file {file} of the torrent has a negative length")]
    NegativeLength {
        /// Counted from 1.
        file: usize,
    },
    /// A file without a name.
    #[error("file {file} of the torrent has no valid path")]
    FilePath {
        /// Counted from 1.
        file: usize,
    },
    /// A path that no file system takes.
    #[error(
        "the path of file {file} of the torrent is too long (over {PATH_BYTES_MAX} bytes or {PATH_DEPTH_MAX} folders)"
    )]
    PathTooLong {
        /// Counted from 1.
        file: usize,
    },
    /// See [`FOLDERS_MAX`].
    #[error("the torrent has more than the supported {FOLDERS_MAX} folders")]
    TooManyFolders,
    /// All its files are empty.
    #[error("the torrent has no content: all its files are empty")]
    NoContent,
    /// A hybrid torrent (BEP 52) whose parts are different content.
    #[error("the version 1 and version 2 parts of the torrent do not agree: {0}")]
    Halves(&'static str),
    /// Lengths or counts beyond what a torrent may have.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// `pieces` is not a string of whole hashes.
    #[error("the piece hashes of the torrent are {0} bytes, which is not a multiple of 20")]
    PiecesLength(usize),
    /// The number of piece hashes does not fit the length of the content.
    #[error("the torrent has {found} piece hashes, its content needs {expected}")]
    PieceCount {
        /// By the lengths of the files.
        expected: u32,
        /// In `pieces`.
        found: usize,
    },
}

dict! {
    struct OuterDict {
        b"announce" => announce: Loose,
        b"announce-list" => announce_list: Loose,
        b"url-list" => url_list: Loose,
        b"comment.utf-8" => comment_utf8: Loose,
        b"comment" => comment: Loose,
        b"created by" => created_by: Loose,
        b"creation date" => creation_date: Loose,
    }
}

impl Metainfo {
    /// Reads a torrent file. Bytes after it are overlooked, as other clients do; so are trackers, web seeds and
    /// texts of the wrong type.
    ///
    /// # Errors
    /// When the content cannot be known from it, or a limit is exceeded.
    pub fn parse(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        let (outer, _) = bencode::decode_prefix::<OuterDict>(bytes, &Limits::TORRENT)?;
        let span = bencode::value_span(bytes, &[b"info"]).ok_or(MetainfoError::NoInfo)?;
        let info_bytes = &bytes[span];
        if info_bytes.first() != Some(&b'd') {
            return Err(MetainfoError::NoInfo);
        }
        let mut metainfo = Metainfo::with_info(Info::parse(info_bytes)?, info_bytes);
        metainfo.tiers = tiers(outer.announce, outer.announce_list);
        metainfo.web_seeds = urls(outer.url_list);
        metainfo.comment = outer.comment_utf8.or(outer.comment).and_then(Loose::into_text);
        metainfo.created_by = outer.created_by.and_then(Loose::into_text);
        metainfo.creation_date = outer.creation_date.and_then(|date| date.as_unsigned());
        Ok(metainfo)
    }

    /// A torrent of which only the `info` dictionary is known, as peers send it for a magnet link. The caller
    /// has compared its hash. The limits are stricter than for a file.
    ///
    /// # Errors
    /// As [`Metainfo::parse`].
    pub fn from_info_bytes(info_bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        Ok(Metainfo::with_info(Info::parse_within(info_bytes, &Limits::METADATA)?, info_bytes))
    }

    fn with_info(info: Info, info_bytes: &[u8]) -> Metainfo {
        Metainfo {
            hashes: InfoHashes::of_v1(info_bytes),
            info: Arc::new(info),
            info_bytes: info_bytes.into(),
            tiers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// What the torrent is called in this program.
    pub fn id(&self) -> TorrentId {
        self.hashes.id()
    }

    /// The same torrent without the bytes of its `info` dictionary and without the hashes of its pieces, which are
    /// nearly all of its memory. It can be served, but not checked, and there is no torrent file of it.
    #[must_use]
    pub fn stub(self) -> Metainfo {
        let info = Arc::unwrap_or_clone(self.info).without_hashes();
        Metainfo { info: Arc::new(info), info_bytes: Arc::default(), ..self }
    }

    /// Whether this is what [`Metainfo::stub`] leaves.
    pub fn is_stub(&self) -> bool {
        self.info_bytes.is_empty()
    }

    /// A torrent file: sorted keys, the `info` dictionary byte for byte. Keys of the original that
    /// [`Metainfo`] has no field for are not in it. Not to be asked of a lean one: what it gives is no torrent file.
    pub fn to_bytes(&self) -> Vec<u8> {
        debug_assert!(!self.is_stub(), "a lean metainfo has no torrent file");
        let mut out = Vec::with_capacity(self.info_bytes.len() + 1024);
        out.push(b'd');
        if let Some(first) = self.tiers.iter().flatten().next() {
            put_bytes(&mut out, b"announce");
            put_bytes(&mut out, first.as_bytes());
        }
        if self.tiers.iter().flatten().nth(1).is_some() {
            put_bytes(&mut out, b"announce-list");
            out.push(b'l');
            for tier in &self.tiers {
                put_list(&mut out, tier);
            }
            out.push(b'e');
        }
        for (key, text) in [(&b"comment"[..], &self.comment), (b"created by", &self.created_by)] {
            if let Some(text) = text {
                put_bytes(&mut out, key);
                put_bytes(&mut out, text.as_bytes());
            }
        }
        if let Some(date) = self.creation_date {
            put_bytes(&mut out, b"creation date");
            put_integer(&mut out, date);
        }
        put_bytes(&mut out, b"info");
        out.extend_from_slice(&self.info_bytes);
        if !self.web_seeds.is_empty() {
            put_bytes(&mut out, b"url-list");
            put_list(&mut out, &self.web_seeds);
        }
        out.push(b'e');
        out
    }
}

fn put_list(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'l');
    texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
    out.push(b'e');
}

/// The tiers of `announce-list`; where it names no tracker, the single one of `announce` (BEP 12).
fn tiers(announce: Option<Loose>, announce_list: Option<Loose>) -> Vec<Vec<String>> {
    let mut tiers: Vec<Vec<String>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    // A list of strings instead of a list of lists is a tier for each.
    for tier in announce_list.map(Loose::into_elements).unwrap_or_default() {
        let mut tier = urls(Some(tier));
        tier.retain(|url| seen.len() < TRACKERS_MAX && seen.insert(url.clone()));
        if !tier.is_empty() {
            tiers.push(tier);
        }
    }
    if tiers.is_empty() {
        let single = urls(announce);
        if !single.is_empty() {
            tiers.push(single);
        }
    }
    tiers
}

/// The URLs of a string or of a list of strings, each once.
fn urls(value: Option<Loose>) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    let elements = value.map(Loose::into_elements).unwrap_or_default();
    for url in elements.into_iter().filter_map(url).take(TRACKERS_MAX) {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

fn url(value: Loose) -> Option<String> {
    let Loose::Bytes(bytes) = value else { return None };
    usable_url(std::str::from_utf8(&bytes).ok()?)
}

/// The text without spaces around it, when it can be a URL at all. One with spaces in path or query is: whoever asks
/// it escapes them. A space in the host, or two URLs in a row, is none.
pub(crate) fn usable_url(text: &str) -> Option<String> {
    let text = text.trim();
    let (_, rest) = text.split_once("://")?;
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let second = rest.split_once(char::is_whitespace).is_some_and(|(_, after)| after.contains("://"));
    let odd = text.contains(char::is_control) || place.contains(char::is_whitespace) || second;
    (text.len() <= URL_BYTES_MAX && !odd).then(|| text.to_owned())
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
