//! Hours in which jobs may start (feature `schedule`).
//!
//! The wall clock of a time zone decides: a [`Window`] is open while the clock there shows a time within it. An
//! hour that is skipped when the clocks go forward is not there, and one that comes twice when they go back counts
//! twice. The zones are those that are built in, so that a decision depends on no file of the machine.
//!
//! # Examples
//!
//! ```
//! use swifthook_core::schedule::{Outside, Schedule, Window};
//! use swifthook_core::Timestamp;
//!
//! let schedule = Schedule::new(
//!     "Asia/Shanghai",
//!     [Window::parse("mon-fri", "22:00-08:00")?, Window::parse("sat,sun", "00:00-24:00")?],
//!     Outside::Hold,
//! )?;
//! let tuesday_noon = Timestamp(1_795_492_800_000); // 2026-11-24T12:00:00+08:00
//! assert!(!schedule.is_open(tuesday_noon));
//! assert_eq!(schedule.opens_at(tuesday_noon), Some(Timestamp(1_795_528_800_000))); // 22:00
//! # Ok::<(), swifthook_core::schedule::InvalidSchedule>(())
//! ```

mod calendar;
mod window;

pub use calendar::{Outside, Schedule};
pub use window::{InvalidSchedule, Window};
