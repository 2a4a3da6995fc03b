//! The toy trainer: what `demo` trains with, so that it needs no GPU and no Python.
//!
//! It is a toy and says so in its first line of output. What it does is real all the same: it fits a logistic
//! regression to made-up data by stochastic gradient descent, its loss falls because the gradients are right, and
//! what it leaves behind has the shape that ms-swift leaves: `args.json`, `logging.jsonl` and `checkpoint-N/` in
//! the output directory. Asked to end by SIGTERM, it finishes its step, saves and exits with 0, as ms-swift does
//! with `enable_jit_checkpoint`; `--resume-from-checkpoint` goes on from there to the very same result.

mod checkpoint;
mod log;
mod model;
mod settings;
mod trainer;

pub use settings::{InvalidSettings, Settings};
pub use trainer::{Ending, TrainError, TrainerArgs, train};
