use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

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
use crate::ignored::{FLUSH_AFTER, Ignored, MOST_IGNORED};
use crate::rules::{Rules, Submission};

/// What the thread that writes is told.
pub(super) enum Message {
    /// To do something.
    Do(Box<dyn Work>),
    /// That pushes for which nothing is to run have begun to wait.
    Ignored,
    /// That so many of them wait that they are to be written now.
    Crowding,
    /// To write what is left and end.
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
    pub(super) ignored: Arc<Ignored>,
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
            ignored: Arc::default(),
            news: watch::Sender::default(),
            connection,
        })
    }

    /// Serves until it is told to end, or nobody is left to tell it anything.
    pub(super) fn serve(mut self, messages: &Receiver<Message>) {
        let mut flush_at = None;
        while !self.is_ending {
            let (mut batch, mut next) = (Vec::new(), receive(messages, flush_at));
            loop {
                match next {
                    Ok(Message::Do(work)) => batch.push(work),
                    Ok(Message::Ignored) => flush_at = Some(Instant::now() + FLUSH_AFTER),
                    // Those that the store refuses are tried again in their time.
                    Ok(Message::Crowding) if self.ignored.is_failing() => {}
                    Ok(Message::Crowding) => flush_at = Some(Instant::now()),
                    Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => self.is_ending = true,
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
            let is_time = flush_at.is_some_and(|at| at <= Instant::now());
            // A transaction that is paid for anyhow takes along what waits.
            if is_time || !batch.is_empty() && !self.ignored.is_failing() {
                let (ignored, is_all) = self.ignored.take(MOST_IGNORED);
                self.write(batch, ignored);
                flush_at = match is_all {
                    _ if self.ignored.is_failing() => Some(Instant::now() + TRY_AGAIN),
                    true => None,
                    false => Some(Instant::now()),
                };
            } else if !batch.is_empty() {
                self.write(batch, Vec::new());
            }
        }
        // In pieces, since what does not fit takes all of its piece with it.
        let mut left = self.ignored.close();
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(MOST_IGNORED));
            self.write(Vec::new(), std::mem::replace(&mut left, rest));
        }
    }

    /// Writes a batch in one transaction. If the store fails with it, each of its requests has a transaction of its
    /// own, so that none suffers for another.
    fn write(&mut self, batch: Vec<Box<dyn Work>>, ignored: Vec<Submission>) {
        let (mut batch, ignored) = self.within_room(batch, ignored);
        if batch.is_empty() && ignored.is_empty() {
            return;
        }
        match self.transact(&mut batch, &ignored) {
            Ok(()) => {
                if !ignored.is_empty() {
                    self.ignored.written(&ignored);
                }
                batch.into_iter().for_each(Work::answer);
            }
            Err(failure) if batch.len() + ignored.len() == 1 => {
                let is_begun = self.is_ending || batch.iter().any(|work| !work.is_new());
                match is_begun && failure.kind == Kind::Full && self.reserve.give_back() {
                    true => self.write(batch, ignored),
                    false => self.give_up(batch, ignored, &failure),
                }
            }
            // If it is not their fault they need not be tried one by one.
            Err(failure) if batch.is_empty() && failure.kind != Kind::Fault && !self.is_ending => {
                self.give_up(batch, ignored, &failure);
            }
            Err(Failure { message, .. }) => {
                tracing::warn!(error = message, "the store failed with a batch; it is tried in parts");
                match batch.is_empty() {
                    true => ignored.into_iter().for_each(|one| self.write(Vec::new(), vec![one])),
                    false => self.write(Vec::new(), ignored),
                }
                for work in batch {
                    self.write(vec![work], Vec::new());
                }
            }
        }
    }

    /// What may be written now: while the disk is full, only what was begun before. In the end there is no later time.
    fn within_room(
        &mut self,
        batch: Vec<Box<dyn Work>>,
        ignored: Vec<Submission>,
    ) -> (Vec<Box<dyn Work>>, Vec<Submission>) {
        let has_new = !ignored.is_empty() || batch.iter().any(|work| work.is_new());
        if !has_new || self.is_ending || self.reserve.is_held() || self.reserve.regain() {
            return (batch, ignored);
        }
        let (refused, begun): (Vec<_>, Vec<_>) = batch.into_iter().partition(|work| work.is_new());
        refused.into_iter().for_each(|work| work.fail(NO_ROOM));
        if !ignored.is_empty() {
            self.ignored.put_back(ignored);
        }
        (begun, Vec::new())
    }

    fn give_up(&self, batch: Vec<Box<dyn Work>>, ignored: Vec<Submission>, failure: &Failure) {
        tracing::error!(error = failure.message, "the store failed");
        batch.into_iter().for_each(|work| work.fail(&failure.message));
        match failure.kind {
            _ if ignored.is_empty() => {}
            Kind::Full | Kind::Passing => self.ignored.put_back(ignored),
            Kind::Fault => self.ignored.lose(&ignored, &failure.message),
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Work>], ignored: &[Submission]) -> Result<(), Failure> {
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

    fn try_transact(&mut self, batch: &mut [Box<dyn Work>], ignored: &[Submission]) -> Result<bool, Failure> {
        let now = (self.options.clock)();
        self.execute("BEGIN IMMEDIATE")?;
        let mut store =
            Transaction { connection: &self.connection, names: &mut self.names, chains: &mut self.chains };
        let mut rules = Rules::new(&mut store, &self.ids, now);
        // These came before, and the chain of commits leads through them.
        for submission in ignored {
            rules.accept(submission).map_err(|error| Failure::of(&error))?;
        }
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

impl Drop for Writer {
    /// However the thread ends, nothing waits for it in vain.
    fn drop(&mut self) {
        let left = self.ignored.close();
        if !left.is_empty() {
            self.ignored.lose(&left, "the thread that writes has ended");
        }
    }
}

fn receive(messages: &Receiver<Message>, flush_at: Option<Instant>) -> Result<Message, RecvTimeoutError> {
    match flush_at {
        Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
        None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// How long those rest that the store refuses.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const NO_ROOM: &str = "there is no room on the disk for anything new";

#[cfg(test)]
mod tests {
    use swifthook_core::{
        ChangeSet, CommitSha, ConfigDigest, Decided, Paths, Push, QueueError, Reason, RecipeVerdict, RefName,
        RepoName, Source, Timestamp, Verdict,
    };

    use super::*;
    use crate::ignored::Pushed;
    use crate::sqlite::work::Question;

    #[test]
    fn a_request_that_fails_in_the_middle_takes_nothing_of_its_batch_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(&directory.path().join("swifthook.db"), Options::default()).unwrap();
        let submissions: Vec<_> = (1..=5).map(|head| submission(&writer, head)).collect();
        let [first, broken, panicking, last, ignored] = <[_; 5]>::try_from(submissions).unwrap();
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
        writer.write(batch, vec![ignored]);

        assert!(told_first.blocking_recv().unwrap().is_ok());
        assert!(told_last.blocking_recv().unwrap().is_ok());
        let broken = told_broken.blocking_recv().unwrap().unwrap_err();
        assert_eq!(describe(&broken), "the store does not answer: the cable was pulled");
        assert!(told_panicking.blocking_recv().unwrap().is_err());
        let heads = "SELECT count(*), group_concat(hex(substr(head, 4, 1))) FROM deliveries";
        let kept: (u32, String) =
            writer.connection.query_row(heads, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(kept, (3, "01,04,05".to_owned()));
        assert_eq!(writer.ignored.lost(), 0);
    }

    #[test]
    fn what_cannot_be_written_and_nobody_waits_for_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(&directory.path().join("swifthook.db"), Options::default()).unwrap();
        writer.connection.execute("DROP TABLE deliveries", ()).unwrap();
        let ignored = vec![submission(&writer, 1), submission(&writer, 2)];
        writer.write(Vec::new(), ignored);
        assert_eq!(writer.ignored.lost(), 2);
    }

    #[tokio::test]
    async fn the_writer_is_told_once_that_half_of_the_room_is_taken_and_again_after_it_made_room() {
        let directory = tempfile::tempdir().unwrap();
        let writer = Writer::open(&directory.path().join("swifthook.db"), Options::default()).unwrap();
        let one = submission(&writer, 1);
        let told = async |count| {
            let mut told = 0;
            for _ in 0..count {
                told += u32::from(writer.ignored.push(one.clone()).await == Pushed::Crowding);
            }
            told
        };
        assert_eq!(writer.ignored.push(one.clone()).await, Pushed::First);
        // Each takes a kibibyte, and there is room for 32 MiB.
        assert_eq!(told(16_382).await, 0);
        assert_eq!(told(10_000).await, 1);
        let (taken, _) = writer.ignored.take(20_000);
        writer.ignored.written(&taken);
        assert_eq!(told(20_000).await, 1);
        assert_eq!(writer.ignored.lost(), 0);
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
