//! Files of a torrent as a tree: folders open and close, and have the sums of what is in them.

use crate::quantity;
use ringseed_api::{File, FileStats};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Priority {
    Skip,
    Low,
    Normal,
    High,
}

impl Priority {
    /// All, in the order of the menu.
    pub const ALL: [Priority; 4] = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];

    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            Priority::Skip => "Skip",
            Priority::Low => "Low",
            Priority::Normal => "Normal",
            Priority::High => "High",
        }
    }

    fn of(stats: Option<&FileStats>) -> Priority {
        match stats {
            Some(stats) if !stats.wanted => Priority::Skip,
            Some(stats) if stats.priority < 0 => Priority::Low,
            Some(stats) if stats.priority > 0 => Priority::High,
            _ => Priority::Normal,
        }
    }
}

/// A line of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRow {
    /// Path below the download directory; names a folder for [`FileTree::toggle`].
    pub path: String,
    /// Last part of the path.
    pub name: String,
    /// How deep it is.
    pub depth: usize,
    /// It is a folder.
    pub is_folder: bool,
    /// A folder that is open.
    pub is_open: bool,
    /// Size.
    pub size: String,
    /// Share that is here.
    pub progress: f32,
    /// The same in percent.
    pub percent: String,
    /// Its priority; `None` for a folder with different ones.
    pub priority: Option<Priority>,
    /// Numbers of the files that it stands for.
    pub files: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<String, Node>,
    file: Option<usize>,
}

/// The tree. What is open is kept while files change.
#[derive(Debug, Default)]
pub struct FileTree {
    root: Node,
    files: Vec<File>,
    stats: Vec<FileStats>,
    closed: BTreeSet<String>,
}

impl FileTree {
    /// Takes the files and what changes about them.
    pub fn set(&mut self, files: &[File], stats: &[FileStats]) {
        let same = self.files.len() == files.len()
            && self.files.iter().zip(files).all(|(old, new)| old.name == new.name);
        if !same {
            self.root = Node::default();
            for (number, file) in files.iter().enumerate() {
                let mut node = &mut self.root;
                for part in file.name.split('/').filter(|part| !part.is_empty()) {
                    node = node.children.entry(part.to_owned()).or_default();
                }
                node.file = Some(number);
            }
        }
        self.files = files.to_vec();
        self.stats = stats.to_vec();
    }

    /// Forgets all: another torrent is shown.
    pub fn clear(&mut self) {
        *self = FileTree::default();
    }

    /// Opens or closes a folder.
    pub fn toggle(&mut self, path: &str) {
        if !self.closed.remove(path) {
            self.closed.insert(path.to_owned());
        }
    }

    /// Lines that are to be seen, folders before what is in them.
    pub fn rows(&self) -> Vec<FileRow> {
        let mut rows = Vec::new();
        self.walk(&self.root, "", 0, &mut rows);
        rows
    }

    /// Numbers of all files in a node. Adds lines for it and what is open in it. Torrent names are confined to
    /// a depth that the call stack bears.
    fn walk(&self, node: &Node, above: &str, depth: usize, rows: &mut Vec<FileRow>) -> Vec<usize> {
        let mut all = Vec::new();
        for (name, child) in &node.children {
            let path = if above.is_empty() { name.clone() } else { format!("{above}/{name}") };
            let place = rows.len();
            let open = !self.closed.contains(&path);
            let mut files = Vec::new();
            if let Some(file) = child.file {
                files.push(file);
                rows.push(self.row(&path, name, depth, None, vec![file]));
            }
            if !child.children.is_empty() && depth < 64 {
                let start = rows.len();
                let below = self.walk(child, &path, depth + 1, rows);
                if !open {
                    rows.truncate(start);
                }
                if !below.is_empty() {
                    rows.insert(place, self.row(&path, name, depth, Some(open), below.clone()));
                }
                files.extend(below);
            }
            all.extend(files);
        }
        all
    }

    fn row(&self, path: &str, name: &str, depth: usize, folder: Option<bool>, files: Vec<usize>) -> FileRow {
        let sum = |value: fn(&File) -> u64| {
            files.iter().filter_map(|file| self.files.get(*file)).map(value).fold(0, u64::saturating_add)
        };
        let (size, here) = (sum(|file| file.length), sum(|file| file.bytes_completed));
        let share = if size == 0 { 1.0 } else { here as f64 / size as f64 };
        let mut priorities = files.iter().map(|file| Priority::of(self.stats.get(*file)));
        let first = priorities.next();
        FileRow {
            path: path.to_owned(),
            name: name.to_owned(),
            depth,
            is_folder: folder.is_some(),
            is_open: folder.unwrap_or(false),
            size: quantity::bytes(size),
            progress: share as f32,
            percent: quantity::percent(share),
            priority: first.filter(|first| priorities.all(|other| other == *first)),
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> FileTree {
        let file = |name: &str, length, bytes_completed| File { name: name.into(), length, bytes_completed };
        let files = [file("a/x/1", 100, 100), file("a/2", 300, 0), file("b", 0, 0)];
        let stats = |wanted, priority| FileStats { bytes_completed: 0, wanted, priority };
        let mut tree = FileTree::default();
        tree.set(&files, &[stats(true, 0), stats(false, 1), stats(true, 1)]);
        tree
    }

    #[test]
    fn folders_have_the_sums_of_their_files() {
        let tree = tree();
        let rows = tree.rows();
        let lines: Vec<_> = rows.iter().map(|row| (row.path.as_str(), row.depth, row.is_folder)).collect();
        assert_eq!(
            lines,
            [("a", 0, true), ("a/2", 1, false), ("a/x", 1, true), ("a/x/1", 2, false), ("b", 0, false)]
        );
        assert_eq!(
            (rows[0].size.as_str(), rows[0].percent.as_str(), rows[0].priority),
            ("400 B", "25.0 %", None)
        );
        assert_eq!(rows[0].files, [1, 0]);
        assert_eq!(rows[1].priority, Some(Priority::Skip));
        assert_eq!(rows[4].percent, "100 %", "an empty file is complete");
    }

    #[test]
    fn closed_folders_stay_closed_when_files_change() {
        let mut tree = tree();
        tree.toggle("a");
        let (files, stats) = (tree.files.clone(), tree.stats.clone());
        tree.set(&files, &stats);
        assert_eq!(tree.rows().len(), 2);
        tree.toggle("a");
        assert_eq!(tree.rows().len(), 5);
    }
}
