use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::check::{self, CheckArguments};
use super::deliveries::{self, DeliveriesArguments};
use super::jobs::{self, JobsArguments};
use super::reconcile::{self, ReconcileArguments};
use super::send::{self, SendArguments};
use super::serve::{self, ServeArguments};
use super::store::{self, StoreArguments};
use super::workers::{self, WorkersArguments};
use super::{demo, init, toy_trainer, worker};
use crate::toy::TrainerArgs;

/// A push to GitHub becomes a model-training run.
#[derive(Debug, Parser)]
#[command(name = "swifthook", version, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonArguments {
    /// The configuration.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "swifthook.toml",
        env = "SWIFTHOOK_CONFIG"
    )]
    pub config: PathBuf,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See the whole of it happen, on this machine: a push, its training, its end. Needs nothing but git.
    Demo,
    /// Take pushes and run what they ask for.
    Serve(ServeArguments),
    /// Run jobs that servers elsewhere take: for several machines, with a store on PostgreSQL.
    Worker(ServeArguments),
    /// Tell everything that is wrong with the configuration, or what it would do; or check configs of ms-swift against a
    /// recipe, as they are checked before a run.
    Check(CheckArguments),
    /// Look at jobs and command them.
    Jobs(JobsArguments),
    /// Look at deliveries and what each recipe said of them.
    Deliveries(DeliveriesArguments),
    /// Look for pushes that no delivery told of, and enqueue what is not known yet.
    Reconcile(ReconcileArguments),
    /// See which workers are there.
    Workers(WorkersArguments),
    /// Look after the store.
    Store(StoreArguments),
    /// Sign a payload and post it to a hook, as GitHub does.
    Send(SendArguments),
    /// Train the toy model that the demo trains.
    #[command(hide = true)]
    ToyTrainer(TrainerArgs),
}

/// Does what the command line says. Exit codes: 0 done, 1 failed, 2 misuse or a wrong configuration.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { common, command } = arguments;
    if matches!(command, Command::Demo | Command::Serve(_) | Command::Worker(_)) && init::is_first() {
        return init::run_below();
    }
    match command {
        Command::Demo => demo::run(),
        Command::Serve(arguments) => serve::run(&common, &arguments),
        Command::Worker(arguments) => worker::run(&common, &arguments),
        Command::Jobs(arguments) => jobs::run(&common, &arguments),
        Command::Deliveries(arguments) => deliveries::run(&common, &arguments),
        Command::Reconcile(arguments) => reconcile::run(&common, &arguments),
        Command::Workers(arguments) => workers::run(&common, &arguments),
        Command::Store(arguments) => store::run(&common, &arguments),
        Command::Check(arguments) => check::run(&common, &arguments),
        Command::Send(arguments) => send::run(&common, &arguments),
        Command::ToyTrainer(arguments) => toy_trainer::run(&arguments),
    }
}
