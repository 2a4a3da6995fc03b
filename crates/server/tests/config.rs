//! What a person reads who has made a mistake in the configuration.

use std::path::Path;

use swifthook::config::{Config, Mistakes, StoreUrl};

fn parse(text: &str) -> Result<Config, Mistakes> {
    let variable = |name: &str| match name {
        "GITHUB_WEBHOOK_SECRET" => Some("correct horse battery staple 2026".to_owned()),
        "SHORT" => Some("short".to_owned()),
        "BROKER" => Some("amqps://swifthook:hunter2@broker.example.org/%2f".to_owned()),
        "DATABASE" => Some("postgres://swifthook:hunter2@db/swifthook".to_owned()),
        "STRANGE_DATABASE" => Some("postgres://swifthook:hunter2@db/swifthook?hunter2=hunter2".to_owned()),
        "HF_TOKEN" => Some("hf_abc".to_owned()),
        _ => None,
    };
    Config::parse(text, Path::new("swifthook.toml"), Path::new("/srv"), &variable)
}

fn mistakes(text: &str) -> String {
    parse(text).expect_err("something is wrong in it").to_string()
}

/// A good configuration with more lines in its recipe.
fn with(lines: &str) -> String {
    format!("{GOOD}{lines}\n")
}

const GOOD: &str = r#"
[[hook]]
secrets = ["env:GITHUB_WEBHOOK_SECRET"]

[[repository]]
name = "acme/models"
clone_url = "https://github.com/acme/models.git"

[[recipe]]
name = "sft"
repository = "acme/models"
branches = ["main"]
trust = "code"
run = { command = ["python", "train.py"] }
"#;

#[test]
fn the_configuration_in_the_readme_is_a_good_one() {
    let readme = include_str!("../../../README.md");
    let (_, after) = readme.split_once("```toml\n").expect("the README shows a configuration");
    let (shown, _) = after.split_once("```").unwrap();
    let config = parse(shown).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((config.hooks.len(), config.recipes.len()), (1, 1));
}

#[test]
fn the_recipes_among_the_examples_are_good_ones() {
    let shown = include_str!("../../../examples/recipes/swifthook.toml");
    let config = parse(shown).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.recipes.len(), 5);
}

#[test]
fn a_small_configuration_has_every_default() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.store.url, StoreUrl::Sqlite("/srv/swifthook.db".into()));
    assert_eq!(config.store.state_dir, Path::new("/srv/swifthook-state"));
    assert_eq!((config.worker.slots, config.hooks[0].hook.max_body), (1, 25 << 20));
    assert_eq!(config.hooks[0].repositories, ["acme/models"]);
    assert_eq!(&*config.recipes[0].run.launcher, "local");
}

