//! Sweeping up: the statements at the end of a run, which have to be carried out however often the
//! connection is lost on the way.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use crate::error::{Error, Kind, Result};
use crate::schema::table::Table;
use crate::server::{
    ConnectionId, Fault, RECONNECT_FOR, Server, Session, SessionSettings, back_off, fault_of,
    to_error,
};
use crate::sql::TableName;
use crate::state::history::{self, Record};

/// How long a connection that has been idle during the run may take to answer.
const PING: Duration = Duration::from_secs(5);

/// How often reading is tried again.
const READS: u32 = 10;

/// A session for statements that may be carried out more than once with the same result.
#[derive(Debug)]
pub struct Broom<'a> {
    server: &'a Server,
    session: Option<Session>,
}

impl<'a> Broom<'a> {
    /// Starts with a session of before, which may be lost already.
    pub async fn new(server: &'a Server, session: Session) -> Self {
        let mut broom = Broom { server, session: Some(session) };
        if let Some(session) = &mut broom.session {
            let answered = tokio::time::timeout(PING, session.ping()).await;
            if !matches!(answered, Ok(Ok(()))) {
                let lost = ConnectionId::of(session);
                broom.session = None;
                // What was under way on it must not come after what is done now.
                if let Err(error) = broom.end(lost).await {
                    tracing::debug!(%error, "ending a lost connection");
                }
            }
        }
        broom
    }

    /// Carries out a statement, trying again for two minutes where a lock or the connection fails.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn sweep(&mut self, sql: &str, doing: &str) -> Result<()> {
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            let mut session = self.session().await?;
            let error = match session.query_drop(sql).await {
                Ok(()) => {
                    self.session = Some(session);
                    return Ok(());
                }
                Err(error) => error,
            };
            match fault_of(&error) {
                Fault::Connection => self.end(ConnectionId::of(&session)).await?,
                Fault::Retry => self.session = Some(session),
                _ => {
                    self.session = Some(session);
                    return Err(to_error(error, doing));
                }
            }
            attempt += 1;
            if began.elapsed() > RECONNECT_FOR {
                return Err(to_error(error, doing).into_kind(Kind::Failed));
            }
            tracing::debug!(%error, attempt, doing, "trying again");
            back_off(attempt).await;
        }
    }

    /// The comment of a table.
    ///
    /// # Errors
    /// The last attempt's, as [`sweep`](Self::sweep); failed if the table is gone.
    pub async fn comment(&mut self, table: &TableName) -> Result<String> {
        let doing = format!("reading the comment of {table}");
        let mut attempt = 0;
        loop {
            let mut session = self.session().await?;
            match Table::read(&mut session, table).await {
                Ok(found) => {
                    self.session = Some(session);
                    return found
                        .map(|table| table.comment)
                        .ok_or_else(|| Error::failed(format!("{doing}: it is gone")));
                }
                Err(error) if error.kind() == Kind::Transient && attempt < READS => {
                    attempt += 1;
                    back_off(attempt).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Drops tables.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep), naming the table.
    pub async fn drop(&mut self, tables: &[TableName]) -> Result<()> {
        for table in tables {
            let sql = format!("DROP TABLE IF EXISTS {table}");
            self.sweep(&sql, &format!("dropping {table}")).await?;
        }
        Ok(())
    }

    /// Writes a run's record to the history. What goes wrong is only told: nothing depends on it.
    pub async fn record(&mut self, source: &TableName, record: &Record, days: u32) {
        if days == 0 {
            return;
        }
        if let Err(error) = self.try_record(source, record, days).await {
            tracing::warn!(%error, "the run is not in the history");
        }
    }

    async fn try_record(&mut self, source: &TableName, record: &Record, days: u32) -> Result<()> {
        let mut session = self.session().await?;
        let ours = history::is_ours(&mut session, source).await;
        self.session = Some(session);
        if !ours? {
            return Err(Error::failed("a table of another kind has the history's name"));
        }
        for sql in history::record_sql(source, record, days)? {
            self.sweep(&sql, "writing the history").await?;
        }
        Ok(())
    }

    /// Says goodbye to the server.
    pub async fn put_away(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    async fn session(&mut self) -> Result<Session> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => self.server.session_within(&SessionSettings::default(), RECONNECT_FOR).await,
        }
    }

    /// Ends a lost connection at the server, and waits until it is gone.
    async fn end(&mut self, lost: ConnectionId) -> Result<()> {
        let began = Instant::now();
        let mut attempt = 0;
        while began.elapsed() < RECONNECT_FOR {
            let mut session = self.session().await?;
            match lost.end(&mut session).await {
                Ok(false) => {
                    self.session = Some(session);
                    return Ok(());
                }
                Ok(true) => self.session = Some(session),
                Err(error) => tracing::debug!(%error, "ending a lost connection"),
            }
            attempt += 1;
            back_off(attempt).await;
        }
        Err(Error::failed("a lost connection still works at the server")
            .remedy("Look for it with SHOW PROCESSLIST; then run `replank cleanup`."))
    }
}
