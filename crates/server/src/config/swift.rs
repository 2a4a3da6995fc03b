//! `run = { swift = "sft", config = "{path}", args = { … } }`.

use swifthook_core::Template;
use swifthook_msswift::{Allowed, Config, Rules, Table, Trust, Verb, check, is_ours};

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
        models: recipe.or("models", Allowed::default(), |node| allowed(&node)),
        data: recipe.or("data", Allowed::default(), |node| allowed(&node)),
    };
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

/// Patterns that are wrong are told, and allow nothing.
fn allowed(node: &Node<'_>) -> Option<Allowed> {
    let patterns = node.read_items(|text| Allowed::new([text]).map(|_| text.to_owned()));
    Allowed::new(patterns).ok()
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
    let none = Allowed::default();
    let config = match Config::of_arguments(texts) {
        Ok(config) => config,
        Err(mistake) => return Some(Wrong::new(mistake.to_string())),
    };
    let mut mistakes = Table::all().iter().map(|table| {
        let rules = Rules { table, verb, trust: Trust::Code, models: &none, data: &none };
        check(&config, rules).err()
    });
    let newest = mistakes.next()??;
    if mistakes.any(|other| other.is_none()) {
        return None;
    }
    newest.first().map(|mistake| Wrong::new(mistake.to_string()))
}
