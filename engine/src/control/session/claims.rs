//! Which paths the files of torrents have, so that two torrents come to one path only when that is meant.
//!
//! The index has one entry for each torrent and first name below its directory, so that it stays small and is asked in a
//! few steps, however many files there are; files are compared one by one only with torrents that are found in it. Paths
//! are those of the file system: links on the way to a directory are resolved, and a directory that is reached by two
//! paths (a bind mount) counts as one. Below a directory no link is followed, so that nothing has to be resolved there.
//! The index is in lower case, for file systems that have one file for `a` and `A`; whether it is one is asked afterwards.

use ringseed_proto::hashes::TorrentId;
use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
use ringseed_proto::units::PieceIndex;
use ringseed_storage::{ignores_case, partial_path};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::Metadata;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The paths of all torrents.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Torrents by the first names below their directories.
    tops: BTreeMap<PathBuf, Vec<TorrentId>>,
    held: HashMap<TorrentId, Held>,
    places: Places,
}

/// What one torrent holds.
#[derive(Debug, Default)]
struct Held {
    roots: Vec<PathBuf>,
    tops: Vec<PathBuf>,
}

impl Claims {
    /// The directories as the file system has them, each once. `known` takes those that were looked up before as they
    /// were.
    pub(super) fn roots<'a>(
        &mut self,
        directories: impl IntoIterator<Item = &'a Path>,
        known: bool,
    ) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> =
            directories.into_iter().map(|directory| self.places.real(directory, known)).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// As [`Claims::roots`] of directories that were looked at elsewhere.
    pub(super) fn settle(&mut self, directories: &[Directory]) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> =
            directories.iter().map(|directory| self.places.settle(directory)).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Enters what a torrent holds, in place of what it held.
    pub(super) fn hold(&mut self, torrent: TorrentId, roots: Vec<PathBuf>, layouts: &[&Layout]) {
        self.release(&torrent);
        let mut tops: Vec<PathBuf> = layouts.iter().flat_map(|layout| tops(&roots, layout)).collect();
        tops.sort_unstable();
        tops.dedup();
        for top in &tops {
            self.tops.entry(top.clone()).or_default().push(torrent);
        }
        self.held.insert(torrent, Held { roots, tops });
    }

    /// Forgets what a torrent holds.
    pub(super) fn release(&mut self, torrent: &TorrentId) {
        for top in self.held.remove(torrent).unwrap_or_default().tops {
            if let Some(holders) = self.tops.get_mut(&top) {
                holders.retain(|holder| holder != torrent);
                if holders.is_empty() {
                    self.tops.remove(&top);
                }
            }
        }
    }

    /// The directories of a torrent as [`Claims::roots`] gave them.
    pub(super) fn roots_of(&self, torrent: &TorrentId) -> &[PathBuf] {
        self.held.get(torrent).map_or(&[], |held| &held.roots)
    }

    /// Torrents that may have files where a torrent with these directories and files has its own.
    pub(super) fn near(&self, roots: &[PathBuf], layout: &Layout) -> Vec<TorrentId> {
        let mut found = HashSet::new();
        for top in tops(roots, layout) {
            let above = top.ancestors().filter_map(|path| self.tops.get(path));
            let below = self.tops.range::<Path, _>((Bound::Excluded(top.as_path()), Bound::Unbounded));
            let below = below.take_while(|(path, _)| path.starts_with(&top)).map(|(_, holders)| holders);
            found.extend(above.chain(below).flatten().copied());
        }
        let mut found: Vec<TorrentId> = found.into_iter().collect();
        found.sort_unstable_by_key(|torrent| torrent.0);
        found
    }

    /// Forgets which directories were looked up.
    pub(super) fn forget_known(&mut self) {
        self.places.known = HashMap::new();
    }
}

