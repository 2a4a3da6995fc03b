//! `run = { swift = "sft", config = "{path}", args = { … } }`.

use swifthook_core::Template;
use swifthook_msswift::{
    Allowed, Config, Hub, InvalidPattern, Permissions, Revisions, Rules, Table, Trust, Verb, check, is_ours,
};

use super::model::Swift;
use super::queueing::{check_each, choice};
use super::reader::{Fields, Node, Wrong};

/// What a run of ms-swift is made of.
pub(super) struct Told {
    pub(super) command: Vec<Template>,
    pub(super) file: Option<Template>,
    pub(super) swift: Swift,
}

/// Reads a run of ms-swift in a recipe; `None` where it does not say which.
pub(super) fn swift(recipe: &Fields<'_>, run: &Fields<'_>) -> Option<Told> {
    let verb = match (run.get("swift"), run.get("megatron")) {
        (Some(node), _) => node.read(Verb::of_swift),
        (None, Some(node)) => node.read(Verb::of_megatron),
        (None, None) => None,
    };
    let has_each = recipe.has("each");
    let file =
        run.need("config", "`config = \"{path}\"`").and_then(|node| node.read(|text| file(text, has_each)));
    let args = run.get("args").zip(verb).map(|(node, verb)| args(&node, verb, has_each)).unwrap_or_default();
    let swift = Swift {
        trust: recipe.or("trust", Trust::Data, |node| node.read(trust)),
        permissions: permissions(recipe, hub(recipe, &args)),
        looks_into: recipe.or("preflight", true, |node| node.read(preflight)),
    };
    if swift.trust == Trust::Data || recipe.has("hub") {
        leave_the_hub_alone(recipe);
    }
    run.finish();
    let verb = verb?;
    let words = [verb.program(), verb.word()].map(|word| Template::parse(word).expect("it has no fields"));
    Some(Told { command: words.into_iter().chain(args).collect(), file, swift })
}

fn trust(text: &str) -> Result<Trust, Wrong> {
    match text {
        "data" => Ok(Trust::Data),
        "code" => Ok(Trust::Code),
        _ => Err(choice("trust", text, &["data", "code"])),
    }
}

fn preflight(text: &str) -> Result<bool, Wrong> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(choice("preflight", text, &["on", "off"])),
    }
}

/// Names that a pushed config may use. Patterns that are wrong are told, and allow nothing.
fn permissions(recipe: &Fields<'_>, hub: Option<Hub>) -> Permissions {
    Permissions {
        hub,
        models: recipe.or("models", Allowed::default(), |node| patterns(&node, Allowed::models)),
        data: recipe.or("data", Allowed::default(), |node| patterns(&node, Allowed::files)),
        hub_data: recipe.or("hub_data", Allowed::default(), |node| patterns(&node, Allowed::data_sets)),
        revisions: recipe.or("revisions", Revisions::default(), |node| patterns(&node, Revisions::new)),
    }
}

fn patterns<T>(node: &Node<'_>, read: impl Fn(Vec<String>) -> Result<T, InvalidPattern>) -> Option<T> {
    let patterns = node.read_items(|text| read(vec![text.to_owned()]).map(|_| text.to_owned()));
    read(patterns).ok()
}

/// The recipe's one hub, as its `hub` says, or the `use_hf` of its args.
fn hub(recipe: &Fields<'_>, args: &[Template]) -> Option<Hub> {
    let said = Hub::of_arguments(args.iter().map(ToString::to_string));
    let node = recipe.get("hub");
    let hub = node.as_ref().and_then(|node| node.read(str::parse::<Hub>));
    if let (Some(node), Some(hub), Some(said)) = (node, hub, said)
        && hub != said
    {
        node.wrong(
            Wrong::new(format!("`args` say by `use_hf` that the hub is {said}, and `hub` that it is {hub}"))
                .instead("leave `use_hf` away"),
        );
    }
    hub.or(said)
}

/// Refuses the variable that changes the hub of a run beside what its recipe says.
fn leave_the_hub_alone(recipe: &Fields<'_>) {
    let wrong = |hub: &str| {
        Wrong::new("`USE_HF` says which hub ms-swift asks, and this recipe says so by `hub`")
            .instead(format!("leave it away, and write `hub = \"{hub}\"` if that is meant"))
    };
    let env = recipe.get("env").and_then(|node| node.fields("`env`"));
    for (name, at, node) in env.iter().flat_map(Fields::entries) {
        if name == "USE_HF" {
            let said = node.text().and_then(|text| Hub::of_arguments([format!("--use_hf={text}")]));
            node.wrong_at(at, wrong(said.unwrap_or(Hub::HuggingFace).word()));
        }
    }
    let passed = recipe.get("pass_env").map(|node| node.items()).unwrap_or_default();
    for node in passed.iter().filter(|node| node.text() == Some("USE_HF")) {
        node.wrong(wrong(Hub::HuggingFace.word()));
    }
}

fn file(text: &str, has_each: bool) -> Result<Template, Wrong> {
    let template = Template::parse(text)?;
    check_each(&template, has_each)?;
    let is_inside = |part: &str| !matches!(part, "" | "." | "..");
    if !text.split('/').all(is_inside) || text.contains('\0') {
        return Err(Wrong::new(format!("`{text}` is no path of a file in the repository"))
            .instead("for example `configs/sft.yaml`, or `{path}` with `each`"));
    }
    if template.fields().any(|field| field.is_late()) {
        return Err(Wrong::new(format!("`{text}` depends on the run, and the file is read before it")));
    }
    Ok(template)
}

/// What the recipe adds, as `--name=value` each; of a list, each item.
fn args(node: &Node<'_>, verb: Verb, has_each: bool) -> Vec<Template> {
    let Some(fields) = node.fields("`args`") else { return Vec::new() };
    let mut args = Vec::new();
    for (name, at, node) in fields.entries() {
        if is_ours(name) {
            node.wrong_at(at, Wrong::new(format!("`{name}`: every run sets it itself")));
            continue;
        }
        let texts: Vec<_> = node.arguments().iter().map(|value| format!("--{name}={value}")).collect();
        if let Some(wrong) = mistake(verb, &texts) {
            node.wrong_at(at, wrong);
            continue;
        }
        let template = |text: &String| {
            let template = Template::parse(text).map_err(Wrong::from)?;
            check_each(&template, has_each)?;
            Ok::<_, Wrong>(template)
        };
        for text in &texts {
            match template(text) {
                Ok(template) => args.push(template),
                Err(wrong) => node.wrong(wrong),
            }
        }
    }
    args
}

/// What is wrong with a flag in every version that is known; the newest has the word.
fn mistake(verb: Verb, texts: &[String]) -> Option<Wrong> {
    let none = Permissions::default();
    let config = match Config::of_arguments(texts) {
        Ok(config) => config,
        Err(mistake) => return Some(Wrong::new(mistake.to_string())),
    };
    let mut mistakes = Table::all().iter().map(|table| {
        let rules = Rules { table, verb, trust: Trust::Code, permissions: &none };
        check(&config, rules).err()
    });
    let newest = mistakes.next()??;
    if mistakes.any(|other| other.is_none()) {
        return None;
    }
    newest.first().map(|mistake| Wrong::new(mistake.to_string()))
}
