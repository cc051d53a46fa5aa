//! Making torrents of files: what is found below a path, hashed on some threads. For the command line, whose user may read
//! what the system lets him, and for the RPC, whose clients are kept below some directories.

mod content;
mod output;
mod place;

pub use content::{Content, ContentFile};
pub use output::Output;
use ringseed_proto::create::{CreateError, CreatePlan, PieceHasher};
use ringseed_proto::units::BLOCK_LEN;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes that a thread takes at once: seconds of work, so that taking costs nothing, and no long tail.
const RANGE_BYTES: u64 = 32 << 20;

/// Why no torrent was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateFailure {
    /// Something cannot be looked at.
    #[error("cannot share {}: {error}", .path.display())]
    Share {
        /// It.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Something is not to be shared.
    #[error("cannot share {}: {reason}", .path.display())]
    Unusable {
        /// It.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file changed.
    #[error("{} changed while it was hashed; try again when it is finished", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A piece length that other clients do not take.
    #[error("{0}: other clients take powers of two from 16K only, such as 256K or 1M")]
    PieceLength(u32),
    /// The content does not fit a torrent.
    #[error("cannot make the torrent: {0}")]
    Plan(#[from] CreateError),
    /// The torrent file cannot be written.
    #[error("cannot write {}: {reason}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was called off.
    #[error("interrupted")]
    Cancelled,
    /// A thread panicked.
    #[error("a hashing thread ended unexpectedly")]
    Thread,
}

impl CreateFailure {
    fn share(path: &Path, error: io::Error) -> Self {
        Self::Share { path: path.into(), error }
    }

    fn unusable(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unusable { path: path.into(), reason: reason.into() }
    }
}

/// Whether `path` is below one of these directories, as it is written.
///
/// # Errors
/// It is not; the text names the directories.
pub fn check_allowed(allowed: &[PathBuf], path: &Path) -> Result<(), CreateFailure> {
    place::check_allowed(allowed, path).map(|_| ())
}

/// The layout of the torrent of `content`. The piece length is automatic when it is `None`.
///
/// # Errors
/// When the content or the piece length does not fit a torrent.
pub fn plan(content: &Content, piece_length: Option<u32>) -> Result<CreatePlan, CreateFailure> {
    if let Some(length) = piece_length.filter(|length| !length.is_power_of_two() || *length < BLOCK_LEN) {
        return Err(CreateFailure::PieceLength(length));
    }
    let planned = match &content.files[..] {
        [file] if file.path.components().count() == 1 => {
            CreatePlan::file(file.path.as_os_str(), file.length, piece_length)
        }
        files => {
            let name = files.first().and_then(|file| file.path.iter().next()).ok_or(CreateError::Empty)?;
            let below = files.iter().map(|file| {
                let path = file.path.strip_prefix(name).unwrap_or(&file.path);
                (path.to_owned(), file.length)
            });
            CreatePlan::folder(name, below, piece_length)
        }
    };
    let plan = planned?;
    debug_assert!(
        plan.layout().files.iter().zip(&content.files).all(|(planned, file)| planned.path == file.path)
    );
    Ok(plan)
}

/// The hashes of all pieces, computed on so many threads. `advance` is told of bytes as they are hashed; when `stop`
/// says so, it ends.
///
/// # Errors
/// The first file that cannot be read, or that is not what it was when it was found.
pub fn hash(
    plan: &CreatePlan,
    content: &Content,
    threads: usize,
    advance: &(dyn Fn(u64) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<[u8; 20]>, CreateFailure> {
    let ranges: Vec<_> = plan.ranges(RANGE_BYTES).collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(range) = ranges.get(index)
        {
            let mut open = OpenFile::None;
            let read = |file: usize, offset: u64, buffer: &mut [u8]| {
                if stop() || failed.load(Ordering::Relaxed) {
                    return Err(CreateFailure::Cancelled);
                }
                let Some(source) = content.files.get(file) else { return Err(CreateFailure::Thread) };
                open.of(file, source, content)
                    .and_then(|opened| opened.read_exact_at(buffer, offset))
                    .map_err(|error| unreadable(source, error))
            };
            let hashed = PieceHasher::new(plan.layout()).hash(range.clone(), read, advance);
            done.push((index, hashed.inspect_err(|_| failed.store(true, Ordering::Relaxed))?));
        }
        Ok(done)
    };
    let results: Vec<Result<Vec<_>, CreateFailure>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(ranges.len())).map(|_| scope.spawn(work)).collect();
        let mut results = vec![work()];
        results.extend(others.into_iter().map(|thread| thread.join().unwrap_or(Err(CreateFailure::Thread))));
        results
    });
    let mut parts = Vec::new();
    let mut failure = None;
    for result in results {
        match result {
            Ok(hashed) => parts.extend(hashed),
            // The threads that were called off because of it do not hide the cause.
            Err(error) if matches!(failure, None | Some(CreateFailure::Cancelled)) => failure = Some(error),
            Err(_) => {}
        }
    }
    match (failure, content.changed()) {
        (Some(failure), _) => Err(failure),
        (None, Some(changed)) => Err(CreateFailure::Changed { path: changed.source.clone() }),
        (None, None) => {
            parts.sort_unstable_by_key(|(index, _)| *index);
            Ok(parts.into_iter().flat_map(|(_, hashes)| hashes).collect())
        }
    }
}

/// The file that a thread reads, kept open from one read to the next.
enum OpenFile {
    None,
    One { index: usize, file: File },
}

impl OpenFile {
    fn of(&mut self, wanted: usize, source: &ContentFile, content: &Content) -> io::Result<&File> {
        if !matches!(self, Self::One { index, .. } if *index == wanted) {
            *self = Self::One { index: wanted, file: content.open(source)? };
        }
        match self {
            Self::One { file, .. } => Ok(file),
            Self::None => Err(ErrorKind::NotFound.into()),
        }
    }
}

fn unreadable(source: &ContentFile, error: io::Error) -> CreateFailure {
    let error = match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it became shorter while it was hashed"),
        _ => error,
    };
    CreateFailure::Read { path: source.source.clone(), error }
}
