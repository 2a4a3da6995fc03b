use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use swifthook_core::{JobId, QueueError, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::pool::{Parameters, Pool, Session, Write, given};
use super::rows::{self, RowError};
use super::transaction::{Transaction, plain, run, uuid};
use crate::chain::{Chains, Place};
use crate::clock::Clock;
use crate::codec;
use crate::ids::Ids;
use crate::rules::{Rules, Submission};
use crate::tips::Look;

/// What all transactions of a queue share.
pub(super) struct Core {
    pub(super) pool: Pool,
    pub(super) runtime: Handle,
    pub(super) clock: Option<Clock>,
    pub(super) ids: Ids,
    pub(super) names: Mutex<HashMap<String, i64>>,
    pub(super) news: watch::Sender<u64>,
    /// There is news that other processes have not been told.
    pub(super) has_news: Notify,
    /// How far the database's clock was ahead of this machine's when it was last asked.
    pub(super) ahead: AtomicI64,
}

/// What a transaction keeps from others before it reads anything.
#[derive(Default)]
pub(super) struct Needs {
    /// Names of locks.
    pub(super) locks: Vec<String>,
    /// The refs whose moves are looked at.
    pub(super) chains: Vec<Place>,
    /// A job, whose ref and group come to what is above.
    pub(super) job: Option<JobId>,
}

impl Needs {
    /// All that decides about these pushes and their jobs.
    pub(super) fn of_submissions(all: &[Submission]) -> Self {
        let mut needs = Self::default();
        for Submission { delivery, offers, .. } in all {
            let place = (delivery.repository.clone(), delivery.ref_name.clone());
            if !offers.is_empty() && !needs.chains.contains(&place) {
                needs.chains.push(place);
            }
            needs.locks.extend(offers.iter().map(|(spec, _)| format!("group {}", plain(&spec.group))));
        }
        needs
    }

    /// All that decides about a look at a repository and what it found. Looks at one repository come one after the other.
    pub(super) fn of_look(look: &Look) -> Self {
        let mut needs = Self::of_submissions(&look.found);
        needs.locks.push(format!("tips {}", look.repository));
        needs
    }

    /// All that decides about a job, and about jobs of these groups that come of it.
    pub(super) fn of_job<'a>(job: JobId, groups: impl IntoIterator<Item = &'a str>) -> Self {
        let locks = groups.into_iter().map(|group| format!("group {}", plain(group))).collect();
        Self { locks, chains: Vec::new(), job: Some(job) }
    }

    /// All that decides about a port of a machine.
    pub(super) fn of_port(machine: &str) -> Self {
        Self { locks: vec![format!("ports {}", plain(machine))], ..Self::default() }
    }

    /// Claims come one after the other.
    pub(super) fn of_claim() -> Self {
        Self { locks: vec!["claim".to_owned()], ..Self::default() }
    }
}

/// Why a transaction came to nothing.
enum Failed {
    /// Nothing of it was kept, and it may go better the next time.
    Again(QueueError),
    Final(QueueError),
}

impl Core {
    /// One transaction, tried again while it is certain that nothing of it was kept.
    pub(super) async fn transact_within<T, F>(
        self: Arc<Self>,
        patience: Duration,
        needs: Needs,
        mut what: F,
    ) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError> + Send + 'static,
    {
        let room = self.pool.room().await;
        let work = self.runtime.clone().spawn_blocking(move || {
            let _room = room;
            self.transact(patience, &needs, &mut what)
        });
        work.await.map_err(QueueError::store)?
    }

    /// What time it is, for what cannot wait for the database to say it.
    pub(super) fn about_now(&self) -> Timestamp {
        match &self.clock {
            Some(clock) => clock(),
            None => Timestamp(this_machines().0 + self.ahead.load(Ordering::Relaxed)),
        }
    }

