//! What we read, against the real ms-swift.
//!
//! Needs what `scripts/ms-swift-cpu.sh FOLDER` makes, and fails without it:
//!
//! ```text
//! SWIFTHOOK_TEST_MS_SWIFT=FOLDER cargo test -p swifthook-msswift --test ms_swift -- --ignored
//! ```

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "yaml/mod.rs"]
mod yaml;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use swifthook_msswift::Format;

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn generated_documents_mean_to_us_what_they_mean_to_ms_swift() {
    let seed = std::env::var("SWIFTHOOK_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut dice = Dice(seed);
    let documents: Vec<_> = (0..6_000).map(|_| document(&mut dice)).collect();
    let says = said(&documents);
    let mut wrong = Vec::new();
    let mut read = 0;
    for ((name, text), says) in documents.iter().zip(&says) {
        read += usize::from(says.get("argv").is_some());
        wrong.extend(yaml::agree(Format::of(name), text, says).err());
    }
    assert!(read > 2_000, "only {read} can be read at all");
    assert!(wrong.is_empty(), "seed {seed}: {} of {}\n{}", wrong.len(), documents.len(), wrong.join("\n"));
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn the_recorded_answers_are_those_of_ms_swift() {
    let recorded: Vec<Value> =
        include_str!("pyyaml.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let documents: Vec<_> = recorded.iter().map(|line| (text(line, "name"), text(line, "text"))).collect();
    for (recorded, says) in recorded.iter().zip(said(&documents)) {
        assert_eq!(
            (recorded.get("argv"), recorded.get("error")),
            (says.get("argv"), says.get("error")),
            "{recorded}"
        );
    }
}

/// What the real ms-swift makes of each.
fn said(documents: &[(String, String)]) -> Vec<Value> {
    let folder = std::env::var_os("SWIFTHOOK_TEST_MS_SWIFT")
        .expect("SWIFTHOOK_TEST_MS_SWIFT names a folder that scripts/ms-swift-cpu.sh made");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pyyaml.py");
    let mut python = Command::new(PathBuf::from(folder).join("venv/bin/python"));
    let mut python = python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = serde_json::to_vec(documents).unwrap();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let says: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with("{\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(says.len(), documents.len());
    says
}

/// Numbers that look thrown, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn pick<'c>(&mut self, from: &[&'c str]) -> &'c str {
        from[self.below(from.len())]
    }

    fn word(&mut self, signs: &str, most: usize) -> String {
        let signs: Vec<_> = signs.chars().collect();
        (0..1 + self.below(most)).map(|_| signs[self.below(signs.len())]).collect()
    }
}

fn document(dice: &mut Dice) -> (String, String) {
    let text = match dice.below(8) {
        0..4 => format!("columns:{}\n", mapping(dice, 1)),
        4 => format!("system: {}\n", scalar(dice)),
        5 => format!("stop_words: [{}, {}]\n", scalar(dice), scalar(dice)),
        6 => format!("{}{}", dice.pick(&["system: ", "columns: {a: ", "columns:\n  ", ""]), noise(dice)),
        _ => return ("a.json".to_owned(), format!("{{\"columns\": {}}}", json(dice, 0))),
    };
    (dice.pick(&["a.yaml", "a.yml"]).to_owned(), text)
}

fn mapping(dice: &mut Dice, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let flow = dice.below(3) == 0;
    let count = 1 + dice.below(3);
    if flow {
        let entries: Vec<_> =
            (0..count).map(|_| format!("{}: {}", scalar(dice), inner(dice, depth))).collect();
        return format!(" {{{}}}", entries.join(", "));
    }
    let entry = |dice: &mut Dice| {
        let value = match dice.below(8) {
            0 if depth < 4 => mapping(dice, depth + 1),
            1 => format!("\n{indent}  - {}\n{indent}  - {}", scalar(dice), scalar(dice)),
            2 => format!(
                " {}\n{indent}  {}\n\n{indent}  more",
                dice.pick(&["|", ">", "|-", ">-", "|+", ">+"]),
                noise(dice).replace('\n', " ")
            ),
            _ => format!(" {}", inner(dice, depth)),
        };
        format!("\n{indent}{}:{value}", scalar(dice))
    };
    (0..count).map(|_| entry(dice)).collect()
}

fn inner(dice: &mut Dice, depth: usize) -> String {
    match dice.below(6) {
        0 if depth < 4 => format!("[{}, {}]", inner(dice, depth + 1), scalar(dice)),
        1 if depth < 4 => format!("{{{}: {}}}", scalar(dice), inner(dice, depth + 1)),
        _ => scalar(dice),
    }
}

fn scalar(dice: &mut Dice) -> String {
    match dice.below(10) {
        0..4 => dice.pick(&WORDS).to_owned(),
        4 => dice.word("0123456789", 4),
        5 => dice.word("0189_.:eE+-", 7),
        6 => dice.word("0127xXabB_o.", 6),
        7 => format!("'{}'", dice.word("ab01 nNoO:#~.'é", 5).replace('\'', "''")),
        8 => format!(
            "\"{}{}\"",
            dice.pick(&["", "\\n", "\\u00e9", "\\x41", "\\/", "\\t", "\\\"", "\\_"]),
            dice.word("ab01 noO:#~.é", 5)
        ),
        _ => dice.word("abnoyY_./@", 4),
    }
}

fn noise(dice: &mut Dice) -> String {
    dice.word("-:#&*!|>%@`'\"{}[],?~ \n abc012._+\t=<", 14)
}

fn json(dice: &mut Dice, depth: usize) -> String {
    let pairs: Vec<_> = (0..1 + dice.below(3))
        .map(|at| {
            let value = match dice.below(5) {
                0 if depth < 4 => json(dice, depth + 1),
                1 => format!("[{}, {}]", dice.pick(&NUMBERS), dice.pick(&NUMBERS)),
                2 => format!(
                    "\"{}\"",
                    dice.pick(&["no", "", "1e5", "é", "\\u00e9", "a: b", "\\\"", "\\n", "#x"])
                ),
                _ => dice.pick(&NUMBERS).to_owned(),
            };
            format!("\"{}{at}\": {value}", dice.pick(&["a", "no", "1", ""]))
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

const WORDS: [&str; 44] = [
    "no",
    "No",
    "NO",
    "nO",
    "yes",
    "on",
    "off",
    "Off",
    "y",
    "n",
    "true",
    "True",
    "TRUE",
    "tRUE",
    "false",
    "null",
    "Null",
    "~",
    "nULL",
    ".1",
    "1.",
    "+1",
    "-1",
    "0x10",
    "0X10",
    "1_0",
    ".inf",
    "-.inf",
    ".INF",
    ".nan",
    "010",
    "08",
    "0o17",
    "0b101",
    "1e-4",
    "1.0e-4",
    "1:30",
    "190:20:30",
    "1:30.5",
    "12:5",
    "2026-12-01",
    "a",
    "b c",
    "x#y",
];
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "1e-4",
    "1E5",
    "1.5e3",
    "-0.0",
    "-0",
    "1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "false",
    "null",
    "12345678901234567890123",
];
