//! `gpus` of a recipe, and of `[worker]`.

use std::collections::HashSet;
use std::time::Duration;

use swifthook_core::GpuRequest;
use swifthook_launch::GpuRules;

use super::model::Run;
use super::reader::{Fields, Node, Wrong};
use super::recipe::Known;
use super::units;

/// What a recipe asks for.
pub(super) fn request(recipe: &Fields<'_>, run: &Run, known: &Known<'_>) -> Option<GpuRequest> {
    let node = recipe.get("gpus")?;
    let request = read(&node)?;
    let launcher = known.launchers.iter().find(|launcher| launcher.name == run.launcher);
    if launcher.is_some_and(|launcher| launcher.kind.capabilities().gpu_leases) {
        check_numbers(&node, &request, known);
    }
    for variable in ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"] {
        if run.env.contains_key(variable) || run.pass_env.iter().any(|passed| passed == variable) {
            node.wrong(
                Wrong::new(format!("`gpus` sets `{variable}`, and the recipe sets it too"))
                    .instead("leave it away from `env` and `pass_env`, or leave `gpus` away"),
            );
        }
    }
    Some(request)
}

/// The same, by itself.
pub(super) fn read(node: &Node<'_>) -> Option<GpuRequest> {
    let fields = node.fields("`gpus`")?;
    let count = fields.or("count", 1, |node| count(&node));
    let request = GpuRequest {
        min_free_memory: fields.or("min_free_memory", 0, |node| node.read(memory)),
        names: fields.get("names").map(|node| names(&node)).unwrap_or_default(),
        indices: fields.get("indices").map(|node| indices(&node)).unwrap_or_default(),
        ..GpuRequest::of(count)
    };
    fields.finish();
    Some(request)
}

/// When a GPU of a worker counts as free.
pub(super) fn rules(node: &Node<'_>) -> Option<GpuRules> {
    let fields = node.fields("`gpus`")?;
    let default = GpuRules::default();
    let rules = GpuRules {
        indices: fields.get("indices").map(|node| indices(&node)).unwrap_or_default(),
        max_utilization: fields.or("max_utilization", default.max_utilization, |node| percent(&node)),
        max_used_memory: fields.or("max_used_memory", default.max_used_memory, |node| node.read(memory)),
        settle: fields.or("settle", default.settle, |node| node.read(settle)),
    };
    fields.finish();
    Some(rules)
}

fn count(node: &Node<'_>) -> Option<u32> {
    let count = node.number()?;
    if !(1..=MOST).contains(&count) {
        node.wrong(
            Wrong::new(format!("`count` cannot be {count}"))
                .instead(format!("1 to {MOST}; a recipe without `gpus` has none")),
        );
        return None;
    }
    Some(count)
}

fn memory(text: &str) -> Result<u64, Wrong> {
    units::size(text, MOST_MEMORY).map(|bytes| bytes as u64)
}

fn settle(text: &str) -> Result<Duration, Wrong> {
    let settle = units::duration(text)?;
    if settle > LONGEST_SETTLE {
        return Err(Wrong::new(format!("too long: `{text}`")).instead("at most `10m`"));
    }
    Ok(settle)
}

fn percent(node: &Node<'_>) -> Option<u32> {
    let percent = node.number()?;
    if percent > 100 {
        node.wrong(Wrong::new(format!("not a percentage: {percent}")).instead("0 to 100"));
        return None;
    }
    Some(percent)
}

fn names(node: &Node<'_>) -> Vec<std::sync::Arc<str>> {
    let names = node.read_items(|text| {
        GpuRequest::check_name(text).map(|()| text.into()).map_err(|wrong| {
            Wrong::from(wrong).instead("for example `*A100*`, as `nvidia-smi -L` shows the names")
        })
    });
    if node.is_list() && node.items().is_empty() {
        node.wrong(Wrong::new("no GPU has a name of an empty list").instead("leave `names` away for any"));
    }
    names
}

fn indices(node: &Node<'_>) -> Vec<u32> {
    let items = node.items();
    if node.is_list() && items.is_empty() {
        node.wrong(Wrong::new("no GPU is on an empty list").instead("leave `indices` away for all"));
    }
    let mut seen = HashSet::new();
    let number = |item: &Node<'_>| {
        let number: u32 = item.number()?;
        if !seen.insert(number) {
            item.wrong(Wrong::new(format!("GPU {number} is listed twice")));
        }
        Some(number)
    };
    items.iter().filter_map(number).collect()
}

/// A request that no machine, or not the only one that there is, could ever meet.
fn check_numbers(node: &Node<'_>, request: &GpuRequest, known: &Known<'_>) {
    let (count, listed) = (request.count as usize, request.indices.len());
    if listed > 0 && listed < count {
        node.wrong(
            Wrong::new(format!("{count} GPUs among {listed} that are listed"))
                .instead("list more `indices`, or lower `count`"),
        );
        return;
    }
    let here = &known.worker.gpus.indices;
    if known.has_other_workers || here.is_empty() {
        return;
    }
    let is_wanted = |index: &&u32| request.indices.is_empty() || request.indices.contains(index);
    let usable = here.iter().filter(is_wanted).count();
    if usable < count {
        node.wrong(
            Wrong::new(format!(
                "of the GPUs that [worker] may use {usable} would do, and {count} are asked for"
            ))
            .instead("change `indices` here or in [worker], or lower `count`"),
        );
    }
}

/// More than any machine has that is sold.
const MOST: u32 = 64;
const MOST_MEMORY: usize = 1 << 40;
const LONGEST_SETTLE: Duration = Duration::from_secs(600);
