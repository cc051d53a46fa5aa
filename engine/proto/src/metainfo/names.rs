//! Names from a torrent, made safe for a Linux file system, and paths made distinct.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use crate::limits::{FOLDERS_MAX, PATH_COMPONENT_BYTES_MAX};

/// Longest end of a name after a dot that counts as its extension, bytes with the dot.
const EXTENSION_BYTES_MAX: usize = 32;
/// Room for a dot and the digits of a `u32`.
const NUMBER_BYTES: usize = 11;

/// One name of a path, safe to create: no separator, control character or NUL (each becomes `_`), at most 255
/// bytes. `None` when nothing is left, or for `.` and `..`.
///
/// A backslash is a separator only in text: in other encodings it may be half of a character.
pub(crate) fn clean_component(name: &[u8]) -> Option<Vec<u8>> {
    let is_text = std::str::from_utf8(name).is_ok();
    let mut clean: Vec<u8> = name
        .iter()
        .map(|&byte| match byte {
            b'/' | 0..0x20 | 0x7f => b'_',
            b'\\' if is_text => b'_',
            other => other,
        })
        .collect();
    if matches!(clean.as_slice(), b"" | b"." | b"..") {
        return None;
    }
    if clean.len() > PATH_COMPONENT_BYTES_MAX {
        let (stem, extension) = split_extension(&clean);
        let stem = cut(stem, PATH_COMPONENT_BYTES_MAX - extension.len());
        clean = [stem, extension].concat();
    }
    Some(clean)
}

/// A name before its extension, and the extension with its dot.
fn split_extension(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX => name.split_at(dot),
        _ => (name, &[]),
    }
}

/// The first bytes of a name; no character of UTF-8 is cut in two.
fn cut(name: &[u8], length_max: usize) -> &[u8] {
    if name.len() <= length_max {
        return name;
    }
    let is_text = std::str::from_utf8(name).is_ok();
    let mut end = length_max;
    while is_text && end > 0 && name[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &name[..end]
}

/// What lies at a path so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// Gives each file a path of its own; the first one keeps its own name. A file never lies where a folder is.
///
/// Paths are remembered as 64-bit hashes, so that a torrent of many deep folders costs few bytes for each. Two
/// paths of equal hash make one of them be renamed needlessly, which harms nobody.
#[derive(Default)]
pub(super) struct Deduplicator {
    kinds: HashMap<u64, Kind>,
    folders: usize,
    /// Where a folder went because a file has its name.
    moved_folders: HashMap<u64, Vec<u8>>,
    /// Next number by the part of a name that stays when it is numbered. One counter for all names that share
    /// it, so that no number is tried twice.
    numbers: HashMap<u64, u32>,
}

impl Deduplicator {
    /// The path to use for a file, whose names are clean and joined by `/`. `None` when there are more than
    /// [`FOLDERS_MAX`] folders.
    pub fn claim(&mut self, joined: &[u8]) -> Option<Vec<u8>> {
        let mut path = Vec::with_capacity(joined.len());
        let mut parent = 0;
        let mut names = joined.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            let is_folder = names.peek().is_some();
            let name = if is_folder {
                self.folder_name(parent, name)
            } else if self.kinds.contains_key(&node(parent, name)) {
                Cow::Owned(self.free_name(parent, name))
            } else {
                Cow::Borrowed(name)
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            parent = node(parent, &name);
            let kind = if is_folder { Kind::Folder } else { Kind::File };
            if self.kinds.insert(parent, kind).is_none() && is_folder {
                self.folders += 1;
                if self.folders > FOLDERS_MAX {
                    return None;
                }
            }
        }
        Some(path)
    }

    fn folder_name<'a>(&mut self, parent: u64, name: &'a [u8]) -> Cow<'a, [u8]> {
        let id = node(parent, name);
        if self.kinds.get(&id) != Some(&Kind::File) {
            return Cow::Borrowed(name);
        }
        if let Some(moved) = self.moved_folders.get(&id) {
            return Cow::Owned(moved.clone());
        }
        let moved = self.free_name(parent, name);
        self.moved_folders.insert(id, moved.clone());
        Cow::Owned(moved)
    }

    /// The name with the first number before its extension that makes it new.
    fn free_name(&mut self, parent: u64, name: &[u8]) -> Vec<u8> {
        let (stem, extension) = split_extension(name);
        let stem = cut(stem, PATH_COMPONENT_BYTES_MAX - NUMBER_BYTES - extension.len());
        let series = node(node(parent, stem), extension);
        let number = self.numbers.entry(series).or_insert(0);
        loop {
            // There are fewer files than numbers.
            *number = number.wrapping_add(1);
            let numbered = [stem, b".", number.to_string().as_bytes(), extension].concat();
            if !self.kinds.contains_key(&node(parent, &numbered)) {
                return numbered;
            }
        }
    }
}

