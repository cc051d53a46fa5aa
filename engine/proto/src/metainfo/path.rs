//! The path of one file, made safe while it is decoded: a hostile list of names never becomes a list in memory.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::info::LEGACY_PADDING;
use super::names::clean_component;
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
        /// The name means padding.
        padding: bool,
    },
    /// Beyond [`PATH_BYTES_MAX`] or [`PATH_DEPTH_MAX`].
    TooLong,
    /// Not a list of names.
    Invalid,
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
                Ok(TorrentPath::Invalid)
            }

            fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<TorrentPath, E> {
                Ok(TorrentPath::Invalid)
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<TorrentPath, M::Error> {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(TorrentPath::Invalid)
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
    let mut joined = Vec::new();
    let mut changed = false;
    let mut padding = false;
    let mut count = 0;
    while let Some(name) = list.next_element()? {
        let Loose::Bytes(name) = name else { return skip_rest(list, TorrentPath::Invalid) };
        count += 1;
        padding = name.starts_with(LEGACY_PADDING);
        match clean_component(&name) {
            Some(clean) => {
                changed |= clean != name;
                if !joined.is_empty() {
                    joined.push(b'/');
                }
                joined.extend_from_slice(&clean);
            }
            None => changed = true,
        }
        if count > PATH_DEPTH_MAX || joined.len() > PATH_BYTES_MAX {
            return skip_rest(list, TorrentPath::TooLong);
        }
    }
    if count == 0 {
        return Ok(TorrentPath::Invalid);
    }
    if joined.is_empty() {
        joined.push(b'_');
    }
    Ok(TorrentPath::Names { joined, changed, padding })
}

/// The decoder needs every list to be read to its end, and only once.
fn skip_rest<'de, S: SeqAccess<'de>>(list: &mut S, path: TorrentPath) -> Result<TorrentPath, S::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(path)
}
