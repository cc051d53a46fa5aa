//! Moving, renaming and deleting the files of a torrent that no shard has.

use super::Done;
use ringseed_handle::DeleteError;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Info;
use ringseed_storage::{FileWork, Move, MoveError, MoveProgress, Rename, StorageError, relocate};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A move or a rename.
pub struct FileChange {
    /// The torrent.
    pub torrent_id: TorrentId,
    /// What is done.
    pub work: FileWork,
    /// Its files.
    pub info: Arc<Info>,
    /// The directory that they are below.
    pub from: PathBuf,
    /// Pieces that were there: files with some of them have to be.
    pub have: Arc<Bitfield>,
    /// Files that have the names of incomplete ones.
    pub partial: BTreeSet<usize>,
    /// It was begun before.
    pub again: bool,
    /// How far it is; the session ends it early by this.
    pub progress: Arc<MoveProgress>,
}

impl FileChange {
    pub(super) fn run(self) -> Done {
        let FileChange { torrent_id, work, info, from, have, partial, again, progress } = self;
        let result = match &work {
            FileWork::Move(to) => {
                let (torrent, from, partial) = (&torrent_id, from.as_path(), &partial);
                let work = Move { torrent, layout: &info.layout, from, to, partial, again };
                let is_expected = |file| info.layout.pieces_of_file(file).any(|piece| have.get(piece));
                relocate::move_files(&work, is_expected, &progress)
            }
            FileWork::Found(_) => Ok(()),
            FileWork::Rename(Rename { from: old, to }) => {
                let paths = (Path::new(old), Path::new(to));
                relocate::rename(&info.layout, &from, paths, &partial, again).map_err(MoveError::Undone)
            }
        };
        Done::Changed { torrent_id, work, result }
    }

    pub(super) fn ended_badly(&self) -> Done {
        let errno = rustix::io::Errno::IO.raw_os_error();
        let error = StorageError::Io { operation: "handle", path: self.from.clone(), errno };
        let (torrent_id, work) = (self.torrent_id, self.work.clone());
        Done::Changed { torrent_id, work, result: Err(MoveError::Halfway(error)) }
    }
}

/// The deletion of all files of a torrent but those that others have as well.
pub struct Deletion {
    /// The torrent.
    pub torrent_id: TorrentId,
    /// Its files.
    pub info: Arc<Info>,
    /// The directories that they may be below.
    pub directories: Vec<PathBuf>,
    /// Files that have the names of incomplete ones.
    pub partial: BTreeSet<usize>,
    /// Files that stay, by index.
    pub shared: HashSet<usize>,
}

impl Deletion {
    pub(super) fn run(self) -> Done {
        let Deletion { torrent_id, info, directories, partial, shared } = self;
        let mut result = Ok(());
        for directory in directories {
            let is_own = |file| !shared.contains(&file);
            if let Err(error) =
                relocate::delete_files(&info.layout, &directory, &torrent_id, &partial, is_own)
            {
                tracing::error!(%error, torrent = %torrent_id, "cannot delete all files of a removed torrent");
                result = Err(DeleteError::Storage(error));
            }
        }
        Done::Deleted { torrent_id, result }
    }
}
