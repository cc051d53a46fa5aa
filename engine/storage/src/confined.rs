//! The download directory and what lies below it, opened so that the kernel keeps every name inside.
//!
//! The directory itself may be reached through symbolic links: the user named it. Below it no link is
//! followed and nothing leads out (`openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`), whatever the
//! torrent calls its files and whatever another program puts there meanwhile.

use super::budget::Leases;
use super::error::StorageError;
use super::place::{Directory, Place};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fcntl_getfl, fcntl_setfl, fstat, fstatfs, mkdirat,
    openat2,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    /// Reading and writing; created with its folders when it does not exist.
    Write,
}

/// A file that was opened, and whether this made it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
    /// It or one of its folders is new: the folder has to be synced before the file is durable.
    pub(super) created: bool,
}

/// The directory that a torrent's files are below.
#[derive(Debug)]
pub(super) struct Root {
    /// The directory, or why it could not be opened.
    place: Result<Arc<Place>, StorageError>,
    path: PathBuf,
    maps_are_bad: bool,
}

/// Directories are looked up, never listed.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// Number of the device that the directory is on; 0 when it is not there.
    pub(super) fn device(&self) -> u64 {
        self.place.as_ref().map_or(0, |place| place.device())
    }

    /// Opens an existing directory, which stays open.
    pub(super) fn open(path: &Path) -> Result<Root, StorageError> {
        Root::at(Place::open(path, None)?)
    }

    /// Opens an existing directory, which is closed when `descriptors` are needed for what is used more.
    pub(super) fn open_within(path: &Path, descriptors: Arc<Leases>) -> Result<Root, StorageError> {
        Root::at(Place::open(path, Some(descriptors))?)
    }

    fn at(place: Arc<Place>) -> Result<Root, StorageError> {
        let maps_are_bad = maps_are_bad(&*place.directory()?);
        Ok(Root { path: place.path().into(), place: Ok(place), maps_are_bad })
    }

    /// Stands for a directory that could not be opened: everything asked of it gives `error`.
    pub(super) fn absent(path: &Path, error: StorageError) -> Root {
        Root { place: Err(error), path: path.into(), maps_are_bad: true }
    }

    /// Whether the directory is still what its path names.
    pub(super) fn is_at_its_path(&self) -> bool {
        self.place.as_ref().is_ok_and(|place| place.is_at_its_path())
    }

    /// Whether both are one directory, whatever their paths.
    pub(super) fn is_same(&self, other: &Root) -> bool {
        let stat = |root: &Root| root.fd().ok().and_then(|fd| fstat(fd).ok());
        let ids = stat(self).zip(stat(other));
        ids.is_some_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// The open directory.
    fn fd(&self) -> Result<Arc<Directory>, StorageError> {
        self.place.as_ref().map_err(StorageError::clone)?.directory()
    }

    /// See [`Place::retry`].
    fn retry<T>(&self, operation: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        match &self.place {
            Ok(place) => place.retry(operation),
            Err(_) => Err(Errno::NOENT),
        }
    }

    /// Why the directory could not be opened, when it could not.
    pub(super) fn absence(&self) -> Option<&StorageError> {
        self.place.as_ref().err()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole path of a file, for messages.
    pub(super) fn full(&self, relative: &Path) -> PathBuf {
        self.path.join(relative)
    }

    /// See [`maps_are_bad`]; true when the directory could not be opened.
    pub(super) fn maps_are_bad(&self) -> bool {
        self.maps_are_bad
    }

    /// Opens a file of the torrent. What is not a regular file is refused.
    pub(super) fn open_file(&self, relative: &Path, purpose: Purpose) -> Result<Opened, StorageError> {
        let root = self.fd()?;
        match self.retry(|| try_open(&root, relative, purpose, false)) {
            Err(Errno::NOENT) if purpose == Purpose::Write => {
                self.make_parents(relative)?;
                let made = self.retry(|| try_open(&root, relative, purpose, true));
                self.opened(made, relative, true)
            }
            other => self.opened(other, relative, false),
        }
    }

    /// As [`Root::open_file`] for a file that is there; `None` when it is not.
    pub(super) fn open_existing(
        &self,
        relative: &Path,
        purpose: Purpose,
    ) -> Result<Option<Opened>, StorageError> {
        let root = self.fd()?;
        match self.retry(|| try_open(&root, relative, purpose, false)) {
            Err(Errno::NOENT) => Ok(None),
            other => self.opened(other, relative, false).map(Some),
        }
    }

    fn opened(
        &self,
        opened: Result<OwnedFd, Errno>,
        relative: &Path,
        created: bool,
    ) -> Result<Opened, StorageError> {
        let fd = opened.map_err(|errno| self.explain(errno, "open", relative))?;
        let stat = fstat(&fd).map_err(|errno| self.explain(errno, "stat", relative))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StorageError::NotAFile { path: self.full(relative) });
        }
        // O_NONBLOCK was for a FIFO in the way. io_uring would take it as "fail rather than wait".
        fcntl_getfl(&fd)
            .and_then(|flags| fcntl_setfl(&fd, flags - OFlags::NONBLOCK))
            .map_err(|errno| self.explain(errno, "open", relative))?;
        Ok(Opened { fd, stat, created })
    }

    /// The state of a file now, by its name; `Ok(None)` when there is none.
    pub(super) fn stat(&self, relative: &Path) -> Result<Option<Stat>, StorageError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = self.fd()?;
        match self.retry(|| openat2(&*root, relative, flags, Mode::empty(), BENEATH)) {
            Ok(fd) => fstat(&fd)
                .map(Some)
                .map_err(|errno| StorageError::from_errno(errno, "stat", self.full(relative))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.explain(errno, "stat", relative)),
        }
    }

    /// Whether this user may write the file: `mincore` tells the truth only then.
    pub(super) fn may_write(fd: &OwnedFd) -> bool {
        rustix::fs::accessat(fd, c"", rustix::fs::Access::WRITE_OK, AtFlags::EMPTY_PATH | AtFlags::EACCESS)
            .is_ok()
    }

    /// Makes the folders above a file, one by one, each checked to be a real folder.
    fn make_parents(&self, relative: &Path) -> Result<(), StorageError> {
        let Some(parent) = relative.parent() else { return Ok(()) };
        let root = self.fd()?;
        let mut walked = PathBuf::new();
        let mut at: Option<OwnedFd> = None;
        for component in parent.components() {
            let Component::Normal(name) = component else {
                return Err(StorageError::NotADirectory { path: self.full(relative) });
            };
            walked.push(name);
            let here = at.as_ref().map_or_else(|| root.as_fd(), AsFd::as_fd);
            let open = || self.retry(|| openat2(here, name, DIRECTORY, Mode::empty(), BENEATH));
            let next = match open() {
                Err(Errno::NOENT) => match mkdirat(here, name, Mode::from_raw_mode(0o777)) {
                    // Somebody else may have been faster.
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(errno) => Err(errno),
                },
                other => other,
            }
            .map_err(|errno| self.explain(errno, "create the directory", &walked))?;
            at = Some(next);
        }
        Ok(())
    }

    /// Opens the folder that a file or folder is in, making it and those above when `make` says so. Gives it with the
    /// last name of the path.
    pub(super) fn open_folder<'a>(
        &self,
        relative: &'a Path,
        make: bool,
    ) -> Result<(OwnedFd, &'a OsStr), StorageError> {
        let name = match relative.components().next_back() {
            Some(Component::Normal(name)) => name,
            _ => return Err(StorageError::NotADirectory { path: self.full(relative) }),
        };
        if make {
            self.make_parents(relative)?;
        }
        let above = relative.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let root = self.fd()?;
        let folder = self
            .retry(|| openat2(&*root, above, DIRECTORY, Mode::empty(), BENEATH))
            .map_err(|errno| self.explain(errno, "open", above))?;
        Ok((folder, name))
    }

    /// Opens the folders above a file, innermost first and the root last, to be synced.
    pub(super) fn open_folders(&self, relative: &Path) -> Result<Vec<OwnedFd>, StorageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = self.fd()?;
        relative
            .ancestors()
            .skip(1)
            .map(|folder| {
                let name = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                self.retry(|| openat2(&*root, name, flags, Mode::empty(), BENEATH))
                    .map_err(|errno| self.explain(errno, "open", folder))
            })
            .collect()
    }

    /// The error for `relative`, naming the component that is to blame where that can be found.
    fn explain(&self, errno: Errno, operation: &'static str, relative: &Path) -> StorageError {
        if let (Errno::LOOP | Errno::NOTDIR, Ok(root)) = (errno, self.fd()) {
            let mut walked = PathBuf::new();
            for component in relative.components() {
                walked.push(component);
                // `walked` is all real folders but for its last component, so this stays inside.
                let Ok(stat) = rustix::fs::statat(&*root, &walked, AtFlags::SYMLINK_NOFOLLOW) else {
                    break;
                };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => return StorageError::SymlinkInTheWay { path: self.full(&walked) },
                    FileType::Directory => {}
                    _ if walked != relative => {
                        return StorageError::NotADirectory { path: self.full(&walked) };
                    }
                    _ => break,
                }
            }
        }
        // `EXDEV` from RESOLVE_BENEATH: the name leads out. Names are confined before they come here.
        StorageError::from_errno(errno, operation, self.full(relative))
    }
}

