//! What is said of files of data before a run, against the loader that is installed with the real ms-swift.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::made;

/// What the preflight is held against, without Python.
const RECORDED: &str = include_str!("../../src/preflight/loader.jsonl");

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn the_recorded_answers_are_those_of_the_loader() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ms_swift/loader.py");
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/src/preflight/loader.jsonl");
    let mut python = Command::new(made().join("venv/bin/python"));
    python.arg(script).env("HF_HUB_OFFLINE", "1").env("HF_DATASETS_OFFLINE", "1");
    let output = python.stdin(std::fs::File::open(recorded).unwrap()).stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let told = said.lines().filter(|line| line.starts_with("{\"name\"")).map(read);
    let mut count = 0;
    for (recorded, said) in RECORDED.lines().map(read).zip(told) {
        assert_eq!((&recorded["bytes"], &recorded["name"]), (&said["bytes"], &said["name"]));
        assert_eq!(recorded["error"].is_null(), said["error"].is_null(), "{recorded} {said}");
        count += 1;
    }
    assert_eq!(count, RECORDED.lines().count());
}
