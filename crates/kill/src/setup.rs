use clap::{Args, ValueEnum};

use crate::Failure;

/// Which processes there are, and what they share.
#[derive(Args, Clone, Debug)]
pub(crate) struct SetUp {
    /// Where the jobs are.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub(crate) store: StoreKind,
    /// How many servers take pushes. Without workers they run the jobs as well.
    #[arg(long, default_value_t = 1)]
    pub(crate) receivers: usize,
    /// How many workers run the jobs; they need PostgreSQL.
    #[arg(long, default_value_t = 0)]
    pub(crate) workers: usize,
    /// On so many machines the workers are: those of one machine have one state directory, and adopt each other's
    /// runs.
    #[arg(long, default_value_t = 1)]
    pub(crate) machines: usize,
    /// A RabbitMQ of its own stands in front of the store; the server is a build with the feature `rabbitmq`.
    #[arg(long)]
    pub(crate) broker: bool,
    /// The server is a build with the feature `failpoints`, and dies at marked points too.
    #[arg(long)]
    pub(crate) points: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// A file of one server.
    Sqlite,
    /// A database of its own, which is stopped and started too.
    Postgres,
}

impl SetUp {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let is_alone = self.receivers == 1 && self.workers == 0;
        match self.store {
            StoreKind::Sqlite if !is_alone => Err("a store on SQLite has one receiver and no workers".into()),
            _ if self.receivers == 0 => Err("without a receiver nothing is accepted".into()),
            _ if self.machines == 0 => Err("a worker is on some machine".into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn has_database(&self) -> bool {
        self.store == StoreKind::Postgres
    }

    /// So many changes wait at most, so that the runs come along on any machine. Where a killed worker's lease has to
    /// run out, more of them wait.
    pub(crate) fn backlog(&self) -> usize {
        if self.has_database() { 60 } else { 24 }
    }
}