    /// Waits for the database on the thread of the caller.
    fn transact<T>(
        &self,
        patience: Duration,
        needs: &Needs,
        what: &mut impl FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let deadline = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt(needs, what) {
                Ok(answer) => return Ok(answer),
                Err(Failed::Again(error)) if Instant::now() + pause < deadline && !self.pool.is_closed() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "PostgreSQL failed; again");
                }
                Err(Failed::Again(error) | Failed::Final(error)) => return Err(error),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn attempt<T>(
        &self,
        needs: &Needs,
        what: &mut impl FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError>,
    ) -> Result<T, Failed> {
        let mut session =
            self.runtime.block_on(self.pool.session()).map_err(|error| Failed::Again(error.into()))?;
        let mut store = Transaction {
            session: &mut session,
            runtime: &self.runtime,
            names: &self.names,
            met: HashMap::new(),
            chains: Chains::default(),
            has_passed_by: false,
            later: Vec::new(),
        };
        let done = begin(&mut store, needs, self.clock.as_ref()).map_err(QueueError::from).map(|now| {
            self.ahead.store(now.0 - this_machines().0, Ordering::Relaxed);
            let mut rules = Rules::new(&mut store, &self.ids, now);
            (what(&mut rules), rules.has_news)
        });
        let (met, later) = (store.met, store.later);
        let (said, has_news) = match done {
            Ok((Err(error @ QueueError::Store { .. }), _)) | Err(error) => {
                if self.runtime.block_on(session.run("ROLLBACK")).is_ok() {
                    self.pool.give_back(session);
                }
                return Err(if may_pass(&error) { Failed::Again(error) } else { Failed::Final(error) });
            }
            Ok(done) => done,
        };
        let session = self.commit(session, &later)?;
        self.pool.give_back(session);
        self.names.lock().expect("nothing panics under this lock").extend(met);
        if has_news {
            self.news.send_modify(|count| *count += 1);
            self.has_news.notify_one();
        }
        said.map_err(Failed::Final)
    }

    /// Tells other processes of news, for ever: all that there was since the last time at once. Not within the
    /// transactions that make them, which would have to commit one after the other.
    pub(super) async fn tell_others(self: Arc<Self>) {
        loop {
            self.has_news.notified().await;
            let told = match self.pool.session().await {
                Ok(session) => {
                    session.run(NOTIFY).await.map(|()| self.pool.give_back(session)).map_err(RowError::from)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot tell other processes of news"
                );
            }
            tokio::time::sleep(BETWEEN_NEWS).await;
        }
    }

    /// Writes what is left, and commits. If the connection is lost in the middle nobody knows what was kept, so it is
    /// not tried again.
    fn commit(&self, mut session: Session, left: &[Write]) -> Result<Session, Failed> {
        let committed = self.runtime.block_on(run(&mut session, left, &[(COMMIT, &[])]));
        committed.map_err(|(_, error)| {
            // With a code the database itself has said no, to a write or to the commit, and kept nothing.
            let is_refused = error.code().is_some_and(is_conflict);
            let error = RowError::from(error).into();
            if is_refused { Failed::Again(error) } else { Failed::Final(error) }
        })?;
        Ok(session)
    }

    /// Reads with a connection of the pool. One that was lost while nobody used it is replaced.
    pub(super) fn read<T>(
        &self,
        what: &impl Fn(&Handle, &mut Session) -> Result<T, RowError>,
    ) -> Result<T, QueueError> {
        let mut tries = 0..TRIES;
        loop {
            let session = self.runtime.block_on(self.pool.session());
            let done = session.and_then(|mut session| {
                let answer = what(&self.runtime, &mut session)?;
                self.pool.give_back(session);
                Ok(answer)
            });
            match done.map_err(QueueError::from) {
                Err(error) if may_pass(&error) && !self.pool.is_closed() && tries.next().is_some() => {
                    std::thread::sleep(FIRST_PAUSE);
                }
                done => return done,
            }
        }
    }
}