#[test]
fn the_digest_is_of_what_is_said_and_not_of_how() {
    let digest = parse(GOOD).unwrap().digest;
    let respelled = GOOD.replace(" = ", "=").replace("[[recipe]]", "# the one recipe\n[[recipe]]");
    assert_eq!(parse(&respelled).unwrap().digest, digest);
    assert_ne!(parse(&GOOD.replace("train.py", "other.py")).unwrap().digest, digest);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = mistakes(
        r#"
[server]
listn = "127.0.0.1:8080"

[[hook]]
secrets = ["hunter2 in plain text", "env:SHORT", "env:MISSING"]
max_age = "seven"

[[repository]]
name = "acme/models"
clone_url = "ext::sh -c whoami"

[[repository]]
name = "acme/other"
clone_url = "https://github.com/acme/other"

[[repository]]
name = "Acme/Other"
clone_url = "https://user:password@github.com/acme/other"

[[recipe]]
name = "sft"
repository = "acme/model"
brnches = ["main"]
paths = ["configs/[.yaml"]
run = { command = ["python", "{path}", "{nope}"], foo = 1 }
"#,
    );
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_reserved_is_refused_and_never_ignored() {
    let text = mistakes(&with(
        r#"
gpus = { count = 1 }
nodes = 2
lfs = true
submodules = ["github.com"]
models = ["Qwen/*"]
data = ["/data/**"]
approval = { when = "always" }
budget = { gpu_hours = 10 }
watchdog = "10m"
isolation = "namespace"
environment = { image = "x@sha256:0" }
[[recipe.then]]
run = { command = ["x"] }
[[launcher]]
name = "a100"
kind = "slurm"
partition = "gpu"
[[notify]]
url = "env:X"
[registry]
[[deployment]]
[[gateway]]
[limits]
"#,
    ));
    insta::assert_snapshot!(text);
}

#[test]
fn what_has_ended_is_kept_for_a_week_at_least_and_as_long_as_a_push_may_come() {
    let days = |count: u64| Some(std::time::Duration::from_secs(count * 86_400));
    let kept = |lines: &str| parse(&with(&format!("[retention]\n{lines}"))).unwrap().retention;
    assert_eq!(parse(GOOD).unwrap().retention, kept("keep = \"90d\"\nkeep_failed = \"180d\""));
    assert_eq!((kept("").keep, kept("").keep_failed), (days(90), days(180)));
    let forever = kept("keep = \"forever\"\nkeep_failed = \"off\"");
    assert_eq!((forever.keep, forever.keep_failed), (None, None));
    let told = mistakes(&with("[retention]\nkeep = \"6d\"\nkeep_failed = \"some time\"\nkep = \"1y\""));
    for mistake in ["less than a week", "not a duration: `some time`", "`forever`", "`kep`"] {
        assert!(told.contains(mistake), "{mistake} in {told}");
    }
    let patient = GOOD.replace("[[repository]]", "max_age = \"30d\"\n\n[[repository]]");
    let told = mistakes(&format!("{patient}\n[retention]\nkeep = \"29d\"\n"));
    assert!(told.contains("`max_age` of hook `github`"), "{told}");
    assert!(parse(&format!("{patient}\n[retention]\nkeep = \"30d\"\n")).is_ok());
}

#[cfg(feature = "postgres")]
#[test]
fn a_database_is_named_by_a_url_and_its_password_stands_elsewhere() {
    let of = |url: &str| parse(&with(&format!("[store]\nurl = \"{url}\"")));
    for url in ["postgres://swifthook@db:5433/swifthook", "postgresql://db/x?sslmode=disable", "env:DATABASE"]
    {
        let StoreUrl::Postgres(read) = of(url).unwrap().store.url else { panic!("{url}") };
        assert!(read.exposed().starts_with("postgres"));
        assert!(!format!("{read:?}").contains("hunter2"), "{read:?}");
    }
    let wrong = [
        "postgres://swifthook:hunter2@db/swifthook",
        "postgres://db/swifthook?password=hunter2",
        "postgres://db:many/swifthook",
        "postgres://db/swifthook?sslmod=require",
        "env:STRANGE_DATABASE",
        "env:MISSING",
        "mysql://root:hunter2@db/swifthook",
    ];
    let told: Vec<_> = wrong.iter().map(|url| format!("{url}\n{}\n", of(url).unwrap_err())).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[cfg(feature = "rabbitmq")]
#[test]
fn a_broker_is_named_by_a_url_whose_password_and_keys_stand_elsewhere() {
    let intake = |lines: &str| parse(&with(&format!("[intake]\n{lines}"))).unwrap().intake.unwrap();
    let short = intake("amqp = \"amqp://127.0.0.1\"");
    assert_eq!((&*short.options.queue, short.options.prefetch), ("swifthook.deliveries", 128));
    let long = intake(
        "amqp = \"env:BROKER\"\nqueue = \"training\"\nprefetch = 16\nkeys = [\"env:GITHUB_WEBHOOK_SECRET\"]",
    );
    assert_eq!((&*long.options.queue, long.options.prefetch, long.options.keys.len()), ("training", 16, 1));
    assert!(!format!("{long:?} {long}").contains("hunter2"));
    let wrong = [
        "amqp = \"amqp://swifthook:hunter2@broker\"",
        "amqp = \"http://broker\"",
        "amqp = \"env:DATABASE\"",
        "queue = \"training\"",
        "amqp = \"amqp://broker/\"\nqueue = \"amq.mine\"\nprefetch = 0\nkeys = []",
        "amqp = \"amqp://broker\"\nkeys = [\"hunter2\", \"env:NOWHERE\"]\nprefech = 3",
    ];
    let told: Vec<_> = wrong.iter().map(|lines| mistakes(&with(&format!("[intake]\n{lines}")))).collect();
    let told = told.join("\n");
    assert!(!told.contains("hunter2"));
    insta::assert_snapshot!(told);
}

#[cfg(not(feature = "rabbitmq"))]
#[test]
fn a_build_without_rabbitmq_says_how_to_have_one() {
    insta::assert_snapshot!(mistakes(&with(
        "[intake]\namqp = \"amqp://user:hunter2@broker\"\nqueue = \"x\""
    )));
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_build_without_postgresql_says_how_to_have_one() {
    insta::assert_snapshot!(mistakes(&with("[store]\nurl = \"postgres://user:hunter2@db/swifthook\"")));
}

#[test]
fn values_that_say_what_happens_anyway_are_fine() {
    let same = with("nodes = 1\nlfs = false\nsubmodules = []\nmodels = []\napproval = { when = \"never\" }");
    parse(&same).unwrap();
}

#[test]
fn each_wrong_value_says_what_would_be_right() {
    let text = mistakes(&with(
        r#"
each = "!configs/*.yaml"
paths = ["!**/*.md"]
tags = ["refs/tags/v*"]
senders = ["not a login"]
env = { A = "env:GITHUB_WEBHOOK_SECRET", B = 1, "C=D" = "x", SWIFTHOOK_JOB = "x", E = "env:HF_TOKEN" }
pass_env = ["HF_HOME", "GITHUB_WEBHOOK_SECRET"]
launcher = "locl"
labels = ["gpu"]
priority = 99999999999
group = "{repository}/{path}/{job}"
superseded = "cancel-quued"
debounce = { quiet = "5m", at_most = "30s" }
timeout = "0s"
retry = { attempts = 0, backoff = "3d", exit_codes = [0, 256] }
merge_queue = "yes"
"#,
    ));
    insta::assert_snapshot!(text);
}

#[test]
fn a_configuration_that_is_not_toml_says_where() {
    let text = mistakes("[server\nlisten = \"x\"\n");
    insta::assert_snapshot!(text);
}

#[test]
fn an_empty_configuration_says_what_is_needed() {
    let text = mistakes("");
    insta::assert_snapshot!(text);
}

#[test]
fn a_secret_in_the_configuration_itself_is_refused_and_not_repeated() {
    let secret = "hunter2-hunter2-hunter2";
    for wrong in [
        GOOD.replace("env:GITHUB_WEBHOOK_SECRET", secret),
        format!("[server]\nadmin_token = \"{secret}\"\n{GOOD}"),
        GOOD.replace("https://github.com", &format!("https://user:{secret}@github.com")),
        format!("[store]\nurl = \"mysql://user:{secret}@db\"\n{GOOD}"),
    ] {
        let text = mistakes(&wrong);
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_schedule_has_days_hours_and_a_zone() {
    let good = with(
        "schedule = [{ days = \"mon-fri\", hours = \"22:00-06:00\" }, { hours = \"00:00-24:00\" }]\ntimezone = \"Asia/Shanghai\"\noutside = \"skip\"",
    );
    assert!(parse(&good).unwrap().recipes[0].queueing.schedule.is_some());
    let text = mistakes(&with(
        r#"
schedule = [{ days = "mo-fr", hours = "8-20" }, { days = "mon", hours = "25:00-26:00" }, { hour = "1" }, { hours = "08:00-08:00" }]
timezone = "Shanghai"
outside = "pause"
"#,
    ));
    insta::assert_snapshot!(text);
}

#[test]
fn credentials_are_of_one_kind_and_no_run_is_given_them() {
    let token = "credentials = { token = \"env:HF_TOKEN\" }";
    let after_url = |line: &str| GOOD.replace("models.git\"\n", &format!("models.git\"\n{line}\n"));
    parse(&after_url(token)).unwrap();
    parse(&after_url("credentials = { key = \"id_ed25519\" }")).unwrap();
    let text = [
        mistakes(&(after_url(token) + "pass_env = [\"HF_TOKEN\"]\n")),
        mistakes(&after_url("credentials = { token = \"ghp_in_plain_text\" }")),
        mistakes(&after_url("credentials = { key = \"a\", helper = \"store\" }")),
        mistakes(&after_url("credentials = {}")),
        mistakes(&with("env = { HF_TOKEN = \"env:HF_TOKEN\" }\npass_env = [\"HF_TOKEN\"]")),
    ];
    insta::assert_snapshot!(text.join("\n\n"));
}

/// A good configuration whose recipe runs ms-swift, with more lines in it.
fn swift(run: &str, lines: &str) -> String {
    let recipe = GOOD.replace("trust = \"code\"\nrun = { command = [\"python\", \"train.py\"] }\n", "");
    format!("{recipe}run = {run}\n{lines}\n")
}

#[test]
fn a_recipe_of_ms_swift_says_what_a_pushed_config_may_name() {
    let run = r#"{ swift = "sft", config = "configs/sft.yaml", args = { learning_rate = 1e-4, dataset = ["a", "b"], columns = { a = "b" }, use_hf = true, seed = 1 } }"#;
    let config = parse(&swift(run, "models = [\"Qwen/*\", \"/models/**\"]\ndata = [\"/data/**\"]")).unwrap();
    let run = &config.recipes[0].run;
    let command: Vec<_> = run.command.iter().map(ToString::to_string).collect();
    let args = [
        "--columns={\"a\":\"b\"}",
        "--dataset=a",
        "--dataset=b",
        "--learning_rate=0.0001",
        "--seed=1",
        "--use_hf=true",
    ];
    let mut sorted = command[2..].to_vec();
    sorted.sort();
    assert_eq!(
        (&command[..2], &sorted[..]),
        (&["swift".to_owned(), "sft".to_owned()][..], &args.map(str::to_owned)[..])
    );
    assert_eq!(run.file.as_ref().unwrap().to_string(), "configs/sft.yaml");
    let allowed = run.swift.as_ref().unwrap();
    assert_eq!(allowed.models.patterns().collect::<Vec<_>>(), ["Qwen/*", "/models/**"]);
    assert!(parse(&swift("{ megatron = \"sft\", config = \"a.yaml\" }", "trust = \"code\"")).is_ok());
}

#[test]
fn mistakes_in_a_recipe_of_ms_swift_say_what_would_be_right() {
    for (run, lines, told) in [
        (r#"{ swift = "train", config = "a.yaml" }"#, "", "fine-tuning is `sft`"),
        (r#"{ swift = "sft" }"#, "", "no `config`"),
        (r#"{ swift = "sft", config = "{path}" }"#, "", "`each`"),
        (r#"{ swift = "sft", config = "../a.yaml" }"#, "", "no path of a file in the repository"),
        (r#"{ swift = "sft", config = "{run_dir}/a.yaml" }"#, "", "depends on the run"),
        (
            r#"{ swift = "sft", config = "a.yaml", args = { lerning_rate = 1 } }"#,
            "",
            "did you mean `learning_rate`?",
        ),
        (
            r#"{ swift = "sft", config = "a.yaml", args = { max_steps = "many" } }"#,
            "",
            "is not a whole number",
        ),
        (
            r#"{ swift = "sft", config = "a.yaml", args = { output_dir = "/x" } }"#,
            "",
            "every run sets it itself",
        ),
        (r#"{ swift = "sft", config = "a.yaml", command = ["x"] }"#, "", "unknown key `command`"),
        (r#"{ swift = "sft", config = "a.yaml" }"#, "trust = \"all\"", "`data`"),
        (
            r#"{ swift = "sft", config = "a.yaml" }"#,
            "models = [\"./models/**\"]",
            "neither an absolute path nor an id",
        ),
    ] {
        let text = mistakes(&swift(run, lines));
        assert!(text.contains(told), "{run}\n{text}");
    }
}
