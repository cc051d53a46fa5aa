//! A move of all files of a torrent to another directory, which can be shown, cancelled, cut short and taken up again.
//!
//! Files that stay on their file system are renamed. The others are copied under names of their own, all of them before
//! the first takes its last name, and the originals are deleted only when all copies have theirs and are durable: until
//! then a move is undone by deleting copies. Whoever calls notes the move durably before it begins and after it has
//! ended, so that a move cut short in between is known and begun again: what is in its last place stays there.

use super::super::confined::{FileStamp, Root};
use super::super::error::StorageError;
use super::super::names::{Found, Names};
use super::copying::{CopyEnd, copy, copy_name, may_be_copy, same_bytes};
use super::progress::{MoveProgress, Order};
use super::{clear_folders, put, stored, sync_folders};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::layout::Layout;
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Why the files of a torrent are not where they were to go.
#[derive(Debug, PartialEq, Eq)]
pub enum MoveError {
    /// All files are where they were.
    Undone(StorageError),
    /// Some files are here and some are there: the move has to be begun again.
    Halfway(StorageError),
    /// As [`MoveError::Halfway`], because the process ends ([`MoveProgress::leave`]).
    Left,
}

/// A move to be done.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// The torrent.
    pub torrent: &'a TorrentId,
    /// Its files.
    pub layout: &'a Layout,
    /// The directory that they are below.
    pub from: &'a Path,
    /// The directory that they are to be below; it is made when needed.
    pub to: &'a Path,
    /// Files that have the names of incomplete ones, by index: what has their own names is somebody else's.
    pub partial: &'a BTreeSet<usize>,
    /// The move was begun before: files may be in their last place already.
    pub again: bool,
}

/// A file that has to be moved, by its index, under the name that it has.
struct Moving<'a> {
    file: usize,
    path: Cow<'a, Path>,
    size: u64,
}

/// Moves all files of a torrent. Those that are not there are left out, unless `is_expected` says by its index that one
/// has to be there.
///
/// # Errors
/// The first file that cannot be moved; one is never put over another.
pub fn move_files(
    work: &Move<'_>,
    is_expected: impl Fn(usize) -> bool,
    progress: &MoveProgress,
) -> Result<(), MoveError> {
    let made = make_directory(work.to).map_err(MoveError::Undone)?;
    let result = Mover::new(work, progress).map_err(MoveError::Undone).and_then(|mut mover| {
        let Some(plan) = mover.plan(&is_expected).map_err(|error| mover.nothing_moved(error))? else {
            return Ok(());
        };
        match mover.run(&plan) {
            Ok(()) => Ok(()),
            Err(CopyEnd::Left) => Err(MoveError::Left),
            Err(CopyEnd::Failed(error)) => Err(mover.undo(error)),
        }
    });
    if let Err(MoveError::Undone(_)) = &result {
        if work.again
            && let Ok(target) = Root::open(work.to)
        {
            // An earlier beginning may have made more copies than this one has come to.
            remove_copies(&target, work.layout, work.torrent);
        }
        // Those that are not empty were used by others meanwhile.
        made.iter().for_each(|directory| _ = std::fs::remove_dir(directory));
    }
    result
}

/// Makes a directory with those above it. Gives the new ones, innermost first.
fn make_directory(path: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
    let made: Vec<PathBuf> = path.ancestors().take_while(missing).map(Path::to_path_buf).collect();
    std::fs::create_dir_all(path).map_err(|error| match Errno::from_io_error(&error) {
        // Nothing is missing: it cannot be made there.
        Some(Errno::NOENT) | None => StorageError::Io {
            operation: "create the directory",
            path: path.into(),
            errno: Errno::NOENT.raw_os_error(),
        },
        Some(errno) => StorageError::from_errno(errno, "create the directory", path),
    })?;
    for above in made.iter().filter_map(|directory| directory.parent()) {
        // The data in it is synced with its folders; where this cannot be, the name is durable a little later.
        let _ = File::open(above).and_then(|above| above.sync_all());
    }
    Ok(made)
}

