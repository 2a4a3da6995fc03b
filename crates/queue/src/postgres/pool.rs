use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::target::Target;

/// Connections, each used by one at a time.
pub(super) struct Pool {
    target: Target,
    idle: Mutex<Vec<Session>>,
    room: Arc<Semaphore>,
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
        Self { target, idle: Mutex::default(), room: Arc::new(Semaphore::new(connections.max(1))) }
    }

    /// Waits until there may be one connection more.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        self.room.clone().acquire_owned().await.expect("nobody closes it")
    }

    /// A connection that was not known to be dead, or a new one.
    pub(super) async fn session(&self) -> Result<Session, Error> {
        while let Some(session) = self.pop() {
            if !session.client.is_closed() {
                return Ok(session);
            }
        }
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

/// Where a database or a role leaves it to chance whether what was committed outlives a crash, it does not for us: a
/// promise is given on it. All other settings wait at least for the server's own disk, and are left as they are.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
