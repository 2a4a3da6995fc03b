use std::collections::HashMap;
use std::sync::{Arc, Mutex};

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
        let statement = match self.statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql).await?;
                self.statements.insert(sql, statement.clone());
                statement
            }
        };
        self.client.query(&statement, with).await
    }

    /// Runs a statement that has no parameters and no answer.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }
}

/// Where a database or a role leaves it to chance whether what was committed outlives a crash, it does not for us: a
/// promise is given on it. All other settings wait at least for the server's own disk, and are left as they are.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
