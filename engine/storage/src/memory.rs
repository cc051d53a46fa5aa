//! How much memory this process may use, and what of it is for pieces that are being downloaded.

use super::cache_room::own_groups;
use std::fs;
use std::path::{Path, PathBuf};

/// A part of the memory that the process may use, one of so many, is for pieces: what is sent and received, the page
/// cache that disks need, and all else want their parts, too.
const PIECES_SHARE: u64 = 4;
/// Least memory for pieces: with less, hardly any torrent gets on.
const PIECES_MIN: u64 = 16 << 20;
/// Most memory for pieces unless a setting says otherwise: beyond it nothing gets faster.
const PIECES_MAX: u64 = 1 << 30;

/// Bytes that this process may use: what the machine has, or the least bound of its memory cgroups.
pub fn usable() -> u64 {
    bound(machine(), &own_groups())
}

/// Memory for pieces when no setting says how much, of so many usable bytes.
pub fn for_pieces(usable: u64) -> u64 {
    (usable / PIECES_SHARE).clamp(PIECES_MIN, PIECES_MAX)
}

fn bound(machine: u64, groups: &[PathBuf]) -> u64 {
    groups.iter().filter_map(|group| of_group(group)).fold(machine, u64::min)
}

/// The bound of a group; `None` without one. `max`, and the largest number of version 1, are none.
fn of_group(group: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    number("memory.max").or_else(|| number("memory.limit_in_bytes"))
}

fn machine() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map_or(PIECES_MAX * PIECES_SHARE, |kilobytes| kilobytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_bound_of_machine_and_groups_counts() {
        let dir = tempfile::tempdir().unwrap();
        let group = |name: &str, file: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join(file), text).unwrap();
            path
        };
        let free = group("free", "memory.max", "max\n");
        let small = group("small", "memory.max", "268435456\n");
        let old = group("old", "memory.limit_in_bytes", "134217728\n");
        assert_eq!(bound(8 << 30, &[]), 8 << 30);
        assert_eq!(bound(8 << 30, &[free.clone(), dir.path().join("none")]), 8 << 30);
        assert_eq!(bound(8 << 30, &[free, small.clone()]), 256 << 20);
        assert_eq!(bound(8 << 30, &[small, old]), 128 << 20);
        assert_eq!(for_pieces(256 << 20), 64 << 20);
        assert_eq!((for_pieces(1 << 20), for_pieces(1 << 40)), (PIECES_MIN, PIECES_MAX));
        assert!(usable() > 0);
    }
}
