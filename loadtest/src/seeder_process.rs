//! CPU time and memory of the seeder, read from outside through `/proc`.

use std::{fs, io};

use serde::Serialize;

/// Memory of a process, in bytes. File-backed memory is shared page cache and is told apart on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Memory {
    /// Anonymous resident memory.
    pub anon: u64,
    /// Resident memory of mapped files.
    pub file: u64,
    /// Resident shared memory (tmpfs files that are mapped count here).
    pub shmem: u64,
}

/// User plus system CPU seconds of all threads of process `pid`, past ones included; ticks of 10 ms.
///
/// # Errors
/// The process is gone or its `/proc` entry does not read as expected.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // SAFETY: sysconf has no preconditions.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
    let ticks = cpu_ticks(&stat).ok_or_else(|| unexpected(pid, "stat"))?;
    Ok(ticks as f64 / ticks_per_second)
}

/// Resident memory of process `pid`.
///
/// # Errors
/// The process is gone or its `/proc` entry does not read as expected.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_memory(&status).ok_or_else(|| unexpected(pid, "status"))
}

fn unexpected(pid: u32, file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/{file} does not read as expected"))
}

/// utime + stime of a `stat` line. The command name may hold spaces and parentheses: count from the last one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let bytes = |key: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { anon: bytes("RssAnon:")?, file: bytes("RssFile:")?, shmem: bytes("RssShmem:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_after_a_name_with_parentheses() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 250 125 0 0 20 0 4 0 1000 0 0";
        assert_eq!(cpu_ticks(stat), Some(375));
        assert_eq!(cpu_ticks("42 (short) S 1"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn memory_in_kilobytes() {
        let status = "Name:\tx\nRssAnon:\t     100 kB\nRssFile:\t 2 kB\nRssShmem:\t0 kB\n";
        assert_eq!(parse_memory(status), Some(Memory { anon: 102_400, file: 2048, shmem: 0 }));
        assert_eq!(parse_memory("RssAnon: 1 kB\n"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_ok());
        assert!(memory(pid).expect("own memory").anon > 0);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
