//! `[limits]`: what a machine keeps for itself.

use super::reader::{Fields, Wrong};
use super::units;

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// With less than this free on the disk of the state directory no attempt begins, in bytes; 0 for any.
    pub free_disk: u64,
}

/// A checkpoint and its log are written before anybody can make room.
const DEFAULT: Limits = Limits { free_disk: 1 << 30 };

pub(super) fn limits(fields: Option<Fields<'_>>) -> Limits {
    let Some(fields) = fields else { return DEFAULT };
    let limits = Limits { free_disk: fields.or("free_disk", DEFAULT.free_disk, |node| node.read(free_disk)) };
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
