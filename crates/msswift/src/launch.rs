use std::collections::BTreeMap;

use crate::class::Class;
use crate::flags::{Flag, Flags};
use crate::hub::Hub;
use crate::kernels;
use crate::mistake::{Mistake, shown};
use crate::table::Table;
use crate::verb::Verb;

/// Everything that a command of ms-swift is made of.
#[derive(Clone, Debug)]
pub struct Launch<'l> {
    /// The flags of the installed version.
    pub table: &'l Table,
    /// What it is to do.
    pub verb: Verb,
    /// What the config says.
    pub config: &'l Flags,
    /// What the recipe says; it wins over the config.
    pub recipe: &'l Flags,
    /// Where the result goes: the run's own directory, which wins over everything.
    pub output_dir: &'l str,
    /// The checkpoint that the run goes on from.
    pub resume: Option<&'l str>,
    /// How many processes, on how many machines.
    pub processes: Processes,
    /// Whether the hubs are not to be asked.
    pub is_offline: bool,
    /// The hub that the recipe says, for a config that may run code and says none itself. Another is asked for what it
    /// was checked for.
    pub hub: Option<Hub>,
}

/// How a run is spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    /// Processes on each machine.
    pub per_node: u32,
    /// Machines.
    pub nodes: u32,
    /// Which of them this one is, from 0.
    pub rank: u32,
    /// Where the first of them listens, and on which port, for more than one machine.
    pub master: Option<(String, u16)>,
}

impl Default for Processes {
    /// One process.
    fn default() -> Self {
        Self { per_node: 1, nodes: 1, rank: 0, master: None }
    }
}

/// A command: what is run, and what its environment has to have and not to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program (`swift` or `megatron`) and its arguments. No shell sees them.
    pub argv: Vec<String>,
    /// Variables to set, or with `None` to clear.
    pub env: BTreeMap<String, Option<String>>,
}

