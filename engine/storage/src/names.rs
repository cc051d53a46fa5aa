//! The names that files have on disk: their own, or that with `.part` behind it while they are incomplete.
//!
//! Which of both it is is looked up each time, and nowhere else: what is on disk is the truth, so that a kill at any
//! moment leaves a name that is found again. A file goes from the second name to the first once, by one rename. Readers
//! look for the first name, then the second, then the first again, so that they find a file that is being renamed.

use super::confined::{Opened, Purpose, Root};
use super::error::StorageError;
use ringseed_proto::layout::Layout;
use rustix::fs::Stat;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// What incomplete files carry behind their names.
pub const PARTIAL_SUFFIX: &str = ".part";
/// Longest name of a file that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// How the files of one torrent may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    /// None of its files or folders has such a name itself, so that no two files can come to one name.
    partial: bool,
}

/// A file that is there.
pub(super) struct Found<'a> {
    /// Its path on disk below the directory.
    pub(super) path: Cow<'a, Path>,
    pub(super) stat: Stat,
}

impl Found<'_> {
    /// Whether it has the name of an incomplete file.
    pub(super) fn is_partial(&self) -> bool {
        matches!(self.path, Cow::Owned(_))
    }
}

impl Names {
    pub(super) fn of(layout: &Layout) -> Names {
        let mut paths = layout.files.iter().filter(|file| !file.padding).map(|file| file.path.as_path());
        Names { partial: !paths.any(|path| path.iter().any(is_partial_name)) }
    }

    /// The path of a file while it is incomplete; `None` for one that cannot have another than its own.
    pub(super) fn partial(self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name().filter(|_| self.partial)?;
        if name.len() + PARTIAL_SUFFIX.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut name = name.to_owned();
        name.push(PARTIAL_SUFFIX);
        Some(path.with_file_name(name))
    }

    /// Looks for a file under both names. `was_partial` says that it was seen under that of an incomplete one: then it is
    /// looked for there first, for what has its own name meanwhile can be somebody else's.
    pub(super) fn find<'a>(
        self,
        root: &Root,
        path: &'a Path,
        was_partial: bool,
    ) -> Result<Option<Found<'a>>, StorageError> {
        let own = || Ok(root.stat(path)?.map(|stat| Found { path: Cow::Borrowed(path), stat }));
        let partial = || {
            let Some(partial) = self.partial(path) else { return Ok(None) };
            Ok(root.stat(&partial)?.map(|stat| Found { path: Cow::Owned(partial), stat }))
        };
        // The last look is for a file that is renamed between the first two.
        let found = match was_partial {
            true => [partial()?, own()?],
            false => match own()? {
                Some(found) => [Some(found), None],
                None => [partial()?, own()?],
            },
        };
        Ok(found.into_iter().flatten().next())
    }

    /// Whether something has the name that a file has while it is incomplete.
    pub(super) fn has_partial(self, root: &Root, path: &Path) -> bool {
        self.partial(path).is_some_and(|partial| matches!(root.stat(&partial), Ok(Some(_))))
    }

    /// Opens a file under the name that it has. When it has none it is made for writing, under the name of an incomplete
    /// file if `new_is_partial` says so. Gives whether that is its name now, too. `was_partial` is as for
    /// [`Names::find`].
    ///
    /// # Errors
    /// [`StorageError::Exists`] for writing, when both names are taken and it is not known which file is the torrent's:
    /// nothing is written over somebody else's.
    pub(super) fn open(
        self,
        root: &Root,
        path: &Path,
        purpose: Purpose,
        new_is_partial: bool,
        was_partial: bool,
    ) -> Result<(Opened, bool), StorageError> {
        let partial = self.partial(path);
        if let Some(partial) = partial.as_ref().filter(|_| was_partial)
            && let Some(opened) = root.open_existing(partial, purpose)?
        {
            return Ok((opened, true));
        }
        if let Some(opened) = root.open_existing(path, purpose)? {
            return match purpose == Purpose::Write && self.has_partial(root, path) {
                true => Err(StorageError::Exists { path: root.full(path) }),
                false => Ok((opened, false)),
            };
        }
        if let Some(partial) = partial {
            if let Some(opened) = root.open_existing(&partial, purpose)? {
                return Ok((opened, true));
            }
            // It may just have lost the suffix.
            if let Some(opened) = root.open_existing(path, purpose)? {
                return Ok((opened, false));
            }
            if purpose == Purpose::Write && new_is_partial {
                return Ok((root.open_file(&partial, purpose)?, true));
            }
        }
        Ok((root.open_file(path, purpose)?, false))
    }
}

/// The path that each file of a torrent has while it is incomplete, from its own; none for one that cannot have another.
pub fn partial_path(layout: &Layout) -> impl Fn(&Path) -> Option<PathBuf> + use<> {
    let names = Names::of(layout);
    move |path| names.partial(path)
}

/// Whether a file of a torrent may not be called so: it is how others are called while they are incomplete.
pub fn is_partial_name(name: impl AsRef<std::ffi::OsStr>) -> bool {
    name.as_ref().as_encoded_bytes().ends_with(PARTIAL_SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::layout::FileSpec;
    use std::fs;

    fn names(paths: &[&str]) -> Names {
        let file = |path: &&str| FileSpec { path: path.into(), length: 3, padding: false };
        Names::of(&Layout::new(16384, paths.iter().map(file).collect()).unwrap())
    }

    #[test]
    fn no_two_files_come_to_one_name() {
        let usual = names(&["t/a", "t/b"]);
        assert_eq!(usual.partial(Path::new("t/a")), Some("t/a.part".into()));
        assert_eq!(usual.partial(Path::new(&format!("t/{}", "x".repeat(251)))), None, "too long");
        assert_eq!(names(&["t/a", "t/a.part"]).partial(Path::new("t/a")), None);
        assert_eq!(names(&["t/a", "t/a.part/b"]).partial(Path::new("t/a")), None);
    }

    #[test]
    fn files_are_found_under_either_name_and_their_own_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (names, path) = (names(&["a", "b"]), Path::new("a"));
        let open = |path, purpose, new| names.open(&root, path, purpose, new, false);
        assert!(names.find(&root, path, false).unwrap().is_none());
        assert!(open(path, Purpose::Read, true).is_err());
        let (_, partial) = open(path, Purpose::Write, true).unwrap();
        assert!(partial && dir.path().join("a.part").exists() && !dir.path().join("a").exists());
        assert!(names.find(&root, path, false).unwrap().unwrap().is_partial());
        assert!(open(path, Purpose::Write, false).unwrap().1, "it stays what it is");
        fs::rename(dir.path().join("a.part"), dir.path().join("a")).unwrap();
        assert!(!names.find(&root, path, true).unwrap().unwrap().is_partial());
        fs::write(dir.path().join("a.part"), "of somebody else").unwrap();
        assert!(!open(path, Purpose::Read, true).unwrap().1);
        let refused = open(path, Purpose::Write, true).unwrap_err();
        assert_eq!(refused.path(), Some(dir.path().join("a").as_path()), "{refused}");
        assert!(names.open(&root, path, Purpose::Write, true, true).unwrap().1, "it was known by that name");
        assert!(names.find(&root, path, true).unwrap().unwrap().is_partial());
        let (_, partial) = open(Path::new("b"), Purpose::Write, false).unwrap();
        assert!(!partial && dir.path().join("b").exists());
    }
}
