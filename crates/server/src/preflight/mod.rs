//! What is looked at before an attempt begins, in milliseconds: what would fail after minutes, on a GPU that others
//! wait for.

mod data;
mod disk;
mod folder;
mod inspect;
mod json_text;
mod lacking;
mod local;
mod machine;
mod port;
mod table_text;

pub(crate) use disk::{free, shown};
pub(crate) use inspect::{Amiss, Ask, Inspected, Wrong, inspect};
pub(crate) use lacking::lacks;
pub(crate) use machine::missing;
