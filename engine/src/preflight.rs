//! What an engine needs of the system, looked at before anything starts: each lack is one clear error.

use crate::descriptors::LIMIT_MIN;
use ringseed_ring::{ProbeError, Ring};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Locked memory that each executor asks for; glommio refuses to start below it.
const MEMLOCK_MIN: u64 = 512 * 1024;

/// What is missing.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// io_uring is missing, forbidden or too old.
    #[error("{0}")]
    IoUring(#[from] ProbeError),
    /// RLIMIT_MEMLOCK is too small.
    #[error(
        "the locked-memory limit is {have} KiB, and io_uring needs {need} KiB: raise it with `ulimit -l unlimited`, \
         `LimitMEMLOCK=infinity` (systemd), `--ulimit memlock=-1` (Docker, Podman) or /etc/security/limits.conf"
    )]
    MemoryLock {
        /// The limit in KiB.
        have: u64,
        /// What is needed in KiB.
        need: u64,
    },
    /// RLIMIT_NOFILE is too small.
    #[error(
        "only {have} files may be open at once, and the engine needs {need}: raise it with `ulimit -n 20000`, \
         `LimitNOFILE=` (systemd) or `--ulimit nofile=20000:20000` (Docker, Podman)"
    )]
    OpenFiles {
        /// The limit.
        have: u64,
        /// What is needed.
        need: u64,
    },
}

/// Raises soft limits to the hard ones and checks that an engine can run. Gives how many files may be open at once.
///
/// # Errors
/// See [`PreflightError`].
pub fn check() -> Result<u64, PreflightError> {
    let nofile = raise(Resource::Nofile);
    if nofile < LIMIT_MIN {
        return Err(PreflightError::OpenFiles { have: nofile, need: LIMIT_MIN });
    }
    let memlock = raise(Resource::Memlock);
    if memlock < MEMLOCK_MIN {
        return Err(PreflightError::MemoryLock { have: memlock / 1024, need: MEMLOCK_MIN / 1024 });
    }
    Ring::probe()?;
    Ok(nofile)
}

/// Raises a soft limit to its hard limit; gives what holds then.
fn raise(resource: Resource) -> u64 {
    let limit = getrlimit(resource);
    let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(resource).current.unwrap_or(u64::MAX)
}