/// Whether maps of files on this file system are a bad idea: over a network, or served by a process,
/// a page fault can wait for ever and truncation is not noticed; encrypting file systems decrypt page
/// by page in the fault.
fn maps_are_bad(directory: &Directory) -> bool {
    // From linux/magic.h; CIFS and SMB2 have theirs in fs/smb/client.
    const NFS: u64 = 0x6969;
    const CIFS: u64 = 0xff53_4d42;
    const SMB2: u64 = 0xfe53_4d42;
    const FUSE: u64 = 0x6573_5546;
    const NINE_P: u64 = 0x0102_1997;
    const CEPH: u64 = 0x00c3_6400;
    const AFS: u64 = 0x6b41_4653;
    const ECRYPTFS: u64 = 0xf15f;
    let Ok(stat) = fstatfs(directory) else { return true };
    // The kernel's field is a signed long; the magic numbers are 32 bits wide.
    let magic = stat.f_type as u64 & 0xffff_ffff;
    [NFS, CIFS, SMB2, FUSE, NINE_P, CEPH, AFS, ECRYPTFS].contains(&magic)
}

/// Whether names that differ in upper and lower case alone are one name in a directory: usual on disks that other systems
/// use as well, and on shares of such systems. False when that cannot be told.
pub fn ignores_case(directory: &Path) -> bool {
    // From linux/magic.h and the sources of the file systems.
    const FAT: u64 = 0x4d44;
    const EXFAT: u64 = 0x2011_bab0;
    const NTFS: u64 = 0x5346_544e;
    const NTFS3: u64 = 0x7366_746e;
    const CIFS: u64 = 0xff53_4d42;
    const SMB2: u64 = 0xfe53_4d42;
    const HFS_PLUS: u64 = 0x482b;
    // Directories of ext4 and f2fs can be set to it, one by one.
    const CASEFOLD: u32 = 0x4000_0000;
    let Ok(found) = rustix::fs::statfs(directory) else { return false };
    let magic = found.f_type as u64 & 0xffff_ffff;
    let folds = || {
        let opened =
            rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let flags = opened.and_then(rustix::fs::ioctl_getflags);
        flags.is_ok_and(|flags| flags.bits() & CASEFOLD != 0)
    };
    [FAT, EXFAT, NTFS, NTFS3, CIFS, SMB2, HFS_PLUS].contains(&magic) || folds()
}

