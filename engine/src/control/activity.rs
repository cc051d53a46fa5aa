//! What happens with a torrent of the session, and what is planned to come after it.

use crate::shard::checks::Check;
use crate::shard::message::CheckError;
use ringseed_proto::bitfield::Bitfield;
use ringseed_storage::{FileStamp, FileWork, MoveProgress};
use std::sync::Arc;

/// Work on the files of a torrent that is being done.
#[derive(Debug, Clone)]
pub struct Handling {
    /// What is done.
    pub work: FileWork,
    /// How far it is, when it is a move.
    pub progress: Arc<MoveProgress>,
}

impl PartialEq for Handling {
    fn eq(&self, other: &Handling) -> bool {
        Arc::ptr_eq(&self.progress, &other.progress)
    }
}

/// What happens once all shards have let go of a torrent.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// It stays paused.
    Pause,
    /// It runs again.
    Run,
    /// Its files are hashed, then it runs, or is paused when it was.
    Check {
        /// Whether it runs afterwards.
        run: bool,
    },
    /// It stays stopped by this error.
    Fail(String),
    /// It stays stopped because data is missing, for this reason.
    Miss(String),
    /// Its files are moved or renamed.
    Handle {
        /// What is done with them.
        work: FileWork,
        /// Whether it runs afterwards.
        run: bool,
        /// This was begun before.
        again: bool,
    },
    /// It is forgotten, and its files are deleted when `delete` says so.
    Remove {
        /// Delete its files, too.
        delete: bool,
    },
}

impl Next {
    /// Whether this, which is planned, is given up for something else while the shards let go. A removal is not: it is
    /// stored. What fails meanwhile changes nothing that the user wants: it fails again afterwards, when it still does.
    pub fn is_replaced_by(&self, other: &Next) -> bool {
        match self {
            // One that keeps the files does not stop one that deletes them: that was answered for.
            Next::Remove { delete } => matches!(other, Next::Remove { delete: more } if *more || !delete),
            Next::Pause | Next::Handle { .. } => !matches!(other, Next::Fail(_) | Next::Miss(_)),
            Next::Run | Next::Check { .. } | Next::Fail(_) | Next::Miss(_) => true,
        }
    }
}

/// What the shards do with a torrent.
#[derive(Debug, Clone, PartialEq)]
pub enum Activity {
    /// Nothing; the user paused it.
    Paused,
    /// Nothing; this error stopped it.
    Failed(String),
    /// Nothing: data that it had is not there. What was known of it is kept, and nothing is fetched before the user says
    /// so.
    Missing {
        /// What is missing and what to do.
        reason: String,
        /// Whether it runs once the data is back.
        run: bool,
    },
    /// Nothing; it runs when its queue has a place for it.
    Queued,
    /// Nothing; its files are being moved, renamed or deleted.
    Handling {
        /// Whether it runs afterwards.
        run: bool,
        /// What is done.
        handling: Handling,
    },
    /// They hash its files.
    Checking {
        /// Whether it runs afterwards.
        run: bool,
        /// Pieces hashed.
        done: u32,
        /// What they found so far.
        found: Findings,
    },
    /// They serve it, and its home shard downloads what is missing.
    Running,
    /// They let go of it.
    Stopping {
        /// Shards that have not answered yet.
        waiting: Vec<usize>,
        /// What comes then.
        next: Next,
    },
}

/// What the shards have reported of a check.
#[derive(Debug, Clone)]
pub struct Findings {
    /// The check.
    pub check: Arc<Check>,
    /// Shards that have not reported.
    pub waiting: usize,
    /// The right pieces, or the first file that cannot be read.
    pub result: Result<Bitfield, CheckError>,
    /// The files as they were when it began.
    pub stamps: Vec<FileStamp>,
    /// The one before it was disturbed by another torrent of the same files.
    pub again: bool,
}

impl PartialEq for Findings {
    fn eq(&self, other: &Findings) -> bool {
        Arc::ptr_eq(&self.check, &other.check) && self.waiting == other.waiting
    }
}

impl Findings {
    /// Nothing yet, from `shards` shards. Looks at the files: to be made before they begin.
    pub fn new(check: Arc<Check>, shards: usize) -> Findings {
        let result = Ok(Bitfield::new(check.torrent.content.info.layout.piece_count()));
        let stamps = check.torrent.store.stamps_on_disk();
        Findings { check, waiting: shards, result, stamps, again: false }
    }

    /// One shard's report.
    pub fn add(&mut self, part: Result<Bitfield, CheckError>) {
        self.waiting = self.waiting.saturating_sub(1);
        let Ok(have) = &mut self.result else { return };
        match part {
            Ok(part) => part.iter_ones().for_each(|piece| _ = have.set(piece)),
            Err(error) => self.result = Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_with_the_data_is_not_made_one_without() {
        let remove = |delete| Next::Remove { delete };
        assert!(!remove(true).is_replaced_by(&remove(false)), "files stayed that were to be deleted");
        assert!(remove(false).is_replaced_by(&remove(true)) && remove(true).is_replaced_by(&remove(true)));
        assert!(!remove(false).is_replaced_by(&Next::Run) && !remove(true).is_replaced_by(&Next::Pause));
    }

    #[test]
    fn what_fails_while_a_torrent_stops_changes_nothing_that_the_user_wants() {
        let failures = [Next::Fail("full".into()), Next::Miss("gone".into())];
        let work = FileWork::Move("/to".into());
        let planned =
            [Next::Pause, Next::Handle { work, run: true, again: false }, Next::Remove { delete: true }];
        for (planned, next) in
            planned.iter().flat_map(|planned| failures.iter().map(move |next| (planned, next)))
        {
            assert!(!planned.is_replaced_by(next), "{planned:?} {next:?}");
        }
        assert!(!Next::Remove { delete: true }.is_replaced_by(&Next::Run));
        assert!(Next::Run.is_replaced_by(&failures[1]) && failures[0].is_replaced_by(&Next::Pause));
    }
}
