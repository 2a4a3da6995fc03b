use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use tokio::sync::watch;

use super::config::{OpenError, Options};
use super::failure::{Failure, Kind, describe};
use super::names::Names;
use super::reserve::Reserve;
use super::transaction::Transaction;
use super::work::{Outcome, Work};
use super::{schema, start};
use crate::chain::Chains;
use crate::ids::Ids;
use crate::rules::Rules;

/// What the thread that writes is told.
pub(super) enum Message {
    /// To do something.
    Do(Box<dyn Work>),
    /// To end.
    End,
}

/// The thread that writes, and all that belongs to it.
pub(super) struct Writer {
    path: PathBuf,
    options: Options,
    connection: Connection,
    names: Names,
    chains: Chains,
    reserve: Reserve,
    is_ending: bool,
    pub(super) ids: Arc<Ids>,
    pub(super) news: watch::Sender<u64>,
}

impl Writer {
    pub(super) fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let connection = schema::open(path, &options)?;
        let refused = |source| OpenError::Sqlite { path: path.into(), source };
        let last_id = start::last_id(&connection).map_err(refused)?;
        start::end_leases(&connection).map_err(refused)?;
        Ok(Self {
            path: path.into(),
            reserve: Reserve::take(path, options.reserve),
            is_ending: false,
            options,
            names: Names::default(),
            chains: start::chains(&connection).map_err(refused)?,
            ids: Arc::new(Ids::after(last_id)),
            news: watch::Sender::default(),
            connection,
        })
    }

    /// Serves until it is told to end, or nobody is left to tell it anything. Whatever is asked while the disk is busy goes
    /// into the next transaction together.
    pub(super) fn serve(mut self, messages: &Receiver<Message>) {
        while !self.is_ending {
            let (mut batch, mut next) = (Vec::new(), messages.recv().map_err(|_| Gone));
            loop {
                match next {
                    Ok(Message::Do(work)) => batch.push(work),
                    Ok(Message::End) | Err(Gone) => self.is_ending = true,
                }
                if batch.len() >= self.options.batch {
                    break;
                }
                next = match messages.try_recv() {
                    Ok(message) => Ok(message),
                    Err(_) => break,
                };
            }
            self.write(batch);
        }
    }

    /// Writes a batch in one transaction. If the store fails with it, each of its requests has a transaction of its
    /// own, so that none suffers for another.
    fn write(&mut self, batch: Vec<Box<dyn Work>>) {
        let mut batch = self.within_room(batch);
        if batch.is_empty() {
            return;
        }
        match self.transact(&mut batch) {
            Ok(()) => batch.into_iter().for_each(Work::answer),
            Err(failure) if batch.len() == 1 => {
                let is_begun = self.is_ending || batch.iter().any(|work| !work.is_new());
                match is_begun && failure.kind == Kind::Full && self.reserve.give_back() {
                    true => self.write(batch),
                    false => give_up(batch, &failure),
                }
            }
            Err(Failure { message, .. }) => {
                tracing::warn!(error = message, "the store failed with a batch; it is tried in parts");
                for work in batch {
                    self.write(vec![work]);
                }
            }
        }
    }

    /// What may be written now: while the disk is full, only what was begun before. In the end there is no later time.
    fn within_room(&mut self, batch: Vec<Box<dyn Work>>) -> Vec<Box<dyn Work>> {
        let has_new = batch.iter().any(|work| work.is_new());
        if !has_new || self.is_ending || self.reserve.is_held() || self.reserve.regain() {
            return batch;
        }
        let (refused, begun): (Vec<_>, Vec<_>) = batch.into_iter().partition(|work| work.is_new());
        refused.into_iter().for_each(|work| work.fail(NO_ROOM));
        begun
    }

    fn transact(&mut self, batch: &mut [Box<dyn Work>]) -> Result<(), Failure> {
        match self.try_transact(batch) {
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

    fn try_transact(&mut self, batch: &mut [Box<dyn Work>]) -> Result<bool, Failure> {
        let now = (self.options.clock)();
        self.execute("BEGIN IMMEDIATE")?;
        let mut store =
            Transaction { connection: &self.connection, names: &mut self.names, chains: &mut self.chains };
        let mut rules = Rules::new(&mut store, &self.ids, now);
        for work in batch {
            if let Outcome::Broken(failure) = work.run(&mut rules) {
                return Err(failure);
            }
        }
        let has_news = rules.has_news;
        self.execute("COMMIT")?;
        Ok(has_news)
    }

    fn execute(&self, sql: &str) -> Result<(), Failure> {
        self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(()))?;
        Ok(())
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

fn give_up(batch: Vec<Box<dyn Work>>, failure: &Failure) {
    tracing::error!(error = failure.message, "the store failed");
    batch.into_iter().for_each(|work| work.fail(&failure.message));
}

/// Nobody is left who could ask for anything.
struct Gone;

const NO_ROOM: &str = "there is no room on the disk for anything new";

#[cfg(test)]
mod tests {
    use swifthook_core::{
        ChangeSet, CommitSha, ConfigDigest, Decided, Paths, Push, QueueError, Reason, RecipeVerdict, RefName,
        RepoName, Source, Timestamp, Verdict,
    };

    use super::*;
    use crate::rules::Submission;
    use crate::sqlite::work::Question;

    #[test]
    fn a_request_that_fails_in_the_middle_takes_nothing_of_its_batch_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(&directory.path().join("swifthook.db"), Options::default()).unwrap();
        let submissions: Vec<_> = (1..=4).map(|head| submission(&writer, head)).collect();
        let [first, broken, panicking, last] = <[_; 4]>::try_from(submissions).unwrap();
        let (first, told_first) = Question::new(move |rules| rules.accept(&first));
        let (broken, told_broken) = Question::new(move |rules| {
            rules.accept(&broken)?;
            Err::<(), _>(QueueError::store("the cable was pulled"))
        });
        let (panicking, told_panicking) = Question::new(move |rules| {
            rules.accept(&panicking)?;
            Err::<(), _>(nobody_thought_of_this())
        });
        let (last, told_last) = Question::new(move |rules| rules.accept(&last));

        let batch: Vec<Box<dyn Work>> =
            vec![Box::new(first), Box::new(broken), Box::new(panicking), Box::new(last)];
        writer.write(batch);

        assert!(told_first.blocking_recv().unwrap().is_ok());
        assert!(told_last.blocking_recv().unwrap().is_ok());
        let broken = told_broken.blocking_recv().unwrap().unwrap_err();
        assert_eq!(describe(&broken), "the store does not answer: the cable was pulled");
        assert!(told_panicking.blocking_recv().unwrap().is_err());
        let heads = "SELECT count(*), group_concat(hex(substr(head, 4, 1))) FROM deliveries";
        let kept: (u32, String) =
            writer.connection.query_row(heads, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(kept, (2, "01,04".to_owned()));
    }

    fn nobody_thought_of_this() -> QueueError {
        panic!("as a fault in the rules would")
    }

    fn submission(writer: &Writer, head: u32) -> Submission {
        let verdict = Verdict::Skip(Reason::new("paths", "no changed file matches"));
        let decided = Decided {
            version: Decided::VERSION,
            push: Push {
                repository: RepoName::new("acme/models").unwrap(),
                ref_name: RefName::Branch(format!("branch {head}").into()),
                before: None,
                head: CommitSha::parse(&format!("{head:08x}").repeat(5)).unwrap(),
                skip_marker: false,
                sender: None,
                pushed_at: None,
                changes: ChangeSet::Complete(Paths::empty()),
                source: Source::Reconcile,
                origin: Default::default(),
            },
            verdicts: vec![RecipeVerdict { recipe: "sft".into(), verdict, jobs: Vec::new() }],
            config: ConfigDigest([7; 32]),
            received_at: Timestamp(1),
            is_redeliverable: true,
        };
        Submission::new(&decided, writer.ids.delivery(Timestamp(1))).unwrap()
    }
}
