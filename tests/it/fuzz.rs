//! Replays the fuzzers' corpora and every finding on stable: what once broke stays mended, and each target still runs.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use targets::ALL;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The inputs that are kept of a target, in the order of their names.
fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let Ok(dir) = fs::read_dir(fuzz().join(kind).join(target)) else { return Vec::new() };
    let mut inputs: Vec<PathBuf> = dir.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}

fn replay(kind: &str) -> usize {
    let (mut replayed, mut broken) = (0, Vec::new());
    for (target, check) in ALL {
        for input in inputs(kind, target) {
            let data = fs::read(&input).unwrap();
            if catch_unwind(|| check(&data)).is_err() {
                broken.push(input.display().to_string());
            }
            replayed += 1;
        }
    }
    assert!(broken.is_empty(), "{} of {replayed} break their target:\n{}", broken.len(), broken.join("\n"));
    replayed
}

#[test]
fn whatever_was_found_once_stays_mended() {
    let replayed = replay("regressions");
    assert!(replayed >= 1, "no finding is kept");
}

#[test]
fn the_corpora_hold_what_their_targets_say() {
    for (target, _) in ALL {
        assert!(!inputs("corpus", target).is_empty(), "{target} has no corpus");
    }
    replay("corpus");
}

#[test]
fn every_target_is_built_as_a_fuzzer_and_nothing_else_is() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let mut built: Vec<&str> = manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).skip(1).collect();
    let mut targets: Vec<&str> = ALL.iter().map(|(target, _)| *target).collect();
    built.sort_unstable();
    targets.sort_unstable();
    assert_eq!(built, targets);
    for kind in ["corpus", "regressions"] {
        for entry in fs::read_dir(fuzz().join(kind)).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(targets.iter().any(|target| name == **target), "{kind}/{} is no target's", name.display());
        }
    }
}
