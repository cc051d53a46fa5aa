//! The corpus of the fuzz targets, run as a plain test: what once broke a parser, or reaches a corner of it, is
//! tried on every build.
#![allow(clippy::disallowed_methods, reason = "the corpus is in files, and this is a test")]

#[path = "../fuzz/properties.rs"]
mod properties;

use std::path::Path;

#[test]
fn every_input_of_the_corpus_keeps_what_the_parsers_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let folder = entry.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let (_, property) = properties::ALL
            .iter()
            .find(|(target, _)| *target == name)
            .unwrap_or_else(|| panic!("{name} is the corpus of no target"));
        let mut inputs = 0;
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            // Which input it was stands above the panic.
            eprintln!("{}", path.strip_prefix(&corpus).unwrap().display());
            property(&std::fs::read(&path).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 5, "{name} has only {inputs} inputs");
        folders += 1;
    }
    assert_eq!(folders, properties::ALL.len(), "each target has its corpus");
}
