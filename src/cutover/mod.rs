//! The cut-over: the shadow table takes the source's name.
//!
//! ```text
//! prepare    the shadow table's statistics and AUTO_INCREMENT
//! lock       LOCK TABLES source WRITE, shadow WRITE      waits at most --lock-wait, then gives up
//! drain      a heartbeat is committed by another session and received back: the stream has delivered
//!            every change there will ever be, and all are visible
//! replay     the last changed keys, on this connection
//! rename     RENAME TABLE source TO old, shadow TO source   one atomic step
//! unlock
//! ```
//!
//! Why no row is lost: LOCK TABLES is granted when no transaction that has written to the source is
//! open, since each holds a metadata lock until after its commit. So every write to the source stands
//! before the heartbeat in the binlog. When the heartbeat has come back, the ledger knows all of them,
//! and the rename is sent only after the ledger has reported that nothing is left
//! ([`crate::ledger::Ledger::is_drained`]). Statements of the application wait at the lock and then find
//! the new table under the old name; none fails.
//!
//! RENAME TABLE of tables locked by the same session is allowed from MySQL 8.0.13 on (manual, "RENAME
//! TABLE Statement").
//!
//! The rename is never sent twice (I8). If the connection breaks while it runs, [`outcome`] finds out
//! from the tables themselves whether it happened.

mod statistics;

pub use statistics::refresh as refresh_statistics;

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use crate::error::{Error, Kind, Result};
use crate::plan::Names;
use crate::schema::table::Table;
use crate::server::{
    ConnectionId, Fault, IDLE_SECONDS, Server, Session, SessionSettings, fault_of, to_error,
};
use crate::work::{Context, HELD, KEPT, Work};

/// How long it may take to learn, after a lost connection, whether the rename happened.
const OUTCOME_DEADLINE: Duration = Duration::from_secs(60);

