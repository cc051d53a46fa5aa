//! What the kernel says about a process under measurement, read from outside.

use std::{fs, io, path::Path};

pub use ringseed_loadtest::seeder_process::{Memory, memory};

/// While it lives this process, and what it starts, run before the ordinary ones of the machine: what those do is not what is
/// measured.
#[derive(Debug)]
pub struct Urgent {
    /// What the kernel gave to all of this session before, where sessions are groups.
    session_nice: Option<String>,
}

const SESSION: &str = "/proc/self/autogroup";

/// Asks the kernel for that.
///
/// # Errors
/// The process may not (`CAP_SYS_NICE`).
pub fn become_urgent() -> io::Result<Urgent> {
    const NICE_MIN: i32 = -20;
    rustix::process::setpriority_process(None, NICE_MIN)?;
    // The kernel shares between sessions first. The file reads as `/autogroup-12 nice 0`.
    let session = fs::read_to_string(SESSION).unwrap_or_default();
    let Some((_, before)) = session.trim().rsplit_once("nice ") else {
        return Ok(Urgent { session_nice: None });
    };
    fs::write(SESSION, NICE_MIN.to_string())?;
    Ok(Urgent { session_nice: Some(before.to_owned()) })
}

impl Drop for Urgent {
    fn drop(&mut self) {
        if let Some(before) = &self.session_nice {
            let _ = fs::write(SESSION, before);
        }
    }
}

/// CPU seconds of all living threads of process `pid`, to the nanosecond: the ticks of `/proc/PID/stat` are too
/// coarse for a process that does next to nothing.
///
/// # Errors
/// The process is gone, or the kernel keeps no schedule statistics.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let mut nanoseconds = 0u64;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_ascii_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        nanoseconds += first.ok_or_else(|| io::Error::other("schedstat does not read as expected"))?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Descriptors of process `pid` that are open on files below `directory`, not counting directories.
///
/// # Errors
/// The process is gone.
pub fn files_open_below(pid: u32, directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed between the listing and the look.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        count += usize::from(target.starts_with(directory) && !target.is_dir());
    }
    Ok(count)
}

/// Descriptors of process `pid`.
///
/// # Errors
/// The process is gone.
pub fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Maps of process `pid` of files below `directory`.
///
/// # Errors
/// The process is gone.
pub fn maps_below(pid: u32, directory: &Path) -> io::Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let prefix = format!("{}/", directory.display());
    Ok(maps.lines().filter(|line| line.contains(&prefix)).count())
}

/// Bytes that process `pid` had storage read for it, by whatever path: reads, read-ahead, page faults.
///
/// # Errors
/// The process is gone, or the kernel keeps no such count.
pub fn disk_read_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok());
    value.ok_or_else(|| io::Error::other("no read_bytes in the process's io"))
}

/// Threads of process `pid` that would have been counted by [`cpu_seconds`].
///
/// # Errors
/// The process is gone.
pub fn threads(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn this_process_burns_time_and_has_files() {
        let pid = std::process::id();
        let before = cpu_seconds(pid).unwrap();
        let mut sum = 0u64;
        while cpu_seconds(pid).unwrap() <= before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        assert_eq!(files_open_below(pid, &path).unwrap(), 0);
        let _directory = File::open(&path).unwrap();
        let _file = File::create(path.join("a")).unwrap();
        assert_eq!(files_open_below(pid, &path).unwrap(), 1);
        assert_eq!(maps_below(pid, &path).unwrap(), 0);
        assert!(descriptors(pid).unwrap() >= 2 && threads(pid).unwrap() >= 1);
        assert!(disk_read_bytes(pid).is_ok() && disk_read_bytes(u32::MAX).is_err());
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
