//! Replaying changed keys: read each row again from the source and bring the shadow table to it.
//!
//! A row event says only which key changed. The row is read on the server, by the server, so that no
//! value is ever decoded and encoded again in the client. Replaying a key is idempotent and can be
//! done late: the result is the source's row as it is at the time of reading.
//!
//! Why a row that is changed or deleted while this runs is not lost: the batch was handed out when
//! every change up to the visible position `V` could be seen. A change that one of the statements
//! below does not see has a position above `V`, so the ledger keeps its key due and it is replayed
//! again ([`crate::ledger`]).
//!
//! No statement locks a row of the source: the SELECT and the INSERT … SELECT are consistent reads at
//! READ COMMITTED, and rows to be deleted are named by value, since DELETE with a subquery would lock
//! what it reads.

mod fitting;
mod preserving;

use std::time::{Duration, Instant};

pub use fitting::{Fitted, replay_fitting};
use mysql_async::prelude::Queryable;

use crate::conflict;
use crate::error::Error;
use crate::key::Key;
use crate::ledger::Range;
use crate::plan::Plan;
use crate::server::{Fault, Session, duplicate_of, fault_of};
use crate::work::{Context, Work, commit, fetch_keys, range_predicate, rollback};

/// How often a batch may pull in the rows that stand in its way before the run stops.
const MAX_PULLS: usize = 50;

/// How the statements of a batch are held together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    /// By START TRANSACTION and COMMIT.
    Own,
    /// By `autocommit = 0` and COMMIT, on the connection that holds the cut-over's table locks: there
    /// START TRANSACTION would release them (MySQL manual, "LOCK TABLES and UNLOCK TABLES Statements").
    UnderLock,
}

impl Transaction {
    async fn begin(self, session: &mut Session) -> Work<()> {
        if self == Transaction::Own {
            session.query_drop("START TRANSACTION").await?;
        }
        Ok(())
    }
}

/// Replays a batch and commits. `keys` are distinct and in ascending order. Returns how long the work
/// took without the COMMIT.
pub async fn replay(
    session: &mut Session,
    context: &Context,
    keys: &[Key],
    transaction: Transaction,
) -> Work<Duration> {
    if context.plan.preserved.is_empty() && context.plan.key_is_only_unique() {
        replace(session, context, keys, transaction).await
    } else {
        delete_and_insert(session, context, keys, transaction).await
    }
}

/// With the key as the only unique index, REPLACE removes no other row than the one it replaces.
async fn replace(
    session: &mut Session,
    context: &Context,
    keys: &[Key],
    transaction: Transaction,
) -> Work<Duration> {
    let began = Instant::now();
    let plan = &context.plan;
    let wanted = plan.key.source.in_list(keys)?;
    transaction.begin(session).await?;
    let replace = plan.insert_select("REPLACE", &plan.names.shadow.to_string()) + &wanted;
    session.query_drop(replace).await?;
    let written = records(&session.info());
    session.refuse_warnings(&format!("replaying changes of {}", plan.names.source)).await?;
    // Most batches have nothing to delete, and are spared a second look at the source.
    if written != Some(keys.len()) {
        let present = format!(
            "SELECT {} FROM {} FORCE INDEX ({}) WHERE {wanted}",
            plan.key.source.export_list(),
            plan.names.source,
            plan.key.source_index
        );
        let mut present = fetch_keys(session, &plan.key.source, &present).await?;
        present.sort_unstable();
        let gone: Vec<Key> =
            keys.iter().filter(|key| present.binary_search(key).is_err()).cloned().collect();
        if !gone.is_empty() {
            delete(session, context, &gone).await?;
        }
    }
    let took = began.elapsed();
    commit(session, context).await?;
    Ok(took)
}

/// The keys in a range, in ascending order, first those of the source and then those of the shadow table: each as many as
/// `limit` at most.
pub async fn list_keys(
    session: &mut Session,
    context: &Context,
    range: &Range<Key>,
    limit: usize,
) -> Work<[Vec<Key>; 2]> {
    let Plan { names, key, .. } = &*context.plan;
    let source = (&names.source, &key.source_index, &key.source);
    let shadow = (&names.shadow, &key.shadow_index, &key.shadow);
    let mut lists = [Vec::new(), Vec::new()];
    for (list, (table, index, key)) in lists.iter_mut().zip([source, shadow]) {
        let query = format!(
            "SELECT {} FROM {table} FORCE INDEX ({index}) WHERE {} ORDER BY {} LIMIT {limit}",
            key.export_list(),
            range_predicate(key, range)?,
            key.order_by()
        );
        *list = fetch_keys(session, key, &query).await?;
    }
    Ok(lists)
}

/// The number of rows that an INSERT or REPLACE … SELECT has read, as the server's message about it says
/// (`Records: 3  Duplicates: 2  Warnings: 0`).
fn records(message: &str) -> Option<usize> {
    message.strip_prefix("Records: ")?.split(' ').next()?.parse().ok()
}

/// With other unique indexes, a row may have to make room for another one of the batch first: so all
/// rows of the batch are deleted and inserted. A row outside the batch that holds a wanted value is
/// pulled into it.
async fn delete_and_insert(
    session: &mut Session,
    context: &Context,
    keys: &[Key],
    transaction: Transaction,
) -> Work<Duration> {
    let began = Instant::now();
    let plan = &context.plan;
    let mut keys = keys.to_vec();
    for _ in 0..MAX_PULLS {
        let wanted = plan.key.source.in_list(&keys)?;
        transaction.begin(session).await?;
        let insert = match plan.preserved.is_empty() {
            true => plan.insert_select("INSERT", &plan.names.shadow.to_string()) + &wanted,
            false => preserving::assemble(session, context, &keys, &wanted).await?,
        };
        delete(session, context, &keys).await?;
        if finish(session, context, &insert, &wanted, &mut keys).await? {
            return Ok(began.elapsed());
        }
    }
    Err(Error::failed(format!(
        "rows of {} kept meeting equal values in a unique index while {} keys were replayed",
        context.plan.names.source,
        keys.len()
    ))
    .remedy("Start again at a quieter time.")
    .into())
}

/// The last statement of a batch, and its COMMIT. If it meets a duplicate, everything is rolled back, the
/// rows in the way are pulled into the batch, and the answer is false.
async fn finish(
    session: &mut Session,
    context: &Context,
    insert: &str,
    wanted: &str,
    keys: &mut Vec<Key>,
) -> Work<bool> {
    match session.query_drop(insert).await {
        Ok(()) => {
            let doing = format!("replaying changes of {}", context.plan.names.source);
            session.refuse_warnings(&doing).await?;
            commit(session, context).await?;
            Ok(true)
        }
        Err(error) if fault_of(&error) == Fault::Duplicate => {
            rollback(session).await;
            let index = duplicate_of(&error).unwrap_or_default().to_owned();
            let pulled = conflict::find(session, context, wanted, keys, &index).await?;
            keys.extend(pulled);
            keys.sort_unstable();
            keys.dedup();
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn delete(session: &mut Session, context: &Context, keys: &[Key]) -> Work<()> {
    let plan = &context.plan;
    let list = plan.key.shadow.in_list(keys)?;
    session.query_drop(format!("DELETE FROM {} WHERE {list}", plan.names.shadow)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::records;

    #[test]
    fn the_servers_message_tells_how_many_rows_there_were() {
        assert_eq!(records("Records: 12  Duplicates: 3  Warnings: 0"), Some(12));
        assert_eq!(records(""), None);
    }
}
