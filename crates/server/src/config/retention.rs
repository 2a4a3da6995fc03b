//! `[retention]`: for how long what has ended is kept.

use std::time::Duration;

use swifthook_core::Retention;

use super::model::Hook;
use super::reader::{Fields, Node, Wrong};
use super::units;

/// What is removed is compared with no push that comes any more, so nothing goes while one may come that is as old.
pub const SHORTEST_RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// What is kept where nothing is said.
pub(super) const DEFAULT: Retention = Retention {
    keep: Some(Duration::from_secs(90 * 86_400)),
    keep_failed: Some(Duration::from_secs(180 * 86_400)),
};

/// For how long an environment is kept that nobody asks for, where nothing is said.
const ENVIRONMENTS: Option<Duration> = Some(Duration::from_secs(30 * 86_400));

/// For how long what has ended is kept, and environments that nobody asks for.
pub(super) fn retention(fields: Option<Fields<'_>>, hooks: &[Hook]) -> (Retention, Option<Duration>) {
    let Some(fields) = fields else { return (DEFAULT, ENVIRONMENTS) };
    let read = |node: Node<'_>| {
        let keep = node.read(units::duration_or_forever)?;
        if let Some(wrong) = keep.and_then(|keep| too_short(keep, hooks)) {
            node.wrong(wrong);
        }
        Some(keep)
    };
    let retention = Retention {
        keep: fields.or("keep", DEFAULT.keep, read),
        keep_failed: fields.or("keep_failed", DEFAULT.keep_failed, read),
    };
    let environments = fields.or("environments", ENVIRONMENTS, environments);
    fields.finish();
    (retention, environments)
}

fn environments(node: Node<'_>) -> Option<Option<Duration>> {
    let keep = node.read(units::duration_or_forever)?;
    if keep.is_some_and(|keep| keep < SHORTEST_FOR_ENVIRONMENTS) {
        node.wrong(
            Wrong::new("that is less than a day").instead("at least `1d`: an environment takes long to make"),
        );
    }
    Some(keep)
}

fn too_short(keep: Duration, hooks: &[Hook]) -> Option<Wrong> {
    if keep < SHORTEST_RETENTION {
        return Some(
            Wrong::new("that is less than a week")
                .instead("at least `7d`: a push that comes late is compared with what has run"),
        );
    }
    let hook = hooks.iter().find(|hook| hook.hook.max_age.is_some_and(|max_age| keep < max_age))?;
    Some(
        Wrong::new(format!("that is less than the `max_age` of hook `{}`", hook.name)).instead(
            "a push that comes late is compared with what has run: keep it for as long as one may come",
        ),
    )
}

const SHORTEST_FOR_ENVIRONMENTS: Duration = Duration::from_secs(86_400);
