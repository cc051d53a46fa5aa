//! Names that another client gave the files of a torrent, as renames.

use ringseed_handle::Rename;
use ringseed_proto::layout::Layout;
use ringseed_proto::limits::{PATH_BYTES_MAX, PATH_COMPONENT_BYTES_MAX};
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

/// Most files times renames, each compared whenever the torrent is loaded: half a second of work.
const WORK_MAX: usize = 10_000_000;

/// Why the files of a torrent cannot get these names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NamesError {
    /// Not each file has a name.
    #[error("{names} names are given for {files} files")]
    Count {
        /// The names.
        names: usize,
        /// The files of the torrent.
        files: usize,
    },
    /// A name leads out of the torrent, or is no path.
    #[error("'{}' is not a path below the directory of the torrent", .0.escape_debug())]
    NotBelow(String),
    /// Two files have one name.
    #[error("two files are called {}", .0.display())]
    Twice(PathBuf),
    /// A file is below what is a file as well.
    #[error("{} lies in a folder that has the name of a file", .0.display())]
    BelowAFile(PathBuf),
    /// It would be too much work each time the torrent is loaded.
    #[error("{changed} files of {files} have other names, which is too many")]
    TooMany {
        /// Files with other names.
        changed: usize,
        /// The files of the torrent.
        files: usize,
    },
}

/// How the files of a torrent lie below its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentLayout {
    /// As the torrent says.
    Original,
    /// In a folder, which is made for a single file.
    Subfolder,
    /// Without the folder that all of them are in.
    NoSubfolder,
}

impl ContentLayout {
    /// The paths of all files, for [`renames`]; none when they are as the torrent says.
    pub(super) fn names(self, layout: &Layout) -> Vec<String> {
        let stored = || layout.files.iter().filter(|file| !file.padding).map(|file| file.path.as_path());
        let Some(first) = stored().next() else { return Vec::new() };
        let top: PathBuf = first.iter().take(1).collect();
        let in_folder = stored().all(|path| path.starts_with(&top) && path != top);
        let all = |name: &dyn Fn(&Path) -> PathBuf| {
            layout.files.iter().map(|file| name(&file.path).to_string_lossy().into_owned()).collect()
        };
        match self {
            ContentLayout::Subfolder if !in_folder => {
                // `a.tar.gz` is called `a`.
                let stem = Path::new(first.file_stem().unwrap_or_default());
                let stem = match stem.extension() {
                    Some(extension) if extension == "tar" => stem.file_stem().map_or(stem, Path::new),
                    _ => stem,
                };
                all(&|path| stem.join(path))
            }
            ContentLayout::NoSubfolder if in_folder => {
                all(&|path| path.strip_prefix(&top).unwrap_or(path).to_path_buf())
            }
            _ => Vec::new(),
        }
    }
}

/// The renames that give each file of `layout` its path of `names`; an empty one stays. No names at all are no renames.
pub(super) fn renames(layout: &Layout, names: &[String]) -> Result<Vec<Rename>, NamesError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if names.len() != layout.files.len() {
        return Err(NamesError::Count { names: names.len(), files: layout.files.len() });
    }
    let mut pairs: Vec<(&Path, &Path)> = Vec::with_capacity(names.len());
    for (file, name) in layout.files.iter().zip(names).filter(|(file, _)| !file.padding) {
        let to = if name.is_empty() { file.path.as_path() } else { Path::new(name) };
        if !is_path_below(to) {
            return Err(NamesError::NotBelow(name.clone()));
        }
        pairs.push((&file.path, to));
    }
    let mut taken = HashSet::new();
    if let Some((_, twice)) = pairs.iter().find(|(_, to)| !taken.insert(*to)) {
        return Err(NamesError::Twice(twice.to_path_buf()));
    }
    if let Some((_, path)) =
        pairs.iter().find(|(_, to)| to.ancestors().skip(1).any(|above| taken.contains(above)))
    {
        return Err(NamesError::BelowAFile(path.to_path_buf()));
    }
    if pairs.iter().all(|(from, to)| from == to) {
        return Ok(Vec::new());
    }
    if let Some(folder) = folder(&pairs) {
        return Ok(vec![folder]);
    }
    let changed: Vec<(&Path, &Path)> = pairs.iter().copied().filter(|(from, to)| from != to).collect();
    // A name that another file has before would be renamed along with it: then all go by names of their own.
    let before: HashSet<&Path> = pairs.iter().map(|(from, _)| *from).collect();
    let crossed = changed.iter().any(|(_, to)| to.ancestors().any(|above| before.contains(above)));
    let count = changed.len() * if crossed { 2 } else { 1 };
    if count.saturating_mul(layout.files.len()) > WORK_MAX {
        return Err(NamesError::TooMany { changed: changed.len(), files: layout.files.len() });
    }
    let rename = |from: &Path, to: &Path| Rename {
        from: from.to_string_lossy().into_owned(),
        to: to.to_string_lossy().into_owned(),
    };
    if !crossed {
        return Ok(changed.iter().map(|(from, to)| rename(from, to)).collect());
    }
    let between = |index: usize| PathBuf::from(format!("\u{1}{index}"));
    let away = changed.iter().enumerate().map(|(index, (from, _))| rename(from, &between(index)));
    let there = changed.iter().enumerate().map(|(index, (_, to))| rename(&between(index), to));
    Ok(away.chain(there).collect())
}

