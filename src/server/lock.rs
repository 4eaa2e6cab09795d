//! The advisory lock that makes runs on one table exclusive.
//!
//! The lock is a `GET_LOCK` of the server, held by a connection of its own for the whole run: it ends
//! with the process, however the process ends, and needs no cleaning up.
//!
//! # Why two processes never write to one shadow table
//!
//! A process may lose the lock and not know it yet. So every transaction asks, as its last statement
//! before COMMIT, whether the lock is still its process's own ([`Owner::confirm`]); by then it holds a
//! metadata lock on the shadow table, which it keeps until it has committed. A process that takes a
//! stopped run up takes the run lock first, and then waits for a lock on the shadow table: what was
//! confirmed before has been committed by then, and nothing is confirmed any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::lost::Started;
use super::{Server, ServerFacts, Session, SessionSettings, to_error};
use crate::error::{Error, Kind, Result};
use crate::sql::{TableName, stable_hash, text};

/// Held while a run or a clean-up works on a table.
#[derive(Debug)]
pub struct RunLock {
    session: Session,
    owner: Owner,
    table: TableName,
    /// Whether the server keeps every acknowledged commit through a crash.
    durable: bool,
    /// When it was started.
    started: Started,
}

/// The process that holds a run lock, as its other connections can prove it.
#[derive(Debug, Clone)]
pub struct Owner {
    name: String,
    /// The number of the connection that holds the lock.
    connection: Arc<AtomicU32>,
}

impl Owner {
    /// Whether the lock is held by this process.
    ///
    /// # Errors
    /// As the server's.
    pub async fn confirm(&self, session: &mut Session) -> mysql_async::Result<bool> {
        let holder: Option<Option<u64>> =
            session.query_first(format!("SELECT IS_USED_LOCK({})", text(&self.name))).await?;
        Ok(holder.flatten() == Some(u64::from(self.connection.load(Ordering::Acquire))))
    }
}

/// How long a new run waits for the lock: the server may not have noticed yet that its holder was killed.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at whether the lock is still held.
const WATCH: Duration = Duration::from_secs(2);

impl RunLock {
    /// Takes the lock for a table, or says who holds it.
    ///
    /// # Errors
    /// Refused when another connection holds the lock.
    pub async fn acquire(server: &Server, table: &TableName) -> Result<Self> {
        RunLock::acquire_within(Duration::ZERO, server, table).await
    }

    /// The same, waiting for it for whole seconds.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_within(
        patience: Duration,
        server: &Server,
        table: &TableName,
    ) -> Result<Self> {
        let mut session = server.session(&SessionSettings::default()).await?;
        let name = lock_name(table);
        let taken: Option<Option<i64>> = session
            .exec_first("SELECT GET_LOCK(?, ?)", (&name, patience.as_secs()))
            .await
            .map_err(|e| to_error(e, "taking the run lock"))?;
        if taken.flatten() == Some(1) {
            let connection = Arc::new(AtomicU32::new(session.id()));
            let durable = ServerFacts::read(&mut session).await?.durable;
            let started = Started::read(&mut session)
                .await
                .map_err(|e| to_error(e, "asking how long the server has been running"))?;
            let (owner, table) = (Owner { name, connection }, table.clone());
            return Ok(RunLock { session, owner, table, durable, started });
        }
        let who = RunLock::holder(&mut session, table)
            .await?
            .unwrap_or_else(|| "another connection".to_owned());
        session.close().await;
        Err(Error::refused(format!("another replank works on {table}: {who} holds its lock"))
            .remedy("Wait for that run to end, or stop it; then start again."))
    }

    /// Who holds the lock for a table, in words; None if nobody does.
    ///
    /// # Errors
    /// As the server's.
    pub async fn holder(session: &mut Session, table: &TableName) -> Result<Option<String>> {
        let doing = "asking who holds the run lock";
        let name = lock_name(table);
        let connection: Option<Option<u64>> = session
            .exec_first("SELECT IS_USED_LOCK(?)", (&name,))
            .await
            .map_err(|e| to_error(e, doing))?;
        let Some(connection) = connection.flatten() else { return Ok(None) };
        // Without PROCESS an account sees its own connections only.
        let account: Option<String> = session
            .exec_first(
                "SELECT CONCAT(user, '@', host) FROM information_schema.processlist WHERE id = ?",
                (connection,),
            )
            .await
            .map_err(|e| to_error(e, doing))?;
        Ok(Some(match account {
            Some(account) => format!("connection {connection} of {account}"),
            None => format!("connection {connection}"),
        }))
    }

    /// The proof that this process holds the lock.
    pub fn owner(&self) -> Owner {
        self.owner.clone()
    }

    /// Watches the lock, and takes it again when its connection is lost. Returns when another run or
    /// clean-up has taken it meanwhile.
    pub async fn watch(&mut self, server: &Server) -> Error {
        let mut ticker = tokio::time::interval(WATCH);
        loop {
            ticker.tick().await;
            if self.is_held().await {
                continue;
            }
            tracing::warn!("the connection that held the run lock is lost; taking the lock again");
            match RunLock::acquire(server, &self.table).await {
                Ok(again) => {
                    // What this process has seen committed may be gone on the server, in the source, in the
                    // shadow table or in the binlog. Nothing was committed since: every commit asks for
                    // the lock. A process that takes the run up verifies all rows.
                    if !self.durable && self.started.may_differ_from(again.started) {
                        return Error::failed(
                            "as far as can be told the server was started again, and it does not keep every acknowledged commit \
                             through a crash (sync_binlog and innodb_flush_log_at_trx_commit are not both 1)",
                        )
                        .remedy("Give the same command again: it goes on, and verifies all rows.")
                        .keeping_progress();
                    }
                    (self.session, self.started) = (again.session, again.started);
                    self.owner.connection.store(self.session.id(), Ordering::Release);
                }
                // The server may be starting; the hands notice when it stays away.
                Err(error) if error.kind() == Kind::Transient => {}
                Err(error) => return error.into_kind(Kind::Failed).keeping_progress(),
            }
        }
    }

    async fn is_held(&mut self) -> bool {
        matches!(self.owner.confirm(&mut self.session).await, Ok(true))
    }

    /// Lets the lock go. By a statement, since the server may notice the end of a connection a moment later.
    pub async fn release(mut self) {
        let release = format!("DO RELEASE_LOCK({})", text(&self.owner.name));
        if let Err(error) = self.session.query_drop(release).await {
            tracing::debug!(%error, "letting the run lock go");
        }
        self.session.close().await;
    }
}

/// A name of at most 64 characters, the limit of `GET_LOCK`; different tables get different names as
/// far as 64 bits tell them apart. Lower case, since table names may be case-insensitive.
fn lock_name(table: &TableName) -> String {
    let readable: String = table.table.as_str().chars().take(32).collect();
    format!("replank:{readable}:{:016x}", stable_hash(&table.to_string().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_names_fit_and_differ_by_schema() {
        let long = "é".repeat(64);
        let name = lock_name(&TableName::new("a", long.clone()));
        assert!(name.chars().count() <= 64);
        assert_ne!(name, lock_name(&TableName::new("b", long)));
    }
}
