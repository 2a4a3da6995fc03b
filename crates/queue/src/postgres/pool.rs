use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::rows::RowError;
use super::target::Target;

/// Connections, each used by one at a time.
pub(super) struct Pool {
    target: Target,
    idle: Mutex<Vec<Session>>,
    room: Arc<Semaphore>,
    connections: usize,
    away: Mutex<Option<Away>>,
    is_closed: AtomicBool,
}

/// A database that did not answer when it was last asked for a connection.
struct Away {
    /// It is left alone until then.
    until: Instant,
    pause: Duration,
}

/// A connection with the statements that it has prepared.
pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement that is run later, with what it is given.
pub(super) struct Write {
    pub(super) sql: &'static str,
    pub(super) with: Vec<Box<dyn ToSql + Sync + Send>>,
}

/// What a [`Write`] is given.
macro_rules! given {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as Box<dyn tokio_postgres::types::ToSql + Sync + Send>),*]
    };
}
pub(super) use given;

impl Pool {
    pub(super) fn new(target: Target, connections: usize) -> Self {
        Self {
            target,
            idle: Mutex::default(),
            room: Arc::new(Semaphore::new(connections.max(1))),
            connections: connections.max(1),
            away: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Nothing is tried again from now on; what is under way has a moment to end, also that for which nobody waits any
    /// more. Its connections go with the runtime.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        if tokio::time::timeout(LAST_WORDS, self.room.acquire_many(all)).await.is_err() {
            tracing::warn!("the store is left while it still has something to do");
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Waits until there may be one connection more.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        self.room.clone().acquire_owned().await.expect("nobody closes it")
    }

    /// A connection that was not known to be dead, or a new one.
    ///
    /// While the database is away one caller after the other asks for one, ever more seldom, and the others are told at
    /// once: a server that is stopped or recovers has to turn each of them away, and PostgreSQL does not come to the end
    /// of a shutdown as long as there is always one more.
    pub(super) async fn session(&self) -> Result<Session, RowError> {
        while let Some(session) = self.pop() {
            if !session.client.is_closed() {
                return Ok(session);
            }
        }
        if !self.may_ask() {
            return Err(RowError::Away);
        }
        let opened = self.open().await;
        self.answered(opened.is_ok());
        Ok(opened?)
    }

    fn may_ask(&self) -> bool {
        let mut away = self.away.lock().expect("nothing panics under this lock");
        let Some(away) = away.as_mut() else { return true };
        let is_time = Instant::now() >= away.until;
        if is_time {
            away.until = Instant::now() + away.pause;
        }
        is_time
    }

    fn answered(&self, is_there: bool) {
        let mut away = self.away.lock().expect("nothing panics under this lock");
        let last = away.take();
        if !is_there {
            let pause = last.map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LAST_PAUSE));
            *away = Some(Away { until: Instant::now() + pause, pause });
        }
    }

    pub(super) async fn open(&self) -> Result<Session, Error> {
        let client = self.target.connect().await?;
        client.batch_execute(DURABLE).await?;
        Ok(Session { client, statements: HashMap::new() })
    }

    pub(super) fn give_back(&self, session: Session) {
        self.idle.lock().expect("nothing panics under this lock").push(session);
    }

    fn pop(&self) -> Option<Session> {
        self.idle.lock().expect("nothing panics under this lock").pop()
    }
}

impl Session {
    pub(super) async fn query(&mut self, sql: &'static str, with: Parameters<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, with).await
    }

    /// Several statements, in their order and in one round trip. The first that fails is told, with its position; those
    /// behind it have been tried too, and in a transaction fail for its sake.
    pub(super) async fn pipeline(
        &mut self,
        asked: &[(&'static str, Parameters<'_>)],
    ) -> Result<Vec<Vec<Row>>, (usize, Error)> {
        let mut statements = Vec::with_capacity(asked.len());
        for (position, (sql, _)) in asked.iter().enumerate() {
            statements.push(self.prepared(sql).await.map_err(|error| (position, error))?);
        }
        let client = &self.client;
        // A statement is sent when it is first polled, so these are sent one after the other.
        let mut running: Vec<_> = statements
            .iter()
            .zip(asked)
            .map(|(statement, (_, with))| (Box::pin(client.query(statement, with)), None))
            .collect();
        poll_fn(|context| {
            for (query, answer) in running.iter_mut().filter(|(_, answer)| answer.is_none()) {
                if let Poll::Ready(ready) = query.as_mut().poll(context) {
                    *answer = Some(ready);
                }
            }
            if running.iter().all(|(_, answer)| answer.is_some()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let answers = running.into_iter().filter_map(|(_, answer)| answer).enumerate();
        answers.map(|(position, answer)| answer.map_err(|error| (position, error))).collect()
    }

    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs a statement that has no parameters and no answer.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }
}

/// How long what is under way has at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long a database that is away is left alone, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// Where a database or a role leaves it to chance whether what was committed outlives a crash, it does not for us: a
/// promise is given on it. All other settings wait at least for the server's own disk, and are left as they are.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A shutdown of PostgreSQL that had begun while it recovered did not come to its end, since servers asked for new
    /// connections hundreds of times a second.
    #[tokio::test]
    async fn a_database_that_turns_everybody_away_is_asked_by_one_and_then_left_alone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://u@{}/d?sslmode=disable", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = asked.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                counting.fetch_add(1, Ordering::Relaxed);
                drop(connection);
            }
        });
        let pool = Pool::new(Target::parse(&url).unwrap(), 8);
        assert!(matches!(pool.session().await, Err(RowError::Postgres(_))));
        pool.away.lock().unwrap().as_mut().unwrap().until = Instant::now() + Duration::from_secs(600);
        for _ in 0..1_000 {
            assert!(matches!(pool.session().await, Err(RowError::Away)));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);

        pool.away.lock().unwrap().as_mut().unwrap().until = Instant::now();
        assert!(matches!(pool.session().await, Err(RowError::Postgres(_))), "its time has come");
        let pause = pool.away.lock().unwrap().as_ref().unwrap().pause;
        assert_eq!((asked.load(Ordering::Relaxed), pause), (2, 2 * FIRST_PAUSE));
    }
}
