//! `watchdog = { then = "tell", factor = 5, at_least = "10m" }`.

use std::time::Duration;

use swifthook_runner::{Then, Watch};

use super::queueing::choice;
use super::reader::{Fields, Node, Wrong};
use super::units;

/// How runs of a recipe are watched. Those of ms-swift are unless the recipe says otherwise; of any other command nobody
/// knows that it is to tell anything, so it is only where the recipe says so.
pub(super) fn watchdog(recipe: &Fields<'_>, is_swift: bool) -> Option<Watch> {
    match recipe.get("watchdog") {
        Some(node) => watch(&node),
        None => is_swift.then(Watch::default),
    }
}

fn watch(node: &Node<'_>) -> Option<Watch> {
    let fields = node.fields("`watchdog`")?;
    let usual = Watch::default();
    let then = fields.or("then", Some(usual.then), |node| node.read(then));
    let watch = Watch {
        then: then.unwrap_or_default(),
        factor: fields.or("factor", usual.factor, |node| {
            let factor = node.number()?;
            if !(2..=1_000).contains(&factor) {
                node.wrong(Wrong::new(format!("not a factor: {factor}")).instead("2 to 1000"));
            }
            Some(factor)
        }),
        at_least: fields.or("at_least", usual.at_least, |node| node.read(floor)),
    };
    fields.finish();
    then.map(|_| watch)
}

/// `None` for `nothing`.
fn then(text: &str) -> Result<Option<Then>, Wrong> {
    match text {
        "tell" => Ok(Some(Then::Tell)),
        "stop" => Ok(Some(Then::Stop)),
        "resume" => Ok(Some(Then::Resume)),
        "nothing" => Ok(None),
        _ => Err(choice("then", text, &["tell", "stop", "resume", "nothing"])),
    }
}

/// Runs are looked after every five seconds, and files may come late over a network.
fn floor(text: &str) -> Result<Duration, Wrong> {
    let floor = units::duration(text)?;
    if floor < SHORTEST {
        return Err(Wrong::new(format!("too short a silence: `{text}`")).instead("at least 10s"));
    }
    Ok(floor)
}

const SHORTEST: Duration = Duration::from_secs(10);
