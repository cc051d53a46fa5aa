//! The version 2 half of a hybrid torrent (BEP 52), as far as it can contradict the other half: its `file tree`.
//!
//! Peers of both versions are in one swarm, so that a torrent whose halves describe different files would give different
//! files to different people. Only what is compared is kept of each file.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::names::{clean_component, node};
use crate::bencode::{Loose, dict};
use crate::layout::{FileEntry, Layout};
use crate::limits::FILES_MAX;

/// Smallest piece length of version 2, bytes; it is a power of two.
const PIECE_LENGTH_MIN: u32 = 16 << 10;

/// The files of a `file tree` in its order.
#[derive(Debug, Default)]
pub(super) struct FileTree {
    files: Vec<TreeFile>,
    problem: Option<&'static str>,
}

/// What is compared of a file.
#[derive(Debug, PartialEq, Eq)]
struct TreeFile {
    /// A hash of its path below the torrent's folder.
    path: u64,
    length: u64,
}

dict! {
    struct Leaf {
        b"length" => length: Loose,
        b"pieces root" => root: Loose,
        b"attr" => attr: Loose,
    }
}

impl FileTree {
    fn wrong(&mut self, why: &'static str) {
        self.problem.get_or_insert(why);
    }

    fn add(&mut self, path: Option<u64>, leaf: Leaf) {
        if self.files.len() >= FILES_MAX {
            return self.wrong("its file tree has too many files");
        }
        let has = |wanted: u8| matches!(&leaf.attr, Some(Loose::Bytes(attr)) if attr.contains(&wanted));
        let length = match leaf.length {
            _ if has(b'l') => Some(0),
            length => length.as_ref().and_then(Loose::as_unsigned),
        };
        let Some(length) = length else { return self.wrong("its file tree has a file without a length") };
        let rooted = matches!(&leaf.root, Some(Loose::Bytes(root)) if root.len() == 32);
        if has(b'p') {
            self.wrong("its file tree has padding");
        } else if length > 0 && !rooted {
            self.wrong("its file tree has a file without a root hash");
        }
        self.files.push(TreeFile { path: path.unwrap_or_else(|| node(0, b"_")), length });
    }

    /// Why it is not the same content as `layout`, whose files lie below a folder when `folder` says so.
    pub(super) fn contradiction(&self, layout: &Layout, folder: bool) -> Option<&'static str> {
        if self.problem.is_some() {
            return self.problem;
        }
        let piece_length = layout.piece_length;
        if piece_length < PIECE_LENGTH_MIN || !piece_length.is_power_of_two() {
            return Some("its piece length is not a power of two from 16384");
        }
        let mut tree = self.files.iter();
        let mut offset = 0u64;
        for file in layout.files.iter().filter(|file| !file.padding || file.length == 0) {
            let Some(other) = tree.next() else { return Some("version 2 has fewer files") };
            if other.path != below(file, folder) || other.length != file.length {
                return Some("a file has another path or length in each");
            }
            if file.length > 0 {
                offset = offset.next_multiple_of(piece_length.into());
                if file.offset != offset {
                    return Some("a file does not begin at the same piece in each");
                }
                offset += file.length;
            }
        }
        tree.next().map(|_| "version 2 has more files")
    }
}

/// The hash of a file's path below the torrent's folder.
fn below(file: &FileEntry, folder: bool) -> u64 {
    let names = file.path.iter().skip(usize::from(folder));
    names.fold(0, |parent, name| node(parent, name.as_encoded_bytes()))
}

impl<'de> Deserialize<'de> for FileTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FileTree, D::Error> {
        let mut tree = FileTree::default();
        Folder { tree: &mut tree, path: None, top: true }.deserialize(deserializer)?;
        Ok(tree)
    }
}

/// A folder of the tree, or a file: one with the empty name in it.
struct Folder<'a> {
    tree: &'a mut FileTree,
    path: Option<u64>,
    top: bool,
}

impl<'de> DeserializeSeed<'de> for Folder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Folder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file tree")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.tree.wrong("its file tree is none");
        Ok(())
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<(), E> {
        self.tree.wrong("its file tree is none");
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        self.tree.wrong("its file tree is none");
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    /// Nested as deep as the decoder's limit lets it.
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let (mut files, mut names) = (0, 0);
        while let Some(name) = map.next_key::<serde_bytes::ByteBuf>()? {
            if name.is_empty() {
                files += 1;
                match map.next_value::<LeafOrNot>()?.0 {
                    Some(leaf) if !self.top => self.tree.add(self.path, leaf),
                    _ => self.tree.wrong("its file tree is none"),
                }
                continue;
            }
            names += 1;
            let path = match clean_component(&name) {
                Some(clean) => Some(node(self.path.unwrap_or(0), &clean)),
                None => self.path,
            };
            map.next_value_seed(Folder { tree: &mut *self.tree, path, top: false })?;
        }
        if files > 1 || (files == 1 && names > 0) {
            self.tree.wrong("its file tree has a file where a folder is");
        }
        Ok(())
    }
}

/// The dictionary of a file, or a value of another type.
struct LeafOrNot(Option<Leaf>);

impl<'de> Deserialize<'de> for LeafOrNot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LeafOrNot, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = LeafOrNot;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<LeafOrNot, E> {
                Ok(LeafOrNot(None))
            }

            fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<LeafOrNot, E> {
                Ok(LeafOrNot(None))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<LeafOrNot, S::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(LeafOrNot(None))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<LeafOrNot, M::Error> {
                Leaf::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(|leaf| LeafOrNot(Some(leaf)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