struct Mover<'a> {
    work: Move<'a>,
    names: Names,
    /// `None` when the directory is not there: after a move that was cut short it may be gone already.
    source: Option<Root>,
    target: Root,
    progress: &'a MoveProgress,
    /// Files in their last place, from an earlier beginning of this move.
    arrived: Vec<PathBuf>,
    /// Files that were renamed to their last place.
    renamed: Vec<PathBuf>,
    /// Files that were copied, by index.
    copied: Vec<(usize, PathBuf)>,
    /// How many of those have their last name.
    placed: usize,
    /// Originals whose copies an earlier beginning of this move has put in their place.
    leftovers: Vec<PathBuf>,
}

impl<'a> Mover<'a> {
    fn new(work: &Move<'a>, progress: &'a MoveProgress) -> Result<Mover<'a>, StorageError> {
        let source = match Root::open(work.from) {
            Ok(source) => Some(source),
            Err(StorageError::DirectoryMissing { .. }) if work.again => None,
            Err(error) => return Err(error),
        };
        Ok(Mover {
            work: *work,
            names: Names::of(work.layout),
            source,
            target: Root::open(work.to)?,
            progress,
            arrived: Vec::new(),
            renamed: Vec::new(),
            copied: Vec::new(),
            placed: 0,
            leftovers: Vec::new(),
        })
    }

    /// Looks at every file before any is touched: what has to move, and that nothing is in its way. `None` when both
    /// directories are one.
    fn plan(
        &mut self,
        is_expected: &impl Fn(usize) -> bool,
    ) -> Result<Option<Vec<Moving<'a>>>, StorageError> {
        if self.source.as_ref().is_some_and(|source| source.is_same(&self.target)) {
            return Ok(None);
        }
        let mut plan = Vec::new();
        for (file, path) in stored(self.work.layout) {
            let find = |root: Option<&Root>| match root {
                Some(root) => self.names.find(root, path, self.work.partial.contains(&file)),
                None => Ok(None),
            };
            let (here, there) = (find(self.source.as_ref())?, find(Some(&self.target))?);
            match (here, there) {
                (Some(here), None) => {
                    let size = FileStamp::of(&here.stat).size;
                    plan.push(Moving { file, path: here.path, size });
                }
                (Some(here), Some(there)) if self.is_leftover(&here, &there)? => {
                    self.leftovers.push(here.path.into_owned());
                }
                (None, Some(there)) if self.work.again => {
                    // One that nothing is known of may be somebody else's, and stays there in any case.
                    if is_expected(file) {
                        self.arrived.push(there.path.into_owned());
                    }
                }
                // Under the other name it would stand beside the file and be taken for it.
                (_, Some(there)) => {
                    return Err(StorageError::Exists { path: self.target.full(&there.path) });
                }
                (None, None) if is_expected(file) => {
                    return Err(StorageError::NotFound { path: self.work.from.join(path) });
                }
                (None, None) => {}
            }
        }
        self.progress.set_total(plan.iter().map(|moving| moving.size).sum());
        Ok(Some(plan))
    }

    /// Whether a file in its last place is the copy that an earlier beginning of this move has put there.
    fn is_leftover(&self, here: &Found<'_>, there: &Found<'_>) -> Result<bool, StorageError> {
        let Some(source) = self.source.as_ref().filter(|_| self.work.again) else { return Ok(false) };
        Ok(here.path == there.path
            && may_be_copy(&there.stat, &here.stat)
            && same_bytes((source, &here.path), (&self.target, &there.path))?)
    }

    fn run(&mut self, plan: &[Moving<'a>]) -> Result<(), CopyEnd> {
        let Some(source) = &self.source else { return Ok(()) };
        let mut elsewhere = Vec::new();
        for moving in plan {
            match self.progress.order() {
                Order::Continue => {}
                Order::Cancel => return Err(CopyEnd::Failed(StorageError::Cancelled)),
                Order::Leave => return Err(CopyEnd::Left),
            }
            match put((source, &moving.path), (&self.target, &moving.path)) {
                Ok(()) => {
                    self.renamed.push(moving.path.to_path_buf());
                    self.progress.add(moving.size);
                }
                Err((Errno::XDEV, _)) => elsewhere.push(moving),
                Err((_, error)) => return Err(CopyEnd::Failed(error)),
            }
        }
        for moving in elsewhere {
            let name = copy_name(&moving.path, self.work.torrent, moving.file);
            self.copied.push((moving.file, moving.path.to_path_buf()));
            copy((source, &moving.path), (&self.target, &name), self.progress).map_err(|end| match end {
                CopyEnd::Failed(error) => {
                    CopyEnd::Failed(error.about(&self.target.full(&name), &self.target.full(&moving.path)))
                }
                CopyEnd::Left => CopyEnd::Left,
            })?;
        }
        for (file, path) in &self.copied {
            let name = copy_name(path, self.work.torrent, *file);
            put((&self.target, &name), (&self.target, path)).map_err(|(_, error)| CopyEnd::Failed(error))?;
            self.placed += 1;
        }
        let arrived = self.renamed.iter().chain(self.copied.iter().map(|(_, path)| path));
        sync_folders(&self.target, arrived.chain(&self.leftovers).map(PathBuf::as_path))
            .map_err(CopyEnd::Failed)?;
        // From here on the move is done, whatever becomes of the originals.
        for path in self.copied.iter().map(|(_, path)| path).chain(&self.leftovers) {
            if let Err(error) = remove(source, path) {
                tracing::warn!(%error, "a file that was copied elsewhere cannot be deleted where it was");
            }
        }
        clear_folders(source, self.work.layout);
        Ok(())
    }

    fn nothing_moved(&self, error: StorageError) -> MoveError {
        match self.arrived.is_empty() && self.leftovers.is_empty() {
            true => MoveError::Undone(error),
            false => MoveError::Halfway(error),
        }
    }

    /// Brings everything back to where it was.
    fn undo(&mut self, error: StorageError) -> MoveError {
        let Some(source) = &self.source else { return MoveError::Halfway(error) };
        let mut whole = true;
        for (number, (file, path)) in self.copied.iter().enumerate() {
            let name = copy_name(path, self.work.torrent, *file);
            let copy = if number < self.placed { path } else { &name };
            if let Err(error) = remove(&self.target, copy) {
                tracing::error!(%error, "a copy cannot be deleted");
                // In its last place it would be taken for the torrent's.
                whole &= number >= self.placed;
            }
        }
        for path in &self.leftovers {
            whole &= remove(&self.target, path).is_ok();
        }
        for path in self.renamed.iter().rev().chain(&self.arrived) {
            if let Err((_, error)) = put((&self.target, path), (source, path)) {
                tracing::error!(%error, "a file could not be moved back");
                whole = false;
            }
        }
        clear_folders(&self.target, self.work.layout);
        match whole {
            true => MoveError::Undone(error),
            false => MoveError::Halfway(error),
        }
    }
}

/// Deletes the copies that moves of a torrent have left under the names that files have while they are copied.
pub(super) fn remove_copies(target: &Root, layout: &Layout, torrent: &TorrentId) {
    for (file, path) in stored(layout) {
        if let Err(error) = remove(target, &copy_name(path, torrent, file)) {
            tracing::error!(%error, "a copy cannot be deleted");
        }
    }
    clear_folders(target, layout);
}

/// Deletes a file; one that is not there is no error.
fn remove(root: &Root, path: &Path) -> Result<(), StorageError> {
    let (folder, name) = match root.open_folder(path, false) {
        Err(StorageError::NotFound { .. }) => return Ok(()),
        other => other?,
    };
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(StorageError::from_errno(errno, "delete", root.full(path))),
    }
}
