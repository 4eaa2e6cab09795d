//! Going on where an earlier process ended: after a stop, a crash, a lost server.
//!
//! # Why no row is lost
//!
//! The chunk notes in the state table say exactly which ranges the shadow table holds, since each was
//! written in the transaction that copied its chunk (I4). The checkpoint's position is safe: every change
//! before it is in the shadow table, or lies in a range that no chunk had started, and was visible by
//! then, so that whichever chunk copies it sees it (I5). What comes behind the position is read again,
//! and replaying a key twice does no harm.
//!
//! Nothing of the earlier process may come after this one has read the notes: see [`fence`], and
//! [`crate::server::RunLock`] for a process that lives on without its lock.
//!
//! Nothing is guessed: a run goes on under the terms that it began with, or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::back::tidy_up;
use super::broom::Broom;
use super::prepare::{Aim, Prepared, plan, terms};
use super::start::Start;
use crate::error::{Error, Result};
use crate::ledger::gaps;
use crate::plan::Names;
use crate::schema::table::Table;
use crate::server::{Fault, RunLock, Server, Session, end_marked, fault_of, to_error};
use crate::sql::TableName;
use crate::state::{Part, Registry, StateTable, Terms, run_mark};
use crate::stream::Position;
use crate::work::Context;

/// How long the transactions of an earlier process are waited for.
const FENCE: Duration = Duration::from_secs(60);

/// An earlier run on the table that did not come to its end.
#[derive(Debug)]
pub struct Earlier {
    pub(super) registry: Registry,
    /// Its tables.
    pub names: Names,
    /// None while it was being prepared, or when another version began it.
    pub(super) agreed: Option<Terms>,
    /// Whether its shadow table is there.
    has_shadow: bool,
    /// Whether it had swapped the tables already.
    pub swapped: bool,
}

impl Earlier {
    /// What its own DDL carries as a comment.
    pub fn mark(&self) -> String {
        run_mark(&self.registry.run)
    }

    /// What it wrote down about itself.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The clauses of its ALTER.
    pub fn alter(&self) -> &str {
        &self.registry.alter
    }

    /// For how many seconds after the swap its old table is kept in step, if it is.
    pub fn revertible_for(&self) -> Option<u64> {
        self.registry.revertible_for
    }
}

/// The registry of an earlier run on a table, if there is one.
///
/// # Errors
/// Refused when it was written by a later version.
pub async fn earlier_run(session: &mut Session, source: &TableName) -> Result<Option<Registry>> {
    let state = StateTable::at(Names::of(source).state);
    if !state.is_marked(session).await? {
        return Ok(None);
    }
    let registry = state.registry(session).await?;
    Ok(registry.filter(|registry| registry.source == source.table.as_str()))
}

/// Looks for an earlier run, and waits until nothing of it is under way any more. The run lock is held.
///
/// # Errors
/// As the server's; refused when it was written by a later version.
pub async fn look(
    server: &Server,
    session: &mut Session,
    source: &TableName,
) -> Result<Option<Earlier>> {
    let state = StateTable::at(Names::of(source).state);
    let Some(registry) = earlier_run(session, source).await? else {
        // A process that was killed between two statements has left an empty state table.
        if state.is_marked(session).await? && state.registry(session).await?.is_none() {
            remove(server, &[state.name().clone()]).await?;
        }
        return Ok(None);
    };
    let names = registry.names(state.name());
    let mark = run_mark(&registry.run);
    let has_shadow = fence(session, &names, &mark).await?;
    let agreed = match registry.can_be_continued() {
        true => state.terms(session, Part::Migration).await?,
        false => None,
    };
    // RENAME TABLE is atomic: the old name is taken if and only if the shadow table has the source's.
    let ended = agreed.is_some() && !has_shadow && Table::exists(session, &names.source).await?;
    let swapped = ended && Table::exists(session, &names.old).await?;
    if swapped && registry.revertible_for.is_some() {
        fence(session, &names.back(), &mark).await?;
    }
    let revertible = registry.revertible_for.is_some();
    if ended && !swapped && revertible && Table::exists(session, &names.back().old).await? {
        tracing::info!("an earlier process has swapped the tables back; it is brought to its end");
        let broom = Broom::new(server, super::prepare::open(server).await?).await;
        tidy_up(broom, &names.back(), &run_mark(&registry.run)).await?;
        return Ok(None);
    }
    Ok(Some(Earlier { registry, names, agreed, has_shadow, swapped }))
}

