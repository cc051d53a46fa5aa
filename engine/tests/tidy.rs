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

/// The crates of the workspace that each of its crates may depend on, outside of its tests.
const CRATES: &[(&str, &[&str])] = &[
    ("engine/proto", &[]),
    ("engine/ring", &[]),
    ("engine/api", &[]),
    ("engine/net", &["ringseed-proto", "ringseed-ring"]),
    ("engine/storage", &["ringseed-proto", "ringseed-ring"]),
    // What it asks of `net` is the way out: interface, address and proxy hold for trackers as for peers.
    ("engine/announce", &["ringseed-proto", "ringseed-ring", "ringseed-net"]),
    ("engine/create", &["ringseed-proto"]),
    ("engine/handle", &["ringseed-proto", "ringseed-ring", "ringseed-net", "ringseed-storage"]),
    (
        "engine/rpc",
        &[
            "ringseed-api",
            "ringseed-handle",
            "ringseed-proto",
            "ringseed-ring",
            "ringseed-net",
            "ringseed-announce",
            "ringseed-create",
        ],
    ),
    ("gui", &["ringseed-api"]),
    ("tracker", &["ringseed-proto", "ringseed-ring", "ringseed-api"]),
    ("loadtest", &["ringseed-proto", "ringseed-ring", "ringseed-api"]),
];

#[test]
fn crates_depend_on_lower_ones_only() {
    for (folder, may) in CRATES {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
        let own = rest.split("\n[").next().unwrap().lines().filter_map(|line| line.split([' ', '=']).next());
        for name in own.filter(|name| name.starts_with("ringseed")) {
            assert!(may.contains(&name), "{folder} depends on {name}, against the layers of ARCHITECTURE.md");
        }
    }
}

/// What a part of the engine's own crate may name in its code: crates of the workspace, and modules of the crate.
const MAY_KNOW: &[(&str, &[&str])] = &[
    (
        "shard",
        &[
            "ringseed_proto",
            "ringseed_ring",
            "ringseed_net",
            "ringseed_storage",
            "ringseed_handle",
            "limits",
            "descriptors",
            "config",
            "shard",
        ],
    ),
    (
        "control",
        &[
            "ringseed_proto",
            "ringseed_ring",
            "ringseed_net",
            "ringseed_storage",
            "ringseed_announce",
            "ringseed_handle",
            "limits",
            "config",
            "control",
            "shard",
        ],
    ),
];

const ENGINE_MODULES: &[&str] =
    &["cli", "config", "control", "descriptors", "limits", "preflight", "shard", "startup", "turns"];

/// The workspace crates and engine modules that a line of code names by path.
fn named(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or("");
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let words = code.match_indices("ringseed").filter(|(at, _)| !code[..*at].ends_with(is_name));
    let crates = words.filter_map(|(at, _)| {
        let end = code[at..].find(|c| !is_name(c))?;
        code[at + end..].starts_with("::").then(|| code[at..at + end].to_owned())
    });
    let modules = ENGINE_MODULES.iter().filter(|name| code.contains(&format!("crate::{name}")));
    crates.chain(modules.map(|name| (*name).to_owned())).collect()
}

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for (file, text) in all_sources() {
        let part = file.strip_prefix("engine/src/").and_then(|rest| rest.split_once('/'));
        let Some((_, may)) = MAY_KNOW.iter().find(|(name, _)| part.is_some_and(|(part, _)| part == *name))
        else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            for name in named(line).into_iter().filter(|name| !may.contains(&name.as_str())) {
                wrong.push(format!("{file}:{}: {name}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers of ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn an_upward_import_is_found() {
    assert_eq!(named("use ringseed_ring::Ring;"), ["ringseed_ring"]);
    assert_eq!(named("use crate::shard::Shard;"), ["shard"]);
    assert_eq!(named("let engine = ringseed::Engine::start();"), ["ringseed"]);
    assert!(named("// crate::shard is above").is_empty() && named("my_ringseed::x").is_empty());
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
