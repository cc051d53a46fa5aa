//! Room on file systems, asked beside the control thread: one whose server or disk is gone answers never.

use super::limits::{DISK_PATIENCE, SPACE_LOOKS_MAX};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::timeout;

/// Why the room on a file system is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpaceError {
    /// The file system does not answer, or others do not and nobody can wait for one more.
    #[error("the file system does not answer")]
    NoAnswer,
    /// There is no such path, or it may not be looked at.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The look itself ended early.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// Looks at file systems: a few at once, for each that gets no answer keeps a thread.
pub(super) struct Spaces(Arc<Semaphore>);

impl Default for Spaces {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SPACE_LOOKS_MAX)))
    }
}

impl Spaces {
    /// Bytes free for this user at a path, and bytes in all.
    ///
    /// # Errors
    /// What is wrong with the path, or that its file system does not answer.
    pub(super) async fn of(&self, path: PathBuf) -> Result<(i64, i64), SpaceError> {
        self.look(move || space(&path)).await
    }

    async fn look(
        &self,
        look: impl FnOnce() -> io::Result<(i64, i64)> + Send + 'static,
    ) -> Result<(i64, i64), SpaceError> {
        let place = self.0.clone().try_acquire_owned().map_err(|_| SpaceError::NoAnswer)?;
        let look = tokio::task::spawn_blocking(move || {
            let found = look();
            drop(place);
            found
        });
        match timeout(DISK_PATIENCE, look).await {
            Ok(found) => Ok(found??),
            Err(_) => Err(SpaceError::NoAnswer),
        }
    }
}

/// Bytes free for this user and bytes in all.
pub(super) fn space(path: &Path) -> io::Result<(i64, i64)> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// A look that ends with `stuck`.
    async fn hang(spaces: &Spaces, stuck: &mut Vec<Sender<()>>) -> Result<(i64, i64), SpaceError> {
        let (end, ended) = channel();
        stuck.push(end);
        let look = move || {
            let _ = ended.recv();
            Ok((1, 1))
        };
        spaces.look(look).await
    }

    /// A network share whose server was gone held the control thread with `session-get` and `free-space`.
    #[tokio::test]
    async fn a_file_system_that_does_not_answer_holds_up_nothing_and_keeps_few_threads() {
        let spaces = Spaces::default();
        let mut stuck = Vec::new();
        assert!(matches!(hang(&spaces, &mut stuck).await, Err(SpaceError::NoAnswer)));
        assert!(spaces.of("/".into()).await.unwrap().1 > 0, "others do");
        while spaces.0.available_permits() > 0 {
            let _ = timeout(std::time::Duration::from_millis(1), hang(&spaces, &mut stuck)).await;
        }
        assert_eq!(stuck.len(), SPACE_LOOKS_MAX);
        assert!(matches!(spaces.of("/".into()).await, Err(SpaceError::NoAnswer)));
        stuck.clear();
        while spaces.0.available_permits() < SPACE_LOOKS_MAX {
            tokio::task::yield_now().await;
        }
        assert!(spaces.of("/".into()).await.is_ok());
        assert!(matches!(spaces.of("/no/such/directory".into()).await, Err(SpaceError::Io(_))));
    }
}
