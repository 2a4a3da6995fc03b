//! Recipes of ms-swift, with a program that stands in for it: what is looked at before an attempt begins.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{Running, World, job_of, until};

/// A world whose recipe trains changed configs with the stand-in; `more` are lines of the recipe.
pub(crate) fn world(more: &str) -> World {
    let world = World::new("run = { command = [\"true\"] }");
    install(&world.path("venv"), "4.6.0");
    fs::create_dir_all(world.path("data")).unwrap();
    fs::write(world.path("data/train.jsonl"), "{\"query\": \"a\", \"response\": \"b\"}\n").unwrap();
    fs::create_dir_all(world.path("models/tiny")).unwrap();
    fs::write(world.path("models/tiny/config.json"), "{}").unwrap();
    configure(&world, more);
    world
}

pub(crate) fn configure(world: &World, more: &str) {
    let folder = world.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nreconcile = \"off\"\n\n\
         [[hook]]\nsecrets = [\"file:secret\"]\n\n\
         [[repository]]\nname = \"acme/models\"\nclone_url = \"file://{folder}/repository\"\n\n\
         [[recipe]]\nname = \"sft\"\nrepository = \"acme/models\"\nbranches = [\"**\"]\n\
         each = \"configs/**\"\nrun = {{ swift = \"sft\", config = \"{{path}}\" }}\n\
         models = [\"Qwen/*\", \"{folder}/models/*\"]\ndata = [\"{folder}/data/*\"]\n\
         environment = {{ venv = \"venv\" }}\n{more}\n"
    );
    fs::write(world.path("swifthook.toml"), config).unwrap();
}