fn try_open(root: &Directory, relative: &Path, purpose: Purpose, create: bool) -> Result<OwnedFd, Errno> {
    let access = match purpose {
        Purpose::Read => OFlags::RDONLY,
        Purpose::Write => OFlags::RDWR,
    };
    let (create, mode) = match create {
        true => (OFlags::CREATE, Mode::from_raw_mode(0o666)),
        false => (OFlags::empty(), Mode::empty()),
    };
    let flags = access | create | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    openat2(root, relative, flags, mode, BENEATH)
}

/// What the size of a file on disk says, compared with the torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeCheck {
    /// As the torrent says. Padding files, which are not stored, are always this.
    Ok,
    /// There is no such file.
    Missing,
    /// Shorter; the length in bytes.
    Short(u64),
    /// Longer; the length in bytes. The bytes of the torrent can still be there.
    Long(u64),
}

/// Size and time of last change of a file: as long as both are the same, nobody wrote to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct FileStamp {
    /// Length in bytes.
    pub size: u64,
    /// Time of last change, nanoseconds since 1970.
    pub modified_ns: i64,
}

impl FileStamp {
    pub(super) fn of(stat: &Stat) -> FileStamp {
        FileStamp {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: stat
                .st_mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(stat.st_mtime_nsec as i64),
        }
    }
}
