//! The isolation of a run, as its recipe says; and whatever else is started that a repository has chosen.

mod account;
mod base;
mod enclosing;
mod places;
mod ready;
mod sandbox;

pub(super) use enclosing::Enclosing;
pub(super) use places::Places;