/// Takes an earlier run up. None when nothing of it is left: then a new one may begin.
///
/// # Errors
/// Refused when it cannot be continued, with the reason.
pub(crate) async fn take_up(
    server: &Server,
    session: &mut Session,
    earlier: Earlier,
    aim: &Aim,
    source: &Table,
    restart: bool,
    lock: &RunLock,
) -> Result<Option<(Prepared, Start)>> {
    let Earlier { registry, names, agreed, has_shadow, .. } = earlier;
    let state = StateTable::at(names.state.clone());
    if restart {
        tracing::info!(run = registry.run, "starting over: what the stopped run has left goes");
        remove(server, &[names.shadow, names.state]).await?;
        return Ok(None);
    }
    if registry.alter != aim.alter.clauses {
        return Err(cannot(&aim.source, format!("it has another ALTER: {}", registry.alter)));
    }
    if !registry.can_be_continued() {
        return Err(cannot(&aim.source, "another version of replank began it".to_owned()));
    }
    if registry.revertible_for != aim.revertible_for {
        return Err(cannot(&aim.source, "it was begun with another --revertible".to_owned()));
    }
    let (Some(agreed), Some((last_heartbeat, checkpoint))) =
        (agreed, state.checkpoint(session).await?)
    else {
        tracing::info!(
            run = registry.run,
            "the stopped run had not begun to copy; it begins again"
        );
        remove(server, &[names.shadow, names.state]).await?;
        return Ok(None);
    };
    if !has_shadow {
        return Err(cannot(&aim.source, format!("its shadow table {} is gone", names.shadow)));
    }
    let now = terms(session, &aim.facts, &names, &agreed.started_at, &agreed.time_zone).await?;
    if let Some(why) = agreed.broken_by(&now) {
        return Err(cannot(&aim.source, why));
    }
    if !has_binlog(session, &checkpoint.position).await? {
        return Err(cannot(
            &aim.source,
            format!("the binlog {} that it has to read is purged", checkpoint.position.file),
        ));
    }
    let (last_chunk, copied) = state.chunks(session).await?;
    tracing::info!(
        run = registry.run,
        chunks = copied.len(),
        rows = checkpoint.rows_copied,
        file = checkpoint.position.file,
        offset = checkpoint.position.offset,
        stopped = checkpoint.written,
        "going on where the run was stopped"
    );
    let start = Start {
        position: checkpoint.position,
        behind_swap: false,
        unstarted: gaps(copied),
        last_chunk,
        last_heartbeat,
        rows_copied: checkpoint.rows_copied,
        keys_replayed: checkpoint.keys_replayed,
    };
    let (plan, settings) = plan(session, source.clone(), &aim.alter, &names, &agreed).await?;
    let context = Context {
        plan: Arc::new(plan),
        state,
        owner: lock.owner(),
        part: Part::Migration,
        deferred: Arc::new(agreed.deferred),
        mark: run_mark(&registry.run),
    };
    let prepared = Prepared { facts: aim.facts.clone(), registry, context, settings };
    Ok(Some((prepared, start)))
}

fn cannot(source: &TableName, why: String) -> Error {
    Error::refused(format!("a stopped run on {source} cannot be continued: {why}"))
        .remedy("Start over with --restart, or remove what it has left with `replank abort`.")
}

/// Waits until no connection of an earlier process can change the shadow table any more. False when there
/// is no shadow table.
///
/// The earlier process is dead, or has lost the run lock. A connection of it that still works at the
/// server holds a metadata lock on the shadow table from its first statement on it until its transaction,
/// or its cut-over, has ended; this lock waits for all of them. A transaction that begins later cannot
/// commit ([`crate::server::Owner::confirm`]). A chunk's transaction begins with its note in the state
/// table, so that is locked as well.
async fn fence(session: &mut Session, names: &Names, mark: &str) -> Result<bool> {
    let began = Instant::now();
    let doing = format!("waiting for the last transactions on {}", names.shadow);
    session
        .query_drop("SET SESSION lock_wait_timeout = 2")
        .await
        .map_err(|e| to_error(e, &doing))?;
    loop {
        let locked = session
            .query_drop(format!("LOCK TABLES {} WRITE, {} WRITE", names.state, names.shadow))
            .await;
        match locked {
            Ok(()) => {
                session.query_drop("UNLOCK TABLES").await.map_err(|e| to_error(e, &doing))?;
                return Ok(true);
            }
            Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_TABLE => {
                return Ok(false);
            }
            Err(error) if fault_of(&error) == Fault::Retry && began.elapsed() < FENCE => {
                tracing::info!("waiting for a transaction of the stopped run to end");
                // An index build goes on without the process that has asked for it.
                end_marked(session, mark).await.map_err(|e| to_error(e, &doing))?;
            }
            Err(error) => {
                return Err(to_error(error, &doing).remedy(
                    "Look for connections of an earlier replank in SHOW PROCESSLIST, and KILL them.",
                ));
            }
        }
    }
}

const NO_SUCH_TABLE: u16 = 1146;

pub(super) async fn has_binlog(session: &mut Session, position: &Position) -> Result<bool> {
    let logs: Vec<mysql_async::Row> =
        session.query("SHOW BINARY LOGS").await.map_err(|e| to_error(e, "listing the binlogs"))?;
    Ok(logs.iter().any(|row| row.get::<String, _>(0).as_deref() == Some(&position.file)))
}

async fn remove(server: &Server, tables: &[TableName]) -> Result<()> {
    let mut broom = Broom::new(server, super::prepare::open(server).await?).await;
    let outcome = broom.drop(tables).await;
    broom.put_away().await;
    outcome
}