/// The one rename of the torrent's folder that does it for all files.
fn folder(pairs: &[(&Path, &Path)]) -> Option<Rename> {
    let (from, to) = *pairs.first()?;
    let old: PathBuf = from.iter().take(1).collect();
    let rest = from.strip_prefix(&old).ok().filter(|rest| !rest.as_os_str().is_empty())?;
    let depth = to.iter().count().checked_sub(rest.iter().count())?;
    let new: PathBuf = to.iter().take(depth).collect();
    let moved = |path: &Path| path.strip_prefix(&old).map(|rest| new.join(rest));
    let all = pairs.iter().all(|(from, to)| moved(from).is_ok_and(|path| path == *to));
    // A later rename of a folder without a name would be one of everything.
    let text = |path: &Path| path.to_str().map(str::to_owned);
    all.then(|| Some(Rename { from: text(&old)?, to: text(&new)? })).flatten()
}

/// Whether a path leads to something below the directory that it is relative to.
fn is_path_below(path: &Path) -> bool {
    let normal = |part| matches!(part, Component::Normal(name) if name.len() <= PATH_COMPONENT_BYTES_MAX);
    let text = path.as_os_str().as_encoded_bytes();
    !text.is_empty()
        && text.len() <= PATH_BYTES_MAX
        && !text.contains(&0)
        && !text.ends_with(b"/")
        && path.components().all(normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::layout::FileSpec;

    fn layout(paths: &[&str]) -> Layout {
        let file = |path: &&str| FileSpec { path: path.into(), length: 3, padding: false };
        Layout::new(16384, paths.iter().map(file).collect()).unwrap()
    }

    /// The paths after the renames, applied as a session does.
    fn applied(paths: &[&str], names: &[&str]) -> (usize, Vec<String>) {
        let layout = layout(paths);
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let renames = renames(&layout, &names).unwrap();
        let paths = layout.files.iter().map(|file| {
            renames.iter().fold(file.path.clone(), |path, rename| match path.strip_prefix(&rename.from) {
                Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from(&rename.to),
                Ok(rest) => Path::new(&rename.to).join(rest),
                Err(_) => path,
            })
        });
        (renames.len(), paths.map(|path| path.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn each_file_gets_its_name() {
        let own = ["t/a", "t/b", "t/s/c"];
        assert_eq!(applied(&own, &["", "t/b", ""]).0, 0);
        for (count, names) in [
            (1, ["u/a", "u/b", "u/s/c"]),
            (1, ["a", "b", "s/c"]),
            (1, ["x/y/a", "x/y/b", "x/y/s/c"]),
            (1, ["t/a", "t/b", "t/s/d"]),
            (3, ["t/1", "t/2", "u/3"]),
            (4, ["t/b", "t/a", "t/s/c"]),
            (2, ["t/a/x", "t/b", "t/s/c"]),
        ] {
            assert_eq!(applied(&own, &names), (count, names.map(str::to_owned).to_vec()));
        }
        assert_eq!(applied(&["a"], &["a/a"]), (2, vec!["a/a".to_owned()]));
        assert_eq!(applied(&["a"], &["b"]), (1, vec!["b".to_owned()]));
    }

    #[test]
    fn files_lie_as_clients_ask_for_it() {
        let names = |how: ContentLayout, paths: &[&str]| how.names(&layout(paths));
        let (single, several) = (&["film.mkv"][..], &["t/a", "t/s/b"][..]);
        assert_eq!(names(ContentLayout::Subfolder, single), ["film/film.mkv"]);
        assert_eq!(names(ContentLayout::Subfolder, &["a.tar.gz"]), ["a/a.tar.gz"]);
        assert_eq!(names(ContentLayout::Subfolder, &["film"]), ["film/film"]);
        assert_eq!(names(ContentLayout::NoSubfolder, several), ["a", "s/b"]);
        for (how, paths) in [
            (ContentLayout::Original, single),
            (ContentLayout::Original, several),
            (ContentLayout::Subfolder, several),
            (ContentLayout::NoSubfolder, single),
        ] {
            assert!(names(how, paths).is_empty(), "{how:?} {paths:?}");
        }
        assert_eq!(applied(several, &["a", "s/b"]).0, 1);
    }

    #[test]
    fn names_that_lead_out_or_come_twice_are_refused() {
        for names in [
            vec!["../x", "t/b"],
            vec!["/etc/passwd", "t/b"],
            vec!["t/./../x", "t/b"],
            vec!["t/b", "t/b"],
            vec!["t/b", ""],
            vec!["t/x", "t/x/y"],
            vec!["t/x/", "t/y"],
            vec!["t/a"],
            vec!["a\0", "b"],
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert!(renames(&layout(&["t/a", "t/b"]), &names).is_err(), "{names:?}");
        }
    }
}
