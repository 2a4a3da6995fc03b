use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::watch;

use super::config::Options;
use super::ignored::Ignored;
use super::names::Names;
use super::schema;
use super::transaction::Transaction;
use super::work::{Outcome, Work};
use crate::chain::Chains;
use crate::ids::Ids;
use crate::rules::{Rules, Submission};

/// What the thread that writes is told.
pub(super) enum Message {
    /// To do something.
    Do(Box<dyn Work>),
    /// That pushes for which nothing is to run have begun to wait.
    Ignored,
    /// To write what is left and end.
    End,
}

/// The thread that writes, and all that belongs to it.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    pub(super) connection: Connection,
    pub(super) names: Names,
    pub(super) chains: Chains,
    pub(super) ids: Arc<Ids>,
    pub(super) ignored: Arc<Ignored>,
    pub(super) news: watch::Sender<u64>,
}

impl Writer {
    /// Serves until it is told to end, or nobody is left to tell it anything.
    pub(super) fn serve(mut self, messages: &Receiver<Message>) {
        let mut flush_at = None;
        let mut is_ending = false;
        while !is_ending {
            let (mut batch, mut next) = (Vec::new(), receive(messages, flush_at));
            loop {
                match next {
                    Ok(Message::Do(work)) => batch.push(work),
                    Ok(Message::Ignored) => flush_at = Some(Instant::now() + FLUSH_AFTER),
                    Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => is_ending = true,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if batch.len() >= self.options.batch {
                    break;
                }
                next = match messages.try_recv() {
                    Ok(message) => Ok(message),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                };
            }
            // A transaction that is paid for anyhow takes along what waits.
            if !batch.is_empty() || flush_at.is_some_and(|at| at <= Instant::now()) {
                let (ignored, is_all) = self.ignored.take(MOST_IGNORED);
                flush_at = (!is_all).then(Instant::now);
                self.write(batch, &ignored);
            }
        }
        let (ignored, _) = self.ignored.take(usize::MAX);
        self.write(Vec::new(), &ignored);
    }

    /// Writes a batch in one transaction. If the store fails with it, each of its requests has a transaction of its
    /// own, so that none suffers for another.
    fn write(&mut self, mut batch: Vec<Box<dyn Work>>, ignored: &[Submission]) {
        if batch.is_empty() && ignored.is_empty() {
            return;
        }
        match self.transact(&mut batch, ignored) {
            Ok(()) => batch.into_iter().for_each(Work::answer),
            Err(error) if batch.len() + usize::from(!ignored.is_empty()) == 1 => {
                tracing::error!(error, "the store failed");
                batch.into_iter().for_each(|work| work.fail(&error));
                if !ignored.is_empty() {
                    self.ignored.lose(ignored.len() as u64, &error);
                }
            }
            Err(error) => {
                tracing::warn!(error, "the store failed with a batch; its requests are tried one by one");
                self.write(Vec::new(), ignored);
                for work in batch {
                    self.write(vec![work], &[]);
                }
            }
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Work>], ignored: &[Submission]) -> Result<(), String> {
        let done = self.try_transact(batch, ignored);
        match done {
            Ok(has_news) => {
                if has_news {
                    self.news.send_modify(|count| *count += 1);
                }
                Ok(())
            }
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    fn try_transact(&mut self, batch: &mut [Box<dyn Work>], ignored: &[Submission]) -> Result<bool, String> {
        let now = (self.options.clock)();
        self.execute("BEGIN IMMEDIATE")?;
        let mut store =
            Transaction { connection: &self.connection, names: &mut self.names, chains: &mut self.chains };
        let mut rules = Rules::new(&mut store, &self.ids, now);
        // These came before, and the chain of commits leads through them.
        for submission in ignored {
            rules.accept(submission).map_err(|error| describe(&error))?;
        }
        for work in batch {
            if work.run(&mut rules) == Outcome::Broken {
                return Err("a request failed".to_owned());
            }
        }
        let has_news = rules.has_news;
        self.execute("COMMIT")?;
        Ok(has_news)
    }

    fn execute(&self, sql: &str) -> Result<(), String> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(()));
        done.map(drop).map_err(|error| describe(&error))
    }

    /// Back to what is durable. A connection that cannot get there is replaced.
    fn roll_back(&mut self) {
        self.names.forget();
        if !self.connection.is_autocommit() {
            let _ = self.execute("ROLLBACK");
        }
        if !self.connection.is_autocommit() {
            match schema::connect(&self.path, &self.options) {
                Ok(connection) => self.connection = connection,
                Err(error) => tracing::error!(error = describe(&error), "cannot open the store again"),
            }
        }
    }
}

fn receive(messages: &Receiver<Message>, flush_at: Option<Instant>) -> Result<Message, RecvTimeoutError> {
    match flush_at {
        Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
        None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// How long a push for which nothing is to run waits for company, well within the second that is promised.
const FLUSH_AFTER: Duration = Duration::from_millis(400);
/// How many of them are written in one transaction, so that nobody waits long behind them.
const MOST_IGNORED: usize = 1_024;
