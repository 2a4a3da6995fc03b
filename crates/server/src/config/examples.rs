//! A right line for each key, for whoever wrote a value of another type.

use super::reader::WHOLE;

/// A line that is right for this key of this table, by the names that messages have for them.
pub(super) fn of(place: &str, key: &str) -> Option<&'static str> {
    // The keys of these are the user's.
    match place {
        "`env`" => return Some("NAME = \"value\""),
        "`node_selector`" => return Some("\"node.kubernetes.io/instance-type\" = \"p4d\""),
        "`resources`" => return Some("memory = \"64Gi\""),
        _ => {}
    }
    let of_place = EXAMPLES.iter().find(|(place_of, _)| *place_of == place);
    let (_, examples) = of_place.or_else(|| EXAMPLES.iter().find(|(place_of, _)| *place_of == WHOLE))?;
    examples.iter().copied().find(|example| example.split(' ').next() == Some(key))
}

const EXAMPLES: [(&str, &[&str]); 26] = [
    (WHOLE, &[]),
    (
        "[server]",
        &[
            "listen = \"127.0.0.1:8080\"",
            "admin_listen = \"127.0.0.1:8081\"",
            "admin_token = \"env:SWIFTHOOK_ADMIN_TOKEN\"",
            "trusted_proxies = [\"10.0.0.0/8\"]",
            "github_meta = \"https://api.github.com/meta\"",
        ],
    ),
    (
        "[store]",
        &["url = \"sqlite:/var/lib/swifthook/swifthook.db\"", "state_dir = \"/var/lib/swifthook/state\""],
    ),
    (
        "[intake]",
        &[
            "amqp = \"env:AMQP_URL\"",
            "queue = \"swifthook\"",
            "prefetch = 64",
            "keys = [\"env:SWIFTHOOK_INTAKE_KEY\"]",
        ],
    ),
    (
        "[worker]",
        &[
            "slots = 2",
            "labels = [\"a100\"]",
            "listen = \"127.0.0.1:8082\"",
            "drain = \"leave\"",
            "gpus = { indices = [0, 1] }",
            "machine = \"trainer-1\"",
            "cgroup = \"auto\"",
        ],
    ),
    ("[retention]", &["keep = \"90d\"", "keep_failed = \"30d\"", "environments = \"30d\""]),
    ("[limits]", &["free_disk = \"1 GiB\"", "connections = 512", "body_memory = \"256 MiB\""]),
    (
        "[[hook]]",
        &[
            "name = \"github\"",
            "path = \"/webhook\"",
            "secrets = [\"env:GITHUB_WEBHOOK_SECRET\"]",
            "repositories = [\"acme/*\"]",
            "allow_from = \"github\"",
            "max_body = \"25 MiB\"",
            "max_age = \"7d\"",
            "redelivery = \"3d\"",
        ],
    ),
    (
        "[[repository]]",
        &[
            "name = \"acme/models\"",
            "clone_url = \"https://github.com/acme/models.git\"",
            "credentials = { token = \"env:GITHUB_TOKEN\" }",
            "history = \"full\"",
        ],
    ),
    (
        "`credentials`",
        &["key = \"deploy_key\"", "token = \"env:GITHUB_TOKEN\"", "helper = \"/usr/local/bin/git-token\""],
    ),
    (
        "[[launcher]]",
        &[
            "name = \"a100\"",
            "kind = \"local\"",
            "partition = \"gpu\"",
            "account = \"research\"",
            "qos = \"normal\"",
            "gres = \"gpu:a100\"",
            "cpus = 8",
            "time = \"12h\"",
            "lines = [\"--constraint=a100\"]",
            "template = \"job.sh\"",
            "programs = \"/opt/slurm/bin\"",
            "conf = \"/etc/slurm/slurm.conf\"",
            "poll = \"30s\"",
            "namespace = \"training\"",
            "owner = \"swifthook\"",
            "tools = { image = \"registry.example.org/swifthook@sha256:…\" }",
            "claim = \"runs\"",
            "pull_secrets = [\"registry\"]",
            "service_account = \"trainer\"",
            "queue = \"research\"",
            "priority_class = \"training\"",
            "runtime_class = \"nvidia\"",
            "node_selector = { pool = \"gpu\" }",
            "tolerations = [{ key = \"nvidia.com/gpu\", effect = \"NoSchedule\" }]",
            "resources = { memory = \"64Gi\" }",
            "gpu_resource = \"nvidia.com/gpu\"",
            "shared_memory = \"16Gi\"",
            "volumes = [{ name = \"models\", path = \"/models\", claim = \"models\" }]",
            "checkout = { secret = \"git\" }",
            "user = 1000",
            "group = 1000",
        ],
    ),
    (
        "[[recipe]]",
        &[
            "name = \"sft-qwen3\"",
            "repository = \"acme/models\"",
            "branches = [\"main\"]",
            "tags = [\"v*\"]",
            "paths = [\"configs/**\"]",
            "each = \"configs/*.yaml\"",
            "senders = [\"octocat\"]",
            "merge_queue = true",
            "run = { swift = \"sft\", config = \"{path}\" }",
            "trust = \"code\"",
            "models = [\"/models/**\"]",
            "data = [\"/data/**\"]",
            "hub_data = [\"hf:acme/*\"]",
            "revisions = [\"main\"]",
            "hub = \"huggingface\"",
            "environment = { venv = \"/opt/ms-swift\" }",
            "env = { HF_TOKEN = \"env:HF_TOKEN\" }",
            "pass_env = [\"HTTPS_PROXY\"]",
            "limits = { memory = \"64 GiB\" }",
            "max_log = \"256 MiB\"",
            "isolation = { bubblewrap = true }",
            "nodes = 1",
            "nproc = 2",
            "launcher = \"local\"",
            "timeout = \"1h\"",
            "grace = \"60s\"",
            "lfs = true",
            "submodules = [\"github.com\"]",
            "gpus = { count = 1 }",
            "labels = [\"a100\"]",
            "priority = 10",
            "group = \"{recipe}\"",
            "superseded = \"cancel-queued\"",
            "debounce = { quiet = \"30s\", at_most = \"5m\" }",
            "retry = { attempts = 3 }",
            "schedule = [{ days = \"mon-fri\", hours = \"20:00-08:00\" }]",
            "timezone = \"Europe/Berlin\"",
            "outside = \"hold\"",
            "watchdog = { then = \"stop\" }",
            "approval = { when = \"never\" }",
        ],
    ),
    (
        "`run`",
        &[
            "swift = \"sft\"",
            "megatron = \"sft\"",
            "config = \"{path}\"",
            "args = { max_steps = 100 }",
            "command = [\"python\", \"train.py\"]",
        ],
    ),
    (
        "`environment`",
        &[
            "venv = \"/opt/ms-swift\"",
            "uv = \"uv.lock\"",
            "image = \"registry.example.org/ms-swift@sha256:…\"",
        ],
    ),
    (
        "`limits`",
        &[
            "memory = \"64 GiB\"",
            "cpu_time = \"10h\"",
            "files = 65536",
            "disk = \"200 GiB\"",
            "processes = 4096",
        ],
    ),
    (
        "`isolation`",
        &[
            "user = \"trainer\"",
            "bubblewrap = true",
            "prefix = [\"nice\", \"-n\", \"10\"]",
            "network = false",
            "caches = [\"/var/cache/huggingface\"]",
            "home = [\".cache\"]",
        ],
    ),
    (
        "`gpus`",
        &[
            "count = 1",
            "min_free_memory = \"40 GiB\"",
            "names = [\"*A100*\"]",
            "indices = [0, 1]",
            "max_utilization = 10",
            "max_used_memory = \"1 GiB\"",
            "settle = \"5s\"",
        ],
    ),
    ("`schedule`", &["days = \"mon-fri\"", "hours = \"20:00-08:00\""]),
    ("`debounce`", &["quiet = \"30s\"", "at_most = \"5m\""]),
    ("`retry`", &["attempts = 3", "backoff = \"1m\"", "exit_codes = [75]"]),
    ("`watchdog`", &["then = \"stop\"", "factor = 10", "at_least = \"10m\""]),
    (
        "`tools`",
        &["image = \"registry.example.org/swifthook@sha256:…\"", "program = \"/usr/local/bin/swifthook\""],
    ),
    (
        "`checkout`",
        &["image = \"registry.example.org/git@sha256:…\"", "secret = \"git\"", "memory = \"2Gi\""],
    ),
    ("a toleration", &["key = \"nvidia.com/gpu\"", "value = \"present\"", "effect = \"NoSchedule\""]),
    ("`approval`", &["when = \"never\""]),
    (
        "a volume",
        &[
            "name = \"models\"",
            "path = \"/models\"",
            "claim = \"models\"",
            "secret = \"token\"",
            "config_map = \"settings\"",
            "node = \"/mnt/models\"",
            "empty = true",
            "read_only = true",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_toml_and_of_one_key() {
        for (place, examples) in EXAMPLES {
            let table: toml::Table =
                examples.join("\n").parse().unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(table.len(), examples.len(), "{place}");
        }
    }
}
