//! Where content is looked for: anywhere, as the user of a command line who names it may, or below one directory that the
//! kernel keeps it in.

use super::CreateFailure;
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A part of the file system.
#[derive(Debug)]
pub(super) enum Place {
    /// All of it. Symlinks are followed.
    Anywhere,
    /// What is below a directory. Symlinks are not followed.
    Below {
        /// The directory.
        root: OwnedFd,
        /// Its path.
        path: PathBuf,
    },
}

/// The longest of `allowed` that `path` is below; paths are compared as they are written.
fn allowing<'a>(allowed: &'a [PathBuf], path: &Path) -> Option<&'a PathBuf> {
    let plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    let above = allowed.iter().filter(|dir| plain && path != **dir && path.starts_with(dir));
    above.max_by_key(|dir| dir.as_os_str().len())
}

/// As [`allowing`]; the error says which directories there are.
pub(super) fn check_allowed<'a>(allowed: &'a [PathBuf], path: &Path) -> Result<&'a PathBuf, CreateFailure> {
    allowing(allowed, path).ok_or_else(|| {
        let all = allowed.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(" or ");
        CreateFailure::unusable(path, format!("it is not below {all}"))
    })
}

/// Opens the one of `allowed` that `path` is below; gives it with the rest of the path.
pub(super) fn open_allowed<'a>(
    allowed: &[PathBuf],
    path: &'a Path,
) -> Result<(OwnedFd, PathBuf, &'a Path), CreateFailure> {
    let dir = check_allowed(allowed, path)?;
    let root = openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|errno| CreateFailure::share(dir, errno.into()))?;
    let rest = path.strip_prefix(dir).unwrap_or(path);
    Ok((root, dir.clone(), rest))
}

/// Opens something below a directory without following a link on the way.
pub(super) fn open_below(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), beneath)?)
}

impl Place {
    pub(super) fn below(allowed: &[PathBuf], path: &Path) -> Result<Place, CreateFailure> {
        let (root, path, _) = open_allowed(allowed, path)?;
        Ok(Place::Below { root, path })
    }

    pub(super) fn metadata(&self, at: &Path) -> io::Result<Metadata> {
        match self {
            Place::Anywhere => std::fs::metadata(at),
            Place::Below { .. } => File::from(self.beneath(at, OFlags::PATH)?).metadata(),
        }
    }

    /// Names of what is in a directory.
    pub(super) fn names(&self, at: &Path) -> io::Result<Vec<OsString>> {
        match self {
            Place::Anywhere => {
                std::fs::read_dir(at)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()
            }
            Place::Below { .. } => {
                let entries = Dir::new(self.beneath(at, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
                let names =
                    entries.map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()));
                let itself = |name: &OsString| name == "." || name == "..";
                names.filter(|name| !name.as_ref().is_ok_and(itself)).collect()
            }
        }
    }

    pub(super) fn open(&self, at: &Path) -> io::Result<File> {
        match self {
            Place::Anywhere => File::open(at),
            Place::Below { .. } => {
                // A pipe that took the file's place would wait for a writer.
                let file = File::from(self.beneath(at, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
                match file.metadata()?.is_file() {
                    true => Ok(file),
                    false => Err(io::Error::new(ErrorKind::InvalidInput, "it is no longer a file")),
                }
            }
        }
    }

    fn beneath(&self, at: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let Place::Below { root, path } = self else { return Err(ErrorKind::Unsupported.into()) };
        let rest = at.strip_prefix(path).map_err(|_| io::Error::from(ErrorKind::PermissionDenied))?;
        open_below(root, rest, flags).map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => {
                io::Error::new(ErrorKind::InvalidInput, "a symbolic link is not followed here")
            }
            _ => error,
        })
    }
}