/// Begins a transaction, takes its locks, and answers the time.
fn begin(store: &mut Transaction<'_>, needs: &Needs, clock: Option<&Clock>) -> Result<Timestamp, RowError> {
    store.later.push(Write { sql: BEGIN, with: Vec::new() });
    let mut locks = needs.locks.clone();
    let mut places = needs.chains.clone();
    if let Some(job) = needs.job
        && let Some(row) = store.query(PLACE_AND_GROUP, &[&uuid(job)])?.first()
    {
        places.extend(rows::place(row, 0).ok());
        locks.push(format!("group {}", row.try_get::<_, &str>(1)?));
    }
    let names: Vec<_> = places.iter().map(|place| plain(&format!("{} {}", place.0, place.1))).collect();
    locks.extend(names.iter().map(|name| format!("place {name}")));
    if !locks.is_empty() {
        store.later.push(Write { sql: LOCK, with: given![locks] });
    }
    // Each statement sees what was committed before it began, so these see all that was done under the locks before.
    let with: Vec<[&(dyn ToSql + Sync); 1]> = names.iter().map(|name| [name as _]).collect();
    let mut asked: Vec<(&'static str, Parameters<'_>)> = vec![(NOW, &[])];
    asked.extend(with.iter().map(|with| (MOVES, &with[..])));
    let answers = store.pipeline(&asked)?;
    let Some((first, moves)) = answers.split_first() else {
        return Err(codec::Corrupt::new("answer").into());
    };
    for (place, moves) in places.iter().zip(moves) {
        for row in moves.iter().rev() {
            let (Ok(before), Ok(Some(head))) = (rows::commit(row, 0), rows::commit(row, 1)) else { continue };
            store.chains.record(place, before.as_ref(), &head);
        }
    }
    now(clock, first)
}

/// The time of whoever's clock counts.
fn now(clock: Option<&Clock>, told: &[Row]) -> Result<Timestamp, RowError> {
    match clock {
        Some(clock) => Ok(clock()),
        None => Ok(Timestamp(told.first().map_or(Ok(0), |row| row.try_get(0))?)),
    }
}

fn this_machines() -> Timestamp {
    SystemTime::now().into()
}

/// Whether a store that failed in the middle of a transaction may do better the next time: another one was in the way,
/// or the connection was lost.
pub(super) fn may_pass(error: &QueueError) -> bool {
    let QueueError::Store { source, .. } = error else { return false };
    match source.downcast_ref::<RowError>() {
        Some(RowError::Away) => true,
        Some(RowError::Postgres(error)) => error.code().is_none_or(is_conflict) || error.is_closed(),
        _ => false,
    }
}

fn is_conflict(code: &SqlState) -> bool {
    let passing = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::UNIQUE_VIOLATION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    passing.contains(code)
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const COMMIT: &str = "COMMIT";
const PLACE_AND_GROUP: &str = "SELECT place.name, groups.name FROM jobs j JOIN names place ON place.id = j.place \
    JOIN names groups ON groups.id = j.group_id WHERE j.id = $1";
/// In the order of the keys, which is the same for all.
const LOCK: &str = "SELECT pg_advisory_xact_lock(key)::text FROM (SELECT DISTINCT \
    hashtextextended(current_schema() || ' ' || name, 0) AS key FROM unnest($1::text[]) name ORDER BY key OFFSET 0) k";
/// The last moves of a ref: as many as a chain is followed.
const MOVES: &str = "SELECT before, head FROM deliveries WHERE head IS NOT NULL AND place = \
    (SELECT id FROM names WHERE digest = sha256(convert_to($1::text, 'UTF8'))) ORDER BY id DESC LIMIT 256";
const NOW: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// How soon others are told again: what is to run waits that much longer at most, and a busy receiver has a commit of
/// its own for this only so often.
const BETWEEN_NEWS: Duration = Duration::from_millis(10);
/// Carries the schema, since all schemas of a database hear it.
const NOTIFY: &str = "SELECT pg_notify('swifthook', current_schema()::text)";
/// How often a reader that lost its connection tries again: more than there are idle ones to be lost.
const TRIES: usize = 16;
/// For how long a transaction is tried again: less than a push has to be accepted in.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
