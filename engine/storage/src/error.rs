//! What can go wrong with a torrent's files: each error names the path and says what to do about it.

use ringseed_proto::units::{Block, PieceIndex};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A failure of one file, or of the place the files are in. Cheap enough to be remembered and repeated.
///
/// Every variant concerns only the torrent it came from; other torrents go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// `ENOSPC`.
    #[error("no space left on the disk while writing {}; free some space and resume the torrent", shown(.path))]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// `ENOSPC` from a file system that has space, and no inodes for further files.
    #[error(
        "no inodes left on the disk, so {} cannot be created: it has room for bytes but not for more files; delete some \
         (df -i counts them) and resume the torrent", shown(.path)
    )]
    NoInodes {
        /// The file or directory that was to be made.
        path: PathBuf,
    },
    /// `EDQUOT`.
    #[error("the disk quota is used up while writing {}; free some space and resume the torrent", shown(.path))]
    QuotaExceeded {
        /// The file being written.
        path: PathBuf,
    },
    /// `EROFS`.
    #[error("{} is on a read-only file system; mount it writable or choose another directory", shown(.path))]
    ReadOnly {
        /// The file or directory to be written.
        path: PathBuf,
    },
    /// `EACCES` or `EPERM`.
    #[error("no permission for {}; give this user access to it and resume the torrent", shown(.path))]
    Permission {
        /// The file or directory.
        path: PathBuf,
    },
    /// The file is not there.
    #[error("{} is missing; put it back and resume the torrent, or verify the torrent to fetch it again", shown(.path))]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The torrent's own directory is not there (a disk that is not mounted looks like this).
    #[error("the directory {} does not exist; create or mount it, or choose another one", shown(.path))]
    DirectoryMissing {
        /// The directory.
        path: PathBuf,
    },
    /// No file of a torrent that had data is there, or all are empty.
    #[error("No data found: no file of the torrent is in {}; mount the disk or put the data back and resume the torrent, set its location to where the data is, or verify it to download it again", shown(.path))]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// Some files of a torrent that had their data are not there, or are empty.
    #[error("{missing} of {all} files are missing, the first is {}; put them back and resume the torrent, or verify it to download them again", shown(.path))]
    FilesMissing {
        /// The first file.
        path: PathBuf,
        /// How many are missing.
        missing: usize,
        /// How many the torrent had data of.
        all: usize,
    },
    /// Another directory is at the path of the torrent's own.
    #[error("another directory was put or mounted at {} while it was in use; verify the torrent", shown(.path))]
    DirectoryReplaced {
        /// The directory.
        path: PathBuf,
    },
    /// The file is shorter than the torrent says.
    #[error("{} has {found} of {expected} bytes; put the whole file back and resume the torrent, or verify the torrent to fetch what is missing", shown(.path))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length by the torrent, in bytes.
        expected: u64,
        /// Its length on disk, in bytes.
        found: u64,
    },
    /// Another file has taken its name while it was in use.
    #[error("{} was replaced by another file while it was in use; verify the torrent", shown(.path))]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Another program wrote to it while it was in use.
    #[error("{} was changed by another program while it was in use; verify the torrent", shown(.path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link stands where a file or folder of the torrent belongs. Links are never followed
    /// below the download directory: a link could lead a torrent's data anywhere.
    #[error("{} is a symbolic link, which is not followed; replace it by a real file or folder", shown(.path))]
    SymlinkInTheWay {
        /// The link, or the path that leads through it.
        path: PathBuf,
    },
    /// Something that is not a regular file has a file's name.
    #[error("{} is not a regular file; move it away and resume the torrent", shown(.path))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Something that is not a directory has a directory's name.
    #[error("{} is not a directory; move it away and resume the torrent", shown(.path))]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Something has the name that a file was to get. Nothing is ever put over another file.
    #[error("{} is there already and is not overwritten; move it away and try again", shown(.path))]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// A file of several torrents, with other data than this one has for it.
    #[error(
        "{} is a file of another torrent as well, and this torrent has other data for it; remove one of the torrents, or \
         give this one another directory", shown(.path)
    )]
    Shared {
        /// The file.
        path: PathBuf,
    },
    /// `ENAMETOOLONG`.
    #[error("the name {} is too long for this file system; choose a directory on another one", shown(.path))]
    NameTooLong {
        /// The path.
        path: PathBuf,
    },
    /// `EFBIG`: the file system cannot hold a file of this size.
    #[error("{} is too large for its file system; choose a directory on another one", shown(.path))]
    FileTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// `EMFILE` or `ENFILE`.
    #[error("too many open files, so {} cannot be opened now; raise the limit of open files (ulimit -n)", shown(.path))]
    TooManyOpenFiles {
        /// The file.
        path: PathBuf,
    },
    /// `ENOMEM` from `mmap`.
    #[error("{} cannot be mapped: too many maps or too little address space; raise vm.max_map_count", shown(.path))]
    TooManyMaps {
        /// The file.
        path: PathBuf,
    },
    /// Any other failure of the operating system.
    #[error("cannot {operation} {}: {}", shown(.path), std::io::Error::from_raw_os_error(*.errno))]
    Io {
        /// What was being done: a verb such as `read`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error number.
        errno: i32,
    },
    /// The piece is not in memory (any more): bring it in and try again. Only the ring-read store says so.
    #[error("{0:?} is not loaded")]
    NotLoaded(PieceIndex),
    /// The block does not lie in the torrent, or a buffer has not the length of its piece.
    #[error("{0:?} does not lie in the torrent")]
    OutOfRange(Block),
    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,
}