impl Launch<'_> {
    /// Makes the command.
    ///
    /// The config is handed over as flags and not as a file: that works in every version, and the last one wins, which
    /// from 3.10 to 4.0 was the file.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut argv = vec![self.verb.program().to_owned(), self.verb.word().to_owned()];
        let ours = self.ours();
        let is_ours = |flag: &&Flag| !ours.iter().any(|(name, _)| *name == flag.name);
        let is_set = |name: &str| [self.config, self.recipe].iter().any(|flags| flags.value(name).is_some());
        for (name, value) in UNLESS_SET.iter().filter(|(name, _)| !is_set(name) && self.takes(name)) {
            argv.push(format!("--{name}={value}"));
        }
        let is_overridden = |flag: &&Flag| !self.recipe.iter().any(|other| other.name == flag.name);
        for flag in self.config.iter().filter(is_overridden).chain(self.recipe.iter()).filter(is_ours) {
            flag.add_to(&mut argv);
        }
        argv.extend(ours.iter().map(|(name, value)| format!("--{name}={value}")));
        not_a_file(&mut argv);
        Command { argv, env: self.env() }
    }

    fn takes(&self, name: &str) -> bool {
        self.table.argument(self.verb, name).is_some()
    }

    /// What the run itself says.
    fn ours(&self) -> Vec<(&'static str, String)> {
        let mut ours = Vec::new();
        // Megatron-SWIFT of version 3 has another name for it.
        if self.takes("output_dir") {
            ours.push(("output_dir", self.output_dir.to_owned()));
        } else if self.takes("save") {
            ours.push(("save", self.output_dir.to_owned()));
        }
        if self.takes("add_version") {
            ours.push(("add_version", "false".to_owned()));
        }
        if let Some(hub) = self.hub().filter(|_| self.takes("use_hf")) {
            ours.push(("use_hf", (hub == Hub::HuggingFace).to_string()));
        }
        if let Some(checkpoint) = self.resume.filter(|_| self.takes("resume_from_checkpoint")) {
            ours.push(("resume_from_checkpoint", checkpoint.to_owned()));
        }
        ours
    }

    /// The hub that the run asks; `None` where nobody has said.
    fn hub(&self) -> Option<Hub> {
        let said = |flags: &Flags| flags.value("use_hf").map(Hub::of_use_hf);
        let checked = self.config.hub;
        checked.or_else(|| said(self.recipe)).or_else(|| said(self.config)).or(self.hub)
    }

    /// Returns true if nobody who may has asked for anything for which ms-swift clones a repository. Megatron-SWIFT of version 3
    /// clones Megatron-LM, unless `MEGATRON_LM_PATH` says where it is.
    fn clones_nothing(&self) -> bool {
        let may_clone = |flag: &Flag| {
            flag.name.ends_with("model_type")
                || flag.name == "optimizer"
                || Class::of(flag.name) == Some(Class::Model)
        };
        let is_old_megatron = self.verb.is_megatron() && self.table.version().major < 4;
        self.config.hub.is_some() && !is_old_megatron && !self.recipe.iter().any(may_clone)
    }

    /// Returns true if the config may say how many processes there are: the recipe says nothing of it.
    fn is_spread_by_config(&self) -> bool {
        self.processes == Processes::default()
    }

    /// Notes of the variables in the `ENV` of the config that the run does not get, or not so; `set_by_recipe` are those
    /// that the recipe sets, and wins with.
    #[must_use]
    pub fn notes(&self, set_by_recipe: impl Fn(&str) -> bool) -> Vec<Mistake> {
        let env = self.env();
        let said = self.config.env.iter();
        let differs = said.filter_map(|(name, value)| match env.get(name) {
            _ if set_by_recipe(name) => Some(format!("`ENV`: `{}` is as the recipe sets it", shown(name))),
            Some(Some(other)) if other == value => None,
            Some(Some(other)) => Some(format!("`ENV`: `{}` is `{}` in this run", shown(name), shown(other))),
            _ => {
                Some(format!("`ENV`: `{}` is not set in this run: the recipe's `nproc` says so", shown(name)))
            }
        });
        differs.map(Mistake::of_the_file).collect()
    }

    fn env(&self) -> BTreeMap<String, Option<String>> {
        let mut env: BTreeMap<String, Option<String>> = BTreeMap::new();
        let from_config = self.config.env.iter().chain(&self.recipe.env);
        env.extend(from_config.map(|(name, value)| (name.clone(), Some(value.clone()))));
        // Else a file in the working directory, or beside a script, shadows a library.
        env.entry("PYTHONSAFEPATH".to_owned()).or_insert_with(|| Some("1".to_owned()));
        if let Some(hub) = self.hub() {
            // It beats `--use_hf false`, and some of ms-swift looks at nothing else.
            let is_hugging_face = if hub == Hub::HuggingFace { "1" } else { "0" };
            env.insert("USE_HF".to_owned(), Some(is_hugging_face.to_owned()));
        }
        if self.clones_nothing() {
            // A model can have such a type by what stands in its own config, which is read when it is there.
            env.insert("GIT_ALLOW_PROTOCOL".to_owned(), Some("none".to_owned()));
        }
        if kernels::is_kept_from_hugging_face(self.config, self.recipe) {
            env.insert(KEPT_FROM_HUGGING_FACE.to_owned(), Some("1".to_owned()));
        }
        if self.is_offline {
            env.extend(OFFLINE.map(|name| (name.to_owned(), Some("1".to_owned()))));
        }
        let Processes { per_node, nodes, rank, master } = &self.processes;
        // Set to 1 they still mean torchrun, so for one process they have to go, unless the config itself asks for more.
        let is_asked = |name: &&str| self.is_spread_by_config() && self.config.env.contains_key(*name);
        let cleared = DISTRIBUTED.iter().filter(|name| !is_asked(name));
        env.extend(cleared.map(|name| ((*name).to_owned(), None)));
        if *per_node > 1 || *nodes > 1 {
            env.insert("NPROC_PER_NODE".to_owned(), Some(per_node.to_string()));
        }
        if *nodes > 1 {
            env.insert("NNODES".to_owned(), Some(nodes.to_string()));
            env.insert("NODE_RANK".to_owned(), Some(rank.to_string()));
        }
        if let Some((address, port)) = master {
            env.insert("MASTER_ADDR".to_owned(), Some(address.clone()));
            env.insert("MASTER_PORT".to_owned(), Some(port.to_string()));
        }
        env
    }
}

/// Takes the first argument apart if it ends as the name of a config does: from 4.1 such a first argument is read as a
/// file, even `--x=y.json`.
fn not_a_file(argv: &mut Vec<String>) {
    let Some(first) = argv.get(2) else { return };
    let Some((flag, value)) = first.split_once('=') else { return };
    if [".yaml", ".yml", ".json"].iter().any(|ending| first.ends_with(ending)) && !value.starts_with('-') {
        let both = [flag.to_owned(), value.to_owned()];
        argv.splice(2..3, both);
    }
}

/// What we would have, unless somebody says otherwise.
const UNLESS_SET: [(&str, &str); 2] = [
    // It calls home at the start, and again for seven seconds where there is no network.
    ("check_model", "false"),
    // Asked to end, a run saves first, so that it can go on from where it was.
    ("enable_jit_checkpoint", "true"),
];
/// Else `kernels` fetches and runs code for some attentions; `USE_HUB_KERNELS=NO` does not stop it.
const KEPT_FROM_HUGGING_FACE: &str = "HF_HUB_OFFLINE";
const OFFLINE: [&str; 3] = [KEPT_FROM_HUGGING_FACE, "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"];
const DISTRIBUTED: [&str; 6] =
    ["NPROC_PER_NODE", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "RAY_SWIFT_ARGS"];
