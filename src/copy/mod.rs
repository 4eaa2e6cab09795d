//! Copying one chunk: the rows of a key range, from the source into the shadow table.
//!
//! The INSERT … SELECT runs at READ COMMITTED, where InnoDB reads the source through a consistent
//! read and takes no lock on its rows (MySQL manual, "Locks Set by Different SQL Statements in
//! InnoDB"; `tests/locks.rs` samples `data_locks` during a run). It is a plain INSERT into a range that
//! nothing else writes (I1), in one transaction with the chunk's row in the state table (I4).
//!
//! The commit is a statement of its own, sent after the rows were acknowledged. So when a connection
//! is lost before that, the server rolls back, and what it may still be doing cannot become durable
//! behind a retry's back.

mod misfit;

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

pub use misfit::explain as explain_misfit;

use crate::conflict;
use crate::key::Key;
use crate::ledger::Range;
use crate::server::{Fault, Session, duplicate_of, fault_of};
use crate::state::ChunkNote;
use crate::work::{Context, Work, commit, describe_range, range_predicate, rollback};

/// How a chunk ended.
#[derive(Debug)]
pub enum Copied {
    /// Committed, with this number of rows, which took that long without the COMMIT: how long that
    /// takes does not depend on them (a semi-synchronous replica may be far away).
    Rows(u64, Duration),
    /// Committed by an earlier attempt whose answer was lost.
    Already,
    /// Rolled back: rows of the chunk met equal values in unique indexes, at these keys of the shadow
    /// table. They may be stale there, or the chunk's read view may have become old: both are mended
    /// by replaying those keys and copying the chunk again.
    Conflicts(Vec<Key>),
}

/// Copies a chunk.
pub async fn copy_chunk(
    session: &mut Session,
    context: &Context,
    number: u64,
    range: &Range<Key>,
) -> Work<Copied> {
    let plan = &context.plan;
    let predicate = range_predicate(&plan.key.source, range)?;
    let began = Instant::now();
    session.query_drop("START TRANSACTION").await?;
    let note = ChunkNote::of(range, &describe_range(&plan.key.source, range));
    let note = context.state.chunk_sql(number, &note)?;
    match session.query_drop(note).await {
        Ok(()) => {}
        Err(error) if fault_of(&error) == Fault::Duplicate => {
            rollback(session).await;
            return Ok(Copied::Already);
        }
        Err(error) => return Err(error.into()),
    }
    let insert = plan.insert_select("INSERT", &plan.names.shadow.to_string()) + &predicate;
    match session.query_drop(insert).await {
        Ok(()) => {}
        Err(error) if fault_of(&error) == Fault::Duplicate => {
            rollback(session).await;
            let index = duplicate_of(&error).unwrap_or_default().to_owned();
            return conflict::find(session, context, &predicate, &[], &index)
                .await
                .map(Copied::Conflicts);
        }
        Err(error) => return Err(error.into()),
    }
    let rows = session.affected_rows();
    session.refuse_warnings(&format!("copying {}", plan.names.source)).await?;
    let took = began.elapsed();
    commit(session, context).await?;
    Ok(Copied::Rows(rows, took))
}
