//! What the kernel says about this process.

use std::fs;

/// Memory in bytes and descriptors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Resident memory that belongs to the process alone.
    pub(super) anonymous_bytes: u64,
    /// Resident pages of files: for a seed mostly the data it serves, which the kernel may drop.
    pub(super) file_bytes: u64,
    /// Resident memory shared with others.
    pub(super) shared_bytes: u64,
    /// Open descriptors.
    pub(super) open_fds: u64,
    /// How many there may be.
    pub(super) max_fds: u64,
}

impl Process {
    /// Reads `/proc/self`; what cannot be read is 0.
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self {
            anonymous_bytes: kilobytes(&status, "RssAnon:"),
            file_bytes: kilobytes(&status, "RssFile:"),
            shared_bytes: kilobytes(&status, "RssShmem:"),
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            max_fds: limit.unwrap_or(u64::MAX),
        }
    }
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let process = Process::read();
        assert!(process.anonymous_bytes > 0 && process.file_bytes > 0);
        assert!(process.open_fds > 2 && process.max_fds >= process.open_fds);
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(kilobytes("Name: x\nRssAnon:\t   12 kB\n", "RssAnon:"), 12288);
        assert_eq!(kilobytes("Name: x\n", "RssAnon:"), 0);
    }
}