/// Identifies a path by its folder and its last name.
fn node(parent: u64, name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(parent);
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(name: &[u8]) -> Vec<u8> {
        clean_component(name).unwrap()
    }

    #[test]
    fn dangerous_names_are_dropped_or_defused() {
        for name in [&b""[..], b".", b".."] {
            assert_eq!(clean_component(name), None);
        }
        assert_eq!(clean(b"/etc/passwd"), b"_etc_passwd");
        assert_eq!(clean(b"../../x"), b".._.._x");
        assert_eq!(clean(b"a\\..\\b"), b"a_.._b");
        assert_eq!(clean(b"a\0b\nc\x1b\x7f"), b"a_b_c__");
        assert_eq!(clean(b"..."), b"...");
    }

    #[test]
    fn odd_encodings_are_kept() {
        assert_eq!(clean("grüße 世界.txt".as_bytes()), "grüße 世界.txt".as_bytes());
        // Shift-JIS: the second byte of the character is a backslash.
        assert_eq!(clean(b"\x83\x5c.txt"), b"\x83\x5c.txt");
    }

    #[test]
    fn long_names_keep_their_extension_and_their_characters() {
        let long = clean(format!("{}.tar", "x".repeat(300)).as_bytes());
        assert_eq!(long.len(), 255);
        assert!(long.ends_with(b"x.tar"));
        let wide = clean(format!("{}.txt", "世".repeat(100)).as_bytes());
        assert!(wide.len() <= 255 && wide.ends_with(b".txt"));
        assert!(std::str::from_utf8(&wide).is_ok());
        assert_eq!(clean(&[b'.'; 300]).len(), 255);
        assert_eq!(clean(&[0xff; 300]).len(), 255);
    }

    fn claim(taken: &mut Deduplicator, path: &str) -> String {
        String::from_utf8(taken.claim(path.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn equal_paths_get_numbers() {
        let mut taken = Deduplicator::default();
        assert_eq!(claim(&mut taken, "t/a.txt"), "t/a.txt");
        assert_eq!(claim(&mut taken, "t/a.1.txt"), "t/a.1.txt");
        assert_eq!(claim(&mut taken, "t/a.txt"), "t/a.2.txt");
        assert_eq!(claim(&mut taken, "t/a.txt"), "t/a.3.txt");
        assert_eq!(claim(&mut taken, "t/A.txt"), "t/A.txt");
        assert_eq!(claim(&mut taken, "t/.hidden"), "t/.hidden");
        assert_eq!(claim(&mut taken, "t/.hidden"), "t/.hidden.1");
    }

    #[test]
    fn a_file_never_lies_where_a_folder_is() {
        let mut taken = Deduplicator::default();
        assert_eq!(claim(&mut taken, "t/a"), "t/a");
        assert_eq!(claim(&mut taken, "t/a/x"), "t/a.1/x");
        assert_eq!(claim(&mut taken, "t/a/y"), "t/a.1/y");
        assert_eq!(claim(&mut taken, "t/a/x"), "t/a.1/x.1");
        assert_eq!(claim(&mut taken, "t/b/x"), "t/b/x");
        assert_eq!(claim(&mut taken, "t/b"), "t/b.1");
        assert_eq!(claim(&mut taken, "t/b.1"), "t/b.1.1");
    }

    #[test]
    fn many_equal_long_names_stay_distinct_and_short() {
        let mut taken = Deduplicator::default();
        let mut seen = std::collections::HashSet::new();
        for n in 0..2000u32 {
            let name = format!("{}{:02}", "x".repeat(253), n % 100);
            let path = claim(&mut taken, &format!("t/{name}"));
            assert!(path.len() <= 257);
            assert!(seen.insert(path));
        }
    }
}