/// Takes the locks. `false` when they did not come within `wait` seconds: nothing is held then.
///
/// Should this side fall silent while the locks are held, the server itself ends the connection
/// after `wait` seconds more without a statement, and the application goes on.
pub async fn lock(session: &mut Session, context: &Context, wait: u32) -> Work<bool> {
    let names = &context.plan.names;
    let silence = wait + 1;
    session
        .query_drop(format!(
            "SET SESSION lock_wait_timeout = {wait}, innodb_lock_wait_timeout = {wait}, \
             autocommit = 0, wait_timeout = {silence}"
        ))
        .await?;
    match session
        // Under LOCK TABLES each alias of a table needs a lock of its own.
        .query_drop(format!(
            "LOCK TABLES {source} WRITE, {shadow} WRITE, {shadow} AS {HELD} WRITE, {shadow} AS {KEPT} WRITE",
            source = names.source,
            shadow = names.shadow
        ))
        .await
    {
        Ok(()) => Ok(true),
        Err(error) if fault_of(&error) == Fault::Retry => {
            // The connection has to outlast the pause before the next attempt.
            unlock(session).await?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives the locks back without a rename.
pub async fn unlock(session: &mut Session) -> Work<()> {
    session.query_drop("ROLLBACK").await?;
    session.query_drop("UNLOCK TABLES").await?;
    session
        .query_drop(format!("SET SESSION autocommit = 1, wait_timeout = {IDLE_SECONDS}"))
        .await?;
    Ok(())
}

/// Brings the shadow table's AUTO_INCREMENT to the source's, where that is higher: after deletes at
/// the table's end the next number is above the highest row's.
pub async fn carry_auto_increment(session: &mut Session, context: &Context) -> Work<()> {
    let names = &context.plan.names;
    if !context.plan.carries_auto_increment {
        return Ok(());
    }
    let next = |table: &str| {
        format!(
            "(SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} \
             AND TABLE_NAME = {})",
            crate::sql::text(names.source.schema.as_str()),
            crate::sql::text(table)
        )
    };
    let counters: Option<(Option<u64>, Option<u64>)> = session
        .query_first(format!(
            "SELECT {}, {}",
            next(names.source.table.as_str()),
            next(names.shadow.table.as_str())
        ))
        .await?;
    if let Some((Some(source), Some(shadow))) = counters
        && source > shadow
    {
        let began = Instant::now();
        session
            .query_drop(format!(
                "ALTER /* {} */ TABLE {} AUTO_INCREMENT = {source}",
                context.mark, names.shadow
            ))
            .await?;
        tracing::debug!(source, shadow, took = ?began.elapsed(), "AUTO_INCREMENT carried over");
    }
    Ok(())
}

/// Swaps the tables and gives the locks back. A rename that is not answered within `answer_within`
/// counts as one whose connection is lost.
///
/// # Errors
/// Transient when it did not happen and may be tried again, failed when the server refused it;
/// ambiguous when it cannot be known what the server did.
pub async fn swap(
    session: &mut Session,
    context: &Context,
    server: &Server,
    answer_within: Duration,
) -> Result<()> {
    let names = &context.plan.names;
    let rename = format!(
        "RENAME /* {} */ TABLE {} TO {}, {} TO {}",
        context.mark, names.source, names.old, names.shadow, names.source
    );
    let sender = ConnectionId::of(session);
    let began = Instant::now();
    let answer = tokio::time::timeout(answer_within, session.query_drop(rename)).await;
    let lost = match answer {
        Ok(Ok(())) => {
            tracing::debug!(took = ?began.elapsed(), "renamed");
            // The swap is done; the locks also end with the connection.
            if let Err(error) = session.query_drop("UNLOCK TABLES").await {
                tracing::debug!(%error, "unlocking after the rename");
            }
            return Ok(());
        }
        Ok(Err(error)) if fault_of(&error) != Fault::Connection => {
            return Err(to_error(error, &format!("renaming {}", names.source)));
        }
        Ok(Err(error)) => to_error(error, "RENAME TABLE did not happen"),
        Err(_) => Error::new(
            Kind::Transient,
            format!(
                "RENAME TABLE was not answered within {} s, and did not happen",
                answer_within.as_secs()
            ),
        ),
    };
    tracing::warn!(error = %lost, "the answer to RENAME TABLE was lost; finding out whether it happened");
    if outcome(server, names, sender).await? { Ok(()) } else { Err(lost) }
}

/// Whether the rename sent by a lost connection took effect.
///
/// RENAME TABLE is atomic, so there are two states only: the shadow's name is taken and the old name
/// free, or the other way round. The question is asked when the connection that sent it is gone from
/// the server, because until then the statement may still be waiting to run.
///
/// # Errors
/// Ambiguous when the server cannot be asked within a minute, or shows neither state.
pub async fn outcome(server: &Server, names: &Names, sender: ConnectionId) -> Result<bool> {
    let unknown = |why: String| {
        Error::ambiguous(format!(
            "the connection was lost while {} was being swapped, and {why}",
            names.source
        ))
        .remedy(format!(
            "Give the same command again: it finds out. Or look whether {} exists. If it does, the swap happened and {} is the new table; if not, \
             {} is still the original one. Nothing else has to be done in either case.",
            names.old, names.source, names.source
        ))
    };
    let question = async {
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        loop {
            pause.tick().await;
            match ask(server, names, sender).await {
                Ok(Some(state)) => return state,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "asking for the outcome of the rename"),
            }
        }
    };
    match tokio::time::timeout(OUTCOME_DEADLINE, question).await {
        Ok((true, false)) => Ok(true),
        Ok((false, true)) => Ok(false),
        Ok(_) => Err(unknown("the tables are in an unexpected state".to_owned())),
        Err(_) => Err(unknown("the server cannot be asked".to_owned())),
    }
}

/// Whether the old and the shadow table exist, or `None` while the lost connection may live.
async fn ask(server: &Server, names: &Names, sender: ConnectionId) -> Result<Option<(bool, bool)>> {
    let mut session = server.session(&SessionSettings::default()).await?;
    let doing = "asking for the outcome of the rename";
    let alive = sender.end(&mut session).await.map_err(|e| to_error(e, doing))?;
    if alive {
        session.close().await;
        return Ok(None);
    }
    let old = Table::exists(&mut session, &names.old).await?;
    let shadow = Table::exists(&mut session, &names.shadow).await?;
    session.close().await;
    Ok(Some((old, shadow)))
}
