//! Comparing source and shadow table without a lock.
//!
//! Every range of keys is compared by one statement, in one read view, by number of rows and a digest
//! of the rows that does not depend on their order. A range that differs is looked into row by row.
//! On a busy table rows differ all the time because replay is a moment behind, so a differing key is
//! only a *suspect*: it is replayed and compared again (see [`Suspects`]).
//!
//! Where the ALTER changes a column's type, the source's rows are first inserted into a scratch table
//! of the new structure, so that the server's own conversion is the reference ([`crate::scratch`]).

mod digest;
mod suspects;

use std::collections::HashMap;

use mysql_async::Row;
use mysql_async::prelude::Queryable;

pub use suspects::{Suspects, Verdict};

use crate::error::Error;
use crate::key::{Key, KeySpec};
use crate::ledger::Range;
use crate::schema::table::Column;
use crate::scratch;
use crate::server::Session;
use crate::work::{Context, Work, range_predicate, rollback};

/// What the comparison of a range found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Rows of the shadow table in the range.
    pub rows: u64,
    /// Keys whose rows differ, or that only one of the tables has.
    pub differing: Vec<Key>,
}

/// One side of a comparison.
struct Side<'a> {
    table: String,
    key: &'a KeySpec,
    /// Digest of one row.
    digest: String,
    predicate: String,
}

impl Side<'_> {
    fn summary(&self, alias: &str) -> String {
        format!(
            "(SELECT COUNT(*) AS n, {} AS d FROM {} WHERE {}) {alias}",
            digest::of_set(&self.digest),
            self.table,
            self.predicate
        )
    }

    /// Key and digest of every row.
    async fn rows(&self, session: &mut Session) -> Work<HashMap<Key, Vec<u8>>> {
        let rows: Vec<Row> = session
            .query(format!(
                "SELECT {}, {} FROM {} WHERE {}",
                self.key.export_list(),
                self.digest,
                self.table,
                self.predicate
            ))
            .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let mut values = row.unwrap();
            let digest = match values.pop() {
                Some(mysql_async::Value::Bytes(digest)) => digest,
                other => format!("{other:?}").into_bytes(),
            };
            found.insert(self.key.from_row(&values)?, digest);
        }
        Ok(found)
    }
}

/// Compares all rows of a range.
pub async fn compare_range(
    session: &mut Session,
    context: &Context,
    range: &Range<Key>,
) -> Work<Compared> {
    let key = &context.plan.key;
    let source = range_predicate(&key.source, range)?;
    let shadow = range_predicate(&key.shadow, range)?;
    compare(session, context, source, shadow, false).await
}

/// Compares the rows of some keys. Under the cut-over's lock nothing changes, so that no snapshot is
/// needed; and to begin a transaction would end the lock (MySQL manual, "LOCK TABLES and UNLOCK TABLES
/// Statements").
pub async fn compare_keys(
    session: &mut Session,
    context: &Context,
    keys: &[Key],
    under_lock: bool,
) -> Work<Compared> {
    let key = &context.plan.key;
    let (source, shadow) = (key.source.in_list(keys)?, key.shadow.in_list(keys)?);
    compare(session, context, source, shadow, under_lock).await
}

async fn compare(
    session: &mut Session,
    context: &Context,
    source: String,
    shadow: String,
    under_lock: bool,
) -> Work<Compared> {
    let plan = &context.plan;
    let converts = plan.columns.converts();
    // Both sides are digested in the same way, though NULL may be allowed on one of them only.
    let alike = |column: &Column, other: &Column| Column {
        nullable: column.nullable || other.nullable,
        ..column.clone()
    };
    let mapped = &plan.columns.mapped;
    let sources: Vec<Column> = mapped.iter().map(|c| alike(&c.source, &c.target)).collect();
    let targets: Vec<Column> = mapped.iter().map(|c| alike(&c.target, &c.source)).collect();
    let right = Side {
        table: format!("{} FORCE INDEX ({})", plan.names.shadow, plan.key.shadow_index),
        key: &plan.key.shadow,
        digest: digest::of_row(&targets),
        predicate: shadow.clone(),
    };
    let left = if converts {
        scratch::fill(session, context, &source).await?;
        Side {
            table: scratch::name(context).to_string(),
            key: &plan.key.shadow,
            digest: digest::of_row(&targets),
            predicate: "TRUE".to_owned(),
        }
    } else {
        Side {
            table: format!("{} FORCE INDEX ({})", plan.names.source, plan.key.source_index),
            key: &plan.key.source,
            digest: digest::of_row(&sources),
            predicate: source,
        }
    };
    let compared = compare_sides(session, &left, &right, !converts && !under_lock).await;
    if converts {
        scratch::discard(session, context).await?;
    }
    compared
}

async fn compare_sides(
    session: &mut Session,
    left: &Side<'_>,
    right: &Side<'_>,
    snapshot: bool,
) -> Work<Compared> {
    let query = format!(
        "SELECT r.n, l.d <=> r.d AND l.n = r.n, {} OR {} FROM {}, {}",
        digest::is_blind("l.d"),
        digest::is_blind("r.d"),
        left.summary("l"),
        right.summary("r")
    );
    let summary: Option<(u64, bool, bool)> = session.query_first(query).await?;
    let (rows, equal, is_blind) =
        summary.ok_or_else(|| Error::failed("the comparison of two ranges returned no row"))?;
    if is_blind {
        return Err(Error::failed(
            "rows cannot be compared, since their values are longer than max_allowed_packet as text",
        )
        .remedy("Raise max_allowed_packet (up to 1G) on the server; the same command goes on.")
        .keeping_progress()
        .into());
    }
    if equal {
        return Ok(Compared { rows, differing: Vec::new() });
    }
    // Both sides in one read view, so that only what replay still owes shows up. A scratch table was
    // filled in a view of its own, so there is nothing to share.
    if snapshot {
        session.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        session.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    }
    let source = left.rows(session).await;
    let shadow = match &source {
        Ok(_) => right.rows(session).await,
        Err(_) => Ok(HashMap::new()),
    };
    if snapshot {
        rollback(session).await;
    }
    let (source, shadow) = (source?, shadow?);
    let mut differing: Vec<Key> = source
        .iter()
        .filter(|(key, digest)| shadow.get(*key) != Some(*digest))
        .chain(shadow.iter().filter(|(key, _)| !source.contains_key(*key)))
        .map(|(key, _)| key.clone())
        .collect();
    differing.sort_unstable();
    Ok(Compared { rows, differing })
}
