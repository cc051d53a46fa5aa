//! The path of one file, made safe while it is decoded: a hostile list of names never becomes a list in memory.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::info::LEGACY_PADDING;
use super::names::{clean_component, plain_component};
use crate::bencode::Loose;
use crate::limits::{PATH_BYTES_MAX, PATH_DEPTH_MAX};

/// What a torrent gives as the path of a file below its folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TorrentPath {
    /// Safe names joined by `/`, at least one.
    Names {
        joined: Vec<u8>,
        /// They differ from what the torrent says.
        changed: bool,
        /// The names by the letter of the torrent, as far as a file system takes them, where they are others.
        plain: Option<Vec<u8>>,
        /// The name means padding.
        padding: bool,
    },
    /// Beyond [`PATH_BYTES_MAX`] or [`PATH_DEPTH_MAX`].
    TooLong,
    /// A list of something else than names, or an empty one.
    Invalid,
    /// Not a list.
    NotAList,
}

impl<'de> Deserialize<'de> for TorrentPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TorrentPath, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = TorrentPath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path")
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<TorrentPath, E> {
                Ok(TorrentPath::NotAList)
            }

            fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<TorrentPath, E> {
                Ok(TorrentPath::NotAList)
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<TorrentPath, M::Error> {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(TorrentPath::NotAList)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<TorrentPath, S::Error> {
                read_names(&mut list)
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// Reads the list to its end; no name is kept once the path is known to be bad.
fn read_names<'de, S: SeqAccess<'de>>(list: &mut S) -> Result<TorrentPath, S::Error> {
    let (mut joined, mut plain) = (Vec::new(), Vec::new());
    let (mut padding, mut changed) = (false, false);
    let mut count = 0;
    while let Some(name) = list.next_element()? {
        let Loose::Bytes(name) = name else { return skip_rest(list, TorrentPath::Invalid) };
        count += 1;
        padding = name.starts_with(LEGACY_PADDING);
        let clean = clean_component(&name);
        changed |= clean.as_deref() != Some(&name[..]);
        append(&mut joined, clean);
        append(&mut plain, plain_component(&name));
        if count > PATH_DEPTH_MAX || joined.len().max(plain.len()) > PATH_BYTES_MAX {
            return skip_rest(list, TorrentPath::TooLong);
        }
    }
    if count == 0 {
        return Ok(TorrentPath::Invalid);
    }
    for path in [&mut joined, &mut plain] {
        if path.is_empty() {
            path.push(b'_');
        }
    }
    let plain = (plain != joined).then_some(plain);
    Ok(TorrentPath::Names { joined, changed, plain, padding })
}

fn append(path: &mut Vec<u8>, name: Option<Vec<u8>>) {
    if let Some(name) = name {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
    }
}

/// The decoder needs every list to be read to its end, and only once.
fn skip_rest<'de, S: SeqAccess<'de>>(list: &mut S, path: TorrentPath) -> Result<TorrentPath, S::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(path)
}