/// What stands in for an installed ms-swift: it writes down what it is given, and exits as `exit` in its home says.
fn install(venv: &Path, version: &str) {
    fs::create_dir_all(venv.join("bin")).unwrap();
    let swift = "cd \"$PWD\"; { printf '%s\\n' \"$@\"; } >\"$SWIFTHOOK_OUTPUT_DIR/argv\"\n\
        env | sort >\"$SWIFTHOOK_OUTPUT_DIR/environment\"; ls -A >\"$SWIFTHOOK_OUTPUT_DIR/listing\"\n\
        exit \"$(cat \"$HOME/exit\" 2>/dev/null || echo 0)\"";
    for (name, text) in [("swift", swift), ("python", &*format!("echo {version}"))] {
        let file = venv.join("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A config in which nothing is wrong.
pub(crate) fn good(world: &World) -> String {
    let folder = world.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    format!("model: {folder}/models/tiny\ndataset: {folder}/data/train.jsonl#10\nlearning_rate: 1e-4\n")
}

pub(crate) fn push(world: &World, server: &Running, file: &str, text: &str) -> String {
    let commit = world.commit(file, text);
    delivered(server, &world.push(&commit, &commit, &[file]))
}

fn delivered(server: &Running, push: &Value) -> String {
    let answer = server.deliver(push);
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.body);
    job_of(&answer)
}

pub(crate) fn ends(world: &World, server: &Running, id: &str) -> Value {
    let job = server.wait_for(id, &["succeeded", "failed", "cancelled", "quarantined"]);
    assert!(job["state"] != "quarantined", "{job:#}\n{}", world.server_log());
    job
}

/// That a job failed for its config, before any attempt.
fn is_refused(world: &World, job: &Value, whys: &[&str]) {
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("config")), "{job:#}");
    let detail = job["detail"].as_str().unwrap();
    for why in whys {
        assert!(detail.contains(why), "{why}\n{detail}");
    }
    let words: Vec<_> =
        job["timeline"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!((&job["attempt"], words), (&json!(0), vec!["enqueued", "claimed", "failed"]), "{job:#}");
    let id = job["id"].as_str().unwrap();
    assert!(!world.path(&format!("swifthook-state/runs/{id}-1")).exists());
}

pub(crate) fn output(world: &World, id: &str, file: &str) -> String {
    fs::read_to_string(world.path(&format!("swifthook-state/runs/{id}-1/output/{file}"))).unwrap()
}

#[test]
fn a_good_config_runs_in_an_empty_folder_with_nothing_of_ours_around_it() {
    let world = world("");
    world.commit("torch.py", "raise SystemExit('the repository runs code')\n");
    world.commit("models/modeling_x.py", "raise SystemExit\n");
    let server = world.serve();
    let id = push(&world, &server, "configs/sft.yaml", &good(&world));
    let job = ends(&world, &server, &id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
    assert_eq!(output(&world, &id, "listing"), "");
    let argv = output(&world, &id, "argv");
    assert!(argv.contains("--learning_rate=1e-4\n") && argv.contains("--add_version=false\n"), "{argv}");
    let environment = output(&world, &id, "environment");
    assert!(environment.contains("PYTHONSAFEPATH=1\n"), "{environment}");
    assert!(environment.contains("PYTHONUNBUFFERED=1\n"), "{environment}");
    assert!(!environment.contains(crate::world::SECRET) && !environment.contains("NPROC"), "{environment}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_no_attempt_begins() {
    let world = world("");
    let server = world.serve();
    let folder = world.path("").display().to_string();
    fs::create_dir(world.path("models/half")).unwrap();
    fs::write(world.path("data/empty.jsonl"), "").unwrap();
    fs::write(world.path("data/table.jsonl"), "query,response\n").unwrap();
    let text = format!(
        "model: {folder}models/half\nlerning_rate: 1\nmax_steps: many\n\
         dataset: [{folder}data/empty.jsonl, {folder}data/table.jsonl, {folder}data/absent.csv]\n"
    );
    let id = push(&world, &server, "configs/sft.yaml", &text);
    is_refused(
        &world,
        &ends(&world, &server, &id),
        &[
            "configs/sft.yaml: line 1: `model`",
            "there is no `config.json` in it",
            "line 2: `swift sft` of ms-swift 4.6.0 has no `lerning_rate`: did you mean `learning_rate`?",
            "line 3: `max_steps`: `many` is not a whole number",
            "empty.jsonl`: the file is empty",
            "table.jsonl`: line 1: not JSON",
            "absent.csv`: No such file",
        ],
    );
    let (_, metrics) = server.call("GET", "/metrics", "");
    assert!(metrics.contains("swifthook_jobs{state=\"running\"} 0"), "{metrics}");
}

#[test]
fn what_is_set_aside_or_doubtful_is_told_before_a_push_and_with_its_job() {
    let world = world("");
    fs::create_dir_all(world.path("configs")).unwrap();
    fs::write(world.path("data/12:30.jsonl"), "{\"a\": 1}\nnull\n").unwrap();
    let folder = world.path("").display().to_string();
    let text = good(&world).replace("train.jsonl#10", "12:30.jsonl#1")
        + "output_dir: output/x\ngradient_checkpointing_kwargs: {use_reentrant: no}\nrun_name: 0x10\n";
    fs::write(world.path("configs/sft.yaml"), &text).unwrap();
    let output = world.program(&["check", "--recipe", "sft", "configs/sft.yaml"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let notes = [
        (4, "`output_dir`: each run has an output of its own: `output/x` is set aside".to_owned()),
        (6, "`run_name`: YAML reads `0x10` as `16`; quote it if text is meant".to_owned()),
        (2, format!("`dataset`: `{folder}data/12:30.jsonl`: a row of it is `null`")),
    ];
    let told = notes.iter().map(|(line, note)| format!("configs/sft.yaml:{line}: note: {note}\n"));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), told.collect::<String>());

    let server = world.serve();
    let id = push(&world, &server, "configs/sft.yaml", &text);
    let job = ends(&world, &server, &id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
    let told: Vec<_> = notes.iter().map(|(line, note)| format!("line {line}: {note}")).collect();
    assert_eq!(job["warnings"], json!([{"reason": "config", "detail": told.join("; ")}]), "{job:#}");
    let argv = self::output(&world, &id, "argv");
    assert!(argv.contains("--gradient_checkpointing_kwargs={\"use_reentrant\":false}\n"), "{argv}");
}

#[test]
fn whoever_wants_no_look_at_the_data_says_so() {
    let world = world("preflight = \"off\"");
    fs::write(world.path("data/train.jsonl"), "no row\n").unwrap();
    fs::remove_file(world.path("models/tiny/config.json")).unwrap();
    let server = world.serve();
    let id = push(&world, &server, "configs/sft.yaml", &good(&world));
    let job = ends(&world, &server, &id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
    // What data bring besides rows is asked all the same.
    fs::create_dir(world.path("data/scripts")).unwrap();
    fs::write(world.path("data/scripts/x.py"), "").unwrap();
    let text = good(&world).replace("train.jsonl#10", "scripts");
    let id = push(&world, &server, "configs/code.yaml", &text);
    is_refused(&world, &ends(&world, &server, &id), &["`x.py` is in it"]);
}

#[test]
fn a_job_waits_for_room_on_the_disk_and_says_so() {
    let world = world("[limits]\nfree_disk = \"8000000 TiB\"");
    let server = world.serve();
    let id = push(&world, &server, "configs/sft.yaml", &good(&world));
    let waits = until(|| Some(server.job(&id)).filter(|job| job["waits_for"] == "disk"));
    let job = waits.unwrap_or_else(|| panic!("{:#}", server.job(&id)));
    assert_eq!((&job["state"], &job["attempt"]), (&json!("queued"), &json!(0)), "{job:#}");
    assert!(job["detail"].as_str().unwrap().contains("have to be (`free_disk` in [limits]"), "{job:#}");
    let wrong = push(&world, &server, "configs/wrong.yaml", "lerning_rate: 1\n");
    is_refused(&world, &ends(&world, &server, &wrong), &["lerning_rate"]);
}

#[test]
fn what_failed_by_itself_twice_is_held_until_a_person_approves_it_or_it_is_another() {
    let world = world("superseded = \"keep\"\n");
    let server = world.serve();
    fs::write(world.path("exit"), "1").unwrap();
    let failed: Vec<_> = (0..2)
        .map(|round| {
            let id = push(&world, &server, "configs/sft.yaml", &format!("{}# {round}\n", good(&world)));
            let job = ends(&world, &server, &id);
            assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("training")), "{job:#}");
            id
        })
        .collect();
    let other = push(&world, &server, "configs/other.yaml", &format!("{}seed: 7\n", good(&world)));
    assert_eq!(ends(&world, &server, &other)["reason"], "training", "another config is another thing");

    let third = push(&world, &server, "configs/sft.yaml", &format!("{}# the same\n", good(&world)));
    let held = server.wait_for(&third, &["held", "failed"]);
    assert_eq!((&held["state"], &held["reason"]), (&json!("held"), &json!("known_failure")), "{held:#}");
    assert_eq!((&held["attempt"], held["fingerprint"].as_str().unwrap().len()), (&json!(0), 64));
    for id in &failed {
        let told = held["detail"].as_str().unwrap();
        assert!(told.contains(&format!("(job {id}, exit code 1)")), "{told}");
    }
    fs::write(world.path("exit"), "0").unwrap();
    let (status, body) = server.call("POST", &format!("/api/v1/jobs/{third}/approve"), "");
    assert_eq!(status, 200, "{body}");
    assert_eq!(ends(&world, &server, &third)["state"], "succeeded");

    // The data is another by now, so nobody knows how it ends.
    fs::write(world.path("exit"), "1").unwrap();
    for round in 0..2 {
        let id = push(&world, &server, "configs/sft.yaml", &format!("{}# again {round}\n", good(&world)));
        assert_eq!(ends(&world, &server, &id)["state"], "failed");
    }
    fs::write(world.path("data/train.jsonl"), "{\"query\": \"a\", \"response\": \"better\"}\n").unwrap();
    let id = push(&world, &server, "configs/sft.yaml", &format!("{}# better data\n", good(&world)));
    assert_eq!(ends(&world, &server, &id)["state"], "failed");
}

#[test]
fn what_failed_on_gpus_of_one_kind_is_another_thing_on_those_of_another() {
    let world = world("superseded = \"keep\"\ngpus = { count = 1 }\n[worker]\ngpus = { settle = \"1s\" }");
    fs::create_dir_all(world.path("bin")).unwrap();
    // Where a machine has the library, it is not to be found.
    fs::write(world.path("bin/libnvidia-ml.so.1"), "none").unwrap();
    let fingerprint = |round: u32, kind: &str| {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *query-gpu*) echo '0, GPU-1, NVIDIA {kind}, 81920, 0, 81920, 0, Disabled';; esac\n"
        );
        fs::write(world.path("bin/nvidia-smi"), script).unwrap();
        fs::set_permissions(world.path("bin/nvidia-smi"), fs::Permissions::from_mode(0o755)).unwrap();
        let server = world.serve();
        let text = format!("{}# {round}\n", good(&world));
        let id = push(&world, &server, "configs/sft.yaml", &text);
        let job = ends(&world, &server, &id);
        assert_eq!(job["state"], "succeeded", "{job:#}");
        server.signal("TERM");
        assert!(server.ended().success());
        job["fingerprint"].as_str().unwrap().to_owned()
    };
    let (first, again, other) = (fingerprint(1, "A100"), fingerprint(2, "A100"), fingerprint(3, "H200"));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_check_tells_what_a_running_server_would_warn_of_and_nothing_without_one() {
    let world = world(
        "superseded = \"keep\"\ngpus = { count = 1, min_free_memory = \"40 GiB\" }\n\
         [worker]\ngpus = { settle = \"1s\" }",
    );
    fs::create_dir_all(world.path("bin")).unwrap();
    // Where a machine has the library, it is not to be found.
    fs::write(world.path("bin/libnvidia-ml.so.1"), "none").unwrap();
    let gpu =
        "case \"$*\" in *query-gpu*) echo '0, GPU-1, NVIDIA H200, 143771, 0, 143156, 0, Disabled';; esac";
    let needs = "echo '{\"loss\":1,\"global_step/max_steps\":\"1/1\",\"memory(GiB)\":71.25}' >$SWIFTHOOK_OUTPUT_DIR/logging.jsonl";
    for (file, text) in [("bin/nvidia-smi", gpu), ("venv/bin/swift", needs)] {
        fs::write(world.path(file), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(world.path(file), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir_all(world.path("configs")).unwrap();
    for (name, text) in [("good", good(&world)), ("full", good(&world) + "tuner_type: full\n")] {
        fs::write(world.path(&format!("configs/{name}.yaml")), text).unwrap();
    }
    let server = world.serve();
    let admin = server.admin.clone();
    let check = |arguments: &[&str]| {
        let mut check = world.program(&[&["check", "--recipe", "sft"], arguments].concat());
        let output = check.env("SWIFTHOOK_SERVER", &admin).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(check(&["configs/good.yaml"]), "", "nothing is known yet");
    let id = push(&world, &server, "configs/good.yaml", &good(&world));
    let job = ends(&world, &server, &id);
    assert_eq!((&job["state"], &job["peak_memory_gib"]), (&json!("succeeded"), &json!(71.25)), "{job:#}");
    let told =
        "the last run of this recipe used up to 71.2 GiB on each GPU; `min_free_memory` asks for 40 GiB";
    assert_eq!(check(&["configs/good.yaml"]), format!("configs/good.yaml: {told}\n"));
    let id = push(&world, &server, "configs/good.yaml", &format!("{}# again\n", good(&world)));
    assert_eq!(ends(&world, &server, &id)["warnings"][0]["detail"], told, "the same as its job is told");
    assert_eq!(check(&["configs/full.yaml"]), "", "of another tuner nothing is known");
    assert_eq!(check(&["--elsewhere", "configs/good.yaml"]), "");
    let (status, body) = server.call("GET", "/api/v1/gpu-memory?workload=x&request=y&launcher=local", "");
    assert!(status == 400 && body.contains("`workload`"), "{body}");
    server.signal("TERM");
    assert!(server.ended().success());
    assert_eq!(check(&["configs/good.yaml"]), "", "nobody is there to be asked");
}

#[test]
fn a_run_that_writes_more_than_it_may_fails_with_the_reason_limit() {
    // It is there at once: else a look might find half of it.
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"head -c 9000000 /dev/zero >$HOME/x; mv $HOME/x $SWIFTHOOK_OUTPUT_DIR; exec sleep 600\"] }\n\
         limits = { disk = \"1 MiB\", files = 99 }",
    );
    let server = world.serve();
    let commit = world.commit("x", "x");
    let id = delivered(&server, &world.push(&commit, &commit, &["x"]));
    let job = ends(&world, &server, &id);
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("limit")), "{job:#}");
    assert_eq!(job["detail"], "it has written 8 MiB, and may write 1 MiB");
}

#[test]
fn a_prefix_is_filled_in_and_starts_the_run() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"echo $JOB $SWIFTHOOK_RUN >$SWIFTHOOK_OUTPUT_DIR/result\"] }\n\
         isolation = { prefix = [\"env\", \"JOB={job} of {recipe} in {ref}\"] }",
    );
    let server = world.serve();
    let commit = world.commit("x", "x");
    let id = delivered(&server, &world.push(&commit, &commit, &["x"]));
    assert_eq!(ends(&world, &server, &id)["state"], "succeeded");
    assert_eq!(output(&world, &id, "result"), format!("{id} of sft in refs/heads/main {id}-1\n"));
}

/// A run looks for everything that it must not see, and writes wherever it must not.
const LOOKS: &str = r#"run = { command = ["sh", "-c", '''
    cat "$HOME/secret" "$HOME/swifthook.toml" "$HOME/swifthook-state/admin-token" "$HOME/swifthook.db" "$HOME/.netrc"
    ls "$HOME/swifthook-state" "$HOME/swifthook-state/runs"
    touch "$HOME/touched" /usr/touched "$SWIFTHOOK_OUTPUT_DIR/../exit.json"
    git log --format="the past: %s"; git status --short; mirror="$HOME/swifthook-state/mirrors/acme/models.git"
    touch "$mirror/objects/x" && echo "wrote to the mirror"; ls "$mirror" | sed "s/^/in the mirror: /"
    echo mine >/tmp/mine; echo "{}" >>"$SWIFTHOOK_PROGRESS"; echo "$SWIFTHOOK_RUN"; cat x
    trap "echo saved >$SWIFTHOOK_OUTPUT_DIR/saved; exit 0" TERM
    touch "$SWIFTHOOK_OUTPUT_DIR/up"; while :; do sleep 0.05; done'''] }
isolation = { bubblewrap = true }"#;

#[test]
#[ignore = "needs bubblewrap, and a temporary folder that is not below /tmp: TMPDIR=/var/tmp"]
fn a_run_within_bubblewrap_sees_nothing_of_the_server_and_is_ended_and_adopted_as_any_other() {
    let world = World::new(LOOKS);
    fs::write(world.path(".netrc"), "password hunter2\n").unwrap();
    let server = world.serve();
    let commit = world.commit("x", "of the commit\n");
    let id = delivered(&server, &world.push(&commit, &commit, &["x"]));
    let run = world.path(&format!("swifthook-state/runs/{id}-1"));
    assert!(crate::world::appears(&run.join("output/up")), "{:#}", server.job(&id));

    // It goes on without the server, and the next one finds it.
    let token = server.token.clone();
    server.signal("KILL");
    server.ended();
    let server = world.serve();
    let path = format!("/api/v1/jobs/{id}/cancel");
    let asked: Value = serde_json::from_str(&server.call("POST", &path, "").1).unwrap();
    let confirm = json!({ "confirm": asked["confirm"] }).to_string();
    assert_eq!(server.call("POST", &path, &confirm).0, 200);
    let job = ends(&world, &server, &id);
    assert_eq!((&job["state"], &job["exit"]["code"]), (&json!("cancelled"), &json!(0)), "{job:#}");
    assert_eq!(fs::read_to_string(run.join("output/saved")).unwrap(), "saved\n");

    let log = fs::read_to_string(run.join("log")).unwrap();
    assert!(log.contains(&format!("{id}-1\nof the commit\n")), "{log}");
    let past = log.lines().filter(|line| line.starts_with("the past: ")).count();
    assert_eq!(past.to_string(), world.git(&["rev-list", "--count", "HEAD"]), "{log}");
    assert!(log.contains("in the mirror: objects\n") && log.matches("in the mirror: ").count() == 1, "{log}");
    for secret in ["wrote to the mirror", crate::world::SECRET, "[[hook]]", &token, "SQLite", "hunter2"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    for file in [world.path("touched"), "/usr/touched".into(), "/tmp/mine".into()] {
        assert!(!file.exists(), "{}", file.display());
    }
    assert!(run.join("tmp/mine").exists() && run.join("progress.jsonl").metadata().unwrap().len() > 0);
}

#[test]
fn several_processes_train_together_where_the_recipe_says_so() {
    let world = world("nproc = 2\n");
    let server = world.serve();
    let id = push(&world, &server, "configs/sft.yaml", &good(&world));
    assert_eq!(ends(&world, &server, &id)["state"], "succeeded");
    let environment = output(&world, &id, "environment");
    assert!(environment.contains("NPROC_PER_NODE=2\n") && !environment.contains("NNODES"), "{environment}");
    assert!(environment.contains("MASTER_PORT=29"), "{environment}");
}

#[test]
fn no_way_out_of_a_pushed_config_has_an_effect() {
    let world = world("");
    let server = world.serve();
    fs::create_dir_all(world.path("elsewhere/model")).unwrap();
    for file in ["config.json", "modeling_x.py"] {
        fs::write(world.path("elsewhere/model").join(file), "{}").unwrap();
    }
    let elsewhere = format!("model: {}\n", world.path("elsewhere/model").display());
    let upwards = format!("model: {}\n", world.path("models/tiny/../../elsewhere/model").display());
    for (text, why) in [
        ("ENV: {LD_PRELOAD: /tmp/x.so}\n", "line 1: `ENV`: it sets variables of the environment"),
        ("external_plugins: [plugin.py]\n", "line 1: `external_plugins`: it names code"),
        ("custom_register_path: plugin.py\n", "it names code"),
        ("model_kwargs: {PYTHONPATH: .}\n", "line 1: `model_kwargs`"),
        ("model: evil/model\n", "`evil/model` is refused: the recipe allows `Qwen/*`"),
        ("model: ./model_dir\n", "neither an absolute path"),
        (&elsewhere, "is refused: the recipe allows"),
        (&upwards, "neither an absolute path without `..`"),
        ("dataset: ../../secret\n", "neither an absolute path"),
        ("resume_from_checkpoint: /etc\n", "loaded as code is"),
        ("\"learning_rate=1 --external_plugins\": x\n", "has no"),
        ("a: &a [x]\nb: [*a, *a]\n", "anchors"),
    ] {
        let id = push(&world, &server, "configs/sft.yaml", text);
        is_refused(&world, &ends(&world, &server, &id), &["configs/sft.yaml: ", why]);
    }
}

#[test]
fn no_path_of_a_push_leads_out_of_its_commit() {
    let world = world("");
    let server = world.serve();
    let repository = world.path("repository");
    fs::create_dir_all(repository.join("configs")).unwrap();
    fs::write(world.path("repository-secret.yaml"), "learning_rate: 1\n").unwrap();
    symlink(world.path("repository-secret.yaml"), repository.join("configs/link.yaml")).unwrap();
    symlink(world.path(""), repository.join("configs/up")).unwrap();
    let commit = world.commit("real.yaml", "learning_rate: 1\n");
    for (path, why) in [
        ("configs/link.yaml", "symbolic link"),
        ("configs/up/repository-secret.yaml", "configs/up/repository-secret.yaml"),
        ("configs/../real.yaml", "configs/../real.yaml"),
        ("configs/../../repository-secret.yaml", ".."),
        ("configs//../real.yaml", "configs//../real.yaml"),
        ("configs/absent.yaml", "configs/absent.yaml"),
    ] {
        // What the payload says of its files is signed, and yet no promise that they are there.
        let id = delivered(&server, &world.push(&commit, &commit, &[path]));
        is_refused(&world, &ends(&world, &server, &id), &[why]);
    }
}

#[test]
fn a_ref_is_text_whatever_it_would_be_to_a_shell_or_to_git() {
    let world = world("");
    let server = world.serve();
    let commit = world.commit("configs/sft.yaml", &good(&world));
    let touched = world.path("touched");
    let names = [
        format!("$(touch${{IFS}}{})", touched.display()),
        format!("`touch {}`", touched.display()).replace(' ', "${IFS}"),
        format!("x;touch${{IFS}}{};", touched.display()),
        format!("--upload-pack=touch${{IFS}}{}", touched.display()),
        "a'b\"c&d|e".to_owned(),
    ];
    for name in names {
        // The whole of it is one component, so that a path in it makes no folders.
        let name = name.replace(touched.to_str().unwrap(), "touched");
        let full = format!("refs/heads/{name}");
        world.git(&["update-ref", &full, &commit]);
        let mut payload = world.push(&commit, &commit, &["configs/sft.yaml"]);
        payload["ref"] = json!(full);
        let id = delivered(&server, &payload);
        let job = ends(&world, &server, &id);
        assert_eq!((&job["state"], &job["ref"]), (&json!("succeeded"), &json!(full)), "{job:#}");
    }
    let found = std::process::Command::new("find").arg(world.path("")).args(["-name", "touched"]).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
}

#[test]
fn submodules_are_not_looked_at_whatever_their_names() {
    let world = world("trust = \"code\"\n");
    let server = world.serve();
    fs::write(
        world.path("repository/.gitmodules"),
        "[submodule \"../../hooks\\r\"]\n\tpath = \"sub\\r\"\n\turl = \"--upload-pack=touch touched\\r\"\n\
         [submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% touched\n",
    )
    .unwrap();
    let head = world.git(&["rev-parse", "HEAD"]);
    for path in ["sub\r", "x"] {
        world.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},{path}")]);
    }
    world.git(&["add", ".gitmodules"]);
    world.git(&["commit", "--quiet", "--message=submodules"]);
    fs::create_dir_all(world.path("repository/configs")).unwrap();
    fs::write(world.path("repository/configs/sft.yaml"), good(&world)).unwrap();
    world.git(&["add", "configs"]);
    world.git(&["commit", "--quiet", "--message=config"]);
    let commit = world.git(&["rev-parse", "HEAD"]);
    let id = delivered(&server, &world.push(&commit, &commit, &["configs/sft.yaml"]));
    let job = ends(&world, &server, &id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
    let listing = output(&world, &id, "listing");
    assert!(listing.contains("configs\n") && listing.contains(".gitmodules\n"), "{listing}");
    let found = std::process::Command::new("find").arg(world.path("")).args(["-name", "touched*"]).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
}

#[test]
fn configs_are_checked_before_they_are_pushed_without_a_server_and_its_secrets() {
    let world = world("env = { HF_TOKEN = \"env:HF_TOKEN\" }");
    fs::remove_file(world.path("secret")).unwrap();
    fs::create_dir_all(world.path("configs")).unwrap();
    fs::write(world.path("configs/good.yaml"), good(&world)).unwrap();
    fs::write(world.path("configs/wrong.yaml"), "model: evil/x\nlerning_rate: 1\ndataset: [/etc/passwd]\n")
        .unwrap();
    symlink("good.yaml", world.path("configs/link.yaml")).unwrap();
    let check = |arguments: &[&str]| {
        let output = world.program(&[&["check", "--recipe", "sft"], arguments].concat()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, told, wrong) = check(&["configs/good.yaml"]);
    assert_eq!((code, &*wrong), (Some(0), ""));
    assert_eq!(told, "configs/good.yaml: nothing wrong: `swift sft` of ms-swift 4.6.0\n");

    let (code, told, wrong) = check(&["configs/good.yaml", "configs/wrong.yaml", "configs/link.yaml"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("configs/good.yaml: nothing wrong"), "{told}");
    for line in [
        "configs/wrong.yaml:1: `model`: `evil/x` is refused",
        "configs/wrong.yaml:2: `swift sft` of ms-swift 4.6.0 has no `lerning_rate`: did you mean `learning_rate`?",
        "configs/wrong.yaml:3: `dataset`: `/etc/passwd` is refused",
        "configs/link.yaml: cannot be read: it is a symbolic link",
        "4 mistakes",
    ] {
        assert!(wrong.contains(line), "{line} in\n{wrong}");
    }

    fs::write(
        world.path("configs/far.yaml"),
        format!("{}val_dataset: {}\n", good(&world), world.path("data/far.csv").display()),
    )
    .unwrap();
    assert_eq!(check(&["configs/far.yaml"]).0, Some(2));
    assert_eq!(check(&["--elsewhere", "configs/far.yaml"]).0, Some(0));
    let (code, told, _) = check(&["--ms-swift", "3.12.6", "configs/good.yaml"]);
    assert_eq!((code, told.contains("ms-swift 3.12.6")), (Some(0), true), "{told}");
    assert_eq!(check(&["--ms-swift", "2.0.0", "configs/good.yaml"]).0, Some(2));

    fs::write(world.path("configs/unsaved.yaml"), format!("{}save_strategy: 'no'\n", good(&world))).unwrap();
    assert_eq!(check(&["configs/unsaved.yaml"]).2, "", "it is to make way for nothing");
    configure(&world, "schedule = [{ hours = \"20:00-08:00\" }]\noutside = \"pause\"");
    assert_eq!(check(&["configs/good.yaml"]).2, "");
    let (code, _, warned) = check(&["configs/unsaved.yaml"]);
    assert_eq!(code, Some(0), "it is no mistake");
    assert!(warned.contains("`save_strategy: no`: it saves only when it is asked to make way"), "{warned}");
    let (_, _, warned) = check(&["--ms-swift", "3.12.6", "configs/unsaved.yaml"]);
    assert!(warned.contains("`save_strategy: no`: it saves nothing, and begins anew"), "{warned}");

    fs::remove_dir_all(world.path("venv")).unwrap();
    let (code, _, wrong) = check(&["configs/good.yaml"]);
    assert_eq!(code, Some(0));
    assert!(wrong.contains("no program `swift`") && wrong.contains("the newest that is known"), "{wrong}");
    fs::write(world.path("other.yaml"), good(&world)).unwrap();
    assert!(check(&["other.yaml"]).2.contains("trains configs/**, and so not this file"));
    let nobody = world.program(&["check", "--recipe", "sft2", "configs/good.yaml"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(2));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("did you mean `sft`?"));
}
