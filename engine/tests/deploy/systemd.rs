//! The units: systemd finds nothing wrong, and what they forbid is nothing that the engine needs.

use crate::{deploy, run, text};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const UNITS: [&str; 2] = ["ringseed.service", "ringseed-tracker.service"];

#[test]
fn systemd_finds_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for unit in UNITS {
        // The programs need not be installed.
        let here = text(&format!("systemd/{unit}"))
            .replace("/usr/bin/ringseed-tracker", env!("CARGO_BIN_EXE_ringseed"))
            .replace("/usr/bin/ringseed ", concat!(env!("CARGO_BIN_EXE_ringseed"), " "));
        let path = dir.path().join(unit);
        std::fs::write(&path, here).unwrap();
        let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
        assert_eq!(said.trim(), "", "{unit}");
    }
}

#[test]
fn the_units_are_hardened() {
    for unit in UNITS {
        // In tenths: systemd calls up to 2 OK or better; that of an ordinary service is above 9.
        run(Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
            .arg(deploy("systemd").join(unit)));
    }
}

/// The system calls of each of systemd's sets.
fn sets() -> BTreeMap<String, Vec<String>> {
    let said = run(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]));
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in said.lines() {
        match (line.starts_with('@'), line.strip_prefix("    ").filter(|name| !name.starts_with('#'))) {
            (true, _) => current = Some(line.to_owned()),
            (false, Some(name)) => {
                if let Some(set) = &current {
                    sets.entry(set.clone()).or_default().push(name.to_owned());
                }
            }
            // Names that no set has are listed at the end, as comments.
            (false, None) if line.starts_with('#') => current = None,
            _ => {}
        }
    }
    sets
}

fn expanded(sets: &BTreeMap<String, Vec<String>>, name: &str) -> BTreeSet<String> {
    match sets.get(name) {
        None => [name.to_owned()].into(),
        Some(names) => names.iter().flat_map(|name| expanded(sets, name)).collect(),
    }
}

/// What `SystemCallFilter=` of a unit leaves.
fn allowed(unit: &str) -> BTreeSet<String> {
    let sets = sets();
    let mut allowed = BTreeSet::new();
    for line in text(&format!("systemd/{unit}")).lines() {
        let Some(filter) = line.strip_prefix("SystemCallFilter=") else { continue };
        let (forbids, filter) = filter.strip_prefix('~').map_or((false, filter), |filter| (true, filter));
        for name in filter.split_whitespace().flat_map(|name| expanded(&sets, name)) {
            if forbids {
                allowed.remove(&name);
            } else {
                allowed.insert(name);
            }
        }
    }
    assert!(allowed.len() > 200, "{unit}: {allowed:?}");
    allowed
}

#[test]
fn a_seed_and_a_download_call_nothing_that_the_units_forbid() {
    let dir = tempfile::tempdir().unwrap();
    let counts = dir.path().join("calls");
    run(Command::new("strace")
        .args(["-f", "-qq", "-c", "-U", "name", "-o"])
        .arg(&counts)
        .arg(env!("CARGO_BIN_EXE_ringseed"))
        .args(["demo", "--size", "8M", "--dir"])
        .arg(dir.path()));
    let counts = std::fs::read_to_string(counts).unwrap();
    let called: BTreeSet<&str> = counts
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('-') && !["syscall", "total", ""].contains(line))
        .collect();
    assert!(called.contains("io_uring_enter") && called.contains("mincore"), "{called:?}");
    // The demo has a tracker in itself.
    for (unit, of_others) in [(UNITS[0], &[][..]), (UNITS[1], &["mincore"])] {
        let allowed = allowed(unit);
        let forbidden: Vec<_> =
            called.iter().filter(|name| !allowed.contains(**name) && !of_others.contains(name)).collect();
        assert!(forbidden.is_empty(), "{unit} forbids {forbidden:?}");
    }
}
