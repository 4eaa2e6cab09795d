//! Connections that were lost on this side and may live on at the server, with their transaction and
//! their locks, until the server notices.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::Session;
use super::connect::{PROCESS, process as process_token};

/// A connection as the server knows it.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionId {
    /// Its number.
    number: u32,
    /// When it was opened: a server that has started since gives the number to another connection.
    opened: Instant,
}

impl ConnectionId {
    /// The connection of a session.
    pub fn of(session: &Session) -> Self {
        ConnectionId { number: session.id(), opened: session.opened() }
    }

    /// The same age under another number, as a server that was started again may have given it away.
    pub fn with_number(self, number: u32) -> Self {
        ConnectionId { number, ..self }
    }

    /// Ends the connection if it is still there, and says whether it was. Then it may take a moment
    /// until it is gone.
    ///
    /// # Errors
    /// As the server's; not when the connection has gone meanwhile.
    pub async fn end(self, session: &mut Session) -> mysql_async::Result<bool> {
        let up = Duration::from_secs(uptime(session).await?);
        if up + Duration::from_secs(2) < self.opened.elapsed() {
            return Ok(false);
        }
        let alive: Option<u64> = session
            .exec_first(
                "SELECT id FROM information_schema.processlist WHERE id = ?",
                (self.number,),
            )
            .await?;
        if alive.is_none() || !is_ours(session, self.number).await? {
            return Ok(false);
        }
        // Users may end their own connections without any privilege.
        match session.query_drop(format!("KILL {}", self.number)).await {
            Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_THREAD => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }
}

/// Whether the connection with this number belongs to this process. A server that has been started again within
/// a moment gives the number to another client, whose connection must not be ended.
///
/// Every account may read the attributes of its own connections. Where the server does not keep them
/// (`performance_schema=OFF`), the uptime alone has to tell.
async fn is_ours(session: &mut Session, number: u32) -> mysql_async::Result<bool> {
    let kept: Option<bool> = session.query_first("SELECT @@GLOBAL.performance_schema").await?;
    if kept != Some(true) {
        return Ok(true);
    }
    let process: Option<String> = session
        .exec_first(
            "SELECT ATTR_VALUE FROM performance_schema.session_account_connect_attrs \
             WHERE PROCESSLIST_ID = ? AND ATTR_NAME = ?",
            (number, PROCESS),
        )
        .await?;
    Ok(process.as_deref() == Some(process_token()))
}

/// Ends the connections that run DDL with this mark. Users may end their own without any privilege.
///
/// # Errors
/// As the server's; not when a connection has gone meanwhile.
pub async fn end_marked(session: &mut Session, mark: &str) -> mysql_async::Result<()> {
    let connections: Vec<u64> = session
        .exec(
            "SELECT id FROM information_schema.processlist \
             WHERE id <> CONNECTION_ID() AND info LIKE ?",
            (format!("ALTER /* {mark} */%"),),
        )
        .await?;
    for connection in connections {
        match session.query_drop(format!("KILL {connection}")).await {
            Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_THREAD => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// For how many seconds the server has been running.
async fn uptime(session: &mut Session) -> mysql_async::Result<u64> {
    let uptime: Option<(String, u64)> =
        session.query_first("SHOW GLOBAL STATUS LIKE 'Uptime'").await?;
    Ok(uptime.map_or(0, |(_, seconds)| seconds))
}

/// When the server was started, by its own clock, and for how long it had been running when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Started {
    /// In seconds; two answers of one start differ by at most 2.
    at: u64,
    /// In seconds.
    up: u64,
}

impl Started {
    /// Asks the server.
    ///
    /// # Errors
    /// As the server's.
    pub(super) async fn read(session: &mut Session) -> mysql_async::Result<Started> {
        let up = uptime(session).await?;
        let now: Option<u64> = session.query_first("SELECT UNIX_TIMESTAMP()").await?;
        Ok(Started { at: now.unwrap_or_default().saturating_sub(up), up })
    }

    /// Whether the server may have been started again by the time `later` was read. It was not before it
    /// answered here, so that the second start is later than the first by this answer's uptime at least;
    /// where that is within the clock's grain, nobody can tell, and it may have been.
    pub(super) fn may_differ_from(self, later: Started) -> bool {
        const GRAIN: u64 = 2;
        later.at > self.at + GRAIN || self.up <= GRAIN + 1
    }
}

const NO_SUCH_THREAD: u16 = 1094;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_killed_soon_after_its_start_may_be_another_one() {
        let read = |at, up| Started { at, up };
        assert!(!read(100, 50).may_differ_from(read(101, 70)), "the clock's grain");
        assert!(read(100, 50).may_differ_from(read(151, 1)));
        assert!(read(100, 1).may_differ_from(read(102, 1)), "as near as the grain");
        assert!(read(100, 4).may_differ_from(read(104, 0)));
    }
}
