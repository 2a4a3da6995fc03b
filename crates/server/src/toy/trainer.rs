use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::checkpoint::{self, TrainerState};
use super::log::{self, End, Evaluation, Log, Pace, Summary, Training, rounded};
use super::model::{Data, Model, TRAINING};
use super::settings::{InvalidSettings, Settings};

/// The arguments of the toy trainer.
#[derive(Clone, Debug, Serialize, clap::Args)]
pub struct TrainerArgs {
    /// The configuration: `key: value` lines.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where logging.jsonl, args.json and the checkpoints go.
    #[arg(long, alias = "output_dir", value_name = "DIR")]
    pub output_dir: PathBuf,
    /// A checkpoint-N directory to go on from.
    #[arg(long, alias = "resume_from_checkpoint", value_name = "DIR")]
    pub resume_from_checkpoint: Option<PathBuf>,
    /// Where each checkpoint is told of once it is whole.
    #[arg(long, value_name = "FILE")]
    pub progress: Option<PathBuf>,
}

/// Trains until all steps are done or `stop` resolves; then the step is finished and saved. What it does it tells
/// `out`, a line at a time.
///
/// # Errors
///
/// When the configuration or the checkpoint cannot be read, or the output not be written.
pub async fn train(
    args: &TrainerArgs,
    stop: impl Future<Output = ()>,
    out: &mut impl Write,
) -> Result<Ending, TrainError> {
    writeln!(out, "{ANNOUNCEMENT}").map_err(|e| TrainError::files("the output", e))?;
    let settings = read_settings(&args.config)?;
    let mut run = Run::begin(args, settings)?;
    let ending = run.steps(stop, out).await.map_err(|e| TrainError::files("the output", e))?;
    run.end(ending, out).map_err(|e| TrainError::files("the output", e))?;
    Ok(ending)
}

/// How a run ended that met no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its last step.
    Done,
    /// Because it was asked to, before its last step.
    Stopped,
}

/// A run of the toy trainer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration says what cannot be done.
    #[error("{path} cannot be used")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidSettings,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {what}")]
    Files {
        /// Which.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl TrainError {
    /// Whether the configuration is to be corrected before another try.
    #[must_use]
    pub fn is_misuse(&self) -> bool {
        matches!(self, Self::Settings { .. })
    }

    fn files(what: impl Into<String>, source: io::Error) -> Self {
        Self::Files { what: what.into(), source }
    }
}

struct Run<'a> {
    output_dir: &'a Path,
    progress: Option<&'a Path>,
    settings: Settings,
    data: Data,
    model: Model,
    state: TrainerState,
    log: Log,
    /// The step that it began with: 0 unless it was resumed.
    first_step: u64,
    began: Instant,
    losses: f64,
    last_checkpoint: Option<PathBuf>,
}

impl<'a> Run<'a> {
    fn begin(args: &'a TrainerArgs, settings: Settings) -> Result<Self, TrainError> {
        let output_dir = &args.output_dir;
        let (model, state) = match &args.resume_from_checkpoint {
            Some(from) => checkpoint::load(from)
                .map_err(|e| TrainError::files(format!("the checkpoint {}", from.display()), e))?,
            None => Default::default(),
        };
        let log = prepare(args, &settings)
            .map_err(|e| TrainError::files(format!("the output directory {}", output_dir.display()), e))?;
        Ok(Self {
            output_dir,
            progress: args.progress.as_deref(),
            data: Data::make(settings.seed),
            settings,
            model,
            first_step: state.global_step,
            state,
            log,
            began: Instant::now(),
            losses: 0.0,
            last_checkpoint: args.resume_from_checkpoint.clone(),
        })
    }

