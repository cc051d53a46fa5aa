//! The seccomp profiles: what containers have by default, and io_uring.

use crate::text;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const IO_URING: [&str; 3] = ["io_uring_enter", "io_uring_register", "io_uring_setup"];

fn profile(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

fn names(rule: &Value) -> BTreeSet<String> {
    rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn has(rule: &Value, condition: &str, kind: &str) -> bool {
    rule[condition][kind].as_array().is_some_and(|values| !values.is_empty())
}

/// Rules for a container without capabilities on x86-64 or arm64, without the conditions that only Docker and Podman
/// know: one set of names for each result that needs no look at arguments, and the rules that do.
fn flat(profile: &Value) -> (BTreeMap<String, BTreeSet<String>>, Vec<Value>) {
    let mut plain: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut others = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let here = |arch: &Value| *arch == "amd64" || *arch == "arm64";
        let elsewhere = has(rule, "includes", "arches")
            && !rule["includes"]["arches"].as_array().unwrap().iter().any(here);
        if elsewhere || has(rule, "includes", "caps") {
            continue;
        }
        assert!(!has(rule, "excludes", "arches"), "{rule}");
        match rule["args"].as_array() {
            Some(args) if !args.is_empty() => {
                let errno = rule["errnoRet"].clone();
                others.push(json!([rule["names"], rule["action"], errno, args]));
            }
            _ => {
                let result = format!("{} {}", rule["action"].as_str().unwrap(), rule["errnoRet"]);
                plain.entry(result).or_default().extend(names(rule));
            }
        }
    }
    // What is refused is not allowed, too: runtimes read such a profile differently.
    let refused: BTreeSet<String> = plain
        .iter()
        .filter(|(result, _)| !result.starts_with("SCMP_ACT_ALLOW"))
        .flat_map(|(_, names)| names.clone())
        .collect();
    for (result, names) in &mut plain {
        if result.starts_with("SCMP_ACT_ALLOW") {
            names.retain(|name| !refused.contains(name));
        }
    }
    (plain, others)
}

#[test]
fn both_allow_io_uring_and_what_the_engine_calls() {
    for path in ["container/seccomp.json", "kubernetes/base/seccomp.json"] {
        let profile = profile(path);
        let (plain, _) = flat(&profile);
        let allowed = &plain["SCMP_ACT_ALLOW null"];
        for name in IO_URING.iter().chain(&["mincore", "madvise", "openat2", "sched_setaffinity", "statx"]) {
            assert!(allowed.contains(*name), "{path} lacks {name}");
        }
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO", "{path}");
        for name in ["init_module", "kexec_load", "bpf"] {
            assert!(!allowed.contains(name), "{path} allows {name}");
        }
    }
}

#[test]
fn the_flat_one_says_the_same() {
    let (container, pod) = (profile("container/seccomp.json"), profile("kubernetes/base/seccomp.json"));
    assert_eq!(flat(&container), flat(&pod));
    for rule in pod["syscalls"].as_array().unwrap() {
        assert!(rule.get("includes").is_none() && rule.get("excludes").is_none(), "{rule}");
    }
    for key in ["defaultAction", "defaultErrnoRet"] {
        assert_eq!(container[key], pod[key]);
    }
}
