//! Whether there is room left in memory for what is read into the page cache, or each page takes the place of another.

use super::residency::now_ms;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How often it is looked at, in milliseconds.
const INTERVAL_MS: u32 = 1_000;
/// A share of memory of which less than this is free counts as full: the kernel keeps about as much for itself.
const FREE_SHARE: u64 = 32;

/// What was seen last. Shared by all shards.
#[derive(Debug, Default)]
pub struct CacheRoom {
    looked_ms: AtomicU32,
    full: AtomicBool,
    groups: OnceLock<Vec<PathBuf>>,
}

impl CacheRoom {
    /// Whether what is read takes the place of something else. Looks at the machine and at the memory cgroups of this
    /// process once a second, by whichever shard asks first, which takes some tens of microseconds.
    pub fn is_full(&self) -> bool {
        let (now, before) = (now_ms(), self.looked_ms.load(Ordering::Relaxed));
        let due = before == 0 || now.wrapping_sub(before) >= INTERVAL_MS;
        let change =
            || self.looked_ms.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if due && change() {
            let groups = self.groups.get_or_init(own_groups);
            self.full
                .store(machine_is_full() || groups.iter().any(|group| is_full(group)), Ordering::Relaxed);
        }
        self.full.load(Ordering::Relaxed)
    }
}

/// The directories of the memory cgroups that this process is in, its own and those above it. A process that is moved
/// later is not followed.
pub(super) fn own_groups() -> Vec<PathBuf> {
    let Ok(text) = fs::read_to_string("/proc/self/cgroup") else { return Vec::new() };
    groups_of(&text)
}

/// From lines of `/proc/PID/cgroup`: `0::/path` for version 2, `N:controllers:/path` for version 1.
fn groups_of(text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            _ if controllers.split(',').any(|name| name == "memory") => Path::new("/sys/fs/cgroup/memory"),
            _ => continue,
        };
        // In a container the path may be one of the host, which is not to be seen: its own is the root then.
        let own = root.join(path.trim_start_matches('/'));
        let own = if own.is_dir() { own } else { root.to_path_buf() };
        found.extend(own.ancestors().take_while(|at| at.starts_with(root)).map(Path::to_path_buf));
    }
    found
}

/// Whether a group has used up what it may use. The page cache counts as used.
fn is_full(group: &Path) -> bool {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let version_2 = || Some((number("memory.max")?, number("memory.current")?));
    let version_1 = || Some((number("memory.limit_in_bytes")?, number("memory.usage_in_bytes")?));
    version_2().or_else(version_1).is_some_and(|(most, used)| used >= most - most / FREE_SHARE)
}

fn machine_is_full() -> bool {
    fs::read_to_string("/proc/meminfo").is_ok_and(|text| {
        let kilobytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        let (all, free) = (kilobytes("MemTotal:"), kilobytes("MemFree:"));
        all.zip(free).is_some_and(|(all, free)| free < all / FREE_SHARE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found_with_those_above() {
        // One that is not there: the root of what is to be seen.
        for text in ["0::/\n", "0::/no/such/group\n"] {
            assert_eq!(groups_of(text), [PathBuf::from("/sys/fs/cgroup")]);
        }
        let old = groups_of("5:cpu,cpuacct:/x\n4:memory:/no/such\n1:name=systemd:/\n");
        assert_eq!(old, [PathBuf::from("/sys/fs/cgroup/memory")]);
        assert!(groups_of("nonsense\n").is_empty());
    }

    #[test]
    fn a_group_is_full_near_its_bound() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert!(!is_full(group.path()));
        write("memory.current", "3200\n");
        write("memory.max", "max\n");
        assert!(!is_full(group.path()));
        write("memory.max", "3400\n");
        assert!(!is_full(group.path()));
        write("memory.max", "3300\n");
        assert!(is_full(group.path()));
        let old = tempfile::tempdir().unwrap();
        fs::write(old.path().join("memory.limit_in_bytes"), "3300\n").unwrap();
        fs::write(old.path().join("memory.usage_in_bytes"), "3300\n").unwrap();
        assert!(is_full(old.path()));
    }

    #[test]
    fn it_is_looked_at_once_a_second() {
        let room = CacheRoom::default();
        let first = room.is_full();
        // What is believed in between is what was seen.
        room.full.store(!first, Ordering::Relaxed);
        assert_eq!(room.is_full(), !first);
        room.looked_ms.store(now_ms().wrapping_sub(INTERVAL_MS).max(1), Ordering::Relaxed);
        assert_eq!(room.is_full(), first);
    }
}
