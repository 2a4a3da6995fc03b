//! What we read, against answers of ms-swift that were recorded: `cargo test --test ms_swift -- --ignored` holds them against
//! the real one.

mod yaml;

use serde_json::Value;
use swifthook_msswift::Format;

#[test]
fn each_word_means_what_it_means_to_ms_swift() {
    let mut wrong = Vec::new();
    for line in include_str!("pyyaml.jsonl").lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| recorded[key].as_str().unwrap();
        wrong.extend(yaml::agree(Format::of(text("name")), text("text"), &recorded).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
