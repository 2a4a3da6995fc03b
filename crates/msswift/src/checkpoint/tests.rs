use std::collections::BTreeMap;

use super::*;

/// A directory in memory.
#[derive(Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Folder for Files {
    fn files(&self) -> Vec<(String, u64)> {
        self.0.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect()
    }

    fn read(&self, file: &str, from: u64, most: usize) -> Option<Vec<u8>> {
        let bytes = self.0.get(file)?.get(usize::try_from(from).ok()?..)?;
        Some(bytes[..bytes.len().min(most)].to_vec())
    }
}

impl Files {
    fn with(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.0.insert(name.to_owned(), bytes.as_ref().to_vec());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.remove(name).unwrap();
        self
    }

    fn cut(mut self, name: &str) -> Self {
        let bytes = self.0.get_mut(name).unwrap();
        bytes.truncate(bytes.len() / 2);
        self
    }
}

fn tensors() -> Vec<u8> {
    let header = br#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 16]);
    bytes
}

fn torch() -> Vec<u8> {
    let mut bytes = b"PK\x03\x04 what stands in it PK\x05\x06".to_vec();
    bytes.extend_from_slice(&[0; 18]);
    bytes
}

/// What ms-swift leaves of a LoRA.
fn whole() -> Files {
    Files::default()
        .with("adapter_model.safetensors", tensors())
        .with("adapter_config.json", "{}")
        .with("args.json", r#"{"save_only_model": false}"#)
        .with("optimizer.pt", torch())
        .with("scheduler.pt", torch())
        .with("rng_state.pth", torch())
        .with("training_args.bin", torch())
        .with(
            "trainer_state.json",
            "{\"global_step\": 6, \"log_history\": [{\"grad_norm\": NaN, \"a\": \"\\\"NaN\"}]}\n",
        )
}

#[test]
fn names_of_checkpoints_have_their_step() {
    assert_eq!(step_of("checkpoint-120"), Some(120));
    for other in
        ["checkpoint-", "checkpoint-1x", "checkpoint-+1", "last-checkpoint", "checkpoint-1.draft", "runs"]
    {
        assert_eq!(step_of(other), None, "{other}");
    }
}

#[test]
fn a_checkpoint_is_whole_with_everything_that_it_takes_to_go_on() {
    assert_eq!(missing(6, &whole()), None);
    let names: Vec<_> = whole().0.into_keys().collect();
    for name in &names {
        let told = missing(6, &whole().without(name));
        let is_needed = !matches!(&**name, "adapter_config.json" | "args.json" | "training_args.bin");
        assert_eq!(told.is_some(), is_needed, "without {name}: {told:?}");
    }
}

#[test]
fn a_file_that_was_cut_off_makes_it_half_a_checkpoint() {
    for name in
        ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
    {
        assert!(missing(6, &whole().cut(name)).is_some(), "{name}");
        assert!(missing(6, &whole().with(name, "")).is_some(), "{name}");
    }
    let told = missing(6, &whole().with("checkpoint-is-incomplete.txt", "Checkpoint started"));
    assert!(told.unwrap().contains("being written"));
}

#[test]
fn a_checkpoint_of_another_step_is_not_what_its_name_says() {
    assert!(missing(7, &whole()).unwrap().contains("of step 6"));
}

#[test]
fn weights_in_parts_are_whole_with_all_of_them() {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let sharded = whole()
        .without("adapter_model.safetensors")
        .with("model-1.safetensors", tensors())
        .with("model.safetensors.index.json", index);
    assert!(missing(6, &sharded).unwrap().contains("model-2"));
    assert_eq!(missing(6, &sharded.clone().with("model-2.safetensors", tensors())), None);
    assert!(
        missing(6, &sharded.with("model-2.safetensors", tensors()).cut("model.safetensors.index.json"))
            .is_some()
    );
}

#[test]
fn deepspeed_and_weights_alone_are_whole_in_their_own_way() {
    let deepspeed = whole()
        .without("optimizer.pt")
        .without("scheduler.pt")
        .with("global_step6/mp_rank_00_model_states.pt", torch());
    assert!(missing(6, &deepspeed).unwrap().contains("latest"));
    assert_eq!(missing(6, &deepspeed.with("latest", "global_step6")), None);
    let alone = whole().without("optimizer.pt").without("scheduler.pt").without("rng_state.pth");
    assert!(missing(6, &alone).is_some());
    assert_eq!(missing(6, &alone.with("args.json", r#"{"save_only_model": true}"#)), None);
}

/// A checkpoint with one file of terabytes in which there is nothing.
struct Sparse {
    files: Files,
    name: &'static str,
    size: u64,
    /// Bytes at its beginning.
    head: Vec<u8>,
    read: std::cell::Cell<usize>,
}

impl Folder for Sparse {
    fn files(&self) -> Vec<(String, u64)> {
        let others = self.files.files().into_iter().filter(|(name, _)| name != self.name);
        others.chain([(self.name.to_owned(), self.size)]).collect()
    }

    fn read(&self, file: &str, from: u64, most: usize) -> Option<Vec<u8>> {
        if file != self.name {
            return self.files.read(file, from, most);
        }
        self.read.set(self.read.get().max(most));
        // As a look does whose time is up.
        if from > 4 << 20 {
            return None;
        }
        let there = most.min(usize::try_from(self.size.saturating_sub(from)).unwrap());
        let mut bytes = vec![0; there];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = self.head.get(usize::try_from(from).unwrap() + at).copied().unwrap_or(b' ');
        }
        Some(bytes)
    }
}

#[test]
fn no_more_of_a_file_is_in_memory_than_a_piece_whatever_it_says_of_itself() {
    const GIB: u64 = 1 << 30;
    for (name, head) in [
        ("model.safetensors", (3 * GIB).to_le_bytes().to_vec()),
        ("model.safetensors", (99u64 << 20).to_le_bytes().to_vec()),
        ("model.safetensors.index.json", b"{\"weight_map\": {".to_vec()),
        ("trainer_state.json", b"{".to_vec()),
        ("args.json", b"{".to_vec()),
    ] {
        let sparse = Sparse { files: whole(), name, size: 4 * GIB, head, read: Default::default() };
        let told = missing(6, &sparse);
        assert!(name == "args.json" || told.is_some(), "{name}");
        assert!(sparse.read.get() <= 64 * 1024, "{name}: {} at once", sparse.read.get());
    }
}

#[test]
fn a_header_longer_than_any_is_not_even_looked_through() {
    let size = 4 << 30;
    let head = (3u64 << 30).to_le_bytes().to_vec();
    let sparse = Sparse { files: whole(), name: "model.safetensors", size, head, read: Default::default() };
    assert_eq!(missing(6, &sparse).as_deref(), Some("`model.safetensors` ends too early"));
    assert_eq!(sparse.read.get(), 8);
}

#[test]
fn an_index_that_names_without_end_is_no_index() {
    let names: String = (0..50_000).map(|n| format!("\"a{n}\": \"part-{n}\",")).collect();
    let index = format!("{{\"weight_map\": {{{names} \"z\": \"adapter_model.safetensors\"}}}}");
    assert!(missing(6, &whole().with("model.safetensors.index.json", index)).is_some());
}