/// The first names of a torrent's files below its directories in lower case, those of incomplete files included.
fn tops(roots: &[PathBuf], layout: &Layout) -> Vec<PathBuf> {
    let partial = partial_path(layout);
    let mut names: Vec<PathBuf> = Vec::new();
    for file in layout.files.iter().filter(|file| !file.padding) {
        let mut parts = file.path.iter();
        let (Some(first), more) = (parts.next(), parts.next().is_some()) else { continue };
        if names.last().is_none_or(|last| last.as_os_str() != first) {
            names.push(first.into());
            if !more {
                names.extend(partial(Path::new(first)));
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    roots.iter().flat_map(|root| names.iter().map(|name| lower_case(&root.join(name)))).collect()
}

/// A path as file systems compare it that know no upper and lower case.
fn lower_case(path: &Path) -> PathBuf {
    path.to_string_lossy().to_lowercase().into()
}

/// Where two torrents have files at the same paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overlap {
    /// Files that are one file on disk: the index in the one torrent and in the other.
    pub(super) shared: Vec<(usize, usize)>,
    /// A path where one has a file and the other something else.
    pub(super) clash: Option<PathBuf>,
}

/// Compares the files of two torrents, each with its directories.
pub(super) fn overlap(own: (&[PathBuf], &Layout), other: (&[PathBuf], &Layout)) -> Overlap {
    let exists = |path: &Path| path.ancestors().find(|path| path.exists()).map(Path::to_path_buf);
    overlap_where(own, other, |root| exists(root).is_some_and(|path| ignores_case(&path)))
}

/// As [`overlap`]; `ignores_case` says of a directory whether `a` and `A` are one file in it.
fn overlap_where(
    own: (&[PathBuf], &Layout),
    other: (&[PathBuf], &Layout),
    ignores_case: impl Fn(&Path) -> bool,
) -> Overlap {
    let mut found = Overlap::default();
    let (own_partial, other_partial) = (partial_path(own.1), partial_path(other.1));
    let stored = |layout: &Layout| -> Vec<(usize, PathBuf)> {
        let files = layout.files.iter().enumerate().filter(|(_, file)| !file.padding);
        files.map(|(index, file)| (index, file.path.clone())).collect()
    };
    for own_root in own.0 {
        // Only where one directory is in the other, or both are one, can files meet.
        let met: Vec<(PathBuf, PathBuf)> = other
            .0
            .iter()
            .filter_map(|other_root| {
                match (own_root.strip_prefix(other_root), other_root.strip_prefix(own_root)) {
                    (Ok(inside), _) => Some((inside.to_path_buf(), PathBuf::new())),
                    (_, Ok(inside)) => Some((PathBuf::new(), inside.to_path_buf())),
                    _ => None,
                }
            })
            .collect();
        if met.is_empty() {
            continue;
        }
        let ignores_case = ignores_case(own_root);
        let known = |path: PathBuf| if ignores_case { lower_case(&path) } else { path };
        for (own_prefix, other_prefix) in met {
            let mut names: HashMap<PathBuf, (usize, bool)> = HashMap::new();
            let mut folders: HashSet<PathBuf> = HashSet::new();
            for (index, path) in stored(own.1) {
                let path = known(own_prefix.join(path));
                folders.extend(path.ancestors().skip(1).map(Path::to_path_buf));
                names.extend(own_partial(&path).map(|partial| (partial, (index, true))));
                names.insert(path, (index, false));
            }
            for (index, path) in stored(other.1) {
                let path = known(other_prefix.join(path));
                let partial = other_partial(&path);
                let all =
                    std::iter::once((&path, false)).chain(partial.iter().map(|partial| (partial, true)));
                for (name, is_partial) in all {
                    match names.get(name) {
                        Some((own_index, false)) if !is_partial => found.shared.push((*own_index, index)),
                        Some((_, own_is_partial)) if *own_is_partial == is_partial => {}
                        Some(_) => found.clash = Some(own_root.join(name)),
                        None => {}
                    }
                    let is_folder = folders.contains(name);
                    if is_folder || name.ancestors().skip(1).any(|folder| names.contains_key(folder)) {
                        found.clash = Some(name.clone());
                    }
                }
            }
        }
    }
    found.shared.sort_unstable();
    found.shared.dedup();
    found
}

/// What two torrents' hashes tell about a file that both have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Every piece with bytes of it is the same in both.
    Same,
    /// Pieces begin at other places of it, or those at its ends hold other files as well.
    Unknown,
    /// It has another length, or a piece of it has another hash.
    Other,
}

/// Compares a file of one torrent with a file of another by the hashes of their pieces.
pub(super) fn compare((own, own_file): (&Info, usize), (other, other_file): (&Info, usize)) -> Content {
    let files = own.layout.files.get(own_file).zip(other.layout.files.get(other_file));
    let Some((mine, theirs)) = files else { return Content::Unknown };
    if mine.length != theirs.length {
        return Content::Other;
    }
    let length = u64::from(own.layout.piece_length);
    let aligned = other.layout.piece_length == own.layout.piece_length
        && mine.offset % length == theirs.offset % length;
    if mine.length == 0 {
        return Content::Same;
    }
    if !aligned || !own.has_hashes() || !other.has_hashes() {
        return Content::Unknown;
    }
    let (first, shift) = (mine.offset / length, theirs.offset / length);
    let mut content = Content::Same;
    for piece in own.layout.pieces_of_file(own_file) {
        let (a, b) = (PieceIndex(piece), PieceIndex((u64::from(piece) - first + shift) as u32));
        let inside = |info: &Info, piece: PieceIndex, file: &ringseed_proto::layout::FileEntry| {
            let start = info.layout.piece_offset(piece);
            start >= file.offset
                && start + u64::from(info.layout.piece_len(piece)) <= file.offset + file.length
        };
        let same =
            own.layout.piece_len(a) == other.layout.piece_len(b) && own.piece_hash(a) == other.piece_hash(b);
        match same {
            true => {}
            false if inside(own, a, mine) && inside(other, b, theirs) => return Content::Other,
            false => content = Content::Unknown,
        }
    }
    content
}

/// What the file system says of a directory: all that has to be asked of the disk.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The first of it and those above it that is there: its path here, and what the links on it lead to.
    there: Option<(PathBuf, PathBuf)>,
    /// The latter and those above it.
    above: Vec<(PathBuf, Metadata)>,
}

