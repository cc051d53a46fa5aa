//! Names from a torrent, made safe for a Linux file system, and paths made distinct.
//!
//! The names are those that libtorrent gives files, so that data of the many clients that are built on it is found where
//! they left it. `names_of_libtorrent.txt` has what it says of some hundred odd ones.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use crate::limits::{FOLDERS_MAX, PATH_COMPONENT_BYTES_MAX};

/// Longest end of a name after a dot that counts as its extension when a name is cut, bytes with the dot.
const EXTENSION_BYTES_MAX: usize = 32;
/// Length in bytes from which libtorrent looks for the extension and ends the name with it.
const LONG_NAME_BYTES: usize = 240;
/// Bytes at the end of a long name in which libtorrent looks for the extension.
const LONG_NAME_EXTENSION_BYTES: usize = 10;
/// Room for a dot and the digits of a `u32`.
const NUMBER_BYTES: usize = 11;
/// Characters that turn the direction of text around, so that a name reads as another.
const DIRECTION_MARKS: [char; 7] =
    ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{200e}', '\u{200f}'];

/// One name of a path, safe to create: at most 255 bytes of UTF-8 without a separator. `None` when nothing is left, and
/// for `.` and `..`.
///
/// Slashes, backslashes, NUL and [`DIRECTION_MARKS`] are left out. Control characters and each sequence that is not UTF-8
/// become `_`, and so does the empty name.
pub(crate) fn clean_component(name: &[u8]) -> Option<Vec<u8>> {
    if name.is_empty() {
        return Some(b"_".to_vec());
    }
    let mut clean = Vec::with_capacity(name.len().min(PATH_COMPONENT_BYTES_MAX));
    let (mut at, mut ends_with_extension) = (0, false);
    while at < name.len() {
        let (character, length) = character(&name[at..]);
        match character {
            Some('/' | '\\' | '\0') => {}
            Some(mark) if DIRECTION_MARKS.contains(&mark) => {}
            None | Some('\u{1}'..='\u{1f}') => clean.push(b'_'),
            Some(_) => {
                clean.extend_from_slice(&name[at..at + length]);
                if clean.len() >= LONG_NAME_BYTES && !ends_with_extension {
                    let Some(dot) = late_dot(name, at) else { break };
                    (at, ends_with_extension) = (dot, true);
                    continue;
                }
            }
        }
        at += length;
    }
    if matches!(clean.as_slice(), b"" | b"." | b"..") {
        return None;
    }
    Some(short(clean))
}

/// One name of a path as the torrent has it, as far as a file system takes it: other clients keep what
/// [`clean_component`] changes. `None` when nothing is left.
pub(crate) fn plain_component(name: &[u8]) -> Option<Vec<u8>> {
    let plain: Vec<u8> =
        name.iter().map(|&byte| if matches!(byte, b'/' | 0) { b'_' } else { byte }).collect();
    (!matches!(plain.as_slice(), b"" | b"." | b"..")).then(|| short(plain))
}

/// The first character and its bytes; `None` for what is not UTF-8. What libtorrent takes for one wrong sequence is one.
fn character(bytes: &[u8]) -> (Option<char>, usize) {
    let length = match bytes.first() {
        Some(0..0x80) => 1,
        Some(0xc0..0xe0) => 2,
        Some(0xe0..0xf0) => 3,
        Some(0xf0..0xf8) => 4,
        Some(0xf8..0xfc) => 5,
        _ => return (None, 1),
    };
    let sequence = &bytes[..length.min(bytes.len())];
    let character = std::str::from_utf8(sequence).ok().and_then(|text| text.chars().next());
    (character.filter(|character| character.len_utf8() == length), sequence.len())
}

/// Where the extension of a long name begins, when it does so near its end and behind `at`.
fn late_dot(name: &[u8], at: usize) -> Option<usize> {
    let from = name.len().saturating_sub(LONG_NAME_EXTENSION_BYTES).max(at) + 1;
    name.get(from..)?.iter().rposition(|&byte| byte == b'.').map(|dot| from + dot)
}

