//! What a person reads who has made a mistake in the configuration.

use std::path::Path;

use swifthook::config::{Cgroup, Config, Mistakes, StoreUrl};
use swifthook_msswift::Hub;

fn parse(text: &str) -> Result<Config, Mistakes> {
    let variable = |name: &str| match name {
        "GITHUB_WEBHOOK_SECRET" => Some("correct horse battery staple 2026".to_owned()),
        "SHORT" => Some("short".to_owned()),
        "BROKER" => Some("amqps://swifthook:hunter2@broker.example.org/%2f".to_owned()),
        "DATABASE" => Some("postgres://swifthook:hunter2@db/swifthook".to_owned()),
        "STRANGE_DATABASE" => Some("postgres://swifthook:hunter2@db/swifthook?hunter2=hunter2".to_owned()),
        "HF_TOKEN" => Some("hf_abc".to_owned()),
        "SWIFTHOOK_ADMIN_TOKEN" => Some("correct horse battery staple 2027".to_owned()),
        "SWIFTHOOK_STORE" => Some("postgres://swifthook:hunter2@db/swifthook".to_owned()),
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
fn files_that_variables_of_the_server_name_are_hidden_from_runs_unless_a_recipe_hands_them_on() {
    let variable = |name: &str| match name {
        "GITHUB_WEBHOOK_SECRET" => Some("correct horse battery staple 2026".to_owned()),
        "KUBECONFIG" => Some("/srv/kube/a:/srv/kube/b".to_owned()),
        "KRB5CCNAME" => Some("FILE:/srv/krb5cc".to_owned()),
        "PGPASSFILE" => Some("relative/pgpass".to_owned()),
        "DOCKER_CONFIG" => Some("/".to_owned()),
        "GOOGLE_APPLICATION_CREDENTIALS" => Some("/srv/google.json".to_owned()),
        _ => None,
    };
    let hides = |text: &str, path: &str| {
        let config = Config::parse(text, Path::new("swifthook.toml"), Path::new("/srv"), &variable).unwrap();
        config.private.iter().any(|hidden| hidden == Path::new(path))
    };
    for path in ["/srv/kube/a", "/srv/kube/b", "/srv/krb5cc", "/srv/google.json"] {
        assert!(hides(GOOD, path), "{path}");
    }
    for path in ["/", "relative/pgpass", "FILE"] {
        assert!(!hides(GOOD, path), "{path}");
    }
    let handed_on = with("pass_env = [\"GOOGLE_APPLICATION_CREDENTIALS\"]");
    assert!(!hides(&handed_on, "/srv/google.json") && hides(&handed_on, "/srv/kube/a"));
}

#[test]
fn every_file_of_the_store_is_hidden_from_runs() {
    let config = parse(GOOD).unwrap();
    for ending in ["", "-journal", "-shm", "-wal", ".lock", ".reserve"] {
        let file = format!("/srv/swifthook.db{ending}");
        assert!(config.private.iter().any(|hidden| hidden == Path::new(&file)), "{file}");
    }
}

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
fn a_hook_may_say_whose_payloads_it_takes() {
    let kind = |text: &str| {
        let config = parse(&GOOD.replace("[[repository]]", &format!("{text}\n\n[[repository]]")));
        config.map(|config| config.hooks[0].hook.kind)
    };
    assert_eq!(kind("").unwrap(), None);
    assert_eq!(kind("kind = \"gitea\"").unwrap(), Some(swifthook_core::Dialect::Gitea));
    assert_eq!(kind("kind = \"github\"").unwrap(), Some(swifthook_core::Dialect::GitHub));
    let told = mistakes(&GOOD.replace("[[repository]]", "kind = \"gitlab\"\n\n[[repository]]"));
    assert!(told.contains("not a kind of hook: `gitlab`") && told.contains("kind = \"gitea\""), "{told}");
}

#[test]
fn what_is_reserved_is_refused_and_never_ignored() {
    let text = mistakes(&with(
        r#"
nodes = 2
models = ["Qwen/*"]
data = ["/data/**"]
approval = { when = "always" }
budget = { gpu_hours = 10 }
watchdog = { then = "panic", factor = 1, at_least = "1s" }
[[recipe.then]]
run = { command = ["x"] }
[[notify]]
url = "env:X"
[registry]
[[deployment]]
[[gateway]]
"#,
    ));
    insta::assert_snapshot!(text);
}

fn launcher(kind: &str) -> String {
    with(&format!("launcher = \"a100\"\n[[launcher]]\nname = \"a100\"\nkind = \"{kind}\""))
}

#[test]
fn a_recipe_chooses_a_launcher_by_name() {
    let config = parse(&launcher("local")).unwrap();
    let names: Vec<_> = config.launchers.iter().map(|launcher| &*launcher.name).collect();
    assert_eq!((names, &*config.recipes[0].run.launcher), (vec!["local", "a100"], "a100"));
    let text = mistakes(&launcher("local").replace("\"a100\"\n[[", "\"a10\"\n[["));
    assert!(text.contains("no launcher is called `a10`\n    did you mean `a100`?"), "{text}");
    let text = mistakes(&launcher("loca"));
    assert!(text.contains("no kind of launcher is called `loca`"), "{text}");
}

#[test]
fn a_kind_of_launcher_that_is_not_built_in_is_refused_with_its_feature() {
    let not_built = [("slurm", cfg!(feature = "slurm")), ("kubernetes", cfg!(feature = "kubernetes"))];
    for (kind, _) in not_built.into_iter().filter(|(_, is_built)| !is_built) {
        let text = mistakes(&launcher(kind));
        assert!(text.contains("this build of swifthook has no launcher for"), "{text}");
        assert!(text.contains(&format!("--features {kind}`")), "{text}");
    }
}

/// The configuration of receivers in `contrib/kubernetes`; that workers have the same recipes is another test.
#[cfg(all(feature = "kubernetes", feature = "postgres"))]
#[test]
fn the_configuration_that_is_shipped_for_kubernetes_is_a_good_one() {
    let manifest = include_str!("../../../contrib/kubernetes/config.yaml");
    let text = manifest.split_once("  receiver.toml: |\n").unwrap().1.split_once("  worker.toml").unwrap().0;
    let config = parse(&text.replace("\n    ", "\n")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((config.worker.slots, &*config.recipes[0].run.launcher), (0, "cluster"));
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_launcher_on_kubernetes_is_read_and_each_mistake_in_it_told() {
    use swifthook::config::LauncherKind;
    let lines =
        "\ntools = { image = \"swifthook@sha256:0\" }\nclaim = \"runs\"\nresources = { memory = \"64Gi\" }
        tolerations = [{ key = \"gpu\", effect = \"NoSchedule\" }]\nnode_selector = { pool = \"a100\" }
        volumes = [{ name = \"models\", claim = \"models\", path = \"/models\", read_only = true }]";
    let image = format!("environment = {{ image = \"registry.example.org/x@sha256:{}\" }}\n", "a".repeat(64));
    let of = |lines: &str| {
        let text = launcher(&format!("kubernetes\"{lines}\nowner = \"one"));
        text.replace("launcher = \"a100\"\n", &format!("launcher = \"a100\"\n{image}"))
    };
    let config = parse(&of(lines)).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let LauncherKind::Kubernetes(settings) = &config.launchers[1].kind else { panic!("another kind") };
    assert_eq!(settings.claim.as_deref(), Some("runs"));
    assert_eq!(settings.resources["memory"], "64Gi");
    assert!(settings.volumes[0].read_only && settings.capabilities().yields);
    for (wrong, told) in [
        ("64Gi", "64 GiB", "not an amount: `64 GiB`"),
        ("NoSchedule", "Never", "no taint has the effect `Never`"),
        ("claim = \"models\"", "claims = \"models\"", "a volume has one source"),
        ("\"/models\"", "\"models\"", "not an absolute path: `models`"),
        ("name = \"models\"", "name = \"runs\"", "every pod has a volume `runs` already"),
        ("\"runs\"\n", "\"Runs\"\n", "not the name of an object: `Runs`"),
        ("node_selector", "node_selectors", "node_selectors"),
        ("tools", "tool", "`tools"),
    ]
    .map(|(from, to, told)| (lines.replace(from, to), told))
    {
        let text = mistakes(&of(&wrong));
        assert!(text.contains(told), "{told} in {text}");
    }
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_launcher_whose_pods_check_out_themselves_is_told_where_and_what_cannot_be_is_refused() {
    use swifthook::config::LauncherKind;
    let digest = format!("registry.example.org/x@sha256:{}", "a".repeat(64));
    let of = |lines: &str, run: &str, repository: &str| {
        format!(
            "[[hook]]\nsecrets = [\"env:GITHUB_WEBHOOK_SECRET\"]
            [[repository]]\nname = \"acme/models\"\n{repository}
            [[launcher]]\nname = \"cluster\"\nkind = \"kubernetes\"\ntools = {{ image = \"x\" }}\n{lines}
            [[recipe]]\nname = \"sft\"\nrepository = \"acme/models\"\nbranches = [\"main\"]\nlauncher = \"cluster\"
            environment = {{ image = \"{digest}\" }}\n{run}"
        )
    };
    let https = "clone_url = \"https://git.example.org/acme/models.git\"";
    let ssh = "clone_url = \"git@git.example.org:acme/models.git\"";
    let private = format!("{https}\ncredentials = {{ key = \"/k\" }}");
    let command = "trust = \"code\"\nrun = { command = [\"python\", \"train.py\"] }";
    let with_secret = format!("checkout = {{ image = \"{digest}\", secret = \"git\", memory = \"4Gi\" }}");
    let config = parse(&of(&with_secret, command, ssh)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let LauncherKind::Kubernetes(settings) = &config.launchers[1].kind else { panic!("another kind") };
    let checkout = settings.checkout.as_ref().unwrap();
    assert_eq!((checkout.image.as_deref(), checkout.secret.as_deref()), (Some(&*digest), Some("git")));
    assert_eq!(&*checkout.memory, "4Gi");
    let places: Vec<_> = checkout.repositories.iter().map(|(name, url)| format!("{name} {url}")).collect();
    assert_eq!(places, ["acme/models git@git.example.org:acme/models.git"]);
    let can = settings.capabilities();
    assert!(can.checks_out && !can.keeps_output && !can.yields);
    // What is given data alone fetches nothing.
    let swift = "run = { swift = \"sft\", config = \"sft.yaml\" }";
    let here = "clone_url = \"/srv/models.git\"";
    let data = parse(&of("claim = \"runs\"\ncheckout = {}", swift, here));
    assert!(data.is_ok(), "{}", data.err().unwrap());
    assert!(parse(&of("checkout = {}", command, https)).is_ok(), "a repository that everybody may read");
    for (lines, run, repository, told) in [
        ("checkout = {}", command, here, "`/srv/models.git` is a place on this machine"),
        ("checkout = {}", command, ssh, "has nothing to show to the server of `acme/models`"),
        ("checkout = {}", command, &private, "has nothing to show to the server of `acme/models`"),
        ("checkout = { image = \"git\" }", command, https, "not an image with its digest: `git`"),
        ("checkout = { secret = \"Git\" }", command, https, "not the name of an object: `Git`"),
        ("checkout = { key = \"x\" }", command, https, "key"),
        ("checkout = {}", swift, https, "and ms-swift leaves what it trained"),
        ("", &command.replace("train.py", "{output_dir}/x"), https, "and this names a place of it"),
        (
            "volumes = [{ name = \"git\", empty = true, path = \"/x\" }]",
            command,
            https,
            "every pod has a volume `git` already",
        ),
    ] {
        let text = mistakes(&of(lines, run, repository));
        assert!(text.contains(told), "{told} in {text}");
    }
}

#[test]
#[cfg(feature = "slurm")]
fn a_launcher_for_slurm_says_what_its_site_has() {
    let more = |lines: &str| parse(&(launcher("slurm") + "\n" + lines));
    let config = more(
        "partition = \"gpu,long\"\naccount = \"nlp\"\nqos = \"high\"\ngres = \"gpu:a100\"\ncpus = 8\n\
         time = \"12h\"\nlines = [\"--constraint=a100&nvlink\"]\npoll = \"30s\"",
    );
    let swifthook::config::LauncherKind::Slurm(options) = &config.unwrap().launchers[1].kind else {
        panic!("it is of another kind")
    };
    assert_eq!((options.partition.as_deref(), options.gres.as_str()), (Some("gpu,long"), "gpu:a100"));
    assert_eq!(options.lines, ["--constraint=a100&nvlink"]);
    assert!(
        parse(&launcher("slurm").replace("launcher = ", "nodes = 4\ngpus = { count = 8 }\nlauncher = "))
            .is_ok()
    );
    for (lines, told) in [
        ("partition = \"gpu; rm\"", "not a name that Slurm has"),
        ("gres = \"gpu:a100:8\"", "not a generic resource without its count"),
        ("cpus = 0", "`cpus` is 0"),
        ("lines = [\"constraint\"]", "not an option of sbatch"),
        ("lines = [\"--a\\n#SBATCH --b\"]", "not an option of sbatch"),
        ("template = \"no-such-file\"", "cannot be read"),
        ("programs = \"/nowhere\"", "there is no `sbatch` in"),
        ("partitions = \"gpu\"", "did you mean `partition`?"),
    ] {
        let Err(wrong) = more(lines) else { panic!("{lines}") };
        assert!(wrong.to_string().contains(told), "{told} in {wrong}");
    }
    let chosen = launcher("slurm").replace("launcher = ", "gpus = { names = [\"*A100*\"] }\nlauncher = ");
    assert!(mistakes(&chosen).contains("the launcher `a100` does not choose among GPUs"));
    let counted = launcher("slurm").replace("launcher = ", "limits = { processes = 4096 }\nlauncher = ");
    assert!(mistakes(&counted).contains("nobody counts the processes of a run of the launcher `a100`"));
}

#[test]
fn what_a_launcher_cannot_do_is_refused() {
    let image = format!("environment = {{ image = \"registry.example.org/x@sha256:{}\" }}", "a".repeat(64));
    for (lines, told) in [
        ("nodes = 2", "a run of the launcher `local` is on one machine"),
        ("nodes = 0", "`nodes` cannot be 0"),
        (&*image, "the launcher `local` has no images"),
        ("environment = { image = \"x@sha256:0\" }", "not an image with its digest: `x@sha256:0`"),
    ] {
        let text = mistakes(&with(lines));
        assert!(text.contains(told), "{told} in {text}");
    }
}

#[test]
fn a_run_has_limits_and_one_kind_of_isolation() {
    let run =
        |lines: &str| parse(&with(lines)).unwrap_or_else(|wrong| panic!("{wrong}")).recipes.remove(0).run;
    let limits =
        run("limits = { memory = \"64 GiB\", cpu_time = \"10h\", files = 65536, disk = \"200 GiB\" }").limits;
    assert_eq!((limits.memory, limits.files, limits.disk), (Some(64 << 30), Some(65_536), Some(200 << 30)));
    assert_eq!(limits.cpu_time, Some(std::time::Duration::from_secs(36_000)));
    assert_eq!(run("").limits, swifthook_core::RunLimits { log: Some(256 << 20), ..Default::default() });
    assert_eq!(run("limits = { processes = 4096 }").limits.processes, Some(4_096));
    assert_eq!(run("max_log = \"1 GiB\"\nlimits = { files = 64 }").limits.log, Some(1 << 30));
    assert_eq!((run("max_log = \"off\"").limits.log, run("max_log = \"none\"").limits.log), (None, None));
    assert!(run("").isolation.is_none());
    assert!(run("isolation = { prefix = [\"nice\", \"{job}\"] }").isolation.is_some());
    for (lines, told) in [
        ("limits = { memory = \"much\" }", "not a size: `much`"),
        ("limits = { files = 3 }", "with which no Python starts"),
        ("limits = { disc = \"1 GiB\" }", "did you mean `disk`?"),
        ("limits = { processes = 8 }", "at least 64, for example 4096"),
        ("max_log = \"64 KiB\"", "at least `1 MiB`, or `off`"),
        ("max_log = \"large\"", "for example `256 MiB`, or `off`"),
        ("limits = { log = \"1 GiB\" }", "max_log"),
        ("isolation = {}", "has one of `user`, `bubblewrap` and `prefix`"),
        ("isolation = { bubblewrap = true, prefix = [\"nice\"] }", "has one of"),
        ("isolation = { bubblewrap = false }", "is true or is left out"),
        ("isolation = { user = \"root\" }", "not isolated from anything"),
        ("isolation = { user = \"-x\" }", "not the name of a user"),
        ("isolation = { prefix = [] }", "an empty prefix"),
        ("isolation = { bubblewrap = true, user = \"0\" }", "not isolated from anything"),
        ("isolation = { prefix = [\"nice\"], network = false }", "only a sandbox has `network`"),
        ("isolation = { prefix = [\"nice\"], user = \"nobody\" }", "has one of"),
        ("isolation = { bubblewrap = true, caches = [\"/data\"] }", "no folder for a cache: `/data`"),
        (
            "isolation = { bubblewrap = true, caches = [\"hf\", \"/a/../b\"] }",
            "no folder for a cache: `/a/../b`",
        ),
        (
            "isolation = { bubblewrap = true, caches = [\"/data/hf\", \"/data/hf-2\", \"/data/hf/x/made\"] }",
            "the cache `/data/hf/x/made` is within the cache `/data/hf`, to which runs write",
        ),
        ("isolation = { bubblewrap = true, home = [\"../x\"] }", "not a part of a home directory: `../x`"),
        (
            "isolation = { bubblewrap = true, home = [\"/x\", \"~/y\"] }",
            "not a part of a home directory: `~/y`",
        ),
        ("isolation = { bubblewrap = true, home = [\".\"] }", "not a part of a home directory: `.`"),
        ("isolation = { prefix = [\"{path}\"] }", "`{path}` in a recipe without `each`"),
        ("environment = { uv = \"../uv.lock\" }", "is no lock of uv in the repository"),
        ("environment = { uv = \"requirements.txt\" }", "is no lock of uv in the repository"),
        ("environment = { uv = \"uv.lock\", venv = \"/usr\" }", "has one of `venv` and `uv`"),
        ("nproc = 0", "`nproc` cannot be 0"),
    ] {
        let text = mistakes(&with(lines));
        assert!(text.contains(told), "{told} in {text}");
    }
}

#[test]
fn a_server_looks_for_pushes_in_its_time_and_what_is_pulled_needs_no_hook() {
    use std::time::Duration;
    let of = |text: &str| parse(text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let minutes = |count: u64| Some(Duration::from_secs(count * 60));
    assert_eq!((of(GOOD).server.reconcile, of(GOOD).repositories[0].pull), (minutes(10), None));
    assert_eq!(of(&format!("[server]\nreconcile = \"1h\"\n{GOOD}")).server.reconcile, minutes(60));
    assert_eq!(of(&format!("[server]\nreconcile = \"off\"\n{GOOD}")).server.reconcile, None);
    let pulled = GOOD.replace("[[repository]]\n", "[[repository]]\npull = \"60s\"\n");
    assert_eq!(of(&pulled).repositories[0].pull, minutes(1));
    let hook = "[[hook]]\nsecrets = [\"env:GITHUB_WEBHOOK_SECRET\"]\n";
    let alone = of(&pulled.replace(hook, ""));
    assert!(alone.hooks.is_empty());
    assert!(mistakes(&GOOD.replace(hook, "")).contains("there is no [[hook]]"));
    let of_others = hook.to_owned() + "repositories = [\"other/*\"]\n";
    assert!(parse(&pulled.replace(hook, &of_others)).is_ok());
    let mute = mistakes(&GOOD.replace(hook, &of_others));
    assert!(mute.contains("no hook may speak for `acme/models`") && mute.contains("or say `pull`"), "{mute}");
    for (text, told) in [
        (format!("[server]\nreconcile = \"often\"\n{GOOD}"), "not a duration: `often`"),
        (format!("[server]\nreconcile = \"10ms\"\n{GOOD}"), "too often: `10ms`"),
        (pulled.replace("60s", "0s"), "not a duration: `0s`"),
        (pulled.replace("60s", "off"), "not a duration: `off`"),
    ] {
        assert!(mistakes(&text).contains(told), "{told} in {}", mistakes(&text));
    }
}

#[test]
fn an_environment_of_the_commit_is_for_those_who_may_run_code() {
    let uv = |text: &str| parse(text).unwrap_or_else(|wrong| panic!("{wrong}")).recipes.remove(0).run.uv;
    assert_eq!(uv(&with("environment = { uv = \"train/uv.lock\" }")).as_deref(), Some("train/uv.lock"));
    let swift = with("environment = { uv = \"uv.lock\" }").replace(
        "run = { command = [\"python\", \"train.py\"] }",
        "run = { swift = \"sft\", config = \"a.yaml\" }",
    );
    assert_eq!(uv(&swift).as_deref(), Some("uv.lock"));
    let told = mistakes(&swift.replace("trust = \"code\"\n", ""));
    assert!(told.contains("which `trust = \"data\"` forbids"), "{told}");
}

#[test]
fn a_machine_keeps_some_of_its_disk_for_itself() {
    let free = |lines: &str| parse(&with(lines)).unwrap().limits.free_disk;
    assert_eq!((free(""), free("[limits]")), (1 << 30, 1 << 30));
    assert_eq!(
        (free("[limits]\nfree_disk = \"10 GiB\""), free("[limits]\nfree_disk = \"off\"")),
        (10 << 30, 0)
    );
    let told = mistakes(&with("[limits]\nfree_disk = \"a lot\"\nfree_disc = \"1 GiB\""));
    for mistake in ["not a size: `a lot`", "`10 GiB`, or `off`", "did you mean `free_disk`?"] {
        assert!(told.contains(mistake), "{mistake} in {told}");
    }
}

#[test]
fn a_server_bears_so_many_connections_and_bytes_of_bodies() {
    let limits = |lines: &str| parse(&with(lines)).unwrap().limits;
    assert_eq!((limits("").connections, limits("").body_memory), (None, 256 << 20));
    let set = limits("[limits]\nconnections = 500\nbody_memory = \"100 MiB\"");
    assert_eq!((set.connections, set.body_memory), (Some(500), 100 << 20));
    let large = with("").replace("[[hook]]\n", "[[hook]]\nmax_body = \"100 MiB\"\n");
    assert_eq!(parse(&large).unwrap().limits.body_memory, 400 << 20, "room for four of the largest");
    let told = mistakes(&with("[limits]\nconnections = 3\nbody_memory = \"99 MiB\""));
    for mistake in [
        "`connections` cannot be 3",
        "from 16 to 1000000",
        "`body_memory` is 99 MiB, and a hook takes bodies of 25 MiB",
        "at least `100 MiB`, or a smaller `max_body` of the hook",
    ] {
        assert!(told.contains(mistake), "{mistake} in {told}");
    }
}

#[test]
fn gpus_are_asked_for_by_number_memory_name_and_place() {
    let config = parse(&with(
        "gpus = { count = 2, min_free_memory = \"20 GiB\", names = [\"*A100*\", \"*H?00*\"], indices = [0, 1, 3] }\n\
         [worker]\nmachine = \"box-7\"\ngpus = { indices = [1, 3], max_utilization = 5, max_used_memory = \"2 GiB\", settle = \"30s\" }",
    ))
    .unwrap();
    insta::assert_debug_snapshot!((&config.recipes[0].gpus, &config.worker));
    let plain = parse(&with("gpus = {}")).unwrap();
    assert_eq!(plain.recipes[0].gpus.as_ref().map(ToString::to_string), Some("1 GPU".to_owned()));
    assert_eq!(parse(&with("")).unwrap().recipes[0].gpus, None);
}

#[test]
fn requests_for_gpus_that_nothing_could_meet_are_refused() {
    let told = |lines: &str| mistakes(&with(lines));
    let all = [
        "gpus = 2",
        "gpus = { count = 0, min_free_memory = \"20 Gib\", names = [], indices = [], memory = \"1 GiB\" }",
        "gpus = { count = 65, min_free_memory = \"2000 GiB\", names = [\"A[\", \"!*T4*\", \"\"], indices = [-1, 2, 2] }",
        "gpus = { count = 3, indices = [0, 1] }",
        "gpus = { count = 2 }\n[worker]\ngpus = { indices = [5] }",
        "gpus = { count = 1, indices = [0] }\n[worker]\ngpus = { indices = [1, 2] }",
        "gpus = { count = 1 }\nenv = { CUDA_VISIBLE_DEVICES = \"0\" }\npass_env = [\"CUDA_DEVICE_ORDER\"]",
        "[worker]\ngpus = { max_utilization = 101, max_used_memory = \"1\", settle = \"1h\", setle = \"1s\" }",
    ];
    insta::assert_snapshot!(all.map(told).join("\n"));
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

#[test]
fn environments_are_kept_for_a_month_from_their_last_use_unless_it_is_said() {
    let days = |count: u64| Some(std::time::Duration::from_secs(count * 86_400));
    let kept = |lines: &str| parse(&with(&format!("[retention]\n{lines}"))).unwrap().environments;
    assert_eq!((parse(GOOD).unwrap().environments, kept("")), (days(30), days(30)));
    assert_eq!((kept("environments = \"1d\""), kept("environments = \"forever\"")), (days(1), None));
    assert!(mistakes(&with("[retention]\nenvironments = \"1h\"")).contains("less than a day"));
}

#[test]
fn a_worker_that_is_to_end_leaves_its_runs_or_lets_them_make_way() {
    use swifthook_runner::Drain;
    let drain = |line: &str| parse(&with(&format!("[worker]\n{line}"))).unwrap().worker.drain;
    assert_eq!((parse(GOOD).unwrap().worker.drain, drain("slots = 1")), (Drain::Leave, Drain::Leave));
    assert_eq!((drain("drain = \"leave\""), drain("drain = \"yield\"")), (Drain::Leave, Drain::Yield));
    let told = mistakes(&with("[worker]\ndrain = \"yeild\""));
    assert!(told.contains("`yeild`") && told.contains("`yield`"), "{told}");
}

#[test]
fn control_groups_are_looked_for_named_or_done_without() {
    let cgroup = |line: &str| parse(&with(&format!("[worker]\n{line}"))).unwrap().worker.cgroup;
    assert_eq!(
        (parse(GOOD).unwrap().worker.cgroup, cgroup("cgroup = \"auto\"")),
        (Cgroup::Auto, Cgroup::Auto)
    );
    assert_eq!(cgroup("cgroup = \"off\""), Cgroup::Off);
    assert_eq!(cgroup("cgroup = \"/sys/fs/cgroup/ml\""), Cgroup::At("/sys/fs/cgroup/ml".into()));
    let told = mistakes(&with("[worker]\ncgroup = \"none\""));
    assert!(told.contains("`none`") && told.contains("`off`"), "{told}");
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
fn a_working_tree_may_have_lfs_and_submodules_of_some_hosts_and_a_mirror_a_part_of_the_past() {
    let with_both = with("lfs = true\nsubmodules = [\"GitHub.com\", \"git.example.org:8443\"]");
    let config = parse(&with_both).unwrap();
    let checkout = &config.recipes[0].run.checkout;
    assert!(checkout.lfs);
    assert_eq!(*checkout.submodules, ["github.com", "git.example.org:8443"]);
    for history in ["full", "blobless", "shallow"] {
        let kept = format!("models.git\"\nhistory = \"{history}\"");
        let config = parse(&GOOD.replace("models.git\"", &kept)).unwrap();
        let told = format!("{:?}", config.repositories[0].remote.history).to_lowercase();
        assert_eq!(told, history);
    }
    let wrong = with("lfs = 1\nsubmodules = [\"https://github.com\", \"*\"]");
    let wrong = wrong.replace("models.git\"", "models.git\"\nhistory = \"blobles\"");
    insta::assert_snapshot!(mistakes(&wrong));
}

#[test]
fn a_run_that_is_given_data_alone_has_no_working_tree_for_lfs_and_submodules() {
    let run = "{ swift = \"sft\", config = \"sft.yaml\" }";
    let text = mistakes(&swift(run, "lfs = true\nsubmodules = [\"github.com\"]"));
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
fn runs_of_ms_swift_are_watched_and_others_where_the_recipe_says_so() {
    let watch = |lines: &str| parse(&with(lines)).unwrap().recipes[0].watch.map(|watch| format!("{watch:?}"));
    assert_eq!(watch(""), None);
    let told = watch("watchdog = { then = \"resume\", factor = 3, at_least = \"2m\" }").unwrap();
    assert_eq!(told, "Watch { then: Resume, factor: 3, at_least: 120s }");
    assert_eq!(watch("watchdog = {}").unwrap(), "Watch { then: Tell, factor: 5, at_least: 600s }");
    assert_eq!(watch("watchdog = { then = \"nothing\" }"), None);
}

#[test]
fn a_schedule_has_days_hours_and_a_zone() {
    let good = with(
        "schedule = [{ days = \"mon-fri\", hours = \"22:00-06:00\" }, { hours = \"00:00-24:00\" }]\ntimezone = \"Asia/Shanghai\"\noutside = \"skip\"",
    );
    for outside in ["hold", "skip", "pause"] {
        let schedule = parse(&good.replace("skip", outside)).unwrap().recipes[0].queueing.schedule.clone();
        assert_eq!(format!("{:?}", schedule.unwrap().outside()).to_lowercase(), outside);
    }
    let text = mistakes(&with(
        r#"
schedule = [{ days = "mo-fr", hours = "8-20" }, { days = "mon", hours = "25:00-26:00" }, { hour = "1" }, { hours = "08:00-08:00" }]
timezone = "Shanghai"
outside = "paws"
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
    let allowed = &run.swift.as_ref().unwrap().permissions;
    assert_eq!(allowed.hub, Some(Hub::HuggingFace), "as its args say");
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
        (
            r#"{ swift = "sft", config = "a.yaml" }"#,
            "data = [\"/data/**\", \"acme/*\"]",
            "move it to `hub_data = [\"acme/*\"]`",
        ),
        (
            r#"{ swift = "sft", config = "a.yaml", args = { use_hf = true } }"#,
            "hub = \"modelscope\"",
            "`args` say by `use_hf` that the hub is Hugging Face, and `hub` that it is ModelScope",
        ),
        (
            r#"{ swift = "sft", config = "a.yaml" }"#,
            "trust = \"code\"\nhub = \"modelscope\"\nenv = { USE_HF = \"1\" }",
            "`USE_HF`",
        ),
    ] {
        let text = mistakes(&swift(run, lines));
        assert!(text.contains(told), "{run}\n{text}");
    }
}

#[test]
fn whatever_is_wrong_with_an_address_what_lets_somebody_in_is_not_repeated() {
    let https = "clone_url = \"https://github.com/acme/models.git\"";
    let clone = |url: &str| GOOD.replace(https, &format!("clone_url = \"{url}\""));
    for (text, shown) in [
        (clone("htps://x:hunter2@github.com/a/b.git"), "`htps://…@github.com/a/b.git`"),
        (clone("HTTPS://x:hunter2@github.com/a/b.git"), "`HTTPS://…@github.com/a/b.git`"),
        (clone("git+https://hunter2@github.com/a/b.git"), "`git+https://…@github.com/a/b.git`"),
        (clone(" https://x:hunter2@github.com/a/b.git"), "` https://…@github.com/a/b.git`"),
        (clone("https:/x:hunter2@github.com/a/b.git"), "put a token into `credentials`"),
        (clone("https://x:hunter2%40github.com/a/b.git"), "put a token into `credentials`"),
        (clone("https://x:hun\\tter2@github.com/a"), "`https://…@github.com/a`"),
        (clone("x:hunter2@github.com:a/b.git"), "put a token into `credentials`"),
        (clone("https://x:hunter2"), "`https://x:…`"),
        (format!("[server]\nlisten = \"http://x:hunter2@127.0.0.1:80\"\n{GOOD}"), "`http://…@127.0.0.1:80`"),
        (format!("[server]\ngithub_meta = \"htps://x:hunter2@h/meta\"\n{GOOD}"), "`htps://…@h/meta`"),
        (format!("[server]\n\"https://x:hunter2@h/\" = 1\n{GOOD}"), "unknown key `https://…@h/`"),
        (format!("[store]\nurl = \"postgress://x:hunter2@db/x\"\n{GOOD}"), "not a store"),
        (with("launcher = \"https://x:hunter2@h/\""), "not a name: `https://…@h/`"),
        (with("environment = { image = \"https://x:hunter2@registry/a:1\" }"), "https://…@registry/a:1"),
        (with("submodules = [\"https://x:hunter2@h/\"]"), "`https://…@h/`"),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(shown), "{shown}: {told}");
        assert!(!told.contains("hunter2") && !told.contains("ter2"), "{told}");
    }
}

#[test]
fn what_a_mistake_quotes_turns_and_hides_nothing() {
    let told = mistakes(&with("outside = \"ho\\u202Eld\\u200B\\n/etc/x:1:1: forged\""));
    assert!(told.contains("`ho\\u{202e}ld\\u{200b}\\n/etc/x:1:1: forged`"), "{told}");
}

#[test]
fn a_file_without_end_is_neither_a_configuration_nor_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("swifthook.toml");
    std::fs::File::create(&file).unwrap().set_len(2 << 30).unwrap();
    let told = Config::load(&file, &|_| None).unwrap_err().to_string();
    assert!(told.contains("it has more than 16 MiB"), "{told}");
    let endless = GOOD.replace("env:GITHUB_WEBHOOK_SECRET", "file:/dev/zero");
    let told = mistakes(&endless);
    assert!(told.contains("`file:/dev/zero` cannot be read: it has more than 1 MiB"), "{told}");
}

#[test]
fn a_value_of_another_type_is_told_with_its_table_and_a_right_one() {
    for (lines, told) in [
        (
            "gpus = 1",
            "`gpus` in [[recipe]] has to be a table, and is a whole number\n    for example `gpus = { count = 1 }`",
        ),
        (
            "timeout = 3600",
            "`timeout` in [[recipe]] has to be a string, and is a whole number\n    for example `timeout = \"1h\"`",
        ),
        (
            "gpus = { count = \"1\" }",
            "`count` in `gpus` has to be a whole number, and is a string\n    for example `count = 1`",
        ),
        (
            "labels = \"a100\"",
            "`labels` in [[recipe]] has to be a list, and is a string\n    for example `labels = [\"a100\"]`",
        ),
        ("paths = [1]", "each of `paths` in [[recipe]] has to be a string, and is a whole number"),
        (
            "priority = 1.5",
            "`priority` in [[recipe]] has to be a whole number, and is a number with a fraction",
        ),
        (
            "priority = 99999999999",
            "`priority` in [[recipe]] is out of range: 99999999999\n    for example `priority = 10`",
        ),
        (
            "env = { A = 1 }",
            "`A` in `env` has to be a string, and is a whole number\n    for example `NAME = \"value\"`",
        ),
        ("limits = \"64 GiB\"", "for example `limits = { memory = \"64 GiB\" }`"),
        ("schedule = \"night\"", "for example `schedule = [{"),
        (
            "lfs = \"yes\"",
            "`lfs` in [[recipe]] has to be true or false, and is a string\n    for example `lfs = true`",
        ),
        (
            "[worker]\nslots = \"2\"",
            "`slots` in [worker] has to be a whole number, and is a string\n    for example `slots = 2`",
        ),
        (
            "[worker]\ngpus = 2",
            "`gpus` in [worker] has to be a table, and is a whole number\n    for example `gpus = { indices = [0, 1] }`",
        ),
        ("[server]\nlisten = 8080", "for example `listen = \"127.0.0.1:8080\"`"),
        (
            "[[worker]]\nslots = 2",
            "`[[worker]]` is one of several, and there is one alone\n    write `[worker]`",
        ),
        (
            "[launcher]\nname = \"a\"",
            "`[launcher]` is one table, and there may be several\n    write `[[launcher]]`",
        ),
    ] {
        let text = mistakes(&with(lines));
        assert!(text.contains(told), "{told} in {text}");
        assert!(text.ends_with("1 mistake"), "{text}");
    }
}

#[test]
fn the_keys_that_are_offered_are_there_once_and_can_be_used() {
    let text = mistakes(&with("zzz = 1"));
    let (_, offered) = text.split_once("there are ").unwrap();
    let offered: Vec<_> =
        offered.lines().next().unwrap().split([',', ' ']).filter(|word| word.contains('`')).collect();
    let distinct: std::collections::BTreeSet<_> = offered.iter().collect();
    assert_eq!(distinct.len(), offered.len(), "{text}");
    for reserved in ["`budget`", "`then`"] {
        assert!(!offered.contains(&reserved), "{text}");
    }
    for key in ["`run`", "`trust`", "`gpus`", "`repository`"] {
        assert!(offered.contains(&key), "{key} in {text}");
    }
    assert!(!mistakes(&with("limits = { zzz = 1 }")).contains("`log`"));
    assert!(!mistakes(&with("budgets = 1")).contains("did you mean `budget`"));
}

#[test]
fn what_is_right_beside_a_run_that_is_missing_or_wrong_is_no_mistake() {
    let run = "run = { command = [\"python\", \"train.py\"] }\n";
    let more = "models = [\"/m/**\"]\ndata = [\"/d/**\"]\nhub = \"huggingface\"\nrevisions = [\"main\"]\nhub_data = [\"acme/*\"]\n";
    for (instead, told, count) in [
        ("", "[[recipe]] has no `run`", 1),
        ("run = \"train.py\"\n", "`run` in [[recipe]] has to be a table", 1),
        ("run = {}\n", "`run` does not say what runs", 1),
        ("run = { swft = \"sft\", config = \"a.yaml\" }\n", "did you mean `swift`?", 2),
        ("run = { comand = [\"x\"] }\n", "did you mean `command`?", 2),
    ] {
        let text = mistakes(&(GOOD.replace(run, instead) + more));
        assert!(text.contains(told), "{told} in {text}");
        assert!(
            text.contains(&format!("{count} mistake")) && !text.contains("unknown key `trust`"),
            "{text}"
        );
    }
}

fn warnings(text: &str) -> String {
    let config = parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    config.warnings.iter().map(|warning| warning.told(Path::new("swifthook.toml"), "warning: ")).collect()
}

#[test]
fn patterns_that_nothing_ever_matches_are_warned_of() {
    assert_eq!(warnings(GOOD), "");
    for (lines, told) in [
        ("paths = [\"configs/\"]", "a pattern that nothing matches: `configs/`: paths are those of files"),
        ("paths = [\"configs/\"]", "for example `configs/**`"),
        ("paths = [\"./configs/**\"]", "for example `configs/**`"),
        ("paths = [\"configs/../x\"]", "without `./`, `../` and `//`"),
        ("paths = [\"configs//x\"]", "for example `configs/x`"),
        ("paths = [\" configs/**\"]", "white space at its beginning or end counts"),
        ("paths = ['configs\\sft.yaml']", "for example `configs/sft.yaml`"),
        ("paths = [\"**\", \"!./docs/**\"]", "for example `!docs/**`"),
        ("paths = [\"!docs/**\", \"**\"]", "`!docs/**` takes back what no pattern before it took"),
        ("each = \"./configs/*.yaml\"", "for example `configs/*.yaml`"),
        ("each = \"configs/\"", "paths are those of files"),
    ] {
        let text = warnings(&with(lines));
        assert!(text.contains(told), "{told} in {text}");
        assert!(text.starts_with("swifthook.toml:") && text.contains(": warning: "), "{text}");
    }
    for branch in [
        "main ",
        "\\tmain",
        "feature/",
        "^main$",
        "release-..",
        "v:1",
        "a//b",
        "feature/.*",
        "x.lock",
        "{main, dev}",
    ] {
        let text = warnings(&GOOD.replace("[\"main\"]", &format!("[\"{branch}\"]")));
        assert!(text.contains("a pattern that nothing matches"), "{branch}: {text}");
    }
    for tag in ["v 1", "tags/"] {
        let text = warnings(&GOOD.replace("branches = [\"main\"]", &format!("tags = [\"{tag}\"]")));
        assert!(text.contains("a pattern that nothing matches"), "{tag}: {text}");
    }
    for good in [
        "paths = [\"configs/**\", \"!configs/old/**\", \"a b.yaml\", \"[!.]*\", \"{a,b}/*.yaml\", \"**/*.yaml\", '\\[x\\]']",
        "paths = [\"Makefile\", \".github/**\", \"a..b\"]",
    ] {
        assert_eq!(warnings(&with(good)), "", "{good}");
    }
    for good in ["feature/**", "**", "v[0-9]*", "[!m]*", "v1.2", "release-{1,2}", "größe", "a-b_c+d"] {
        assert_eq!(warnings(&GOOD.replace("[\"main\"]", &format!("[\"{good}\"]"))), "", "{good}");
    }
    let dot_git =
        "[[repository]]\nname = \"acme/other.git\"\nclone_url = \"https://github.com/acme/other.git\"";
    assert!(warnings(&with(dot_git)).contains("no push is of a repository `acme/other.git`"));
}

#[test]
fn what_nobody_sees_of_a_secret_is_warned_of() {
    let of = |secret: &str, text: &str| {
        let variable = |name: &str| match name {
            "GITHUB_WEBHOOK_SECRET" | "TOKEN" => Some(secret.to_owned()),
            _ => None,
        };
        let config = Config::parse(text, Path::new("swifthook.toml"), Path::new("/srv"), &variable).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<String>()
    };
    let secret = "correct horse battery staple 2026";
    assert_eq!(of(secret, GOOD), "");
    for strange in [
        format!("{secret}\r"),
        format!("\u{feff}{secret}"),
        format!("\"{secret}\""),
        format!("'{secret}'"),
        format!(" {secret}"),
        format!("{secret} "),
        format!("{secret}\n"),
        format!("{secret}\u{200b}"),
    ] {
        let text = of(&strange, GOOD);
        assert!(text.starts_with("what `env:GITHUB_WEBHOOK_SECRET` holds "), "{strange:?}: {text}");
        assert!(text.contains("would be answered with 401") && !text.contains("horse"), "{text}");
    }
    let token =
        GOOD.replace("acme/models.git\"\n", "acme/models.git\"\ncredentials = { token = \"env:TOKEN\" }\n");
    let text = of(&format!("{secret}\r"), &token);
    assert!(text.contains("what `env:TOKEN` holds ends with a carriage return"), "{text}");
}

#[test]
fn a_slash_at_the_end_of_a_path_makes_no_difference() {
    let path = |path: &str| GOOD.replace("[[hook]]\n", &format!("[[hook]]\npath = \"{path}\"\n"));
    assert_eq!(parse(&path("/github/")).unwrap().hooks[0].path, "/github");
    assert!(mistakes(&path("/healthz/")).contains("is taken"));
    assert!(mistakes(&path("/")).contains("not a path for a hook"));
    let two = path("/github/")
        + "[[hook]]\nname = \"two\"\npath = \"/github\"\nsecrets = [\"env:HF_TOKEN_LONG\"]\n";
    assert!(mistakes(&two).contains("there are two hooks with the path `/github`"));
}