/// The path in an error, where it has one: as a reference, or as one that may be changed.
macro_rules! path_in {
    ($error:expr) => {
        match $error {
            StorageError::DiskFull { path }
            | StorageError::NoInodes { path }
            | StorageError::QuotaExceeded { path }
            | StorageError::ReadOnly { path }
            | StorageError::Permission { path }
            | StorageError::NotFound { path }
            | StorageError::DirectoryMissing { path }
            | StorageError::NoData { path }
            | StorageError::FilesMissing { path, .. }
            | StorageError::DirectoryReplaced { path }
            | StorageError::Truncated { path, .. }
            | StorageError::Replaced { path }
            | StorageError::Changed { path }
            | StorageError::SymlinkInTheWay { path }
            | StorageError::NotAFile { path }
            | StorageError::Exists { path }
            | StorageError::Shared { path }
            | StorageError::NotADirectory { path }
            | StorageError::NameTooLong { path }
            | StorageError::FileTooLarge { path }
            | StorageError::TooManyOpenFiles { path }
            | StorageError::TooManyMaps { path }
            | StorageError::Io { path, .. } => Some(path),
            StorageError::NotLoaded(_) | StorageError::OutOfRange(_) | StorageError::Cancelled => None,
        }
    };
}

impl StorageError {
    /// The error for a failed `operation` (a verb) on `path`.
    pub(crate) fn from_errno(
        errno: Errno,
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> StorageError {
        let path = path.into();
        match errno {
            Errno::NOSPC if lacks_inodes(&path) => StorageError::NoInodes { path },
            Errno::NOSPC => StorageError::DiskFull { path },
            Errno::DQUOT => StorageError::QuotaExceeded { path },
            Errno::ROFS => StorageError::ReadOnly { path },
            Errno::ACCESS | Errno::PERM => StorageError::Permission { path },
            Errno::NOENT => StorageError::NotFound { path },
            Errno::LOOP => StorageError::SymlinkInTheWay { path },
            Errno::EXIST => StorageError::Exists { path },
            Errno::ISDIR => StorageError::NotAFile { path },
            Errno::NOTDIR => StorageError::NotADirectory { path },
            Errno::NAMETOOLONG => StorageError::NameTooLong { path },
            Errno::FBIG => StorageError::FileTooLarge { path },
            Errno::MFILE | Errno::NFILE => StorageError::TooManyOpenFiles { path },
            other => StorageError::Io { operation, path, errno: other.raw_os_error() },
        }
    }

    /// As [`StorageError::from_errno`], from what the ring reports.
    pub(crate) fn from_io(
        error: &std::io::Error,
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> StorageError {
        // Errors of the ring carry their number; one without is a failure of unknown kind.
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        StorageError::from_errno(errno, operation, path)
    }

    /// The file or directory concerned, where there is one.
    pub fn path(&self) -> Option<&Path> {
        path_in!(self).map(PathBuf::as_path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        path_in!(self)
    }

    /// Whether the system lacked something for the moment that others give back: it is to be tried again, and says nothing
    /// about the file.
    pub fn is_shortage(&self) -> bool {
        matches!(self, StorageError::TooManyOpenFiles { .. } | StorageError::TooManyMaps { .. })
    }

    /// Whether it says that files or their directory are gone. They may come back: what was known of them is kept until
    /// the user says otherwise.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            StorageError::NotFound { .. }
                | StorageError::DirectoryMissing { .. }
                | StorageError::NoData { .. }
                | StorageError::FilesMissing { .. }
        )
    }

    /// The same about the file that the user knows, where it is about the one that stands for it meanwhile.
    pub(super) fn about(mut self, meanwhile: &Path, known: &Path) -> StorageError {
        if let Some(path) = self.path_mut().filter(|path| path.as_path() == meanwhile) {
            *path = known.to_path_buf();
        }
        self
    }

    /// Whether it says that data which was there is gone or altered, so that the torrent has to be verified.
    pub fn is_data_loss(&self) -> bool {
        self.is_missing()
            || matches!(
                self,
                StorageError::DirectoryReplaced { .. }
                    | StorageError::SymlinkInTheWay { .. }
                    | StorageError::NotAFile { .. }
                    | StorageError::NotADirectory { .. }
                    | StorageError::Truncated { .. }
                    | StorageError::Replaced { .. }
                    | StorageError::Changed { .. }
            )
    }
}

/// Whether the file system that a path is, or would be, on has space and no inodes. File systems that make inodes as they
/// need them say that they have none at all, which is not meant.
pub(super) fn lacks_inodes(path: &Path) -> bool {
    let found = path.ancestors().find_map(|place| rustix::fs::statvfs(place).ok());
    found.is_some_and(|found| found.f_files > 0 && found.f_favail == 0 && found.f_bavail > 0)
}

/// A path as it may be shown on a terminal: names from torrents can hold control characters.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_a_copy_is_one_about_the_file_that_is_copied() {
        let (copy, file) = (Path::new("/data/.1.ringseed-move"), Path::new("/data/film"));
        let errors = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::FBIG, Errno::ACCESS, Errno::IO]
            .map(|errno| StorageError::from_errno(errno, "copy to", copy));
        let no_inodes = StorageError::NoInodes { path: copy.into() };
        for error in errors.into_iter().chain([no_inodes]) {
            assert_eq!(error.about(copy, file).path(), Some(file));
        }
        let other = StorageError::from_errno(Errno::ACCESS, "copy", "/from/film");
        assert_eq!(other.clone().about(copy, file), other);
    }

    #[test]
    fn every_error_names_its_path_without_control_characters() {
        for errno in [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::ROFS,
            Errno::ACCESS,
            Errno::NOENT,
            Errno::LOOP,
            Errno::ISDIR,
            Errno::NOTDIR,
            Errno::NAMETOOLONG,
            Errno::FBIG,
            Errno::MFILE,
            Errno::IO,
        ] {
            let text = StorageError::from_errno(errno, "write", "/data/a\x1b[2Jb").to_string();
            assert!(text.contains("/data/a\u{fffd}[2Jb"), "{text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
    }
}