impl Directory {
    /// Looks at a directory. Waits for the disk.
    pub fn look(path: &Path) -> Directory {
        // What is not there yet will be made below what is.
        let found = path.ancestors().find_map(|at| Some((at.to_path_buf(), std::fs::canonicalize(at).ok()?)));
        let ancestors = found.iter().flat_map(|(_, there)| there.ancestors());
        let above = ancestors.filter_map(|at| Some((at.to_path_buf(), at.metadata().ok()?))).collect();
        Directory { path: path.into(), there: found, above }
    }
}

/// Directories as the file system has them.
#[derive(Debug, Default)]
struct Places {
    known: HashMap<PathBuf, PathBuf>,
    /// The path under which a directory was first seen, by device and inode.
    seen: HashMap<(u64, u64), PathBuf>,
}

impl Places {
    fn real(&mut self, directory: &Path, known: bool) -> PathBuf {
        if let Some(real) = self.known.get(directory).filter(|_| known) {
            return real.clone();
        }
        let real = self.settle(&Directory::look(directory));
        if known {
            self.known.insert(directory.into(), real.clone());
        }
        real
    }

    /// The path by which a directory is known here, whatever path leads to it.
    fn settle(&mut self, directory: &Directory) -> PathBuf {
        let Some((at, there)) = &directory.there else { return directory.path.clone() };
        let there = self.first_path(there, &directory.above);
        match directory.path.strip_prefix(at) {
            Ok(rest) if !rest.as_os_str().is_empty() => there.join(rest),
            _ => there,
        }
    }

