//! Keeps the house in order: imports point down only, every module says what it is, every `unsafe` argues.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources(below: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(below) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for top in ["engine", "gui", "tracker", "benches", "loadtest"] {
        sources(&root().join(top), &mut paths);
    }
    assert!(paths.len() > 50, "the sources were not found");
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (relative(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// What a part of the tree may name in its code: crates of the workspace, and modules of the engine.
/// The first row whose prefix fits a file counts.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("engine/proto/fuzz/", &["ringseed_proto"]),
    ("engine/proto/", &[]),
    ("engine/ring/", &[]),
    ("engine/api/", &[]),
    ("engine/src/create/", &["ringseed_proto"]),
    ("engine/src/net/", &["ringseed_proto", "ringseed_ring", "limits", "net", "config", "route"]),
    ("engine/src/storage/", &["ringseed_proto", "ringseed_ring", "executor", "limits", "storage"]),
    ("engine/src/announce/", &["ringseed_proto", "ringseed_ring", "limits", "announce", "route"]),
    (
        "engine/src/shard/",
        &[
            "ringseed_proto",
            "ringseed_ring",
            "executor",
            "limits",
            "descriptors",
            "config",
            "route",
            "net",
            "storage",
            "announce",
            "shard",
        ],
    ),
    (
        "engine/src/control/",
        &[
            "ringseed_api",
            "ringseed_proto",
            "ringseed_ring",
            "limits",
            "config",
            "route",
            "control",
            "create",
            "net",
            "shard",
            "storage",
            "announce",
        ],
    ),
    ("gui/", &["ringseed_api", "ringseed_gui"]),
    ("tracker/", &["ringseed_proto", "ringseed_ring", "ringseed_api", "ringseed_tracker"]),
    ("loadtest/", &["ringseed_proto", "ringseed_ring", "ringseed_api", "ringseed_loadtest"]),
];

const CRATES: &[&str] = &[
    "ringseed_proto",
    "ringseed_ring",
    "ringseed_api",
    "ringseed_tracker",
    "ringseed_loadtest",
    "ringseed_gui",
    "ringseed",
];

const ENGINE_MODULES: &[&str] = &[
    "announce",
    "cli",
    "config",
    "control",
    "create",
    "descriptors",
    "executor",
    "limits",
    "net",
    "preflight",
    "route",
    "shard",
    "startup",
    "storage",
    "turns",
];

/// The workspace crates and engine modules that a line of code names by path.
fn named(file: &str, line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or("");
    let mut found = Vec::new();
    for name in CRATES {
        let path = format!("{name}::");
        let starts = code.match_indices(&path).filter(|(at, _)| {
            !code[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
        });
        if starts.count() > 0 {
            found.push((*name).to_owned());
        }
    }
    if file.starts_with("engine/src/") {
        for name in ENGINE_MODULES {
            if code.contains(&format!("crate::{name}")) {
                found.push((*name).to_owned());
            }
        }
    }
    found
}

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for (file, text) in all_sources() {
        let in_tests_folder = file.contains("/tests/") && !file.contains("/src/");
        let Some((_, may)) = MAY_KNOW.iter().find(|(prefix, _)| file.starts_with(prefix)) else { continue };
        let own_crate = format!("ringseed_{}", file.split('/').nth(1).unwrap_or(""));
        for (number, line) in text.lines().enumerate() {
            for name in named(&file, line) {
                let own = in_tests_folder && name == own_crate;
                let own_lib = name == own_crate && file.ends_with("main.rs");
                if !may.contains(&name.as_str()) && !own && !own_lib {
                    wrong.push(format!("{file}:{}: {name}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers of ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn an_upward_import_is_found() {
    assert_eq!(named("engine/proto/src/x.rs", "use ringseed_ring::Ring;"), ["ringseed_ring"]);
    assert_eq!(named("engine/src/net/x.rs", "use crate::shard::Shard;"), ["shard"]);
    assert_eq!(named("gui/src/x.rs", "let engine = ringseed::Engine::start();"), ["ringseed"]);
    assert!(named("engine/src/net/x.rs", "// crate::shard is above").is_empty());
}

#[test]
fn every_module_says_what_it_is() {
    let mute: Vec<String> = all_sources()
        .into_iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(file, _)| file)
        .collect();
    assert!(mute.is_empty(), "modules without a `//!` as their first line:\n{}", mute.join("\n"));
}

#[test]
fn every_unsafe_block_argues_its_safety() {
    let mut silent = Vec::new();
    for (file, text) in all_sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("").replace("unsafe_", "");
            let words = code.contains("unsafe {") || code.contains("unsafe impl");
            if !words || file.ends_with("tests/tidy.rs") {
                continue;
            }
            // The argument stands on the lines just above, or at the end of the line itself.
            let above = lines[number.saturating_sub(8)..=number].iter();
            if !above.clone().any(|line| line.contains("SAFETY:")) {
                silent.push(format!("{file}:{}", number + 1));
            }
        }
    }
    assert!(silent.is_empty(), "`unsafe` without a SAFETY argument:\n{}", silent.join("\n"));
}

#[test]
fn no_module_is_named_after_nothing() {
    let vague: Vec<String> = all_sources()
        .into_iter()
        .map(|(file, _)| file)
        .filter(|file| {
            let stem = Path::new(file).file_stem().unwrap().to_string_lossy().into_owned();
            ["utils", "util", "common", "misc", "helpers", "manager"].contains(&stem.as_str())
        })
        .collect();
    assert!(vague.is_empty(), "{}", vague.join("\n"));
}