/// A name cut before its extension to what file systems take.
fn short(name: Vec<u8>) -> Vec<u8> {
    if name.len() <= PATH_COMPONENT_BYTES_MAX {
        return name;
    }
    let (stem, extension) = split_extension(&name);
    let stem = cut(stem, PATH_COMPONENT_BYTES_MAX - extension.len());
    [stem, extension].concat()
}

/// A name before its extension, and the extension with its dot; one that is very long counts as none.
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

/// Gives each file a path of its own, as libtorrent does: folders keep their names, of files the first one does, and
/// letters of ASCII are equal in both cases.
///
/// Paths are remembered as 64-bit hashes, so that a torrent of many deep folders costs few bytes for each. Two
/// paths of equal hash make one of them be renamed needlessly, which harms nobody.
#[derive(Default)]
pub(super) struct Deduplicator {
    kinds: HashMap<u64, Kind>,
    folders: usize,
    /// Next number by the part of a name that stays when it is numbered. One counter for all names that share
    /// it, so that no number is tried twice.
    numbers: HashMap<u64, u32>,
    /// Letters of both cases are different.
    exact: bool,
}

impl Deduplicator {
    /// One for which the cases of letters make different names.
    pub fn exact() -> Deduplicator {
        Deduplicator { exact: true, ..Deduplicator::default() }
    }

    /// Takes note of the folders of a path, whose names are clean and joined by `/`. To be called for all files before
    /// any of them is claimed. False when there are more than [`FOLDERS_MAX`] folders.
    pub fn enter_folders(&mut self, joined: &[u8]) -> bool {
        let mut parent = 0;
        let folders = joined.iter().rposition(|&byte| byte == b'/').map_or(&[][..], |end| &joined[..end]);
        for name in folders.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            parent = self.node(parent, name);
            if self.kinds.insert(parent, Kind::Folder).is_none() {
                self.folders += 1;
            }
        }
        self.folders <= FOLDERS_MAX
    }

    /// The path to use for a file.
    pub fn claim(&mut self, joined: &[u8]) -> Vec<u8> {
        let (folders, name) = match joined.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => joined.split_at(slash + 1),
            None => (&[][..], joined),
        };
        let parent = folders
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .fold(0, |parent, name| self.node(parent, name));
        let name = match self.kinds.contains_key(&self.node(parent, name)) {
            true => Cow::Owned(self.free_name(parent, name)),
            false => Cow::Borrowed(name),
        };
        self.kinds.insert(self.node(parent, &name), Kind::File);
        [folders, &name].concat()
    }

    /// The name with the first number before its extension that makes it new.
    fn free_name(&mut self, parent: u64, name: &[u8]) -> Vec<u8> {
        // Unlike in a name that is cut, the extension may be all of it.
        let dot = name.iter().rposition(|&byte| byte == b'.').unwrap_or(name.len());
        let (mut stem, mut extension) = name.split_at(dot);
        if name.len() + NUMBER_BYTES > PATH_COMPONENT_BYTES_MAX {
            (stem, extension) = split_extension(name);
            stem = cut(stem, PATH_COMPONENT_BYTES_MAX - NUMBER_BYTES - extension.len());
        }
        let series = self.node(self.node(parent, stem), extension);
        let mut number = self.numbers.get(&series).copied().unwrap_or(0);
        loop {
            // There are fewer files than numbers.
            number = number.wrapping_add(1);
            let numbered = [stem, b".", number.to_string().as_bytes(), extension].concat();
            if !self.kinds.contains_key(&self.node(parent, &numbered)) {
                self.numbers.insert(series, number);
                return numbered;
            }
        }
    }

    /// Identifies a path by its folder and its last name.
    fn node(&self, parent: u64, name: &[u8]) -> u64 {
        if self.exact { node(parent, name) } else { node(parent, &name.to_ascii_lowercase()) }
    }
}

