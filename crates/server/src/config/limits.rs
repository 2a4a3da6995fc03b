//! `[limits]`: what a machine keeps for itself, and what it bears.

use super::model::Hook;
use super::reader::{Fields, Node, Wrong};
use super::units;

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// With less than this free on the disk of the state directory no attempt begins, in bytes; 0 for any.
    pub free_disk: u64,
    /// Connections to the hooks at once; `None` for half of the files that the process may have open, at most 4,096.
    pub connections: Option<usize>,
    /// Limit in bytes of bodies that may be in memory at once.
    pub body_memory: usize,
}

/// The limits of a server with these hooks.
pub(super) fn limits(fields: Option<Fields<'_>>, hooks: &[Hook]) -> Limits {
    let largest = hooks.iter().map(|hook| hook.hook.max_body).max().unwrap_or_default();
    // A checkpoint and its log are written before anybody can make room.
    let default = Limits {
        free_disk: 1 << 30,
        connections: None,
        body_memory: BODY_MEMORY.max(largest.saturating_mul(BODIES)),
    };
    let Some(fields) = fields else { return default };
    let limits = Limits {
        free_disk: fields.or("free_disk", default.free_disk, |node| node.read(free_disk)),
        connections: fields.get("connections").and_then(|node| connections(&node)),
        body_memory: fields.or("body_memory", default.body_memory, |node| body_memory(&node, largest)),
    };
    fields.finish();
    limits
}

fn free_disk(text: &str) -> Result<u64, Wrong> {
    match text {
        "off" => Ok(0),
        _ => units::bytes(text).map_err(|_| {
            Wrong::new(format!("not a size: `{text}`")).instead("for example `10 GiB`, or `off`")
        }),
    }
}

fn connections(node: &Node<'_>) -> Option<usize> {
    let number = node.number()?;
    if (FEWEST_CONNECTIONS..=MOST_CONNECTIONS).contains(&number) {
        return Some(number);
    }
    node.wrong(
        Wrong::new(format!("`connections` cannot be {number}"))
            .instead(format!("from {FEWEST_CONNECTIONS} to {MOST_CONNECTIONS}")),
    );
    None
}

/// With room for a few of the largest bodies: each client has a part of it only.
fn body_memory(node: &Node<'_>, largest: usize) -> Option<usize> {
    let bytes = node.read(|text| units::size(text, MOST_BODY_MEMORY))?;
    let needed = largest.saturating_mul(BODIES);
    if bytes >= needed {
        return Some(bytes);
    }
    node.wrong(
        Wrong::new(format!(
            "`body_memory` is {} MiB, and a hook takes bodies of {} MiB",
            bytes >> 20,
            largest >> 20
        ))
        .instead(format!("at least `{} MiB`, or a smaller `max_body` of the hook", needed.div_ceil(1 << 20))),
    );
    None
}

const BODY_MEMORY: usize = 256 << 20;
const MOST_BODY_MEMORY: usize = 64 << 30;
/// So many of the largest bodies there is room for.
const BODIES: usize = 4;
const FEWEST_CONNECTIONS: usize = 16;
const MOST_CONNECTIONS: usize = 1_000_000;
