//! The manifests: kustomize makes them, they fit the schemas of Kubernetes and each other, and torrents are spread evenly.

use crate::{deploy, python, run};
use std::collections::BTreeMap;
use std::process::Command;

#[test]
fn manifests_fit_the_schemas_and_each_other() {
    let said = run(Command::new(python()).arg(deploy("kubernetes/validate.py")));
    for folder in ["base", "monitoring", "loadtest"] {
        assert!(said.contains(&format!("{folder}: ")), "{said}");
    }
}

/// Which engine each torrent is for.
fn spread(replicas: u32, hashes: &[String]) -> BTreeMap<String, u32> {
    let mut command = Command::new("bash");
    command.arg(deploy("kubernetes/spread.sh")).arg(replicas.to_string()).args(hashes);
    let said = run(&mut command);
    said.lines()
        .map(|line| {
            let (engine, hash) = line.split_once(' ').unwrap();
            (hash.to_owned(), engine.parse().unwrap())
        })
        .collect()
}

#[test]
fn torrents_are_spread_evenly_and_few_move_when_an_engine_comes() {
    let hashes: Vec<String> =
        (0..60u64).map(|n| format!("{:040x}", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let (four, five) = (spread(4, &hashes), spread(5, &hashes));
    assert_eq!((four.len(), five.len()), (hashes.len(), hashes.len()));
    for engine in 0..4 {
        let count = four.values().filter(|value| **value == engine).count();
        assert!((5..=30).contains(&count), "engine {engine} has {count} of {}", hashes.len());
    }
    let moved: Vec<_> = hashes.iter().filter(|hash| four[*hash] != five[*hash]).collect();
    assert!(!moved.is_empty() && moved.len() <= 30, "{} moved", moved.len());
    assert!(moved.iter().all(|hash| five[*hash] == 4), "one moved between engines that stay");
    assert_eq!(spread(1, &hashes[..3]).into_values().collect::<Vec<_>>(), [0, 0, 0]);
}
