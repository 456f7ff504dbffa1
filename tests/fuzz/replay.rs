//! What fuzzing found, and what it began with, in every run: `tests/fuzz/corpus/TARGET/*`.
//!
//! The targets are those that libFuzzer calls. A file that broke something once stays here.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use report::{Tried, row};

#[path = "../report/mod.rs"]
mod report;
mod targets;

#[test]
fn every_file_of_every_corpus_keeps_what_its_target_promises() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut counts = Vec::new();
    let mut broken = Vec::new();
    for (name, target) in targets::TARGETS {
        let mut files: Vec<_> =
            fs::read_dir(corpora.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 10, "{name} has {} files only", files.len());
        for file in &files {
            let data = fs::read(file).unwrap();
            if catch_unwind(AssertUnwindSafe(|| target(&data))).is_err() {
                broken.push(file.display().to_string());
            }
        }
        counts.push((files.len() as u64, name));
    }
    assert_eq!(broken, Vec::<String>::new(), "each on its own says why: the panics above");
    row(&Tried {
        name: "60-fuzz",
        what: "what fuzzing began with and found, replayed (executions: `tests/fuzz/totals.md`)",
        counts,
        found: "nothing is broken".to_owned(),
        seed: "the files".to_owned(),
    });
}

/// What cargo-fuzz builds and what is replayed here are the same targets.
#[test]
fn every_target_is_built_and_replayed() {
    let manifest = include_str!("Cargo.toml");
    let built: Vec<_> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| !["dispatch-fuzz", "targets"].contains(name))
        .collect();
    assert_eq!(built, targets::TARGETS.map(|(name, _)| name));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// The same promise, of more than the files.
    #[test]
    fn a_genuine_receipt_spoiled_where_nobody_looks_tells_the_same(data: Vec<u8>) {
        targets::TARGETS.iter().find(|(name, _)| *name == "spoiled").unwrap().1(&data);
    }
}