/// Identifies a path by its folder and its last name.
pub(super) fn node(parent: u64, name: &[u8]) -> u64 {
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
        for name in [&b"."[..], b"..", b"/", b"\\", b"./", b"..\0", "\u{202e}.".as_bytes()] {
            assert_eq!(clean_component(name), None);
        }
        assert_eq!(clean(b""), b"_");
        assert_eq!(clean(b"/etc/passwd"), b"etcpasswd");
        assert_eq!(clean(b"../../x"), b"....x");
        assert_eq!(clean(b"a\\..\\b"), b"a..b");
        assert_eq!(clean(b"a\0b\nc\x1b"), b"ab_c_");
        assert_eq!(clean("a\u{202e}gpj.exe".as_bytes()), b"agpj.exe");
        assert_eq!(clean(b"..."), b"...");
    }

    #[test]
    fn what_is_not_utf8_becomes_an_underscore_and_is_kept_in_the_plain_name() {
        assert_eq!(
            clean("gr\u{fc}\u{df}e \u{4e16}\u{754c}.txt".as_bytes()),
            "gr\u{fc}\u{df}e \u{4e16}\u{754c}.txt".as_bytes()
        );
        assert_eq!(clean(b"caf\xe9"), b"caf_");
        // Shift-JIS: the second byte of the character is a backslash.
        assert_eq!(clean(b"\x83\x5c.txt"), b"_.txt");
        assert_eq!(plain_component(b"\x83\x5c.txt").unwrap(), b"\x83\x5c.txt");
        assert_eq!(plain_component(b"a/b\0c").unwrap(), b"a_b_c");
        assert_eq!(plain_component(b".."), None);
    }

    #[test]
    fn long_names_keep_their_extension_and_their_characters() {
        let long = clean(format!("{}.tar", "x".repeat(300)).as_bytes());
        assert_eq!(long.len(), 244);
        assert!(long.ends_with(b"x.tar"));
        let wide = clean(format!("{}.txt", "\u{4e16}".repeat(100)).as_bytes());
        assert!(wide.len() <= 255 && wide.ends_with(b".txt"));
        assert!(std::str::from_utf8(&wide).is_ok());
        assert_eq!(clean(&[b'.'; 300]).len(), 241);
        assert_eq!(clean(&[0xff; 300]).len(), 255);
        assert_eq!(plain_component(&[0xff; 300]).unwrap().len(), 255);
    }

    /// The paths of files in the order of the torrent.
    fn claim(paths: &[&str]) -> Vec<String> {
        let mut taken = Deduplicator::default();
        assert!(paths.iter().all(|path| taken.enter_folders(path.as_bytes())));
        paths.iter().map(|path| String::from_utf8(taken.claim(path.as_bytes())).unwrap()).collect()
    }

    #[test]
    fn equal_paths_get_numbers() {
        assert_eq!(
            claim(&["t/a.txt", "t/a.1.txt", "t/a.txt", "t/a.txt"]),
            ["t/a.txt", "t/a.1.txt", "t/a.2.txt", "t/a.3.txt"]
        );
        assert_eq!(
            claim(&["t/a", "t/A", "t/.hidden", "t/.hidden"]),
            ["t/a", "t/A.1", "t/.hidden", "t/.1.hidden"]
        );
    }

    #[test]
    fn a_file_never_lies_where_a_folder_is() {
        assert_eq!(claim(&["t/a", "t/a/x", "t/A/x"]), ["t/a.1", "t/a/x", "t/A/x.1"]);
        assert_eq!(claim(&["t/b/x", "t/b", "t/b.1"]), ["t/b/x", "t/b.1", "t/b.1.1"]);
    }

    #[test]
    fn many_equal_long_names_stay_distinct_and_short() {
        let mut taken = Deduplicator::default();
        let mut seen = std::collections::HashSet::new();
        for n in 0..2000u32 {
            let name = format!("t/{}{:02}", "x".repeat(253), n % 100);
            assert!(taken.enter_folders(name.as_bytes()));
            let path = taken.claim(name.as_bytes());
            assert!(path.len() <= 257);
            assert!(seen.insert(path));
        }
    }
}
