//! The corpus of the RPC's fuzz targets, run as a plain test on every build.

use ringseed_rpc::invariants;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_keeps_what_the_parsers_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, promise) in invariants::ALL {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            // Which input it was stands above the panic.
            eprintln!("{}", path.strip_prefix(&corpus).unwrap().display());
            promise(&std::fs::read(&path).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 5, "{name} has only {inputs} inputs");
    }
    let folders = std::fs::read_dir(&corpus).unwrap().count();
    assert_eq!(folders, invariants::ALL.len(), "each target has its corpus");
}

/// Each input, cut anywhere and with each byte changed: a small fuzzer that runs with the other tests.
#[test]
fn inputs_that_are_cut_or_changed_keep_it_too() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, promise) in invariants::ALL {
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            for place in 0..input.len() {
                promise(&input[..place]);
                let mut changed = input.clone();
                for byte in [0, b'"', b'{', b'=', b'\n', 0xff, input[place] ^ 1] {
                    changed[place] = byte;
                    promise(&changed);
                }
            }
        }
    }
}
