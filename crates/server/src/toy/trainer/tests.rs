use std::future::{pending, ready};

use serde_json::Value;
use tempfile::TempDir;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_loss_falls_and_the_model_knows_what_it_has_not_seen() {
    let dir = config("max_steps: 80\nstep_delay_ms: 50\n");
    assert_eq!(run(&dir, "out", None).await, Ending::Done);
    let losses = numbers(&dir, "out", "loss");
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert_eq!(losses.len(), 80);
    assert!((losses[0] - 2f64.ln()).abs() < 1e-6, "an untrained model knows nothing: {}", losses[0]);
    assert!(mean(&losses[70..]) < 0.6 * mean(&losses[..10]), "{losses:?}");
    let accuracy = numbers(&dir, "out", "eval_token_acc").pop().unwrap();
    assert!((0.85..1.0).contains(&accuracy), "{accuracy}");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let losses = async |text: &str| {
        let dir = config(text);
        run(&dir, "out", None).await;
        numbers(&dir, "out", "loss")
    };
    let once = losses("seed: 7\nmax_steps: 20").await;
    assert_eq!(once, losses("seed: 7\nmax_steps: 20").await);
    assert_ne!(once, losses("seed: 8\nmax_steps: 20").await);
}

#[tokio::test]
async fn a_resumed_run_ends_where_an_uninterrupted_one_does() {
    let dir = config("max_steps: 30\nsave_steps: 10");
    run(&dir, "whole", None).await;
    run(&dir, "rest", Some(dir.path().join("whole/checkpoint-10"))).await;
    assert_eq!(numbers(&dir, "whole", "loss")[10..], numbers(&dir, "rest", "loss"));
    let model = |out: &str| fs::read(dir.path().join(out).join("checkpoint-30/model.json")).unwrap();
    assert_eq!(model("whole"), model("rest"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_stop_saves_and_can_go_on() {
    let dir = config("max_steps: 30\nstep_delay_ms: 100");
    let args = args(&dir, "out", None);
    let ending = train(&args, sleep(Duration::from_millis(750)), &mut io::sink()).await.unwrap();
    assert_eq!(ending, Ending::Stopped);
    let summary = lines(&dir, "out").pop().unwrap();
    assert_eq!(summary["global_step"], 7);
    assert_eq!(summary["last_model_checkpoint"], args.output_dir.join("checkpoint-7").to_str().unwrap());
    assert_eq!(run(&dir, "out", Some(args.output_dir.join("checkpoint-7"))).await, Ending::Done);
    assert_eq!(numbers(&dir, "out", "loss").len(), 30, "each step was made once");
}

#[tokio::test]
async fn a_run_that_is_stopped_before_its_first_step_leaves_no_checkpoint() {
    let dir = config("max_steps: 3");
    let ending = train(&args(&dir, "out", None), ready(()), &mut io::sink()).await.unwrap();
    assert_eq!(ending, Ending::Stopped);
    assert_eq!(lines(&dir, "out").pop().unwrap()["last_model_checkpoint"], Value::Null);
}

#[tokio::test]
async fn it_leaves_what_ms_swift_leaves_and_says_that_it_is_a_toy() {
    let dir = config("max_steps: 4\nsave_steps: 2\nlogging_steps: 2");
    let mut out = Vec::new();
    train(&args(&dir, "out", None), pending(), &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.lines().next().unwrap().contains("toy trainer"), "{text}");
    let keys: Vec<_> = lines(&dir, "out")
        .iter()
        .map(|line| line.get("global_step/max_steps").or(line.get("global_step")).unwrap().clone())
        .collect();
    assert_eq!(
        keys,
        ["2/4", "2/4", "4/4", "4/4", "4/4"]
            .map(Value::from)
            .into_iter()
            .chain([4.into()])
            .collect::<Vec<_>>()
    );
    for left in ["args.json", "checkpoint-2/trainer_state.json", "checkpoint-4/model.json"] {
        assert!(dir.path().join("out").join(left).is_file(), "{left}");
    }
    let resolved: Value =
        serde_json::from_slice(&fs::read(dir.path().join("out/args.json")).unwrap()).unwrap();
    assert_eq!(resolved["max_steps"], 4);
}

#[tokio::test]
async fn a_wrong_configuration_is_named_with_its_file() {
    let dir = config("max_stepz: 4");
    let error = train(&args(&dir, "out", None), pending(), &mut io::sink()).await.unwrap_err();
    assert!(error.to_string().ends_with("sft.yaml cannot be used"), "{error}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("`max_stepz`"));
    assert!(!dir.path().join("out").exists(), "nothing was begun");
}

fn config(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("sft.yaml"), text).unwrap();
    dir
}

fn args(dir: &TempDir, out: &str, resume: Option<PathBuf>) -> TrainerArgs {
    TrainerArgs {
        config: dir.path().join("sft.yaml"),
        output_dir: dir.path().join(out),
        resume_from_checkpoint: resume,
        progress: None,
    }
}

async fn run(dir: &TempDir, out: &str, resume: Option<PathBuf>) -> Ending {
    train(&args(dir, out, resume), pending(), &mut io::sink()).await.unwrap()
}

fn lines(dir: &TempDir, out: &str) -> Vec<Value> {
    let text = fs::read_to_string(dir.path().join(out).join("logging.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(dir: &TempDir, out: &str, key: &str) -> Vec<f64> {
    lines(dir, out).iter().filter_map(|line| line.get(key)?.as_f64()).collect()
}
