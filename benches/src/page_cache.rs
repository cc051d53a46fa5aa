//! Making data cold.

use std::{fs::File, io, os::fd::AsRawFd, path::Path};

/// Drops a file from the page cache, after what was written to it has reached the disk.
///
/// # Errors
/// It cannot be opened or written back, or lies where nothing can be dropped.
pub fn forget(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    // SAFETY: advice about a descriptor that is open; no memory is involved.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
