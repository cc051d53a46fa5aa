//! A torrent file before it is added: what is in it, and which of its files are wanted.

use crate::details::{FileRow, FileTree, Priority};
use crate::{local_engine, quantity};
use ringseed_api::{AddArgs, File, FileStats};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Links that are taken from one text: more than anybody drags.
const LINKS_MAX: usize = 1000;

/// What a torrent file holds.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Contents {
    /// Its name.
    pub name: String,
    files: Vec<ContentFile>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ContentFile {
    path: String,
    length: u64,
    padding: bool,
}

impl Contents {
    /// Reads a torrent file with the program `ringseed show`, whose parser has all the bounds.
    ///
    /// # Errors
    /// It is no torrent file, or the program is not there. For people.
    pub fn read(torrent: &Path) -> Result<Contents, String> {
        let program =
            local_engine::program().ok_or("The program ringseed is not installed beside this one.")?;
        let output = Command::new(&program)
            .args(["show", "--json", "--"])
            .arg(torrent)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().last().unwrap_or("It is no torrent file.");
            return Err(line.strip_prefix("error: ").unwrap_or(line).to_owned());
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("The torrent is not understood: {error}"))
    }
}

/// Files to choose from.
#[derive(Debug, Default)]
pub struct Picker {
    files: Vec<File>,
    stats: Vec<FileStats>,
    tree: FileTree,
}

impl Picker {
    /// Shows the files of a torrent; all are wanted.
    pub fn set(&mut self, contents: Contents) {
        let file = |file: ContentFile| File {
            // Nobody wants to see those that only fill up pieces; a file without a name has no line.
            name: if file.padding { String::new() } else { file.path },
            length: file.length,
            bytes_completed: 0,
        };
        self.files = contents.files.into_iter().map(file).collect();
        self.stats = vec![FileStats { wanted: true, ..FileStats::default() }; self.files.len()];
        self.tree.clear();
        self.tree.set(&self.files, &self.stats);
    }

    /// Forgets the torrent.
    pub fn clear(&mut self) {
        *self = Picker::default();
    }

    /// Lines of the tree.
    pub fn rows(&self) -> Vec<FileRow> {
        self.tree.rows()
    }

    /// Opens or closes a folder.
    pub fn toggle_folder(&mut self, line: usize) {
        if let Some(row) = self.rows().get(line) {
            self.tree.toggle(&row.path);
        }
    }

    /// Wants a file or all of a folder, or none of it if all was wanted.
    pub fn toggle(&mut self, line: usize) {
        if let Some(row) = self.rows().into_iter().nth(line) {
            let wanted = row.priority != Some(Priority::Normal);
            self.want(row.files, wanted);
        }
    }

    /// Wants every file, or none.
    pub fn want_all(&mut self, wanted: bool) {
        self.want((0..self.files.len()).collect(), wanted);
    }

    fn want(&mut self, files: Vec<usize>, wanted: bool) {
        for file in files {
            if let Some(stats) = self.stats.get_mut(file) {
                stats.wanted = wanted;
            }
        }
        self.tree.set(&self.files, &self.stats);
    }

    fn shown(&self) -> impl Iterator<Item = (&File, &FileStats)> {
        self.files.iter().zip(&self.stats).filter(|(file, _)| !file.name.is_empty())
    }

    /// Whether files are known and none of them is wanted.
    pub fn wants_nothing(&self) -> bool {
        self.shown().count() > 0 && self.shown().all(|(_, stats)| !stats.wanted)
    }

    /// `2 of 3 files, 1.4 GiB of 2.0 GiB`; nothing when no files are known.
    pub fn summary(&self) -> String {
        let sum = |wanted: fn(&FileStats) -> bool| {
            let files = self.shown().filter(|(_, stats)| wanted(stats));
            files.fold((0usize, 0u64), |(count, size), (file, _)| {
                (count + 1, size.saturating_add(file.length))
            })
        };
        let ((all, size), (chosen, chosen_size)) = (sum(|_| true), sum(|stats| stats.wanted));
        match all {
            0 => String::new(),
            _ if chosen == all => format!("{}, {}", quantity::count(all, "file"), quantity::bytes(size)),
            _ => {
                let (part, size) = (quantity::bytes(chosen_size), quantity::bytes(size));
                format!("{chosen} of {}, {part} of {size}", quantity::count(all, "file"))
            }
        }
    }

    /// The arguments with what is not wanted.
    #[must_use]
    pub fn apply(&self, args: AddArgs) -> AddArgs {
        let unwanted = self.stats.iter().enumerate().filter(|(_, stats)| !stats.wanted);
        let unwanted: Vec<usize> = unwanted.map(|(number, _)| number).collect();
        AddArgs { files_unwanted: Some(unwanted).filter(|unwanted| !unwanted.is_empty()), ..args }
    }
}