    /// The path under which a directory, or one above it, was seen first.
    fn first_path(&mut self, path: &Path, above: &[(PathBuf, Metadata)]) -> PathBuf {
        for (at, now) in above {
            let id = (now.dev(), now.ino());
            match self.seen.get(&id) {
                // It and those above it were looked at.
                Some(first) if first == at => break,
                // The number may be that of one that is gone, or be given to all by a file system without numbers.
                Some(first) if first.metadata().is_ok_and(|first| is_same(&first, now)) => {
                    let rest = path.strip_prefix(at).unwrap_or(Path::new(""));
                    return if rest.as_os_str().is_empty() { first.clone() } else { first.join(rest) };
                }
                _ => _ = self.seen.insert(id, at.clone()),
            }
        }
        path.to_path_buf()
    }
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    let of = |m: &Metadata| (m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    of(a) == of(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::layout::FileSpec;

    fn layout(files: &[(&str, u64)]) -> Layout {
        let file =
            |(path, length): &(&str, u64)| FileSpec { path: path.into(), length: *length, padding: false };
        Layout::new(16384, files.iter().map(file).collect()).unwrap()
    }

    fn roots(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    fn met(own: (&[&str], &[(&str, u64)]), other: (&[&str], &[(&str, u64)])) -> (Vec<(usize, usize)>, bool) {
        let (own, other) = ((roots(own.0), layout(own.1)), (roots(other.0), layout(other.1)));
        let mut claims = Claims::default();
        claims.hold(TorrentId([1; 20]), other.0.clone(), &[&other.1]);
        let found = overlap((&own.0, &own.1), (&other.0, &other.1));
        let near = claims.near(&own.0, &own.1);
        assert!(found == Overlap::default() || near.len() == 1, "the index does not lead to {found:?}");
        claims.release(&TorrentId([1; 20]));
        assert!(claims.tops.is_empty() && claims.near(&own.0, &own.1).is_empty());
        (found.shared, found.clash.is_some())
    }

    #[test]
    fn files_meet_wherever_their_directories_lie() {
        let one = [("t/a", 3), ("t/b", 4)];
        assert_eq!(met((&["/d"], &one), (&["/d"], &one)), (vec![(0, 0), (1, 1)], false));
        assert_eq!(met((&["/d"], &one), (&["/e"], &one)), (vec![], false));
        assert_eq!(met((&["/d"], &one), (&["/d"], &[("t/c", 3)])), (vec![], false));
        assert_eq!(met((&["/d"], &one), (&["/d/t"], &[("b", 9)])), (vec![(1, 0)], false));
        assert_eq!(met((&["/d/t"], &[("b", 9)]), (&["/d"], &one)), (vec![(0, 1)], false));
        assert_eq!(met((&["/x", "/d"], &one), (&["/y", "/d"], &one)).0.len(), 2);
        assert_eq!(met((&["/d"], &[("a", 1)]), (&["/d"], &[("ab", 1)])), (vec![], false));
    }

    #[test]
    fn other_things_at_one_path_are_found() {
        let clash = |own: &[(&str, u64)], other: &[(&str, u64)]| {
            met((&["/d"], own), (&["/d"], other)) == (vec![], true)
        };
        assert!(clash(&[("a", 1)], &[("a.part", 1)]) && clash(&[("a.part", 1)], &[("a", 1)]));
        assert!(clash(&[("a", 1)], &[("a/b", 1)]) && clash(&[("a/b", 1)], &[("a", 1)]));
        assert!(clash(&[("a", 1)], &[("a.part/b", 1)]) && clash(&[("t/a", 1)], &[("t/a.part", 1)]));
        assert!(!clash(&[("a", 1)], &[("b.part", 1)]));
        assert_eq!(
            met((&["/d"], &[("t", 1)]), (&["/d/t"], &[("b", 1)])),
            (vec![], true),
            "a file, and a directory"
        );
    }

    /// A second torrent was written over the first on a disk with another system's file system.
    #[test]
    fn files_meet_that_differ_in_case_alone_where_that_is_one_name() {
        let (root, one, other) = (roots(&["/D"]), layout(&[("Film/A", 3)]), layout(&[("film/a", 3)]));
        let mut claims = Claims::default();
        claims.hold(TorrentId([1; 20]), root.clone(), &[&one]);
        assert_eq!(claims.near(&root, &other).len(), 1);
        let found = |ignores_case| overlap_where((&root, &other), (&root, &one), |_| ignores_case);
        assert_eq!((found(true).shared, found(false)), (vec![(0, 0)], Overlap::default()));
    }

    /// Content of three files of which the middle one is asked about, with a hash for each piece by its number.
    fn info(before: u64, length: u64, after: u64, hashes: &[u8]) -> Info {
        let layout = layout(&[("t/0", before), ("t/1", length), ("t/2", after)]);
        Info::new("t".into(), layout, hashes.iter().map(|hash| [*hash; 20]).collect(), false).unwrap()
    }

    #[test]
    fn content_is_compared_where_pieces_coincide() {
        const P: u64 = 16384;
        let a = info(P, 3 * P, P, &[1, 2, 3, 4, 5]);
        let compare = |other: &Info| compare((&a, 1), (other, 1));
        assert_eq!(compare(&info(P, 3 * P, P, &[9, 2, 3, 4, 9])), Content::Same);
        assert_eq!(compare(&info(2 * P, 3 * P, 5, &[8, 9, 2, 3, 4, 9])), Content::Same);
        assert_eq!(compare(&info(P, 3 * P, P, &[1, 2, 9, 4, 5])), Content::Other);
        assert_eq!(compare(&info(P, 3 * P - 1, P, &[1, 2, 3, 4, 5])), Content::Other, "another length");
        assert_eq!(
            compare(&info(P + 1, 3 * P, P, &[1, 2, 3, 4, 5, 6])),
            Content::Unknown,
            "pieces lie elsewhere"
        );
        let b = info(P + 1, 3 * P, P, &[1, 2, 3, 4, 5, 6]);
        let with = |hashes: &[u8]| super::compare((&b, 1), (&info(P + 1, 3 * P, P, hashes), 1));
        assert_eq!(with(&[9, 2, 3, 4, 5, 9]), Content::Same);
        assert_eq!(with(&[9, 9, 3, 4, 5, 9]), Content::Unknown, "a piece at its end holds other files");
        assert_eq!(with(&[1, 2, 9, 4, 5, 6]), Content::Other);
    }

    #[test]
    fn a_directory_is_the_same_by_whatever_path() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("data")).unwrap();
        std::os::unix::fs::symlink(real.join("data"), real.join("link")).unwrap();
        let mut places = Places::default();
        assert_eq!(places.real(&real.join("link/new/one"), false), real.join("data/new/one"));
        assert_eq!(places.real(&real.join("data"), false), real.join("data"));
        // What is gone and made anew is another one, whatever number it gets.
        std::fs::rename(real.join("data"), real.join("other")).unwrap();
        assert_eq!(places.real(&real.join("other"), false), real.join("other"));
        assert_eq!(places.real(&real.join("data"), false), real.join("data"));
        let bind = real.join("bind");
        std::fs::create_dir(&bind).unwrap();
        let mounted =
            std::process::Command::new("mount").arg("--bind").arg(real.join("other")).arg(&bind).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            std::fs::create_dir(bind.join("sub")).unwrap();
            let found = [places.real(&bind, false), places.real(&bind.join("sub"), false)];
            let unmounted = std::process::Command::new("umount").arg(&bind).output().unwrap();
            assert!(unmounted.status.success(), "{unmounted:?}");
            assert_eq!(found, [real.join("other"), real.join("other/sub")]);
        }
    }
}