    async fn steps(&mut self, stop: impl Future<Output = ()>, out: &mut impl Write) -> io::Result<Ending> {
        let mut stop = pin!(stop);
        while self.state.global_step < self.settings.max_steps {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(Ending::Stopped),
                () = self.pause() => {}
            }
            self.step(out)?;
        }
        Ok(Ending::Done)
    }

    /// The pause of a step; without one the runtime still gets its turn, or it would never see a signal.
    async fn pause(&self) {
        match self.settings.step_delay_ms {
            0 => tokio::task::yield_now().await,
            ms => sleep(Duration::from_millis(ms)).await,
        }
    }

    fn step(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.state.global_step += 1;
        let step = self.state.global_step;
        let batch = self.data.batch(&self.settings, step);
        let (score, grad_norm) = self.model.descend(&batch, &self.settings);
        self.losses += score.loss;
        let is_last = step == self.settings.max_steps;
        if is_last || step.is_multiple_of(self.settings.logging_steps) {
            self.log.write(&Training {
                loss: rounded(score.loss),
                grad_norm: rounded(grad_norm),
                learning_rate: self.settings.learning_rate,
                token_acc: rounded(score.accuracy),
                pace: self.pace(),
            })?;
            let steps = self.settings.max_steps;
            writeln!(out, "step {step}/{steps}: loss {:.4}, accuracy {:.3}", score.loss, score.accuracy)?;
        }
        if is_last || step.is_multiple_of(self.settings.save_steps) {
            self.save(out)?;
        }
        Ok(())
    }

    /// Looks how the model does on what it has not seen, and keeps it.
    fn save(&mut self, out: &mut impl Write) -> io::Result<()> {
        let score = self.model.score(self.data.held_out.iter());
        self.log.write(&Evaluation {
            eval_loss: rounded(score.loss),
            eval_token_acc: rounded(score.accuracy),
            pace: self.pace(),
        })?;
        let place = checkpoint::path(self.output_dir, self.state.global_step);
        if self.state.best_metric.is_none_or(|best| score.loss < best) {
            self.state.best_metric = Some(score.loss);
            self.state.best_model_checkpoint = Some(place);
        }
        let place = checkpoint::save(self.output_dir, &self.model, &self.state)?;
        writeln!(
            out,
            "saved {}: held-out loss {:.4}, accuracy {:.3}",
            place.display(),
            score.loss,
            score.accuracy
        )?;
        if let Some(progress) = self.progress {
            log::tell_checkpoint(progress, self.state.global_step, &place)?;
        }
        self.last_checkpoint = Some(place);
        Ok(())
    }

    fn end(&mut self, ending: Ending, out: &mut impl Write) -> io::Result<()> {
        let (step, steps) = (self.state.global_step, self.settings.max_steps);
        let here = checkpoint::path(self.output_dir, step);
        if ending == Ending::Stopped && step > self.first_step && self.last_checkpoint != Some(here) {
            self.save(out)?;
        }
        let done = (step - self.first_step) as f64;
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        self.log.write(&End {
            train_runtime: rounded(seconds),
            train_samples_per_second: rounded(done * self.settings.batch_size as f64 / seconds),
            train_steps_per_second: rounded(done / seconds),
            train_loss: rounded(self.losses / done.max(1.0)),
            pace: self.pace(),
        })?;
        self.log.summarize(Summary {
            last_model_checkpoint: self.last_checkpoint.clone(),
            best_model_checkpoint: self.state.best_model_checkpoint.clone(),
            best_metric: self.state.best_metric.map(rounded),
            global_step: step,
            log_history: Vec::new(),
        })?;
        match ending {
            Ending::Done => writeln!(out, "done: {steps} steps"),
            Ending::Stopped => writeln!(out, "stopped after {step} of {steps} steps, as asked"),
        }
    }

    fn pace(&self) -> Pace {
        let step = self.state.global_step;
        let epoch = step as f64 * self.settings.batch_size as f64 / TRAINING as f64;
        Pace::new(step, self.settings.max_steps, step - self.first_step, self.began.elapsed(), epoch)
    }
}

fn read_settings(path: &Path) -> Result<Settings, TrainError> {
    let text = fs::read_to_string(path).map_err(|e| TrainError::files(path.display().to_string(), e))?;
    text.parse().map_err(|source| TrainError::Settings { path: path.to_owned(), source })
}

/// Makes the output directory and writes down what the run was told.
fn prepare(args: &TrainerArgs, settings: &Settings) -> io::Result<Log> {
    #[derive(Serialize)]
    struct Resolved<'a> {
        #[serde(flatten)]
        args: &'a TrainerArgs,
        #[serde(flatten)]
        settings: &'a Settings,
    }
    fs::create_dir_all(&args.output_dir)?;
    let resolved = serde_json::to_vec_pretty(&Resolved { args, settings })?;
    fs::write(args.output_dir.join("args.json"), resolved)?;
    Log::open(&args.output_dir)
}

const ANNOUNCEMENT: &str =
    "This is swifthook's toy trainer: it fits a logistic regression to made-up data, for show.";

#[cfg(test)]
mod tests;