/// Files and links in a text that was dropped or pasted, one a line; what is neither is left out.
pub fn links(text: &str) -> Vec<String> {
    let is_link = |line: &&str| {
        let start = line.get(..8).unwrap_or(line).to_ascii_lowercase();
        line.starts_with('/')
            || ["magnet:?", "http://", "https://", "file:/"].iter().any(|scheme| start.starts_with(scheme))
    };
    let lines = text.split(['\n', '\r', '\0']).map(str::trim).filter(is_link);
    lines.take(LINKS_MAX).map(str::to_owned).collect()
}

/// `["linux", "iso"]` of `linux, iso`: each label once.
pub fn labels(text: &str) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for label in text.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        if !labels.iter().any(|known| known == label) {
            labels.push(label.to_owned());
        }
    }
    labels
}

/// The path when `torrent` is a file of this machine, not a link.
pub fn local_path(torrent: &str) -> Option<PathBuf> {
    let scheme = torrent.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https" | "magnet") => None,
        Some("file") => {
            let path = torrent.get(5..).unwrap_or_default();
            Some(PathBuf::from(unescape(path.strip_prefix("//").unwrap_or(path))))
        }
        _ => Some(PathBuf::from(torrent)),
    }
}

/// Resolves the `%XX` of a file URL.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picker() -> Picker {
        let json = r#"{"name":"album","files":[
            {"path":"album/one.flac","length":1024,"padding":false},
            {"path":"album/.pad/10","length":10,"padding":true},
            {"path":"album/cover/front.png","length":2048,"padding":false},
            {"path":"album/cover/back.png","length":1024,"padding":false}]}"#;
        let mut picker = Picker::default();
        picker.set(serde_json::from_str(json).unwrap());
        picker
    }

    fn line(picker: &Picker, name: &str) -> usize {
        picker.rows().iter().position(|row| row.name == name).unwrap()
    }

    #[test]
    fn files_are_left_out_one_by_one_and_by_folder() {
        let mut picker = picker();
        assert_eq!(picker.summary(), "3 files, 4.0 KiB");
        assert_eq!(picker.apply(AddArgs::default()), AddArgs::default());
        picker.toggle(line(&picker, "cover"));
        assert_eq!(picker.apply(AddArgs::default()).files_unwanted, Some(vec![2, 3]));
        assert_eq!(picker.summary(), "1 of 3 files, 1.0 KiB of 4.0 KiB");
        picker.toggle(line(&picker, "back.png"));
        assert_eq!(picker.rows()[line(&picker, "cover")].priority, None, "a part of the folder");
        picker.toggle(line(&picker, "album"));
        assert_eq!(picker.apply(AddArgs::default()).files_unwanted, None);
    }

    #[test]
    fn nothing_wanted_is_told_from_nothing_known() {
        let mut picker = picker();
        assert!(!picker.wants_nothing() && !Picker::default().wants_nothing());
        picker.want_all(false);
        assert!(picker.wants_nothing());
        picker.clear();
        assert_eq!(picker.summary(), "");
    }

    #[test]
    fn what_only_fills_up_pieces_has_no_line_but_a_number() {
        let names: Vec<_> = picker().rows().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["album", "cover", "back.png", "front.png", "one.flac"]);
    }

    #[test]
    fn labels_are_told_apart_by_commas() {
        assert_eq!(labels(" linux, iso ,,linux"), ["linux", "iso"]);
    }

    #[test]
    fn files_are_told_from_links() {
        for (text, path) in [
            ("/a b.torrent", Some("/a b.torrent")),
            ("file:///tmp/a%20b%C3%A9.torrent", Some("/tmp/a bé.torrent")),
            ("odd%zz:name.torrent", Some("odd%zz:name.torrent")),
            ("magnet:?xt=urn:btih:00", None),
            ("HTTPS://x/y.torrent", None),
        ] {
            assert_eq!(local_path(text), path.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn links_are_found_in_lists_and_texts() {
        let list = "# a comment\r\nfile:///tmp/a%20b.torrent\r\nMagnet:?xt=urn:btih:00\r\n\0";
        assert_eq!(links(list), ["file:///tmp/a%20b.torrent", "Magnet:?xt=urn:btih:00"]);
        assert_eq!(links(" /tmp/x.torrent\nsome words é"), ["/tmp/x.torrent"]);
        assert_eq!(links(&"https://x/\n".repeat(5000)).len(), LINKS_MAX);
    }
}
