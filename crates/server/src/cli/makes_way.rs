//! What `swifthook check` says of runs that are to make way when their hours are over: one that saves nothing begins anew
//! each time.

use swifthook_core::schedule::Outside;
use swifthook_msswift::{Flags, Table, Verb};

use crate::config::Recipe;

/// What a recipe has to see to; `None` where its runs do not make way, or nothing is known to be missing.
pub(super) fn warning(recipe: &Recipe) -> Option<String> {
    let schedule = recipe.queueing.schedule.as_ref()?;
    if schedule.outside() != Outside::Pause {
        return None;
    }
    let run = &recipe.run;
    if run.swift.is_none() {
        return Some(format!(
            "outside of its hours a run makes way: on SIGTERM its command has to save within {} s, and to tell its \
             checkpoint as docs/trainers.md says; one that tells none begins anew",
            run.grace.as_secs()
        ));
    }
    let saves_nothing = run.command.iter().any(|argument| argument.to_string() == "--save_strategy=no");
    saves_nothing.then(|| {
        "its args say `save_strategy = \"no\"`: outside of its hours a run makes way, and only what saves when it is asked \
         to end (ms-swift 4.6) goes on from there; anything else begins anew"
            .to_owned()
    })
}

/// What is to be said of the flags of a run that makes way; the recipe's win.
pub(super) fn of_flags(table: &Table, verb: Verb, config: &Flags, recipe: &Flags) -> Option<&'static str> {
    let value = |name| recipe.value(name).or_else(|| config.value(name));
    if value("save_strategy") != Some("no") {
        return None;
    }
    let saves_when_asked = table.argument(verb, JIT).is_some()
        && !value(JIT).is_some_and(|value| value.eq_ignore_ascii_case("false"));
    Some(match saves_when_asked {
        true => {
            "`save_strategy: no`: it saves only when it is asked to make way, and after a failure of the machine it begins anew"
        }
        false => "`save_strategy: no`: it saves nothing, and begins anew each time that its hours are over",
    })
}

const JIT: &str = "enable_jit_checkpoint";
